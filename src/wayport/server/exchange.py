"""One HTTP request and its answer on one connection: what the endpoints and the pipeline see of a client."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING

from msgspec import Struct

from wayport.wire.chunks import framed
from wayport.wire.lengths import HEAD_END

if TYPE_CHECKING:
    from wayport.pipeline.bodies import Kept
    from wayport.pipeline.straight import StraightCall
    from wayport.server.heads import Head
    from wayport.server.protocol import GatewayProtocol


def _status_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = {499: "Client Closed Request", 529: "Overloaded"}.get(status, "Status")
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()


STATUS_LINES = {status: _status_line(status) for status in range(100, 600)}


class Exchange(Struct, eq=False):
    """A request whose body is whole, and the one answer to it.

    An answer is either `respond` (whole), or `start`, any number of `write`s and `end`. After the client has gone all of
    them do nothing. `head` arguments are header lines, each closed by CRLF; framing headers are added here.
    """

    protocol: "GatewayProtocol"
    method: bytes
    path: str
    """percent-decoded, without the root path"""
    target: bytes
    """path and query as the request line had them, without the root path"""
    query: bytes
    headers: dict[bytes, bytes]
    """names in lower case; repeated ones joined by a comma; not to be written to"""
    header: Callable[[bytes], bytes | None]
    """the dictionary's own method: a call asks for a dozen headers"""
    client: tuple[str, int]
    known: "Head | None" = None
    """its head, if it has come before and will come again"""
    body: bytes = b""
    keep_alive: bool = True
    chunked: bool = True
    """whether the client understands chunked answers (HTTP/1.1)"""
    extra_head: bytes = b""
    """header lines added to whatever answer is given (CORS)"""
    started: bool = False
    """its head has left before its body"""
    responded: bool = False
    gone: bool = False
    task: "asyncio.Task[None] | StraightCall | None" = None
    """whose work it is; None: nobody's any more"""
    on_pause: Callable[[], None] | None = None
    on_resume: Callable[[], None] | None = None
    kept: "Kept | None" = None

    def __repr__(self) -> str:
        # It holds a key and what was asked.
        return f"<Exchange {self.method.decode('latin-1')} {self.path}>"

    @property
    def paused(self) -> bool:
        """Whether the client reads more slowly than we write."""
        return self.protocol.write_paused

    def release_body(self) -> None:
        """Lets go of the request's body; what the worker holds of bodies goes down by it."""
        if self.body:
            self.protocol.load.body_bytes -= len(self.body)
            self.body = b""

    def _further(self, head: bytes) -> bytes:
        """With the lines that are not the answer's own."""
        if not self.keep_alive:
            return b"%b%bconnection: close\r\n" % (head, self.extra_head)
        return head + self.extra_head

    def respond(self, status: int, head: bytes, body: bytes) -> None:
        """The whole answer in one write."""
        if self.gone or self.responded:
            return
        protocol = self.protocol
        state = protocol.state
        if state.draining:
            self.keep_alive = False
        if self.extra_head or not self.keep_alive:
            head = self._further(head)
        if self.kept is not None:
            self.kept.add(body)
        end = HEAD_END[len(body)]
        self.responded = True
        last = b"" if self.method == b"HEAD" else body
        protocol.write_last(self, b"".join((STATUS_LINES[status], state.date_line, head, end, last)))

    def start(self, status: int, head: bytes) -> None:
        """Head of an answer whose length is not known."""
        if self.gone:
            return
        self.started = True
        state = self.protocol.state
        if state.draining or not self.chunked:
            self.keep_alive = False
        framing = b"transfer-encoding: chunked\r\n\r\n" if self.chunked else b"\r\n"
        self.protocol.write(b"".join((STATUS_LINES[status], state.date_line, self._further(head), framing)))

    def write(self, data: bytes) -> None:
        if self.gone or not data:
            return
        if self.kept is not None:
            self.kept.add(data)
        if self.chunked:
            data = framed(data)
        self.protocol.write(data)

    def line(self) -> Callable[[bytes], None] | None:
        """Takes one chunk of the answer at a time as it is, framed; whoever uses it minds `gone`. None:
        this answer goes out in no chunks, or is kept.
        """
        return self.protocol.write_singly if self.chunked and self.kept is None else None

    def end(self, data: bytes = b"") -> None:
        """Last bytes of a started answer."""
        if self.gone or self.responded:
            return
        self.responded = True
        if self.kept is not None:
            self.kept.add(data)
        if self.chunked:
            data = framed(data) + b"0\r\n\r\n" if data else b"0\r\n\r\n"
        self.protocol.write_last(self, data)

    def abort(self) -> None:
        """Cuts the connection: for an answer that cannot be completed and must not look complete."""
        self.protocol.abort()
