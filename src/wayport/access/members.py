"""Who belongs to which team and organisation, in which role, and what a member may use there at most."""

from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct, convert, field
from sqlalchemy import and_, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from wayport.core.clock import Clock
from wayport.storage.database import Database
from wayport.storage.tables import members

Scope = Literal["team", "organization"]


class Member(Struct, kw_only=True, frozen=True):
    scope: Scope
    group_id: str
    user_id: str
    email: str | None = None
    role: str = "user"
    """in a team `admin` or `user`; in an organisation `org_admin`, `internal_user` or `internal_user_viewer`"""
    limits: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    created_s: float = 0.0
    updated_s: float = 0.0


def _is(scope: Scope, group_id: str, user_id: str) -> Any:
    return and_(members.c.scope == scope, members.c.group_id == group_id, members.c.user_id == user_id)


class Members:
    def __init__(self, database: Database, *, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def find(self, scope: Scope, group_id: str, user_id: str) -> Member | None:
        async with self._database.read() as connection:
            return await self.find_in(connection, scope, group_id, user_id)

    async def find_in(self, connection: AsyncConnection, scope: Scope, group_id: str, user_id: str) -> Member | None:
        found = await connection.execute(select(members).where(_is(scope, group_id, user_id)))
        row = found.mappings().first()
        return None if row is None else _read(row)

    async def of_groups(self, scope: Scope, group_ids: Sequence[str]) -> dict[str, list[Member]]:
        """Members by group, those who came first in front; every asked group is a key."""
        found: dict[str, list[Member]] = {group_id: [] for group_id in group_ids}
        if group_ids:
            wanted = select(members).where(members.c.scope == scope, members.c.group_id.in_(list(group_ids)))
            async with self._database.read() as connection:
                rows = await connection.execute(wanted.order_by(members.c.created_s, members.c.user_id))
                for row in rows.mappings():
                    found[row["group_id"]].append(_read(row))
        return found

    async def of_users(self, user_ids: Sequence[str]) -> dict[str, list[Member]]:
        """Memberships of every kind by user."""
        found: dict[str, list[Member]] = {user_id: [] for user_id in user_ids}
        if user_ids:
            wanted = select(members).where(members.c.user_id.in_(list(user_ids)))
            async with self._database.read() as connection:
                rows = await connection.execute(wanted.order_by(members.c.created_s, members.c.group_id))
                for row in rows.mappings():
                    found[row["user_id"]].append(_read(row))
        return found

    async def add(self, new: Sequence[Member]) -> None:
        """Those who are members already stay as they are."""
        if not new:
            return
        now_s = self._clock.now_s()
        rows = [
            {name: getattr(member, name) for name in Member.__struct_fields__}
            | {"created_s": now_s, "updated_s": now_s}
            for member in new
        ]
        async with self._database.write() as connection:
            await connection.execute(self._database.insert(members).on_conflict_do_nothing(), rows)

    async def change(self, member: Member, *, role: str | None = None, limits: dict[str, Any] | None = None) -> Member:
        """Of `limits` the named entries change, and None removes one."""
        kept = {k: v for k, v in {**member.limits, **(limits or {})}.items() if v is not None}
        values = {"role": role or member.role, "limits": kept, "updated_s": self._clock.now_s()}
        async with self._database.write() as connection:
            await connection.execute(
                members.update().where(_is(member.scope, member.group_id, member.user_id)).values(values)
            )
        return (await self.find(member.scope, member.group_id, member.user_id)) or member

    async def remove(self, scope: Scope, group_id: str, user_ids: Sequence[str]) -> None:
        async with self._database.write() as connection:
            await connection.execute(
                delete(members).where(
                    members.c.scope == scope, members.c.group_id == group_id, members.c.user_id.in_(list(user_ids))
                )
            )

    async def forget_groups(self, scope: Scope, group_ids: Sequence[str]) -> None:
        async with self._database.write() as connection:
            await connection.execute(
                delete(members).where(members.c.scope == scope, members.c.group_id.in_(list(group_ids)))
            )

    async def forget_users(self, user_ids: Sequence[str]) -> None:
        async with self._database.write() as connection:
            await connection.execute(delete(members).where(members.c.user_id.in_(list(user_ids))))


def _read(row: Any) -> Member:
    return convert({str(name): value for name, value in row.items()}, Member)
