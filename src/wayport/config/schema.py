"""Wayport's own configuration format. The docstring below each field is its documentation (docs/configuration.md).

Every key that is not here is an error. `own.py` turns a valid file into `Settings`.
"""

import re
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from wayport.config.clients import checked, listed
from wayport.config.fields import network, path_prefix

_UNITS = {"": 1, "b": 1, "kb": 1024, "mb": 1024**2, "gb": 1024**3, "k": 1024, "m": 1024**2, "g": 1024**3}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmg]?i?b?)", re.IGNORECASE)


def _size(value: Any) -> Any:
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        return int(float(match[1]) * _UNITS[match[2].lower().replace("i", "")])
    return value


def _words(value: Any) -> Any:
    """One word where a list of them is meant; words that an unset variable left empty are dropped."""
    if isinstance(value, str):
        return [value]
    return [item for item in value if item is not None] if isinstance(value, list) else value


def _names(value: Any) -> Any:
    """A list of names where a mapping by name is meant."""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return {item: {} for item in value}
    return {key: item or {} for key, item in value.items()} if isinstance(value, dict) else value


def _url(value: str) -> str:
    if not re.match(r"https?://[^/\s]+", value):
        raise ValueError("must begin with http:// or https://")
    return value.rstrip("/")


Size = Annotated[int, BeforeValidator(_size), Field(gt=0)]
Seconds = Annotated[float, Field(gt=0, le=10_000_000, allow_inf_nan=False)]
Pause = Annotated[float, Field(ge=0, le=10_000_000, allow_inf_nan=False)]
Usd = Annotated[Decimal, Field(ge=0, lt=10**9)]
Count = Annotated[int, Field(gt=0)]
Words = Annotated[list[str], BeforeValidator(_words)]
Networks = Annotated[list[Annotated[str, AfterValidator(network)]], BeforeValidator(_words)]
ClientSays = Annotated[list[str | dict[str, str]], BeforeValidator(listed), AfterValidator(checked)]
Url = Annotated[str, AfterValidator(_url)]
Port = Annotated[int, Field(ge=1, le=65535)]
Name = Annotated[str, Field(min_length=1)]
Retries = dict[
    Literal["rate_limit", "server", "overloaded", "timeout", "connect", "cut", "malformed", "default"],
    Annotated[int, Field(ge=0, le=20)],
]


def _allowed(value: Any) -> Any:
    """One number for all classes of failure."""
    return {"default": value} if isinstance(value, int) and not isinstance(value, bool) else value


AllowedFails = Annotated[
    dict[
        Literal[
            "rate_limit", "server", "overloaded", "timeout", "connect", "cut", "malformed", "authentication",
            "permission", "quota", "not_found", "default",
        ],
        Annotated[int, Field(ge=0, le=1_000_000)],
    ],
    BeforeValidator(_allowed),
]  # fmt: skip
Dialect = Literal[
    "openai_chat",
    "openai_completions",
    "openai_responses",
    "anthropic_messages",
    "gemini_content",
    "bedrock_converse",
    "cohere_chat",
    "replicate_predictions",
]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RatesIn(Section):
    """Dollars per million tokens. A kind that is not named is billed as the more general one."""

    input: Usd | None = None
    """what is sent"""
    output: Usd | None = None
    """what comes back"""
    cache_read: Usd | None = None
    """input that the provider had in its cache; else as `input`"""
    cache_write_5m: Usd | None = None
    """input that it keeps for five minutes; else as `input`"""
    cache_write_1h: Usd | None = None
    """input that it keeps for an hour; else as `input`"""
    reasoning: Usd | None = None
    """thinking; else as `output`"""
    audio_input: Usd | None = None
    """audio that is sent"""
    audio_cache_read: Usd | None = None
    """audio from the cache"""
    audio_output: Usd | None = None
    """audio that comes back"""
    image_input: Usd | None = None
    """images that are sent"""
    image_output: Usd | None = None
    """images that come back"""
    video_input: Usd | None = None
    """video that is sent"""


class TierIn(RatesIn):
    above_input_tokens: Annotated[int, Field(gt=0, multiple_of=1000)]
    """in thousands: 200000"""


class PricesIn(RatesIn):
    """What a model costs. `input` and `output` together stand alone; otherwise what is named here replaces the
    catalogue's figure and everything else stays as it is there.
    """

    free: bool = False
    """It costs nothing: a cost of 0 is then a fact and not a gap."""
    per_request: Usd | None = None
    """dollars for each call, on top of tokens"""
    per_second: Usd | None = None
    """dollars for each second of audio or of computing"""
    per_web_search: Usd | None = None
    """dollars for each search on the web"""
    per_query: Usd | None = None
    """dollars for each query of a reranker or search"""
    per_image: Usd | None = None
    """dollars for each generated image"""
    per_page: Usd | None = None
    """dollars for each page of a document"""
    tiers: list[TierIn] = []
    """Rates that hold for the whole call once its input has more than `above_input_tokens`."""
    service_tiers: dict[Literal["flex", "priority", "batch"], RatesIn] = {}
    """rates under a service tier: `flex`, `priority`, `batch`"""


class TimeoutsIn(Section):
    connect_s: Seconds | None = None
    """until a connection stands"""
    first_byte_s: Seconds | None = None
    """from the request sent to the head of the answer"""
    idle_s: Seconds | None = None
    """between two pieces of an answer"""
    total_s: Seconds | None = None
    """for the whole exchange"""
    first_token_s: Seconds | None = Field(
        default=None, validation_alias=AliasChoices("first_token_s", "ttft_timeout", "ttft_s")
    )
    """of streams: until the first content, whatever came before it; `ttft_timeout` is the same"""
    stream_idle_s: Seconds | None = Field(
        default=None, validation_alias=AliasChoices("stream_idle_s", "stream_idle_timeout")
    )
    """of streams: between two pieces, in the place of `idle_s`; `stream_idle_timeout` is the same"""


class UpstreamTlsIn(Section):
    verify: bool = True
    """Whether the provider's certificate is checked. Leave it on."""
    ca_file: str | None = None
    """certificates to trust instead of the system's"""
    cert_file: str | None = None
    """our own certificate, for a server that asks for one"""
    key_file: str | None = None
    """the key of `cert_file`"""


class AuthHeaderIn(Section):
    name: Name = "authorization"
    """the header"""
    prefix: str = ""
    """what stands before the credential, as `"Bearer "`"""
    query: bool = False
    """`name` is a query parameter and not a header"""

    @model_validator(mode="before")
    @classmethod
    def _may_be_short(cls, value: Any) -> Any:
        if isinstance(value, str):
            # `authorization` is the one header whose value has a scheme in front of it.
            return {"name": value, "prefix": "Bearer " if value.lower() == "authorization" else ""}
        return value


class ModelFactsIn(Section):
    """What you know of one upstream model and the catalogue does not, or has otherwise."""

    prices: PricesIn | None = None
    """what it costs, if not what the catalogue says"""
    base_model: str | None = None
    """the name under which the catalogue knows this model, as `gpt-4o` or `openai/gpt-4o`"""
    mode: str | None = None
    """what it is for: `chat`, `completion`, `embedding` …"""
    context_window: Count | None = None
    """tokens that fit into a request"""
    max_output_tokens: Count | None = None
    """tokens that an answer may have"""
    profile: dict[str, Any] = {}
    """Properties of the target that differ from its provider's usual ones (docs/providers.md lists them)."""
    info: dict[str, Any] = {}
    """Anything you want `/model/info` to show."""


class BudgetIn(Section):
    """Who has spent it is left alone until it begins anew."""

    max_usd: Usd
    """dollars"""
    per: str | None = None
    """`1h`, `1d`, `1w`, `1mo`: then it begins anew (in UTC, with the day, on Monday, on the first). Left out: for good."""


class ReachIn(Section):
    """How something is reached; the same keys for a provider and for one deployment of it."""

    base_url: Url | None = Field(default=None, validation_alias=AliasChoices("base_url", "api_base"))
    """The address, with its path (`https://host/v1`). `api_base` is the same."""
    api_key: str | None = None
    """The credential. Write a reference (`${VAR}`), not the secret."""
    settings: dict[str, Any] = {}
    """What else the provider needs to be reached: `region`, `project`, `api_version`, `aws_profile_name` …"""
    dialect: Dialect | None = None
    """the JSON format that it speaks, if it is not the provider's usual one"""
    auth_header: AuthHeaderIn | None = None
    """The header that carries the credential: a name (`x-api-key`), or `{name, prefix}`."""
    headers: dict[str, str] = {}
    """Headers sent with every call."""
    paths: dict[str, str] = {}
    """Operation (`chat`, `embeddings` …) to path below the base URL."""
    timeouts: TimeoutsIn = TimeoutsIn()
    """how long to wait for what"""
    tls: UpstreamTlsIn | None = None
    """certificates"""
    proxy: str | None = None
    """An HTTP proxy's URL; `none` goes straight although `HTTPS_PROXY` is set."""
    drop_params: bool | None = None
    """Whether a parameter that the target lacks is dropped and reported (true) or refused (false)."""


class PooledKeyIn(Section):
    """One of several credentials. Written short: the reference alone."""

    api_key: str | None = None
    """A reference (`${VAR}`), not the secret."""
    weight: Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)] = 1.0
    """its share of the calls"""

    @model_validator(mode="before")
    @classmethod
    def _may_be_short(cls, value: Any) -> Any:
        return {"api_key": value} if isinstance(value, str) or value is None else value


class ProviderIn(ReachIn):
    """A known provider with your credential, or any server that speaks one of the dialects."""

    file: str | None = None
    """A JSON or YAML file with these keys, for a provider that comes as one; what stands here beside it wins."""
    like: str | None = None
    """A known provider that this one behaves like, as `hosted_vllm` or `azure`. A provider of an unknown name is
    OpenAI-compatible."""
    api_keys: list[PooledKeyIn] = []
    """Several credentials instead of `api_key`, which share the calls; one that is refused or used up is left alone."""
    models: Annotated[dict[Name, ModelFactsIn], BeforeValidator(_names)] = {}
    """Upstream models that may be called as `provider/model` without an entry under `models`; as a mapping also what
    you know of them."""
    budget: BudgetIn | None = None
    """what may be spent there, whatever the model"""
    prices: dict[str, PricesIn] = {}
    """Prices by upstream model or pattern (`llama-*`, `*`)."""


class ProbeIn(Section):
    """How a deployment is asked whether it answers (`health_checks`). `false` instead of this section: not at all."""

    background: bool = True
    """whether it is asked in the background"""
    model: str | None = None
    """The upstream model that is asked, if not its own; for wildcards, which are not asked otherwise."""
    timeout_s: Seconds | None = None
    """how long it may take, if not `health_checks.timeout_s`"""
    max_tokens: Count | None = None
    """how long the answer may be: 16"""

    @model_validator(mode="before")
    @classmethod
    def _may_be_short(cls, value: Any) -> Any:
        return {"background": value} if isinstance(value, bool) else value


class DeploymentIn(ReachIn, ModelFactsIn):
    """One target of a model. Written short: `openai/gpt-4o`."""

    model: Name
    """`provider/model`, or only the upstream model's name when `provider` is given"""
    provider: str | None = None
    """a provider by name, if `model` does not begin with one"""
    weight: Pause | None = None
    """share of the calls in a balanced group"""
    order: int | None = None
    """deployments of the lowest order are used first"""
    rpm: Count | None = None
    """requests per minute that it takes"""
    tpm: Count | None = None
    """tokens per minute that it takes"""
    max_parallel: Count | None = None
    """calls at the same time that it takes"""
    cooldown_s: Pause | None = None
    """how long it is left alone when it fails and names no time, if not `router.cooldown_s`"""
    allowed_fails: AllowedFails = {}
    """failures in a minute that open no breaker, if not `router.allowed_fails`"""
    budget: BudgetIn | None = None
    """what may be spent there"""
    health_check: ProbeIn = ProbeIn()
    """how it is asked whether it answers"""
    tags: Words = []
    """requests with one of these tags come here"""
    region: str | None = None
    """where it is, for requests that must stay in a region"""
    client_credentials: ClientSays | None = None
    """What a client may say itself in the body of a request: `api_key`, `api_base`, or `api_base: PATTERN`."""
    params: dict[str, Any] = {}
    """Body parameters of every call, in OpenAI's names; what the client sends wins."""

    @model_validator(mode="before")
    @classmethod
    def _may_be_short(cls, value: Any) -> Any:
        return {"model": value} if isinstance(value, str) else value


class StrategyArgsIn(Section):
    lowest_latency_buffer: Annotated[float, Field(ge=0, le=1_000, allow_inf_nan=False)] | None = None
    """`latency-based-routing`: who is slower than the fastest by at most this share gets calls, too. 0.1"""
    ttl_s: Seconds | None = Field(default=None, validation_alias=AliasChoices("ttl_s", "ttl"))
    """`latency-based-routing`: an older measurement says nothing; otherwise old ones fade. `ttl` is the same"""
    samples: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None, validation_alias=AliasChoices("samples", "max_latency_list_size")
    )
    """Over how many answers speed is smoothed: 9. `max_latency_list_size` is the same."""


class ModelIn(Section):
    """A name that clients send. Written short: one target, or a list of them that is tried in order."""

    deployments: list[DeploymentIn] = []
    """The targets. A single one may stand here without a list."""
    strategy: str | None = None
    """How a target is chosen. `ordered` (unless you say otherwise) tries them one after another; `simple-shuffle`
    and the others balance (docs/routing.md)."""
    fallbacks: Words = []
    """models to try when every target has failed"""
    context_window_fallbacks: Words = []
    """models to try when the request is too long"""
    content_policy_fallbacks: Words = []
    """models to try when the content was refused"""
    aliases: Words = []
    """other names of it"""
    hidden: bool = False
    """works, but is not listed"""
    access_groups: Words = []
    """groups by which keys may be given this model"""
    strategy_args: StrategyArgsIn | None = None
    """what the strategy is told, if not `router.strategy_args`"""
    num_retries: Annotated[int, Field(ge=0, le=20)] | None = None
    """further attempts, if not as `router.num_retries` says"""
    retries: Retries = {}
    """further attempts by class of failure, as `router.retries`"""
    timeouts: TimeoutsIn = TimeoutsIn()
    """for all its targets that say nothing else"""
    params: dict[str, Any] = {}
    """body parameters for all its targets"""
    prices: PricesIn | None = None
    """prices for all its targets"""

    @model_validator(mode="before")
    @classmethod
    def _may_be_short(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"deployments": [value]}
        if isinstance(value, list):
            return {"deployments": value}
        if isinstance(value, dict):
            if "model" in value and "deployments" not in value:
                own = {key: item for key, item in value.items() if key in _MODEL_ONLY}
                return {**own, "deployments": [{key: item for key, item in value.items() if key not in _MODEL_ONLY}]}
            if isinstance(value.get("deployments"), str):
                return {**value, "deployments": [value["deployments"]]}
        return value

    @model_validator(mode="after")
    def _leads_somewhere(self) -> Self:
        if not self.deployments:
            raise ValueError("needs at least one target, as `openai/gpt-4o`")
        return self


_MODEL_ONLY = frozenset({
    "strategy", "fallbacks", "context_window_fallbacks", "content_policy_fallbacks", "aliases", "hidden",
    "access_groups", "num_retries", "retries", "strategy_args",
})  # fmt: skip


class FallbacksIn(Section):
    """When another target or model takes over. `true` instead of this section: any other that can serve the request."""

    on_rate_limit: bool = True
    """after a 429"""
    on_context_window: bool = True
    """when the request is too long for the model"""
    on_error: bool = True
    """after any other failure of the provider"""
    any_other: bool = False
    """any other deployment that can serve the request"""
    default: Words = []
    """models to try after any model's own fallbacks"""
    context_window: Words = []
    """the same, for requests that are too long"""
    content_policy: Words = []
    """the same, for refused content"""
    max_hops: Annotated[int, Field(ge=0, le=100)] = 5
    """other models tried at most"""

    @model_validator(mode="before")
    @classmethod
    def _may_be_yes(cls, value: Any) -> Any:
        if isinstance(value, bool):
            return {"any_other": value}
        if isinstance(value, list):
            return {"default": value}
        return value


class QueueIn(Section):
    """Calls may wait for a place where every deployment of a model has as many as it takes (`max_parallel`, `rpm`, `tpm`)
    and no fallback takes over.
    """

    wait_s: Pause = 0.0
    """for how long at most; 0: the answer is 429 at once"""
    length: Count = 1000
    """how many may wait for one model in a worker"""
    priority: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """of calls that state no `priority`; the lowest goes first"""


class RouterIn(Section):
    strategy: str = "power-of-two"
    """for balanced models that name none (docs/routing.md)"""
    strategy_args: StrategyArgsIn = StrategyArgsIn()
    """what the strategy is told"""
    queue: QueueIn = QueueIn()
    """whether calls wait for a place"""
    allowed_fails: AllowedFails = {}
    """How many failures in a minute open no breaker: a number, or by class of failure (`timeout`, `rate_limit`, …,
    `default`). Left out: three in a row, or five that are half of all answers."""
    num_retries: Annotated[int, Field(ge=0, le=20)] = 2
    """further attempts at the same model: 2 means three attempts"""
    timeout_s: Seconds | None = Field(default=None, validation_alias=AliasChoices("timeout_s", "timeout"))
    """for a whole call with all its attempts; `timeout` is the same"""
    timeouts: TimeoutsIn = TimeoutsIn()
    """for all targets that say nothing else"""
    retries: Retries = {}
    """Further attempts by class of failure, where that is to differ from `num_retries`: `rate_limit`, `server`,
    `overloaded`, `timeout`, `connect`, `cut`, `malformed`, `default`."""
    cooldown_s: Pause = Field(default=5.0, validation_alias=AliasChoices("cooldown_s", "retry_after_seconds"))
    """how long a failing deployment is left alone when the provider named no time; `retry_after_seconds` is the same"""
    learn_params: bool = True
    """Whether an optional parameter or an `anthropic-beta` value that a deployment refuses (its 400 names it) is left out
    once (at most three of them in one call), and from then on if that helped; the answer's `x-wayport-dropped-params` names it, and `learned` in
    `GET /model/info` lists what the asked worker has learned. Of Bedrock's `invalid beta flag`, which names none, all go,
    for this one call. A bad value (the 400 says which ones are supported) is no lesson."""
    fallbacks: FallbacksIn = FallbacksIn()
    """when another target or model takes over"""
    affinity: list[Literal["session", "response", "prompt_cache"]] = ["session", "response"]
    """What leads a request back to the deployment where it was before, while that is healthy: its session's id, an answer
    that is stored there (`previous_response_id`), a prompt that is in its cache."""
    tags: Literal["any", "all", "off"] = "any"
    """How many of a request's tags a deployment must have to get it; `off`: tags decide nothing."""
    pre_call_checks: bool = True
    """Whether targets whose context window is surely too small are passed over."""
    allow_mocks: bool = False
    """Whether every client may have answers and failures made up (`mock_response` …), for tests. Else only keys whose
    metadata say `allow_client_mock_response: true`."""


class HealthChecksIn(Section):
    """Every deployment is asked now and then whether it answers: a question of one word, which costs what it costs. `true`
    instead of this section: as it stands here.
    """

    background: bool = True
    """whether they are asked; without this section they are not"""
    every_s: Seconds = 300.0
    """how often"""
    timeout_s: Seconds = 60.0
    """how long an answer may take"""
    at_once: Count = 8
    """how many are asked at the same time"""
    models: Words = []
    """only these; all if nothing is said"""
    route: bool = False
    """Whether deployments that did not answer get no calls until they do, as long as there are others."""
    stale_after_s: Seconds | None = None
    """How long a result counts for `route`: twice `every_s` and `timeout_s`."""
    ignore_transient: bool = False
    """Whether a 429 or a timeout is no reason to leave one alone."""

    @model_validator(mode="before")
    @classmethod
    def _may_be_short(cls, value: Any) -> Any:
        return {"background": value} if isinstance(value, bool) else value


class LimitsIn(Section):
    """What one worker takes on at most; beyond it the answer is 503 with `retry-after`."""

    head_bytes: Size = 64 * 1024
    """request line and headers"""
    head_timeout_s: Seconds = 10.0
    """for the whole head"""
    body_bytes: Size = 100 * 1024 * 1024
    """one request's body; a larger one is a 413"""
    body_idle_timeout_s: Seconds = 30.0
    """between two pieces of a body"""
    connections: Count = 10_000
    """open at the same time"""
    calls_in_flight: Count = 4_000
    """worked on at the same time"""
    request_bytes_in_flight: Size = 512 * 1024 * 1024
    """the bodies of all calls together"""


class ServerIn(Section):
    host: str = ""
    """Address to listen on. 127.0.0.1 if nothing is said (`0.0.0.0` in the container image)."""
    port: Port = 4000
    """port to listen on"""
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    """data workers, one per core at most"""
    tls_cert: str | None = None
    """certificate (chain) in PEM; read again when it changes"""
    tls_key: str | None = None
    """the key of `tls_cert`"""
    cors_origins: Words = []
    """Web origins that may call from a browser, as `https://app.example.com`. Nobody else may."""
    trusted_proxies: Networks = []
    """Addresses and networks whose `x-forwarded-for` is believed."""
    client_credentials: ClientSays | None = None
    """What a client may say itself in the body of a request, of every deployment that says nothing else: `api_key`,
    `api_base`, or `api_base: PATTERN` (docs/configuration.md)."""
    client_networks: Networks = []
    """Networks that are not public and that a client's `api_base` may lead to, as `10.0.0.0/8`. All others are refused."""
    root_path: Annotated[str, AfterValidator(path_prefix)] = ""
    """the path below which a balancer serves Wayport"""
    drain_delay_s: Pause | None = None
    """After SIGTERM: how long connections are still accepted while readiness says 503. 5; 0 on a terminal."""
    grace_s: Pause = 30.0
    """how long running calls may then take"""
    discover_models_s: Pause = 300.0
    """How often the upstreams of wildcards are asked which models they have, for `/v1/models`. 0: never."""
    implicit_models: bool = False
    """Whether `provider/model` works for every provider whose credential is there. Without a config file it does."""
    compat: Literal["wayport", "litellm"] = "wayport"
    """`litellm`: its headers, error wording and statuses, for clients that look at them."""
    response_model: Literal["requested", "upstream"] = "upstream"
    """the model's name in answers: as the client wrote it, or as the provider says"""
    drop_params: bool = True
    """Whether a parameter that the target lacks is dropped and reported (true) or refused (false)."""
    limits: LimitsIn = LimitsIn()
    """what one worker takes on at most"""


class AuthIn(Section):
    """`auth: none` is short for `mode: none`."""

    mode: Literal["key", "none"] = "key"
    """`none`: nobody is asked for a key, and Wayport listens on loopback only."""
    master_key: Words = []
    """The administrator's key, or several while one replaces the other. Without one, Wayport makes one at the first
    start and keeps it in the data directory."""
    allow_weak_master_key: bool = False
    """Start with a master key that everybody knows (`sk-1234`) although others can reach the address."""
    header: str | None = None
    """a header of your own that carries the key"""
    salt_key: str | None = None
    """Encrypts credentials in the database. Without one it is generated and kept in the data directory."""

    @model_validator(mode="before")
    @classmethod
    def _may_be_short(cls, value: Any) -> Any:
        return {"mode": value} if isinstance(value, str) else value


class StorageIn(Section):
    data_dir: str | None = None
    """Where the journal, the generated keys and SQLite are. It must survive a restart."""
    database_url: str | None = None
    """`postgresql://user:password@host/name`; SQLite in the data directory if nothing is said"""
    redis_url: str | None = None
    """what several nodes share: counters, who is left alone, and thoughts that clients drop"""


class SpoolIn(Section):
    sync: Literal["os", "1s", "always"] = "1s"
    """How soon a record is safe from a power loss: when the system likes, within a second, at once."""
    max_bytes: Size = 1024 * 1024 * 1024
    """how large it may grow on disk"""
    on_full: Literal["serve", "refuse"] = "serve"
    """When the database is away for so long that the spool is full: serve and count, or 503 for keys with a budget."""


class LoggingIn(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    """what is worth a line"""
    json_lines: bool | None = Field(default=None, validation_alias="json")
    """JSON lines (true) or lines for people. On a terminal the latter, unless you say so."""


class MediaIn(Section):
    """Images and documents by URL, for providers that cannot fetch them themselves."""

    fetch: bool = True
    """Whether Wayport fetches them. Private addresses never are."""
    max_bytes: Size = 20 * 1024 * 1024
    """the largest that is fetched"""
    timeout_s: Seconds = 10.0
    """for one of them"""
    types: Words = ["image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf"]
    """content types that are fetched"""


class BoundsIn(Section):
    """What may be used at most; each binds."""

    max_budget: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)] | None = None
    """US dollars"""
    soft_budget: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)] | None = None
    """US dollars; only warns"""
    budget_duration: Annotated[str, Field(pattern=r"^\d{1,6}(s|m|h|d|w|mo)$")] | None = None
    """After this the budget begins anew: `1d`, `30d`. Without it, it is for good."""
    calendar: bool = True
    """Whether periods begin with the hour, day, week or month (UTC)."""
    rpm: Count | None = None
    """requests per minute"""
    tpm: Count | None = None
    """tokens per minute"""
    rpd: Count | None = None
    """requests per day"""
    tpd: Count | None = None
    """tokens per day"""
    max_parallel: Count | None = None
    """requests at the same time"""


class HolderLimitsIn(Section):
    """How the budgets and limits of keys, people and teams are kept. docs/limits.md says what is guaranteed."""

    budget_wait_s: Annotated[float, Field(ge=0, le=600)] = 2.0
    """How long a call waits for money that other calls have reserved and may not need, before it is refused."""
    unpriced: Literal["refuse", "allow"] | None = None
    """Whether a key with a budget may use what has no price, or no most that it can cost. With LiteLLM's config `allow`,
    otherwise `refuse`."""
    budgets_when_away: Literal["closed", "open"] = "closed"
    """When nobody can say what is left of a budget and what was leased is used up: refuse (503) or serve."""
    rates_when_away: Literal["closed", "open"] = "open"
    """the same for limits on requests, tokens and calls at a time"""
    budget_exceeded_status: Annotated[int, Field(ge=400, le=499)] | None = None
    """The status when a budget is spent: 429, with LiteLLM's config 422."""
    gateway: BoundsIn = BoundsIn()
    """Binds all calls together, whatever key they come with, the master key too."""
    models: dict[str, BoundsIn] = {}
    """The same for all calls of one model, by its name."""
    end_users: BoundsIn = BoundsIn()
    """For each end user who has no limits of its own."""
    tags: dict[str, BoundsIn] = {}
    """For tags that have no limits of their own, by name."""


class ResponsesIn(Section):
    """Answers of the Responses API that are kept, so that `previous_response_id` works with every model."""

    keep_days: Annotated[float, Field(ge=0, le=36_500, allow_inf_nan=False)] = 30.0
    """For how many days, counted from the last answer that goes on from one; 0: nothing is kept. Never with `store: false`."""


class TracingIn(Section):
    """W3C trace context towards upstreams."""

    propagate: Literal["never", "traced", "client"] = "traced"
    """Who is sent `traceparent` and the client's `tracestate`. `traced`: with the callback `otel`, every upstream, with the
    span of its attempt as the parent. `client`: also without that callback, where the client sent one, as it came.
    `never`: nobody. With LiteLLM's config `never`, unless `forward_traceparent_to_llm_provider` makes it `client`."""


class MetricsIn(Section):
    """What `/metrics` tells Prometheus."""

    require_key: bool = True
    """Whether `/metrics` wants an administrator's key. With LiteLLM's config it does not, unless
    `require_auth_for_metrics_endpoint` says so."""
    max_series: Count = 10_000
    """how many series there may be; what comes beyond is counted under the label `other`"""
    end_user: bool = False
    """Whether series tell end users apart."""
    client_ip: bool = False
    """Whether series tell clients' addresses apart."""
    user_agent: bool = False
    """Whether series tell clients' programs apart."""


class BodiesIn(Section):
    """Requests and answers, kept beside the request log. Off unless you say so."""

    store: bool | Literal["keys"] = False
    """Whether they are kept: of every key, or (`keys`) of those only whose metadata says `store_bodies: true`. A key whose
    metadata says `store_bodies: false` is always left out."""
    max_bytes: Size = 256 * 1024
    """of each; the rest is cut off"""
    redact: Words = []
    """Regular expressions of what must not be kept. Credentials are always masked."""
    keep_days: Annotated[float, Field(gt=0, le=36_500)] = 30.0
    """how long"""
    max_total_bytes: Size = 10 * 1024**3
    """all together, compressed; the oldest go first"""


class RetentionIn(Section):
    calls_days: Annotated[float, Field(gt=0, le=36_500)] | None = None
    """How long calls stay in the request log; for good if nothing is said. Sums by quarter-hour always stay."""
    every_s: Seconds = 3600.0
    """how often what is too old is deleted"""
    batch: Count = 1_000
    """how many calls are deleted in one go"""


class AlertTargetIn(Section):
    kind: Literal["webhook", "slack", "email"]
    """where to: a URL that takes JSON, a Slack webhook, or e-mail"""
    url: Url | None = None
    """of the webhook; write a reference (`${VAR}`) where the URL is a secret"""
    secret: str | None = None
    """signs webhooks: `x-wayport-signature` is HMAC-SHA-256 of timestamp, a dot and the body"""
    to: Words = []
    """e-mail addresses"""


class SmtpIn(Section):
    host: str = ""
    """the mail server"""
    port: Port = 587
    """its port"""
    user: str = ""
    """for logging in"""
    password: str = ""
    """for logging in; write a reference (`${VAR}`)"""
    sender: str = ""
    """address that mails come from"""
    tls: bool = True
    """Whether the connection must be encrypted (STARTTLS)."""


class AlertsIn(Section):
    """Told when something needs a person."""

    targets: list[AlertTargetIn] = []
    """who is told"""
    smtp: SmtpIn = SmtpIn()
    """for e-mail"""
    budget_shares: list[Annotated[float, Field(gt=0, le=10)]] = [0.8, 1.0]
    """shares of a budget at which its spending is told"""
    error_rate: Annotated[float, Field(gt=0, le=1)] = 0.25
    """share of failed calls of a model within five minutes"""
    slow_s: Seconds = 60.0
    """mean duration of a deployment's calls within five minutes"""
    least_calls: Count = 20
    """fewer calls than this say nothing of rates"""
    backlog_bytes: Size = 64 * 1024 * 1024
    """how much may wait in the journal"""
    anomaly_factor: Annotated[float, Field(gt=1)] = 5.0
    """Spend, calls or errors of a key, model or provider above so many times its usual hour."""
    repeat_s: Seconds = 3600.0
    """how long the same alert is not told again"""


class CallbackIn(Section):
    name: Name
    """which callback"""
    on: list[Literal["success", "failure"]] = ["success", "failure"]
    """after which calls it is told"""
    params: dict[str, Any] = {}
    """its own parameters"""

    @model_validator(mode="before")
    @classmethod
    def _may_be_short(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


class ConfigIn(Section):
    providers: dict[Name, ProviderIn] = {}
    """Whom Wayport may call, by a name of your choice."""
    provider_files: Words = []
    """Further providers: files (JSON or YAML) that hold what an entry of `providers` holds, and `name`; or directories
    of them."""
    models: dict[Name, ModelIn] = {}
    """What clients may ask for. A name may hold one `*`."""
    aliases: dict[Name, Name] = {}
    """Other names of models; a name may hold one `*`."""
    router: RouterIn = RouterIn()
    """what happens when a model fails"""
    health_checks: HealthChecksIn = HealthChecksIn(background=False)
    """whether deployments are asked in the background if they answer"""
    server: ServerIn = ServerIn()
    """where Wayport listens and what it takes on"""
    auth: AuthIn = AuthIn()
    """who may call; `none`: everybody on this machine"""
    storage: StorageIn = StorageIn()
    """where things are kept"""
    spool: SpoolIn = SpoolIn()
    """the journal on disk from which the database is filled"""
    logging: LoggingIn = LoggingIn()
    """what is said on standard output and error"""
    media: MediaIn = MediaIn()
    """images and documents by URL"""
    limits: HolderLimitsIn = HolderLimitsIn()
    """how budgets and limits are kept"""
    responses: ResponsesIn = ResponsesIn()
    """what is kept of the Responses API"""
    callbacks: list[CallbackIn] = []
    """told of every call when it is over"""
    metrics: MetricsIn = MetricsIn()
    """what Prometheus reads"""
    tracing: TracingIn = TracingIn()
    """what upstreams are told of traces"""
    bodies: BodiesIn = BodiesIn()
    """requests and answers that are kept"""
    retention: RetentionIn = RetentionIn()
    """how long the request log is kept"""
    alerts: AlertsIn = AlertsIn()
    """told when something needs a person"""
    environment: dict[str, Any] = {}
    """Variables set before references are resolved."""
