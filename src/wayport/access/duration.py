"""Durations as LiteLLM writes them: `30s`, `15m`, `12h`, `30d`, `2w`, `1mo`."""

import calendar
import re
from datetime import UTC, datetime

from wayport.core.errors import BadRequest

_FORM = re.compile(r"(\d{1,6})(mo|s|m|h|d|w)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_LAST_YEAR = 9999


def after(now_s: float, duration: str, *, param: str = "duration") -> float:
    """The moment `duration` after `now_s`. Months are the calendar's. Raises `BadRequest` that names `param`."""
    count, unit = parts(duration, param=param)
    if unit != "mo":
        return now_s + count * _SECONDS[unit]
    now = datetime.fromtimestamp(now_s, tz=UTC)
    years, month = divmod(now.month - 1 + count, 12)
    if now.year + years > _LAST_YEAR:
        raise BadRequest(f"`{param}` is {duration!r}: that is too far away.", param=param)
    last_day = calendar.monthrange(now.year + years, month + 1)[1]
    return now.replace(year=now.year + years, month=month + 1, day=min(now.day, last_day)).timestamp()


def parts(duration: str, *, param: str = "duration") -> tuple[int, str]:
    """The number and its unit: `30d` is 30 and `d`. Raises `BadRequest` that names `param`."""
    match = _FORM.fullmatch(duration.strip())
    if match is None:
        raise BadRequest(f"`{param}` is {duration!r}; write a number and s, m, h, d, w or mo: `30d`.", param=param)
    return int(match[1]), match[2]
