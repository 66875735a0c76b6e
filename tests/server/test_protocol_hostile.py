"""Clients that break the rules of HTTP, by mistake or on purpose, while others depend on the same worker."""

import asyncio

import pytest
from tests.server.test_protocol import CLOSE, OK, echo, post, serving

from wayport.server.exchange import Exchange
from wayport.server.protocol import Limits

CHUNKED = b"POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n"


async def test_a_trailer_is_no_header() -> None:
    async def show(exchange: Exchange) -> None:
        exchange.respond(200, OK, exchange.header(b"authorization") or b"none")

    async with serving(show) as served:
        answer = await served.ask(CHUNKED + CLOSE + b"\r\n\r\n2\r\nhi\r\n0\r\nauthorization: Bearer x\r\n\r\n")
        assert answer.endswith(b"\r\n\r\nnone")


async def test_trailers_are_bounded_as_headers_are() -> None:
    async with serving(echo, limits=Limits(head_bytes=1000)) as served:
        endless = b"".join(b"x-%d: %b\r\n" % (number, b"a" * 100) for number in range(20))
        answer = await served.ask(CHUNKED + b"\r\n2\r\nhi\r\n0\r\n" + endless)
        assert b"431" in answer.split(b"\r\n")[0]


@pytest.mark.parametrize(
    "more",
    [
        b"\x01\x02 garbage\r\n\r\n",
        b"POST /b HTTP/1.1\r\nhost: x\r\ncontent-length: 999999\r\n\r\n",
    ],
    ids=["not HTTP", "too large a body"],
)
async def test_a_refusal_never_stands_in_the_middle_of_an_answer(more: bytes) -> None:
    begun, read_on = asyncio.Event(), asyncio.Event()

    async def stream(exchange: Exchange) -> None:
        exchange.start(200, OK)
        exchange.write(b"one")
        begun.set()
        await read_on.wait()
        exchange.end(b"two")

    async with serving(stream, limits=Limits(body_bytes=1000, head_bytes=4000)) as served:
        reader, writer = await served.connect()
        writer.write(post(b""))
        await begun.wait()
        writer.write(more)
        await writer.drain()
        refused = served.listening.load
        while not refused.refused:
            await asyncio.sleep(0)
        read_on.set()
        answer = await reader.read()
        assert answer.endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
        assert answer.count(b"HTTP/1.1") == 1
        writer.close()


async def test_what_was_asked_before_the_garbage_is_answered() -> None:
    async with serving(echo) as served:
        answer = await served.ask(post(b"one") + post(b"two") + b"\x00 garbage\r\n\r\n")
        assert answer.count(b"200 OK") == 2
        assert answer.endswith(b" two")


async def test_leave_to_go_on_is_given_after_the_answer_before_it() -> None:
    read_on = asyncio.Event()

    async def once(exchange: Exchange) -> None:
        if exchange.body == b"one":
            exchange.start(200, OK)
            exchange.write(b"1")
            await read_on.wait()
            exchange.end(b"2")
        else:
            exchange.respond(200, OK, exchange.body)

    async with serving(once) as served:
        reader, writer = await served.connect()
        writer.write(post(b"one"))
        await reader.readuntil(b"1\r\n1\r\n")
        writer.write(
            b"POST /a HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\nconnection: close\r\ncontent-length: 2\r\n\r\n"
        )
        connection = next(iter(served.listening.load.connections))
        while connection._incoming is None:
            await asyncio.sleep(0)
        read_on.set()
        assert await reader.readuntil(b"Continue\r\n\r\n") == b"1\r\n2\r\n0\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hi")
        assert (await reader.read()).endswith(b"\r\n\r\nhi")
        writer.close()


async def test_a_client_that_sends_all_of_a_refused_body_learns_why() -> None:
    async with serving(echo, limits=Limits(body_bytes=1000)) as served:
        reader, writer = await served.connect()
        body = b"a" * 20_000_000
        writer.write(b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body))
        writer.write(body)
        await writer.drain()
        assert b"413" in (await reader.read()).split(b"\r\n")[0]
        writer.close()


async def test_bodies_that_waited_for_their_turn_are_let_go_of_when_the_client_leaves() -> None:
    begun, never = asyncio.Event(), asyncio.Event()

    async def wait(_: Exchange) -> None:
        begun.set()
        await never.wait()

    async with serving(wait) as served:
        load = served.listening.load
        _, writer = await served.connect()
        writer.write(post(b"one") + post(b"two") + post(b"three"))
        await begun.wait()
        assert load.body_bytes == len(b"onetwothree")
        writer.close()
        while load.connections:
            await asyncio.sleep(0)
        assert load.body_bytes == 0


async def test_a_client_that_takes_nothing_of_its_answer_is_given_up() -> None:
    gone = asyncio.Event()

    async def endless(exchange: Exchange) -> None:
        exchange.start(200, OK)
        try:
            while True:
                if not exchange.paused:
                    exchange.write(b"a" * 100_000)
                await asyncio.sleep(0)
        finally:
            gone.set()

    async with serving(endless, limits=Limits(stalled_s=60)) as served:
        reader, writer = await served.connect()
        writer.write(post(b""))
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # the write transport reads as well
        load = served.listening.load
        while not any(connection.write_paused for connection in load.connections):
            await asyncio.sleep(0)
        connection = next(iter(load.connections))
        now = asyncio.get_running_loop().time()
        # Until the kernel's buffers have settled, something moves.
        for later in range(0, 61 * 60, 61):
            connection.sweep(now + later)
            await asyncio.sleep(0)
            if gone.is_set() or not load.connections:
                break
        await gone.wait()
        assert not load.connections
        writer.close()
        del reader


async def test_a_root_path_ends_at_a_slash() -> None:
    async with serving(echo, root_path="/api") as served:
        assert b"GET /apikeys?" in await served.ask(b"GET /apikeys HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert b"GET /keys?" in await served.ask(b"GET /api/keys HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")


async def test_a_body_in_very_small_pieces_is_put_together_as_it_comes() -> None:
    text = bytes(range(65, 91)) * 400
    async with serving(echo) as served:
        pieces = b"".join(b"2\r\n%b\r\n" % text[at : at + 2] for at in range(0, len(text), 2))
        reader, writer = await served.connect()
        writer.write(CHUNKED + CLOSE + b"\r\n\r\n" + pieces)
        await writer.drain()
        load = served.listening.load
        while load.body_bytes < len(text):
            await asyncio.sleep(0)
        connection = next(iter(load.connections))
        assert len(connection._body) < 1024 + 8
        writer.write(b"0\r\n\r\n")
        assert (await reader.read()).endswith(text)
        writer.close()
