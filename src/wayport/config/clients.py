"""What clients may say themselves of where their calls go: `api_key`, `api_base`, or a pattern for `api_base`."""

import re
from typing import Any

from wayport.core.net import ClientSide

EVERYTHING = ClientSide(key=True, base=True)
_BASES = frozenset({"api_base", "base_url"})


def listed(value: Any) -> Any:
    """A single one may stand without a list."""
    return value if isinstance(value, list) or value is None else [value]


def checked(value: list[str | dict[str, str]]) -> list[str | dict[str, str]]:
    client_side(value)
    return value


def client_side(value: Any) -> ClientSide:
    """Raises `ValueError` with a sentence."""
    key = base = False
    patterns: list[str] = []
    for item in listed(value):
        pairs = item.items() if isinstance(item, dict) else [(item, None)]
        for name, pattern in pairs:
            if name == "api_key" and pattern is None:
                key = True
            elif name in _BASES and pattern is None:
                base = True
            elif name in _BASES:
                patterns.append(_pattern(pattern))
            else:
                raise ValueError(f"knows `api_key`, `api_base` and `api_base: PATTERN`, not {name!r}")
    return ClientSide(key=key, base=base, bases=tuple(patterns))


def _pattern(given: Any) -> str:
    try:
        return re.compile(str(given)).pattern
    except re.error as error:
        raise ValueError(f"{given!r} is no regular expression: {error}") from None
