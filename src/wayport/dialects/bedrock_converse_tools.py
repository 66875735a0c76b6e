"""`toolConfig` of Converse: tools, and whether one must be called."""

from collections.abc import Iterable
from typing import Any

from wayport.dialects.anthropic_messages_options import Draft
from wayport.dialects.anthropic_messages_tools import FREE_TEXT, object_schema
from wayport.dialects.bedrock_converse_options import refuses
from wayport.dialects.neutral import CacheMarker, Message, Tool, ToolCall, ToolResult
from wayport.dialects.openai_chat_names import Names

Block = dict[str, Any]

_CHOICE = "toolConfig.toolChoice"
_ANSWER = "Give your answer by calling this tool."


def write_tools(draft: Draft, names: Names) -> bool:
    """Writes tools and choice; whether a tool must be called."""
    request, profile = draft.request, draft.profile
    offered = list(_offered(draft))
    past = has_calls(request.messages)
    if request.tool_choice is not None and request.tool_choice.mode == "none" and offered:
        if past:
            # A conversation with calls in it is refused without tools, and there is no way to forbid them.
            draft.drop("tool_choice")
        else:
            offered = []
    if "tools" in profile.unsupported and offered:
        draft.drop("tools")
        offered = []
    tools = [_entry(draft, tool, names) for tool in offered]
    choice = _choice(draft, offered, names)
    if draft.answer is not None:
        choice = _answer_choice(draft, tools, choice)
    if not tools and past:
        tools = _tools_of_the_past(request.messages, names)
    if not tools:
        return False
    config: Block = {"tools": _with_cache(draft, offered, tools)}
    if choice is not None:
        config["toolChoice"] = choice
    draft.body["toolConfig"] = config
    return choice is not None


def _offered(draft: Draft) -> Iterable[Tool]:
    """The client's functions; only those that may be called, where the choice names some."""
    choice = draft.request.tool_choice
    named = frozenset(choice.names) if choice is not None and choice.mode in ("auto", "required") else frozenset()
    for tool in draft.request.tools:
        if tool.kind == "server":
            draft.dropped.append(f"tools.{tool.name}")
        elif not named or tool.name in named:
            yield tool


def _entry(draft: Draft, tool: Tool, names: Names) -> Block:
    strict = tool.strict is True and draft.profile.strict_tools
    if tool.strict and not strict:
        draft.drop("tools.strict")
    spec: Block = {"name": names.sent(tool.name, tool.namespace)}
    if tool.description:
        spec["description"] = tool.description
    schema = FREE_TEXT if tool.kind == "custom" else tool.parameters
    spec["inputSchema"] = {"json": object_schema(schema, strict=strict)}
    if strict:
        spec["strict"] = True
    return {"toolSpec": spec}


def _choice(draft: Draft, offered: list[Tool], names: Names) -> Block | None:
    """None: the model decides, which is the default everywhere and refused by some models when it is said."""
    choice = draft.request.tool_choice
    if choice is None or choice.mode in ("auto", "none") or not offered:
        return None
    if not draft.profile.tool_choice_required or refuses(draft, _CHOICE):
        draft.lower("tool_choice")
        return None
    wanted = choice.names[0] if choice.names else ""
    tool = next((tool for tool in offered if tool.name == wanted), None)
    if choice.mode == "named":
        if tool is not None and not refuses(draft, f"{_CHOICE}.tool"):
            return {"tool": {"name": names.sent(tool.name, tool.namespace)}}
        draft.lower("tool_choice")
    if refuses(draft, f"{_CHOICE}.any"):
        if choice.mode != "named":
            draft.lower("tool_choice")
        return None
    return {"any": {}}


def _answer_choice(draft: Draft, tools: list[Block], choice: Block | None) -> Block | None:
    """Offers the tool that takes the JSON answer, and makes the model call it or one of the client's own."""
    assert draft.answer is not None
    name, schema = draft.answer
    alone = not tools
    tools.append({"toolSpec": {"name": name, "description": _ANSWER, "inputSchema": {"json": schema}}})
    if (choice is not None and "tool" in choice) or not draft.profile.tool_choice_required or refuses(draft, _CHOICE):
        return choice
    if alone and not refuses(draft, f"{_CHOICE}.tool"):
        return {"tool": {"name": name}}
    return None if refuses(draft, f"{_CHOICE}.any") else {"any": {}}


def has_calls(messages: list[Message]) -> bool:
    return any(isinstance(part, ToolCall | ToolResult) for message in messages for part in message.parts)


def _tools_of_the_past(messages: list[Message], names: Names) -> list[Block]:
    """Tools that the conversation calls must be defined, even when none are offered any more."""
    called = {
        names.sent(part.name, part.namespace)
        for message in messages
        for part in message.parts
        if isinstance(part, ToolCall)
    }
    empty = object_schema(None, strict=False)
    return [{"toolSpec": {"name": name, "inputSchema": {"json": empty}}} for name in sorted(called)]


def _with_cache(draft: Draft, offered: list[Tool], tools: list[Block]) -> list[Block]:
    """The tools with a cache point behind each one that carries a marker."""
    if not draft.profile.cache_markers or refuses(draft, "toolConfig.cachePoint"):
        return tools
    written: list[Block] = []
    for number, entry in enumerate(tools):
        written.append(entry)
        if number < len(offered) and (cache := offered[number].cache) is not None:
            written.append(cache_point(draft, cache))
    return written


def cache_point(draft: Draft, marker: CacheMarker) -> Block:
    """A cache point; where the model knows no lifetimes it is the usual five minutes."""
    point: Block = {"type": "default"}
    if marker.ttl is not None and not refuses(draft, "cachePoint.ttl"):
        point["ttl"] = marker.ttl
    elif marker.ttl == "1h":
        draft.lower("cache_control")
    return {"cachePoint": point}
