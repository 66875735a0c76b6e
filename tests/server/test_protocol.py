"""HTTP/1.1 towards clients: framing, limits, and what becomes of a connection."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from wayport.server.exchange import Exchange
from wayport.server.listen import AddressInUse, Listening, bind
from wayport.server.protocol import GatewayProtocol, Handler, Limits, Load, ServerState

OK = b"content-type: text/plain\r\n"


class Served:
    def __init__(self, listening: Listening, port: int, state: ServerState) -> None:
        self.listening = listening
        self.port = port
        self.state = state

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def ask(self, data: bytes) -> bytes:
        """Sends bytes, returns all that comes until the server closes."""
        reader, writer = await self.connect()
        writer.write(data)
        answer = await reader.read()
        writer.close()
        return answer


@asynccontextmanager
async def serving(handler: Handler, *, limits: Limits | None = None, root_path: str = "") -> AsyncIterator[Served]:
    sock = bind("127.0.0.1", 0)[0]
    port = sock.getsockname()[1]
    state = ServerState(root_path)

    def refuse(_: Exchange, status: int) -> bytes:
        return b'{"refused": %d}' % status

    async with Listening(
        handler, sock, state=state, load=Load(), limits=limits or Limits(), refuse=refuse
    ) as listening:
        yield Served(listening, port, state)


async def echo(exchange: Exchange) -> None:
    exchange.respond(200, OK, b"%b %b?%b %b" % (exchange.method, exchange.path.encode(), exchange.query, exchange.body))


def post(body: bytes, *lines: bytes) -> bytes:
    head = b"".join(line + b"\r\n" for line in lines)
    return b"POST /a HTTP/1.1\r\nhost: x\r\n%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)


CLOSE = b"connection: close"


async def test_a_request_is_handled_when_it_is_whole() -> None:
    async with serving(echo) as served:
        reader, writer = await served.connect()
        for piece in (
            b"POST /a%20b?c=d HTT",
            b"P/1.1\r\nhost: x\r\nconte",
            b"nt-length: 5\r\nconnection: close\r\n\r\nhe",
            b"llo",
        ):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        answer = await reader.read()
        assert answer.endswith(b"\r\n\r\nPOST /a b?c=d hello")
        writer.close()


async def test_connections_are_kept_and_pipelined_requests_are_answered_in_order() -> None:
    async with serving(echo) as served:
        answer = await served.ask(post(b"one") + post(b"two") + post(b"three", CLOSE))
        assert [answer.find(word) for word in (b"one", b"two", b"three")] == sorted(
            answer.find(word) for word in (b"one", b"two", b"three")
        )
        assert answer.count(b"200 OK") == 3


async def test_answers_written_in_one_turn_are_all_out_before_the_connection_closes() -> None:
    def at_once(exchange: Exchange) -> None:
        exchange.respond(200, OK, exchange.body)

    async with serving(at_once) as served:
        answers = await served.ask(post(b"first") + post(b"second") + post(b"third", CLOSE))
        assert [part.rpartition(b"\r\n")[2] for part in answers.split(b"HTTP/1.1 200 OK")[1:]] == [
            b"first",
            b"second",
            b"third",
        ]
        refused = await served.ask(post(b"first") + b"nonsense\r\n\r\n")
        assert refused.index(b"first") < refused.index(b"HTTP/1.1 400")


async def test_a_chunked_body_is_put_together() -> None:
    async with serving(echo) as served:
        answer = await served.ask(
            b"POST /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
        )
        assert answer.endswith(b" hello")


async def test_a_body_over_the_limit_is_refused_from_its_head_alone() -> None:
    async with serving(echo, limits=Limits(body_bytes=10)) as served:
        answer = await served.ask(b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 11\r\n\r\n")
        assert b"413" in answer.split(b"\r\n")[0]
        assert b'{"refused": 413}' in answer


async def test_a_chunked_body_over_the_limit_is_refused_as_soon_as_it_is_too_large() -> None:
    async with serving(echo, limits=Limits(body_bytes=4)) as served:
        answer = await served.ask(b"POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
        assert b"413" in answer.split(b"\r\n")[0]


async def test_bodies_of_all_calls_together_are_bounded() -> None:
    async with serving(echo, limits=Limits(total_body_bytes=8)) as served:
        reader, writer = await served.connect()
        writer.write(b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 8\r\n\r\n1234567")
        await writer.drain()
        while served.listening.load.body_bytes < 7:
            await asyncio.sleep(0)
        answer = await served.ask(b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n")
        assert b"503" in answer.split(b"\r\n")[0]
        assert b"retry-after: 1" in answer
        writer.close()
        await asyncio.sleep(0)
        del reader


async def test_what_is_held_of_bodies_goes_back_to_nothing() -> None:
    async with serving(echo) as served:
        await served.ask(post(b"x" * 100_000, CLOSE))
        reader, writer = await served.connect()
        writer.write(b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 80\r\n\r\n1234567")
        await writer.drain()
        while served.listening.load.body_bytes != 7:
            await asyncio.sleep(0)
        writer.transport.abort()
        while served.listening.load.connections:
            await asyncio.sleep(0)
        assert served.listening.load.body_bytes == 0
        del reader


async def test_a_head_over_the_limit_is_refused() -> None:
    async with serving(echo, limits=Limits(head_bytes=1000)) as served:
        answer = await served.ask(b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 2000)
        assert b"431" in answer.split(b"\r\n")[0]


async def test_a_slow_head_runs_out_of_time_however_steadily_it_comes() -> None:
    async with serving(echo, limits=Limits(head_timeout_s=10.0)) as served:
        reader, writer = await served.connect()
        writer.write(b"GET / HTTP/1.1\r\n")
        while not served.listening.load.connections:
            await asyncio.sleep(0)
        connection = next(iter(served.listening.load.connections))
        while connection._part == 0:
            await asyncio.sleep(0)
        now = asyncio.get_running_loop().time()
        connection.sweep(now + 9.0)
        writer.write(b"host: x\r\n")
        await writer.drain()
        await asyncio.sleep(0)
        connection.sweep(now + 10.5)
        assert b"408" in (await reader.read()).split(b"\r\n")[0]
        writer.close()


async def _until_answered(served: Served, writer: asyncio.StreamWriter, *pieces: bytes) -> GatewayProtocol:
    for piece in pieces:
        writer.write(piece)
    while not served.listening.load.connections:
        await asyncio.sleep(0)
    return next(iter(served.listening.load.connections))


async def test_what_comes_behind_a_request_that_is_answered_runs_out_of_time_and_room_as_well() -> None:
    """The beginning of the next request arrives while the one before it is at work."""
    for begun, status in ((b"POST /x HTTP/1.1\r\nA: b\r\n", b"408"), (post(b"half of it")[:-4], b"408")):
        turn = asyncio.Event()

        async def waits(exchange: Exchange, turn: asyncio.Event = turn) -> None:
            await turn.wait()
            exchange.respond(200, OK, b"")

        async with serving(waits) as served:
            reader, writer = await served.connect()
            connection = await _until_answered(served, writer, post(b"first") + begun)
            while connection.exchange is None:
                await asyncio.sleep(0)
            turn.set()
            assert await reader.readuntil(b"\r\n\r\n")
            assert connection.exchange is None
            now = asyncio.get_running_loop().time()
            # The first look after an answer is when the silence begins.
            connection.sweep(now)
            connection.sweep(now + 31.0)
            assert status in (await reader.read()).split(b"\r\n")[0]
            writer.close()


async def test_a_head_behind_a_request_that_is_answered_at_once_runs_out_of_time() -> None:
    """Else one that never comes to its end would hold its connection for good."""

    def at_once(exchange: Exchange) -> None:
        exchange.respond(200, OK, b"")

    async with serving(at_once, limits=Limits(head_timeout_s=10.0)) as served:
        reader, writer = await served.connect()
        connection = await _until_answered(served, writer, post(b"first") + b"POST /x HTTP/1.1\r\nA: b\r\n")
        assert await reader.readuntil(b"\r\n\r\n")
        now = asyncio.get_running_loop().time()
        connection.sweep(now + 1.0)
        assert not reader.at_eof()
        connection.sweep(now + 11.0)
        assert b" 408 " in (await reader.read()).split(b"\r\n")[0]
        writer.close()


async def test_a_head_without_end_behind_a_request_is_refused() -> None:
    async with serving(echo, limits=Limits(head_bytes=1000)) as served:
        reader, writer = await served.connect()
        writer.write(post(b"first") + b"POST /x HTTP/1.1\r\nA: b\r\n")
        assert await reader.readuntil(b"\r\n\r\n")
        for _ in range(40):
            writer.write(b"A: " + b"b" * 100 + b"\r\n")
            await writer.drain()
        assert b" 431 " in await reader.read()
        writer.close()


async def test_a_body_that_stops_coming_is_given_up() -> None:
    async with serving(echo, limits=Limits(body_idle_s=30.0)) as served:
        reader, writer = await served.connect()
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf")
        while served.listening.load.body_bytes != 4:
            await asyncio.sleep(0)
        connection = next(iter(served.listening.load.connections))
        connection.sweep(asyncio.get_running_loop().time() + 31.0)
        assert b"408" in (await reader.read()).split(b"\r\n")[0]
        writer.close()


async def test_an_idle_connection_is_closed_without_a_word() -> None:
    async with serving(echo, limits=Limits(keep_alive_s=75.0)) as served:
        reader, writer = await served.connect()
        while not served.listening.load.connections:
            await asyncio.sleep(0)
        next(iter(served.listening.load.connections)).sweep(asyncio.get_running_loop().time() + 76.0)
        assert await reader.read() == b""
        writer.close()


async def test_connections_over_the_limit_are_turned_away_with_503() -> None:
    async with serving(echo, limits=Limits(connections=1)) as served:
        _, first = await served.connect()
        while not served.listening.load.connections:
            await asyncio.sleep(0)
        assert b"503" in (await served.ask(b"")).split(b"\r\n")[0]
        first.close()


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabc",
        b"GET / HTTP/1.1\r\nhost : x\r\n\r\n",
    ],
    ids=["a TLS hello", "two framings", "two lengths", "space before the colon"],
)
async def test_what_is_not_http_is_a_400_and_the_connection_closes(garbage: bytes) -> None:
    async with serving(echo) as served:
        assert (await served.ask(garbage)).startswith(b"HTTP/1.1 400")


async def test_expect_continue_is_answered() -> None:
    async with serving(echo) as served:
        reader, writer = await served.connect()
        writer.write(
            b"POST /a HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\nconnection: close\r\ncontent-length: 2\r\n\r\n"
        )
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"ok")
        assert (await reader.read()).endswith(b" ok")
        writer.close()


async def test_an_offer_of_http2_is_passed_over() -> None:
    async with serving(echo) as served:
        answer = await served.ask(
            b"POST /a HTTP/1.1\r\nhost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
            b"HTTP2-Settings: AAEAAEAAAAIAAAAB\r\ncontent-length: 2\r\n\r\nok" + post(b"end", CLOSE)
        )
        assert answer.count(b"200 OK") == 2


async def test_head_requests_get_no_body() -> None:
    async with serving(echo) as served:
        answer = await served.ask(b"HEAD / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert answer.endswith(b"\r\n\r\n")
        assert b"content-length: 8\r\n" in answer


async def test_a_started_answer_is_chunked_for_1_1_and_ends_with_the_connection_for_1_0() -> None:
    async def stream(exchange: Exchange) -> None:
        exchange.start(200, OK)
        exchange.write(b"one")
        exchange.end(b"two")

    async with serving(stream) as served:
        answer = await served.ask(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert answer.endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
        answer = await served.ask(b"GET / HTTP/1.0\r\n\r\n")
        assert answer.endswith(b"\r\n\r\nonetwo")


async def test_a_client_that_leaves_cancels_its_handler_at_once() -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def waits(_: Exchange) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with serving(waits) as served:
        _, writer = await served.connect()
        writer.write(post(b"x"))
        await asyncio.wait_for(started.wait(), 5)
        writer.transport.abort()
        await asyncio.wait_for(cancelled.wait(), 5)


async def test_a_client_that_reads_slowly_is_noticed() -> None:
    paused, resumed = asyncio.Event(), asyncio.Event()

    async def floods(exchange: Exchange) -> None:
        exchange.on_pause = paused.set
        exchange.on_resume = resumed.set
        exchange.start(200, OK)
        exchange.write(b"x" * 8_000_000)
        await asyncio.wait_for(resumed.wait(), 5)
        exchange.end()

    async with serving(floods) as served:
        reader, writer = await served.connect()
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        await asyncio.wait_for(paused.wait(), 5)
        await reader.read()
        assert resumed.is_set()
        writer.close()


async def test_draining_tells_clients_to_leave_and_lets_running_answers_end() -> None:
    go, began = asyncio.Event(), asyncio.Event()

    async def waits(exchange: Exchange) -> None:
        began.set()
        await go.wait()
        exchange.respond(200, OK, b"done")

    async with serving(waits) as served:
        reader, writer = await served.connect()
        writer.write(post(b"x"))
        await asyncio.wait_for(began.wait(), 5)
        stopping = asyncio.get_running_loop().create_task(
            served.listening.stop(drain_delay_s=0.0, grace_s=5.0, cut=lambda: None)
        )
        while not served.state.draining:
            await asyncio.sleep(0)
        go.set()
        answer = await reader.read()
        assert b"connection: close" in answer
        assert answer.endswith(b"done")
        await stopping
        with pytest.raises(ConnectionRefusedError):
            await served.connect()
        writer.close()


async def test_a_root_path_is_cut_off() -> None:
    async with serving(echo, root_path="/gateway") as served:
        answer = await served.ask(b"GET /gateway/v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert b"GET /v1/models?" in answer


async def test_a_second_gateway_on_the_port_is_refused_not_joined() -> None:
    sock = bind("127.0.0.1", 0)[0]
    with pytest.raises(AddressInUse, match="cannot listen on"):
        bind("127.0.0.1", sock.getsockname()[1])
    sock.close()


def test_workers_share_one_port() -> None:
    sockets = bind("127.0.0.1", 0, count=3)
    assert len({sock.getsockname()[1] for sock in sockets}) == 1
    for sock in sockets:
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
        sock.close()
