"""Many paced streams at once. Bare asyncio: the client must not be the limit."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple, cast

import uvloop

from bench.processes import cpu_s
from bench.targets import NotUsable, Target
from bench.wording import WORD, Pace


class Streams(NamedTuple):
    streams: int
    completed: int
    """with status 200, every event and a proper end"""
    events: int
    """of content, as they reached the client"""
    wall_s: float
    """from the first connection to the last byte"""
    cpu_s: float
    """of the target's own processes over that time"""
    steady_events: int
    """those between the moment at which all streams ran and the moment at which the first one ended"""
    steady_s: float
    steady_cpu_s: float
    offered_per_s: float
    """events per second if every stream keeps its pace"""

    @property
    def cpu_us_per_event(self) -> float:
        """With everything that a stream costs besides: connection, call, settlement."""
        return self.cpu_s / max(1, self.events) * 1e6

    @property
    def steady_cpu_us_per_event(self) -> float:
        return self.steady_cpu_s / max(1, self.steady_events) * 1e6

    @property
    def events_per_s(self) -> float:
        return self.steady_events / self.steady_s if self.steady_s else self.events / self.wall_s

    @property
    def core_share(self) -> float:
        return self.steady_cpu_s / self.steady_s if self.steady_s else self.cpu_s / self.wall_s


class EventCount:
    """Counts content events in a stream of bytes, however it is cut."""

    def __init__(self) -> None:
        self.events = 0
        self._tail = b""

    def feed(self, data: bytes) -> int:
        """How many more there are now."""
        if self._tail:
            data = self._tail + data
        found = data.count(WORD)
        self.events += found
        # One that is cut begins in the last bytes; a whole one cannot hide in fewer than its length.
        self._tail = data[1 - len(WORD) :] if data[-1:] != b"\n" else b""
        return found


class Reader(asyncio.Protocol):
    """Makes one streamed call and counts the events of its answer."""

    def __init__(self, crowd: "Crowd", request: bytes) -> None:
        self._crowd = crowd
        self._request = request
        self._count = EventCount()
        self._status = b""
        self._over = False
        self._end = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def begin(self) -> None:
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self._status:
            self._status = data[9:12]
        before = self._count.events
        found = self._count.feed(data)
        if found:
            self._crowd.events += found
            if not before:
                self._crowd.began()
        # The end may arrive in pieces: the last bytes of all that came decide.
        self._end = (self._end + data[-16:])[-16:]
        if not self._over and (b"[DONE]" in data or self._end.endswith(b"0\r\n\r\n")):
            self._finish(well=self._status == b"200" and self._count.events == self._crowd.pace.events)

    def connection_lost(self, _: Exception | None) -> None:
        self._finish(well=False)

    def _finish(self, *, well: bool) -> None:
        if not self._over:
            self._over = True
            self._crowd.ended(well=well)


class Crowd:
    """Streams side by side, and the moments between which all of them run."""

    def __init__(self, target: Target, count: int, pace: Pace) -> None:
        self.pace = pace
        self.events = 0
        self.completed = 0
        self.done = asyncio.Event()
        self._pids = target.pids()
        self._count = count
        self._began = 0
        self._ended = 0
        self._full: tuple[int, float, float] | None = None
        self._thinned: tuple[int, float, float] | None = None

    def now(self) -> tuple[int, float, float]:
        return self.events, time.perf_counter(), cpu_s(self._pids)

    def began(self) -> None:
        self._began += 1
        if self._began == self._count and self._thinned is None:
            self._full = self.now()

    def ended(self, *, well: bool) -> None:
        if self._thinned is None:
            self._thinned = self.now()
        self._ended += 1
        self.completed += well
        if self._ended == self._count:
            self.done.set()

    def steady(self) -> tuple[int, float, float]:
        """Events, seconds, CPU seconds of the time in which all streams ran; zeros if there was none."""
        if self._full is None:
            return 0, 0.0, 0.0
        end = self._thinned or self.now()
        return end[0] - self._full[0], end[1] - self._full[1], end[2] - self._full[2]


def run(
    target: Target,
    *,
    count: int,
    pace: Pace,
    begins_per_s: float = 2000.0,
    at_most_s: float = 60.0,
    at_full: Callable[[], None] | None = None,
    others: Sequence[Target] = (),
) -> Streams:
    """`at_full` is called once, while all streams run. `others`: models of the same gateway that take turns with
    `target`. Raises `NotUsable` when no event came.
    """
    return uvloop.run(
        _run(
            target,
            requests=[each.request(pace) for each in (target, *others)],
            count=count,
            pace=pace,
            begins_per_s=begins_per_s,
            at_most_s=at_most_s,
            at_full=at_full,
        )
    )


async def _run(
    target: Target,
    *,
    requests: Sequence[bytes],
    count: int,
    pace: Pace,
    begins_per_s: float,
    at_most_s: float,
    at_full: Callable[[], None] | None,
) -> Streams:
    loop = asyncio.get_running_loop()
    crowd = Crowd(target, count, pace)
    _, began_s, cpu_before_s = crowd.now()
    readers: list[Reader] = []
    for number in range(count):
        request = requests[number % len(requests)]
        _, reader = await loop.create_connection(partial(Reader, crowd, request), "127.0.0.1", target.port)
        readers.append(reader)
    first_s = time.perf_counter()
    for number, reader in enumerate(readers):
        # Spread over time, so that the streams' paces do not fall together.
        if (early_s := first_s + number / begins_per_s - time.perf_counter()) > 0:
            await asyncio.sleep(early_s)
        reader.begin()
    if at_full is not None:
        # After the last beginning, before the first end.
        loop.call_later(max(0.2, (pace.events * pace.pace_ms / 1000 - count / begins_per_s) / 2), at_full)
    # What came until then counts; `completed` says the rest.
    with suppress(TimeoutError):
        await asyncio.wait_for(crowd.done.wait(), at_most_s)
    events, ended_s, cpu_after_s = crowd.now()
    steady = crowd.steady()
    for reader in readers:
        reader.transport.abort()
    if events == 0:
        raise NotUsable(f"{target.name} relayed no event of {count} streams")
    return Streams(
        streams=count,
        completed=crowd.completed,
        events=events,
        wall_s=ended_s - began_s,
        cpu_s=cpu_after_s - cpu_before_s,
        steady_events=steady[0],
        steady_s=steady[1],
        steady_cpu_s=steady[2],
        offered_per_s=count / pace.pace_ms * 1000,
    )
