"""Three nodes on one PostgreSQL, with Redis and without; one of them is killed and started again in the middle."""

import asyncio
import signal
from pathlib import Path

import pytest
from sqlalchemy import func, select
from tests.fakes.databases import opened
from tests.fakes.nodes import MASTER, make_key, nodes
from tests.fakes.served import serving
from tests.fakes.upstream import Upstream
from tests.proof.spending import COST, WORST_TOKENS, Biller, Result, config, storm

from wayport.storage.address import read_address
from wayport.storage.tables import budget_spend, calls


async def drained(url: str, directory: Path, *, served: int) -> int:
    """What the database says was spent, once all that was served is in it."""
    async with opened(read_address(url, directory)) as database:
        while True:
            async with database.read() as connection:
                count = (
                    await connection.execute(select(func.count()).select_from(calls).where(calls.c.http_status == 200))
                ).scalar_one()
                spent = (await connection.execute(select(func.sum(budget_spend.c.spend_nano_usd)))).scalar() or 0
            if count >= served:
                return int(spent)
            await asyncio.sleep(0.05)


async def run(directory: Path, url: str, shared: dict[str, str], *, calls: int, affordable: int, kill: bool) -> None:
    biller = Biller(failing=0.05)
    environ = {"DATABASE_URL": url, **shared}
    async with Upstream(biller.script()) as upstream, nodes(directory, config(upstream), environ, 3) as running:
        key = await make_key(running[0], max_budget=affordable * COST / 1e9, budget_duration="30d")
        limited = await make_key(running[1], rpm_limit=60)
        urls = [node.url for node in running]
        waves: list[Result] = []
        if kill:
            first = asyncio.ensure_future(storm(urls, key, calls=calls // 2, max_tokens=WORST_TOKENS))
            while len(biller.billed) < affordable // 3:
                await asyncio.sleep(0.005)
            running[2].process.send_signal(signal.SIGKILL)
            waves.append(await first)
            await running[2].process.wait()
            async with serving(
                directory / "n2", "--config", str(directory / "config.yaml"),
                environ={"WAYPORT_MASTER_KEY": MASTER, **environ},
            ) as again:  # fmt: skip
                again.http.headers["authorization"] = f"Bearer {MASTER}"
                while (await again.http.get("/key/list")).status_code != 200:
                    await asyncio.sleep(0.05)
                urls = [*urls[:2], again.url]
                waves += [await storm(urls, key, calls=calls // 4, max_tokens=WORST_TOKENS, seed=n) for n in (5, 6)]
                waves.append(await storm([urls[2]], key, calls=20, max_tokens=WORST_TOKENS, seed=9))
        else:
            waves += [await storm(urls, key, calls=calls // 2, max_tokens=WORST_TOKENS, seed=n) for n in (3, 4)]
        served = sum(wave.served for wave in waves)
        spent = await drained(url, directory, served=served)
        assert spent <= affordable * COST
        assert sum(biller.billed) <= affordable * COST
        assert spent >= 0.9 * affordable * COST
        assert served + sum(wave.left for wave in waves) >= (0.9 if kill else 0.95) * affordable
        wave = await storm(urls[:2], limited, calls=150, max_tokens=WORST_TOKENS, leaving=0)
        admitted = 150 - wave.refused.get("rate_limit_exceeded", 0)
        assert admitted <= 60


@pytest.mark.timeout(120)
async def test_three_nodes_share_a_budget_and_a_limit(tmp_path: Path, postgresql: str, shared: dict[str, str]) -> None:
    await run(tmp_path, postgresql, shared, calls=120, affordable=40, kill=False)


@pytest.mark.proof
@pytest.mark.timeout(300)
async def test_a_node_that_is_killed_and_started_again_costs_nothing_and_spends_nothing_twice(
    tmp_path: Path, postgresql: str, shared: dict[str, str]
) -> None:
    await run(tmp_path, postgresql, shared, calls=1000, affordable=100, kill=True)
