"""Real databases for tests: a SQLite file, or a PostgreSQL database of its own that is dropped afterwards.

PostgreSQL is looked for at WAYPORT_TEST_POSTGRES_URL (default: postgres@127.0.0.1:5432 without a password). Where none
answers, the tests that need it fail; only `WAYPORT_TEST_POSTGRES_URL=skip` leaves them out, and pytest then says so.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from wayport.core.clock import Clock, SystemClock
from wayport.core.ids import random_hex
from wayport.core.tasks import Tasks
from wayport.storage.address import Address, read_address
from wayport.storage.database import Database

# The tests' own setting is no setting of Wayport.
_SERVER = os.environ.get("WAYPORT_TEST_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/postgres")  # noqa: TID251


@contextmanager
def postgresql_url() -> Iterator[str]:
    """The URL of an empty PostgreSQL database that exists for one test."""
    if _SERVER == "skip":
        pytest.skip("PostgreSQL is left out by WAYPORT_TEST_POSTGRES_URL=skip")
    name = f"wayport_test_{random_hex(12)}"
    asyncio.run(_run(f"CREATE DATABASE {name}"))
    try:
        yield urlunsplit(urlsplit(_SERVER)._replace(path=f"/{name}"))
    finally:
        asyncio.run(_run(f"DROP DATABASE {name} WITH (FORCE)"))


async def _run(statement: str) -> None:
    try:
        connection = await asyncpg.connect(_SERVER, timeout=10)
    except OSError as error:
        pytest.fail(f"these tests need PostgreSQL ({error}): start one, or say WAYPORT_TEST_POSTGRES_URL=skip")
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@contextmanager
def address_of(kind: str, directory: Path) -> Iterator[Address]:
    if kind == "sqlite":
        yield read_address(None, directory)
    else:
        with postgresql_url() as url:
            yield read_address(url, directory)


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Address]:
    """An empty database of each kind."""
    with address_of(request.param, tmp_path) as found:
        yield found


@pytest.fixture
def postgresql() -> Iterator[str]:
    """The URL of an empty PostgreSQL database."""
    with postgresql_url() as url:
        yield url


@asynccontextmanager
async def opened(address: Address, clock: Clock | None = None) -> AsyncIterator[Database]:
    """A connected and migrated database."""
    async with Tasks() as tasks:
        database = Database(address, clock=clock or SystemClock())
        tasks.start(database.run(), name="database")
        try:
            async with asyncio.timeout(20):
                await database.connected()
        except TimeoutError:
            pytest.fail(f"the database does not come up: {database.state}")
        try:
            yield database
        finally:
            await database.close()
