from datetime import UTC, datetime
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayport.access.budgets import limit_at, window_at
from wayport.access.principal import Budget


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("duration", "calendar", "times"),
    [
        ("1d", False, ("2026-11-01T08:00", "2026-11-03T07:59", "2026-11-02T08:00", "2026-11-03T08:00")),
        ("1d", True, ("2026-11-01T08:00", "2026-11-03T07:59", "2026-11-03T00:00", "2026-11-04T00:00")),
        ("30d", False, ("2026-11-01T08:00", "2026-12-05T00:00", "2026-12-01T08:00", "2026-12-31T08:00")),
        ("30d", True, ("2026-11-09T08:00", "2026-12-05T00:00", "2026-12-01T00:00", "2027-01-01T00:00")),
        ("7d", True, ("2026-11-09T08:00", "2026-11-20T12:00", "2026-11-16T00:00", "2026-11-23T00:00")),
        ("1mo", False, ("2026-01-31T12:00", "2026-03-01T00:00", "2026-02-28T12:00", "2026-03-31T12:00")),
        ("1mo", False, ("2026-01-31T12:00", "2026-02-28T11:00", "2026-01-31T12:00", "2026-02-28T12:00")),
        ("3mo", True, ("2026-01-31T12:00", "2026-05-10T00:00", "2026-04-01T00:00", "2026-07-01T00:00")),
    ],
)
def test_windows_follow_from_the_budget_and_the_clock(
    duration: str, calendar: bool, times: tuple[str, str, str, str]
) -> None:
    anchor_s, now_s, start_s, end_s = map(at, times)
    budget = Budget(max_nano_usd=1, duration=duration, calendar=calendar, anchor_s=anchor_s)
    window = window_at(budget, now_s)
    assert (window.start_s, window.end_s) == (start_s, end_s)


@given(
    count=st.integers(1, 400),
    unit=st.sampled_from(["s", "m", "h", "d", "w", "mo"]),
    calendar=st.booleans(),
    anchor_s=st.integers(1_600_000_000, 1_800_000_000),
    later_s=st.floats(0, 200_000_000),
)
def test_every_moment_lies_in_its_window_and_the_next_begins_where_it_ends(
    count: int, unit: str, calendar: bool, anchor_s: int, later_s: float
) -> None:
    budget = Budget(max_nano_usd=1, duration=f"{count}{unit}", calendar=calendar, anchor_s=anchor_s)
    now_s = anchor_s + later_s
    window = window_at(budget, now_s)
    assert window.start_s <= now_s < window.end_s
    assert window_at(budget, window.end_s).start_s == window.end_s
    assert window_at(budget, window.start_s) == window


def test_a_budget_for_good_has_one_window() -> None:
    window = window_at(Budget(max_nano_usd=1), at("2026-01-01T00:00"))
    assert (window.start_s, window.end_s) == (0, inf)
    begun_anew = window_at(Budget(max_nano_usd=1, anchor_s=5.5), at("2026-01-01T00:00"))
    assert (begun_anew.start_s, begun_anew.end_s) == (5, inf)


def test_a_temporary_increase_ends() -> None:
    budget = Budget(max_nano_usd=10, increase_nano_usd=5, increase_until_s=100)
    assert (limit_at(budget, 99), limit_at(budget, 100)) == (15, 10)
    assert limit_at(Budget(soft_nano_usd=3), 0) is None
