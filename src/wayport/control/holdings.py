"""Everybody with a budget and what is spent of it in its present window; and the names that people know holders by."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec import Struct
from sqlalchemy import ColumnElement, Table, func, literal, select

from wayport.access.budgets import FOR_GOOD, Window, limit_at, window_at
from wayport.access.principal import Budget, Scope
from wayport.access.stored import holder_of
from wayport.core.clock import Clock
from wayport.core.errors import BadRequest
from wayport.observe.alerts import Holding
from wayport.storage.database import Database
from wayport.storage.tables import (
    budget_spend,
    budgets,
    customers,
    keys,
    members,
    organizations,
    projects,
    rollups,
    spend,
    tags,
    teams,
    users,
)

_TABLES: tuple[tuple[Scope, Table, str, str, ColumnElement[Any]], ...] = (
    ("key", keys, "key_hash", "key_alias", keys.c.settings["budget_id"].as_string()),
    ("user", users, "id", "alias", literal(None)),
    ("team", teams, "id", "alias", literal(None)),
    ("project", projects, "id", "alias", projects.c.budget_id),
    ("organization", organizations, "id", "alias", organizations.c.budget_id),
    ("end_user", customers, "id", "alias", customers.c.budget_id),
    ("tag", tags, "id", "id", tags.c.budget_id),
)
"""whose budgets, and the column that names one shared with others"""
_DAY_QUARTERS = 96


class Names(Struct):
    """Ids to what people call them."""

    teams: Mapping[str, str] = {}
    emails: Mapping[str, str] = {}
    keys: Mapping[str, str] = {}
    """those that have an alias"""


class Counts(Struct, frozen=True, kw_only=True):
    users: int
    active_users: int
    """who called within the last 24 hours"""
    teams: int
    members: Mapping[str, int]
    """of teams"""


class Holdings:
    def __init__(
        self,
        database: Database,
        *,
        clock: Clock,
        calendar: bool,
        shared: Callable[[], Mapping[str, Mapping[str, Any]]] = dict,
    ) -> None:
        """`calendar`: budgets follow the calendar unless they say otherwise. `shared`: limits by model, and under the empty
        name those of the whole gateway.
        """
        self._shared = shared
        self._database = database
        self._clock = clock
        self._calendar = calendar

    async def all(self) -> list[Holding]:
        """Of everybody who may have one but members of teams, of models and of the gateway. Raises `Unavailable`."""
        now_s = self._clock.now_s()
        found: list[Holding] = []
        held: list[tuple[Scope, str, str | None, Mapping[str, Any]]] = []
        same: dict[str, str] = {}
        async with self._database.read() as connection:
            in_all = {(r.scope, r.holder): r.spend_nano_usd for r in await connection.execute(select(spend))}
            total = func.sum(budget_spend.c.spend_nano_usd)
            windows = select(budget_spend.c.counter, budget_spend.c.window_s, total).group_by(
                budget_spend.c.counter, budget_spend.c.window_s
            )
            in_window = {(row[0], row[1]): int(row[2]) for row in await connection.execute(windows)}
            shared = {row.id: row.limits for row in await connection.execute(select(budgets.c.id, budgets.c.limits))}
            for scope, table, key, alias, shared_budget in _TABLES:
                rows = await connection.execute(select(table.c[key], table.c[alias], table.c.limits, shared_budget))
                for holder_id, name, limits, budget_id in rows:
                    held.append((scope, holder_id, name, {**shared.get(budget_id, {}), **limits}))
            counted_as = keys.c.settings["counted_as"].as_string()
            renewed = await connection.execute(select(keys.c.key_hash, counted_as).where(counted_as.is_not(None)))
            same = {row[0]: row[1] for row in renewed}
            for key_hash, first in same.items():
                if key_hash != first:
                    in_all["key", first] = in_all.get(("key", first), 0) + in_all.get(("key", key_hash), 0)
        held += [
            ("model", name, None, limits) if name else ("gateway", "", "the gateway", limits)
            for name, limits in self._shared().items()
        ]
        for scope, holder_id, name, limits in held:
            for budget, most, soft in self._budgets(scope, holder_id, limits, now_s):
                window = _window(budget, now_s)
                # A key that was replaced goes on under the hash that it had at first.
                whose = same.get(holder_id, holder_id) if scope == "key" else holder_id
                spent = _spent(scope, whose, budget, window, in_all=in_all, in_window=in_window)
                found.append(
                    Holding(
                        holder=f"{scope}:{holder_id}",
                        shown=name or holder_id,
                        spent_nano_usd=spent,
                        budget_nano_usd=most,
                        period=budget.duration or "",
                        ends_s=window.end_s,
                        soft=soft,
                    )
                )
        return found

    async def names(self) -> Names:
        """Raises `Unavailable`."""
        async with self._database.read() as connection:
            aliases = await connection.execute(select(teams.c.id, teams.c.alias).where(teams.c.alias.is_not(None)))
            emails = await connection.execute(select(users.c.id, users.c.email).where(users.c.email.is_not(None)))
            named = await connection.execute(
                select(keys.c.key_hash, keys.c.key_alias).where(keys.c.key_alias.is_not(None))
            )
            return Names(*({row[0]: row[1] for row in rows} for rows in (aliases, emails, named)))

    async def counts(self) -> Counts:
        """Raises `Unavailable`."""
        quarter = int(self._clock.now_s() // 900) - _DAY_QUARTERS
        callers = func.count(rollups.c.user_id.distinct())
        async with self._database.read() as connection:
            active = select(callers).where(
                rollups.c.kind == "all", rollups.c.quarter > quarter, rollups.c.user_id.not_in(("", "default_user_id"))
            )
            belong = select(members.c.group_id, func.count()).where(members.c.scope == "team")
            return Counts(
                users=await connection.scalar(select(func.count()).select_from(users)) or 0,
                active_users=await connection.scalar(active) or 0,
                teams=await connection.scalar(select(func.count()).select_from(teams)) or 0,
                members={row[0]: row[1] for row in await connection.execute(belong.group_by(members.c.group_id))},
            )

    def _budgets(
        self, scope: Scope, holder_id: str, limits: Mapping[str, Any], now_s: float
    ) -> Iterator[tuple[Budget, int, bool]]:
        """Those that concern all of its calls, how much each allows now, and whether it only warns."""
        holder = holder_of(scope, holder_id, limits, calendar=self._calendar)
        for budget in holder.budgets if holder is not None else ():
            if budget.model is not None:
                continue
            if (most := limit_at(budget, now_s)) is not None:
                yield budget, most, False
            if budget.soft_nano_usd is not None:
                yield budget, budget.soft_nano_usd, True


def _window(budget: Budget, now_s: float) -> Window:
    try:
        return window_at(budget, now_s)
    except BadRequest:  # a duration that is none, written by somebody else
        return FOR_GOOD


def _spent(
    scope: Scope,
    holder_id: str,
    budget: Budget,
    window: Window,
    *,
    in_all: Mapping[tuple[str, str], int],
    in_window: Mapping[tuple[str, int], int],
) -> int:
    # As access/gauges.py names the counters of budgets.
    period = (budget.duration or "ever") + ("c" if budget.calendar else "")
    spent = in_window.get((f"{scope}:{holder_id}|usd/{period}", window.start_s), 0)
    if budget.duration is None and window == FOR_GOOD:
        return in_all.get((scope, holder_id), spent)
    return spent
