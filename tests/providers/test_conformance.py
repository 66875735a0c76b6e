"""Every provider row keeps its promises: address, credential, model name and quirks, tested from the row itself.

Adding a provider is adding a row; these tests come with it.
"""

import re
from typing import get_args
from urllib.parse import quote, urlsplit

import pytest

from wayport.dialects.neutral import DialectName
from wayport.providers import registry
from wayport.providers.placement import placement, settings_from
from wayport.providers.provider import Operation, Placement, Provider
from wayport.providers.registry import rule_for

ROWS = registry.all()
CREDENTIAL = "a-secret-of-the-operator"
MODEL = "vendor/some-model:1"
BUILT_IN = "wayport"

_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def placed(provider: Provider, model: str = MODEL) -> Placement:
    """As an operator would set it up: every setting given, an address where one is wanted."""
    settings = {name: f"set-{name}".replace("_", "-") for name in provider.settings_env if not _tokens(name)}
    base = "https://given.example.com" if provider.needs_base else None
    return placement(provider, model, base_url=base, credential=CREDENTIAL, settings=settings)


def _tokens(name: str) -> bool:
    """Settings that would be presented in place of the credential, or say where another thing is."""
    return any(word in name for word in ("token", "zen", "credentials", "endpoint", "version", "secret", "client"))


def url_of(placement: Placement, operation: str) -> str:
    path = placement.paths[operation].replace("{model}", quote(placement.model, safe="/:@-._~"))
    # A list of models may stand elsewhere than below what is called.
    return path if operation == "models" and "://" in path else placement.base_url + path


def each(*, offering: str | None = None) -> list[Provider]:
    return [row for row in ROWS if row.name != BUILT_IN and (offering is None or offering in row.paths)]


def names(provider: Provider) -> str:
    return provider.name


@pytest.mark.parametrize("provider", each(), ids=names)
def test_every_operation_has_a_whole_address(provider: Provider) -> None:
    found = placed(provider)
    assert found.missing == ()
    for operation in found.paths:
        url = url_of(found, operation)
        split = urlsplit(url)
        assert split.scheme in ("https", "http"), url
        assert split.hostname, url
        assert not _PLACEHOLDER.search(url), url
        assert "//" not in split.path, url
        assert split.scheme == "https" or provider.keyless, "a credential must not travel in the clear"


@pytest.mark.parametrize("provider", each(), ids=names)
def test_its_operations_and_dialect_are_known(provider: Provider) -> None:
    assert set(provider.paths) <= set(get_args(Operation))
    assert provider.dialect in get_args(DialectName)
    assert set(provider.routes.values()) <= set(get_args(DialectName))


@pytest.mark.parametrize("provider", each(), ids=names)
def test_the_credential_goes_where_the_row_says(provider: Provider) -> None:
    found = placed(provider)
    if found.signed:
        assert provider.signer is not None
        assert found.auth.where == "none" or provider.place is None
        return
    assert found.auth.where in ("header", "query")
    assert found.auth.name == found.auth.name.lower()
    assert found.auth.prefix in ("", "Bearer ", "Token ", "Key ")
    if found.auth.name == "authorization":
        assert found.auth.prefix


@pytest.mark.parametrize("provider", each(), ids=names)
def test_it_names_what_is_missing(provider: Provider) -> None:
    bare = placement(provider, MODEL)
    if provider.keyless and not provider.needs_base:
        assert bare.missing == ()
    elif not bare.signed:
        assert bare.missing
        assert all(re.fullmatch(r"[A-Z][A-Z0-9_]+", variable) for variable in bare.missing)


@pytest.mark.parametrize("provider", each(), ids=names)
def test_its_variables_are_variables_and_its_own(provider: Provider) -> None:
    variables = [*provider.credential_env, *provider.base_env, *sum(provider.settings_env.values(), ())]
    assert all(re.fullmatch(r"[A-Z][A-Z0-9_]+", variable) for variable in variables), variables
    assert len(provider.credential_env) == len(set(provider.credential_env))
    assert not set(provider.credential_env) & set(provider.base_env)


@pytest.mark.parametrize("provider", each(), ids=names)
def test_settings_are_found_in_the_environment(provider: Provider) -> None:
    for name, variables in provider.settings_env.items():
        for variable in variables:
            assert settings_from(provider, {}, {variable: "v"}).get(name) == "v"


@pytest.mark.parametrize("provider", each(offering="chat"), ids=names)
def test_its_chat_can_be_moved_to_another_address(provider: Provider) -> None:
    base = "http://127.0.0.1:9/relay"
    settings = {name: "x" for name in provider.settings_env if not _tokens(name)}
    found = placement(provider, MODEL, base_url=base, credential=CREDENTIAL, settings=settings)
    assert url_of(found, "chat").startswith(base)


@pytest.mark.parametrize("provider", each(), ids=names)
def test_its_rules_can_match_and_name_known_dialects(provider: Provider) -> None:
    for rule in provider.models:
        re.compile(rule.match)
        assert rule.profile is not None or rule.dialect is not None or rule.paths is not None
        assert rule.dialect is None or rule.dialect in get_args(DialectName)


@pytest.mark.parametrize("provider", each(), ids=names)
def test_a_rule_keeps_what_the_row_says_and_it_does_not_change(provider: Provider) -> None:
    """A rule's profile is the row's with its own fields over it, so that a quirk is written once."""
    for rule in provider.models:
        if rule.profile is None:
            continue
        assert rule.profile.images in (provider.profile.images, "none", "url", "data")
        assert rule.profile.stream_usage == provider.profile.stream_usage or not rule.profile.stream_usage


@pytest.mark.parametrize("provider", each(), ids=names)
def test_it_can_be_told_and_read_about(provider: Provider) -> None:
    assert provider.display_name
    assert provider.needs_base or provider.docs_url.startswith("https://")
    assert re.fullmatch(r"[a-z0-9][a-z0-9_\-]*", provider.name)


def test_there_are_many() -> None:
    assert len(ROWS) >= 120


def test_no_prefix_means_two_providers() -> None:
    prefixes = [prefix for provider in ROWS for prefix in (provider.name, *provider.aliases)]
    assert len(prefixes) == len(set(prefixes))


def test_local_servers_are_looked_for_without_a_key() -> None:
    probed = {provider.name: provider.probe_url for provider in ROWS if provider.probe_url}
    assert {"ollama", "vllm", "lm_studio"} <= probed.keys()
    assert len(set(probed.values())) == len(probed)
    for provider in ROWS:
        if provider.probe_url:
            assert provider.keyless
            assert urlsplit(provider.probe_url).hostname == "127.0.0.1"


QUIRKS = [
    ("openai", "gpt-4o", "max_tokens_field", "any"),
    ("openai", "gpt-4o", "custom_tools", True),
    ("openai", "ft:gpt-4o-mini-2024-07-18:acme::abc", "reasoning", "none"),
    ("openai", "gpt-5-chat-latest", "reasoning", "none"),
    ("openai", "gpt-7", "max_tokens_field", "max_completion_tokens"),
    ("openai", "gpt-5-mini", "reasoning_field", "none"),
    ("azure", "my-deployment", "max_tokens_field", "any"),
    ("azure", "my-deployment", "reasoning_field", "none"),
    ("openrouter", "openai/gpt-4o", "max_tokens_field", "any"),
    ("google_openai", "gemini-3-flash-preview", "thought_signatures", True),
    ("moonshot", "kimi-k2-thinking", "tool_id_chars", -1),
    ("groq", "qwen/qwen3-32b", "constants", {"reasoning_format": "parsed"}),
    ("gemini", "gemini-3-flash-preview", "tool_result_media", True),
    ("gemini", "gemini-1.5-pro", "tool_schema", "openapi"),
    ("gemini", "gemini-2.5-pro", "reasoning_efforts", ("minimal", "low", "medium", "high")),
    ("openai", "o3-mini", "max_tokens_field", "max_completion_tokens"),
    ("openai", "gpt-5-mini-2025-08-07", "max_tokens_field", "max_completion_tokens"),
    ("openai", "gpt-5-mini", "reasoning_efforts", ("minimal", "low", "medium", "high")),
    ("openai", "gpt-5.2", "reasoning_efforts", ("none", "low", "medium", "high", "xhigh")),
    ("openai", "o1", "system_role", "developer"),
    ("openai", "o1-mini", "system_role", "user"),
    ("openai", "gpt-6-luna", "tools_with_reasoning", False),
    ("openai", "gpt-3.5-turbo", "json_schema", "json_object"),
    ("azure", "o3-mini", "max_tokens_field", "max_completion_tokens"),
    ("mistral", "mistral-large-latest", "renames", {"seed": "random_seed"}),
    ("mistral", "mistral-large-latest", "tool_id_chars", 9),
    ("deepseek", "deepseek-reasoner", "reasoning_back", "tool_turns"),
    ("openrouter", "anthropic/claude-sonnet-4.5", "cache_markers", True),
    ("groq", "openai/gpt-oss-120b", "reasoning_field", "reasoning"),
    ("anthropic", "claude-3-haiku-20240307", "reasoning", "none"),
    ("anthropic", "claude-sonnet-4-5-20250929", "reasoning", "budget"),
    ("anthropic", "claude-opus-4-6", "reasoning", "adaptive"),
    ("anthropic", "claude-opus-4-8", "unsupported", frozenset({"temperature", "top_p", "top_k"})),
    ("anthropic", "claude-opus-4-1-20250805", "exclusive", ("temperature", "top_p")),
    ("gemini", "gemini-2.0-flash", "reasoning", "none"),
    ("gemini", "gemini-2.5-pro", "reasoning", "budget"),
    ("gemini", "gemini-3-flash-preview", "reasoning", "level"),
    ("vertex_ai", "gemini-2.5-flash", "reasoning", "budget"),
    ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "reasoning", "budget"),
    ("publicai", "m", "content_parts", False),
    ("scx-ai", "m", "temperature_max", 1.99),
    ("watsonx", "m", "renames", {"model": "model_id"}),
    ("parasail", "m", "constants", {"store": False}),
]


@pytest.mark.parametrize(("name", "model", "field", "value"), QUIRKS, ids=lambda given: str(given)[:40])
def test_a_quirk_is_in_the_profile(name: str, model: str, field: str, value: object) -> None:
    provider = registry.get(name)
    assert provider is not None
    rule = rule_for(provider, model)
    assert getattr(rule.profile or provider.profile, field) == value
