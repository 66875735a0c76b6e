"""Workers and the control process over a real socket."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.fakes.manual_clock import ManualClock

from wayport.access.cache import PrincipalCache
from wayport.access.principal import AskedFor, Principal
from wayport.control.client import DirectControl, SocketControl
from wayport.control.protocol import Invalidated
from wayport.control.server import ControlServer
from wayport.control.sockets import listen
from wayport.core.errors import Unavailable
from wayport.core.tasks import Tasks

A = Principal(kind="key", key_hash="a", user_id="alice")


async def _knows_a(key_hash: str) -> Principal | None:
    return A if key_hash == "a" else None


class Worker:
    def __init__(self, path: Path, *, timeout_s: float = 5.0, first_timeout_s: float = 5.0) -> None:
        self.snapshots: list[bytes] = []
        self.invalidated: list[Sequence[str] | None] = []
        self.database: list[str] = []
        self.asks: list[tuple[AskedFor, ...]] = []
        self.control = SocketControl(
            str(path),
            worker=1,
            on_snapshot=self.snapshots.append,
            on_invalidated=self.invalidated.append,
            on_database=self.database.append,
            on_asks=self.asks.append,
            timeout_s=timeout_s,
            first_timeout_s=first_timeout_s,
            sleep=lambda _: asyncio.sleep(0),
        )


def _got(worker: Worker, count: int) -> Callable[[], bool]:
    return lambda: len(worker.invalidated) == count


def _told(worker: Worker, states: list[str]) -> Callable[[], bool]:
    return lambda: worker.database == states


async def _until(fact: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not fact():
            await asyncio.sleep(0)


@asynccontextmanager
async def _server(path: Path, snapshot: bytes = b"one") -> AsyncIterator[ControlServer]:
    async with Tasks() as tasks:
        server = ControlServer(tasks=tasks, snapshot=snapshot)
        await server.listen(listen(path))
        try:
            yield server
        finally:
            await server.close()


@asynccontextmanager
async def _worker(path: Path, *, timeout_s: float = 5.0, first_timeout_s: float = 5.0) -> AsyncIterator[Worker]:
    async with Tasks() as tasks:
        worker = Worker(path, timeout_s=timeout_s, first_timeout_s=first_timeout_s)
        tasks.start(worker.control.run(), name="control")
        yield worker


@pytest.mark.both_loops
async def test_a_worker_gets_the_snapshot_and_answers(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    async with _server(path) as server, _worker(path) as worker:
        server.answer_with(_knows_a)
        assert await worker.control.principal("a") == A
        assert await worker.control.principal("b") is None
        await _until(lambda: worker.snapshots)
        assert worker.snapshots == [b"one"]
        assert [hello.worker for hello in server.workers] == [1]


async def test_what_is_new_reaches_every_worker(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    async with _server(path) as server, _worker(path) as one, _worker(path) as two:
        await _until(lambda: len(server.workers) == 2)
        server.push_snapshot(b"two" * 1_000_000)
        server.invalidate(["a"])
        server.invalidate(None)
        server.tell_database("connected")
        for worker in (one, two):
            await _until(_got(worker, 2))
            assert worker.snapshots == [b"one", b"two" * 1_000_000]
            assert worker.invalidated == [("a",), None]
            await _until(_told(worker, ["waiting", "connected"]))
        async with _worker(path) as late:
            await _until(lambda: late.snapshots)
            assert late.snapshots == [b"two" * 1_000_000]
            await _until(_told(late, ["connected"]))


async def test_many_questions_at_once_each_get_their_own_answer(tmp_path: Path) -> None:
    async def slowly(key_hash: str) -> Principal | None:
        # Later questions are answered first.
        for _ in range(100 - int(key_hash)):
            await asyncio.sleep(0)
        return Principal(kind="key", key_hash=key_hash)

    path = tmp_path / "control.sock"
    async with _server(path) as server, _worker(path) as worker:
        server.answer_with(slowly)
        found = await asyncio.gather(*(worker.control.principal(str(number)) for number in range(100)))
        assert [principal and principal.key_hash for principal in found] == [str(number) for number in range(100)]


async def test_questions_wait_for_a_control_process_that_is_still_starting(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    async with _worker(path) as worker, Tasks() as callers:
        early = callers.start(worker.control.principal("a"), name="early")
        await asyncio.sleep(0)
        async with _server(path) as server:
            await _until(lambda: server.workers)
            waiting = callers.start(worker.control.principal("a"), name="waiting")
            await asyncio.sleep(0.01)
            assert not early.done()
            server.answer_with(_knows_a)
            assert await early == A
            assert await waiting == A


async def test_that_it_cannot_be_known_now_is_said(tmp_path: Path) -> None:
    async def away(_: str) -> Principal | None:
        raise Unavailable("the database is away")

    path = tmp_path / "control.sock"
    async with _server(path) as server, _worker(path) as worker:
        server.answer_with(away)
        with pytest.raises(Unavailable, match="the database is away"):
            await worker.control.principal("a")


async def test_workers_are_told_whom_to_ask_for_when_the_master_key_calls(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    async with _server(path) as server, _worker(path) as worker:
        await _until(lambda: worker.asks == [()])
        for _ in range(2):
            # The same once more is not told.
            server.tell_asks(("end_user",))
        server.tell_asks(("end_user", "tag"))
        await _until(lambda: worker.asks == [(), ("end_user",), ("end_user", "tag")])
        async with _worker(path) as later:
            await _until(lambda: later.asks == [("end_user", "tag")])


async def test_an_answer_that_does_not_come_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    async with _server(path), _worker(path, first_timeout_s=0.05) as worker:
        with pytest.raises(Unavailable, match="does not answer"):
            await worker.control.principal("a")
        assert worker.control._waiting == {}


async def test_without_a_control_process_the_answer_is_unavailable(tmp_path: Path) -> None:
    async with _worker(tmp_path / "control.sock", first_timeout_s=0.05) as worker:
        with pytest.raises(Unavailable):
            await worker.control.principal("a")
        assert not worker.control.connected


async def test_a_control_process_that_dies_and_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    async with _worker(path, timeout_s=0.5) as worker, Tasks() as callers:
        async with _server(path) as server:
            server.answer_with(_knows_a)
            assert await worker.control.principal("a") == A
            hanging = callers.start(worker.control._ask(lambda _: Invalidated()), name="hanging")
            await asyncio.sleep(0.001)
        with pytest.raises(Unavailable):
            await hanging
        with pytest.raises(Unavailable):
            await worker.control.principal("a")
        async with _server(path, snapshot=b"later") as server:
            server.answer_with(_knows_a)
            await _until(lambda: worker.control.connected)
            assert await worker.control.principal("a") == A
            # What changed meanwhile nobody told: everything may have.
            assert worker.invalidated == [None]
            assert worker.snapshots == [b"one", b"later"]


async def test_a_dead_control_process_stops_no_known_key(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    clock = ManualClock()
    async with _worker(path, timeout_s=0.2) as worker, Tasks() as tasks:
        cache = PrincipalCache(worker.control, clock=clock, tasks=tasks, ttl_s=60, stale_max_s=600)
        async with _server(path) as server:
            server.answer_with(_knows_a)
            assert await cache.find("a") == A
        clock.advance(100)
        assert await cache.find("a") == A
        with pytest.raises(Unavailable):
            await cache.find("b")


async def test_what_a_stranger_sends_ends_its_connection_only(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    async with _server(path) as server, _worker(path) as worker:
        server.answer_with(_knows_a)
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert await reader.read() == b""
        writer.close()
        assert await worker.control.principal("a") == A


async def test_in_one_process_the_same_works_without_a_socket() -> None:
    snapshots: list[bytes] = []
    invalidated: list[Sequence[str] | None] = []
    control = DirectControl(_knows_a, on_snapshot=snapshots.append, on_invalidated=invalidated.append)
    assert await control.principal("a") == A
    control.push_snapshot(b"x")
    control.invalidate(["a"])
    assert (snapshots, invalidated) == ([b"x"], [["a"]])


def test_a_workers_side_imports_little() -> None:
    code = (
        "import sys, wayport.control.client; "
        "print([m for m in ('sqlalchemy', 'pydantic', 'fastapi', 'uvicorn') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
