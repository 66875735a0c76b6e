"""What holders have spent, to be shown."""

from collections.abc import Sequence

from sqlalchemy import bindparam, select

from wayport.access.principal import Scope
from wayport.storage.database import Database
from wayport.storage.tables import spend

_BY_HOLDERS = select(spend.c.holder, spend.c.spend_nano_usd).where(
    spend.c.scope == bindparam("scope"), spend.c.holder.in_(bindparam("holders", expanding=True))
)


class Spent:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def by(self, scope: Scope, holders: Sequence[str]) -> dict[str, int]:
        """Nano-dollars by holder; whoever has spent nothing is there with 0."""
        found = dict.fromkeys(holders, 0)
        if holders:
            async with self._database.read() as connection:
                for row in await connection.execute(_BY_HOLDERS, {"scope": scope, "holders": list(holders)}):
                    found[row.holder] = row.spend_nano_usd
        return found

    async def of(self, scope: Scope, holder: str) -> int:
        return (await self.by(scope, [holder]))[holder]
