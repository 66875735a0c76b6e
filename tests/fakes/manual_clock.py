"""A clock that stands still until it is told to move."""


class ManualClock:
    def __init__(self, now_s: float = 1_800_000_000.0) -> None:
        self._now_s = now_s
        self._steady_s = 1_000.0

    def now_s(self) -> float:
        return self._now_s

    def steady_s(self) -> float:
        return self._steady_s

    def advance(self, seconds: float) -> None:
        self._now_s += seconds
        self._steady_s += seconds
