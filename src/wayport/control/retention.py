"""Deletes what need not be kept any longer: calls and bodies, by age and by size. In small steps, so nobody waits."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from wayport.config.observing import BodiesSettings, RetentionSettings
from wayport.core.clock import Clock
from wayport.core.errors import Unavailable
from wayport.ledger.bodies import Cleaner
from wayport.storage.database import Database

log = logging.getLogger("wayport.retention")

_DAY_S = 86_400
_PAUSE_S = 0.05


class Retention:
    def __init__(
        self,
        database: Database,
        retention: RetentionSettings,
        bodies: BodiesSettings,
        *,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._database = database
        self._cleaner = Cleaner(database)
        self._retention = retention
        self._bodies = bodies
        self._clock = clock
        self._sleep = sleep

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._database.connected()
            try:
                await self.clean()
            except Unavailable:
                pass
            except Exception:  # border: one background job
                log.exception("what is old could not be deleted")
            await self._sleep(self._retention.every_s)

    async def clean(self) -> int:
        """Deletes all that is too old or too much; returns how many rows."""
        now_s, batch = self._clock.now_s(), self._retention.batch
        gone = 0
        if self._retention.calls_days is not None:
            before_s = now_s - self._retention.calls_days * _DAY_S
            gone += await self._in_steps(lambda: self._cleaner.calls_before(before_s, batch=batch))
        kept_s = now_s - self._bodies.keep_days * _DAY_S
        gone += await self._in_steps(lambda: self._cleaner.bodies_before(kept_s, batch=batch))
        gone += await self._in_steps(lambda: self._cleaner.bodies_beyond(self._bodies.max_total_bytes, batch=batch))
        if gone:
            log.info("deleted what was too old or too much", extra={"rows": gone})
        return gone

    async def _in_steps(self, step: Callable[[], Awaitable[int]]) -> int:
        total = 0
        while found := await step():
            total += found
            # Others write in between.
            await self._sleep(_PAUSE_S)
        return total
