"""What every callback shares: it reads the spool at its own pace, delivers batches, tries again, and says how it is doing.

What must stay true: a callback never slows or fails a call. It runs in the control process, off everybody's way; the spool
is its queue, so nothing is lost over a restart (a batch may then come twice: at least once). One that stays dead for so
long that its backlog exceeds `max_backlog_bytes` loses the oldest calls, counted.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, Protocol

from msgspec import Struct

from wayport.core.clock import Clock
from wayport.core.record import CallRecord
from wayport.core.secret import mask

log = logging.getLogger("wayport.callbacks")

BATCH = 100
IDLE_S = 0.25
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
TIMEOUT_S = 30.0

Outcome = Literal["success", "failure"]


class Undelivered(Exception):
    """Worth another try: the other side is away, busy, or refuses our credential."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Refused(Exception):
    """The other side will never take this batch: it is dropped and counted."""


class Callback(Protocol):
    """`deliver` returns when the other side has the calls. Raises `Undelivered` or `Refused`."""

    name: str

    async def deliver(self, records: Sequence[CallRecord]) -> None: ...
    async def close(self) -> None: ...


class Source(Protocol):
    """Where calls come from; see ledger/follower.py."""

    dropped: int

    def read(self, limit: int) -> list[CallRecord]: ...
    def acknowledge(self) -> None: ...
    def backlog_bytes(self) -> int: ...
    def catch_up(self) -> int: ...


class CallbackState(Struct, kw_only=True, frozen=True):
    name: str
    team_id: str | None = None
    """of one team's own"""
    status: Literal["healthy", "failing", "off"]
    delivered: int = 0
    dropped: int = 0
    failures: int = 0
    """tries that came to nothing"""
    backlog_bytes: int = 0
    error: str | None = None


class Delivery:
    """Runs one callback."""

    def __init__(
        self,
        callback: Callback,
        source: Source,
        *,
        on: Sequence[Outcome],
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        silent: Callable[[CallRecord], bool] = lambda _: False,
        team_id: str | None = None,
        batch: int = BATCH,
    ) -> None:
        """`silent`: calls that nobody is told of. `team_id`: whose own it is, for what is said of it."""
        self.callback = callback
        self._silent = silent
        self._team_id = team_id
        self._batch = batch
        self._source = source
        self._on = frozenset(on)
        self._clock = clock
        self._sleep = sleep
        self._delivered = 0
        self._dropped = 0
        self._failures = 0
        self._error: str | None = None

    @property
    def state(self) -> CallbackState:
        return CallbackState(
            name=self.callback.name,
            team_id=self._team_id,
            status="failing" if self._error else "healthy",
            delivered=self._delivered,
            dropped=self._dropped + self._source.dropped,
            failures=self._failures,
            backlog_bytes=self._source.backlog_bytes(),
            error=self._error,
        )

    async def run(self) -> None:
        """Delivers until cancelled."""
        while True:
            if not await self.step():
                await self._sleep(IDLE_S)

    async def step(self) -> int:
        """Delivers one batch, however many tries that takes; returns how many calls were read."""
        if self._error is not None:
            self._catch_up()
        records = self._source.read(self._batch)
        if not records:
            self._source.acknowledge()
            return 0
        wanted = [
            r
            for r in records
            if ("success" if r.status == "success" else "failure") in self._on and not self._silent(r)
        ]
        if wanted:
            await self._deliver(wanted)
        self._source.acknowledge()
        return len(records)

    async def close(self) -> None:
        await self.callback.close()

    async def _deliver(self, records: Sequence[CallRecord]) -> None:
        wait_s = FIRST_WAIT_S
        while True:
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    await self.callback.deliver(records)
            except Refused as refused:
                self._dropped += len(records)
                self._note(str(refused), "a callback refused calls; they are dropped")
                return
            except (Undelivered, TimeoutError, OSError) as failed:
                self._note(str(failed) or "no answer in time", "a callback does not take calls")
                # Here, too: one who is dead for days must not fill the disk.
                self._catch_up()
                stated_s = failed.retry_after_s if isinstance(failed, Undelivered) else None
                await self._sleep(min(stated_s or wait_s, LONGEST_WAIT_S))
                wait_s = min(wait_s * 2, LONGEST_WAIT_S)
            except Exception as failed:  # noqa: BLE001 (border: one callback; a mistake in it costs its batch and nobody else)
                self._dropped += len(records)
                self._note(f"{type(failed).__name__}: {failed}", "a callback failed; its calls are dropped")
                return
            else:
                self._delivered += len(records)
                if self._error is not None:
                    log.info("a callback takes calls again", extra=self._said())
                self._error = None
                return

    def _catch_up(self) -> None:
        if passed := self._source.catch_up():
            log.error("a callback is too far behind; calls are passed over", extra={**self._said(), "calls": passed})

    def _said(self) -> dict[str, str]:
        named = {"callback": self.callback.name}
        return named if self._team_id is None else {**named, "team_id": self._team_id}

    def _note(self, error: str, event: str) -> None:
        self._failures += 1
        text = mask(error)[:300]
        if self._error != text:
            log.warning(event, extra={**self._said(), "error": text})
        self._error = text
