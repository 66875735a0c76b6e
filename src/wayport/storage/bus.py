"""What nodes tell each other at once, through PostgreSQL's LISTEN/NOTIFY: keys that changed, limits that somebody needs."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import asyncpg
import msgspec
from msgspec import Struct

from wayport.core.errors import Unavailable
from wayport.storage.address import Address

log = logging.getLogger("wayport.storage")

_CHANNEL = "wayport"
_RETRY_S = 1.0
_ALIVE_S = 10.0
_NAMES_PER_MESSAGE = 80
"""a message holds 8,000 bytes"""


class News(Struct, kw_only=True, frozen=True, omit_defaults=True):
    node: str
    keys: tuple[str, ...] = ()
    holders: tuple[str, ...] = ()
    everything: bool = False
    """any key may have changed"""
    models: bool = False
    """models or credentials of the database have changed"""
    wanted: str = ""
    """a counter (with its window) of which another node needs what lies idle"""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(News).decode


class Bus:
    """`run()` keeps the connection. Whoever was not connected has missed what was said: it hears `everything`."""

    def __init__(self, address: Address, *, node: str, hear: Callable[[News], None]) -> None:
        self._address = address
        self._node = node
        self._hear = hear
        self._connection: Any = None
        self._lost = asyncio.Event()

    async def run(self) -> None:
        first = True
        while True:
            self._lost.clear()
            try:
                await self._listen()
                if not first:
                    self._hear(News(node="", everything=True))
                first = False
                await self._while_alive()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
                log.info("not listening to other nodes", extra={"error": self._address.masked(str(error))[:200]})
            finally:
                await self._leave()
            await asyncio.sleep(_RETRY_S)

    async def say(
        self,
        *,
        keys: Sequence[str] | None = (),
        holders: Sequence[str] = (),
        models: bool = False,
        wanted: str = "",
    ) -> None:
        """To all other nodes. Raises `Unavailable`."""
        if keys is None:
            messages = [News(node=self._node, everything=True)]
        else:
            parts = range(0, max(1, len(keys), len(holders)), _NAMES_PER_MESSAGE)
            messages = [
                News(
                    node=self._node,
                    keys=tuple(keys[at : at + _NAMES_PER_MESSAGE]),
                    holders=tuple(holders[at : at + _NAMES_PER_MESSAGE]),
                    models=models,
                    wanted=wanted,
                )
                for at in parts
            ]
        connection = self._connection
        if connection is None:
            raise Unavailable("not connected to the other nodes")
        try:
            for message in messages:
                await connection.execute("SELECT pg_notify($1, $2)", _CHANNEL, _encode(message).decode())
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise Unavailable("not connected to the other nodes") from error

    async def _listen(self) -> None:
        connection = await asyncpg.connect(
            self._address.dsn.reveal(), timeout=5, statement_cache_size=0, server_settings=self._address.server_settings
        )
        connection.add_termination_listener(lambda _: self._lost.set())
        self._connection = connection
        await connection.add_listener(_CHANNEL, self._heard)

    async def _while_alive(self) -> None:
        """Returns or raises when the connection is gone; a dead peer is noticed by asking."""
        while not self._lost.is_set():
            try:
                async with asyncio.timeout(_ALIVE_S):
                    await self._lost.wait()
            except TimeoutError:
                await self._connection.execute("SELECT 1", timeout=5)

    async def _leave(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    def _heard(self, _connection: object, _pid: int, _channel: str, payload: str) -> None:
        try:
            news = _decode(payload)
        except msgspec.DecodeError:
            log.warning("a message of another node was not understood")
            return
        if news.node != self._node:
            self._hear(news)
