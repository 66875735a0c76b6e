"""What nodes without Redis tell each other of deployments, through PostgreSQL: one notification at a time, four a second at
most, and none longer than PostgreSQL takes.

What must stay true: nobody waits for it, and nothing depends on it; a node that is alone tells nothing. Who comes (again)
says so, and hears from the others what they know.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from wayport.core.clock import Clock
from wayport.routing.news import News, Rest, Scope, Used

log = logging.getLogger("wayport.control")

EVERY_S = 0.25
MESSAGE_BYTES = 5_400
"""in base64, with what stands around it, this is less than the 8,000 of a notification"""
_BETWEEN = 8
"""bytes that something takes beside itself"""
_COMPANY_S = 30.0
"""how long whoever has spoken counts as there"""
_MOST_RESTS = 1_000
_MOST_USED = 4_096
_MOST_PINS = 200
"""those of a moment; who leads a session on without having heard of it chooses for itself"""


class Message(Struct, kw_only=True, frozen=True, omit_defaults=True):
    news: News = News()
    new_here: bool = False
    """says who does not know what the others know"""


Pin = tuple[str, str, float]

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Message).decode


class Hearsay:
    def __init__(
        self,
        *,
        clock: Clock,
        say: Callable[[bytes], Awaitable[bool]],
        hear: Callable[[News], None],
        known: Callable[[], News],
        others: Callable[[], bool],
    ) -> None:
        """`say` returns False where nobody listens. `known`: what somebody must hear who has come just now. `others`:
        whether another node is known to live.
        """
        self._clock = clock
        self._say = say
        self._hear = hear
        self._known = known
        self._others = others
        self._heard_until_s = 0.0
        self._new_here = False
        self._answers = False
        """somebody has come who is to know that we are there"""
        self._rests: dict[tuple[Scope, tuple[str, ...]], Rest] = {}
        self._used: dict[str, Used] = {}
        self._pins: dict[str, Pin] = {}

    def tell(self, news: News) -> None:
        """To all other nodes, soon; if there are any."""
        if self._clock.steady_s() < self._heard_until_s or self._others():
            self._add(news)

    def _add(self, news: News) -> None:
        for rest in news.rests:
            key = (rest.scope, rest.names)
            if key in self._rests or len(self._rests) < _MOST_RESTS:
                self._rests[key] = rest
        for used in news.used:
            before = self._used.get(used.deployment)
            if before is not None:
                both = replace(used, requests=before.requests + used.requests, tokens=before.tokens + used.tokens)
                self._used[used.deployment] = both
            elif len(self._used) < _MOST_USED:
                self._used[used.deployment] = used
        for pin in news.pins:
            self._pins.pop(pin[0], None)
            self._pins[pin[0]] = pin
        while len(self._pins) > _MOST_PINS:
            del self._pins[next(iter(self._pins))]

    def connected(self) -> None:
        """We listen (again): the others may have said anything, and may know nothing of us."""
        self._new_here = True
        self._add(self._known())

    def heard(self, data: bytes) -> None:
        try:
            message = _decode(data)
        except msgspec.DecodeError:
            log.warning("what another node said of deployments was not understood")
            return
        self._heard_until_s = self._clock.steady_s() + _COMPANY_S
        if message.new_here:
            self._answers = True
            self._add(self._known())
        if message.news:
            self._hear(message.news)

    async def run(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Ends by cancellation."""
        while True:
            await sleep(EVERY_S)
            await self.tick()

    async def tick(self) -> None:
        """One notification at most."""
        news = self._batch()
        if news or self._new_here or self._answers:
            message = Message(news=news, new_here=self._new_here)
            self._new_here = self._answers = False
            # What nobody could be told is gone: it is said again to who listens again, as far as it still matters.
            await self._say(_encode(message))

    def _batch(self) -> News:
        """As much as a message holds; the rest stays for the next one, but for what leads sessions on."""
        left = MESSAGE_BYTES
        rests: list[Rest] = []
        used: list[Used] = []
        pins: list[Pin] = []
        for each in self._waiting():
            size = len(_encode(each)) + _BETWEEN
            if left < size <= MESSAGE_BYTES:
                break
            told = size <= left
            left -= size if told else 0
            # What no message could hold is told to nobody.
            if isinstance(each, Rest):
                del self._rests[each.scope, each.names]
                rests += [each] * told
            elif isinstance(each, Used):
                del self._used[each.deployment]
                used += [each] * told
            else:
                pins += [each] * told
        self._pins.clear()
        return News(rests=tuple(rests), used=tuple(used), pins=tuple(pins))

    def _waiting(self) -> Iterator[Rest | Used | Pin]:
        """The weightiest first; of what leads sessions on, the latest."""
        yield from list(self._rests.values())
        yield from list(self._used.values())
        yield from reversed(self._pins.values())
