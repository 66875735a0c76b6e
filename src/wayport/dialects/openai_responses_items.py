"""Items of the Responses dialect, both ways: what the client sends as `input` and what the model gives as `output`.

What the model said (messages, reasoning, calls, and every item that only this dialect knows) becomes parts of one
assistant message, in order, so that other dialects see a turn as they know it; notes in the parts' extras tell the
items apart again.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, get_args

from msgspec import Raw

from wayport.dialects.neutral import (
    Extras,
    Message,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Role,
    Text,
    ToolCall,
    ToolResult,
)
from wayport.dialects.openai_responses_parts import (
    ITEM,
    MORE,
    NAME,
    PLAIN,
    decode_content,
    encode_content,
    is_text,
    need_text,
    raw_of,
    take_list,
    take_text,
    written,
)
from wayport.dialects.openai_responses_seals import SEALED, Seals, open_seal
from wayport.wire.openai_responses import LIST, NULL, OBJECT, STRING, TAG, TRUE

_ROLES = frozenset(get_args(Role)) - {"tool", "assistant"}


# ------------------------------------------------------------------------------------------------------------- input
def decode_input(items: Sequence[Raw]) -> list[Message]:
    """The conversation. Raises ValueError that begins with the path of what is wrong."""
    messages: list[Message] = []
    seals = Seals()
    turn: Message | None = None
    for number, raw in enumerate(items):
        try:
            decoded = _input_item(raw, seals)
        except (ValueError, KeyError) as error:
            raise ValueError(f"input[{number}]: {error}") from error
        if isinstance(decoded, Message):
            messages.append(decoded)
            turn = None
        elif decoded:
            seals.see(decoded)
            if turn is None:
                turn = Message(role="assistant", parts=[])
                messages.append(turn)
            turn.parts.extend(decoded)
    seals.apply(part for message in messages for part in message.parts)
    return messages


def _input_item(raw: Raw, seals: Seals) -> Message | list[Part]:
    tag = TAG.decode(raw)
    kind = tag.type or ("message" if tag.role else "item_reference")
    if kind == "message" and tag.role in _ROLES:
        return _message(OBJECT.decode(raw), raw)
    if kind in ("function_call_output", "custom_tool_call_output"):
        return _tool_output(OBJECT.decode(raw), kind)
    return decode_item(kind, raw, seals)


def _message(fields: dict[str, Raw], raw: Raw) -> Message | list[Part]:
    role: Role = need_text(fields, "role")  # type: ignore[assignment]  # the caller looked
    content = fields.pop("content", NULL)
    message_id = take_text(fields, "id")
    if is_text(content):
        parts: list[Part] = [Text(text=STRING.decode(content))]
    elif content == NULL:
        return [Opaque(dialect=NAME, raw=raw, kind="message")]
    else:
        parts = [decode_content(each, "input_text") for each in LIST.decode(content)]
    plain = is_text(content)
    return Message(role=role, parts=parts, plain=plain, id=message_id, extras=fields or None)


def _tool_output(fields: dict[str, Raw], kind: str) -> Message:
    del fields["type"]
    output = fields.pop("output", NULL)
    plain = is_text(output)
    result = ToolResult(
        call_id=take_text(fields, "call_id") or "",
        name=take_text(fields, "name"),
        plain=plain,
        kind="custom" if kind == "custom_tool_call_output" else "function",
    )
    if plain:
        result.parts = [Text(text=STRING.decode(output))]
    elif output != NULL:
        result.parts = [decode_content(each, "input_text") for each in LIST.decode(output)]
    else:
        raise ValueError("`output` is missing")
    result.extras = fields or None
    return Message(role="tool", parts=[result])


# ------------------------------------------------------------------------------------------------------------ output
def decode_output(items: Iterable[Raw]) -> list[Part]:
    """The parts of an answer."""
    seals = Seals()
    parts: list[Part] = []
    for raw in items:
        decoded = decode_item(TAG.decode(raw).type or "", raw, seals)
        seals.see(decoded)
        parts.extend(decoded)
    seals.apply(parts)
    return parts


def decode_item(kind: str, raw: Raw, seals: Seals) -> list[Part]:
    """The parts of one item that the model made; none for an envelope of ours that speaks of another part."""
    match kind:
        case "message":
            return _model_message(raw)
        case "function_call":
            return [_call(OBJECT.decode(raw), "arguments")]
        case "custom_tool_call":
            call = _call(OBJECT.decode(raw), "input")
            call.kind = "custom"
            return [call]
        case "reasoning":
            return _reasoning(OBJECT.decode(raw), raw, seals)
        case _:
            return [Opaque(dialect=NAME, raw=raw, kind=kind)]


def _model_message(raw: Raw) -> list[Part]:
    fields = OBJECT.decode(raw)
    content = fields.pop("content", NULL)
    around = raw_of(fields)
    if is_text(content):
        return [Text(text=STRING.decode(content), extras={ITEM: around, PLAIN: TRUE})]
    if content == NULL:
        return [Opaque(dialect=NAME, raw=raw, kind="message")]
    parts = [decode_content(each, "output_text") for each in LIST.decode(content)]
    if not parts or not all(isinstance(part, Text | Refusal) for part in parts):
        text = "".join(part.text for part in parts if isinstance(part, Text))
        return [Opaque(dialect=NAME, raw=raw, kind="message", text=text or None)]
    for number, part in enumerate(parts):
        note_item(part, fields, around, last=number == len(parts) - 1)
    return parts


def note_item(part: Part, fields: Extras, around: Raw, *, last: bool) -> None:
    """Writes down which message item a text belongs to: all of its fields on its last part, all but the status before.

    A stream learns an item's final status after all but its last part were told.
    """
    assert isinstance(part, Text | Refusal)
    extras = dict(part.extras or {})
    if last:
        extras[ITEM] = around
    else:
        extras[ITEM] = raw_of({name: value for name, value in fields.items() if name != "status"})
        extras[MORE] = TRUE
    part.extras = extras


def _call(fields: dict[str, Raw], words: str) -> ToolCall:
    del fields["type"]
    return ToolCall(
        id=need_text(fields, "call_id"),
        name=need_text(fields, "name"),
        arguments=take_text(fields, words) or "",
        namespace=take_text(fields, "namespace"),
        item_id=take_text(fields, "id"),
        extras=fields or None,
    )


def _reasoning(fields: dict[str, Raw], raw: Raw, seals: Seals) -> list[Part]:
    del fields["type"]
    part = Reasoning(id=take_text(fields, "id"), encrypted=take_text(fields, "encrypted_content"))
    summary = take_list(fields, "summary")
    if summary is not None:
        part.summary = [text for each in summary if (text := _summary_text(each)) is not None]
        if len(part.summary) != len(summary):
            fields["@summary"] = raw_of(summary)
    content = take_list(fields, "content")
    if content is not None:
        texts = [_text_of(each) for each in content]
        part.text = "".join(text for text in texts if text is not None)
        if len(texts) != 1 or texts[0] is None:
            fields["@content"] = raw_of(content)
    if part.encrypted is not None:
        seal = open_seal(part.encrypted)
        if seal is not None:
            if seals.keep(seal):
                return []
            seal.restore(part)
            part.extras = {SEALED: raw}
            return [part]
        part.issuer = "openai"
    part.extras = fields or None
    return [part]


def _summary_text(raw: Raw) -> str | None:
    fields = OBJECT.decode(raw)
    if len(fields) != 2 or fields.get("type") != Raw(b'"summary_text"'):
        return None
    return take_text(fields, "text")


def _text_of(raw: Raw) -> str | None:
    fields = OBJECT.decode(raw)
    if len(fields) != 2 or fields.get("type") != Raw(b'"reasoning_text"'):
        return None
    return take_text(fields, "text")


# ------------------------------------------------------------------------------------------------------------ encode
def encode_input(messages: Iterable[Message]) -> Iterator[Any]:
    """The items again, for messages that were decoded here. Reasoning that another provider signed is left out."""
    for message in messages:
        match message.role:
            case "assistant":
                yield from encode_items(part for part in message.parts if not _foreign(part))
            case "tool":
                for part in message.parts:
                    yield _encode_tool_output(part) if isinstance(part, ToolResult) else _loose(part)
            case _:
                yield _encode_message(message)


def _foreign(part: Part) -> bool:
    return isinstance(part, Reasoning) and SEALED in (part.extras or {})


def _encode_message(message: Message) -> dict[str, Any]:
    value: dict[str, Any] = {"role": message.role}
    if message.id is not None:
        value["id"] = message.id
    if message.plain and len(message.parts) == 1 and isinstance(message.parts[0], Text):
        value["content"] = message.parts[0].text
    else:
        value["content"] = [encode_content(part, "input_text") for part in message.parts]
    return {**value, **written(message.extras)}


def _loose(part: Part) -> Any:
    """A part without a message around it."""
    return part.raw if isinstance(part, Opaque) else {"role": "user", "content": [encode_content(part, "input_text")]}


def _encode_tool_output(part: ToolResult) -> dict[str, Any]:
    value: dict[str, Any] = {
        "type": "custom_tool_call_output" if part.kind == "custom" else "function_call_output",
    }
    extras = written(part.extras)
    if part.call_id or "call_id" not in extras:
        value["call_id"] = part.call_id
    if part.name is not None:
        value["name"] = part.name
    only = part.parts[0] if len(part.parts) == 1 else None
    if part.plain and isinstance(only, Text):
        value["output"] = only.text
    else:
        value["output"] = [encode_content(each, "input_text") for each in part.parts]
    return {**value, **extras}


def encode_items(parts: Iterable[Part]) -> Iterator[Any]:
    """The items that these parts of an assistant's turn were."""
    content: list[Any] = []
    for part in parts:
        match part:
            case Text() | Refusal():
                extras = part.extras or {}
                if PLAIN in extras and isinstance(part, Text):
                    yield {**OBJECT.decode(extras[ITEM]), "content": part.text}
                    continue
                content.append(encode_content(part, "output_text"))
                if MORE not in extras:
                    around = extras.get(ITEM)
                    yield {
                        **(OBJECT.decode(around) if around is not None else {"role": "assistant"}),
                        "content": content,
                    }
                    content = []
            case ToolCall():
                yield encode_call(part)
            case Reasoning():
                yield encode_reasoning(part)
            case Opaque():
                yield part.raw
            case _:
                content.append(encode_content(part, "output_text"))
    if content:
        yield {"role": "assistant", "content": content}


def encode_call(part: ToolCall) -> dict[str, Any]:
    custom = part.kind == "custom"
    value: dict[str, Any] = {"type": "custom_tool_call" if custom else "function_call"}
    if part.item_id is not None:
        value["id"] = part.item_id
    value["call_id"] = part.id
    value["name"] = part.name
    value["input" if custom else "arguments"] = part.arguments
    if part.namespace is not None:
        value["namespace"] = part.namespace
    return {**value, **written(part.extras)}


def encode_reasoning(part: Reasoning) -> Any:
    extras = part.extras or {}
    if SEALED in extras:
        return extras[SEALED]
    value: dict[str, Any] = {"type": "reasoning"}
    if part.id is not None:
        value["id"] = part.id
    if part.summary is not None:
        value["summary"] = extras.get("@summary") or [{"type": "summary_text", "text": each} for each in part.summary]
    if "@content" in extras:
        value["content"] = extras["@content"]
    elif part.text:
        value["content"] = [{"type": "reasoning_text", "text": part.text}]
    if part.encrypted is not None:
        value["encrypted_content"] = part.encrypted
    return {**value, **written(extras)}
