"""What a call leaves in memory when it is over: nothing. With bodies of megabytes a collector that comes late is a leak."""

import asyncio
import gc
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence

import pytest
from tests.fakes.gateway import Gateway, gateway
from tests.fakes.upstream import Behaviour, Upstream, json_answer, reset, sse, stall
from tests.pipeline.test_chat import ASK, OPENING, STREAM, WHOLE, chunk, openai_at

from wayport.pipeline.call import Call

_BUSY = json_answer({"error": {"message": "busy"}}, status=503, headers={"retry-after": "0"})
_WRONG = json_answer({"error": {"message": "no"}}, status=400)


async def _whole(wayport: Gateway) -> None:
    assert (await wayport.ask(ASK)).status_code == 200


async def _streamed(wayport: Gateway) -> None:
    assert (await wayport.ask({**ASK, "stream": True})).status_code == 200


async def _failed_stream(wayport: Gateway) -> None:
    assert (await wayport.ask({**ASK, "stream": True})).status_code >= 400


async def _failed(wayport: Gateway) -> None:
    assert (await wayport.ask(ASK)).status_code >= 400


async def _unknown_key(wayport: Gateway) -> None:
    answered = await wayport.ask(ASK, headers={"authorization": "Bearer sk-nobody"})
    assert answered.status_code == 401


async def _gone(wayport: Gateway) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", wayport.port)
    body = json.dumps(ASK).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %b\r\ncontent-length: %d\r\n\r\n"
    writer.write(head % ((wayport.key or "").encode(), len(body)) + body)
    async with asyncio.timeout(5):
        while not wayport.worker.load.calls:
            await asyncio.sleep(0)
    writer.transport.abort()
    async with asyncio.timeout(5):
        while wayport.worker.load.connections:
            await asyncio.sleep(0)


@pytest.fixture
def uncollected() -> Iterator[Callable[[], int]]:
    """How many calls are in memory, with no collector at work."""
    gc.collect()
    gc.disable()
    try:
        yield lambda: sum(isinstance(each, Call) for each in gc.get_objects())
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("ask", "script"),
    [
        pytest.param(_whole, [json_answer(WHOLE)], id="whole"),
        pytest.param(_streamed, [sse(*STREAM)], id="streamed"),
        pytest.param(_streamed, [sse(OPENING, chunk({"content": "a"}), end=False, then="reset")], id="cut"),
        pytest.param(_failed_stream, [sse(OPENING, b'data: {"error": {"message": "x"}}\n\n')] * 3, id="bad stream"),
        pytest.param(_whole, [_BUSY, json_answer(WHOLE)], id="retried"),
        pytest.param(_whole, [reset(), reset(), json_answer(WHOLE)], id="retried after a reset"),
        pytest.param(_failed, [_BUSY, _BUSY, _BUSY], id="given up"),
        pytest.param(_failed, [_WRONG], id="refused by the upstream"),
        pytest.param(_unknown_key, [], id="unknown key"),
        pytest.param(_gone, [stall()], id="client gone"),
    ],
)  # fmt: skip
async def test_a_call_that_is_over_is_gone_from_memory_without_a_collector(
    ask: Callable[[Gateway], Awaitable[None]], script: Sequence[Behaviour], uncollected: Callable[[], int]
) -> None:
    async with Upstream(list(script)) as upstream:
        async with gateway(openai_at(upstream).replace("num_retries: 0", "num_retries: 2")) as wayport:
            await ask(wayport)
            await wayport.until_idle()
            await asyncio.sleep(0)
            assert uncollected() == 0
