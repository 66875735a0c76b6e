"""`wayport serve` as a user starts it: real processes, a real port, its own data directory."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

_SOURCE = str(Path(__file__).parents[2] / "src")
_URL = re.compile(r"on (https?://\S+)")


@dataclass
class Served:
    process: asyncio.subprocess.Process
    url: str
    data_dir: Path
    output: list[str]
    http: httpx.AsyncClient

    @property
    def key(self) -> str:
        return (self.data_dir / "master_key").read_text().strip()

    def children(self, module: str) -> list[int]:
        """Process ids of our children that run `module`."""
        pids = [
            int(pid)
            for task in Path(f"/proc/{self.process.pid}/task").glob("*/children")
            for pid in task.read_text().split()
        ]
        return [pid for pid in pids if module in _command_line(pid)]

    async def until_answers(self, path: str = "/health/liveliness") -> httpx.Response:
        """Until the gateway answers there with a 200; the test's own time limit bounds it."""
        while True:
            try:
                answered = await self.http.get(path)
            except httpx.TransportError:
                await asyncio.sleep(0.01)
                continue
            if answered.status_code == 200:
                return answered
            await asyncio.sleep(0.01)

    async def until_managed(self) -> None:
        """Until the control process answers and has its database; it takes longer to start than the workers."""
        headers = {"authorization": f"Bearer {self.key}"}
        while True:
            try:
                answered = await self.http.get("/health/control", headers=headers)
                if answered.status_code == 200 and answered.json()["database"]["status"] == "connected":
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.02)

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), 30)


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode()
    except (FileNotFoundError, ProcessLookupError):
        # It has ended since it was listed.
        return ""


_SURROUNDINGS = {"PATH": os.defpath, "PYTHONPATH": _SOURCE, "WAYPORT_DRAIN_DELAY_S": "0"}


@asynccontextmanager
async def serving(
    data_dir: Path, *arguments: str, environ: Mapping[str, str] | None = None, cwd: Path | None = None
) -> AsyncIterator[Served]:
    """Starts `wayport serve --port 0 …` and waits for its first line. The environment is empty but for `environ`,
    and no test waits for load balancers when it stops what it has started.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "wayport.cli.main",
        *(arguments if arguments[:1] and not arguments[0].startswith("-") else ("serve", *arguments)),
        "--data-dir",
        str(data_dir),
        *(() if "--port" in arguments else ("--port", "0")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**_SURROUNDINGS, "HOME": str(data_dir), **(environ or {})},
        cwd=cwd,
    )
    output: list[str] = []
    assert process.stdout is not None
    url = ""
    while not url:
        line = (await asyncio.wait_for(process.stdout.readline(), 30)).decode()
        assert line, f"ended before it was ready:\n{''.join(output)}"
        output.append(line)
        if (match := _URL.search(line)) is not None:
            url = match[1]
    reading = asyncio.get_running_loop().create_task(_read(process.stdout, output))
    try:
        async with httpx.AsyncClient(base_url=url, timeout=20, trust_env=False) as http:
            yield Served(process, url, data_dir, output, http)
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 20)
            except TimeoutError:
                process.kill()
                await process.wait()
        await reading


async def _read(stream: asyncio.StreamReader, output: list[str]) -> None:
    while line := await stream.readline():
        output.append(line.decode())
