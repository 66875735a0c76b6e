"""Decoding of bodies that an upstream compressed although we asked it not to. A bomb is refused before it has grown."""

import zlib
from collections.abc import Callable

_PIECE_BYTES = 64 * 1024
_FREE_BYTES = 16 * 1024 * 1024
_MOST_PER_BYTE = 100
"""JSON and event streams shrink to a tenth, very repetitive ones to a fiftieth; zlib's own bound is a thousand"""


class BadCoding(ValueError):
    """The body is not coded as its head says, or not in a way that we know."""


class Inflate:
    """Decodes gzip and deflate piece by piece into `take`."""

    __slots__ = ("_engine", "_in_bytes", "_out_bytes", "_raw_allowed", "_take", "stopped")

    def __init__(self, coding: bytes, take: Callable[[bytes], None]) -> None:
        if coding not in (b"gzip", b"x-gzip", b"deflate"):
            raise BadCoding(f"content-encoding {coding.decode('latin-1')[:40]!r} was not asked for and is not known")
        self._engine = zlib.decompressobj(zlib.MAX_WBITS | 32)
        # "deflate" should be zlib's framing; some servers send it bare.
        self._raw_allowed = coding == b"deflate"
        self._take = take
        self._in_bytes = 0
        self._out_bytes = 0
        self.stopped = False
        """nobody wants the rest"""

    @property
    def finished(self) -> bool:
        """Whether the coded body may end here."""
        return self._engine.eof or self._in_bytes == 0

    def into(self, take: Callable[[bytes], None]) -> None:
        self._take = take

    def feed(self, data: bytes) -> None:
        """Raises `BadCoding`."""
        self._in_bytes += len(data)
        while not self.stopped:
            if self._engine.eof:
                if not data:
                    return
                # gzip files may be strung together.
                self._engine = zlib.decompressobj(zlib.MAX_WBITS | 32)
            piece = self._decode(data)
            self._out_bytes += len(piece)
            if self._out_bytes > _FREE_BYTES + _MOST_PER_BYTE * self._in_bytes:
                raise BadCoding(f"it grows from {self._in_bytes} to more than {self._out_bytes} bytes")
            if piece:
                self._raw_allowed = False
                self._take(piece)
            data = self._engine.unused_data if self._engine.eof else self._engine.unconsumed_tail
            if not data and len(piece) < _PIECE_BYTES:
                return

    def _decode(self, data: bytes) -> bytes:
        try:
            return self._engine.decompress(data, _PIECE_BYTES)
        except zlib.error as error:
            if not self._raw_allowed:
                raise BadCoding(str(error)) from None
            self._raw_allowed = False
            self._engine = zlib.decompressobj(-zlib.MAX_WBITS)
            return self._decode(data)
