"""Refusals of callers, in our words and in those that LiteLLM's clients look for. Nothing here holds a whole key."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

from wayport.access.gauges import Gauge
from wayport.core.clock import Clock
from wayport.core.errors import BadRequest, PermissionDenied, RateLimited, Unauthenticated, Unavailable, WayportError
from wayport.core.money import usd_text

Compat = Literal["wayport", "litellm"]

_HOW = "Send it as `Authorization: Bearer sk-…`."
_LISTED = 20
_SPANS = {60: "minute", 3600: "hour", 86_400: "day"}
_LITELLM_SCOPES = {
    "key": "api_key", "team_member": "TeamMember", "team": "Team", "user": "User", "organization": "Organization",
    "project": "Project", "end_user": "End User", "tag": "Tag", "gateway": "Proxy", "model": "Model",
}  # fmt: skip
_LITELLM_KINDS = {"slots": "max_parallel_requests", "requests": "requests", "tokens": "tokens"}
_UNBLOCK = {"Project": "/project/update", "User": "/user/update", "Organization": "/organization/update"}


def shown(key: bytes) -> str:
    """What may be said of a key: its last four characters, if it has enough others."""
    text = key.decode("utf-8", "replace")
    return f"sk-...{text[-4:]}" if len(text) >= 12 else "sk-..."


def no_key(compat: Compat) -> WayportError:
    if compat == "litellm":
        return _typed(Unauthenticated("Authentication Error, No api key passed in."), "auth_error")
    return Unauthenticated(f"No API key was sent. {_HOW}")


def malformed_key(compat: Compat, key: bytes) -> WayportError:
    if compat == "litellm":
        text = (
            f"Authentication Error, LiteLLM Virtual Key expected. Received={shown(key)}, expected to start with 'sk-'."
        )
        return _typed(Unauthenticated(text), "auth_error")
    return Unauthenticated("The API key that was sent is none of ours: those begin with `sk-`.")


def unknown_key(compat: Compat, key: bytes, key_hash: str) -> WayportError:
    if compat == "litellm":
        text = (
            "Authentication Error, Invalid proxy server token passed. "
            f"Received API Key = {shown(key)}, key hash = {key_hash}."
        )
        return _typed(Unauthenticated(text, param="key"), "token_not_found_in_db")
    return Unauthenticated(f"The API key {shown(key)} is not known here. Check it, or ask the operator for one.")


def expired_key(compat: Compat, key: bytes) -> WayportError:
    if compat == "litellm":
        return _typed(Unauthenticated("Authentication Error - Expired Key.", param="key"), "expired_key")
    return Unauthenticated(f"The API key {shown(key)} has expired. Ask the operator for a new one.", code="key_expired")


def blocked_key(compat: Compat, key: bytes, *, by: str | None = None) -> WayportError:
    """`by`: who is blocked, if not the key itself (`Team=blue`)."""
    if compat == "litellm":
        route = _UNBLOCK.get((by or "").partition("=")[0], "/team/unblock")
        text = f"{by} is blocked. Update via `{route}`" if by else "Key is blocked. Update via `/key/unblock`"
        return _typed(Unauthenticated(f"Authentication Error, {text} if you're admin."), "auth_error")
    if by:
        return Unauthenticated(f"The API key {shown(key)} is refused: {by} is blocked.", code="key_blocked")
    return Unauthenticated(f"The API key {shown(key)} is blocked by the operator.", code="key_blocked")


def model_denied(
    compat: Compat, model: str, allowed: Sequence[str], *, scope: str = "key", name: str | None = None
) -> WayportError:
    """`scope`: whose list of models says so; `name`: of an end user or a tag, which is not the key's."""
    if compat == "litellm":
        word = {"organization": "org", "team_member": "team", "end_user": "customer"}.get(scope, scope)
        text = (
            f"{word} not allowed to access model. This {word} can only access models={list(allowed)}. "
            f"Tried to access {model}"
        )
        return _typed(PermissionDenied(text, param="model"), f"{word}_model_access_denied")
    names = ", ".join(allowed[:_LISTED]) + (" …" if len(allowed) > _LISTED else "")
    said = scope.replace("_", " ")
    whose = f"The {said} {name!r}" if name is not None else "This key" if scope == "key" else f"This key's {said}"
    return PermissionDenied(
        f"{whose} may not use the model {model!r}. It may use: {names}.", param="model", code="model_not_allowed"
    )


def address_denied(compat: Compat, address: str) -> WayportError:
    if compat == "litellm":
        text = f"Access forbidden: IP address not allowed. Received={address}"
        return _typed(PermissionDenied(text), "auth_error")
    return PermissionDenied(f"This key may not be used from {address}.", code="address_not_allowed")


def end_user_blocked(compat: Compat, end_user: str) -> WayportError:
    if compat == "litellm":
        error = BadRequest(f"User blocked from making LLM API Calls. User={end_user}", param="user")
        return _typed(error, "auth_error")
    return PermissionDenied(f"The end user {end_user!r} is blocked by the operator.", param="user", code="user_blocked")


def route_denied(compat: Compat, route: str) -> WayportError:
    if compat == "litellm":
        return _typed(PermissionDenied(f"Virtual key is not allowed to call this route. Route={route}"), "auth_error")
    return PermissionDenied(f"This key may not call {route}.", code="route_not_allowed")


def admins_only(compat: Compat, route: str) -> WayportError:
    if compat == "litellm":
        text = (
            "Authentication Error, Only proxy admin can be used to generate, delete, update info for new "
            f"keys/users/teams. Route={route}."
        )
        return _typed(Unauthenticated(text), "auth_error")
    return PermissionDenied(f"{route} is for administrators: use the master key.", code="admin_only")


def rate_limited(compat: Compat, gauge: Gauge, clock: Clock) -> WayportError:
    """One of our own limits on requests, tokens or calls at a time."""
    wait_s = max(0.0, min(gauge.ends_s - clock.steady_s(), gauge.per_s)) if gauge.kind != "slots" else 1.0
    resets = datetime.fromtimestamp(clock.now_s() + wait_s, tz=UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    error = RateLimited(
        _litellms_rate(gauge, resets) if compat == "litellm" else _our_rate(gauge), retry_after_s=max(1.0, wait_s)
    )
    if gauge.kind != "slots":
        named = "requests" if gauge.kind == "requests" else "tokens"
        error.limits = (
            f"x-ratelimit-limit-{named}: {gauge.limit}\r\nx-ratelimit-remaining-{named}: 0\r\n"
            f"x-ratelimit-reset-{named}: {math.ceil(wait_s)}s\r\n"
        ).encode()
    if compat == "litellm":
        _typed(error, "throttling_error")
        error.limits += f"rate_limit_type: {_LITELLM_KINDS[gauge.kind]}\r\nreset_at: {resets}\r\n".encode()
    return error


def _our_rate(gauge: Gauge) -> str:
    what = {"slots": "calls at a time", "requests": "requests"}.get(gauge.kind, gauge.of.replace("_", " "))
    per = "" if gauge.kind == "slots" else f" per {_SPANS.get(gauge.per_s, f'{gauge.per_s} s')}"
    return f"The limit of {gauge.limit} {what}{per} of {_who(gauge)} is reached."


def _litellms_rate(gauge: Gauge, resets: str) -> str:
    return (
        f"Rate limit exceeded for {_LITELLM_SCOPES.get(gauge.scope, gauge.scope)}: {gauge.name}. "
        f"Limit type: {_LITELLM_KINDS[gauge.kind]}. Current limit: {gauge.limit}, Remaining: 0. Limit resets at: {resets}"
    )


def budget_exceeded(compat: Compat, gauge: Gauge, settled: int, *, status: int | None = None) -> WayportError:
    """What has been spent has reached the budget."""
    if compat == "litellm":
        text = _litellms_budget(gauge, settled)
    else:
        text = (
            f"The budget of {_who(gauge)} ({usd_text(gauge.limit)} USD{_period(gauge)}) is spent. "
            "Ask the operator to raise it."
        )
    return _budget(compat, text, "budget_exceeded", status)


def budget_too_small(
    compat: Compat, gauge: Gauge, *, left: int, needed: int, status: int | None = None
) -> WayportError:
    """Nothing else is reserved, and what is left does not pay for the shortest answer to this call."""
    text = (
        f"What is left of the budget of {_who(gauge)} ({usd_text(left)} of {usd_text(gauge.limit)} USD{_period(gauge)}) "
        f"does not pay for this call, which may cost {usd_text(needed)} USD."
    )
    if compat == "litellm":
        text = f"{_litellms_budget(gauge, gauge.limit - left)}. {text}"
    return _budget(compat, text, "budget_exceeded", status)


def budget_reserved(compat: Compat, gauge: Gauge, *, needed: int, left: int) -> WayportError:
    """There is money, but calls in flight may need it."""
    error = RateLimited(
        f"This call may cost {usd_text(needed)} USD. Of the budget of {_who(gauge)} ({usd_text(gauge.limit)} USD"
        f"{_period(gauge)}) {usd_text(max(0, left))} are neither spent nor reserved by calls in flight. Try again when they "
        "have ended, or ask for a shorter answer.",
        code="budget_reserved",
        retry_after_s=1,
    )
    return _typed(error, "budget_reserved") if compat == "litellm" else error


def unbounded(model: str) -> WayportError:
    """A key with a budget asked for what has no price, or no most that it can cost."""
    return BadRequest(
        f"The model `{model}` has no price, or nothing bounds what the call may cost, and this key has a budget. Give the "
        "model a price and an output limit, or set `limits.unpriced: allow`.",
        param="model",
        code="unpriced",
    )


def spool_full() -> WayportError:
    return Unavailable(
        "What this call costs could not be written down (the journal is full), and this key has a budget.",
        code="journal_full",
        retry_after_s=5,
    )


def _litellms_budget(gauge: Gauge, spent: int) -> str:
    whose = "" if gauge.scope == "key" else f"{_LITELLM_SCOPES.get(gauge.scope, gauge.scope)}={gauge.name} "
    return f"Budget has been exceeded! {whose}Current cost: {usd_text(spent)}, Max budget: {usd_text(gauge.limit)}"


def _budget(compat: Compat, text: str, kind: str, status: int | None) -> WayportError:
    error = RateLimited(text, code=kind)
    error.retryable = False
    error.status = status or (422 if compat == "litellm" else 429)
    if compat == "litellm":
        return _typed(error, kind)
    error.type = kind
    return error


def _who(gauge: Gauge) -> str:
    scope = gauge.scope.replace("_", " ")
    if gauge.scope == "key":
        return "this key"
    return "the gateway" if gauge.scope == "gateway" else f"the {scope} {gauge.name!r}"


def _period(gauge: Gauge) -> str:
    return f" per {gauge.period}" if gauge.period else ""


def _typed(error: WayportError, kind: str) -> WayportError:
    error.type = kind
    # LiteLLM's clients read the status there.
    error.code = str(error.status)
    return error
