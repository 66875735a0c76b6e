"""Real processes: deployments are asked in the background, and every worker keeps away from one that does not answer."""

import asyncio
from pathlib import Path

import pytest
from tests.fakes.served import serving
from tests.fakes.upstream import Behaviour, Received, Upstream, by, json_answer
from tests.pipeline.test_attempts_failures import ASK, WHOLE

CONFIG = """
providers: {{up: {{api_base: {url}/v1, api_key: k}}}}
models: {{m: [up/a, up/b]}}
health_checks: {{every_s: 0.2, timeout_s: 5, route: true}}
server: {{workers: 2, drain_delay_s: 0}}
"""


@pytest.mark.timeout(90)
async def test_one_that_stops_answering_is_left_alone_and_comes_back(tmp_path: Path) -> None:
    broken = True

    def script(received: Received) -> Behaviour:
        if broken and received.json()["model"] == "a":
            return json_answer({"error": {"message": "on fire"}}, status=500)
        return json_answer(WHOLE)

    file = tmp_path / "config.yaml"
    async with Upstream(by(script)) as upstream:
        file.write_text(CONFIG.format(url=upstream.url))
        async with serving(tmp_path / "data", "--config", str(file)) as wayport:
            wayport.http.headers["authorization"] = f"Bearer {wayport.key}"

            async def until_healthy(count: int) -> None:
                async with asyncio.timeout(20):
                    while (await wayport.http.get("/health")).json()["healthy_count"] != count:
                        await asyncio.sleep(0.05)

            await until_healthy(1)
            dry = {"x-wayport-dry-run": "true"}
            told = await wayport.http.post("/v1/chat/completions", json=ASK, headers=dry)
            assert "did not answer when last asked: on fire" in told.text
            assert (await wayport.http.post("/v1/chat/completions", json=ASK)).status_code == 200
            broken = False
            await until_healthy(2)
            assert (await wayport.http.post("/v1/chat/completions", json=ASK)).status_code == 200
