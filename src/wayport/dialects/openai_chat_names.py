"""Ids and names of tools as an OpenAI-compatible target accepts them. The same input always gives the same output."""

import hashlib
import re
from collections.abc import Iterable

from wayport.dialects.dialect import Profile
from wayport.dialects.neutral import Tool

_LONGEST = 64
_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_NOT_IN_NAME = re.compile(r"[^a-zA-Z0-9_-]")
_ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def _digest(text: str, length: int) -> str:
    number = int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
    letters = []
    for _ in range(length):
        number, place = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[place])
    return "".join(letters)


class Ids:
    """Tool-call ids as one target takes them. A call and its result are mapped alike, so that they stay a pair."""

    def __init__(self, profile: Profile, *, own: bool) -> None:
        self._chars = profile.tool_id_chars
        self._own = own

    def sent(self, identity: str) -> str:
        if self._chars > 0:
            # A target that counts characters wants letters and digits, and exactly so many of them (Mistral: nine).
            fits = len(identity) == self._chars and identity.isascii() and identity.isalnum()
            return identity if fits else _digest(identity, self._chars)
        if self._chars < 0 or _ID.fullmatch(identity) or (self._own and 0 < len(identity) <= _LONGEST):
            return identity
        return f"call_{_digest(identity, 24)}"


class Names:
    """Tool names as sent, and what they stood for where they had to be changed."""

    def __init__(self, tools: Iterable[Tool], *, own: bool) -> None:
        self._own = own
        self._sent: dict[tuple[str, str | None], str] = {}
        self._spaces: dict[str, str | None] = {}
        self.changed: dict[str, tuple[str, str | None]] = {}
        if own:
            return
        taken = {tool.name for tool in tools if tool.namespace is None}
        for tool in tools:
            self._spaces.setdefault(tool.name, tool.namespace)
            if tool.kind != "server":
                name = self._make(tool.name, tool.namespace, taken)
                taken.add(name)

    def _make(self, name: str, namespace: str | None, taken: set[str]) -> str:
        full = f"{namespace}__{name}" if namespace else name
        fits = _NOT_IN_NAME.search(full) is None and len(full) <= _LONGEST
        if not fits or (namespace and full in taken):
            tail = _digest(full, 8)
            full = f"{_NOT_IN_NAME.sub('_', full)[: _LONGEST - 9]}_{tail}"
        self._sent[name, namespace] = full
        if full != name or namespace is not None:
            self.changed[full] = (name, namespace)
        return full

    def sent(self, name: str, namespace: str | None = None) -> str:
        """The name on the wire of a tool, or of an earlier call of one that is offered no more."""
        if self._own:
            return name
        known = self._sent.get((name, namespace)) or self._sent.get((name, self._spaces.get(name)))
        return known or self._make(name, namespace, set())
