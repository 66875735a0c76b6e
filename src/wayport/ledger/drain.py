"""Brings what the workers spooled into the database: every record once, whatever dies in between.

The position in a segment moves in the transaction of the records read up to it, and a segment is deleted only after that.
Should a position be lost, the call's id still keeps a record from counting twice.
"""

import asyncio
import base64
import logging
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec
from sqlalchemy import bindparam, delete, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from wayport.core.clock import Clock
from wayport.core.errors import Unavailable
from wayport.core.record import CallRecord
from wayport.ledger.bodies import Redaction
from wayport.ledger.calls import CallLog, Opened, essence
from wayport.ledger.opens import read_open
from wayport.ledger.segment import DONE, LIVE, OPEN, is_alive, list_spool, read, unread_bytes, writer_of
from wayport.storage.database import Database
from wayport.storage.tables import bodies, spool_positions

log = logging.getLogger("wayport.journal")

BATCH_RECORDS = 500
INTERVAL_S = 0.05
_RETRY_S = 1.0
_FORGOTTEN_S = 3600.0

_FORGET_POSITIONS = delete(spool_positions).where(spool_positions.c.segment.in_(bindparam("gone", expanding=True)))


_DATA_ERRORS = (DBAPIError, ValueError, TypeError, OverflowError, RecursionError)


class DrainState(msgspec.Struct, frozen=True, kw_only=True):
    records: int
    """read, written or not"""
    inserted: int
    """of them new to the database"""
    rejected: int
    """kept in rejected.jsonl, because no database takes them"""
    damaged: int
    """frames and segments that could not be read"""
    torn_tails: int
    abandoned: int
    """calls of dead processes, charged at their reservation"""
    error: str | None


class Writer(NamedTuple):
    directory: Path
    name: str


@dataclass
class Batch:
    """What one look at the spools found."""

    room: int
    closing: list[CallRecord] = field(default_factory=list)
    opening: dict[str, Opened] = field(default_factory=dict)
    rejected: list[bytes] = field(default_factory=list)
    positions: dict[Path, int] = field(default_factory=dict)
    finished: list[Path] = field(default_factory=list)
    torn: list[Path] = field(default_factory=list)
    unreadable: list[Path] = field(default_factory=list)
    dead: list[Writer] = field(default_factory=list)
    bodies: list[CallRecord] = field(default_factory=list)
    records: int = 0
    damaged: int = 0

    def take(self, writer: str, records: list[CallRecord]) -> None:
        self.room -= len(records)
        self.records += len(records)
        for record in records:
            if record.bodies is not None:
                self.bodies.append(record)
            elif record.opened:
                self.opening[record.call_id] = Opened(writer, record)
            else:
                self.opening.pop(record.call_id, None)
                self.closing.append(record)


class Drain:
    """Reads every spool below `root`. Runs in the control process; one per data directory."""

    def __init__(
        self,
        root: Path,
        database: Database,
        *,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        batch_records: int = BATCH_RECORDS,
        interval_s: float = INTERVAL_S,
        followed: bool = False,
        on_dead: Callable[[str], None] = lambda _: None,
        redaction: Redaction | None = None,
    ) -> None:
        """`followed`: drained segments are not deleted but renamed, for followers that delete them (follower.py).
        `on_dead` is told of each writer that has ended, once all that it wrote is in the database.
        """
        self.caught_up = asyncio.Event()
        """everything that lay in the spools at the start is in the counters: admission may begin"""
        self.stepping = asyncio.Lock()
        """held while a batch is written: who cancels `run` holds it, as a write that is cut off keeps the database locked"""
        self._root = root
        self._database = database
        self._clock = clock
        self._sleep = sleep
        self._batch_records = batch_records
        self._interval_s = interval_s
        self._followed = followed
        self._redaction = redaction or Redaction(())
        self._on_dead = on_dead
        self._log = CallLog(database, clock=clock)
        self._keep_body = database.insert(bodies).on_conflict_do_nothing()
        insert = database.insert(spool_positions)
        self._save = insert.on_conflict_do_update(
            index_elements=[spool_positions.c.segment],
            set_={"position_bytes": insert.excluded.position_bytes, "updated_s": insert.excluded.updated_s},
        )
        self._positions: dict[str, int] | None = None
        self._gone: list[str] = []
        self._any_open = True
        self._turn = 0
        self._complained: set[Path] = set()
        self._counts = dict.fromkeys(("records", "inserted", "rejected", "damaged", "torn_tails", "abandoned"), 0)
        self._error: str | None = None

    @property
    def state(self) -> DrainState:
        return DrainState(**self._counts, error=self._error)

    async def run(self) -> None:
        """Drains until cancelled; waits while the database is away."""
        while True:
            try:
                await self._database.connected()
                async with self.stepping:
                    records = await self.step()
                self._error = None
            except Unavailable as error:
                self._error = error.message
                await self._sleep(self._interval_s)
            except Exception as error:
                if self._error is None:
                    log.exception("the journal is not drained")
                self._error = str(error)[:300]
                await self._sleep(_RETRY_S)
            else:
                await self._sleep(0 if records >= self._batch_records else self._interval_s)

    async def step(self) -> int:
        """Drains at most one batch; returns how many records it had. Raises `Unavailable` with nothing changed."""
        if self._positions is None:
            self._tidy()
            self._positions = await self._load_positions()
        batch = self._gather(self._positions)
        for payload in batch.rejected:
            self._reject(payload, "not a record")
        if batch.records or batch.rejected or batch.opening or (batch.dead and self._any_open):
            try:
                await self._commit(batch.closing, batch.opening, batch)
            except _DATA_ERRORS as error:
                if not _is_about_data(error):
                    raise
                await self._commit_singly(batch)
        self._conclude(batch, self._positions)
        if batch.room > 0:
            self.caught_up.set()
        return batch.records

    def backlog_bytes(self) -> int:
        """How much waits to be drained."""
        positions = self._positions or {}
        total = 0
        for directory in self._spools():
            for segment in list_spool(directory).segments:
                try:
                    total += unread_bytes(segment, positions.get(segment.stem, 0))
                except OSError:  # drained meanwhile, or told where it is read
                    continue
        return total

    # Reading

    def _spools(self) -> list[Path]:
        try:
            return sorted(path for path in self._root.iterdir() if path.is_dir())
        except FileNotFoundError:
            return []

    def _gather(self, positions: dict[str, int]) -> Batch:
        batch = Batch(self._batch_records)
        spools = self._spools()
        self._turn += 1
        for offset in range(len(spools)):
            # Each look begins at another spool, so that a busy one does not keep the others waiting.
            directory = spools[(self._turn + offset) % len(spools)]
            try:
                self._gather_spool(directory, positions, batch)
            except OSError as error:
                # The others must not wait for one that cannot be read.
                self._complain(directory, error)
        return batch

    def _gather_spool(self, directory: Path, positions: dict[str, int], batch: Batch) -> None:
        # Who is dead is asked before the segments are listed: of a writer that was dead then, the list is complete.
        alive = {writer: is_alive(directory, writer) for writer in sorted(list_spool(directory).writers)}
        segments: dict[str, list[Path]] = {writer: [] for writer in alive}
        for segment in list_spool(directory).segments:
            segments.setdefault(writer_of(segment), []).append(segment)
        for writer, own in segments.items():
            living = alive.get(writer, True)
            finished = 0
            for segment in own:
                live = living and segment is own[-1]
                if batch.room <= 0 or not self._gather_segment(segment, writer, positions, batch, live=live) or live:
                    break
                batch.finished.append(segment)
                finished += 1
            if not living and finished == len(own):
                # First: what cannot be read now must not be cleared away with the writer.
                under_way = read_open(directory / f"{writer}{OPEN}")
                batch.dead.append(Writer(directory, writer))
                batch.opening |= {record.call_id: Opened(writer, record) for record in under_way}

    def _gather_segment(
        self, segment: Path, writer: str, positions: dict[str, int], batch: Batch, *, live: bool
    ) -> bool:
        """Reads on in a segment; tells whether its present end is reached."""
        try:
            chunk = read(segment, positions.get(segment.stem, 0), batch.room, live=live)
        except FileNotFoundError:
            return False
        batch.take(writer, chunk.records)
        batch.room -= len(chunk.rejected)
        batch.rejected += chunk.rejected
        batch.damaged += chunk.damaged
        batch.positions[segment] = chunk.position
        if chunk.end == "torn":
            batch.torn.append(segment)
        elif chunk.end == "damaged":
            batch.unreadable.append(segment)
        return chunk.end != "full"

    # Writing

    async def _load_positions(self) -> dict[str, int]:
        spools = self._spools()
        here = {segment.stem for directory in spools for segment in list_spool(directory).segments}
        async with self._database.read() as connection:
            self._any_open = await self._log.any_open(connection)
            rows = await connection.execute(
                select(spool_positions.c.segment, spool_positions.c.position_bytes).where(
                    spool_positions.c.spool.in_([directory.name for directory in spools])
                )
            )
            found = {row.segment: row.position_bytes for row in rows}
        self._gone += [segment for segment in found if segment not in here]
        return {segment: position for segment, position in found.items() if segment in here}

    async def _commit(self, closing: list[CallRecord], opening: dict[str, Opened], batch: Batch | None) -> None:
        """One transaction. With a `batch`, its positions are part of it."""
        inserted = abandoned = 0
        kept = await asyncio.to_thread(self._redaction.rows, batch.bodies) if batch is not None and batch.bodies else ()
        async with self._database.write() as connection:
            inserted = await self._log.add(connection, closing)
            await self._log.open(connection, opening)
            if self._any_open and closing:
                await self._log.close(connection, [record.call_id for record in closing])
            if kept:
                await connection.execute(self._keep_body, list(kept))
            if batch is not None:
                for writer in batch.dead if self._any_open or opening else ():
                    abandoned += await self._log.abandon(connection, writer.name)
                await self._save_positions(connection, batch)
        self._any_open = self._any_open or bool(opening)
        self._counts["inserted"] += inserted
        self._counts["abandoned"] += abandoned
        if batch is not None:
            self._gone.clear()
        if abandoned:
            log.warning("calls of a dead process are charged at their reservation", extra={"calls": abandoned})

    async def _save_positions(self, connection: AsyncConnection, batch: Batch) -> None:
        now_s = self._clock.now_s()
        rows = [
            {"segment": segment.stem, "spool": segment.parent.name, "position_bytes": position, "updated_s": now_s}
            for segment, position in sorted(batch.positions.items())
        ]
        if rows:
            await connection.execute(self._save, rows)
        if self._gone:
            await connection.execute(_FORGET_POSITIONS, {"gone": list(self._gone)})

    async def _commit_singly(self, batch: Batch) -> None:
        """Some record of the batch is one that the database refuses: find it, keep it aside, write the others."""
        for record in batch.closing:
            if (why := await self._refused([record], {})) is not None:
                self._reject(msgspec.msgpack.encode(record), why)
                # Whatever it is that cannot be stored, who called and what it cost probably can.
                await self._refused([essence(record)], {})
        for call_id, opened in batch.opening.items():
            if (why := await self._refused([], {call_id: opened})) is not None:
                self._reject(msgspec.msgpack.encode(opened.record), why)
        await self._commit([], {}, batch)

    async def _refused(self, closing: list[CallRecord], opening: dict[str, Opened]) -> str | None:
        """Writes one record; returns why the database refuses it."""
        try:
            await self._commit(closing, opening, None)
        except _DATA_ERRORS as error:
            if not _is_about_data(error):
                raise
            return str(error).partition("\n")[0]
        return None

    def _reject(self, payload: bytes, reason: str) -> None:
        line = {"at_s": self._clock.now_s(), "reason": reason[:300], "msgpack": base64.b64encode(payload).decode()}
        self._counts["rejected"] += 1
        log.error("a record cannot be stored; it is kept in rejected.jsonl", extra={"reason": reason[:300]})
        fd = os.open(self._root / "rejected.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, msgspec.json.encode(line) + b"\n")
        finally:
            os.close(fd)

    # Cleaning up

    def _tidy(self) -> None:
        """Removes what starts that failed left behind, and directories of nodes that are long gone."""
        before_s = self._clock.now_s() - _FORGOTTEN_S
        for directory in self._spools():
            with suppress(OSError):
                old = directory.stat().st_mtime < before_s
                for unnamed in directory.glob("*.new"):
                    if unnamed.stat().st_mtime < before_s:
                        unnamed.unlink()
                if old:
                    directory.rmdir()

    def _conclude(self, batch: Batch, positions: dict[str, int]) -> None:
        """After the commit: remember the positions, count, and delete what is drained."""
        self._counts["records"] += batch.records
        self._counts["damaged"] += batch.damaged
        positions.update({segment.stem: position for segment, position in batch.positions.items()})
        unreadable = set(batch.unreadable)
        for segment in batch.finished:
            try:
                if segment in unreadable:
                    segment.rename(segment.with_suffix(".damaged"))
                    self._counts["damaged"] += 1
                    log.error("a segment of the journal is damaged; it is kept", extra={"segment": str(segment)})
                elif self._followed:
                    with suppress(FileNotFoundError):
                        segment.rename(segment.with_suffix(DONE))
                else:
                    segment.unlink(missing_ok=True)
            except OSError as error:
                self._complain(segment, error)
                continue
            positions.pop(segment.stem, None)
            self._gone.append(segment.stem)
        for segment in batch.torn:
            self._counts["torn_tails"] += 1
            log.warning("the journal of a dead process ends in half a record", extra={"segment": segment.name})
        for writer in batch.dead:
            with suppress(OSError):
                # Without the second one nobody would look for the first any more.
                (writer.directory / f"{writer.name}{OPEN}").unlink(missing_ok=True)
                (writer.directory / f"{writer.name}{LIVE}").unlink()
            self._on_dead(writer.name)

    def _complain(self, path: Path, error: OSError) -> None:
        if path not in self._complained:
            self._complained.add(path)
            log.error("the journal cannot be read or cleared here", extra={"path": str(path), "error": error.strerror})


def _is_about_data(error: Exception) -> bool:
    """Whether this very record is at fault: trying again cannot help, and others are not concerned."""
    if not isinstance(error, DBAPIError):
        return True
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        # Data that does not fit, a constraint, a limit of the server (nested too deeply, say).
        return str(state).startswith(("22", "23", "54"))
    return type(error.orig).__name__ in {"DataError", "IntegrityError"} or isinstance(error.orig, OverflowError)
