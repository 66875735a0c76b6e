"""`kill -9` in the midst of load: every call whose answer reached a client is in the database afterwards, exactly once."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx
import pytest
import sqlalchemy as sa
from tests.fakes.databases import opened, postgresql_url
from tests.fakes.served import Served, serving
from tests.fakes.tcp_proxy import TcpProxy

from wayport.storage.address import read_address
from wayport.storage.tables import calls, rollups

ASK = {"model": "wayport/echo", "messages": [{"role": "user", "content": "Hello"}], "user": "customer-1"}


class Load:
    """Clients that ask again and again, and remember what they were answered."""

    def __init__(self, wayport: Served, clients: int = 8) -> None:
        self._wayport = wayport
        self._clients = clients
        self._headers = {"authorization": f"Bearer {wayport.key}"}
        self.answered: list[str] = []
        self.failed = 0

    async def _client(self, number: int) -> None:
        body = {**ASK, "stream": number % 2 == 0}
        async with httpx.AsyncClient(base_url=self._wayport.url, timeout=20, trust_env=False) as http:
            while True:
                try:
                    answer = await http.post("/v1/chat/completions", json=body, headers=self._headers)
                except httpx.TransportError:
                    await asyncio.sleep(0.005)
                    continue
                if answer.status_code == 200:
                    self.answered.append(answer.headers["x-wayport-call-id"])
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
    (pid,) = wayport.children(module)
    os.kill(pid, signal.SIGKILL)


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
        await wayport.until_answers("/health/readiness")
        load = Load(wayport)
        async with load.running():
            for number in range(rounds):
                await load.until(calls_between)
                await _kill(wayport, ("server.worker", "control.main")[number % 2])
                await wayport.until_answers()
            await load.until(calls_between)
        assert load.failed == 0
        # The last blow: everything at once, nothing is drained in peace.
        pids = [*wayport.children("server.worker"), *wayport.children("control.main"), wayport.process.pid]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        await wayport.process.wait()
    async with serving(data_dir, environ=environ) as wayport:
        await wayport.until_answers("/health/readiness")
        assert await wayport.stop() == 0
    await _check(data_dir, url, load.answered)


async def test_killed_worker_and_control_lose_no_answered_call_on_sqlite(tmp_path: Path) -> None:
    await _crash(tmp_path / "data", None, rounds=2, calls_between=150)


def test_killed_worker_and_control_lose_no_answered_call_on_postgresql(tmp_path: Path) -> None:
    with postgresql_url() as url:
        asyncio.run(_crash(tmp_path / "data", url, rounds=2, calls_between=150))


@pytest.mark.proof
def test_killed_again_and_again_under_load(tmp_path: Path) -> None:
    asyncio.run(_crash(tmp_path / "sqlite", None, rounds=20, calls_between=2_000))
    with postgresql_url() as url:
        asyncio.run(_crash(tmp_path / "postgresql", url, rounds=20, calls_between=2_000))


async def _database_away(data_dir: Path, url: str, *, calls_while_away: int) -> None:
    parts = urlsplit(url)
    async with TcpProxy(parts.hostname or "", parts.port or 5432) as proxy:
        await proxy.listen()
        account = f"{parts.username}:{parts.password}@" if parts.password else f"{parts.username}@"
        through = urlunsplit(parts._replace(netloc=f"{account}127.0.0.1:{proxy.port}"))
        async with serving(data_dir, environ={"DATABASE_URL": through}) as wayport:
            await wayport.until_answers("/health/readiness")
            load = Load(wayport, clients=4)
            async with load.running():
                await load.until(50)
                await proxy.vanish()
                await load.until(calls_while_away)
                await proxy.listen()
                await load.until(50)
            assert load.failed == 0
            async with asyncio.timeout(30):
                headers = {"authorization": f"Bearer {wayport.key}"}
                while (await wayport.http.get("/health/control", headers=headers)).json()["journal"]["backlog_bytes"]:
                    await asyncio.sleep(0.05)
            assert await wayport.stop() == 0
    await _check(data_dir, url, load.answered)


def test_a_database_that_is_away_for_a_while_costs_no_call_and_no_record(tmp_path: Path) -> None:
    with postgresql_url() as url:
        asyncio.run(_database_away(tmp_path / "data", url, calls_while_away=200))


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
                kept = int(values.get('wayport_journaled_total{worker="0"}', "0"))
                lost = int(values.get('wayport_lost_records_total{worker="0"}', "0"))
        assert lost > 0
        assert kept + lost == calls_made
        assert values['wayport_spool_full{worker="0"}'] == "1"
        assert any("the spool is full" in line for line in wayport.output)
