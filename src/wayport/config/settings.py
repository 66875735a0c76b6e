"""The result of loading a configuration: one typed value, the same whichever spelling it was written in.

It travels as JSON to child processes (`to_json`, `from_json`); in `repr` every secret is stars.
"""

from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct, field

from wayport.config.observing import (
    AlertSettings,
    BodiesSettings,
    MetricsSettings,
    RetentionSettings,
    TracingSettings,
)
from wayport.core.net import ClientSide, TlsSettings
from wayport.core.probe import ProbeWay
from wayport.core.secret import Secret
from wayport.core.strategy import StrategyArgs

Spelling = Literal["none", "wayport", "litellm", "host"]
AuthMode = Literal["key", "keyless"]
SpoolSync = Literal["os", "1s", "always"]
SpoolFull = Literal["serve", "refuse"]
LogLevel = Literal["debug", "info", "warning", "error"]
Compat = Literal["wayport", "litellm"]
ResponseModel = Literal["requested", "upstream"]

LOOPBACK = frozenset({"127.0.0.1", "::1"})


class Limits(Struct, kw_only=True, frozen=True):
    """What one data worker takes on at most."""

    head_bytes: int = 64 * 1024
    head_timeout_s: float = 10.0
    body_bytes: int = 100 * 1024 * 1024
    body_idle_timeout_s: float = 30.0
    connections: int = 10_000
    calls_in_flight: int = 4_000
    request_bytes_in_flight: int = 512 * 1024 * 1024
    """bodies of all calls together"""


class ServerSettings(Struct, kw_only=True, frozen=True):
    host: str = ""
    """empty until the end of loading: then 127.0.0.1, or what the container image says"""
    port: int = 4000
    workers: int = 1
    tls_cert: str | None = None
    tls_key: str | None = None
    cors_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    """addresses and networks whose `x-forwarded-for` is believed"""
    client_credentials: ClientSide | None = None
    """of every deployment that says nothing else"""
    client_networks: tuple[str, ...] = ()
    """networks that are not public and that a client's address may lie in"""
    root_path: str = ""
    """the path below which a balancer serves us: starts with a slash and does not end in one; or empty"""
    drain_delay_s: float = 5.0
    grace_s: float = 30.0
    probe_local_servers: bool = True
    """look for Ollama, vLLM and LM Studio at start; only without a config file"""
    discover_models_s: float = 300.0
    """how often upstreams behind wildcards are asked for their models; 0: never"""
    limits: Limits = Limits()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where to listen. Loopback is both of its addresses, as `localhost` means either."""
        return ("127.0.0.1", "::1") if self.host == "127.0.0.1" else (self.host,)

    @property
    def loopback(self) -> bool:
        return self.host in LOOPBACK


class AuthSettings(Struct, kw_only=True, frozen=True):
    mode: AuthMode = "key"
    reason: str = ""
    """why nobody is asked for a key, or why one is generated"""
    master_keys: tuple[Secret, ...] = ()
    """any of them is the administrator's; several overlap during a rotation"""
    source: str = ""
    """where the master key came from: `env LITELLM_MASTER_KEY`, `config`, `file …`; may be shown"""
    generate: bool = False
    """no master key is configured and one is needed: see `auth.ensure_master_key`"""
    allow_weak_master_key: bool = False
    header_names: tuple[str, ...] = ()
    """headers that carry the key before all others are looked at"""
    salt_key: Secret | None = None


class StorageSettings(Struct, kw_only=True, frozen=True):
    data_dir: str = ""
    database_url: Secret = Secret("")
    """with its driver: `postgresql+asyncpg://…`, `sqlite+aiosqlite:///…`"""
    redis_url: Secret | None = None


class SpoolSettings(Struct, kw_only=True, frozen=True):
    sync: SpoolSync = "1s"
    max_bytes: int = 1024 * 1024 * 1024
    on_full: SpoolFull = "serve"


class LoggingSettings(Struct, kw_only=True, frozen=True):
    level: LogLevel = "info"
    json: bool = True


class MediaSettings(Struct, kw_only=True, frozen=True):
    """What Wayport fetches for targets that cannot fetch a URL themselves."""

    fetch: bool = True
    max_bytes: int = 20 * 1024 * 1024
    timeout_s: float = 10.0
    types: tuple[str, ...] = ("image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf")


class LimitSettings(Struct, kw_only=True, frozen=True):
    budget_wait_s: float = 2.0
    unpriced: Literal["refuse", "allow"] = "refuse"
    budgets_when_away: Literal["closed", "open"] = "closed"
    rates_when_away: Literal["closed", "open"] = "open"
    budget_exceeded_status: int | None = None
    """None: what the mode says"""
    gateway: dict[str, Any] = field(default_factory=dict)
    """what all calls together may use at most, as limits are stored (access/terms.py)"""
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    """the same for all calls of one model"""
    end_users: dict[str, Any] = field(default_factory=dict)
    """for each end user who has none of its own; may hold a `budget_id`"""
    tags: dict[str, dict[str, Any]] = field(default_factory=dict)
    """for tags that have none of their own"""


class ManagementSettings(Struct, kw_only=True, frozen=True):
    """Of what is made over HTTP; in the words of the requests that make it."""

    for_keys: dict[str, Any] = field(default_factory=dict)
    """what a new key gets that says nothing of it"""
    most_for_keys: dict[str, Any] = field(default_factory=dict)
    """what any key may have at most"""
    for_users: dict[str, Any] = field(default_factory=dict)
    for_internal_users: dict[str, Any] = field(default_factory=dict)
    """what those among them get, too, who are `internal_user`"""
    for_teams: dict[str, Any] = field(default_factory=dict)
    creator_joins: bool = True
    """with LiteLLM's configuration: an administrator who makes a team becomes its admin"""


class ResponsesSettings(Struct, kw_only=True, frozen=True):
    keep_days: float = 30.0
    """0: nothing is kept"""


class CallbackSettings(Struct, kw_only=True, frozen=True):
    """A callback that the configuration names. Its own parameters are JSON."""

    name: str
    on: tuple[Literal["success", "failure"], ...] = ("success", "failure")
    params: dict[str, Raw] = field(default_factory=dict)


class Credential(Struct, kw_only=True, frozen=True):
    value: Secret = Secret("")
    reference: str = "config"
    """`env OPENAI_API_KEY`, `file /run/secrets/x`, `config`; may be shown"""
    missing: tuple[str, ...] = ()
    """variables that it refers to and that are unset"""


class AuthHeader(Struct, kw_only=True, frozen=True):
    """Where a provider wants its credential: a header with a prefix, or (`query`) a query parameter."""

    name: str = "authorization"
    prefix: str = "Bearer "
    query: bool = False


class TimeoutWishes(Struct, kw_only=True, frozen=True):
    """Seconds; None: what holds one level up."""

    connect_s: float | None = None
    first_byte_s: float | None = None
    idle_s: float | None = None
    total_s: float | None = None
    first_token_s: float | None = None
    stream_idle_s: float | None = None


class ModelNotes(Struct, kw_only=True, frozen=True):
    """What the operator knows better than the catalogue, about one upstream model or a `*` pattern of them."""

    facts: dict[str, Raw] = field(default_factory=dict)
    """prices, windows and capabilities under LiteLLM's names (`input_cost_per_token`, `max_input_tokens` …)"""
    base_model: str | None = None
    """name under which the catalogue knows it"""
    profile: dict[str, Raw] = field(default_factory=dict)
    """fields of `dialects.dialect.Profile`"""
    info: dict[str, Raw] = field(default_factory=dict)
    """shown by /model/info as it is"""


class Connection(Struct, kw_only=True, frozen=True):
    """How a provider, or one deployment of it, is reached. None and empty: what holds one level up."""

    base_url: str | None = None
    credential: Credential | None = None
    settings: dict[str, Secret] = field(default_factory=dict)
    """for base URLs with placeholders and for signers: `aws_region_name`, `vertex_credentials` …"""
    missing: tuple[str, ...] = ()
    """unset variables that other settings here refer to, and without which nothing can be called"""
    unset: tuple[str, ...] = ()
    """unset variables of settings that may come from elsewhere, too (a project, a region)"""
    dialect: str | None = None
    auth: AuthHeader | None = None
    headers: dict[str, Secret] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)
    timeouts: TimeoutWishes = TimeoutWishes()
    tls: TlsSettings | None = None
    proxy: Secret | None = None
    """a proxy's URL (it may hold a password); empty: go straight"""
    drop_params: bool | None = None


class PooledCredential(Struct, kw_only=True, frozen=True):
    credential: Credential
    weight: float = 1.0


class ProviderSettings(Struct, kw_only=True, frozen=True):
    """A provider that the configuration declares, or what it changes about a known one."""

    name: str
    like: str | None = None
    """the known provider whose behaviour it has; None: the one of its own name, else any OpenAI-compatible server"""
    connection: Connection = Connection()
    pool: tuple[PooledCredential, ...] = ()
    """several credentials that share the calls; the first also stands in `connection`"""
    models: dict[str, ModelNotes] = field(default_factory=dict)
    """by upstream model name or pattern, in order"""
    offered: tuple[str, ...] = ()
    """upstream models that may be called as `provider/model` although no model leads to them"""
    place: str = ""


class BudgetSettings(Struct, kw_only=True, frozen=True):
    """What may be spent at a provider or a deployment."""

    max_nano_usd: int
    per: str | None = None
    """`30d`: after this it begins anew; None: it is for good"""
    place: str = ""


class DeploymentSettings(Struct, kw_only=True, frozen=True):
    """One target as written: a provider's model, with what is special here."""

    target: str
    """`provider/model`, or the upstream model's own name when `provider` is given"""
    provider: str | None = None
    connection: Connection = Connection()
    notes: ModelNotes = ModelNotes()
    params: dict[str, Raw] = field(default_factory=dict)
    id: str | None = None
    weight: float | None = None
    order: int | None = None
    rpm: int | None = None
    tpm: int | None = None
    max_parallel: int | None = None
    cooldown_s: float | None = None
    allowed_fails: dict[str, int] = field(default_factory=dict)
    budget: BudgetSettings | None = None
    probe: ProbeWay = ProbeWay()
    tags: tuple[str, ...] = ()
    region: str | None = None
    pool: str = ""
    """the same for those that differ in their credential alone: one link of a chain"""
    client: ClientSide | None = None
    shown: dict[str, Raw] = field(default_factory=dict)
    """what /model/info tells of LiteLLM's `litellm_params`; nothing secret"""
    mocks: dict[str, Raw] = field(default_factory=dict)
    """answers or failures that are made up instead of calling (`mock_response` …)"""
    place: str = ""


class ModelSettings(Struct, kw_only=True, frozen=True):
    """A name that clients send (it may hold one `*`), and what it leads to."""

    name: str
    deployments: tuple[DeploymentSettings, ...] = ()
    ordered: bool = False
    strategy: str | None = None
    strategy_args: StrategyArgs | None = None
    """None: the router's"""
    num_retries: int | None = None
    retries: dict[str, int] = field(default_factory=dict)
    """further attempts by class of failure"""
    hidden: bool = False
    access_groups: tuple[str, ...] = ()
    fallbacks: tuple[str, ...] = ()
    context_window_fallbacks: tuple[str, ...] = ()
    content_policy_fallbacks: tuple[str, ...] = ()
    place: str = ""


class FallbackSettings(Struct, kw_only=True, frozen=True):
    on_rate_limit: bool = True
    on_context_window: bool = True
    on_error: bool = True
    any_other: bool = False
    default: tuple[str, ...] = ()
    context_window: tuple[str, ...] = ()
    """default for context errors"""
    content_policy: tuple[str, ...] = ()
    max_hops: int = 5


class HealthCheckSettings(Struct, kw_only=True, frozen=True):
    background: bool = False
    every_s: float = 300.0
    timeout_s: float = 60.0
    at_once: int = 8
    models: tuple[str, ...] = ()
    """empty: all"""
    route: bool = False
    """whether those that do not answer are left alone"""
    stale_after_s: float | None = None
    ignore_transient: bool = False

    @property
    def stale_s(self) -> float:
        """How long a result counts."""
        return self.stale_after_s or 2 * self.every_s + self.timeout_s


class QueueSettings(Struct, kw_only=True, frozen=True):
    wait_s: float = 0.0
    """0: nobody waits"""
    stated_wait_s: float = 0.0
    """for calls that state their priority"""
    length: int = 1000
    priority: int = 0
    """of calls that state none"""


class RouterSettings(Struct, kw_only=True, frozen=True):
    strategy: str = "simple-shuffle"
    strategy_args: StrategyArgs = StrategyArgs()
    allowed_fails: dict[str, int] = field(default_factory=dict)
    """failures in a minute that open no breaker, by class of failure or `default`"""
    queue: QueueSettings = QueueSettings()
    num_retries: int = 2
    cooldown_s: float = 5.0
    learn_params: bool = True
    request_timeout_s: float | None = None
    first_byte_timeout_s: float | None = None
    retries: dict[str, int] = field(default_factory=dict)
    fallbacks: FallbackSettings = FallbackSettings()
    affinity: tuple[str, ...] = ("session", "response")
    tag_filtering: bool = True
    tag_match_any: bool = True
    pre_call_checks: bool = True
    allow_mocks: bool = False
    provider_budgets: dict[str, BudgetSettings] = field(default_factory=dict)


class AliasSettings(Struct, kw_only=True, frozen=True):
    to: str
    hidden: bool = False
    place: str = ""


class Source(Struct, kw_only=True, frozen=True):
    """A file that took part; a change of its content is a reason to load again."""

    path: str
    sha256: str
    """empty: it did not exist"""


class Settings(Struct, kw_only=True, frozen=True):
    spelling: Spelling = "none"
    file: str | None = None
    enabled: bool = True
    """False: the host config says so; the program prints `not enabled` and ends well"""
    server: ServerSettings = ServerSettings()
    auth: AuthSettings = AuthSettings()
    storage: StorageSettings = StorageSettings()
    spool: SpoolSettings = SpoolSettings()
    logging: LoggingSettings = LoggingSettings()
    media: MediaSettings = MediaSettings()
    limits: LimitSettings = LimitSettings()
    metrics: MetricsSettings = MetricsSettings()
    tracing: TracingSettings = TracingSettings()
    bodies: BodiesSettings = BodiesSettings()
    retention: RetentionSettings = RetentionSettings()
    alerts: AlertSettings = AlertSettings()
    responses: ResponsesSettings = ResponsesSettings()
    management: ManagementSettings = ManagementSettings()
    providers: dict[str, ProviderSettings] = field(default_factory=dict)
    models: tuple[ModelSettings, ...] = ()
    blocked: tuple[ModelSettings, ...] = ()
    """deployments that nobody may call, to be looked at"""
    aliases: dict[str, AliasSettings] = field(default_factory=dict)
    router: RouterSettings = RouterSettings()
    health_checks: HealthCheckSettings = HealthCheckSettings()
    defaults: Connection = Connection()
    """of every provider"""
    callbacks: tuple[CallbackSettings, ...] = ()
    compat: Compat = "wayport"
    response_model: ResponseModel = "upstream"
    drop_params: bool = True
    implicit_models: bool = True
    offer_declared: bool = False
    """`provider/model` works for every declared provider (host config)"""
    warnings: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()
    content_hash: str = ""
    """of all sources together"""
    environ: dict[str, Secret] = field(default_factory=dict)
    """the effective environment: the process, the files and `environment_variables` together"""
    added_environ: tuple[str, ...] = ()
    """names in `environ` that the process itself does not have (or has otherwise)"""

    @property
    def several(self) -> bool:
        """Whether others may call the same deployments: more workers of this node, or other nodes."""
        storage = self.storage
        return (
            self.server.workers > 1
            or storage.redis_url is not None
            or storage.database_url.reveal().startswith("postgres")
        )

    def variable(self, name: str) -> str:
        """The value of a variable; empty when unset."""
        found = self.environ.get(name)
        return found.reveal() if found is not None else ""


def _encode_secret(value: Any) -> Any:
    if isinstance(value, Secret):
        return value.reveal()
    raise NotImplementedError(type(value).__name__)


def _decode_secret(kind: type, value: Any) -> Any:
    if kind is Secret:
        return Secret(value)
    raise NotImplementedError(kind.__name__)


_encoder = msgspec.json.Encoder(enc_hook=_encode_secret)
_decoder = msgspec.json.Decoder(Settings, dec_hook=_decode_secret)


def to_json(settings: Settings) -> bytes:
    """Secrets are in it: for a pipe to our own child, never for a log."""
    return _encoder.encode(settings)


def from_json(data: bytes) -> Settings:
    return _decoder.decode(data)
