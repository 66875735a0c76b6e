"""Shares out limits and budgets among the workers of this node; with several nodes, what it shares it has leased itself.

What must stay true: money that a vanished worker held stays spent until its spool is in the database; nothing is granted
of a budget before that is true of everything that lay in the spools at the start.
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

from msgspec import Struct

from wayport.core.clock import Clock
from wayport.core.errors import Unavailable
from wayport.core.lease import Claim, Grant
from wayport.storage.counters import Entry, MemoryCounters, Part, Shared

log = logging.getLogger("wayport.control")

_RECALL_S = 0.05
_RECALL_AGAIN_S = 0.01
_TICK_S = 0.25
_KEEP_SLOTS_S = 10.0
_TICKS_TO_FORGET = 240

_YIELD_S = 0.6
"""how long a node that has given a slot up asks for none: others look every quarter of a second"""
_KEEP_S = 1.0
"""how long a node keeps the only slot that it has, as it is of no use while it changes nodes"""
_OWED_S = 30.0
_LOOK_ABOVE_S = 0.25
"""how often somebody who stands in line for a slot has other nodes asked"""


class Recall(Protocol):
    def __call__(self, holder: str, counter: str, /, *, next_one: bool = False) -> bool:
        """Asks a worker for what is free of a counter, or for the next slot that will be; False: it is not there."""
        ...


def _nobody(_holder: str, _counter: str, /, *, next_one: bool = False) -> bool:
    del next_one
    return False


class _InLine(Struct, eq=False):
    """A claim of one slot that waits."""

    holder: str
    part: Part
    claim: Claim
    granted: asyncio.Future[int]


class Spent(Protocol):
    """What the database knows of a budget's window."""

    async def load(self, counter: str, window_s: int) -> tuple[dict[str, int], dict[str, int]]:
        """By our own writers, and by everybody else. Raises `Unavailable`."""
        ...

    async def of_writer(self, counter: str, window_s: int, writer: str) -> int: ...


class Lessor:
    def __init__(
        self,
        *,
        clock: Clock,
        spent: Spent | None = None,
        shared: Shared | None = None,
        node: str = "",
        recall: Recall = _nobody,
        ready: Callable[[], Awaitable[None]] | None = None,
        ready_s: float = 1.5,
        registered: asyncio.Event | None = None,
        ask_others: Callable[[str, int | None], None] = lambda _entry, _held: None,
    ) -> None:
        """`ready` returns when budgets may be granted; a claim waits for it `ready_s` at most. `registered`: every
        worker that lives has said what it holds; slots are not granted before. `ask_others` tells other
        nodes that we need what they have lying idle of `counter@window`; where it is slots also how many we have, as who
        has more owes us the next.
        """
        self.counters = MemoryCounters(clock=clock)
        self._clock = clock
        self._spent = spent
        self._shared = shared
        self._node = node
        self._recall = recall
        self._ready = ready
        self._ready_s = ready_s
        self._registered = registered
        self._ask_others = ask_others
        self._locks: dict[str, asyncio.Lock] = {}
        self._opening: dict[tuple[str, int], asyncio.Future[None]] = {}
        self._others: dict[tuple[str, int], dict[str, int]] = {}
        self._lines: dict[str, deque[_InLine]] = {}
        self._owed_above: dict[str, asyncio.Future[None]] = {}
        """the next slot that comes back is for other nodes"""
        self._yields_until_s: dict[str, float] = {}
        """until then other nodes go first"""
        self._keeps_until_s: dict[str, float] = {}
        """until then the first slot that we have had of other nodes stays here"""
        self._replies: dict[str, tuple[set[str], asyncio.Event]] = {}
        self._recalled_s: dict[str, float] = {}
        self._upper: dict[str, Grant] = {}
        self._stated: dict[str, tuple[int, int, int]] = {}
        self.shared_up = shared is not None
        """whether the shared store answered last"""

    def workers(self, count: int) -> None:
        """So many may claim: the more, the smaller the slices."""
        self.counters.holders = max(1, count)

    def above(self, counter: str) -> Grant | None:
        """What the shared store last said of a limit."""
        return self._upper.get(counter)

    # ------------------------------------------------------------------------------------------------------- claims
    async def claim(self, holder: str, claim: Claim) -> Grant:
        """Whatever a worker says of one counter. Never raises."""
        try:
            entry = await self._entry(claim)
        except Unavailable as error:
            return Grant(counter=claim.counter, unavailable=error.message)
        self._stated_by(entry, holder, claim)
        amount = self.counters.grant(entry, holder, claim)
        if amount or claim.need <= 0:
            if claim.watch and self._shared is not None:
                await self._look_above(entry)
            return self._answer(entry, holder, amount)
        async with self._lock(claim.counter):
            grant = await self._search(entry, holder, claim)
        if grant.granted or grant.unavailable is not None or not claim.patience_s:
            return grant
        return await self._stand_in_line(entry, holder, claim)

    def state(self, holder: str, claim: Claim) -> bool:
        """A statement that nobody needs an answer to, if it can be taken at once."""
        entry = self.counters.find(claim.counter, claim.window if claim.kind == "money" else 0)
        if claim.need > 0 or entry is None or self._clock.steady_s() >= entry.ends_s:
            return False
        if claim.limit:
            self._stated_by(entry, holder, claim)
        else:
            self._replied(holder, claim.counter)
        return True

    def _stated_by(self, entry: Entry, holder: str, claim: Claim) -> None:
        self.counters.state(entry, holder, claim)
        entry.touched = True
        self._replied(holder, claim.counter)
        if entry.kind == "slots":
            self._came_back(entry)

    async def _search(self, entry: Entry, holder: str, claim: Claim) -> Grant:
        """Not enough is here: what the shared store has, then what other workers have lying idle."""
        unavailable = None
        if self._shared is not None:
            try:
                entry = await self._lease_more(entry, holder, claim)
            except Unavailable as error:
                unavailable = error.message
        amount = self.counters.grant(entry, holder, claim)
        if not amount and await self._recall_from_others(entry, holder):
            amount = self.counters.grant(entry, holder, claim)
        grant = self._answer(entry, holder, amount)
        upper = self._upper.get(entry.counter)
        if not amount and upper is not None and upper.busy_elsewhere > 0:
            held = entry.total if entry.kind == "slots" and claim.patience_s else None
            self._ask_others(f"{entry.counter}@{entry.window if entry.kind == 'money' else 0}", held)
        if unavailable is not None and not amount:
            return Grant(counter=claim.counter, unavailable=unavailable)
        return grant

    def _answer(self, entry: Entry, holder: str, amount: int) -> Grant:
        grant = self.counters.answer(entry, holder, amount)
        upper = self._upper.get(entry.counter)
        if upper is None or self._shared is None:
            return grant
        return Grant(
            counter=grant.counter, window=grant.window, ends_in_s=grant.ends_in_s, granted=amount, number=grant.number,
            left=grant.left + upper.left, settled=max(grant.settled, upper.settled),
            busy_elsewhere=grant.busy_elsewhere + upper.busy_elsewhere,
        )  # fmt: skip

    def _lock(self, counter: str) -> asyncio.Lock:
        lock = self._locks.get(counter)
        if lock is None:
            lock = self._locks[counter] = asyncio.Lock()
        return lock

    # -------------------------------------------------------------------------------------- standing in line for slots
    async def _stand_in_line(self, entry: Entry, holder: str, claim: Claim) -> Grant:
        """Until somebody gives a slot back, first come, first served; or until the claim's patience ends."""
        part = entry.parts.get(holder)
        until_s = self._clock.steady_s() + claim.patience_s
        amount = 0
        self._want(entry, holder)
        while not amount and part is not None and entry.parts.get(holder) is part:
            left_s = until_s - self._clock.steady_s()
            if left_s <= 0:
                break
            line = self._lines.setdefault(entry.counter, deque())
            place = _InLine(holder, part, claim, asyncio.get_running_loop().create_future())
            line.append(place)
            try:
                async with asyncio.timeout(left_s if self._shared is None else min(left_s, _LOOK_ABOVE_S)):
                    amount = await asyncio.shield(place.granted)
            except TimeoutError:
                amount = place.granted.result() if place.granted.done() else 0
            finally:
                if place in line:
                    line.remove(place)
                if not line and self._lines.get(entry.counter) is line:
                    del self._lines[entry.counter]
            if not amount and self._shared is not None and self._clock.steady_s() < until_s:
                async with self._lock(entry.counter):
                    amount = (await self._search(entry, holder, claim)).granted
        return self._answer(entry, holder, amount)

    def _want(self, entry: Entry, holder: str) -> None:
        """Tells who has slots that they are wanted: what is free, or the next that nobody waits for there. Whoever has
        most gives up the next in any case, if that makes it more even: nobody keeps all by always having a call that waits.
        """
        mine = entry.parts.get(holder)
        others = sorted((part.held, name) for name, part in entry.parts.items() if name != holder and part.held)
        if mine is None or not others:
            return
        uneven = others[-1][0] > (mine.held + 1 if mine.held else 0)
        for _, name in others:
            self._recall(name, entry.counter, next_one=uneven and name == others[-1][1])

    def _came_back(self, entry: Entry) -> None:
        """Gives what is free to those who stand in line for it."""
        owed = self._owed_above.get(entry.counter)
        if owed is not None and not owed.done() and entry.capacity is not None and entry.capacity > entry.total:
            entry.capacity -= 1
            self._yields_until_s[entry.counter] = self._clock.steady_s() + _YIELD_S
            owed.set_result(None)
        line = self._lines.get(entry.counter)
        while line and entry.available > 0:
            place = line.popleft()
            if not place.granted.done() and entry.parts.get(place.holder) is place.part:
                place.granted.set_result(self.counters.grant(entry, place.holder, place.claim))
                if line:
                    self._want(entry, line[0].holder)

    # --------------------------------------------------------------------------------------------- windows of money
    async def _entry(self, claim: Claim) -> Entry:
        if claim.kind == "slots" and claim.need > 0 and self._registered is not None:
            await self._within(self._registered.wait(), "workers have not said yet what they hold")
        if claim.kind != "money":
            return self.counters.open(claim, capacity=None if self._shared is None else 0)[0]
        key = (claim.counter, claim.window)
        while self.counters.find(*key) is None:
            opening = self._opening.get(key)
            if opening is None:
                opening = self._opening[key] = asyncio.ensure_future(self._open(claim))
                opening.add_done_callback(lambda _: self._opening.pop(key, None))
            await asyncio.shield(opening)
        return self.counters.open(claim)[0]

    async def _within(self, fact: Awaitable[object], otherwise: str) -> None:
        """Raises `Unavailable`."""
        try:
            async with asyncio.timeout(self._ready_s):
                await fact
        except TimeoutError:
            raise Unavailable(otherwise) from None

    async def _open(self, claim: Claim) -> None:
        """Begins with what was spent before. Raises `Unavailable`."""
        own: dict[str, int] = {}
        others: dict[str, int] = {}
        if self._ready is not None:
            await self._within(self._ready(), "what was spent before is still being read")
        if self._spent is not None:
            own, others = await self._spent.load(claim.counter, claim.window)
        if self._shared is None:
            self.counters.open(claim, spent={**{f"node {name}": n for name, n in others.items()}, **own})
            return
        self._others[claim.counter, claim.window] = others
        entry, _ = self.counters.open(claim, spent=own, capacity=0)
        entry.capacity = entry.total

    # ------------------------------------------------------------------------------------------------ other workers
    async def _recall_from_others(self, entry: Entry, holder: str) -> bool:
        """Asks the other workers to give back what they do not use; True: some have answered."""
        now_s = self._clock.steady_s()
        if now_s < self._recalled_s.get(entry.counter, -math.inf) + _RECALL_AGAIN_S:
            return False
        having = [name for name, part in entry.parts.items() if name != holder and (part.free > 0 or part.busy > 0)]
        told: set[str] = set()
        event = asyncio.Event()
        self._replies[entry.counter] = (told, event)
        told |= {name for name in having if self._recall(name, entry.counter)}
        try:
            if not told:
                return False
            async with asyncio.timeout(_RECALL_S):
                await event.wait()
        except TimeoutError:
            pass
        finally:
            self._replies.pop(entry.counter, None)
            self._recalled_s[entry.counter] = self._clock.steady_s()
        return True

    def _replied(self, holder: str, counter: str) -> None:
        asked = self._replies.get(counter)
        if asked is not None:
            asked[0].discard(holder)
            if not asked[0]:
                asked[1].set()

    def gone(self, holder: str) -> None:
        """A worker has ended: its calls with it, and so its slots are free. Its money is not."""
        for entry in self.counters.drop_slots(holder):
            entry.touched = True
            self._came_back(entry)
        for counter in list(self._replies):
            self._replied(holder, counter)

    async def drained(self, holder: str) -> None:
        """All that a dead worker has spent is in the database: no more than that is gone."""
        if self._spent is None:
            return
        for entry in self.counters.entries():
            if entry.kind == "money" and holder in entry.parts:
                spent = await self._spent.of_writer(entry.counter, entry.window, holder)
                self.counters.settle(holder, entry.counter, entry.window, spent)
                entry.touched = True

    # ------------------------------------------------------------------------------------------------- several nodes
    async def _lease_more(self, entry: Entry, holder: str, claim: Claim) -> Entry:
        """Makes the node's share of a limit larger. Raises `Unavailable`."""
        missing = claim.need - entry.available
        now_s = self._clock.steady_s()
        if missing <= 0 or now_s < self._yields_until_s.get(entry.counter, -math.inf):
            return entry
        if not entry.total:
            self._keeps_until_s[entry.counter] = now_s + _KEEP_S
        grant = await self._claim_above(entry, need=missing, want=max(missing, 2 * claim.want))
        if entry.kind in {"requests", "tokens"} and grant.window != entry.upper:
            if entry.upper and entry.total > 0:
                # Another node saw the window end before we did.
                entry.ends_s = -math.inf
                entry, _ = self.counters.open(claim, capacity=0)
                self.counters.state(entry, holder, claim)
            entry.upper = grant.window
            entry.capacity = 0
        if grant.ends_in_s is not None:
            entry.ends_s = self._clock.steady_s() + grant.ends_in_s
        entry.capacity = max(entry.capacity or 0, entry.total) + grant.granted
        return entry

    async def _look_above(self, entry: Entry) -> None:
        """What others have used is known as of now; or as it last was, where that cannot be asked."""
        async with self._lock(entry.counter):
            with suppress(Unavailable):
                await self._claim_above(entry)

    async def _claim_above(self, entry: Entry, *, need: int = 0, want: int = 0) -> Grant:
        assert self._shared is not None
        total = entry.total
        held = max(entry.capacity or 0, total)
        busy = sum(part.busy for part in entry.parts.values())
        free = sum(part.free for part in entry.parts.values()) + held - total
        claim = Claim(
            counter=entry.counter, kind=entry.kind, limit=entry.limit, per_s=entry.per_s,
            window=entry.window if entry.kind == "money" else entry.upper,
            held=held, busy=busy, free=free, need=need, want=want,
        )  # fmt: skip
        others = self._others.get((entry.counter, entry.window), {})
        grant = await self._shared.claim(self._node, claim, spent=others)
        self.shared_up = grant.unavailable is None
        if grant.unavailable is not None:
            raise Unavailable(grant.unavailable)
        self._upper[entry.counter] = grant
        self._stated[entry.counter] = (held, busy, free)
        return grant

    async def run(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Gives back to the shared store what lies idle, and tells it what is reserved. Ends by cancellation."""
        ticks = 0
        while True:
            await sleep(_TICK_S)
            ticks += 1
            if ticks % _TICKS_TO_FORGET == 0:
                self._forget()
            if self._shared is not None:
                try:
                    await self.tell(slots=ticks % int(_KEEP_SLOTS_S / _TICK_S) == 0)
                except Unavailable as error:
                    log.warning("the shared counters are away", extra={"error": error.message})

    async def give_up(self, named: str, *, held: int | None = None) -> None:
        """Another node needs what we have lying idle of `counter@window`; if it is slots, and it has `held`, perhaps also
        the next that is free here. Raises `Unavailable`.
        """
        counter, _, window = named.rpartition("@")
        entry = self.counters.find(counter, int(window))
        if entry is None:
            return
        # Whoever holds the lock needs what is idle as much; that others are to have a turn is another matter.
        if not self._lock(counter).locked():
            async with self._lock(counter):
                await self._recall_from_others(entry, "")
                entry.capacity = max(0, entry.total)
                await self._claim_above(entry)
        if held is not None and entry.total > (held + 1 if held else 0):
            await self._give_up_next(entry)

    async def _give_up_next(self, entry: Entry) -> None:
        """The next slot that is free here goes to other nodes. Raises `Unavailable`."""
        counter = entry.counter
        if counter in self._owed_above or self._clock.steady_s() < self._keeps_until_s.get(counter, -math.inf):
            return
        owed = self._owed_above[counter] = asyncio.get_running_loop().create_future()
        _, name = max((part.held, name) for name, part in entry.parts.items())
        try:
            async with asyncio.timeout(_OWED_S):
                if not self._recall(name, counter, next_one=True):
                    return
                await owed
        except TimeoutError:
            return
        finally:
            del self._owed_above[counter]
        async with self._lock(counter):
            await self._claim_above(entry)

    async def restate(self) -> None:
        """Tells the shared store all that we hold: it has forgotten. Raises `Unavailable`."""
        self._stated.clear()
        for entry in self.counters.entries():
            entry.touched = True
        await self.tell(slots=True)

    async def take_over(self, counter: str, window: int, spent: dict[str, int]) -> None:
        """A budget of which the store believes that we hold something, from before we started: only this is spent."""
        if self._shared is None or self.counters.find(counter, window) is not None:
            return
        held = sum(spent.values())
        claim = Claim(counter=counter, kind="money", limit=0, window=window, held=held)
        await self._shared.claim(self._node, claim, spent={})

    async def tell(self, *, slots: bool = False) -> None:
        """Raises `Unavailable`. `slots`: also those that have not changed, as they expire."""
        now_s = self._clock.steady_s()
        for entry in self.counters.entries():
            if now_s >= entry.ends_s or self._lock(entry.counter).locked():
                continue
            renew = slots and entry.kind == "slots" and entry.total > 0
            if not entry.touched and not renew:
                continue
            async with self._lock(entry.counter):
                # Whatever no worker has leased from us others may have; a claim costs a round trip more then.
                entry.capacity = max(0, entry.total)
                entry.touched = False
                held = max(entry.capacity or 0, entry.total)
                busy = sum(part.busy for part in entry.parts.values())
                free = sum(part.free for part in entry.parts.values()) + held - entry.total
                if renew or self._stated.get(entry.counter) != (held, busy, free):
                    await self._claim_above(entry)

    def _forget(self) -> None:
        self.counters.forget()
        known = {entry.counter for entry in self.counters.entries()}
        for remembered in (self._upper, self._stated, self._recalled_s, self._yields_until_s, self._keeps_until_s):
            for counter in [counter for counter in remembered if counter not in known]:
                del remembered[counter]
        for counter in [c for c, lock in self._locks.items() if c not in known and not lock.locked()]:
            del self._locks[counter]


class InProcess:
    """A lender in the worker's own process: for one process alone, and for tests."""

    def __init__(self, lessor: Lessor, holder: str = "") -> None:
        self._lessor = lessor
        self._holder = holder

    async def claim(self, claim: Claim) -> Grant:
        return await self._lessor.claim(self._holder, claim)

    def state(self, claim: Claim) -> None:
        self._lessor.state(self._holder, claim)
