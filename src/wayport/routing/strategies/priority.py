"""`priority`: the lowest `order`; those of the same share the calls by weight."""

from collections.abc import Sequence

from msgspec.structs import replace

from wayport.routing.group import Candidate
from wayport.routing.strategies.shuffle import SimpleShuffle
from wayport.routing.strategies.strategy import View


class Priority:
    def __init__(self) -> None:
        self._shuffle = SimpleShuffle()

    def choose(self, able: Sequence[Candidate], view: View) -> Candidate:
        first = min(candidate.order for candidate in able)
        equal = [candidate for candidate in able if candidate.order == first]
        return self._shuffle.choose(equal, replace(view, cumulative=()))

    def score(self, candidate: Candidate, view: View) -> float:
        del view
        return candidate.order
