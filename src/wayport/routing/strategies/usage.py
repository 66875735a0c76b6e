"""`usage-based-routing(-v2)`: who has used the smallest share of its `tpm` and `rpm` in this minute."""

from collections.abc import Sequence

from wayport.routing.group import WHOLE_SHARE, Candidate
from wayport.routing.live import MINUTE_S
from wayport.routing.strategies.strategy import View, lowest


class UsageBased:
    def choose(self, able: Sequence[Candidate], view: View) -> Candidate:
        now_s = view.now_s
        # Written out: one call for each of a thousand deployments would be most of the time that a choice takes.
        since_s = now_s - MINUTE_S
        scores = [
            live.requests * c.of_request + live.tokens * c.of_token if (live := c.live).minute_began_s > since_s else 0
            for c in able
        ]
        return lowest(able, scores, view.random)

    def score(self, candidate: Candidate, view: View) -> float:
        live, now_s = candidate.live, view.now_s
        used = live.requests_now(now_s) * candidate.of_request + live.tokens_now(now_s) * candidate.of_token
        return used / WHOLE_SHARE
