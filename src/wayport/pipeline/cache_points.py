"""Prompt-cache markers that the operator or the client wishes at places of the prompt: `cache_control_injection_points`."""

from collections.abc import Mapping
from typing import Literal

import msgspec
from msgspec import Raw, Struct, structs

from wayport.core.errors import BadRequest
from wayport.dialects.neutral import (
    Audio,
    CacheMarker,
    Document,
    Image,
    Message,
    Part,
    Request,
    Text,
    ToolCall,
    ToolResult,
    Video,
)

FIELD = "cache_control_injection_points"
_MARKABLE = (Text, Image, Document, Audio, Video, ToolCall, ToolResult)


class _Control(Struct):
    type: str = "ephemeral"
    ttl: Literal["5m", "1h"] | None = None


class Point(Struct):
    """After which message (by role, or by index, -1 being the last) or whether after the tools a marker stands."""

    location: Literal["message", "tool_config"] = "message"
    role: str | None = None
    index: int | str | None = None
    control: _Control | None = None


_decode = msgspec.json.Decoder(list[Point]).decode


def points_of(fields: Mapping[str, Raw]) -> list[Point]:
    """Raises `BadRequest` when the wish is not written as one."""
    raw = fields.get(FIELD)
    if raw is None or bytes(raw) == b"null":
        return []
    try:
        return _decode(raw)
    except msgspec.DecodeError as error:
        raise BadRequest(f"`{FIELD}` must be a list of {{location, role or index}}: {error}.", param=FIELD) from None


def inject(request: Request, points: list[Point]) -> Request:
    """The request with the markers; the one given is not changed. A part that has a marker keeps it."""
    messages = list(request.messages)
    tools = list(request.tools)
    for point in points:
        marker = CacheMarker(ttl=point.control.ttl if point.control else None)
        if point.location == "tool_config":
            if tools and tools[-1].cache is None:
                tools[-1] = structs.replace(tools[-1], cache=marker)
            continue
        for at in _places(messages, point):
            messages[at] = _marked(messages[at], marker)
    return structs.replace(request, messages=messages, tools=tools)


def _places(messages: list[Message], point: Point) -> list[int]:
    if point.index is not None:
        index = int(point.index)
        at = index if index >= 0 else len(messages) + index
        return [at] if 0 <= at < len(messages) else []
    return [at for at, message in enumerate(messages) if message.role == point.role]


def _marked(message: Message, marker: CacheMarker) -> Message:
    parts: list[Part] = list(message.parts)
    for at in range(len(parts) - 1, -1, -1):
        part = parts[at]
        if isinstance(part, _MARKABLE):
            if part.cache is None:
                parts[at] = structs.replace(part, cache=marker)
                # A bare string has no room for a marker.
                return structs.replace(message, parts=parts, plain=False)
            break
    return message
