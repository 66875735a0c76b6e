"""Leases of deployments' `max_parallel`: what one worker may send there at a time, of what all workers and nodes may.

What must stay true: never more is in flight than is leased, but where nobody answers who keeps count and the operator lets
it go on uncounted; a call waits for an answer only where its worker has no slot left.
"""

import asyncio
from collections.abc import Awaitable, Callable
from weakref import WeakValueDictionary

from wayport.access.gauges import Lender
from wayport.core.clock import Clock
from wayport.core.errors import Unavailable
from wayport.core.lease import Grant
from wayport.core.tasks import Tasks
from wayport.routing.lines import Lines
from wayport.routing.slots import Slots
from wayport.routing.snapshot import OWN_MARK, Deployment

_TICK_S = 0.25
_AWAY_S = 1.0
"""how long a lender that did not answer is not asked again, so that not every call waits for it"""
_PATIENCE_S = 1.0
"""how long we stand in line at the lender before we say again that we do"""
_AT_ONCE_S = 0.005
"""how long a call waits for what lies idle elsewhere"""
_TAKEN_S = 0.05
_PAUSE_S = 0.02
"""between one time that we stood in line in vain and the next"""
_SLICES = 4
"""a claim asks for such a part of the limit, and is given less where that would leave too little for others"""


class DeploymentSlots:
    """`lines`: the calls that wait. `closed`: who cannot be counted does not go."""

    def __init__(self, lender: Lender, lines: Lines, *, clock: Clock, tasks: Tasks, closed: bool = False) -> None:
        self._lender = lender
        self._clock = clock
        self._tasks = tasks
        self._lines = lines
        self._closed = closed
        self._known: WeakValueDictionary[str, Slots] = WeakValueDictionary()
        self._active: dict[str, Slots] = {}
        """those that hold or claim something"""
        self._away_until_s = 0.0

    def of(self, deployment: Deployment) -> Slots | None:
        """What all calls of this worker to this deployment go by; None: it is not shared."""
        limit = deployment.max_parallel
        if limit is None or OWN_MARK in deployment.id:
            return None
        counter = f"deployment:{deployment.id}|slots"
        slots = self._known.get(counter)
        if slots is None:
            slots = self._known[counter] = Slots(counter, limit, self)
        elif limit < slots.limit:
            slots.lower(limit)
            self.came_back(slots)
        slots.limit = limit
        return slots

    # ------------------------------------------------------------------------------------------------------- leasing
    async def more(self, slots: Slots) -> bool:
        while slots.full(sure=True):
            if slots.full(sure=False):
                return False
            if self._away:
                if self._closed:
                    slots.wish()
                    return False
                slots.take_uncounted()
                self._active[slots.counter] = slots
                return True
            slots.waiting += 1
            try:
                await self._claimed(slots)
            finally:
                slots.waiting -= 1
        return True

    async def _claimed(self, slots: Slots) -> None:
        """Of several calls that need a slot one claims for all of them."""
        if slots.claiming is None:
            # A task of its own: what is granted must reach us whatever becomes of this call.
            slots.claiming = self._tasks.start(self._claim(slots), name="slots")
        # Unlike a shield this leaves no exception unheard.
        await asyncio.wait([slots.claiming])

    async def _claim(self, slots: Slots) -> None:
        try:
            grant = await self._ask(slots, want=max(slots.waiting, slots.limit // _SLICES), patience_s=_AT_ONCE_S)
        finally:
            slots.claiming = None
        if grant is not None and not grant.granted:
            slots.wish()

    def wish(self, slots: Slots) -> None:
        slots.none_left = True
        self._tasks.start(self._stand_in_line(slots), name="slots")

    async def _stand_in_line(self, slots: Slots) -> None:
        try:
            grant = None if self._away else await self._ask(slots, want=1, patience_s=_PATIENCE_S)
            if grant is None and not self._closed:
                slots.take_uncounted()
            elif grant is None:
                await asyncio.sleep(_AWAY_S)
            elif not grant.granted:
                await asyncio.sleep(_PAUSE_S)
            elif self.awaited:
                slots.settled_s = self._clock.steady_s() + _TAKEN_S
            elif slots.wanted or slots.owed:
                # Others stand in line, too, and nobody here waits any more.
                slots.give_back()
                self.came_back(slots)
        finally:
            slots.none_left = False
        # Those who still find none say so.
        self._lines.freed()

    async def _ask(self, slots: Slots, *, want: int, patience_s: float) -> Grant | None:
        """None: nobody answers who keeps count."""
        self._active[slots.counter] = slots
        slots.settle_uncounted()
        try:
            grant = await self._lender.claim(slots.claim(need=1, want=want, patience_s=patience_s))
        except Unavailable:
            # Whether it was granted nobody knows: what we state next is all we have.
            slots.seen = -1
            slots.unsure = True
        else:
            if grant.unavailable is None:
                slots.granted(grant)
                return grant
        self._away_until_s = self._clock.steady_s() + _AWAY_S
        return None

    @property
    def _away(self) -> bool:
        return self._clock.steady_s() < self._away_until_s

    # ---------------------------------------------------------------------------------------------------- giving back
    @property
    def awaited(self) -> bool:
        return bool(self._lines.waiting)

    def came_back(self, slots: Slots) -> None:
        self._lender.state(slots.claim())

    def recall(self, counter: str, *, next_one: bool = False) -> bool:
        """Others need it: what is free goes back, or the next that nobody here waits for; `next_one`: one goes back as
        soon as one is free. False: none of ours.
        """
        slots = self._active.get(counter)
        if slots is None:
            return False
        if self._spoken_for(slots):
            slots.want(one=next_one)
        elif next_one:
            slots.owe(1)
        else:
            slots.give_back()
        self.came_back(slots)
        return True

    def _spoken_for(self, slots: Slots) -> bool:
        """Whether what is free is for calls that have waited for it and are about to take it."""
        return slots.waiting > 0 or self.awaited or self._clock.steady_s() < slots.settled_s

    def register(self) -> None:
        """To a lender that knows nothing of us (any more): what we have of everything."""
        self._away_until_s = 0.0
        for slots in self._active.values():
            slots.seen = -1
            slots.settle_uncounted()
            self.came_back(slots)

    async def run(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Gives back what lies idle. Ends by cancellation."""
        while True:
            await sleep(_TICK_S)
            self.tick()

    def tick(self) -> None:
        for counter, slots in list(self._active.items()):
            if slots.idle:
                del self._active[counter]
            elif slots.claiming is not None or slots.none_left:
                continue
            elif slots.unsure or (slots.free > 0 and self._is_idle(slots)):
                if self._is_idle(slots):
                    slots.give_back()
                slots.unsure = False
                self.came_back(slots)
            slots.kept = max(0, slots.kept - 1)

    def _is_idle(self, slots: Slots) -> bool:
        """Whether what is free goes back: nobody has used it for long, or others need it more."""
        return not slots.kept or ((slots.wanted or slots.owed > 0) and not self._spoken_for(slots))
