"""Everybody with a budget and what is spent of it in its present window; and the names that people know holders by."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec import Struct
from sqlalchemy import Table, func, select

from wayport.access.budgets import limit_at, window_at
from wayport.access.principal import Budget, Scope
from wayport.access.stored import holder_of
from wayport.core.clock import Clock
from wayport.core.errors import BadRequest
from wayport.observe.alerts import Holding
from wayport.storage.database import Database
from wayport.storage.tables import budget_spend, customers, keys, organizations, projects, spend, tags, teams, users

_TABLES: tuple[tuple[Scope, Table, str, str], ...] = (
    ("key", keys, "key_hash", "key_alias"),
    ("user", users, "id", "alias"),
    ("team", teams, "id", "alias"),
    ("project", projects, "id", "alias"),
    ("organization", organizations, "id", "alias"),
    ("end_user", customers, "id", "alias"),
    ("tag", tags, "id", "id"),
)


class Names(Struct):
    """Ids to what people call them."""

    teams: Mapping[str, str] = {}
    emails: Mapping[str, str] = {}


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
        async with self._database.read() as connection:
            in_all = {(r.scope, r.holder): r.spend_nano_usd for r in await connection.execute(select(spend))}
            total = func.sum(budget_spend.c.spend_nano_usd)
            windows = select(budget_spend.c.counter, budget_spend.c.window_s, total).group_by(
                budget_spend.c.counter, budget_spend.c.window_s
            )
            in_window = {(row[0], row[1]): int(row[2]) for row in await connection.execute(windows)}
            for scope, table, key, alias in _TABLES:
                rows = await connection.execute(select(table.c[key], table.c[alias], table.c.limits))
                held += [(scope, holder_id, name, limits) for holder_id, name, limits in rows]
        held += [
            ("model", name, None, limits) if name else ("gateway", "", "the gateway", limits)
            for name, limits in self._shared().items()
        ]
        for scope, holder_id, name, limits in held:
            for budget, most, soft in self._budgets(scope, holder_id, limits, now_s):
                spent = _spent(scope, holder_id, budget, now_s, in_all=in_all, in_window=in_window)
                found.append(
                    Holding(
                        holder=f"{scope}:{holder_id}",
                        shown=name or holder_id,
                        spent_nano_usd=spent,
                        budget_nano_usd=most,
                        period=budget.duration or "",
                        soft=soft,
                    )
                )
        return found

    async def names(self) -> Names:
        """Raises `Unavailable`."""
        async with self._database.read() as connection:
            aliases = await connection.execute(select(teams.c.id, teams.c.alias).where(teams.c.alias.is_not(None)))
            emails = await connection.execute(select(users.c.id, users.c.email).where(users.c.email.is_not(None)))
            return Names({row[0]: row[1] for row in aliases}, {row[0]: row[1] for row in emails})

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


def _spent(
    scope: Scope,
    holder_id: str,
    budget: Budget,
    now_s: float,
    *,
    in_all: Mapping[tuple[str, str], int],
    in_window: Mapping[tuple[str, int], int],
) -> int:
    if budget.duration is None:
        ever = in_window.get((f"{scope}:{holder_id}|usd/ever", 0), 0)
        return in_all.get((scope, holder_id), ever)
    # As access/gauges.py names the counters of budgets.
    try:
        window = window_at(budget, now_s)
    except BadRequest:  # a duration that is none, written by somebody else
        return 0
    counter = f"{scope}:{holder_id}|usd/{budget.duration}{'c' if budget.calendar else ''}"
    return in_window.get((counter, window.start_s), 0)
