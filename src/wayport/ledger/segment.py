"""The spool on disk: its file names, its frames, and how a reader tells a torn tail from damage.

    spool/<node>-<worker>/<writer>.live            locked as long as the process that writes here lives
    spool/<node>-<worker>/<writer>-00000001.wal    a segment: header, then frames: length, CRC-32, MessagePack of a record

    spool/<node>-<worker>/<writer>-00000001.done   a segment that is in the database and still read by followers

A segment is finished when its writer has begun a later one or is dead. What stands behind the last whole frame of a
finished segment was never acknowledged: a torn tail, which may be passed over. Zeros are not even that: a writer has room
ahead of itself, which it cuts off when it goes on to another segment and leaves behind when it is killed.
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
pack_head = FRAME.pack
SEED = 0x5753
"""A frame's checksum is `crc32(payload, length ^ SEED)`: over the length, too, and never that of a run of zeros."""
MAX_RECORD_BYTES = 16 * 1024 * 1024
SEGMENT = ".wal"
DONE = ".done"
"""a segment that the database has and that somebody else still reads"""
LIVE = ".live"
OPEN = ".open"
"""calls under way (opens.py)"""

_READ_BYTES = 1024 * 1024
_FIRST_READ_BYTES = 16 * 1024
"""most looks find little that is new"""
_SCAN_BYTES = 4 * 1024 * 1024
"""so much is looked through at most for records of one kind, before somebody else has a turn"""

_decode = msgspec.msgpack.Decoder(CallRecord).decode

End = Literal["full", "end", "torn", "damaged"]
"""why reading stopped: enough records; nothing behind the last whole frame; a part of one; damage that has no end"""


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


def read(path: Path, position: int, limit: int, *, live: bool = False, holding: bytes = b"") -> Chunk:
    """Reads at most `limit` records behind `position`. Raises `OSError`.

    `live`: its writer may be at work on it. What is no whole frame at its end is not there yet, whatever it looks like.
    With `holding` records without these bytes are passed over; in a segment that is not live unread, so many megabytes of
    them in one go.
    """
    records: list[CallRecord] = []
    rejected: list[bytes] = []
    damaged = 0
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(fd).st_size
        window = _Window(fd, size)
        if position < HEADER_BYTES:
            if size < HEADER_BYTES:
                return Chunk(records, position, "torn" if size else "end", rejected, damaged)
            if os.pread(fd, HEADER_BYTES, 0) != MAGIC:
                # Its size alone was on the disk when the power went.
                return Chunk(records, position, "end" if window.is_zero_from(0) else "damaged", rejected, damaged)
            position = HEADER_BYTES
        until = position + _SCAN_BYTES
        while len(records) + len(rejected) < limit:
            if holding:
                if not live:
                    position = window.skip(position, holding)
                if position >= until:
                    break
            if position == size:
                return Chunk(records, position, "end", rejected, damaged)
            frame = window.frame(position)
            if frame is not None and not frame.valid and window.is_valid(frame.next):
                # The writer's copying and ours may have met: half of this frame, and the one behind it, written a moment
                # later, whole. With a look of its own, the first is whole as well, unless it is damaged.
                frame = window.frame_again(position)
                if frame is not None and not frame.valid and window.is_valid(frame.next):
                    # One bad frame among good ones costs itself.
                    damaged += 1
                    position = frame.next
                    continue
            if frame is None or not frame.valid:
                end: End = "end" if live else window.after(position, frame)
                return Chunk(records, position, end, rejected, damaged)
            if not (live and holding) or frame.holds(holding):
                try:
                    records.append(_decode(frame.payload))
                except (msgspec.DecodeError, UnicodeDecodeError):
                    rejected.append(bytes(frame.payload))
            position = frame.next
        return Chunk(records, position, "full", rejected, damaged)
    finally:
        os.close(fd)


def unread_bytes(path: Path, position: int) -> int:
    """How much stands in a segment behind `position`, without the room that its writer has ahead. Raises `OSError`."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(fd).st_size
        window = _Window(fd, size)
        if window.is_zero_from(max(HEADER_BYTES, size - FRAME_BYTES)):
            size = window.end(max(HEADER_BYTES, position))
        return max(0, size - position)
    finally:
        os.close(fd)


class _Frame(NamedTuple):
    payload: memoryview
    next: int
    valid: bool

    def holds(self, wanted: bytes) -> bool:
        return bytes(self.payload).find(wanted) >= 0


class _Window:
    """A file seen through a buffer of one megabyte at most, or of one frame where that is larger.

    `size` is what it had at the beginning: it may grow, and be cut off behind its last frame, meanwhile.
    """

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        self._size = size
        self._start = 0
        self._data = memoryview(b"")
        self._read_bytes = _FIRST_READ_BYTES

    def frame(self, position: int) -> _Frame | None:
        """The frame at `position`, or None where the file ends before the frame does."""
        head = self._bytes(position, FRAME_BYTES)
        if len(head) < FRAME_BYTES:
            return None
        length, expected = FRAME.unpack(head)
        end = position + FRAME_BYTES + length
        if length > MAX_RECORD_BYTES:
            return _Frame(memoryview(b""), end, valid=False)
        payload = self._bytes(position + FRAME_BYTES, length)
        if len(payload) < length:
            return None
        return _Frame(payload, end, valid=zlib.crc32(payload, length ^ SEED) == expected)

    def frame_again(self, position: int) -> _Frame | None:
        """The same, read anew."""
        self._data = memoryview(b"")
        return self.frame(position)

    def is_valid(self, position: int) -> bool:
        """Whether a whole frame stands there."""
        frame = self.frame(position)
        return frame is not None and frame.valid

    def after(self, position: int, frame: _Frame | None) -> End:
        """What it means that at `position` stands no valid frame, and that no more can be told behind it."""
        if self.is_zero_from(position):
            # A writer begins with the head. Where there is none, it had not begun.
            return "end"
        if frame is None:
            return "torn"
        # A length that no writer writes says nothing of where its frame ends.
        return "torn" if frame.next <= self._size and self.is_zero_from(frame.next) else "damaged"

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

    def end(self, position: int) -> int:
        """Where the frames end of which the first is at `position`, going by their lengths."""
        while len(head := self._bytes(position, FRAME_BYTES)) == FRAME_BYTES:
            length: int = FRAME.unpack(head)[0]
            if not length:
                break
            position += FRAME_BYTES + length
        return min(position, self._size)

    def is_zero_from(self, position: int) -> bool:
        """Whether only zeros follow: room that was not used, or what a file system leaves behind a power cut."""
        while position < self._size:
            data = os.pread(self._fd, _READ_BYTES, position)
            if data.count(0) != len(data):
                return False
            if not data:
                break
            position += len(data)
        return True

    def _bytes(self, position: int, length: int) -> memoryview:
        """These, or as many of them as there are."""
        offset = position - self._start
        if offset < 0 or offset + length > len(self._data):
            self._data = memoryview(os.pread(self._fd, max(length, self._read_bytes), position))
            self._start = position
            self._read_bytes = min(4 * self._read_bytes, _READ_BYTES)
            offset = 0
        return self._data[offset : offset + length]
