"""Who holds how much of each limit: the ledger of leases, in memory. The control process keeps one for its workers.

What must stay true: what is granted never makes the sum over all holders exceed the limit; only a holder's own statement,
the end of a window or `drop` makes its part smaller.
"""

import math
from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from wayport.core.clock import Clock
from wayport.core.lease import Claim, Grant, Kind

_SMALL_PERCENT = 5


class Shared(Protocol):
    """A ledger of leases that several nodes use: Redis or PostgreSQL."""

    async def claim(self, holder: str, claim: Claim, *, spent: Mapping[str, int]) -> Grant:
        """`spent`: of money, what the database knows of each holder, for those that have never stated anything.

        Raises `Unavailable`.
        """
        ...


class Part(Struct):
    """What one holder has."""

    held: int = 0
    busy: int = 0
    free: int = 0
    number: int = 0
    """of the last grant"""
    last: int = 0
    """how much that was"""


class Entry(Struct, kw_only=True):
    """One window of one limit."""

    counter: str
    kind: Kind
    limit: int
    window: int
    per_s: int
    ends_s: float
    """steady clock"""
    parts: dict[str, Part]
    carried: int = 0
    """tokens used beyond the limit of the window before"""
    upper: int = 0
    """the number that the ledger above us gave this window"""
    touched: bool = True
    capacity: int | None = None
    """how much of the limit may be granted here; None: all of it. Less where this ledger is itself a holder"""

    @property
    def total(self) -> int:
        return self.carried + sum(part.held for part in self.parts.values())

    @property
    def available(self) -> int:
        most = self.limit if self.capacity is None else min(self.capacity, self.limit)
        return most - self.total


def share(available: int, limit: int, holders: int, need: int, want: int) -> int:
    """How much of what is there one holder gets. Near the end no more than it needs, so that the last of it goes to
    whoever comes, and not to whoever came.
    """
    if available < need:
        return 0
    holders = max(1, holders)
    if available - need < max(2 * holders, limit * _SMALL_PERCENT // 100):
        return need
    return max(need, min(want, available // (2 * holders)))


class MemoryCounters:
    """Not for use by several threads; nothing here waits, so that no two claims mix."""

    def __init__(self, *, clock: Clock, holders: int = 1) -> None:
        self._clock = clock
        self.holders = holders
        """how many may come; decides the size of slices"""
        self._entries: dict[tuple[str, int], Entry] = {}
        # No number is used twice, not even by the next one of us.
        self._last_window = int(clock.now_s() * 1000)

    def find(self, counter: str, window: int = 0) -> Entry | None:
        return self._entries.get((counter, window))

    def entries(self) -> list[Entry]:
        return list(self._entries.values())

    def open(
        self, claim: Claim, *, spent: Mapping[str, int] | None = None, capacity: int | None = None
    ) -> tuple[Entry, bool]:
        """The entry that a claim is about, and whether it is new. `spent`: what a new one begins with, by holder."""
        key = (claim.counter, claim.window if claim.kind == "money" else 0)
        now_s = self._clock.steady_s()
        entry = self._entries.get(key)
        carried = 0
        if entry is not None and now_s >= entry.ends_s:
            if entry.kind == "tokens":
                # A window of tokens ends; what was used beyond it does not. A long pause pays it off.
                missed = int((now_s - entry.ends_s) // max(1, entry.per_s))
                carried = max(0, entry.total - entry.limit * (1 + missed))
            entry = None
        if entry is not None:
            entry.limit = claim.limit
            return entry, False
        if claim.kind == "money":
            window, ends_s = claim.window, math.inf
        elif claim.window and claim.ends_in_s > 0:
            # It began before we did.
            window, ends_s = claim.window, now_s + claim.ends_in_s
        elif claim.kind == "slots":
            window, ends_s = 1, math.inf
        else:
            self._last_window += 1
            window, ends_s = self._last_window, now_s + claim.per_s
        entry = Entry(
            counter=claim.counter, kind=claim.kind, limit=claim.limit, window=window, per_s=claim.per_s, ends_s=ends_s,
            parts={}, carried=carried, capacity=capacity,
        )  # fmt: skip
        for holder, amount in (spent or {}).items():
            entry.parts[holder] = Part(held=amount)
        self._entries[key] = entry
        return entry, True

    def claim(self, holder: str, claim: Claim) -> Grant:
        """States what `holder` has, and grants what it needs if that is there."""
        entry, _ = self.open(claim)
        self.state(entry, holder, claim)
        return self.answer(entry, holder, self.grant(entry, holder, claim))

    def grant(self, entry: Entry, holder: str, claim: Claim) -> int:
        """Grants what is needed, if that is there; returns how much."""
        part = entry.parts.get(holder)
        if part is None or claim.need <= 0:
            # A holder may have gone while its claim waited.
            return 0
        amount = share(entry.available, entry.limit, self.holders, claim.need, claim.want)
        if amount:
            part.held += amount
            part.free += amount
            part.number += 1
            part.last = amount
        return amount

    def state(self, entry: Entry, holder: str, claim: Claim) -> Part:
        part = entry.parts.get(holder)
        if part is None:
            part = entry.parts[holder] = Part()
        if claim.window == entry.window or entry.kind in {"money", "slots"}:
            if claim.seen < 0:
                part.number = part.last = 0
            # A grant that was on its way when this was written is not in it.
            crossed = part.last if 0 <= claim.seen < part.number else 0
            part.held = claim.held + crossed
            part.busy = claim.busy
            part.free = claim.free + crossed
        return part

    def answer(self, entry: Entry, holder: str, granted: int) -> Grant:
        settled = entry.carried
        busy = 0
        for name, part in entry.parts.items():
            settled += part.held - part.busy - part.free
            if name != holder:
                busy += part.busy + part.free
        return Grant(
            counter=entry.counter,
            window=entry.window,
            ends_in_s=None if math.isinf(entry.ends_s) else max(0.0, entry.ends_s - self._clock.steady_s()),
            granted=granted,
            number=entry.parts[holder].number if holder in entry.parts else 0,
            left=max(0, entry.available),
            settled=settled,
            busy_elsewhere=busy,
        )

    def drop_slots(self, holder: str) -> list[Entry]:
        """A holder is gone, and with it its calls: its slots are free, and where they were is returned. Money stays spent
        until somebody knows better.
        """
        return [e for e in self._entries.values() if e.kind == "slots" and e.parts.pop(holder, None) is not None]

    def settle(self, holder: str, counter: str, window: int, spent: int) -> None:
        """A holder that is gone has spent exactly this."""
        entry = self._entries.get((counter, window))
        if entry is not None:
            entry.parts[holder] = Part(held=spent)

    def forget(self) -> None:
        """Lets go of windows that have ended."""
        now_s = self._clock.steady_s()
        for key, entry in list(self._entries.items()):
            if now_s >= entry.ends_s + entry.per_s:
                del self._entries[key]
