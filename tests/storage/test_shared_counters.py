"""The ledger that nodes share, on real Redis and real PostgreSQL: the same rules on both."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis.asyncio as redis
from tests.fakes.databases import opened

from wayport.core.clock import SystemClock
from wayport.core.errors import Unavailable
from wayport.core.lease import Claim
from wayport.storage.address import Address, read_address
from wayport.storage.database import Database
from wayport.storage.postgres_counters import PostgresCounters
from wayport.storage.redis_counters import RedisCounters
from wayport.storage.shared import SharedCounters

# The tests' own setting is no setting of Wayport.
REDIS = os.environ.get("WAYPORT_TEST_REDIS_URL", "redis://127.0.0.1:6379/15")  # noqa: TID251


@asynccontextmanager
async def store(kind: str, database: Database, node: str = "a") -> AsyncIterator[SharedCounters]:
    if kind == "postgresql":
        yield PostgresCounters(database, node=node, clock=SystemClock())
        return
    found = RedisCounters(REDIS, database, node=node, clock=SystemClock())
    try:
        yield found
    finally:
        await found.close()


class Place(NamedTuple):
    kind: str
    address: Address

    @asynccontextmanager
    async def open(self) -> AsyncIterator[SharedCounters]:
        async with opened(self.address) as database, store(self.kind, database) as found:
            yield found


@pytest.fixture(params=["redis", "postgresql"])
def place(request: pytest.FixtureRequest, postgresql: str, tmp_path: Path) -> Place:
    return Place(request.param, read_address(postgresql, tmp_path))


@pytest.fixture
def address(postgresql: str, tmp_path: Path) -> Address:
    return read_address(postgresql, tmp_path)


def money(need: int = 0, **more: Any) -> Claim:
    return Claim(counter="key:k|usd/30d", kind="money", limit=1000, window=7, need=need, want=need, **more)


async def test_leases_of_all_nodes_together_stay_within_the_limit(place: Place) -> None:
    async with place.open() as shared:
        held = dict.fromkeys("abc", 0)

        async def node(name: str) -> None:
            for _ in range(30):
                grant = await shared.claim(name, money(17, held=held[name], free=held[name]), spent={})
                held[name] += grant.granted

        await asyncio.gather(*map(node, held))
        assert sum(held.values()) == 1000 // 17 * 17


async def test_what_the_database_knows_of_others_counts_until_they_say_it_themselves(place: Place) -> None:
    async with place.open() as shared:
        spent = {"b": 600, "before": 100}
        assert (await shared.claim("a", money(301), spent=spent)).granted == 0
        first = await shared.claim("a", money(300), spent=spent)
        assert (first.granted, first.settled) == (300, 700)
        await shared.claim("b", money(held=650, free=50), spent={})
        later = await shared.claim("a", money(1, held=300, free=300), spent=spent)
        assert (later.granted, later.settled, later.busy_elsewhere) == (0, 700, 50)


async def test_what_is_given_back_others_can_have_and_saying_it_twice_changes_nothing(place: Place) -> None:
    async with place.open() as shared:
        assert (await shared.claim("a", money(1000), spent={})).granted == 1000
        assert (await shared.claim("b", money(900), spent={})).granted == 0
        for _ in range(2):
            await shared.claim("a", money(held=100), spent={})
        grant = await shared.claim("b", money(900), spent={})
        assert (grant.granted, grant.settled) == (900, 100)


async def test_a_rates_window_begins_with_its_first_request_and_forgets_what_was_held_in_the_one_before(
    place: Place,
) -> None:
    async with place.open() as shared:
        claim = Claim(counter="key:k|requests/1", kind="requests", limit=3, per_s=1, need=3, want=3)
        first = await shared.claim("a", claim, spent={})
        assert first.granted == 3
        assert first.ends_in_s is not None
        assert 0 < first.ends_in_s <= 1
        assert (await shared.claim("b", claim, spent={})).granted == 0
        while (again := await shared.claim("b", claim, spent={})).granted == 0:
            await asyncio.sleep(0.02)
        assert again.window != first.window
        # What `a` says of the window before is of no account in this one.
        stale = Claim(counter=claim.counter, kind="requests", limit=3, per_s=1, window=first.window, held=3)
        assert (await shared.claim("a", stale, spent={})).settled == 0


async def test_the_store_knows_which_budgets_a_node_holds_something_of(place: Place) -> None:
    async with place.open() as shared:
        await shared.claim("a", money(10), spent={})
        assert await shared.held() == [("key:k|usd/30d", 7)]


async def test_after_redis_has_lost_its_data_nothing_is_granted_until_the_others_have_registered(
    address: Address,
) -> None:
    async with opened(address) as database:
        async with store("redis", database) as one, store("redis", database, "b") as two:
            assert isinstance(one, RedisCounters)
            assert isinstance(two, RedisCounters)
            tasks = [asyncio.ensure_future(each.run(_nothing)) for each in (one, two)]
            try:
                while one.others != ["b"] or two.others != ["a"]:
                    one.say_again()
                    two.say_again()
                    await asyncio.sleep(0.02)
                while (await one.claim("a", money(10), spent={})).granted == 0:
                    await asyncio.sleep(0.02)
                await one.claim("a", money(), spent={})
                tasks.pop().cancel()
                assert (await one.claim("a", money(10), spent={})).granted == 10
                client = redis.Redis.from_url(REDIS)
                await client.delete(f"{one.prefix}epoch", f"{one.prefix}lease:key:k|usd/30d@7")
                lost = await one.claim("a", money(10, held=10), spent={})
                assert lost.granted == 0
                assert lost.unavailable is not None
                await client.hset(f"{one.prefix}epoch", "n:b", "1")
                await client.aclose()
                assert (await one.claim("a", money(10, held=10), spent={})).granted == 10
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_redis_that_is_not_there_is_told_so_and_not_waited_for(address: Address) -> None:
    async with opened(address) as database:
        away = RedisCounters("redis://127.0.0.1:1/0", database, node="a", clock=SystemClock())
        with pytest.raises(Unavailable, match="Redis is away"):
            await away.claim("a", money(1), spent={})
        await away.close()


async def _nothing() -> None: ...
