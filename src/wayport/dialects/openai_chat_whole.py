"""Whole chat answers: read from an upstream, written for a client.

What must stay true: an answer of this dialect comes out as equal JSON. A null or an empty list, which the neutral form
does not tell from an absent field, stays in the extras of the message, choice or answer it stood in.
"""

from typing import Any

from msgspec import Raw

from wayport.core.errors import BadRequest
from wayport.dialects import openai_read as read
from wayport.dialects.neutral import (
    Audio,
    Choice,
    Document,
    Image,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Request,
    Response,
    Text,
    ToolCall,
    Video,
)
from wayport.dialects.openai_chat_encode import ANSWER_TOOL
from wayport.dialects.openai_chat_message import (
    as_custom,
    custom_names,
    is_heard,
    is_listed,
    read_annotation,
    read_audio,
    read_finish,
    read_listed,
    take_logprobs,
    unlisted,
    wants_function_call,
    write_annotation,
    write_audio,
    write_finish,
    write_image,
    write_logprobs,
)
from wayport.dialects.openai_chat_parts import read_part, write_thinking, write_whole
from wayport.dialects.openai_chat_reasoning import take_reasoning, write_reasoning
from wayport.dialects.openai_chat_tools import is_legacy, read_call, read_function_call, signature_in, write_call
from wayport.dialects.openai_chat_usage import read_usage, write_usage
from wayport.dialects.openai_read import Object, encode, is_empty, is_null
from wayport.wire import patch
from wayport.wire.openai_chat import plain_answer_message_decoder

Written = dict[str, Any]

_NOTHING = Raw()


# ------------------------------------------------------------------------------------------------------------ reading
def decode_response(body: bytes) -> Response:
    """Raises `ValueError` if the body is no chat completion."""
    try:
        given = patch.split(body)
        return _read_answer(given)
    except BadRequest as error:
        raise ValueError(error.message) from error


def _read_answer(given: Object) -> Response:
    raw_choices = given.pop("choices", None)
    if raw_choices is None or bytes(raw_choices)[:1] != b"[":
        raise ValueError("the answer has no list of choices")
    response = Response(dialect="openai_chat", id="", model="")
    response.id = _pop_text(given, "id") or ""
    response.model = _pop_text(given, "model") or ""
    response.service_tier = _pop_text(given, "service_tier")
    if bytes(given.get("object", b"")) == b'"chat.completion"':
        del given["object"]
    created = given.get("created")
    if created is not None and not is_null(created):
        response.created = int(read.number(created, "created"))
        del given["created"]
    usage = given.get("usage")
    if usage is not None and not is_null(usage):
        response.usage = read_usage(usage)
        response.usage_raw = Raw(bytes(usage))
        del given["usage"]
    for number, item in enumerate(read.items(raw_choices, "choices")):
        response.choices.append(_read_choice(read.fields(item, f"choices[{number}]"), number))
    response.extras = given
    return response


def _pop_text(given: Object, name: str) -> str | None:
    """A string, taken out; anything else stays."""
    raw = given.get(name)
    if raw is None or bytes(raw)[:1] != b'"':
        return None
    del given[name]
    return read.text(raw, name)


def _read_choice(given: Object, number: int) -> Choice:
    path = f"choices[{number}]"
    index = given.pop("index", None)
    choice = Choice(index=read.whole(index, f"{path}.index") if index is not None else number)
    raw = read.need(given, "message", path)
    del given["message"]
    if not _read_plain(raw, choice):
        message = read.fields(raw, f"{path}.message")
        choice.parts = _read_message(message, f"{path}.message")
        choice.message_extras = message
    has_calls = any(isinstance(part, ToolCall) for part in choice.parts)
    word = _pop_text(given, "finish_reason")
    if word is not None:
        choice.finish_raw = word
        choice.finish = read_finish(word, has_calls=has_calls)
    elif "finish_reason" in given and is_null(given["finish_reason"]):
        del given["finish_reason"]
    choice.logprobs, choice.refusal_logprobs = take_logprobs(given)
    choice.extras = given or None
    _unfold_answer_tool(choice)
    return choice


def _read_plain(raw: Raw, choice: Choice) -> bool:
    """Reads a message that is a text, in one go. False: it has to be looked at."""
    try:
        given = plain_answer_message_decoder.decode(raw)
    except (ValueError, RecursionError):
        return False
    extras: Object = {}
    for name, value in (("refusal", given.refusal), ("annotations", given.annotations)):
        if value != _NOTHING:
            if not is_empty(value):
                return False
            extras[name] = value
    choice.parts = [Text(text=given.content)]
    choice.message_extras = extras
    return True


def _read_message(given: Object, path: str) -> list[Part]:
    """Takes out of `given` what is understood; nulls and empty values stay."""
    if bytes(given.get("role", b"")) == b'"assistant"':
        del given["role"]
    parts: list[Part] = [*take_reasoning(given, path)]
    content = given.get("content")
    if content is not None and not is_empty(content):
        listed = bytes(content)[:1] == b"["
        parts.extend(
            read_listed(content, f"{path}.content") if listed else [Text(text=read.text(content, f"{path}.content"))]
        )
        del given["content"]
    texts = [part for part in parts if isinstance(part, Text)]
    annotations = given.get("annotations")
    if texts and annotations is not None and not is_empty(annotations):
        texts[0].citations = [read_annotation(item) for item in read.items(annotations, f"{path}.annotations")]
        del given["annotations"]
    if texts and "extra_content" in given:
        texts[-1].signature = signature_in({"extra_content": given["extra_content"]})
    refusal = given.get("refusal")
    if refusal is not None and not is_empty(refusal):
        parts.append(Refusal(text=read.text(refusal, f"{path}.refusal")))
        del given["refusal"]
    audio = given.get("audio")
    if audio is not None and bytes(audio)[:1] == b"{":
        heard = read.fields(audio, f"{path}.audio")
        if is_heard(heard):
            parts.append(read_audio(heard, f"{path}.audio"))
            del given["audio"]
    images = given.get("images")
    if images is not None and not is_empty(images):
        at = f"{path}.images"
        parts.extend(read_part(item, f"{at}[{n}]") for n, item in enumerate(read.items(images, at)))
        del given["images"]
    parts.extend(_read_calls(given, path))
    return parts


def _read_calls(given: Object, path: str) -> list[ToolCall]:
    calls: list[ToolCall] = []
    raw = given.get("tool_calls")
    if raw is not None and not is_empty(raw):
        at = f"{path}.tool_calls"
        calls = [read_call(read.fields(item, f"{at}[{n}]"), f"{at}[{n}]") for n, item in enumerate(read.items(raw, at))]
        del given["tool_calls"]
    raw = given.get("function_call")
    if raw is not None and not is_null(raw):
        named = read.fields(raw, f"{path}.function_call").get("name")
        if named is not None and not is_empty(named):
            calls.append(read_function_call(raw, f"{path}.function_call", identity="call_function_1"))
            del given["function_call"]
    return calls


def _unfold_answer_tool(choice: Choice) -> None:
    """The call of the tool that stood for a JSON schema is the answer itself."""
    for at, part in enumerate(choice.parts):
        if isinstance(part, ToolCall) and part.name == ANSWER_TOOL:
            choice.parts[at] = Text(text=part.arguments)
            if not any(isinstance(other, ToolCall) for other in choice.parts):
                choice.finish, choice.finish_raw = "stop", "stop"


# ------------------------------------------------------------------------------------------------------------ writing
def encode_response(response: Response, request: Request | None) -> bytes:
    own = response.dialect == "openai_chat"
    body: Written = {
        "id": response.id,
        "object": "chat.completion",
        "created": response.created or 0,
        "model": response.model,
        "choices": [_write_choice(choice, request, own=own) for choice in response.choices],
    }
    if own and response.usage_raw is not None:
        body["usage"] = response.usage_raw
    elif response.usage is not None:
        body["usage"] = write_usage(response.usage)
    if response.service_tier is not None:
        body["service_tier"] = response.service_tier
    if own:
        if response.created is None and "created" in response.extras:
            del body["created"]
        for name in ("object", *response.extras):
            if name in response.extras:
                body[name] = response.extras[name]
    return encode(body)


def _write_choice(choice: Choice, request: Request | None, *, own: bool) -> Written:
    if not own and (text := _only_text(choice)) is not None:
        return {
            "index": choice.index,
            "message": {"role": "assistant", "content": text, "refusal": None},
            "finish_reason": write_finish(
                choice.finish, None, own=False, older=choice.finish == "tool_calls" and wants_function_call(request)
            ),
            "logprobs": None,
        }
    older = not own and wants_function_call(request)
    written: Written = {
        "index": choice.index,
        "message": _write_message(choice, custom_names(request), own=own, older=older),
        "finish_reason": write_finish(choice.finish, choice.finish_raw, own=own, older=older),
    }
    extras: Object = (choice.extras or {}) if own else {}
    if choice.logprobs is not None or choice.refusal_logprobs is not None:
        kept = extras.get("logprobs")
        is_object = kept is not None and not is_null(kept)
        logprobs: Written = {} if is_object else {"content": None, "refusal": None}
        if choice.logprobs is not None:
            logprobs["content"] = write_logprobs(choice.logprobs)
        if choice.refusal_logprobs is not None:
            logprobs["refusal"] = write_logprobs(choice.refusal_logprobs)
        written["logprobs"] = {**read.fields(kept, "logprobs"), **logprobs} if kept and is_object else logprobs
    elif not own:
        written["logprobs"] = None
    for name, raw in extras.items():
        written.setdefault(name, raw)
    return written


def _only_text(choice: Choice) -> str | None:
    """The text that is all that a choice of another dialect holds."""
    parts = choice.parts
    if len(parts) != 1 or type(part := parts[0]) is not Text or part.citations or part.signature is not None:
        return None
    return part.text if choice.logprobs is None and choice.refusal_logprobs is None else None


def _write_message(choice: Choice, custom: frozenset[str], *, own: bool, older: bool) -> Written:
    message: Written = {"role": "assistant"}
    content = write_content(choice.parts, own=own)
    if content is not None:
        message["content"] = content
    annotations = _annotations(choice.parts)
    if annotations:
        message["annotations"] = annotations
    signatures = [part.signature for part in choice.parts if isinstance(part, Text) and part.signature is not None]
    if signatures and not own:
        message["extra_content"] = {"google": {"thought_signature": signatures[-1]}}
    thoughts = [part for part in choice.parts if isinstance(part, Reasoning) and not _in_content(part, own=own)]
    message.update(write_reasoning(thoughts, own=own))
    images: list[Written] = []
    for part in choice.parts:
        if isinstance(part, Refusal):
            message["refusal"] = message.get("refusal", "") + part.text
        elif isinstance(part, Audio):
            message["audio"] = write_audio(part, own=own)
        elif isinstance(part, Image) and not (own and is_listed(part)):
            images.append(write_image(part, len(images), own=own))
    if images:
        message["images"] = images
    calls = [part for part in choice.parts if isinstance(part, ToolCall)]
    legacy = [call for call in calls if (own and is_legacy(call.extras)) or older]
    if legacy:
        message["function_call"] = {"name": legacy[0].name, "arguments": legacy[0].arguments}
    newer = [as_custom(call, custom) for call in calls if call not in legacy] if not older else []
    if newer:
        message["tool_calls"] = [write_call(call, own=own) for call in newer]
    if choice.message_extras is None or not own:
        message.setdefault("content", None)
        message.setdefault("refusal", None)
    else:
        for name, raw in choice.message_extras.items():
            message.setdefault(name, raw) if name != "role" else message.update(role=raw)
    return message


def _in_content(part: Reasoning, *, own: bool) -> bool:
    """Mistral's thinking stands among the parts of the content."""
    return own and part.extras is not None and "type" in part.extras


def write_content(parts: list[Part], *, own: bool) -> str | list[Written] | None:
    """`content`: a string, a list where the upstream of this dialect wrote one, or None where nothing was said."""
    listed = own and any(
        isinstance(part, Opaque)
        or (isinstance(part, Text | Image) and is_listed(part))
        or (isinstance(part, Reasoning) and _in_content(part, own=own))
        for part in parts
    )
    if not listed:
        texts = [part.text for part in parts if isinstance(part, Text)]
        if not own:
            texts += [part.text for part in parts if isinstance(part, Opaque) and part.text is not None]
        return "".join(texts) if texts else None
    written: list[Written] = []
    for part in parts:
        if isinstance(part, Text) or (isinstance(part, Image) and is_listed(part)):
            written.append(write_whole(unlisted(part)))
        elif isinstance(part, Reasoning) and _in_content(part, own=own):
            written.append(write_thinking(part))
        elif isinstance(part, Opaque | Document | Video):
            written.append(write_whole(part))
    return written


def _annotations(parts: list[Part]) -> list[Written | Raw]:
    written: list[Written | Raw] = []
    offset = 0
    for part in parts:
        if isinstance(part, Text):
            written.extend(write_annotation(citation, offset, len(part.text)) for citation in part.citations)
            offset += len(part.text)
    return written
