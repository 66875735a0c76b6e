"""What a strategy is: it is given the deployments that may be called now, and says which.

What must stay true: no I/O; deterministic under the random source that it is given.
"""

from collections.abc import Sequence
from itertools import accumulate
from random import Random
from typing import Protocol

from msgspec import Struct

from wayport.core.strategy import PLAIN, StrategyArgs
from wayport.routing.group import Candidate
from wayport.routing.needs import Needs

_RARE = 16
"""one in so many is looked for in order rather than by chance"""


class View(Struct, frozen=True):
    """What is known at the moment of a choice."""

    now_s: float
    """steady seconds, as the live states count them"""
    random: Random
    needs: Needs
    group: str
    """name of the model"""
    cumulative: Sequence[float] = ()
    """the running sum of the shares, if it is worked out already"""
    args: StrategyArgs = PLAIN
    ahead: bool = False
    """`now_s` may be yet to come: it is chosen for a retry after a wait"""


class Strategy(Protocol):
    def choose(self, able: Sequence[Candidate], view: View) -> Candidate:
        """One of `able`, which has at least two."""
        ...

    def score(self, candidate: Candidate, view: View) -> float:
        """What it goes by, for people to read; a lower one is better."""
        ...


def lowest(able: Sequence[Candidate], scores: Sequence[float], random: Random) -> Candidate:
    """The best; chance decides between equals, or all calls of a quiet moment would meet at one place."""
    best = min(scores)
    count = scores.count(best)
    if count == len(able):
        return random.choice(able)
    at = scores.index(best)
    if count == 1:
        return able[at]
    # Both ways all equals are as likely, and neither lists them.
    places = range(len(scores))
    if count * _RARE > len(scores):
        while scores[at := random.choice(places)] != best:
            pass
        return able[at]
    for _ in range(random.choice(range(count))):
        at = scores.index(best, at + 1)
    return able[at]


def running(able: Sequence[Candidate], view: View) -> Sequence[float]:
    """The running sum of the shares; all alike where those that have one may not be called now."""
    sums = view.cumulative or list(accumulate([candidate.share for candidate in able]))
    return sums if sums[-1] > 0 else range(1, len(able) + 1)
