"""Thoughts that nodes share, in a real Redis: sealed, bounded, and nobody waits for one that is away."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis.asyncio as redis
from tests.fakes.manual_clock import ManualClock

from wayport.core.clock import SystemClock
from wayport.core.errors import Unavailable
from wayport.core.secret import Secret
from wayport.core.tasks import Tasks
from wayport.storage.cipher import Cipher
from wayport.storage.redis_thoughts import RedisThoughts

# The tests' own setting is no setting of Wayport.
REDIS = os.environ.get("WAYPORT_TEST_REDIS_URL", "redis://127.0.0.1:6379/15")  # noqa: TID251


@asynccontextmanager
async def nodes(*salts: str, **bounds: int) -> AsyncIterator[list[RedisThoughts]]:
    async with Tasks() as tasks:
        stores = [
            RedisThoughts(REDIS, Cipher(Secret(salt), purpose="thoughts"), tasks=tasks, clock=SystemClock(), **bounds)
            for salt in salts
        ]
        try:
            yield stores
        finally:
            for store in stores:
                await store.close()


async def told(store: RedisThoughts, **thoughts: bytes) -> None:
    await store.tell({name.encode(): thought for name, thought in thoughts.items()})


async def test_nodes_with_one_salt_key_find_each_others_thoughts_and_nobody_else_does() -> None:
    salt = secrets.token_hex()
    async with nodes(salt, salt, secrets.token_hex()) as (one, two, stranger):
        await told(one, a=b"secret thought", b=b"another")
        assert await two.find([b"a", b"b", b"c"]) == {b"a": b"secret thought", b"b": b"another"}
        assert await stranger.find([b"a"]) == {}


async def test_a_put_is_told_without_waiting_for_it() -> None:
    salt = secrets.token_hex()
    async with nodes(salt) as (store,):
        store.put({b"a": b"thought"})
        async with asyncio.timeout(10):
            while not await store.find([b"a"]):
                await asyncio.sleep(0)
        assert await store.find([b"a"]) == {b"a": b"thought"}


async def test_nothing_in_redis_can_be_read() -> None:
    salt = secrets.token_hex()
    async with nodes(salt) as (store,):
        await told(store, name=b"secret thought")
        async with redis.Redis.from_url(REDIS) as raw:
            keys: list[Any] = [key async for key in raw.scan_iter("wayport:{thoughts*") if b"order" not in key]
            values: list[Any] = [await raw.get(key) for key in keys]
        assert len(keys) >= 2
        assert not any(b"secret" in (value or b"") for value in values)
        assert not any(b"name" in key for key in keys)


async def test_the_oldest_go_when_there_are_too_many_or_they_are_too_large() -> None:
    async with nodes(secrets.token_hex(), most_entries=2) as (store,):
        for name in "abc":
            await told(store, **{name: b"x"})
        assert set(await store.find([b"a", b"b", b"c"])) == {b"b", b"c"}
    async with nodes(secrets.token_hex(), most_bytes=1_000) as (store,):
        for name in "abc":
            await told(store, **{name: b"x" * 400})
        assert set(await store.find([b"a", b"b", b"c"])) == {b"b", b"c"}


async def test_a_redis_that_is_away_is_left_alone_for_a_while() -> None:
    clock = ManualClock()
    async with Tasks() as tasks:
        away = RedisThoughts("redis://127.0.0.1:1/0", Cipher(Secret("s"), purpose="thoughts"), tasks=tasks, clock=clock)
        with pytest.raises(Unavailable, match="ConnectionError"):
            await away.find([b"a"])
        with pytest.raises(Unavailable, match=r"^Redis is away$"):
            await away.find([b"a"])
        clock.advance(5)
        with pytest.raises(Unavailable, match="ConnectionError"):
            await away.find([b"a"])
        await away.close()
