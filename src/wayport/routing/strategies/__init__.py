"""The strategies by name. A new one is one file with a `Strategy`, and one line here."""

import logging
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import entry_points

from wayport.routing.strategies.cost import CostBased
from wayport.routing.strategies.latency import LatencyBased
from wayport.routing.strategies.least_busy import LeastBusy
from wayport.routing.strategies.power_of_two import PowerOfTwo
from wayport.routing.strategies.priority import Priority
from wayport.routing.strategies.round_robin import RoundRobin
from wayport.routing.strategies.shuffle import SimpleShuffle
from wayport.routing.strategies.strategy import Strategy
from wayport.routing.strategies.usage import UsageBased

__all__ = ["MAKERS", "SHORT", "Strategy", "known", "makers"]

log = logging.getLogger("wayport.routing")

MAKERS: dict[str, Callable[[], Strategy]] = {
    "simple-shuffle": SimpleShuffle,
    "power-of-two": PowerOfTwo,
    "least-busy": LeastBusy,
    "latency-based-routing": LatencyBased,
    "cost-based-routing": CostBased,
    "usage-based-routing": UsageBased,
    "usage-based-routing-v2": UsageBased,
    "priority": Priority,
    "round-robin": RoundRobin,
}
"""one object a worker each: a strategy may remember"""

SHORT = {
    "shuffle": "simple-shuffle",
    "latency-based": "latency-based-routing",
    "lowest-latency": "latency-based-routing",
    "cost-based": "cost-based-routing",
    "lowest-cost": "cost-based-routing",
    "usage-based": "usage-based-routing-v2",
}
"""other names of theirs"""


GROUP = "wayport.strategies"
"""entry points by which installed packages add strategies: a name, and what makes a `Strategy`"""


@cache
def makers() -> Mapping[str, Callable[[], Strategy]]:
    """Our own strategies and those of installed packages; looked for once in a process. A broken package adds nothing."""
    found = dict(MAKERS)
    for point in entry_points(group=GROUP):
        try:
            make = point.load()
        except Exception:
            log.exception("a strategy of an installed package cannot be used", extra={"strategy": point.name})
            continue
        found.setdefault(point.name, make)
    return found


def known(name: str) -> bool:
    return SHORT.get(name, name) in makers()
