"""The live tail: every call as it ends, to whoever is watching. A watcher who does not keep up misses calls, and is told."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from msgspec import Struct, to_builtins

from wayport.core.record import CallRecord
from wayport.observe.call_log import line_of

MOST_WAITING = 1_000
MOST_WATCHERS = 100


class TailFilter(Struct, frozen=True, kw_only=True):
    """Which calls are shown. None: all."""

    model: str | None = None
    provider: str | None = None
    key_hash: str | None = None
    key_alias: str | None = None
    user_id: str | None = None
    team_id: str | None = None
    end_user: str | None = None
    organization_id: str | None = None
    session_id: str | None = None
    tag: str | None = None
    status: str | None = None
    """`success`, `failure`, `cancelled`, `cut`; `failed` is all but the first"""
    slower_than_ms: float | None = None

    def shows(self, record: CallRecord) -> bool:
        if self.model is not None and self.model not in (record.model, record.model_asked, record.upstream_model):
            return False
        if self.status == "failed":
            if record.status == "success":
                return False
        elif self.status is not None and record.status != self.status:
            return False
        if self.slower_than_ms is not None and (record.ended_s - record.started_s) * 1000 < self.slower_than_ms:
            return False
        if self.tag is not None and self.tag not in record.tags:
            return False
        return all(
            wanted is None or wanted == found
            for wanted, found in (
                (self.provider, record.provider),
                (self.key_hash, record.key_hash),
                (self.key_alias, record.key_alias),
                (self.user_id, record.user_id),
                (self.team_id, record.team_id),
                (self.end_user, record.end_user),
                (self.organization_id, record.organization_id),
                (self.session_id, record.session_id),
            )
        )


class Watcher:
    """One who watches."""

    def __init__(self, shows: Callable[[CallRecord], bool]) -> None:
        self.shows = shows
        self.missed = 0
        self._queue: asyncio.Queue[CallRecord] = asyncio.Queue(MOST_WAITING)

    def offer(self, record: CallRecord) -> None:
        if self.shows(record):
            try:
                self._queue.put_nowait(record)
            except asyncio.QueueFull:
                self.missed += 1

    async def records(self, *, quiet_s: float) -> AsyncIterator[CallRecord | None]:
        """Calls as they end; None when nothing has happened for `quiet_s`."""
        while True:
            try:
                async with asyncio.timeout(quiet_s):
                    record = await self._queue.get()
            except TimeoutError:
                yield None
            else:
                yield record


class TooManyWatchers(Exception):
    """Nobody else may watch at the moment."""


class Tail:
    def __init__(self) -> None:
        self._watchers: set[Watcher] = set()

    @property
    def watchers(self) -> int:
        return len(self._watchers)

    def add(self, record: CallRecord) -> None:
        for watcher in self._watchers:
            watcher.offer(record)

    @contextmanager
    def watch(self, shows: Callable[[CallRecord], bool]) -> Iterator[Watcher]:
        """Raises `TooManyWatchers`."""
        if len(self._watchers) >= MOST_WATCHERS:
            raise TooManyWatchers
        watcher = Watcher(shows)
        self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)


def event_of(record: CallRecord) -> dict[str, Any]:
    """What a watcher sees of a call: the log line, and whose call it was."""
    found: dict[str, Any] = to_builtins(line_of(record))
    found |= {
        "user_id": record.user_id,
        "team_id": record.team_id,
        "end_user": record.end_user,
        "tags": record.tags,
        "session_id": record.session_id,
        "trace_id": record.trace_id,
    }
    return found
