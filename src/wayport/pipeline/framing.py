"""How the events of a stream are told apart: by blank lines, or by AWS's binary frames, as its content type says."""

from typing import Protocol

from wayport.dialects.anthropic_messages_framed import FramedEvents
from wayport.dialects.neutral import DialectName
from wayport.wire import sse
from wayport.wire.eventstream import CONTENT_TYPE, Frames
from wayport.wire.sse import Event

FRAMED = CONTENT_TYPE.encode()


class Splits(Protocol):
    def feed(self, data: bytes) -> list[bytes]:
        """The events that are complete now, each as one of an event stream's text."""
        ...

    def rest(self) -> bytes: ...


class _Framed(Protocol):
    def feed(self, data: bytes) -> list[Event]: ...
    def rest(self) -> bytes: ...


class FrameSplitter:
    """Frames, told as the text events that relays read. Raises `MalformedFrame`."""

    def __init__(self, frames: _Framed) -> None:
        self._frames = frames

    def feed(self, data: bytes) -> list[bytes]:
        return [sse.write(event.data, event.name) for event in self._frames.feed(data)]

    def rest(self) -> bytes:
        return self._frames.rest()


def splitter_of(content_type: bytes | None, dialect: DialectName) -> Splits | None:
    """`dialect`: the upstream's; in Claude's own a frame wraps an event of it. None: text, cut by a `Splitter`."""
    if content_type is None or not content_type.startswith(FRAMED):
        return None
    return FrameSplitter(FramedEvents() if dialect == "anthropic_messages" else Frames())
