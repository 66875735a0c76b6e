"""A deployment's `max_parallel` holds for all workers of a node and for all nodes together: what its upstream saw at most."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest
from tests.fakes.both_workers import of_both_workers
from tests.fakes.nodes import nodes
from tests.fakes.served import Served
from tests.fakes.upstream import Exchange, Upstream, json_answer
from tests.pipeline.test_attempts_failures import ASK, WHOLE

CONFIG = """
providers: {{up: {{api_base: {url}/v1, api_key: k}}}}
models:
  one: {{model: up/a, max_parallel: {most}}}
  two: {{strategy: least-busy, deployments: [{{model: up/a, max_parallel: {most}}}, up/b]}}
router: {{num_retries: 0, queue: {{wait_s: {wait_s}}}}}
server: {{workers: {workers}, drain_delay_s: 0}}
"""


class Busy:
    """An upstream that works for a while on each call, and counts those that it has at a time."""

    def __init__(self, takes_s: float = 0.02) -> None:
        self.takes_s = takes_s
        self.over = asyncio.Event()
        """nobody works any more"""
        self.now: dict[str, int] = {}
        self.most: dict[str, int] = {}
        self.served: dict[str, int] = {}

    async def __call__(self, exchange: Exchange) -> None:
        model = exchange.received.json()["model"]
        self.now[model] = self.now.get(model, 0) + 1
        self.most[model] = max(self.most.get(model, 0), self.now[model])
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.over.wait(), self.takes_s)
        finally:
            self.now[model] -= 1
            self.served[model] = self.served.get(model, 0) + 1
        await json_answer(WHOLE)(exchange)


@asynccontextmanager
async def gateways(
    directory: Path, busy: Busy, *, most: int, wait_s: float = 0, environ: dict[str, str] | None = None, count: int = 1
) -> AsyncIterator[list[Served]]:
    """One node of two workers, or several of one each."""
    async with Upstream(busy) as upstream:
        config = CONFIG.format(url=upstream.url, most=most, wait_s=wait_s, workers=2 if count == 1 else 1)
        async with nodes(directory, config, environ or {}, count) as found:
            yield found


async def calls(clients: list[httpx.AsyncClient], times: int, model: str = "one") -> list[int]:
    """So many calls at once through each client, and what was answered."""
    body = {**ASK, "model": model}
    asked = (http.post("/v1/chat/completions", json=body, timeout=60) for _ in range(times) for http in clients)
    return [answered.status_code for answered in await asyncio.gather(*asked)]


@pytest.mark.timeout(90)
@pytest.mark.parametrize("most", [1, 2, 7])
async def test_two_workers_together_never_send_more_than_it_takes(tmp_path: Path, most: int) -> None:
    busy = Busy()
    async with gateways(tmp_path, busy, most=most, wait_s=15) as (node,), AsyncExitStack() as stack:
        clients = await of_both_workers(node, stack)
        assert set(await calls(clients, 12)) == {200}
        assert busy.most == {"a": most}


@pytest.mark.timeout(90)
async def test_who_finds_no_slot_takes_another_deployment_or_is_refused(tmp_path: Path) -> None:
    busy = Busy(0.2)
    async with gateways(tmp_path, busy, most=3) as (node,), AsyncExitStack() as stack:
        clients = await of_both_workers(node, stack)
        refused = await calls(clients, 2)
        assert busy.most == {"a": 3}
        assert (refused.count(200), refused.count(429)) == (3, len(refused) - 3)
        assert set(await calls(clients, 2, "two")) == {200}
        assert busy.most["a"] == 3
        assert busy.served["b"] >= 2 * len(clients) - 2 * 3


@pytest.mark.timeout(90)
async def test_what_lies_idle_with_one_worker_is_there_for_the_other(tmp_path: Path) -> None:
    """One worker after the other has them, and nobody has to wait for what is idle."""
    busy = Busy()
    async with gateways(tmp_path, busy, most=4, wait_s=15) as (node,), AsyncExitStack() as stack:
        clients = await of_both_workers(node, stack)
        for http in clients[:6] + clients[-6:]:
            # A client that makes no more calls at a time than it has connections keeps to its worker.
            # Whoever waited for what the other has idle would be refused when it has stood in line for so long.
            async with asyncio.timeout(10):
                for _ in range(4):
                    assert await calls([http], 1) == [200]
        assert busy.most == {"a": 1}
        assert set(await calls(clients, 4)) == {200}
        assert busy.most == {"a": 4}


@pytest.mark.timeout(90)
async def test_slots_of_a_worker_that_is_killed_are_free_at_once(tmp_path: Path) -> None:
    busy = Busy(60)
    async with gateways(tmp_path, busy, most=2) as (node,):
        gone = [asyncio.ensure_future(calls([node.http], 1)) for _ in range(2)]
        async with asyncio.timeout(10):
            while busy.now.get("a") != 2:
                await asyncio.sleep(0.01)
        assert await calls([node.http], 1) == [429]
        for pid in node.children("wayport.server.worker"):
            os.kill(pid, signal.SIGKILL)
        await asyncio.gather(*gone, return_exceptions=True)
        busy.over.set()
        async with asyncio.timeout(20):
            while True:
                try:
                    if await calls([node.http], 1) == [200]:
                        break
                except (httpx.TransportError, AttributeError):
                    # The latter is anyio's word for a connection that was closed as it was opened.
                    pass
                await asyncio.sleep(0.05)


@pytest.mark.timeout(120)
async def test_nodes_together_never_send_more_than_it_takes(
    tmp_path: Path, postgresql: str, shared: dict[str, str]
) -> None:
    busy = Busy(0.05)
    environ = {"DATABASE_URL": postgresql, **shared}
    async with gateways(tmp_path, busy, most=3, wait_s=30, environ=environ, count=2) as found:
        answered = await calls([node.http for node in found], 40)
        assert set(answered) == {200}
        assert busy.most == {"a": 3}


@pytest.mark.timeout(120)
async def test_what_is_in_use_stays_counted_when_the_control_process_is_killed(tmp_path: Path) -> None:
    busy = Busy(60)
    async with gateways(tmp_path, busy, most=2) as (node,), AsyncExitStack() as stack:
        clients = await of_both_workers(node, stack)
        running = asyncio.ensure_future(calls(clients[:2], 1))
        async with asyncio.timeout(10):
            while busy.now.get("a") != 2:
                await asyncio.sleep(0.01)
        for pid in node.children("wayport.control.main"):
            os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(30):
            while (await node.http.get("/health/control")).status_code == 200:
                await asyncio.sleep(0.01)
            await node.until_answers("/health/control")
        assert not running.done()
        # Nobody has told the new one of the calls but the workers that make them.
        assert set(await calls(clients, 2)) == {429}
        assert busy.most == {"a": 2}
        busy.over.set()
        assert await running == [200, 200]


@pytest.mark.timeout(120)
async def test_a_node_whose_line_never_ends_leaves_the_other_its_turns(
    tmp_path: Path, postgresql: str, shared: dict[str, str]
) -> None:
    busy = Busy(0.05)
    environ = {"DATABASE_URL": postgresql, **shared}
    async with gateways(tmp_path, busy, most=1, wait_s=60, environ=environ, count=2) as (one, two):
        many = asyncio.ensure_future(calls([one.http], 90))
        async with asyncio.timeout(20):
            while busy.served.get("a", 0) < 5:
                await asyncio.sleep(0.01)
        assert await calls([two.http], 1) == [200]
        # The others would have taken four seconds and more.
        assert busy.served["a"] < 60
        assert set(await many) == {200}
        assert busy.most == {"a": 1}
