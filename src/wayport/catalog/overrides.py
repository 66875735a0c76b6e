"""The operator's own facts and prices, in LiteLLM's key names, laid over what the catalogue says."""

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, Final, get_args

from msgspec import structs

from wayport.catalog.facts import Capability, Dated, Modality, Mode, ModelFacts
from wayport.core.money import nano_from_usd, price_from_usd_per_unit
from wayport.core.price import Price, Rates, Tier

SOURCE: Final = "config"

RATE_KEYS: Final[Mapping[str, str]] = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cache_read",
    "input_cost_per_token_cache_hit": "cache_read",
    "cache_creation_input_token_cost": "cache_write_5m",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "output_cost_per_reasoning_token": "reasoning",
    "input_cost_per_audio_token": "audio_input",
    "cache_read_input_audio_token_cost": "audio_cache_read",
    "output_cost_per_audio_token": "audio_output",
    "input_cost_per_image_token": "image_input",
    "cache_read_input_image_token_cost": "image_cache_read",
    "output_cost_per_image_token": "image_output",
    "input_cost_per_video_token": "video_input",
    "output_cost_per_video_token": "video_output",
}
"""dollars for one token"""

UNIT_KEYS: Final[Mapping[str, str]] = {
    "input_cost_per_request": "per_request_nano_usd",
    "input_cost_per_second": "per_second_nano_usd",
    "output_cost_per_second": "per_second_nano_usd",
    "input_cost_per_query": "per_query_nano_usd",
    "ocr_cost_per_page": "per_page_nano_usd",
    "output_cost_per_image": "per_image_nano_usd",
    "input_cost_per_image": "per_image_nano_usd",
    "file_search_cost_per_1k_calls": "per_file_search_nano_usd",
}
"""dollars for one unit; of two keys for one price the later wins"""

OLD_SPELLINGS: Final = frozenset(
    {
        "input_cost_per_token_cache_hit",
        "output_cost_per_second",
        "input_cost_per_image",
        "file_search_cost_per_1k_calls",
    }
)
"""read, but never shown: another key says the same"""

_CHARACTER_KEYS: Final = ("input_cost_per_character", "output_cost_per_character")

_TIERED = re.compile(r"(?P<key>\w+?)_above_(?P<thousands>\d+)k_tokens(?:_(?P<tier>priority|flex|batches|batch))?")
_SERVICED = re.compile(r"(?P<key>\w+)_(?P<tier>priority|flex|batches|batch)")
_SERVICE_TIER: Final = {"priority": "priority", "flex": "flex", "batches": "batch", "batch": "batch"}

CAPABILITY_KEYS: Final[Mapping[str, Capability]] = {
    "supports_function_calling": "tools",
    "supports_parallel_function_calling": "parallel_tools",
    "supports_tool_choice": "tool_choice",
    "supports_response_schema": "json_schema",
    "supports_reasoning": "reasoning",
    "supports_prompt_caching": "caching",
    "supports_web_search": "web_search",
    "supports_computer_use": "computer_use",
    "supports_assistant_prefill": "prefill",
    "supports_system_messages": "system",
}
INPUT_KEYS: Final[Mapping[str, Modality]] = {
    "supports_vision": "image",
    "supports_audio_input": "audio",
    "supports_pdf_input": "pdf",
    "supports_video_input": "video",
}
_MODES: Final = frozenset(get_args(Mode))

KEYS: Final = frozenset(
    {
        *RATE_KEYS, *UNIT_KEYS, *_CHARACTER_KEYS, *CAPABILITY_KEYS, *INPUT_KEYS, "supports_audio_output",
        "max_tokens", "max_input_tokens", "max_output_tokens", "mode", "deprecation_date", "output_vector_size",
        "search_context_cost_per_query", "tiered_pricing", "display_name",
    }
)  # fmt: skip
"""every key that `override` reads, but for the spellings with `_above_Nk_tokens` and service tiers"""


def is_key(name: str) -> bool:
    """Whether `override` would read this key."""
    if name in KEYS:
        return True
    found = _TIERED.fullmatch(name) or _SERVICED.fullmatch(name)
    return found is not None and found["key"] in RATE_KEYS


def override(
    facts: ModelFacts | None, given: Mapping[str, Any], *, provider: str = "", model: str = "", day: date | None = None
) -> ModelFacts:
    """`facts` with the operator's values over them. Raises `ValueError` that names a key whose value is no figure.

    Prices: where both input and output are given, they stand alone (what the catalogue knows of caches, tiers and
    service tiers belongs to another price); else what is given is laid over the catalogue's price.
    """
    facts = facts or ModelFacts(provider=provider, model=model)
    changes = _fact_changes(facts, given)
    base = facts.price_at(day or date.max)
    price = _price(given, base)
    if price is not None:
        changes["prices"] = (Dated(price=price),)
        changes["source"] = SOURCE
    return structs.replace(facts, **changes) if changes else facts


def _fact_changes(facts: ModelFacts, given: Mapping[str, Any]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if given.get("max_input_tokens") is not None:
        changes["max_input_tokens"] = changes["context_window"] = _count("max_input_tokens", given)
    if given.get("max_output_tokens") is not None:
        changes["max_output_tokens"] = _count("max_output_tokens", given)
    elif given.get("max_tokens") is not None:
        changes["max_output_tokens"] = _count("max_tokens", given)
    if given.get("output_vector_size") is not None:
        changes["embedding_dimensions"] = _count("output_vector_size", given)
    if (mode := given.get("mode")) in _MODES:
        changes["mode"] = mode
    if name := given.get("display_name"):
        changes["display_name"] = str(name)
    if when := given.get("deprecation_date"):
        changes["deprecation_date"] = when if isinstance(when, date) else date.fromisoformat(str(when))
    capabilities = _switched(facts.capabilities, CAPABILITY_KEYS, given)
    if capabilities != facts.capabilities:
        changes["capabilities"] = capabilities
    inputs = _switched(facts.input_modalities, INPUT_KEYS, given)
    if inputs != facts.input_modalities:
        changes["input_modalities"] = inputs
    outputs = _switched(facts.output_modalities, {"supports_audio_output": "audio"}, given)
    if outputs != facts.output_modalities:
        changes["output_modalities"] = outputs
    return changes


def _switched(known: tuple[str, ...], keys: Mapping[str, str], given: Mapping[str, Any]) -> tuple[str, ...]:
    wanted = list(known)
    for key, word in keys.items():
        value = given.get(key)
        if value is True and word not in wanted:
            wanted.append(word)
        elif value is False and word in wanted:
            wanted.remove(word)
    return tuple(wanted)


def _count(key: str, given: Mapping[str, Any]) -> int:
    try:
        return int(given[key])
    except (TypeError, ValueError):
        raise ValueError(f"{key} must be a whole number, not {given[key]!r}") from None


def _price(given: Mapping[str, Any], base: Price | None) -> Price | None:
    rates: dict[str, int] = {}
    tiers: dict[tuple[str, int], dict[str, int]] = {}
    units: dict[str, int] = {}
    for key, value in given.items():
        if value is None:
            continue
        if kind := RATE_KEYS.get(key):
            rates[kind] = _rate(key, value)
        elif unit := UNIT_KEYS.get(key):
            units[unit] = _nano(key, value) // (1000 if key.endswith("_per_1k_calls") else 1)
        elif key in _CHARACTER_KEYS:
            units["per_million_characters_nano_usd"] = _rate(key, value)
        elif key == "search_context_cost_per_query" and isinstance(value, Mapping) and value:
            size = "search_context_size_medium"
            units["per_web_search_nano_usd"] = _nano(key, value.get(size, next(iter(value.values()))))
        elif (found := _TIERED.fullmatch(key)) and (kind := RATE_KEYS.get(found["key"])):
            tier = _SERVICE_TIER.get(found["tier"] or "", "")
            tiers.setdefault((tier, int(found["thousands"]) * 1000), {})[kind] = _rate(key, value)
        elif (found := _SERVICED.fullmatch(key)) and (kind := RATE_KEYS.get(found["key"])):
            tiers.setdefault((_SERVICE_TIER[found["tier"]], 0), {})[kind] = _rate(key, value)
    ranges = _ranges(given.get("tiered_pricing"))
    if not (rates or tiers or units or ranges):
        return None
    alone = base is None or {"input", "output"} <= rates.keys() or bool(ranges)
    start = Price() if alone or base is None else base
    return _put_together(start, rates, tiers, units, ranges)


def _put_together(
    start: Price,
    rates: dict[str, int],
    tiers: dict[tuple[str, int], dict[str, int]],
    units: dict[str, int],
    ranges: list[tuple[int, dict[str, int]]],
) -> Price:
    if ranges:
        rates = {**ranges[0][1], **rates}
        for above, own in ranges[1:]:
            tiers.setdefault(("", above), {}).update(own)
    merged = structs.replace(start.rates, **rates)
    known = {tier.above_input_tokens: tier.rates for tier in start.tiers}
    own_steps = {above: own for (service, above), own in tiers.items() if not service}
    steps = [
        Tier(
            above_input_tokens=above,
            # What the operator says of a kind without a threshold holds above every threshold too.
            rates=structs.replace(known.get(above, merged), **{**rates, **own_steps.get(above, {})}),
        )
        for above in sorted({*known, *own_steps})
    ]
    service_tiers = dict(start.service_tiers)
    service_steps = dict(start.service_tier_tiers)
    for (service, above), own in sorted(tiers.items()):
        if service and not above:
            service_tiers[service] = structs.replace(service_tiers.get(service, Rates()), **own)
        elif service:
            base = service_tiers.get(service, Rates())
            service_steps[service] = (
                *service_steps.get(service, ()), Tier(above_input_tokens=above, rates=structs.replace(base, **own)),
            )  # fmt: skip
            service_tiers.setdefault(service, Rates())
    free = merged.input == 0 and merged.output == 0 and not units and not steps
    return structs.replace(
        start,
        rates=merged,
        tiers=tuple(steps),
        service_tiers=service_tiers,
        service_tier_tiers=service_steps,
        free=free,
        source=SOURCE,
        version="",
        **units,
    )


def _ranges(value: Any) -> list[tuple[int, dict[str, int]]]:
    """`tiered_pricing: [{range: [0, 32000], input_cost_per_token: …}, …]` as rising steps."""
    if not isinstance(value, list):
        return []
    steps = []
    for row in value:
        if not isinstance(row, Mapping) or not isinstance(row.get("range"), list | tuple) or not row["range"]:
            raise ValueError("tiered_pricing must be a list of {range: [from, to], input_cost_per_token: …}")
        own = {RATE_KEYS[key]: _rate(key, figure) for key, figure in row.items() if key in RATE_KEYS}
        steps.append((int(row["range"][0]), own))
    return sorted(steps, key=lambda step: step[0])


def _rate(key: str, value: Any) -> int:
    _nano(key, value)
    return price_from_usd_per_unit(str(value))


def _nano(key: str, value: Any) -> int:
    try:
        figure = Decimal(str(value))
    except InvalidOperation:
        raise ValueError(f"{key} must be an amount in dollars, not {value!r}") from None
    if not figure.is_finite() or figure < 0 or isinstance(value, bool):
        raise ValueError(f"{key} must be an amount in dollars, not {value!r}")
    return nano_from_usd(figure)
