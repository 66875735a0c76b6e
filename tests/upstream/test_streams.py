"""Bodies handed on as they come: at once, in order, with back-pressure, to a clean end or a fault."""

import asyncio

import pytest
from tests.fakes.upstream import Upstream, answer, chunked, cut, head, raw, sse, stall, whole
from tests.upstream.calls import LIMIT, Collected, call, send, transport

from wayport.upstream.transport import Answer, TransportFault

pytestmark = pytest.mark.both_loops


async def test_events_are_delivered_as_they_come() -> None:
    gates = [asyncio.Event() for _ in range(3)]
    steps = [step for n, gate in enumerate(gates) for step in (gate, b"data: %d\n\n" % n)]
    async with Upstream(sse(*steps)) as upstream, transport() as client:
        got = await send(client, upstream)
        assert got.header(b"content-type") == b"text/event-stream"
        taken = Collected()
        ended = got.pump(taken)
        for number, gate in enumerate(gates):
            assert len(taken.pieces) == number
            gate.set()
            await taken.holds(b"data: %d\n\n" % number)
        await ended
        assert taken.pieces == [b"data: 0\n\n", b"data: 1\n\n", b"data: 2\n\n"]


async def test_pieces_are_delivered_without_a_switch_of_tasks() -> None:
    async with Upstream(sse(b"data: 1\n\n", asyncio.Event())) as upstream, transport() as client:
        got = await send(client, upstream)
        connection = next(iter(client._pools.connections))
        taken = Collected()
        got.pump(taken)
        await taken.holds(b"data: 1\n\n")
        connection.data_received(b"5\r\nhello\r\n")
        assert taken.pieces[-1] == b"hello"


async def test_what_came_before_the_pump_is_delivered_at_once() -> None:
    async with Upstream(chunked(b"early ", b"bird")) as upstream, transport() as client:
        got = await send(client, upstream)
        while got._connection is not None:
            await asyncio.sleep(0)
        taken = Collected()
        ended = got.pump(taken)
        assert taken.all == b"early bird"
        assert ended.done()
        await ended


async def test_a_pumped_connection_is_used_again() -> None:
    async with Upstream(sse(b"data: 1\n\n")) as upstream, transport() as client:
        for _ in range(3):
            await (await send(client, upstream)).pump(Collected())
        assert upstream.connections == 1


@pytest.mark.parametrize("then", ["close", "reset"])
async def test_a_stream_that_breaks_off_fails_after_what_came(then: str) -> None:
    gate = asyncio.Event()
    behaviour = raw(head(headers={"transfer-encoding": "chunked"}), b"3\r\none\r\n", gate, then=then)  # type: ignore[arg-type]  # one of two words
    async with Upstream(behaviour) as upstream, transport() as client:
        taken = Collected()
        ended = (await send(client, upstream)).pump(taken)
        await taken.holds(b"one")
        gate.set()
        with pytest.raises(TransportFault, match="in the middle of its answer") as caught:
            await ended
        fault = caught.value.fault
        assert (fault.kind, fault.status, fault.body_sent) == ("cut", 200, True)


async def test_a_stream_that_turns_to_garbage_is_malformed() -> None:
    behaviour = raw(head(headers={"transfer-encoding": "chunked"}), b"3\r\none\r\n", b"zz\r\n")
    async with Upstream(behaviour) as upstream, transport() as client:
        taken = Collected()
        with pytest.raises(TransportFault) as caught:
            await (await send(client, upstream)).pump(taken)
        assert (caught.value.fault.kind, taken.all) == ("malformed", b"one")


async def test_what_the_taker_raises_fails_the_pump_and_closes_the_connection() -> None:
    class Enough(Exception):
        pass

    def take(_: bytes) -> None:
        raise Enough

    async with Upstream(stall(head(headers={"content-length": "10"}), b"12345")) as upstream, transport() as client:
        with pytest.raises(Enough):
            await (await send(client, upstream)).pump(take)
        await upstream.until(lambda: upstream.open == 0)
        assert not client._pools.connections


async def test_what_the_taker_raises_counts_more_than_a_fault_that_came_after_it() -> None:
    def take(_: bytes) -> None:
        raise ValueError("no")

    async with Upstream(cut(whole(b"body"), after=-1)) as upstream, transport() as client:
        got = await send(client, upstream)
        while got._connection is not None:
            await asyncio.sleep(0)
        with pytest.raises(ValueError, match="no"):
            await got.pump(take)


async def test_what_the_taker_raises_about_a_whole_body_fails_the_pump_too() -> None:
    def take(_: bytes) -> None:
        raise ValueError("no")

    async with Upstream(answer(b"whole")) as upstream, transport() as client:
        got = await send(client, upstream)
        while got._connection is not None:
            await asyncio.sleep(0)
        with pytest.raises(ValueError, match="no"):
            await got.pump(take)
        assert await call(client, upstream) == b"whole"


async def test_aborting_closes_the_upstream_at_once() -> None:
    async with Upstream(sse(b"data: 1\n\n", asyncio.Event())) as upstream, transport() as client:
        got = await send(client, upstream)
        taken = Collected()
        ended = got.pump(taken)
        await taken.holds(b"data: 1\n\n")
        got.abort()
        await upstream.until(lambda: upstream.open == 0)
        with pytest.raises(TransportFault, match="given up"):
            await ended
        assert not client._pools.connections
        got.abort()


async def test_aborting_from_within_the_taker_ends_the_delivery() -> None:
    taken: list[bytes] = []
    answers: list[Answer] = []

    def take(data: bytes) -> None:
        taken.append(data)
        answers[0].abort()

    steps = (head(headers={"transfer-encoding": "chunked"}) + b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n", asyncio.Event())
    async with Upstream(raw(*steps)) as upstream, transport() as client:
        answers.append(await send(client, upstream))
        ended = answers[0].pump(take)
        await asyncio.gather(ended, return_exceptions=True)
        assert taken == [b"a"]
        await upstream.until(lambda: upstream.open == 0)


async def test_cancelling_whoever_waits_for_the_pump_closes_the_upstream() -> None:
    async with Upstream(sse(b"data: 1\n\n", asyncio.Event())) as upstream, transport() as client:

        async def relay() -> None:
            await (await send(client, upstream)).pump(lambda _: None)

        running = asyncio.ensure_future(relay())
        await upstream.until(lambda: len(upstream.requests) == 1)
        while not any(c.answer and c.answer.status for c in client._pools.connections):
            await asyncio.sleep(0)
        running.cancel()
        await upstream.until(lambda: upstream.open == 0)


async def test_cancelling_a_read_closes_the_upstream() -> None:
    async with Upstream(stall(head(headers={"content-length": "10"}), b"12345")) as upstream, transport() as client:
        got = await send(client, upstream)
        reading = asyncio.ensure_future(got.read(LIMIT))
        await asyncio.sleep(0)
        reading.cancel()
        await upstream.until(lambda: upstream.open == 0)


async def test_aborting_a_whole_answer_keeps_its_connection() -> None:
    async with Upstream(answer(b"x")) as upstream, transport() as client:
        got = await send(client, upstream)
        assert await got.read(LIMIT) == b"x"
        got.abort()
        got.pause()
        got.resume()
        await call(client, upstream)
        assert upstream.connections == 1


@pytest.mark.parametrize("tls", [False, True])
async def test_a_paused_answer_stops_the_upstream_and_goes_on_when_resumed(tls: bool) -> None:
    size = 48 * 1024 * 1024
    async with Upstream(answer(b"x" * size), tls=tls) as upstream, transport() as client:
        got = await send(client, upstream)
        total = 0
        paused = asyncio.Event()

        def take(data: bytes) -> None:
            nonlocal total
            total += len(data)
            if total > 100_000 and not paused.is_set():
                got.pause()
                paused.set()

        ended = got.pump(take)
        await paused.wait()
        # Another whole exchange passes, in which this one would have grown.
        small = Upstream(answer(b"y"))
        async with small:
            for _ in range(20):
                await call(client, small)
        assert total < size / 4
        got.resume()
        await ended
        assert total == size
        again = await send(client, upstream)
        assert again.reused
        again.abort()


async def test_a_pause_at_the_last_piece_does_not_stick_to_the_connection() -> None:
    async with Upstream(answer(b"x")) as upstream, transport() as client:
        got = await send(client, upstream, b"1")
        await got.read(LIMIT)
        gate = asyncio.Event()
        upstream.script = raw(head(headers={"content-length": "1"}), gate, b"x")
        got = await send(client, upstream, b"2")
        ended = got.pump(lambda _: got.pause())
        gate.set()
        await ended
        upstream.script = answer(b"next")
        assert await call(client, upstream, b"3") == b"next"
        assert upstream.connections == 1


async def test_a_forgotten_pump_that_fails_is_silent() -> None:
    short = raw(head(headers={"content-length": "9"}), b"1", then="close")
    async with Upstream(short) as upstream, transport() as client:
        (await send(client, upstream)).pump(lambda _: None)
        while client._pools.connections:
            await asyncio.sleep(0)
