"""Money is an integer of nano-dollars; a price is an integer of nano-dollars per million units. No floats in between."""

from decimal import Decimal

NANO_PER_USD = 1_000_000_000
UNITS_PER_PRICE = 1_000_000
_DECIMALS = 9


def cost_nano_usd(units: int, price_nano_usd_per_million: int) -> int:
    """The cost of `units` at a price per million of them, rounded once, half up.

    >>> cost_nano_usd(1_000, 2_500_000_000)   # 1,000 tokens at $2.50 per million
    2500000
    """
    return (units * price_nano_usd_per_million * 2 + UNITS_PER_PRICE) // (2 * UNITS_PER_PRICE)


def price_from_usd_per_unit(usd: Decimal | float | str) -> int:
    """A price as price lists write it (dollars for one token) in nano-dollars per million tokens, rounded half up."""
    exact = Decimal(str(usd)) * NANO_PER_USD * UNITS_PER_PRICE
    return int((exact + Decimal("0.5")).to_integral_value(rounding="ROUND_FLOOR"))


def price_from_usd_per_million(usd: Decimal | float | str) -> int:
    exact = Decimal(str(usd)) * NANO_PER_USD
    return int((exact + Decimal("0.5")).to_integral_value(rounding="ROUND_FLOOR"))


def nano_from_usd(usd: Decimal | float | str) -> int:
    return int((Decimal(str(usd)) * NANO_PER_USD + Decimal("0.5")).to_integral_value(rounding="ROUND_FLOOR"))


def usd_text(nano_usd: int) -> str:
    """Dollars as a plain decimal: no exponent, no trailing zeros, exact to the nano-dollar."""
    if nano_usd < 0:
        return f"-{usd_text(-nano_usd)}"
    if 0 < nano_usd < NANO_PER_USD:
        # As nearly every call costs.
        return "0." + str(nano_usd).zfill(_DECIMALS).rstrip("0")
    whole, fraction = divmod(nano_usd, NANO_PER_USD)
    return f"{whole}.{fraction:0{_DECIMALS}d}".rstrip("0").rstrip(".")
