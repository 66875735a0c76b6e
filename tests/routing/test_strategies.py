"""Who is chosen, by which strategy. Deterministic under the injected random source and clock."""

from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis.strategies import DataObject, data, integers, none, sampled_from
from tests.routing.places import Place, Request, deployment, fault

from wayport.core.price import Price, Rates
from wayport.core.strategy import StrategyArgs
from wayport.core.usage import Usage
from wayport.routing.group import Candidate, Group
from wayport.routing.live import WHOLE_SHARE, LiveStates
from wayport.routing.needs import Needs
from wayport.routing.plan import Step
from wayport.routing.snapshot import Deployment, Model, RouterPolicy
from wayport.routing.strategies import MAKERS, SHORT, known
from wayport.routing.strategies.strategy import lowest
from wayport.routing.wishes import Wishes


def priced(name: str, usd: int | None, **more: Any) -> Any:
    price = None if usd is None else Price(rates=Rates(input=usd * 10**9, output=usd * 10**9))
    return deployment(name, price=price, **more)


def place(strategy: str, *deployments: Any, **more: Any) -> Place:
    return Place(Model(name="m", deployments=deployments, strategy=strategy), **more)


@pytest.mark.parametrize("name", [*MAKERS, *SHORT])
def test_every_strategy_chooses_alike_from_the_same_chance(name: str) -> None:
    group = [deployment(each) for each in "abcd"]
    first, second = place(name, *group).chosen(30), place(name, *group).chosen(30)
    assert first == second
    assert set(first) <= set("abcd")


def test_only_known_names_are_known() -> None:
    assert known("least-busy")
    assert known("cost-based")
    assert not known("best")


def test_least_busy_takes_the_idlest_and_chance_decides_between_equals() -> None:
    here = place("least-busy", *[deployment(each) for each in "abc"])
    here.lives.of("a").in_flight = 3
    chosen = here.chosen(40)
    assert set(chosen) == {"b", "c"}


def answer(here: Place, name: str, seconds: float, tokens: int = 100, first_s: float | None = None) -> None:
    here.lives.of(name).answered(0.0, seconds, Usage(output_tokens=tokens), first_s)


def test_latency_based_follows_time_per_token() -> None:
    here = place("latency-based-routing", deployment("a"), deployment("b"))
    answer(here, "a", 10.0)
    answer(here, "b", 1.0)
    assert set(here.chosen(20)) == {"b"}


def test_latency_based_follows_the_first_token_of_streams() -> None:
    here = place("latency-based-routing", deployment("a"), deployment("b"))
    answer(here, "a", 10.0, first_s=0.1)
    answer(here, "b", 1.0, first_s=0.9)
    assert set(here.chosen(20, request=Request(needs=Needs(stream=True)))) == {"a"}
    assert set(here.chosen(20)) == {"b"}


def test_who_was_slow_once_is_tried_again_after_a_while() -> None:
    here = place("latency-based-routing", deployment("a"), deployment("b"))
    answer(here, "a", 2.0)
    answer(here, "b", 1.0)
    here.lives.of("b").answered(600.0, 1.0, Usage(output_tokens=100))
    assert set(here.chosen(20, now_s=600.0)) == {"a"}


def test_a_timeout_makes_a_deployment_look_slow() -> None:
    here = place("latency-based-routing", deployment("a"), deployment("b"))
    answer(here, "a", 1.0)
    answer(here, "b", 1.05)
    here.lives.of("a").timed_out(0.0)
    assert set(here.chosen(20)) == {"b"}


def test_however_many_timeouts_an_answer_makes_it_a_candidate_again() -> None:
    live = place("latency-based-routing", deployment("a"), deployment("b")).lives.of("a")
    for _ in range(5000):
        live.timed_out(0.0)
    assert live.pace_s(0.0, stream=True) == 600.0
    for _ in range(60):
        live.answered(0.0, 1.0, Usage(output_tokens=100), 0.1)
    assert live.pace_s(0.0, stream=True) < 0.2


def test_cost_based_takes_the_cheapest_for_this_request() -> None:
    wordy = deployment("wordy", price=Price(rates=Rates(input=10**9, output=10 * 10**9)))
    reader = deployment("reader", price=Price(rates=Rates(input=4 * 10**9, output=10**9)))
    here = place("cost-based-routing", wordy, reader)
    long_read = Request(needs=Needs(expected_tokens=10_000, output_tokens=10))
    long_answer = Request(needs=Needs(expected_tokens=10, output_tokens=10_000))
    assert here.chosen(request=long_read) == ["wordy"]
    assert here.chosen(request=long_answer) == ["reader"]


def test_cost_based_asks_the_unpriced_last_and_the_free_first() -> None:
    free = deployment("free", price=Price(free=True))
    assert set(place("cost-based-routing", priced("a", None), priced("b", 9), free).chosen(9)) == {"free"}
    assert set(place("cost-based-routing", priced("a", None), priced("b", 9)).chosen(9)) == {"b"}


def test_usage_based_takes_the_smallest_share_of_its_limit() -> None:
    here = place("usage-based-routing-v2", deployment("a", tpm=1000), deployment("b", tpm=100))
    here.lives.of("a").hear(0.0, requests=0, tokens=300)
    here.lives.of("b").hear(0.0, requests=0, tokens=20)
    assert set(here.chosen(9)) == {"b"}
    here.lives.of("b").hear(0.0, requests=0, tokens=30)
    assert set(here.chosen(9)) == {"a"}


def limited(rpm: int | None, tpm: int | None) -> Deployment:
    return deployment("a", rpm=rpm, tpm=tpm)


@given(data())
def test_the_share_that_is_kept_is_the_share_that_a_look_at_all_use_would_find(data: DataObject) -> None:
    limits = none() | integers(0, 50) | integers(10**9, 10**13)
    lives, now_s = LiveStates(), 100.0
    live = lives.of("a")
    known = limited(data.draw(limits), data.draw(limits))
    Candidate(known, live, 1.0)
    for _ in range(data.draw(integers(1, 30))):
        now_s += data.draw(sampled_from((0.0, 1.0, 20.0, 61.0)))
        match data.draw(sampled_from(("begin", "used", "answered", "hear", "look", "reload"))):
            case "begin":
                live.begin(now_s)
                live.end()
            case "used":
                live.used(data.draw(integers(0, 99)))
            case "answered":
                live.answered(now_s, 1, Usage(input_tokens=data.draw(integers(0, 99))))
            case "hear":
                live.hear(now_s, requests=data.draw(integers(0, 9)), tokens=data.draw(integers(0, 99)))
            case "reload":
                known = limited(data.draw(limits), data.draw(limits))
                lives.keep({"a": known})
            case _:
                live.minutes.end(now_s)
        assert live.weights is not None
        of_request, of_token = live.weights
        share = live.requests_now(now_s) * of_request + live.tokens_now(now_s) * of_token
        assert live.weighed_at(now_s) == share
        # Whoever is at a limit has used a whole share: that is how the others are passed over at one look.
        for limit, used in ((known.rpm, live.requests_now(now_s)), (known.tpm, live.tokens_now(now_s))):
            assert not (limit is not None and used and used >= limit) or live.weighed >= WHOLE_SHARE
        live.minutes.end(now_s)
        assert live.weighed == share


def test_usage_based_forgets_a_minute_that_is_over_and_what_was_used_after_it() -> None:
    here = place("usage-based-routing-v2", deployment("a", tpm=1000), deployment("b", tpm=1000))
    here.lives.of("a").hear(0.0, requests=1, tokens=300)
    here.lives.of("b").hear(50.0, requests=1, tokens=20)
    assert set(here.chosen(9, now_s=50.0)) == {"b"}
    assert set(here.chosen(9, now_s=61.0)) == {"a"}
    here.lives.of("a").used(500)
    assert set(here.chosen(9, now_s=62.0)) == {"a"}


def test_a_look_ahead_ends_nobodys_minute() -> None:
    policy = RouterPolicy(num_retries=3, cooldown_s=0.0)
    here = place("usage-based-routing-v2", *[deployment(each, rpm=10) for each in "abc"], policy=policy)
    for name, requests in (("a", 5), ("b", 2), ("c", 1)):
        here.lives.of(name).hear(0.0, requests=requests, tokens=0)
    plan = here.plan()
    step: Step | None = plan.first(59.9)
    for _ in range(3):
        assert step is not None
        assert step.wait_s == 0.0
        step = plan.after(step.deployment, fault("server", retry_after_s=1.0), 59.9)
    assert step is not None
    assert step.wait_s >= 1.0
    assert set(here.chosen(9, now_s=59.95)) == {"c"}


def test_power_of_two_prefers_the_faster_and_the_less_busy_but_asks_all() -> None:
    here = place("power-of-two", *[deployment(each) for each in "abcd"])
    for name, seconds in (("a", 1.0), ("b", 1.0), ("c", 1.0), ("d", 8.0)):
        answer(here, name, seconds)
    counted = Counter(here.chosen(2000))
    assert counted["d"] < 100
    assert min(counted[name] for name in "abc") > 400


def test_power_of_two_draws_by_weight() -> None:
    here = place("power-of-two", deployment("a", weight=0.0), deployment("b", weight=1.0))
    assert set(here.chosen(50)) == {"b"}


def test_those_without_a_share_serve_when_the_others_rest() -> None:
    here = place(
        "simple-shuffle", deployment("a", weight=0.0), deployment("b", weight=0.0), deployment("c", weight=1.0)
    )
    here.lives.of("c")
    group = here.chooser.group(here.table.find("m"))
    assert {here.chosen()[0] for _ in range(5)} == {"c"}
    plan = here.plan()

    second = plan.after(plan.first(0.0).deployment, fault("server"), 0.0)
    assert second is not None
    assert second.deployment.id in {"a", "b"}
    assert len(group.able) == 3


def test_priority_takes_the_lowest_order_and_the_next_when_that_fails() -> None:
    here = place("priority", deployment("a", order=2), deployment("b", order=1), deployment("c", order=1))
    assert set(here.chosen(30)) == {"b", "c"}


def test_round_robin_takes_turns() -> None:
    assert place("round-robin", *[deployment(each) for each in "abc"]).chosen(7) == ["a", "b", "c", "a", "b", "c", "a"]


def test_a_request_may_ask_for_another_strategy() -> None:
    here = place("simple-shuffle", priced("a", 5), priced("b", 1))
    assert set(here.chosen(20, wishes=Wishes(strategy="cost-based"))) == {"b"}


def test_a_models_strategy_wins_over_the_routers() -> None:
    group = (deployment("a"), deployment("b"))
    policy = RouterPolicy(strategy="round-robin")
    assert Place(Model(name="m", deployments=group), policy=policy).chosen(4) == ["a", "b", "a", "b"]


def test_a_choice_is_told_with_its_scores() -> None:
    here = place("cost-based-routing", priced("a", 5), priced("b", 1))
    plan = here.plan()
    plan.first(0.0)
    (decision,) = plan.decisions
    assert (decision.chosen, decision.strategy, decision.candidates) == ("b", "cost-based-routing", 2)
    assert decision.scores["b"] < decision.scores["a"]


# ------------------------------------------------------------------------------------------- what a strategy is told
def told(args: StrategyArgs, *names: str) -> Place:
    group = tuple(deployment(name) for name in names)
    return Place(Model(name="m", deployments=group, strategy="latency-based-routing", strategy_args=args))


def test_a_buffer_lets_slower_ones_take_part() -> None:
    for buffer, expected in ((None, {"a"}), (0.0, {"a"}), (0.5, {"a", "b"}), (3.0, {"a", "b", "c"})):
        here = told(StrategyArgs(lowest_latency_buffer=buffer), "a", "b", "c")
        for name, seconds in (("a", 1.0), ("b", 1.4), ("c", 3.0)):
            answer(here, name, seconds)
        assert set(here.chosen(60)) == expected


def test_a_measurement_that_is_too_old_says_nothing() -> None:
    here = told(StrategyArgs(ttl_s=30.0), "a", "b")
    answer(here, "a", 9.0)
    here.lives.of("b").answered(20.0, 1.0, Usage(output_tokens=100))
    assert set(here.chosen(20, now_s=29.0)) == {"b"}
    assert set(here.chosen(20, now_s=31.0)) == {"a"}


def test_fewer_samples_follow_sooner() -> None:
    for samples, expected in ((1, 0.01), (None, 0.082)):
        here = told(StrategyArgs(samples=samples), "a", "b")
        here.chosen()
        answer(here, "a", 10.0)
        answer(here, "a", 1.0)
        assert here.lives.of("a").token_s == pytest.approx(expected)


@pytest.mark.parametrize("equal", [range(5, 6), range(3), range(7, 100, 40), range(0, 100, 3), range(100)])
def test_chance_decides_alike_between_equals_however_many_they_are(equal: range) -> None:
    lives, random = LiveStates(), Random(2)
    able = Group(Model(name="m"), tuple(deployment(str(number)) for number in range(100)), lives).able
    scores = [0 if number in equal else 1 for number in range(100)]
    times = Counter(int(lowest(able, scores, random).id) for _ in range(200 * len(equal)))
    assert times.keys() == set(equal)
    assert all(120 < count < 290 for count in times.values())
