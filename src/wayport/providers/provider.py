"""What a provider is: a value. No class per provider, no registration call."""

from collections.abc import Mapping
from typing import Literal, Protocol

from msgspec import Struct, field

from wayport.core.secret import Secret
from wayport.dialects.dialect import Profile
from wayport.dialects.neutral import DialectName

Operation = Literal[
    "chat",
    "chat_stream",
    "completions",
    "embeddings",
    "responses",
    "messages",
    "count_tokens",
    "models",
    "images",
    "image_edits",
    "speech",
    "transcription",
    "translation",
    "moderation",
    "rerank",
    "batches",
    "files",
]
"""`chat` is spoken in the provider's own dialect; `responses`, `messages` and `completions` name a dialect of their own
that it offers beside it"""


class AuthStyle(Struct, kw_only=True, frozen=True):
    """How a static credential is presented: in a header (`prefix` before it) or in the query."""

    where: Literal["header", "query", "none"] = "header"
    name: str = "authorization"
    prefix: str = "Bearer "


class Outgoing(Struct, kw_only=True):
    """A request about to be sent, as a signer sees it. A signer may change `url` and `headers`."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes


class Signer(Protocol):
    """Presents a credential that is more than a constant (signatures, tokens that expire)."""

    async def sign(self, outgoing: Outgoing) -> None:
        """Adds what the provider wants to see. Raises `CredentialMissing` that names the variable or the extra."""
        ...


class MakeSigner(Protocol):
    def __call__(self, settings: Mapping[str, str]) -> Signer:
        """`settings`: the deployment's credential settings (`aws_region_name`, `vertex_credentials` …) as
        `settings_from` gives them, and under `api_key` its credential if it has one. Make one signer per deployment and
        keep it: it holds the token.
        """
        ...


class ModelRule(Struct, kw_only=True, frozen=True):
    """What differs for the models of a provider whose names match: for each field the first match that has it wins."""

    match: str
    """a regular expression that must match the whole upstream model name"""
    route: str = ""
    """one of the provider's `routes`: the rule holds only for models that were named with it (`invoke/…`)"""
    profile: Profile | None = None
    dialect: DialectName | None = None
    paths: Mapping[str, str] | None = None
    """replaces the provider's paths"""


class Placement(Struct, kw_only=True, frozen=True):
    """Where and how one deployment is called: a provider's row with the deployment's settings filled in."""

    model: str
    """the upstream's name of it, without prefixes that only chose a route"""
    base_url: str
    paths: Mapping[str, str]
    """operation to path below the base URL; `{model}` is still open"""
    dialect: DialectName
    profile: Profile
    auth: AuthStyle
    headers: Mapping[str, str]
    signed: bool = False
    """the provider's signer must see every request"""
    credential: Secret | None = None
    """presented in place of the configured one (a marker taken off, a token that came as a setting)"""
    missing: tuple[str, ...] = ()
    """variables of which one must be set next; empty: ready to be called"""


class Place(Protocol):
    def __call__(self, placement: Placement, credential: str, settings: Mapping[str, str], /) -> Placement:
        """The placement for a credential (may be empty) and settings, where more than filling in is to be done.

        Placeholders are still open in it; those that it leaves are filled from the settings afterwards.
        """
        ...


class FollowUp(Struct, kw_only=True, frozen=True):
    """A further request that is needed before there is an answer. The credential is presented to the base URL's own
    host only.
    """

    url: str
    """whole, or a path below the base URL"""
    method: str = "GET"
    after_s: float = 0.0
    """how long to wait before it"""
    stream: bool = False
    """its answer is the event stream"""


class Follow(Protocol):
    def __call__(self, body: bytes, *, stream: bool, tries: int) -> FollowUp | None:
        """What to ask next after an answer with a success status; None: `body` is the answer. `tries`: made so far."""
        ...


class Behaviour(Struct, kw_only=True, frozen=True):
    """What a provider does that a row cannot say; one file each, joined with its row by name."""

    place: Place | None = None
    signer: MakeSigner | None = None
    extra: str | None = None
    follow: Follow | None = None


class Provider(Struct, kw_only=True, frozen=True):
    name: str
    display_name: str = ""
    base_url: str | None = None
    """without a trailing slash; `{name}` placeholders are filled from the deployment's settings or their variables"""
    dialect: DialectName = "openai_chat"
    """of its chat operation"""
    paths: Mapping[str, str] = field(default_factory=dict)
    """operation (`chat`, `chat_stream`, `embeddings` …) to path below the base URL; `{model}` is filled in, quoted.
    An operation that is not named here is not offered. `chat_stream` falls back to `chat`."""
    auth: AuthStyle = AuthStyle()
    credential_env: tuple[str, ...] = ()
    """variables that may hold the credential, first found wins"""
    base_env: tuple[str, ...] = ()
    """variables that move the base URL"""
    settings_env: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """further settings (`project`, `region`, `account_id`) to the variables that may hold them"""
    keyless: bool = False
    """whether it works without a credential (local servers)"""
    headers: Mapping[str, str] = field(default_factory=dict)
    """constant headers (`anthropic-version`)"""
    profile: Profile = Profile()
    models: tuple[ModelRule, ...] = ()
    signer: MakeSigner | None = None
    follow: Follow | None = None
    """for providers that answer a job first and its result later"""
    routes: Mapping[str, DialectName] = field(default_factory=dict)
    """leading segments of a model's name that choose an API (`responses/gpt-5`, `converse/…`)"""
    place: Place | None = None
    """for providers whose address or credential style depends on the settings"""
    extra: str | None = None
    """name of the optional dependency set that its credential needs"""
    docs_url: str = ""
    probe_url: str | None = None
    """a local server's default address, looked for at start when nothing is configured"""
    aliases: tuple[str, ...] = ()
    """other prefixes that mean this provider"""
    needs_base: bool = False
    """has no address of its own: the operator must say where it is"""
    behaves_like: str = ""
    """the provider whose signer and follow-up questions it has, if not its own (an operator's copy of a known one)"""
