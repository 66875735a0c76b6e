"""Money: whole nano-dollars, rounded once, written exactly."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayport.core.money import (
    cost_nano_usd,
    nano_from_usd,
    price_from_usd_per_million,
    price_from_usd_per_unit,
    usd_text,
)

AMOUNTS = st.integers(min_value=-(10**18), max_value=10**18)


@pytest.mark.parametrize(
    ("nano_usd", "text"),
    [
        (0, "0"),
        (1, "0.000000001"),
        (1_500_000_000, "1.5"),
        (10_000_000_000, "10"),
        (123_456_789, "0.123456789"),
        (-250_000_000, "-0.25"),
        (-7, "-0.000000007"),
    ],
)
def test_dollars_are_written_plainly(nano_usd: int, text: str) -> None:
    assert usd_text(nano_usd) == text


@given(AMOUNTS)
def test_what_is_written_reads_back_to_the_nano_dollar(nano_usd: int) -> None:
    text = usd_text(nano_usd)
    assert nano_from_usd(text) == nano_usd
    assert "e" not in text.lower()
    assert not text.endswith(".")
    assert "." not in text or not text.endswith("0")


@given(st.integers(min_value=0, max_value=10**9), st.integers(min_value=0, max_value=10**12))
def test_a_cost_is_rounded_once_and_half_up(units: int, price: int) -> None:
    exact = Decimal(units) * price / 1_000_000
    assert Decimal("-0.5") <= exact - cost_nano_usd(units, price) < Decimal("0.5")


def test_prices_of_lists_become_whole_numbers() -> None:
    assert price_from_usd_per_million("2.50") == 2_500_000_000
    assert price_from_usd_per_unit("0.0000025") == 2_500_000_000
    assert cost_nano_usd(1_000, price_from_usd_per_million(2.5)) == 2_500_000
