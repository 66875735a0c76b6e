"""Local days as quarter-hours: every quarter belongs to one day, also where clocks change."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayport.core.errors import BadRequest
from wayport.ledger.days import runs, zone_of

ZONES = [
    "UTC",
    "Europe/Berlin",
    "Asia/Kathmandu",
    "America/St_Johns",
    "Pacific/Auckland",
    "Australia/Lord_Howe",
    "-345",
]


@given(st.sampled_from(ZONES), st.dates(date(2024, 1, 1), date(2026, 12, 1)), st.integers(0, 40))
def test_every_quarter_belongs_to_its_local_day(name: str, first: date, more: int) -> None:
    zone = zone_of(name)
    last = first + timedelta(days=more)
    quarters: dict[int, date] = {}
    for run in runs(first, last, zone):
        assert (run.end - run.start) % run.quarters_per_day == 0
        for quarter in range(run.start, run.end):
            assert quarter not in quarters
            quarters[quarter] = run.first + timedelta(days=(quarter - run.start) // run.quarters_per_day)
    for quarter, day in quarters.items():
        assert datetime.fromtimestamp(quarter * 900, zone).date() == day
    assert min(quarters.values()) == first
    assert max(quarters.values()) == last
    assert sorted(quarters) == list(range(min(quarters), max(quarters) + 1))


def test_a_day_when_clocks_change_has_other_hours() -> None:
    zone = ZoneInfo("Europe/Berlin")
    found = [(r.first.isoformat(), r.quarters_per_day) for r in runs(date(2026, 3, 27), date(2026, 3, 31), zone)]
    assert found == [("2026-03-27", 96), ("2026-03-29", 92), ("2026-03-30", 96)]


def test_minutes_are_west_of_utc_as_browsers_state_them() -> None:
    assert datetime.fromtimestamp(0, zone_of("-330")).isoformat() == "1970-01-01T05:30:00+05:30"
    assert zone_of(None) is UTC


@pytest.mark.parametrize("name", ["Mars/Base", "7", "../etc/passwd", "99999"])
def test_a_wrong_zone_is_refused(name: str) -> None:
    with pytest.raises(BadRequest):
        zone_of(name)


def test_what_cannot_be_a_report_is_refused() -> None:
    with pytest.raises(BadRequest):
        list(runs(date(2026, 1, 2), date(2026, 1, 1), UTC))
    with pytest.raises(BadRequest):
        list(runs(date(2000, 1, 1), date(2026, 1, 1), UTC))
