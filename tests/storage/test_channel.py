"""Nodes talk through a channel of a real Redis: all but oneself hear, who comes is told, and nobody minds its absence."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.fakes.databases import opened
from tests.fakes.tcp_proxy import TcpProxy

from wayport.storage.address import read_address
from wayport.storage.channel import Channel
from wayport.storage.database import Database

# The tests' own setting is no setting of Wayport.
REDIS = os.environ.get("WAYPORT_TEST_REDIS_URL", "redis://127.0.0.1:6379/15")  # noqa: TID251


class Node:
    def __init__(self, name: str, url: str, database: Database) -> None:
        self.heard: list[bytes] = []
        self.knows = b"known by " + name.encode()
        self.channel = Channel(url, database, name="test", node=name, hear=self.heard.append, known=lambda: self.knows)

    async def until_heard(self, *messages: bytes) -> None:
        async with asyncio.timeout(20):
            while not set(messages) <= set(self.heard):
                await asyncio.sleep(0.01)


@asynccontextmanager
async def running(*nodes: Node) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(node.channel.run()) for node in nodes]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_all_but_oneself_hear_and_who_comes_is_told_what_others_know(tmp_path: Path) -> None:
    async with opened(read_address(None, tmp_path)) as database:
        one, two = Node("one", REDIS, database), Node("two", REDIS, database)
        async with running(one):
            async with running(two):
                # Whoever came second heard of the first by asking; the first by the other's greeting.
                await one.until_heard(b"known by two")
                await two.until_heard(b"known by one")
                one.channel.say(b"news\0 with a zero")
                await two.until_heard(b"news\0 with a zero")
                assert b"news\0 with a zero" not in one.heard
                assert b"known by one" not in one.heard


async def test_another_installation_hears_nothing(tmp_path: Path) -> None:
    async with (
        opened(read_address(None, tmp_path / "a")) as ours,
        opened(read_address(None, tmp_path / "b")) as theirs,
    ):
        one, two, stranger = Node("one", REDIS, ours), Node("two", REDIS, ours), Node("three", REDIS, theirs)
        async with running(one, two, stranger):
            await one.until_heard(b"known by two")
            one.channel.say(b"news")
            await two.until_heard(b"news")
            assert stranger.heard == []


async def test_what_is_said_while_redis_is_away_is_lost_and_made_up_for(tmp_path: Path) -> None:
    parts = urlsplit(REDIS)
    async with (
        opened(read_address(None, tmp_path)) as database,
        TcpProxy(parts.hostname or "127.0.0.1", parts.port or 6379) as proxy,
    ):
        url = f"redis://127.0.0.1:{proxy.port}{parts.path}"
        one, two = Node("one", url, database), Node("two", url, database)
        one.channel.say(b"nobody listens yet")
        async with running(one, two):
            await asyncio.sleep(0)
            await proxy.listen()
            await one.until_heard(b"known by two")
            await proxy.vanish()
            one.channel.say(b"into the void")
            two.heard.clear()
            one.knows = b"what one knows now"
            await proxy.listen()
            await two.until_heard(b"what one knows now")
            one.channel.say(b"again")
            await two.until_heard(b"again")
            assert b"nobody listens yet" not in two.heard
