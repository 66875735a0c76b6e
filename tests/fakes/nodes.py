"""Several gateways on one PostgreSQL, with Redis and without, each with its own processes and data directory."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from tests.fakes.served import Served, serving

MASTER = "sk-master-of-the-three-nodes"
# The tests' own setting is no setting of Wayport.
REDIS = os.environ.get("WAYPORT_TEST_REDIS_URL", "redis://127.0.0.1:6379/15")  # noqa: TID251


@asynccontextmanager
async def nodes(directory: Path, config: str, environ: dict[str, str], count: int) -> AsyncIterator[list[Served]]:
    """Each answers, and has its database."""
    file = directory / "config.yaml"
    file.write_text(config)
    environ = {"WAYPORT_MASTER_KEY": MASTER, **environ}
    async with AsyncExitStack() as stack:
        found = [
            await stack.enter_async_context(serving(directory / f"n{n}", "--config", str(file), environ=environ))
            for n in range(count)
        ]
        for node in found:
            node.http.headers["authorization"] = f"Bearer {MASTER}"
            async with asyncio.timeout(30):
                while (await node.http.get("/key/list")).status_code != 200:
                    await asyncio.sleep(0.05)
        yield found


async def make_key(node: Served, **fields: object) -> str:
    answer = await node.http.post("/key/generate", json=fields)
    assert answer.status_code == 200, answer.text
    key: str = answer.json()["key"]
    return key


@pytest.fixture(params=["redis", "postgresql"])
def shared(request: pytest.FixtureRequest) -> dict[str, str]:
    return {"REDIS_URL": REDIS} if request.param == "redis" else {}
