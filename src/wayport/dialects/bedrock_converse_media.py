"""Images, documents, video and audio in blocks of Converse, both ways: bytes in base64, or an object in S3."""

import mimetypes
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from msgspec import Raw

from wayport.core.errors import BadRequest
from wayport.dialects.anthropic_messages_fields import media_type_of, plain_media
from wayport.dialects.neutral import Audio, Document, Extras, Image, Media, Video
from wayport.wire import bedrock_converse as wire

Block = dict[str, Any]
MediaPart = Image | Document | Video | Audio
Refuse = Callable[[str], BadRequest]

_IMAGES = {"png": "image/png", "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp"}
_DOCUMENTS = {
    "pdf": "application/pdf",
    "csv": "text/csv",
    "doc": "application/msword",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xls": "application/vnd.ms-excel",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "html": "text/html",
    "txt": "text/plain",
    "md": "text/markdown",
}
_VIDEOS = {
    "mkv": "video/x-matroska",
    "mov": "video/quicktime",
    "mp4": "video/mp4",
    "webm": "video/webm",
    "flv": "video/x-flv",
    "mpeg": "video/mpeg",
    "mpg": "video/mpg",
    "wmv": "video/x-ms-wmv",
    "three_gp": "video/3gpp",
}
_AUDIOS = {
    "mp3": "audio/mpeg",
    "opus": "audio/opus",
    "wav": "audio/wav",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "mp4": "audio/mp4",
    "ogg": "audio/ogg",
    "mkv": "audio/x-matroska",
    "x-aac": "audio/x-aac",
    "m4a": "audio/m4a",
    "mpeg": "audio/mpg",
    "mpga": "audio/mpga",
    "pcm": "audio/pcm",
    "webm": "audio/webm",
}
_TYPES: dict[type, dict[str, str]] = {Image: _IMAGES, Document: _DOCUMENTS, Video: _VIDEOS, Audio: _AUDIOS}
_FORMATS = {kind: {media_type: name for name, media_type in types.items()} for kind, types in _TYPES.items()}
_ALSO = {
    "image/jpg": "image/jpeg",
    "audio/mp3": "audio/mpeg",
    "audio/wave": "audio/wav",
    "audio/x-wav": "audio/wav",
    "audio/x-flac": "audio/flac",
    "audio/x-m4a": "audio/m4a",
    "audio/l16": "audio/pcm",
    "text/x-markdown": "text/markdown",
    "application/csv": "text/csv",
}
_TEXTUAL = ("json", "xml", "yaml", "x-sh", "javascript", "toml", "sql")

_MEMBERS: dict[type, str] = {Image: "image", Document: "document", Video: "video", Audio: "audio"}

_S3 = "s3://"
_OWNER = "bucketOwner"

# Document names: letters, digits, single white space, hyphens, parentheses and square brackets; each once in a request.
_NOT_IN_NAME = re.compile(r"[^A-Za-z0-9\-()\[\] ]+")
_SPACES = re.compile(r"\s+")
_NAME_CHARS = 180


def member_of(part: MediaPart) -> str:
    """The word for the part's kind: the member of the block that holds it."""
    return _MEMBERS[type(part)]


# ------------------------------------------------------------------------------------------------------------- writing
class MediaPen:
    """Writes the media of one request; gives each document a name that no other has."""

    def __init__(self, refuse: Refuse) -> None:
        self._refuse = refuse
        self._names: set[str] = set()

    def block(self, part: MediaPart) -> Block:
        """Raises `BadRequest` for what Converse cannot take."""
        media = plain_media(part.source)
        if isinstance(part, Document):
            return self._document(part, media)
        source = self._source(part, media)
        return {member_of(part): {"format": self._format(part, media), "source": source}}

    def _document(self, part: Document, media: Media) -> Block:
        text = media.kind == "text"
        source = {"bytes": media.value.encode()} if text else self._source(part, media)
        block: Block = {
            "format": "txt" if text else self._format(part, media),
            "name": self._name(part.title or media.filename or part.source.filename),
            "source": source,
        }
        if part.context:
            block["context"] = part.context
        if part.citations is not None:
            block["citations"] = {"enabled": part.citations}
        return {"document": block}

    def _source(self, part: MediaPart, media: Media) -> Block:
        if media.kind == "base64" and media.value:
            return {"bytes": media.value}
        if media.value.startswith(_S3):
            return {"s3Location": _s3_location(media.value)}
        raise self._refuse(f"this {member_of(part)} ({_what(media)})")

    def _format(self, part: MediaPart, media: Media) -> str:
        known = _FORMATS[type(part)]
        stated = media_type_of(media) or _guessed(media)
        media_type = _ALSO.get(stated or "", stated or "")
        found = known.get(media_type)
        if found is None and isinstance(part, Document) and _is_text(media_type):
            return "txt"
        if found is None:
            raise self._refuse(f"this {member_of(part)} ({stated or 'of no stated type'})")
        return found

    def _name(self, wanted: str | None) -> str:
        clean = _SPACES.sub(" ", _NOT_IN_NAME.sub(" ", wanted or "")).strip()[:_NAME_CHARS].strip()
        name = clean or "Document 1"
        number = 1
        while name in self._names:
            number += 1
            name = f"{clean} ({number})" if clean else f"Document {number}"
        self._names.add(name)
        return name


def _guessed(media: Media) -> str | None:
    name = media.filename or (urlsplit(media.value).path if media.value.startswith(_S3) else "")
    return mimetypes.guess_type(name)[0]


def _is_text(media_type: str) -> bool:
    return media_type.startswith("text/") or media_type.endswith(_TEXTUAL)


def _what(media: Media) -> str:
    if media.kind == "url":
        return "by its URL: send its data, or an object in S3"
    return f"a file that only its own provider knows: {media.value[:100]}" if media.value else "without data"


def _s3_location(uri: str) -> Block:
    split = urlsplit(uri)
    location: Block = {"uri": split._replace(query="", fragment="").geturl()}
    if owner := parse_qs(split.query).get(_OWNER):
        location[_OWNER] = owner[0]
    return location


# ------------------------------------------------------------------------------------------------------------- reading
def s3_uri(location: wire.S3Location) -> str:
    """Where an object is, as one text; the owner of its bucket, where one is named, stands in the query."""
    return f"{location.uri}?{_OWNER}={location.bucket_owner}" if location.bucket_owner else location.uri


def decode_media(kind: type[MediaPart], raw: Raw) -> MediaPart:
    """The part that a media block holds."""
    block = wire.decode_media(raw)
    source = block.source or wire.Source()
    media_type = media_type_for(kind, block.format)
    if source.s3_location is not None:
        media = Media(kind="file", value=s3_uri(source.s3_location), media_type=media_type, filename=block.name)
    elif source.text is not None:
        media = Media(kind="text", value=source.text, filename=block.name)
    else:
        media = Media(kind="base64", value=source.bytes or "", media_type=media_type, filename=block.name)
    extras: Extras | None = {"error": block.error} if block.error != wire.EMPTY else None
    return kind(source=media, extras=extras)


def media_type_for(kind: type[MediaPart], name: str | None) -> str | None:
    """The media type that a format's name stands for."""
    return _TYPES[kind].get(name or "")
