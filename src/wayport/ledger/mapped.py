"""Files that are written by copying into memory: no system call for a record, and yet `kill -9` loses none of them.

What is copied into the mapping stands in the kernel's pages of the file. A page without a block of its own that is written
to on a full disk would kill the process: blocks come first, and only where the file system stands by those it has given.
"""

import errno
import os
from contextlib import suppress
from mmap import ALLOCATIONGRANULARITY, mmap
from pathlib import Path

from wayport.ledger.segment import HEADER_BYTES, MAGIC

_LEAST_AHEAD_BYTES = 64 * 1024
_MOST_AHEAD_BYTES = 256 * 1024
_ZEROS = bytes(_MOST_AHEAD_BYTES)
_STEADFAST = frozenset({b"ext2", b"ext3", b"ext4", b"xfs", b"tmpfs"})
"""File systems that write a block where they have allocated it. Those that write each change to a new place (btrfs, ZFS)
need another block for it, and those of a network tell too late that there is none.
"""


def stands_by_its_blocks(path: Path) -> bool:
    """Whether what is allocated in a file below `path` can be written to later, however full the disk is then."""
    device = path.stat().st_dev
    number = b"%d:%d" % (os.major(device), os.minor(device))
    try:
        mounts = Path("/proc/self/mountinfo").read_bytes().splitlines()
    except OSError:
        return False
    for line in mounts:
        mount, _, kind = line.partition(b" - ")
        if mount.split()[2] == number:
            return kind.split()[0] in _STEADFAST
    return False


def mapped(fd: int, begin: int, end: int) -> mmap:
    """These bytes of a file, their blocks allocated; the file grows to `end`. `begin` is a multiple of a page.

    Raises `OSError` where they cannot be had.
    """
    os.posix_fallocate(fd, begin, end - begin)
    try:
        return mmap(fd, end - begin, offset=begin)
    except ValueError as error:
        # Somebody else has cut the file short.
        raise OSError(errno.EIO, str(error)) from error


class GrowingSegment:
    """The segment that is being written. Where there is room in `pages`, a record is copied to `at`; else `write` is for it.

    Blocks are allocated ahead, as many again as are in use and 256 KB at most: an idle worker holds few of them. Only that
    part of the file is mapped, so that what was written long ago does not count as the process's memory.
    """

    __slots__ = ("_base", "_mapping", "_most_bytes", "at", "fd", "pages", "room")

    pages: mmap

    def __init__(self, path: Path, *, most_bytes: int, mapping: bool) -> None:
        """Creates the file. Raises `OSError`. `most_bytes`: how far it is to grow; `mapping`: whether by way of memory."""
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._most_bytes = most_bytes
        self._mapping = mapping
        self._base = HEADER_BYTES
        """where in the file `pages` begins"""
        self.at = 0
        """where in `pages` the next record goes"""
        self.room = 0
        """how much `pages` holds; 0: there is no such thing"""
        try:
            _write_whole(self.fd, MAGIC)
        except OSError:
            os.close(self.fd)
            path.unlink(missing_ok=True)
            raise

    @property
    def position(self) -> int:
        """Where in the file the next record goes."""
        return self._base + self.at

    def make_room(self, needed: int) -> bool:
        """Whether so many bytes have room in `pages` now."""
        position = self.position
        self._unmap()
        if self._mapping:
            ahead = min(max(position, _LEAST_AHEAD_BYTES), _MOST_AHEAD_BYTES, self._most_bytes - position)
            begin = position - position % ALLOCATIONGRANULARITY
            end = position + max(ahead, needed)
            try:
                self.pages = mapped(self.fd, begin, end)
                # For the kernel to have these pages at hand: where each is asked for by its first record, a record costs it
                # nearly as much as by a system call of its own (0.8 µs, with this 0.1; ext4 on Linux 6.18).
                os.pwrite(self.fd, _ZEROS[: end - position], position)
            except OSError:
                # As long as the disk is that full, each record asks for its own block. The next segment tries again.
                self._mapping = False
            else:
                self._base, self.at, self.room = begin, position - begin, end - begin
        return self._mapping

    def write(self, frame: bytes) -> bool:
        """Writes a record by a system call; False: only a part of it, which is to be taken back. Raises `OSError`."""
        written = os.pwrite(self.fd, frame, self.position)
        if written != len(frame):
            return False
        self._base += written
        return True

    def cut(self) -> None:
        """Makes the file end where its whole records do. Raises `OSError`."""
        self._unmap()
        os.ftruncate(self.fd, self.position)

    def finish(self) -> None:
        """Nothing more will be written. `fd` stays open for whoever brings it to the disk."""
        with suppress(OSError):
            # Zeros that stay at its end are no records to anybody.
            self.cut()

    def _unmap(self) -> None:
        if self.room:
            self.pages.close()
            self._base, self.at, self.room = self.position, 0, 0


def _write_whole(fd: int, data: bytes) -> None:
    if os.write(fd, data) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
