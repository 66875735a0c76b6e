"""The bars of routing, on a simulated clock: the gateway's own plan, breakers and strategies against upstreams of numbers."""

import pytest
from bench.routing_sim import STRATEGIES, TEN, Day, figure, hard_times, table


def test_one_dead_and_one_flapping_deployment_of_three_cost_no_call_in_a_thousand() -> None:
    result = hard_times(length_s=6 * 3600)
    assert result.calls > 4000
    assert result.success >= 0.999
    assert result.most_failures_before_open <= 5


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_simulated_hour_is_the_same_each_time(strategy: str) -> None:
    first = Day(TEN, strategy, length_s=900).run()
    assert first == Day(TEN, strategy, length_s=900).run()
    assert first.success > 0.95


def test_pinned_sessions_find_more_in_the_cache() -> None:
    apart = Day(TEN, "power-of-two", length_s=3600).run()
    pinned = Day(TEN, "power-of-two", length_s=3600, sticky=True).run()
    assert pinned.cached > 3 * apart.cached
    assert pinned.usd_per_1000 < apart.usd_per_1000


def test_what_is_told_of_it() -> None:
    results = [Day(TEN, strategy, length_s=600).run() for strategy in STRATEGIES[:2]]
    assert len(list(table(results))) == 4
    assert figure(results).count("<circle") == 2
