"""What clients may say themselves of where their calls go: `api_key`, `api_base`, or a pattern for `api_base`."""

import re
from typing import Any

from wayport.core.net import AddressPattern, ClientSide

EVERYTHING = ClientSide(key=True, base=True)
_BASES = frozenset({"api_base", "base_url"})
_SLASHES = 3
"""two after the scheme, and the path's first"""
_STEP = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.", re.DOTALL)
"""an escaped character, a class of characters, or a character"""
_OPEN_END = re.compile(r"(?:^|[^\\])(?:\\\\)*(?:\.|\[\^[^\]]*\]|\\S)(?:[*+?]|\{[^}]*\})[?+]?$")


def listed(value: Any) -> Any:
    """A single one may stand without a list."""
    return value if isinstance(value, list) or value is None else [value]


def checked(value: list[str | dict[str, str]]) -> list[str | dict[str, str]]:
    client_side(value)
    return value


def client_side(value: Any) -> ClientSide:
    """Raises `ValueError` with a sentence."""
    key = base = False
    patterns: list[AddressPattern] = []
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


def _pattern(given: Any) -> AddressPattern:
    text = str(given).removeprefix("^")
    if text.endswith("$") and not text.endswith(r"\$"):
        text = text[:-1]
    origin, path = _halves(text)
    for half in (text, origin, path):
        try:
            re.compile(half)
        except re.error as error:
            raise ValueError(f"{given!r} is no regular expression: {error}") from None
    return AddressPattern(origin=origin, path=path)


def _halves(text: str) -> tuple[str, str]:
    """A pattern for `scheme://host:port` and one for the path: split at the first slash that is just a slash, so that no
    wildcard of the host's can end in somebody else's path.
    """
    depth = slashes = 0
    split = len(text)
    for step in _STEP.finditer(text):
        part = step[0]
        if part == "(":
            depth += 1
            if re.match(r"\(\?[aiLmsux]+\)", text[step.start() :]):
                raise ValueError(f"{text!r} sets flags: leave them out (capitals in a host never matter)")
        elif part == ")":
            depth -= 1
        elif part == "|" and not depth:
            raise ValueError(f"{text!r} holds alternatives: write a pattern for each, or put them in parentheses")
        elif slashes == _SLASHES:
            continue
        elif part in ("/", r"\/") and not depth:
            slashes += 1
            if slashes == _SLASHES:
                split = step.start()
        elif part in ("/", r"\/") or (part.startswith("[") and not part.startswith("[^") and "/" in part):
            raise ValueError(
                f"{text!r} holds its path's first slash in parentheses or brackets: write it outside of them"
            )
    origin = text[:split]
    if not re.search(r":\\?/\\?/", origin):
        raise ValueError(f"{text!r} is no pattern of a whole address: begin it with https:// or http://")
    if _OPEN_END.search(origin):
        raise ValueError(f"{text!r} fits hosts of others: write how the host ends, then a slash and the path")
    return origin, text[split:]
