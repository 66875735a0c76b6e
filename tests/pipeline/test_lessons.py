"""Deployments that refuse an optional parameter, parameters of the operator, and cache markers on request."""

from typing import Any

import pytest
from tests.fakes.gateway import gateway
from tests.fakes.upstream import Upstream, json_answer
from tests.routing.places import deployment

from wayport.pipeline.lessons import Lesson, Lessons
from wayport.routing.snapshot import OWN_MARK

ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
WHOLE = {
    "id": "c", "object": "chat.completion", "created": 1, "model": "up",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}  # fmt: skip
MESSAGE = {
    "id": "m", "type": "message", "role": "assistant", "model": "c", "content": [{"type": "text", "text": "Hi"}],
    "stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1},
}  # fmt: skip


def refuses(param: str) -> Any:
    error = {
        "message": f"Unsupported parameter: '{param}' is not supported with this model.",
        "type": "invalid_request_error", "param": param, "code": "unsupported_parameter",
    }  # fmt: skip
    return json_answer({"error": error}, status=400)


def at(upstream: Upstream, router: str = "", **model: Any) -> str:
    more = "".join(f", {name}: {value}" for name, value in model.items())
    return (
        f"providers: {{up: {{api_base: {upstream.url}/v1, api_key: k}}}}\n"
        f"models: {{m: {{deployments: [{{provider: up, model: x{more}}}]}}}}\nrouter: {{num_retries: 0{router}}}\n"
    )


async def test_a_refused_optional_parameter_is_left_out_once_and_then_always() -> None:
    async with Upstream([refuses("temperature"), json_answer(WHOLE), json_answer(WHOLE)]) as upstream:
        async with gateway(at(upstream)) as wayport:
            for _ in range(2):
                answered = await wayport.ask({**ASK, "temperature": 0.5})
                assert (answered.status_code, answered.headers["x-wayport-dropped-params"]) == (200, "temperature")
            assert ["temperature" in request.json() for request in upstream.requests] == [True, False, False]
            assert [names for _, names in wayport.worker.attempt.lessons] == [["temperature"]]


async def test_the_name_of_the_output_limit_is_learned() -> None:
    async with Upstream([refuses("max_tokens"), json_answer(WHOLE), json_answer(WHOLE)]) as upstream:
        async with gateway(at(upstream)) as wayport:
            await wayport.ask({**ASK, "max_tokens": 5})
            await wayport.ask({**ASK, "max_tokens": 6})
            assert upstream.requests[1].json()["max_completion_tokens"] == 5
            assert upstream.requests[2].json()["max_completion_tokens"] == 6


async def test_what_did_not_help_is_not_remembered() -> None:
    async with Upstream([refuses("temperature"), refuses("messages"), json_answer(WHOLE)]) as upstream:
        async with gateway(at(upstream)) as wayport:
            assert (await wayport.ask({**ASK, "temperature": 0.5})).status_code == 400
            assert not list(wayport.worker.attempt.lessons)


async def test_several_things_are_learned_from_one_call_and_not_without_end() -> None:
    names = ["temperature", "seed", "user", "top_p"]
    asked = {**ASK, **dict.fromkeys(names, 1)}
    async with Upstream([*map(refuses, names[:3]), *[json_answer(WHOLE)] * 2]) as upstream:
        async with gateway(at(upstream)) as wayport:
            for _ in range(2):
                answered = await wayport.ask({**asked, "user": "x"})
                assert answered.status_code == 200
            assert len(upstream.requests) == 5
            assert [known for _, known in wayport.worker.attempt.lessons] == [["seed", "temperature", "user"]]
    async with Upstream([*map(refuses, names), json_answer(WHOLE)]) as upstream:
        async with gateway(at(upstream)) as wayport:
            assert (await wayport.ask({**asked, "user": "x"})).status_code == 400
            assert not list(wayport.worker.attempt.lessons)


@pytest.mark.parametrize("param", ["messages", "model", "tools"])
async def test_what_is_not_optional_is_never_left_out(param: str) -> None:
    async with Upstream([refuses(param)]) as upstream, gateway(at(upstream)) as wayport:
        assert (await wayport.ask(ASK)).status_code == 400
        assert len(upstream.requests) == 1


@pytest.mark.parametrize("switch", [", learn_params: false", ""])
async def test_learning_can_be_turned_off_and_never_beats_drop_params_false(switch: str) -> None:
    async with Upstream([refuses("temperature")]) as upstream:
        config = at(upstream, switch) if switch else at(upstream, drop_params="false")
        async with gateway(config) as wayport:
            assert (await wayport.ask({**ASK, "temperature": 0.5})).status_code == 400


async def test_an_operators_parameters_hold_under_every_dialect_and_a_clients_own_wins() -> None:
    async with Upstream([json_answer(WHOLE)] * 3) as upstream:
        async with gateway(at(upstream, params="{temperature: 0.25, top_p: 0.5}")) as wayport:
            await wayport.ask({**ASK, "temperature": 0.75})
            claude = {**ASK, "max_tokens": 9, "top_p": 0.125}
            assert (await wayport.ask(claude, "/v1/messages")).status_code == 200
            sent = [request.json() for request in upstream.requests]
            assert (sent[0]["temperature"], sent[0]["top_p"]) == (0.75, 0.5)
            assert (sent[1]["temperature"], sent[1]["top_p"]) == (0.25, 0.125)


async def test_cache_markers_are_injected_where_asked_for() -> None:
    async with Upstream([json_answer(MESSAGE)]) as upstream:
        config = (
            f"providers: {{anthropic: {{api_base: {upstream.url}, api_key: k}}}}\nmodels: {{m: anthropic/claude-x}}\n"
        )
        async with gateway(config) as wayport:
            points = [{"location": "message", "role": "system"}, {"location": "message", "index": -1}]
            messages = [{"role": "system", "content": "Long."}, *ASK["messages"]]
            await wayport.ask({**ASK, "messages": messages, "cache_control_injection_points": points})
            sent = upstream.requests[0].json()
            assert sent["system"][-1]["cache_control"] == {"type": "ephemeral"}
            assert sent["messages"][-1]["content"][-1]["cache_control"] == {"type": "ephemeral"}


async def test_the_same_request_is_the_same_bytes_so_that_caches_hit() -> None:
    async with Upstream([json_answer(MESSAGE)] * 2) as upstream:
        config = (
            f"providers: {{anthropic: {{api_base: {upstream.url}, api_key: k}}}}\nmodels: {{m: anthropic/claude-x}}\n"
        )
        async with gateway(config) as wayport:
            tools = [
                {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
            ]
            for _ in range(2):
                await wayport.ask({**ASK, "tools": tools})
            assert upstream.requests[0].body == upstream.requests[1].body


# ------------------------------------------------------------------------------------------------------- beta flags
CLAUDE = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}
BETAS = {"anthropic-beta": "one-2025-01-01,two-2025-02-02, three-2025-03-03"}


CONVERSE = {
    "output": {"message": {"role": "assistant", "content": [{"text": "Hi"}]}}, "stopReason": "end_turn",
    "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}, "metrics": {"latencyMs": 1},
}  # fmt: skip


def refuses_betas(message: str) -> Any:
    return json_answer({"type": "error", "error": {"type": "invalid_request_error", "message": message}}, status=400)


def claude_at(upstream: Upstream, router: str = "") -> str:
    return (
        f"providers: {{anthropic: {{api_base: {upstream.url}, api_key: k}}}}\nmodels: {{m: anthropic/claude-x}}\n"
        f"router: {{num_retries: 0{router}}}\n"
    )


def sent(upstream: Upstream) -> list[str | None]:
    return [request.headers.get("anthropic-beta") for request in upstream.requests]


NAMED = (
    "Unexpected value(s) `one-2025-01-01`, `three-2025-03-03` for the `anthropic-beta` header. Please consult our "
    "documentation at docs.anthropic.com or try again without the header."
)


async def test_beta_flags_that_a_deployment_names_are_left_out_from_then_on() -> None:
    async with Upstream([refuses_betas(NAMED), *[json_answer(MESSAGE)] * 3]) as upstream:
        async with gateway(claude_at(upstream)) as wayport:
            for _ in range(2):
                answered = await wayport.ask(CLAUDE, "/v1/messages", headers=BETAS)
                assert answered.status_code == 200
                assert answered.headers["x-wayport-dropped-params"] == (
                    "anthropic-beta: one-2025-01-01,anthropic-beta: three-2025-03-03"
                )
            assert sent(upstream)[1:] == ["two-2025-02-02"] * 2
            # A translated call of this deployment leaves them out as well, and others keep theirs.
            other = await wayport.ask(CLAUDE, "/v1/messages", headers={"anthropic-beta": "two-2025-02-02"})
            assert "x-wayport-dropped-params" not in other.headers
            shown = (await wayport.http.get("/model/info")).json()["data"][0]["model_info"]["learned"]
            assert shown == ["anthropic-beta: one-2025-01-01", "anthropic-beta: three-2025-03-03"]


@pytest.mark.parametrize("named", [NAMED.replace("`", ""), "invalid beta flag"])
async def test_flags_without_quotes_and_those_that_nobody_names(named: str) -> None:
    async with Upstream([refuses_betas(named), json_answer(MESSAGE)]) as upstream:
        async with gateway(claude_at(upstream)) as wayport:
            assert (await wayport.ask(CLAUDE, "/v1/messages", headers=BETAS)).status_code == 200
            assert sent(upstream)[1] == ("two-2025-02-02" if "one" in named else None)


async def test_flags_in_the_body_are_learned_too() -> None:
    message = {"message": "The model returned the following errors: invalid beta flag"}
    async with Upstream([json_answer(message, status=400), json_answer(CONVERSE)]) as upstream:
        config = (
            f"providers: {{bedrock: {{api_base: {upstream.url}, api_key: k}}}}\n"
            "models: {m: bedrock/anthropic.claude-opus-4-5-20251101-v1:0}\nrouter: {num_retries: 0}\n"
        )
        async with gateway(config) as wayport:
            headers = {"anthropic-beta": "context-1m-2025-08-07,interleaved-thinking-2025-05-14"}
            answered = await wayport.ask(CLAUDE, "/v1/messages", headers=headers)
            assert answered.status_code == 200, answered.text
            bodies = [request.json() for request in upstream.requests]
            assert bodies[0]["additionalModelRequestFields"]["anthropic_beta"]
            assert "anthropic_beta" not in bodies[1].get("additionalModelRequestFields", {})


@pytest.mark.parametrize(
    ("message", "headers", "router"),
    [
        (NAMED, {}, ""),
        (NAMED, BETAS, ", learn_params: false"),
        ("You sent Unexpected value(s) `one-2025-01-01` for the `anthropic-beta` header", BETAS, ""),
    ],
)
async def test_flags_are_kept_where_nothing_can_or_may_be_learned(
    message: str, headers: dict[str, str], router: str
) -> None:
    async with Upstream([refuses_betas(message)]) as upstream, gateway(claude_at(upstream, router)) as wayport:
        assert (await wayport.ask(CLAUDE, "/v1/messages", headers=headers)).status_code == 400
        assert len(upstream.requests) == 1


async def test_flags_that_did_not_help_are_not_remembered() -> None:
    async with Upstream([refuses_betas(NAMED), json_answer({}, status=400), json_answer(MESSAGE)]) as upstream:
        async with gateway(claude_at(upstream)) as wayport:
            assert (await wayport.ask(CLAUDE, "/v1/messages", headers=BETAS)).status_code == 400
            assert (await wayport.ask(CLAUDE, "/v1/messages", headers=BETAS)).status_code == 200
            assert "one-2025-01-01" in (sent(upstream)[2] or "")


async def test_only_the_very_flags_that_are_named_are_left_out() -> None:
    for bad in ("one-2025-01-01 x", "y.one-2025-01-01", "a``one-2025-01-01``b"):
        message = f"Unexpected value(s) `{bad}` for the `anthropic-beta` header."
        async with Upstream([refuses_betas(message), *[json_answer(MESSAGE)] * 2]) as upstream:
            async with gateway(claude_at(upstream)) as wayport:
                headers = {"anthropic-beta": f"one-2025-01-01,{bad}"}
                assert (await wayport.ask(CLAUDE, "/v1/messages", headers=headers)).status_code == 200
                assert (await wayport.ask(CLAUDE, "/v1/messages", headers=BETAS)).status_code == 200
                assert sent(upstream)[1] == "one-2025-01-01"
                assert (sent(upstream)[2] or "").startswith("one-2025-01-01")


async def test_where_nobody_says_which_flag_it_was_others_keep_theirs() -> None:
    refused = refuses_betas("invalid beta flag")
    async with Upstream([refused, *[json_answer(MESSAGE)] * 2]) as upstream, gateway(claude_at(upstream)) as wayport:
        bad = {"anthropic-beta": "one-2025-01-01,nonsense"}
        assert (await wayport.ask(CLAUDE, "/v1/messages", headers=bad)).status_code == 200
        assert sent(upstream)[1] is None
        await wayport.ask(CLAUDE, "/v1/messages", headers=BETAS)
        assert "one-2025-01-01" in (sent(upstream)[2] or "")
        assert not list(wayport.worker.attempt.lessons)


@pytest.mark.parametrize(
    ("param", "value", "reason", "status", "learned"),
    [
        ("reasoning_effort", "most", "Supported values are: 'low', 'medium', and 'high'.", 400, False),
        ("reasoning_effort", "Only the default (1) value is supported.", "", 200, False),
        ("temperature", 0.5, "Only the default (1) value is supported.", 200, True),
    ],
)
async def test_a_bad_value_of_one_client_is_no_lesson_for_others(
    param: str, value: Any, reason: str, status: int, learned: bool
) -> None:
    message = f"Unsupported value: '{param}' does not support '{value}' with this model. {reason}"
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": "unsupported_value"}
    refused = json_answer({"error": error}, status=400)
    async with Upstream([refused, *[json_answer(WHOLE)] * 2]) as upstream, gateway(at(upstream)) as wayport:
        assert (await wayport.ask({**ASK, param: value})).status_code == status
        assert (await wayport.ask({**ASK, param: "low"})).status_code == 200
        assert (param not in upstream.requests[-1].json()) == learned
        assert bool(list(wayport.worker.attempt.lessons)) == learned


def test_the_oldest_lessons_go_and_none_of_a_clients_own_deployment_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wayport.pipeline.lessons._MOST", 2)
    monkeypatch.setattr("wayport.pipeline.lessons._MOST_BETAS", 2)
    lessons = Lessons()
    for name in ("a", "b", f"b{OWN_MARK}1234", "c"):
        lessons.keep(deployment(name), Lesson(refused=frozenset({"seed"})))
    assert [name for name, _ in lessons] == [deployment("b").id, deployment("c").id]
    for beta in ("z", "b", "a"):
        lessons.keep(deployment("c"), Lesson(betas=(beta,)))
    assert lessons.of(deployment("c").id)[1:] == ["anthropic-beta: a", "anthropic-beta: b"]
