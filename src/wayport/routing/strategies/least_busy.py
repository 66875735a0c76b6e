"""`least-busy`: the fewest calls in flight."""

from collections.abc import Sequence

from wayport.routing.group import Candidate
from wayport.routing.strategies.strategy import View, lowest


class LeastBusy:
    def choose(self, able: Sequence[Candidate], view: View) -> Candidate:
        return lowest(able, [candidate.live.in_flight for candidate in able], view.random)

    def score(self, candidate: Candidate, view: View) -> float:
        del view
        return candidate.live.in_flight
