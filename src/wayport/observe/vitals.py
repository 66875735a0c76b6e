"""How a worker is doing, told once a second: a small file that the control process reads when metrics are asked for."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import msgspec
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
    path: Path,
    take: Callable[[], Vitals],
    *,
    clock: Clock,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Writes what `take` says, once a second, until cancelled. A disk that is full stops nothing."""
    try:
        while True:
            before_s = clock.steady_s()
            await sleep(EVERY_S)
            vitals = take()
            vitals.loop_lag_s = max(0.0, clock.steady_s() - before_s - EVERY_S)
            vitals.at_s = clock.now_s()
            _write(path, vitals)
    finally:
        _remove(path)


def _write(path: Path, vitals: Vitals) -> None:
    unnamed = path.with_suffix(".new")
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        unnamed.write_bytes(msgspec.json.encode(vitals))
        unnamed.rename(path)


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)


def read_all(directory: Path, *, now_s: float) -> list[Vitals]:
    """Of every worker that told something lately."""
    found: list[Vitals] = []
    for path in sorted(directory.glob("*.json")):
        with suppress(OSError, msgspec.MsgspecError):
            vitals = msgspec.json.decode(path.read_bytes(), type=Vitals)
            if vitals.at_s > now_s - _STALE_S:
                found.append(vitals)
    return found
