"""The journal's write-ahead spool: a call's record is in the kernel's hands before the call's last bytes leave us.

`append` copies into a mapped file (mapped.py) or makes one system call, takes no lock, waits for nobody and never raises:
what cannot be kept is counted and said.
"""

import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal
from zlib import crc32

import msgspec

from wayport.core.clock import Clock
from wayport.core.ids import NewId, uuid7
from wayport.core.record import CallRecord
from wayport.ledger.mapped import GrowingSegment, stands_by_its_blocks
from wayport.ledger.opens import OpenCalls
from wayport.ledger.segment import FRAME_BYTES, LIVE, MAX_RECORD_BYTES, SEED, SEGMENT, lock, pack_head, segment_name

log = logging.getLogger("wayport.journal")

Sync = Literal["os", "1s", "always"]
"""when a record reaches the disk: as the kernel likes (a crash of ours loses nothing, a power cut does), once a second
by a thread, or before `append` returns"""

OnFull = Literal["serve", "refuse"]

SEGMENT_BYTES = 16 * 1024 * 1024
MAX_BYTES = 4 * 1024 * 1024 * 1024
_SYNC_INTERVAL_S = 1.0
_RETRY_S = 1.0
_COMPLAINT_INTERVAL_S = 60.0
_MAX_INT = 2**63 - 1


class SpoolState(msgspec.Struct, frozen=True, kw_only=True):
    appended: int
    lost: int
    """records that could not be kept"""
    lost_nano_usd: int
    """what they cost together"""
    failed_syncs: int
    full: bool
    error: str | None
    """the last reason for a loss"""


class Spool:
    """One process's own spool. Not for use by several threads."""

    def __init__(
        self,
        directory: Path,
        *,
        clock: Clock,
        sync: Sync = "1s",
        max_bytes: int = MAX_BYTES,
        on_full: OnFull = "serve",
        segment_bytes: int = SEGMENT_BYTES,
        new_id: NewId = uuid7,
    ) -> None:
        self.directory = directory
        self.writer = new_id()
        self._clock = clock
        self._sync = sync
        self._max_bytes = max_bytes
        self._on_full = on_full
        self._segment_bytes = min(segment_bytes, max(1, max_bytes // 4))
        self._encode: Callable[[object], bytes] = msgspec.msgpack.Encoder().encode
        self._segment: GrowingSegment | None = None
        self._live_fd = -1
        self._number = 0
        self._appended = 0
        self._lost = 0
        self._lost_nano_usd = 0
        self._failed_syncs = 0
        self._used_bytes = 0
        self._full = False
        self._error: str | None = None
        self._retry_at_s = float("-inf")
        self._measured_at_s = float("-inf")
        self._complained_at_s = float("-inf")
        self._closed = threading.Event()
        self._retired: deque[int] = deque()
        self._synced = 0
        """so many of the appended are on the disk"""
        self._mapping = False
        """records are copied into mapped files"""
        self._named = True
        """the present segment's name is on the disk"""
        self._open_segment()
        self.opens: OpenCalls | None = None
        """where calls that are under way are kept; None: in the spool itself"""
        if self._mapping:
            self.opens = OpenCalls.beside(directory, self.writer)
        self._thread: threading.Thread | None = None
        if sync == "1s":
            self._thread = threading.Thread(target=self._sync_often, name="spool-sync", daemon=True)
            self._thread.start()

    def append(self, record: CallRecord) -> bool:
        """Writes one record. When it returns, the end of this process (`kill -9`, too) cannot lose it.

        False: it could not be kept, which is counted.
        """
        nano_usd = (record.cost_nano_usd or 0) + record.wasted_nano_usd
        try:
            payload = self._encode(record)
        except (ValueError, TypeError, OverflowError):
            # Lone surrogates or numbers beyond 64 bits out of a client's request: its cost must not vanish for that.
            salvaged = _salvaged(record)
            if salvaged is None:
                self._lose(nano_usd, "the record cannot be encoded")
                return False
            payload = self._encode(salvaged)
        return self.keep(payload, nano_usd)

    def keep(self, packed: bytes, nano_usd: int) -> bool:
        """`append` of a record that is MessagePack already; `nano_usd`: what it costs."""
        segment = self._segment
        if segment is None:
            return self._keep_further_on(packed, nano_usd)
        at, length = segment.at, len(packed)
        begin = at + FRAME_BYTES
        end = begin + length
        if end > segment.room:
            return self._keep_further_on(packed, nano_usd)
        pages = segment.pages
        # The head first: whatever comes of us while we copy, it says how far that might have gone.
        pages[at:begin] = pack_head(length, crc32(packed, length ^ SEED))
        pages[begin:end] = packed
        segment.at = end
        self._appended += 1
        return True

    def _keep_further_on(self, packed: bytes, nano_usd: int) -> bool:
        """Where the mapped room is used up, or nothing is mapped."""
        segment, length = self._segment, len(packed)
        if length > MAX_RECORD_BYTES:
            # Nobody would read it, nor what stands behind it.
            self._lose(nano_usd, "the record is too large")
            return False
        if segment is None or segment.position >= self._segment_bytes:
            self._rotate()
            segment = self._segment
            if segment is None:
                self._lose(nano_usd, None)
                return False
        if segment.make_room(FRAME_BYTES + length):
            return self.keep(packed, nano_usd)
        try:
            if not segment.write(pack_head(length, crc32(packed, length ^ SEED)) + packed):
                if self._on_full == "refuse":
                    self._abandon()
                else:
                    self._take_back()
                self._lose(nano_usd, "the disk is full")
                return False
            if self._sync == "always":
                os.fdatasync(segment.fd)
        except OSError as error:
            self._abandon()
            self._lose(nano_usd, error.strerror or str(error))
            return False
        self._appended += 1
        return True

    def refusing(self) -> bool:
        """Whether calls on a budget must be turned away because their cost could not be kept (`on_full: refuse`)."""
        if self._on_full != "refuse":
            return False
        if self._segment is None:
            # Nobody else would look whether there is room again: calls that are refused append nothing.
            self._rotate()
            return self._segment is None
        if not self._full:
            return False
        self._measure()
        return self._full

    @property
    def state(self) -> SpoolState:
        return SpoolState(
            appended=self._appended,
            lost=self._lost,
            lost_nano_usd=self._lost_nano_usd,
            failed_syncs=self._failed_syncs,
            full=self._full,
            error=self._error,
        )

    def close(self) -> None:
        """Syncs, and lets go of the lock: from now on the segments count as finished."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()
        if self._sync != "os":
            self.sync_now()
        if self.opens is not None:
            self.opens.let_go()
        if self._segment is not None:
            self._segment.finish()
            self._retired.append(self._segment.fd)
        for fd in (*self._retired, self._live_fd):
            if fd >= 0:
                os.close(fd)
        self._segment = None
        self._live_fd = -1
        self._retired.clear()

    def sync_now(self) -> None:
        """Brings what was appended to the disk. The thread's work; it alone closes what it syncs, so no lock is needed."""
        while self._retired:
            fd = self._retired.popleft()
            self._fdatasync(fd)
            os.close(fd)
        # In this order: what another segment gets meanwhile is for the next time.
        appended, segment = self._appended, self._segment
        if segment is not None and appended != self._synced:
            self._fdatasync(segment.fd)
            self._synced = appended
        try:
            if not self._named:
                # A name that is not on the disk is no name after a power cut.
                self._named = True
                self._sync_directory()
            if self.opens is not None:
                self.opens.sync()
        except OSError as error:
            self._sync_failed(error)

    def _sync_often(self) -> None:
        while not self._closed.wait(_SYNC_INTERVAL_S):
            self.sync_now()

    def _fdatasync(self, fd: int) -> None:
        try:
            os.fdatasync(fd)
        except OSError as error:
            self._sync_failed(error)

    def _sync_failed(self, error: OSError) -> None:
        self._failed_syncs += 1
        self._complain("the spool cannot be brought to the disk", error=error.strerror)

    # Segments

    def _rotate(self) -> None:
        self._retire()
        now_s = self._clock.steady_s()
        if now_s >= self._retry_at_s:
            self._open_segment()
            if self._segment is None:
                self._retry_at_s = now_s + _RETRY_S

    def _retire(self) -> None:
        segment = self._segment
        if segment is None:
            return
        # Cut before there is another one: what is not the last one is read as finished.
        segment.finish()
        if self._sync == "1s":
            self._retired.append(segment.fd)
        else:
            os.close(segment.fd)
        self._segment = None

    def _open_segment(self) -> None:
        self._measured_at_s = float("-inf")
        self._measure()
        reserve = self._segment_bytes if self._on_full == "refuse" else 0
        if self._full and self._used_bytes + self._segment_bytes > self._max_bytes + reserve:
            self._error = f"the spool holds {self._used_bytes} bytes, its limit is {self._max_bytes}"
            return
        try:
            self._begin_life()
            self._segment = self._create_segment()
        except OSError as error:
            self._error = error.strerror or str(error)

    def _create_segment(self) -> GrowingSegment:
        self._number += 1
        path = self.directory / segment_name(self.writer, self._number)
        segment = GrowingSegment(path, most_bytes=self._segment_bytes, mapping=self._mapping)
        if self._sync == "always":
            try:
                self._sync_directory()
            except OSError:
                os.close(segment.fd)
                path.unlink(missing_ok=True)
                raise
        self._named = False
        return segment

    def _begin_life(self) -> None:
        """Takes the lock that says we live. Named after it is held, so nobody sees our file without a lock on it."""
        if self._live_fd >= 0:
            return
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.directory / f"{self.writer}{LIVE}"
        unnamed = path.with_suffix(".new")
        fd = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            lock(fd)
            unnamed.rename(path)
        except OSError:
            os.close(fd)
            raise
        self._live_fd = fd
        # Where each record is to be on the disk before its call goes on, there is a system call anyway.
        self._mapping = self._sync != "always" and stands_by_its_blocks(self.directory)

    def _sync_directory(self) -> None:
        fd = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def _measure(self) -> None:
        """Looks how much waits on the disk; at most once a second while the spool is full."""
        now_s = self._clock.steady_s()
        if now_s < self._measured_at_s + _RETRY_S:
            return
        self._measured_at_s = now_s
        ahead_bytes = 0 if self._segment is None else self._segment.room - self._segment.at
        self._used_bytes = _bytes_in(self.directory) - ahead_bytes
        self._full = self._used_bytes + self._segment_bytes > self._max_bytes
        if self._full:
            self._complain("the spool is full", used_bytes=self._used_bytes, limit_bytes=self._max_bytes)

    # Losses

    def _take_back(self) -> None:
        """Removes half a frame, so that the segment stays readable; where that fails, the segment is left."""
        if self._segment is not None:
            try:
                self._segment.cut()
            except OSError:
                self._retire()

    def _abandon(self) -> None:
        """After an error of the disk this file may hold anything behind our position: go on in another one."""
        self._take_back()
        self._retire()
        self._retry_at_s = self._clock.steady_s() + _RETRY_S

    def _lose(self, nano_usd: int, why: str | None) -> None:
        self._lost += 1
        self._lost_nano_usd += nano_usd
        if why is not None:
            self._error = why
        self._complain("calls are not journaled", error=self._error, lost=self._lost, lost_nano_usd=self._lost_nano_usd)

    def _complain(self, event: str, **fields: Any) -> None:
        now_s = self._clock.steady_s()
        if now_s >= self._complained_at_s + _COMPLAINT_INTERVAL_S:
            self._complained_at_s = now_s
            log.error(event, extra={"spool": str(self.directory), **fields})


def _bytes_in(directory: Path) -> int:
    total = 0
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.endswith(SEGMENT):
                    try:
                        total += entry.stat().st_size
                    except FileNotFoundError:  # drained and deleted as we looked
                        continue
    except OSError:
        return 0
    return total


def _salvaged(record: CallRecord) -> CallRecord | None:
    """The record with what cannot be encoded replaced by something that can; None if it is no record at all."""
    try:
        return msgspec.convert(_encodable(msgspec.to_builtins(record, builtin_types=(bytes,))), CallRecord)
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError):
        return None


def _encodable(value: object) -> object:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case bool():
            return value
        case int():
            return max(-_MAX_INT, min(value, _MAX_INT))
        case dict():
            return {_encodable(name): _encodable(inner) for name, inner in value.items()}
        case list():
            return [_encodable(inner) for inner in value]
        case _:
            return value
