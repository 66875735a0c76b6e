"""One node: whatever the interleaving, spend stays within the budget, and nearly all that it pays for is served."""

import pytest
from tests.fakes.gateway import Gateway, gateway
from tests.fakes.upstream import Upstream
from tests.proof.spending import COST, WORST_TOKENS, Biller, Result, config, storm

from wayport.access.principal import Budget, Holder


def spend(wayport: Gateway) -> int:
    return sum((r.cost_nano_usd or 0) + r.wasted_nano_usd for r in wayport.records if not r.opened)


async def run(calls: int, affordable: int, max_tokens: int | None) -> tuple[Result, int, Biller]:
    biller = Biller()
    async with Upstream(biller.script()) as upstream, gateway(config(upstream)) as wayport:
        budget = Budget(max_nano_usd=affordable * COST, duration="30d")
        key = wayport.keys.add("sk-budgeted-key-000001", holders=(Holder(scope="key", id="k", budgets=(budget,)),))
        result = await storm([wayport.url], key, calls=calls, max_tokens=max_tokens)
        await wayport.until_idle()
        gauge = next(g for g in wayport.worker.admission.gauges.all() if g.kind == "money")
        assert gauge.busy == 0
        assert gauge.held - gauge.free == spend(wayport)
        return result, spend(wayport), biller


def check(result: Result, spent: int, affordable: int) -> None:
    assert spent <= affordable * COST
    # A call that hung up was served as far as it wanted to be.
    assert result.served + result.left >= 0.95 * affordable
    assert spent >= 0.9 * affordable * COST
    assert sum(result.refused.values()) > 0


@pytest.mark.parametrize("max_tokens", [WORST_TOKENS, None])
async def test_a_small_storm_spends_the_budget_and_no_more(max_tokens: int | None) -> None:
    result, spent, _ = await run(150, 30, max_tokens)
    check(result, spent, 30)


@pytest.mark.proof
@pytest.mark.parametrize("max_tokens", [WORST_TOKENS, None])
async def test_a_thousand_calls_at_once_spend_a_budget_for_a_hundred(max_tokens: int | None) -> None:
    result, spent, _ = await run(1000, 100, max_tokens)
    check(result, spent, 100)
