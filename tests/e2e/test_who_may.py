"""Who may, and how much, in whole gateways of several processes: what is said through the management API binds calls."""

import asyncio
from pathlib import Path

from tests.fakes.served import Served, serving
from tests.fakes.upstream import Upstream
from tests.proof.spending import Biller, config

MASTER = {"authorization": "Bearer sk-master-of-who-may"}
ENVIRON = {"WAYPORT_MASTER_KEY": "sk-master-of-who-may"}


async def status(served: Served, headers: dict[str, str], **more: object) -> int:
    body = {"model": "m", "messages": [{"role": "user", "content": "Say something."}], "max_tokens": 400, **more}
    return (await served.http.post("/v1/chat/completions", json=body, headers=headers)).status_code


async def test_limits_of_end_users_and_tags_bind_the_master_key_too(tmp_path: Path) -> None:
    async with Upstream(Biller(failing=0).script()) as upstream:
        file = tmp_path / "config.yaml"
        file.write_text(config(upstream, more="limits: {gateway: {rpd: 1000}}"))
        async with serving(tmp_path / "data", "--config", str(file), environ=ENVIRON) as served:
            http = served.http
            async with asyncio.timeout(20):
                while (await http.get("/key/list", headers=MASTER)).status_code != 200:
                    await asyncio.sleep(0.02)
            assert await status(served, MASTER, user="ann") == 200
            answer = await http.post("/customer/new", json={"user_id": "ann", "rpm_limit": 1}, headers=MASTER)
            assert answer.status_code == 200, answer.text
            answer = await http.post(
                "/tag/new", json={"name": "blue", "blocked": False, "rpd_limit": 1}, headers=MASTER
            )
            assert answer.status_code == 200, answer.text
            for label in ({"user": "ann"}, {"metadata": {"tags": ["blue"]}}):
                async with asyncio.timeout(5):
                    while await status(served, MASTER, **label) == 200:
                        await asyncio.sleep(0.02)
            assert await status(served, MASTER, user="bob") == 200
            binding = (await http.get("/budget/effective", headers=MASTER)).json()["limits"]
            (line,) = (line for line in binding if line["scope"] == "gateway")
            assert (line["kind"], line["limit"]) == ("requests", 1000)
            assert line["used"] + line["leased"] >= 3
