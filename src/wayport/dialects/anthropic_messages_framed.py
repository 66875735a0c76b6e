"""Events of the Messages API that come in AWS's binary frames, as Claude's streams do where a cloud's own API carries them.

Each frame holds one event in base64; an exception of the carrier becomes the API's own `error` event. So the events can be
decoded, looked at and passed on like those of any other stream of this dialect: `sse.write(event.data, event.name)`.
What else differs there is said by the profile: `model_in_body`, `betas_in_body`, `unsupported: stream` and the constant
`anthropic_version`.
"""

import msgspec
from msgspec import Struct

from wayport.dialects.anthropic_messages_errors import error_object
from wayport.dialects.bedrock_converse_errors import decode_stream_error
from wayport.wire.eventstream import EXCEPTION, Frames, MalformedFrame
from wayport.wire.sse import Event

_OVERLOADED = 529


class _Chunk(Struct, frozen=True):
    event: bytes = msgspec.field(name="bytes")


class _Typed(Struct, frozen=True):
    type: str


_chunk = msgspec.json.Decoder(_Chunk).decode
_typed = msgspec.json.Decoder(_Typed).decode
_encode = msgspec.json.Encoder().encode


class FramedEvents:
    """Reads events out of frames, as their bytes come; used where a stream's content type says that it is framed."""

    __slots__ = ("_frames",)

    def __init__(self) -> None:
        self._frames = Frames()

    def feed(self, data: bytes) -> list[Event]:
        """The events that are complete now. Raises `MalformedFrame`."""
        return [_unwrapped(event) for event in self._frames.feed(data)]

    def rest(self) -> bytes:
        """What came after the last whole frame; empty after a clean end."""
        return self._frames.rest()


def _unwrapped(event: Event) -> Event:
    if event.name.startswith(EXCEPTION):
        fault = decode_stream_error(event.name.removeprefix(EXCEPTION), event.data)
        # Anthropic's own status for want of capacity: its clients act on the word that goes with it.
        status = _OVERLOADED if fault.kind == "overloaded" else fault.status
        error = error_object(fault.message, status, fault.kind)
        return Event("error", _encode({"type": "error", "error": error}))
    try:
        data = _chunk(event.data).event
        return Event(_typed(data).type, data)
    except (ValueError, RecursionError) as error:
        raise MalformedFrame(f"a frame of the stream holds no event: {error}") from None
