"""A channel of Redis on which the nodes of one gateway talk at once. What is said while Redis is away is lost.

What must stay true: nobody waits for it, and nothing depends on it. Whoever comes (again) says so, and hears from the
others what they know.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import redis.asyncio as redis
from redis.exceptions import RedisError

from wayport.core.errors import Unavailable
from wayport.storage.database import Database
from wayport.storage.keyspace import prefix

log = logging.getLogger("wayport.storage")

_TIMEOUT_S = 0.5
_RETRY_S = 1.0
_ALIVE_S = 5.0
_MOST_WAITING = 256
_NEW_HERE = b""


class Channel:
    """`hear` gets what others say; `known` makes what somebody must hear who has come just now."""

    def __init__(
        self,
        url: str,
        database: Database,
        *,
        name: str,
        node: str,
        hear: Callable[[bytes], None],
        known: Callable[[], bytes],
    ) -> None:
        self._redis: Any = redis.Redis.from_url(url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S)
        self._database = database
        self._name = name
        self._from = node.encode() + b"\0"
        self._hear = hear
        self._known = known
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(_MOST_WAITING)
        self._listening = asyncio.Event()
        self._away = False
        """and said so"""

    def say(self, message: bytes) -> None:
        """To all other nodes, soon."""
        if self._listening.is_set() and not self._waiting.full():
            self._waiting.put_nowait(message)

    async def run(self) -> None:
        """Ends by cancellation."""
        try:
            await self._database.connected()
            while True:
                try:
                    await self._talk(await prefix(self._database) + self._name)
                except (RedisError, OSError, TimeoutError, Unavailable) as error:
                    if not self._away:
                        log.info("not talking to other nodes through Redis", extra={"error": str(error)[:200]})
                    self._away = True
                await asyncio.sleep(_RETRY_S)
        finally:
            await self._redis.aclose()

    async def _talk(self, channel: str) -> None:
        async with self._redis.pubsub() as heard:
            await heard.subscribe(channel)
            self._listening.set()
            self._away = False
            self.say(_NEW_HERE)
            self.say(self._known())
            saying = asyncio.ensure_future(self._say(channel))
            try:
                await self._listen(heard, saying)
            finally:
                self._listening.clear()
                saying.cancel()
                await asyncio.gather(saying, return_exceptions=True)
                while not self._waiting.empty():
                    self._waiting.get_nowait()

    async def _say(self, channel: str) -> None:
        while True:
            await self._redis.publish(channel, self._from + await self._waiting.get())

    async def _listen(self, heard: Any, saying: asyncio.Future[None]) -> None:
        """Returns or raises when the connection is gone; a dead peer is noticed by asking."""
        asked = False
        while not saying.done():
            message = await heard.get_message(timeout=_ALIVE_S)
            if message is None:
                if asked:
                    raise TimeoutError("Redis does not answer")
                await heard.ping()
            asked = message is None
            if message is not None and message["type"] == "message":
                self._heard(message["data"])
        await saying

    def _heard(self, data: bytes) -> None:
        node, _, message = data.partition(b"\0")
        if node + b"\0" == self._from:
            return
        if message == _NEW_HERE:
            self.say(self._known())
        else:
            self._hear(message)
