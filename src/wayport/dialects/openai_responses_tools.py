"""Tools and tool choices of the Responses dialect, both ways.

A namespace becomes its tools, each with the namespace's name; a note on the first of them holds the rest of it.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Raw

from wayport.dialects.neutral import Tool, ToolChoice
from wayport.dialects.openai_responses_parts import is_text, need_text, raw_of, take_flag, take_list, take_text, written
from wayport.wire.openai_responses import NULL, OBJECT, STRING, TAG

NAMESPACE = "@namespace"
"""on the first tool of a namespace: the namespace's own fields"""
CHOICE = "@choice"
"""on a tool choice: as it was written"""

_MODES = frozenset({"auto", "none", "required"})


# ------------------------------------------------------------------------------------------------------------- tools
def decode_tools(entries: Sequence[Raw], path: str = "tools") -> list[Tool]:
    """Raises ValueError that begins with the path of what is wrong."""
    tools: list[Tool] = []
    for number, raw in enumerate(entries):
        try:
            tools.extend(_decode_entry(raw))
        except (ValueError, KeyError) as error:
            raise ValueError(f"{path}[{number}]: {error}") from error
    return tools


def _decode_entry(raw: Raw) -> list[Tool]:
    if TAG.decode(raw).type != "namespace":
        return [decode_tool(raw)]
    fields = OBJECT.decode(raw)
    name = take_text(fields, "name")
    inner = [decode_tool(each) for each in take_list(fields, "tools") or ()]
    if name is None or not inner:
        return [Tool(name=name or "namespace", kind="server", raw=raw)]
    for tool in inner:
        tool.namespace = name
    inner[0].extras = {**(inner[0].extras or {}), NAMESPACE: raw_of(fields)}
    return inner


def decode_tool(raw: Raw) -> Tool:
    fields = OBJECT.decode(raw)
    kind = STRING.decode(fields["type"]) if "type" in fields else ""
    match kind:
        case "function":
            del fields["type"]
            name = need_text(fields, "name")
            description = take_text(fields, "description")
            strict = take_flag(fields, "strict")
            parameters = fields.get("parameters", NULL)
            if parameters != NULL:
                del fields["parameters"]
            return Tool(
                name=name,
                description=description,
                parameters=None if parameters == NULL else parameters,
                strict=strict,
                extras=fields or None,
            )
        case "custom":
            name = need_text(fields, "name")
            return Tool(name=name, kind="custom", description=take_text(fields, "description"), raw=raw)
        case "":
            raise ValueError("`type` is missing")
        case _:
            return Tool(name=kind, kind="server", raw=raw)


def encode_tools(tools: Iterable[Tool]) -> list[Any]:
    """The entries again, for tools that were decoded here."""
    entries: list[Any] = []
    open_namespace: dict[str, Any] | None = None
    for tool in tools:
        entry = _encode_tool(tool)
        if tool.namespace is None:
            open_namespace = None
            entries.append(entry)
            continue
        note = (tool.extras or {}).get(NAMESPACE)
        if open_namespace is None or note is not None or open_namespace["name"] != tool.namespace:
            open_namespace = {
                "type": "namespace",
                "name": tool.namespace,
                **(OBJECT.decode(note) if note is not None else {"description": ""}),
                "tools": [],
            }
            entries.append(open_namespace)
        open_namespace["tools"].append(entry)
    return entries


def _encode_tool(tool: Tool) -> Any:
    if tool.raw is not None:
        return tool.raw
    entry: dict[str, Any] = {"type": "function", "name": tool.name}
    if tool.description is not None:
        entry["description"] = tool.description
    if tool.parameters is not None:
        entry["parameters"] = tool.parameters
    if tool.strict is not None:
        entry["strict"] = tool.strict
    return {**entry, **written(tool.extras)}


# ------------------------------------------------------------------------------------------------------- tool choice
def decode_choice(raw: Raw) -> ToolChoice:
    if is_text(raw):
        word = STRING.decode(raw)
        if word not in _MODES:
            raise ValueError(f"tool_choice: `{word}` is none of auto, none, required")
        return ToolChoice(mode=word)  # type: ignore[arg-type]  # looked up in _MODES
    fields = OBJECT.decode(raw)
    kind = need_text(fields, "type")
    if kind == "allowed_tools":
        mode = take_text(fields, "mode") or "auto"
        names = [_choice_name(each) for each in take_list(fields, "tools") or ()]
        return ToolChoice(mode="required" if mode == "required" else "auto", names=names, extras={CHOICE: raw})
    name = take_text(fields, "name") if kind in ("function", "custom") else kind
    if name is None:
        raise ValueError("tool_choice: `name` is missing")
    return ToolChoice(mode="named", names=[name], extras={CHOICE: raw})


def _choice_name(raw: Raw) -> str:
    fields = OBJECT.decode(raw)
    return take_text(fields, "name") or take_text(fields, "type") or ""


def encode_choice(choice: ToolChoice, tools: Sequence[Tool]) -> Any:
    """The choice as written here, or as this dialect puts what another one wrote."""
    if choice.extras is not None and CHOICE in choice.extras:
        return choice.extras[CHOICE]
    kinds = {tool.name: tool.kind for tool in tools}
    entries = [{"type": "custom" if kinds.get(name) == "custom" else "function", "name": name} for name in choice.names]
    if choice.mode == "named" and entries:
        return entries[0]
    if choice.mode in ("auto", "required") and entries:
        return {"type": "allowed_tools", "mode": choice.mode, "tools": entries}
    return "required" if choice.mode == "named" else choice.mode
