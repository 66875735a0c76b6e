"""What a principal may use, as far as that stands in the principal: models and routes. No I/O, no waiting."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import ip_address, ip_network

from wayport.access.principal import Holder, Principal
from wayport.access.refusals import Compat, address_denied, model_denied, route_denied

_EVERY_MODEL = frozenset({"*", "all-proxy-models", "all-team-models"})

_LLM = (
    "/chat/completions",
    "/completions",
    "/embeddings",
    "/responses",
    "/responses/*",
    "/conversations",
    "/conversations/*",
    "/images/*",
    "/audio/*",
    "/rerank",
    "/moderations",
    "/models",
    "/models/*",
    "/batches",
    "/batches/*",
    "/files",
    "/files/*",
    "/realtime",
    "/openai/*",
    "/engines/*",
    "/messages",
    "/messages/*",
    "/v1beta/*",
    "/utils/token_counter",
    "/utils/transform_request",
)
_ANTHROPIC = ("/messages", "/messages/*")
_MANAGEMENT = (
    "/key/*", "/v2/key/*", "/user/*", "/v2/user/*", "/team/*", "/v2/team/*", "/organization/*", "/v2/organization/*",
    "/project/*",
    "/customer/*", "/end_user/*", "/budget/*", "/tag/*", "/access_group", "/access_group/*", "/unified_access_group",
    "/unified_access_group/*", "/audit", "/audit/*", "/model/new", "/model/update", "/model/delete", "/model/*/update",
    "/credentials", "/credentials/*",
)  # fmt: skip
_INFO = (
    "/key/info", "/v2/key/info", "/key/list", "/key/aliases", "/key/health", "/user/info", "/v2/user/info", "/user/list",
    "/team/info", "/team/list", "/v2/team/list", "/organization/info", "/organization/list",
    "/project/info", "/project/list", "/model/info",
    "/v2/model/info", "/model_group/info", "/models", "/models/*", "/health/*", "/budget/effective",
)  # fmt: skip
_SPEND = ("/spend/*", "/global/spend/*")

_OF_TEAM = "team="

ROUTE_GROUPS = {
    "llm_api_routes": _LLM,
    "openai_routes": _LLM,
    "anthropic_routes": _ANTHROPIC,
    "management_routes": _MANAGEMENT,
    "info_routes": _INFO,
    "spend_tracking_routes": _SPEND,
}
"""names for many routes at once, as keys made for LiteLLM use them"""


def allow(
    principal: Principal,
    asked: str,
    name: str = "",
    *,
    groups: Iterable[str] = (),
    beside: Iterable[Holder] = (),
    compat: Compat = "wayport",
) -> None:
    """Raises `PermissionDenied` unless the model may be used: by the name that was asked for, by the name of the model
    that it led to, or by an access group that the model is in. Every list binds: the key's, its team's … and those of
    the end user and the tags `beside` it.
    """
    if groups and _anothers(principal, groups):
        raise model_denied(compat, asked, principal.models)
    if principal.models and not _in(principal.models, asked, name, groups):
        raise model_denied(compat, asked, principal.models)
    for bound in principal.bounds:
        if not _in(bound.models, asked, name, groups):
            raise model_denied(compat, asked, bound.models, scope=bound.scope)
    for holder in beside:
        if holder.models and not _in(holder.models, asked, name, groups):
            raise model_denied(compat, asked, holder.models, scope=holder.scope, name=holder.id)


def of_team(team_id: str) -> str:
    """The group that a team's own models are in: no key of anybody else uses them, whatever its lists say."""
    return f"{_OF_TEAM}{team_id}"


def is_a_teams(groups: Iterable[str]) -> bool:
    return any(group.startswith(_OF_TEAM) for group in groups)


def _anothers(principal: Principal, groups: Iterable[str]) -> bool:
    if principal.kind != "key":
        return False
    return any(group.startswith(_OF_TEAM) and group != of_team(principal.team_id or "") for group in groups)


def _in(models: Sequence[str], asked: str, name: str, groups: Iterable[str]) -> bool:
    return covers(models, asked) or (bool(name) and covers(models, name)) or any(group in models for group in groups)


def may_use(principal: Principal, name: str, groups: Iterable[str] = (), beside: Iterable[Holder] = ()) -> bool:
    """Whether a model of this name, or a group that it is in, stands in every list that binds the principal, and those
    `beside` it.
    """
    if groups and _anothers(principal, groups):
        return False
    if principal.models and not _in(principal.models, name, "", groups):
        return False
    lists = (*(bound.models for bound in principal.bounds), *(holder.models for holder in beside if holder.models))
    return all(_in(models, name, "", groups) for models in lists)


def covers(models: Sequence[str], name: str) -> bool:
    if name in models:
        return True
    return any(entry in _EVERY_MODEL or ("*" in entry and _pattern(entry).fullmatch(name)) for entry in models)


def allow_address(principal: Principal, address: str, *, compat: Compat = "wayport") -> None:
    """Raises `PermissionDenied` unless the key may be used from there."""
    if principal.ips and not any(_contains(network, address) for network in principal.ips):
        raise address_denied(compat, address)


@lru_cache(maxsize=4096)
def _contains(network: str, address: str) -> bool:
    try:
        known = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(known, "ipv4_mapped", None)
    return (mapped or known) in ip_network(network, strict=False)


def allow_route(principal: Principal, route: str, *, compat: Compat = "wayport") -> None:
    """Raises `PermissionDenied` unless the path may be called. `/v1` before it makes no difference."""
    if not may_call(principal, route):
        raise route_denied(compat, route)


def may_call(principal: Principal, route: str) -> bool:
    routes = principal.routes
    if not routes or route in routes:
        return True
    short = route.removeprefix("/v1")
    for entry in routes:
        paths = ROUTE_GROUPS.get(entry) or (entry.removeprefix("/v1"),)
        if any(path == short or ("*" in path and _pattern(path).fullmatch(short)) for path in paths):
            return True
    return False


@lru_cache(maxsize=4096)
def _pattern(entry: str) -> re.Pattern[str]:
    """`*` stands for any text; everything else is meant as it is written."""
    return re.compile(".*".join(map(re.escape, entry.split("*"))), re.DOTALL)
