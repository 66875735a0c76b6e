"""Thoughts that workers share: the worker's side, and the control process's shelf, before which other nodes may stand."""

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence

from wayport.control.protocol import Message, ThoughtsAsked, ThoughtsFound, ThoughtsTold
from wayport.core.errors import Unavailable
from wayport.core.thought import ThoughtStore

log = logging.getLogger("wayport.control")

MOST_ENTRIES = 50_000
MOST_BYTES = 64 * 1024 * 1024


class RemoteThoughts:
    """A worker's `ThoughtStore`: the control process's."""

    def __init__(
        self, ask: Callable[[Callable[[int], Message]], Awaitable[Message]], say: Callable[[Message], None]
    ) -> None:
        self._ask = ask
        self._say = say

    def put(self, thoughts: Mapping[bytes, bytes]) -> None:
        self._say(ThoughtsTold(thoughts=dict(thoughts)))

    async def find(self, names: Sequence[bytes]) -> Mapping[bytes, bytes]:
        answer = await self._ask(lambda number: ThoughtsAsked(id=number, names=tuple(names)))
        assert isinstance(answer, ThoughtsFound)
        return answer.thoughts


class Shelf:
    """Bounded: the oldest that nobody asks for goes first. `others` is told, and asked for what is not here."""

    def __init__(self, *, most_entries: int = MOST_ENTRIES, most_bytes: int = MOST_BYTES) -> None:
        self.others: ThoughtStore | None = None
        self._most_entries = most_entries
        self._most_bytes = most_bytes
        self._thoughts: OrderedDict[bytes, bytes] = OrderedDict()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._thoughts)

    def put(self, thoughts: Mapping[bytes, bytes]) -> None:
        for name, thought in thoughts.items():
            self._keep(name, thought)
        if self.others is not None:
            self.others.put(thoughts)

    def _keep(self, name: bytes, thought: bytes) -> None:
        self.size_bytes += len(thought) - len(self._thoughts.pop(name, b""))
        self._thoughts[name] = thought
        while len(self._thoughts) > self._most_entries or self.size_bytes > self._most_bytes:
            _, gone = self._thoughts.popitem(last=False)
            self.size_bytes -= len(gone)

    async def find(self, names: Sequence[bytes]) -> Mapping[bytes, bytes]:
        found = {}
        for name in names:
            if (thought := self._thoughts.get(name)) is not None:
                self._thoughts.move_to_end(name)
                found[name] = thought
        missing = [name for name in names if name not in found]
        if not missing or self.others is None:
            return found
        try:
            elsewhere = await self.others.find(missing)
        except Unavailable as error:
            log.info("thoughts of other nodes cannot be looked up", extra={"error": error.message})
            return found
        for name, thought in elsewhere.items():
            self._keep(name, thought)
        return {**found, **elsewhere}
