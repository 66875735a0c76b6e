"""A worker's part of a deployment's `max_parallel`, where several workers or nodes share it. No I/O: whoever leases is
told what is wanted and what comes back.

What must stay true: a call is taken only where it fits what is leased, and each that is taken is ended; what is leased
covers the calls in flight at any moment.
"""

import asyncio
from typing import Protocol

from wayport.core.lease import Claim, Grant

KEPT_TICKS = 20
"""what is free stays ours for so long after the last call"""


class Leases(Protocol):
    """Whoever leases for all deployments of a worker."""

    @property
    def awaited(self) -> bool:
        """Whether calls wait here for a place."""
        ...

    async def more(self, slots: "Slots") -> bool:
        """Leases for one more call; True: it fits now. Between that and `take` nothing may be awaited."""
        ...

    def wish(self, slots: "Slots") -> None:
        """Stands in line for a slot; nobody waits for it here."""
        ...

    def came_back(self, slots: "Slots") -> None:
        """A slot is not ours any more."""
        ...


class Slots:
    """Of one deployment."""

    __slots__ = (
        "__weakref__", "_leases", "busy", "claiming", "counter", "kept", "leased", "limit", "none_left", "owed", "seen",
        "settled_s", "uncounted", "unsure", "waiting", "wanted",
    )  # fmt: skip

    def __init__(self, counter: str, limit: int, leases: Leases) -> None:
        self._leases = leases
        self.counter = counter
        self.limit = limit
        self.leased = 0
        self.busy = 0
        """of them: calls in flight"""
        self.owed = 0
        """of the busy ones: go back when they are free, others wait for them"""
        self.settled_s = 0.0
        """until then what was granted last may be on its way to a call that waited for it"""
        self.wanted = False
        """the next that is free and nobody here waits for goes back"""
        self.uncounted = 0
        """of the leased ones: taken while nobody answered who keeps count"""
        self.none_left = False
        """we stand in line: asking again is of no use before we are told"""
        self.claiming: asyncio.Task[None] | None = None
        self.waiting = 0
        """calls that wait for the answer to a claim"""
        self.kept = 0
        """ticks until what is free counts as idle"""
        self.seen = -1
        self.unsure = False
        """whether we were granted something nobody knows: it is to be said what we have"""

    def full(self, *, sure: bool) -> bool:
        """Whether no call may go there now. `sure`: what may be leased on demand does not count."""
        return self.busy >= self.limit or (self.busy >= self.leased and (sure or self.none_left))

    async def more(self) -> bool:
        """As `full(sure=True)` says it does not fit: leases for one more; True: it fits now."""
        return await self._leases.more(self)

    def wish(self) -> None:
        """Somebody waits for a slot here."""
        if self.leased <= self.busy < self.limit and not self.none_left:
            self._leases.wish(self)

    def take(self) -> None:
        self.busy += 1
        self.kept = KEPT_TICKS

    def end(self) -> None:
        self.busy -= 1
        self.kept = KEPT_TICKS
        if self.owed > 0:
            self.owed -= 1
            self._drop(1)
            self._leases.came_back(self)
        elif self.wanted and not self._leases.awaited:
            self.give_back()
            self._leases.came_back(self)

    # ------------------------------------------------------------------------------------------------------- leasing
    @property
    def free(self) -> int:
        return self.leased - self.busy

    @property
    def idle(self) -> bool:
        """Nothing is held, and nobody is being asked."""
        return not (self.leased or self.claiming or self.none_left or self.unsure)

    def claim(self, *, need: int = 0, want: int = 0, patience_s: float = 0.0) -> Claim:
        # Said once; from then on the lender counts its grants to us anew.
        seen, self.seen = self.seen, max(self.seen, 0)
        return Claim(
            counter=self.counter, kind="slots", limit=self.limit, held=self.leased, busy=self.busy, free=self.free,
            need=need, want=want, seen=seen, patience_s=patience_s,
        )  # fmt: skip

    def granted(self, grant: Grant) -> None:
        self.leased += grant.granted
        self.seen = grant.number
        self.kept = KEPT_TICKS

    def take_uncounted(self) -> None:
        """One more than is leased, as nobody answers who keeps count."""
        self.leased += 1
        self.uncounted += 1

    def give_back(self) -> None:
        """All that is free goes back; if nothing is, what will be next."""
        self.wanted = self.free == 0
        self._drop(self.free)

    def want(self, *, one: bool) -> None:
        """Others wait for a slot, but what is free here is for calls that are about to take it. `one`: the next that
        comes free goes back in any case, else only if nobody waits here.
        """
        if one:
            # What was granted and is on its way to us may be asked for already.
            self.owed = min(self.owed + 1, max(self.leased, 1))
        else:
            self.wanted = True

    def owe(self, count: int) -> None:
        """So many are to go back, those that are free at once and the others when they are."""
        now = min(count, self.free)
        self._drop(now)
        self.owed = min(self.owed + count - now, max(self.busy, 1))

    def lower(self, limit: int) -> None:
        """The limit was lowered: what is free goes back, and what is in use when it is free."""
        self.limit = limit
        self.owe(self.leased)

    def settle_uncounted(self) -> None:
        """Somebody keeps count again: what nobody had counted is not ours."""
        count, self.uncounted = self.uncounted, 0
        self.owe(count)

    def _drop(self, count: int) -> None:
        self.leased -= count
        if count and not self.leased:
            self.owed = 0
        self.uncounted = max(0, self.uncounted - count)
