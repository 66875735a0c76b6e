"""Breakers: what opens them, what closes them, and whom a failure is blamed on."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis.strategies import lists, sampled_from
from tests.routing.places import Place, deployment, fault

from wayport.core.errors import FaultClass, RateLimited, UpstreamFault
from wayport.routing.health import Blocked, Health
from wayport.routing.news import Rest
from wayport.routing.snapshot import Deployment, Model, TargetBudget, UpstreamCredential

COUNTED: tuple[FaultClass, ...] = ("server", "overloaded", "connect", "timeout", "cut", "malformed")
A = deployment("a")


def fail(health: Health, where: Deployment, kind: FaultClass, now_s: float = 0.0, **more: Any) -> None:
    retry_after_s = more.pop("retry_after_s", None)
    health.failed(where, fault(kind, retry_after_s), now_s=now_s, cooldown_s=5.0, **more)


@pytest.mark.parametrize("kind", COUNTED)
def test_three_failures_in_a_row_open_it(kind: FaultClass) -> None:
    health = Health()
    for _ in range(3):
        assert health.blocked(A, 0.0) is None
        fail(health, A, kind)
    blocked = health.blocked(A, 0.0)
    assert blocked is not None
    assert (blocked.until_s, blocked.scope) == (5.0, "deployment")


@pytest.mark.parametrize("kind", ["bad_request", "unsupported_param", "context_window", "content_policy"])
def test_the_clients_own_fault_never_counts(kind: FaultClass) -> None:
    health = Health()
    for _ in range(50):
        fail(health, A, kind)
    assert health.quiet


def test_one_poisonous_request_that_is_retried_opens_nothing() -> None:
    health = Health()
    fail(health, A, "server")
    fail(health, A, "server", again=True)
    fail(health, A, "server", again=True)
    assert health.blocked(A, 0.0) is None
    assert health.state_of(A, 0.0) == "closed"


def test_five_failures_open_it_whoever_made_them() -> None:
    health = Health()
    for number in range(5):
        assert health.blocked(A, 0.0) is None
        fail(health, A, "server", again=number % 3 != 0)
    assert health.blocked(A, 0.0) is not None


def test_one_that_fails_every_other_time_is_left_alone_too() -> None:
    health = Health()
    for number in range(5):
        fail(health, A, "server", now_s=number * 0.1)
        if health.blocked(A, number * 0.1):
            break
        health.succeeded(A, number * 0.1)
    assert health.blocked(A, 0.5) is not None


def test_rare_failures_open_nothing() -> None:
    health = Health()
    for number in range(200):
        fail(health, A, "server", now_s=number * 10.0)
        for _ in range(5):
            health.succeeded(A, number * 10.0 + 1)
        assert health.blocked(A, number * 10.0 + 1) is None


def opened(now_s: float = 0.0) -> Health:
    health = Health()
    for _ in range(3):
        fail(health, A, "server", now_s)
    return health


def test_after_its_rest_one_call_goes_first_and_its_success_lets_all_others_follow() -> None:
    health = opened()
    assert health.state_of(A, 5.0) == "half_open"
    health.probing(A, 5.0)
    assert health.blocked(A, 5.0) is not None
    health.succeeded(A, 5.5)
    assert health.state_of(A, 5.5) == "closed"


def test_a_failed_probe_opens_it_for_twice_as_long() -> None:
    health = opened()
    now_s = 5.0
    for rest_s in (10.0, 20.0, 40.0, 60.0, 60.0):
        health.probing(A, now_s)
        fail(health, A, "server", now_s)
        assert health.cooling_until_s("a") == now_s + rest_s
        now_s += rest_s


def test_a_probe_that_says_nothing_gives_its_place_to_the_next() -> None:
    health = opened()
    health.probing(A, 5.0)
    health.gave_up(A)
    assert health.blocked(A, 5.0) is None


def test_a_probe_that_takes_long_does_not_keep_the_others_away() -> None:
    health = opened()
    health.probing(A, 5.0)
    assert health.blocked(A, 9.0) is not None
    assert health.blocked(A, 10.0) is None


def test_a_refusal_of_the_request_itself_shows_that_it_is_alive() -> None:
    health = opened()
    health.probing(A, 5.0)
    fail(health, A, "bad_request", 5.0)
    assert health.state_of(A, 5.0) == "closed"


def test_a_429_is_left_alone_until_the_time_it_named_and_then_asked_without_a_probe() -> None:
    health = Health()
    fail(health, A, "rate_limit", retry_after_s=17.0)
    blocked = health.blocked(A, 16.9)
    assert blocked is not None
    assert not blocked.soft
    health.probing(A, 17.0)
    assert health.blocked(A, 17.0) is None


def test_without_a_cooldown_only_times_that_were_named_are_kept() -> None:
    health = Health()
    for kind in (*COUNTED, "authentication", "not_found", "rate_limit"):
        for _ in range(9):
            health.failed(A, fault(kind), now_s=0.0, cooldown_s=0.0)
    assert health.quiet
    health.failed(A, fault("rate_limit", 3.0), now_s=0.0, cooldown_s=0.0)
    assert health.blocked(A, 2.0) is not None


# ---------------------------------------------------------------------------------------------------------- attribution
def with_key(name: str, key: str, **more: Any) -> Deployment:
    return deployment(name, credential=UpstreamCredential(reference="config", value=key), **more)


@pytest.mark.parametrize("kind", ["authentication", "quota"])
def test_a_bad_credential_is_left_alone_wherever_it_is_used(kind: FaultClass) -> None:
    health = Health()
    fail(health, with_key("a", "k1"), kind)
    blocked = health.blocked(with_key("b", "k1"), 0.0)
    assert blocked is not None
    assert blocked.scope == "credential"
    assert health.blocked(with_key("a", "k2"), 0.0) is None


def test_a_403_closes_the_credential_at_that_model_and_a_second_one_everywhere() -> None:
    health = Health()
    fail(health, with_key("a", "k1"), "permission")
    assert health.blocked(with_key("a", "k1"), 0.0) is not None
    assert health.blocked(with_key("b", "k1"), 0.0) is None
    fail(health, with_key("b", "k1"), "permission")
    assert health.blocked(with_key("c", "k1"), 0.0) is not None


def test_a_404_is_the_models_with_whatever_credential() -> None:
    health = Health()
    fail(health, with_key("a", "k1"), "not_found")
    blocked = health.blocked(with_key("a", "k2"), 0.0)
    assert blocked is not None
    assert blocked.scope == "model"
    assert health.blocked(with_key("b", "k1"), 0.0) is None


def test_a_new_credential_in_the_configuration_begins_anew() -> None:
    health = Health()
    fail(health, with_key("a", "old"), "authentication")
    assert health.blocked(with_key("a", "new"), 0.0) is None


def test_memory_has_an_end() -> None:
    health = Health()
    for number in range(20_000):
        fail(health, deployment(str(number)), "not_found", now_s=number)
    assert len(health._models) <= 4096


# --------------------------------------------------------------------------------------------------------- in the plan
def test_a_dead_single_deployment_fails_fast_with_what_was_wrong() -> None:
    here = Place(Model(name="m", deployments=(A,)), health=opened())
    with pytest.raises(UpstreamFault, match=r"`m` is left alone for 4\.0 s after: server") as caught:
        here.plan().first(1.0)
    assert (caught.value.status, caught.value.retry_after_s) == (503, 4.0)


def test_in_litellm_mode_it_is_said_in_its_words() -> None:
    here = Place(Model(name="m", deployments=(A,)), health=opened(), compat="litellm")
    with pytest.raises(RateLimited, match=r"No deployments available for selected model\. Try again in 4 seconds"):
        here.plan().first(1.0)


def test_a_model_that_is_down_falls_back_at_once() -> None:
    models = (Model(name="m", deployments=(A,), fallbacks=("n",)), Model(name="n", deployments=(deployment("b"),)))
    step = Place(*models, health=opened()).plan().first(1.0)
    assert (step.deployment.id, step.reason) == ("b", "fallback")


def test_a_half_open_deployment_gets_one_call_of_many() -> None:
    here = Place(Model(name="m", deployments=(A, deployment("b"))), health=opened())
    plan = here.plan()
    while plan.first(6.0).deployment.id != "a":
        plan = here.plan()
    here.health.probing(A, 6.0)
    assert set(here.chosen(30, now_s=6.0)) == {"b"}


def test_a_chain_passes_over_a_link_that_is_down() -> None:
    chain = Model(name="m", ordered=True, deployments=(A, deployment("b")))
    here = Place(chain, health=opened())
    assert here.chosen(3, now_s=1.0) == ["b", "b", "b"]
    plan = here.plan()
    plan.first(1.0)
    assert plan.decisions[0].removed == {"a": "deployment left alone for 4.0 s after server"}


# ------------------------------------------------------------------------------------------- as many as are allowed
def test_as_many_failures_in_a_minute_as_are_allowed_open_nothing() -> None:
    health, lenient = Health(), deployment("a", allowed_fails={"default": 6})
    for number in range(6):
        fail(health, lenient, "server", now_s=number * 1.0)
        assert health.blocked(lenient, number * 1.0) is None
    fail(health, lenient, "server", now_s=7.0)
    blocked = health.blocked(lenient, 7.0)
    assert blocked is not None
    assert blocked.until_s == 12.0


def test_a_minute_begins_anew_and_successes_do_not_forget_it() -> None:
    health, strict = Health(), deployment("a", allowed_fails={"default": 1})
    fail(health, strict, "timeout", now_s=100.0)
    health.succeeded(strict, 140.0)
    fail(health, strict, "timeout", now_s=161.0)
    assert health.blocked(strict, 161.0) is None
    health.succeeded(strict, 200.0)
    fail(health, strict, "timeout", now_s=210.0)
    assert health.blocked(strict, 210.0) is not None


def test_none_allowed_is_the_first_one() -> None:
    health, strict = Health(), deployment("a", allowed_fails={"default": 0})
    fail(health, strict, "cut")
    assert health.blocked(strict, 0.0) is not None


def test_a_class_of_failure_may_have_its_own_number_of_all_that_failed() -> None:
    health, mixed = Health(), deployment("a", allowed_fails={"timeout": 0, "rate_limit": 2, "authentication": 2})
    fail(health, mixed, "rate_limit", retry_after_s=30.0)
    fail(health, mixed, "authentication")
    assert health.blocked(mixed, 0.0) is None
    fail(health, mixed, "authentication")
    blocked = health.blocked(mixed, 0.0)
    assert blocked is not None
    assert blocked.scope == "credential"
    # Of what has no number the breaker's own rules hold.
    other = Health()
    for _ in range(2):
        fail(other, mixed, "server")
        assert other.blocked(mixed, 0.0) is None
    fail(other, mixed, "timeout")
    assert other.blocked(mixed, 0.0) is not None


def test_a_number_for_all_is_no_reason_to_doubt_what_is_sure() -> None:
    for kind, retry_after_s in (("rate_limit", 30.0), ("authentication", None), ("not_found", None)):
        health, lenient = Health(), deployment("a", allowed_fails={"default": 100})
        fail(health, lenient, kind, retry_after_s=retry_after_s)  # type: ignore[arg-type]
        assert health.blocked(lenient, 0.0) is not None
    for kind in ("bad_request", "content_policy"):
        health = Health()
        for _ in range(5):
            fail(health, deployment("a", allowed_fails={"default": 0}), kind)  # type: ignore[arg-type]
        assert health.quiet


def test_a_probe_that_fails_opens_it_again_however_many_are_allowed() -> None:
    health, lenient = Health(), deployment("a", allowed_fails={"default": 1})
    fail(health, lenient, "server")
    fail(health, lenient, "server")
    assert health.blocked(lenient, 6.0) is None
    fail(health, lenient, "server", now_s=66.0)
    blocked = health.blocked(lenient, 66.0)
    assert blocked is not None
    assert blocked.until_s == 76.0


def test_a_probes_word_is_the_weakest_and_a_budgets_the_strongest() -> None:
    health = Health()
    rich = deployment("a", budget=TargetBudget(counter="deployment:a", max_nano_usd=1))

    def scope() -> str | None:
        found = health.blocked(rich, 0.0)
        return None if found is None else found.scope

    health.shut_out("a", Blocked(9.0, "probe", fault("server"), soft=True))
    assert scope() == "probe"
    assert health.state_of(rich, 0.0) == "closed"
    fail(health, rich, "rate_limit", retry_after_s=5.0)
    assert scope() == "deployment"
    health.shut_out("deployment:a", Blocked(9.0, "budget", fault("quota")))
    assert scope() == "budget"
    # What is over says nothing.
    assert health.blocked(rich, 9.0) is None


OTHERWISE = ("succeeded", "gave up", "heard", "heard that it is over", "shut out", "let in", "gone", "a minute later")


@given(
    lists(sampled_from((*COUNTED, "authentication", "not_found", "rate_limit", "bad_request", *OTHERWISE)), max_size=30)
)
def test_it_is_quiet_exactly_while_nothing_is_remembered(events: list[Any]) -> None:
    """Calls that are quiet go by without a look at any deployment."""
    health, now_s = Health(), 0.0
    names = {"deployment": ("a",), "model": ("https://a.example", "a"), "credential": ("p", "c")}
    for event in events:
        match event:
            case "succeeded":
                health.succeeded(A, now_s)
            case "gave up":
                health.gave_up(A)
            case "heard" | "heard that it is over":
                left_s = 5.0 if event == "heard" else 0.0
                for scope, named in names.items():
                    health.hear(Rest(scope=scope, names=named, left_s=left_s, rest_s=left_s), now_s)  # type: ignore[arg-type]
            case "shut out":
                health.shut_out("a", Blocked(now_s + 9.0, "probe", fault("server")))
            case "let in":
                health.let_in("a")
            case "gone":
                health.keep(set())
            case "a minute later":
                now_s += 60.0
            case kind:
                fail(health, A, kind, now_s)
        assert health.quiet is not (any(health._groups.values()) or bool(health._shut_out))
        if health.quiet:
            assert health.blocked(A, now_s) is None
