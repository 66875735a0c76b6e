"""Routing through the whole worker: what a request asks for, dry runs, explanations, mocks, affinity, `auto`."""

import json
from typing import Any

import pytest
from tests.fakes.gateway import Gateway, gateway
from tests.fakes.upstream import Received, Upstream, by, json_answer
from tests.pipeline.test_attempts_failures import ASK, GOOD, GOOD_STREAM, WHOLE, two

BUSY = json_answer({"error": {"message": "busy", "type": "server_error"}}, status=503, headers={"retry-after": "1"})
LIMITED = json_answer({"error": {"message": "slow down"}}, status=429, headers={"retry-after": "30"})


def named(received: Received) -> Any:
    """An upstream that says which model it was asked for."""
    said = json.loads(json.dumps(WHOLE))
    said["choices"][0]["message"]["content"] = received.json()["model"]
    return json_answer(said)


def models(upstream: Upstream, lines: str, router: str = "") -> str:
    return f"""
providers:
  up: {{api_base: {upstream.url}/v1, api_key: k}}
models:
{lines}
router: {{num_retries: 0{router}}}
"""


async def said(wayport: Gateway, body: dict[str, Any], **more: Any) -> str:
    answered = await wayport.ask(body, **more)
    assert answered.status_code == 200, answered.text
    return str(answered.json()["choices"][0]["message"]["content"])


# ----------------------------------------------------------------------------------------------- what a request asks for
async def test_the_requests_own_fallbacks_with_their_own_fields() -> None:
    async with Upstream([BUSY, BUSY, GOOD]) as upstream:
        config = models(upstream, "  m: up/one\n  n: up/two\n  o: up/three")
        async with gateway(config) as wayport:
            body = {**ASK, "fallbacks": ["n", {"model": "o", "temperature": 0.5}], "num_retries": 0}
            assert (await wayport.ask(body)).status_code == 200
            asked = [received.json() for received in upstream.requests]
            assert [body["model"] for body in asked] == ["one", "two", "three"]
            assert [body.get("temperature") for body in asked] == [None, None, 0.5]
            assert not any("fallbacks" in body or "num_retries" in body for body in asked)
            assert [a.reason for a in wayport.records[0].attempts] == ["first", "fallback", "fallback"]


async def test_a_key_cannot_fall_back_to_what_it_may_not_use() -> None:
    async with Upstream([BUSY]) as upstream, gateway(models(upstream, "  m: up/one\n  n: up/two")) as wayport:
        key = wayport.keys.add("sk-limited-key-000000000000", models=("m",))
        answered = await wayport.ask({**ASK, "fallbacks": ["n"]}, headers={"authorization": f"Bearer {key}"})
        assert answered.status_code == 503
        assert len(upstream.requests) == 1


async def test_disable_fallbacks_gives_the_error_to_the_client() -> None:
    async with Upstream([BUSY]) as upstream:
        config = models(upstream, "  m: {deployments: [up/one], fallbacks: [n]}\n  n: up/two")
        async with gateway(config) as wayport:
            assert (await wayport.ask({**ASK, "disable_fallbacks": True})).status_code == 503


async def test_a_rate_limit_leads_on_at_once_and_may_be_kept_from_it() -> None:
    async with Upstream([LIMITED]) as first, Upstream([GOOD]) as second, gateway(two(first, second)) as wayport:
        assert (await wayport.ask(ASK)).status_code == 200
        assert [a.wait_ms for a in wayport.records[0].attempts] == [0, 0]
    async with Upstream([LIMITED]) as first, Upstream([]) as second:
        async with gateway(two(first, second, ", fallbacks: {on_rate_limit: false}")) as wayport:
            assert (await wayport.ask({**ASK, "num_retries": 0})).status_code == 429


async def test_a_wish_that_cannot_be_read_is_a_400_that_names_it() -> None:
    async with Upstream([]) as upstream, gateway(models(upstream, "  m: up/one")) as wayport:
        answered = await wayport.ask({**ASK, "num_retries": "many"})
        assert (answered.status_code, answered.json()["error"]["param"]) == (400, "num_retries")


# ----------------------------------------------------------------------------------------------------------------- auto
AUTO = """\
  cheap: {model: up/cheap, prices: {input: 1, output: 1}}
  dear: {model: up/dear, prices: {input: 9, output: 9}}
  gift: up/gift"""


async def test_auto_takes_the_cheapest_and_names_it() -> None:
    async with Upstream(by(named)) as upstream, gateway(models(upstream, AUTO)) as wayport:
        answered = await wayport.ask({**ASK, "model": "auto", "routing": "cost-based"})
        assert answered.headers["x-wayport-model"] == "cheap"
        assert answered.json()["choices"][0]["message"]["content"] == "cheap"
        assert "routing" not in upstream.requests[0].json()
        record = wayport.records[0]
        assert (record.model_asked, record.model) == ("auto", "cheap")
        assert list(record.routing[0].removed.values()) == ["unpriced"]


async def test_auto_keeps_to_what_the_key_may_use() -> None:
    async with Upstream(by(named)) as upstream, gateway(models(upstream, AUTO)) as wayport:
        key = wayport.keys.add("sk-limited-key-000000000000", models=("dear",))
        headers = {"authorization": f"Bearer {key}", "x-wayport-routing": "cost-based-routing"}
        assert await said(wayport, {**ASK, "model": "auto"}, headers=headers) == "dear"


async def test_an_unknown_strategy_is_refused() -> None:
    async with Upstream([]) as upstream, gateway(models(upstream, AUTO)) as wayport:
        answered = await wayport.ask({**ASK, "model": "auto", "routing": "best"})
        assert (answered.status_code, answered.json()["error"]["param"]) == (400, "routing")


# -------------------------------------------------------------------------------------------------- affinity and regions
GROUP = """\
  m: {strategy: round-robin, deployments: [{model: up/a, region: eu-west-1}, {model: up/b, region: us-east-1}, up/c]}"""


async def test_a_session_comes_back_to_the_same_deployment() -> None:
    async with Upstream(by(named)) as upstream, gateway(models(upstream, GROUP)) as wayport:
        without = [await said(wayport, ASK) for _ in range(3)]
        assert set(without) == {"a", "b", "c"}
        for header in ("x-litellm-session-id", "x-wayport-session-id"):
            sessions = [
                [await said(wayport, ASK, headers={header: f"{header}{n}"}) for _ in range(4)] for n in range(3)
            ]
            assert [len(set(each)) for each in sessions] == [1, 1, 1]
            assert len({each[0] for each in sessions}) == 3


async def test_a_conversations_beginning_leads_to_the_cache_that_holds_it() -> None:
    async with Upstream(by(named)) as upstream:
        async with gateway(models(upstream, GROUP, ", affinity: [prompt_cache]")) as wayport:
            turns: list[dict[str, str]] = [{"role": "system", "content": "Be kind. " * 600}]
            seen = []
            for number in range(4):
                turns.append({"role": "user", "content": f"Question {number}"})
                seen.append(await said(wayport, {"model": "m", "messages": turns}))
            assert len(set(seen)) == 1


async def test_a_region_is_kept() -> None:
    async with Upstream(by(named)) as upstream, gateway(models(upstream, GROUP)) as wayport:
        assert {await said(wayport, {**ASK, "allowed_model_region": "eu"}) for _ in range(4)} == {"a"}
        assert {await said(wayport, ASK, headers={"x-wayport-region": "us"}) for _ in range(4)} == {"b"}


async def test_tags_lead_to_their_deployments() -> None:
    lines = "  m: {strategy: round-robin, deployments: [{model: up/a, tags: [free]}, {model: up/b, tags: [paid]}]}"
    async with Upstream(by(named)) as upstream, gateway(models(upstream, lines)) as wayport:
        assert {await said(wayport, {**ASK, "tags": ["paid"]}) for _ in range(3)} == {"b"}
        assert {await said(wayport, ASK, headers={"x-wayport-tags": "free"}) for _ in range(3)} == {"a"}
        key = wayport.keys.add("sk-tagged-key-0000000000000", tags=("paid",))
        assert {await said(wayport, ASK, headers={"authorization": f"Bearer {key}"}) for _ in range(3)} == {"b"}


# ------------------------------------------------------------------------------------------------- dry run and explaining
async def test_a_dry_run_tells_the_way_without_going_it() -> None:
    async with Upstream([]) as upstream:
        config = models(upstream, "  m: {deployments: [up/one, up/two], fallbacks: [n]}\n  n: up/three")
        async with gateway(config) as wayport:
            answered = await wayport.ask(ASK, headers={"x-wayport-dry-run": "true"})
            told = answered.json()
            places = [told["deployments"][step["chosen"]]["upstream_model"] for step in told["steps"]]
            assert places == ["one", "two", "three"]
            assert [step.get("reason", "first") for step in told["steps"]] == ["first", "next", "fallback"]
            assert wayport.records == []
            assert wayport.worker.routing.lives.in_flight() == 0


async def test_a_dry_run_names_nothing_that_the_key_may_not_use() -> None:
    async with Upstream([]) as upstream, gateway(models(upstream, AUTO)) as wayport:
        key = wayport.keys.add("sk-limited-key-000000000000", models=("dear",))
        headers = {"authorization": f"Bearer {key}", "x-wayport-dry-run": "true"}
        told = await wayport.ask({**ASK, "model": "auto"}, headers=headers)
        assert [each["model"] for each in told.json()["deployments"].values()] == ["dear"]
        assert "cheap" not in told.text


async def test_a_call_is_explained_to_those_who_may_see_it() -> None:
    async with Upstream([BUSY]) as first, Upstream([GOOD]) as second, gateway(two(first, second)) as wayport:
        mine = wayport.keys.add("sk-mine-0000000000000000000")
        other = wayport.keys.add("sk-other-000000000000000000")
        answered = await wayport.ask(ASK, headers={"authorization": f"Bearer {mine}"})
        path = f"/v1/calls/{answered.headers['x-wayport-call-id']}/explain"
        for key in (mine, wayport.key):
            told = (await wayport.http.get(path, headers={"authorization": f"Bearer {key}"})).json()
            assert [a["provider"] for a in told["attempts"]] == ["one", "two"]
            assert told["attempts"][0]["error"] == "busy"
            assert any("busy" in sentence for sentence in told["explanation"])
        hidden = await wayport.http.get(path, headers={"authorization": f"Bearer {other}"})
        assert hidden.status_code == 404


# ---------------------------------------------------------------------------------------------------------------- mocks
async def test_mocks_do_nothing_without_permission_and_go_nowhere() -> None:
    async with Upstream([GOOD]) as upstream, gateway(models(upstream, "  m: up/one")) as wayport:
        assert await said(wayport, {**ASK, "mock_response": "made up", "mock_delay": 30}) == "Hi"
        assert "mock_response" not in upstream.requests[0].json()


@pytest.mark.parametrize("allowed_by", ["router", "key"])
async def test_a_mocked_answer(allowed_by: str) -> None:
    async with Upstream([]) as upstream:
        config = models(upstream, "  m: up/one", ", allow_mocks: true" if allowed_by == "router" else "")
        async with gateway(config) as wayport:
            headers = {}
            if allowed_by == "key":
                key = wayport.keys.add("sk-tester-00000000000000000", metadata=b'{"allow_client_mock_response":true}')
                headers = {"authorization": f"Bearer {key}"}
            assert await said(wayport, {**ASK, "mock_response": "made up"}, headers=headers) == "made up"
            stream = await wayport.ask({**ASK, "mock_response": "made up", "stream": True}, headers=headers)
            assert "made up" in stream.text
            assert stream.text.endswith("[DONE]\n\n")
            call = {"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
            answered = await wayport.ask({**ASK, "mock_tool_calls": [call]}, headers=headers)
            assert answered.json()["choices"][0]["message"]["tool_calls"][0]["function"] == call["function"]


async def test_mocked_failures_take_the_real_way() -> None:
    lines = (
        "  m: {deployments: [up/one], fallbacks: [n], context_window_fallbacks: [big]}\n  n: up/two\n  big: up/three"
    )
    async with Upstream(by(named)) as upstream, gateway(models(upstream, lines, ", allow_mocks: true")) as wayport:
        assert await said(wayport, {**ASK, "mock_testing_fallbacks": True}) == "two"
        assert await said(wayport, {**ASK, "mock_testing_context_fallbacks": True}) == "three"
        for name, status in (("RateLimitError", 429), ("InternalServerError", 500), ("Timeout", 408)):
            body = {**ASK, "mock_response": f"litellm.{name}", "disable_fallbacks": True}
            assert (await wayport.ask(body)).status_code == status
        assert wayport.records[0].attempts[0].cost_nano_usd is None


async def test_litellms_switch_permits_mocks() -> None:
    config = """
model_list: [{model_name: m, litellm_params: {model: openai/x, api_base: "http://127.0.0.1:9/v1", api_key: k}}]
general_settings: {dangerously_allow_mock_testing_request_params: true}
"""
    async with gateway(config) as wayport:
        assert await said(wayport, {**ASK, "mock_response": "made up"}) == "made up"


async def test_the_default_of_litellms_file_is_its_shuffle_and_of_ours_the_power_of_two() -> None:
    litellm = """
model_list:
  - {model_name: m, litellm_params: {model: openai/x, api_base: "http://127.0.0.1:9/v1", api_key: k}}
  - {model_name: m, litellm_params: {model: openai/y, api_base: "http://127.0.0.1:9/v1", api_key: k}}
"""
    for config, expected in ((litellm, "simple-shuffle"), ("models: {m: wayport/echo}", "power-of-two")):
        async with gateway(config) as wayport:
            assert wayport.worker.pipeline.table.snapshot.router.strategy == expected


async def test_the_last_attempts_duration_stands_in_the_record() -> None:
    async with Upstream([GOOD, GOOD_STREAM]) as upstream, gateway(models(upstream, "  m: up/one")) as wayport:
        await wayport.ask(ASK)
        await wayport.ask({**ASK, "stream": True})
        for record in wayport.records:
            total_ms = (record.ended_s - record.started_s) * 1000
            # Seconds since the epoch are good to a fourth of a microsecond.
            assert 0 < record.attempts[0].duration_ms <= total_ms + 0.001


async def test_a_stream_is_learned_from() -> None:
    async with Upstream(GOOD_STREAM) as upstream, gateway(models(upstream, "  m: up/one")) as wayport:
        await wayport.ask({**ASK, "stream": True})
        live = wayport.worker.routing.lives.of(wayport.records[0].deployment)
        assert live.first_s > 0
        assert live.in_flight == 0


async def test_a_deployment_whose_answers_are_made_up_calls_nobody() -> None:
    config = """
model_list:
- {model_name: m, litellm_params: {model: openai/gpt-4o, mock_response: made up}}
- {model_name: slow, litellm_params: {model: openai/gpt-4o, mock_response: litellm.RateLimitError}}
- {model_name: real, litellm_params: {model: wayport/echo}}
- {model_name: e, litellm_params: {model: openai/text-embedding-3-small, mock_response: made up}}
router_settings: {fallbacks: [{slow: [m]}], num_retries: 0}
"""
    async with gateway(config) as wayport:
        body = {**ASK, "model": "m"}
        for _ in range(2):
            assert await said(wayport, body) == "made up"
        assert "made up" in (await wayport.ask({**body, "stream": True})).text.replace('"},"', "")
        assert await said(wayport, {**body, "mock_response": "by a client"}) == "made up"
        assert await said(wayport, {**body, "model": "slow"}) == "made up"
        assert "made up" not in await said(wayport, {**body, "model": "real"})
        assert wayport.records[0].cost_nano_usd
