"""The open connections, by origin: who may have one, who waits, when another is opened, when an idle one is closed.

What must stay true: the bounds per origin, in total and per second hold always; whoever waits is served in order of
coming, and origins take turns at opening.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from msgspec import Struct

from wayport.core.clock import Clock
from wayport.core.outbox import Outbox
from wayport.core.tasks import Tasks
from wayport.upstream.connection import Connection
from wayport.upstream.faults import TransportFault
from wayport.upstream.origin import Origin
from wayport.upstream.proxy import Proxy

_MARGIN_S = 1.0
"""an idle connection is given up this long before the other side said it would close it"""


class PoolLimits(Struct, kw_only=True, frozen=True):
    """Bounds of one worker."""

    per_origin: int = 1024
    """connections to one origin: calls in flight there"""
    total: int = 4096
    opens_per_s: float = 500.0
    """new connections per second, to all origins together; as many may come at once"""
    idle_s: float = 30.0
    """how long an unused connection is kept; shorter when the other side says so"""


class Pool:
    """The connections to one origin. Idle ones are used last in, first out, so that the others may expire."""

    __slots__ = ("_pools", "idle", "opening", "origin", "proxy", "relay", "size", "tickets")

    def __init__(self, pools: "Pools", origin: Origin, proxy: Proxy | None) -> None:
        self._pools = pools
        self.origin = origin
        self.proxy = proxy
        self.relay = proxy if origin.scheme == "http" and origin.address is None else None
        """a proxy that is spoken to in whole URLs, not through a tunnel"""
        self.idle: list[Connection] = []
        self.size = 0
        """connections open or being opened"""
        self.opening = 0
        self.tickets: OrderedDict[asyncio.Future[Connection], float] = OrderedDict()
        """who waits, and how long each may take to connect"""

    def release(self, connection: Connection) -> None:
        """A connection is free: the first who waits gets it."""
        while self.tickets:
            waiter, _ = self.tickets.popitem(last=False)
            if not waiter.done():
                waiter.set_result(connection)
                return
        pools = self._pools
        if pools.hungry and pools.short_of_room():
            connection.close()
        else:
            self.idle.append(connection)

    def gone(self, connection: Connection) -> None:
        if connection in self.idle:
            self.idle.remove(connection)
        self._pools.gone(self, connection)

    def refuse(self, fault: TransportFault) -> None:
        """A connection could not be opened: the first who waits learns it."""
        while self.tickets:
            waiter, _ = self.tickets.popitem(last=False)
            if not waiter.done():
                waiter.set_exception(fault)
                return


Dial = Callable[[Pool, Connection], Awaitable[None]]
"""connects; raises `TransportFault`"""


class Pools:
    """All pools of a transport."""

    def __init__(self, limits: PoolLimits, *, dial: Dial, clock: Clock) -> None:
        self._limits = limits
        self._dial = dial
        self._steady_s = clock.steady_s
        self._by_origin: dict[Origin, Pool] = {}
        self.get = self._by_origin.get
        self.connections: set[Connection] = set()
        """all open ones, idle or not"""
        self.total = 0
        """connections open or being opened"""
        self.hungry: OrderedDict[Pool, None] = OrderedDict()
        """pools with more waiting than opening"""
        self._tokens = limits.opens_per_s
        self._counted_s = clock.steady_s()
        self._refill: asyncio.TimerHandle | None = None
        self._tasks = Tasks()
        self._outbox = Outbox()
        self.closed = False

    def add(self, origin: Origin, proxy: Proxy | None) -> Pool:
        pool = self._by_origin[origin] = Pool(self, origin, proxy)
        return pool

    async def acquire(self, pool: Pool, connect_s: float) -> Connection:
        """A connection, new or just released. Raises `TransportFault`."""
        if self.closed:
            raise TransportFault("connect", "Wayport is closing its connections.", body_sent=False)
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Connection] = loop.create_future()
        timer = loop.call_later(connect_s, self._expire, pool, waiter, connect_s)
        pool.tickets[waiter] = connect_s
        self.hungry[pool] = None
        self._open_more()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                pool.release(waiter.result())
            raise
        finally:
            timer.cancel()
            pool.tickets.pop(waiter, None)
            self._prune(pool)

    def _expire(self, pool: Pool, waiter: "asyncio.Future[Connection]", connect_s: float) -> None:
        if waiter.done():
            return
        limits = self._limits
        if pool.opening:
            why = "it does not answer"
        elif pool.size >= limits.per_origin:
            why = f"all {limits.per_origin} connections that it may have are in use"
        elif self.total >= limits.total:
            why = f"all {limits.total} connections that Wayport may have are in use"
        else:
            why = f"more than {limits.opens_per_s:g} connections per second would have to be opened"
        waiter.set_exception(
            TransportFault(
                "timeout",
                f"No connection to {pool.origin} within {connect_s:g} s (`connect_s`): {why}.",
                body_sent=False,
            )
        )

    # ----------------------------------------------------------------------------------------------------- opening
    def _open_more(self) -> None:
        limits = self._limits
        while self.hungry and not self.closed:
            pool = next(iter(self.hungry))
            if len(pool.tickets) <= pool.opening:
                del self.hungry[pool]
            elif pool.size >= limits.per_origin:
                if pool.idle:
                    # Somebody waits beside idle connections: one was dead, and the others are no better.
                    pool.idle[0].close()
                else:
                    del self.hungry[pool]
            elif self.total >= limits.total:
                if not self._evict():
                    return
            elif not self._take_token():
                return
            else:
                self.hungry.move_to_end(pool)
                connect_s = next(reversed(pool.tickets.values()))
                pool.size += 1
                pool.opening += 1
                self.total += 1
                self._tasks.start(self._open(pool, connect_s), name=f"connect to {pool.origin}")

    def short_of_room(self) -> bool:
        """Whether another origin waits for an idle connection to be closed."""
        return bool(self.hungry) and self.total >= self._limits.total

    def _evict(self) -> bool:
        """Closes an idle connection to another origin, to make room."""
        for pool in self._by_origin.values():
            if pool.idle:
                pool.idle[0].close()
                return True
        return False

    def _take_token(self) -> bool:
        rate = self._limits.opens_per_s
        now = self._steady_s()
        self._tokens = min(max(rate, 1.0), self._tokens + (now - self._counted_s) * rate)
        self._counted_s = now
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            return True
        if self._refill is None:
            wait_s = (1.0 - self._tokens) / rate
            self._refill = asyncio.get_running_loop().call_later(wait_s, self._refilled)
        return False

    def _refilled(self) -> None:
        self._refill = None
        self._open_more()

    async def _open(self, pool: Pool, connect_s: float) -> None:
        connection = Connection(pool, str(pool.origin), self._outbox)
        fault: TransportFault | None = None
        opened = False
        try:
            async with asyncio.timeout(connect_s):
                await self._dial(pool, connection)
            opened = not connection.closed
            if not opened:
                message = f"{pool.origin} closed the connection as soon as it was open."
                fault = TransportFault("connect", message, body_sent=False)
        except TransportFault as error:
            fault = error
        except TimeoutError:
            pass  # Whoever waits has a clock of its own, and is told by that.
        except Exception as error:
            # Told to who waits, lest the next attempt follow at once; and then to the log.
            message = f"No connection to {pool.origin}: {type(error).__name__}."
            fault = TransportFault("connect", message, body_sent=False)
            raise
        finally:
            pool.opening -= 1
            if opened:
                self.connections.add(connection)
                pool.release(connection)
            else:
                if fault is not None:
                    pool.refuse(fault)
                connection.drop()

    # ----------------------------------------------------------------------------------------------------- closing
    def gone(self, pool: Pool, connection: Connection) -> None:
        self.connections.discard(connection)
        pool.size -= 1
        self.total -= 1
        if pool.tickets:
            self.hungry[pool] = None
        self._open_more()
        self._prune(pool)

    def _prune(self, pool: Pool) -> None:
        if not pool.size and not pool.tickets and self._by_origin.get(pool.origin) is pool:
            del self._by_origin[pool.origin]

    def expire_idle(self, now: float) -> None:
        """Closes what has been idle for too long. The time is taken at the first look, to cost a call nothing."""
        idle_s = self._limits.idle_s
        expired = []
        for pool in self._by_origin.values():
            for connection in pool.idle:
                if connection.idle_until == 0.0:
                    connection.idle_until = now + min(idle_s, connection.kept_s - _MARGIN_S)
                if now >= connection.idle_until:
                    expired.append(connection)
        for connection in expired:
            connection.close()

    def in_flight(self) -> int:
        return sum(1 for connection in self.connections if connection.answer is not None)

    async def close(self) -> None:
        """Closes everything at once; who waits for a connection is refused."""
        self.closed = True
        if self._refill is not None:
            self._refill.cancel()
        fault = TransportFault("connect", "Wayport is closing its connections.", body_sent=False)
        for pool in list(self._by_origin.values()):
            while pool.tickets:
                pool.refuse(fault)
            for connection in list(pool.idle):
                connection.close()
        await self._tasks.close()
        for connection in list(self.connections):
            connection.fail(TransportFault("cut", "Wayport is closing its connections.", body_sent=True))
