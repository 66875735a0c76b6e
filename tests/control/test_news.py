"""What workers tell each other through the control process, and what it has them ask, over a real socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.fakes.control_process import until
from tests.fakes.manual_clock import ManualClock

from wayport.control.client import SocketControl
from wayport.control.server import ControlServer
from wayport.control.sockets import listen
from wayport.core.errors import Unavailable
from wayport.core.probe import Probed
from wayport.core.tasks import Tasks
from wayport.routing.news import News, Rest, Used

REST = Rest(scope="deployment", names=("a",), left_s=30, kind="rate_limit", status=429)


class Worker:
    def __init__(self, path: Path) -> None:
        self.heard: list[News] = []
        self.probed: dict[str, Probed | None] = {}
        self.answer: asyncio.Future[Probed] = asyncio.get_running_loop().create_future()
        self.asked: list[tuple[str, float]] = []
        self.control = SocketControl(
            str(path),
            worker=1,
            on_snapshot=lambda _: None,
            on_invalidated=lambda _: None,
            on_news=self.heard.append,
            on_probe=self.probe,
            on_probed=self.probed.__setitem__,
        )

    async def probe(self, deployment_id: str, timeout_s: float) -> Probed:
        self.asked.append((deployment_id, timeout_s))
        return await self.answer


@asynccontextmanager
async def served(directory: Path, clock: ManualClock) -> AsyncIterator[tuple[ControlServer, Path]]:
    path = directory / "control.sock"
    async with Tasks() as tasks:
        server = ControlServer(tasks=tasks, snapshot=b"", clock=clock)
        await server.listen(listen(path))
        try:
            yield server, path
        finally:
            await server.close()


@asynccontextmanager
async def working(server: ControlServer, path: Path) -> AsyncIterator[Worker]:
    count = len(server.workers)
    async with Tasks() as tasks:
        worker = Worker(path)
        tasks.start(worker.control.run(), name="control")
        await until(lambda: len(server.workers) == count + 1)
        yield worker
    await until(lambda: len(server.workers) == count)


async def test_all_other_workers_hear_and_those_that_come_later_what_still_holds(tmp_path: Path) -> None:
    clock = ManualClock()
    passed_on: list[News] = []
    async with served(tmp_path, clock) as (server, path), working(server, path) as one, working(server, path) as two:
        server.pass_news_to(passed_on.append)
        one.control.tell_news(News(rests=(REST,), used=(Used(deployment="a", requests=1),)))
        await until(lambda: two.heard)
        assert (two.heard, one.heard) == (passed_on, [])
        clock.advance(10)
        async with working(server, path) as late:
            await until(lambda: late.heard)
            assert late.heard[0].rests[0].left_s == 20
            assert late.heard[0].used == ()
        # Another node has seen that it is well again.
        server.tell_news(News(rests=(Rest(scope="deployment", names=("a",)),)))
        await until(lambda: one.heard and len(two.heard) == 2)
        assert not server.rumours.known()


async def test_what_is_over_is_not_told_to_who_comes(tmp_path: Path) -> None:
    clock = ManualClock()
    async with served(tmp_path, clock) as (server, path), working(server, path) as one:
        one.control.tell_news(News(rests=(REST,)))
        await until(server.rumours.known)
        clock.advance(30)
        assert not server.rumours.known()


async def test_a_worker_asks_and_all_are_told(tmp_path: Path) -> None:
    clock = ManualClock()
    async with served(tmp_path, clock) as (server, path):
        with pytest.raises(Unavailable):
            await server.probe("a", timeout_s=3)
        async with working(server, path) as one:
            asking = asyncio.ensure_future(server.probe("a", timeout_s=3))
            await until(lambda: one.asked)
            one.answer.set_result(Probed(error="no", status=500))
            assert await asking == Probed(error="no", status=500)
            assert one.asked == [("a", 3)]
            server.tell_probed("a", Probed(error="no"))
            await until(lambda: one.probed)
            clock.advance(7)
            async with working(server, path) as late:
                await until(lambda: late.probed)
                assert late.probed == {"a": Probed(error="no", age_s=7)}
                server.forget_probed({"b"})
                await until(lambda: late.probed == {"a": None})


async def test_a_worker_that_goes_while_it_asks_leaves_nobody_waiting(tmp_path: Path) -> None:
    async with served(tmp_path, ManualClock()) as (server, path):
        async with working(server, path) as one:
            asking = asyncio.ensure_future(server.probe("a", timeout_s=600))
            await until(lambda: one.asked)
        with pytest.raises(Unavailable, match="gone"):
            await asking
