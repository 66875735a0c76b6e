"""Values as the admin API writes them: dollars as numbers, moments as ISO 8601 in UTC."""

from datetime import UTC, datetime
from typing import overload

from wayport.core.errors import BadRequest
from wayport.core.money import NANO_PER_USD


@overload
def usd(nano_usd: int) -> float: ...
@overload
def usd(nano_usd: int | None) -> float | None: ...
def usd(nano_usd: int | None) -> float | None:
    """The nearest double: exact enough to show, never added up again."""
    return None if nano_usd is None else nano_usd / NANO_PER_USD


@overload
def iso(moment_s: float) -> str: ...
@overload
def iso(moment_s: float | None) -> str | None: ...
def iso(moment_s: float | None) -> str | None:
    if moment_s is None:
        return None
    return datetime.fromtimestamp(moment_s, tz=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment(text: str, *, param: str, end: bool = False) -> float:
    """A date, or a date and time; UTC unless it says otherwise. With `end` a date means the end of its day.

    Raises `BadRequest` that names `param`.
    """
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise BadRequest(f"`{param}` is {text!r}; write 2026-11-20 or 2026-11-20T15:30:00Z.", param=param) from None
    found_s = (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    return found_s + 86_400 if end and len(text.strip()) == len("2026-11-20") else found_s
