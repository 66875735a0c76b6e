"""Names, prefixes and placement of the built-in providers."""

import subprocess
import sys

import msgspec
import pytest

from wayport.providers import registry
from wayport.providers.placement import placement, settings_from


@pytest.mark.parametrize(
    ("model", "provider", "rest"),
    [
        ("groq/openai/gpt-oss-120b", "groq", "openai/gpt-oss-120b"),
        ("google/gemini-2.5-pro", "gemini", "gemini-2.5-pro"),
        ("text-completion-openai/babbage-002", "openai", "babbage-002"),
        ("gwdg_saia/llama-3.3-70b", "gwdg_saia", "llama-3.3-70b"),
        ("wayport/echo", "wayport", "echo"),
    ],
)
def test_a_prefix_names_a_provider(model: str, provider: str, rest: str) -> None:
    found = registry.from_prefix(model)
    assert found is not None
    assert (found[0].name, found[1]) == (provider, rest)


@pytest.mark.parametrize("model", ["gpt-4o", "nobody/model", "openai/", "/x", ""])
def test_other_names_have_no_provider(model: str) -> None:
    assert registry.from_prefix(model) is None


@pytest.mark.parametrize(
    ("name", "base_url", "url"),
    [
        ("ollama", "http://h:11434", "http://h:11434/v1/chat/completions"),
        ("ollama", "http://h:11434/v1", "http://h:11434/v1/chat/completions"),
        ("openai", "https://h/v1/", "https://h/v1/chat/completions"),
        ("openai", "https://h/v1/chat/completions", "https://h/v1/chat/completions"),
        ("anthropic", "https://h/v1", "https://h/v1/messages"),
        ("anthropic", "https://h/relay", "https://h/relay/v1/messages"),
    ],
)
def test_an_address_may_be_written_with_and_without_its_version(name: str, base_url: str, url: str) -> None:
    provider = registry.get(name)
    assert provider is not None
    placed = placement(provider, "m", base_url=base_url, credential="c")
    assert placed.base_url + placed.paths["chat"] == url


def test_reading_the_rows_loads_nothing_heavy() -> None:
    """A worker reads them at its start."""
    program = (
        "import sys\n"
        "from wayport.providers import registry\n"
        "assert registry.get('openai') is not None\n"
        "heavy = {'pydantic', 'botocore', 'google.auth', 'azure', 'requests', 'httpx', 'fastapi', 'sqlalchemy', 'yaml'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.strip() == "[]"


def test_an_unknown_field_of_a_row_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="base_uri"):
        registry.read_rows(b'[{"name":"x","display_name":"X","base_uri":"https://h"}]')
    with pytest.raises(msgspec.ValidationError, match="max_token_field"):
        registry.read_rows(b'[{"name":"x","display_name":"X","profile":{"max_token_field":"max_tokens"}}]')


def test_a_missing_credential_is_named() -> None:
    provider = registry.get("groq")
    assert provider is not None
    assert placement(provider, "m").missing == ("GROQ_API_KEY",)
    assert placement(provider, "m", credential="c").missing == ()


def test_settings_come_from_the_operator_first() -> None:
    provider = registry.get("groq")
    assert provider is not None
    assert settings_from(provider, {"a": "1", "b": ""}, {}) == {"a": "1"}


@pytest.mark.parametrize("name", ["azure", "azure_ai"])
def test_a_list_of_what_could_be_deployed_is_no_list_of_models(name: str) -> None:
    """Azure lists every model of the region; what can be called is what the operator deployed."""
    provider = registry.get(name)
    assert provider is not None
    assert "models" not in provider.paths
