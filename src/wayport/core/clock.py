"""Time is injected, so that tests can hold it still. Wall time is for people and windows, steady time for durations."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    def now_s(self) -> float:
        """Seconds since the epoch, UTC."""
        ...

    def steady_s(self) -> float:
        """Seconds on a clock that never goes back; its zero means nothing."""
        ...


class SystemClock:
    # The functions themselves, not calls of them: a request asks for the time half a dozen times.
    now_s = staticmethod(time.time)  # noqa: TID251 (this is the clock that others ask)
    steady_s = staticmethod(time.perf_counter)


def utc(epoch_s: float) -> datetime:
    return datetime.fromtimestamp(epoch_s, tz=UTC)
