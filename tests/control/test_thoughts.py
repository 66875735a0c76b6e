"""Thoughts that workers share: the shelf of the control process, across its socket, and before it other nodes."""

import asyncio
import os
import secrets
from pathlib import Path

import pytest
from tests.fakes.control_process import control_process
from tests.fakes.thoughts import KnownThoughts

from wayport.control.thoughts import Shelf
from wayport.core.errors import Unavailable


async def test_the_shelf_is_bounded_and_keeps_what_is_asked_for() -> None:
    shelf = Shelf(most_entries=2)
    shelf.put({b"1": b"one", b"2": b"two"})
    await shelf.find([b"1"])
    shelf.put({b"3": b"three"})
    assert await shelf.find([b"1", b"2", b"3"]) == {b"1": b"one", b"3": b"three"}
    shelf = Shelf(most_bytes=10)
    shelf.put({b"1": b"12345", b"2": b"12345"})
    shelf.put({b"2": b"123456"})
    assert await shelf.find([b"1", b"2"]) == {b"2": b"123456"}
    assert shelf.size_bytes == 6
    shelf.put({b"3": b"x" * 11})
    assert (len(shelf), shelf.size_bytes) == (0, 0)


async def test_other_nodes_are_told_and_asked_only_for_what_is_missing() -> None:
    shelf, others = Shelf(), KnownThoughts()
    shelf.others = others
    shelf.put({b"1": b"one"})
    assert others.thoughts == {b"1": b"one"}
    others.thoughts[b"2"] = b"two"
    assert await shelf.find([b"1"]) == {b"1": b"one"}
    assert others.asked == []
    for _ in range(2):
        assert await shelf.find([b"1", b"2"]) == {b"1": b"one", b"2": b"two"}
    assert others.asked == [[b"2"]]
    others.away = True
    assert await shelf.find([b"1", b"3"]) == {b"1": b"one"}


async def test_workers_share_through_the_control_process(tmp_path: Path) -> None:
    async with control_process(tmp_path) as (process, worker):
        await process.answers()
        worker.thoughts.put({b"1": b"x" * 200_000, b"2": b"two"})
        assert await worker.thoughts.find([b"1", b"2", b"3"]) == {b"1": b"x" * 200_000, b"2": b"two"}
        process.kill()
        while worker.connected:
            with pytest.raises(Unavailable):
                await worker.thoughts.find([b"1"])
        # Nobody waits for one that is away.
        worker.thoughts.put({b"4": b"four"})
        with pytest.raises(Unavailable):
            await worker.thoughts.find([b"1"])


async def test_nodes_share_through_redis(tmp_path: Path) -> None:
    # The tests' own setting is no setting of Wayport.
    redis = os.environ.get("WAYPORT_TEST_REDIS_URL", "redis://127.0.0.1:6379/15")  # noqa: TID251
    environ = {"REDIS_URL": redis, "WAYPORT_SALT_KEY": secrets.token_hex()}
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    async with control_process(one, environ=environ) as (first, here), control_process(two, environ=environ) as other:
        second, there = other
        await asyncio.gather(first.answers(), second.answers())
        here.thoughts.put({b"1": b"one"})
        async with asyncio.timeout(20):
            while not await there.thoughts.find([b"1"]):
                await asyncio.sleep(0.01)
        assert await there.thoughts.find([b"1", b"2"]) == {b"1": b"one"}
