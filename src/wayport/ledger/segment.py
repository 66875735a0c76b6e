"""The spool on disk: its file names, its frames, and how a reader tells a torn tail from damage.

    spool/<node>-<worker>/<writer>.live            locked as long as the process that writes here lives
    spool/<node>-<worker>/<writer>-00000001.wal    a segment: header, then frames: length, CRC-32, MessagePack of a record

    spool/<node>-<worker>/<writer>-00000001.done   a segment that is in the database and still read by followers

A segment is finished when its writer has begun a later one or is dead. What stands behind the last whole frame of a
finished segment was never acknowledged: a torn tail, which may be passed over.
"""

import fcntl
import os
import struct
import zlib
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from wayport.core.record import CallRecord

MAGIC = b"WAYSPL1\n"
HEADER_BYTES = len(MAGIC)
FRAME = struct.Struct("<II")
FRAME_BYTES = FRAME.size
MAX_RECORD_BYTES = 16 * 1024 * 1024
SEGMENT = ".wal"
DONE = ".done"
"""a segment that the database has and that somebody else still reads"""
LIVE = ".live"
OPEN = ".open"
"""calls under way (opens.py)"""

_READ_BYTES = 1024 * 1024
_SCAN_BYTES = 4 * 1024 * 1024
"""so much is looked through at most for records of one kind, before somebody else has a turn"""

_decode = msgspec.msgpack.Decoder(CallRecord).decode

End = Literal["full", "end", "torn", "damaged"]
"""why reading stopped: enough records; the last whole frame; bytes behind it that are none; damage that has no end"""


class Chunk(NamedTuple):
    records: list[CallRecord]
    position: int
    """behind the last frame that was read or passed over"""
    end: End
    rejected: list[bytes]
    """frames that are whole and hold no record that we can read"""
    damaged: int
    """frames passed over because their checksum is wrong"""


def segment_name(writer: str, number: int) -> str:
    return f"{writer}-{number:08d}{SEGMENT}"


def writer_of(segment: Path) -> str:
    return segment.stem.rpartition("-")[0]


def checksum(payload: bytes | memoryview, length: int) -> int:
    """Over the length and the payload: seeded with the length, so that a run of zeros is no valid frame."""
    return zlib.crc32(payload, length ^ 0x5753)


def lock(fd: int) -> bool:
    """Takes the exclusive lock that says: my writer lives. The kernel lets go of it when the process ends."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Listing(NamedTuple):
    """What lies in one spool's directory."""

    writers: set[str]
    segments: list[Path]
    """oldest first within each writer"""


def list_spool(directory: Path) -> Listing:
    writers: set[str] = set()
    segments: list[Path] = []
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.endswith(SEGMENT):
                segments.append(Path(entry.path))
                writers.add(entry.name.rpartition("-")[0])
            elif entry.name.endswith(LIVE):
                writers.add(entry.name.removesuffix(LIVE))
    segments.sort()
    return Listing(writers, segments)


def is_alive(directory: Path, writer: str) -> bool:
    """Whether the process behind `writer` still holds its lock."""
    try:
        fd = os.open(directory / f"{writer}{LIVE}", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not lock(fd)
    finally:
        os.close(fd)


def read(path: Path, position: int, limit: int, *, holding: bytes = b"") -> Chunk:
    """Reads at most `limit` records behind `position`. Raises `OSError`.

    With `holding` frames without these bytes are passed over, unread, so many megabytes of them in one go.
    """
    records: list[CallRecord] = []
    rejected: list[bytes] = []
    damaged = 0
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(fd).st_size
        if position < HEADER_BYTES:
            if size < HEADER_BYTES:
                return Chunk(records, position, "torn" if size else "end", rejected, damaged)
            if os.pread(fd, HEADER_BYTES, 0) != MAGIC:
                return Chunk(records, position, "damaged", rejected, damaged)
            position = HEADER_BYTES
        window = _Window(fd, size)
        until = position + _SCAN_BYTES
        while len(records) + len(rejected) < limit:
            if holding:
                position = window.skip(position, holding)
                if position >= until:
                    break
            if position == size:
                return Chunk(records, position, "end", rejected, damaged)
            frame = window.frame(position)
            if frame is None:
                return Chunk(records, position, "torn", rejected, damaged)
            if not frame.valid:
                # One bad frame among good ones costs itself; where no good one follows, the rest cannot be framed.
                follower = window.frame(frame.next) if frame.next < size else None
                if follower is None or not follower.valid:
                    end: End = "torn" if window.is_zero_from(position) else "damaged"
                    return Chunk(records, position, end, rejected, damaged)
                damaged += 1
            else:
                try:
                    records.append(_decode(frame.payload))
                except (msgspec.DecodeError, UnicodeDecodeError):
                    rejected.append(bytes(frame.payload))
            position = frame.next
        return Chunk(records, position, "full", rejected, damaged)
    finally:
        os.close(fd)


class _Frame(NamedTuple):
    payload: memoryview
    next: int
    valid: bool


class _Window:
    """A file seen through a buffer of one megabyte, or of one frame where that is larger."""

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        self._size = size
        self._start = 0
        self._data = memoryview(b"")

    def frame(self, position: int) -> _Frame | None:
        """The frame at `position`, or None where the file ends before the frame does."""
        if position + FRAME_BYTES > self._size:
            return None
        length, expected = FRAME.unpack(self._bytes(position, FRAME_BYTES))
        end = position + FRAME_BYTES + length
        if length > MAX_RECORD_BYTES:
            return _Frame(memoryview(b""), end, valid=False)
        if end > self._size:
            return None
        payload = self._bytes(position + FRAME_BYTES, length)
        return _Frame(payload, end, valid=checksum(payload, length) == expected)

    def skip(self, position: int, holding: bytes) -> int:
        """Behind the whole frames at `position` that do not hold these bytes, as far as the buffer reaches.

        What is no frame, and what does not fit into the buffer, is left to `frame`.
        """
        if position + FRAME_BYTES > self._size:
            return position
        self._bytes(position, FRAME_BYTES)
        data = self._data.obj
        assert isinstance(data, bytes)
        offset = position - self._start
        found = data.find(holding, offset)
        end = found if found >= 0 else len(data)
        while offset + FRAME_BYTES <= end:
            length: int = FRAME.unpack_from(data, offset)[0]
            after = offset + FRAME_BYTES + length
            if after > end or not length:
                break
            offset = after
        return self._start + offset

    def is_zero_from(self, position: int) -> bool:
        """Whether only zeros follow: what a file system leaves behind a power cut."""
        while position < self._size:
            data = os.pread(self._fd, _READ_BYTES, position)
            if data.count(0) != len(data):
                return False
            position += len(data)
        return True

    def _bytes(self, position: int, length: int) -> memoryview:
        offset = position - self._start
        if offset < 0 or offset + length > len(self._data):
            self._data = memoryview(os.pread(self._fd, max(length, _READ_BYTES), position))
            self._start = position
            offset = 0
        return self._data[offset : offset + length]
