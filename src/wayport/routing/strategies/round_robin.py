"""`round-robin`: one after the other, each as often as all others."""

from collections.abc import Sequence

from wayport.routing.group import Candidate
from wayport.routing.strategies.strategy import View

_MOST = 4096


class RoundRobin:
    def __init__(self) -> None:
        self._turns: dict[str, int] = {}
        """a model's calls so far"""

    def choose(self, able: Sequence[Candidate], view: View) -> Candidate:
        turn = self._turns.get(view.group, 0)
        if len(self._turns) >= _MOST:
            self._turns.clear()
        self._turns[view.group] = turn + 1
        return able[turn % len(able)]

    def score(self, candidate: Candidate, view: View) -> float:
        del view
        return candidate.live.requests
