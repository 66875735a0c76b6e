"""Tools and tool choice of Cohere's Chat API."""

import re
from collections.abc import Iterable
from typing import Any

from wayport.dialects.anthropic_messages_options import Draft
from wayport.dialects.anthropic_messages_tools import FREE_TEXT, object_schema
from wayport.dialects.neutral import Tool
from wayport.dialects.tool_names import ToolNames, hashed

Block = dict[str, Any]

# Letters, digits and underscores, no digit first (SDK reference, `Tool.name`).
_GOOD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_BAD = re.compile(r"[^A-Za-z0-9_]")


def fit_name(name: str) -> str:
    if _GOOD.fullmatch(name):
        return name
    clean = _BAD.sub("_", name)
    return hashed(name, f"_{clean}" if clean[:1].isdigit() else clean, 64)


def write_tools(draft: Draft, names: ToolNames) -> None:
    offered = list(_offered(draft))
    if not offered:
        return
    body = draft.body
    body["tools"] = [_entry(tool, names) for tool in offered]
    wish = [tool.strict for tool in offered]
    if all(wish) and draft.profile.strict_tools:
        body["strict_tools"] = True
    elif any(wish):
        # Here it holds for all tools or for none.
        draft.drop("tools.strict")
    choice = draft.request.tool_choice
    if choice is None or choice.mode == "auto":
        return
    if choice.mode == "none":
        body["tool_choice"] = "NONE"
    elif draft.profile.tool_choice_required:
        body["tool_choice"] = "REQUIRED"
    else:
        draft.lower("tool_choice")


def _offered(draft: Draft) -> Iterable[Tool]:
    """The client's functions; only those that may be called, where the choice names some."""
    choice = draft.request.tool_choice
    named = frozenset(choice.names) if choice is not None and choice.mode != "none" else frozenset()
    known = {tool.name for tool in draft.request.tools if tool.kind != "server"}
    for tool in draft.request.tools:
        if tool.kind == "server":
            draft.dropped.append(f"tools.{tool.name}")
        elif not named & known or tool.name in named:
            yield tool


def _entry(tool: Tool, names: ToolNames) -> Block:
    function: Block = {"name": names.sent(tool.name, tool.namespace)}
    if tool.description:
        function["description"] = tool.description
    schema = FREE_TEXT if tool.kind == "custom" else tool.parameters
    function["parameters"] = object_schema(schema, strict=False)
    return {"type": "function", "function": function}
