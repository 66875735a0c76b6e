"""Every limit that binds a key, how much of each is used, and which one binds first."""

from collections.abc import Awaitable, Callable, Iterator
from typing import Literal

from msgspec import Struct

from wayport.access.budgets import counter_of, window_at
from wayport.access.gauges import Everybody, Gauge, Gauges
from wayport.access.principal import Principal
from wayport.control.leases import Lessor, Spent
from wayport.core.clock import Clock
from wayport.pipeline.target_budgets import budget_of
from wayport.routing.snapshot import TargetBudget


class Line(Struct, kw_only=True, frozen=True):
    """Money in nano-dollars, rates in requests or tokens, slots in calls."""

    scope: str
    holder: str
    kind: Literal["money", "requests", "tokens", "slots"]
    of: str
    """`usd`, `requests`, `tokens`, `input_tokens`, `output_tokens`, `calls`"""
    limit: int
    used: int
    reserved: int
    """by calls in flight"""
    leased: int
    """by workers and nodes, and not used so far"""
    left: int
    ends_s: float | None
    """when the window ends, seconds of the epoch; None: not by itself"""
    period: str
    """of a budget, as it is written; of a rate, its length in seconds"""
    model: str | None
    binds: bool = False
    """of all limits of its sort the one that is nearest to its end"""


class Effective:
    def __init__(
        self,
        principal: Callable[[str], Awaitable[Principal | None]],
        *,
        lessor: Lessor,
        spent: Spent,
        clock: Clock,
        everybody: Callable[[], Everybody] = Everybody,
    ) -> None:
        """`everybody`: what binds whoever calls."""
        self._principal = principal
        self._lessor = lessor
        self._spent = spent
        self._clock = clock
        self._everybody = everybody

    async def of(self, key_hash: str) -> list[Line] | None:
        """None: there is no such key. Raises `Unavailable`."""
        principal = await self._principal(key_hash)
        return None if principal is None else await self.for_calls_of(principal)

    async def for_calls_of(self, principal: Principal) -> list[Line]:
        """Raises `Unavailable`."""
        lines = [await self._line(gauge, model) for gauge, model in _gauges(principal, self._clock, self._everybody())]
        for money in (True, False):
            sort = [line for line in lines if (line.kind == "money") is money and line.model is None]
            if sort:
                nearest = min(sort, key=lambda line: line.left / max(1, line.limit))
                lines[lines.index(nearest)] = _binding(nearest)
        return lines

    async def of_target(self, target: TargetBudget) -> Line:
        """The budget of a provider or a deployment. Raises `Unavailable`."""
        budget, now_s = budget_of(target), self._clock.now_s()
        window = window_at(budget, now_s)
        gauge = Gauge(
            counter_of(target.counter, budget), "money", target.max_nano_usd,
            scope="provider", name=target.counter, window=window.start_s,
        )  # fmt: skip
        gauge.period = target.per or ""
        gauge.ends_s = self._clock.steady_s() + window.end_s - now_s
        return await self._line(gauge, None)

    async def _line(self, gauge: Gauge, model: str | None) -> Line:
        entry = self._lessor.counters.find(gauge.counter, gauge.window if gauge.kind == "money" else 0)
        now_s, steady_s = self._clock.now_s(), self._clock.steady_s()
        used = reserved = leased = 0
        ends_s: float | None = now_s + gauge.ends_s - steady_s if gauge.ends_s != float("inf") else None
        if entry is not None and steady_s < entry.ends_s:
            upper = self._lessor.above(gauge.counter)
            reserved = sum(part.busy for part in entry.parts.values())
            leased = sum(part.free for part in entry.parts.values()) + (upper.busy_elsewhere if upper else 0)
            used = entry.total - reserved - sum(part.free for part in entry.parts.values())
            if upper is not None:
                used = max(used, upper.settled)
            if entry.ends_s != float("inf"):
                ends_s = now_s + entry.ends_s - steady_s
        elif gauge.kind == "money":
            own, others = await self._spent.load(gauge.counter, gauge.window)
            used = sum(own.values()) + sum(others.values())
        return Line(
            scope=gauge.scope, holder=gauge.name, kind=gauge.kind, of=_named(gauge), limit=gauge.limit, used=used,
            reserved=reserved, leased=leased, left=max(0, gauge.limit - used - reserved), ends_s=ends_s,
            period=gauge.period or (str(gauge.per_s) if gauge.per_s else ""), model=model,
        )  # fmt: skip


def _gauges(principal: Principal, clock: Clock, everybody: Everybody) -> Iterator[tuple[Gauge, str | None]]:
    """A gauge of each limit, as workers make them, those of single models included."""
    models = {budget.model for holder in principal.holders for budget in holder.budgets}
    models |= {rate.model for holder in principal.holders for rate in holder.rates}
    models |= {name for holder in principal.holders for name in holder.parallel_of_model}
    models |= set(everybody.of_model)
    seen: set[str] = set()
    for model in (None, *sorted(name for name in models if name)):
        account = Gauges(clock=clock, everybody=everybody).account(principal, model or "", (model or "",))
        for gauge in (*account.money, *account.requests, *account.tokens, *account.slots):
            if gauge.counter not in seen:
                seen.add(gauge.counter)
                yield gauge, model


def _named(gauge: Gauge) -> str:
    return {"money": "usd", "slots": "calls"}.get(gauge.kind, gauge.of)


def _binding(line: Line) -> Line:
    return Line(**{name: getattr(line, name) for name in Line.__struct_fields__ if name != "binds"}, binds=True)
