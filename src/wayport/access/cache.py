"""What a worker remembers of keys: who they belong to, and which are nobody's. Bounded, immutable, by sha-256.

A miss asks the control process once, however many calls wait for the answer. While the control process or its database
is away, what is known serves on for `stale_max_s`.
"""

import asyncio
from collections import OrderedDict
from typing import Literal, NamedTuple, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from wayport.access.principal import Control, Principal
from wayport.core.clock import Clock
from wayport.core.errors import Unavailable
from wayport.core.tasks import Tasks

Refused = Literal["unknown", "expired", "blocked"]

_NEVER = float("-inf")
_Value = TypeVar("_Value")


class _Entry(Struct, frozen=True):
    principal: Principal
    fresh_until_s: float
    stale_until_s: float


class _Refusal(NamedTuple):
    why: Refused
    until_s: float
    by: str | None = None
    """who is blocked, if not the key itself"""


class PrincipalCache:
    def __init__(
        self,
        control: Control,
        *,
        clock: Clock,
        tasks: Tasks,
        ttl_s: float = 60.0,
        negative_s: float = 5.0,
        stale_max_s: float = 3600.0,
        retry_s: float = 1.0,
        size: int = 10_000,
        max_asking: int = 1_000,
    ) -> None:
        self._control = control
        self._clock = clock
        self.steady_s = clock.steady_s
        self._tasks = tasks
        self._ttl_s = ttl_s
        self._negative_s = negative_s
        self._stale_max_s = stale_max_s
        self._retry_s = retry_s
        self._size = size
        self._max_asking = max_asking
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        # Apart from the entries: guessed keys must not push out known ones.
        self._refusals: OrderedDict[str, _Refusal] = OrderedDict()
        self._asking: dict[str, asyncio.Task[Principal | Refused | Unavailable]] = {}
        self._overtaken: set[str] = set()

    def __len__(self) -> int:
        return len(self._entries)

    def fresh(self, key_hash: str, now_s: float) -> Principal | None:
        """The principal, if it is known and may be used without asking. The way of nearly every call."""
        entries = self._entries
        entry = entries.get(key_hash)
        if entry is None or now_s >= entry.fresh_until_s:
            return None
        if len(entries) >= self._size:
            # Before that nobody has to leave, and each comes to the end whenever it is asked for anew.
            entries.move_to_end(key_hash)
        return entry.principal

    async def find(self, key_hash: str) -> Principal | Refused:
        """Whose key this is, or why it is refused. Raises `Unavailable` when that can be known neither from the control
        process nor from what is remembered.
        """
        refusal = self._refusals.get(key_hash)
        if refusal is not None:
            if self.steady_s() < refusal.until_s:
                return refusal.why
            del self._refusals[key_hash]
        if (known := self.fresh(key_hash, self.steady_s())) is not None:
            return known
        task = self._asking.get(key_hash)
        if task is None:
            if len(self._asking) >= self._max_asking:
                raise Unavailable("Too many keys are being looked up at once. Try again in a moment.", retry_after_s=1)
            task = self._tasks.start(self._ask(key_hash), name="principal")
            self._asking[key_hash] = task
        # Shielded: that one caller hangs up must not fail the others who wait for the same answer.
        answer = await asyncio.shield(task)
        if isinstance(answer, Unavailable):
            raise answer
        return answer

    def blocked_by(self, key_hash: str) -> str | None:
        """Who is blocked, if a key was refused for somebody above it."""
        refusal = self._refusals.get(key_hash)
        return None if refusal is None else refusal.by

    def invalidate(self, key_hash: str) -> None:
        """This key has changed: what is known of it is wrong."""
        self._entries.pop(key_hash, None)
        self._refusals.pop(key_hash, None)
        if key_hash in self._asking:
            self._overtaken.add(key_hash)

    def invalidate_all(self) -> None:
        """Any key may have changed: each is asked for again at its next use. What cannot be asked for serves as stale."""
        for key_hash, entry in self._entries.items():
            self._entries[key_hash] = replace(entry, fresh_until_s=_NEVER)
        self._refusals.clear()
        self._overtaken.update(self._asking)

    async def _ask(self, key_hash: str) -> Principal | Refused | Unavailable:
        try:
            while True:
                self._overtaken.discard(key_hash)
                principal = await self._control.principal(key_hash)
                # An answer that a change has overtaken on its way may be the old one.
                if key_hash not in self._overtaken:
                    return self._learn(key_hash, principal)
        except Unavailable as error:
            return self._remembered(key_hash) or error
        finally:
            self._overtaken.discard(key_hash)
            self._asking.pop(key_hash, None)

    def _learn(self, key_hash: str, principal: Principal | None) -> Principal | Refused:
        now_s = self.steady_s()
        why = self._objection(principal)
        if principal is None or why is not None:
            self._entries.pop(key_hash, None)
            by = None if principal is None else principal.blocked_by
            refusal = _Refusal(why or "unknown", now_s + self._negative_s, by)
            _put(self._refusals, key_hash, refusal, self._size)
            return refusal.why
        fresh_s = min(self._ttl_s, self._remaining_s(principal))
        entry = _Entry(principal, now_s + fresh_s, now_s + self._stale_max_s)
        _put(self._entries, key_hash, entry, self._size)
        return principal

    def _remembered(self, key_hash: str) -> Principal | Refused | None:
        """The answer of before, for as long as it may serve; it is good for a moment, then the control is asked again."""
        entry = self._entries.get(key_hash)
        now_s = self.steady_s()
        if entry is None or now_s >= entry.stale_until_s:
            return None
        if (why := self._objection(entry.principal)) is not None:
            return why
        until_s = min(now_s + min(self._retry_s, self._remaining_s(entry.principal)), entry.stale_until_s)
        self._entries[key_hash] = replace(entry, fresh_until_s=until_s)
        return entry.principal

    def _objection(self, principal: Principal | None) -> Refused | None:
        if principal is None:
            return "unknown"
        if principal.blocked:
            return "blocked"
        return "expired" if self._remaining_s(principal) <= 0 else None

    def _remaining_s(self, principal: Principal) -> float:
        return float("inf") if principal.expires_s is None else principal.expires_s - self._clock.now_s()


def _put(entries: OrderedDict[str, _Value], key_hash: str, value: _Value, size: int) -> None:
    entries[key_hash] = value
    entries.move_to_end(key_hash)
    if len(entries) > size:
        entries.popitem(last=False)
