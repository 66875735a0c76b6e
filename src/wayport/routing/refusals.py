"""What the client is told when no deployment of a model can be called."""

from math import inf
from typing import Literal

from wayport.core.errors import (
    BadRequest,
    CredentialMissing,
    Fault,
    ModelNotFound,
    RateLimited,
    Unavailable,
    UpstreamFault,
    WayportError,
)
from wayport.routing.choice import Choice
from wayport.routing.group import Group
from wayport.routing.health import Blocked
from wayport.routing.table import Found

FULL = "deployment_limits"
_AS_BEFORE = frozenset({"rate_limit", "quota", "authentication", "permission", "not_found"})
"""faults that the next call would be told in the same words"""


def nobody(
    found: Found, group: Group, choice: Choice, now_s: float, *, compat: Literal["wayport", "litellm"]
) -> WayportError:
    if not group.able and not found.auto:
        missing = sorted({name for d in found.deployments for name in d.missing})
        return CredentialMissing(
            f"The model `{found.name}` has no credential: set {' or '.join(missing) or 'an api_key'} "
            "in the environment or in the configuration, then reload."
        )
    if choice.blocked is not None:
        return _resting(found, choice.blocked, now_s, compat)
    if choice.full_for_s is not None:
        return RateLimited(
            f"Every deployment of `{found.name}` has as many calls as it takes.",
            code=FULL,
            retry_after_s=max(1.0, choice.full_for_s),
        )
    why = "; ".join(sorted(set(choice.removed.values()))) or "there is none"
    if found.auto:
        return ModelNotFound(f"No model can take this request: {why}.", param="model", code="no_candidate")
    long = choice.lost_by == "context_window"
    refusal = BadRequest(
        f"No deployment of `{found.name}` can take this request: {why}.",
        code="context_length_exceeded" if long else "no_candidate",
    )
    if compat == "litellm" and choice.lost_by == "tags":
        # Its own status for this; clients and tests of its users look for it.
        refusal.status = 401
    return refusal


def _resting(found: Found, blocked: Blocked, now_s: float, compat: str) -> WayportError:
    left_s = max(0.0, blocked.until_s - now_s)
    before = blocked.fault
    if blocked.scope == "budget" and before.kind != "quota":
        why = f"No deployment of `{found.name}` can be called: {before.message}."
        return Unavailable(why, code="limits_unavailable", retry_after_s=1)
    if blocked.scope == "budget":
        again = f"; it begins anew in {left_s:.0f} s" if left_s < inf else ""
        return RateLimited(
            f"No deployment of `{found.name}` can be called: {before.message}{again}.",
            code="budget_exceeded",
            retry_after_s=max(1.0, left_s) if left_s < inf else None,
        )
    if compat == "litellm":
        return RateLimited(
            f"No deployments available for selected model. Try again in {left_s:.0f} seconds. "
            f"Passed model={found.name}. Last failure: {before.message[:200]}",
            retry_after_s=max(1.0, left_s),
        )
    kept = before.kind in _AS_BEFORE
    fault = Fault(
        kind=before.kind if kept else "overloaded",
        status=before.status if kept else 503,
        message=f"`{found.name}` is left alone for {left_s:.1f} s after: {before.message}",
        code="deployment_resting",
        retry_after_s=max(1.0, left_s),
        body_sent=False,
    )
    return UpstreamFault(fault)
