"""What one worker learns of a deployment the others know soon: workers of one node, and nodes that share Redis or
PostgreSQL.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from tests.fakes.both_workers import of_both_workers, vitals
from tests.fakes.served import Served, serving
from tests.fakes.tcp_proxy import TcpProxy
from tests.fakes.upstream import Upstream, by, json_answer
from tests.pipeline.test_attempts_failures import ASK, WHOLE

MASTER = "sk-master-of-those-who-talk"
# The tests' own setting is no setting of Wayport.
REDIS = os.environ.get("WAYPORT_TEST_REDIS_URL", "redis://127.0.0.1:6379/15")  # noqa: TID251
CONFIG = """
providers: {{up: {{api_base: {url}/v1, api_key: k}}}}
models:
  m: [up/a, up/b]
  n: [up/d, up/b]
  many: {{strategy: simple-shuffle, deployments: [up/e, up/f, up/g, up/h]}}
  few: [{{model: up/c, rpm: 3}}]
server: {{workers: {workers}, drain_delay_s: 0}}
"""


def script(received: Any) -> Any:
    """`a` and `d` have had enough for a minute; the others answer."""
    if received.json()["model"] in ("a", "d"):
        return json_answer({"error": {"message": "slow down"}}, status=429, headers={"retry-after": "60"})
    return json_answer(WHOLE)


@asynccontextmanager
async def node(
    directory: Path, upstream: Upstream, *, environ: dict[str, str] | None = None, workers: int = 1
) -> AsyncIterator[Served]:
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "config.yaml"
    file.write_text(CONFIG.format(url=upstream.url, workers=workers))
    environ = {"WAYPORT_MASTER_KEY": MASTER, **(environ or {})}
    async with serving(directory / "data", "--config", str(file), environ=environ) as wayport:
        wayport.http.headers["authorization"] = f"Bearer {MASTER}"
        while (await wayport.http.get("/key/list")).status_code != 200:
            await asyncio.sleep(0.02)
        yield wayport


async def ask(wayport: Served, model: str = "m", **headers: str) -> httpx.Response:
    return await wayport.http.post("/v1/chat/completions", json={**ASK, "model": model}, headers=headers)


async def told(wayport: Served, model: str, words: str) -> bool:
    """Whether a call would be told this; it is not made."""
    return words in (await ask(wayport, model, **{"x-wayport-dry-run": "true"})).text


async def open_breakers(wayport: Served) -> list[int]:
    """How many each worker has."""
    return [len(each["breakers"]) for each in await vitals(wayport)]


async def until(fact: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await fact():
            await asyncio.sleep(0.05)


@pytest.mark.timeout(60)
async def test_workers_of_one_node_know_of_each_others_failures(tmp_path: Path) -> None:
    async with Upstream(by(script)) as upstream, node(tmp_path, upstream, workers=2) as wayport:
        assert (await ask(wayport)).status_code == 200

        async def both_know() -> bool:
            return await open_breakers(wayport) == [1, 1]

        await until(both_know)
        asked = [received.json()["model"] for received in upstream.requests]
        for _ in range(8):
            async with httpx.AsyncClient(base_url=wayport.url, headers=wayport.http.headers, trust_env=False) as http:
                assert (await http.post("/v1/chat/completions", json=ASK)).status_code == 200
        assert [received.json()["model"] for received in upstream.requests] == [*asked, *["b"] * 8]


@pytest.mark.timeout(60)
async def test_a_session_stays_where_it_was_whichever_worker_its_next_turn_comes_to(tmp_path: Path) -> None:
    async with Upstream(by(script)) as upstream, node(tmp_path, upstream, workers=2) as wayport:
        async with AsyncExitStack() as stack:
            clients = await of_both_workers(wayport, stack)

            async def agreed(session: str) -> bool:
                """Whether a turn through each of the clients, and so through both workers, has gone to the same place."""
                places = set()
                for http in clients:
                    headers = {"x-wayport-session-id": session}
                    answered = await http.post("/v1/chat/completions", json={**ASK, "model": "many"}, headers=headers)
                    assert answered.status_code == 200
                    places.add(upstream.requests[-1].json()["model"])
                return len(places) == 1

            # Left to themselves the workers would agree about one session in four.
            for number in range(4):
                await until(partial(agreed, f"s{number}"))


@pytest.mark.timeout(90)
async def test_nodes_know_of_each_others_failures_and_calls_and_do_without_redis(
    tmp_path: Path, postgresql: str
) -> None:
    parts = urlsplit(REDIS)
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(TcpProxy(parts.hostname or "127.0.0.1", parts.port or 6379))
        await proxy.listen()
        environ = {"DATABASE_URL": postgresql, "REDIS_URL": f"redis://127.0.0.1:{proxy.port}{parts.path}"}
        upstream = await stack.enter_async_context(Upstream(by(script)))
        one = await stack.enter_async_context(node(tmp_path / "one", upstream, environ=environ))
        two = await stack.enter_async_context(node(tmp_path / "two", upstream, environ=environ))
        assert (await ask(one)).status_code == 200
        await until(lambda: told(two, "m", "left alone"))
        for _ in range(3):
            assert (await ask(one, "few")).status_code == 200
        await until(lambda: told(two, "few", "rpm: 3 requests"))
        assert (await ask(two, "few")).status_code == 429
        # Nobody hears of what happens now, and everything goes on.
        await proxy.vanish()
        assert [(await ask(each, model)).status_code for each, model in ((one, "n"), (one, "n"), (two, "m"))] == [
            200
        ] * 3
        assert await told(one, "n", "left alone")
        # Who comes again hears of what it has missed.
        await proxy.listen()
        await until(lambda: told(two, "n", "left alone"))
        assert (await ask(two, "n")).status_code == 200
        asked = [received.json()["model"] for received in upstream.requests]
        assert (asked.count("a"), asked.count("d")) == (1, 1)


@pytest.mark.timeout(90)
async def test_nodes_that_share_postgresql_alone_know_of_each_others_failures_and_calls(
    tmp_path: Path, postgresql: str
) -> None:
    environ = {"DATABASE_URL": postgresql}
    async with Upstream(by(script)) as upstream, AsyncExitStack() as stack:
        one, two = [
            await stack.enter_async_context(node(tmp_path / name, upstream, environ=environ)) for name in ("one", "two")
        ]
        assert (await ask(one)).status_code == 200
        await until(lambda: told(two, "m", "left alone"))
        for _ in range(3):
            assert (await ask(one, "few")).status_code == 200
        await until(lambda: told(two, "few", "rpm: 3 requests"))
        assert (await ask(two, "few")).status_code == 429
        # Who comes later hears of what it has missed.
        three = await stack.enter_async_context(node(tmp_path / "three", upstream, environ=environ))
        await until(lambda: told(three, "m", "left alone"))
        assert [(await ask(each)).status_code for each in (two, three)] == [200, 200]
        asked = [received.json()["model"] for received in upstream.requests]
        assert asked.count("a") == 1
