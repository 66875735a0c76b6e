"""Facts and prices of a model as /model/info shows them: LiteLLM's key names, dollars per token."""

from datetime import date
from decimal import Decimal
from typing import Any

from wayport.catalog.facts import ModelFacts
from wayport.catalog.overrides import CAPABILITY_KEYS, INPUT_KEYS, OLD_SPELLINGS, RATE_KEYS, UNIT_KEYS
from wayport.core.money import NANO_PER_USD, UNITS_PER_PRICE
from wayport.core.price import Price, Rates


def info(facts: ModelFacts, *, price: Price | None = None, day: date | None = None) -> dict[str, Any]:
    """What /model/info says of a model, in LiteLLM's key names; dollars per token. Unknown is None, never 0."""
    price = price or facts.price_at(day or date.max)
    rates = price.rates if price is not None else Rates()
    shown: dict[str, Any] = {
        "key": facts.model,
        "display_name": facts.display_name or facts.model,
        "mode": facts.mode,
        "litellm_provider": facts.provider,
        "max_tokens": facts.max_output_tokens or facts.context_window,
        "max_input_tokens": facts.max_input_tokens or facts.context_window,
        "max_output_tokens": facts.max_output_tokens,
        "input_cost_per_token": per_token(rates.input if rates.input is not None else _zero_if_free(price)),
        "output_cost_per_token": per_token(rates.output if rates.output is not None else _zero_if_free(price)),
    }
    shown |= _rate_keys(rates, "")
    if price is not None:
        _show_more_prices(price, shown)
    for key, word in CAPABILITY_KEYS.items():
        shown[key] = True if word in facts.capabilities else None
    for key, modality in INPUT_KEYS.items():
        shown[key] = modality in facts.input_modalities if facts.input_modalities else None
    shown["supports_audio_output"] = "audio" in facts.output_modalities if facts.output_modalities else None
    if facts.embedding_dimensions is not None:
        shown["output_vector_size"] = facts.embedding_dimensions
    if facts.deprecation_date is not None:
        shown["deprecation_date"] = facts.deprecation_date.isoformat()
    return shown


def _show_more_prices(price: Price, shown: dict[str, Any]) -> None:
    for tier in price.tiers:
        suffix = f"_above_{tier.above_input_tokens // 1000}k_tokens"
        shown |= _rate_keys(tier.rates, suffix)
    for service, rates in price.service_tiers.items():
        shown |= _rate_keys(rates, "_batches" if service == "batch" else f"_{service}")
    for key, unit in UNIT_KEYS.items():
        if key in OLD_SPELLINGS:
            continue
        if (nano := getattr(price, unit)) is not None:
            shown[key] = float(Decimal(nano) / NANO_PER_USD)
    if price.per_second_nano_usd is None and price.per_hour_nano_usd is not None:
        shown["input_cost_per_second"] = float(Decimal(price.per_hour_nano_usd) / NANO_PER_USD / 3600)
    if price.per_million_characters_nano_usd is not None:
        shown["input_cost_per_character"] = per_token(price.per_million_characters_nano_usd)
    if price.per_web_search_nano_usd is not None:
        usd = float(Decimal(price.per_web_search_nano_usd) / NANO_PER_USD)
        shown["search_context_cost_per_query"] = {
            f"search_context_size_{size}": usd for size in ("low", "medium", "high")
        }
    shown["price_source"] = price.source or None


def _rate_keys(rates: Rates, suffix: str) -> dict[str, float | None]:
    return {
        key + suffix: per_token(rate)
        for key, kind in RATE_KEYS.items()
        if key not in OLD_SPELLINGS and (rate := getattr(rates, kind)) is not None
    }


def _zero_if_free(price: Price | None) -> int | None:
    return 0 if price is not None and price.free else None


def per_token(rate: int | None) -> float | None:
    """Dollars for one token from nano-dollars per million."""
    return None if rate is None else float(Decimal(rate) / NANO_PER_USD / UNITS_PER_PRICE)
