"""The operator's figures over the catalogue's, in LiteLLM's names, and back again."""

from datetime import date
from typing import Any

import pytest

from wayport.catalog.catalog import bundled, lookup
from wayport.catalog.facts import ModelFacts
from wayport.catalog.info import info
from wayport.catalog.overrides import is_key, override
from wayport.core.price import Price, Rates, Tier

DAY = date(2026, 11, 20)


def priced(given: dict[str, Any], facts: ModelFacts | None = None) -> Price:
    price = override(facts, given, provider="openai", model="m", day=DAY).price_at(DAY)
    assert price is not None
    return price


def gpt_5_4() -> ModelFacts:
    facts = lookup("openai", "gpt-5.4")
    assert facts is not None
    return facts


def test_a_price_of_ones_own() -> None:
    price = priced({"input_cost_per_token": 1e-6, "output_cost_per_token": "0.000002"})
    assert price.rates == Rates(input=1_000_000_000, output=2_000_000_000)
    assert (price.source, price.free) == ("config", False)


def test_input_and_output_stand_alone_over_a_known_price() -> None:
    """What the catalogue knows of caches and tiers belongs to the list price, not to a negotiated one."""
    price = priced({"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}, gpt_5_4())
    assert price.rates.cache_read is None
    assert price.tiers == ()
    assert price.service_tiers == {}


def test_one_figure_is_laid_over_the_known_price() -> None:
    known = gpt_5_4().price_at(DAY)
    assert known is not None
    price = priced({"cache_read_input_token_cost": 1e-7}, gpt_5_4())
    assert price.rates.cache_read == 100_000_000
    assert price.rates.input == known.rates.input
    assert price.tiers[0].rates.cache_read == 100_000_000
    assert price.tiers[0].rates.input == known.tiers[0].rates.input


def test_nothing_for_input_and_output_is_free_and_not_unpriced() -> None:
    assert priced({"input_cost_per_token": 0, "output_cost_per_token": 0}).free


def test_tiers_and_service_tiers() -> None:
    price = priced(
        {
            "input_cost_per_token": 1e-6,
            "output_cost_per_token": 4e-6,
            "input_cost_per_token_above_200k_tokens": 2e-6,
            "output_cost_per_token_above_200k_tokens": 6e-6,
            "input_cost_per_token_batches": 5e-7,
            "output_cost_per_token_batches": 2e-6,
            "input_cost_per_token_priority": 2e-6,
            "input_cost_per_token_above_200k_tokens_priority": 4e-6,
        }
    )
    assert price.tiers == (Tier(above_input_tokens=200_000, rates=Rates(input=2_000_000_000, output=6_000_000_000)),)
    assert price.service_tiers["batch"] == Rates(input=500_000_000, output=2_000_000_000)
    assert price.service_tiers["priority"] == Rates(input=2_000_000_000)
    assert price.service_tier_tiers["priority"][0].rates.input == 4_000_000_000


def test_tiered_pricing_as_a_list_of_ranges() -> None:
    price = priced(
        {
            "tiered_pricing": [
                {"range": [32000, 128000], "input_cost_per_token": 2e-6, "output_cost_per_token": 8e-6},
                {"range": [0, 32000], "input_cost_per_token": 1e-6, "output_cost_per_token": 4e-6},
            ]
        }
    )
    assert price.rates == Rates(input=1_000_000_000, output=4_000_000_000)
    assert price.tiers == (Tier(above_input_tokens=32_000, rates=Rates(input=2_000_000_000, output=8_000_000_000)),)


@pytest.mark.parametrize(
    ("key", "value", "field", "nano"),
    [
        ("input_cost_per_second", 0.0001, "per_second_nano_usd", 100_000),
        ("input_cost_per_query", 0.002, "per_query_nano_usd", 2_000_000),
        ("ocr_cost_per_page", 0.001, "per_page_nano_usd", 1_000_000),
        ("output_cost_per_image", 0.04, "per_image_nano_usd", 40_000_000),
        ("input_cost_per_request", 0.005, "per_request_nano_usd", 5_000_000),
        ("input_cost_per_character", 0.000015, "per_million_characters_nano_usd", 15_000_000_000),
        ("search_context_cost_per_query", {"search_context_size_medium": 0.01}, "per_web_search_nano_usd", 10_000_000),
    ],
)
def test_prices_of_single_units(key: str, value: Any, field: str, nano: int) -> None:
    assert getattr(priced({key: value}), field) == nano


def test_facts_are_overridden_too() -> None:
    facts = override(
        gpt_5_4(),
        {
            "max_input_tokens": 1000,
            "max_tokens": 50,
            "supports_vision": False,
            "supports_function_calling": True,
            "supports_audio_output": True,
            "mode": "embedding",
            "deprecation_date": "2027-01-31",
        },
    )
    assert (facts.max_input_tokens, facts.max_output_tokens, facts.mode) == (1000, 50, "embedding")
    assert "image" not in facts.input_modalities
    assert "tools" in facts.capabilities
    assert "audio" in facts.output_modalities
    assert facts.deprecation_date == date(2027, 1, 31)
    assert facts.prices == gpt_5_4().prices


def test_nothing_given_changes_nothing() -> None:
    assert override(gpt_5_4(), {"unknown": 1, "input_cost_per_token": None}) is not None
    assert override(gpt_5_4(), {}) == gpt_5_4()


@pytest.mark.parametrize(
    "given",
    [
        {"input_cost_per_token": "cheap"},
        {"input_cost_per_token": -1},
        {"input_cost_per_token": float("nan")},
        {"input_cost_per_token": True},
        {"max_tokens": "many"},
        {"tiered_pricing": [{"input_cost_per_token": 1}]},
    ],
)
def test_what_is_no_figure_names_its_key(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(given))):
        override(None, given)


@pytest.mark.parametrize(
    ("key", "known"),
    [
        ("input_cost_per_token", True),
        ("cache_creation_input_token_cost_above_1hr", True),
        ("output_cost_per_token_above_128k_tokens", True),
        ("input_cost_per_token_above_272k_tokens_priority", True),
        ("output_cost_per_token_batches", True),
        ("supports_vision", True),
        ("api_base", False),
        ("rpm_priority", False),
    ],
)
def test_its_keys_are_known_by_name(key: str, known: bool) -> None:
    assert is_key(key) is known


def test_info_shows_the_facts_in_names_that_clients_know() -> None:
    facts = gpt_5_4()
    shown = info(facts, price=bundled().price_of(facts, day=DAY))
    assert shown["input_cost_per_token"] == 2.5e-6
    assert shown["output_cost_per_token"] == 15e-6
    assert shown["input_cost_per_token_above_272k_tokens"] == 5e-6
    assert shown["input_cost_per_token_batches"] == 1.25e-6
    assert shown["max_input_tokens"] == 922_000
    assert shown["max_output_tokens"] == 128_000
    assert shown["litellm_provider"] == "openai"
    assert shown["supports_function_calling"] is True
    assert shown["supports_vision"] is True
    assert shown["display_name"] == "GPT-5.4"


def test_info_of_an_unpriced_model_says_so_and_of_a_free_one_too() -> None:
    unpriced = info(ModelFacts(provider="openai", model="m"))
    free = info(ModelFacts(provider="openai", model="m"), price=Price(free=True))
    assert (unpriced["input_cost_per_token"], free["input_cost_per_token"]) == (None, 0.0)


@pytest.mark.parametrize("provider", ["openai", "anthropic", "gemini", "mistral", "xai"])
def test_what_info_shows_is_what_override_reads(provider: str) -> None:
    for facts in bundled().models:
        price = facts.price_at(DAY)
        if facts.provider != provider or price is None or price.hours or price.min_billed_seconds:
            continue
        shown = {key: value for key, value in info(facts, price=price).items() if is_key(key)}
        again = priced(shown)
        assert again.rates == price.rates or price.free, facts.model
        assert again.free or not price.free, facts.model
