"""Budgets of providers and deployments: what is spent there is counted, and who has spent it all is left alone.

What must stay true: what is counted is what the journal says, so that a restart, another worker and another node go on from
there. Nothing is reserved: calls that run when a budget ends are finished.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from math import inf

from wayport.access.budgets import counter_of, window_at
from wayport.access.gauges import Lender
from wayport.access.principal import Budget
from wayport.core.clock import Clock
from wayport.core.errors import Fault, Unavailable
from wayport.core.lease import Claim
from wayport.core.money import usd_text
from wayport.core.record import CallRecord
from wayport.routing.health import Blocked, Health
from wayport.routing.snapshot import OWN_MARK, Deployment, Snapshot, TargetBudget

log = logging.getLogger("wayport.pipeline")

EVERY_S = 0.5
_FIRST_S = 0.05


def budget_of(target: TargetBudget) -> Budget:
    return Budget(max_nano_usd=target.max_nano_usd, duration=target.per, calendar=True)


class _Purse:
    """One budget, in its present window."""

    __slots__ = ("budget", "counter", "elsewhere", "ends_s", "known", "own", "target", "window")

    def __init__(self, target: TargetBudget, now_s: float) -> None:
        self.target = target
        self.budget = budget_of(target)
        self.counter = counter_of(target.counter, self.budget)
        self.own = 0
        """spent by this worker in this window"""
        self.elsewhere = 0
        """by all others, and before"""
        self.known = False
        """whether anybody has said what was spent before"""
        self.window = 0
        self.ends_s = 0.0
        self.turn(now_s)

    def turn(self, now_s: float) -> None:
        """Begins the window of this moment, if it is another one."""
        if now_s < self.ends_s:
            return
        window = window_at(self.budget, now_s)
        self.window, self.ends_s = window.start_s, window.end_s
        self.own = self.elsewhere = 0
        self.known = False

    @property
    def spent(self) -> int:
        return self.own + self.elsewhere


class TargetBudgets:
    """`closed`: where nobody can say what was spent before, the target is left alone until somebody can."""

    def __init__(
        self, lender: Lender, health: Health, *, clock: Clock, lease_holder: str = "", closed: bool = True
    ) -> None:
        self._lender = lender
        self._health = health
        self._clock = clock
        self._lease_holder = lease_holder
        self._closed = closed
        self._purses: dict[str, _Purse] = {}
        self.any = False
        """whether there is a budget at all"""

    def take(self, snapshot: Snapshot) -> None:
        """The budgets of a new snapshot. What is known of those that stay is kept."""
        now_s = self._clock.now_s()
        purses: dict[str, _Purse] = {}
        for target in _targets(snapshot):
            known = self._purses.get(target.counter)
            purses[target.counter] = known if known is not None and known.target == target else _Purse(target, now_s)
        for gone in self._purses.keys() - purses.keys():
            self._health.let_in(gone)
        self._purses = purses
        self.any = bool(purses)
        for purse in purses.values():
            self._judge(purse)

    # ------------------------------------------------------------------------------------------------------ counting
    def charge(self, record: CallRecord, deployment: Deployment | None) -> None:
        """Counts what a call has cost where it was spent, and notes that on its record. Contains no await."""
        if deployment is not None and record.cost_nano_usd and not deployment.clients_own:
            own = deployment.budget.counter if deployment.budget is not None else ""
            self._add(record, (own, f"provider:{deployment.provider}"), record.cost_nano_usd)
        if record.wasted_nano_usd:
            abandoned = record.attempts if record.cost_nano_usd is None else record.attempts[:-1]
            for attempt in abandoned:
                if attempt.cost_nano_usd and OWN_MARK not in attempt.deployment:
                    whose = (f"deployment:{attempt.deployment}", f"provider:{attempt.provider}")
                    self._add(record, whose, attempt.cost_nano_usd)

    def _add(self, record: CallRecord, whose: tuple[str, ...], nano_usd: int) -> None:
        for name in whose:
            purse = self._purses.get(name)
            if purse is None:
                continue
            purse.turn(self._clock.now_s())
            purse.own += nano_usd
            window = f"{purse.counter}@{purse.window}"
            record.target_windows[window] = record.target_windows.get(window, 0) + nano_usd
            record.lease_holder = self._lease_holder
            if purse.spent >= purse.target.max_nano_usd:
                self._judge(purse)

    # ------------------------------------------------------------------------------------------------------- judging
    async def run(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Ends by cancellation."""
        while True:
            if self.any:
                await self.look()
            await sleep(EVERY_S)

    async def begin(self, at_most_s: float) -> None:
        """Returns when it is known what was spent before, or after `at_most_s`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                while not all(purse.known for purse in self._purses.values()):
                    await self.look()
                    await asyncio.sleep(_FIRST_S)

    async def look(self) -> None:
        """Tells what was spent here, and learns what was spent elsewhere."""
        await asyncio.gather(*(self._look(purse) for purse in self._purses.values()))

    async def _look(self, purse: _Purse) -> None:
        purse.turn(self._clock.now_s())
        own, window = purse.own, purse.window
        claim = Claim(
            counter=purse.counter, kind="money", limit=purse.target.max_nano_usd, window=window, held=own, watch=True
        )
        try:
            grant = await self._lender.claim(claim)
        except Unavailable as error:
            log.debug("what was spent elsewhere is not known", extra={"error": error.message})
        else:
            if grant.unavailable is None and purse.window == window:
                purse.elsewhere = max(0, grant.settled - own)
                purse.known = True
        if self._purses.get(purse.target.counter) is purse:
            self._judge(purse)

    def _judge(self, purse: _Purse) -> None:
        name = purse.target.counter
        if purse.spent < purse.target.max_nano_usd and (purse.known or not self._closed):
            self._health.let_in(name)
            return
        steady_s = self._clock.steady_s()
        if purse.spent < purse.target.max_nano_usd:
            why = f"what {_shown(name)} has spent of its budget is not known at the moment"
            fault = Fault(kind="overloaded", status=503, message=why, body_sent=False)
            self._health.shut_out(name, Blocked(inf, "budget", fault))
            return
        per = f" per {purse.target.per}" if purse.target.per else ""
        most = f"{usd_text(purse.target.max_nano_usd)} USD{per}"
        why = f"the budget of {_shown(name)} is spent ({usd_text(purse.spent)} of {most})"
        fault = Fault(kind="quota", status=429, message=why, code="budget_exceeded", body_sent=False)
        until_s = steady_s + purse.ends_s - self._clock.now_s() if purse.ends_s < inf else inf
        self._health.shut_out(name, Blocked(until_s, "budget", fault))


def _targets(snapshot: Snapshot) -> Iterator[TargetBudget]:
    yield from snapshot.provider_budgets.values()
    for model in (*snapshot.models.values(), *snapshot.wildcards):
        for deployment in model.deployments:
            if deployment.budget is not None:
                yield deployment.budget


def _shown(counter: str) -> str:
    kind, _, name = counter.partition(":")
    return f"{kind} `{name}`"
