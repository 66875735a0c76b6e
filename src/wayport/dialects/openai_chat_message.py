"""What an assistant's message of an answer holds: read from one, and written as the fields of one.

The same fields stand in a whole answer's `message` and in a stream's `delta`; here are the pieces that both share.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Raw

from wayport.dialects import openai_read as read
from wayport.dialects.neutral import (
    Audio,
    Citation,
    FinishReason,
    Image,
    Media,
    Part,
    Request,
    Text,
    TokenLogprob,
    ToolCall,
)
from wayport.dialects.openai_chat_parts import data_url_of, read_part
from wayport.dialects.openai_read import Object, encode

Written = dict[str, Any]

LISTED = "~list"
"""mark on a part that stood in a list as `content`, where OpenAI itself writes a string (Mistral)"""
_TRUE = Raw(b"true")

# ----------------------------------------------------------------------------------------------------- finish reasons
_FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",
    "end_turn": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "sensitive": "content_filter",
    "safety": "content_filter",
    "refusal": "refusal",
    "stop_sequence": "stop_sequence",
    "model_context_window_exceeded": "context_window",
    "error": "error",
    "network_error": "error",
    "insufficient_system_resource": "error",
    "malformed_function_call": "error",
}

_TOLD: dict[FinishReason, str] = {
    "stop": "stop",
    "stop_sequence": "stop",
    "pause": "stop",
    "length": "length",
    "context_window": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "refusal": "content_filter",
    "error": "error",
}


def finish_of(word: str) -> FinishReason:
    # As nearly all write it, it is found at once.
    return _FINISH.get(word) or _FINISH.get(word.lower(), "stop")


def read_finish(word: str, *, has_calls: bool) -> FinishReason:
    """Some say `stop`, or nothing, where tools were called."""
    finish = finish_of(word)
    return "tool_calls" if has_calls and finish == "stop" else finish


def write_finish(finish: FinishReason | None, word: str | None, *, own: bool, older: bool = False) -> str | None:
    if own and word is not None:
        return word
    if finish is None:
        return None
    return "function_call" if older and finish == "tool_calls" else _TOLD[finish]


# ---------------------------------------------------------------------------------------------------------- citations
class _UrlCitation(msgspec.Struct, frozen=True):
    url: str | None = None
    title: str | None = None
    start_index: int | None = None
    end_index: int | None = None
    content: str | None = None


class _Annotation(msgspec.Struct, frozen=True):
    type: str = ""
    url_citation: _UrlCitation | None = None


_annotation = msgspec.json.Decoder(_Annotation)
_citation = msgspec.json.Decoder(_UrlCitation)


def read_annotation(raw: Raw) -> Citation:
    kept = Raw(bytes(raw))
    try:
        entry = _annotation.decode(raw)
        inner = entry.url_citation or _citation.decode(raw)
    except ValueError:
        return Citation(kind="other", raw=kept, dialect="openai_chat")
    return Citation(
        kind="url" if entry.type == "url_citation" else entry.type,
        url=inner.url,
        title=inner.title,
        cited_text=inner.content,
        start=inner.start_index,
        end=inner.end_index,
        raw=kept,
        dialect="openai_chat",
    )


def write_annotation(citation: Citation, offset: int, length: int) -> Written | Raw:
    """`offset`: where the text that carries it begins in the content; `length`: of that text."""
    if citation.dialect == "openai_chat" and citation.raw is not None:
        return citation.raw
    start = offset + (citation.start or 0)
    end = offset + (citation.end if citation.end is not None else length)
    # Chat knows citations of the web alone; a document's is told in the same shape, without an address.
    inner: Written = {
        "url": citation.url or "",
        "title": citation.title or citation.url or "",
        "start_index": start,
        "end_index": end,
    }
    if citation.cited_text is not None:
        inner["content"] = citation.cited_text
    return {"type": "url_citation", "url_citation": inner}


# ------------------------------------------------------------------------------------------------------------ content
def read_listed(raw: Raw, path: str) -> list[Part]:
    """Parts of a content that is a list, each marked so."""
    parts = []
    for number, item in enumerate(read.items(raw, path)):
        part = read_part(item, f"{path}[{number}]")
        if isinstance(part, Text | Image):
            part.extras = {**(part.extras or {}), LISTED: _TRUE}
        parts.append(part)
    return parts


def is_listed(part: Text | Image) -> bool:
    return part.extras is not None and LISTED in part.extras


def unlisted(part: Text | Image) -> Text | Image:
    extras = {name: raw for name, raw in (part.extras or {}).items() if name != LISTED}
    return msgspec.structs.replace(part, extras=extras or None)


# -------------------------------------------------------------------------------------------------- audio and images
def read_audio(given: Object, path: str) -> Audio:
    """Takes what is understood out of `audio`."""
    audio = Audio(source=Media(kind="base64", value=""))
    for name in ("id", "data", "transcript"):
        raw = given.get(name)
        if raw is None or read.is_null(raw):
            continue
        text = read.text(raw, f"{path}.{name}")
        del given[name]
        if name == "data":
            audio.source.value = text
        elif name == "id":
            audio.id = text
        else:
            audio.transcript = text
    raw = given.pop("expires_at", None)
    if raw is not None and not read.is_null(raw):
        audio.expires_at = read.whole(raw, f"{path}.expires_at")
    audio.extras = given or None
    return audio


def is_heard(given: Object) -> bool:
    """Whether there is anything in an `audio` object: some write it with every field blank."""
    return any(not read.is_empty(given[name]) for name in ("id", "data", "transcript") if name in given) or (
        "expires_at" in given and bytes(given["expires_at"]) not in (b"null", b"0")
    )


def write_audio(audio: Audio, *, own: bool) -> Written:
    written: Written = {"id": audio.id, "transcript": audio.transcript, "expires_at": audio.expires_at}
    if audio.source.value or not own:
        written["data"] = audio.source.value
    if own:
        return {**{name: value for name, value in written.items() if value is not None}, **(audio.extras or {})}
    return {
        **written,
        "id": audio.id or "audio",
        "transcript": audio.transcript or "",
        "expires_at": audio.expires_at or 0,
    }


def write_image(image: Image, number: int, *, own: bool) -> Written:
    """An entry of `images` (OpenRouter, LiteLLM)."""
    written: Written = {"type": "image_url", "image_url": {"url": data_url_of(image.source, "image/png")}}
    if not own:
        written["index"] = number
    for name, raw in (image.extras or {}).items() if own else ():
        if name == "image_url":
            written["image_url"].update(read.fields(raw, name))
        else:
            written[name] = raw
    return written


# ----------------------------------------------------------------------------------------------------------- logprobs
class _Logprob(msgspec.Struct, frozen=True):
    token: str
    logprob: float
    bytes: list[int] | None = None
    top_logprobs: "list[_Logprob] | None" = None


_logprobs = msgspec.json.Decoder(list[_Logprob])


def read_logprobs(raw: Raw) -> list[TokenLogprob]:
    return [_read_logprob(given) for given in _logprobs.decode(raw)]


def _read_logprob(given: _Logprob) -> TokenLogprob:
    return TokenLogprob(
        token=given.token,
        logprob=given.logprob,
        bytes=given.bytes,
        top=[_read_logprob(inner) for inner in given.top_logprobs or ()],
    )


def write_logprobs(tokens: Iterable[TokenLogprob]) -> list[Written]:
    return [{**_write_logprob(token), "top_logprobs": [_write_logprob(top) for top in token.top]} for token in tokens]


def _write_logprob(token: TokenLogprob) -> Written:
    return {"token": token.token, "logprob": token.logprob, "bytes": token.bytes}


def take_logprobs(choice: Object) -> tuple[list[TokenLogprob] | None, list[TokenLogprob] | None]:
    """Takes the tokens out of a choice's `logprobs`; what else it says stays."""
    raw = choice.get("logprobs")
    if raw is None or bytes(raw)[:1] != b"{":
        return None, None
    inner = read.fields(raw, "logprobs")
    content = inner.pop("content", None)
    refusal = inner.pop("refusal", None)
    tokens = read_logprobs(content) if content is not None and bytes(content)[:2] not in (b"nu", b"[]") else None
    refused = read_logprobs(refusal) if refusal is not None and bytes(refusal)[:2] not in (b"nu", b"[]") else None
    if tokens is None and refused is None:
        return None, None
    for name, kept, taken in (("content", content, tokens), ("refusal", refusal, refused)):
        if kept is not None and taken is None:
            inner[name] = kept
    choice["logprobs"] = Raw(encode(inner))
    return tokens, refused


# -------------------------------------------------------------------------------------------------------- tool calls
class _Input(msgspec.Struct, frozen=True):
    input: str


_input = msgspec.json.Decoder(_Input)


def custom_names(request: Request | None) -> frozenset[str]:
    """Names of the client's custom tools: a target that has none of the kind calls functions in their place."""
    if request is None:
        return frozenset()
    return frozenset(tool.name for tool in request.tools if tool.kind == "custom")


def as_custom(call: ToolCall, custom: frozenset[str]) -> ToolCall:
    """The call as the client knows it: of a custom tool, where it was put to the target as a function."""
    if call.kind == "custom" or call.name not in custom:
        return call
    try:
        text = _input.decode(call.arguments).input
    except ValueError:
        text = call.arguments
    return msgspec.structs.replace(call, kind="custom", arguments=text)


def wants_function_call(request: Request | None) -> bool:
    """Whether the client speaks of `functions`, and so expects `function_call` back."""
    return request is not None and request.dialect == "openai_chat" and bool(request.spelling.get("functions"))
