"""One part of a Gemini content and its neutral twin, in both directions.

What must stay true: a part that was read is written as equal JSON. Fields that the neutral form does not know wait in
`extras`; keys that begin with `~` are notes of ours on how the part was spelled and never reach the wire.
"""

from collections.abc import Iterable
from typing import Any, cast

import msgspec
from msgspec import Raw

from wayport.dialects.gemini_content_calls import AnswerCalls, HistoryCalls, was_made
from wayport.dialects.gemini_content_media import is_url_safe, make_media, read_source, write_media
from wayport.dialects.gemini_content_words import NAME
from wayport.dialects.neutral import (
    Audio,
    Document,
    Extras,
    Image,
    Issuer,
    Media,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
    Video,
)
from wayport.dialects.tool_names import ToolNames
from wayport.wire.gemini_content import (
    CAMEL_OF,
    NOTHING,
    NULL,
    SNAKE_OF,
    TRUE,
    Object,
    PlainPart,
    decode_object,
    decode_objects,
    encode,
    optional_string,
)

Json = dict[str, Any]
"""an object to be written; values may be `Raw`"""
Calls = AnswerCalls | HistoryCalls

SNAKE = "~snake"
NO_ID = "~noid"

_DATA = frozenset(
    {
        "text",
        "inlineData",
        "fileData",
        "functionCall",
        "functionResponse",
        "executableCode",
        "codeExecutionResult",
        "toolCall",
        "toolResponse",
        "audioTranscription",
    }
)
_JSON_OBJECT = msgspec.json.Decoder(dict[str, Raw]).decode
_ANY = msgspec.json.Decoder().decode
_decode_names = msgspec.json.Decoder(list[str]).decode


# ------------------------------------------------------------------------------------------------------------ reading
def to_camel(fields: Object, spelled: set[str]) -> Object:
    """The documented spelling of an object's known fields; notes in `spelled` which were written in snake_case."""
    if not any("_" in key for key in fields):
        return fields
    out: Object = {}
    for key, value in fields.items():
        camel = CAMEL_OF.get(key)
        if camel is None:
            out[key] = value
        else:
            spelled.add(key)
            out[camel] = value
    return out


def take_text(fields: Object, key: str) -> str | None:
    """Takes a string out of an object; None when it is absent or null."""
    return optional_string(fields.pop(key, None))


def read_part(fields: Object, calls: Calls, choice: int = 0) -> Part:
    """A part of an answer or of a request. Takes `fields` apart. Raises msgspec's errors for wrong types."""
    spelled: set[str] = set()
    fields = to_camel(fields, spelled)
    if NULL in fields.values():
        # What is null is not there.
        fields = {key: value for key, value in fields.items() if value != NULL or key not in _DATA}
    kind = next((key for key in fields if key in _DATA), "")
    thought = fields.get("thought")
    is_thought = thought is not None and bytes(thought) == b"true"
    if kind == "text":
        return _read_text(fields, spelled, thought=is_thought)
    if kind == "functionCall":
        return _read_call(fields, spelled, calls, choice)
    if kind == "functionResponse":
        return _read_result(fields, spelled, calls)
    # An image that is itself a thought is no answer: only Gemini's own clients know what to do with it.
    if kind in {"inlineData", "fileData"} and not is_thought:
        inner = to_camel(decode_object(fields.pop(kind)), spelled)
        source = read_source(kind, inner, fields)
        signature = take_text(fields, "thoughtSignature")
        return make_media(source, _extras(fields, spelled, kind, inner), signature)
    return Opaque(dialect=NAME, raw=Raw(encode(_respell(fields, spelled))), kind=kind)


_THOUGHT_OR_NOT = (NOTHING, TRUE)


def is_plain(part: PlainPart) -> bool:
    """Whether `plain_part` can read it: one thing, and a thought only if it is a text."""
    if part.text is not None:
        return part.inline_data is None and part.function_call is None and part.thought in _THOUGHT_OR_NOT
    if part.thought != NOTHING or (part.inline_data is None) == (part.function_call is None):
        return False
    return part.inline_data is None or not is_url_safe(part.inline_data.data)


def plain_part(given: PlainPart, calls: AnswerCalls, choice: int) -> Part:
    """As `read_part`, of a part that is plain."""
    signature = given.thought_signature
    if (text := given.text) is not None:
        if given.thought == NOTHING:
            return Text(text=text, signature=signature)
        return Reasoning(text=text, signature=signature, issuer="gemini" if signature is not None else None)
    if (blob := given.inline_data) is not None:
        return make_media(Media(kind="base64", value=blob.data, media_type=blob.mime_type), None, signature)
    call = given.function_call
    assert call is not None
    return ToolCall(
        id=call.id or calls.next_id(choice, call.name),
        name=call.name,
        arguments=_compact(bytes(call.args)).decode(),
        signature=signature,
    )


def _extras(fields: Object, spelled: set[str], key: str = "", inner: Object | None = None) -> Extras | None:
    """What is left of a part, with what is left of the object under `key`."""
    if inner:
        fields[key] = Raw(encode(inner))
    if spelled:
        fields[SNAKE] = Raw(encode(sorted(spelled)))
    return fields or None


def _read_text(fields: Object, spelled: set[str], *, thought: bool) -> Text | Reasoning:
    text = take_text(fields, "text") or ""
    signature = take_text(fields, "thoughtSignature")
    if not thought:
        return Text(text=text, signature=signature, extras=_extras(fields, spelled))
    del fields["thought"]
    issuer: Issuer | None = "gemini" if signature is not None else None
    return Reasoning(text=text, signature=signature, issuer=issuer, extras=_extras(fields, spelled))


def _read_call(fields: Object, spelled: set[str], calls: Calls, choice: int) -> ToolCall:
    inner = to_camel(decode_object(fields.pop("functionCall")), spelled)
    name = take_text(inner, "name") or ""
    call_id = take_text(inner, "id")
    args = inner.pop("args", None)
    if isinstance(calls, AnswerCalls):
        call_id = call_id or (calls.next_id(choice, name) if name else "")
    else:
        call_id = call_id or calls.next_id(name)
        calls.called(call_id, name)
    return ToolCall(
        id=call_id,
        name=name,
        arguments="" if args is None else _compact(bytes(args)).decode(),
        signature=take_text(fields, "thoughtSignature"),
        extras=_extras(fields, spelled, "functionCall", inner),
    )


def _compact(args: bytes) -> bytes:
    """Google indents its whole answers, and the arguments in them; clients show them as they come."""
    return msgspec.json.format(args, indent=-1) if b"\n" in args else args


def _read_result(fields: Object, spelled: set[str], calls: Calls) -> ToolResult:
    inner = to_camel(decode_object(fields.pop("functionResponse")), spelled)
    name = take_text(inner, "name") or ""
    given = take_text(inner, "id")
    call_id = calls.answered(given, name) if isinstance(calls, HistoryCalls) else given or ""
    if given is None:
        fields[NO_ID] = Raw(b"true")
    elif given != call_id:
        inner["id"] = Raw(encode(given))
    structured = inner.pop("response", None)
    parts: list[Part] = []
    is_error = None
    if structured is not None:
        text, failed = readable(structured)
        is_error = True if failed else None
        if text:
            parts.append(Text(text=text))
    media = inner.pop("parts", None)
    if media is not None:
        parts.extend(read_part(item, calls) for item in decode_objects(media))
    extras = _extras(fields, spelled, "functionResponse", inner)
    return ToolResult(call_id=call_id, parts=parts, name=name, is_error=is_error, structured=structured, extras=extras)


def readable(structured: Raw) -> tuple[str, bool]:
    """What a response object says, for dialects whose results are text, and whether it tells of an error.

    The keys `output` and `error` are Google's; `result` is what its SDK writes for a plain value.
    """
    value = _ANY(structured)
    if value == {}:
        return "", False
    if isinstance(value, dict) and len(value) == 1:
        ((key, inner),) = value.items()
        if key in {"output", "result", "error"}:
            return (inner if isinstance(inner, str) else encode(inner).decode()), key == "error"
    return bytes(structured).decode(), False


# ------------------------------------------------------------------------------------------------------------ writing
def write_part(part: Part, *, own: bool, names: ToolNames | None = None) -> Json | Raw | None:
    """The part as JSON; None when Gemini has no place for it. `own`: its extras were read from this dialect."""
    if isinstance(part, Opaque):
        if part.dialect == NAME:
            return part.raw
        return {"text": part.text} if part.text else None
    extras = (part.extras or {}) if own else {}
    match part:
        case Text():
            out: Json = {"text": part.text}
            if part.signature is not None:
                out["thoughtSignature"] = part.signature
        case Refusal():
            out = {"text": part.text}
        case Reasoning():
            out = {"text": part.text, "thought": True}
            if part.signature is not None and part.issuer == "gemini":
                out["thoughtSignature"] = part.signature
        case ToolCall():
            out = _write_call(part, names, own=own)
        case ToolResult():
            out = _write_result(part, extras, names, own=own)
        case Image() | Audio() | Video() | Document():
            media = write_media(part, extras, own=own)
            if media is None:
                return None
            out = media
    return with_extras(out, extras) if extras else out


def with_extras(out: Json, extras: Extras) -> Json:
    """Adds what was read beside the known fields, and spells all of it as it was."""
    for key, value in extras.items():
        if key.startswith("~"):
            continue
        if isinstance(out.get(key), dict):
            out[key].update(decode_object(value))
        else:
            out[key] = value
    spelled = extras.get(SNAKE)
    return out if spelled is None else respell(out, _decode_names(spelled))


def respell(value: Json, spelled: Iterable[str]) -> Json:
    """The object with the fields in `spelled` written in snake_case again. `Raw` values are left alone."""
    return cast("Json", _respell(value, frozenset(spelled)))


def _respell(value: Any, spelled: Iterable[str]) -> Any:
    if isinstance(value, dict):
        return {
            (SNAKE_OF[key] if SNAKE_OF.get(key, "") in spelled else key): _respell(inner, spelled)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_respell(inner, spelled) for inner in value]
    return value


def _write_call(part: ToolCall, names: ToolNames | None, *, own: bool) -> Json:
    call: Json = {}
    if part.name or not own:
        call["name"] = names.sent(part.name, part.namespace) if names else part.name
    if part.id and not was_made(part.id):
        call["id"] = part.id
    if part.arguments or not own:
        call["args"] = arguments_of(part)
    out: Json = {"functionCall": call}
    if part.signature is not None:
        out["thoughtSignature"] = part.signature
    return out


def arguments_of(part: ToolCall) -> Raw:
    """A call's arguments as the JSON object that Gemini demands: free text and broken JSON stand under `input`."""
    if not part.arguments.strip():
        return Raw(b"{}")
    if part.kind == "function" and _is_object(part.arguments):
        return Raw(part.arguments.encode())
    return Raw(encode({"input": part.arguments}))


def _write_result(part: ToolResult, extras: Extras, names: ToolNames | None, *, own: bool) -> Json:
    name = part.name or ""
    out: Json = {"name": names.sent(name) if names else name}
    if part.call_id and not was_made(part.call_id) and NO_ID not in extras:
        out["id"] = part.call_id
    if part.parts or part.structured is not None or not own:
        out["response"] = response_of(part)
    media = [write_part(item, own=own) for item in part.parts if not isinstance(item, Text | Refusal)]
    written = [item for item in media if item is not None]
    if written:
        out["parts"] = written
    return {"functionResponse": out}


def response_of(part: ToolResult) -> Raw:
    """The response object: as it was written if nobody changed its text; JSON objects as they are; else wrapped."""
    text = "".join(item.text for item in part.parts if isinstance(item, Text | Refusal))
    if part.structured is not None and readable(part.structured)[0] == text:
        return part.structured
    if part.is_error:
        return Raw(encode({"error": text}))
    if _is_object(text):
        return Raw(text.encode())
    if text.lstrip().startswith("[") and _is_json(text):
        return Raw(encode({"result": Raw(text.encode())}))
    return Raw(encode({"result": text}))


def _is_object(text: str) -> bool:
    try:
        _JSON_OBJECT(text)
    except (msgspec.MsgspecError, UnicodeError):
        return False
    return True


def _is_json(text: str) -> bool:
    try:
        _ANY(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False
    return True
