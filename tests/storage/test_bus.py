"""What nodes tell each other through PostgreSQL: everything arrives, whatever becomes of the connection."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import func, select
from tests.fakes.databases import opened

from wayport.core.errors import Unavailable
from wayport.core.tasks import Tasks
from wayport.storage.address import read_address
from wayport.storage.bus import CHANNEL, Bus, News


async def _unavailable(_: str) -> None:
    raise Unavailable("the database is away")


async def _until(fact: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not fact():
            await asyncio.sleep(0.005)


class Node:
    def __init__(self, bus: Bus, heard: list[News]) -> None:
        self.bus = bus
        self.heard = heard

    def news(self) -> list[News]:
        return [news for news in self.heard if not news.everything]


@asynccontextmanager
async def _nodes(url: str, directory: Path, *names: str) -> AsyncIterator[list[Node]]:
    """Connected ones."""
    address = read_address(url, directory)
    async with opened(address) as database, Tasks() as tasks:

        async def otherwise(payload: str) -> None:
            async with database.write() as connection:
                await connection.execute(select(func.pg_notify(CHANNEL, payload)))

        found = []
        for name in names:
            heard: list[News] = []
            node = Node(Bus(address, node=name, hear=heard.append, otherwise=otherwise), heard)
            tasks.start(node.bus.run(), name=name)
            found.append(node)
        for node in found:
            # Before it listened anything may have been said.
            await _until(lambda node=node: node.heard == [News(node="", everything=True)])  # type: ignore[misc]  # bound
        yield found


async def test_what_one_says_the_others_hear(postgresql: str, tmp_path: Path) -> None:
    async with _nodes(postgresql, tmp_path, "a", "b", "c") as (a, b, c):
        await a.bus.say(keys=["k"])
        await a.bus.say(keys=None)
        await a.bus.say(models=True)
        await a.bus.say(callbacks=True)
        for node in (b, c):
            await _until(lambda node=node: len(node.heard) == 5)  # type: ignore[misc]  # bound
            assert node.heard[1:] == [
                News(node="a", keys=("k",)), News(node="a", everything=True), News(node="a", models=True),
                News(node="a", callbacks=True),
            ]  # fmt: skip
        assert len(a.heard) == 1


async def test_who_speaks_at_the_same_moment_is_heard(postgresql: str, tmp_path: Path) -> None:
    async with _nodes(postgresql, tmp_path, "a", "b") as (a, b):
        await asyncio.gather(*(a.bus.say(keys=[f"k{n}"]) for n in range(50)))
        await _until(lambda: {key for news in b.news() for key in news.keys} == {f"k{n}" for n in range(50)})


async def test_more_names_than_a_message_holds(postgresql: str, tmp_path: Path) -> None:
    async with _nodes(postgresql, tmp_path, "a", "b") as (a, b):
        keys = [f"{n:064d}" for n in range(300)]
        holders = [f"end_user:{'ü' * 250}{n}" for n in range(60)]
        await a.bus.say(keys=keys, holders=holders)
        await _until(lambda: sum(len(news.holders) for news in b.news()) == 60)
        assert [key for news in b.news() for key in news.keys] == keys
        assert [name for news in b.news() for name in news.holders] == holders


async def test_a_connection_that_is_cut_loses_nothing_that_is_said(postgresql: str, tmp_path: Path) -> None:
    async with _nodes(postgresql, tmp_path, "a", "b") as (a, b):
        own = a.bus._connection
        assert own is not None
        own.terminate()
        await a.bus.say(keys=["k"])
        await _until(lambda: b.news() == [News(node="a", keys=("k",))])
        # Who was cut off hears that it may have missed something.
        other = await asyncpg.connect(postgresql)
        try:
            await other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND pid <> pg_backend_pid()"
            )
        finally:
            await other.close()
        await _until(lambda: sum(news.everything for news in b.heard) == 2)


async def test_without_a_database_it_is_said_that_nobody_heard(postgresql: str, tmp_path: Path) -> None:
    bus = Bus(read_address(postgresql, tmp_path), node="a", hear=lambda _: None, otherwise=_unavailable)
    with pytest.raises(Unavailable):
        await bus.say(keys=["k"])
