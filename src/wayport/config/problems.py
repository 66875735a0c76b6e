"""What is wrong with a configuration: all of it at once, with file, line, key and the nearest right spelling.

No text here may hold a value that could be a secret: a problem names keys and variables only.
"""

import difflib
from collections.abc import Iterable

from msgspec import Struct

Path = tuple[str | int, ...]
"""where in a document: keys and list positions"""


def dotted(path: Path) -> str:
    """A path as people write it.

    >>> dotted(("models", "default", 0, "model"))
    'models.default[0].model'
    """
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            word = part or '""'
            text += f".{word}" if text else word
    return text


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known spelling that `word` was probably meant to be."""
    words = list(known)
    folded = {candidate.lower().replace("-", "_"): candidate for candidate in words}
    plain = word.lower().replace("-", "_")
    if plain in folded:
        return folded[plain]
    found = difflib.get_close_matches(plain, folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    found = nearest(word, known)
    return f"; did you mean `{found}`?" if found else ""


class Problem(Struct, kw_only=True, frozen=True):
    """One thing to mend."""

    text: str
    key: str = ""
    """dotted path of the key, or the name of a variable or flag"""
    place: str = ""
    """`config.yaml:12`; empty: not from a file"""

    def __str__(self) -> str:
        return ": ".join(part for part in (self.place, self.key, self.text) if part)


class ConfigError(Exception):
    """The configuration cannot be used. Nothing has been changed by it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))
