"""Brings a database to the newest revision, under a lock, so that of several starting gateways one does it."""

import logging

from sqlalchemy import Connection, column, func, insert, inspect, select, table
from sqlalchemy.ext.asyncio import AsyncConnection

from wayport.core.ids import random_hex
from wayport.storage.address import Address
from wayport.storage.engines import open_engines
from wayport.storage.migrations import DIRECTORY, VERSION_TABLE, newest
from wayport.storage.tables import meta

log = logging.getLogger("wayport.storage")

# Any number will do, as long as every Wayport takes the same one.
_LOCK = 0x5761_7970_6F72_7401

_versions = table(VERSION_TABLE, column("version_num"))


async def bring_up_to_date(connection: AsyncConnection) -> str:
    """Runs what is missing, inside the connection's transaction; returns the revision that the database now has.

    A database that a newer Wayport has migrated is left as it is: migrations only add.
    """
    target = newest()
    current = await connection.run_sync(_revision)
    if current is not None and current >= target:
        if current > target:
            log.warning("the database belongs to a newer Wayport", extra={"database": current, "ours": target})
        return current
    if connection.dialect.name == "postgresql":
        # Held until the transaction ends; SQLite's lock is its BEGIN IMMEDIATE.
        await connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        # Another gateway may have done it while we waited. Read committed: we see what it committed.
        current = await connection.run_sync(_revision)
    if current is None or current < target:
        await connection.run_sync(_upgrade)
        log.info("database migrated", extra={"before": current, "after": target})
    if current is None:
        await connection.execute(insert(meta).values(name="installation", value=random_hex(32)))
    return target


async def upgrade(address: Address) -> str:
    """Migrates the database at `address` and lets go of it; returns its revision. Driver errors pass through."""
    engines = open_engines(address, patient=True)
    try:
        async with engines.write.begin() as connection:
            return await bring_up_to_date(connection)
    finally:
        await engines.dispose()


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(select(_versions.c.version_num)).scalar()


def _upgrade(connection: Connection) -> None:
    # Alembic is imported only when there is something to migrate: it costs 9 MB that stay.
    from alembic import command  # noqa: PLC0415 (as above)
    from alembic.config import Config  # noqa: PLC0415 (as above)

    config = Config()
    config.set_main_option("script_location", str(DIRECTORY).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
