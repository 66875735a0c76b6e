"""`max_parallel` of a deployment, of which several workers lease: exact, fair, and without asking for each call."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from random import Random

import httpx
import pytest
from tests.fakes.gateway import Gateway, gateway
from tests.fakes.manual_clock import ManualClock
from tests.fakes.upstream import Upstream
from tests.fakes.waiting_time import WaitingTime, run
from tests.pipeline.test_waiting import Door, asking, config, until_asked, until_waiting
from tests.routing.places import deployment

from wayport.control.leases import Lessor
from wayport.core.clock import Clock, SystemClock
from wayport.core.errors import Unavailable
from wayport.core.lease import Claim, Grant
from wayport.core.tasks import Tasks
from wayport.pipeline.slots import DeploymentSlots
from wayport.routing.lines import Lines
from wayport.routing.slots import KEPT_TICKS, Slots

Recalled = Callable[..., object]


class Links:
    """What workers are told by one lessor, as if through sockets."""

    def __init__(self, tasks: Tasks, clock: Clock | None = None) -> None:
        self.tasks = tasks
        self.lessor = Lessor(clock=clock or SystemClock(), recall=self._recall)
        self.recalls: dict[str, Recalled] = {}

    def link(self, name: str) -> "Link":
        self.recalls[name] = lambda *_, **__: None
        self.lessor.workers(len(self.recalls))
        return Link(self, name)

    def _recall(self, name: str, counter: str, /, *, next_one: bool = False) -> bool:
        recall = self.recalls.get(name)
        if recall is not None:
            asyncio.get_running_loop().call_soon(lambda: recall(counter, next_one=next_one))
        return recall is not None

    @property
    def held(self) -> dict[str, int]:
        entries = self.lessor.counters.entries()
        assert len(entries) == 1
        return {name: part.held for name, part in entries[0].parts.items()}


class Link:
    def __init__(self, links: Links, name: str) -> None:
        self._links = links
        self.name = name
        self.claims = 0
        self.away = False

    async def claim(self, claim: Claim) -> Grant:
        self.claims += 1
        await asyncio.sleep(0)
        if self.away:
            raise Unavailable("nobody listens")
        return await self._links.lessor.claim(self.name, claim)

    def state(self, claim: Claim) -> None:
        if not self.away and not self._links.lessor.state(self.name, claim):
            self._links.tasks.start(self._links.lessor.claim(self.name, claim), name="lease")


@asynccontextmanager
async def pair(
    deployment: str = "max_parallel: 1", queue: str = "queue: {wait_s: 20}", more: str = ""
) -> AsyncIterator[tuple[Door, list[Gateway], list[Link], Links]]:
    """Two workers before one upstream, which lets calls through when it is told to."""
    opener = Door()
    async with AsyncExitStack() as stack:
        links = Links(await stack.enter_async_context(Tasks()))
        upstream = await stack.enter_async_context(Upstream(opener))
        text = config(upstream, queue=queue, deployment=deployment) + more
        both = [links.link(name) for name in ("a", "b")]
        workers = [await stack.enter_async_context(gateway(text, lender=link)) for link in both]
        for link, worker in zip(both, workers, strict=True):
            links.recalls[link.name] = worker.worker.recall
        yield opener, workers, both, links


def slots_of(wayport: Gateway) -> Slots:
    found = wayport.worker.pipeline.table.find("m")
    slots = wayport.worker.routing.lives.of(found.deployments[0].id).slots
    assert slots is not None
    return slots


async def statuses(calls: list[asyncio.Task[httpx.Response]]) -> list[int]:
    return [(await call).status_code for call in calls]


async def test_calls_one_after_the_other_ask_once() -> None:
    async with pair("max_parallel: 8") as (opener, (one, _), (link, _), _):
        opener.let(30)
        for number in range(30):
            assert (await asking(one, str(number))).status_code == 200
        assert link.claims == 1


async def test_who_is_refused_everywhere_is_told_so_at_once() -> None:
    async with pair("max_parallel: 2", queue="") as (opener, (one, two), _, _):
        calls = [asking(one, "0"), asking(two, "1")]
        await until_asked(opener, 2)
        for wayport in (one, two, one):
            refused = await asking(wayport, "x")
            assert refused.status_code == 429
            assert refused.json()["error"]["code"] == "deployment_limits"
        opener.let(2)
        assert await statuses(calls) == [200, 200]
        # What has come free is there for either of them.
        calls = [asking(two, "2"), asking(two, "3")]
        await until_asked(opener, 4)
        opener.let(2)
        assert await statuses(calls) == [200, 200]


async def test_who_finds_no_slot_goes_to_another_deployment() -> None:
    opener = Door()
    async with Upstream(opener) as upstream, Tasks() as tasks:
        links = Links(tasks)
        text = f"""
providers:
  up: {{api_base: {upstream.url}/v1, api_key: k}}
models:
  m: {{strategy: priority, deployments: [{{model: up/a, max_parallel: 1, order: 1}}, {{model: up/b, order: 2}}]}}
router: {{num_retries: 0}}
"""
        async with gateway(text, lender=links.link("a")) as one, gateway(text, lender=links.link("b")) as two:
            calls = [asking(one, "0")]
            await until_asked(opener, 1)
            calls.append(asking(two, "1"))
            await until_asked(opener, 2)
            opener.let(2)
            assert await statuses(calls) == [200, 200]
            asked = [received.json()["model"] for received in upstream.requests]
            assert asked == ["a", "b"]


async def test_a_worker_whose_line_never_ends_leaves_the_other_its_turns() -> None:
    async with pair() as (opener, (one, two), _, _):
        calls = [asking(one, "0")]
        await until_asked(opener, 1)
        for number in range(1, 9):
            calls.append(asking(one, f"{number}"))
            await until_waiting(one, number)
        calls += [asking(two, "of the other"), asking(two, "of the other")]
        await until_waiting(two, 2)
        for number in range(2, 7):
            opener.let()
            await until_asked(opener, number)
        assert opener.asked.count("of the other") == 2
        opener.let(20)
        assert set(await statuses(calls)) == {200}


async def test_slots_of_a_worker_that_has_gone_are_for_those_who_wait() -> None:
    async with pair() as (opener, (one, two), (left, _), links):
        first = asking(one, "0")
        await until_asked(opener, 1)
        second = asking(two, "1")
        await until_waiting(two, 1)
        # What it says from now on nobody hears.
        left.away = True
        del links.recalls["a"]
        links.lessor.gone("a")
        await until_asked(opener, 2)
        opener.let(2)
        assert await statuses([first, second]) == [200, 200]


async def test_what_lies_idle_goes_back_and_what_is_in_use_stays() -> None:
    async with pair("max_parallel: 8") as (opener, (one, _), _, links):
        calls = [asking(one, str(number)) for number in range(3)]
        await until_asked(opener, 3)
        opener.let(2)
        while slots_of(one).busy > 1:
            await asyncio.sleep(0)
        leases = one.worker.slots
        assert leases is not None
        for _ in range(KEPT_TICKS):
            leases.tick()
        assert links.held["a"] >= 3
        leases.tick()
        assert links.held["a"] == slots_of(one).leased == 1
        opener.let()
        assert await statuses(calls) == [200] * 3
        for _ in range(KEPT_TICKS + 1):
            leases.tick()
        assert links.held["a"] == 0


async def test_without_anybody_who_counts_each_worker_goes_by_itself_and_then_again_all_together() -> None:
    async with pair(queue="") as (opener, (one, two), (left, right), links):
        left.away = right.away = True
        calls = [asking(one, "0"), asking(two, "1")]
        await until_asked(opener, 2)
        assert (await asking(one, "x")).status_code == 429
        left.away = right.away = False
        for wayport in (one, two):
            assert wayport.worker.slots is not None
            wayport.worker.slots.register()
        await asyncio.sleep(0.01)
        assert links.held == {"a": 1, "b": 1}
        opener.let(2)
        assert await statuses(calls) == [200, 200]
        assert links.held == {"a": 0, "b": 0}


async def test_without_anybody_who_counts_nobody_goes_where_the_operator_says_so() -> None:
    async with pair(queue="", more="limits: {rates_when_away: closed}\n") as (opener, (one, _), (left, _), _):
        left.away = True
        refused = await asking(one, "0")
        assert refused.status_code == 429
        assert not opener.asked


# ---------------------------------------------------------------------------------------------------------- the leases
async def test_a_lowered_limit_takes_back_what_is_free_and_then_what_is_in_use() -> None:
    async with Tasks() as tasks:
        links = Links(tasks)
        link = links.link("a")
        leases = DeploymentSlots(link, Lines(), clock=SystemClock(), tasks=tasks)
        slots = leases.of(deployment("x", max_parallel=8))
        assert slots is not None
        for _ in range(3):
            assert not slots.full(sure=True) or await slots.more()
            slots.take()
        assert leases.of(deployment("x", max_parallel=2)) is slots
        assert links.held == {"a": 3}
        slots.end()
        assert slots.full(sure=False)
        slots.end()
        slots.end()
        assert links.held == {"a": 0}


async def test_deployments_of_clients_own_are_shared_with_nobody() -> None:
    async with Tasks() as tasks:
        leases = DeploymentSlots(Links(tasks).link("a"), Lines(), clock=ManualClock(), tasks=tasks)
        assert leases.of(deployment("x")) is None
        assert leases.of(deployment("x~abc", max_parallel=1)) is None


@pytest.mark.parametrize("seed", range(8))
def test_whatever_comes_between_never_more_than_the_limit_and_nobody_for_ever(seed: int) -> None:
    run(lambda clock: _crowd(Random(seed), 1 + seed % 4, clock))


async def _crowd(random: Random, limit: int, clock: WaitingTime) -> None:
    busy = [0, 0]
    """now, and at most"""
    began: list[float] = []
    async with Tasks() as tasks:
        links = Links(tasks, clock)
        workers: list[DeploymentSlots] = []
        for name in "abc":
            link = links.link(name)
            leases = DeploymentSlots(link, Lines(), clock=clock, tasks=tasks)
            links.recalls[name] = leases.recall
            workers.append(leases)

        async def call(leases: DeploymentSlots) -> None:
            slots = leases.of(deployment("x", max_parallel=limit))
            assert slots is not None
            while slots.full(sure=True) and not await slots.more():
                await asyncio.sleep(0.001)
            slots.take()
            began.append(clock.steady_s())
            busy[0] += 1
            busy[1] = max(busy)
            for _ in range(random.randrange(4)):
                await asyncio.sleep(0)
            busy[0] -= 1
            slots.end()

        async with asyncio.timeout(20):
            await asyncio.gather(*(call(random.choice(workers)) for _ in range(300)))
        assert busy == [0, limit]
        # Nothing lies idle while somebody stands in line for it, which is for a second.
        assert max(after - before for before, after in pairwise(began)) < 0.8
        for _ in range(KEPT_TICKS + 2):
            for leases in workers:
                leases.tick()
        assert sum(links.held.values()) == sum(
            slots.leased for leases in workers if (slots := leases.of(deployment("x", max_parallel=limit))) is not None
        )
