"""AWS's binary event-stream framing: bytes to events and back. Framing only, no I/O.

A frame is a prelude (length of the whole, length of the headers, their checksum), headers, a payload, and a checksum of
all before it; numbers are big-endian. Whatever way the bytes are cut, the events are the same.
Source: the Smithy specification, `application/vnd.amazon.eventstream`.
"""

import struct
from typing import NamedTuple
from zlib import crc32

import msgspec

from wayport.core.errors import Fault, UpstreamFault
from wayport.wire.sse import Event

CONTENT_TYPE = "application/vnd.amazon.eventstream"
EXCEPTION = "exception:"
"""before the name of an event that is an exception of the service's model, or an error of the stream itself"""

MAX_FRAME_BYTES = 24 * 1024 * 1024
_MAX_HEADERS_BYTES = 128 * 1024
_PRELUDE = struct.Struct(">III")
_CRC = struct.Struct(">I")
_LENGTH = struct.Struct(">H")
_LEAST = _PRELUDE.size + _CRC.size
_KEPT = 64
"""how many spellings of headers are remembered; a service has a handful"""

# The types of header values: their fixed sizes, and the two that state their length.
_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
_BYTES, _STRING = 6, 7

_encode = msgspec.json.Encoder().encode


class MalformedFrame(UpstreamFault):
    """An upstream sent bytes that are no frame, or a frame that was damaged on its way."""

    def __init__(self, message: str) -> None:
        super().__init__(Fault(kind="malformed", status=200, message=message))


class _Meaning(NamedTuple):
    """What the headers of a frame say: the event's name, and its data where that is not the payload."""

    name: str
    data: bytes | None


class Frames:
    """Reads events out of frames, as their bytes come."""

    __slots__ = ("_known", "_max_bytes", "_needed", "_rest")

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._rest = bytearray()
        self._needed = 0
        self._max_bytes = max_frame_bytes
        self._known: dict[bytes, _Meaning] = {}

    def feed(self, data: bytes) -> list[Event]:
        """The events that are complete now. Raises `MalformedFrame`; there is nothing to be read after that."""
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return []
            data = bytes(self._rest)
            self._rest.clear()
        events: list[Event] = []
        view = memoryview(data)
        start = 0
        self._needed = _LEAST
        while len(data) - start >= _PRELUDE.size:
            length, headers_length = self._prelude(data, start)
            end = start + length
            if end > len(data):
                self._needed = length
                break
            if crc32(view[start : end - 4]) != _CRC.unpack_from(data, end - 4)[0]:
                raise MalformedFrame("a frame of the stream was damaged: its checksum is wrong")
            payload = start + _PRELUDE.size + headers_length
            meaning = self._meaning(data[start + _PRELUDE.size : payload])
            events.append(Event(meaning.name, data[payload : end - 4] if meaning.data is None else meaning.data))
            start = end
        if start < len(data):
            self._rest += view[start:]
        return events

    def _prelude(self, data: bytes, start: int) -> tuple[int, int]:
        length, headers_length, checksum = _PRELUDE.unpack_from(data, start)
        if crc32(data[start : start + 8]) != checksum:
            raise MalformedFrame(
                "the stream is not made of frames, or one was damaged: the prelude's checksum is wrong"
            )
        if headers_length > _MAX_HEADERS_BYTES or length < _LEAST + headers_length:
            raise MalformedFrame("a frame of the stream states impossible lengths")
        if length > self._max_bytes:
            raise MalformedFrame(f"a frame of the stream is larger than {self._max_bytes} bytes")
        return length, headers_length

    def _meaning(self, headers: bytes) -> _Meaning:
        known = self._known.get(headers)
        if known is None:
            known = _meaning_of(_texts(headers))
            if len(self._known) < _KEPT:
                self._known[headers] = known
        return known

    def rest(self) -> bytes:
        """What came after the last whole frame; empty after a clean end."""
        return bytes(self._rest)


def _meaning_of(headers: dict[str, str]) -> _Meaning:
    match headers.get(":message-type"):
        case "exception":
            return _Meaning(EXCEPTION + headers.get(":exception-type", ""), None)
        case "error":
            message = _encode({"message": headers.get(":error-message", "")})
            return _Meaning(EXCEPTION + headers.get(":error-code", ""), message)
        case _:
            return _Meaning(headers.get(":event-type", ""), None)


def _texts(raw: bytes) -> dict[str, str]:
    """The headers whose values are strings; others are passed over."""
    found: dict[str, str] = {}
    at = 0
    try:
        while at < len(raw):
            name_end = at + 1 + raw[at]
            name = raw[at + 1 : name_end].decode()
            kind = raw[name_end]
            at = name_end + 1
            if kind in (_BYTES, _STRING):
                size = _LENGTH.unpack_from(raw, at)[0]
                at += 2
                if kind == _STRING:
                    found[name] = raw[at : at + size].decode()
            else:
                size = _SIZES[kind]
            at += size
    except (IndexError, KeyError, UnicodeDecodeError, struct.error):
        at = -1
    if at != len(raw):
        raise MalformedFrame("the headers of a frame cannot be read")
    return found


def write(data: bytes, name: str = "") -> bytes:
    """One event as a frame; a name that begins with `EXCEPTION` makes an exception of it."""
    if name.startswith(EXCEPTION):
        headers = {":exception-type": name.removeprefix(EXCEPTION), ":message-type": "exception"}
    else:
        headers = {":event-type": name, ":message-type": "event"}
    return write_frame({**headers, ":content-type": "application/json"}, data)


def write_frame(headers: dict[str, str], payload: bytes) -> bytes:
    """A frame with string headers."""
    written = b"".join(_header(name, value) for name, value in headers.items())
    length = _LEAST + len(written) + len(payload)
    prelude = struct.pack(">II", length, len(written))
    frame = prelude + _CRC.pack(crc32(prelude)) + written + payload
    return frame + _CRC.pack(crc32(frame))


def _header(name: str, value: str) -> bytes:
    encoded = value.encode()
    return bytes((len(name),)) + name.encode() + bytes((_STRING,)) + _LENGTH.pack(len(encoded)) + encoded
