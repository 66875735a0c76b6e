"""Thoughts that several nodes share, in Redis: sealed, bounded in number and size, forgotten after a day.

What must stay true: nothing in Redis can be read, or told whose it is, without the salt key; gateways with another salt key
do not find each other's.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import redis.asyncio as redis
from redis.exceptions import RedisError

from wayport.core.clock import Clock
from wayport.core.errors import Unavailable
from wayport.core.tasks import Tasks
from wayport.storage.cipher import Cipher, NotReadable

log = logging.getLogger("wayport.storage")

KEEP_S = 86_400
MOST_ENTRIES = 200_000
MOST_BYTES = 256 * 1024 * 1024
_TIMEOUT_S = 0.5
_AWAY_S = 5.0
"""Redis that did not answer is not asked for so long: every lookup would wait for it"""
_MOST_WAITING = 1_000

# The order holds what was put, with its size: what has expired since counts until it is the oldest.
_PUT = """
local order, total = KEYS[1], KEYS[2]
local keep, most, most_bytes = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local bytes = 0
if redis.call('EXISTS', order) == 0 then
  -- Forgotten or evicted without the other: what it counted is there no more.
  redis.call('SET', total, 0)
end
for i = 4, #ARGV do
  local name = KEYS[i - 1]
  redis.call('SET', name, ARGV[i], 'EX', keep)
  redis.call('RPUSH', order, #ARGV[i] .. ' ' .. name)
  bytes = redis.call('INCRBY', total, #ARGV[i])
end
while redis.call('LLEN', order) > most or bytes > most_bytes do
  local oldest = redis.call('LPOP', order)
  if not oldest then break end
  local size, name = string.match(oldest, '^(%d+) (.*)$')
  redis.call('DEL', name)
  bytes = redis.call('DECRBY', total, size)
end
redis.call('EXPIRE', order, keep)
redis.call('EXPIRE', total, keep)
"""


class RedisThoughts:
    def __init__(
        self,
        url: str,
        cipher: Cipher,
        *,
        tasks: Tasks,
        clock: Clock,
        most_entries: int = MOST_ENTRIES,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._redis: Any = redis.Redis.from_url(url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S)
        self._put = self._redis.register_script(_PUT)
        self._cipher = cipher
        self._tasks = tasks
        self._clock = clock
        self._most = (most_entries, most_bytes)
        self._away_until_s = 0.0
        self._waiting = 0
        # One slot of a cluster: the script changes several keys.
        self._prefix = f"wayport:{{thoughts:{cipher.name('')[:12]}}}:"

    def put(self, thoughts: Mapping[bytes, bytes]) -> None:
        if self._waiting < _MOST_WAITING and not self._away():
            self._waiting += 1
            self._tasks.start(self._tell(dict(thoughts)), name="tell thoughts")

    async def _tell(self, thoughts: Mapping[bytes, bytes]) -> None:
        try:
            await self.tell(thoughts)
        except Unavailable as error:
            log.warning("thoughts are not shared with other nodes", extra={"error": error.message})
        finally:
            self._waiting -= 1

    async def tell(self, thoughts: Mapping[bytes, bytes]) -> None:
        """Raises `Unavailable`."""
        named = {self._name(name): thought for name, thought in thoughts.items()}
        try:
            await self._put(
                keys=[f"{self._prefix}order", f"{self._prefix}bytes", *named],
                args=[KEEP_S, *self._most, *(self._cipher.seal(thought, name) for name, thought in named.items())],
            )
        except (RedisError, OSError, TimeoutError) as error:
            raise self._noted(error) from error

    async def find(self, names: Sequence[bytes]) -> Mapping[bytes, bytes]:
        if self._away():
            raise Unavailable("Redis is away")
        stored = [self._name(name) for name in names]
        try:
            values = await self._redis.mget(stored)
        except (RedisError, OSError, TimeoutError) as error:
            raise self._noted(error) from error
        found = {}
        for name, place, sealed in zip(names, stored, values, strict=True):
            if sealed is not None:
                try:
                    found[name] = self._cipher.open(sealed, place)
                except NotReadable as error:
                    log.warning("a thought in Redis cannot be read", extra={"error": str(error)})
        return found

    def _name(self, name: bytes) -> str:
        return self._prefix + self._cipher.name(name.hex())

    def _away(self) -> bool:
        return self._clock.steady_s() < self._away_until_s

    def _noted(self, error: Exception) -> Unavailable:
        self._away_until_s = self._clock.steady_s() + _AWAY_S
        return Unavailable(f"Redis is away ({type(error).__name__})")

    async def close(self) -> None:
        await self._redis.aclose()
