"""The end of a graceful stop: what becomes of calls that are still running when their time is over."""

import asyncio

import pytest
from tests.fakes.gateway import Gateway, gateway
from tests.fakes.upstream import Upstream, sse, stall
from tests.pipeline.test_chat import ASK, STREAM, events, only, openai_at


async def stop(wayport: Gateway) -> None:
    def cut() -> None:
        for connection in list(wayport.worker.load.connections):
            if connection.exchange is not None and connection.exchange.task is not None:
                connection.exchange.task.cancel("draining")

    await wayport.listening.stop(drain_delay_s=0, grace_s=0, cut=cut)


async def test_a_stream_that_outlasts_the_grace_ends_with_an_error_event() -> None:
    reached, never = asyncio.Event(), asyncio.Event()
    async with Upstream([sse(*STREAM[:2], reached.set, never)]) as upstream, gateway(openai_at(upstream)) as wayport:
        asking = asyncio.ensure_future(wayport.ask({**ASK, "stream": True}))
        await reached.wait()
        while not any(c.exchange is not None and c.exchange.started for c in wayport.worker.load.connections):
            await asyncio.sleep(0)
        await stop(wayport)
        told = events((await asking).text)
        assert told[-1]["error"]["code"] == "shutting_down"
        record = only(wayport)
        assert (record.status, record.error_class, record.usage_source) == ("cut", "Unavailable", "estimated")


@pytest.mark.parametrize("stream", [True, False])
async def test_a_call_without_an_answer_yet_is_told_to_come_again(stream: bool) -> None:
    async with Upstream([stall()]) as upstream, gateway(openai_at(upstream)) as wayport:
        asking = asyncio.ensure_future(wayport.ask({**ASK, "stream": stream}))
        await upstream.until(lambda: len(upstream.requests) == 1)
        await stop(wayport)
        answered = await asking
        assert (answered.status_code, answered.headers["retry-after"]) == (503, "1")
        assert only(wayport).status == "failure"
