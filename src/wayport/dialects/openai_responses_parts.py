"""Content parts of the Responses dialect, both ways: texts, refusals, images, files, audio, annotations, logprobs.

What must stay true: a part decoded here and encoded here is equal JSON; what a part says beyond the neutral form stays
in its `extras`. Keys that begin with `@` are notes of this dialect's own and never reach the wire.
"""

import mimetypes
import re
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from wayport.dialects.neutral import (
    Audio,
    CacheMarker,
    Citation,
    DialectName,
    Document,
    Extras,
    Image,
    Media,
    Opaque,
    Part,
    Refusal,
    Text,
    TokenLogprob,
)
from wayport.wire import patch
from wayport.wire.openai_responses import (
    EMPTY_LIST,
    LIST,
    LOGPROBS,
    NULL,
    OBJECT,
    STRING,
    TRUE,
    Logprob,
)

NAME: DialectName = "openai_responses"

ITEM = "@item"
"""on a text: the fields of the message item around it, without its content"""
MORE = "@more"
"""on a text: the next part belongs to the same message item"""
PLAIN = "@plain"
"""on a text: it was the whole content of its message, written as a string"""
BARE = "@bare"
"""on a document: its base64 stood alone, not as a data URL"""

_INTEGER = msgspec.json.Decoder(int)
_FLOAT = msgspec.json.Decoder(float)
_BOOLEAN = msgspec.json.Decoder(bool)

_T = TypeVar("_T")


def is_text(raw: Raw) -> bool:
    return memoryview(raw)[0] == 0x22


def is_object(raw: Raw) -> bool:
    return memoryview(raw)[0] == 0x7B


def take(fields: dict[str, Raw], name: str, decoder: msgspec.json.Decoder[_T]) -> _T | None:
    """Removes a field and decodes it. A `null` stays where it is, so that it is written again, and reads as None."""
    raw = fields.get(name)
    if raw is None or raw == NULL:
        return None
    try:
        value = decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise ValueError(f"{name}: {error}") from error
    del fields[name]
    return value


def take_text(fields: dict[str, Raw], name: str) -> str | None:
    return take(fields, name, STRING)


def take_integer(fields: dict[str, Raw], name: str) -> int | None:
    return take(fields, name, _INTEGER)


def take_number(fields: dict[str, Raw], name: str) -> float | None:
    return take(fields, name, _FLOAT)


def take_flag(fields: dict[str, Raw], name: str) -> bool | None:
    return take(fields, name, _BOOLEAN)


def take_list(fields: dict[str, Raw], name: str) -> list[Raw] | None:
    return take(fields, name, LIST)


def need_text(fields: dict[str, Raw], name: str) -> str:
    value = take_text(fields, name)
    if value is None:
        raise ValueError(f"`{name}` is missing")
    return value


def written(extras: Extras | None) -> dict[str, Any]:
    """The extras that belong on the wire."""
    if not extras:
        return {}
    return {name: value for name, value in extras.items() if not name.startswith("@")}


# ------------------------------------------------------------------------------------------------------------ decode
def decode_content(raw: Raw, usual: str) -> Part:
    """One content part. `usual` is the type word of a text here: `input_text` or `output_text`."""
    fields = OBJECT.decode(raw)
    kind = STRING.decode(fields["type"]) if "type" in fields else ""
    match kind:
        case "input_text" | "output_text" | "text" | "summary_text" if fields.get("text", NULL) != NULL:
            return _text(fields, kind, usual)
        case "refusal" if "refusal" in fields:
            del fields["type"]
            return Refusal(text=need_text(fields, "refusal"), extras=fields or None)
        case "input_image":
            return _image(fields)
        case "input_file":
            return _document(fields)
        case "input_audio":
            return _audio(fields, raw)
        case _:
            return Opaque(dialect=NAME, raw=raw, kind=kind)


def _text(fields: dict[str, Raw], kind: str, usual: str) -> Text:
    if kind == usual:
        del fields["type"]
    part = Text(text=need_text(fields, "text"), cache=_breakpoint(fields))
    annotations = fields.get("annotations", NULL)
    if annotations not in (NULL, EMPTY_LIST):
        del fields["annotations"]
        part.citations = [decode_annotation(each) for each in LIST.decode(annotations)]
        if not part.citations:
            fields["annotations"] = EMPTY_LIST
    part.extras = fields or None
    return part


def _breakpoint(fields: dict[str, Raw]) -> CacheMarker | None:
    raw = fields.get("prompt_cache_breakpoint", NULL)
    if raw == NULL:
        return None
    # `30m` is the least that OpenAI keeps, `12h` the other choice (its prompt caching guide, gpt-5.6 and later).
    long = b'"12h"' in bytes(raw)
    return CacheMarker(
        ttl="1h" if long else None, extras={"prompt_cache_breakpoint": fields.pop("prompt_cache_breakpoint")}
    )


_DATA_URL = re.compile(r"data:([^,]*?);base64,")


def media_of(url: str) -> tuple[Media, bool]:
    """Where an address says the bytes are, and whether `url_of` spells it the same way again."""
    match = _DATA_URL.match(url)
    if match is None:
        return Media(kind="url", value=url), True
    stated = match[1]
    media_type = stated.partition(";")[0]
    return Media(kind="base64", value=url[match.end() :], media_type=media_type or None), media_type == stated


def url_of(media: Media, fallback: str = "application/octet-stream") -> str:
    if media.kind == "base64":
        return f"data:{media.media_type or fallback};base64,{media.value}"
    return media.value


def _image(fields: dict[str, Raw]) -> Image:
    del fields["type"]
    detail = take_text(fields, "detail")
    raw = fields.get("image_url", NULL)
    url = take_text(fields, "image_url")
    cache = _breakpoint(fields)
    if url is None:
        source = Media(kind="file", value=take_text(fields, "file_id") or "")
    else:
        source, same = media_of(url)
        if not same or (source.kind == "base64" and source.media_type is None):
            fields["@image_url"] = raw
    return Image(source=source, detail=detail, cache=cache, extras=fields or None)


def _document(fields: dict[str, Raw]) -> Document:
    del fields["type"]
    filename = take_text(fields, "filename")
    raw = fields.get("file_data", NULL)
    data = take_text(fields, "file_data")
    if data is not None:
        source, same = media_of(data)
        if source.kind == "url":
            source = Media(kind="base64", value=data, media_type=_type_of(filename))
            fields[BARE] = TRUE
        elif not same or source.media_type is None:
            fields["@file_data"] = raw
    elif (url := take_text(fields, "file_url")) is not None:
        source = Media(kind="url", value=url)
    else:
        source = Media(kind="file", value=take_text(fields, "file_id") or "")
    source.filename = filename
    return Document(source=source, title=filename, cache=_breakpoint(fields), extras=fields or None)


def _type_of(filename: str | None) -> str:
    return (mimetypes.guess_type(filename)[0] if filename else None) or "application/pdf"


def _audio(fields: dict[str, Raw], raw: Raw) -> Part:
    inner = OBJECT.decode(fields["input_audio"]) if "input_audio" in fields else {}
    data = take_text(inner, "data")
    encoding = take_text(inner, "format")
    if data is None or encoding is None or inner:
        return Opaque(dialect=NAME, raw=raw, kind="input_audio")
    del fields["type"], fields["input_audio"]
    return Audio(source=Media(kind="base64", value=data, media_type=f"audio/{encoding}"), extras=fields or None)


def decode_annotation(raw: Raw) -> Citation:
    fields = OBJECT.decode(raw)
    kind = take_text(fields, "type") or ""
    start = take_integer(fields, "start_index")
    return Citation(
        kind={"url_citation": "url"}.get(kind, "file" if "file" in kind else kind),
        url=take_text(fields, "url"),
        title=take_text(fields, "title") or take_text(fields, "filename"),
        start=take_integer(fields, "index") if start is None else start,
        end=take_integer(fields, "end_index"),
        raw=raw,
        dialect=NAME,
    )


def decode_logprobs(tokens: Iterable[Logprob] | None) -> list[TokenLogprob]:
    return [
        TokenLogprob(
            token=each.token,
            logprob=each.logprob,
            bytes=each.bytes,
            top=[
                TokenLogprob(token=other.token, logprob=other.logprob, bytes=other.bytes)
                for other in each.top_logprobs or ()
            ],
        )
        for each in tokens or ()
    ]


def logprobs_of(part: Part) -> list[TokenLogprob]:
    """The logprobs that a text of this dialect carries in its extras."""
    raw = part.extras.get("logprobs") if isinstance(part, Text) and part.extras else None
    return decode_logprobs(LOGPROBS.decode(raw)) if raw is not None and raw not in (NULL, EMPTY_LIST) else []


# ------------------------------------------------------------------------------------------------------------ encode
def encode_content(part: Part, usual: str) -> Any:
    """One content part as this dialect wrote it; for parts that were decoded here."""
    match part:
        case Text():
            value: dict[str, Any] = {"type": usual, "text": part.text}
            if part.citations:
                value["annotations"] = [encode_annotation(each, len(part.text)) for each in part.citations]
            return {**value, **_marker(part.cache), **written(part.extras)}
        case Refusal():
            return {"type": "refusal", "refusal": part.text, **written(part.extras)}
        case Image():
            return _encode_image(part)
        case Document():
            return _encode_document(part)
        case Audio():
            encoding = (part.source.media_type or "audio/wav").partition("/")[2]
            return {
                "type": "input_audio",
                "input_audio": {"data": part.source.value, "format": "mp3" if encoding == "mpeg" else encoding},
                **written(part.extras),
            }
        case Opaque():
            return part.raw
        case _:
            raise ValueError(f"a {type(part).__name__} is no content of a message")


def _marker(cache: CacheMarker | None) -> Extras:
    return cache.extras if cache is not None and cache.extras is not None else {}


def _encode_image(part: Image) -> dict[str, Any]:
    value: dict[str, Any] = {"type": "input_image"}
    if part.detail is not None:
        value["detail"] = part.detail
    if part.source.kind == "file":
        if part.source.value:
            value["file_id"] = part.source.value
    else:
        value["image_url"] = (part.extras or {}).get("@image_url") or url_of(part.source, "image/png")
    return {**value, **_marker(part.cache), **written(part.extras)}


def _encode_document(part: Document) -> dict[str, Any]:
    extras = part.extras or {}
    value: dict[str, Any] = {"type": "input_file"}
    if part.source.filename is not None:
        value["filename"] = part.source.filename
    match part.source.kind:
        case "base64":
            value["file_data"] = (
                part.source.value if BARE in extras else extras.get("@file_data") or url_of(part.source)
            )
        case "url":
            value["file_url"] = part.source.value
        case "file" if part.source.value:
            value["file_id"] = part.source.value
        case _:
            pass
    return {**value, **_marker(part.cache), **written(extras)}


def encode_annotation(citation: Citation, length: int) -> Any:
    """An annotation. `length`: how much text there is, for a citation that covers all of it."""
    if citation.raw is not None and citation.dialect == NAME:
        return citation.raw
    # A citation's own offsets count characters of this text only where the kind says so (`url`).
    start = citation.start if citation.kind == "url" and citation.start is not None else 0
    end = citation.end if citation.kind == "url" and citation.end is not None else length
    if citation.url:
        return {
            "type": "url_citation",
            "start_index": start,
            "end_index": end,
            "url": citation.url,
            "title": citation.title or "",
        }
    return {"type": "file_citation", "file_id": "", "filename": citation.title or "", "index": end}


def encode_logprobs(tokens: Sequence[TokenLogprob]) -> list[dict[str, Any]]:
    return [
        {
            "token": each.token,
            "logprob": each.logprob,
            "bytes": _bytes(each),
            "top_logprobs": [
                {"token": other.token, "logprob": other.logprob, "bytes": _bytes(other)} for other in each.top
            ],
        }
        for each in tokens
    ]


def _bytes(token: TokenLogprob) -> list[int]:
    return token.bytes if token.bytes is not None else list(token.token.encode("utf-8", "surrogatepass"))


def raw_of(value: object) -> Raw:
    return patch.encode(value)
