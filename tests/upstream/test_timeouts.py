"""Connect, first byte, between bytes, total: each its own limit, each named in its fault."""

import asyncio
import socket

import pytest
from tests.fakes.manual_clock import ManualClock
from tests.fakes.upstream import Exchange, Upstream, early, head, raw, sse, stall, whole
from tests.upstream.calls import LIMIT, TICK_S, Collected, call, fault_of, send, transport

from wayport.core.net import Timeouts
from wayport.upstream.transport import TransportFault, origin_of

pytestmark = pytest.mark.both_loops

HEAD = head(headers={"content-length": "10"})


async def until(condition: object) -> None:
    assert callable(condition)
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(TICK_S)


async def test_no_first_byte_in_time() -> None:
    async with Upstream(stall()) as upstream, transport() as client:
        fault = await fault_of(client, upstream, timeouts=Timeouts(first_byte_s=0.02))
        assert (fault.kind, fault.status, fault.body_sent) == ("timeout", 0, True)
        assert fault.message == (f"127.0.0.1:{upstream.port} did not begin to answer within 0.02 s (`first_byte_s`).")
        await upstream.until(lambda: upstream.open == 0)


@pytest.mark.parametrize("steps", [(HEAD, b"12345"), (HEAD,), (HEAD[:20],)])
async def test_silence_within_an_answer(steps: tuple[bytes, ...]) -> None:
    async with Upstream(stall(*steps)) as upstream, transport() as client:
        fault = await fault_of(client, upstream, timeouts=Timeouts(first_byte_s=10, idle_s=0.02))
        assert fault.kind == "timeout"
        assert "fell silent for 0.02 s" in fault.message
        assert fault.status == (200 if HEAD in steps else 0)
        await upstream.until(lambda: upstream.open == 0)


async def test_the_whole_takes_too_long_although_bytes_keep_coming() -> None:
    clock = ManualClock()

    async def drip(exchange: Exchange) -> None:
        await exchange.write(head(headers={"content-length": "1000000"}))
        while not exchange.writer.is_closing():
            await exchange.write(b"x")
            clock.advance(0.5)
            await asyncio.sleep(TICK_S)

    async with Upstream(drip) as upstream, transport(clock=clock) as client:
        fault = await fault_of(client, upstream, timeouts=Timeouts(idle_s=60, total_s=20))
        assert fault.kind == "timeout"
        assert "did not finish its answer within 20 s (`total_s`)" in fault.message


async def test_every_byte_starts_the_time_between_bytes_again() -> None:
    clock = ManualClock()
    gates = [asyncio.Event() for _ in range(4)]
    steps = [step for gate in gates for step in (gate, b"data: x\n\n")]
    async with Upstream(sse(*steps)) as upstream, transport(clock=clock) as client:
        got = await send(client, upstream, timeouts=Timeouts(idle_s=10))
        taken = Collected()
        ended = got.pump(taken)
        for number, gate in enumerate(gates):
            clock.advance(9)
            client._tick()
            gate.set()
            await taken.holds(b"data: x\n\n" * (number + 1))
            client._tick()
        await ended


async def test_without_limits_nothing_is_overdue() -> None:
    clock = ManualClock()
    gate, second = asyncio.Event(), asyncio.Event()
    async with Upstream(raw(gate, HEAD, b"12345", second, b"67890")) as upstream, transport(clock=clock) as client:
        forever = Timeouts(first_byte_s=None, idle_s=None, total_s=None)
        running = asyncio.ensure_future(send(client, upstream, timeouts=forever))
        await upstream.until(lambda: len(upstream.requests) == 1)
        clock.advance(1e6)
        client._tick()
        gate.set()
        got = await running
        clock.advance(1e6)
        client._tick()
        second.set()
        assert await got.read(LIMIT) == b"1234567890"


async def test_the_time_while_we_do_not_read_is_not_the_upstreams() -> None:
    clock = ManualClock()
    gate = asyncio.Event()
    async with Upstream(sse(b"data: 1\n\n", gate, b"data: 2\n\n")) as upstream, transport(clock=clock) as client:
        got = await send(client, upstream, timeouts=Timeouts(idle_s=10, total_s=None))
        taken = Collected()
        ended = got.pump(taken)
        await taken.holds(b"data: 1\n\n")
        got.pause()
        gate.set()
        for _ in range(5):
            clock.advance(60)
            client._tick()
        got.resume()
        client._tick()
        await ended
        assert taken.all == b"data: 1\n\ndata: 2\n\n"


async def test_the_total_counts_also_while_we_do_not_read() -> None:
    clock = ManualClock()
    async with Upstream(sse(b"data: 1\n\n", asyncio.Event())) as upstream, transport(clock=clock) as client:
        got = await send(client, upstream, timeouts=Timeouts(total_s=100))
        ended = got.pump(Collected())
        got.pause()
        clock.advance(101)
        with pytest.raises(TransportFault, match="total_s"):
            await ended


async def test_a_large_body_that_is_still_leaving_does_not_count_as_silence() -> None:
    clock = ManualClock()
    sips = asyncio.Queue[int]()

    async def sip(exchange: Exchange) -> None:
        left = int(exchange.received.headers["content-length"])
        while left:
            wanted = min(await sips.get(), left)
            await exchange.reader.readexactly(wanted)
            left -= wanted
        await exchange.write(whole(b"done"))

    body = b"x" * (64 * 1024 * 1024)
    async with Upstream(early(sip)) as upstream, transport(clock=clock) as client:
        running = asyncio.ensure_future(call(client, upstream, body, timeouts=Timeouts(first_byte_s=10)))
        await upstream.until(lambda: len(upstream.requests) == 1)
        connection = next(iter(client._pools.connections))
        left = connection._transport.get_write_buffer_size
        before = left()
        for _ in range(3):
            sips.put_nowait(8 * 1024 * 1024)
            await until(lambda: left() < before)  # noqa: B023 (it is waited for at once)
            before = left()
            clock.advance(11)
            client._tick()
        assert not running.done()
        sips.put_nowait(len(body))
        assert await running == b"done"


async def test_a_large_body_that_stands_still_is_overdue() -> None:
    clock = ManualClock()

    async def look_away(_: Exchange) -> None:
        await asyncio.Event().wait()

    async with Upstream(early(look_away)) as upstream, transport(clock=clock) as client:
        running = asyncio.ensure_future(
            fault_of(client, upstream, b"x" * (64 * 1024 * 1024), timeouts=Timeouts(first_byte_s=10))
        )
        await upstream.until(lambda: len(upstream.requests) == 1)
        while not running.done():
            clock.advance(11)
            await asyncio.sleep(TICK_S)
        assert "did not begin to answer" in (await running).message


async def test_a_host_that_does_not_accept_is_given_up_after_the_connect_timeout() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        # Fill the queue of connections that nobody accepts; further ones hang in the handshake.
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
            async with transport() as client:
                with pytest.raises(TransportFault) as caught:
                    await client.send(
                        origin_of(f"http://127.0.0.1:{port}")[0],
                        b"POST / HTTP/1.1\r\n",
                        b"",
                        timeouts=Timeouts(connect_s=0.05),
                    )
        finally:
            for filler in fillers:
                filler.close()
    fault = caught.value.fault
    assert (fault.kind, fault.body_sent) == ("timeout", False)
    assert fault.message == f"No connection to 127.0.0.1:{port} within 0.05 s (`connect_s`): it does not answer."


async def test_a_tls_handshake_that_never_ends_is_given_up_after_the_connect_timeout() -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen(5)
        async with transport() as client:
            with pytest.raises(TransportFault, match="connect_s") as caught:
                await client.send(
                    origin_of(f"https://127.0.0.1:{mute.getsockname()[1]}")[0],
                    b"POST / HTTP/1.1\r\n",
                    b"",
                    timeouts=Timeouts(connect_s=0.2),
                )
            assert not client._pools.connections
    assert (caught.value.fault.kind, caught.value.fault.body_sent) == ("timeout", False)


async def test_the_sweep_stops_when_there_is_nothing_to_watch() -> None:
    clock = ManualClock()
    async with Upstream(raw(whole(b"x"))) as upstream, transport(clock=clock) as client:
        await call(client, upstream)
        await until(lambda: next(iter(client._pools.connections)).idle_until > 0)
        clock.advance(3600)
        await until(lambda: client._ticking is None)
        assert client._pools.total == 0
        await call(client, upstream)
        assert client._ticking is not None
