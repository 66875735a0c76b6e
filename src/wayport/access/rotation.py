"""Keys that are replaced by themselves (`auto_rotate`): which are due, by their timestamps, and what becomes of them.

Nobody asked for the new key, so nobody is shown it: it is sealed, and who has the old key may fetch it for as long as that
one is good.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, select

from wayport.access.duration import after
from wayport.access.keys import Key, Keys
from wayport.access.rows import Patch
from wayport.core.clock import Clock
from wayport.core.errors import BadRequest
from wayport.core.secret import Secret
from wayport.storage.cipher import Cipher, NotReadable
from wayport.storage.database import Database
from wayport.storage.tables import keys, old_keys

GRACE = "24h"
"""how long a key that was replaced by itself is good, unless it says otherwise"""
_AT_ONCE = 500


def next_rotation_s(
    given: Mapping[str, Any], before: Mapping[str, Any], now_s: float, *, due_s: float | None = None
) -> float | None:
    """When a key is replaced next, for its settings as they are `before` and as they are `given`; `due_s`: as it stands.

    Raises `BadRequest` for a wish that cannot be granted.
    """
    settings = {**before, **given}
    if not settings.get("auto_rotate"):
        return None
    interval = settings.get("rotation_interval")
    if not isinstance(interval, str):
        raise BadRequest("`auto_rotate` needs a `rotation_interval`, as `30d`.", param="rotation_interval")
    if after(now_s, settings.get("grace_period") or GRACE, param="grace_period") <= now_s:
        raise BadRequest("`grace_period` must not be 0: nobody could fetch the new key.", param="grace_period")
    moment_s = after(now_s, interval, param="rotation_interval")
    if moment_s <= now_s:
        raise BadRequest("`rotation_interval` must not be 0.", param="rotation_interval")
    unchanged = due_s is not None and interval == before.get("rotation_interval")
    return due_s if unchanged else moment_s


class Rotations:
    def __init__(self, database: Database, store: Keys, cipher: Cipher, *, clock: Clock) -> None:
        self._database = database
        self._keys = store
        self._cipher = cipher
        self._clock = clock

    async def due(self) -> list[str]:
        """Hashes of the keys whose time has come, the longest overdue first."""
        wanted = select(keys.c.key_hash).where(keys.c.rotates_s <= self._clock.now_s())
        async with self._database.read() as connection:
            return list(await connection.scalars(wanted.order_by(keys.c.rotates_s).limit(_AT_ONCE)))

    async def rotate(self, key_hash: str, *, by: str) -> tuple[Key, Key] | None:
        """The key before and after; None if another node was faster, or it is gone."""
        now_s = self._clock.now_s()
        key = await self._keys.find(key_hash)
        if key is None or key.rotates_s is None or key.rotates_s > now_s:
            return None
        grace_s = after(now_s, key.settings.get("grace_period") or GRACE) - now_s
        replaced = await self._keys.replace(
            key_hash, rotated(key, now_s), grace_s=grace_s, by=by, due_s=now_s, seal=self._sealed
        )
        return replaced and replaced[1:]

    async def new_key_of(self, key_hash: str) -> tuple[Secret, float] | None:
        """What replaced a key by itself, while the old one is good, and until when that is; None: nothing did."""
        wanted = select(old_keys).where(
            old_keys.c.key_hash == key_hash, old_keys.c.sealed.is_not(None), old_keys.c.until_s > self._clock.now_s()
        )
        async with self._database.read() as connection:
            row = (await connection.execute(wanted.order_by(old_keys.c.until_s.desc()).limit(1))).first()
        if row is None:
            return None
        try:
            return Secret(self._cipher.open(row.sealed, context_of(row.old_hash)).decode()), row.until_s
        except NotReadable:
            return None

    async def forget_old(self) -> None:
        """Old keys that are good no longer."""
        async with self._database.write() as connection:
            await connection.execute(delete(old_keys).where(old_keys.c.until_s <= self._clock.now_s()))

    def _sealed(self, old_hash: str, text: str) -> bytes:
        return self._cipher.seal(text.encode(), context_of(old_hash))


def rotated(key: Key, now_s: float) -> Patch:
    """What a key that is replaced by itself says from now on."""
    interval = key.settings.get("rotation_interval")
    return Patch(
        columns={"rotates_s": after(now_s, interval) if key.rotates_s is not None and interval else None},
        settings={
            "last_rotation_at": datetime.fromtimestamp(now_s, tz=UTC).isoformat(timespec="seconds"),
            "rotation_count": int(key.settings.get("rotation_count") or 0) + 1,
        },
    )


def context_of(old_hash: str) -> str:
    """Where the sealed key stands."""
    return f"key:{old_hash}"
