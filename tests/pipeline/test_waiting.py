"""Calls wait for a place where every deployment has as many as it takes: in order, not for ever, and only if told to."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from tests.fakes.gateway import Gateway, gateway
from tests.fakes.upstream import Exchange, Upstream, json_answer
from tests.pipeline.test_attempts_failures import WHOLE
from tests.routing.places import Place, deployment, fault

from wayport.access.principal import Budget, Holder, rates_of
from wayport.core.clock import SystemClock
from wayport.core.errors import RateLimited
from wayport.routing.lines import Lines
from wayport.routing.snapshot import Model, QueuePolicy, RouterPolicy


class Door:
    """An upstream that answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._open = asyncio.Semaphore(0)

    async def __call__(self, exchange: Exchange) -> None:
        body = json.loads(exchange.received.body)
        self.asked.append(body["messages"][0]["content"])
        await self._open.acquire()
        await json_answer(WHOLE)(exchange)

    def let(self, count: int = 1) -> None:
        for _ in range(count):
            self._open.release()


def config(upstream: Upstream, queue: str = "queue: {wait_s: 20}", deployment: str = "max_parallel: 1") -> str:
    return f"""
providers:
  up: {{api_base: {upstream.url}/v1, api_key: k}}
models:
  m: {{model: up/a, {deployment}}}
router: {{num_retries: 0, {queue}}}
"""


@asynccontextmanager
async def door(**more: Any) -> AsyncIterator[tuple[Door, Gateway]]:
    opener = Door()
    async with Upstream(opener) as upstream, gateway(config(upstream, **more)) as wayport:
        yield opener, wayport


def asking(wayport: Gateway, text: str, **more: Any) -> asyncio.Task[httpx.Response]:
    body = {"model": "m", "messages": [{"role": "user", "content": text}], **more}
    return asyncio.ensure_future(wayport.ask(body))


def asking_as(key: str, wayport: Gateway, text: str) -> asyncio.Task[httpx.Response]:
    body = {"model": "m", "messages": [{"role": "user", "content": text}]}
    return asyncio.ensure_future(wayport.ask(body, headers={"authorization": f"Bearer {key}"}))


async def until_waiting(wayport: Gateway, count: int) -> None:
    async with asyncio.timeout(10):
        while wayport.worker.routing.lines.count != count:
            await asyncio.sleep(0)


async def until_asked(opener: Door, count: int) -> None:
    async with asyncio.timeout(10):
        while len(opener.asked) != count:
            await asyncio.sleep(0)


async def test_calls_go_in_the_order_in_which_they_came() -> None:
    async with door() as (opener, wayport):
        calls = [asking(wayport, "0")]
        await until_asked(opener, 1)
        for number in range(1, 5):
            calls.append(asking(wayport, str(number)))
            await until_waiting(wayport, number)
        opener.let(5)
        assert [(await call).status_code for call in calls] == [200] * 5
        assert opener.asked == list("01234")
        assert wayport.worker.routing.lines.count == 0
        told = (await wayport.http.get(f"/v1/calls/{(await calls[1]).headers['x-wayport-call-id']}/explain")).json()
        assert told["decisions"][0]["waited_ms"] > 0
        assert told["attempts"][0]["wait_ms"] > 0
        assert "for a place" in told["explanation"][0]


async def test_the_more_urgent_goes_first() -> None:
    async with door() as (opener, wayport):
        calls = [asking(wayport, "first")]
        await until_asked(opener, 1)
        for count, (text, more) in enumerate(
            (("late", {"priority": 9}), ("usual", {}), ("soon", {"priority": 1}), ("usual too", {"priority": 0})), 1
        ):
            calls.append(asking(wayport, text, **more))
            await until_waiting(wayport, count)
        opener.let(5)
        assert [(await call).status_code for call in calls] == [200] * 5
        assert opener.asked == ["first", "usual", "usual too", "soon", "late"]


async def test_who_has_used_up_its_limits_takes_no_place() -> None:
    async with door(queue="queue: {wait_s: 20, length: 2}") as (opener, wayport):
        bound = Holder(scope="key", id="k", rates=rates_of(rpm=2))
        key = wayport.keys.add("sk-limited-key-000001", holders=(bound,))
        calls = [asking_as(key, wayport, "0")]
        await until_asked(opener, 1)
        calls.append(asking_as(key, wayport, "1"))
        await until_waiting(wayport, 1)
        refused = await asking_as(key, wayport, "2")
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
        assert "2 requests per minute of this key" in refused.text
        assert wayport.worker.routing.lines.count == 1
        # The place is there for somebody else.
        calls.append(asking(wayport, "3"))
        await until_waiting(wayport, 2)
        opener.let(3)
        assert [(await call).status_code for call in calls] == [200] * 3
        assert opener.asked == list("013")


async def test_who_has_spent_its_budget_takes_no_place_and_others_reserve_at_their_turn() -> None:
    priced = "max_parallel: 1, max_output_tokens: 100, prices: {input: 1000, output: 1000}"
    async with door(deployment=priced) as (opener, wayport):
        key = wayport.keys.add(
            "sk-limited-key-000001", holders=(Holder(scope="key", id="k", budgets=(Budget(max_nano_usd=10**6),)),)
        )
        calls = [asking(wayport, "0")]
        await until_asked(opener, 1)
        # Not enough for the shortest answer.
        refused = await asking_as(key, wayport, "1")
        assert refused.status_code == 429, refused.text
        assert wayport.worker.routing.lines.count == 0
        rich = wayport.keys.add(
            "sk-limited-key-000002", holders=(Holder(scope="key", id="r", budgets=(Budget(max_nano_usd=10**9),)),)
        )
        for number in (2, 3):
            calls.append(asking_as(rich, wayport, str(number)))
            await until_waiting(wayport, number - 1)
        opener.let(1)
        await until_asked(opener, 2)
        (gauge,) = (g for g in wayport.worker.admission.gauges.all() if "key:r" in g.counter)
        # The one that has gone, not the one that waits.
        assert 10**8 < gauge.busy < 2 * 10**8
        opener.let(2)
        assert [(await call).status_code for call in calls] == [200] * 3
        opened = [record for record in wayport.records if record.opened]
        assert [bool(record.reserved_nano_usd) for record in opened] == [True, True]


@pytest.mark.parametrize("ends", ["in vain", "with its client", "well"])
async def test_what_a_waiting_call_has_taken_of_its_limits_comes_back(ends: str) -> None:
    priced = "max_parallel: 1, max_output_tokens: 100, prices: {input: 1, output: 1}"
    queue = f"queue: {{wait_s: {0.05 if ends == 'in vain' else 20}}}"
    async with door(queue=queue, deployment=priced) as (opener, wayport):
        bound = Holder(
            scope="key", id="k", max_parallel=2, rates=rates_of(tpm=100_000), budgets=(Budget(max_nano_usd=10**9),)
        )
        key = wayport.keys.add("sk-limited-key-000001", holders=(bound,))
        first = asking(wayport, "0")
        await until_asked(opener, 1)
        waiting = asking_as(key, wayport, "1")
        await until_waiting(wayport, 1)
        gauges = list(wayport.worker.admission.gauges.all())
        # Money is for those who can go.
        assert {gauge.kind: gauge.busy for gauge in gauges} == {"slots": 1, "tokens": 0, "money": 0}
        match ends:
            case "with its client":
                waiting.cancel()
            case "well":
                opener.let(2)
                assert (await waiting).status_code == 200
            case _:
                assert (await waiting).status_code == 429
        await until_waiting(wayport, 0)
        opener.let(2)
        await first
        await wayport.until_idle()
        assert {gauge.kind: gauge.busy for gauge in gauges} == {"slots": 0, "tokens": 0, "money": 0}
        used = {gauge.kind: gauge.held - gauge.free for gauge in gauges}
        assert (used["tokens"] > 0, used["slots"]) == (ends == "well", 0)


async def test_who_comes_does_not_go_before_those_who_wait() -> None:
    async with door() as (opener, wayport):
        first = asking(wayport, "0")
        await until_asked(opener, 1)
        second = asking(wayport, "1")
        await until_waiting(wayport, 1)
        lines = wayport.worker.routing.lines
        # The place is free, and the one who waits has not looked yet.
        live = wayport.worker.routing.lives.of(wayport.worker.pipeline.table.find("m").deployments[0].id)
        live.in_flight -= 1
        third = asking(wayport, "2")
        await until_waiting(wayport, 2)
        live.in_flight += 1
        assert len(opener.asked) == 1
        assert lines.count == 2
        opener.let(3)
        assert [(await call).status_code for call in (first, second, third)] == [200] * 3
        assert opener.asked[2] == "2"


async def test_a_client_that_leaves_lets_the_next_one_go() -> None:
    async with door() as (opener, wayport):
        first = asking(wayport, "0")
        await until_asked(opener, 1)
        leaving = asking(wayport, "leaving")
        await until_waiting(wayport, 1)
        staying = asking(wayport, "staying")
        await until_waiting(wayport, 2)
        leaving.cancel()
        await until_waiting(wayport, 1)
        opener.let(2)
        assert [(await call).status_code for call in (first, staying)] == [200] * 2
        assert opener.asked == ["0", "staying"]
        assert [record.status for record in wayport.records].count("cancelled") == 1


async def test_nobody_waits_for_longer_than_is_said() -> None:
    async with door(queue="queue: {wait_s: 0.05}") as (opener, wayport):
        first = asking(wayport, "0")
        await until_asked(opener, 1)
        late = await asking(wayport, "1")
        error = late.json()["error"]
        assert (late.status_code, error["code"]) == (429, "deployment_limits")
        assert "has waited" in error["message"]
        assert "retry-after" in late.headers
        opener.let()
        assert (await first).status_code == 200


async def test_a_request_waits_no_longer_than_its_own_time() -> None:
    async with door() as (opener, wayport):
        first = asking(wayport, "0")
        await until_asked(opener, 1)
        assert (await asking(wayport, "1", timeout=0.05)).status_code == 429
        opener.let()
        assert (await first).status_code == 200


async def test_a_line_has_an_end() -> None:
    async with door(queue="queue: {wait_s: 20, length: 1}") as (opener, wayport):
        calls = [asking(wayport, "0")]
        await until_asked(opener, 1)
        calls.append(asking(wayport, "1"))
        await until_waiting(wayport, 1)
        refused = await asking(wayport, "2")
        assert refused.status_code == 429
        assert "1 wait already" in refused.json()["error"]["message"]
        opener.let(2)
        assert [(await call).status_code for call in calls] == [200] * 2


async def test_nobody_waits_unless_told_to() -> None:
    async with door(queue="cooldown_s: 5") as (opener, wayport):
        first = asking(wayport, "0")
        await until_asked(opener, 1)
        refused = await asking(wayport, "1", priority=0)
        assert refused.status_code == 429
        opener.let()
        assert (await first).status_code == 200


async def test_a_fallback_is_asked_before_anybody_waits() -> None:
    opener = Door()
    async with Upstream(opener) as upstream:
        text = config(upstream, deployment="max_parallel: 1, fallbacks: [n]").replace("router:", "  n: up/b\nrouter:")
        async with gateway(text) as wayport:
            calls = [asking(wayport, "0"), asking(wayport, "1")]
            await until_asked(opener, 2)
            opener.let(2)
            assert [(await call).status_code for call in calls] == [200] * 2


@pytest.mark.parametrize("priority", [None, 3])
async def test_with_litellms_file_those_wait_that_state_a_priority(priority: int | None) -> None:
    opener = Door()
    async with Upstream(opener) as upstream:
        text = f"""
model_list:
  - model_name: m
    litellm_params: {{model: openai/a, api_base: {upstream.url}/v1, api_key: k, max_parallel_requests: 1}}
"""
        async with gateway(text) as wayport:
            first = asking(wayport, "0")
            await until_asked(opener, 1)
            second = asking(wayport, "1", **({} if priority is None else {"priority": priority}))
            if priority is None:
                assert (await second).status_code == 429
                opener.let()
            else:
                await until_waiting(wayport, 1)
                opener.let(2)
                assert (await second).status_code == 200
            assert (await first).status_code == 200


async def test_a_default_priority_makes_all_wait() -> None:
    text = """
model_list: [{model_name: m, litellm_params: {model: openai/a, api_key: k}}]
router_settings: {default_priority: 5, timeout: 30, polling_interval: 0.03}
"""
    async with gateway(text) as wayport:
        queue = wayport.worker.pipeline.table.snapshot.router.queue
        assert (queue.wait_s, queue.stated_wait_s, queue.priority) == (30, 30, 5)
        assert not [warning for warning in wayport.worker.pipeline.table.snapshot.warnings if "polling" in warning]


# ------------------------------------------------------------------------------------------------------------- alone
async def test_a_place_that_a_new_minute_brings_is_taken_without_anybody_saying_so() -> None:
    clock = SystemClock()
    place = Place(
        Model(name="m", deployments=(deployment("a", rpm=1),)),
        policy=RouterPolicy(queue=QueuePolicy(wait_s=30)),
    )
    lines = Lines()
    live = place.lives.of("a")
    # The minute is over in a twinkling.
    live.hear(clock.steady_s() - 59.95, requests=1, tokens=0)
    plan = place.plan()
    with pytest.raises(RateLimited) as refused:
        plan.first(clock.steady_s())
    refused.value.retry_after_s = 0.01
    step = await lines.turn_of(plan, refused.value, clock)
    assert step.deployment.id == "a"
    assert step.queued_s > 0
    assert lines.count == 0


async def test_another_refusal_ends_the_wait() -> None:
    clock = SystemClock()
    a = deployment("a", max_parallel=1)
    place = Place(Model(name="m", deployments=(a,)), policy=RouterPolicy(queue=QueuePolicy(wait_s=30)))
    live = place.lives.of("a")
    live.in_flight = 1
    lines, plan = Lines(), place.plan()
    with pytest.raises(RateLimited) as refused:
        plan.first(clock.steady_s())
    waiting = asyncio.ensure_future(lines.turn_of(plan, refused.value, clock))
    while not lines.count:
        await asyncio.sleep(0)
    for _ in range(3):
        place.health.failed(a, fault("server"), now_s=clock.steady_s(), cooldown_s=60)
    live.in_flight = 0
    lines.freed()
    with pytest.raises(Exception, match="left alone"):
        await waiting
    assert lines.count == 0


async def test_who_waits_for_one_region_keeps_nobody_from_another() -> None:
    opener = Door()
    async with Upstream(opener) as upstream:
        text = f"""
providers:
  up: {{api_base: {upstream.url}/v1, api_key: k}}
models:
  m: [{{model: up/a, max_parallel: 1, region: eu}}, {{model: up/b, max_parallel: 1, region: us}}]
router: {{num_retries: 0, queue: {{wait_s: 20}}}}
"""
        async with gateway(text) as wayport:
            calls = [asking(wayport, "eu 1", allowed_model_region="eu")]
            await until_asked(opener, 1)
            calls.append(asking(wayport, "eu 2", allowed_model_region="eu"))
            await until_waiting(wayport, 1)
            calls.append(asking(wayport, "us", allowed_model_region="us"))
            await until_asked(opener, 2)
            assert opener.asked == ["eu 1", "us"]
            opener.let(3)
            assert [(await call).status_code for call in calls] == [200, 200, 200]


async def test_a_key_that_fills_the_line_gives_its_last_place_to_one_that_has_none() -> None:
    async with door(queue="queue: {wait_s: 20, length: 3}") as (opener, wayport):
        greedy = {"authorization": f"Bearer {wayport.keys.add('sk-greedy-key-0000001')}"}
        modest = {"authorization": f"Bearer {wayport.keys.add('sk-modest-key-0000001')}"}

        def ask(text: str, headers: dict[str, str]) -> asyncio.Task[httpx.Response]:
            body = {"model": "m", "messages": [{"role": "user", "content": text}]}
            return asyncio.ensure_future(wayport.ask(body, headers=headers))

        calls = [ask("0", greedy)]
        await until_asked(opener, 1)
        for number in range(1, 4):
            calls.append(ask(str(number), greedy))
            await until_waiting(wayport, number)
        assert (await ask("4", greedy)).status_code == 429
        other = ask("other", modest)
        assert (await calls.pop()).status_code == 429
        # It has one of three places, and the other key two: that is as even as it gets.
        assert (await ask("another", modest)).status_code == 429
        opener.let(4)
        assert [(await call).status_code for call in [*calls, other]] == [200] * 4
        assert opener.asked == ["0", "1", "2", "other"]
        assert wayport.worker.routing.lines.count == 0
