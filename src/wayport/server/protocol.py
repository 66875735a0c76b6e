"""HTTP/1.1 towards clients: httptools on an asyncio Protocol, with the limits that keep a gateway alive.

A handler starts when its request is whole. One request at a time per connection; pipelined ones wait. When the
connection is lost the running handler is cancelled at once. Time limits (head, body idle, keep-alive) are enforced by
`sweep`, called about once a second for all connections, so that an ordinary request sets no timer.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from email.utils import formatdate
from typing import Any, cast
from urllib.parse import unquote

import httptools
from msgspec import Struct

from wayport.core.outbox import Outbox
from wayport.server.exchange import STATUS_LINES, Exchange
from wayport.server.heads import Head, Heads
from wayport.wire.lengths import DIGITS, HEAD_END

Handler = Callable[[Exchange], Coroutine[Any, Any, None] | None]
"""answers at once, or tells how: None, once it has seen to it"""
RefuseEarly = Callable[[Exchange, int], bytes | None]

_NOTHING, _HEAD, _BODY = range(3)
"""of a request: what the next bytes belong to"""

_JUST_NOW = float("inf")
"""when bytes came or left last: since the last sweep, which will say when that was"""

_LEAVING_S = 10.0
"""after a refusal the rest of a request is read and thrown away for so long: a socket that is closed over unread bytes
is reset, and the client would never see why"""
_PIECES = 1024
_PIPELINED = 8
"""requests that may wait for their turn on one connection; above it is not read, and a client that leaves not noticed"""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_LESSONS = 4
"""heads in a row that were none known before, on one connection: after that many none is remembered any more"""


class Limits(Struct, kw_only=True, frozen=True):
    """What one worker takes on. Sizes in bytes, times in seconds."""

    head_bytes: int = 65_536
    head_timeout_s: float = 10.0
    body_bytes: int = 100 * 1024 * 1024
    body_idle_s: float = 30.0
    keep_alive_s: float = 75.0
    stalled_s: float = 120.0
    """how long a client may take nothing of an answer that waits for it"""
    connections: int = 10_000
    calls: int = 4_000
    total_body_bytes: int = 1024 * 1024 * 1024


class Load:
    """What one worker carries at this moment."""

    __slots__ = ("body_bytes", "calls", "connections", "refused")

    def __init__(self) -> None:
        self.connections: set[GatewayProtocol] = set()
        self.calls = 0
        self.body_bytes = 0
        self.refused = 0


class ServerState:
    """Shared by all connections of a worker."""

    __slots__ = ("date_line", "draining", "heads", "outbox", "root_path")

    def __init__(self, root_path: str = "") -> None:
        self.draining = False
        self.root_path = root_path.encode()
        self.heads = Heads()
        self.outbox = Outbox()
        self.date_line = b""
        self.tick()

    def tick(self) -> None:
        """Renews the date header; called once a second."""
        self.date_line = b"date: " + formatdate(usegmt=True).encode() + b"\r\n"


class GatewayProtocol(asyncio.Protocol):
    __slots__ = (
        "_began_at",
        "_body",
        "_body_bytes",
        "_counted",
        "_data_at",
        "_exchange",
        "_expect_continue",
        "_handler",
        "_head_bytes",
        "_headers",
        "_incoming",
        "_joined",
        "_known",
        "_leaving",
        "_lessons",
        "_limits",
        "_loop",
        "_missing",
        "_now",
        "_opening",
        "_outbox",
        "_parser",
        "_part",
        "_refuse",
        "_sent_at",
        "_trailer_bytes",
        "_transport",
        "_unsent_bytes",
        "_url",
        "_waiting",
        "client",
        "load",
        "state",
        "write_paused",
    )

    def __init__(
        self, handler: Handler, *, state: ServerState, load: Load, limits: Limits, refuse: RefuseEarly
    ) -> None:
        self._handler = handler
        self._refuse = refuse
        """given an exchange with its head and the status of a refusal, the body that says so"""
        self._limits = limits
        self.state = state
        self._outbox = state.outbox
        self.load = load
        self._loop = asyncio.get_running_loop()
        self._now = self._loop.time
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # until connection_made
        self.client: tuple[str, int] = ("", 0)
        self.write_paused = False
        self._exchange: Exchange | None = None
        """the one being handled"""
        self._incoming: Exchange | None = None
        """the one being read"""
        self._waiting: deque[Exchange] = deque()
        self._part = _NOTHING
        self._leaving = False
        """what still comes is thrown away"""
        self._data_at = self._began_at = self._sent_at = self._now()
        self._unsent_bytes = 0
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._head_bytes = 0
        self._trailer_bytes = 0
        self._body: list[bytes] = []
        self._joined = 0
        """how many of the body's pieces were put together of smaller ones"""
        self._body_bytes = 0
        self._counted = 0
        self._expect_continue = False
        self._known: Head | None = None
        """of the request before"""
        self._lessons = -1
        self._opening: bytes | None = None
        """the first bytes of the request that is being read, if its head may be remembered"""
        self._missing = 0
        """of a body whose head was known: what has not come yet"""

    # ------------------------------------------------------------------------------------------------ connection
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self.client = (str(peer[0]), int(peer[1]))
        if len(self.load.connections) >= self._limits.connections:
            self.load.refused += 1
            self._refuse_now(503, None)
            return
        self.load.connections.add(self)

    def connection_lost(self, _: Exception | None) -> None:
        # Also after a bare FIN: a client that closes its half has left, as far as anybody can tell.
        self.load.connections.discard(self)
        self._parser = None
        self._forget_incoming()
        while self._waiting:
            self._waiting.popleft().release_body()
        exchange = self._exchange
        if exchange is not None:
            exchange.gone = True
            exchange.release_body()
            if exchange.task is not None and not exchange.responded:
                exchange.task.cancel()
            # What it ends with leads back here: no circle.
            exchange.task = None
            if exchange.on_resume is not None:
                exchange.on_resume()
        self._exchange = None

    def pause_writing(self) -> None:
        self.write_paused = True
        if self._exchange is not None and self._exchange.on_pause is not None:
            self._exchange.on_pause()

    def resume_writing(self) -> None:
        self.write_paused = False
        if self._exchange is not None and self._exchange.on_resume is not None:
            self._exchange.on_resume()

    def write(self, data: bytes) -> None:
        self._outbox.write(self._transport, data)

    def write_singly(self, data: bytes) -> None:
        """As `write`, for what seldom has company."""
        if self._outbox.waiting:
            self._outbox.write(self._transport, data)
        else:
            self._transport.write(data)

    def abort(self) -> None:
        self._outbox.flush()
        self._transport.abort()

    def _close(self) -> None:
        self._outbox.flush()
        self._transport.close()

    # --------------------------------------------------------------------------------------------------- reading
    def data_received(self, data: bytes) -> None:
        parser = self._parser
        if parser is None:
            return
        part, known = self._part, self._known
        begins = part == _NOTHING and self._exchange is None
        if begins and known is not None and data[: known.at] == known.before and self._again(known, data):
            return
        self._data_at = self._now()
        if begins:
            if data.find(b"h2c") >= 0:
                data = _without_h2c(data)
            self._opening = data if self._lessons < _LESSONS else None
            self._head_bytes += len(data)
        elif self._missing:
            data = self._rest(data)
            if not data or self._parser is None:
                return
            if self._part == _NOTHING:
                self._head_bytes += len(data)
        elif part != _BODY:
            self._opening = None
            self._head_bytes += len(data)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse_now(501, self._incoming)
            return
        except httptools.HttpParserError:
            if not self._transport.is_closing():
                self._refuse_now(400, None)
            return
        if self._part == _HEAD and self._head_bytes > self._limits.head_bytes:
            self._refuse_now(431, None)

    def _again(self, known: Head, data: bytes) -> bool:
        """A request that begins as the one before. False: the parser has to look at it, and nothing has happened."""
        at, after = known.at, known.after
        end = at + known.digits
        start = end + known.after_bytes
        if data[end:start] != after:
            # The length has more digits than last time, or fewer.
            end = data.find(b"\r", at, at + DIGITS + 1)
            start = end + known.after_bytes
            if end <= at or data[end:start] != after:
                return False
            known.digits = end - at
        digits = data[at:end]
        if not digits.isdigit():
            return False
        body, size = data[start:], int(digits)
        came, limits, load = len(body), self._limits, self.load
        if came > size or size > limits.body_bytes or load.body_bytes + size > limits.total_body_bytes:
            return False
        self._lessons = 0
        self._opening = None
        headers, whole = known.headers, came == size
        exchange = Exchange(
            self,
            known.method,
            known.path,
            known.target,
            known.query,
            headers,
            headers.get,
            self.client,
            known,
            body if whole else b"",
        )
        if whole:
            load.body_bytes += size
            self._begin(exchange)
        else:
            self._part = _BODY
            self._incoming = exchange
            self._data_at = self._now()
            self._begin_body()
            self._missing = size - came
            if came:
                self.on_body(body)
        return True

    def _rest(self, data: bytes) -> bytes:
        """Takes what is missing of a body whose head was known; returns what came behind it."""
        piece = data[: self._missing]
        self._missing -= len(piece)
        self.on_body(piece)
        if self._missing == 0 and self._parser is not None:
            self.on_message_complete()
        return data[len(piece) :]

    def _learn(self, opening: bytes, exchange: Exchange) -> None:
        """The head is remembered, unless it is this connection's first: many have no other."""
        self._opening = None
        if self._lessons >= 0 and exchange.keep_alive and exchange.chunked:
            self._known = self.state.heads.learn(
                opening,
                method=exchange.method,
                path=exchange.path,
                target=exchange.target,
                query=exchange.query,
                headers=exchange.headers,
            )
        self._lessons += 1

    def _begin_body(self) -> None:
        self._body = []
        self._joined = 0
        self._body_bytes = 0
        self._expect_continue = False

    def on_message_begin(self) -> None:
        if self._parser is None:
            return
        self._part = _HEAD
        # `_data_at` may be that of an answer which was given while these bytes were parsed.
        self._began_at = self._now()
        self._url = b""
        self._headers = {}
        self._trailer_bytes = 0
        self._begin_body()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._incoming is not None:
            # A trailer: nobody who filtered the headers has looked at it, so it is none.
            self._trailer_bytes += len(name) + len(value)
            if self._trailer_bytes > self._limits.head_bytes:
                self._refuse_now(431, self._incoming)
            return
        name = name.lower()
        headers = self._headers
        if name in headers:
            value = headers[name] + b", " + value
        headers[name] = value

    def on_headers_complete(self) -> None:
        parser = self._parser
        if parser is None:
            return
        came, self._head_bytes = self._head_bytes, 0
        self._part = _BODY
        version = parser.get_http_version()
        path, _, query = self._url.partition(b"?")
        if not path.startswith(b"/"):
            # Absolute form, as a client behind a proxy sends it: only the path decides the route.
            path = b"/" + path.partition(b"://")[2].partition(b"/")[2]
        root = self.state.root_path
        if root and path.startswith(root) and path[len(root) : len(root) + 1] in (b"", b"/"):
            path = path[len(root) :] or b"/"
        text = path.decode("latin-1")
        if "%" in text:
            text = unquote(text)
        headers = self._headers
        self._incoming = Exchange(
            self,
            parser.get_method(),
            text,
            b"%b?%b" % (path, query) if query else path,
            query,
            headers,
            headers.get,
            self.client,
            keep_alive=parser.should_keep_alive(),
            chunked=version == "1.1",
        )
        limit = self._limits.head_bytes
        # What came with the head may have been the beginning of its body.
        if came > limit and sum(map(len, self._headers)) + sum(map(len, self._headers.values())) > limit:
            self._refuse_now(431, self._incoming)
            return
        length = self._headers.get(b"content-length")
        size = int(length) if length is not None and length.isdigit() else 0
        if size > self._limits.body_bytes:
            self._refuse_now(413, self._incoming)
        elif self.load.body_bytes + size > self._limits.total_body_bytes:
            self._refuse_now(503, self._incoming)
        elif b"expect" in self._headers and self._headers[b"expect"].lower() == b"100-continue":
            if self._exchange is None:
                self.write(_CONTINUE)
            else:
                # Its turn comes when the answer before it has gone.
                self._expect_continue = True

    def on_body(self, body: bytes) -> None:
        if self._incoming is None:
            return
        size = len(body)
        limits, load, pieces = self._limits, self.load, self._body
        self._body_bytes += size
        if self._body_bytes > limits.body_bytes:
            self._refuse_now(413, self._incoming)
            return
        if load.body_bytes + size > limits.total_body_bytes:
            self._refuse_now(503, self._incoming)
            return
        load.body_bytes += size
        self._counted += size
        pieces.append(body)
        if len(pieces) - self._joined >= _PIECES:
            # A body in pieces of a few bytes would take many times its size.
            pieces[self._joined :] = [b"".join(pieces[self._joined :])]
            self._joined += 1

    def on_message_complete(self) -> None:
        self._part = _NOTHING
        exchange = self._incoming
        if exchange is None or self._transport.is_closing():
            return
        self._incoming = None
        body = self._body
        exchange.body = body[0] if len(body) == 1 else b"".join(body)
        # From here on the exchange answers for these bytes.
        self._counted -= len(exchange.body)
        self._body = []
        if self._opening is not None:
            self._learn(self._opening, exchange)
        if self._exchange is None:
            self._begin(exchange)
        else:
            self._waiting.append(exchange)
            if len(self._waiting) >= _PIPELINED:
                self._transport.pause_reading()

    # -------------------------------------------------------------------------------------------------- handling
    def _begin(self, exchange: Exchange) -> None:
        self._exchange = exchange
        answering = self._handler(exchange)
        if answering is not None:
            exchange.task = self._loop.create_task(answering)

    def write_last(self, exchange: Exchange, data: bytes) -> None:
        """With that the answer is complete: the next request may be read."""
        if data:
            self._outbox.write(self._transport, data)
        exchange.release_body()
        if self._transport.is_closing() or exchange is not self._exchange:
            return
        self._exchange = None
        if not exchange.keep_alive:
            self._close()
        elif self._waiting:
            following = self._waiting.popleft()
            if len(self._waiting) == _PIPELINED - 1:
                self._transport.resume_reading()
            self._begin(following)
        else:
            self._data_at = _JUST_NOW
            if self._expect_continue and self._incoming is not None:
                self._expect_continue = False
                self.write(_CONTINUE)

    def _refuse_now(self, status: int, exchange: Exchange | None) -> None:
        """Answers before a handler could, and closes: what may follow on this connection is not read."""
        if self._parser is None:
            return
        self.load.refused += 1
        self._parser = None
        self._forget_incoming()
        if self._exchange is not None:
            # An answer is on its way, and nothing may stand in the middle of it: it is the last one here.
            (self._waiting[-1] if self._waiting else self._exchange).keep_alive = False
            return
        refused = exchange or _headless(self)
        body = self._refuse(refused, status) or b""
        head = b"content-type: application/json\r\n" + (b"retry-after: 1\r\n" if status == 503 else b"")
        self.write(b"".join((STATUS_LINES[status], head, b"connection: close\r\n", HEAD_END[len(body)], body)))
        if self not in self.load.connections:
            self._close()
            return
        self._leaving = True
        self._data_at = self._now()
        if self._transport.can_write_eof():
            self._outbox.flush()
            self._transport.write_eof()

    def _forget_incoming(self) -> None:
        self._incoming = None
        self._missing = 0
        self._body = []
        self._joined = 0
        self.load.body_bytes -= self._counted
        self._counted = 0

    # ----------------------------------------------------------------------------------------------- housekeeping
    def sweep(self, now: float) -> None:
        """Closes a connection whose head, body or next request is overdue, or whose client takes nothing."""
        if self._stalls(now):
            self._transport.abort()
            return
        if self._data_at == _JUST_NOW:
            # A clock read for every answer would be dearer, and a connection may be kept for a second too long.
            self._data_at = now
        waited = now - self._data_at
        if self._leaving:
            if waited > _LEAVING_S:
                self._close()
        elif self._part == _HEAD:
            # The head's time runs from its first byte: one byte at a time does not extend it.
            if now - self._began_at > self._limits.head_timeout_s:
                self._refuse_now(408, None)
        elif self._exchange is None:
            if self._part == _BODY:
                if waited > self._limits.body_idle_s:
                    self._refuse_now(408, self._incoming)
            elif waited > self._limits.keep_alive_s:
                self._close()

    def _stalls(self, now: float) -> bool:
        unsent = self._transport.get_write_buffer_size()
        if unsent == 0 or unsent != self._unsent_bytes:
            self._unsent_bytes = unsent
            self._sent_at = now
            return False
        return now - self._sent_at > self._limits.stalled_s

    def close_when_idle(self) -> None:
        """For a graceful stop: at once if nothing is being answered, else after the answer."""
        if self._exchange is None:
            self._close()
        else:
            self._exchange.keep_alive = False

    @property
    def exchange(self) -> Exchange | None:
        return self._exchange


def _headless(protocol: GatewayProtocol) -> Exchange:
    """Stands for a request that could not be read."""
    headers: dict[bytes, bytes] = {}
    return Exchange(protocol, b"GET", "", b"", b"", headers, headers.get, protocol.client, keep_alive=False)


def _without_h2c(data: bytes) -> bytes:
    """The head without an offer to upgrade to HTTP/2 in clear text (Java's HttpClient makes it on every request)."""
    head, blank, rest = data.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    kept = [line for line in lines if not line.lower().startswith((b"upgrade: h2c", b"http2-settings:"))]
    if len(kept) == len(lines):
        return data
    kept = [b"connection: keep-alive" if _is_connection_upgrade(line) else line for line in kept]
    return b"\r\n".join(kept) + blank + rest


def _is_connection_upgrade(line: bytes) -> bool:
    lowered = line.lower()
    return lowered.startswith(b"connection:") and b"upgrade" in lowered
