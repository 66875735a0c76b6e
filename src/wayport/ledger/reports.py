"""Reports made of roll-ups: sums by local day and by whatever names are asked for."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta, tzinfo
from typing import Any, Literal, NamedTuple

from msgspec import Struct
from sqlalchemy import ColumnElement, Integer, and_, cast, func, literal, or_, select

from wayport.ledger.days import runs
from wayport.ledger.rollups import SUMS
from wayport.storage.database import Database
from wayport.storage.tables import rollups

Kind = Literal["all", "tag", "end_user"]
Name = Literal[
    "holder",
    "key_hash",
    "user_id",
    "team_id",
    "organization_id",
    "operation",
    "model",
    "upstream_model",
    "provider",
]

_sums = [func.sum(rollups.c[name]).label(name) for name in SUMS]


class Own(Struct, frozen=True):
    """Whose calls somebody may see: everything that is set must fit one of these."""

    user_id: str | None = None
    key_hash: str | None = None
    teams: tuple[str, ...] = ()
    """teams of which all may be seen, beside one's own"""


class Wanted(Struct, frozen=True, kw_only=True):
    """Which calls a report is about. Empty: all."""

    kind: Kind = "all"
    only: Mapping[Name, Sequence[str]] = {}
    """a name must be one of these"""
    never: Mapping[Name, Sequence[str]] = {}
    own: Own | None = None


class Line(NamedTuple):
    """The sums of one day and one combination of names. Money in nano-dollars."""

    day: date
    names: tuple[str, ...]
    sums: dict[str, int]


class Reports:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def by_day(
        self, wanted: Wanted, names: Sequence[Name], *, first: date, last: date, zone: tzinfo
    ) -> list[Line]:
        """Sums by day (first to last, both whole, in `zone`) and by `names`. Raises `BadRequest`."""
        found: list[Line] = []
        columns = [rollups.c[name] for name in names]
        async with self._database.read() as connection:
            for run in runs(first, last, zone):
                day = cast((rollups.c.quarter - run.start) // run.quarters_per_day, Integer).label("day")
                within = and_(rollups.c.quarter >= run.start, rollups.c.quarter < run.end)
                statement = select(day, *columns, *_sums).where(within, _condition(wanted)).group_by(day, *columns)
                for row in await connection.execute(statement):
                    sums = {name: int(value) for name, value in zip(SUMS, row[1 + len(names) :], strict=True)}
                    found.append(Line(run.first + timedelta(days=row[0]), tuple(row[1 : 1 + len(names)]), sums))
        return sorted(found)

    async def by_quarters(
        self, wanted: Wanted, names: Sequence[Name], *, since_quarter: int, until_quarter: int, per: int
    ) -> list[tuple[int, tuple[str, ...], dict[str, int]]]:
        """Sums by every `per` quarter-hours of UTC since the epoch (1: a quarter-hour, 4: an hour, 96: a day)."""
        columns = [rollups.c[name] for name in names]
        step = cast(rollups.c.quarter // per, Integer).label("step")
        within = and_(rollups.c.quarter >= since_quarter, rollups.c.quarter < until_quarter)
        statement = select(step, *columns, *_sums).where(within, _condition(wanted)).group_by(step, *columns)
        async with self._database.read() as connection:
            return [
                (
                    row[0],
                    tuple(row[1 : 1 + len(names)]),
                    {name: int(value) for name, value in zip(SUMS, row[1 + len(names) :], strict=True)},
                )
                for row in await connection.execute(statement)
            ]

    async def in_all(
        self,
        wanted: Wanted,
        names: Sequence[Name],
        *,
        since_quarter: int | None = None,
        until_quarter: int | None = None,
    ) -> list[tuple[tuple[str, ...], dict[str, int]]]:
        """Sums by `names`, the dearest first; from a quarter on and up to one (not with it)."""
        columns = [rollups.c[name] for name in names]
        statement = select(*columns, *_sums).where(_condition(wanted)).group_by(*columns)
        if since_quarter is not None:
            statement = statement.where(rollups.c.quarter >= since_quarter)
        if until_quarter is not None:
            statement = statement.where(rollups.c.quarter < until_quarter)
        async with self._database.read() as connection:
            rows = [
                (
                    tuple(row[: len(names)]),
                    {name: int(value or 0) for name, value in zip(SUMS, row[len(names) :], strict=True)},
                )
                for row in await connection.execute(statement)
            ]
        return sorted(rows, key=lambda row: (-row[1]["spend_nano_usd"], row[0]))


def _condition(wanted: Wanted) -> ColumnElement[bool]:
    conditions: list[ColumnElement[bool]] = [rollups.c.kind == wanted.kind]
    conditions += [rollups.c[name].in_(list(values)) for name, values in wanted.only.items()]
    conditions += [rollups.c[name].not_in(list(values)) for name, values in wanted.never.items()]
    if wanted.own is not None:
        conditions.append(visible(wanted.own, rollups.c))
    return and_(*conditions)


def visible(own: Own, columns: Any) -> ColumnElement[bool]:
    """For the roll-ups or the request log: only what somebody may see."""
    mine: list[ColumnElement[bool]] = []
    if own.user_id is not None:
        mine.append(columns.user_id == own.user_id)
    elif own.key_hash is not None:
        mine.append(columns.key_hash == own.key_hash)
    if own.teams:
        mine.append(columns.team_id.in_(list(own.teams)))
    return or_(*mine) if mine else literal(value=False)
