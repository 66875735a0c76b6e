"""Deployments that refuse an optional parameter, parameters of the operator, and cache markers on request."""

from typing import Any

import pytest
from tests.fakes.gateway import gateway
from tests.fakes.upstream import Upstream, json_answer

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
    async with Upstream([refuses("temperature"), refuses("seed"), json_answer(WHOLE)]) as upstream:
        async with gateway(at(upstream)) as wayport:
            assert (await wayport.ask({**ASK, "temperature": 0.5, "seed": 1})).status_code == 400
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
