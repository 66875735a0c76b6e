"""The program as a user starts it: processes, signals, reload, what is printed, what survives."""

import asyncio
import json
import os
import re
import shlex
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.fakes.served import Served, serving
from tests.fakes.upstream import Upstream, by, json_answer

MASTER_KEY = "sk-the-master-key-of-the-environment"
ECHO = {"model": "wayport/echo", "messages": [{"role": "user", "content": "Hello there"}]}
EXAMPLES = Path(__file__).parent.parent / "config" / "examples"


async def ask(served: Served, body: dict[str, Any] = ECHO, key: str | None = None) -> httpx.Response:
    return await served.http.post(
        "/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key or served.key}"}
    )


async def test_it_starts_with_nothing_and_answers(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        key_file = tmp_path / "master_key"
        assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
        # Not a terminal: the key itself is nowhere in what was printed.
        assert served.key not in "".join(served.output)
        answered = (await ask(served)).json()
        assert answered["choices"][0]["message"]["content"] == "Hello there"
        assert (await served.http.post("/v1/chat/completions", json=ECHO)).status_code == 401
        assert await served.stop() == 0


async def test_the_printed_line_answers_when_pasted(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        while not any(line.startswith("Try: ") for line in served.output):
            await asyncio.sleep(0.01)
        line = next(line for line in served.output if line.startswith("Try: "))[5:]
        # What a shell makes of it, whether or not curl is installed here.
        words = shlex.split(re.sub(r"\$\(cat ([^)]+)\)", lambda m: Path(m[1]).read_text().strip(), line))
        headers = dict(words[at + 1].split(": ", 1) for at, word in enumerate(words) if word == "-H")
        body = words[words.index("-d") + 1]
        answered = httpx.post(words[1], headers=headers, content=body, trust_env=False)
        assert answered.json()["choices"][0]["message"]["content"] == "Hello"


async def test_config_without_serve_is_serve_and_reload_takes_a_changed_file_whole_or_not_at_all(
    tmp_path: Path,
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("auth: {master_key: sk-some-long-master-key}\nmodels: {one: wayport/echo}\n")
    key = "sk-some-long-master-key"
    async with serving(tmp_path / "data", "--config", str(config)) as served:

        async def names() -> list[str]:
            listed = await served.http.get("/v1/models", headers={"authorization": f"Bearer {key}"})
            return [entry["id"] for entry in listed.json()["data"]]

        assert await names() == ["one"]
        config.write_text(
            "auth: {master_key: sk-some-long-master-key}\nmodels: {one: wayport/echo, two: wayport/echo}\n"
        )
        while await names() != ["one", "two"]:
            await asyncio.sleep(0.05)
        config.write_text("auth: {master_key: sk-some-long-master-key}\nmodles: {}\n")
        served.process.send_signal(signal.SIGHUP)
        while not any("modles" in line for line in served.output):
            await asyncio.sleep(0.05)
        assert await names() == ["one", "two"]


async def test_the_death_of_the_control_process_stops_no_traffic(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        while not (before := served.children("wayport.control.main")):
            await asyncio.sleep(0.01)
        os.kill(before[0], signal.SIGKILL)
        assert (await ask(served)).status_code == 200
        while served.children("wayport.control.main") in ([], before):
            await asyncio.sleep(0.01)
        assert (await ask(served)).status_code == 200


async def test_what_is_ready_can_be_managed(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        await served.until_answers("/health/readiness")
        made = await served.http.post("/key/generate", json={}, headers={"authorization": f"Bearer {served.key}"})
        assert made.status_code == 200, made.text
        assert (await ask(served, key=made.json()["key"])).status_code == 200


async def test_models_of_the_database_are_there_as_soon_as_it_is_ready_again(tmp_path: Path) -> None:
    new = {"model_name": "stored", "litellm_params": {"model": "wayport/echo"}}
    async with serving(tmp_path) as served:
        headers = {"authorization": f"Bearer {served.key}"}
        made = await served.http.post("/model/new", json=new, headers=headers)
        assert made.status_code == 200, made.text
    async with serving(tmp_path) as served:
        await served.until_answers("/health/readiness")
        answered, listed = await asyncio.gather(
            ask(served, {**ECHO, "model": "stored"}), served.http.get("/v1/models", headers=headers)
        )
        assert answered.status_code == 200, answered.text
        assert "stored" in [entry["id"] for entry in listed.json()["data"]]
        assert (await ask(served, {**ECHO, "model": "nobody-knows"})).status_code == 404


async def test_without_a_database_nobody_waits_for_its_models(tmp_path: Path) -> None:
    environ = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none"}
    async with serving(tmp_path, environ=environ) as served:
        async with asyncio.timeout(8):
            assert (await ask(served, {**ECHO, "model": "nobody-knows"})).status_code == 404
            assert (await ask(served)).status_code == 200


async def test_a_worker_that_dies_is_started_again_and_what_it_answered_is_in_the_database(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        calls = [(await ask(served)).headers["x-wayport-call-id"] for _ in range(5)]
        before = served.children("wayport.server.worker")
        os.kill(before[0], signal.SIGKILL)
        while served.children("wayport.server.worker") in ([], before):
            await asyncio.sleep(0.01)
        await served.until_answers()
        calls.append((await ask(served)).headers["x-wayport-call-id"])
        assert await served.stop() == 0
    with sqlite3.connect(tmp_path / "wayport.db") as database:
        rows = [row[0] for row in database.execute("select call_id from wayport_calls order by call_id")]
    database.close()
    assert rows == sorted(calls)


async def test_workers_share_the_port_and_a_key_made_by_one_works_at_all(tmp_path: Path) -> None:
    async with serving(tmp_path, "--workers", "2") as served:
        while len(served.children("wayport.server.worker")) < 2:
            await asyncio.sleep(0.01)
        while (await served.http.get("/health/readiness")).json()["db"] != "connected":
            await asyncio.sleep(0.01)
        made = await served.http.post(
            "/key/generate", json={"key_alias": "ci"}, headers={"authorization": f"Bearer {served.key}"}
        )
        assert made.status_code == 200, made.text
        key = made.json()["key"]
        # Each request on a connection of its own, so that the kernel spreads them.
        for _ in range(20):
            async with httpx.AsyncClient(trust_env=False) as fresh:
                answered = await fresh.post(
                    f"{served.url}/v1/chat/completions", json=ECHO, headers={"authorization": f"Bearer {key}"}
                )
            assert answered.status_code == 200


async def test_a_running_answer_is_given_its_time_when_told_to_stop(tmp_path: Path) -> None:
    gate = asyncio.Event()
    asked = asyncio.Event()

    async def slowly(exchange: Any) -> None:
        asked.set()
        await gate.wait()
        await json_answer({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}})(exchange)

    config = tmp_path / "config.yaml"
    async with Upstream(by(lambda _: slowly)) as upstream:
        config.write_text(
            f"auth: {{master_key: sk-some-long-master-key}}\nserver: {{drain_delay_s: 0}}\n"
            f"providers: {{up: {{api_base: {upstream.url}/v1, api_key: k}}}}\nmodels: {{m: up/x}}\n"
        )
        async with serving(tmp_path / "data", "--config", str(config)) as served:
            answering = asyncio.get_running_loop().create_task(
                ask(served, {**ECHO, "model": "m"}, "sk-some-long-master-key")
            )
            await asyncio.wait_for(asked.wait(), 10)
            served.process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0)
            gate.set()
            assert (await answering).status_code == 200
            assert await asyncio.wait_for(served.process.wait(), 20) == 0


def wayport(*arguments: str, environ: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "wayport.cli.main", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={"PATH": os.defpath, **(environ or {})},
    )


async def test_a_second_gateway_on_the_port_is_refused_with_a_sentence(tmp_path: Path) -> None:
    async with serving(tmp_path / "one") as served:
        port = served.url.rsplit(":", 1)[1]
        second = await asyncio.to_thread(wayport, "serve", "--port", port, "--data-dir", str(tmp_path / "two"))
        assert second.returncode == 2
        assert f"cannot listen on 127.0.0.1:{port}" in second.stderr


def test_a_host_config_that_is_not_enabled_says_so_and_ends_well(tmp_path: Path) -> None:
    config = tmp_path / "config.yml"
    config.write_text("litellm:\n  enabled: false\nother_tool: {}\n")
    ended = wayport("--config", str(config), "--data-dir", str(tmp_path / "data"))
    assert (ended.returncode, ended.stdout) == (0, "not enabled\n")


def test_a_wrong_configuration_names_file_line_and_the_right_spelling(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("models: {}\nrouter:\n  num_retrys: 2\n")
    ended = wayport("serve", "--config", str(config), "--data-dir", str(tmp_path / "data"))
    assert ended.returncode == 2
    assert f"{config}:3" in ended.stderr
    assert "num_retries" in ended.stderr


def test_a_weak_master_key_is_refused_beyond_loopback(tmp_path: Path) -> None:
    ended = wayport(
        "serve", "--host", "0.0.0.0", "--data-dir", str(tmp_path), environ={"WAYPORT_MASTER_KEY": "sk-1234"}
    )
    assert ended.returncode == 2
    assert "allow_weak_master_key" in ended.stderr


def test_version_and_help() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", wayport("version").stdout)
    assert "serve" in wayport("--help").stdout


# -------------------------------------------------------------------------------------- configurations people bring
CHAT = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "up",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
}  # fmt: skip
MESSAGE = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "c", "content": [{"type": "text", "text": "Hi"}],
    "stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 3, "output_tokens": 1},
}  # fmt: skip
CONTENT = {
    "candidates": [{"content": {"role": "model", "parts": [{"text": "Hi"}]}, "finishReason": "STOP", "index": 0}],
    "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 1, "totalTokenCount": 4}, "modelVersion": "g",
}  # fmt: skip


def any_provider(received: Any) -> Any:
    if "generateContent" in received.path:
        return json_answer(CONTENT)
    return json_answer(MESSAGE if received.path.endswith("/messages") else CHAT)


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.y*ml")), ids=lambda path: path.stem)
async def test_every_configuration_people_bring_starts_unmodified_and_answers(file: Path, tmp_path: Path) -> None:
    async with Upstream(by(any_provider)) as upstream:
        moved = {
            f"{name}_API_BASE": f"{upstream.url}{path}"
            for name, path in (
                ("OPENAI", "/v1"), ("ANTHROPIC", ""), ("GEMINI", "/v1beta"), ("MISTRAL", "/v1"), ("GWDG_SAIA", "/v1"),
            )
        }  # fmt: skip
        keys = {
            f"{name}_API_KEY": "k"
            for name in ("OPENAI", "ANTHROPIC", "GEMINI", "GOOGLE", "MISTRAL", "GWDG", "REPLICATE", "API_KEY_ENV_VAR")
        }
        arguments = ("--config", str(file), "--host", "127.0.0.1")
        master = {name: MASTER_KEY for name in ("LITELLM_MASTER_KEY", "GATEWAY_KEY") if name in file.read_text()}
        async with serving(tmp_path / "data", *arguments, environ={**moved, **keys, **master}) as served:
            written = re.search(r"master_key: (sk-\S+)", file.read_text())
            key = MASTER_KEY if master else written[1] if written else None
            headers = {"authorization": f"Bearer {key}"} if key else {}
            info = (await served.http.get("/model/info", headers=headers)).json()["data"]
            assert info
            served_well = []
            for entry in info:
                if entry["litellm_params"].get("api_base", "").startswith(upstream.url):
                    body = {**ECHO, "model": entry["model_name"]}
                    answered = await served.http.post("/v1/chat/completions", json=body, headers=headers)
                    assert answered.json()["choices"][0]["message"]["content"] == "Hi", (entry, answered.text)
                    served_well.append(entry["model_name"])
            assert served_well, json.dumps(info)[:2000]
            assert await served.stop() == 0
