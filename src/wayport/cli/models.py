"""`wayport models [FILTER]`: the models that the catalogue knows, with window and price."""

import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from wayport.catalog.catalog import load
from wayport.catalog.facts import ModelFacts
from wayport.config.load import Options, process_environment
from wayport.config.load import load as load_settings
from wayport.config.problems import ConfigError
from wayport.core.money import NANO_PER_USD
from wayport.core.price import Price


def models(wanted: str = "", *, retired: bool = False) -> int:
    """0; 1 when nothing fits. `wanted`: part of `provider/model` or of a display name."""
    catalog = load(data_dir())
    today = datetime.now(tz=UTC).date()
    needle = wanted.lower()
    found = sorted(
        (
            facts
            for facts in catalog.models
            if (retired or not facts.deprecated)
            and (needle in f"{facts.provider}/{facts.model}".lower() or needle in facts.display_name.lower())
        ),
        key=lambda facts: (facts.provider, facts.model),
    )
    if not found:
        sys.stderr.write(f"the catalogue has no model like `{wanted}`; others can be called all the same\n")
        return 1
    width = min(60, max(len(f"{facts.provider}/{facts.model}") for facts in found))
    _say(f"{'model':<{width}}  {'window':>9}  {'output':>8}  {'$ in/M':>9}  {'$ out/M':>9}  name")
    for facts in found:
        _say(_line(facts, catalog.price_of(facts, day=today), width))
    _say(f"\n{len(found)} models; catalogue {catalog.version}")
    return 0


def data_dir() -> Path | None:
    """Where a refreshed catalogue would be; None when the environment's settings are wrong."""
    try:
        return Path(load_settings(Options(), process_environment()).storage.data_dir)
    except ConfigError:
        return None


def _line(facts: ModelFacts, price: Price | None, width: int) -> str:
    name = f"{facts.provider}/{facts.model}"
    window, most = (f"{tokens:,}" if tokens else "" for tokens in (facts.context_window, facts.max_output_tokens))
    cost = tuple(_usd(price, kind) for kind in ("input", "output"))
    note = " (retired)" if facts.deprecated else ""
    return f"{name:<{width}}  {window:>9}  {most:>8}  {cost[0]:>9}  {cost[1]:>9}  {facts.display_name}{note}"


def _usd(price: Price | None, kind: str) -> str:
    """Dollars for a million tokens; `?` where nobody knows."""
    if price is None:
        return "?"
    rate = getattr(price.rates, kind)
    if rate is None:
        return "0" if price.free else ""
    return f"{(Decimal(rate) / NANO_PER_USD).normalize():f}"


def _say(text: str) -> None:
    sys.stdout.write(text.rstrip() + "\n")
