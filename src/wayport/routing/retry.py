"""How often a failure is met with another try, and after what wait."""

from collections.abc import Mapping
from random import Random

from wayport.core.errors import Fault, FaultClass

FINAL: frozenset[FaultClass] = frozenset({"bad_request", "unsupported_param"})
"""the request itself is wrong: no other deployment would take it"""
NOT_AGAIN: frozenset[FaultClass] = frozenset(
    {"authentication", "permission", "quota", "not_found", "context_window", "content_policy"}
)
"""this deployment would say the same again"""
LONGEST_WAIT_S = 60.0
_FIRST_BACKOFF_S = 0.5
_LARGEST_BACKOFF_S = 8.0


def backoff_s(fault: Fault, attempts: int, random: Random) -> float | None:
    """Full jitter around an exponential; the upstream's own word wins. None: too long to keep a caller waiting."""
    if fault.retry_after_s is not None:
        return fault.retry_after_s if fault.retry_after_s <= LONGEST_WAIT_S else None
    return random.uniform(0, min(_LARGEST_BACKOFF_S, _FIRST_BACKOFF_S * 2 ** (attempts - 1)))


def retries_for(kind: FaultClass, policies: tuple[Mapping[str, int], ...], otherwise: int) -> int:
    """Further attempts after a failure of this class: the first policy that names it, or `default`, decides."""
    for policy in policies:
        if policy:
            found = policy.get(kind, policy.get("default"))
            if found is not None:
                return found
    return otherwise
