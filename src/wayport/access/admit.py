"""Admission and charge: a call takes of every limit that binds it before it begins, and gives back what it did not use.

Where this worker has leased enough, neither waits for anything. Otherwise `admit` leases more, waits for other calls to
settle (money only, `budget_wait_s`), has the call made smaller to fit what is left, or refuses it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal

from msgspec import Struct

from wayport.access import refusals
from wayport.access.gauges import BUSY_TICKS, Account, Everybody, Gauge, Gauges, Lender
from wayport.access.principal import Holder, Principal
from wayport.access.refusals import Compat
from wayport.core.clock import Clock
from wayport.core.errors import Unavailable
from wayport.core.lease import Grant
from wayport.core.tasks import Tasks
from wayport.core.usage import Usage

_POLL_S = 0.05
"""how often is asked whether other holders have given something back"""
_EMPTY_S = 0.25
"""how long a limit that was found used up is not asked for again"""
_AWAY_S = 1.0
"""how long a lender that did not answer is not asked again, so that not every call waits for it"""
_SLICE_PERCENT = 10
_TICK_S = 0.25
_TICKS_TO_SWEEP = 240

WhenAway = Literal["closed", "open"]


class Rules(Struct, kw_only=True, frozen=True):
    budget_wait_s: float = 2.0
    budgets_when_away: WhenAway = "closed"
    rates_when_away: WhenAway = "open"
    compat: Compat = "wayport"
    budget_status: int | None = None


class Amounts(Struct, gc=False):
    """What a call is expected to use, or has used."""

    nano_usd: int = 0
    """at most"""
    input_tokens: int = 0
    output_tokens: int = 0


class Reservation(Struct, eq=False):
    """What one call has taken."""

    account: Account
    nano_usd: int
    tokens: list[tuple[Gauge, int]]
    """how many of each of the account's gauges of tokens"""

    def join(self, other: "Reservation") -> None:
        """Settles that one, too. Where both hold money it is as much."""
        self.account = self.account.joined(other.account)
        self.tokens += other.tokens
        self.nano_usd = max(self.nano_usd, other.nano_usd)

    def extend(self, nano_usd: int) -> bool:
        """Reserves so much more: what an attempt that came to nothing may have cost. False: there is no room for it."""
        money = self.account.money
        if any(gauge.free < nano_usd for gauge in money):
            return False
        for gauge in money:
            gauge.free -= nano_usd
            gauge.busy += nano_usd
        self.nano_usd += nano_usd
        return True


Manner = Literal["polite", "next", "modest"]
"""polite: money is not taken before calls that wait for it already; next: this call's turn has come; modest: it is content
with fewer tokens than it expects to use, too, as long as there are any"""

Lower = Callable[[int], int | None]
"""makes the call cost at most so much, and returns how much that is; None: it cannot be made that small"""


class Admission:
    def __init__(self, lender: Lender, *, clock: Clock, tasks: Tasks, rules: Rules) -> None:
        self.gauges = Gauges(clock=clock)
        self.binds_all = False
        """whether there are limits that bind calls of everybody"""
        self._lender = lender
        self._clock = clock
        self.steady_s = clock.steady_s
        self._tasks = tasks
        self._rules = rules

    def bind(self, everybody: Everybody) -> None:
        """What binds whoever calls, from now on; calls in flight settle where they were admitted."""
        self.binds_all = bool(everybody)
        self.gauges.bind(everybody)

    def account(
        self, principal: Principal, asked: str, names: tuple[str, ...], others: tuple[Holder, ...] = ()
    ) -> Account:
        return self.gauges.account(principal, asked, names, others)

    # ------------------------------------------------------------------------------------------------------- taking
    def take(self, account: Account, amounts: Amounts, now_s: float, manner: Manner = "polite") -> Reservation | Gauge:
        """Takes of every gauge, or of none: then the first that has too little is returned."""
        money = amounts.nano_usd
        tokens: list[tuple[Gauge, int]] = []
        # In the order of `account.gauges`, by which `_put_back` knows which of them have given.
        for gauge in account.requests:
            if (free := gauge.free) < 1 or now_s >= gauge.ends_s:
                return _put_back(account, gauge, money, tokens)
            gauge.free = free - 1
        for gauge in account.slots:
            if gauge.free < 1:
                return _put_back(account, gauge, money, tokens)
            gauge.free -= 1
            gauge.busy += 1
        for gauge in account.tokens:
            free = gauge.free
            amount = amounts.input_tokens * gauge.of_input + amounts.output_tokens * gauge.of_output
            if free < amount and manner == "modest":
                # The last of a window is given to whoever comes; what it uses beyond that is debt.
                amount = free
            if free < 1 or free < amount or now_s >= gauge.ends_s:
                return _put_back(account, gauge, money, tokens)
            gauge.free = free - amount
            tokens.append((gauge, amount))
        for gauge in account.money:
            if (
                (free := gauge.free) < money
                or free < 1
                or now_s >= gauge.ends_s
                or (gauge.waiters and manner == "polite")
            ):
                return _put_back(account, gauge, money, tokens)
            gauge.free = free - money
            gauge.busy += money
        for gauge in account.gauges:
            gauge.touched = BUSY_TICKS
        return Reservation(account, money, tokens)

    async def wait(
        self,
        principal: Principal,
        asked: str,
        names: tuple[str, ...],
        *,
        others: tuple[Holder, ...],
        amounts: Amounts,
        lower: Lower,
        beyond: Account | None = None,
    ) -> Reservation:
        """Leases, waits or lowers until the call fits. Raises `RateLimited`, `Unavailable`.

        `beyond`: what the call has taken of already, and takes no more of.
        """
        deadline_s = self.steady_s() + self._rules.budget_wait_s
        manner: Manner = "polite"
        while True:
            account = self.gauges.account(principal, asked, names, others)
            if beyond is not None:
                account = account.beyond(beyond)
            now_s = self.steady_s()
            short = self.take(account, amounts, now_s, manner)
            if isinstance(short, Reservation):
                for gauge in account.money:
                    if gauge.waiters and gauge.free > 0:
                        gauge.wake()
                return short
            if now_s >= short.ends_s:
                self.gauges.renew(account, asked, names)
                continue
            if manner == "polite":
                manner = "next"
                if short.waiters:
                    await self._until_freed(short, deadline_s)
                    continue
            need = max(1, amounts.nano_usd) if short.kind == "money" else 1
            grant = await self._lease(short, need, amounts)
            # One claim asks for all that it expects; then whatever is there must do.
            if short.kind == "tokens" and grant is not None:
                manner = "modest"
            # What was granted may be taken already by calls that waited longer: then there is more to be asked for.
            if grant is not None and not grant.granted and short.free < need:
                await self._refused(short, grant, amounts, lower, deadline_s)

    async def _refused(self, gauge: Gauge, grant: Grant, amounts: Amounts, lower: Lower, deadline_s: float) -> None:
        """Returns when it is worth to try again."""
        rules = self._rules
        if grant.unavailable is not None:
            when = rules.budgets_when_away if gauge.kind == "money" else rules.rates_when_away
            if when == "closed" and self.steady_s() < deadline_s:
                # Whoever keeps count may be starting.
                await self._until_freed(gauge, deadline_s, at_most_s=2 * _POLL_S)
                return
            self._away(gauge, grant.unavailable, amounts)
            return
        now_s = self.steady_s()
        if gauge.kind != "money":
            gauge.empty_until_s = min(now_s + _EMPTY_S, gauge.ends_s) if gauge.kind != "slots" else 0.0
            raise refusals.rate_limited(rules.compat, gauge, self._clock)
        busy = gauge.busy + grant.busy_elsewhere
        left = gauge.free + grant.left
        if grant.settled >= gauge.limit or (busy == 0 and left <= 0):
            gauge.empty_until_s = now_s + _EMPTY_S
            raise refusals.budget_exceeded(rules.compat, gauge, grant.settled, status=rules.budget_status)
        if busy == 0:
            smaller = lower(left)
            if smaller is None or smaller > left:
                raise refusals.budget_too_small(
                    rules.compat, gauge, left=left, needed=amounts.nano_usd, status=rules.budget_status
                )
            amounts.nano_usd = smaller
            return
        if now_s >= deadline_s:
            raise refusals.budget_reserved(rules.compat, gauge, needed=amounts.nano_usd, left=left)
        await self._until_freed(gauge, deadline_s, at_most_s=_POLL_S if grant.busy_elsewhere else 5 * _POLL_S)

    async def _until_freed(self, gauge: Gauge, deadline_s: float, *, at_most_s: float = 5 * _POLL_S) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        gauge.waiters.append(waiter)
        timeout_s = max(0.001, min(at_most_s, deadline_s - self.steady_s()))
        try:
            async with asyncio.timeout(timeout_s):
                await waiter
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                # The place that we were told of is for the next one.
                gauge.wake()
            raise
        finally:
            if not waiter.done():
                waiter.cancel()

    def _away(self, gauge: Gauge, why: str, amounts: Amounts) -> None:
        rules = self._rules
        when = rules.budgets_when_away if gauge.kind == "money" else rules.rates_when_away
        if when == "closed":
            raise Unavailable(
                f"Limits cannot be checked at the moment: {why}", code="limits_unavailable", retry_after_s=1
            )
        # Uncounted for now; it is stated once somebody listens.
        need = max(1, amounts.nano_usd) if gauge.kind == "money" else 1
        gauge.held += max(0, need - gauge.free)
        gauge.free = max(gauge.free, need)

    # ------------------------------------------------------------------------------------------------------ leasing
    async def _lease(self, gauge: Gauge, need: int, amounts: Amounts) -> Grant | None:
        """Claims more for a gauge; of several calls that need it one claims and the others wait, then look again."""
        if gauge.claiming is not None:
            gauge.pending += 1
            # Unlike a shield this leaves no exception unheard.
            await asyncio.wait([gauge.claiming])
            return None
        if self.steady_s() < gauge.empty_until_s and gauge.busy == 0:
            return Grant(counter=gauge.counter, left=0, settled=gauge.settled)
        gauge.settle_debt()
        tokens = amounts.input_tokens * gauge.of_input + amounts.output_tokens * gauge.of_output
        each = max(1, tokens if gauge.kind == "tokens" else need)
        want = max(each * (gauge.pending + 1), gauge.limit * _SLICE_PERCENT // 100)
        gauge.pending = 0
        if self.steady_s() < gauge.away_until_s:
            return Grant(counter=gauge.counter, unavailable="nobody answers who keeps count")
        # A task of its own: what is granted must reach the gauge whatever becomes of this call.
        gauge.claiming = self._tasks.start(self._claim(gauge, max(1, need - gauge.free), want), name="lease")
        return await asyncio.shield(gauge.claiming)

    async def _claim(self, gauge: Gauge, need: int, want: int) -> Grant:
        try:
            grant = await self._lender.claim(gauge.claim(need=need, want=want))
        except Unavailable as error:
            # Whether it was granted nobody knows: what we state next is all we have.
            gauge.seen = -1
            gauge.away_until_s = self.steady_s() + _AWAY_S
            return Grant(counter=gauge.counter, unavailable=error.message)
        else:
            if grant.unavailable is None:
                gauge.granted(grant, self.steady_s())
            return grant
        finally:
            gauge.claiming = None

    def recall(self, counter: str) -> None:
        """Others need it: what is free here goes back, and what is reserved is told."""
        gauge = self.gauges.get(counter)
        if gauge is not None:
            self._lender.state(gauge.give_back())

    def register(self) -> None:
        """To a lender that knows nothing of us (any more): what we have of everything."""
        now_s = self.steady_s()
        for gauge in self.gauges.all():
            gauge.seen = -1
            ended = now_s >= gauge.ends_s
            if gauge.held and not (ended and gauge.kind != "money"):
                rate = gauge.kind in {"requests", "tokens"}
                self._lender.state(gauge.claim(ends_in_s=gauge.ends_s - now_s if rate else 0.0))

    async def run(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Tells what was spent beyond a lease and gives back what lies idle. Ends by cancellation."""
        ticks = 0
        while True:
            await sleep(_TICK_S)
            ticks += 1
            self.tick()
            if ticks % _TICKS_TO_SWEEP == 0:
                self.gauges.sweep()

    def tick(self) -> None:
        for gauge in self.gauges.all():
            if gauge.claiming is not None:
                continue
            if gauge.lowered:
                self._lender.state(gauge.give_back())
                gauge.lowered = gauge.busy > 0
            elif gauge.free < 0 or (gauge.touched == BUSY_TICKS and gauge.kind == "money"):
                self._lender.state(gauge.claim())
                gauge.settle_debt()
            elif gauge.touched == 0 and gauge.free > 0:
                self._lender.state(gauge.give_back())
            gauge.touched = max(0, gauge.touched - 1)

    # ------------------------------------------------------------------------------------------------------- charge
    def without_money(self, reservation: Reservation) -> None:
        """Gives back what it has of budgets, and keeps the rest."""
        account, reserved = reservation.account, reservation.nano_usd
        for gauge in account.money:
            gauge.busy -= reserved
            gauge.free += reserved
            if gauge.waiters:
                gauge.wake()
        reservation.nano_usd = 0
        reservation.account = account.without_money()

    def settle(self, reservation: Reservation, nano_usd: int, usage: Usage | None, now_s: float) -> None:
        """Gives back what the call did not use. Contains no await."""
        account = reservation.account
        for gauge in account.slots:
            gauge.free += 1
            gauge.busy -= 1
        if reservation.tokens:
            inputs, outputs = (0, 0) if usage is None else (usage.input_tokens, usage.output_tokens)
            for gauge, taken in reservation.tokens:
                used = inputs * gauge.of_input + outputs * gauge.of_output
                if now_s < gauge.ends_s:
                    gauge.free += taken - used
                    gauge.touched = BUSY_TICKS
                elif used > taken and (current := self.gauges.get(gauge.counter)) is not None and current is not gauge:
                    # The window that it belongs to is over: what it used beyond its share is missing in the present one.
                    current.free -= used - taken
        reserved = reservation.nano_usd
        for gauge in account.money:
            gauge.busy -= reserved
            gauge.free += reserved - nano_usd
            gauge.touched = BUSY_TICKS
            if gauge.waiters:
                gauge.wake()


def _put_back(account: Account, short: Gauge, nano_usd: int, tokens: list[tuple[Gauge, int]]) -> Gauge:
    """Undoes what was taken of the gauges before `short`, and returns that one."""
    for gauge in account.gauges:
        if gauge is short:
            break
        match gauge.kind:
            case "tokens":
                gauge.free += tokens.pop(0)[1]
            case "money":
                gauge.free += nano_usd
                gauge.busy -= nano_usd
            case "slots":
                gauge.free += 1
                gauge.busy -= 1
            case "requests":
                gauge.free += 1
    return short
