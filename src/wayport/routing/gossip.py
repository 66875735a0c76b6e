"""A worker's part in what all workers know of the deployments together. Beside the calls, never on their way.

What must stay true: without anybody to talk to everything works as well, each worker for itself; nothing is told in
circles, as only what a worker has seen itself is its news.
"""

import asyncio
from collections.abc import Awaitable, Callable

from wayport.core.clock import Clock
from wayport.routing.affinity import Affinity
from wayport.routing.health import Health
from wayport.routing.live import LiveStates
from wayport.routing.news import News

EVERY_S = 0.25


class Gossip:
    """`tell` hands news to whoever passes them on. What it drops while nobody listens is told again by `restate`."""

    def __init__(
        self,
        health: Health,
        lives: LiveStates,
        affinity: Affinity,
        *,
        clock: Clock,
        tell: Callable[[News], None],
    ) -> None:
        self._health = health
        self._lives = lives
        self._affinity = affinity
        self._clock = clock
        self._tell = tell

    async def run(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Ends by cancellation. Until then nothing is kept for telling."""
        self._health.shares = self._affinity.shares = True
        while True:
            await sleep(EVERY_S)
            self.tick()

    def tick(self) -> None:
        news = News(
            rests=tuple(self._health.news(self._clock.steady_s())),
            used=tuple(self._lives.news()),
            pins=tuple((key, place, since_s + self._epoch_s()) for key, place, since_s in self._affinity.news()),
        )
        if news:
            self._tell(news)

    def _epoch_s(self) -> float:
        """What steady seconds lack: they mean nothing to another node."""
        return self._clock.now_s() - self._clock.steady_s()

    def restate(self) -> None:
        """Somebody listens again who may know nothing: all that rests is news."""
        self._health.restate()

    def hear(self, news: News) -> None:
        now_s = self._clock.steady_s()
        for rest in news.rests:
            self._health.hear(rest, now_s)
        for key, deployment_id, at_s in news.pins:
            self._affinity.hear(key, deployment_id, at_s - self._epoch_s(), now_s)
        for used in news.used:
            self._lives.of(used.deployment).hear(now_s, requests=used.requests, tokens=used.tokens)
