"""Under which prefix this installation's keys and channels stand in Redis."""

from sqlalchemy import select

from wayport.storage.database import Database
from wayport.storage.tables import meta

_INSTALLATION = select(meta.c.value).where(meta.c.name == "installation")


async def prefix(database: Database) -> str:
    """Of the database, so that gateways with another one may use the same Redis. Raises `Unavailable`."""
    async with database.read() as connection:
        installation: str = (await connection.execute(_INSTALLATION)).scalar_one()
    return f"wayport:{installation[:12]}:"
