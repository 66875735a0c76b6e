"""`power-of-two`: of two drawn by weight, the one that will be free sooner. Follows latency and load without a herd."""

from collections.abc import Sequence

from wayport.routing.group import Candidate
from wayport.routing.strategies.strategy import View, running

_DRAWS = 4
"""so that the second is nearly always another than the first"""


class PowerOfTwo:
    def choose(self, able: Sequence[Candidate], view: View) -> Candidate:
        drawn = view.random.choices(able, cum_weights=running(able, view), k=_DRAWS)
        first = drawn[0]
        second = next((candidate for candidate in drawn if candidate is not first), first)
        return first if self.score(first, view) <= self.score(second, view) else second

    def score(self, candidate: Candidate, view: View) -> float:
        live = candidate.live
        # Nothing known counts as fast: that is how it becomes known.
        pace_s = live.pace_s(view.now_s, stream=view.needs.stream) or 1e-6
        return pace_s * (live.in_flight + 1)
