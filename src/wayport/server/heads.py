"""Request heads that come again: on a connection that is kept, a client says the same each time but for its body's length.

Such a request needs no parser: it is told by comparing bytes with a head that the parser has read before.
"""

from typing import TYPE_CHECKING

from msgspec import Struct

from wayport.wire.lengths import around_length

if TYPE_CHECKING:
    from wayport.pipeline.lanes import Caller

_HEADS = 512
_NOT_PLAIN = frozenset({b"transfer-encoding", b"expect", b"upgrade"})


class Head(Struct, eq=False):
    """One head, read. Shared by all that say it, and not to be written to."""

    method: bytes
    path: str
    target: bytes
    query: bytes
    headers: dict[bytes, bytes]
    """without its content-length"""
    before: bytes
    """its bytes up to the length of the body"""
    after: bytes
    """the others, with the blank line"""
    at: int
    """where the length stands"""
    after_bytes: int
    digits: int
    """of the last length: the next one is likely to have as many"""
    caller: "Caller | None" = None
    """what the pipeline has worked out of the head alone"""

    def __repr__(self) -> str:
        # It holds a key.
        return f"<Head of {self.path}>"


class Heads:
    """The heads that a worker's connections have in common."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, bytes], Head] = {}

    def learn(
        self, data: bytes, *, method: bytes, path: str, target: bytes, query: bytes, headers: dict[bytes, bytes]
    ) -> Head | None:
        """Of a request that was parsed out of `data`, with nothing before it. None: its head is not one to remember."""
        parts = around_length(data, headers.get(b"content-length"))
        if parts is None or not _NOT_PLAIN.isdisjoint(headers):
            return None
        before, digits, after = parts
        known = self._known.get((before, after))
        if known is None:
            if len(self._known) >= _HEADS:
                self._known.clear()
            known = Head(
                method,
                path,
                target,
                query,
                _without_length(headers),
                before,
                after,
                len(before),
                len(after),
                len(digits),
            )
            self._known[before, after] = known
        elif (known.method, known.target) != (method, target) or known.headers != _without_length(headers):
            # These bytes were read otherwise than before: they are not the whole of what was parsed.
            return None
        return known


def _without_length(headers: dict[bytes, bytes]) -> dict[bytes, bytes]:
    return {name: value for name, value in headers.items() if name != b"content-length"}
