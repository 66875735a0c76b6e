"""The only way out to an LLM: HTTP/1.1 with kept connections. One per worker.

What must stay true: a request is sent at most twice, and twice only when it died on a reused connection before a byte
of an answer came.
"""

import asyncio
from collections.abc import Callable
from typing import Self

from wayport.core.clock import Clock, SystemClock
from wayport.core.net import Timeouts
from wayport.upstream.answer import Answer
from wayport.upstream.connection import FOREVER
from wayport.upstream.dial import Dialer
from wayport.upstream.faults import TransportFault
from wayport.upstream.origin import Origin, origin_of
from wayport.upstream.pool import Pool, PoolLimits, Pools
from wayport.upstream.proxy import ProxyRules
from wayport.upstream.resolve import Resolver
from wayport.upstream.tls import Contexts

__all__ = ["Answer", "Origin", "PoolLimits", "ProxyRules", "Timeouts", "Transport", "TransportFault", "origin_of"]

TICK_S = 0.1
"""how late a timeout may be noticed"""


class Transport:
    """`async with Transport(...) as transport:`; opens nothing until the first `send`."""

    def __init__(
        self,
        *,
        limits: PoolLimits | None = None,
        proxies: ProxyRules | None = None,
        clock: Clock | None = None,
        tick_s: float = TICK_S,
    ) -> None:
        clock = clock or SystemClock()
        self._steady_s = clock.steady_s
        self._tick_s = tick_s
        self._proxies = proxies or ProxyRules()
        self.resolver = Resolver(clock)
        self._dialer = Dialer(resolver=self.resolver, contexts=Contexts())
        self._pools = Pools(limits or PoolLimits(), dial=self._dialer.dial, clock=clock)
        self.pool_of = self._pools.get
        """the connections to an origin; None: there has never been one"""
        self._ticking: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self, *, grace_s: float = 0.0) -> None:
        """Answers under way get `grace_s` to end; then everything is closed and their readers get a `cut`."""
        self._pools.closed = True
        until = self._steady_s() + grace_s
        while self._pools.in_flight() and self._steady_s() < until:  # noqa: ASYNC110 (an event would cost every call)
            await asyncio.sleep(self._tick_s)
        await self._pools.close()
        if self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None
        # The loop tells closed connections in its next rounds.
        for _ in range(3):
            await asyncio.sleep(0)

    async def send(
        self,
        origin: Origin,
        head: bytes,
        body: bytes,
        *,
        timeouts: Timeouts,
        on_sent: Callable[[], None] | None = None,
        first_sent_s: float | None = None,
    ) -> Answer:
        """Sends one request and returns when the head of its answer is here. Raises `TransportFault`.

        `head`: request line and header lines, each with its line end, without content-length and the blank line.
        `on_sent` is called once, when the first of the body was handed to a socket. `first_sent_s`: it was sent before, then,
        and died on an idle connection, so it goes out on a new one and its time runs on.
        """
        now = self._steady_s()
        total_s = timeouts.total_s
        began_s = now if first_sent_s is None else first_sent_s
        total_until = FOREVER if total_s is None else began_s + total_s
        sent = first_sent_s is not None
        while True:
            pool = self.pool_of(origin) or self._new_pool(origin)
            idle = pool.idle
            if idle and not sent:
                connection = idle.pop()
                reused = True
            else:
                if self._ticking is None:
                    self._ticking = self._loop.call_later(self._tick_s, self._tick)
                try:
                    connection = await self._pools.acquire(pool, timeouts.connect_s)
                except TransportFault as fault:
                    raise fault.after_sending() if sent else fault from None
                if connection.closed:
                    continue
                reused = connection.served > 0
                now = self._steady_s()
            waiter = self._loop.create_future()
            answer = Answer(self._loop, connection, waiter, reused=reused and not sent)
            connection.begin(answer, head if pool.relay is None else pool.relay.absolute(head, origin), body)
            connection.wait(timeouts, now, total_until)
            if not sent:
                sent = True
                if on_sent is not None:
                    on_sent()
            try:
                if await waiter:
                    return answer
            except asyncio.CancelledError:
                answer.abort()
                raise

    def _new_pool(self, origin: Origin) -> Pool:
        try:
            proxy = self._proxies.proxy_for(origin)
        except ValueError as error:
            raise TransportFault("connect", f"No connection to {origin}: {error}.", body_sent=False) from None
        return self._pools.add(origin, proxy)

    def _tick(self) -> None:
        """One sweep for all timeouts: cheaper than timers of their own, which almost no call would need."""
        now = self._steady_s()
        late = [c for c in self._pools.connections if c.answer is not None and c.overdue(now)]
        for connection in late:
            connection.time_out(now)
        self._pools.expire_idle(now)
        self._ticking = self._loop.call_later(self._tick_s, self._tick) if self._pools.total else None
