"""The answer to one request, as whoever asked holds it.

What must stay true: every byte is delivered straight from the socket's callback; an answer ends exactly once, clean or
with a fault; its body is bounded by whoever reads it, and until then by us.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from msgspec import Struct

from wayport.upstream.faults import TransportFault
from wayport.upstream.heads import Headers
from wayport.upstream.inflate import BadCoding, Inflate

HOLD_BYTES = 1024 * 1024
"""an answer that nobody reads yet is taken in up to here, then the socket is left alone"""


_CODINGS = frozenset({b"transfer-encoding", b"content-encoding"})
_NO_HEADERS = Headers()


class Line(Protocol):
    """The connection, as far as an answer steers it."""

    take: Callable[[bytes], None]
    take_chunk: Callable[[bytes, int], bool] | None

    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def fail(self, error: Exception) -> None: ...


class Answer(Struct, eq=False):
    """An upstream's answer. Its body must be read, pumped or aborted."""

    _loop: asyncio.AbstractEventLoop
    _connection: Line | None
    _waiter: "asyncio.Future[Any] | None"
    """whoever waits for the next step: first for the head, then for the end of the body"""
    reused: bool
    """whether it came on a connection that had been idle"""
    status: int = 0
    head: Headers = _NO_HEADERS
    inflate: Inflate | None = None
    _limit: int = HOLD_BYTES
    _reading: bool = False
    _error: Exception | None = None
    _pieces: list[bytes] = []
    size: int = 0
    """how much of the body has come"""
    _held: bool = False

    def __repr__(self) -> str:
        # It holds what was answered, and below it what was asked.
        return f"<{type(self).__name__} {self.status}>"

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Names in lower case; repeated ones stay."""
        return self.head.pairs

    def header(self, name: bytes) -> bytes | None:
        """The last value of a header; `name` in lower case."""
        return self.head.by_name.get(name)

    async def read(self, limit_bytes: int) -> bytes:
        """The whole body, once. Raises `TransportFault`: `malformed` above the limit, `cut` or `timeout` otherwise."""
        self.takes(limit_bytes)
        if self.size > limit_bytes:
            self._overflow()
        connection = self._connection
        if connection is not None:
            if self._held:
                self._held = False
                connection.resume()
            waiter = self._waiter = self._loop.create_future()
            try:
                await waiter
            except asyncio.CancelledError:
                self.abort()
                raise
        if self._error is not None:
            raise self._error
        return self.whole()

    def takes(self, limit_bytes: int) -> None:
        """It is read as it comes, up to here; above it, it fails."""
        self._limit = limit_bytes
        self._reading = True

    def waits(self) -> None:
        """Nobody reads it yet."""
        self._limit = HOLD_BYTES
        self._reading = False

    def whole(self) -> bytes:
        """The body of an answer that has come to its end."""
        pieces = self._pieces
        self._pieces = []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def put_back(self, body: bytes) -> None:
        """A body that was read whole, to be read once more by whoever is next."""
        self._pieces = [body]

    def pump(
        self, on_bytes: Callable[[bytes], None], on_chunk: Callable[[bytes, int], bool] | None = None
    ) -> "asyncio.Future[None]":
        """Hands every piece of the body to `on_bytes`, straight from the socket; what has come already, at once.

        The future is done at the clean end and fails with `TransportFault` otherwise. What `on_bytes` raises fails it
        too and closes the connection; so does cancelling it.

        `on_chunk` is offered each piece that is one whole chunk first, with its framing, and where its content begins. It
        says whether it took it.
        """
        waiter: asyncio.Future[None] = self._loop.create_future()
        pieces = self._pieces
        self._pieces = []
        before = self._error
        try:
            for piece in pieces:
                # What came before a fault is delivered before it; nothing is after an abort from within.
                if self._error is before:
                    on_bytes(piece)
        except Exception as error:  # noqa: BLE001 (it is the pumper's own, and goes back to it)
            self._give_up(error)
        connection = self._connection
        if connection is None:
            self._settle(waiter)
            return waiter
        self._waiter = waiter
        waiter.add_done_callback(self._pumped)
        inflate = self.inflate
        if inflate is None:
            connection.take = on_bytes
            connection.take_chunk = on_chunk
        else:
            inflate.into(on_bytes)
        if self._held:
            self._held = False
            connection.resume()
        return waiter

    def _pumped(self, waiter: "asyncio.Future[None]") -> None:
        if waiter.cancelled():
            self.abort()

    def pause(self) -> None:
        """Stops reading from the socket. Pieces that were read already may still be delivered."""
        if self._connection is not None:
            self._connection.pause()

    def resume(self) -> None:
        if self._connection is not None:
            self._connection.resume()

    def abort(self) -> None:
        """Closes the connection at once, unless the answer is complete. Whoever waits for it gets a `cut`."""
        if self._connection is not None:
            self._give_up(TransportFault("cut", "The answer was given up.", status=self.status, body_sent=True))

    # ---------------------------------------------------------------------------------- what the connection tells us
    def headed(self) -> None:
        """The head is complete. Raises `BadCoding` when the body could not be read."""
        by_name = self.head.by_name
        if not _CODINGS.isdisjoint(by_name):
            self._coded(by_name)
        waiter = self._waiter
        self._waiter = None
        if waiter is not None and not waiter.done():
            waiter.set_result(True)

    def _coded(self, by_name: dict[bytes, bytes]) -> None:
        coding = by_name.get(b"transfer-encoding")
        if coding is not None and coding.lower() != b"chunked":
            raise BadCoding(f"transfer-encoding {coding.decode('latin-1')[:40]!r} is not known")
        coding = by_name.get(b"content-encoding")
        if coding is not None and (coding := coding.lower()) not in (b"identity", b""):
            connection = self._connection
            assert connection is not None
            self.inflate = Inflate(coding, self.keep)
            connection.take = self.inflate.feed

    def keep(self, data: bytes) -> None:
        self._pieces.append(data)
        self.size += len(data)
        if self.size > self._limit:
            self._overflow()

    def _overflow(self) -> None:
        connection = self._connection
        if self._reading:
            self._pieces = []
            error = TransportFault(
                "malformed", f"The answer is larger than {self._limit} bytes.", status=self.status, body_sent=True
            )
            self._give_up(error)
        elif connection is not None and not self._held:
            self._held = True
            connection.pause()

    def _give_up(self, error: Exception) -> None:
        connection = self._connection
        if connection is not None:
            connection.fail(error)
        else:
            self._error = error

    def arrived(self, head: Headers, body: bytes) -> None:
        """All of it has come at once: a plain success, JSON as it is, smaller than what is held. `headed` to `end` in one."""
        self.status = 200
        self.head = head
        self._pieces = [body]
        self.size = len(body)
        self._connection = None
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(True)

    def end(self, error: Exception | None) -> None:
        """The exchange is over; `error` is None after a clean end."""
        self._connection = None
        self._error = error
        if self.inflate is not None:
            self.inflate.stopped = True
            self.inflate = None
        waiter = self._waiter
        self._waiter = None
        if waiter is not None:
            self._settle(waiter)

    def _settle(self, waiter: "asyncio.Future[Any]") -> None:
        if waiter.done():
            return
        if self._error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(self._error)
            # Looked at once, so that a pump whose owner has left is not reported as forgotten.
            waiter.exception()

    def died_unanswered(self) -> None:
        """A reused connection was dead before it said a word: the request may be sent again."""
        self._connection = None
        waiter = self._waiter
        self._waiter = None
        if waiter is not None and not waiter.done():
            waiter.set_result(False)
