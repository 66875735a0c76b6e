"""What was spent at a provider is known to every worker, shown to the administrator, and outlives a restart."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest
from tests.fakes.both_workers import of_both_workers
from tests.fakes.served import Served, serving
from tests.fakes.upstream import Upstream, by, json_answer
from tests.pipeline.test_attempts_failures import ASK, WHOLE

CONFIG = """
providers:
  up: {{api_base: {url}/v1, api_key: k, budget: {{max_usd: 3, per: 1mo}}}}
models:
  m: {{model: up/a, prices: {{input: 100000, output: 0}}}}
server: {{workers: 2, drain_delay_s: 0}}
"""
MASTER = "sk-master-of-the-spenders"


@asynccontextmanager
async def node(directory: Path, upstream: Upstream) -> AsyncIterator[Served]:
    file = directory / "config.yaml"
    file.write_text(CONFIG.format(url=upstream.url))
    environ = {"WAYPORT_MASTER_KEY": MASTER}
    async with serving(directory / "data", "--config", str(file), environ=environ) as wayport:
        wayport.http.headers["authorization"] = f"Bearer {MASTER}"
        while (await wayport.http.get("/provider/budgets")).status_code != 200:
            await asyncio.sleep(0.02)
        yield wayport


async def statuses(clients: list[httpx.AsyncClient]) -> set[int]:
    return {(await http.post("/v1/chat/completions", json=ASK)).status_code for http in clients}


@pytest.mark.timeout(90)
async def test_a_providers_budget_holds_over_workers_and_restarts(tmp_path: Path) -> None:
    async with Upstream(by(lambda _: json_answer(WHOLE))) as upstream:
        async with node(tmp_path, upstream) as wayport, AsyncExitStack() as stack:
            clients = await of_both_workers(wayport, stack)
            async with asyncio.timeout(20):
                # Each worker hears of what the other has spent; then both refuse.
                while await statuses(clients) != {429}:
                    pass
            served = len(upstream.requests)
            assert served >= 3
            async with asyncio.timeout(20):
                while (shown := (await wayport.http.get("/provider/budgets")).json()["providers"]["up"])[
                    "spend"
                ] != served:
                    await asyncio.sleep(0.02)
            assert (shown["budget_limit"], shown["time_period"], shown["spend"]) == (3, "1mo", served)
            assert shown["budget_reset_at"] > "2026"
            metrics = (await wayport.http.get("/metrics")).text
            assert f'litellm_provider_remaining_budget_metric{{api_provider="up"}} {max(0, 3 - served)}' in metrics
        async with node(tmp_path, upstream) as wayport, AsyncExitStack() as stack:
            assert await statuses(await of_both_workers(wayport, stack)) == {429}
            assert len(upstream.requests) == served
