"""`wayport spend` and `wayport tail` as typed, against a real gateway."""

import asyncio
import csv
import io
import json
import os
import sys
from pathlib import Path

from tests.fakes.served import Served, serving


async def _run(wayport: Served, *words: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "wayport.cli.main",
        *words,
        env={"PATH": os.defpath, "WAYPORT_URL": wayport.url, "WAYPORT_API_KEY": wayport.key},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), error.decode()


async def test_spend_and_tail(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as wayport:
        await wayport.until_managed()
        watching = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "wayport.cli.main", "tail", "--json", "--url", wayport.url, "--key", wayport.key,
            stdout=asyncio.subprocess.PIPE,
            env={"PATH": os.defpath},
        )  # fmt: skip
        headers = {"authorization": f"Bearer {wayport.key}"}
        while "wayport_tail_watchers 1" not in (await wayport.http.get("/metrics", headers=headers)).text:
            await asyncio.sleep(0.05)
        body = {"model": "wayport/echo", "messages": [{"role": "user", "content": "Hello"}], "tags": ["blue"]}
        assert (await wayport.http.post("/v1/chat/completions", json=body, headers=headers)).status_code == 200
        assert watching.stdout is not None
        seen = json.loads(await watching.stdout.readline())
        assert (seen["model"], seen["tags"]) == ("wayport/echo", ["blue"])
        watching.terminate()
        await watching.wait()
        while not (await wayport.http.get("/v1/spend?by=tag", headers=headers)).json().get("data"):
            await asyncio.sleep(0.05)
        code, out, _ = await _run(wayport, "spend", "--by", "tag", "--since", "7d")
        assert code == 0
        assert [line.split()[:2] for line in out.splitlines()] == [
            ["tag", "calls"],
            ["blue", "1"],
            ["total", "$0.0000"],
        ]
        code, out, _ = await _run(wayport, "spend", "--by", "model", "--csv", "--daily")
        (row,) = csv.DictReader(io.StringIO(out))
        assert (code, row["model"], row["calls"], row["spend_nano_usd"]) == (0, "wayport/echo", "1", "0")
        assert (await _run(wayport, "spend", "--since", "yesterday"))[0] == 2
        code, _, error = await _run(wayport, "spend", "--by", "nobody")
        assert (code, "422" in error) == (1, True)
