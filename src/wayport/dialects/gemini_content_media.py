"""Images, documents, audio and video in a Gemini part: `inlineData` and `fileData`, in both directions."""

import mimetypes
import re
from typing import Any

from msgspec import Raw

from wayport.dialects.neutral import Audio, Document, Extras, Image, Media, Video
from wayport.wire.gemini_content import Object, optional_string

URL_SAFE = "~urlsafe"
"""note in a part's extras: its base64 was written in the URL-safe alphabet"""

_STANDARD = str.maketrans("-_", "+/")
_TO_URL_SAFE = str.maketrans("+/", "-_")
_UPLOADED = re.compile(r"https?://[^/]+/v[^/]+/(?:files|corpora|fileSearchStores)/\S+")
_VIDEO_PAGE = re.compile(r"https?://(?:[a-z]+\.)?(?:youtube\.com|youtu\.be)/", re.IGNORECASE)
_USUAL_TYPE: dict[type, str] = {
    Image: "image/jpeg",
    Audio: "audio/wav",
    Video: "video/mp4",
    Document: "application/pdf",
}


def guess_type(uri: str) -> str | None:
    """The media type that a URI's ending tells; a video page is a video to Gemini."""
    if _VIDEO_PAGE.match(uri):
        return "video/mp4"
    return mimetypes.guess_type(uri.partition("?")[0])[0]


def read_source(kind: str, inner: Object, fields: Object) -> Media:
    """Where the bytes of an `inlineData` or `fileData` are. Takes what it knows out of `inner`."""
    media_type = optional_string(inner.pop("mimeType", None))
    filename = optional_string(inner.get("displayName"))
    if kind == "fileData":
        uri = optional_string(inner.pop("fileUri", None)) or ""
        known = uri.startswith(("http://", "https://")) and not _UPLOADED.match(uri)
        return Media(kind="url" if known else "file", value=uri, media_type=media_type, filename=filename)
    data = optional_string(inner.pop("data", None)) or ""
    # Google's SDKs write URL-safe base64, which other APIs refuse.
    if is_url_safe(data):
        data = data.translate(_STANDARD)
        fields[URL_SAFE] = Raw(b"true")
    return Media(kind="base64", value=data, media_type=media_type, filename=filename)


def is_url_safe(data: str) -> bool:
    """Whether base64 is written in the alphabet for URLs, as far as that can be seen."""
    return "-" in data or "_" in data


def make_media(source: Media, extras: Extras | None, signature: str | None) -> Image | Audio | Video | Document:
    """The neutral part that a media type asks for; what is no image, audio or video is a document."""
    family = (source.media_type or guess_type(source.value[:2000]) or "").partition("/")[0]
    if family == "image":
        return Image(source=source, signature=signature, extras=extras)
    if signature is not None:
        extras = {**(extras or {}), "thoughtSignature": Raw(b'"%b"' % signature.encode())}
    if family == "audio":
        return Audio(source=source, extras=extras)
    if family == "video":
        return Video(source=source, extras=extras)
    return Document(source=source, extras=extras)


def write_media(part: Image | Audio | Video | Document, extras: Extras, *, own: bool) -> dict[str, Any] | None:
    """The part's JSON; None for a file that only another provider knows."""
    source = part.source
    media_type = source.media_type
    if media_type is None and not own:
        named = guess_type(source.filename) if source.filename else None
        media_type = named or guess_type(source.value[:2000]) or _USUAL_TYPE[type(part)]
    typed: dict[str, Any] = {} if media_type is None else {"mimeType": media_type}
    if source.kind == "base64":
        data = source.value.translate(_TO_URL_SAFE) if URL_SAFE in extras else source.value
        out: dict[str, Any] = {"inlineData": {**typed, "data": data}}
    elif source.kind == "text":
        out = {"text": source.value}
    elif source.kind == "url" or own or "://" in source.value:
        out = {"fileData": {**typed, "fileUri": source.value}}
    else:
        return None
    if isinstance(part, Image) and part.signature is not None:
        out["thoughtSignature"] = part.signature
    return out
