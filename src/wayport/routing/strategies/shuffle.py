"""`simple-shuffle`: by chance, in proportion to `weight`, else `rpm`, else `tpm`, else all alike."""

from collections.abc import Sequence

from wayport.routing.group import Candidate
from wayport.routing.strategies.strategy import View, running


class SimpleShuffle:
    def choose(self, able: Sequence[Candidate], view: View) -> Candidate:
        return view.random.choices(able, cum_weights=running(able, view))[0]

    def score(self, candidate: Candidate, view: View) -> float:
        del view
        return -candidate.share
