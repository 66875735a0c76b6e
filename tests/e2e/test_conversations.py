"""Kept conversations in the program as a user starts it: what a client has seen the end of survives everything."""

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI
from tests.fakes.served import Served, serving

SAID = "a-sentence-that-nobody-may-read"


def client_of(served: Served) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{served.url}/v1", api_key=served.key, max_retries=0)


async def ask(served: Served, text: str, previous: str | None = None) -> Any:
    more: dict[str, Any] = {"previous_response_id": previous} if previous else {}
    async with client_of(served) as client, client.responses.stream(model="wayport/echo", input=text, **more) as events:
        return await events.get_final_response()


async def kill(served: Served) -> None:
    """All of its processes at once, as when the machine dies."""
    pids = [*served.children("wayport"), served.process.pid]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    await served.process.wait()
    for pid in pids:
        while Path(f"/proc/{pid}/stat").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z":
            await asyncio.sleep(0.01)


async def test_whoever_saw_the_end_of_an_answer_can_go_on_from_it_after_a_crash(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        one = await ask(served, SAID)
        await kill(served)
    async with serving(tmp_path) as served, client_of(served) as client:
        two = await ask(served, "more", one.id)
        assert two.previous_response_id == one.id
        listed = await client.responses.input_items.list(two.id, order="asc")
        assert [item.type for item in listed.data] == ["message", "message", "message"]
        assert SAID in listed.model_dump_json()
        assert (await client.responses.retrieve(one.id)).output_text == SAID
        await client.responses.delete(one.id)
        assert (await served.http.get(f"/v1/responses/{one.id}")).status_code == 401
        assert await served.stop() == 0


async def test_no_file_holds_what_was_said(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        await ask(served, SAID)
        assert await served.stop() == 0
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert any(file.name == "salt_key" for file in files)
    assert [file for file in files if SAID.encode() in file.read_bytes()] == []


async def test_several_workers_share_conversations(tmp_path: Path) -> None:
    async with serving(tmp_path, "--workers", "2") as served:
        previous = await ask(served, "one")
        for text in ("two", "three", "four"):
            # Every call has a connection of its own, and the kernel chooses its worker.
            previous = await ask(served, text, previous.id)
        async with client_of(served) as client:
            listed = await client.responses.input_items.list(previous.id, order="asc", limit=100)
        assert len(json.loads(listed.model_dump_json())["data"]) == 7
