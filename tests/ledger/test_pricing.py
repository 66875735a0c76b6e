"""Invoices agree with the published prices, and the laws of pricing hold for whatever is thrown at them."""

from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from tests.ledger.invoices import DAY, INVOICES, Invoice

from wayport.catalog.catalog import bundled
from wayport.core.price import Hours, Price, Rates, Tier
from wayport.core.usage import Usage
from wayport.ledger.pricing import cost, upper_bound


def at_s(invoice: Invoice) -> float | None:
    if invoice.at is None:
        return None
    day = DAY + timedelta(days=invoice.days_later)
    return datetime.combine(day, time.fromisoformat(invoice.at), tzinfo=UTC).timestamp()


@pytest.mark.parametrize("invoice", INVOICES, ids=lambda invoice: f"{invoice.provider}: {invoice.name}")
def test_an_invoice_agrees_with_the_published_prices(invoice: Invoice) -> None:
    price = bundled().price_for(invoice.provider, invoice.model, day=DAY)
    found = cost(invoice.usage, price, service_tier=invoice.service_tier, units=invoice.units, at_s=at_s(invoice))
    assert found.parts == invoice.parts
    assert found.total_nano_usd == invoice.total == sum(invoice.parts.values())
    assert found.unpriced == ()


def test_the_invoices_are_many_and_from_many() -> None:
    assert len(INVOICES) >= 60
    assert len({invoice.provider for invoice in INVOICES}) >= 12


# ------------------------------------------------------------------------------------------------ what is no invoice
USAGE = Usage(input_tokens=1000, output_tokens=100)


def test_an_unpriced_call_costs_none_and_not_nothing() -> None:
    assert cost(USAGE, None).total_nano_usd is None
    assert cost(USAGE, Price()).total_nano_usd is None
    assert cost(Usage(), Price()).total_nano_usd is None


def test_output_without_a_price_is_a_gap() -> None:
    found = cost(USAGE, Price(rates=Rates(input=1_000_000_000)))
    assert (found.total_nano_usd, found.unpriced) == (None, ("output",))


def test_tokens_are_no_gap_where_the_request_is_billed() -> None:
    assert cost(USAGE, Price(per_request_nano_usd=5)).total_nano_usd == 5


def test_a_search_without_a_price_is_told_beside_the_total() -> None:
    price = Price(rates=Rates(input=1_000_000_000, output=1_000_000_000))
    found = cost(Usage(input_tokens=1, web_search_requests=1), price)
    assert (found.total_nano_usd, found.unpriced) == (1000, ("web_search",))


def test_free_is_nothing_and_known_to_be() -> None:
    for provider, model in (("wayport", "echo"), ("gwdg_saia", "qwen3-32b")):
        found = cost(USAGE, bundled().price_for(provider, model))
        assert (found.total_nano_usd, found.unpriced) == (0, ())


def test_a_priced_call_that_used_nothing_costs_nothing() -> None:
    assert cost(Usage(), Price(rates=Rates(input=1, output=1))).total_nano_usd == 0


def test_what_the_upstream_states_wins_but_not_over_the_operator() -> None:
    stated = Usage(input_tokens=1000, output_tokens=100, cost_nano_usd=7)
    listed = Price(rates=Rates(input=1_000_000_000, output=1_000_000_000), source="genai-prices")
    assert cost(stated, listed).total_nano_usd == 7
    assert cost(stated, None).parts == {"stated": 7}
    assert cost(stated, structs.replace(listed, source="config")).total_nano_usd == 1_100_000


def test_kinds_that_exceed_their_total_are_not_billed_twice() -> None:
    price = Price(rates=Rates(input=1_000_000, output=1_000_000, cache_read=1_000_000, audio_input=1_000_000))
    odd = Usage(input_tokens=10, output_tokens=5, cache_read_tokens=8, audio_input_tokens=9, reasoning_tokens=99)
    assert cost(odd, price).total_nano_usd == 15


def test_an_hour_at_the_price_of_five_minutes_where_only_that_is_known() -> None:
    price = Price(rates=Rates(input=1_000_000, output=1_000_000, cache_write_5m=2_000_000))
    assert cost(Usage(input_tokens=10, cache_write_1h_tokens=10), price).parts == {"cache_write_1h": 20}


@pytest.mark.parametrize(
    ("clock", "rate"), [("21:59:59", 1), ("22:00:00", 2), ("23:59:59", 2), ("00:00:00", 2), ("02:00:00", 1)]
)
def test_hours_may_run_over_midnight(clock: str, rate: int) -> None:
    night = Hours(start_s=22 * 3600, end_s=2 * 3600, rates=Rates(input=2_000_000))
    price = Price(rates=Rates(input=1_000_000, output=1_000_000), hours=(night,))
    moment = datetime.combine(DAY, time.fromisoformat(clock), tzinfo=UTC).timestamp()
    assert cost(Usage(input_tokens=1), price, at_s=moment).total_nano_usd == rate
    assert cost(Usage(input_tokens=1), price).total_nano_usd == 1


# --------------------------------------------------------------------------------------------------------------- laws
amounts = st.integers(min_value=0, max_value=10**9)
prices_of_a_kind = st.none() | st.integers(min_value=0, max_value=10**12)
rates = st.builds(Rates, **dict.fromkeys(Rates.__struct_fields__, prices_of_a_kind))
tiers = st.lists(
    st.builds(Tier, above_input_tokens=st.integers(min_value=0, max_value=10**6), rates=rates),
    max_size=3,
    unique_by=lambda tier: tier.above_input_tokens,
).map(lambda found: tuple(sorted(found, key=lambda tier: tier.above_input_tokens)))
prices = st.builds(
    Price,
    rates=rates,
    tiers=tiers,
    service_tiers=st.dictionaries(st.sampled_from(["flex", "batch"]), rates, max_size=2),
    per_request_nano_usd=st.none() | amounts,
    per_web_search_nano_usd=st.none() | amounts,
)
TOKENS = [name for name in Usage.__struct_fields__ if name.endswith("_tokens")]
usages = st.builds(
    Usage,
    **{name: st.integers(min_value=-5, max_value=10**7) for name in TOKENS},
    web_search_requests=st.integers(min_value=0, max_value=50),
)
sane_usages = st.builds(
    Usage,
    input_tokens=st.integers(min_value=0, max_value=10**7),
    output_tokens=st.integers(min_value=0, max_value=10**6),
)
service = st.sampled_from([None, "default", "flex", "batch", "unheard-of"])


@given(usages, prices, service)
def test_parts_are_never_negative_and_add_up(usage: Usage, price: Price, tier: str | None) -> None:
    found = cost(usage, price, service_tier=tier)
    assert all(part >= 0 for part in found.parts.values())
    if found.total_nano_usd is not None:
        assert found.total_nano_usd == sum(found.parts.values())


@given(sane_usages, st.integers(min_value=0, max_value=10**6), rates)
def test_more_tokens_never_cost_less(usage: Usage, more: int, plain: Rates) -> None:
    """Without tiers: a dearer tier may of course hold for the larger call, a cheaper one would be a seller's whim."""
    price = Price(rates=plain)
    before = cost(usage, price).total_nano_usd
    larger = structs.replace(usage, input_tokens=usage.input_tokens + more, output_tokens=usage.output_tokens + more)
    after = cost(larger, price).total_nano_usd
    assert before is None or after is None or after >= before


@given(sane_usages, prices, st.integers(min_value=0, max_value=10**6))
def test_a_dearer_price_never_costs_less(usage: Usage, price: Price, more: int) -> None:
    dearer = structs.replace(
        price,
        rates=_raised(price.rates, more),
        tiers=tuple(structs.replace(tier, rates=_raised(tier.rates, more)) for tier in price.tiers),
    )
    before, after = cost(usage, price).total_nano_usd, cost(usage, dearer).total_nano_usd
    assert before is None or after is None or after >= before


def _raised(plain: Rates, more: int) -> Rates:
    return Rates(**{kind: rate + more for kind, rate in structs.asdict(plain).items() if rate is not None})


@given(usages)
def test_no_token_is_billed_twice(usage: Usage) -> None:
    one = Rates(**dict.fromkeys(Rates.__struct_fields__, 1_000_000))
    found = cost(usage, Price(rates=one))
    assert found.total_nano_usd == max(0, usage.input_tokens) + max(0, usage.output_tokens)


@given(sane_usages, prices, service, st.integers(min_value=1, max_value=8))
def test_the_bound_holds_for_whatever_is_answered(usage: Usage, price: Price, tier: str | None, n: int) -> None:
    bound = upper_bound(price, input_bytes=usage.input_tokens, output_limit=usage.output_tokens, n=n)
    found = cost(structs.replace(usage, output_tokens=usage.output_tokens * n), price, service_tier=tier).total_nano_usd
    assert found is None or (bound is not None and bound >= found)


def test_what_nothing_bounds_has_no_bound() -> None:
    price = Price(rates=Rates(input=1_000_000, output=2_000_000))
    assert upper_bound(None, input_bytes=1, output_limit=1) is None
    assert upper_bound(Price(), input_bytes=1, output_limit=1) is None
    assert upper_bound(price, input_bytes=1, output_limit=None) is None
    assert upper_bound(price, input_bytes=10, output_limit=5, n=2) == 30
    assert upper_bound(Price(free=True), input_bytes=1, output_limit=None) == 0
    assert upper_bound(Price(rates=Rates(input=1_000_000)), input_bytes=10, output_limit=None) == 10
