import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.fakes.manual_clock import ManualClock
from tests.fakes.scripted_control import ScriptedControl

from wayport.access.cache import PrincipalCache
from wayport.access.principal import Principal
from wayport.core.errors import Unavailable
from wayport.core.tasks import Tasks

A = Principal(kind="key", key_hash="a")
B = Principal(kind="key", key_hash="b")


class World:
    def __init__(self, tasks: Tasks, *principals: Principal, size: int = 100, max_asking: int = 1000) -> None:
        self.clock = ManualClock()
        self.control = ScriptedControl(*principals)
        self.cache = PrincipalCache(
            self.control,
            clock=self.clock,
            tasks=tasks,
            ttl_s=60,
            negative_s=5,
            stale_max_s=600,
            retry_s=2,
            size=size,
            max_asking=max_asking,
        )

    def fresh(self, key_hash: str) -> Principal | None:
        return self.cache.fresh(key_hash, self.clock.steady_s())

    @property
    def asked(self) -> list[str]:
        asked, self.control.asked = self.control.asked, []
        return asked


@asynccontextmanager
async def _world(*principals: Principal, size: int = 100, max_asking: int = 1000) -> AsyncIterator[World]:
    async with Tasks() as tasks:
        yield World(tasks, *principals, size=size, max_asking=max_asking)


async def test_a_key_is_asked_for_once_until_its_time_is_over() -> None:
    async with _world(A) as world:
        assert world.fresh("a") is None
        assert await world.cache.find("a") == A
        assert world.fresh("a") is A
        assert await world.cache.find("a") is A
        assert world.asked == ["a"]
        world.clock.advance(60)
        assert world.fresh("a") is None
        assert await world.cache.find("a") == A
        assert world.asked == ["a"]


async def test_an_unknown_key_is_asked_for_again_after_five_seconds() -> None:
    async with _world() as world:
        assert await world.cache.find("a") == "unknown"
        assert await world.cache.find("a") == "unknown"
        assert world.asked == ["a"]
        world.control.known["a"] = A
        world.clock.advance(5)
        assert await world.cache.find("a") == A


async def test_a_key_made_just_now_works_at_once_where_it_is_told() -> None:
    async with _world() as world:
        assert await world.cache.find("a") == "unknown"
        world.control.known["a"] = A
        world.cache.invalidate("a")
        assert await world.cache.find("a") == A


async def test_many_callers_ask_once_and_one_that_leaves_takes_nobody_along() -> None:
    async with _world(A) as world:
        world.control.open.clear()
        async with Tasks() as callers:
            waiting = [callers.start(world.cache.find("a"), name="caller") for _ in range(10)]
            await asyncio.sleep(0)
            waiting[0].cancel()
            await asyncio.sleep(0)
            world.control.open.set()
            assert await asyncio.gather(*waiting[1:]) == [A] * 9
        assert world.asked == ["a"]


async def test_a_blocked_and_an_expired_key_are_refused_as_such() -> None:
    blocked = Principal(kind="key", key_hash="blocked", blocked=True)
    expired = Principal(kind="key", key_hash="expired", expires_s=1_799_999_999.0)
    async with _world(blocked, expired) as world:
        assert await world.cache.find("blocked") == "blocked"
        assert await world.cache.find("expired") == "expired"


async def test_a_key_expires_to_the_second_although_it_is_remembered() -> None:
    async with _world(Principal(kind="key", key_hash="a", expires_s=1_800_000_010.0)) as world:
        await world.cache.find("a")
        world.clock.advance(9.9)
        assert world.fresh("a") is not None
        world.clock.advance(0.1)
        assert world.fresh("a") is None
        assert await world.cache.find("a") == "expired"


async def test_a_revoked_key_is_not_served_from_memory() -> None:
    async with _world(A) as world:
        await world.cache.find("a")
        del world.control.known["a"]
        world.cache.invalidate("a")
        assert world.fresh("a") is None
        assert await world.cache.find("a") == "unknown"


async def test_a_revocation_overtakes_an_answer_that_is_on_its_way() -> None:
    async with _world(A) as world:
        world.control.open.clear()
        async with Tasks() as callers:
            waiting = callers.start(world.cache.find("a"), name="caller")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            del world.control.known["a"]
            world.cache.invalidate("a")
            world.control.open.set()
            assert await waiting == "unknown"
        assert world.fresh("a") is None
        assert world.asked == ["a", "a"]


async def test_with_control_away_known_keys_serve_for_the_stale_time() -> None:
    async with _world(A) as world:
        await world.cache.find("a")
        world.control.away = True
        world.clock.advance(61)
        assert await world.cache.find("a") == A
        assert world.fresh("a") == A
        assert world.asked == ["a", "a"]
        world.clock.advance(2)
        assert world.fresh("a") is None
        assert await world.cache.find("a") == A
        world.clock.advance(536)
        assert await world.cache.find("a") == A
        world.clock.advance(1)
        with pytest.raises(Unavailable):
            await world.cache.find("a")


async def test_with_control_away_an_unknown_key_is_unavailable_and_not_wrong() -> None:
    async with _world() as world:
        world.control.away = True
        with pytest.raises(Unavailable) as error:
            await world.cache.find("a")
        assert error.value.status == 503
        world.control.away = False
        world.control.known["a"] = A
        assert await world.cache.find("a") == A


async def test_a_stale_key_still_expires() -> None:
    async with _world(Principal(kind="key", key_hash="a", expires_s=1_800_000_100.0)) as world:
        await world.cache.find("a")
        world.control.away = True
        world.clock.advance(99)
        assert isinstance(await world.cache.find("a"), Principal)
        world.clock.advance(1)
        assert world.fresh("a") is None
        assert await world.cache.find("a") == "expired"


async def test_a_revoked_key_is_not_served_stale() -> None:
    async with _world(A) as world:
        await world.cache.find("a")
        world.control.away = True
        world.cache.invalidate("a")
        with pytest.raises(Unavailable):
            await world.cache.find("a")


async def test_after_invalidating_all_every_key_is_asked_for_and_serves_meanwhile() -> None:
    async with _world(A, B) as world:
        await world.cache.find("a")
        await world.cache.find("b")
        assert await world.cache.find("c") == "unknown"
        world.cache.invalidate_all()
        assert world.fresh("a") is None
        world.asked.clear()
        assert await world.cache.find("a") == A
        world.control.away = True
        assert await world.cache.find("b") == B
        with pytest.raises(Unavailable):
            await world.cache.find("c")


async def test_the_least_recently_used_key_leaves_first() -> None:
    three = [Principal(kind="key", key_hash=name) for name in "abc"]
    async with _world(*three, size=2) as world:
        await world.cache.find("a")
        await world.cache.find("b")
        world.fresh("a")
        await world.cache.find("c")
        assert world.fresh("b") is None
        assert world.fresh("a") is not None
        assert len(world.cache) == 2


async def test_guessed_keys_push_out_no_known_one() -> None:
    async with _world(A, size=10) as world:
        await world.cache.find("a")
        for number in range(100):
            await world.cache.find(f"guess-{number}")
        assert world.fresh("a") is not None
        assert len(world.cache._refusals) == 10


async def test_lookups_under_way_are_bounded() -> None:
    async with _world(max_asking=3) as world:
        world.control.open.clear()
        async with Tasks() as callers:
            for number in range(3):
                callers.start(world.cache.find(f"{number}"), name="caller")
            await asyncio.sleep(0)
            with pytest.raises(Unavailable):
                await world.cache.find("one too many")
            world.control.open.set()
