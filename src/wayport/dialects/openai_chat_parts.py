"""Content parts of chat messages: read into neutral parts and written from them.

What a part says beyond the neutral form stays in its `extras`, under the name that it had on the wire; `type` there is
a spelling of the same fact other than OpenAI's own (`document_url`, `audio_url`). Unknown parts travel on as `Opaque`.
"""

from collections.abc import Callable
from typing import Any, Literal

from msgspec import Raw

from wayport.core.errors import BadRequest
from wayport.dialects import openai_read as read
from wayport.dialects.dialect import Profile
from wayport.dialects.neutral import (
    Audio,
    CacheMarker,
    Document,
    Image,
    Media,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    Video,
)
from wayport.dialects.openai_read import Object, encode

Written = dict[str, Any]

_BREAKPOINT = "prompt_cache_breakpoint"


# ------------------------------------------------------------------------------------------------------ cache markers
def read_cache(part: Object, path: str) -> CacheMarker | None:
    """Takes the marker out of `part`: `cache_control` (Anthropic's) or `prompt_cache_breakpoint` (OpenAI's)."""
    raw = part.get("cache_control")
    if raw is not None and not read.is_null(raw):
        del part["cache_control"]
        given = read.fields(raw, f"{path}.cache_control")
        if bytes(given.get("type", b"")) == b'"ephemeral"':
            del given["type"]
        ttl = given.pop("ttl", None)
        known: dict[bytes, Literal["5m", "1h"]] = {b'"5m"': "5m", b'"1h"': "1h"}
        if ttl is not None and bytes(ttl) not in known:
            given["ttl"] = ttl
        return CacheMarker(ttl=known.get(bytes(ttl)) if ttl is not None else None, extras=given or None)
    raw = part.get(_BREAKPOINT)
    if raw is not None and not read.is_null(raw):
        del part[_BREAKPOINT]
        return CacheMarker(extras={_BREAKPOINT: raw})
    return None


def write_cache(marker: CacheMarker | None, profile: Profile, part: Written) -> None:
    """Markers are hints: a target that has none loses nothing of the answer, so leaving one out is not reported."""
    if marker is None:
        return
    extras = marker.extras or {}
    if profile.cache_breakpoints or _BREAKPOINT in extras:
        # One that was written so can only be meant for OpenAI.
        part[_BREAKPOINT] = extras.get(_BREAKPOINT, {"mode": "explicit"})
    elif profile.cache_markers:
        written: Written = {"type": "ephemeral"}
        if marker.ttl is not None:
            written["ttl"] = marker.ttl
        part["cache_control"] = {**written, **{k: v for k, v in extras.items() if k not in (_BREAKPOINT, _MESSAGE)}}


_MESSAGE = "message"
"""a marker written beside the content of a message, not on a part of it"""


def mark_message(message: Object, parts: list[Part], path: str) -> None:
    """A marker on the whole message (LiteLLM) is one on its last part. It stays among the message's extras as well."""
    raw = message.get("cache_control")
    marker = read_cache(message, path) if raw is not None and not read.is_null(raw) else None
    if marker is None or raw is None:
        return
    message["cache_control"] = raw
    if not parts:
        return
    last = parts[-1]
    if not isinstance(last, Reasoning | Refusal | Opaque) and last.cache is None:
        last.cache = CacheMarker(ttl=marker.ttl, extras={**(marker.extras or {}), _MESSAGE: Raw(b"true")})


def is_of_message(marker: CacheMarker | None) -> bool:
    return marker is not None and marker.extras is not None and _MESSAGE in marker.extras


# ------------------------------------------------------------------------------------------------------------ reading
def read_parts(raw: Raw, path: str) -> list[Part]:
    return [read_part(item, f"{path}[{number}]") for number, item in enumerate(read.items(raw, path))]


def read_part(raw: Raw, path: str) -> Part:
    part = read.fields(raw, path)
    kind = read.text(read.need(part, "type", path), f"{path}.type")
    reader = _READERS.get(kind)
    if reader is None:
        return Opaque(dialect="openai_chat", raw=Raw(bytes(raw)), kind=kind)
    del part["type"]
    return reader(part, path)


def _read_text(part: Object, path: str) -> Part:
    text = read.text(read.need(part, "text", path), f"{path}.text")
    del part["text"]
    return Text(text=text, cache=read_cache(part, path), extras=part or None)


def _read_refusal(part: Object, path: str) -> Part:
    text = read.text(read.need(part, "refusal", path), f"{path}.refusal")
    del part["refusal"]
    return Refusal(text=text, extras={**part, "type": Raw(b'"refusal"')})


def _media(url: str) -> Media:
    data = read.data_url(url)
    return Media(kind="base64", value=data[1], media_type=data[0]) if data else Media(kind="url", value=url)


def _pop(inner: Object, name: str, path: str) -> str | None:
    """A string, taken out of `inner`; null stays where it is."""
    raw = inner.get(name)
    if raw is None or read.is_null(raw):
        return None
    del inner[name]
    return read.text(raw, f"{path}.{name}")


def _url_of(part: Object, name: str, path: str) -> tuple[str, Object]:
    """The URL under `name` and what stands beside it: `{"url": …}`, or a bare string (Mistral)."""
    raw = read.need(part, name, path)
    if bytes(raw)[:1] == b'"':
        part[name] = Raw(b'""')
        return read.text(raw, f"{path}.{name}"), {}
    inner = read.fields(raw, f"{path}.{name}")
    url = read.text(read.need(inner, "url", f"{path}.{name}"), f"{path}.{name}.url")
    del inner["url"], part[name]
    return url, inner


def _keep(part: Object, name: str, inner: Object) -> None:
    if inner:
        part[name] = Raw(encode(inner))


def _read_image(part: Object, path: str) -> Part:
    url, inner = _url_of(part, "image_url", path)
    detail = _pop(inner, "detail", f"{path}.image_url")
    _keep(part, "image_url", inner)
    return Image(source=_media(url), detail=detail, cache=read_cache(part, path), extras=part or None)


def _read_video(part: Object, path: str) -> Part:
    url, inner = _url_of(part, "video_url", path)
    _keep(part, "video_url", inner)
    return Video(source=_media(url), cache=read_cache(part, path), extras=part or None)


def _read_audio_url(part: Object, path: str) -> Part:
    url, inner = _url_of(part, "audio_url", path)
    _keep(part, "audio_url", inner)
    return Audio(source=_media(url), cache=read_cache(part, path), extras={**part, "type": Raw(b'"audio_url"')})


def _read_audio(part: Object, path: str) -> Part:
    inner = read.fields(read.need(part, "input_audio", path), f"{path}.input_audio")
    at = f"{path}.input_audio"
    data = read.text(read.need(inner, "data", at), f"{at}.data")
    kind = read.text(read.need(inner, "format", at), f"{at}.format")
    del inner["data"], inner["format"], part["input_audio"]
    _keep(part, "input_audio", inner)
    source = Media(kind="base64", value=data, media_type=f"audio/{kind}")
    return Audio(source=source, cache=read_cache(part, path), extras=part or None)


def _read_file(part: Object, path: str) -> Part:
    at = f"{path}.file"
    inner = read.fields(read.need(part, "file", path), at)
    del part["file"]
    filename = _pop(inner, "filename", at)
    data = _pop(inner, "file_data", at)
    identity = _pop(inner, "file_id", at) if data is None else None
    if data is not None:
        source = _file_media(data)
    elif identity is not None:
        source = Media(kind="file", value=identity)
    else:
        raise BadRequest(f"`{at}` must hold `file_data` or `file_id`.", param=at, code="missing_required_parameter")
    source.filename = filename
    _keep(part, "file", inner)
    return Document(source=source, cache=read_cache(part, path), extras=part or None)


def _file_media(data: str) -> Media:
    if data.startswith(("data:", "http://", "https://")):
        return _media(data)
    return Media(kind="base64", value=data)


def _read_document_url(part: Object, path: str) -> Part:
    url, inner = _url_of(part, "document_url", path)
    _keep(part, "document_url", inner)
    name = _pop(part, "document_name", path)
    source = Media(kind="url", value=url, filename=name)
    return Document(source=source, cache=read_cache(part, path), extras={**part, "type": Raw(b'"document_url"')})


def _read_thinking(part: Object, path: str) -> Part:
    """Mistral: `thinking` is a list of texts, or one."""
    raw = read.need(part, "thinking", path)
    texts = _thinking_texts(raw, f"{path}.thinking")
    if texts is not None and len(texts) == 1:
        del part["thinking"]
    signature = _pop(part, "signature", path)
    return Reasoning(
        text="".join(texts or ()), signature=signature, issuer="other", extras={**part, "type": Raw(b'"thinking"')}
    )


def _thinking_texts(raw: Raw, path: str) -> list[str] | None:
    """The texts of a list that holds nothing but them; None where it must be kept as written."""
    if bytes(raw)[:1] != b"[":
        return None
    texts = []
    for number, item in enumerate(read.items(raw, path)):
        inner = read.fields(item, f"{path}[{number}]")
        if bytes(inner.get("type", b"")) != b'"text"' or len(inner) != 2 or "text" not in inner:
            return None
        texts.append(read.text(inner["text"], f"{path}[{number}].text"))
    return texts


_READERS: dict[str, Callable[[Object, str], Part]] = {
    "text": _read_text,
    "refusal": _read_refusal,
    "image_url": _read_image,
    "video_url": _read_video,
    "audio_url": _read_audio_url,
    "input_audio": _read_audio,
    "file": _read_file,
    "document_url": _read_document_url,
    "thinking": _read_thinking,
}


# ------------------------------------------------------------------------------------------------------------ writing
def data_url_of(source: Media, media_type: str) -> str:
    if source.kind == "base64":
        return f"data:{source.media_type or media_type};base64,{source.value}"
    return source.value


def _put(written: Written, name: str, inner: Written, extras: Object) -> None:
    """`inner` under `name`, with what stood beside it; a bare string where it was one."""
    kept = extras.get(name)
    if kept is not None and bytes(kept) == b'""':
        written[name] = inner["url"]
    else:
        written[name] = {**inner, **(read.fields(kept, name) if kept is not None else {})}


def write_part(part: Part, profile: Profile, *, own: bool) -> Written | None:
    """A content part; None for what has no place in a chat message. `own`: the part's extras are this dialect's."""
    extras: Object = (part.extras or {}) if own and not isinstance(part, Opaque) else {}
    match part:
        case Text():
            written: Written = {"type": "text", "text": part.text}
        case Image():
            written = _write_image(part, extras)
        case Document():
            written = _write_document(part, extras, own=own)
        case Audio():
            found = _write_audio(part, extras)
            if found is None:
                return None
            written = found
        case Video():
            written = {"type": "video_url"}
            _put(written, "video_url", {"url": data_url_of(part.source, "video/mp4")}, extras)
        case Refusal():
            written = {"type": "refusal", "refusal": part.text}
        case Opaque():
            return read.fields(part.raw, "content") if own else None
        case _:
            return None
    if not isinstance(part, Refusal) and not is_of_message(part.cache):
        write_cache(part.cache, profile, written)
    for name, raw in extras.items():
        written.setdefault(name, raw)
    return written


def _write_image(part: Image, extras: Object) -> Written:
    written: Written = {"type": "image_url"}
    inner: Written = {"url": data_url_of(part.source, "image/png")}
    if part.detail is not None:
        inner["detail"] = part.detail
    _put(written, "image_url", inner, extras)
    return written


def _write_document(part: Document, extras: Object, *, own: bool) -> Written:
    source = part.source
    if "type" in extras and source.kind == "url":
        written: Written = {"type": "document_url"}
        _put(written, "document_url", {"url": source.value}, extras)
        if source.filename is not None:
            written["document_name"] = source.filename
        return written
    if source.kind == "text":
        title = part.title or source.filename
        return {"type": "text", "text": f"{title}\n\n{source.value}" if title else source.value}
    inner: Written = {}
    name = source.filename or part.title
    if name is None and not own and source.kind == "base64":
        # OpenAI tells the kind of file by its name.
        name = f"document.{(source.media_type or 'application/pdf').rpartition('/')[2]}"
    if name is not None:
        inner["filename"] = name
    if source.kind == "file":
        inner["file_id"] = source.value
    elif source.kind == "base64" and source.media_type is None:
        inner["file_data"] = source.value
    else:
        inner["file_data"] = data_url_of(source, "application/pdf")
    kept = extras.get("file")
    return {"type": "file", "file": {**inner, **(read.fields(kept, "file") if kept is not None else {})}}


_AUDIO_FORMATS = {"mpeg": "mp3", "x-wav": "wav", "wave": "wav", "vnd.wave": "wav", "x-flac": "flac", "mp4": "m4a"}


def _write_audio(part: Audio, extras: Object) -> Written | None:
    source = part.source
    if source.kind == "url" or "type" in extras:
        if "type" not in extras:
            return None
        written: Written = {"type": "audio_url"}
        _put(written, "audio_url", {"url": data_url_of(source, "audio/wav")}, extras)
        return written
    if source.kind != "base64":
        return None
    kind = (source.media_type or "audio/wav").rpartition("/")[2]
    inner: Written = {"data": source.value, "format": _AUDIO_FORMATS.get(kind, kind)}
    kept = extras.get("input_audio")
    return {
        "type": "input_audio",
        "input_audio": {**inner, **(read.fields(kept, "input_audio") if kept is not None else {})},
    }


_VERBATIM = Profile(cache_markers=True)


def write_whole(part: Part) -> Written:
    """A part of an answer of this dialect, as it was written."""
    return write_part(part, _VERBATIM, own=True) or {}


def write_thinking(part: Reasoning) -> Written:
    """Mistral's part of thinking."""
    written: Written = {"type": "thinking", "thinking": [{"type": "text", "text": part.text}]}
    if part.signature is not None:
        written["signature"] = part.signature
    return {**written, **(part.extras or {})}
