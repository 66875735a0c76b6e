"""The request log by pages: calls, newest first or sorted otherwise, filtered."""

import re
from typing import Any, Literal
from uuid import UUID

from msgspec import Struct
from sqlalchemy import ColumnElement, RowMapping, and_, func, literal, or_, select

from wayport.ledger.reports import Own, visible
from wayport.storage.database import Database
from wayport.storage.tables import bodies, calls

MOST_COUNTED = 10_000
"""calls that are counted for a page's total; beyond it the total says that there are at least so many"""

Sort = Literal["startTime", "endTime", "spend", "total_tokens", "request_duration_ms", "model"]

SPENT = func.coalesce(calls.c.cost_nano_usd, 0) + calls.c.wasted_nano_usd
_SORTED: dict[Sort, ColumnElement[Any]] = {
    "startTime": calls.c.started_s,
    "endTime": calls.c.started_s + calls.c.duration_ms / 1000,
    "spend": SPENT,
    "total_tokens": func.coalesce(calls.c.input_tokens, 0) + func.coalesce(calls.c.output_tokens, 0),
    "request_duration_ms": calls.c.duration_ms,
    "model": calls.c.model,
}


class Filter(Struct, frozen=True, kw_only=True):
    """Which calls. Every field narrows; None: does not."""

    call_id: str | None = None
    request_id: str | None = None
    """the call's id, or that of its answer"""
    key_hash: str | None = None
    key_alias: str | None = None
    user_id: str | None = None
    team_id: str | None = None
    organization_id: str | None = None
    end_user: str | None = None
    session_id: str | None = None
    model: str | None = None
    provider: str | None = None
    deployment: str | None = None
    error_class: str | None = None
    since_s: float | None = None
    until_s: float | None = None
    min_nano_usd: int | None = None
    max_nano_usd: int | None = None
    success: bool | None = None
    own: Own | None = None


_EQUAL = (
    "call_id",
    "key_hash",
    "key_alias",
    "user_id",
    "team_id",
    "organization_id",
    "end_user",
    "session_id",
    "model",
    "provider",
    "deployment",
    "error_class",
)


_MADE = re.compile(r"(?:msg|resp)_([0-9a-f]{32})")


def _call_of(answer_id: str) -> str | None:
    """The call whose answer was given this id here, because the upstream's would not do for the client."""
    made = _MADE.fullmatch(answer_id)
    return None if made is None else str(UUID(made[1]))


def condition(wanted: Filter) -> ColumnElement[bool]:
    found: list[ColumnElement[bool]] = [literal(value=True)]
    found += [calls.c[name] == value for name in _EQUAL if (value := getattr(wanted, name)) is not None]
    if wanted.request_id is not None:
        call_id = _call_of(wanted.request_id) or wanted.request_id
        found.append(or_(calls.c.call_id == call_id, calls.c.upstream_id == wanted.request_id))
    if wanted.since_s is not None:
        found.append(calls.c.started_s >= wanted.since_s)
    if wanted.until_s is not None:
        found.append(calls.c.started_s < wanted.until_s)
    if wanted.min_nano_usd is not None:
        found.append(wanted.min_nano_usd <= SPENT)
    if wanted.max_nano_usd is not None:
        found.append(wanted.max_nano_usd >= SPENT)
    if wanted.success is not None:
        found.append(calls.c.status == "success" if wanted.success else calls.c.status != "success")
    if wanted.own is not None:
        found.append(visible(wanted.own, calls.c))
    return and_(*found)


class Page(Struct, frozen=True):
    rows: list[RowMapping]
    total: int
    """at most `MOST_COUNTED`"""


class Listing:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self, wanted: Filter, *, number: int = 1, size: int = 50, sort: Sort = "startTime", rising: bool = False
    ) -> Page:
        """Page `number`, counted from 1, and how many calls there are in all."""
        where = condition(wanted)
        column = _SORTED[sort]
        order = column.asc() if rising else column.desc()
        rows = select(calls).where(where).order_by(order).limit(size).offset((number - 1) * size)
        some = select(literal(1)).select_from(calls).where(where).limit(MOST_COUNTED).subquery()
        async with self._database.read() as connection:
            found = list((await connection.execute(rows)).mappings())
            if len(found) < size and number == 1:
                return Page(found, len(found))
            total = (await connection.execute(select(func.count()).select_from(some))).scalar_one()
        return Page(found, total)

    async def rows(self, wanted: Filter, *, limit: int) -> list[RowMapping]:
        """The newest of them."""
        statement = select(calls).where(condition(wanted)).order_by(calls.c.started_s.desc()).limit(limit)
        async with self._database.read() as connection:
            return list((await connection.execute(statement)).mappings())

    async def bodies(self, call_id: str) -> RowMapping | None:
        async with self._database.read() as connection:
            return (
                (await connection.execute(select(bodies).where(bodies.c.call_id == call_id))).mappings().one_or_none()
            )
