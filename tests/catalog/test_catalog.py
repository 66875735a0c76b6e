"""Lookup by ever looser names, prices by day, and what a reseller may take over."""

from datetime import date
from pathlib import Path

import msgspec
import pytest

from wayport.catalog.catalog import Catalog, bundled, families, load, lookup, price_for
from wayport.core.price import Price


@pytest.mark.parametrize(
    ("provider", "model", "found"),
    [
        ("openai", "gpt-4o", "gpt-4o"),
        ("openai", "openai/gpt-4o", "gpt-4o"),
        ("openai", "GPT-4o", "gpt-4o"),
        ("openai", "gpt-4o-2024-08-06", "gpt-4o"),
        ("openai", "gpt-4o-2024-05-13", "gpt-4o-2024-05-13"),
        ("openai", "gpt-4o-2031-01-01", "gpt-4o"),
        ("openai", "ft:gpt-4o-mini-2024-07-18:acme::x", "ft:gpt-4o-mini"),
        ("azure", "gpt-4o", "gpt-4o"),
        ("azure", "gpt-35-turbo", "gpt-3.5-turbo"),
        ("vertex_ai", "gemini-2.5-flash", "gemini-2.5-flash"),
        ("vertex_ai", "claude-3-5-sonnet@20240620", "claude-3-5-sonnet"),
        ("gemini", "models/gemini-2.5-flash", "gemini-2.5-flash"),
        ("gemini", "gemini-2.5-flash-preview-09-2025", "gemini-2.5-flash"),
        ("bedrock", "us.amazon.nova-lite-v1:0", "amazon.nova-lite-v1:0"),
        ("bedrock", "anthropic.claude-3-haiku-20240307-v1:0", "regional.anthropic.claude-3-haiku-20240307-v1:0"),
        ("bedrock", "arn:aws:bedrock:us-east-1:1:inference-profile/us.amazon.nova-pro-v1:0", "amazon.nova-pro-v1:0"),
        ("openrouter", "anthropic/claude-sonnet-4.5", "anthropic/claude-sonnet-4.5"),
        ("huggingface", "together/deepseek-ai/DeepSeek-R1", "together/deepseek-ai/DeepSeek-R1"),
        ("mistral", "mistral-large-latest", "mistral-large-latest"),
        ("fireworks_ai", "accounts/fireworks/models/deepseek-v3p2", "deepseek-v3p2"),
    ],
)
def test_finds_a_model_by_its_names(provider: str, model: str, found: str) -> None:
    facts = lookup(provider, model)
    assert facts is not None
    assert facts.model == found


@pytest.mark.parametrize(
    ("provider", "model"),
    [("openai", "gpt-nine-hundred"), ("nobody", "gpt-4o"), ("anthropic", ""), ("openrouter", "acme/model")],
)
def test_an_unknown_model_is_none(provider: str, model: str) -> None:
    assert lookup(provider, model) is None
    assert price_for(provider, model) is None


@pytest.mark.parametrize(
    ("provider", "model", "name", "window"),
    [
        ("openai", "gpt-3.5-turbo", "GPT-3.5 Turbo", 16_385),
        ("openai", "gpt-4", "GPT-4", 8_192),
        ("openai", "gpt-4-turbo", "GPT-4 Turbo", 128_000),
        ("openai", "gpt-4o", "GPT-4o", 128_000),
        ("openai", "gpt-4o-mini", "GPT-4o mini", 128_000),
        ("openai", "o1", "o1", 200_000),
        ("anthropic", "claude-3-haiku-20240307", "Claude 3 Haiku", 200_000),
        ("anthropic", "claude-3-sonnet-20240229", "Claude 3 Sonnet", 200_000),
        ("anthropic", "claude-3-opus-20240229", "Claude 3 Opus", 200_000),
        ("anthropic", "claude-3-5-sonnet-20240620", "Claude 3.5 Sonnet", 200_000),
        ("anthropic", "claude-3-5-sonnet-20241022", "Claude 3.5 Sonnet", 200_000),
        ("gemini", "gemini-pro", "Gemini 1.0 Pro", 32_768),
        ("gemini", "gemini-1.5-pro", "Gemini 1.5 Pro", 1_000_000),
        ("gemini", "gemini-2.0-flash", "Gemini 2.0 Flash", 1_048_576),
        ("gemini", "gemini-2.5-flash", "Gemini 2.5 Flash", 1_048_576),
        ("vertex_ai", "gemini-2.5-flash", "Gemini 2.5 Flash", 1_048_576),
        ("replicate", "meta/llama-2-70b-chat", "Llama 2 70B Chat", 4_096),
        ("mistral", "mistral-medium", "Mistral Medium 3.1", 131_072),
        ("gwdg_saia", "llama-3.3-70b", "Llama 3.3 70B", 131_072),
        ("gwdg_saia", "qwen3-32b", "Qwen3 32B", 40_960),
        ("gwdg_saia", "mistral-large", "Mistral Large", 131_072),
        ("gwdg_saia", "codestral-22b", "Codestral 22B", 32_768),
        ("gwdg_saia", "deepseek-r1", "DeepSeek R1", 131_072),
        ("gwdg_saia", "qwq-32b", "QwQ 32B", 131_072),
        ("gwdg_saia", "qwen2.5-vl-72b", "Qwen2.5 VL 72B", 131_072),
        ("gwdg_saia", "e5-mistral-7b", "E5 Mistral 7B", 4_096),
        ("gwdg_saia", "multilingual-e5-large", "Multilingual E5 Large", 512),
    ],
)
def test_models_that_people_use_have_name_window_and_price(provider: str, model: str, name: str, window: int) -> None:
    facts = lookup(provider, model)
    assert facts is not None
    assert (facts.display_name, facts.context_window) == (name, window)
    price = bundled().price_of(facts)
    assert price is not None
    assert price.free or price.rates.input


def test_two_thousand_models_are_priced() -> None:
    priced = [facts for facts in bundled().models if any(dated.price != Price() for dated in facts.prices)]
    assert len(priced) >= 2000


def test_no_price_says_nothing() -> None:
    """A price without a figure would make a call look priced."""
    empty = [
        (facts.provider, facts.model) for facts in bundled().models for dated in facts.prices if dated.price == Price()
    ]
    assert empty == []


def test_prices_rise_by_day_and_tiers_by_input() -> None:
    for facts in bundled().models:
        days = [dated.since or date.min for dated in facts.prices]
        assert days == sorted(days), facts.model
        for dated in facts.prices:
            thresholds = [tier.above_input_tokens for tier in dated.price.tiers]
            assert thresholds == sorted(set(thresholds)), facts.model


def test_a_price_holds_from_its_day_on() -> None:
    facts = lookup("deepseek", "deepseek-v4-flash")
    assert facts is not None
    assert [dated.since for dated in facts.prices] == [None, date(2026, 8, 17), date(2026, 9, 10)]
    before, between = facts.price_at(date(2026, 8, 16)), facts.price_at(date(2026, 8, 17))
    assert before is not None
    assert between is not None
    assert (before.rates.input, between.rates.input) == (140_000_000, 220_000_000)


def test_a_price_names_its_source_and_version() -> None:
    price, own = price_for("openai", "gpt-4o"), price_for("replicate", "meta/llama-2-70b-chat")
    assert price is not None
    assert own is not None
    assert price.source == f"genai-prices {price.version}"
    assert own.source.startswith("wayport 20")


def test_a_reseller_at_other_prices_lends_its_windows_only() -> None:
    facts = lookup("snowflake", "claude-sonnet-4-6")
    assert facts is not None
    assert facts.context_window == 1_000_000
    assert facts.prices == ()
    assert price_for("snowflake", "claude-sonnet-4-6") is None


def test_a_gateway_at_its_vendors_prices_falls_back_to_them() -> None:
    facts = lookup("vercel_ai_gateway", "openai/gpt-4o-mini")
    assert facts is not None
    assert facts.provider == "openai"


def test_a_free_variant_is_free_and_not_unpriced() -> None:
    price = price_for("openrouter", "google/gemini-2.0-flash-exp:free")
    assert price is not None
    assert price.free


def test_a_base_model_may_name_another_provider() -> None:
    found = bundled().lookup_base("azure", "azure/gpt-4o-mini")
    other = bundled().lookup_base("openai_like", "anthropic/claude-3-haiku-20240307")
    assert found is not None
    assert other is not None
    assert (found.model, other.display_name) == ("gpt-4o-mini", "Claude 3 Haiku")


def test_families_lead_to_names_that_their_makers_know() -> None:
    known = families()
    assert known["gpt-3.5-turbo"] == "openai/gpt-3.5-turbo"
    assert known["claude-3-haiku"] == "anthropic/claude-3-haiku-20240307"
    assert known["claude-3-5-sonnet-20240620"] == "anthropic/claude-3-5-sonnet-20240620"
    assert known["claude-3-opus-20240229"] == "anthropic/claude-3-opus-20240229"
    assert known["gemini-flash"] == "gemini/gemini-flash-latest"
    assert known["gemini-pro"] == "gemini/gemini-pro-latest"
    assert known["llama-2-70b-chat"] == "replicate/meta/llama-2-70b-chat"


def test_every_family_is_in_the_catalogue() -> None:
    unknown = []
    for name, target in families().items():
        provider, _, model = target.partition("/")
        if lookup(provider, model) is None:
            unknown.append((name, target))
    assert unknown == []


def test_a_family_name_is_no_model_of_its_own() -> None:
    """Else it would be sent upstream as it is, where nobody knows it."""
    for name, target in families().items():
        provider, _, model = target.partition("/")
        if name == model:
            continue
        facts = lookup(provider, name)
        assert facts is None or (facts.model != name and name not in facts.names), name


def test_a_refreshed_file_wins_and_a_broken_one_does_not(tmp_path: Path) -> None:
    own = tmp_path / "catalog.json"
    own.write_bytes(b'{"version":"9","models":[{"provider":"openai","model":"gpt-9"}]}')
    assert load(tmp_path).version == "9"
    own.write_bytes(b"{")
    assert load(tmp_path).version == bundled().version
    assert load(None).version == bundled().version


def test_what_is_no_catalogue_names_the_place() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"models\[0\]"):
        Catalog(b'{"version":"1","models":[{"provider":"x"}]}')
