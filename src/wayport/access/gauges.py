"""A worker's part of every limit: what it has leased of each counter, and what of that is free.

What must stay true: `free` is only ever taken from by a call that gives back, or was leased; a call is settled on the very
gauge (window) that it was admitted on.
"""

import asyncio
from collections import deque
from collections.abc import Collection, Iterable
from math import inf
from typing import Protocol

from msgspec import Struct

from wayport.access.budgets import counter_of, limit_at, window_at
from wayport.access.principal import Holder, Principal, RateOf, Scope
from wayport.core.clock import Clock
from wayport.core.lease import Claim, Grant, Kind

_ACCOUNTS = 20_000
BUSY_TICKS = 4


class Lender(Protocol):
    """Whom a worker leases from: its control process."""

    async def claim(self, claim: Claim) -> Grant:
        """Raises `Unavailable`."""
        ...

    def state(self, claim: Claim) -> None:
        """Tells what we have; no answer comes."""
        ...


class Gauge:
    """One window of one limit, as far as this worker has leased it."""

    __slots__ = (
        "away_until_s", "busy", "claiming", "counter", "empty_until_s", "ends_s", "free", "held", "kind", "left", "limit", "lowered", "name", "of",
        "of_input", "of_output", "pending", "per_s", "period", "scope", "seen", "settled", "since_s", "touched", "waiters", "window",
    )  # fmt: skip

    def __init__(
        self,
        counter: str,
        kind: Kind,
        limit: int,
        *,
        scope: Scope,
        name: str,
        of: RateOf = "requests",
        per_s: int = 0,
        window: int = 0,
    ) -> None:
        self.counter = counter
        self.kind: Kind = kind
        self.limit = limit
        self.scope: Scope = scope
        self.name = name
        self.per_s = per_s
        self.period = ""
        """of a budget, as it is written"""
        self.of: RateOf = of
        self.of_input = 1 if of in {"tokens", "input_tokens"} else 0
        """what a token of input counts here"""
        self.of_output = 1 if of in {"tokens", "output_tokens"} else 0
        self.window = window
        self.ends_s = inf
        self.held = 0
        self.free = 0
        self.busy = 0
        """money reserved by calls in flight"""
        self.seen = -1
        self.left = 0
        """what the lender had left when it last spoke"""
        self.settled = 0
        """what everybody together was known to have used then"""
        self.empty_until_s = 0.0
        """until then asking is of no use"""
        self.away_until_s = 0.0
        self.lowered = False
        """the limit was lowered, and calls are in flight that were admitted before"""
        self.touched = BUSY_TICKS
        """ticks until what is free here counts as idle"""
        self.since_s = 0.0
        self.pending = 0
        """calls that wait for a lease"""
        self.claiming: asyncio.Task[Grant] | None = None
        self.waiters: deque[asyncio.Future[None]] = deque()
        """calls that wait for others to settle"""

    def claim(self, *, need: int = 0, want: int = 0, ends_in_s: float = 0.0) -> Claim:
        # Spent beyond what was leased is stated, so that it is missing elsewhere: debt.
        held = self.held - min(self.free, 0)
        # Said once; from then on the lender counts its grants to us anew.
        seen, self.seen = self.seen, max(self.seen, 0)
        return Claim(
            counter=self.counter, kind=self.kind, limit=self.limit, window=self.window, per_s=self.per_s, held=held,
            busy=self.busy, free=max(self.free, 0), need=need, want=want, seen=seen,
            ends_in_s=ends_in_s,
        )  # fmt: skip

    def granted(self, grant: Grant, now_s: float) -> None:
        if self.window == 0 and self.kind != "money":
            self.window = grant.window
        if grant.ends_in_s is not None and self.kind in {"requests", "tokens"}:
            self.ends_s = now_s + grant.ends_in_s
        self.held += grant.granted
        self.free += grant.granted
        self.seen = grant.number
        self.left = grant.left
        self.settled = grant.settled

    def give_back(self) -> Claim:
        """All that is free goes back to the lender."""
        if self.free > 0:
            self.held -= self.free
            self.free = 0
        claim = self.claim()
        self.settle_debt()
        return claim

    def lower(self) -> None:
        """The limit is lower than it was when we leased of it: nothing of that is ours any more. What calls in flight give
        back goes to the lender, too.
        """
        self.held -= max(self.free, 0)
        self.free = min(self.free, 0)
        self.touched = BUSY_TICKS
        self.lowered = True

    def settle_debt(self) -> None:
        """What was spent beyond the lease is stated: it is ours now."""
        if self.free < 0:
            self.held -= self.free
            self.free = 0

    def wake(self) -> None:
        while self.waiters:
            waiter = self.waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return


class Account(Struct, frozen=True, eq=False):
    """All gauges that bind the calls of one principal to one model."""

    principal: Principal
    others: tuple[Holder, ...]
    """end user and tags"""
    gauges: tuple[Gauge, ...]
    """all of the following, in this order"""
    requests: tuple[Gauge, ...]
    slots: tuple[Gauge, ...]
    tokens: tuple[Gauge, ...]
    money: tuple[Gauge, ...]
    windows: tuple[str, ...]
    """the budgets' windows, as the record names them"""
    until_s: float
    """steady: then a window or a temporary increase ends"""
    openings: dict[tuple[str, bool], bytes] = {}
    """what the opening records of its calls have in common, by their route and whether they stream; kept by the pipeline"""

    def beyond(self, taken: "Account") -> "Account":
        """What binds here and was not asked for there."""
        known = {gauge.counter for gauge in taken.gauges}
        further = [gauge for gauge in self.gauges if gauge.counter not in known]
        return account_of(self.principal, self.others, further)

    def without_money(self) -> "Account":
        """The same but for budgets."""
        return account_of(self.principal, self.others, [gauge for gauge in self.gauges if gauge.kind != "money"])

    def joined(self, other: "Account") -> "Account":
        """Both, the tokens of this one first."""
        return account_of(self.principal, self.others, [*self.gauges, *other.gauges])


def account_of(
    principal: Principal, others: tuple[Holder, ...], gauges: Collection[Gauge], *, until_s: float = inf
) -> Account:
    """`until_s`: until then these are all, whatever their windows do."""
    requests, slots, tokens, money = (
        tuple(gauge for gauge in gauges if gauge.kind == kind) for kind in ("requests", "slots", "tokens", "money")
    )
    return Account(
        principal,
        others,
        gauges=(*requests, *slots, *tokens, *money),
        requests=requests,
        slots=slots,
        tokens=tokens,
        money=money,
        windows=tuple(f"{gauge.counter}@{gauge.window}" for gauge in money),
        until_s=min((*(gauge.ends_s for gauge in gauges), until_s)),
    )


class Everybody:
    """Limits that bind whoever calls: those of the whole gateway and of single models."""

    def __init__(self, holders: Iterable[Holder] = ()) -> None:
        found = tuple(holders)
        self.of_all = tuple(holder for holder in found if holder.scope != "model")
        self.of_model = {holder.id: holder for holder in found if holder.scope == "model"}

    def __bool__(self) -> bool:
        return bool(self.of_all or self.of_model)

    def binding(self, names: Iterable[str]) -> tuple[Holder, ...]:
        """Those that bind calls of a model of these names."""
        return (*self.of_all, *(self.of_model[name] for name in names if name in self.of_model))


class Gauges:
    """Finds the gauges of a call; each counter has one, however many keys it binds."""

    def __init__(self, *, clock: Clock, everybody: Everybody | None = None) -> None:
        self._everybody = everybody or Everybody()
        self._clock = clock
        self._gauges: dict[str, Gauge] = {}
        self._accounts: dict[tuple[str | None, str, tuple[str, ...]], Account] = {}
        self.turn = 0
        """changes when accounts that were found before may be no longer what they were"""

    def all(self) -> list[Gauge]:
        return list(self._gauges.values())

    def bind(self, everybody: Everybody) -> None:
        """From now on these bind whoever calls."""
        self._everybody = everybody
        self._forget()

    def get(self, counter: str) -> Gauge | None:
        return self._gauges.get(counter)

    def account(
        self, principal: Principal, asked: str, names: tuple[str, ...], others: tuple[Holder, ...] = ()
    ) -> Account:
        """`names`: of the model that `asked` leads to, by which limits may know it."""
        key = (principal.key_hash, asked, names)
        known = self._accounts.get(key)
        if (
            known is not None
            and known.principal is principal
            and known.others == others
            and self.holds(known, self.turn, self._clock.steady_s())
        ):
            return known
        made = self._account(principal, {asked, *names}, others)
        if len(self._accounts) >= _ACCOUNTS:
            self._forget()
        self._accounts[key] = made
        return made

    def holds(self, account: Account, turn: int, now_s: float) -> bool:
        """Whether an account that was found in this turn is still what binds."""
        return turn == self.turn and now_s < account.until_s

    def renew(self, account: Account, asked: str, names: tuple[str, ...]) -> None:
        """Windows of the account have ended: the next look makes new ones."""
        self.turn += 1
        self._accounts.pop((account.principal.key_hash, asked, names), None)

    def _forget(self) -> None:
        self.turn += 1
        self._accounts.clear()

    def sweep(self) -> None:
        """Lets go of windows that have ended and of what nobody has used for long."""
        now_s = self._clock.steady_s()
        for counter, gauge in list(self._gauges.items()):
            if now_s >= gauge.ends_s or (gauge.held == 0 and gauge.touched == 0 and gauge.claiming is None):
                del self._gauges[counter]
                self._forget()

    def _account(self, principal: Principal, names: set[str], others: tuple[Holder, ...]) -> Account:
        found: dict[str, Gauge] = {}
        holders = (*principal.holders, *others, *self._everybody.binding(sorted(names)))
        for holder in holders:
            for gauge in self._of(holder, names):
                # The same counter twice (two rows that say the same of one holder): the tighter limit binds.
                if (before := found.get(gauge.counter)) is not None:
                    gauge.limit = min(gauge.limit, before.limit)
                found[gauge.counter] = gauge
        return account_of(principal, others, found.values(), until_s=self._changes_at_s(holders))

    def _changes_at_s(self, holders: Iterable[Holder]) -> float:
        """When a temporary increase ends."""
        now_s, steady_s = self._clock.now_s(), self._clock.steady_s()
        ends = [b.increase_until_s for h in holders for b in h.budgets if b.increase_until_s is not None]
        return min((steady_s + at_s - now_s for at_s in ends if at_s > now_s), default=inf)

    def _of(self, holder: Holder, names: set[str]) -> Iterable[Gauge]:
        whose = f"{holder.scope}:{holder.id}"
        shown = holder.name or holder.id
        for rate in holder.rates:
            if rate.model is None or rate.model in names:
                counter = f"{whose}|{rate.of}/{rate.per_s}" + (f"|{rate.model}" if rate.model else "")
                kind: Kind = "requests" if rate.of == "requests" else "tokens"
                yield self._gauge(counter, kind, rate.at_most, holder.scope, shown, of=rate.of, per_s=rate.per_s)
        for model, most in ((None, holder.max_parallel), *holder.parallel_of_model.items()):
            if most is not None and (model is None or model in names):
                counter = f"{whose}|slots" + (f"|{model}" if model else "")
                yield self._gauge(counter, "slots", most, holder.scope, shown)
        now_s = self._clock.now_s()
        for budget in holder.budgets:
            limit = limit_at(budget, now_s)
            if limit is None or not (budget.model is None or budget.model in names):
                continue
            window = window_at(budget, now_s)
            gauge = self._gauge(counter_of(whose, budget), "money", limit, holder.scope, shown, window=window.start_s)
            gauge.ends_s = self._clock.steady_s() + window.end_s - now_s
            gauge.period = budget.duration or ""
            yield gauge

    def _gauge(
        self,
        counter: str,
        kind: Kind,
        limit: int,
        scope: Scope,
        name: str,
        *,
        of: RateOf = "requests",
        per_s: int = 0,
        window: int = 0,
    ) -> Gauge:
        gauge = self._gauges.get(counter)
        ended = gauge is not None and (
            self._clock.steady_s() >= gauge.ends_s or (kind == "money" and gauge.window != window)
        )
        if gauge is None or ended:
            before = gauge
            gauge = Gauge(counter, kind, limit, scope=scope, name=name, of=of, per_s=per_s, window=window)
            gauge.since_s = self._clock.now_s()
            if before is not None:
                # Accounts with the old one are out of date.
                self.turn += 1
                # Whoever waits on the old window tries the new one.
                while before.waiters:
                    before.wake()
            self._gauges[counter] = gauge
        elif gauge.limit != limit:
            if limit < gauge.limit:
                gauge.lower()
            gauge.limit = limit
            gauge.empty_until_s = 0.0
        return gauge
