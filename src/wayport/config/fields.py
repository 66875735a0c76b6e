"""Typed reads from one mapping of a lenient file: each notes that its key was used, and what is wrong with its value."""

import ipaddress
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import Any

from wayport.config.problems import Path, did_you_mean
from wayport.config.reading import Reading

_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})


def as_flag(value: Any) -> bool | None:
    """True, False, or None when it is neither."""
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    return True if word in _TRUE else False if word in _FALSE else None


def as_number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        exact = Decimal(str(value).strip())
    except InvalidOperation:
        return None
    return float(exact) if exact.is_finite() and abs(exact) < Decimal(10) ** 15 else None


def network(value: str) -> str:
    """An address or a network in CIDR notation. Raises `ValueError`."""
    try:
        return str(ipaddress.ip_network(value.strip(), strict=False))
    except ValueError:
        raise ValueError("must be an address or a network, as 10.0.0.0/8") from None


class Fields:
    """A value that is unset (empty, or a reference to an unset variable) reads as not written."""

    def __init__(self, reading: Reading, path: Path, values: Any) -> None:
        self.reading = reading
        self.path = path
        self.values: dict[str, Any] = values if isinstance(values, dict) else {}
        self.used: set[str] = set()
        if values is not None and not isinstance(values, dict):
            reading.problem(path, "must be a mapping")

    def has(self, key: str) -> bool:
        return self.values.get(key) is not None

    def any(self, *keys: str) -> Any:
        """The first of `keys` that has a value."""
        self.used.update(keys)
        return next((self.values[key] for key in keys if self.values.get(key) is not None), None)

    def text(self, key: str) -> str | None:
        value = self.any(key)
        if value is None:
            return None
        if isinstance(value, dict | list):
            self.wrong(key, "must be text")
            return None
        return str(value).strip() or None

    def flag(self, key: str) -> bool | None:
        value = self.any(key)
        if value is None:
            return None
        flag = as_flag(value)
        if flag is None:
            self.wrong(key, "must be true or false")
        return flag

    def number(self, key: str, *, least: float = 0.0) -> float | None:
        value = self.any(key)
        if value is None:
            return None
        number = as_number(value)
        if number is None or number < least:
            self.wrong(key, f"must be a number of at least {least:g}")
            return None
        return number

    def whole(self, key: str, *, least: int = 0, most: int = 10**15) -> int | None:
        value = self.any(key)
        if value is None:
            return None
        number = as_number(value)
        if number is None or number != int(number) or not least <= number <= most:
            bound = f"from {least} to {most}" if most < 10**15 else f"of at least {least}"
            self.wrong(key, f"must be a whole number {bound}")
            return None
        return int(number)

    def words(self, key: str) -> tuple[str, ...]:
        """A list of words, or a single one."""
        value = self.any(key)
        if value is None:
            return ()
        items = value if isinstance(value, list) else [value]
        words = tuple(str(item) for item in items if item is not None and not isinstance(item, dict | list))
        if len(words) < sum(item is not None for item in items):
            self.wrong(key, "must be a list of names")
        return words

    def networks(self, key: str) -> tuple[str, ...]:
        try:
            return tuple(network(word) for word in self.words(key))
        except ValueError as error:
            self.wrong(key, str(error))
            return ()

    def mapping(self, key: str) -> "Fields":
        return Fields(self.reading, (*self.path, key), self.any(key))

    def entries(self, key: str) -> list["Fields"]:
        """A list of mappings."""
        value = self.any(key)
        if value is None:
            return []
        if not isinstance(value, list):
            self.wrong(key, "must be a list")
            return []
        return [Fields(self.reading, (*self.path, key, index), item or {}) for index, item in enumerate(value)]

    def wrong(self, key: str, text: str) -> None:
        self.reading.problem((*self.path, key), text)

    def unread(self) -> list[str]:
        return [key for key in self.values if key not in self.used]

    def warn_unknown(self, known: Iterable[str]) -> None:
        words = [*known]
        for key in self.unread():
            self.reading.warn((*self.path, key), f"unknown key; it is ignored{did_you_mean(key, words)}")


def path_prefix(value: str) -> str:
    """A path prefix with one slash at its begin and none at its end; empty: none."""
    trimmed = value.strip("/")
    return f"/{trimmed}" if trimmed else ""
