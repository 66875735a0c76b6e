"""Who is calling, as every step behind authentication sees it; and what the data workers need to find it out."""

from typing import Literal, Protocol

from msgspec import Struct, field

Kind = Literal["master", "keyless", "key"]
Role = Literal["proxy_admin", "proxy_admin_viewer", "org_admin", "internal_user", "internal_user_viewer"]


class Limits(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """What a holder may use at most. None: no limit of this kind."""

    max_budget_nano_usd: int | None = None
    soft_budget_nano_usd: int | None = None
    """only warns"""
    budget_duration: str | None = None
    """`30d`: after this the budget begins anew; None: it is for good"""
    rpm: int | None = None
    """requests per minute"""
    tpm: int | None = None
    """tokens per minute"""
    max_parallel: int | None = None


Scope = Literal[
    "gateway",
    "organization",
    "team",
    "team_member",
    "project",
    "user",
    "key",
    "end_user",
    "tag",
    "model",
    "deployment",
    "provider",
]
RateOf = Literal["requests", "tokens", "input_tokens", "output_tokens"]

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400


class Budget(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Money per period. A holder may have several at once; each one binds.

    Its window follows from these fields and the clock alone (access/budgets.py), so nothing has to be reset by a job:
    spend is kept per window. A new anchor begins a new window, so `reset the spend` means `anchor_s=now`.
    """

    max_nano_usd: int | None = None
    """None: nothing binds; `soft_nano_usd` may still warn"""
    soft_nano_usd: int | None = None
    """only warns"""
    duration: str | None = None
    """`30d` (access/duration.py): after each such time the budget begins anew; None: it is for good"""
    anchor_s: float = 0.0
    """when its first window began: the moment the budget was made or begun anew. Every window begins a whole number of
    durations after it. A budget for good has no windows: it binds all that `wayport_spend` holds of its holder"""
    calendar: bool = False
    """windows follow the calendar (UTC): `1d` begins at midnight, `1w` on Monday, `1mo` and `30d` on the first"""
    increase_nano_usd: int = 0
    """on top of `max_nano_usd` until `increase_until_s`"""
    increase_until_s: float | None = None
    model: str | None = None
    """only calls of this model (the name that the client sends, or the one it led to) count and are bound"""


class Rate(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """So many requests or tokens in a window that begins with the first request. `rpm=60` is
    `Rate(of="requests", per_s=MINUTE_S, at_most=60)`.
    """

    of: RateOf
    per_s: int
    at_most: int
    model: str | None = None
    """only calls of this model"""


class Holder(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Someone or something whose limits bind a call: the key itself and all that stand above it.

    `scope` and `id` name its counters: they stay the same whatever else of it changes. Ids: key: its hash; user, team,
    organization, project, end_user: their id; team_member: `team_id/user_id`; tag: its name; model: its name;
    gateway: the empty string. Whoever has no limit at all is left out.
    """

    scope: Scope
    id: str
    name: str | None = None
    """how people know it (alias of a key or team); for messages"""
    budgets: tuple[Budget, ...] = ()
    rates: tuple[Rate, ...] = ()
    max_parallel: int | None = None
    parallel_of_model: dict[str, int] = field(default_factory=dict)
    """calls at a time, per model"""
    models: tuple[str, ...] = ()
    """the models that calls for it may use (end users and tags; of everyone else `Principal.bounds` says it); empty: all"""
    blocked: bool = False
    """calls for it are refused (end users; of everyone else the principal says it)"""
    region: str | None = None
    """where deployments must be that answer calls for it: `eu` (end users)"""


def rates_of(
    *,
    rpm: int | None = None,
    tpm: int | None = None,
    input_tpm: int | None = None,
    output_tpm: int | None = None,
    rph: int | None = None,
    tph: int | None = None,
    rpd: int | None = None,
    tpd: int | None = None,
    model: str | None = None,
) -> tuple[Rate, ...]:
    """Limits as people write them (requests, tokens; per minute, hour, day) as `Holder.rates` has them."""
    given: tuple[tuple[RateOf, int, int | None], ...] = (
        ("requests", MINUTE_S, rpm),
        ("tokens", MINUTE_S, tpm),
        ("input_tokens", MINUTE_S, input_tpm),
        ("output_tokens", MINUTE_S, output_tpm),
        ("requests", HOUR_S, rph),
        ("tokens", HOUR_S, tph),
        ("requests", DAY_S, rpd),
        ("tokens", DAY_S, tpd),
    )
    return tuple(Rate(of=of, per_s=per_s, at_most=most, model=model) for of, per_s, most in given if most is not None)


AskedFor = Literal["end_user", "tag"]


class ModelBound(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A list of models that one of those above the key may use; the key's own list holds beside it."""

    scope: Scope
    id: str
    models: tuple[str, ...]


class Principal(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Key, user, team and organisation of a caller. Immutable: it is shared by all calls of a key."""

    kind: Kind
    key_hash: str | None = None
    key_alias: str | None = None
    user_id: str | None = None
    team_id: str | None = None
    organization_id: str | None = None
    project_id: str | None = None
    role: Role | None = None
    """None: may call models and look at itself"""
    models: tuple[str, ...] = ()
    """names, access groups and `*` patterns; empty: all"""
    routes: tuple[str, ...] = ()
    """paths, groups of routes and `/x/*` patterns; empty: what its role may"""
    tags: tuple[str, ...] = ()
    metadata: bytes | None = None
    """the key's metadata object as JSON"""
    expires_s: float | None = None
    blocked: bool = False
    blocked_by: str | None = None
    """who is blocked, if not the key itself: `Team=blue`"""
    bounds: tuple[ModelBound, ...] = ()
    """the lists of models of those above the key, where they have one"""
    aliases: dict[str, str] = field(default_factory=dict)
    """names that this key's calls may say for other models: the key's own, then its team's"""
    ips: tuple[str, ...] = ()
    """addresses and networks from which the key may be used; empty: any"""
    limits: Limits = Limits()
    """the key's own, as it was made; what binds is `holders`"""
    holders: tuple[Holder, ...] = ()
    """all whose limits bind every call of this key: the key itself, then everyone above it (user, team member, team,
    project, organization, gateway) and `model` holders. Filled by the control process"""
    asks: tuple[AskedFor, ...] = ()
    """who else may bind a call and is known from the request alone: its end user (`user`, headers) and its tags
    (`metadata.tags`, headers; the key's own are in `tags`). Empty unless some end user or tag, or a default for them,
    has a limit: then a worker asks nobody"""


class Control(Protocol):
    """What a worker asks the control process."""

    async def principal(self, key_hash: str) -> Principal | None:
        """Whose key this is; None: nobody's. Raises `Unavailable` when that cannot be known now."""
        ...


class HolderSource(Protocol):
    """What a worker asks the control process of those who are known per request only.

    The worker remembers an answer (None, too) for a minute, asks once however many calls wait for it, and forgets when
    it is told that a holder has changed. Defaults for unknown end users are the control side's: it answers with a holder
    that carries them.
    """

    async def holder(self, scope: AskedFor, holder_id: str) -> Holder | None:
        """The holder, or None: no limit binds it. Raises `Unavailable`."""
        ...
