"""A real gateway: what calls leave behind in metrics, live tail, callbacks and health, as a user sees it."""

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from tests.fakes.receiver import receiver
from tests.fakes.served import Served, serving

CONFIG = """
models:
  echo: {{deployments: [{{model: wayport/echo}}]}}
callbacks:
  - {{name: webhook, params: {{url: "{hook}/calls", secret: shared-secret}}}}
  - {{name: file, on: [failure], params: {{path: failures.jsonl}}}}
  - langfuse
"""


async def _ask(wayport: Served, text: str = "Hello", *, key: str | None = None, **more: object) -> int:
    body = {"model": "wayport/echo", "messages": [{"role": "user", "content": text}], **more}
    headers = {"authorization": f"Bearer {key or wayport.key}"}
    return (await wayport.http.post("/v1/chat/completions", json=body, headers=headers)).status_code


async def test_a_call_is_told_to_everybody_who_wants_to_know(tmp_path: Path) -> None:
    async with receiver() as hook:
        config = tmp_path / "config.yaml"
        config.write_text(CONFIG.format(hook=hook.url))
        async with serving(tmp_path / "data", "--config", str(config)) as wayport:
            headers = {"authorization": f"Bearer {wayport.key}"}
            await wayport.until_managed()
            async with wayport.http.stream("GET", "/v1/calls/stream", headers=headers) as tail:
                lines = tail.aiter_lines()
                assert await anext(lines) == ": watching"
                assert await _ask(wayport, user="customer-1", tags=["blue"]) == 200
                (line,) = [line async for line in _data(lines, 1)]
                seen = json.loads(line)
            assert (seen["model"], seen["status"], seen["tags"]) == ("wayport/echo", "success", ["blue"])
            await hook.until(1)
            (payload,) = hook.requests[0].json
            assert payload["litellm_call_id"] == seen["call_id"]
            assert (payload["end_user"], payload["request_tags"]) == ("customer-1", ["blue"])
            assert hook.requests[0].headers["x-wayport-signature"].startswith("sha256=")
            assert (await wayport.http.get("/metrics")).status_code == 401
            text = (await wayport.http.get("/metrics", headers=headers)).text
            families = {family.name: family for family in text_string_to_metric_families(text)}
            (sample,) = families["litellm_proxy_total_requests_metric"].samples
            assert (sample.value, sample.labels["requested_model"]) == (1.0, "wayport/echo")
            assert families["wayport_calls_in_flight"].samples
            # A worker tells once a second how it is doing.
            while 'wayport_journaled_total{worker="0"} 1' not in text:
                await asyncio.sleep(0.02)
                text = (await wayport.http.get("/metrics", headers=headers)).text
            details = (await wayport.http.get("/health/readiness/details", headers=headers)).json()
            states = {state["name"]: state["status"] for state in details["callbacks"]}
            assert states == {"webhook": "healthy", "file": "healthy", "langfuse": "off"}
        assert sum("a callback is off" in line for line in wayport.output) == 1


async def test_a_dead_callback_fails_no_call_and_is_told_after_a_restart(tmp_path: Path) -> None:
    async with receiver() as hook:
        hook.answers = [(503, b"")] * 100
        config = tmp_path / "config.yaml"
        config.write_text(CONFIG.format(hook=hook.url))
        async with serving(tmp_path / "data", "--config", str(config)) as wayport:
            for _ in range(5):
                assert await _ask(wayport) == 200
            await hook.until(1)
        hook.answers = []
        before = len(hook.requests)
        async with serving(tmp_path / "data", "--config", str(config)) as wayport:
            await hook.until(before + 1)
        told = {payload["litellm_call_id"] for request in hook.requests[before:] for payload in request.json}
        assert len(told) == 5


async def test_teams_have_callbacks_of_their_own_or_none_at_all(tmp_path: Path) -> None:
    secret = "sk-lf-secret-0123456789"
    async with receiver() as everybody, receiver() as blue:
        config = tmp_path / "config.yaml"
        config.write_text(CONFIG.format(hook=everybody.url))
        arguments = (tmp_path / "data", "--config", str(config))
        async with serving(*arguments) as wayport:
            await wayport.until_managed()

            async def manage(path: str, body: object = None) -> Any:
                headers = {"authorization": f"Bearer {wayport.key}"}
                answer = await wayport.http.post(path, json=body, headers=headers)
                assert answer.status_code == 200, answer.text
                return answer.json()

            keys = {}
            for team in ("blue", "silent"):
                await manage("/team/new", {"team_id": team})
                keys[team] = (await manage("/key/generate", {"team_id": team}))["key"]
            given = {"langfuse_public_key": "pk", "langfuse_secret_key": secret, "langfuse_host": blue.url}
            await manage("/team/blue/callback", {"callback_name": "langfuse", "callback_vars": given})
            await manage("/team/silent/disable_logging")
            for team in ("silent", "blue"):
                assert await _ask(wayport, key=keys[team]) == 200
            await blue.until(1)
            await everybody.until(1)
            details = await wayport.http.get(
                "/health/readiness/details", headers={"authorization": f"Bearer {wayport.key}"}
            )
            (state,) = [each for each in details.json()["callbacks"] if each["team_id"] == "blue"]
            assert (state["name"], state["status"]) == ("langfuse", "healthy")
            text = (await wayport.http.get("/metrics", headers={"authorization": f"Bearer {wayport.key}"})).text
            assert 'wayport_callback_up{callback="langfuse",team="blue"} 1' in text
        # Both hold after a restart.
        async with serving(*arguments) as wayport:
            await wayport.until_managed()
            for team in ("silent", "blue"):
                assert await _ask(wayport, key=keys[team]) == 200
            await blue.until(2)
            while len(told := [payload for request in everybody.requests for payload in request.json]) < 2:
                await everybody.until(len(everybody.requests) + 1)
            assert {payload["metadata"]["user_api_key_team_id"] for payload in told} == {"blue"}
            headers = {"authorization": f"Bearer {wayport.key}"}
            # The journal and the metrics have them all the same.
            while len(logged := (await wayport.http.get("/spend/logs", headers=headers)).json()) < 4:
                await asyncio.sleep(0.05)
            assert {line["team_id"] for line in logged} == {"blue", "silent"}
        assert {request.headers["authorization"] for request in blue.requests} == {
            f"Basic {b64encode(f'pk:{secret}'.encode()).decode()}"
        }
        assert len({event["id"] for request in blue.requests for event in request.json["batch"]}) == 4
        kept = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
        assert kept
        assert not [path for path in kept if secret.encode() in path.read_bytes()]


async def test_what_one_node_is_told_of_teams_the_others_know(tmp_path: Path, postgresql: str) -> None:
    environ = {"DATABASE_URL": postgresql, "WAYPORT_MASTER_KEY": "sk-master", "WAYPORT_SALT_KEY": "salt"}
    headers = {"authorization": "Bearer sk-master"}
    async with (
        receiver() as blue,
        serving(tmp_path / "a", environ=environ) as first,
        serving(tmp_path / "b", environ=environ) as second,
    ):
        for wayport in (first, second):
            while (await wayport.http.get("/health/control", headers=headers)).status_code != 200:
                await asyncio.sleep(0.02)
        await first.http.post("/team/new", json={"team_id": "blue"}, headers=headers)
        key = (await first.http.post("/key/generate", json={"team_id": "blue"}, headers=headers)).json()["key"]
        given = {"langfuse_public_key": "pk", "langfuse_secret_key": "sk", "langfuse_host": blue.url}
        body = {"callback_name": "langfuse", "callback_vars": given}
        added = await first.http.post("/team/blue/callback", json=body, headers=headers)
        assert added.status_code == 200
        async with asyncio.timeout(20):
            while not (await second.http.get("/team/blue/callback", headers=headers)).json()["data"]["states"]:
                await asyncio.sleep(0.05)
        assert await _ask(second, key=key) == 200
        await blue.until(1)


async def _data(lines: AsyncIterator[str], count: int) -> AsyncIterator[str]:
    seen = 0
    async for line in lines:
        if line.startswith("data: "):
            yield line.removeprefix("data: ")
            seen += 1
            if seen == count:
                return


async def test_watchers_come_and_go(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as wayport:
        headers = {"authorization": f"Bearer {wayport.key}"}
        await wayport.until_managed()
        async with wayport.http.stream("GET", "/v1/calls/stream?status=failed", headers=headers) as tail:
            lines = tail.aiter_lines()
            await anext(lines)
            assert await _ask(wayport) == 200
            assert await _ask(wayport, messages=7) == 400
            (line,) = [json.loads(line) async for line in _data(lines, 1)]
            assert line["status"] == "failure"
        async with asyncio.timeout(15):
            while True:
                text = (await wayport.http.get("/metrics", headers=headers)).text
                if "wayport_tail_watchers 0" in text:
                    break
                await asyncio.sleep(0.05)
