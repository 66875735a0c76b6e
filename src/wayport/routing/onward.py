"""Which models take over after which fault."""

from collections.abc import Iterable, Sequence

from wayport.core.errors import Fault, FaultClass
from wayport.routing.group import price_of
from wayport.routing.needs import Needs, lacks
from wayport.routing.snapshot import Model, RouterPolicy
from wayport.routing.table import Found
from wayport.routing.wishes import Link, Wishes

_NOT_ANY_OTHER: frozenset[FaultClass] = frozenset({"bad_request", "permission", "content_policy"})
"""not answered by just any other model: the operator names those who may"""
_DEAREST = 1 << 62


def allowed(policy: RouterPolicy, fault: Fault) -> bool:
    """Whether the `on_*` switches let this fault lead on."""
    rules = policy.fallbacks
    if fault.kind == "rate_limit":
        return rules.on_rate_limit
    if fault.kind == "context_window":
        return rules.on_context_window
    return rules.on_error


def links(model: Model, policy: RouterPolicy, wishes: Wishes, fault: Fault) -> tuple[Sequence[Link], bool]:
    """The models written for this fault, and whether it was the client that named them."""
    if fault.kind == "context_window":
        if wishes.context_window is not None:
            return wishes.context_window, True
        if model.context_window_fallbacks:
            return [Link(name) for name in model.context_window_fallbacks], False
    if fault.kind == "content_policy":
        if wishes.content_policy is not None:
            return wishes.content_policy, True
        return [Link(name) for name in model.content_policy_fallbacks], False
    if wishes.fallbacks is not None:
        return wishes.fallbacks, True
    return [Link(name) for name in model.fallbacks or policy.fallbacks.default], False


def for_any_other(fault: Fault) -> bool:
    return fault.kind not in _NOT_ANY_OTHER


def any_other(current: Found, others: Iterable[Found], needs: Needs) -> list[Found]:
    """Every other model that can serve the request: those of the same provider first, then by price."""
    providers = {d.provider for d in current.deployments}
    mode = current.deployments[0].mode if current.deployments else "chat"

    def rank(found: Found) -> tuple[bool, int]:
        prices = [price_of(d) for d in found.deployments]
        dearest = max((_DEAREST if price is None else price for price in prices), default=_DEAREST)
        return not any(d.provider in providers for d in found.deployments), dearest

    # A deployment without an address is built in (echo): no substitute for a model.
    able = [
        found
        for found in others
        if any(
            d.mode == mode and d.base_url and not d.missing and lacks(d, needs, strict=False) is None
            for d in found.deployments
        )
    ]
    return sorted(able, key=rank)
