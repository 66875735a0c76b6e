"""Filters, affinity, limits, `auto`, and what a request may ask for."""

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.routing.places import Place, Request, deployment, fault

from wayport.core.errors import BadRequest, ModelNotFound, RateLimited, WayportError
from wayport.core.price import Price, Rates
from wayport.routing.affinity import prompt_key, stored_at
from wayport.routing.needs import Needs, needs_of
from wayport.routing.resets import reset_s
from wayport.routing.snapshot import FallbackRules, Model, RouterPolicy
from wayport.routing.wishes import Link, Wishes, wishes_of

TRUE, FALSE = msgspec.Raw(b"true"), msgspec.Raw(b"false")


def group(*deployments: Any, **more: Any) -> Model:
    return Model(name="m", deployments=deployments, **more)


def told(here: Place, **more: Any) -> dict[str, str]:
    plan = here.plan(**more)
    plan.first(0.0)
    return plan.decisions[0].removed


# ----------------------------------------------------------------------------------------------------------------- tags
TAGGED = (
    deployment("free", tags=("free",)),
    deployment("paid", tags=("paid", "fast")),
    deployment("rest", tags=("default",)),
)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (["free"], {"free"}),
        (["paid"], {"paid"}),
        (["free", "fast"], {"free", "paid"}),
        (["unheard-of"], {"rest"}),
        ([], {"rest"}),
    ],
)
def test_tags_lead_to_deployments_that_have_them(tags: list[str], expected: set[str]) -> None:
    assert set(Place(group(*TAGGED)).chosen(40, request=Request(tags=tags))) == expected


def test_all_tags_may_be_demanded() -> None:
    here = Place(group(*TAGGED), policy=RouterPolicy(tag_match_any=False))
    assert set(here.chosen(20, request=Request(tags=["paid", "fast"]))) == {"paid"}
    assert set(here.chosen(20, request=Request(tags=["free", "fast"]))) == {"rest"}


def test_tags_decide_nothing_where_they_are_off() -> None:
    here = Place(group(*TAGGED), policy=RouterPolicy(tag_filtering=False))
    assert set(here.chosen(60, request=Request(tags=["free"]))) == {"free", "paid", "rest"}


def test_a_tag_may_keep_requests_away() -> None:
    here = Place(group(deployment("a", tags=("!test",)), deployment("b")))
    assert set(here.chosen(20, request=Request(tags=["test"]))) == {"b"}
    assert set(here.chosen(40)) == {"a", "b"}


def test_a_tag_that_nothing_serves_is_said() -> None:
    here = Place(group(deployment("a", tags=("free",)), deployment("b", tags=("free",))))
    with pytest.raises(BadRequest, match="tags"):
        here.plan(request=Request(tags=["paid"])).first(0.0)
    with pytest.raises(BadRequest) as caught:
        Place(group(deployment("a", tags=("free",))), compat="litellm").plan(request=Request(tags=["x"])).first(0.0)
    assert caught.value.status == 401


# -------------------------------------------------------------------------------------------------------------- regions
def test_a_region_is_kept() -> None:
    here = Place(group(deployment("a", region="eu-west-1"), deployment("b", region="us-east-1"), deployment("c")))
    assert set(here.chosen(20, wishes=Wishes(region="eu"))) == {"a"}
    with pytest.raises(BadRequest, match="region"):
        here.plan(wishes=Wishes(region="ap")).first(0.0)


def test_a_region_is_kept_by_a_single_deployment_too() -> None:
    with pytest.raises(BadRequest, match="region"):
        Place(group(deployment("a", region="us"))).plan(wishes=Wishes(region="eu")).first(0.0)


# ------------------------------------------------------------------------------------------------------------- windows
def test_a_window_that_is_surely_too_small_is_passed_over() -> None:
    here = Place(group(deployment("small", context_window=1000), deployment("large", context_window=100_000)))
    assert set(here.chosen(20, request=Request(needs=Needs(input_tokens=5000)))) == {"large"}
    assert "context window of 1000" in told(here, request=Request(needs=Needs(input_tokens=5000)))["small"]


def test_where_nothing_fits_the_upstream_is_asked_all_the_same() -> None:
    here = Place(group(deployment("a", context_window=10), deployment("b", context_window=20)))
    assert here.chosen(request=Request(needs=Needs(input_tokens=5000)))


def test_where_nothing_fits_the_models_meant_for_it_take_over_without_a_call() -> None:
    models = (
        group(deployment("small", context_window=10), context_window_fallbacks=("big",)),
        Model(name="big", deployments=(deployment("large"),)),
    )
    step = Place(*models).plan(request=Request(needs=Needs(input_tokens=5000))).first(0.0)
    assert (step.deployment.id, step.reason) == ("large", "fallback")


# -------------------------------------------------------------------------------------------------------------- limits
def test_a_deployments_own_limits_are_kept() -> None:
    limited = (deployment("a", max_parallel=1), deployment("b", rpm=2), deployment("c", tpm=100))
    here = Place(group(*limited, strategy="least-busy"))
    for name, more in (("a", {"in_flight": 1}), ("b", {}), ("c", {"tokens": 100})):
        live = here.lives.of(name)
        live.begin(100.0)
        live.begin(100.0)
        for field, value in more.items():
            setattr(live, field, value)
    with pytest.raises(RateLimited) as caught:
        here.plan().first(120.0)
    assert (caught.value.code, caught.value.retry_after_s) == ("deployment_limits", 40.0)
    assert set(here.chosen(30, now_s=161.0)) == {"b", "c"}


def test_limits_that_are_used_up_lead_on_to_fallbacks_unless_that_is_switched_off() -> None:
    models = (group(deployment("a", max_parallel=1), fallbacks=("n",)), Model(name="n", deployments=(deployment("b"),)))
    here = Place(*models)
    here.lives.of("a").in_flight = 1
    assert here.chosen() == ["b"]
    off = Place(*models, policy=RouterPolicy(fallbacks=FallbackRules(on_rate_limit=False)))
    off.lives.of("a").in_flight = 1
    with pytest.raises(RateLimited):
        off.plan().first(0.0)


def test_second_tries_have_a_budget_with_a_floor() -> None:
    live = Place(group(deployment("a"))).lives.of("a")
    for _ in range(10):
        assert live.may_retry(0.0)
        live.begin_again(0.0)
    assert not live.may_retry(0.0)
    for _ in range(100):
        live.begin(1.0)
    # A fifth of a hundred first tries.
    for _ in range(10):
        assert live.may_retry(1.0)
        live.begin_again(1.0)
    assert not live.may_retry(1.0)
    assert live.may_retry(10.0)


def test_without_budget_the_error_is_the_answer() -> None:
    here = Place(group(deployment("a")))
    for _ in range(10):
        here.lives.of("a").begin_again(0.0)
    plan = here.plan()
    assert plan.after(plan.first(0.0).deployment, fault("server"), 0.0) is None


# ------------------------------------------------------------------------------------------------------------- affinity
def test_a_session_stays_where_it_was_while_that_is_healthy() -> None:
    here = Place(group(*[deployment(each) for each in "abcd"]))
    request = Request(pins=("session m s1",))
    here.affinity.pin(("session m s1",), "c", 0.0)
    assert set(here.chosen(20, request=request)) == {"c"}
    for _ in range(3):
        here.health.failed(deployment("c"), fault("server"), now_s=0.0, cooldown_s=5.0)
    assert "c" not in here.chosen(20, request=request, now_s=1.0)


def test_a_much_busier_deployment_is_not_worth_its_cache() -> None:
    here = Place(group(deployment("a"), deployment("b"), strategy="least-busy"))
    here.affinity.pin(("prompt m x",), "a", 0.0)
    here.lives.of("a").in_flight = 20
    assert here.chosen(request=Request(pins=("prompt m x",))) == ["b"]


def test_a_stored_answer_is_asked_for_where_it_is_even_in_a_chain() -> None:
    here = Place(group(deployment("a"), deployment("b"), ordered=True))
    here.affinity.pin(("response r1",), "b", 0.0)
    here.affinity.pin(("session m s",), "b", 0.0)
    assert here.chosen(request=Request(pins=("response r1",))) == ["b"]
    assert here.chosen(request=Request(pins=("session m s",))) == ["a"]


def test_where_an_answer_is_known_to_be_stored_it_is_asked_for() -> None:
    here = Place(group(deployment("a"), deployment("b"), deployment("c"), ordered=True))
    assert here.chosen(request=Request(pins=(stored_at("c"),))) == ["c"]
    here.affinity.pin((stored_at("c"),), "a", 0.0)
    assert here.chosen(request=Request(pins=(stored_at("c"),))) == ["c"]


def test_a_call_costs_at_most_what_the_dearest_would_that_it_may_come_to() -> None:
    models = (group(deployment("a"), fallbacks=("n",)), model("n", 3), model("o", 9))
    here = Place(*models)
    names = {d.id for d in here.plan().possible()}
    assert (names, here.plan().as_configured) == ({"a", "n"}, True)
    plan = here.plan(wishes=Wishes(fallbacks=(Link("o"),)))
    assert ({d.id for d in plan.possible()}, plan.as_configured) == ({"a", "o"}, False)
    plan = here.plan("auto", request=Request(models=["n"]))
    assert ({d.id for d in plan.possible()}, plan.as_configured) == ({"n"}, False)


def test_pins_are_forgotten_in_time() -> None:
    here = Place(group(deployment("a"), deployment("b")))
    here.affinity.pin(("prompt m x",), "a", 0.0)
    assert here.affinity.of(("prompt m x",), 299.0) == ("prompt m x", "a")
    assert here.affinity.of(("prompt m x",), 301.0) is None


def test_the_same_beginning_of_a_conversation_has_the_same_key() -> None:
    long = b'[{"role":"system","content":"' + b"x" * 5000
    first = prompt_key("m", {"messages": msgspec.Raw(long + b'"},1]')})
    assert first == prompt_key("m", {"messages": msgspec.Raw(long + b'"},1,2]')})
    assert first is not None
    assert prompt_key("m", {"messages": msgspec.Raw(b"[]")}) is None


# ----------------------------------------------------------------------------------------------------------------- auto
def model(name: str, usd: int | None, **more: Any) -> Model:
    price = None if usd is None else Price(rates=Rates(input=usd * 10**9, output=usd * 10**9))
    return Model(name=name, deployments=(deployment(name, model=name, price=price, **more),))


def abilities(*names: str) -> dict[str, msgspec.Raw]:
    return {
        "supports_function_calling": FALSE,
        "supports_vision": FALSE,
        **{f"supports_{name}": TRUE for name in names},
    }


ALL = (
    model("cheap", 1, info=abilities()),
    model("tools", 3, info=abilities("function_calling")),
    model("eyes", 5, info=abilities("function_calling", "vision"), context_window=1_000_000),
    model("unpriced", None, info=abilities("function_calling", "vision")),
)


@pytest.mark.parametrize(
    ("needs", "expected"),
    [(Needs(), "cheap"), (Needs(tools=True), "tools"), (Needs(vision=True, tools=True), "eyes")],
)
def test_auto_takes_the_cheapest_that_can_do_what_the_request_needs(needs: Needs, expected: str) -> None:
    here = Place(*ALL)
    assert set(here.chosen(9, name="auto", request=Request(needs=needs))) == {expected}


def test_auto_takes_only_what_the_key_may_use_and_says_why() -> None:
    here = Place(*ALL)
    request = Request(models=["tools", "unpriced"])
    assert here.chosen(name="auto", request=request) == ["tools"]
    removed = told(here, name="auto", request=request)
    assert removed == {"cheap": "not for this key", "eyes": "not for this key", "unpriced": "unpriced"}


def test_auto_goes_on_to_the_next_cheapest() -> None:
    plan = Place(*ALL).plan("auto")
    step = plan.first(0.0)
    following = plan.after(step.deployment, fault("server"), 0.0)
    assert following is not None
    assert (step.deployment.id, following.deployment.id) == ("cheap", "tools")


def test_auto_without_any_candidate_says_what_was_wanting() -> None:
    with pytest.raises(ModelNotFound, match="no vision"):
        Place(ALL[0], ALL[1]).plan("auto", request=Request(needs=Needs(vision=True))).first(0.0)


def test_a_model_that_is_called_auto_wins() -> None:
    here = Place(model("auto", 1), model("other", 0))
    assert here.chosen(name="auto") == ["auto"]


# --------------------------------------------------------------------------------------------------------------- wishes
def read(body: dict[str, Any], headers: dict[bytes, bytes] | None = None, **more: Any) -> Wishes:
    fields = msgspec.json.decode(msgspec.json.encode(body), type=dict[str, msgspec.Raw])
    return wishes_of(fields, headers or {}, dialect=more.get("dialect", "openai_chat"), model="m")


def test_fallbacks_are_read_in_all_forms_that_are_in_use() -> None:
    names = ["n", {"model": "o", "temperature": 0}, {"m": ["p"]}, {"*": ["q"]}, {"x": ["y"]}]
    links = read({"fallbacks": names}).fallbacks
    assert links is not None
    assert [link.name for link in links] == ["n", "o", "p", "q"]
    assert links[1].fields == {"temperature": msgspec.Raw(b"0")}
    assert read({"context_window_fallback_dict": {"m": "big"}}).context_window == (Link("big"),)


def test_anthropics_own_fallbacks_are_left_to_it() -> None:
    assert read({"fallbacks": [{"model": "x"}]}, dialect="anthropic_messages").fallbacks is None
    assert read({"fallbacks": ["x"]}, dialect="anthropic_messages").fallbacks == (Link("x"),)


def test_a_header_beats_the_body() -> None:
    wishes = read({"timeout": 5, "num_retries": 4}, {b"x-litellm-timeout": b"2.5", b"x-wayport-num-retries": b"0"})
    assert (wishes.total_s, wishes.num_retries) == (2.5, 0)


@pytest.mark.parametrize(
    "body",
    [{"num_retries": "many"}, {"num_retries": -1}, {"timeout": 0}, {"fallbacks": 3}, {"fallbacks": [3]}, {"routing": "best"},
     {"disable_fallbacks": "perhaps"}],
)  # fmt: skip
def test_a_wish_that_cannot_be_read_is_named(body: dict[str, Any]) -> None:
    with pytest.raises(BadRequest) as caught:
        read(body)
    assert caught.value.param in body


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["m", "*", "model", "x"]), inner, max_size=2)
    ),
    max_leaves=6,
)
NAMES = ["fallbacks", "context_window_fallback_dict", "num_retries", "timeout", "stream_timeout", "routing", "disable_fallbacks",
         "max_fallbacks", "allowed_model_region", "mock_response"]  # fmt: skip


@given(st.dictionaries(st.sampled_from(NAMES), values, max_size=4), st.binary(max_size=6))
def test_whatever_is_asked_is_read_or_refused(body: dict[str, Any], header: bytes) -> None:
    with suppress(BadRequest):
        read(body, {b"x-wayport-timeout": header, b"x-wayport-routing": header})


def test_disabled_fallbacks_and_retries_of_the_request() -> None:
    models = (group(deployment("a"), fallbacks=("n",)), Model(name="n", deployments=(deployment("b"),)))
    for wishes, expected in (
        (Wishes(num_retries=0), "b"),
        (Wishes(num_retries=0, disable_fallbacks=True), None),
        (Wishes(num_retries=0, fallbacks=(Link("unheard-of"),)), None),
        (Wishes(num_retries=0, max_fallbacks=0), None),
    ):
        plan = Place(*models).plan(wishes=wishes)
        step = plan.after(plan.first(0.0).deployment, fault("server"), 0.0)
        assert (step and step.deployment.id) == expected


def test_a_fallback_that_the_client_names_must_be_open_to_its_key() -> None:
    models = (group(deployment("a")), Model(name="secret", deployments=(deployment("b"),)))
    plan = Place(*models).plan(wishes=Wishes(num_retries=0, fallbacks=(Link("secret"),)), request=Request(models=["m"]))
    assert plan.after(plan.first(0.0).deployment, fault("server"), 0.0) is None


def test_retries_by_class_of_failure() -> None:
    policy = RouterPolicy(num_retries=0, retries={"server": 1, "default": 2})
    for kind, attempts in (("server", 2), ("timeout", 3)):
        plan = Place(group(deployment("a")), policy=policy).plan()
        step: Any = plan.first(0.0)
        count = 0
        while step is not None:
            count += 1
            step = plan.after(step.deployment, fault(kind), 0.0)  # type: ignore[arg-type]  # both are kinds
        assert count == attempts


def test_nothing_is_tried_when_the_callers_time_is_over() -> None:
    plan = Place(group(deployment("a"), deployment("b"))).plan(until_s=10.0)
    assert plan.after(plan.first(0.0).deployment, fault("server"), 10.0) is None


# --------------------------------------------------------------------------------------------------------- needs, resets
def test_needs_are_told_from_the_envelope() -> None:
    body = msgspec.json.encode({
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x"}}]}],
        "tools": [{"type": "function"}],
        "response_format": {"type": "json_schema", "json_schema": {}},
        "max_tokens": 77,
    })  # fmt: skip
    needs = needs_of(msgspec.json.decode(body, type=dict[str, msgspec.Raw]), body, stream=True)
    assert (needs.tools, needs.vision, needs.schema, needs.stream, needs.output_tokens) == (True, True, True, True, 77)
    assert needs.input_tokens == 0


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([("x-ratelimit-reset-requests", "6m0s")], 360.0),
        ([("x-ratelimit-reset-tokens", "120ms"), ("x-ratelimit-reset-requests", "1s")], 0.12),
        ([("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "9"), ("x-ratelimit-reset-requests", "1")], 9.0),
        ([("anthropic-ratelimit-tokens-remaining", "0"), ("anthropic-ratelimit-tokens-reset", "2027-01-15T08:00:30Z")], 30.0),
        ([("x-ratelimit-reset", "1800000010")], 10.0),
        ([("x-ratelimit-reset", "1800000010000")], 10.0),
        ([("x-ratelimit-reset", "soon")], None),
        ([("retry-after", "3")], None),
    ],
)  # fmt: skip
def test_the_reset_of_a_limit_is_read_in_all_spellings(headers: list[tuple[str, str]], expected: float | None) -> None:
    found = reset_s([(name.encode(), value.encode()) for name, value in headers], 1_800_000_000.0)
    assert found == (None if expected is None else pytest.approx(expected))


def test_no_plan_raises_anything_but_a_refusal() -> None:
    with pytest.raises(WayportError):
        Place(group(deployment("a", missing=("X",)))).plan().first(0.0)
