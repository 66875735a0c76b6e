"""A client's chat request, read into the neutral form. Every refusal names the field.

What must stay true: what is written back to an upstream of this dialect is equal JSON. Nulls, and whatever the neutral
form has no word for, stay in the extras of the object they stood in.
"""

from msgspec import Raw

from wayport.core.errors import BadRequest
from wayport.dialects import openai_read as read
from wayport.dialects.neutral import (
    Audio,
    Media,
    Message,
    Part,
    Refusal,
    Request,
    Role,
    Text,
    ToolCall,
    ToolResult,
)
from wayport.dialects.openai_chat_control import merged
from wayport.dialects.openai_chat_parts import mark_message, read_parts
from wayport.dialects.openai_chat_reasoning import take_reasoning
from wayport.dialects.openai_chat_settings import SETTINGS
from wayport.dialects.openai_chat_tools import (
    LEGACY,
    read_calls,
    read_function_call,
    signature_in,
)
from wayport.dialects.openai_read import Object, is_empty, is_null
from wayport.wire.openai_chat import OWN_FIELDS, PlainMessage, plain_message_decoder, plain_messages_decoder
from wayport.wire.patch import Fields

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "developer",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}


def decode_request(fields: Fields) -> Request:
    given = dict(fields) if OWN_FIELDS.issuperset(fields) else merged(fields)[0]
    raw = given.pop("messages", None)
    if raw is None:
        raise BadRequest(
            "`messages` is missing: it must be a list of messages, each with a `role` and `content`.",
            param="messages",
            code="missing_required_parameter",
        )
    model = read.text(read.need(given, "model", ""), "model")
    del given["model"]
    # Where tools are offered they were called, too, as a rule, and not all is plain.
    messages = (None if "tools" in given else _plain_messages(raw)) or _Messages().read(raw)
    request = Request(dialect="openai_chat", model=model, messages=messages)
    for name, item in given.items():
        reader = SETTINGS.get(name)
        if reader is None or is_null(item):
            request.extras[name] = item
        else:
            reader(request, item)
    limit = given.get("max_completion_tokens")
    if limit is not None and not is_null(limit):
        # Both given: the newer name is the one that counts.
        request.sampling.max_output_tokens = read.whole(limit, "max_completion_tokens")
    elif "max_tokens" in given:
        request.spelling["max_tokens"] = True
    return request


# ----------------------------------------------------------------------------------------------------------- messages
class _Messages:
    """Reads the messages in order; the older function calls have no ids and are paired by order."""

    def __init__(self) -> None:
        self._functions = 0
        self._function_id = ""
        self._custom: set[str] = set()

    def read(self, raw: Raw) -> list[Message]:
        items = read.items(raw, "messages")
        if not items:
            raise BadRequest("`messages` is empty: at least one message is needed.", param="messages")
        return [_plain(item) or self._read_one(item, f"messages[{number}]") for number, item in enumerate(items)]

    def _read_one(self, raw: Raw, path: str) -> Message:
        given = read.fields(raw, path)
        word = read.text(read.need(given, "role", path), f"{path}.role")
        role = _ROLES.get(word)
        if role is None:
            raise BadRequest(
                f"`{path}.role` is `{word}`, which is not one of system, developer, user, assistant, tool, function.",
                param=f"{path}.role",
                code="invalid_value",
            )
        del given["role"]
        if role == "tool":
            return self._read_result(given, path, older=word == "function")
        message = Message(role=role, parts=[])
        if role == "assistant":
            self._read_assistant(message, given, path)
        else:
            self._read_content(message, given, path)
        name = given.get("name")
        if name is not None and not is_null(name):
            message.name = read.text(name, f"{path}.name")
            del given["name"]
        mark_message(given, message.parts, path)
        message.extras = given or None
        return message

    def _read_content(self, message: Message, given: Object, path: str) -> None:
        raw = given.get("content")
        if raw is None or is_null(raw):
            return
        message.plain, parts = _content(raw, f"{path}.content")
        if not parts or (message.role == "assistant" and is_empty(raw)):
            # An assistant that only called tools: no text, spelled "" or [] and not null.
            return
        del given["content"]
        message.parts.extend(parts)

    def _read_assistant(self, message: Message, given: Object, path: str) -> None:
        message.parts.extend(take_reasoning(given, path))
        self._read_content(message, given, path)
        _read_text_signature(message.parts, given)
        refusal = given.get("refusal")
        if refusal is not None and not is_empty(refusal):
            message.parts.append(Refusal(text=read.text(refusal, f"{path}.refusal")))
            del given["refusal"]
        audio = given.get("audio")
        if audio is not None and not is_null(audio):
            message.parts.append(_read_audio_reference(audio, f"{path}.audio"))
            del given["audio"]
        calls = given.get("tool_calls")
        if calls is not None and not is_empty(calls):
            message.parts.extend(self._read_calls(calls, f"{path}.tool_calls"))
            del given["tool_calls"]
        older = given.get("function_call")
        if older is not None and not is_null(older):
            self._functions += 1
            self._function_id = f"call_function_{self._functions}"
            message.parts.append(read_function_call(older, f"{path}.function_call", identity=self._function_id))
            del given["function_call"]

    def _read_calls(self, raw: Raw, path: str) -> list[ToolCall]:
        calls = read_calls(raw, path)
        for number, call in enumerate(calls):
            if not call.id:
                raise BadRequest(
                    f"`{path}[{number}].id` is missing: a tool call needs an id, which its result repeats.",
                    param=f"{path}[{number}].id",
                    code="missing_required_parameter",
                )
            if call.kind == "custom":
                self._custom.add(call.id)
        return calls

    def _read_result(self, given: Object, path: str, *, older: bool) -> Message:
        result = ToolResult(call_id=self._function_id)
        if older:
            result.name = read.text(read.need(given, "name", path), f"{path}.name")
            result.extras = {LEGACY: Raw(b"true")}
            del given["name"]
        else:
            result.call_id = read.text(read.need(given, "tool_call_id", path), f"{path}.tool_call_id")
            del given["tool_call_id"]
            name = given.get("name")
            if name is not None and not is_null(name):
                result.name = read.text(name, f"{path}.name")
                del given["name"]
        if result.call_id in self._custom:
            result.kind = "custom"
        raw = given.get("content")
        if raw is not None and not is_null(raw):
            result.plain, result.parts = _content(raw, f"{path}.content")
            del given["content"]
        message = Message(role="tool", parts=[result])
        mark_message(given, message.parts, path)
        message.extras = given or None
        return message


def _plain_messages(raw: Raw) -> list[Message] | None:
    """Messages that are a role and a text each, read in one go; None for all others, and for what is wrong."""
    try:
        given = plain_messages_decoder.decode(raw)
    except (ValueError, RecursionError):
        return None
    messages = [message for each in given if (message := _of_plain(each)) is not None]
    return messages if len(messages) == len(given) else None


def _plain(raw: Raw) -> Message | None:
    """The same of one message."""
    try:
        given = plain_message_decoder.decode(raw)
    except (ValueError, RecursionError):
        return None
    return _of_plain(given)


def _of_plain(given: PlainMessage) -> Message | None:
    if given.role == "assistant" and not given.content:
        # That it says nothing may mean something.
        return None
    return Message(role=given.role, parts=[Text(text=given.content)], plain=True)


def _content(raw: Raw, path: str) -> tuple[bool, list[Part]]:
    """Whether the content is a bare string, and its parts."""
    first = bytes(raw)[:1]
    if first == b'"':
        return True, [Text(text=read.text(raw, path))]
    if first == b"[":
        return False, read_parts(raw, path)
    raise BadRequest(f"`{path}` must be a string or a list of content parts.", param=path, code="invalid_type")


def _read_text_signature(parts: list[Part], given: Object) -> None:
    """A signature beside the content belongs to its last text. It stays in the extras, where it was."""
    if "extra_content" in given:
        texts = [part for part in parts if isinstance(part, Text)]
        if texts:
            texts[-1].signature = signature_in({"extra_content": given["extra_content"]})


def _read_audio_reference(raw: Raw, path: str) -> Audio:
    inner = read.fields(raw, path)
    identity = read.text(read.need(inner, "id", path), f"{path}.id")
    del inner["id"]
    return Audio(source=Media(kind="file", value=identity), id=identity, extras=inner or None)
