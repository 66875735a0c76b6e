"""What holders have spent, to be shown: since ever, or since their budget last began anew."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from wayport.access.budgets import window_at
from wayport.access.principal import Budget, Scope
from wayport.core.clock import Clock
from wayport.storage.database import Database
from wayport.storage.tables import budget_spend, spend

_BY_HOLDERS = select(spend.c.holder, spend.c.spend_nano_usd).where(
    spend.c.scope == bindparam("scope"), spend.c.holder.in_(bindparam("holders", expanding=True))
)
_IN_WINDOWS = (
    select(budget_spend.c.counter, budget_spend.c.window_s, func.sum(budget_spend.c.spend_nano_usd))
    .where(budget_spend.c.counter.in_(bindparam("counters", expanding=True)))
    .group_by(budget_spend.c.counter, budget_spend.c.window_s)
)

Limits = Mapping[str, Any]
"""as they are stored (terms.py)"""


async def since_it_began(
    connection: AsyncConnection,
    scope: Scope,
    totals: Mapping[str, tuple[int, Limits]],
    *,
    now_s: float,
    calendar: bool,
) -> dict[str, int]:
    """By holder, of all that it has spent and its limits: what it has spent since its budget began anew, or somebody
    reset its spend.
    """
    found = {
        holder: max(0, total - int(limits.get("spend_before_nano_usd", 0)))
        for holder, (total, limits) in totals.items()
    }
    windows: dict[str, tuple[str, int]] = {}
    for holder, (_, limits) in totals.items():
        duration = limits.get("budget_duration")
        if duration is None or limits.get("max_budget") is None:
            continue
        aligned = bool(limits.get("calendar_aligned", calendar))
        began_s = limits.get("anchor_s", 0.0)
        start_s = window_at(Budget(duration=duration, anchor_s=began_s, calendar=aligned), now_s).start_s
        # In the period in which the budget was made, or its spend was reset, what was spent or said before counts, too.
        if start_s > began_s:
            # As gauges.py names the counters of budgets.
            windows[holder] = (f"{scope}:{holder}|usd/{duration}{'c' if aligned else ''}", start_s)
    if windows:
        counters = sorted({counter for counter, _ in windows.values()})
        rows = (await connection.execute(_IN_WINDOWS, {"counters": counters})).all()
        sums = {(counter, window_s): int(nano_usd) for counter, window_s, nano_usd in rows}
        found |= {holder: sums.get(window, 0) for holder, window in windows.items()}
    return found


class Spent:
    """`calendar`: budgets follow the calendar unless they say otherwise."""

    def __init__(self, database: Database, *, clock: Clock, calendar: bool = False) -> None:
        self._database = database
        self._clock = clock
        self._calendar = calendar

    async def shown(self, scope: Scope, holders: Mapping[str, Limits]) -> dict[str, int]:
        """Nano-dollars by holder, since its budget began anew; whoever has spent nothing is there with 0."""
        totals = await self.by(scope, list(holders))
        async with self._database.read() as connection:
            return await since_it_began(
                connection,
                scope,
                {holder: (total, holders[holder]) for holder, total in totals.items()},
                now_s=self._clock.now_s(),
                calendar=self._calendar,
            )

    async def by(self, scope: Scope, holders: Sequence[str]) -> dict[str, int]:
        """Nano-dollars by holder, since ever; whoever has spent nothing is there with 0."""
        found = dict.fromkeys(holders, 0)
        if holders:
            async with self._database.read() as connection:
                for row in await connection.execute(_BY_HOLDERS, {"scope": scope, "holders": list(holders)}):
                    found[row.holder] = row.spend_nano_usd
        return found
