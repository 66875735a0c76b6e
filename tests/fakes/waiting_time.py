"""An event loop on which time passes only while everybody waits: how busy the machine is changes nothing."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


class WaitingTime(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        super().__init__()
        self._waited_s = 0.0
        selector: Any = self._selector  # type: ignore[attr-defined]  # where the loop waits
        select: Callable[[float | None], list[Any]] = selector.select

        def skip(timeout: float | None) -> list[Any]:
            events = select(timeout if timeout is None else 0)
            if timeout is not None and timeout > 0 and not events:
                self._waited_s += timeout
            return events

        selector.select = skip

    def time(self) -> float:
        return self._waited_s

    # As a clock:
    def now_s(self) -> float:
        return 1_800_000_000.0 + self._waited_s

    def steady_s(self) -> float:
        return self._waited_s


def run(make: Callable[[WaitingTime], Coroutine[Any, Any, _T]]) -> _T:
    """Runs what `make` returns on such a loop, which is also its clock."""
    loop = WaitingTime()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(make(loop))
