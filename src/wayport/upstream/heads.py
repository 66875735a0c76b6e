"""The heads of answers, and those that are known.

Upstreams that stamp no id on their answers say the same head again and again, but for the second and the length of the
body. What the parser has read once need not be read by it again.

What must stay true: an answer that is read by its known head is read as the parser read the one before; in doubt the parser
reads it.
"""

from typing import Self

from msgspec import Struct

from wayport.wire.lengths import around_length

_JSON = b"application/json"
_NOT_PLAIN = frozenset({b"transfer-encoding", b"content-encoding", b"upgrade", b"trailer"})
_MOST_BYTES = 512 * 1024
"""the whole answer: less than is held for whoever does not read it yet, and more than comes in one read"""
_NAMES, _NAME_BYTES = 1024, 64
_NO_HEAD = b"\0"
"""no answer that the parser takes begins with it"""


class _Lower(dict[bytes, bytes]):
    """Remembers those that came: upstreams have few, and making one costs more than looking it up."""

    def __missing__(self, name: bytes) -> bytes:
        if len(self) >= _NAMES:
            self.clear()
        lower = name.lower()
        if len(name) <= _NAME_BYTES:
            self[name] = lower
        return lower


LOWER = _Lower()
"""names of headers in lower case, by how they were sent"""


class Headers(Struct, frozen=True, eq=False):
    """The headers of an answer; it may have many answers, so once it is whole nobody writes to it."""

    pairs: list[tuple[bytes, bytes]] = []
    """names in lower case; repeated ones stay"""
    by_name: dict[bytes, bytes] = {}
    """the last of each"""
    passed: dict[bool, bytes] = {}
    """what headers.py made of them for the client"""

    @classmethod
    def of(cls, pairs: list[tuple[bytes, bytes]]) -> Self:
        return cls(pairs, dict(pairs))


class Head(Struct, eq=False):
    """The head of an ordinary answer that is followed by another: 200, JSON, of stated length, as it is, on a kept connection."""

    headers: Headers
    """without its content-length"""
    before: bytes
    """its bytes up to the length of the body"""
    after: bytes
    """the others, with the blank line"""
    text: bytes = _NO_HEAD
    """the whole of it as it stands before a body with which it makes `_length` bytes"""
    _length: int = 0

    def begins(self, data: bytes) -> bool:
        """Whether `data` is one whole answer with this head. Its body begins behind `text`, then."""
        if len(data) != self._length:
            self._fit(len(data))
        return data.startswith(self.text)

    def _fit(self, length: int) -> None:
        self._length = length
        self.text = _NO_HEAD
        rest = length - len(self.before) - len(self.after)
        if rest > 1 and length < _MOST_BYTES:
            # What is left are the body and the digits of its size.
            size = rest - len(str(rest))
            for candidate in (size, size + 1):
                digits = str(candidate).encode()
                if candidate + len(digits) == rest:
                    self.text = self.before + digits + self.after


def learn(data: bytes, headers: Headers, body_bytes: int) -> Head | None:
    """Of an answer of status 200 on a kept connection, when nothing but `data` was parsed, and all of it was.

    None: its head is not one to remember.
    """
    by_name = headers.by_name
    if not _NOT_PLAIN.isdisjoint(by_name) or not by_name.get(b"content-type", b"").startswith(_JSON):
        return None
    parts = around_length(data, by_name.get(b"content-length"))
    if parts is None or parts[1].startswith(b"0"):
        return None
    before, digits, after = parts
    if not int(digits) == body_bytes == len(data) - sum(map(len, parts)):
        # The parser saw another end of the head, or more than one length.
        return None
    others = [pair for pair in headers.pairs if pair[0] != b"content-length"]
    if len(others) + 1 != len(headers.pairs):
        return None
    return Head(Headers.of(others), before, after)
