"""Every way in which an upstream can fail: what the client saw, what was billed, what the breaker did."""

import asyncio
import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from tests.fakes.gateway import Gateway, gateway
from tests.fakes.upstream import (
    Behaviour,
    Upstream,
    answer,
    close_without_answer,
    cut,
    endless_headers,
    garbage,
    html_error,
    json_answer,
    reset,
    sse,
    stall,
    whole,
)

from wayport.core.record import CallRecord

EVENT_STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
ASK = {"model": "m", "messages": [{"role": "user", "content": "Hello there, how are you?"}]}
WHOLE = {
    "id": "c1",
    "object": "chat.completion",
    "created": 1,
    "model": "up-1",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12},
}


def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    body = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "up-1", "choices": choices}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


OPENING = chunk({"role": "assistant", "content": ""})
TEXT = chunk({"content": "Hel"})
GOOD_STREAM = sse(OPENING, TEXT, chunk({}, "stop"), b"data: [DONE]\n\n")
GOOD = json_answer(WHOLE)


def one(url: str, more: str = "", *, retries: int = 0, router: str = "") -> str:
    return f"""
providers:
  up: {{api_base: {url}/v1, api_key: sk-upstream-secret, timeouts: {{idle_s: 0.1}}}}
models:
  m:
    deployments: [{{provider: up, model: up-1, prices: {{input: 2.5, output: 10}}{more}}}]
router: {{num_retries: {retries}{router}}}
"""


def two(first: Upstream, second: Upstream, router: str = "") -> str:
    return f"""
providers:
  one: {{api_base: {first.url}/v1, api_key: k1}}
  two: {{api_base: {second.url}/v1, api_key: k2}}
models: {{m: [one/up-1, two/up-1]}}
router: {{num_retries: 2{router}}}
"""


def error_of(answered: httpx.Response) -> dict[str, Any]:
    """The error that the client saw, in an answer or as a stream's last event. Fails if the end looks clean."""
    if not answered.headers["content-type"].startswith("text/event-stream"):
        error: dict[str, Any] = answered.json()["error"]
        return error
    assert "[DONE]" not in answered.text
    last = [line[6:] for line in answered.text.split("\n") if line.startswith("data: ")][-1]
    found: dict[str, Any] = json.loads(last)["error"]
    return found


@dataclass(frozen=True)
class Case:
    name: str
    behaviour: Behaviour
    status: int
    """of the HTTP answer"""
    kind: str
    billed: bool = False
    """whether the upstream may have worked: then the call has a cost, estimated"""
    opens_after: int | None = 3
    """calls after which the deployment is left alone; None: never"""
    stream: bool = False


def refusing(status: int, message: str, **more: Any) -> Behaviour:
    return json_answer({"error": {"message": message, **more}}, status=status)


BEFORE_AN_ANSWER = [
    Case("503", refusing(503, "busy"), 503, "overloaded"),
    Case("500", refusing(500, "oh"), 500, "server"),
    Case("html error page", html_error(502), 502, "server"),
    Case("no answer", close_without_answer(), 502, "cut", billed=True),
    Case("not http", garbage(), 502, "malformed", billed=True),
    Case("headers that never end", endless_headers(), 502, "malformed", billed=True),
    Case("stalls before it answers", stall(EVENT_STREAM), 504, "timeout", billed=True),
    Case(
        "html as a good answer", answer(b"<html>sorry</html>", content_type="text/html"), 502, "malformed", billed=True
    ),
    Case("wrong content type", answer(b"OK", content_type="text/plain"), 502, "malformed", billed=True),
    Case("200 with an error", json_answer({"error": {"message": "no capacity", "code": 503}}), 503, "overloaded"),
    Case("a body that is cut", cut(whole(json.dumps(WHOLE).encode()), after=150), 502, "cut", billed=True),
    Case("429 without a time", refusing(429, "slow down"), 429, "rate_limit", opens_after=None),
    Case("401", refusing(401, "bad key"), 401, "authentication", opens_after=1),
    Case("402", refusing(402, "no money"), 402, "quota", opens_after=1),
    Case("403", refusing(403, "not you"), 403, "permission", opens_after=1),
    Case("404", refusing(404, "no such model", code="model_not_found"), 404, "not_found", opens_after=1),
    Case("400", refusing(400, "bad temperature", param="temperature"), 400, "bad_request", opens_after=None),
]
AFTER_CONTENT = [
    Case("stalls", stall(EVENT_STREAM, OPENING, TEXT), 200, "timeout", billed=True, stream=True),
    Case("reset", reset(EVENT_STREAM, OPENING, TEXT), 200, "cut", billed=True, stream=True),
    Case("ends without its end", sse(OPENING, TEXT), 200, "cut", billed=True, stream=True),
    Case("closes within", sse(OPENING, TEXT, end=False, then="close"), 200, "cut", billed=True, stream=True),
    Case("a truncated chunk", sse(OPENING, TEXT, b'data: {"id": "c1", "cho'), 200, "cut", billed=True, stream=True),
    Case(
        "an error event",
        sse(OPENING, TEXT, b'data: {"error": {"message": "overloaded", "type": "server_error"}}\n\n'),
        200,
        "server",
        billed=True,
        stream=True,
    ),
]


async def _call_until_left_alone(wayport: Gateway, case: Case) -> list[httpx.Response]:
    """One call more than the breaker should take."""
    count = (case.opens_after or 6) + 1
    return [await wayport.ask({**ASK, "stream": case.stream}) for _ in range(count)]


@pytest.mark.parametrize("case", [*BEFORE_AN_ANSWER, *AFTER_CONTENT], ids=lambda case: case.name)
async def test_what_the_client_saw_what_was_billed_and_what_the_breaker_did(case: Case) -> None:
    async with Upstream(case.behaviour) as upstream, gateway(one(upstream.url)) as wayport:
        answered = await _call_until_left_alone(wayport, case)
        assert answered[0].status_code == case.status
        assert error_of(answered[0])["message"]
        record = wayport.records[0]
        assert record.error_class == case.kind
        assert record.status == ("cut" if case.stream else "failure")
        assert (spent(record) > 0) is case.billed
        tried = case.opens_after or len(answered)
        assert len(upstream.requests) == tried
        if case.opens_after is not None:
            last = answered[-1]
            assert last.status_code in (503, 401, 402, 403, 404)
            assert "is left alone for" in error_of(last)["message"]
            assert int(last.headers["retry-after"]) >= 1
            assert wayport.records[-1].attempts == []
        await wayport.until_idle()
        assert wayport.worker.routing.lives.in_flight() == 0


def spent(record: CallRecord) -> int:
    return (record.cost_nano_usd or 0) + sum(attempt.cost_nano_usd or 0 for attempt in record.attempts)


async def test_a_429_storm_is_not_answered_with_a_storm_of_retries() -> None:
    limited = json_answer({"error": {"message": "slow down"}}, status=429, headers={"retry-after": "30"})
    async with Upstream(limited) as upstream, gateway(one(upstream.url, retries=2)) as wayport:
        answered = await asyncio.gather(*(wayport.ask(ASK, headers={"x-wayport-num-retries": "0"}) for _ in range(20)))
        asked = len(upstream.requests)
        later = await wayport.ask(ASK)
        assert {each.status_code for each in (*answered, later)} == {429}
        assert 1 <= int(later.headers["retry-after"]) <= 30
        assert len(upstream.requests) == asked


async def test_the_time_at_which_a_limit_is_reset_is_respected_without_a_retry_after() -> None:
    limited = json_answer(
        {"error": {"message": "slow down"}},
        status=429,
        headers={
            "x-ratelimit-remaining-tokens": "0",
            "x-ratelimit-reset-tokens": "1m30s",
            "x-ratelimit-reset-requests": "1s",
        },
    )
    async with Upstream(limited) as upstream, gateway(one(upstream.url)) as wayport:
        first = await wayport.ask(ASK)
        assert first.headers["retry-after"] == "90"
        assert (await wayport.ask(ASK)).status_code == 429
        assert len(upstream.requests) == 1


async def test_a_burst_of_server_errors_is_ridden_out_by_retries() -> None:
    bad = json_answer({"error": {"message": "oh"}}, status=500, headers={"retry-after-ms": "1"})
    async with Upstream([bad, bad, GOOD]) as upstream, gateway(one(upstream.url, retries=2)) as wayport:
        answered = await wayport.ask(ASK)
        assert answered.status_code == 200
        assert [attempt.status for attempt in wayport.records[0].attempts] == [500, 500, 200]
        assert wayport.records[0].wasted_nano_usd == 0


async def test_a_slow_first_token_is_given_up_and_asked_for_elsewhere() -> None:
    gate = asyncio.Event()
    slow = sse(b": waiting\n\n", OPENING, gate, TEXT)
    async with Upstream(slow) as first, Upstream([GOOD_STREAM]) as second:
        async with gateway(two(first, second, ", timeouts: {ttft_timeout: 0.05}")) as wayport:
            answered = await wayport.ask({**ASK, "stream": True})
            assert answered.text.endswith("[DONE]\n\n")
            record = wayport.records[0]
            assert [(a.provider, a.error_class) for a in record.attempts] == [("one", "timeout"), ("two", None)]
            assert "ttft_timeout" in (record.attempts[0].error or "")
            await first.until(lambda: first.open == 0)


async def test_a_request_may_say_how_long_it_waits() -> None:
    async with Upstream(stall()) as first, Upstream([GOOD]) as second, gateway(two(first, second)) as wayport:
        answered = await wayport.ask({**ASK, "timeout": 0.1, "num_retries": 0})
        assert (answered.status_code, error_of(answered)["type"]) == (504, "timeout_error")
        assert "timeout" not in first.requests[0].json()


@pytest.mark.parametrize(
    ("headers", "stream"),
    [({"x-litellm-timeout": "0.1"}, False), ({"x-litellm-stream-timeout": "0.1"}, True)],
    ids=["whole", "stream"],
)
async def test_litellms_clients_say_it_in_a_header_and_have_its_status(
    headers: dict[str, str], *, stream: bool
) -> None:
    text = "model_list: [{{model_name: m, litellm_params: {{model: openai/x, api_key: k, api_base: '{}/v1'}}}}]"
    async with Upstream(stall()) as upstream, gateway(text.format(upstream.url)) as wayport:
        answered = await wayport.ask({**ASK, "num_retries": 0, "stream": stream}, headers=headers)
        assert (answered.status_code, error_of(answered)["type"]) == (408, "timeout_error")
    refused = json_answer({"error": {"message": "too late"}}, status=504)
    async with Upstream([refused]) as upstream, gateway(text.format(upstream.url)) as wayport:
        assert (await wayport.ask({**ASK, "num_retries": 0})).status_code == 504


async def test_all_attempts_together_end_when_the_calls_time_does() -> None:
    bad = json_answer({"error": {"message": "busy"}}, status=503, headers={"retry-after": "5"})
    async with Upstream(bad) as upstream, gateway(one(upstream.url, retries=5, router=", timeout: 2")) as wayport:
        answered = await wayport.ask(ASK)
        assert answered.status_code == 503
        assert len(upstream.requests) == 1


async def test_a_pause_in_a_stream_is_measured_by_its_own_limit() -> None:
    broken = stall(EVENT_STREAM, OPENING, TEXT)
    config = one("URL", ", timeouts: {idle_s: 60, stream_idle_timeout: 0.05}")
    async with Upstream(broken) as upstream, gateway(config.replace("URL", upstream.url)) as wayport:
        answered = await wayport.ask({**ASK, "stream": True})
        assert error_of(answered)["message"]
        assert wayport.records[0].status == "cut"


async def test_a_name_that_does_not_resolve_is_a_connection_failure_and_falls_back() -> None:
    async def nowhere(*_: object, **__: object) -> Sequence[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async with Upstream([GOOD]) as second:
        config = two(second, second).replace(f"{second.url}/v1, api_key: k1", "http://nowhere.test/v1, api_key: k1")
        async with gateway(config) as wayport:
            wayport.worker.transport.resolver._getaddrinfo = nowhere
            assert (await wayport.ask(ASK)).status_code == 200
            record = wayport.records[0]
            assert [(a.provider, a.error_class) for a in record.attempts] == [("one", "connect"), ("two", None)]
            assert record.wasted_nano_usd == 0


async def test_a_certificate_that_nobody_trusts_is_a_connection_failure_and_falls_back() -> None:
    async with Upstream([], tls=True) as first, Upstream([GOOD]) as second, gateway(two(first, second)) as wayport:
        assert (await wayport.ask(ASK)).status_code == 200
        record = wayport.records[0]
        assert [(a.provider, a.error_class) for a in record.attempts] == [("one", "connect"), ("two", None)]
        assert "certificate" in (record.attempts[0].error or "").lower()


async def test_a_dead_single_deployment_fails_fast_and_comes_back_by_one_probe() -> None:
    bad = json_answer({"error": {"message": "down"}}, status=500)
    config = one("URL", router=", cooldown_s: 0.05")
    async with (
        Upstream([bad, bad, bad, GOOD, GOOD]) as upstream,
        gateway(config.replace("URL", upstream.url)) as wayport,
    ):
        for _ in range(3):
            assert (await wayport.ask(ASK)).status_code == 500
        assert (await wayport.ask(ASK)).status_code == 503
        health, deployment = wayport.worker.routing.health, wayport.worker.pipeline.table.find("m").deployments[0]
        clock = wayport.worker.clock
        async with asyncio.timeout(5):
            while health.state_of(deployment, clock.steady_s()) == "open":
                await asyncio.sleep(0.005)
        assert health.state_of(deployment, clock.steady_s()) == "half_open"
        assert (await wayport.ask(ASK)).status_code == 200
        assert health.state_of(deployment, clock.steady_s()) == "closed"
        assert (await wayport.ask(ASK)).status_code == 200


async def test_a_client_that_leaves_counts_against_nobody_and_frees_its_slot() -> None:
    reached = asyncio.Event()
    async with Upstream(stall(reached.set)) as upstream, gateway(one(upstream.url, ", max_parallel: 1")) as wayport:
        asking = asyncio.ensure_future(wayport.ask(ASK, timeout=20))
        await asyncio.wait_for(reached.wait(), 5)
        live = wayport.worker.routing.lives
        assert live.in_flight() == 1
        full = await wayport.ask(ASK)
        assert (full.status_code, error_of(full)["code"]) == (429, "deployment_limits")
        asking.cancel()
        await upstream.until(lambda: upstream.open == 0)
        await wayport.until_idle()
        assert live.in_flight() == 0
        deployment = wayport.worker.pipeline.table.find("m").deployments[0]
        assert wayport.worker.routing.health.blocked(deployment, wayport.worker.clock.steady_s()) is None
        cancelled = next(record for record in wayport.records if record.status == "cancelled")
        assert spent(cancelled) > 0


# ------------------------------------------------------------------------------------- what one target cannot be told
ANSWERED = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": [{"type": "text", "text": "Hi"}],
    "stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 7, "output_tokens": 3},
}  # fmt: skip


async def test_a_target_that_cannot_be_told_the_request_is_passed_over_and_not_blamed() -> None:
    async with Upstream([]) as first, Upstream([GOOD, GOOD]) as second:
        config = f"""
providers:
  strict: {{like: anthropic, api_base: {first.url}, api_key: k1, drop_params: false}}
  two: {{api_base: {second.url}/v1, api_key: k2}}
models: {{m: [strict/claude-sonnet-4-5, two/up-1]}}
"""
        async with gateway(config) as wayport:
            assert (await wayport.ask({**ASK, "logit_bias": {"1": 2}})).status_code == 200
            record = wayport.records[0]
            assert [a.provider for a in record.attempts] == ["strict", "two"]
            assert record.attempts[0].error_class == "unsupported_param"
            assert "logit_bias" in (record.attempts[0].error or "")
            assert record.dropped_params == []
            deployment = wayport.worker.pipeline.table.find("m").deployments[0]
            assert wayport.worker.routing.health.quiet, deployment


async def test_what_no_target_can_be_told_is_the_clients_to_mend() -> None:
    async with Upstream([]) as first:
        config = f"""
providers: {{strict: {{like: anthropic, api_base: {first.url}, api_key: k1, drop_params: false}}}}
models: {{m: strict/claude-sonnet-4-5}}
"""
        async with gateway(config) as wayport:
            answered = await wayport.ask({**ASK, "logit_bias": {"1": 2}})
            assert answered.status_code == 400
            assert error_of(answered)["param"] == "logit_bias"


async def test_what_an_upstream_said_weighs_more_than_what_the_last_target_lacks() -> None:
    busy = json_answer({"error": {"message": "busy"}}, status=503)
    async with Upstream([busy]) as first, Upstream([]) as second:
        config = f"""
providers:
  one: {{api_base: {first.url}/v1, api_key: k1}}
  strict: {{like: anthropic, api_base: {second.url}, api_key: k2, drop_params: false}}
models: {{m: [one/up-1, strict/claude-sonnet-4-5]}}
router: {{num_retries: 0}}
"""
        async with gateway(config) as wayport:
            answered = await wayport.ask({**ASK, "logit_bias": {"1": 2}})
            assert (answered.status_code, error_of(answered)["message"]) == (503, "busy")


async def test_a_request_that_is_wrong_for_everybody_is_tried_once() -> None:
    async with Upstream([]) as first, Upstream([]) as second:
        config = f"""
providers:
  one: {{like: anthropic, api_base: {first.url}, api_key: k1}}
  two: {{like: anthropic, api_base: {second.url}, api_key: k2}}
models: {{m: [one/claude-sonnet-4-5, two/claude-sonnet-4-5]}}
"""
        async with gateway(config) as wayport:
            answered = await wayport.ask({"model": "m", "messages": "hello"})
            assert answered.status_code == 400
            assert len(wayport.records[0].attempts) == 1
