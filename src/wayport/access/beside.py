"""Whose limits bind a call beside those of its key: its end user and its tags. Remembered by the worker, asked for once."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable

from wayport.access.principal import AskedFor, Holder, HolderSource
from wayport.core.clock import Clock
from wayport.core.errors import Unavailable
from wayport.core.tasks import Tasks

_TTL_S = 60.0
_SIZE = 20_000
_MAX_ASKING = 1_000

Who = tuple[AskedFor, str]


class Holders:
    """What is known serves on while the control process is away."""

    def __init__(self, source: HolderSource, *, clock: Clock, tasks: Tasks) -> None:
        self._source = source
        self._steady_s = clock.steady_s
        self._tasks = tasks
        self._known: OrderedDict[Who, tuple[Holder | None, float]] = OrderedDict()
        self._asking: dict[Who, asyncio.Task[Holder | Unavailable | None]] = {}

    def known(self, wanted: Iterable[Who]) -> tuple[Holder, ...] | None:
        """The holders, if all are known; None: `find` them."""
        now_s = self._steady_s()
        found = []
        for who in wanted:
            entry = self._known.get(who)
            if entry is None or now_s >= entry[1]:
                return None
            if entry[0] is not None:
                found.append(entry[0])
        return tuple(found)

    async def find(self, wanted: Iterable[Who]) -> tuple[Holder, ...]:
        """Raises `Unavailable` for one that was never known and cannot be asked for."""
        found = [await self._find(who) for who in wanted]
        return tuple(holder for holder in found if holder is not None)

    def forget(self, holders: Iterable[str] | None = None) -> None:
        """These (`end_user:ann`, `tag:x`) have changed; None: any may have. What cannot be asked for serves on."""
        changed = None if holders is None else frozenset(holders)
        for who, (holder, _) in self._known.items():
            if changed is None or f"{who[0]}:{who[1]}" in changed:
                self._known[who] = (holder, 0.0)

    async def _find(self, who: Who) -> Holder | None:
        entry = self._known.get(who)
        if entry is not None and self._steady_s() < entry[1]:
            return entry[0]
        task = self._asking.get(who)
        if task is None:
            if len(self._asking) >= _MAX_ASKING:
                raise Unavailable("Too many end users are being looked up at once. Try again.", retry_after_s=1)
            task = self._asking[who] = self._tasks.start(self._ask(who), name="holder")
        answer = await asyncio.shield(task)
        if isinstance(answer, Unavailable):
            if entry is None:
                raise answer
            return entry[0]
        return answer

    async def _ask(self, who: Who) -> Holder | Unavailable | None:
        try:
            holder = await self._source.holder(*who)
        except Unavailable as error:
            return error
        finally:
            self._asking.pop(who, None)
        self._known[who] = (holder, self._steady_s() + _TTL_S)
        self._known.move_to_end(who)
        if len(self._known) > _SIZE:
            self._known.popitem(last=False)
        return holder


class NoHolders:
    """A source that knows of nobody: then only keys and those above them have limits."""

    async def holder(self, scope: AskedFor, holder_id: str) -> Holder | None:
        del scope, holder_id
        return None
