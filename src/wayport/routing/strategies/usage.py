"""`usage-based-routing(-v2)`: who has used the smallest share of its `tpm` and `rpm` in this minute."""

from collections.abc import Sequence

from wayport.routing.group import Candidate
from wayport.routing.live import WHOLE_SHARE
from wayport.routing.strategies.strategy import View, lowest


class UsageBased:
    def choose(self, able: Sequence[Candidate], view: View) -> Candidate:
        if view.ahead:
            scores = [candidate.live.weighed_at(view.now_s) for candidate in able]
        else:
            # To ask each of a thousand whether its minute is over would be half of the time that a choice takes.
            able[0].live.minutes.end(view.now_s)
            scores = [candidate.live.weighed for candidate in able]
        return lowest(able, scores, view.random)

    def score(self, candidate: Candidate, view: View) -> float:
        return candidate.live.weighed_at(view.now_s) / WHOLE_SHARE
