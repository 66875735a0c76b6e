"""Tools, the choice among them, and calls of them, as chat completions write them.

The older `functions` and `function_call` are the same things under other names; `legacy` in the extras of a tool, call
or result says that it was written so.
"""

from typing import Any

from msgspec import Raw

from wayport.core.errors import BadRequest
from wayport.dialects import openai_read as read
from wayport.dialects.neutral import Tool, ToolCall, ToolChoice
from wayport.dialects.openai_chat_parts import read_cache
from wayport.dialects.openai_read import Object, encode

Written = dict[str, Any]

LEGACY = "legacy"
_TRUE = Raw(b"true")
_ABSENT = Raw(b"false")
_RAW = "raw"


# -------------------------------------------------------------------------------------------------------------- tools
def read_tools(raw: Raw, path: str) -> list[Tool]:
    return [read_tool(item, f"{path}[{number}]") for number, item in enumerate(read.items(raw, path))]


def read_tool(raw: Raw, path: str) -> Tool:
    entry = read.fields(raw, path)
    if "type" not in entry and "function" in entry:  # Mistral's SDK leaves the type out
        kind, absent = "function", {"type": _ABSENT}
    else:
        kind, absent = read.text(read.need(entry, "type", path), f"{path}.type"), {}
    if kind == "function" and "function" not in entry and "name" in entry:
        # The shape of the Responses API, which some clients send here.
        del entry["type"]
        tool = _read_function(entry, path)
        tool.cache = read_cache(entry, path)
        return tool
    if kind == "function":
        inner = read.fields(read.need(entry, "function", path), f"{path}.function")
        tool = _read_function(inner, f"{path}.function")
        entry.pop("type", None)
        del entry["function"]
        tool.cache = read_cache(entry, path)
        if inner:
            entry["function"] = Raw(encode(inner))
        tool.extras = {**entry, **absent} or None
        return tool
    if kind == "custom":
        inner = read.fields(read.need(entry, "custom", path), f"{path}.custom")
        name = read.text(read.need(inner, "name", f"{path}.custom"), f"{path}.custom.name")
        description = inner.get("description")
        return Tool(
            name=name,
            kind="custom",
            description=read.text(description, f"{path}.custom.description") if description is not None else None,
            raw=Raw(bytes(raw)),
        )
    name_raw = entry.get("name")
    is_named = name_raw is not None and bytes(name_raw)[:1] == b'"'
    name = read.text(name_raw, f"{path}.name") if is_named and name_raw is not None else kind
    return Tool(name=name, kind="server", raw=Raw(bytes(raw)))


def _read_function(inner: Object, path: str) -> Tool:
    """Takes what is understood out of a function's object."""
    tool = Tool(name=read.text(read.need(inner, "name", path), f"{path}.name"))
    del inner["name"]
    raw = inner.get("description")
    if raw is not None and not read.is_null(raw):
        tool.description = read.text(raw, f"{path}.description")
        del inner["description"]
    raw = inner.get("parameters")
    if raw is not None and not read.is_null(raw):
        if bytes(raw)[:1] != b"{":
            read.fields(raw, f"{path}.parameters")
        tool.parameters = Raw(bytes(raw))
        del inner["parameters"]
    raw = inner.get("strict")
    if raw is not None and not read.is_null(raw):
        tool.strict = read.boolean(raw, f"{path}.strict")
        del inner["strict"]
    return tool


def read_functions(raw: Raw, path: str) -> list[Tool]:
    tools = []
    for number, item in enumerate(read.items(raw, path)):
        inner = read.fields(item, f"{path}[{number}]")
        tool = _read_function(inner, f"{path}[{number}]")
        tool.extras = {**inner, LEGACY: _TRUE}
        tools.append(tool)
    return tools


def is_legacy(extras: Object | None) -> bool:
    return extras is not None and LEGACY in extras


def function_object(tool: Tool, name: str, *, strict: bool) -> Written:
    written: Written = {"name": name}
    if tool.description is not None:
        written["description"] = tool.description
    if tool.parameters is not None:
        written["parameters"] = tool.parameters
    if tool.strict is not None and strict:
        written["strict"] = tool.strict
    return written


# ------------------------------------------------------------------------------------------------------------- choice
def read_choice(raw: Raw, path: str) -> ToolChoice:
    """Every form of `tool_choice`; what is not one of OpenAI's three words or a named function is kept as written too."""
    if bytes(raw)[:1] == b'"':
        word = read.text(raw, path)
        match word:
            case "auto" | "none" | "required":
                return ToolChoice(mode=word)
            case "any":
                return ToolChoice(mode="required", extras={_RAW: raw})
        raise BadRequest(
            f"`{path}` must be `auto`, `none`, `required` or an object that names a tool, but is `{word}`.", param=path
        )
    entry = read.fields(raw, path)
    kind = read.text(read.need(entry, "type", path), f"{path}.type")
    kept = {_RAW: Raw(bytes(raw))}
    match kind:
        case "function" | "custom":
            inner = read.fields(read.need(entry, kind, path), f"{path}.{kind}")
            name = read.text(read.need(inner, "name", f"{path}.{kind}"), f"{path}.{kind}.name")
            plain = kind == "function" and len(entry) == 2 and len(inner) == 1
            return ToolChoice(mode="named", names=[name], extras=None if plain else kept)
        case "allowed_tools":
            return _read_allowed(entry, kept, path)
        case "tool":  # Anthropic's spelling, accepted by LiteLLM
            name = read.text(read.need(entry, "name", path), f"{path}.name")
            return ToolChoice(mode="named", names=[name])
        case "auto" | "none":
            return ToolChoice(mode=kind)
        case "any" | "required":
            return ToolChoice(mode="required")
    return ToolChoice(mode="auto", extras=kept)


def _read_allowed(entry: Object, kept: Object, path: str) -> ToolChoice:
    at = f"{path}.allowed_tools"
    inner = read.fields(read.need(entry, "allowed_tools", path), at)
    mode = read.text(read.need(inner, "mode", at), f"{at}.mode")
    if mode not in ("auto", "required"):
        raise BadRequest(f"`{at}.mode` must be `auto` or `required`, but is `{mode}`.", param=f"{at}.mode")
    names = []
    for number, item in enumerate(read.items(read.need(inner, "tools", at), f"{at}.tools")):
        tool = read.fields(item, f"{at}.tools[{number}]")
        for kind in ("function", "custom"):
            if kind in tool:
                named = read.fields(tool[kind], f"{at}.tools[{number}].{kind}")
                if "name" in named:
                    names.append(read.text(named["name"], f"{at}.tools[{number}].{kind}.name"))
    return ToolChoice(mode="auto" if mode == "auto" else "required", names=names, extras=kept)


def choice_as_written(choice: ToolChoice) -> Raw | None:
    return choice.extras.get(_RAW) if choice.extras else None


def read_function_choice(raw: Raw, path: str) -> ToolChoice:
    """The older `function_call`: `none`, `auto` or `{"name": …}`."""
    if bytes(raw)[:1] == b'"':
        word = read.text(raw, path)
        if word not in ("auto", "none"):
            raise BadRequest(f"`{path}` must be `auto`, `none` or an object with a name, but is `{word}`.", param=path)
        return ToolChoice(mode="auto" if word == "auto" else "none")
    name = read.text(read.need(read.fields(raw, path), "name", path), f"{path}.name")
    return ToolChoice(mode="named", names=[name])


# -------------------------------------------------------------------------------------------------------------- calls
def read_calls(raw: Raw, path: str) -> list[ToolCall]:
    return [
        read_call(read.fields(item, f"{path}[{number}]"), f"{path}[{number}]")
        for number, item in enumerate(read.items(raw, path))
    ]


def read_call(entry: Object, path: str) -> ToolCall:
    """One entry of `tool_calls`. Its extras keep the signature's place as well as everything unknown."""
    identity = entry.pop("id", None)
    call = ToolCall(
        id=read.text(identity, f"{path}.id") if identity is not None and not read.is_null(identity) else "", name=""
    )
    is_custom = bytes(entry.get("type", b"")) == b'"custom"' or ("custom" in entry and "function" not in entry)
    field, content = ("custom", "input") if is_custom else ("function", "arguments")
    at = f"{path}.{field}"
    inner = read.fields(read.need(entry, field, path), at)
    call.kind = "custom" if is_custom else "function"
    call.name = read.text(read.need(inner, "name", at), f"{at}.name")
    del inner["name"], entry[field]
    arguments = inner.pop(content, _ABSENT)
    if read.is_null(arguments) or bytes(arguments) == bytes(_ABSENT):
        inner[content] = arguments
    else:
        # Some clients send the object itself where its text belongs.
        is_text = bytes(arguments)[:1] == b'"'
        call.arguments = (
            read.text(arguments, f"{at}.{content}") if is_text else bytes(arguments).decode("utf-8", "replace")
        )
    if bytes(entry.get("type", b"")) == (b'"custom"' if is_custom else b'"function"'):
        del entry["type"]
    elif "type" not in entry:
        entry["type"] = _ABSENT
    if inner:
        entry[field] = Raw(encode(inner))
    call.signature = signature_in(entry)
    call.cache = read_cache(entry, path)
    call.extras = entry or None
    return call


def signature_in(entry: Object) -> str | None:
    """A thought signature, where Google's endpoint writes it or where LiteLLM does."""
    for outer, inner in (("extra_content", "google"), ("provider_specific_fields", None), ("function", None)):
        raw = entry.get(outer)
        if raw is None or bytes(raw)[:1] != b"{":
            continue
        found: Any = read.value(raw, outer)
        if outer == "function":
            found = found.get("provider_specific_fields")
        if inner is not None and isinstance(found, dict):
            found = found.get(inner)
        if isinstance(found, dict) and isinstance(found.get("thought_signature"), str):
            return str(found["thought_signature"])
    return None


_SIGNATURE_FIELDS = ("extra_content", "provider_specific_fields")


def write_call(
    call: ToolCall, *, own: bool, name: str | None = None, identity: str | None = None, signatures: bool = True
) -> Written:
    """An entry of `tool_calls`. `signatures`: whether whoever reads it understands thought signatures."""
    extras: Object = (call.extras or {}) if own else {}
    field, content = ("custom", "input") if call.kind == "custom" else ("function", "arguments")
    inner: Written = {"name": name or call.name, content: call.arguments}
    written: Written = {"id": call.id if identity is None else identity, "type": field, field: inner}
    for key, raw in extras.items():
        if key == field:
            written[field] = _with_rest(inner, read.fields(raw, key), content)
        elif key == "type":
            if bytes(raw) == bytes(_ABSENT):
                del written["type"]
            else:
                written["type"] = raw
        elif key == LEGACY or (key in _SIGNATURE_FIELDS and not signatures):
            continue
        else:
            written[key] = raw
    if call.signature is not None and signatures and not own:
        written["extra_content"] = {"google": {"thought_signature": call.signature}}
        written["provider_specific_fields"] = {"thought_signature": call.signature}
    return written


def _with_rest(inner: Written, rest: Object, content: str) -> Written:
    """The function's object with what else it held; where there were no arguments, none, or the null that stood there."""
    spelled = rest.pop(content, None)
    if spelled is not None and not inner[content]:
        if bytes(spelled) == bytes(_ABSENT):
            del inner[content]
        else:
            inner[content] = spelled
    return {**inner, **rest}


def read_function_call(raw: Raw, path: str, *, identity: str) -> ToolCall:
    """The older `function_call` of a message; it has no id, so it is given one."""
    inner = read.fields(raw, path)
    name = read.text(read.need(inner, "name", path), f"{path}.name")
    arguments = inner.get("arguments")
    text = read.text(arguments, f"{path}.arguments") if arguments is not None and not read.is_null(arguments) else ""
    return ToolCall(id=identity, name=name, arguments=text, extras={LEGACY: _TRUE})
