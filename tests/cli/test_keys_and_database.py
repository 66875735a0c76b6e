"""`wayport keys` and `wayport db` against a gateway that really runs: what is made works at once, what is deleted does not."""

import asyncio
import os
import sys
from pathlib import Path

import pytest
from tests.fakes.served import Served, serving

ASK = {"model": "wayport/echo", "messages": [{"role": "user", "content": "hello"}]}

SOURCE = Path(__file__).parents[2] / "src"


async def wayport(*arguments: str, **environ: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "wayport.cli.main",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.defpath, "PYTHONPATH": str(SOURCE), **environ},
    )
    out, error = await process.communicate()
    return process.returncode or 0, out.decode(), error.decode()


async def _ask(served: Served, key: str, model: str = "wayport/echo") -> int:
    headers = {"authorization": f"Bearer {key}"}
    return (await served.http.post("/v1/chat/completions", json=ASK | {"model": model}, headers=headers)).status_code


@pytest.mark.timeout(90)
async def test_keys_are_made_listed_and_deleted(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        environ = {"WAYPORT_URL": served.url, "WAYPORT_API_KEY": served.key}
        # The database is opened while the gateway answers already.
        status = 1
        while status:
            status, out, error = await wayport("keys", "create", "--alias", "ci", "--model", "wayport/*", **environ)
            assert not status or "503" in error, error
        key = out.strip()
        assert key.startswith("sk-")
        assert await _ask(served, key) == 200
        status, out, _ = await wayport("keys", "list", **environ)
        assert (status, "ci" in out, key in out) == (0, True, False)
        # A change reaches the workers at once: blocked, unblocked, deleted.
        master = {"authorization": f"Bearer {served.key}"}
        for path, expected in (("/key/block", 401), ("/key/unblock", 200)):
            answer = await served.http.post(path, json={"key": key}, headers=master)
            assert answer.status_code == 200, answer.text
            assert await _until(served, key, expected) == expected
        status, out, _ = await wayport("keys", "delete", "ci", **environ)
        assert (status, out) == (0, "deleted: 1\n")
        assert await _until(served, key, 401) == 401
        status, _, error = await wayport("keys", "delete", "ci", **environ)
        assert (status, "404" in error) == (1, True)
        # A model of the database is called as soon as it is there.
        params = {"model": "wayport/echo"}
        answer = await served.http.post(
            "/model/new", json={"model_name": "mine", "litellm_params": params}, headers=master
        )
        assert answer.status_code == 200, answer.text
        assert await _until(served, served.key, 200, model="mine") == 200


async def _until(served: Served, key: str, expected: int, *, model: str = "wayport/echo") -> int:
    """The first answer of this status; the last one if it does not come."""
    status = 0
    for _ in range(50):
        status = await _ask(served, key, model)
        if status == expected:
            break
        await asyncio.sleep(0.02)
    return status


@pytest.mark.timeout(60)
async def test_the_database_is_brought_up_to_date_by_hand(tmp_path: Path) -> None:
    for _ in range(2):
        status, out, error = await wayport("db", "upgrade", "--data-dir", str(tmp_path))
        assert (status, error) == (0, "")
        assert "revision" in out
    status, out, _ = await wayport("db", "rotate-salt-key", "--old", "old", "--data-dir", str(tmp_path))
    assert (status, out) == (0, "sealed anew: 0 models, 0 credentials, callbacks of 0 teams\n")
    address = "postgresql://nobody:secret@127.0.0.1:1/none"
    status, _, error = await wayport("db", "upgrade", "--data-dir", str(tmp_path), DATABASE_URL=address)
    assert (status, "secret" in error) == (1, False)
