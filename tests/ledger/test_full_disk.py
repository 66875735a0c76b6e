"""A disk without room: calls go on, an alarm is raised, the loss is counted and stated; with room again all is as before."""

import asyncio
import os
import resource
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.fakes.databases import opened
from tests.fakes.receiver import Receiver, receiver
from tests.fakes.served import Served, serving

from wayport.storage.address import read_address
from wayport.storage.tables import calls

ASK = {"model": "echo", "messages": [{"role": "user", "content": "Hello"}]}
CONFIG = """
models:
  echo: {{deployments: [{{model: wayport/echo, prices: {{input: 1000000, output: 1000000}}}}]}}
alerts: {{targets: [{{kind: webhook, url: "{hook}/alerts"}}]}}
server: {{drain_delay_s: 0, grace_s: 1}}
"""


class Gateway:
    """A running gateway on a small disk, what was asked of it and what it says of that."""

    def __init__(self, wayport: Served, hook: Receiver) -> None:
        self._wayport = wayport
        self._hook = hook
        self._headers = {"authorization": f"Bearer {wayport.key}"}
        self.asked = 0
        self.cost_usd = 0.0
        """of each call: all are alike"""

    async def ask(self, count: int) -> None:
        """Calls, all of which succeed."""
        for _ in range(count):
            answer = await self._wayport.http.post("/v1/chat/completions", json=ASK, headers=self._headers)
            assert answer.status_code == 200
            self.cost_usd = float(answer.headers["x-wayport-cost-usd"])
        self.asked += count

    async def metrics(self) -> dict[str, float]:
        text = (await self._wayport.http.get("/metrics", headers=self._headers)).text
        samples = [line for line in text.splitlines() if line.startswith("wayport_")]
        return {line.split("{")[0].split(" ")[0]: float(line.rsplit(" ", 1)[1]) for line in samples}

    async def until_accounted(self) -> tuple[int, int]:
        """Until the worker has told of every call. Returns how many were kept and how many lost."""
        async with asyncio.timeout(20):
            while True:
                told = await self.metrics()
                # Absent until the worker has told of itself for the first time.
                kept, lost = told.get("wayport_journaled_total", 0), told.get("wayport_lost_records_total", 0)
                if kept + lost == self.asked:
                    assert told["wayport_lost_usd_total"] == pytest.approx(lost * self.cost_usd)
                    return int(kept), int(lost)
                await asyncio.sleep(0.05)

    async def until_alarmed(self) -> None:
        async with asyncio.timeout(20):
            while not [each for each in self._hook.requests if each.json["event"] == "journal"]:
                await asyncio.sleep(0.05)
        (told, *_) = [each.json for each in self._hook.requests if each.json["event"] == "journal"]
        assert "could not be journaled" in told["message"]
        assert any("calls are not journaled" in line for line in self._wayport.output)

    async def until_drained(self, kept: int) -> None:
        async with asyncio.timeout(60):
            while (await self.metrics()).get("wayport_journal_records_total") != kept:
                await asyncio.sleep(0.05)


@asynccontextmanager
async def _gateway(tmp_path: Path, data_dir: Path) -> AsyncIterator[tuple[Served, Gateway]]:
    async with receiver() as hook:
        config = tmp_path / "config.yaml"
        config.write_text(CONFIG.format(hook=hook.url))
        async with serving(data_dir, "--config", str(config)) as wayport:
            await wayport.until_managed()
            yield wayport, Gateway(wayport, hook)


async def _in_database(data_dir: Path) -> int:
    async with opened(read_address(None, data_dir)) as database, database.read() as connection:
        return await connection.scalar(sa.select(sa.func.count()).select_from(calls)) or 0


async def test_a_worker_that_may_write_no_more_answers_on_and_says_what_is_lost(tmp_path: Path) -> None:
    """No file of the worker may grow: what a full disk is to it, without the right to mount one."""
    data_dir = tmp_path / "data"
    async with _gateway(tmp_path, data_dir) as (wayport, gateway):
        (worker,) = wayport.children("server.worker")
        _, hard = resource.prlimit(worker, resource.RLIMIT_FSIZE)
        await gateway.ask(10)
        assert await gateway.until_accounted() == (10, 0)
        resource.prlimit(worker, resource.RLIMIT_FSIZE, (0, hard))
        async with asyncio.timeout(20):
            # What blocks it has it still fills.
            while not (await gateway.until_accounted())[1]:
                await gateway.ask(50)
        kept, lost = await gateway.until_accounted()
        await gateway.ask(10)
        assert await gateway.until_accounted() == (kept, lost + 10)
        await gateway.until_alarmed()
        resource.prlimit(worker, resource.RLIMIT_FSIZE, (hard, hard))
        async with asyncio.timeout(20):
            # It looks for room once a second.
            while (await gateway.until_accounted())[0] == kept:
                await gateway.ask(1)
        await gateway.ask(10)
        kept, lost = await gateway.until_accounted()
        await gateway.until_drained(kept)
    assert await _in_database(data_dir) == kept == gateway.asked - lost


@contextmanager
def _small_disk(at: Path) -> Iterator[Path]:
    """A file system of its own; skips where nobody may mount one."""
    at.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    done = subprocess.run([mount, "-t", "tmpfs", "-o", "size=12m", "none", str(at)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.decode().strip()}")
    try:
        yield at
    finally:
        subprocess.run([shutil.which("umount") or "umount", "--lazy", str(at)], check=True)


def _fill(file: Path) -> None:
    """Takes all the room there is."""
    with suppress(OSError), file.open("ab", buffering=0) as filler:
        for size in (1 << 20, 1 << 12, 1):
            with suppress(OSError):
                while filler.write(b"\0" * size):
                    pass


@pytest.mark.proof
async def test_a_file_system_without_room_fails_no_call_and_recovers(tmp_path: Path) -> None:
    """Journal, database and positions all lie on it."""
    with _small_disk(tmp_path / "small") as disk:
        data_dir = disk / "data"
        async with _gateway(tmp_path, data_dir) as (_, gateway):
            await gateway.ask(50)
            await gateway.until_accounted()
            _fill(disk / "filler")
            assert shutil.disk_usage(disk).free == 0
            async with asyncio.timeout(60):
                # The journal's last page may still have room.
                while not (await gateway.until_accounted())[1]:
                    await gateway.ask(20)
            await gateway.ask(200)
            await gateway.until_alarmed()
            (disk / "filler").unlink()
            before, _ = await gateway.until_accounted()
            async with asyncio.timeout(60):
                while (await gateway.until_accounted())[0] == before:
                    await gateway.ask(1)
            await gateway.ask(50)
            kept, lost = await gateway.until_accounted()
            assert lost >= 200
            await gateway.until_drained(kept)
        assert await _in_database(data_dir) == kept
