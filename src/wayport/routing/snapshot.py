"""The routing facts of one moment: models, deployments, prices, policies. Immutable, serialisable, swapped by reference.

Built by the control plane from the configuration and the database; a call keeps the one it began with. It travels as
JSON (`Raw` values are JSON text).
"""

import hashlib
from typing import Any, Literal

from msgspec import Raw, Struct, field

from wayport.core.net import ClientSide, Timeouts, TlsSettings
from wayport.core.price import Price
from wayport.core.probe import ProbeWay
from wayport.core.strategy import PLAIN, StrategyArgs
from wayport.dialects.dialect import Profile
from wayport.dialects.neutral import DialectName
from wayport.providers.provider import AuthStyle

CLIENTS_OWN = "client "
"""how the reference of a credential begins that came with a request"""
OWN_MARK = "~"
"""stands in the id of a deployment that a client has changed, for itself"""


class UpstreamCredential(Struct, kw_only=True, frozen=True):
    """The secret that we present upstream. Its `repr` shows the reference only."""

    reference: str = ""
    """where it came from: `env OPENAI_API_KEY`, `config`; what may be shown"""
    value: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    """for signers: `aws_region_name`, `vertex_credentials` …"""

    def __repr__(self) -> str:
        return f"UpstreamCredential({self.reference!r})"


class TargetBudget(Struct, kw_only=True, frozen=True):
    """What may be spent at a deployment, or at a provider."""

    counter: str
    """`deployment:<id>` or `provider:<name>`: whose it is"""
    max_nano_usd: int
    per: str | None = None
    """after this it begins anew; None: it is for good"""


class Deployment(Struct, kw_only=True, frozen=True):
    """One target: provider + upstream model + credential + region + limits, with all that is needed to call it."""

    id: str
    model: str
    """public name of the model (or wildcard pattern) that it serves"""
    provider: str
    upstream_model: str
    """may end in `*`: filled with what the client's name has in the pattern's place"""
    dialect: DialectName = "openai_chat"
    base_url: str = ""
    paths: dict[str, str] = field(default_factory=dict)
    """operation to path below the base URL; `{model}` still open"""
    auth: AuthStyle = AuthStyle()
    credential: UpstreamCredential = UpstreamCredential()
    missing: tuple[str, ...] = ()
    """variables of which one must be set; not empty: the deployment is unavailable"""
    headers: dict[str, str] = field(default_factory=dict)
    params: dict[str, Raw] = field(default_factory=dict)
    """body parameters that the operator sets, in the client dialect's (OpenAI's) names; a client's own value wins"""
    profile: Profile = Profile()
    price: Price | None = None
    info: dict[str, Raw] = field(default_factory=dict)
    """what the catalogue and `model_info` say; shown by /model/info"""
    timeouts: Timeouts = Timeouts()
    tls: TlsSettings | None = None
    proxy: str | None = None
    weight: float | None = None
    order: int | None = None
    rpm: int | None = None
    tpm: int | None = None
    max_parallel: int | None = None
    cooldown_s: float | None = None
    """how long it is left alone when it fails and names no time; None: `RouterPolicy.cooldown_s`"""
    allowed_fails: dict[str, int] = field(default_factory=dict)
    """failures in a minute that open no breaker, by class of failure or `default`; empty: the breaker's own rules"""
    budget: TargetBudget | None = None
    probe: ProbeWay = ProbeWay()
    tags: tuple[str, ...] = ()
    region: str | None = None
    pool: str = ""
    """the same for deployments that differ in their credential alone: they are one link of a chain"""
    mode: str = "chat"
    """chat, embedding, completion …: what the model is for"""
    context_window: int | None = None
    max_output_tokens: int | None = None
    drop_params: bool = True
    signed: bool = False
    """the credential needs the provider's signer"""
    follows: bool = False
    """the first answer may be a job, whose result the provider knows how to ask for"""
    client: ClientSide | None = None
    """what a client may say itself; None: nothing"""
    shown: dict[str, Raw] = field(default_factory=dict)
    """what /model/info tells of LiteLLM's `litellm_params`, as they were written"""
    mocks: dict[str, Raw] = field(default_factory=dict)
    """answers or failures that are made up instead of calling it (`mock_response` …)"""
    address: str = ""
    """the only one that may be connected to; empty: whatever the host's name leads to"""
    unvouched: bool = False
    """a client named the address: what it states of its answers is a client's word"""
    behaves_like: str = ""
    """the provider whose signer and follow-up questions it has, if not its own"""

    @property
    def told(self) -> dict[str, Raw]:
        """`shown`, without the pattern that a wildcard's model was written as."""
        return {name: value for name, value in self.shown.items() if name != "model" or b"*" not in bytes(value)}

    @property
    def clients_own(self) -> bool:
        """Whether it is called with a client's credential, or none: not on the operator's account."""
        return self.credential.reference.startswith(CLIENTS_OWN)


def deployment_id(model: str, provider: str, upstream_model: str, credential_reference: str, region: str | None) -> str:
    """Stable over reloads, so that breakers, windows and pools survive them."""
    text = "\n".join((model, provider, upstream_model, credential_reference, region or ""))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Model(Struct, kw_only=True, frozen=True):
    """A name that clients send, and the group of deployments behind it."""

    name: str
    deployments: tuple[Deployment, ...] = ()
    hidden: bool = False
    """works, but is not listed"""
    expanded: bool = False
    """a pattern in whose place models are listed"""
    access_groups: tuple[str, ...] = ()
    fallbacks: tuple[str, ...] = ()
    context_window_fallbacks: tuple[str, ...] = ()
    content_policy_fallbacks: tuple[str, ...] = ()
    ordered: bool = False
    """the deployments are a chain, tried in order (our own format and the host config), not a balanced group"""
    num_retries: int | None = None
    strategy: str | None = None
    strategy_args: StrategyArgs = PLAIN
    retries: dict[str, int] = field(default_factory=dict)
    """further attempts by class of failure (`rate_limit`, …, `default`); wins over `num_retries`"""


class FallbackRules(Struct, kw_only=True, frozen=True):
    on_rate_limit: bool = True
    on_context_window: bool = True
    on_error: bool = True
    any_other: bool = False
    """`fallbacks: true`: any other deployment that can serve the request"""
    default: tuple[str, ...] = ()
    max_hops: int = 5


class ProbePolicy(Struct, kw_only=True, frozen=True):
    """What follows from probes that are made in the background."""

    background: bool = False
    """they are made at all"""
    route: bool = False
    """who did not answer is left alone"""
    stale_s: float = 660.0
    """how long a result counts"""
    ignore_transient: bool = False
    """a 429 or a timeout is no reason"""


class QueuePolicy(Struct, kw_only=True, frozen=True):
    """Whether calls wait where every deployment has as many as it takes."""

    wait_s: float = 0.0
    """for so long at most; 0: they do not"""
    stated_wait_s: float = 0.0
    """the same for those that state their priority"""
    length: int = 1000
    """so many for one model"""
    priority: int = 0
    """of those that state none; the lowest goes first"""


class RouterPolicy(Struct, kw_only=True, frozen=True):
    strategy: str = "simple-shuffle"
    num_retries: int = 2
    cooldown_s: float = 5.0
    learn_params: bool = True
    """optional parameters that a deployment refuses are left out once, and from then on if that helped"""
    """how long a failing deployment is left alone when the upstream names no time"""
    fallbacks: FallbackRules = FallbackRules()
    request_timeout_s: float | None = None
    """for a whole call with all its attempts"""
    retries: dict[str, int] = field(default_factory=dict)
    """as `Model.retries`, for all models"""
    tag_filtering: bool = True
    tag_match_any: bool = True
    """one of the request's tags is enough"""
    pre_call_checks: bool = True
    """deployments that surely cannot take a request are passed over"""
    affinity: tuple[str, ...] = ("session", "response")
    """what leads back to the same deployment: `session`, `response` (a stored one), `prompt_cache`"""
    probes: ProbePolicy = ProbePolicy()
    queue: QueuePolicy = QueuePolicy()
    mocks: bool = False
    """whether clients may have answers and failures made up (`mock_response` …)"""


class ImplicitProvider(Struct, kw_only=True, frozen=True):
    """A provider whose models may be called as `provider/model` although nobody configured them."""

    provider: str
    template: Deployment
    """`upstream_model` is `*`"""
    asked: bool = False
    """its upstream is asked for its list of models"""


class Snapshot(Struct, kw_only=True, frozen=True):
    version: int = 0
    models: dict[str, Model] = field(default_factory=dict)
    """exact names"""
    wildcards: tuple[Model, ...] = ()
    """names with `*`, most specific first"""
    blocked: tuple[Model, ...] = ()
    """nobody may call these; whoever could use them otherwise sees them in lists of deployments"""
    aliases: dict[str, str] = field(default_factory=dict)
    """other names of models; may hold `*` patterns, most specific first"""
    hidden_aliases: frozenset[str] = frozenset()
    implicit: dict[str, ImplicitProvider] = field(default_factory=dict)
    """prefix to provider; empty unless implicit models are on"""
    families: dict[str, str] = field(default_factory=dict)
    """bare catalogue and family names to `provider/model` (without a config file)"""
    provider_budgets: dict[str, TargetBudget] = field(default_factory=dict)
    router: RouterPolicy = RouterPolicy()
    compat: Literal["wayport", "litellm"] = "wayport"
    """headers, error wording and statuses for those who come from LiteLLM"""
    response_model: Literal["requested", "upstream"] = "upstream"
    drop_params: bool = True
    implicit_models: bool = False
    limits: dict[str, dict[str, Any]] = field(default_factory=dict)
    """what may be used of a model at most, whoever calls (access/terms.py); the empty name: of the whole gateway"""
    warnings: tuple[str, ...] = ()
