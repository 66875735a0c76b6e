"""The windows of a budget, computed from its fields and the clock: nothing has to run for one to begin."""

from datetime import UTC, datetime, timedelta
from math import inf

from msgspec import Struct

from wayport.access.duration import after, parts
from wayport.access.principal import Budget

_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_WEEK_DAYS = 7
_MONTH_DAYS = 30


class Window(Struct, frozen=True):
    start_s: int
    """0: the budget is for good"""
    end_s: float


FOR_GOOD = Window(0, inf)


def window_at(budget: Budget, now_s: float) -> Window:
    """The window that `now_s` lies in. Raises `BadRequest` for a duration that is none."""
    if budget.duration is None:
        # Only one that was begun anew has a moment from which it counts.
        return Window(int(budget.anchor_s), inf) if budget.anchor_s else FOR_GOOD
    count, unit = parts(budget.duration, param="budget_duration")
    if budget.calendar:
        return _calendar(count, unit, now_s)
    anchor_s = int(budget.anchor_s)
    if unit == "mo":
        return _months(count, anchor_s, now_s)
    length_s = max(1, count * _UNIT_S[unit])
    start_s = anchor_s + int(now_s - anchor_s) // length_s * length_s
    return Window(start_s, start_s + length_s)


def counter_of(whose: str, budget: Budget) -> str:
    """The name under which a budget's spend is kept: `key:…|usd/30d`."""
    period = (budget.duration or "ever") + ("c" if budget.calendar else "")
    return f"{whose}|usd/{period}" + (f"|{budget.model}" if budget.model else "")


def limit_at(budget: Budget, now_s: float) -> int | None:
    """What may be spent now, a temporary increase included; None: nothing binds."""
    if budget.max_nano_usd is None:
        return None
    until_s = budget.increase_until_s
    increased = budget.increase_nano_usd and (until_s is None or now_s < until_s)
    return budget.max_nano_usd + (budget.increase_nano_usd if increased else 0)


def _months(count: int, anchor_s: int, now_s: float) -> Window:
    """Each begins on the anchor's day of the month (or its last day)."""
    count = max(1, count)
    anchor, now = datetime.fromtimestamp(anchor_s, tz=UTC), datetime.fromtimestamp(now_s, tz=UTC)
    passed = (now.year - anchor.year) * 12 + now.month - anchor.month
    begun = passed // count * count
    while begun and after(anchor_s, f"{begun}mo") > now_s:
        begun -= count
    start_s = after(anchor_s, f"{begun}mo") if begun else float(anchor_s)
    return Window(int(start_s), int(after(anchor_s, f"{begun + count}mo")))


def _calendar(count: int, unit: str, now_s: float) -> Window:
    now = datetime.fromtimestamp(now_s, tz=UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if unit == "mo" or (unit == "d" and count == _MONTH_DAYS):
        months = max(1, count) if unit == "mo" else 1
        first = (now.year * 12 + now.month - 1) // months * months
        start = midnight.replace(year=first // 12, month=first % 12 + 1, day=1)
        return Window(int(start.timestamp()), int(after(start.timestamp(), f"{months}mo")))
    if unit == "w" or (unit == "d" and count == _WEEK_DAYS):
        weeks = count if unit == "w" else 1
        monday = midnight - timedelta(days=midnight.weekday())
        if weeks > 1:
            monday -= timedelta(weeks=(monday.toordinal() // _WEEK_DAYS) % weeks)
        return Window(int(monday.timestamp()), int((monday + timedelta(weeks=weeks)).timestamp()))
    length_s = max(1, count * _UNIT_S[unit])
    start_s = int(now_s) // length_s * length_s
    return Window(start_s, start_s + length_s)
