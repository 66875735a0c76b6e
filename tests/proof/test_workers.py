"""Real processes on one node: two workers, and a control process that is killed while calls are running."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
from tests.fakes.served import serving
from tests.fakes.upstream import Upstream
from tests.proof.spending import COST, WORST_TOKENS, Biller, config, storm

MASTER = "sk-master-of-the-workers"


@pytest.mark.timeout(120)
async def test_two_workers_share_exact_limits_and_the_death_of_the_control_process_spends_nothing_twice(
    tmp_path: Path,
) -> None:
    biller = Biller(failing=0)
    async with Upstream(biller.script()) as upstream:
        file = tmp_path / "config.yaml"
        file.write_text(config(upstream, more="server: {workers: 2}"))
        async with serving(tmp_path / "data", "--config", str(file), environ={"WAYPORT_MASTER_KEY": MASTER}) as wayport:
            http = wayport.http
            http.headers["authorization"] = f"Bearer {MASTER}"
            while (await http.get("/key/list")).status_code != 200:
                await asyncio.sleep(0.02)
            limited = (await http.post("/key/generate", json={"rpm_limit": 50})).json()["key"]
            exact = await storm([wayport.url], limited, calls=90, max_tokens=WORST_TOKENS, leaving=0)
            assert (exact.served, exact.refused) == (50, {"rate_limit_exceeded": 40})
            billed = len(biller.billed)
            budget = {"max_budget": 30 * COST / 1e9, "budget_duration": "30d"}
            key = (await http.post("/key/generate", json=budget)).json()["key"]
            running = asyncio.ensure_future(storm([wayport.url], key, calls=40, max_tokens=WORST_TOKENS))
            while len(biller.billed) < billed + 8:
                await asyncio.sleep(0.002)
            os.kill(wayport.children("wayport.control.main")[0], signal.SIGKILL)
            await running
            while (await http.get("/key/list")).status_code != 200:
                await asyncio.sleep(0.02)
            await storm([wayport.url], key, calls=60, max_tokens=WORST_TOKENS)
            spent = sum(biller.billed[billed:])
            assert spent <= 30 * COST
            assert spent >= 0.9 * 30 * COST
