"""Prices as operators write them in our own format (dollars per million tokens), under the names of LiteLLM's price keys.

The catalogue lays such keys over what it knows, wherever they were written; amounts stay exact decimals.
"""

import re
from collections.abc import Mapping
from decimal import Decimal

_MILLION = Decimal(1_000_000)

TOKEN_KEYS: Mapping[str, str] = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cache_read": "cache_read_input_token_cost",
    "cache_write_5m": "cache_creation_input_token_cost",
    "cache_write_1h": "cache_creation_input_token_cost_above_1hr",
    "reasoning": "output_cost_per_reasoning_token",
    "audio_input": "input_cost_per_audio_token",
    "audio_cache_read": "cache_read_input_audio_token_cost",
    "audio_output": "output_cost_per_audio_token",
    "image_input": "input_cost_per_image_token",
    "image_output": "output_cost_per_image_token",
    "video_input": "input_cost_per_video_token",
}
"""our kinds of tokens to LiteLLM's keys"""

ITEM_KEYS: Mapping[str, str] = {
    "per_request": "input_cost_per_request",
    "per_second": "input_cost_per_second",
    "per_query": "input_cost_per_query",
    "per_image": "output_cost_per_image",
    "per_page": "ocr_cost_per_page",
}

SERVICE_SUFFIX: Mapping[str, str] = {"flex": "_flex", "priority": "_priority", "batch": "_batches"}

_PRICE_KEY = re.compile(r".*_cost|.*cost_per_.*|.*_token_cost_.*|tiered_pricing")


def is_price_key(key: str) -> bool:
    """Whether a key of LiteLLM's `litellm_params` or `model_info` states a price."""
    return _PRICE_KEY.fullmatch(key) is not None


def plain(amount: Decimal) -> str:
    """Without an exponent, exact."""
    return f"{amount:f}"


def token_prices(usd_per_million: Mapping[str, Decimal], *, suffix: str = "") -> dict[str, str]:
    """Our kinds with dollars per million tokens, as LiteLLM's keys with dollars for one token."""
    return {TOKEN_KEYS[kind] + suffix: plain(usd / _MILLION) for kind, usd in usd_per_million.items()}
