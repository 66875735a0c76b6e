"""Rows of one table that people manage: what the stores of users, teams, organisations … have in common.

Every change is said in full by whoever asks: only the named fields change, and None clears one.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

from msgspec import Struct, convert, field
from sqlalchemy import ColumnElement, RowMapping, Table, and_, delete, func, literal, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from wayport.core.clock import Clock
from wayport.core.errors import BadRequest
from wayport.storage.database import Database


class Conflict(BadRequest):
    """Something of this name exists already."""

    status = 409
    code = "exists_already"


class Managed(Struct, kw_only=True, frozen=True):
    """What every row of them has."""

    id: str
    limits: dict[str, Any] = field(default_factory=dict)
    """what it may use at most, in LiteLLM's words and in dollars (see terms.py)"""
    metadata: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    """fields that nothing here reads, kept to give them back"""
    blocked: bool = False
    created_s: float = 0.0
    created_by: str | None = None
    updated_s: float = 0.0
    updated_by: str | None = None


class Patch(Struct, kw_only=True, frozen=True):
    """What to change. Columns are replaced; of `limits` and `settings` the named entries are, and None removes one."""

    columns: dict[str, Any] = field(default_factory=dict)
    limits: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


Row = TypeVar("Row", bound=Managed)


class Rows(Generic[Row]):
    def __init__(self, database: Database, table: Table, kind: type[Row], *, clock: Clock) -> None:
        self.database = database
        self.table = table
        self.kind = kind
        self.clock = clock
        self._all = select(table)

    async def find(self, wanted: str) -> Row | None:
        async with self.database.read() as connection:
            return await self.find_in(connection, wanted)

    async def find_in(self, connection: AsyncConnection, wanted: str) -> Row | None:
        found = await connection.execute(self._all.where(self.table.c.id == wanted))
        row = found.mappings().first()
        return None if row is None else self.read(row)

    async def those(self, wanted: Sequence[str]) -> list[Row]:
        """The rows that exist, by id, in no order."""
        if not wanted:
            return []
        async with self.database.read() as connection:
            rows = await connection.execute(self._all.where(self.table.c.id.in_(list(wanted))))
            return [self.read(row) for row in rows.mappings()]

    async def page(
        self,
        *conditions: ColumnElement[bool],
        order: Sequence[ColumnElement[Any]] = (),
        offset: int = 0,
        limit: int | None = None,
    ) -> tuple[list[Row], int]:
        """Rows and how many there are in all; newest first unless `order` says otherwise."""
        condition = and_(literal(True), *conditions)
        wanted = self._all.where(condition).order_by(*(order or (self.table.c.created_s.desc(),)), self.table.c.id)
        count = select(func.count()).select_from(self.table).where(condition)
        async with self.database.read() as connection:
            total = (await connection.execute(count)).scalar_one()
            rows = (await connection.execute(wanted.offset(offset).limit(limit))).mappings().all()
        return [self.read(row) for row in rows], total

    async def add(self, wanted: str, patch: Patch, *, by: str | None) -> Row:
        """Raises `Conflict` when the id, or a column that must be unique, is taken."""
        try:
            async with self.database.write() as connection:
                return await self.add_in(connection, wanted, patch, by=by)
        except IntegrityError as error:
            raise self.taken(wanted) from error

    async def add_in(self, connection: AsyncConnection, wanted: str, patch: Patch, *, by: str | None) -> Row:
        if await self.find_in(connection, wanted) is not None:
            raise self.taken(wanted)
        now_s = self.clock.now_s()
        row = {
            "id": wanted,
            "metadata": {},
            "blocked": False,
            **({"models": []} if "models" in self.table.c else {}),
            **{name: value for name, value in patch.columns.items() if value is not None},
            "limits": _set(patch.limits),
            "settings": _set(patch.settings),
            "created_s": now_s,
            "created_by": by,
            "updated_s": now_s,
            "updated_by": by,
        }
        await connection.execute(self.table.insert(), row)
        return self.read(row)

    async def change(self, wanted: str, patch: Patch, *, by: str | None) -> tuple[Row, Row] | None:
        """The row before and after; None if there is none. Raises `Conflict`."""
        try:
            async with self.database.write() as connection:
                before = await self._locked(connection, wanted)
                if before is None:
                    return None
                values = merged(before, patch, self.table) | {"updated_s": self.clock.now_s(), "updated_by": by}
                await connection.execute(self.table.update().where(self.table.c.id == wanted).values(values))
                after = await self.find_in(connection, wanted)
        except IntegrityError as error:
            raise self.taken(wanted) from error
        assert after is not None
        return before, after

    async def _locked(self, connection: AsyncConnection, wanted: str) -> Row | None:
        # Two who change different fields of one row must not undo each other.
        found = await connection.execute(self._all.where(self.table.c.id == wanted).with_for_update())
        row = found.mappings().first()
        return None if row is None else self.read(row)

    async def delete(self, wanted: Sequence[str]) -> list[Row]:
        """Deletes those that exist, and returns them as they were."""
        rows = await self.those(wanted)
        if rows:
            async with self.database.write() as connection:
                await connection.execute(delete(self.table).where(self.table.c.id.in_([row.id for row in rows])))
        return rows

    def read(self, row: RowMapping | Mapping[str, Any]) -> Row:
        # SQLAlchemy's names are a subclass of str, which msgspec does not take for one.
        return convert({str(name): value for name, value in row.items()}, self.kind)

    def taken(self, wanted: str) -> Conflict:
        return Conflict(f"{wanted!r} exists already.", param="id")


def merged(before: Any, patch: Patch, table: Table) -> dict[str, Any]:
    """The column values that follow from a change."""
    values: dict[str, Any] = {}
    for name, value in patch.columns.items():
        # A column that may not be empty is emptied by its empty value.
        empty = None if table.c[name].nullable else _EMPTY.get(name, {})
        values[name] = empty if value is None else value
    if patch.limits:
        values["limits"] = _set({**before.limits, **patch.limits})
    if patch.settings:
        values["settings"] = _set({**before.settings, **patch.settings})
    return values


_EMPTY: dict[str, Any] = {"models": [], "tags": [], "routes": [], "blocked": False}


def _set(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
