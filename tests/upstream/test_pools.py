"""Which connection a request gets: kept, bounded, waited for, expired, sent again when it was dead."""

import asyncio
from pathlib import Path
from random import Random

import pytest
from tests.fakes.manual_clock import ManualClock
from tests.fakes.upstream import (
    Behaviour,
    Exchange,
    Received,
    Upstream,
    answer,
    by,
    close_without_answer,
    cut,
    early,
    head,
    raw,
    reset,
    stall,
    whole,
)
from tests.upstream.calls import LIMIT, SOON, call, fault_of, origin, send, transport

from wayport.core.net import Timeouts, TlsSettings
from wayport.upstream.transport import PoolLimits, Transport, TransportFault, origin_of

pytestmark = pytest.mark.both_loops


def gated(gate: asyncio.Event, body: bytes = b"{}") -> Behaviour:
    return raw(gate, whole(body))


async def connections_of(upstream: Upstream) -> list[int]:
    return [request.connection for request in upstream.requests]


async def test_a_connection_is_used_again_after_a_whole_answer() -> None:
    async with Upstream(answer(b"x")) as upstream, transport() as client:
        first = await send(client, upstream)
        await first.read(LIMIT)
        second = await send(client, upstream)
        await second.read(LIMIT)
        assert (first.reused, second.reused) == (False, True)
        assert await connections_of(upstream) == [1, 1]


async def test_a_connection_is_not_used_again_when_the_upstream_says_so() -> None:
    old = b"HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\nx"
    async with (
        Upstream([answer(b"x", headers={"connection": "close"}), raw(old), answer(b"x")]) as upstream,
        transport() as client,
    ):
        for _ in range(3):
            assert await call(client, upstream) == b"x"
        assert await connections_of(upstream) == [1, 2, 3]


async def test_a_connection_is_not_shared_before_its_answer_is_whole() -> None:
    gate = asyncio.Event()
    slow = raw(head(headers={"content-length": "2"}), b"a", gate, b"b")
    async with Upstream([slow, answer(b"x")]) as upstream, transport() as client:
        first = await send(client, upstream)
        assert await call(client, upstream) == b"x"
        gate.set()
        assert await first.read(LIMIT) == b"ab"
        assert await connections_of(upstream) == [1, 2]


async def test_the_connection_used_last_is_used_first() -> None:
    gates = [asyncio.Event() for _ in range(3)]
    script: list[Behaviour] = [*(gated(gate) for gate in gates), *[answer(b"x")] * 3]
    async with Upstream(script) as upstream, transport() as client:  # type: ignore[arg-type]  # lists are invariant
        calls = [asyncio.ensure_future(call(client, upstream)) for _ in gates]
        await upstream.until(lambda: len(upstream.requests) == 3)
        for number, running in ((0, 0), (2, 2), (1, 1)):
            gates[number].set()
            await calls[running]
        last = upstream.requests[1].connection
        for _ in range(3):
            await call(client, upstream)
        assert (await connections_of(upstream))[3:] == [last] * 3


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("behaviour", [close_without_answer(), reset()])
async def test_a_request_that_died_on_a_reused_connection_is_sent_again_once(behaviour: Behaviour, tls: bool) -> None:
    sent = 0

    def count() -> None:
        nonlocal sent
        sent += 1

    async with Upstream([answer(b"1"), behaviour, answer(b"2")], tls=tls) as upstream, transport() as client:
        assert await call(client, upstream) == b"1"
        again = await send(client, upstream, b'{"n": 2}', on_sent=count)
        assert await again.read(LIMIT) == b"2"
        assert not again.reused
        assert [r.body for r in upstream.requests] == [b"{}", b'{"n": 2}', b'{"n": 2}']
        assert await connections_of(upstream) == [1, 1, 2]
        assert sent == 1


async def test_a_request_is_not_sent_a_third_time() -> None:
    async with (
        Upstream([answer(b"1"), close_without_answer(), close_without_answer()]) as upstream,
        transport() as client,
    ):
        await call(client, upstream)
        fault = await fault_of(client, upstream)
        assert (fault.kind, fault.body_sent, len(upstream.requests)) == ("cut", True, 3)


async def test_a_request_that_died_on_a_new_connection_is_not_sent_again() -> None:
    async with Upstream([close_without_answer()]) as upstream, transport() as client:
        assert (await fault_of(client, upstream)).kind == "cut"
        assert len(upstream.requests) == 1


async def test_a_request_is_not_sent_again_after_a_byte_of_an_answer() -> None:
    async with Upstream([answer(b"1"), cut(whole(b"2"), after=1)]) as upstream, transport() as client:
        await call(client, upstream)
        assert (await fault_of(client, upstream)).kind == "cut"
        assert len(upstream.requests) == 2


async def test_a_request_that_timed_out_on_a_reused_connection_is_not_sent_again() -> None:
    async with Upstream([answer(b"1"), stall()]) as upstream, transport() as client:
        await call(client, upstream)
        fault = await fault_of(client, upstream, timeouts=Timeouts(first_byte_s=0.02))
        assert (fault.kind, len(upstream.requests)) == ("timeout", 2)


async def test_a_fault_on_the_second_try_still_says_that_the_body_was_sent(tmp_path: Path) -> None:
    async def vanish(exchange: Exchange) -> None:
        (tmp_path / "s").unlink()
        exchange.close()

    async with Upstream([answer(b"1"), vanish], unix_path=str(tmp_path / "s")) as upstream, transport() as client:
        await call(client, upstream)
        fault = await fault_of(client, upstream)
        assert (fault.kind, fault.body_sent) == ("connect", True)
        (tmp_path / "s").touch()


@pytest.mark.parametrize("tls", [False, True])
async def test_a_connection_closed_while_idle_is_not_used(tls: bool) -> None:
    async with Upstream(answer(b"x"), tls=tls) as upstream, transport() as client:
        await call(client, upstream)
        upstream.drop_idle()
        await upstream.until(lambda: upstream.open == 0)
        while client._pools.connections:
            await asyncio.sleep(0)
        got = await send(client, upstream)
        assert (got.reused, await got.read(LIMIT)) == (False, b"x")
        assert len(upstream.requests) == 2


@pytest.mark.parametrize(
    "trailing",
    [b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil", b"evil", b"HTTP/1.1 200 OK\r\n", b"H"],
)
async def test_what_comes_behind_an_answer_never_becomes_the_next_answer(trailing: bytes) -> None:
    async with Upstream([raw(whole(b"good") + trailing), answer(b"next")]) as upstream, transport() as client:
        assert await call(client, upstream) == b"good"
        assert await call(client, upstream) == b"next"
        assert await connections_of(upstream) == [1, 2]


async def test_what_comes_unasked_on_an_idle_connection_closes_it() -> None:
    gate = asyncio.Event()
    evil = whole(b"evil")
    async with Upstream([raw(whole(b"good"), gate, evil), answer(b"next")]) as upstream, transport() as client:
        assert await call(client, upstream) == b"good"
        gate.set()
        await upstream.until(lambda: upstream.open == 0)
        assert await call(client, upstream) == b"next"
        assert await connections_of(upstream) == [1, 2]


async def test_an_answer_that_came_before_the_request_had_left_ends_the_connection() -> None:
    refusal = early(raw(whole(b"too large", 413)))
    async with Upstream([refusal, answer(b"x")]) as upstream, transport() as client:
        got = await send(client, upstream, b"x" * (64 * 1024 * 1024))
        assert (got.status, await got.read(LIMIT)) == (413, b"too large")
        assert await call(client, upstream) == b"x"
        assert await connections_of(upstream) == [1, 2]


async def test_connections_per_origin_are_bounded_and_served_in_order() -> None:
    gate = asyncio.Event()
    order: list[int] = []

    async def one(client: Transport, upstream: Upstream, number: int) -> None:
        await call(client, upstream, b"%d" % number)
        order.append(number)

    async with (
        Upstream(gated(gate)) as upstream,
        transport(limits=PoolLimits(per_origin=2)) as client,
    ):
        calls = [asyncio.ensure_future(one(client, upstream, number)) for number in range(8)]
        await upstream.until(lambda: len(upstream.requests) == 2)
        gate.set()
        await asyncio.gather(*calls)
        assert upstream.connections == 2
        assert [r.body for r in upstream.requests] == [b"%d" % n for n in range(8)]


async def test_waiting_for_a_free_connection_ends_with_the_connect_timeout() -> None:
    async with Upstream(stall()) as upstream, transport(limits=PoolLimits(per_origin=1)) as client:
        busy = asyncio.ensure_future(call(client, upstream))
        await upstream.until(lambda: len(upstream.requests) == 1)
        fault = await fault_of(client, upstream, timeouts=Timeouts(connect_s=0.02))
        assert (fault.kind, fault.body_sent) == ("timeout", False)
        assert "all 1 connections that it may have are in use" in fault.message
        assert "connect_s" in fault.message
        busy.cancel()
        await upstream.until(lambda: upstream.open == 0)


async def test_one_who_left_the_queue_does_not_take_a_connection() -> None:
    gate = asyncio.Event()
    async with Upstream(gated(gate)) as upstream, transport(limits=PoolLimits(per_origin=1)) as client:
        first = asyncio.ensure_future(call(client, upstream, b"1"))
        await upstream.until(lambda: len(upstream.requests) == 1)
        leaver = asyncio.ensure_future(call(client, upstream, b"2"))
        last = asyncio.ensure_future(call(client, upstream, b"3"))
        await asyncio.sleep(0)
        leaver.cancel()
        gate.set()
        await asyncio.gather(first, last)
        assert [r.body for r in upstream.requests] == [b"1", b"3"]
        assert upstream.connections == 1


async def test_one_who_leaves_as_his_connection_comes_hands_it_on() -> None:
    gate = asyncio.Event()
    slow = raw(head(headers={"content-length": "1"}), gate, b"x")
    async with Upstream([slow, answer(b"y")]) as upstream, transport(limits=PoolLimits(per_origin=1)) as client:
        first = await send(client, upstream, b"1")
        leaver = asyncio.ensure_future(call(client, upstream, b"2"))
        await asyncio.sleep(0)

        # He goes in the round in which the connection has just been promised to him.
        def leave(_: bytes) -> None:
            asyncio.get_running_loop().call_soon(leaver.cancel)

        ended = first.pump(leave)
        gate.set()
        await ended
        await asyncio.gather(leaver, return_exceptions=True)
        assert leaver.cancelled()
        assert await call(client, upstream, b"3") == b"y"
        assert [(r.connection, r.body) for r in upstream.requests] == [(1, b"1"), (1, b"3")]


async def test_connections_in_total_are_bounded_and_idle_ones_make_room() -> None:
    async with (
        Upstream(answer(b"a")) as one,
        Upstream(answer(b"b")) as two,
        transport(limits=PoolLimits(total=1)) as client,
    ):
        assert await call(client, one) == b"a"
        assert await call(client, two) == b"b"
        assert await call(client, one) == b"a"
        await two.until(lambda: two.open == 0)
        assert (one.open, one.connections, two.connections) == (1, 2, 1)


async def test_the_bound_in_total_makes_others_wait() -> None:
    gate = asyncio.Event()
    async with (
        Upstream(gated(gate)) as one,
        Upstream(answer(b"b")) as two,
        transport(limits=PoolLimits(total=1)) as client,
    ):
        first = asyncio.ensure_future(call(client, one))
        await one.until(lambda: len(one.requests) == 1)
        fault = await fault_of(client, two, timeouts=Timeouts(connect_s=0.02))
        assert "all 1 connections that Wayport may have are in use" in fault.message
        second = asyncio.ensure_future(call(client, two))
        await asyncio.sleep(0)
        gate.set()
        await first
        assert await second == b"b"


async def test_opens_per_second_are_bounded_and_origins_take_turns() -> None:
    clock = ManualClock()
    async with (
        Upstream(stall()) as one,
        Upstream(stall()) as two,
        transport(limits=PoolLimits(opens_per_s=1), clock=clock) as client,
    ):
        calls = [asyncio.ensure_future(fault_of(client, upstream)) for upstream in (one, one, one, two, two)]
        await one.until(lambda: len(one.requests) == 1)
        seen = []
        for turn in range(2, 6):
            assert client._pools.total == turn - 1
            clock.advance(1.0)
            client._pools._refilled()
            while len(one.requests) + len(two.requests) < turn:
                await asyncio.sleep(0)
            seen.append((len(one.requests), len(two.requests)))
        assert seen == [(2, 0), (2, 1), (3, 1), (3, 2)]
        for running in calls:
            running.cancel()
        await asyncio.gather(*calls, return_exceptions=True)


async def test_waiting_for_a_permitted_open_ends_with_the_connect_timeout() -> None:
    clock = ManualClock()
    async with Upstream(stall()) as upstream, transport(limits=PoolLimits(opens_per_s=1), clock=clock) as client:
        busy = asyncio.ensure_future(call(client, upstream))
        await upstream.until(lambda: len(upstream.requests) == 1)
        fault = await fault_of(client, upstream, timeouts=Timeouts(connect_s=0.02))
        assert "more than 1 connections per second" in fault.message
        busy.cancel()
        await asyncio.gather(busy, return_exceptions=True)


async def test_an_idle_connection_expires() -> None:
    clock = ManualClock()
    async with Upstream(answer(b"x")) as upstream, transport(limits=PoolLimits(idle_s=30), clock=clock) as client:
        await call(client, upstream)
        client._pools.expire_idle(clock.steady_s())
        clock.advance(29)
        client._pools.expire_idle(clock.steady_s())
        assert upstream.open == 1
        clock.advance(2)
        await upstream.until(lambda: upstream.open == 0)
        assert client._pools.get(origin(upstream)) is None


async def test_an_idle_connection_expires_before_the_upstream_would_close_it() -> None:
    clock = ManualClock()
    kept = answer(b"x", headers={"Keep-Alive": "timeout=5, max=100"})
    async with Upstream(kept) as upstream, transport(clock=clock) as client:
        await call(client, upstream)
        client._pools.expire_idle(clock.steady_s())
        clock.advance(4.5)
        await upstream.until(lambda: upstream.open == 0)


async def test_origins_do_not_share_connections() -> None:
    async with Upstream(answer(b"x")) as upstream, transport() as client:
        here = origin_of(upstream.url)[0]
        await call(client, upstream, to=here)
        await call(client, upstream, to=origin_of(upstream.url)[0])
        await call(client, upstream, to=origin_of(upstream.url, tls=TlsSettings(verify=False))[0])
        assert upstream.connections == 1
        await call(client, upstream, to=origin_of(upstream.url, proxy="")[0])
        assert upstream.connections == 2


async def test_a_dead_connection_beside_idle_ones_does_not_block_a_full_pool() -> None:
    gates = [asyncio.Event(), asyncio.Event()]
    died = 0

    def choose(request: Received) -> Behaviour:
        nonlocal died
        body = request.body
        if body == b"die":
            died += 1
            return close_without_answer() if died == 1 else answer(b"alive")
        return gated(gates[int(request.body)])

    async with Upstream(by(choose)) as upstream, transport(limits=PoolLimits(per_origin=2)) as client:
        calls = [asyncio.ensure_future(call(client, upstream, b"%d" % n)) for n in range(2)]
        for gate in gates:
            gate.set()
        await asyncio.gather(*calls)
        assert await call(client, upstream, b"die") == b"alive"


async def test_cancelling_a_call_closes_its_connection_at_once() -> None:
    async with Upstream(stall()) as upstream, transport() as client:
        running = asyncio.ensure_future(call(client, upstream))
        await upstream.until(lambda: len(upstream.requests) == 1)
        running.cancel()
        await upstream.until(lambda: upstream.open == 0)
        assert running.cancelled()
        assert not client._pools.connections


async def test_closing_lets_answers_end_within_the_grace() -> None:
    gate = asyncio.Event()
    async with Upstream(gated(gate, b"whole")) as upstream:
        client = transport()
        async with client:
            running = asyncio.ensure_future(call(client, upstream))
            await upstream.until(lambda: len(upstream.requests) == 1)
            closing = asyncio.ensure_future(client.close(grace_s=10))
            await asyncio.sleep(0)
            fault = await fault_of(client, upstream)
            assert (fault.kind, fault.body_sent) == ("connect", False)
            gate.set()
            assert await running == b"whole"
            await closing
        await upstream.until(lambda: upstream.open == 0)


async def test_closing_cuts_what_is_still_running_and_refuses_who_waits() -> None:
    async with Upstream(stall()) as upstream:
        async with transport(limits=PoolLimits(per_origin=1)) as client:
            running = asyncio.ensure_future(fault_of(client, upstream))
            waiting = asyncio.ensure_future(fault_of(client, upstream))
            await upstream.until(lambda: len(upstream.requests) == 1)
        assert (await running).kind == "cut"
        assert (await waiting).kind == "connect"
        await upstream.until(lambda: upstream.open == 0)


async def test_many_calls_at_once_each_get_their_own_answer() -> None:
    async def echo(exchange: Exchange) -> None:
        await exchange.write(whole(exchange.received.body))

    async with Upstream(echo) as upstream, transport(limits=PoolLimits(per_origin=10)) as client:
        where = origin(upstream)

        async def one(number: int) -> None:
            body = b"%d" % number * (number % 50 + 1)
            assert await call(client, upstream, body, to=where, timeouts=SOON) == body

        await asyncio.gather(*(one(number) for number in range(500)))
        assert upstream.connections <= 10


async def test_nothing_leaks_whatever_happens() -> None:
    """Hundreds of calls against an upstream of bad habits, some of them cancelled: every slot comes back."""
    chance = Random(7)
    habits: list[Behaviour] = [
        answer(b"good"),
        answer(b"good", then="close"),
        answer(b"good", headers={"connection": "close"}),
        raw(whole(b"good") + b"rubbish"),
        close_without_answer(),
        reset(),
        cut(whole(b"good"), after=-1),
        raw(b"rubbish\r\n\r\n"),
        stall(),
        stall(head(headers={"content-length": "9"}), b"half"),
    ]
    ends = {"good": 0, "fault": 0, "left": 0}
    limits = PoolLimits(per_origin=8, total=10)
    impatient = Timeouts(connect_s=10, first_byte_s=0.05, idle_s=0.05)

    async def one(client: Transport, upstream: Upstream) -> None:
        try:
            if chance.random() < 0.2:
                async with asyncio.timeout(chance.random() * 0.05):
                    await call(client, upstream, timeouts=impatient)
            else:
                assert await call(client, upstream, timeouts=impatient) == b"good"
            ends["good"] += 1
        except TransportFault:
            ends["fault"] += 1
        except TimeoutError:
            ends["left"] += 1

    async with (
        Upstream(by(lambda _: chance.choice(habits))) as first,
        Upstream(by(lambda _: chance.choice(habits))) as second,
        transport(limits=limits) as client,
    ):
        await asyncio.gather(*(one(client, chance.choice([first, second])) for _ in range(400)))
        pools = client._pools
        idle = [connection for pool in pools._by_origin.values() for connection in pool.idle]
        assert pools.total == len(pools.connections) == len(idle) <= limits.total
        assert not any(pool.tickets or pool.opening for pool in pools._by_origin.values())
        async with asyncio.timeout(10):
            while first.open + second.open != len(idle):
                await asyncio.sleep(0)
        assert min(ends.values()) > 10
