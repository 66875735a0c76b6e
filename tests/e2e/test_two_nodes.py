"""What is changed through one node's management API holds on the other at once: with Redis, and with PostgreSQL alone.

Workers remember a key for a minute: whatever is seen here within the deadline was told, and not asked for again.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.nodes import MASTER, REDIS, make_key, nodes
from tests.fakes.served import Served
from tests.fakes.upstream import Upstream
from tests.proof.spending import COST, Biller, config

DEADLINE_S = 10.0
"""a second is what docs/limits.md promises; a machine that runs much else may take longer"""


async def asked(node: Served, key: str, **more: object) -> tuple[int, str]:
    """The status, and the code or the text of a refusal."""
    body = {"model": "m", "messages": [{"role": "user", "content": "Say something."}], "max_tokens": 400, **more}
    answer = await node.http.post("/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"})
    error = answer.json().get("error") or {}
    return answer.status_code, f"{error.get('code')}: {error.get('message')}"


async def until(status: int, ask: Callable[[], Awaitable[tuple[int, str]]], says: str = "") -> None:
    last = (0, "")
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not (last[0] == status and says in last[1]):
                last = await ask()
    except TimeoutError:
        pytest.fail(f"still {last}, not {status} {says}")


async def post(node: Served, path: str, body: dict[str, Any], method: str = "POST") -> Any:
    answer = await node.http.request(method, path, json=body)
    assert answer.status_code < 300, (path, answer.text)
    return answer.json()


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "shared",
    [pytest.param({}, id="postgresql"), pytest.param({"REDIS_URL": REDIS}, id="redis", marks=pytest.mark.proof)],
)
async def test_what_one_node_is_told_holds_on_the_other(
    tmp_path: Path, postgresql: str, shared: dict[str, str]
) -> None:
    environ = {"DATABASE_URL": postgresql, "WAYPORT_SALT_KEY": "sk-salt-of-both-nodes", **shared}
    async with (
        Upstream(Biller(failing=0).script()) as upstream,
        nodes(tmp_path, config(upstream), environ, 2) as (a, b),
    ):
        for node in (a, b):
            node.http.headers["authorization"] = f"Bearer {MASTER}"
        await post(a, "/team/new", {"team_id": "blue"})
        await post(a, "/project/new", {"project_id": "p", "team_id": "blue"})
        await post(a, "/user/new", {"user_id": "ann", "auto_create_key": False})
        key = await make_key(a, team_id="blue", project_id="p", user_id="ann")

        async def ask(**more: object) -> tuple[int, str]:
            return await asked(b, key, **more)

        # Node B has never heard of the key: it asks. From now on it remembers.
        assert await ask() == (200, "None: None")
        await post(a, "/key/block", {"key": key})
        await until(401, ask, "key_blocked")
        await post(a, "/key/unblock", {"key": key})
        await until(200, ask)
        await post(a, "/key/update", {"key": key, "models": ["other"]})
        await until(403, ask, "model_not_allowed")
        await post(a, "/key/update", {"key": key, "models": []})
        await until(200, ask)
        await post(a, "/key/update", {"key": key, "max_budget": COST / 1e9, "budget_duration": "30d"})
        await until(429, ask, "budget_exceeded")
        await post(a, "/key/update", {"key": key, "max_budget": None})
        await until(200, ask)
        await post(a, "/key/update", {"key": key, "rpm_limit": 1})
        await until(429, ask, "rate_limit_exceeded")
        await post(a, "/key/update", {"key": key, "rpm_limit": None})
        await until(200, ask)
        # And everyone above it.
        for path, body, back in (
            ("/team/block", {"team_id": "blue"}, "/team/unblock"),
            ("/project/update", {"project_id": "p", "blocked": True}, ""),
            ("/user/update", {"user_id": "ann", "blocked": True}, ""),
        ):
            await post(a, path, body)
            await until(401, ask, "key_blocked")
            await post(a, back or path, body if back else {**body, "blocked": False})
            await until(200, ask)
        for path, name in (("/team/update", "team_id"), ("/project/update", "project_id")):
            body = {name: "blue" if name == "team_id" else "p"}
            await post(a, path, {**body, "models": ["other"]})
            await until(403, ask, "model_not_allowed")
            await post(a, path, {**body, "models": []})
            await until(200, ask)
        # End users, with this key and with the master key.
        await post(a, "/customer/new", {"user_id": "eve", "blocked": True})
        await until(403, lambda: ask(user="eve"), "user_blocked")
        await until(403, lambda: asked(b, MASTER, user="eve"), "user_blocked")
        # A key that the owner replaces is gone, as is one that is deleted.
        again = (await post(a, "/key/regenerate", {"key": key}))["key"]
        await until(401, ask)
        assert (await asked(b, again))[0] == 200
        await post(a, "/key/delete", {"keys": [again]})
        await until(401, lambda: asked(b, again))
        assert (await asked(b, MASTER))[0] == 200
        models = {"model": "openai/up-1", "api_base": f"{upstream.url}/v1", "api_key": "x"}
        made = await post(a, "/model/new", {"model_name": "hot", "litellm_params": models})
        await until(200, lambda: asked(b, MASTER, model="hot"))
        await post(a, "/model/delete", {"id": made["model_id"]})
        await until(404, lambda: asked(b, MASTER, model="hot"))
    assert all(json.loads(request.body)["model"] == "up-1" for request in upstream.requests)
