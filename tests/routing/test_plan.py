"""Which deployment is tried next, after what wait, and when to give up."""

from random import Random
from typing import Any

import pytest
from tests.routing.places import deployment, fault, planned

from wayport.core.errors import CredentialMissing, FaultClass
from wayport.routing.group import Group
from wayport.routing.health import Health
from wayport.routing.live import LiveStates
from wayport.routing.needs import NOTHING
from wayport.routing.plan import Plan
from wayport.routing.snapshot import Deployment, FallbackRules, Model, RouterPolicy
from wayport.routing.strategies.shuffle import SimpleShuffle
from wayport.routing.strategies.strategy import View


def plan(*models: Model, policy: RouterPolicy | None = None, health: Health | None = None, **more: Any) -> Plan:
    return planned(*models, policy=policy, health=health, **more)


def walk(a_plan: Plan, kinds: list[FaultClass]) -> list[str]:
    """The upstream models tried while the attempts fail with these faults."""
    step = a_plan.first(0.0)
    tried = [step.deployment.id]
    for kind in kinds:
        following = a_plan.after(step.deployment, fault(kind), 0.0)
        if following is None:
            break
        step = following
        tried.append(step.deployment.id)
    return tried


def test_two_retries_are_three_attempts() -> None:
    single = Model(name="m", deployments=(deployment("a"),))
    assert walk(plan(single), ["server"] * 5) == ["a", "a", "a"]


def test_a_retry_of_the_same_deployment_waits() -> None:
    one = plan(Model(name="m", deployments=(deployment("a"),)))
    step = one.first(0.0)
    following = one.after(step.deployment, fault("server"), 0.0)
    assert following is not None
    assert 0 < following.wait_s <= 0.5


def test_the_upstreams_own_retry_after_is_the_wait() -> None:
    one = plan(Model(name="m", deployments=(deployment("a"),)))
    following = one.after(one.first(0.0).deployment, fault("rate_limit", 7.0), 0.0)
    assert following is not None
    assert following.wait_s == 7.0


def test_nobody_is_kept_waiting_for_an_hour() -> None:
    one = plan(Model(name="m", deployments=(deployment("a"),)))
    assert one.after(one.first(0.0).deployment, fault("rate_limit", 3600.0), 0.0) is None


def test_a_chain_answers_with_its_next_link_at_once() -> None:
    chain = plan(Model(name="m", ordered=True, deployments=(deployment("a"), deployment("b"))))
    following = chain.after(chain.first(0.0).deployment, fault("rate_limit", 60.0), 0.0)
    assert following is not None
    assert (following.deployment.id, following.wait_s) == ("b", 0.0)


def test_a_chain_is_walked_to_its_end_without_retries() -> None:
    chain = Model(name="m", ordered=True, num_retries=0, deployments=tuple(deployment(n) for n in "abcd"))
    assert walk(plan(chain), ["server"] * 9) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("kind", ["bad_request", "unsupported_param"])
def test_the_clients_own_fault_is_tried_once(kind: FaultClass) -> None:
    chain = Model(name="m", ordered=True, deployments=(deployment("a"), deployment("b")))
    assert walk(plan(chain), [kind]) == ["a"]


@pytest.mark.parametrize("kind", ["authentication", "quota", "not_found", "context_window"])
def test_what_a_deployment_would_say_again_is_not_asked_again(kind: FaultClass) -> None:
    assert walk(plan(Model(name="m", deployments=(deployment("a"),))), [kind] * 3) == ["a"]


def test_a_retry_goes_past_those_that_would_say_the_same_again() -> None:
    pair = Model(name="m", ordered=True, num_retries=3, deployments=(deployment("a"), deployment("b")))
    assert walk(plan(pair), ["context_window", "server", "server"]) == ["a", "b", "b", "b"]


def test_switched_off_onward_rules_give_the_error_to_the_client() -> None:
    policy = RouterPolicy(num_retries=0, fallbacks=FallbackRules(on_rate_limit=False))
    chain = Model(name="m", ordered=True, deployments=(deployment("a"), deployment("b")))
    assert walk(plan(chain, policy=policy), ["rate_limit"]) == ["a"]
    assert walk(plan(chain, policy=policy), ["server"]) == ["a", "b"]


def test_fallback_models_come_after_the_retries_and_none_twice() -> None:
    first = Model(name="m", deployments=(deployment("a"),), fallbacks=("n",))
    second = Model(name="n", deployments=(deployment("b"),), fallbacks=("m",))
    policy = RouterPolicy(num_retries=1)
    assert walk(plan(first, second, policy=policy), ["server"] * 9) == ["a", "a", "b", "b"]


def test_a_context_error_goes_to_the_models_meant_for_it() -> None:
    first = Model(name="m", deployments=(deployment("a"),), fallbacks=("n",), context_window_fallbacks=("big",))
    others = (Model(name="n", deployments=(deployment("b"),)), Model(name="big", deployments=(deployment("c"),)))
    assert walk(plan(first, *others), ["context_window"]) == ["a", "c"]


def test_fallbacks_true_takes_any_other_model_the_cheapest_first_but_the_same_provider_before() -> None:
    policy = RouterPolicy(num_retries=0, fallbacks=FallbackRules(any_other=True))
    first = Model(name="m", deployments=(deployment("a"),))
    foreign = Model(
        name="foreign",
        deployments=(Deployment(id="f", model="foreign", provider="q", upstream_model="f", base_url="http://x"),),
    )
    same = Model(name="same", deployments=(deployment("s"),))
    assert walk(plan(first, foreign, same, policy=policy), ["server"] * 4) == ["a", "s", "f"]


def test_a_cooling_deployment_is_left_alone_while_another_is_ready() -> None:
    health = Health()
    health.failed(deployment("a"), fault("rate_limit"), now_s=0.0, cooldown_s=5.0)
    group = Model(name="m", deployments=(deployment("a"), deployment("b")))
    assert {plan(group, health=health).first(1.0).deployment.id for _ in range(20)} == {"b"}


def test_a_cooling_deployment_that_is_alone_is_asked_all_the_same() -> None:
    health = Health()
    health.failed(deployment("a"), fault("rate_limit"), now_s=0.0, cooldown_s=5.0)
    assert plan(Model(name="m", deployments=(deployment("a"),)), health=health).first(1.0).deployment.id == "a"


def test_single_server_errors_do_not_cool_but_three_in_a_row_do() -> None:
    health = Health()
    for _ in range(2):
        health.failed(deployment("a"), fault("server"), now_s=0.0, cooldown_s=5.0)
    assert health.cooling_until_s("a") == 0.0
    health.failed(deployment("a"), fault("server"), now_s=0.0, cooldown_s=5.0)
    assert health.cooling_until_s("a") == 5.0


def test_a_clients_own_fault_never_counts() -> None:
    health = Health()
    for _ in range(9):
        health.failed(deployment("a"), fault("bad_request"), now_s=0.0, cooldown_s=5.0)
    assert health.cooling_until_s("a") == 0.0


def test_the_lowest_order_of_a_group_comes_first() -> None:
    group = Model(name="m", deployments=(deployment("b", order=2), deployment("a", order=1)))
    assert walk(plan(group), ["server"]) == ["a", "b"]


def test_a_model_without_credential_says_which_variable_to_set() -> None:
    model = Model(name="m", deployments=(deployment("a", missing=("OPENAI_API_KEY",)),))
    with pytest.raises(CredentialMissing, match="OPENAI_API_KEY"):
        plan(model).first(0.0)


def test_deployments_without_credential_are_passed_over() -> None:
    chain = Model(name="m", ordered=True, deployments=(deployment("a", missing=("X",)), deployment("b")))
    assert walk(plan(chain), []) == ["b"]


def shuffled(able: list[Deployment], random: Random) -> str:
    group = Group(Model(name="m"), tuple(able), LiveStates())
    return SimpleShuffle().choose(group.able, View(0.0, random, NOTHING, "m", group.cumulative)).deployment.id


def test_shuffle_follows_the_weights() -> None:
    able = [deployment("a", weight=9.0), deployment("b", weight=1.0)]
    random = Random(7)
    picked = [shuffled(able, random) for _ in range(1000)]
    assert 850 < picked.count("a") < 950


def test_shuffle_follows_rpm_where_no_weight_is_given() -> None:
    able = [deployment("a", rpm=900), deployment("b", rpm=0)]
    assert {shuffled(able, Random(n)) for n in range(50)} == {"a"}
