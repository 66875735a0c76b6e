"""What nodes tell each other at once, through PostgreSQL's LISTEN/NOTIFY: keys that changed, limits that somebody needs,
and without Redis what is known of deployments.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import asyncpg
import msgspec
from msgspec import Struct

from wayport.storage.address import Address

log = logging.getLogger("wayport.storage")

CHANNEL = "wayport"
_RETRY_S = 1.0
_ALIVE_S = 10.0
_SEND_S = 2.0
_MESSAGE_BYTES = 6_000
"""of names in a message, which holds less than 8,000"""


class News(Struct, kw_only=True, frozen=True, omit_defaults=True):
    node: str
    keys: tuple[str, ...] = ()
    holders: tuple[str, ...] = ()
    everything: bool = False
    """any key may have changed"""
    models: bool = False
    """models or credentials of the database have changed"""
    callbacks: bool = False
    """callbacks of teams have changed"""
    wanted: str = ""
    """a counter (with its window) of which another node needs what lies idle"""
    held: int | None = None
    """slots of it that this node has"""
    routing: bytes = b""
    """what is known of deployments, for those who share no Redis"""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(News).decode


class Bus:
    """`run()` keeps the connection. Whoever was not connected has missed what was said: it hears `everything`."""

    def __init__(
        self,
        address: Address,
        *,
        node: str,
        hear: Callable[[News], None],
        otherwise: Callable[[str], Awaitable[None]],
    ) -> None:
        """`otherwise` says something on CHANNEL when our own connection cannot; it raises `Unavailable`."""
        self._otherwise = otherwise
        self._address = address
        self._node = node
        self._hear = hear
        self._connection: Any = None
        self._lost = asyncio.Event()
        self._busy = asyncio.Lock()
        """a connection does one thing at a time, and fails whoever comes in between"""

    async def run(self) -> None:
        while True:
            self._lost.clear()
            try:
                await self._listen()
                self._hear(News(node="", everything=True))
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
        callbacks: bool = False,
        wanted: str = "",
        held: int | None = None,
    ) -> None:
        """To all other nodes. Raises `Unavailable`."""
        if keys is None:
            messages = [News(node=self._node, everything=True)]
        else:
            messages = [
                News(
                    node=self._node,
                    keys=some_keys,
                    holders=some_holders,
                    models=models,
                    callbacks=callbacks,
                    wanted=wanted,
                    held=held,
                )
                for some_keys, some_holders in _parts(keys, holders)
            ]
        for message in messages:
            await self._send(_encode(message).decode())

    async def whisper(self, routing: bytes) -> bool:
        """To all other nodes, if we are connected; nothing depends on it. `routing` is at most 5,500 bytes long."""
        return await self._sent(_encode(News(node=self._node, routing=routing)).decode())

    async def _send(self, payload: str) -> None:
        if not await self._sent(payload):
            # Where the database itself can be reached, what is to be told is told.
            await self._otherwise(payload)

    async def _sent(self, payload: str) -> bool:
        connection = self._connection
        if connection is None:
            return False
        try:
            async with self._busy:
                await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, payload, timeout=_SEND_S)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            log.info("not talking to other nodes", extra={"error": self._address.masked(str(error))[:200]})
            return False
        return True

    async def _listen(self) -> None:
        connection = await asyncpg.connect(
            self._address.dsn.reveal(), timeout=5, statement_cache_size=0, server_settings=self._address.server_settings
        )
        connection.add_termination_listener(lambda _: self._lost.set())
        self._connection = connection
        await connection.add_listener(CHANNEL, self._heard)

    async def _while_alive(self) -> None:
        """Returns or raises when the connection is gone; a dead peer is noticed by asking."""
        while not self._lost.is_set():
            try:
                async with asyncio.timeout(_ALIVE_S):
                    await self._lost.wait()
            except TimeoutError:
                async with self._busy:
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


def _parts(keys: Sequence[str], holders: Sequence[str]) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """As many names as fit into a message, and then more; one part even if there are no names."""
    found: tuple[list[str], list[str]] = ([], [])
    size = 0
    for of_holders, names in enumerate((keys, holders)):
        for name in names:
            length = len(_encode(name)) + 1
            if size and size + length > _MESSAGE_BYTES:
                yield tuple(found[0]), tuple(found[1])
                found, size = ([], []), 0
            found[of_holders].append(name)
            size += length
    if size or not (keys or holders):
        yield tuple(found[0]), tuple(found[1])
