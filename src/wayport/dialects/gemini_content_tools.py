"""Tools and tool choice: `tools` and `toolConfig` of a Gemini request, in both directions."""

from collections.abc import Iterable
from typing import Any, Literal

import msgspec
from msgspec import Raw

from wayport.dialects import openai_read as read
from wayport.dialects.dialect import Profile
from wayport.dialects.gemini_content_parts import SNAKE, Json, respell, take_text, to_camel, with_extras
from wayport.dialects.gemini_content_schema import to_json_schema, to_openapi
from wayport.dialects.gemini_content_words import NAME
from wayport.dialects.neutral import Extras, Request, Tool, ToolChoice
from wayport.dialects.tool_names import ToolNames
from wayport.dialects.words import word
from wayport.wire.gemini_content import NULL, Object, encode, first

# Notes on how tools were written.
_GROUP = "~group"
_SCHEMA = "~schema"

_decode_int = msgspec.json.Decoder(int).decode
_MODES: dict[str, Literal["auto", "none", "required"]] = {
    "AUTO": "auto",
    "NONE": "none",
    "ANY": "required",
    "VALIDATED": "auto",
}

# Server tools of other dialects that Google has too, by the beginning of their type word.
_KIN = {
    "web_search": "googleSearch",
    "web_fetch": "urlContext",
    "code_execution": "codeExecution",
    "code_interpreter": "codeExecution",
}


# ------------------------------------------------------------------------------------------------------------ reading
def read_tools(raw: Raw) -> tuple[list[Tool], bool]:
    """The tools, and whether they were written as one object where a list belongs (Google takes both)."""
    single = first(raw) == b"{"
    tools: list[Tool] = []
    for number, entry in enumerate([raw] if single else read.items(raw, "tools")):
        path = f"tools[{number}]"
        spelled: set[str] = set()
        group = to_camel(read.fields(entry, path), spelled)
        notes: Extras = {_GROUP: Raw(b"%d" % number)}
        if spelled:
            notes[SNAKE] = Raw(encode(sorted(spelled)))
        for key, value in group.items():
            if key == "functionDeclarations":
                declared = [value] if first(value) == b"{" else read.items(value, f"{path}.{key}")
                tools.extend(
                    _read_function(read.fields(one, f"{path}.{key}[{i}]"), notes, f"{path}.{key}[{i}]")
                    for i, one in enumerate(declared)
                )
            else:
                tools.append(Tool(name=key, kind="server", raw=Raw(encode({key: value})), extras=dict(notes)))
    return tools, single


def _read_function(fields: Object, notes: Extras, path: str) -> Tool:
    spelled: set[str] = set()
    fields = to_camel(fields, spelled)
    name = read.text(read.need(fields, "name", path), f"{path}.name")
    del fields["name"]
    extras: Extras = dict(notes)
    parameters = fields.pop("parametersJsonSchema", None)
    if parameters is None and "parameters" in fields:
        # Read by other dialects as JSON schema, written to this one as it came.
        extras["parameters"] = fields.pop("parameters")
        parameters = to_json_schema(extras["parameters"])
    elif parameters is not None:
        extras[_SCHEMA] = Raw(b"true")
    description = take_text(fields, "description") if "description" in fields else None
    if spelled or SNAKE in extras:
        before = msgspec.json.decode(extras[SNAKE], type=list[str]) if SNAKE in extras else []
        extras[SNAKE] = Raw(encode(sorted({*before, *spelled})))
    return Tool(name=name, description=description, parameters=parameters, extras={**extras, **fields})


def read_tool_config(raw: Raw, spelled: set[str]) -> tuple[ToolChoice | None, Extras]:
    """The choice of tools, and what else `toolConfig` says (a note when it said nothing more)."""
    fields = to_camel(read.fields(raw, "toolConfig"), spelled)
    calling = fields.pop("functionCallingConfig", None)
    choice = None
    if calling is not None:
        path = "toolConfig.functionCallingConfig"
        inner = to_camel(read.fields(calling, path), spelled)
        said = inner.pop("mode", None)
        mode = "" if said is None else read.text(said, f"{path}.mode")
        names = inner.pop("allowedFunctionNames", None)
        choice = ToolChoice(
            mode=_MODES.get(mode.upper(), "auto"),
            names=[] if names is None else read.texts(names, f"{path}.allowedFunctionNames"),
            # VALIDATED has no word elsewhere, and ANY with one name is put as `named`: the mode as written is kept.
            extras={**inner, "mode": NULL if said is None else said},
        )
        if choice.mode == "required" and len(choice.names) == 1:
            choice.mode = "named"
    return choice, {"toolConfig": Raw(encode(fields))}


# ------------------------------------------------------------------------------------------------------------ writing
def write_tools(request: Request, profile: Profile, names: ToolNames, dropped: list[str]) -> Any:
    """The list of tools; None when there is none."""
    own = request.dialect == NAME
    if not own:
        return _write_foreign(request, profile, names, dropped)
    groups: dict[int, Json] = {}
    spelled: dict[int, list[str]] = {}
    for tool in request.tools:
        extras = tool.extras or {}
        number = _decode_int(extras[_GROUP]) if _GROUP in extras else len(groups)
        group = groups.setdefault(number, {})
        if tool.kind == "server" and tool.raw is not None:
            group.update(read.fields(tool.raw, "tools"))
        else:
            group.setdefault("functionDeclarations", []).append(_write_own_function(tool, extras))
        if SNAKE in extras:
            spelled.setdefault(number, []).extend(msgspec.json.decode(extras[SNAKE], type=list[str]))
    written = [respell(group, spelled.get(number, ())) for number, group in sorted(groups.items())]
    if request.spelling.get("one_tool") and len(written) == 1:
        return written[0]
    return written or None


def _write_own_function(tool: Tool, extras: Extras) -> Json:
    out: Json = {"name": tool.name}
    if tool.description is not None:
        out["description"] = tool.description
    if tool.parameters is not None and "parameters" not in extras:
        out["parametersJsonSchema"] = tool.parameters
    return with_extras(out, extras)


def _write_foreign(request: Request, profile: Profile, names: ToolNames, dropped: list[str]) -> Any:
    declared = [_write_function(tool, profile, names) for tool in request.tools if tool.kind != "server"]
    served: list[Json] = []
    for tool in request.tools:
        if tool.kind != "server":
            continue
        # Before Gemini 3 a request with a server tool beside functions is refused whole: the functions are kept.
        kin = next((ours for theirs, ours in _KIN.items() if tool.name.startswith(theirs)), None)
        if kin is None or declared:
            dropped.append(word(request.dialect, "tools") + f".{tool.name}")
        elif {kin: {}} not in served:
            served.append({kin: {}})
    return [{"functionDeclarations": declared}, *served] if declared else served or None


def _write_function(tool: Tool, profile: Profile, names: ToolNames) -> Json:
    out: Json = {"name": names.sent(tool.name, tool.namespace)}
    description = tool.description
    parameters = tool.parameters
    if tool.kind == "custom":
        parameters = Raw(encode(_FREE_TEXT))
        description = _with_grammar(description, tool.raw)
    if description is not None:
        out["description"] = description
    if parameters is None or parameters == NULL:
        return out
    if profile.tool_schema == "json_schema":
        out["parametersJsonSchema"] = parameters
        return out
    reduced = to_openapi(parameters)
    if reduced is not None:
        out["parameters"] = reduced
    return out


_FREE_TEXT = {
    "type": "object",
    "properties": {"input": {"type": "string", "description": "The tool's input: free text, not JSON."}},
    "required": ["input"],
}


def _with_grammar(description: str | None, raw: Raw | None) -> str | None:
    """A custom tool's grammar, told in words: a function cannot be bound to one."""
    if raw is None:
        return description
    entry = msgspec.json.decode(raw, type=dict[str, Any])
    form = entry.get("custom", entry).get("format") or {}
    form = form.get("grammar", form)
    rules = form.get("definition")
    if not isinstance(rules, str):
        return description
    told = f"The input must follow this grammar ({form.get('syntax', 'lark')}):\n{rules}"
    return f"{description}\n\n{told}" if description else told


def write_tool_config(
    request: Request, names: ToolNames, spelled: Iterable[str], *, has_functions: bool
) -> Json | None:
    own = request.dialect == NAME
    out: Json = {}
    rest = request.extras.get("toolConfig") if own else None
    choice = request.tool_choice
    if choice is not None and (own or has_functions):
        calling = _write_own_choice(choice) if own else _write_choice(choice, request.tools, names)
        out["functionCallingConfig"] = calling
    if rest is not None:
        out.update(read.fields(rest, "toolConfig"))
    elif not out:
        return None
    return respell(out, spelled)


def _write_own_choice(choice: ToolChoice) -> Json:
    said = {"auto": "AUTO", "none": "NONE", "required": "ANY", "named": "ANY"}[choice.mode]
    out: Json = {"mode": said, **(choice.extras or {})}
    if isinstance(out["mode"], Raw) and out["mode"] == NULL:
        del out["mode"]
    if choice.names:
        out["allowedFunctionNames"] = choice.names
    return out


def _write_choice(choice: ToolChoice, tools: Iterable[Tool], names: ToolNames) -> Json:
    spaces = {tool.name: tool.namespace for tool in tools}
    sent = [names.sent(name, spaces.get(name)) for name in choice.names]
    if choice.mode in {"required", "named"}:
        return {"mode": "ANY", "allowedFunctionNames": sent} if sent else {"mode": "ANY"}
    if choice.mode == "none":
        return {"mode": "NONE"}
    # AUTO takes no list of names; VALIDATED is the mode that may call one of them or answer in words.
    return {"mode": "VALIDATED", "allowedFunctionNames": sent} if sent else {"mode": "AUTO"}
