"""`latency-based-routing`: the fastest by what was seen lately, per output token, or to the first token of a stream.

Among those nearly as fast as the best chance decides; who was never asked counts as fast.
"""

from collections.abc import Sequence

from wayport.routing.group import Candidate
from wayport.routing.live import FORGET_S
from wayport.routing.strategies.strategy import View

_NEARLY = 0.1


class LatencyBased:
    def choose(self, able: Sequence[Candidate], view: View) -> Candidate:
        now_s, stream = view.now_s, view.needs.stream
        # As `Live.pace_s` has it, written out: a call each would be most of the time that a choice takes.
        since_s = now_s + FORGET_S
        if stream:
            paces = [((x := c.live).first_s or x.token_s) / (since_s - x.seen_s) for c in able]
        else:
            paces = [((x := c.live).token_s or x.first_s) / (since_s - x.seen_s) for c in able]
        if (ttl_s := view.args.ttl_s) is not None:
            paces = [pace if now_s - c.live.seen_s <= ttl_s else 0.0 for c, pace in zip(able, paces, strict=True)]
        buffer = view.args.lowest_latency_buffer
        limit = min(paces) * (1 + (_NEARLY if buffer is None else buffer))
        near = [candidate for candidate, pace in zip(able, paces, strict=True) if pace <= limit]
        return near[0] if len(near) == 1 else view.random.choice(near)

    def score(self, candidate: Candidate, view: View) -> float:
        return candidate.live.pace_s(view.now_s, stream=view.needs.stream)
