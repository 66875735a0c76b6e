"""When a limit is free again, where an upstream says so in `x-ratelimit-reset-*` instead of `retry-after`."""

import re
from collections.abc import Iterable
from datetime import datetime

_PREFIXES = ("x-ratelimit-", "anthropic-ratelimit-")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_EPOCH_S = 1_000_000_000
_EPOCH_MS = 1_000_000_000_000


def reset_s(headers: Iterable[tuple[bytes, bytes]], now_s: float) -> float | None:
    """Seconds until the limit that is used up is free again; if none is said to be, the nearest. `now_s`: epoch."""
    left: dict[str, bool] = {}
    resets: dict[str, float] = {}
    for raw_name, raw_value in headers:
        name = raw_name.decode("latin-1").lower()
        if not name.startswith(_PREFIXES):
            continue
        words = name.partition("ratelimit-")[2]
        if "remaining" in words:
            left[_which(words, "remaining")] = raw_value.strip() not in (b"0", b"0.0")
        elif "reset" in words and (seconds := _seconds(raw_value.decode("latin-1").strip(), now_s)) is not None:
            resets[_which(words, "reset")] = seconds
    used_up = [seconds for which, seconds in resets.items() if left.get(which) is False]
    if used_up:
        return max(used_up)
    return min(resets.values()) if resets else None


def _which(words: str, what: str) -> str:
    """`reset-requests` and `requests-reset` are both in use."""
    return words.replace(what, "").strip("-")


def _seconds(value: str, now_s: float) -> float | None:
    found: float | None = None
    if value.replace(".", "", 1).isdigit():
        found = float(value)
        if found >= _EPOCH_MS:
            found = found / 1000 - now_s
        elif found >= _EPOCH_S:
            found -= now_s
    elif "T" in value:
        try:
            found = datetime.fromisoformat(value).timestamp() - now_s
        except ValueError:
            return None
    elif parts := _DURATION.findall(value):
        found = sum(float(number) * _UNIT_S[unit] for number, unit in parts)
    return None if found is None else max(0.0, found)
