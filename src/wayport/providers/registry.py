"""Every provider that comes with Wayport, by name: the rows of data.json, joined with behaviour where one has any.

Adding an OpenAI-compatible provider is one row. Reading the rows takes a few milliseconds and happens once.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from wayport.dialects.dialect import Profile
from wayport.dialects.neutral import DialectName
from wayport.providers import (
    anthropic,
    azure,
    bedrock,
    databricks,
    gigachat,
    github_copilot,
    huggingface,
    replicate,
    snowflake,
    vertex_ai,
    watsonx,
)
from wayport.providers.provider import AuthStyle, Behaviour, ModelRule, Provider

DATA = Path(__file__).with_name("data.json")

STANDARD_PATHS: Mapping[str, str] = {
    "chat": "/chat/completions",
    "completions": "/completions",
    "embeddings": "/embeddings",
    "responses": "/responses",
    "messages": "/messages",
    "models": "/models",
    "images": "/images/generations",
    "image_edits": "/images/edits",
    "speech": "/audio/speech",
    "transcription": "/audio/transcriptions",
    "translation": "/audio/translations",
    "moderation": "/moderations",
    "rerank": "/rerank",
    "batches": "/batches",
    "files": "/files",
}
"""where OpenAI's API has them below its base URL"""


BEHAVIOURS: Mapping[str, Behaviour] = {
    "anthropic": anthropic.behaviour,
    "azure": azure.behaviour,
    "azure_ai": azure.foundry,
    "bedrock": bedrock.behaviour,
    "bedrock_mantle": bedrock.mantle,
    "databricks": databricks.behaviour,
    "gigachat": gigachat.behaviour,
    "github_copilot": github_copilot.behaviour,
    "huggingface": huggingface.behaviour,
    "replicate": replicate.behaviour,
    "sagemaker_chat": bedrock.sagemaker,
    "snowflake": snowflake.behaviour,
    "vertex_ai": vertex_ai.behaviour,
    "watsonx": watsonx.behaviour,
}


class RuleRow(Struct, frozen=True, forbid_unknown_fields=True):
    match: str
    route: str = ""
    profile: dict[str, Any] | None = None
    """fields of a profile that differ from the provider's"""
    dialect: DialectName | None = None
    paths: dict[str, str] | None = None


class Row(Struct, frozen=True, forbid_unknown_fields=True):
    """One provider as data.json writes it; terser than `Provider`."""

    name: str
    display_name: str
    base_url: str | None = None
    dialect: DialectName = "openai_chat"
    offers: tuple[str, ...] = ()
    """operations beside `chat` and `models`, at their standard paths"""
    lacks: tuple[str, ...] = ()
    """of `chat` and `models`, what it has not"""
    paths: dict[str, str] = {}
    """paths that are not the standard ones"""
    auth: AuthStyle | None = None
    credential_env: tuple[str, ...] = ()
    base_env: tuple[str, ...] = ()
    settings_env: dict[str, tuple[str, ...]] = {}
    keyless: bool = False
    headers: dict[str, str] = {}
    profile: dict[str, Any] = {}
    models: tuple[RuleRow, ...] = ()
    docs_url: str = ""
    probe_url: str | None = None
    aliases: tuple[str, ...] = ()
    needs_base: bool = False
    routes: dict[str, DialectName] = {}
    like: str | None = None
    """a provider whose profile and model rules hold here too"""


_NO_BEHAVIOUR = Behaviour()
_rows = msgspec.json.Decoder(tuple[Row, ...])


class Registry:
    """Providers by name and by prefix. Immutable; `plus` makes a larger one (custom providers, plug-ins)."""

    def __init__(self, providers: Iterable[Provider]) -> None:
        self._by_name = {provider.name: provider for provider in providers}
        self._by_prefix = dict(self._by_name)
        for provider in self._by_name.values():
            for alias in provider.aliases:
                self._by_prefix.setdefault(alias, provider)

    def get(self, name: str) -> Provider | None:
        """The provider of this name or alias."""
        return self._by_prefix.get(name)

    def names(self) -> tuple[str, ...]:
        return tuple(self._by_name)

    def all(self) -> tuple[Provider, ...]:
        return tuple(self._by_name.values())

    def from_prefix(self, model: str) -> tuple[Provider, str] | None:
        """`groq/llama-3.3-70b` as the provider and the name that it knows; None if no provider is named."""
        prefix, slash, rest = model.partition("/")
        provider = self._by_prefix.get(prefix)
        if not slash or not rest or provider is None:
            return None
        return provider, rest

    def plus(self, providers: Iterable[Provider]) -> "Registry":
        """A registry in which `providers` stand beside the built-in ones, or in their place where the name is the same."""
        merged = {provider.name: provider for provider in self.all()}
        merged.update({provider.name: provider for provider in providers})
        return Registry(merged.values())


def read_rows(data: bytes) -> list[Provider]:
    """Providers from rows. Raises `msgspec.ValidationError` that names the place."""
    rows = {row.name: row for row in _rows.decode(data)}
    return [_provider(row, rows) for row in rows.values()]


def _provider(row: Row, rows: Mapping[str, Row]) -> Provider:
    behaviour = BEHAVIOURS.get(row.name, _NO_BEHAVIOUR)
    alike = rows[row.like] if row.like is not None else row
    own = {**alike.profile, **row.profile}
    rule_rows = row.models if alike is row else (*row.models, *alike.models)
    standard = ("chat", "models", *row.offers)
    paths = {operation: STANDARD_PATHS[operation] for operation in standard if operation not in row.lacks}
    return Provider(
        name=row.name,
        display_name=row.display_name,
        base_url=row.base_url,
        dialect=row.dialect,
        paths={**paths, **row.paths},
        auth=row.auth or (AuthStyle(where="none") if row.keyless and not row.credential_env else AuthStyle()),
        credential_env=row.credential_env,
        base_env=row.base_env,
        settings_env=row.settings_env,
        keyless=row.keyless,
        headers=row.headers,
        profile=profile_from(own),
        models=tuple(
            ModelRule(
                match=rule.match,
                route=rule.route,
                profile=None if rule.profile is None else profile_from({**own, **rule.profile}),
                dialect=rule.dialect,
                paths=rule.paths,
            )
            for rule in rule_rows
        ),
        docs_url=row.docs_url,
        probe_url=row.probe_url,
        aliases=row.aliases,
        needs_base=row.needs_base,
        routes=row.routes,
        place=behaviour.place,
        signer=behaviour.signer,
        extra=behaviour.extra,
        follow=behaviour.follow,
    )


def profile_from(fields: Mapping[str, Any]) -> Profile:
    """A profile from JSON values; an unknown or ill-typed field is a `msgspec.ValidationError`."""
    unknown = fields.keys() - set(Profile.__struct_fields__)
    if unknown:
        raise msgspec.ValidationError(f"a profile has no field {min(unknown)!r}")
    return msgspec.convert(fields, Profile)


@cache
def builtin() -> Registry:
    return Registry(read_rows(DATA.read_bytes()))


def get(name: str) -> Provider | None:
    return builtin().get(name)


def names() -> tuple[str, ...]:
    return builtin().names()


def all() -> tuple[Provider, ...]:  # noqa: A001 (reads as `registry.all()`)
    return builtin().all()


def from_prefix(model: str) -> tuple[Provider, str] | None:
    return builtin().from_prefix(model)


@cache
def _whole(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def rule_for(provider: Provider, model: str, route: str = "") -> ModelRule:
    """What the provider's rules say of one model, put together: unset where no rule says anything. Its `route` is set
    where a rule of this route had a say.
    """
    profile = dialect = paths = None
    special = ""
    for rule in provider.models:
        if (not rule.route or rule.route == route) and _whole(rule.match).fullmatch(model):
            special = special or rule.route
            profile = profile if profile is not None else rule.profile
            dialect = dialect if dialect is not None else rule.dialect
            paths = paths if paths is not None else rule.paths
    return ModelRule(match=model, route=special, profile=profile, dialect=dialect, paths=paths)
