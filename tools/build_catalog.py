# ruff: noqa: INP001 (a program for people, not a package)
"""Builds src/wayport/catalog/models.json from the genai-prices package and our own facts in tools/catalog/*.yaml.

Run after upgrading genai-prices or editing the facts: `python tools/build_catalog.py`. Prices, windows and names are
facts; descriptions and comments of the source are left out.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

import genai_prices.types as genai
import msgspec
import yaml
from genai_prices.data import providers as published

from wayport.catalog.facts import Dated, Mode, ModelFacts
from wayport.core.price import Hours, Price, Rates, Tier

HERE = Path(__file__).parent
OUTPUT = HERE.parent / "src" / "wayport" / "catalog" / "models.json"
OWN = HERE / "catalog"

PROVIDERS = {
    "arcee": "arcee",
    "aws": "bedrock",
    "fireworks": "fireworks_ai",
    "github-copilot": "github_copilot",
    "google": "gemini",
    "moonshotai": "moonshot",
    "together": "together_ai",
    "voyageai": "voyage",
    "x-ai": "xai",
    "zhipuai": "bigmodel",
}
"""the source's provider ids that we call otherwise"""

PEAK_HOURS = {3_600, 21_600}
"""DeepSeek's begin at 01:00 and 06:00 UTC, "Monday through Friday" (api-docs.deepseek.com/quick_start/pricing, read
2026-11-20); that Chinese holidays are off-peak as well is left out, as they are decreed year by year"""

SMALLEST_SEARCH = {"sonar": 5_000_000, "sonar-pro": 6_000_000, "sonar-reasoning-pro": 6_000_000}
"""nano-dollars a request (docs.perplexity.ai/getting-started/pricing, read 2026-11-20)"""

LEFT_OUT = {"openai-decisions", "typesafe", "elevenlabs", "cursor"}
"""not reachable as chat or embeddings with a base URL and a credential"""

RATES = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write_5m",
    "cache_write_1h_mtok": "cache_write_1h",
    "output_reasoning_mtok": "reasoning",
    "input_audio_mtok": "audio_input",
    "cache_audio_read_mtok": "audio_cache_read",
    "output_audio_mtok": "audio_output",
    "input_image_mtok": "image_input",
    "cache_image_read_mtok": "image_cache_read",
    "output_image_mtok": "image_output",
    "input_video_mtok": "video_input",
    "output_video_mtok": "video_output",
}
PER_THOUSAND = {
    "web_searches_kcount": "per_web_search_nano_usd",
    "storage_searches_kcount": "per_file_search_nano_usd",
    "requests_kcount": "per_request_nano_usd",
    "input_document_kpages": "per_page_nano_usd",
}
IGNORED = {"output_citation_mtok", "input_annotated_document_kpages", "input_text_messages_kcount"}
"""kinds that no upstream reports to us"""

ANTHROPIC_PRICES = {"anthropic", "google", "aws"}
"""where Claude is sold by Anthropic's own price list"""

TIER_OF = {("processing", "batch"): "batch", ("speed", "fast"): "fast"}
NANO = Decimal(1_000_000_000)


def nano(usd: Decimal) -> int:
    return int((usd * NANO + Decimal("0.5")).to_integral_value(rounding="ROUND_FLOOR"))


# ------------------------------------------------------------------------------------------------ prices of the source
def rates_at(figures: dict[str, Any], tokens: int) -> Rates:
    found = {}
    for key, name in RATES.items():
        figure = figures.get(key)
        if isinstance(figure, genai.TieredPrices):
            usd = figure.base
            for tier in figure.tiers:
                if tokens > tier.start:
                    usd = tier.price
            found[name] = nano(usd)
        elif figure is not None:
            found[name] = nano(figure)
    return Rates(**found)


def tiers_of(figures: dict[str, Any]) -> tuple[Tier, ...]:
    starts = {
        tier.start for figure in figures.values() if isinstance(figure, genai.TieredPrices) for tier in figure.tiers
    }
    return tuple(Tier(above_input_tokens=start, rates=rates_at(figures, start + 1)) for start in sorted(starts))


def figures_of(price: genai.ModelPrice) -> dict[str, Any]:
    return {key: figure for key, figure in price.__dict__.items() if figure is not None and not key.startswith("_")}


def units_of(figures: dict[str, Any], model: str) -> dict[str, Any]:
    found: dict[str, Any] = {name: nano(figures[key] / 1000) for key, name in PER_THOUSAND.items() if key in figures}
    hours = figures.get("audio_hours", figures.get("input_audio_hours"))
    if hours is not None:
        found["per_hour_nano_usd"] = nano(hours)
    if "input_mchars" in figures:
        found["per_million_characters_nano_usd"] = nano(figures["input_mchars"])
    unknown = (
        set(figures) - set(RATES) - set(PER_THOUSAND) - IGNORED - {"audio_hours", "input_audio_hours", "input_mchars"}
    )
    if unknown:
        sys.exit(f"{model}: kinds of price that we do not know: {unknown}")
    return found


def seconds(moment: time) -> int:
    moment = datetime.combine(date(1970, 1, 1), moment).astimezone(UTC).timetz() if moment.tzinfo else moment
    return moment.hour * 3600 + moment.minute * 60 + moment.second


def starts(model: genai.ModelInfo) -> Iterator[date]:
    conditions = [price.constraint for price in model.prices] if isinstance(model.prices, list) else []
    conditions += [variant.constraint for variant in model.price_variants or ()]
    for condition in conditions:
        if isinstance(condition, genai.StartDateConstraint):
            yield condition.start_date


def price_on(model: genai.ModelInfo, day: date | None) -> Price:
    """The price that holds on a day; None: before any dated change."""
    hours: list[Hours] = []
    if isinstance(model.prices, genai.ModelPrice):
        figures = figures_of(model.prices)
    else:
        figures = figures_of(model.prices[0].prices)
        # The last active condition wins; those by the hour lie over the first one without an hour below them.
        for conditional in reversed(model.prices):
            condition = conditional.constraint
            if isinstance(condition, genai.TimeOfDateConstraint):
                start_s, end_s = seconds(condition.start_time), seconds(condition.end_time)
                rates = rates_at(figures_of(conditional.prices), 0)
                hours.insert(0, Hours(start_s=start_s, end_s=end_s, rates=rates, workdays=start_s in PEAK_HOURS))
            elif condition is None or (day is not None and condition.start_date <= day):
                figures = figures_of(conditional.prices)
                break
    tiers: dict[str, dict[str, Any]] = {}
    for variant in model.price_variants or ():
        condition = variant.constraint
        if isinstance(condition, genai.StartDateConstraint) and (day is None or condition.start_date > day):
            continue
        ((key, value),) = variant.when.items()
        name = value if key == "service_tier" else TIER_OF.get((key, value))
        if name is None or name == "default":
            continue
        for kind, figure in figures_of(variant.prices).items():
            tiers.setdefault(name, {}).setdefault(kind, figure)
    return Price(
        rates=rates_at(figures, 0),
        tiers=tiers_of(figures),
        service_tiers={name: rates for name, own in tiers.items() if (rates := rates_at(own, 0)) != Rates()},
        service_tier_tiers={name: found for name, own in tiers.items() if (found := tiers_of(own))},
        hours=tuple(hours),
        **units_of(figures, model.id),
    )


def prices_of(model: genai.ModelInfo, provider: str) -> tuple[Dated, ...]:
    found: list[Dated] = []
    for day in (None, *sorted(set(starts(model)))):
        price = complete(price_on(model, day), model, provider)
        if not found or found[-1].price != price:
            found.append(Dated(since=day, price=price))
    return () if found == [Dated(price=Price())] else tuple(found)


def complete(price: Price, model: genai.ModelInfo, provider: str) -> Price:
    """What the makers' price lists say as a rule and the source leaves to the reader."""
    if price == Price() and (model.id.endswith(":free") or "(free)" in (model.name or "")):
        return Price(free=True)
    rates = price.rates
    # Anthropic: an entry that is kept for an hour costs twice the input, at every price.
    if "claude" in model.id and provider in ANTHROPIC_PRICES and rates.cache_write_5m and not rates.cache_write_1h:
        rates = msgspec.structs.replace(rates, cache_write_1h=2 * (rates.input or 0))
    # Groq bills ten seconds of audio at least.
    shortest = 10 if provider == "groq" and price.per_hour_nano_usd else 0
    price = msgspec.structs.replace(price, rates=rates, min_billed_seconds=shortest)
    # The source has Perplexity's fee for the largest search; who asks for no size has the smallest. What a call really
    # cost stands in its answer.
    if provider == "perplexity" and (fee := SMALLEST_SEARCH.get(model.id)) is not None:
        price = msgspec.structs.replace(price, per_request_nano_usd=fee)
    return price


# --------------------------------------------------------------------------------------------------- names of a model
def exact_names(clause: Any) -> list[str]:
    if isinstance(clause, genai.ClauseEquals):
        return [clause.equals.lower()]
    if isinstance(clause, genai.ClauseOr):
        return [name for inner in clause.or_ for name in exact_names(inner)]
    return []


def pattern(clause: Any) -> str | None:
    """What is not an exact name, as one regular expression to search for."""
    match clause:
        case genai.ClauseEquals():
            return None
        case genai.ClauseStartsWith(starts_with=text):
            return "^" + re.escape(text.lower())
        case genai.ClauseEndsWith(ends_with=text):
            return re.escape(text.lower()) + "$"
        case genai.ClauseContains(contains=text):
            return re.escape(text.lower())
        case genai.ClauseRegex(regex=text):
            return str(text)
        case genai.ClauseOr(or_=inner):
            return "|".join(found for each in inner if (found := pattern(each))) or None
        case genai.ClauseAnd(and_=inner):
            return "^" + "".join(
                f"(?=.*?(?:{found}))" if not found.startswith("^") else f"(?={found[1:]})"
                for each in inner
                if (found := pattern(each))
            )
    msg = f"unknown clause {clause!r}"
    raise TypeError(msg)


MODES: tuple[tuple[str, Mode], ...] = (
    (r"embed|bge-|e5-|gte-|voyage-(?!.*rerank)", "embedding"),
    (r"rerank", "rerank"),
    (r"moderation", "moderation"),
    (r"realtime|-live|nova.*sonic|grok-voice", "realtime"),
    (r"whisper|transcribe|asr", "audio_transcription"),
    (r"tts|aura|melo", "audio_speech"),
    (r"-ocr", "ocr"),
    (r"gpt-image|image-latest|flux|stable-diffusion|dall-e|imagen|lucid-origin|phoenix", "image_generation"),
    (r"davinci|babbage|^curie|^ada$|turbo-instruct", "completion"),
)


def mode_of(model: str) -> Mode:
    return next((mode for words, mode in MODES if re.search(words, model.lower())), "chat")


def place(provider: str, model: str) -> tuple[str, str]:
    """Our provider and the prefix of the model's name there."""
    if provider.startswith("huggingface_"):
        return "huggingface", provider.removeprefix("huggingface_") + "/"
    if provider == "google" and (model.startswith("claude") or model.endswith("-maas")):
        return "vertex_ai", ""
    return PROVIDERS.get(provider, provider), ""


def from_source() -> Iterator[ModelFacts]:
    for provider in published:
        if provider.id in LEFT_OUT:
            continue
        for model in provider.models:
            ours, prefix = place(provider.id, model.id)
            found = pattern(model.match)
            names = [prefix + name for name in exact_names(model.match)]
            own = prefix + model.id
            if found:
                re.compile(found)
            yield ModelFacts(
                provider=ours,
                model=own,
                display_name=model.name or "",
                mode=mode_of(model.id),
                context_window=model.context_window,
                deprecated=bool(model.deprecated),
                prices=prices_of(model, provider.id),
                names=tuple(sorted({name for name in names if name != own.lower()})),
                match=found and (f"^{re.escape(prefix)}.*(?:{found})" if prefix else found),
                source="genai-prices",
            )


# ------------------------------------------------------------------------------------------------------ our own facts
FACTS = {
    "display_name", "mode", "context_window", "max_input_tokens", "max_output_tokens", "input_modalities",
    "output_modalities", "capabilities", "embedding_dimensions", "deprecated", "deprecation_date", "names", "match",
}  # fmt: skip
TOKEN_KINDS = set(Rates.__struct_fields__)


def own_price(row: dict[str, Any]) -> Price:
    """`price:` of a row: dollars per million tokens by kind, `per_*_usd` for single units, `free: true`."""
    rates = {kind: nano(Decimal(str(usd))) for kind, usd in row.items() if kind in TOKEN_KINDS}
    each: dict[str, Any] = {
        f"{kind.removesuffix('_usd')}_nano_usd": nano(Decimal(str(usd)))
        for kind, usd in row.items()
        if kind.startswith("per_")
    }
    unknown = set(row) - TOKEN_KINDS - {kind for kind in row if kind.startswith("per_")} - {"free"}
    if unknown:
        sys.exit(f"kinds of price that we do not know: {unknown}")
    return Price(rates=Rates(**rates), free=bool(row.get("free")), **each)


def own_facts(row: dict[str, Any]) -> dict[str, Any]:
    facts = {key: value for key, value in row.items() if key in FACTS}
    for key in ("input_modalities", "output_modalities", "capabilities", "names"):
        if key in facts:
            facts[key] = tuple(facts[key])
    return facts


def enrich(models: dict[tuple[str, str], ModelFacts], rows: Iterable[dict[str, Any]]) -> None:
    """Applies our rows in order: `model:` adds or amends one, `models:` (a pattern) amends all that match."""
    for row in rows:
        facts = own_facts(row)
        for provider in row["provider"] if isinstance(row["provider"], list) else [row["provider"]]:
            if "models" in row:
                wanted = re.compile(row["models"])
                for key, known in models.items():
                    if key[0] == provider and wanted.search(key[1].lower()):
                        models[key] = amend(known, facts)
                continue
            key = (provider, row["model"])
            known = models.get(key) or ModelFacts(provider=provider, model=row["model"], source="wayport")
            known = amend(known, facts)
            if "price" in row:
                dated = (Dated(price=own_price(row["price"])),)
                known = msgspec.structs.replace(known, prices=dated, source="wayport")
            if "also" in row:
                more = msgspec.structs.asdict(own_price(row["also"]).rates)
                known = msgspec.structs.replace(known, prices=tuple(beside(dated, more) for dated in known.prices))
            models[key] = known


def beside(dated: Dated, more: dict[str, Any]) -> Dated:
    """A price of the source with kinds that it lacks."""
    rates = {kind: rate for kind, rate in more.items() if rate is not None and getattr(dated.price.rates, kind) is None}
    price = msgspec.structs.replace(dated.price, rates=msgspec.structs.replace(dated.price.rates, **rates))
    return msgspec.structs.replace(dated, price=price)


def amend(known: ModelFacts, facts: dict[str, Any]) -> ModelFacts:
    if "names" in facts:
        facts = {**facts, "names": tuple(sorted({*known.names, *facts["names"]} - {known.model.lower()}))}
    if "capabilities" in facts:
        facts = {**facts, "capabilities": tuple(sorted({*known.capabilities, *facts["capabilities"]}))}
    return msgspec.structs.replace(known, **facts)


def step_aside(models: dict[tuple[str, str], ModelFacts], own: dict[str, str]) -> None:
    """A family name is no name that its provider knows: it stays findable by pattern, and the model gets its API name."""
    for family, target in own.items():
        provider, _, name = target.partition("/")
        for key, known in list(models.items()):
            if key[0] != provider or (known.model != family and family not in known.names):
                continue
            pattern = f"^{re.escape(family)}$"
            own_name = RENAMED.get(target, name) if known.model == family else known.model
            names = tuple(other for other in known.names if other not in (family, own_name.lower()))
            changed = msgspec.structs.replace(
                known, model=own_name, names=names, match=f"{pattern}|{known.match}" if known.match else pattern
            )
            models.pop(key)
            models[provider, changed.model] = changed


RENAMED = {"gemini/gemini-pro-latest": "gemini-1.0-pro", "gemini/gemini-flash-latest": "gemini-flash"}
"""families that lead to another model than the one that once had the name"""


def families(models: dict[tuple[str, str], ModelFacts], first_party: list[str], own: dict[str, str]) -> dict[str, str]:
    """Bare names of the makers' own models, and our family names over them."""
    found: dict[str, str] = {}
    for (provider, model), facts in models.items():
        if provider in first_party and "/" not in model and ":" not in model:
            for name in (model, *facts.names):
                if "/" not in name and ":" not in name:
                    found.setdefault(name, f"{provider}/{name}")
    return dict(sorted({**found, **own}.items()))


def main() -> None:
    models: dict[tuple[str, str], ModelFacts] = {}
    for facts in from_source():
        models.setdefault((facts.provider, facts.model), facts)
    head: dict[str, Any] = {}
    for path in sorted(OWN.glob("*.yaml")):
        own = yaml.safe_load(path.read_text())
        enrich(models, own.pop("models", ()))
        head.update(own)
    step_aside(models, head["families"])
    head["families"] = families(models, head.pop("first_party"), head["families"])
    sources = {"genai-prices": version("genai-prices"), "wayport": head.pop("version")}
    lines = [msgspec.json.encode(facts).decode() for facts in models.values()]
    opening = msgspec.json.encode({"version": sources["wayport"], "sources": sources, **head}).decode()
    OUTPUT.write_text(opening[:-1] + ',\n"models":[\n' + ",\n".join(lines) + "\n]}\n")
    priced = sum(1 for facts in models.values() if facts.prices)
    print(f"{len(lines)} models, {priced} priced, {OUTPUT.stat().st_size // 1024} KB")  # noqa: T201 (a program for people)


if __name__ == "__main__":
    main()
