"""SQLAlchemy engines for an address: for SQLite one writer and a few readers, for PostgreSQL one pool for both."""

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import OperationalError
from typing import Any
from uuid import uuid4

import msgspec
from sqlalchemy import URL, AsyncAdaptedQueuePool, Connection, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util import await_

from wayport.storage.address import Address

BUSY_TIMEOUT_S = 10.0
COMMAND_TIMEOUT_S = 30.0
POOL_TIMEOUT_S = 5.0
SQLITE_READERS = 3
_LOCKED_PAUSE_S = 0.01

_encoder = msgspec.json.Encoder()


def write_json(value: object) -> str:
    return _encoder.encode(value).decode()


@dataclass(frozen=True, slots=True)
class Engines:
    read: AsyncEngine
    write: AsyncEngine

    async def dispose(self) -> None:
        await self.write.dispose()
        if self.read is not self.write:
            await self.read.dispose()


def open_engines(address: Address, *, patient: bool = False) -> Engines:
    """Opens no connection yet. For SQLite it creates the file, readable by its owner only; raises `OSError`.

    `patient`: a statement may take as long as it takes (migrations).
    """
    if address.path is not None:
        _create_private(address.path)
        return Engines(
            read=_sqlite(address.path, connections=SQLITE_READERS, begin="BEGIN", query_only=True),
            # IMMEDIATE: a transaction that will write says so at once, so it waits at its start and never fails midway.
            write=_sqlite(address.path, connections=1, begin="BEGIN IMMEDIATE", query_only=False),
        )
    engine = _postgresql(address, command_timeout_s=None if patient else COMMAND_TIMEOUT_S)
    return Engines(read=engine, write=engine)


def _create_private(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _sqlite(path: Path, *, connections: int, begin: str, query_only: bool) -> AsyncEngine:
    engine = create_async_engine(
        URL.create("sqlite+aiosqlite", database=str(path)),
        poolclass=AsyncAdaptedQueuePool,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT_S + BUSY_TIMEOUT_S,
        connect_args={"timeout": BUSY_TIMEOUT_S},
        json_serializer=write_json,
        json_deserializer=msgspec.json.decode,
    )

    def on_connect(connection: Any, _: object) -> None:
        # None: the driver opens no transactions of its own; ours below do.
        connection.isolation_level = None
        cursor = connection.cursor()
        _write_ahead(cursor)
        # FULL: a commit is on the disk before the spool that it came from is deleted.
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute(f"PRAGMA query_only={int(query_only)}")
        cursor.close()

    def on_begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine.sync_engine, "connect", on_connect)
    event.listen(engine.sync_engine, "begin", on_begin)
    return engine


def _write_ahead(cursor: Any) -> None:
    # Leaving the rollback journal needs the file alone, and SQLite does not wait for that as it waits for a lock:
    # gateways that start together on a new file would fail. Once the file is switched this is only a look.
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            await_(asyncio.sleep(_LOCKED_PAUSE_S))
        else:
            return


def _postgresql(address: Address, *, command_timeout_s: float | None) -> AsyncEngine:
    arguments: dict[str, Any] = {
        "dsn": address.dsn.reveal(),
        "timeout": address.connect_timeout_s,
        "command_timeout": command_timeout_s,
        "server_settings": address.server_settings,
    }
    if address.pooled_by_transaction:
        # Behind a transaction pooler the next statement may run on another server connection: names must not repeat.
        arguments |= {
            "statement_cache_size": 0,
            "prepared_statement_cache_size": 0,
            "prepared_statement_name_func": lambda: f"wayport_{uuid4().hex}",
        }
    return create_async_engine(
        "postgresql+asyncpg://",
        connect_args=arguments,
        pool_size=address.pool_size,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT_S,
        pool_pre_ping=True,
        json_serializer=write_json,
        json_deserializer=msgspec.json.decode,
    )
