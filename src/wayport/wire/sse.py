"""Server-sent events: splitting bytes into events, reading and writing one. Framing only, no I/O.

Whatever way the bytes are cut, the events are the same.
"""

import re
from typing import NamedTuple

from wayport.core.errors import Fault, UpstreamFault

# A blank line in every line ending that the HTML standard allows, and mixtures of them. Atomic groups: a \r\n is one
# line ending and must never be read as two.
_BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")

MAX_EVENT_BYTES = 16 * 1024 * 1024


class Event(NamedTuple):
    """One event. `name` is empty where the stream names none; `data` is the data lines joined by newlines."""

    name: str
    data: bytes


class EventTooLarge(UpstreamFault):
    """An upstream sent an event above the limit."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(
            Fault(
                kind="malformed",
                status=0,
                message=f"An event of the upstream's stream is larger than {limit_bytes} bytes.",
            )
        )


class Splitter:
    """Cuts a byte stream into raw events, each with its closing blank line, exactly as received."""

    __slots__ = ("_buffer", "_max_bytes", "_more", "_searched", "size")

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._buffer = b""
        self._searched = 0
        # Pieces after the buffer that cannot hold a line's end: joined once, so that a large event costs no more than
        # its bytes.
        self._more: list[bytes] = []
        self.size = 0
        """how much came of an event that is not whole yet"""
        self._max_bytes = max_event_bytes

    def feed(self, data: bytes) -> list[bytes]:
        """The events that are complete now. Raises `EventTooLarge`."""
        if self.size:
            if data.find(b"\n") < 0 and data.find(b"\r") < 0 and not self._buffer.endswith(b"\r"):
                self._more.append(data)
                self._count(self.size + len(data))
                return []
            buffer = self._joined() + data
        else:
            buffer = data
        if buffer.find(b"\r") >= 0:
            return self._feed_any_ending(buffer)
        # The common case: every line ends in \n alone.
        at = buffer.find(b"\n\n", self._searched)
        if at >= 0 and at == len(buffer) - 2:
            self._buffer = b""
            self._searched = self.size = 0
            return [buffer]
        events = []
        start = 0
        while at >= 0:
            events.append(buffer[start : at + 2])
            start = at + 2
            at = buffer.find(b"\n\n", start)
        return self._keep(buffer, start, events)

    def _feed_any_ending(self, buffer: bytes) -> list[bytes]:
        events = []
        start = 0
        for match in _BLANK_LINE.finditer(buffer, self._searched):
            # A \r at the very end may be half of a \r\n: wait for the next byte.
            if match.end() == len(buffer) and buffer.endswith(b"\r"):
                break
            events.append(buffer[start : match.end()])
            start = match.end()
        return self._keep(buffer, start, events)

    def _keep(self, buffer: bytes, start: int, events: list[bytes]) -> list[bytes]:
        self._buffer = buffer[start:]
        self._searched = max(0, len(self._buffer) - 3)
        self._count(len(self._buffer))
        return events

    def _count(self, size: int) -> None:
        self.size = size
        if size > self._max_bytes:
            raise EventTooLarge(self._max_bytes)

    def _joined(self) -> bytes:
        if self._more:
            self._buffer = b"".join((self._buffer, *self._more))
            self._more.clear()
        return self._buffer

    def rest(self) -> bytes:
        """What came after the last whole event; empty after a clean end."""
        return self._joined()


def parse(raw: bytes) -> Event:
    """Reads one raw event. Comment lines and unknown fields are passed over, as is a byte order mark."""
    if raw.startswith(b"data: ") and raw.find(b"\n") == len(raw) - 2:
        return Event("", raw[6:-2])
    name = ""
    data: list[bytes] = []
    for line in raw.removeprefix(b"\xef\xbb\xbf").splitlines():
        if line.startswith(b"data:"):
            data.append(line[6:] if line.startswith(b"data: ") else line[5:])
        elif line.startswith(b"event:"):
            name = line[6:].strip().decode("utf-8", "replace")
    return Event(name, b"\n".join(data))


_LINE_END = re.compile(rb"\r\n|\n|\r")


def write(data: bytes, name: str = "") -> bytes:
    """One event; data of several lines goes out as so many data lines."""
    if data.find(b"\n") >= 0 or data.find(b"\r") >= 0:
        data = _LINE_END.sub(b"\ndata: ", data)
    if name:
        return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"
    return b"data: " + data + b"\n\n"


DONE = b"data: [DONE]\n\n"
COMMENT = b": wayport\n\n"
