"""The database as the control process sees it: it may be away. Connecting and migrating happen in the background, again
and again until they work; meanwhile whoever wants to read or write is told `Unavailable` at once. Only while the first try is
under way they wait for how it ends.
"""

import asyncio
import logging
import random
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Literal

from msgspec import Struct
from sqlalchemy import Table, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from wayport.core.clock import Clock
from wayport.core.errors import Unavailable
from wayport.storage.address import Address, Kind
from wayport.storage.engines import Engines, open_engines
from wayport.storage.migrate import upgrade

log = logging.getLogger("wayport.storage")

FIRST_WAIT_S = 0.2
LONGEST_WAIT_S = 10.0
_FIRST_TRY_S = 10.0

# PostgreSQL: connection (08), no resources (53), shut down or starting (57P), system error (58), not authorised (28),
# no such database (3D), a server that turned into a read-only standby (25006).
_AWAY_STATES = ("08", "53", "57P", "58", "28", "3D", "25006")

_AWAY_SQLITE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_READONLY,
    }
)


class DatabaseState(Struct, frozen=True, kw_only=True):
    """What people may see of the database. `error` is why it is waited for; it holds no password."""

    status: Literal["waiting", "connected"] = "waiting"
    where: str
    since_s: float
    error: str | None = None
    revision: str | None = None


class Database:
    """`run()` keeps it connected; `read()` and `write()` give a connection inside a transaction."""

    def __init__(
        self,
        address: Address,
        *,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
        on_change: Callable[[DatabaseState], None] = lambda _: None,
    ) -> None:
        """`on_change` is told of each new state."""
        self.address = address
        self.state = DatabaseState(where=address.shown, since_s=clock.now_s())
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._on_change = on_change
        self._engines: Engines | None = None
        self._connected = asyncio.Event()
        self._lost = asyncio.Event()
        self._tried = asyncio.Event()
        """the first try to connect has ended, well or not"""
        self._trying = False
        """it has begun"""

    @property
    def kind(self) -> Kind:
        return self.address.kind

    async def run(self) -> None:
        """Connects, migrates, and does so again whenever the database was lost. Ends only by cancellation."""
        self._trying = True
        while True:
            self._lost.clear()
            await self._connect_at_last()
            await self._lost.wait()

    async def connected(self) -> None:
        """Waits until there is a connection and the schema is in place."""
        await self._connected.wait()

    async def tried(self) -> None:
        """Waits until the first try to connect has ended, well or not."""
        await self._tried.wait()

    async def close(self) -> None:
        self._connected.clear()
        if self._engines is not None:
            await self._engines.dispose()
            self._engines = None

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection to read from; all that is read is of one transaction. Raises `Unavailable`."""
        await self._first_try()
        async with self._transaction(self._usable().read) as connection:
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction that is committed at the end of the block. Raises `Unavailable`."""
        await self._first_try()
        async with self._transaction(self._usable().write) as connection:
            yield connection

    def insert(self, table: Table) -> postgresql.Insert | sqlite.Insert:
        """An INSERT that knows ON CONFLICT; both databases spell it alike, SQLAlchemy has it per database."""
        return postgresql.insert(table) if self.kind == "postgresql" else sqlite.insert(table)

    async def _first_try(self) -> None:
        if not self._trying or self._tried.is_set():
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_TRY_S):
                await self._tried.wait()

    def _usable(self) -> Engines:
        if self._engines is None or not self._connected.is_set():
            raise Unavailable(f"the database is not reachable ({self.state.error or 'connecting'})")
        return self._engines

    @asynccontextmanager
    async def _transaction(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        try:
            async with engine.begin() as connection:
                yield connection
        except PoolTimeout as error:
            # The caller is turned away, but nothing is wrong with the database.
            raise Unavailable("all connections to the database are busy") from error
        except (DBAPIError, OSError, TimeoutError) as error:
            if not means_away(error):
                raise
            self._connected.clear()
            self._lost.set()
            self._waiting(error)
            raise Unavailable(f"the database is not reachable ({self.state.error})") from error

    def _waiting(self, error: Exception) -> None:
        text = _first_line(self.address.masked(str(getattr(error, "orig", None) or error) or type(error).__name__))
        since_s = self.state.since_s
        if self.state.status == "connected" or self.state.error is None:
            log.warning("waiting for the database", extra={"database": self.address.shown, "error": text})
            since_s = self._clock.now_s()
        self._become(DatabaseState(where=self.address.shown, since_s=since_s, error=text))

    def _become(self, state: DatabaseState) -> None:
        self.state = state
        self._on_change(state)

    async def _connect_at_last(self) -> None:
        wait_s = FIRST_WAIT_S
        while True:
            try:
                revision = await self._connect()
            except Exception as error:  # noqa: BLE001 (a background job: whatever is wrong with the database, we go on trying)
                self._waiting(error)
                self._tried.set()
                await self._sleep(wait_s * (0.5 + self._jitter() / 2))
                wait_s = min(wait_s * 2, LONGEST_WAIT_S)
            else:
                break
        self._connected.set()
        self._tried.set()
        now_s = self._clock.now_s()
        self._become(DatabaseState(status="connected", where=self.address.shown, since_s=now_s, revision=revision))
        log.info("database connected", extra={"database": self.address.shown, "revision": revision})

    async def _connect(self) -> str:
        revision = await upgrade(self.address)
        if self._engines is None:
            self._engines = open_engines(self.address)
        async with self._engines.read.begin() as connection:
            await connection.execute(select(1))
        return revision


def means_away(error: BaseException) -> bool:
    """Whether an error of the driver says that the database is not there (against: that the statement is wrong)."""
    if isinstance(error, DBAPIError):
        if error.connection_invalidated:
            return True
        cause = error.orig
        state = getattr(cause, "sqlstate", None)
        if state is not None:
            return str(state).startswith(_AWAY_STATES)
        code = getattr(cause, "sqlite_errorcode", None)
        if code is not None:
            # The low byte is the primary code; the rest says more exactly what happened.
            return (code & 0xFF) in _AWAY_SQLITE
        return isinstance(cause, OSError | TimeoutError)
    return isinstance(error, OSError | TimeoutError)


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0][:300]
