"""Reads what the workers spool a second time, for those who are told of calls: metrics, live tail, callbacks.

A follower needs no database. It keeps its own positions, so each reads at its own pace and goes on after a restart where
it had stopped; what was read and not acknowledged comes again. Segments that the database has (`.done`) stay until every
follower is through with them.
"""

import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct, field

from wayport.core.clock import Clock
from wayport.core.record import CallRecord
from wayport.ledger.segment import DONE, SEGMENT, read, unread_bytes

log = logging.getLogger("wayport.journal")

MAX_BACKLOG_BYTES = 256 * 1024 * 1024
_SLACK_S = 60.0
"""a follower that is new is told of calls that ended at most this long before it began"""


class _State(Struct, kw_only=True):
    since_s: float
    positions: dict[str, int] = field(default_factory=dict)


class Follower:
    """One reader of all spools below `root`; its state lies in `state`. Not for use by several tasks.

    With `team_id` it reads that team's calls alone, and passes over the others' without looking into them.
    """

    def __init__(
        self,
        root: Path,
        state: Path,
        *,
        clock: Clock,
        max_backlog_bytes: int = MAX_BACKLOG_BYTES,
        team_id: str | None = None,
    ) -> None:
        self._root = root
        self._path = state
        self._max_backlog_bytes = max_backlog_bytes
        loaded = _load(state)
        self._state = loaded or _State(since_s=clock.now_s() - _SLACK_S)
        self._next: dict[str, int] = dict(self._state.positions)
        """positions behind what was read, acknowledged or not"""
        self._saved = loaded is not None
        self._complained = False
        self._team_id = team_id
        self._holding = (team_id or "").encode()
        self.more = False
        """there is more to look through than the last `read` did"""
        self.new = loaded is None
        """it had no state"""
        self.dropped = 0
        """records passed over, because the follower was too far behind"""

    def read(self, limit: int) -> list[CallRecord]:
        """The next closing records, oldest first within each worker. Until `acknowledge` they count as not read."""
        found: list[CallRecord] = []
        self.more = False
        for segment in segments(self._root):
            if len(found) >= limit or (self.more and self._team_id is not None):
                self.more = True
                break
            position = self._next.get(segment.stem, 0)
            try:
                finished = segment.suffix == DONE
                chunk = read(segment, position, limit - len(found), live=not finished, holding=self._holding)
                # Whatever stands there behind the last whole frame is nothing that will ever be whole.
                through = finished and chunk.end != "full"
                self._next[segment.stem] = max(chunk.position, segment.stat().st_size) if through else chunk.position
            except OSError:
                # Renamed or removed since it was listed: the next look finds it.
                continue
            self.more |= chunk.end == "full"
            found += [
                r for r in chunk.records if not r.opened and r.bodies is None and r.ended_s >= self._state.since_s
            ]
        if self._team_id is not None:
            found = [record for record in found if record.team_id == self._team_id]
        return found

    def pass_over(self, other: "Follower") -> None:
        """What the other has read holds nothing for this one, and need not be read again."""
        for stem, position in other._next.items():  # noqa: SLF001 (of one kind)
            self._next[stem] = max(position, self._next.get(stem, 0))
        self._state.positions = dict(self._next)

    def acknowledge(self) -> None:
        """What was read is dealt with; after a restart the follower goes on behind it."""
        if self._next == self._state.positions and self._saved:
            return
        here = {segment.stem for segment in segments(self._root)}
        self._next = {stem: position for stem, position in self._next.items() if stem in here}
        self._state.positions = dict(self._next)
        unnamed = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            unnamed.write_bytes(msgspec.json.encode(self._state))
            unnamed.rename(self._path)
            self._saved = True
            self._complained = False
        except OSError as error:
            # Told again after a restart is better than not told. Tried each second: said once.
            if not self._complained:
                self._complained = True
                log.warning("a position cannot be kept", extra={"path": str(self._path), "error": error.strerror})

    def forget(self) -> None:
        """What was read since the last `acknowledge` will be read again."""
        self._next = dict(self._state.positions)

    def through_with(self, segment: Path) -> bool:
        try:
            return self._state.positions.get(segment.stem, 0) >= segment.stat().st_size
        except FileNotFoundError:
            return True
        except OSError:
            return False

    def backlog_bytes(self) -> int:
        """How much it has not been told of."""
        total = 0
        for segment in segments(self._root):
            with suppress(OSError):
                total += unread_bytes(segment, self._state.positions.get(segment.stem, 0))
        return total

    def catch_up(self) -> int:
        """Passes over the oldest calls if it is too far behind; returns how many."""
        passed = 0
        while self.backlog_bytes() > self._max_backlog_bytes:
            records = self.read(1_000)
            if not records and not self.more:
                break
            passed += len(records)
            self.acknowledge()
        self.dropped += passed
        return passed


def segments(root: Path) -> list[Path]:
    """Every segment below `root`, drained or not, oldest first within each writer."""
    found: list[Path] = []
    with suppress(OSError):
        for directory in root.iterdir():
            with suppress(OSError), os.scandir(directory) as entries:
                found += [Path(entry.path) for entry in entries if entry.name.endswith((SEGMENT, DONE))]
    found.sort()
    return found


def clear_away(root: Path, followers: Sequence[Follower]) -> None:
    """Deletes the segments that the database has and every follower is through with."""
    for segment in segments(root):
        if segment.suffix == DONE and all(follower.through_with(segment) for follower in followers):
            with suppress(OSError):
                segment.unlink(missing_ok=True)


def _load(path: Path) -> _State | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_State)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        log.warning("a position cannot be read; it begins anew", extra={"path": str(path), "error": str(error)})
        return None
