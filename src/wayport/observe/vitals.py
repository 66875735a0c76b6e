"""How a worker is doing, told to the control process once a second. Not through a file: what a full disk has cost is among it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from msgspec import Struct, field

from wayport.core.clock import Clock

EVERY_S = 1.0
_STALE_S = 10.0


class Vitals(Struct, kw_only=True):
    worker: int
    pid: int
    at_s: float = 0.0
    calls_in_flight: int = 0
    calls_waiting: int = 0
    """for a place at a deployment"""
    connections: int = 0
    request_bytes: int = 0
    refused_overload: int = 0
    """calls turned away at the limit of calls in flight"""
    refused_early: int = 0
    """calls refused before it was known whose they are"""
    loop_lag_s: float = 0.0
    """how late the event loop woke us, at most, in the last second"""
    journaled: int = 0
    lost: int = 0
    lost_nano_usd: int = 0
    spool_full: bool = False
    breakers: dict[str, str] = field(default_factory=dict)
    """deployment to `open` or `half_open`; those that are closed are not named"""
    cooled: dict[str, dict[str, int]] = field(default_factory=dict)
    """how often a deployment began to be left alone, by the status that it answered (0: none)"""


async def tell(
    say: Callable[[Vitals], None],
    take: Callable[[], Vitals],
    *,
    clock: Clock,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Says what `take` finds, once a second, until cancelled."""
    while True:
        before_s = clock.steady_s()
        await sleep(EVERY_S)
        vitals = take()
        vitals.loop_lag_s = max(0.0, clock.steady_s() - before_s - EVERY_S)
        vitals.at_s = clock.now_s()
        say(vitals)


def lately(told: Iterable[Vitals], *, now_s: float) -> list[Vitals]:
    """Those of workers that have told something lately; one that hangs is not among them."""
    return sorted((each for each in told if each.at_s > now_s - _STALE_S), key=lambda each: each.worker)
