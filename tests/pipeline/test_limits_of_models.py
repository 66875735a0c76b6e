"""Limits of single models hold by whatever way a call comes to a model: a wildcard, `auto`, a fallback."""

import json
from typing import Any

import pytest
from tests.fakes.gateway import MASTER_KEY, Gateway, gateway
from tests.fakes.upstream import Behaviour, Received, Upstream, by, json_answer
from tests.proof.spending import COST, INPUT, OUTPUT, WORST_TOKENS

from wayport.access.principal import DAY_S, Budget, Holder, Rate

KEY = "sk-limited-key-000001"
ASK: dict[str, Any] = {"messages": [{"role": "user", "content": "Say something."}], "max_tokens": WORST_TOKENS}
MASTER = {"authorization": f"Bearer {MASTER_KEY}"}


def answer(received: Received) -> Behaviour:
    """Of models named `down…` there is only an error."""
    asked = json.loads(received.body)
    if asked["model"].startswith("down"):
        return json_answer({"error": {"message": "try later", "type": "server_error"}}, status=500)
    usage = {"prompt_tokens": 40, "completion_tokens": 100, "total_tokens": 140}
    message = {"role": "assistant", "content": "words"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    whole = {"id": "c", "object": "chat.completion", "created": 1, "model": "x", "usage": usage, "choices": [choice]}
    return json_answer(whole)


def asked_for(upstream: Upstream) -> list[str]:
    return [json.loads(received.body)["model"] for received in upstream.requests]


def config(upstream: Upstream, models: dict[str, dict[str, Any]], **more: Any) -> str:
    """Each model is one deployment of the upstream's model of this name."""
    priced = {"prices": {"input": INPUT / 1e9, "output": OUTPUT / 1e9}, "max_output_tokens": WORST_TOKENS}
    return json.dumps({
        "providers": {"up": {"api_base": f"{upstream.url}/v1", "api_key": "k"}},
        "models": {
            name: {"deployments": [{"provider": "up", "model": name.removeprefix("up/"), **priced}], **fields}
            for name, fields in models.items()
        },
        "router": {"num_retries": 0, "cooldown_s": 0},
        **more,
    })  # fmt: skip


async def statuses(wayport: Gateway, headers: dict[str, str], *models: str) -> list[int]:
    return [(await wayport.ask({**ASK, "model": model}, headers=headers)).status_code for model in models]


def free_again(wayport: Gateway) -> bool:
    """Whether nothing is reserved, and no call counted, any more."""
    return all(g.busy == 0 for g in wayport.worker.admission.gauges.all())


async def test_limits_of_a_wildcard_bind_all_models_that_it_stands_for() -> None:
    async with Upstream(by(answer)) as upstream:
        text = config(upstream, {"up/*": {}, "b": {}}, limits={"models": {"up/*": {"rpd": 2}}})
        async with gateway(text) as wayport:
            assert await statuses(wayport, MASTER, "up/1", "up/2", "up/3", "b", "up/1") == [200, 200, 429, 200, 429]


async def test_limits_of_a_wildcard_bind_models_that_are_nowhere_written() -> None:
    async with Upstream(by(answer)) as upstream:
        text = config(upstream, {}, server={"implicit_models": True}, limits={"models": {"up/*": {"rpd": 1}}})
        async with gateway(text) as wayport:
            assert await statuses(wayport, MASTER, "up/1", "up/2") == [200, 429]


async def test_a_keys_limit_of_a_wildcard_binds_all_models_that_it_stands_for() -> None:
    of_key = Holder(scope="key", id="k", rates=(Rate(of="requests", per_s=DAY_S, at_most=2, model="up/*"),))
    async with Upstream(by(answer)) as upstream, gateway(config(upstream, {"up/*": {}})) as wayport:
        headers = {"authorization": f"Bearer {wayport.keys.add(KEY, holders=(of_key,))}"}
        assert await statuses(wayport, headers, "up/1", "up/2", "up/3") == [200, 200, 429]


async def test_auto_goes_to_models_whose_limits_leave_room_and_is_refused_when_none_do() -> None:
    async with Upstream(by(answer)) as upstream:
        limits = {"models": {"a": {"rpd": 1}, "b": {"rpd": 2, "max_parallel": 1}}}
        async with gateway(config(upstream, {"a": {}, "b": {}}, limits=limits)) as wayport:
            assert await statuses(wayport, MASTER, *["auto"] * 4) == [200, 200, 200, 429]
            assert sorted(asked_for(upstream)) == ["a", "b", "b"]
            assert free_again(wayport)
            assert await statuses(wayport, MASTER, "a", "b") == [429, 429]


async def test_auto_is_charged_to_the_budget_of_the_model_that_answers() -> None:
    async with Upstream(by(answer)) as upstream:
        limits = {"models": {"a": {"max_budget": 1.5 * 4 * COST / 1e9, "budget_duration": "1d"}}}
        async with gateway(config(upstream, {"a": {}}, limits=limits)) as wayport:
            assert await statuses(wayport, MASTER, "auto") == [200]
            (gauge,) = wayport.worker.admission.gauges.all()
            assert gauge.held - gauge.free == COST
            opened, closed = wayport.records
            assert opened.opened
            assert opened.reserved_nano_usd >= COST
            assert opened.budget_windows == closed.budget_windows == (f"{gauge.counter}@{gauge.window}",)
            assert free_again(wayport)


async def test_a_fallback_keeps_to_the_limits_of_its_own_model() -> None:
    async with Upstream(by(answer)) as upstream:
        limits = {"models": {"b": {"rpd": 1}}}
        models = {"down": {"fallbacks": ["b"]}, "b": {}}
        async with gateway(config(upstream, models, limits=limits)) as wayport:
            assert await statuses(wayport, MASTER, "down", "down", "b") == [200, 500, 429]
            assert asked_for(upstream) == ["down", "b", "down"]
            assert free_again(wayport)


async def test_a_fallback_whose_limits_are_used_up_is_passed_over() -> None:
    async with Upstream(by(answer)) as upstream:
        limits = {"models": {"b": {"rpd": 1}}}
        models = {"down": {"fallbacks": ["b", "c"]}, "b": {}, "c": {}}
        async with gateway(config(upstream, models, limits=limits)) as wayport:
            assert await statuses(wayport, MASTER, "down", "down") == [200, 200]
            assert asked_for(upstream) == ["down", "b", "down", "c"]


async def test_a_fallback_is_charged_to_the_budgets_of_the_key_and_of_its_own_model_once() -> None:
    of_key = Holder(scope="key", id="k", budgets=(Budget(max_nano_usd=100 * COST, duration="1d"),))
    async with Upstream(by(answer)) as upstream:
        limits = {"models": {"b": {"max_budget": 50 * COST / 1e9, "budget_duration": "1d"}}}
        models = {"down": {"fallbacks": ["b"]}, "b": {}}
        async with gateway(config(upstream, models, limits=limits)) as wayport:
            headers = {"authorization": f"Bearer {wayport.keys.add(KEY, holders=(of_key,))}"}
            assert await statuses(wayport, headers, "down") == [200]
            gauges = wayport.worker.admission.gauges.all()
            assert {gauge.scope: gauge.held - gauge.free for gauge in gauges} == {"key": COST, "model": COST}
            assert len(wayport.records[-1].budget_windows) == 2
            assert free_again(wayport)


@pytest.mark.parametrize("size", [{"max_tokens": 100_000}, {"max_completion_tokens": 100_000}, {"n": 50}])
@pytest.mark.parametrize("name", ["fallbacks", "content_policy_fallbacks"])
async def test_a_fallback_may_not_be_asked_for_more_than_was_reserved(name: str, size: dict[str, int]) -> None:
    of_key = Holder(scope="key", id="k", budgets=(Budget(max_nano_usd=100 * COST, duration="1d"),))
    async with Upstream(by(answer)) as upstream, gateway(config(upstream, {"down": {}, "b": {}})) as wayport:
        headers = {"authorization": f"Bearer {wayport.keys.add(KEY, holders=(of_key,))}"}
        ask = {**ASK, "model": "down", name: [{"model": "b", **size}]}
        refused = await wayport.ask(ask, headers=headers)
        assert refused.status_code == 400
        error = refused.json()["error"]
        assert (error["code"], error["param"]) == ("size_in_fallback", f"{name}.{next(iter(size))}")
        assert not upstream.requests
        other = {**ask, name: [{"model": "b", "temperature": 0}]}
        answered = await wayport.ask(other, headers=headers)
        assert answered.status_code == (200 if name == "fallbacks" else 500)
