"""The models that a provider lists, read from its answer to `models`: OpenAI's, Azure's, Google's, Cohere's and Ollama's shapes.

Pure: whoever fetches the list decides when, and keeps the last good one. A list may tell windows and prices as well.
"""

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from wayport.catalog.facts import Dated, Mode, ModelFacts
from wayport.core.money import price_from_usd_per_unit
from wayport.core.price import Price, Rates

SOURCE = "listing"
_MOST_MODELS = 5000

_WINDOW_KEYS = ("context_length", "context_window", "max_model_len", "max_context_length", "inputTokenLimit")
_OUTPUT_KEYS = ("max_output_tokens", "max_completion_tokens", "outputTokenLimit", "max_tokens")
_RATES = {
    "prompt": "input",
    "completion": "output",
    "input_cache_read": "cache_read",
    "input_cache_write": "cache_write_5m",
    "internal_reasoning": "reasoning",
}
_MODES: dict[str, Mode] = {
    "embedding": "embedding",
    "embeddings": "embedding",
    "rerank": "rerank",
    "image": "image_generation",
    "moderation": "moderation",
}


def listed(provider: str, body: bytes) -> tuple[ModelFacts, ...]:
    """The models of one page. Raises `ValueError` when the body is no list of models."""
    try:
        page = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        raise ValueError("the list of models is no JSON") from None
    found: dict[str, ModelFacts] = {}
    for entry in _entries(page):
        facts = _facts(provider, entry)
        if facts is not None and len(found) < _MOST_MODELS:
            found.setdefault(facts.model, facts)
    return tuple(found.values())


def next_page(path: str, body: bytes) -> str | None:
    """The path of the next page of a list, or None after the last one. Only for bodies that `listed` has read."""
    page = msgspec.json.decode(body)
    if not isinstance(page, dict):
        return None
    mark = "&" if "?" in path else "?"
    if token := page.get("nextPageToken") or page.get("next_page_token"):
        key = "pageToken" if "nextPageToken" in page else "page_token"
        return f"{path}{mark}{key}={quote(str(token), safe='')}"
    if page.get("has_more") and page.get("last_id"):
        return f"{path}{mark}after_id={quote(str(page['last_id']), safe='')}"
    return None


def _entries(page: Any) -> Iterable[Mapping[str, Any]]:
    rows = page
    if isinstance(page, dict):
        rows = next((page[key] for key in ("data", "models", "result") if isinstance(page.get(key), list)), None)
    if not isinstance(rows, list):
        raise ValueError("the answer holds no list of models")  # noqa: TRY004 (the caller minds what, not which type)
    return (row for row in rows if isinstance(row, dict))


def _facts(provider: str, entry: Mapping[str, Any]) -> ModelFacts | None:
    name = entry.get("id") or entry.get("name") or entry.get("model")
    if not isinstance(name, str) or not name:
        return None
    base = entry.get("model") if entry.get("object") == "deployment" else None
    if base is not None and entry.get("status", "succeeded") != "succeeded":
        return None
    methods = entry.get("supportedGenerationMethods") or entry.get("endpoints") or ()
    shown = entry.get("display_name") or entry.get("displayName") or (entry.get("name") if "id" in entry else None)
    top = entry.get("top_provider")
    return ModelFacts(
        provider=provider,
        model=name.removeprefix("models/"),
        display_name=shown if isinstance(shown, str) else "",
        base_model=base if isinstance(base, str) else "",
        mode=_mode(entry, methods),
        context_window=_number(entry, _WINDOW_KEYS),
        max_output_tokens=_number(entry, _OUTPUT_KEYS)
        or (_number(top, _OUTPUT_KEYS) if isinstance(top, dict) else None),
        prices=_prices(entry.get("pricing")),
        source=SOURCE,
    )


def _mode(entry: Mapping[str, Any], methods: Iterable[Any]) -> Mode:
    stated = _MODES.get(str(entry.get("type", "")))
    if stated is not None:
        return stated
    named = {str(method) for method in methods}
    if named & {"embedContent", "embedText", "embed"} and not named & {"generateContent", "chat"}:
        return "embedding"
    return "chat"


def _number(entry: Mapping[str, Any], keys: tuple[str, ...]) -> int | None:
    for key in keys:
        value = entry.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None


def _prices(stated: Any) -> tuple[Dated, ...]:
    """OpenRouter's `pricing`: dollars for one token, as strings. Anything else says nothing that could be relied on."""
    if not isinstance(stated, dict) or not isinstance(stated.get("prompt"), str):
        return ()
    rates = {}
    for key, kind in _RATES.items():
        try:
            rate = price_from_usd_per_unit(stated[key])
        except (KeyError, ArithmeticError, TypeError, ValueError):
            continue
        # -1 stands for a price that depends on the route.
        if rate < 0:
            return ()
        rates[kind] = rate
    if rates.get("reasoning") == 0:
        del rates["reasoning"]
    free = rates.get("input") == 0 and rates.get("output") == 0
    return (Dated(price=Price(rates=Rates(**rates), free=free, source=SOURCE)),)
