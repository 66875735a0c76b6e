"""The calls of one process that are under way and would cost a budget something should the process die.

    spool/<node>-<worker>/<writer>.open    header, then slots: length, CRC-32, MessagePack of an opening record

A call takes a slot before anything is sent for it and leaves the slot when its own record is in the spool. The file is
mapped into memory (mapped.py): both are a copy of some hundred bytes and no system call, and what is copied is in the
kernel's hands, so that `kill -9` loses none of it. Its blocks are allocated when it is made; a disk that fills up later
cannot hurt it.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Self
from zlib import crc32

import msgspec

from wayport.core.record import CallRecord
from wayport.ledger.mapped import mapped
from wayport.ledger.segment import FRAME, FRAME_BYTES, OPEN, SEED, is_alive, pack_head

MAGIC = b"WAYOPN1\n"
SLOT_BYTES = 1024
SLOTS = 4096
"""more calls under way than this, and larger records, are written into the spool itself"""

_ROOM = SLOT_BYTES - FRAME_BYTES
_EMPTY = b"\0\0\0\0"
_decode = msgspec.msgpack.Decoder(CallRecord).decode


class OpenCalls:
    """The slots of one process. Not for use by several threads, but for `sync`."""

    def __init__(self, path: Path, *, slots: int = SLOTS) -> None:
        """Creates the file. Raises `OSError` where its blocks cannot be had."""
        size = SLOT_BYTES * (slots + 1)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            self._pages = mapped(self._fd, 0, size)
            self._pages[: len(MAGIC)] = MAGIC
        except OSError:
            os.close(self._fd)
            path.unlink(missing_ok=True)
            raise
        self.unsynced = False
        # The lowest first, and the last one left is the next one taken: few pages are ever touched.
        self._free = list(range(slots * SLOT_BYTES, 0, -SLOT_BYTES))

    def open(self, payload: bytes) -> int:
        """Keeps an opening record; returns its slot, or 0 where there is no room for it."""
        length, free = len(payload), self._free
        if length > _ROOM or not free:
            return 0
        slot = free.pop()
        head = pack_head(length, crc32(payload, length ^ SEED))
        self._pages[slot : slot + FRAME_BYTES + length] = head + payload
        self.unsynced = True
        return slot

    def close(self, slot: int) -> None:
        """The call's own record is in the spool."""
        self._pages[slot : slot + 4] = _EMPTY
        self._free.append(slot)

    def sync(self) -> None:
        """Brings the slots to the disk, if one was taken since. Raises `OSError`."""
        if self.unsynced:
            # What is taken from here on is for the next time.
            self.unsynced = False
            os.fdatasync(self._fd)

    def let_go(self) -> None:
        self._pages.close()
        os.close(self._fd)

    @classmethod
    def beside(cls, directory: Path, writer: str) -> Self | None:
        """Those of a writer of the spool; None where the file cannot be made: opening records go into the spool then."""
        _give_back(directory)
        try:
            return cls(directory / f"{writer}{OPEN}")
        except OSError:
            return None


def _give_back(directory: Path) -> None:
    """Cuts the files of dead writers behind the last slot that is taken.

    They lie there until the database has what they say: where it is away, and a worker dies again and again, they would fill
    the disk.
    """
    for path in directory.glob(f"*{OPEN}"):
        with suppress(OSError):
            if not is_alive(directory, path.stem):
                data = path.read_bytes()
                if data.startswith(MAGIC):
                    used = -(-len(data.rstrip(b"\0")) // SLOT_BYTES)
                    os.truncate(path, used * SLOT_BYTES)


def read_open(path: Path) -> list[CallRecord]:
    """The opening records of calls that had no end when their process died. A half-written slot was never acted on."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    found: list[CallRecord] = []
    if not data.startswith(MAGIC):
        return found
    # Only whole slots: a file that was cut elsewhere must not keep the others from being read.
    for slot in range(SLOT_BYTES, len(data) - SLOT_BYTES + 1, SLOT_BYTES):
        length, expected = FRAME.unpack_from(data, slot)
        payload = data[slot + FRAME_BYTES : slot + FRAME_BYTES + length]
        if 0 < length <= _ROOM and crc32(payload, length ^ SEED) == expected:
            try:
                found.append(_decode(payload))
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
    return found
