"""Local days as runs of quarter-hours of UTC: how a report in some time zone reads the roll-ups.

Most days have 96 quarters; where clocks are put forward or back a day has 92 or 100, and is a run of its own.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from wayport.core.errors import BadRequest

QUARTER_S = 900
_QUARTERS = 96
MOST_DAYS = 3 * 366


class Run(NamedTuple):
    """Days one after the other, each of `quarters_per_day`."""

    first: date
    start: int
    """the first day's first quarter since the epoch"""
    end: int
    """the quarter behind the last day's last"""
    quarters_per_day: int


def zone_of(text: str | None) -> tzinfo:
    """`Europe/Berlin`, `UTC`, or minutes west of UTC as a browser states them (`-330` is India). Raises `BadRequest`."""
    if text is None or not text.strip():
        return UTC
    try:
        minutes = int(text)
    except ValueError:
        try:
            return ZoneInfo(text.strip())
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise BadRequest(f"`timezone` is {text!r}; write Europe/Berlin or -60.", param="timezone") from None
    if minutes % 15 or abs(minutes) > 26 * 60:
        raise BadRequest("`timezone` must be whole quarter-hours, as -60 or 345.", param="timezone")
    return timezone(timedelta(minutes=-minutes))


def runs(first: date, last: date, zone: tzinfo) -> Iterator[Run]:
    """From the first day to the last, both whole. Raises `BadRequest`."""
    if last < first:
        raise BadRequest("`end_date` is before `start_date`.", param="end_date")
    if (last - first).days > MOST_DAYS:
        raise BadRequest(f"At most {MOST_DAYS} days in one report.", param="start_date")
    day, start = first, _midnight(first, zone)
    run = Run(day, start, start, 0)
    while day <= last:
        day += timedelta(days=1)
        end = _midnight(day, zone)
        if run.quarters_per_day not in (0, end - start) or (run.quarters_per_day and end - start != _QUARTERS):
            yield run
            run = Run(day - timedelta(days=1), start, start, 0)
        run = run._replace(end=end, quarters_per_day=end - start)
        start = end
    yield run


def _midnight(day: date, zone: tzinfo) -> int:
    moment_s = datetime.combine(day, time(), zone).timestamp()
    if moment_s % QUARTER_S:
        raise BadRequest("That time zone is not off UTC by whole quarter-hours on these days.", param="timezone")
    return int(moment_s) // QUARTER_S
