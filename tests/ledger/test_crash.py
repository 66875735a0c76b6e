"""`kill -9` in the midst of load: every call whose answer reached a client is in the database afterwards, exactly once."""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
import sqlalchemy as sa
from tests.fakes.databases import opened, postgresql_url
from tests.fakes.served import Served, serving
from tests.fakes.tcp_proxy import TcpProxy

from wayport.storage.address import read_address
from wayport.storage.tables import calls, rollups

ASK = {"model": "wayport/echo", "messages": [{"role": "user", "content": "Hello"}], "user": "customer-1"}


class Load:
    """Clients that ask again and again, and remember what they were answered: the last byte is there, or it counts for
    nothing. They write and read sockets themselves, as an HTTP client takes longer for a call than the gateway.
    """

    def __init__(self, wayport: Served, clients: int = 8) -> None:
        self._clients = clients
        parts = urlsplit(wayport.url)
        self._address = (parts.hostname or "", parts.port or 0)
        self._key = wayport.key
        self.answered: list[str] = []
        self.failed = 0

    async def _client(self, number: int) -> None:
        stream = number % 2 == 0
        body = json.dumps({**ASK, "stream": stream}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {self._key}\r\n"
        request = f"{head}content-length: {len(body)}\r\n\r\n".encode() + body
        while True:
            try:
                reader, writer = await asyncio.open_connection(*self._address)
                try:
                    while True:
                        writer.write(request)
                        await self._answer(reader, stream=stream)
                finally:
                    writer.transport.abort()
            except (OSError, asyncio.IncompleteReadError):
                await asyncio.sleep(0.005)

    async def _answer(self, reader: asyncio.StreamReader, *, stream: bool) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines if line)
        if stream and "content-length" not in headers:
            await reader.readuntil(b"0\r\n\r\n")
        else:
            await reader.readexactly(int(headers["content-length"]))
        if status.split()[1] == "200":
            self.answered.append(headers["x-wayport-call-id"])
        else:
            self.failed += 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Load"]:
        tasks = [asyncio.get_running_loop().create_task(self._client(number)) for number in range(self._clients)]
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def until(self, more: int) -> None:
        """Until so many more calls are answered."""
        wanted = len(self.answered) + more
        while len(self.answered) < wanted:
            await asyncio.sleep(0.002)


async def _kill(wayport: Served, module: str) -> None:
    # One that died a moment ago is started again after a pause.
    while not (pids := wayport.children(module)):
        await asyncio.sleep(0.01)
    os.kill(pids[0], signal.SIGKILL)


async def _check(data_dir: Path, url: str | None, answered: list[str]) -> None:
    async with opened(read_address(url, data_dir)) as database, database.read() as connection:
        logged = list(await connection.scalars(sa.select(calls.c.call_id)))
        missing = set(answered) - set(logged)
        assert not missing, f"{len(missing)} of {len(answered)} answered calls are not in the database"
        assert len(logged) == len(set(logged))
        summed = sa.select(rollups.c.kind, sa.func.sum(rollups.c.calls)).group_by(rollups.c.kind)
        sums = {row[0]: int(row[1]) for row in await connection.execute(summed)}
        assert sums == {"all": len(logged), "end_user": len(logged)}


async def _crash(data_dir: Path, url: str | None, *, rounds: int, calls_between: int) -> None:
    environ = {"DATABASE_URL": url} if url else {}
    async with serving(data_dir, environ=environ) as wayport:
        await wayport.until_managed()
        load = Load(wayport)
        began_s = time.monotonic()
        async with load.running():
            for number in range(rounds):
                await load.until(calls_between)
                await _kill(wayport, ("server.worker", "control.main")[number % 2])
                await wayport.until_answers()
            await load.until(calls_between)
        took_s = time.monotonic() - began_s
        print(f"{rounds} kills, {len(load.answered):,} answered calls in {took_s:.0f} s")
        assert load.failed == 0
        # The last blow: everything at once, nothing is drained in peace.
        pids = [*wayport.children("server.worker"), *wayport.children("control.main"), wayport.process.pid]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        await wayport.process.wait()
    async with serving(data_dir, environ=environ) as wayport:
        await wayport.until_managed()
        await _until_drained(wayport)
        assert await wayport.stop() == 0
    await _check(data_dir, url, load.answered)


async def test_killed_worker_and_control_lose_no_answered_call_on_sqlite(tmp_path: Path) -> None:
    await _crash(tmp_path / "data", None, rounds=2, calls_between=300)


def test_killed_worker_and_control_lose_no_answered_call_on_postgresql(tmp_path: Path) -> None:
    with postgresql_url() as url:
        asyncio.run(_crash(tmp_path / "data", url, rounds=2, calls_between=300))


@pytest.mark.proof
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_killed_again_and_again_under_load(tmp_path: Path, database: str) -> None:
    with postgresql_url() if database == "postgresql" else nullcontext() as url:
        asyncio.run(_crash(tmp_path / "data", url, rounds=20, calls_between=2_000))


async def _until_drained(wayport: Served) -> None:
    headers = {"authorization": f"Bearer {wayport.key}"}
    async with asyncio.timeout(900):
        while (await wayport.http.get("/health/control", headers=headers)).json()["journal"]["backlog_bytes"]:
            await asyncio.sleep(0.05)


def _resident_mb(wayport: Served) -> dict[str, int]:
    page = os.sysconf("SC_PAGE_SIZE")
    return {
        module: int(Path(f"/proc/{wayport.children(module)[0]}/statm").read_text().split()[1]) * page // 1024**2
        for module in ("server.worker", "control.main")
    }


async def _database_away(data_dir: Path, url: str, *, calls_while_away: int, away_s: float = 0.0) -> None:
    parts = urlsplit(url)
    async with TcpProxy(parts.hostname or "", parts.port or 5432) as proxy:
        await proxy.listen()
        account = f"{parts.username}:{parts.password}@" if parts.password else f"{parts.username}@"
        through = urlunsplit(parts._replace(netloc=f"{account}127.0.0.1:{proxy.port}"))
        data_dir.mkdir()
        config = data_dir / "config.yaml"
        # A quick machine fills the journal's one gigabyte within two minutes, and what comes then is lost, as it says.
        config.write_text("spool: {max_bytes: 16GB}\n")
        async with serving(data_dir, "--config", str(config), environ={"DATABASE_URL": through}) as wayport:
            await wayport.until_managed()
            load = Load(wayport, clients=4)
            async with load.running():
                await load.until(500)
                before = _resident_mb(wayport)
                await proxy.vanish()
                await load.until(calls_while_away)
                await asyncio.sleep(away_s)
                after, calls_away = _resident_mb(wayport), len(load.answered)
                await proxy.listen()
                await load.until(50)
            assert load.failed == 0
            began_s = time.monotonic()
            await _until_drained(wayport)
            took_s = time.monotonic() - began_s
            print(f"away {away_s:.0f} s, {calls_away:,} calls; MB {before} -> {after}; drained in {took_s:.0f} s")
            # What waits does so on the disk.
            assert all(after[module] < before[module] + 32 for module in before)
            assert await wayport.stop() == 0
    await _check(data_dir, url, load.answered)


@pytest.mark.proof
@pytest.mark.timeout(1800)
def test_a_database_that_is_away_for_minutes_under_load(tmp_path: Path) -> None:
    with postgresql_url() as url:
        asyncio.run(_database_away(tmp_path / "data", url, calls_while_away=1_000, away_s=150))


def test_a_database_that_is_away_for_a_while_costs_no_call_and_no_record(tmp_path: Path) -> None:
    with postgresql_url() as url:
        asyncio.run(_database_away(tmp_path / "data", url, calls_while_away=1_000))


async def test_a_full_spool_fails_no_call_and_its_losses_are_stated(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("spool: {max_bytes: 64kb}\nserver: {implicit_models: true}\n")
    # Nobody listens there: the database is away from the beginning.
    away = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none"}
    async with serving(tmp_path / "data", "--config", str(config), environ=away) as wayport:
        await wayport.until_answers()
        headers = {"authorization": f"Bearer {wayport.key}"}
        calls_made = 400
        for _ in range(calls_made):
            answer = await wayport.http.post("/v1/chat/completions", json=ASK, headers=headers)
            assert answer.status_code == 200
        kept = lost = 0
        while kept + lost < calls_made:
            await asyncio.sleep(0.05)
            answer = await wayport.http.get("/metrics", headers=headers)
            if answer.status_code == 200:
                values = dict(line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#"))
                # Absent until the worker has told of itself for the first time.
                kept = int(float(values.get('wayport_journaled_total{worker="0"}', "0")))
                lost = int(float(values.get('wayport_lost_records_total{worker="0"}', "0")))
        assert lost > 0
        assert kept + lost == calls_made
        assert float(values['wayport_spool_full{worker="0"}']) == 1
        assert any("the spool is full" in line for line in wayport.output)
