"""Tools and tool choice of the Messages API, written for an upstream."""

import re
from typing import Any

import msgspec
from msgspec import Raw

from wayport.dialects.anthropic_messages_fields import NAME, Block, finish
from wayport.dialects.anthropic_messages_schema import strict_schema
from wayport.dialects.dialect import Profile
from wayport.dialects.neutral import Request, Tool, ToolCall
from wayport.dialects.tool_names import ToolNames, hashed
from wayport.wire import anthropic_messages as wire

_GOOD = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_BAD = re.compile(r"[^a-zA-Z0-9_-]")

_NO_SCHEMA = Raw(b'{"type":"object","properties":{}}')
FREE_TEXT = Raw(
    b'{"type":"object","properties":{"input":{"type":"string","description":"the whole input, as text"}},'
    b'"required":["input"]}'
)
"""what a custom tool of another dialect takes here: its free text under `input`"""


def fit_name(name: str) -> str:
    """A tool's name as Anthropic takes it: 1 to 128 letters, digits, `_` and `-`."""
    return name if _GOOD.fullmatch(name) else hashed(name, _BAD.sub("_", name), 128)


def encode_tools(request: Request, profile: Profile, names: ToolNames, dropped: list[str]) -> list[Block | Raw]:
    own = request.dialect == NAME
    tools: list[Block | Raw] = []
    allowed = _allowed(request)
    for tool in request.tools:
        if tool.kind == "server":
            if own and tool.raw is not None:
                tools.append(tool.raw)
            else:
                dropped.append(f"tools.{tool.name}")
        elif own or allowed is None or tool.name in allowed:
            tools.append(_encode_tool(tool, profile, names, dropped, own=own))
    if not tools and not own:
        tools = _tools_of_the_past(request, names)
    return tools


def _allowed(request: Request) -> frozenset[str] | None:
    """The only tools that may be called, where the choice names some (`allowed_tools`): the others are not offered."""
    choice = request.tool_choice
    if choice is None or choice.mode not in ("auto", "required") or not choice.names:
        return None
    return frozenset(choice.names)


def _encode_tool(tool: Tool, profile: Profile, names: ToolNames, dropped: list[str], *, own: bool) -> Block:
    block: Block = {"name": names.sent(tool.name, tool.namespace)}
    description = _with_grammar(tool) if tool.kind == "custom" else tool.description
    if description is not None:
        block["description"] = description
    schema = FREE_TEXT if tool.kind == "custom" else tool.parameters
    if schema is not None or not own:
        block["input_schema"] = schema if own else object_schema(schema, strict=tool.strict is True)
    if tool.strict is not None:
        if profile.strict_tools:
            block["strict"] = tool.strict
        elif tool.strict and "tools.strict" not in dropped:
            dropped.append("tools.strict")
    return finish(block, tool.cache, tool.extras, own=own)


def object_schema(schema: Raw | None, *, strict: bool) -> Raw:
    """`input_schema` must be of type object; what another dialect leaves out is added, the rest stays as written."""
    if schema is None:
        return _NO_SCHEMA
    try:
        fields = wire.decode_fields(schema)
    except ValueError:
        return _NO_SCHEMA
    if strict:
        return strict_schema(schema)
    if fields.get("type") == Raw(b'"object"'):
        return schema
    if not fields:
        return _NO_SCHEMA
    # The root may hold `anyOf` or a list of types; only its type is made plain.
    return Raw(wire.encode({**fields, "type": "object"}))


def _with_grammar(tool: Tool) -> str | None:
    """A custom tool's grammar, told in words: the input of a tool of this API cannot be bound to one."""
    entry: Any = msgspec.json.decode(tool.raw) if tool.raw is not None else {}
    inner = entry.get("custom", entry)
    rules = inner.get("format") if isinstance(inner, dict) else None
    rules = rules.get("grammar", rules) if isinstance(rules, dict) else {}
    definition = rules.get("definition") if isinstance(rules, dict) else None
    if not isinstance(definition, str):
        return tool.description
    told = f"`input` must follow this {rules.get('syntax', 'lark')} grammar:\n{definition}"
    return f"{tool.description}\n\n{told}" if tool.description else told


def _tools_of_the_past(request: Request, names: ToolNames) -> list[Block | Raw]:
    """Tools that the history calls must be defined, even when none are offered any more."""
    called = {
        (part.name, part.namespace)
        for message in request.messages
        for part in message.parts
        if isinstance(part, ToolCall)
    }
    return [
        {"name": names.sent(name, namespace), "input_schema": _NO_SCHEMA}
        for name, namespace in sorted(called, key=lambda key: (key[1] or "", key[0]))
    ]


def encode_choice(request: Request, names: ToolNames, offered: list[Block | Raw], dropped: list[str]) -> Block | None:
    """`tool_choice`, which also says whether calls may be made in parallel."""
    own = request.dialect == NAME
    choice = request.tool_choice
    parallel = request.parallel_tool_calls
    block: Block | None = None
    if choice is not None:
        block = _mode(request, names, dropped)
        if own and choice.extras:
            block.update(choice.extras)
    if not own:
        if not offered:
            return None
        if not request.tools:
            # Only tools of the past are defined: none of them may be called now.
            return {"type": "none"}
    if parallel is not None and (own or parallel is False) and (block is None or block["type"] != "none"):
        block = block or {"type": "auto"}
        block["disable_parallel_tool_use"] = not parallel
    return block


def _mode(request: Request, names: ToolNames, dropped: list[str]) -> Block:
    choice = request.tool_choice
    assert choice is not None
    match choice.mode:
        case "auto":
            return {"type": "auto"}
        case "required":
            return {"type": "any"}
        case "none":
            return {"type": "none"}
        case "named":
            wanted = choice.names[0] if choice.names else ""
            tool = next((tool for tool in request.tools if tool.name == wanted), None)
            if tool is not None and tool.kind == "server" and request.dialect != NAME:
                dropped.append("tool_choice")
                return {"type": "auto"}
            return {"type": "tool", "name": names.sent(wanted, tool.namespace if tool is not None else None)}
