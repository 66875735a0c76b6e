"""What a call cost: usage times price, in integers. Each part is rounded once, half up; the total is the sum of its parts.

What must stay true: an unpriced call costs None and never 0, no part is negative, and no token is billed twice.
"""

from typing import Final

from msgspec import Struct, field, structs

from wayport.core.price import Price, Rates, Tier
from wayport.core.usage import PLAIN, Usage

# A price stands per million units. Half a million is added before the division, so that halves go up.
_MILLION: Final = 1_000_000
_HALF: Final = 500_000
_DAY_S: Final = 86_400
_HOUR_MS: Final = 3_600_000

_ORDINARY: Final = frozenset({"default", "standard", "auto", "standard_only", "on_demand"})
"""service tiers that mean the ordinary price"""

_OPERATOR: Final = "config"
"""source of a price that the operator set; it wins over what the upstream states"""

_INPUT_KINDS: Final = (
    "input",
    "cache_read",
    "cache_write_5m",
    "cache_write_1h",
    "audio_input",
    "audio_cache_read",
    "image_input",
    "image_cache_read",
    "video_input",
)
_OUTPUT_KINDS: Final = ("output", "reasoning", "audio_output", "image_output", "video_output")


class Units(Struct, kw_only=True, frozen=True):
    """What operations that are not billed by tokens consumed."""

    seconds: float = 0.0
    queries: int = 0
    pages: int = 0
    images: int = 0
    characters: int = 0
    file_searches: int = 0


class Cost(Struct, gc=False):
    total_nano_usd: int | None
    """None: unpriced"""
    parts: dict[str, int] = field(default_factory=dict)
    """kind to nano-dollars; a kind without a price of its own is inside `input` or `output`"""
    unpriced: tuple[str, ...] = ()
    """what was consumed although nobody knows its price; a total, if there is one, leaves it out"""


def cost(
    usage: Usage,
    price: Price | None,
    *,
    service_tier: str | None = None,
    at_s: float | None = None,
    units: Units | None = None,
) -> Cost:
    """The cost of one answer.

    `service_tier` is the one that the upstream says it used, `at_s` the call's start in seconds since the epoch (for
    prices that follow the hour). A cost that the upstream states itself wins, unless the operator set the price.
    """
    stated = usage.cost_nano_usd
    if stated is not None and stated >= 0 and (price is None or price.source != _OPERATOR):
        return Cost(total_nano_usd=stated, parts={"stated": stated})
    if price is None:
        return Cost(total_nano_usd=None)
    if price.free:
        return Cost(total_nano_usd=0)

    rates = price.rates
    if price.tiers or price.service_tiers or price.hours:
        rates = _rates_of(price, usage.input_tokens, service_tier, at_s)
    parts: dict[str, int] = {}
    each_in, each_out = rates.input, rates.output
    if (
        each_in is not None
        and each_out is not None
        and not price.per_request_nano_usd
        and not units
        and structs.astuple(usage)[2:] == PLAIN
    ):
        total = 0
        if (tokens := usage.input_tokens) > 0:
            total = parts["input"] = (tokens * each_in + _HALF) // _MILLION
        if (tokens := usage.output_tokens) > 0:
            part = parts["output"] = (tokens * each_out + _HALF) // _MILLION
            total += part
        return Cost(total, parts)
    text_in = _input_parts(usage, rates, parts)
    text_out = _output_parts(usage, rates, parts)
    unpriced: tuple[str, ...] = ()
    if text_in:
        unpriced = ("input",)
    if text_out:
        unpriced += ("output",)
    if unpriced and not _bills_units(price):
        return Cost(total_nano_usd=None, parts=parts, unpriced=unpriced)

    if price.per_request_nano_usd:
        parts["request"] = price.per_request_nano_usd
    if usage.web_search_requests > 0:
        unpriced += _count("web_search", usage.web_search_requests, price.per_web_search_nano_usd, parts)
    if units is not None:
        unpriced += _unit_parts(units, price, parts)
    if not parts and rates.input is None and rates.output is None and not _bills_units(price):
        return Cost(total_nano_usd=None, unpriced=unpriced)
    return Cost(total_nano_usd=sum(parts.values()), parts=parts, unpriced=unpriced)


def _input_parts(usage: Usage, rates: Rates, parts: dict[str, int]) -> int:
    """Writes the parts of the input and returns the tokens for which there is no price.

    A kind with a rate of its own is taken out of the text; the order (cache, then media) and the bound by what is
    left keep a report whose kinds overlap or exceed the total from billing a token twice.
    """
    text = max(usage.input_tokens, 0)
    cached = usage.cache_read_tokens
    if cached > 0 and (rate := rates.cache_read) is not None:
        text -= (n := min(cached, text))
        if rates.audio_cache_read is not None or rates.image_cache_read is not None:
            n = _cached_media(usage, rates, parts, n)
        parts["cache_read"] = (n * rate + _HALF) // _MILLION
    if (written := usage.cache_write_5m_tokens) > 0 and (rate := rates.cache_write_5m) is not None:
        text -= (n := min(written, text))
        parts["cache_write_5m"] = (n * rate + _HALF) // _MILLION
    if (written := usage.cache_write_1h_tokens) > 0:
        rate = rates.cache_write_1h if rates.cache_write_1h is not None else rates.cache_write_5m
        if rate is not None:
            text -= (n := min(written, text))
            parts["cache_write_1h"] = (n * rate + _HALF) // _MILLION
    if (tokens := usage.audio_input_tokens - usage.audio_cache_read_tokens) > 0 and (
        rate := rates.audio_input
    ) is not None:
        text -= (n := min(tokens, text))
        parts["audio_input"] = (n * rate + _HALF) // _MILLION
    if (tokens := usage.image_input_tokens - usage.image_cache_read_tokens) > 0 and (
        rate := rates.image_input
    ) is not None:
        text -= (n := min(tokens, text))
        parts["image_input"] = (n * rate + _HALF) // _MILLION
    if (tokens := usage.video_input_tokens) > 0 and (rate := rates.video_input) is not None:
        text -= (n := min(tokens, text))
        parts["video_input"] = (n * rate + _HALF) // _MILLION
    if text > 0:
        if (rate := rates.input) is None:
            return text
        parts["input"] = (text * rate + _HALF) // _MILLION
    return 0


def _cached_media(usage: Usage, rates: Rates, parts: dict[str, int], cached: int) -> int:
    """Takes cached audio and images, where they have a rate of their own, out of the cached tokens; the rest is text."""
    for kind, tokens, rate in (
        ("audio_cache_read", usage.audio_cache_read_tokens, rates.audio_cache_read),
        ("image_cache_read", usage.image_cache_read_tokens, rates.image_cache_read),
    ):
        if tokens > 0 and rate is not None:
            cached -= (n := min(tokens, cached))
            parts[kind] = (n * rate + _HALF) // _MILLION
    return cached


def _output_parts(usage: Usage, rates: Rates, parts: dict[str, int]) -> int:
    text = max(usage.output_tokens, 0)
    if (tokens := usage.reasoning_tokens) > 0 and (rate := rates.reasoning) is not None:
        text -= (n := min(tokens, text))
        parts["reasoning"] = (n * rate + _HALF) // _MILLION
    if (tokens := usage.audio_output_tokens) > 0 and (rate := rates.audio_output) is not None:
        text -= (n := min(tokens, text))
        parts["audio_output"] = (n * rate + _HALF) // _MILLION
    if (tokens := usage.image_output_tokens) > 0 and (rate := rates.image_output) is not None:
        text -= (n := min(tokens, text))
        parts["image_output"] = (n * rate + _HALF) // _MILLION
    if text > 0:
        if (rate := rates.output) is None:
            return text
        parts["output"] = (text * rate + _HALF) // _MILLION
    return 0


def _unit_parts(units: Units, price: Price, parts: dict[str, int]) -> tuple[str, ...]:
    unpriced: tuple[str, ...] = ()
    if units.seconds > 0:
        # Providers state durations to the millisecond at most.
        milliseconds = int(max(units.seconds, price.min_billed_seconds) * 1000 + 0.5)
        if (rate := price.per_second_nano_usd) is not None:
            parts["second"] = (milliseconds * rate + 500) // 1000
        elif (rate := price.per_hour_nano_usd) is not None:
            parts["second"] = (milliseconds * rate + _HOUR_MS // 2) // _HOUR_MS
        else:
            unpriced = ("second",)
    if units.characters > 0:
        if (rate := price.per_million_characters_nano_usd) is None:
            unpriced += ("character",)
        else:
            parts["character"] = (units.characters * rate + _HALF) // _MILLION
    for kind, count, each in (
        ("query", units.queries, price.per_query_nano_usd),
        ("page", units.pages, price.per_page_nano_usd),
        ("image", units.images, price.per_image_nano_usd),
        ("file_search", units.file_searches, price.per_file_search_nano_usd),
    ):
        if count > 0:
            unpriced += _count(kind, count, each, parts)
    return unpriced


def _count(kind: str, count: int, each: int | None, parts: dict[str, int]) -> tuple[str, ...]:
    if each is None:
        return (kind,)
    parts[kind] = count * each
    return ()


def _bills_units(price: Price) -> bool:
    """Whether something other than tokens has a price; then tokens without one are part of it and not a gap."""
    return any(
        each is not None
        for each in (
            price.per_request_nano_usd,
            price.per_second_nano_usd,
            price.per_hour_nano_usd,
            price.per_query_nano_usd,
            price.per_page_nano_usd,
            price.per_image_nano_usd,
            price.per_million_characters_nano_usd,
        )
    )


def _rates_of(price: Price, input_tokens: int, service_tier: str | None, at_s: float | None) -> Rates:
    rates = _tiered(price.rates, price.tiers, input_tokens)
    if price.hours and at_s is not None:
        day, second = divmod(int(at_s), _DAY_S)
        # The first of January 1970 was a Thursday.
        weekend = (day + 3) % 7 >= 5
        for hours in price.hours:
            start_s, end_s = hours.start_s, hours.end_s
            inside = start_s <= second < end_s if start_s < end_s else second >= start_s or second < end_s
            if inside and not (hours.workdays and weekend):
                rates = _over(rates, hours.rates)
    if service_tier is not None and service_tier not in _ORDINARY and (own := price.service_tiers.get(service_tier)):
        rates = _over(rates, _tiered(own, price.service_tier_tiers.get(service_tier, ()), input_tokens))
    return rates


def _tiered(rates: Rates, tiers: tuple[Tier, ...], input_tokens: int) -> Rates:
    for tier in tiers:
        if input_tokens <= tier.above_input_tokens:
            break
        rates = tier.rates
    return rates


def _over(rates: Rates, own: Rates) -> Rates:
    """`rates` with every kind that `own` names replaced."""
    return structs.replace(rates, **{kind: rate for kind, rate in structs.asdict(own).items() if rate is not None})


def upper_bound(
    price: Price | None,
    *,
    input_bytes: int,
    output_limit: int | None,
    n: int = 1,
    web_searches: int = 0,
    extra_input_tokens: int = 0,
) -> int | None:
    """The most that a call can cost, for a budget's reservation; None where nothing bounds it or it is unpriced.

    Every input byte counts as a token of the dearest input kind (no tokenizer makes more tokens than bytes), every
    answer as `output_limit` tokens of the dearest output kind, under whichever tier, hour or service tier is dearest.
    What the bytes do not hold (an image by its address, results of server tools) is `extra_input_tokens`.
    """
    if price is None:
        return None
    if price.free:
        return 0
    dearest_in = dearest_out = None
    for rates in _all_rates(price):
        dearest_in = _dearest(rates, _INPUT_KINDS, dearest_in)
        dearest_out = _dearest(rates, _OUTPUT_KINDS, dearest_out)
    if dearest_in is None and dearest_out is None and not _bills_units(price):
        return None
    bound = price.per_request_nano_usd or 0
    bound += -(-(input_bytes + extra_input_tokens) * (dearest_in or 0) // _MILLION)
    if dearest_out:
        if output_limit is None:
            return None
        bound += -(-n * output_limit * dearest_out // _MILLION)
    return bound + web_searches * (price.per_web_search_nano_usd or 0)


def _all_rates(price: Price) -> list[Rates]:
    found = [price.rates, *price.service_tiers.values()]
    found += [tier.rates for tier in price.tiers]
    found += [hours.rates for hours in price.hours]
    for tiers in price.service_tier_tiers.values():
        found += [tier.rates for tier in tiers]
    return found


def _dearest(rates: Rates, kinds: tuple[str, ...], known: int | None) -> int | None:
    for kind in kinds:
        rate: int | None = getattr(rates, kind)
        if rate is not None and (known is None or rate > known):
            known = rate
    return known
