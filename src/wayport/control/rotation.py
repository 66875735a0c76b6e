"""The job that replaces keys whose time has come. Every node runs it; the database sees to it that each is replaced once."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from wayport.access.audit import Audit
from wayport.access.keys import Keys
from wayport.access.principal import Principal
from wayport.access.rotation import Rotations
from wayport.core.errors import Unavailable
from wayport.storage.database import Database

log = logging.getLogger("wayport.control")

EVERY_S = 30.0
_JOB = Principal(kind="key", key_alias="auto_rotate", role="proxy_admin")


class RotationJob:
    """`invalidate` tells the workers; `tell` says to people that a key (by its name) has been replaced."""

    def __init__(
        self,
        database: Database,
        rotations: Rotations,
        *,
        keys: Keys,
        audit: Audit,
        invalidate: Callable[[Sequence[str]], None],
        tell: Callable[[str], None] = lambda _: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._database = database
        self._rotations = rotations
        self._keys = keys
        self._audit = audit
        self._invalidate = invalidate
        self._tell = tell
        self._sleep = sleep

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._database.connected()
            try:
                await self.step()
            except Unavailable:
                pass
            except Exception:  # border: one background job
                log.exception("keys could not be replaced")
            await self._sleep(EVERY_S)

    async def step(self) -> int:
        """Replaces what is due; returns how many keys that were."""
        count = 0
        for key_hash in await self._rotations.due():
            replaced = await self._rotations.rotate(key_hash, by="auto_rotate")
            if replaced is None:
                continue
            before, after = replaced
            self._invalidate([after.key_hash, *await self._keys.old_hashes([after.key_hash])])
            await self._audit.note(_JOB, "rotated", "keys", after.key_hash, before=before, after=after)
            self._tell(after.key_alias or after.key_name)
            count += 1
        await self._rotations.forget_old()
        return count
