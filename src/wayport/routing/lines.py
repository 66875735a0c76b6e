"""Calls that wait for a place, where every deployment that could serve them has as many calls as it takes: one line for
each model, and within it for each choice of its deployments (region, tags, a client's own credential).

What must stay true: nobody is passed over but for a more urgent call; a wait ends, by its turn, by its time or with its
client; who leaves, for whatever reason, lets the next one look. One key cannot keep a full line for itself: its last place
goes to a key that has fewer; who has used up its limits takes none.
"""

import asyncio
from bisect import insort
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from math import inf

from msgspec.structs import replace

from wayport.core.clock import Clock
from wayport.core.errors import RateLimited
from wayport.core.record import Decision
from wayport.routing.choice import Line
from wayport.routing.plan import Plan, Step
from wayport.routing.refusals import FULL


class _Place:
    __slots__ = ("event", "lost", "number", "of", "priority")

    def __init__(self, priority: int, number: int, of: str | None) -> None:
        self.of = of
        self.lost = False
        """given to somebody who had fewer"""
        self.priority = priority
        self.number = number
        self.event = asyncio.Event()

    def __lt__(self, other: "_Place") -> bool:
        return (self.priority, self.number) < (other.priority, other.number)


class Lines:
    def __init__(self) -> None:
        self._lines: dict[Line, list[_Place]] = {}
        self._number = 0

    @property
    def waiting(self) -> Mapping[Line, object]:
        """Those that somebody stands in: whoever comes stands behind."""
        return self._lines

    @property
    def count(self) -> int:
        return sum(map(len, self._lines.values()))

    def freed(self) -> None:
        """There may be a place: those who stand first look."""
        for line in self._lines.values():
            line[0].event.set()

    async def turn_of(
        self,
        plan: Plan,
        refused: RateLimited,
        clock: Clock,
        *,
        of: str | None = None,
        admit: Callable[[], Awaitable[None] | None] = lambda: None,
    ) -> Step:
        """The first step of a call that was refused, when it is its turn. Raises the refusal that it comes to.

        `of`: whose key asks. `admit`: asked before it takes a place; it raises where the caller's limits are used up.
        """
        if refused.code != FULL or plan.patience_s <= 0:
            raise refused
        name, where, rules = plan.found.name, plan.line, plan.queue
        if (line := self._lines.get(where)) is not None and len(line) >= rules.length and not _givers(line, of):
            raise _no_room(name, len(line), refused)
        if (pending := admit()) is not None:
            await pending
        line = self._lines.get(where, [])
        if len(line) >= rules.length and not _made_room(line, of):
            raise _no_room(name, len(line), refused)
        self._number += 1
        place = _Place(plan.wishes.priority or rules.priority, self._number, of)
        self._lines[where] = line
        insort(line, place)
        try:
            return await self._wait(plan, refused, clock, place, line)
        finally:
            if not place.lost:
                line.remove(place)
                if line:
                    line[0].event.set()
                else:
                    del self._lines[where]

    async def _wait(self, plan: Plan, refused: RateLimited, clock: Clock, place: _Place, line: list[_Place]) -> Step:
        name = plan.found.name
        since_s = clock.steady_s()
        until_s = min(since_s + plan.patience_s, inf if plan.until_s is None else plan.until_s)
        while True:
            if place.lost:
                raise _no_room(name, plan.queue.length, refused)
            now_s = clock.steady_s()
            again_s = inf
            if line[0] is place:
                plan.start_over()
                try:
                    step = plan.first(now_s, turn=True)
                except RateLimited as error:
                    if error.code != FULL:
                        raise
                    refused = error
                    again_s = error.retry_after_s or inf
                else:
                    waited_s = now_s - since_s
                    plan.decisions.insert(0, Decision(model=name, reason="queue", waited_ms=waited_s * 1000))
                    return replace(step, queued_s=waited_s)
            left_s = until_s - now_s
            if left_s <= 0:
                waited = f"; this one has waited {now_s - since_s:.1f} s"
                raise RateLimited(
                    refused.message.rstrip(".") + waited + ".", code=FULL, retry_after_s=refused.retry_after_s
                )
            place.event.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left_s, again_s)):
                    await place.event.wait()


def _givers(line: list[_Place], of: str | None) -> set[str | None]:
    """The keys that have most places, if they could give one up to this key."""
    counts = Counter(place.of for place in line)
    most = max(counts.values(), default=0)
    return {who for who, places in counts.items() if places == most} if most >= counts[of] + 2 else set()


def _made_room(line: list[_Place], of: str | None) -> bool:
    """Whether a key that has most places could give up its last one to this key, and did."""
    givers = _givers(line, of)
    if not givers:
        return False
    number = next(n for n in range(len(line) - 1, -1, -1) if line[n].of in givers)
    place = line.pop(number)
    place.lost = True
    place.event.set()
    return True


def _no_room(name: str, waiting: int, refused: RateLimited) -> RateLimited:
    return RateLimited(
        f"Every deployment of `{name}` has as many calls as it takes, and {waiting} wait already.",
        code=FULL,
        retry_after_s=refused.retry_after_s,
    )
