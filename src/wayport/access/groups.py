"""Access groups: one name for several models, which a key's or team's list of models may hold."""

from collections.abc import Iterable

from sqlalchemy import or_

from wayport.access.rows import Conflict, Managed, Rows
from wayport.core.clock import Clock
from wayport.storage.database import Database
from wayport.storage.tables import access_groups


class AccessGroup(Managed, kw_only=True, frozen=True):
    alias: str | None = None
    """the name that people use; the id, too, stands for the group"""
    models: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.alias or self.id


class AccessGroups(Rows[AccessGroup]):
    def __init__(self, database: Database, *, clock: Clock) -> None:
        super().__init__(database, access_groups, AccessGroup, clock=clock)

    async def named(self, names: Iterable[str]) -> list[AccessGroup]:
        """Those that exist, by id or name."""
        wanted = list(names)
        if not wanted:
            return []
        rows, _ = await self.page(or_(access_groups.c.id.in_(wanted), access_groups.c.alias.in_(wanted)))
        return rows

    def taken(self, wanted: str) -> Conflict:
        return Conflict(f"Access group '{wanted}' already exists.", param="access_group")
