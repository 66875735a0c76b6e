"""Answers of Converse: content blocks, usage and stop reasons, read into the neutral form.

A Converse answer names neither itself nor its model: id and model stay empty, for the one who asked to fill in.
"""

import base64
import binascii
from collections.abc import Callable
from typing import Final

from msgspec import Raw

from wayport.core.usage import Usage
from wayport.dialects.anthropic_messages_answer import shown
from wayport.dialects.bedrock_converse_media import decode_media
from wayport.dialects.neutral import (
    Audio,
    Choice,
    Citation,
    DialectName,
    Document,
    FinishReason,
    Image,
    Opaque,
    Part,
    Reasoning,
    Response,
    Text,
    ToolCall,
    Video,
)
from wayport.wire import bedrock_converse as wire
from wayport.wire.patch import Fields

NAME: Final[DialectName] = "bedrock_converse"

STOP_REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "stop_sequence": "stop_sequence",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
    "malformed_model_output": "error",
    "malformed_tool_use": "error",
    "model_context_window_exceeded": "context_window",
    # Words of Claude that AWS does not list.
    "refusal": "refusal",
    "pause_turn": "pause",
}

ADDITIONAL = "additionalModelResponseFields"
_TAKEN = frozenset({"output", "stopReason", "usage", "serviceTier", "p"})
_EMPTY_TEXT = Raw(b'""')


def decode_response(body: bytes) -> Response:
    fields = wire.decode_fields(body)
    output = fields.get("output")
    message = wire.decode_fields(output).get("message") if output is not None else None
    if message is None:
        raise ValueError("not an answer of Converse: it has no `output.message`")
    content = wire.decode_fields(message).get("content")
    parts = [part for raw in wire.decode_list(content or b"[]") if (part := decode_block(raw)) is not None]
    parts, answered = shown(parts)
    word = wire.decode_str(fields.get("stopReason", _EMPTY_TEXT))
    called = any(isinstance(part, ToolCall) for part in parts)
    finish, word = finish_of(word, answered=answered and not called)
    usage = fields.get("usage")
    return Response(
        dialect=NAME,
        id="",
        model="",
        choices=[
            Choice(parts=parts, finish=finish, finish_raw=word, stop_sequence=stop_sequence_in(fields.get(ADDITIONAL)))
        ],
        usage=decode_usage(usage) if usage is not None else None,
        usage_raw=usage,
        service_tier=tier_in(fields),
        extras=extras_in(fields),
    )


def finish_of(word: str, *, answered: bool) -> tuple[FinishReason, str]:
    """The neutral reason and the word that goes with it. `answered`: the only call was the answer itself."""
    finish = STOP_REASONS.get(word, "stop")
    return ("stop", "end_turn") if answered and finish == "tool_calls" else (finish, word)


def stop_sequence_in(additional: Raw | None) -> str | None:
    """The stop sequence that was met, which the request asked for by its JSON pointer."""
    if additional is None or bytes(additional)[:1] != b"{":
        return None
    fields = wire.decode_fields(additional)
    met = fields.get("stop_sequence", fields.get("/stop_sequence", Raw(b"null")))
    return wire.decode_str(met) if bytes(met)[:1] == b'"' else None


def tier_in(fields: Fields) -> str | None:
    tier = fields.get("serviceTier")
    return wire.decode_tier(tier).type if tier is not None else None


def extras_in(fields: Fields) -> Fields:
    """What the neutral form does not know: metrics, trace, performance configuration. `p` is padding of streams."""
    return {name: value for name, value in fields.items() if name not in _TAKEN}


def decode_usage(raw: Raw) -> Usage:
    stated = wire.decode_usage(raw)
    read = stated.cache_read_input_tokens or 0
    written = stated.cache_write_input_tokens or 0
    hour = sum(detail.input_tokens for detail in stated.cache_details or () if detail.ttl == "1h")
    written = max(written, hour)
    return Usage(
        input_tokens=(stated.input_tokens or 0) + read + written,
        output_tokens=stated.output_tokens or 0,
        cache_read_tokens=read,
        cache_write_5m_tokens=written - hour,
        cache_write_1h_tokens=hour,
    )


# -------------------------------------------------------------------------------------------------------------- blocks
def decode_block(raw: Raw) -> Part | None:
    """One content block; None for one that holds nothing."""
    for member, value in wire.decode_fields(raw).items():
        decode = _known.get(member)
        return decode(value, raw) if decode is not None else Opaque(dialect=NAME, kind=member, raw=raw)
    return None


def _text(value: Raw, raw: Raw) -> Part | None:
    del raw
    text = wire.decode_str(value)
    return Text(text=text) if text else None


def _tool_use(value: Raw, raw: Raw) -> Part:
    call = wire.decode_tool_use_start(value)
    if call.type == "server_tool_use":
        return Opaque(dialect=NAME, kind=call.type, raw=raw)
    given = wire.decode_fields(value).get("input", Raw(b"{}"))
    return ToolCall(id=call.tool_use_id, name=call.name, arguments=bytes(given).decode())


def _reasoning(value: Raw, raw: Raw) -> Part | None:
    del raw
    fields = wire.decode_fields(value)
    stated = wire.decode_reasoning(fields.get("reasoningText", value))
    if stated.redacted_content is not None:
        return redacted(stated.redacted_content)
    return thought(stated.text or "", stated.signature) if stated.text or stated.signature else None


def thought(text: str, signature: str | None) -> Reasoning:
    """A thought. Of the models on Bedrock only Claude signs, with signatures that hold at Anthropic, too."""
    return Reasoning(text=text, signature=signature or None, issuer="anthropic" if signature else "bedrock")


def redacted(content: str) -> Reasoning:
    """A redacted thought: base64 of what Anthropic calls its data. Bytes of another making stay as they are."""
    try:
        data = base64.b64decode(content, validate=True).decode("ascii")
    except (binascii.Error, UnicodeError):
        return Reasoning(redacted=content, issuer="bedrock")
    return Reasoning(redacted=data, issuer="anthropic")


def _cited(value: Raw, raw: Raw) -> Part:
    del raw
    block = wire.decode_citations(value)
    text = "".join(piece.text for piece in block.content)
    return Text(text=text, citations=[decode_citation(citation) for citation in block.citations])


_LOCATIONS = {
    "web": "url",
    "documentChar": "char",
    "documentPage": "page",
    "documentChunk": "block",
    "searchResultLocation": "search_result",
}


def decode_citation(raw: Raw) -> Citation:
    stated = wire.decode_citation(raw)
    member, location = next(iter(stated.location.items()), ("", Raw(b"{}")))
    url = wire.decode_web(location).url if member == "web" else None
    if url is None and stated.source is not None and stated.source.startswith(("http://", "https://")):
        url = stated.source
    return Citation(
        kind=_LOCATIONS.get(member, member or "source"),
        url=url,
        title=stated.title or stated.source,
        cited_text="".join(piece.text for piece in stated.source_content) or None,
        raw=raw,
        dialect=NAME,
    )


def _nothing(value: Raw, raw: Raw) -> None:
    del value, raw


_known: dict[str, Callable[[Raw, Raw], Part | None]] = {
    "text": _text,
    "toolUse": _tool_use,
    "reasoningContent": _reasoning,
    "citationsContent": _cited,
    "image": lambda value, raw: decode_media(Image, value),  # noqa: ARG005 (all decoders are called alike)
    "document": lambda value, raw: decode_media(Document, value),  # noqa: ARG005 (as above)
    "video": lambda value, raw: decode_media(Video, value),  # noqa: ARG005 (as above)
    "audio": lambda value, raw: decode_media(Audio, value),  # noqa: ARG005 (as above)
    "cachePoint": _nothing,
}
