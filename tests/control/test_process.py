"""The control process, whole and real: sockets, database, journal, admin API, configuration."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx
import msgspec
import pytest
from tests.fakes.control_process import ControlProcess, control_process, until
from tests.fakes.manual_clock import ManualClock
from tests.fakes.records import call_record
from tests.fakes.tcp_proxy import TcpProxy

from wayport.core.errors import Unavailable
from wayport.core.secret import key_hash
from wayport.ledger.journal import Spool
from wayport.routing.snapshot import Snapshot


async def _connected(process: ControlProcess) -> None:
    await until(lambda: process.database[-1:] == ["connected"])


async def _journal(client: httpx.AsyncClient) -> dict[str, int]:
    state: dict[str, dict[str, int]] = (await client.get("/health/control")).json()
    return state["journal"]


async def _inserted(client: httpx.AsyncClient, count: int) -> None:
    async with asyncio.timeout(20):
        while (await _journal(client))["inserted"] < count:
            await asyncio.sleep(0.01)


def _models(process: ControlProcess) -> list[set[str]]:
    return [set(msgspec.json.decode(json, type=Snapshot).models) - {"wayport/echo"} for json in process.snapshots]


async def test_keys_spend_and_revocation_from_end_to_end(tmp_path: Path, database_url: str | None) -> None:
    async with control_process(tmp_path, database_url) as (process, worker), process.client() as client:
        await _connected(process)
        made = (await client.post("/key/generate", json={"user_id": "alice"})).json()
        principal = await worker.principal(made["token"])
        assert principal is not None
        assert principal.user_id == "alice"
        assert await worker.principal("0" * 64) is None

        spool = Spool(process.data_dir / "spool" / "n1-0", clock=ManualClock(), sync="os")
        records = [call_record(key_hash=made["token"]) for _ in range(3)]
        for record in records:
            spool.append(record)
        await _inserted(client, 3)
        info = (await client.get("/key/info", params={"key": made["key"]})).json()
        assert info["info"]["spend"] == 3e-6
        logged = (await client.get("/spend/logs", params={"api_key": made["key"]})).json()
        assert {row["request_id"] for row in logged} == {record.call_id for record in records}

        await client.post("/key/delete", json={"keys": [made["key"]]})
        await until(lambda: process.invalidated[-1:] == [(made["token"],)])
        assert await worker.principal(made["token"]) is None
        spool.close()


async def test_a_changed_file_and_a_hangup_bring_new_models_and_a_bad_file_does_not(tmp_path: Path) -> None:
    async with control_process(tmp_path) as (process, _), process.client() as client:
        await _connected(process)
        await until(lambda: process.snapshots)
        assert _models(process) == [{"first"}]
        process.write_config("second")
        await until(lambda: len(process.snapshots) == 2)
        assert _models(process)[-1] == {"second"}

        process.config.write_text("model_list: {this is: [no list")
        answer = (await client.post("/config/reload")).json()
        assert answer["reloaded"] is False
        assert "config.yaml" in answer["error"]
        assert len(process.snapshots) == 2

        process.write_config("third")
        process.tell(signal.SIGHUP)
        await until(lambda: len(process.snapshots) == 3)
        assert _models(process)[-1] == {"third"}
        versions = [msgspec.json.decode(json, type=Snapshot).version for json in process.snapshots]
        assert versions == sorted(set(versions))


async def test_a_process_started_again_knows_the_configuration_of_now(tmp_path: Path) -> None:
    async with control_process(tmp_path) as (process, worker):
        await _connected(process)
        settings_of_then = process.settings()
        process.kill()
        await until(lambda: not worker.connected)
        process.write_config("meanwhile")
        with pytest.MonkeyPatch.context() as patch:
            # The supervisor hands over what it began with.
            patch.setattr(process, "settings", lambda: settings_of_then)
            process.start()
        await until(lambda: _models(process)[-1:] == [{"meanwhile"}])
        assert process.invalidated == [None]


async def test_asked_to_stop_it_drains_what_is_left(tmp_path: Path) -> None:
    async with control_process(tmp_path) as (process, _), process.client() as client:
        await _connected(process)
        spool = Spool(process.data_dir / "spool" / "n1-0", clock=ManualClock(), sync="os")
        for _ in range(2000):
            spool.append(call_record())
        spool.close()
        process.tell(signal.SIGTERM)
        assert await process.ended() == 0
        assert list(spool.directory.iterdir()) == []
        process.start()
        await process.answers()
        logged = (await client.get("/spend/logs", params={"limit": 10_000})).json()
        assert len(logged) == 2000


async def test_killed_and_started_again_it_loses_nothing(tmp_path: Path) -> None:
    async with control_process(tmp_path) as (process, _), process.client() as client:
        await _connected(process)
        spool = Spool(process.data_dir / "spool" / "n1-0", clock=ManualClock(), sync="os")
        for _ in range(3):
            for _ in range(300):
                spool.append(call_record())
            await process.answers()
            process.tell(signal.SIGKILL)
            await process.ended()
            process.start()
        spool.close()
        await process.answers()
        async with asyncio.timeout(20):
            while (await _journal(client))["backlog_bytes"]:
                await asyncio.sleep(0.01)
        logged = (await client.get("/spend/logs", params={"limit": 10_000})).json()
        assert len({row["request_id"] for row in logged}) == len(logged) == 900


async def test_without_a_database_it_runs_and_says_503_until_it_comes(tmp_path: Path, postgresql: str) -> None:
    parts = urlsplit(postgresql)
    async with TcpProxy(parts.hostname or "", parts.port or 5432) as proxy:
        url = urlunsplit(parts._replace(netloc=f"{parts.username}:geheim77@127.0.0.1:{proxy.port}"))
        async with control_process(tmp_path, url) as (process, worker), process.client() as client:
            await until(lambda: process.snapshots)
            with pytest.raises(Unavailable, match="database"):
                await worker.principal(key_hash("sk-whatever-it-may-be"))
            state = (await client.get("/health/control")).json()
            assert state["database"]["status"] == "waiting"
            assert "geheim77" not in str(state)
            assert (await client.get("/key/list")).status_code == 503
            await proxy.listen()
            await _connected(process)
            assert (await client.get("/key/list")).json()["total_count"] == 0
            assert await worker.principal(key_hash("sk-whatever-it-may-be")) is None
        assert "geheim77" not in process.log.read_text()


async def test_its_sockets_are_its_owners_alone(tmp_path: Path) -> None:
    async with control_process(tmp_path) as (process, _):
        await until(lambda: process.snapshots)
        for name in ("control.sock", "admin.sock"):
            assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


async def test_a_second_one_on_the_same_sockets_is_refused(tmp_path: Path) -> None:
    async with control_process(tmp_path) as (process, _):
        await until(lambda: process.snapshots)
        second = ControlProcess(tmp_path, None)
        second.start()
        assert await second.ended() != 0
        assert "another Wayport listens there" in second.log.read_text()


_ORPHAN = """
import asyncio, os, sys
from pathlib import Path
from tests.fakes.control_process import control_process, until

async def main() -> None:
    async with control_process(Path(sys.argv[1])) as (process, _):
        await until(lambda: process.snapshots)
        print(process.pid, flush=True)
        os.kill(os.getpid(), 9)

asyncio.run(main())
"""


async def test_it_does_not_outlive_a_killed_supervisor(tmp_path: Path) -> None:
    def run() -> int:
        result = subprocess.run(
            [sys.executable, "-c", _ORPHAN, str(tmp_path)],
            stdout=subprocess.PIPE,
            check=False,
            cwd=Path(__file__).parents[2],
        )
        return int(result.stdout)

    pid = await asyncio.to_thread(run)
    await until(lambda: not _runs(pid))


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]
