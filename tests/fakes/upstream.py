r"""A scripted upstream: a real HTTP/1.1 server on loopback that does, request by request, what a test tells it.

    async with Upstream([json_answer({"id": "x"}), close_without_answer()]) as upstream:
        ...                                    # call upstream.url + "/v1/chat/completions" twice
        assert upstream.requests[0].json()["model"] == "m"

**The script** is one of
* a list of behaviours: one per request, in order of arrival. A request beyond the list is answered 599, and leaving the
  `async with` block fails the test. The list may be extended while the upstream runs (`upstream.script.append(...)`);
* one behaviour, done for every request;
* `by(function)`: `function(request) -> behaviour` chooses for each request, once its body is there.

**Behaviours** (each is an `async (exchange) -> None`; write your own with `exchange.write()`, `.close()`, `.reset()`):

| behaviour                               | what the client sees                                                               |
|-----------------------------------------|------------------------------------------------------------------------------------|
| `answer(body, status=, headers=, …)`    | a whole answer with content-length; `length=` declares a wrong one                 |
| `json_answer(value, status=, headers=)` | the same, from a JSON value                                                        |
| `sse(*steps, …)`                        | an event stream; each `bytes` step is one piece on the wire, as one chunk          |
| `chunked(*steps, …)`                    | a chunked answer of any type; `end=False` leaves the closing chunk out             |
| `raw(*steps, then=)`                    | exactly these bytes, heads included: slow heads, garbage, split heads              |
| `cut(answer_bytes, after=n)`            | the first n bytes, then a clean close (FIN)                                        |
| `reset(*steps)`                         | the steps, then a connection reset (RST)                                           |
| `stall(*steps)`                         | the steps, then silence until the other side hangs up                              |
| `close_without_answer()`                | the request is read, then the connection is closed                                 |
| `html_error(status)`                    | what a load balancer in front of a provider says                                   |
| `garbage()` / `endless_headers()`       | bytes that are not HTTP / a head that never ends                                   |
| `early(behaviour)`                      | the behaviour, begun when the head was read: the body is left in the socket        |

**Steps** are `bytes` (written), an `asyncio.Event` (waited for, until the other side leaves: this is how a stream pauses,
without sleeping) or a callable without arguments (called: `reached.set` tells the test that the stream has got there).
**`then=`** is what happens after the answer: `"keep"` (default), `"close"` (FIN) or `"reset"` (RST); neither is announced
by a `connection: close` header, which makes the race of a reused connection.

    gate = asyncio.Event()
    Upstream(sse(b"data: one\n\n", gate, b"data: two\n\n", b"data: [DONE]\n\n"))

Also: `upstream.url`, `.host`, `.port`; `.requests` (all received, each with method, path, headers, body, `connection`
number); `.connections` (accepted so far), `.open` (open now); `await upstream.until(lambda: upstream.open == 0)` waits for
a state without sleeping; `upstream.drop_idle()` closes the connections that wait for a request. `tls=True` serves TLS with a
certificate made for the occasion (`upstream.ca_file` trusts it; `client_ca=` demands client certificates of that CA, see
`Authority`); `unix_path=` listens on a Unix socket.
"""

import asyncio
import json
import socket
import ssl
import struct
import tempfile
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import trustme

from wayport.core.tasks import Tasks

_LIMIT = 1 << 20  # longest request head

Step = bytes | asyncio.Event | Callable[[], object]
Then = Literal["keep", "close", "reset"]
Headers = dict[str, str] | Iterable[tuple[str, str]]


@dataclass(frozen=True)
class Received:
    """One request as it arrived. Header names are in lower case; a repeated one keeps its last value in `headers`."""

    method: str
    path: str
    """the request target as written, with its query"""
    headers: dict[str, str]
    header_list: list[tuple[str, str]]
    """all of them, in order, spelled as sent"""
    body: bytes
    connection: int
    """number of the connection it came on, from 1"""

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Exchange:
    """One request being answered, as a behaviour sees it."""

    received: Received
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    open: bool = True
    """whether the connection is read for another request afterwards"""

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def steps(self, steps: Iterable[Step], wrap: Callable[[bytes], bytes] = bytes) -> None:
        for step in steps:
            if isinstance(step, bytes):
                await self.write(wrap(step))
            elif isinstance(step, asyncio.Event):
                await self._wait(step)
            else:
                step()

    async def _wait(self, gate: asyncio.Event) -> None:
        """Waits for the gate, but no longer than the other side stays."""
        waits = {asyncio.ensure_future(gate.wait()), asyncio.ensure_future(self.reader.read(1))}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            ended = await asyncio.gather(*waits, return_exceptions=True)
        if not gate.is_set():
            assert b"" in ended or any(isinstance(e, ConnectionError) for e in ended), "bytes after the request"
            raise ConnectionResetError("the other side has left")

    async def finish(self, then: Then) -> None:
        if then == "close":
            self.close()
        elif then == "reset":
            self.reset()

    def close(self) -> None:
        self.open = False
        self.writer.close()

    def reset(self) -> None:
        """An RST instead of a FIN: closing with no linger time discards what is in flight."""
        self.open = False
        sock = self.writer.get_extra_info("socket")
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def hung_up(self) -> None:
        """Returns when the other side has closed the connection."""
        self.open = False
        while await self.reader.read(65536):
            pass


Behaviour = Callable[[Exchange], Awaitable[None]]


def head(
    status: int = 200, headers: Headers = (), *, content_type: str | None = "application/json", reason: str = "Made up"
) -> bytes:
    """An answer's status line and headers with the blank line, for `raw`."""
    pairs = list(headers.items() if isinstance(headers, dict) else headers)
    if content_type is not None and not any(name.lower() == "content-type" for name, _ in pairs):
        pairs.insert(0, ("content-type", content_type))
    lines = "".join(f"{name}: {value}\r\n" for name, value in pairs)
    return f"HTTP/1.1 {status} {reason}\r\n{lines}\r\n".encode("latin-1")


def whole(body: bytes, status: int = 200, headers: Headers = (), **more: Any) -> bytes:
    """A whole answer with its content-length, as bytes: for `raw` and `cut`."""
    pairs = list(headers.items() if isinstance(headers, dict) else headers)
    return head(status, [*pairs, ("content-length", str(len(body)))], **more) + body


def answer(
    body: bytes = b"",
    *,
    status: int = 200,
    headers: Headers = (),
    content_type: str | None = "application/json",
    length: int | None = None,
    then: Then = "keep",
) -> Behaviour:
    pairs = list(headers.items() if isinstance(headers, dict) else headers)
    pairs.append(("content-length", str(len(body) if length is None else length)))

    async def behave(exchange: Exchange) -> None:
        await exchange.write(head(status, pairs, content_type=content_type) + body)
        await exchange.finish(then)

    return behave


def json_answer(value: object, *, status: int = 200, headers: Headers = (), then: Then = "keep") -> Behaviour:
    return answer(json.dumps(value).encode(), status=status, headers=headers, then=then)


def html_error(status: int = 502) -> Behaviour:
    page = f"<html><head><title>{status} Bad Gateway</title></head><body><h1>{status}</h1></body></html>\n"
    return answer(page.encode(), status=status, content_type="text/html; charset=utf-8")


def chunked(
    *steps: Step,
    status: int = 200,
    headers: Headers = (),
    content_type: str | None = "application/json",
    end: bool = True,
    trailers: bytes = b"",
    then: Then = "keep",
) -> Behaviour:
    """`end=False`: the closing chunk never comes; combine it with `then="close"` for a stream that is cut off."""
    pairs = list(headers.items() if isinstance(headers, dict) else headers)
    pairs.append(("transfer-encoding", "chunked"))

    async def behave(exchange: Exchange) -> None:
        await exchange.write(head(status, pairs, content_type=content_type))
        await exchange.steps(steps, lambda piece: b"%x\r\n%b\r\n" % (len(piece), piece))
        if end:
            await exchange.write(b"0\r\n" + trailers + b"\r\n")
        await exchange.finish(then)

    return behave


def sse(*steps: Step, headers: Headers = (), end: bool = True, then: Then = "keep") -> Behaviour:
    return chunked(*steps, headers=headers, content_type="text/event-stream", end=end, then=then)


def raw(*steps: Step, then: Then = "keep") -> Behaviour:
    async def behave(exchange: Exchange) -> None:
        await exchange.steps(steps)
        await exchange.finish(then)

    return behave


def cut(answer_bytes: bytes, *, after: int) -> Behaviour:
    return raw(answer_bytes[:after], then="close")


def reset(*steps: Step) -> Behaviour:
    return raw(*steps, then="reset")


def close_without_answer() -> Behaviour:
    return raw(then="close")


def stall(*steps: Step) -> Behaviour:
    async def behave(exchange: Exchange) -> None:
        await exchange.steps(steps)
        await exchange.hung_up()

    return behave


def garbage() -> Behaviour:
    return raw(b"\x15\x03\x01\x00\x02\x02\x50 this is not HTTP\r\n\r\n", then="close")


def endless_headers() -> Behaviour:
    async def behave(exchange: Exchange) -> None:
        await exchange.write(b"HTTP/1.1 200 OK\r\n")
        number = 0
        while not exchange.writer.is_closing():
            number += 1
            await exchange.write(b"x-more-%d: %b\r\n" % (number, b"a" * 500))

    return behave


class early:  # noqa: N801 (reads as a verb in a script, like the functions around it)
    """Runs the behaviour when the head has been read. The connection ends after it."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour


class by:  # noqa: N801 (as `early`)
    """A script that chooses a behaviour for each request."""

    def __init__(self, choose: Callable[[Received], Behaviour]) -> None:
        self.choose = choose


class Authority:
    """A certificate authority for tests. Its files live in a temporary directory that goes with it."""

    def __init__(self) -> None:
        self._ca = trustme.CA()
        self._directory = tempfile.TemporaryDirectory(prefix="wayport-ca-")
        self.ca_file = str(Path(self._directory.name) / "ca.pem")
        self._ca.cert_pem.write_to_path(self.ca_file)

    def server(self, *names: str, client_ca: "Authority | None" = None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert(*names).configure_cert(context)
        context.set_alpn_protocols(["h2", "http/1.1"])
        if client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(client_ca.ca_file)
        return context

    def client_cert(self, name: str = "gateway@example.org") -> str:
        """Path of a file with a client certificate and its key."""
        path = Path(self._directory.name) / "client.pem"
        self._ca.issue_cert(name).private_key_and_cert_chain_pem.write_to_path(str(path))
        return str(path)

    def close(self) -> None:
        self._directory.cleanup()


@dataclass
class _Connection:
    number: int
    writer: asyncio.StreamWriter
    idle: bool = True


@dataclass
class Upstream:
    script: "list[Behaviour | early] | Behaviour | early | by"
    tls: bool = False
    tls_names: tuple[str, ...] = ("127.0.0.1", "localhost")
    client_ca: Authority | None = None
    unix_path: str | None = None
    host: str = "127.0.0.1"
    port: int = 0
    requests: list[Received] = field(default_factory=list)
    connections: int = 0
    authority: Authority | None = None
    negotiated: list[str | None] = field(default_factory=list)
    """ALPN protocol of each TLS connection"""

    def __post_init__(self) -> None:
        self._tasks = Tasks()
        self._open: dict[int, _Connection] = {}
        self._changed = asyncio.Condition()
        self._unexpected: list[str] = []
        self._done = 0

    @property
    def url(self) -> str:
        if self.unix_path is not None:
            return f"unix://{self.unix_path}"
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"

    @property
    def open(self) -> int:
        return len(self._open)

    @property
    def ca_file(self) -> str:
        assert self.authority is not None, "only with tls=True"
        return self.authority.ca_file

    async def until(self, condition: Callable[[], bool], *, within_s: float = 10.0) -> None:
        """Waits for a state of this upstream; fails the test if it does not come."""
        async with asyncio.timeout(within_s), self._changed:
            await self._changed.wait_for(condition)

    def drop_idle(self) -> None:
        for connection in list(self._open.values()):
            if connection.idle:
                connection.writer.close()

    async def __aenter__(self) -> Self:
        context = None
        if self.tls:
            self.authority = self.authority or Authority()
            context = self.authority.server(*self.tls_names, client_ca=self.client_ca)
        if self.unix_path is not None:
            self._server = await asyncio.start_unix_server(self._accepted, self.unix_path, ssl=context, limit=_LIMIT)
        else:
            self._server = await asyncio.start_server(self._accepted, self.host, self.port, ssl=context, limit=_LIMIT)
            self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._server.close()
        for connection in list(self._open.values()):
            connection.writer.transport.abort()
        await self._tasks.close()
        await self._server.wait_closed()
        if self.authority is not None:
            self.authority.close()
        if kind is None:
            assert not self._unexpected, f"requests beyond the script: {self._unexpected}"

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        connection = _Connection(self.connections, writer)
        tls = writer.get_extra_info("ssl_object")
        if tls is not None:
            self.negotiated.append(tls.selected_alpn_protocol())
        self._open[connection.number] = connection
        self._tasks.start(self._serve(connection, reader), name=f"upstream connection {connection.number}")

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _serve(self, connection: _Connection, reader: asyncio.StreamReader) -> None:
        await self._notify()
        try:
            while await self._one(connection, reader):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            connection.writer.close()
            del self._open[connection.number]
            await self._notify()

    async def _one(self, connection: _Connection, reader: asyncio.StreamReader) -> bool:
        """Serves one request; False when the connection is over."""
        connection.idle = True
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
        connection.idle = False
        method, path, _ = lines[0].split(" ")
        pairs = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines[1:])]
        headers = {name.lower(): value for name, value in pairs}
        behaviour = None if isinstance(self.script, by) else self._next(f"{method} {path}")
        begin_early = isinstance(behaviour, early)
        body = b"" if begin_early else await _body(reader, headers)
        received = Received(method, path, headers, pairs, body, connection.number)
        self.requests.append(received)
        await self._notify()
        if isinstance(self.script, by):
            behaviour = self.script.choose(received)
        assert behaviour is not None
        exchange = Exchange(received, reader, connection.writer)
        await (behaviour.behaviour if isinstance(behaviour, early) else behaviour)(exchange)
        return exchange.open and not begin_early and headers.get("connection", "").lower() != "close"

    def _next(self, line: str) -> "Behaviour | early":
        if not isinstance(self.script, list):
            assert not isinstance(self.script, by)
            return self.script
        self._done += 1
        if self._done > len(self.script):
            self._unexpected.append(line)
            return answer(b"beyond the script", status=599, content_type="text/plain")
        return self.script[self._done - 1]


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return await reader.readexactly(int(headers.get("content-length", "0")))
    pieces = []
    while size := int((await reader.readline()).split(b";")[0], 16):
        pieces.append(await reader.readexactly(size))
        await reader.readline()
    while (await reader.readline()).strip():
        pass
    return b"".join(pieces)
