"""Budgets of providers and deployments: who has spent it is left alone, and the client is told when nobody is left."""

from typing import Any

import pytest
from tests.fakes.gateway import gateway
from tests.fakes.manual_clock import ManualClock
from tests.fakes.upstream import Upstream, by
from tests.pipeline.test_attempts_failures import ASK
from tests.pipeline.test_routing import named, said
from tests.routing.places import deployment

from wayport.config.problems import ConfigError
from wayport.control.leases import InProcess, Lessor
from wayport.core.errors import Unavailable
from wayport.core.lease import Claim, Grant
from wayport.core.record import AttemptRecord, CallRecord
from wayport.pipeline.target_budgets import TargetBudgets
from wayport.routing.health import Health
from wayport.routing.snapshot import Model, Snapshot, TargetBudget

DOLLAR = 1_000_000_000
DEAR = "prices: {input: 100000, output: 0}"
"""ten tokens, which is what the upstream reports, are a dollar"""


def config(upstream: Upstream, models: str, more: str = "", provider: str = "") -> str:
    return f"""
providers:
  up: {{api_base: {upstream.url}/v1, api_key: k{provider}}}
models:
{models}
router: {{num_retries: 0}}
{more}
"""


async def test_a_deployment_that_has_spent_its_budget_is_passed_over_and_the_explanation_says_so() -> None:
    models = f"  m: [{{model: up/a, {DEAR}, budget: {{max_usd: 2, per: 1d}}}}, {{model: up/b, {DEAR}}}]"
    async with Upstream(by(named)) as upstream, gateway(config(upstream, models)) as wayport:
        assert [await said(wayport, ASK) for _ in range(4)] == ["a", "a", "b", "b"]
        removed = list(wayport.records[-1].routing[0].removed.values())
        assert len(removed) == 1
        assert "is spent (2 of 2 USD per 1d)" in removed[0]
        assert [sum(record.target_windows.values()) for record in wayport.records] == [DOLLAR, DOLLAR, 0, 0]


async def test_when_all_have_spent_theirs_the_client_is_told_until_when() -> None:
    models = f"  m: {{model: up/a, {DEAR}}}\n  n: {{model: up/b, {DEAR}}}"
    async with Upstream(by(named)) as upstream:
        async with gateway(config(upstream, models, provider=", budget: {max_usd: 1, per: 1d}")) as wayport:
            assert await said(wayport, ASK) == "a"
            for model in ("m", "n"):
                answered = await wayport.ask({**ASK, "model": model})
                error = answered.json()["error"]
                assert (answered.status_code, error["code"]) == (429, "budget_exceeded")
                assert "provider `up` is spent (1 of 1 USD per 1d)" in error["message"]
                assert 0 < int(answered.headers["retry-after"]) <= 86_400
            assert len(upstream.requests) == 1


async def test_a_fallback_takes_over_from_one_that_has_spent_its_budget() -> None:
    models = f"  m: {{model: up/a, {DEAR}, budget: {{max_usd: 1}}, fallbacks: [n]}}\n  n: up/b"
    async with Upstream(by(named)) as upstream, gateway(config(upstream, models)) as wayport:
        assert [await said(wayport, ASK) for _ in range(3)] == ["a", "b", "b"]


async def test_litellms_spelling() -> None:
    async with Upstream(by(named)) as upstream:
        prices = "input_cost_per_token: 0.1, output_cost_per_token: 0"
        text = f"""
model_list:
  - model_name: m
    litellm_params: {{model: openai/a, api_base: {upstream.url}/v1, api_key: k, {prices}, order: 1}}
  - model_name: m
    litellm_params:
      {{model: groq/b, api_base: {upstream.url}/v1, api_key: k, {prices}, order: 2, max_budget: 2, budget_duration: 30d}}
router_settings:
  provider_budget_config:
    openai: {{budget_limit: 1.0, time_period: 1d}}
"""
        async with gateway(text) as wayport:
            assert [await said(wayport, ASK) for _ in range(3)] == ["a", "b", "b"]
            assert (await wayport.ask(ASK)).status_code == 429
            assert not wayport.worker.pipeline.table.snapshot.warnings


async def test_a_budget_below_the_smallest_amount_ends_with_the_first_call() -> None:
    async with Upstream(by(named)) as upstream:
        prices = "input_cost_per_token: 0.1, output_cost_per_token: 0"
        text = f"""
model_list:
  - model_name: m
    litellm_params: {{model: openai/a, api_base: {upstream.url}/v1, api_key: k, {prices}}}
router_settings: {{provider_budget_config: {{openai: {{budget_limit: 0.000000000001, time_period: 1d}}}}}}
"""
        async with gateway(text) as wayport:
            assert await said(wayport, ASK) == "a"
            assert (await wayport.ask(ASK)).status_code == 429


async def test_a_wildcards_budget_is_one_for_all_its_models() -> None:
    models = f'  "x/*": {{model: "up/*", {DEAR}, budget: {{max_usd: 2}}}}'
    async with Upstream(by(named)) as upstream, gateway(config(upstream, models)) as wayport:
        assert [await said(wayport, {**ASK, "model": name}) for name in ("x/a", "x/b")] == ["a", "b"]
        assert (await wayport.ask({**ASK, "model": "x/c"})).status_code == 429


async def test_a_period_that_is_none_is_named() -> None:
    async with Upstream([]) as upstream:
        with pytest.raises(ConfigError, match="day"):
            async with gateway(config(upstream, "  m: {model: up/a, budget: {max_usd: 1, per: day}}")):
                pass


async def test_a_budget_for_nobody_deserves_a_warning() -> None:
    text = """
model_list: [{model_name: m, litellm_params: {model: openai/a, api_key: k}}]
router_settings: {provider_budget_config: {opnai: {budget_limit: 1, time_period: 1d}}}
"""
    async with gateway(text) as wayport:
        assert any("`opnai`" in warning for warning in wayport.worker.pipeline.table.snapshot.warnings)


# ---------------------------------------------------------------------------------------------------- without a gateway
P = TargetBudget(counter="provider:p", max_nano_usd=3 * DOLLAR, per="1d")
A, B = deployment("a"), deployment("b")
FACTS = Snapshot(models={"m": Model(name="m", deployments=(A, B))}, provider_budgets={"p": P})


class Away:
    def __init__(self) -> None:
        self.is_away = True
        self.settled = 0

    async def claim(self, claim: Claim) -> Grant:
        if self.is_away:
            raise Unavailable("away")
        return Grant(counter=claim.counter, settled=self.settled + claim.held)

    def state(self, claim: Claim) -> None: ...


def record(nano_usd: int | None, **more: Any) -> CallRecord:
    return CallRecord(call_id="c", started_s=0, ended_s=0, cost_nano_usd=nano_usd, **more)


async def test_what_workers_spend_adds_up_and_a_new_window_begins_at_nothing() -> None:
    clock = ManualClock()
    lessor = Lessor(clock=clock)
    workers = []
    for name in ("one", "two"):
        health = Health()
        worker = TargetBudgets(InProcess(lessor, name), health, clock=clock)
        worker.take(FACTS)
        await worker.look()
        workers.append((worker, health))
    for worker, _ in workers:
        worker.charge(record(2 * DOLLAR), A)
    for worker, health in workers:
        assert health.quiet
        await worker.look()
    await workers[0][0].look()
    for _, health in workers:
        blocked = health.blocked(B, clock.steady_s())
        assert blocked is not None
        assert blocked.scope == "budget"
    clock.advance(86_400)
    for worker, health in workers:
        assert health.blocked(B, clock.steady_s()) is None
        await worker.look()
        assert health.quiet


async def test_where_nobody_knows_what_was_spent_nothing_is_until_somebody_does() -> None:
    for closed in (True, False):
        clock, lender, health = ManualClock(), Away(), Health()
        worker = TargetBudgets(lender, health, clock=clock, closed=closed)
        worker.take(FACTS)
        clock.advance(10)
        await worker.look()
        assert (health.blocked(A, clock.steady_s()) is not None) is closed
        lender.is_away = False
        await worker.look()
        assert health.quiet
        # From here on it is known, whoever is away: own calls are counted on top.
        lender.is_away = True
        worker.charge(record(3 * DOLLAR), A)
        await worker.look()
        assert health.blocked(A, clock.steady_s()) is not None


def test_what_an_abandoned_attempt_has_cost_counts_where_it_was_made() -> None:
    other = TargetBudget(counter="provider:q", max_nano_usd=9 * DOLLAR)
    worker = TargetBudgets(Away(), Health(), clock=ManualClock())
    worker.take(Snapshot(models=FACTS.models, provider_budgets={"p": P, "q": other}))
    attempts = [
        AttemptRecord(deployment="a", provider="p", model="a", cost_nano_usd=2),
        AttemptRecord(deployment="b", provider="q", model="b"),
    ]
    made = record(5, wasted_nano_usd=2, attempts=attempts)
    worker.charge(made, deployment("b", provider="q"))
    assert sorted((name.partition("|")[0], amount) for name, amount in made.target_windows.items()) == [
        ("provider:p", 2),
        ("provider:q", 5),
    ]


def test_a_budget_that_is_gone_binds_nobody() -> None:
    health = Health()
    worker = TargetBudgets(Away(), health, clock=ManualClock())
    worker.take(FACTS)
    assert not health.quiet
    worker.take(Snapshot(models=FACTS.models))
    assert health.quiet
    assert not worker.any
