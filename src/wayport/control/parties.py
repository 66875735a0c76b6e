"""Whom a written target means: the providers that come with Wayport, and those that the configuration declares."""

from collections.abc import Callable
from typing import get_args

from msgspec import Struct, structs

from wayport.catalog.catalog import Catalog
from wayport.config.problems import Problem, did_you_mean
from wayport.config.settings import AuthHeader, DeploymentSettings, ProviderSettings, Settings
from wayport.control.addresses import host_of, variable_of
from wayport.dialects.neutral import DialectName
from wayport.providers.provider import AuthStyle, ModelRule, Provider
from wayport.providers.registry import STANDARD_PATHS, Registry

_GENERIC_PATHS = (
    "chat", "completions", "embeddings", "models", "images", "speech", "transcription", "moderation", "rerank",
)  # fmt: skip

_OFFERED_AS = {
    "openai_responses": "responses",
    "openai_completions": "completions",
    "anthropic_messages": "messages",
}
"""dialects that a provider may offer beside its own, and the operation by which it says so"""
_EVERY_MODEL = ".*"


class Target(Struct, kw_only=True, frozen=True):
    """A provider, and the name under which it knows a model."""

    provider: Provider
    model: str


class Unknown(Struct, kw_only=True, frozen=True):
    """No provider is meant by what is written, and why."""

    text: str


class Parties:
    """`report` is told what is wrong with a declared provider."""

    def __init__(
        self, settings: Settings, *, registry: Registry, catalog: Catalog, report: Callable[[Problem], None]
    ) -> None:
        self.warnings: list[str] = []
        self._settings = settings
        self._catalog = catalog
        self._report = report
        declared = [self._declared(item, registry) for item in settings.providers.values()]
        self.registry = registry.plus(provider for provider in declared if provider is not None)

    def written_about(self, provider: Provider) -> ProviderSettings | None:
        """What the configuration says of a provider, by its name or an alias of it."""
        for name in (provider.name, *provider.aliases):
            if (found := self._settings.providers.get(name)) is not None:
                return found
        return None

    def _declared(self, item: ProviderSettings, registry: Registry) -> Provider | None:
        """A provider of the configuration as a value: a known one with changes, or any server of some dialect."""
        connection = item.connection
        known = registry.get(item.like or item.name)
        if known is None and not self._can_be_custom(item, registry):
            return None
        if known is None:
            base = server_of(item.name, connection.dialect, registry)
        elif connection.dialect in (None, known.dialect):
            base = known
        elif _OFFERED_AS.get(connection.dialect, "") in known.paths:
            base = speaking(known, connection.dialect)
        else:
            base = server_of(item.name, connection.dialect, registry)
        if known is not None and item.name in (known.name, *known.aliases):
            name, display_name, aliases = known.name, known.display_name, known.aliases
            credential_env, base_env = known.credential_env, known.base_env
        else:
            name, display_name, aliases, base_env = item.name, item.name, (), ()
            own_key = variable_of(item.name, "_API_KEY")
            credential_env = tuple(dict.fromkeys((own_key, *base.credential_env)))
        return structs.replace(
            base,
            name=name,
            display_name=display_name,
            aliases=aliases,
            base_env=base_env,
            behaves_like=base.behaves_like or ("" if base.name == name else base.name),
            credential_env=credential_env,
            paths={**base.paths, **connection.paths},
            auth=auth_style(connection.auth) if connection.auth is not None else base.auth,
        )

    def _can_be_custom(self, item: ProviderSettings, registry: Registry) -> bool:
        """Whether a provider that Wayport does not know is written with an address."""
        meant = did_you_mean(item.like or item.name, registry.names())
        if item.like is not None:
            text = f"there is no provider `{item.like}`{meant}"
            self._report(Problem(place=item.place, key=f"providers.{item.name}.like", text=text))
            return False
        variable = variable_of(item.name, "_API_BASE")
        if item.connection.base_url or item.connection.missing or self._settings.variable(variable):
            return True
        if self._settings.spelling == "litellm":
            # `<provider>_key` of a provider that Wayport does not have: told, but no reason to stop.
            self.warnings.append(f"{item.place}: `{item.name}` is no provider that Wayport knows; it is not used")
            return False
        text = f"is no provider that Wayport knows{meant}; give it a `base_url` (or set {variable})"
        self._report(Problem(place=item.place, key=f"providers.{item.name}", text=text))
        return False

    def find(self, written: DeploymentSettings) -> Target | Unknown:
        """Whom a written target means: a named provider, the prefix of its name, its maker, or whoever is at the address."""
        if written.provider is not None:
            return self._of_named(written, written.provider)
        base_url, target = written.connection.base_url, written.target
        if (found := self.registry.from_prefix(target)) is not None:
            return Target(provider=found[0], model=found[1])
        prefix, slash, rest = target.partition("/")
        if slash and rest and base_url:
            return Target(provider=self._server(prefix, written), model=rest)
        family = self._catalog.families().get(target)
        if family is not None and (known := self.registry.from_prefix(family)) is not None:
            return Target(provider=known[0], model=target if self._is_name(known[0], target) else known[1])
        if base_url:
            return Target(provider=self._server(host_of(base_url), written), model=target)
        if slash:
            meant = did_you_mean(prefix, self.registry.names())
            return Unknown(text=f"`{prefix}` is no provider that Wayport knows{meant}")
        return Unknown(text=f"`{target}` names no provider: write `provider/{target}`, or give an address")

    def _of_named(self, written: DeploymentSettings, name: str) -> Target | Unknown:
        provider = self.registry.get(name)
        if provider is None and written.connection.base_url:
            provider = self._server(name, written)
        if provider is None:
            return Unknown(text=f"there is no provider `{name}`{did_you_mean(name, self.registry.names())}")
        prefix, slash, rest = written.target.partition("/")
        own_prefix = slash and rest and prefix in (name, provider.name, *provider.aliases)
        return Target(provider=provider, model=rest if own_prefix else written.target)

    def _server(self, name: str, written: DeploymentSettings) -> Provider:
        return server_of(name, written.connection.dialect, self.registry)

    def _is_name(self, provider: Provider, model: str) -> bool:
        """Whether the provider itself knows the model by this name, and not just people."""
        facts = self._catalog.lookup(provider.name, model)
        return facts is not None and (model == facts.model or model in facts.names)


def server_of(name: str, dialect: str | None, registry: Registry) -> Provider:
    """Any server that speaks a dialect, under a name of the operator's choice. Without a dialect: OpenAI's chat."""
    own_key = (variable_of(name, "_API_KEY"),)
    wanted = dialect_named(dialect or "openai_chat")
    if wanted == "openai_chat":
        return Provider(
            name=name, display_name=name, keyless=True, needs_base=True, credential_env=own_key,
            paths={operation: STANDARD_PATHS[operation] for operation in _GENERIC_PATHS},
        )  # fmt: skip
    # Whoever defines a dialect says how it is addressed, too.
    speakers = [known for known in registry.all() if known.dialect == wanted]
    plain = next((known for known in speakers if known.signer is None), None)
    if plain is None:
        operation = {"openai_responses": "responses", "openai_completions": "completions"}.get(wanted, "chat")
        return Provider(
            name=name, display_name=name, dialect=wanted, keyless=True, needs_base=True, credential_env=own_key,
            paths={"chat": STANDARD_PATHS[operation], "models": STANDARD_PATHS["models"]},
        )  # fmt: skip
    return structs.replace(
        plain, name=name, display_name=name, aliases=(), base_url=None, base_env=(), credential_env=own_key,
        keyless=True, needs_base=True, place=None, behaves_like=plain.name,
    )  # fmt: skip


def speaking(provider: Provider, dialect: str | None) -> Provider:
    """The provider with one dialect forced, whatever its rules or a prefix of the model's name say."""
    if dialect is None:
        return provider
    wanted = dialect_named(dialect)
    paths = dict(provider.paths)
    if wanted != provider.dialect and (own := paths.get(_OFFERED_AS.get(wanted, ""))) is not None:
        paths["chat"] = own
        paths.pop("chat_stream", None)
    return structs.replace(
        provider,
        models=(ModelRule(match=_EVERY_MODEL, dialect=wanted, paths=paths), *provider.models),
        routes=dict.fromkeys(provider.routes, wanted),
    )


def dialect_named(name: str) -> DialectName:
    found: DialectName = next(known for known in get_args(DialectName) if known == name)
    return found


def auth_style(header: AuthHeader) -> AuthStyle:
    return AuthStyle(where="query" if header.query else "header", name=header.name, prefix=header.prefix)
