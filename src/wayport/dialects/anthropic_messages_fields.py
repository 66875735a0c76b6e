"""Fields inside content blocks of the Messages API: ids, cache markers, citations, sources of media."""

import base64
import binascii
import re
from typing import Any, Final, Literal, cast

from msgspec import Raw

from wayport.dialects.neutral import CacheMarker, Citation, DialectName, Extras, Issuer, Media
from wayport.wire import anthropic_messages as wire
from wayport.wire.patch import Fields

NAME: Final[DialectName] = "anthropic_messages"
ISSUER: Final[Issuer] = "anthropic"

Block = dict[str, Any]

NULL = Raw(b"null")
EMPTY_LIST = Raw(b"[]")
_EPHEMERAL = Raw(b'"ephemeral"')
_TTLS = (Raw(b'"5m"'), Raw(b'"1h"'))

_CITATION_KINDS = {
    "char_location": "char",
    "page_location": "page",
    "content_block_location": "block",
    "search_result_location": "search_result",
    "web_search_result_location": "url",
}


def need(fields: Fields, name: str) -> Raw:
    value = fields.pop(name, None)
    if value is None:
        raise ValueError(f"{name}: this field is required")
    return value


def is_string(value: Raw) -> bool:
    return bytes(memoryview(value)[:1]) == b'"'


def text_of(fields: Fields, name: str) -> str:
    return wire.decode_str(need(fields, name))


def type_of(fields: Fields) -> str:
    return wire.decode_str(fields.get("type", b'""'))


def optional_text(fields: Fields, name: str) -> str | None:
    """Takes a string out of `fields`; a null stays there as written."""
    value = fields.get(name)
    if value is None or value == NULL:
        return None
    del fields[name]
    return wire.decode_str(value)


# ------------------------------------------------------------------------------------------------------ tool-call ids
_ID = re.compile(r"[a-zA-Z0-9_-]+")
_ID_PREFIX = "wpid_"


def id_to_wire(call_id: str) -> str:
    """A tool-call id in the letters that Anthropic takes (`^[a-zA-Z0-9_-]+$`); `id_from_wire` gives it back."""
    if _ID.fullmatch(call_id) and not call_id.startswith(_ID_PREFIX):
        return call_id
    return _ID_PREFIX + base64.urlsafe_b64encode(call_id.encode()).decode().rstrip("=")


def id_from_wire(wire_id: str) -> str:
    if not wire_id.startswith(_ID_PREFIX):
        return wire_id
    body = wire_id[len(_ID_PREFIX) :]
    try:
        call_id = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)).decode()
    except (binascii.Error, UnicodeError):
        return wire_id
    return call_id if id_to_wire(call_id) == wire_id else wire_id


# ----------------------------------------------------------------------------------------------------- cache markers
def take_cache(fields: Fields) -> CacheMarker | None:
    value = fields.get("cache_control")
    if value is None or value == NULL:
        return None
    del fields["cache_control"]
    return decode_cache(value)


def decode_cache(value: Raw) -> CacheMarker:
    marker = wire.decode_fields(value)
    if marker.get("type") == _EPHEMERAL:
        del marker["type"]
    ttl: Literal["5m", "1h"] | None = None
    if marker.get("ttl") in _TTLS:
        ttl = cast("Literal['5m', '1h']", wire.decode_str(marker.pop("ttl")))
    return CacheMarker(ttl=ttl, extras=marker or None)


def encode_cache(marker: CacheMarker, *, own: bool) -> Block:
    block: Block = {"type": "ephemeral"}
    if marker.ttl is not None:
        block["ttl"] = marker.ttl
    if own and marker.extras:
        block.update(marker.extras)
    return block


def finish(block: Block, cache: CacheMarker | None, extras: Extras | None, *, own: bool) -> Block:
    """Adds the cache marker and, towards its own dialect, the extras."""
    if cache is not None:
        block["cache_control"] = encode_cache(cache, own=own)
    if own and extras:
        block.update(extras)
    return block


# --------------------------------------------------------------------------------------------------------- citations
def decode_citation(raw: Raw) -> Citation:
    fields = wire.decode_fields(raw)
    kind = type_of(fields)
    return Citation(
        kind=_CITATION_KINDS.get(kind, kind),
        url=optional_text(fields, "url"),
        title=optional_text(fields, "title") or optional_text(fields, "document_title"),
        cited_text=optional_text(fields, "cited_text"),
        raw=raw,
        dialect=NAME,
    )


def encode_citation(citation: Citation, text: str) -> Block | Raw:
    """A citation of another dialect is shown as a web search result's, the kind that has a URL."""
    if citation.dialect == NAME and citation.raw is not None:
        return citation.raw
    cited = citation.cited_text
    if cited is None and citation.start is not None and citation.end is not None:
        cited = text[citation.start : citation.end]
    return {
        "type": "web_search_result_location",
        "url": citation.url or "",
        "title": citation.title,
        "cited_text": cited or "",
        "encrypted_index": "",
    }


def take_citations(fields: Fields) -> list[Citation]:
    value = fields.get("citations")
    if value is None or value in (NULL, EMPTY_LIST):
        return []
    del fields["citations"]
    return [decode_citation(raw) for raw in wire.decode_list(value)]


# ------------------------------------------------------------------------------------------------------------- media
_SIGNATURES = (
    ("iVBORw0KGgo", "image/png"),
    ("/9j/", "image/jpeg"),
    ("R0lGOD", "image/gif"),
    ("UklGR", "image/webp"),
    ("JVBERi", "application/pdf"),
)


def media_type_of(media: Media) -> str | None:
    """The stated media type, or the one that the first bytes show."""
    if media.media_type:
        return media.media_type.partition(";")[0].strip().lower()
    if media.kind == "base64":
        for head, media_type in _SIGNATURES:
            if media.value.startswith(head):
                return media_type
    return None


def plain_media(media: Media) -> Media:
    """A `data:` URL as what it is."""
    if media.kind != "url" or not media.value.startswith("data:"):
        return media
    head, _, value = media.value[5:].partition(",")
    media_type = head.partition(";")[0] or media.media_type
    return Media(kind="base64", value=value, media_type=media_type, filename=media.filename)


def decode_source(source: Raw) -> tuple[Media | None, Extras]:
    """The media and what is left of the source; None for a kind of source that is not known."""
    fields = wire.decode_fields(source)
    match wire.decode_str(need(fields, "type")):
        case "base64":
            media = Media(kind="base64", value=text_of(fields, "data"), media_type=optional_text(fields, "media_type"))
        case "url":
            media = Media(kind="url", value=text_of(fields, "url"))
        case "file":
            media = Media(kind="file", value=text_of(fields, "file_id"))
        case "text":
            media = Media(kind="text", value=text_of(fields, "data"), media_type=optional_text(fields, "media_type"))
        case _:
            return None, {}
    return media, fields


def encode_source(media: Media) -> Block:
    match media.kind:
        case "base64":
            source: Block = {"type": "base64"}
            if media.media_type is not None:
                source["media_type"] = media.media_type
            source["data"] = media.value
            return source
        case "url":
            return {"type": "url", "url": media.value}
        case "file":
            return {"type": "file", "file_id": media.value}
        case "text":
            return {"type": "text", "media_type": media.media_type or "text/plain", "data": media.value}
