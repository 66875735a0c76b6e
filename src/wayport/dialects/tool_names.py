"""Names of tools as an upstream takes them, and the way back to the client's own.

What must stay true: one name is always changed in the same way (provider caches depend on it), and two names never meet.
"""

import hashlib
from collections.abc import Callable

_TAIL = 9
"""characters: `_` and the hash"""


def hashed(text: str, clean: str, limit: int) -> str:
    """The clean form of a text, cut to `limit` characters with a hash of the text itself at its end."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[: _TAIL - 1]
    return f"{clean[: limit - _TAIL]}_{digest}"


class ToolNames:
    """What each tool is called upstream. `changed` leads from a name as sent to the client's name and namespace.

    `fit` makes a name that the upstream takes, and leaves one alone that it takes already.
    """

    def __init__(self, fit: Callable[[str], str], separator: str = "__") -> None:
        self.changed: dict[str, tuple[str, str | None]] = {}
        self._fit = fit
        self._separator = separator
        self._sent: dict[tuple[str, str | None], str] = {}

    def sent(self, name: str, namespace: str | None = None) -> str:
        known = self._sent.get((name, namespace))
        if known is not None:
            return known
        sent = self._fit(f"{namespace}{self._separator}{name}" if namespace else name)
        if sent != name:
            self.changed[sent] = (name, namespace)
        self._sent[name, namespace] = sent
        return sent
