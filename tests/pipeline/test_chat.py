"""A chat call through the whole worker: passthrough, translation, streams, retries, errors, and what is recorded."""

import asyncio
import json
from typing import Any

import pytest
from tests.fakes.gateway import Gateway, gateway
from tests.fakes.upstream import (
    Upstream,
    answer,
    chunked,
    close_without_answer,
    cut,
    html_error,
    json_answer,
    reset,
    sse,
    stall,
)

from wayport.core.record import CallRecord

WHOLE = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "up-1",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500},
    "x_unknown": {"kept": 1.50},
}
ASK = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    body = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "up-1", "choices": choices, **more}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


OPENING = chunk({"role": "assistant", "content": ""})
USAGE = chunk(None, usage={"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12})
DONE = b"data: [DONE]\n\n"
STREAM = (OPENING, chunk({"content": "Hel"}), chunk({"content": "lo"}), chunk({}, "stop"), USAGE, DONE)


def openai_at(upstream: Upstream, extra: str = "") -> str:
    return f"""
providers:
  up: {{api_base: {upstream.url}/v1, api_key: sk-upstream-secret}}
models:
  m:
    deployments: [{{provider: up, model: up-1, prices: {{input: 2.5, output: 10}}}}]
router: {{num_retries: 0}}
{extra}"""


def anthropic_at(upstream: Upstream) -> str:
    return f"""
providers:
  anthropic: {{api_base: {upstream.url}, api_key: sk-ant-upstream-secret}}
models:
  m: anthropic/claude-sonnet-4-5
router: {{num_retries: 0}}
"""


def events(text: str) -> list[Any]:
    found = [line[6:] for line in text.split("\n") if line.startswith("data: ")]
    return [data if data == "[DONE]" else json.loads(data) for data in found]


def only(wayport: Gateway) -> CallRecord:
    assert len(wayport.records) == 1
    return wayport.records[0]


# ------------------------------------------------------------------------------------------------------------- whole
async def test_an_answer_of_the_same_dialect_passes_byte_for_byte_and_is_accounted() -> None:
    raw = json.dumps(WHOLE).encode()
    async with Upstream([answer(raw)]) as upstream, gateway(openai_at(upstream)) as wayport:
        answered = await wayport.ask({**ASK, "x_new_field": {"a": 1.0}})
        assert answered.content == raw
        sent = upstream.requests[0]
        assert sent.json() == {**ASK, "model": "up-1", "x_new_field": {"a": 1.0}}
        assert sent.headers["authorization"] == "Bearer sk-upstream-secret"
        record = only(wayport)
        assert (record.status, record.usage_source, record.model, record.provider) == ("success", "reported", "m", "up")
        # 1,000 tokens at $2.50 and 500 at $10 per million: 0.0025 + 0.005
        assert record.cost_nano_usd == 7_500_000
        assert answered.headers["x-wayport-cost-usd"] == "0.0075"
        assert answered.headers["x-wayport-call-id"] == record.call_id
        assert answered.headers["x-wayport-model"] == "m"
        assert answered.headers["x-wayport-attempts"] == "1"


async def test_our_key_cookies_and_forwarding_headers_stay_here() -> None:
    async with Upstream([json_answer(WHOLE)]) as upstream, gateway(openai_at(upstream)) as wayport:
        await wayport.ask(ASK, headers={"cookie": "a=b", "x-forwarded-for": "1.2.3.4", "x-api-key": "sk-mine"})
        sent = upstream.requests[0]
        assert not {"cookie", "x-forwarded-for", "x-api-key"} & sent.headers.keys()
        assert str(wayport.key) not in str(sent.header_list)


async def test_a_foreign_dialect_is_translated_both_ways() -> None:
    said = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5",
        "content": [{"type": "text", "text": "Hi"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 7, "output_tokens": 3},
    }
    async with Upstream([json_answer(said)]) as upstream, gateway(anthropic_at(upstream)) as wayport:
        answered = (await wayport.ask(ASK)).json()
        assert answered["choices"][0]["message"]["content"] == "Hi"
        assert answered["choices"][0]["finish_reason"] == "stop"
        assert answered["usage"]["prompt_tokens"] == 7
        sent = upstream.requests[0]
        assert (sent.path, sent.headers["x-api-key"]) == ("/v1/messages", "sk-ant-upstream-secret")
        assert sent.json()["messages"] == [{"role": "user", "content": "Hello"}]
        assert only(wayport).upstream_dialect == "anthropic_messages"


async def test_what_the_target_lacks_is_named_in_a_header() -> None:
    said: dict[str, Any] = {
        "id": "m", "type": "message", "role": "assistant", "model": "c", "content": [], "stop_reason": "end_turn",
        "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1},
    }  # fmt: skip
    async with Upstream([json_answer(said)]) as upstream, gateway(anthropic_at(upstream)) as wayport:
        answered = await wayport.ask({**ASK, "seed": 1, "logit_bias": {"1": 2}})
        assert set(answered.headers["x-wayport-dropped-params"].split(",")) == {"seed", "logit_bias"}


async def test_an_answer_without_usage_is_estimated_never_free() -> None:
    said = {k: v for k, v in WHOLE.items() if k != "usage"}
    async with Upstream([json_answer(said)]) as upstream, gateway(openai_at(upstream)) as wayport:
        await wayport.ask(ASK)
        record = only(wayport)
        assert record.usage_source == "estimated"
        assert record.cost_nano_usd is not None
        assert record.cost_nano_usd > 0


async def test_an_unpriced_call_has_no_cost_rather_than_none_to_pay() -> None:
    config = "providers: {up: {api_base: %s/v1, api_key: k}}\nmodels: {m: up/unheard-of}\n"
    async with Upstream([json_answer(WHOLE)]) as upstream, gateway(config % upstream.url) as wayport:
        answered = await wayport.ask(ASK)
        assert "x-wayport-cost-usd" not in answered.headers
        assert only(wayport).cost_nano_usd is None


# ------------------------------------------------------------------------------------------------------------ streams
async def test_a_stream_passes_event_by_event_and_the_usage_nobody_asked_for_is_taken_out() -> None:
    async with Upstream([sse(*STREAM)]) as upstream, gateway(openai_at(upstream)) as wayport:
        answered = await wayport.ask({**ASK, "stream": True})
        assert answered.content == b"".join(event for event in STREAM if event is not USAGE)
        assert answered.headers["content-type"].startswith("text/event-stream")
        assert upstream.requests[0].json()["stream_options"] == {"include_usage": True}
        record = only(wayport)
        assert record.usage is not None
        assert (record.usage.input_tokens, record.usage.output_tokens, record.finish) == (10, 2, "stop")
        assert record.first_token_ms is not None
        # What the upstream took is not what we added.
        assert record.overhead_ms < (record.ended_s - record.started_s) * 1000


async def test_the_usage_that_was_asked_for_is_kept() -> None:
    async with Upstream([sse(*STREAM)]) as upstream, gateway(openai_at(upstream)) as wayport:
        answered = await wayport.ask({**ASK, "stream": True, "stream_options": {"include_usage": True}})
        assert answered.content == b"".join(STREAM)


async def test_events_go_out_as_they_come() -> None:
    gate = asyncio.Event()
    async with Upstream(sse(OPENING, chunk({"content": "a"}), gate, chunk({}, "stop"), DONE)) as upstream:
        async with gateway(openai_at(upstream)) as wayport:
            body = json.dumps({**ASK, "stream": True})
            async with wayport.http.stream("POST", "/v1/chat/completions", content=body) as answered:
                seen = b""
                async for data in answered.aiter_raw():
                    seen += data
                    if b'"content": "a"' in seen:
                        gate.set()
                assert seen.endswith(DONE)


async def test_a_stream_of_another_dialect_becomes_chat_chunks() -> None:
    said = (
        b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant",'
        b'"model":"c","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":9,"output_tokens":1}}}\n\n'
        b'event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}\n\n'
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}\n\n'
        b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
        b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},'
        b'"usage":{"output_tokens":4}}\n\n'
        b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    )
    async with Upstream([sse(said)]) as upstream, gateway(anthropic_at(upstream)) as wayport:
        seen = events((await wayport.ask({**ASK, "stream": True})).text)
        assert seen[-1] == "[DONE]"
        assert "".join(e["choices"][0]["delta"].get("content") or "" for e in seen[:-1]) == "Hi"
        record = only(wayport)
        assert record.usage is not None
        assert (record.usage.input_tokens, record.usage.output_tokens) == (9, 4)


async def test_an_upstream_that_ignores_the_wish_for_a_stream_is_streamed_all_the_same() -> None:
    async with Upstream([json_answer(WHOLE)]) as upstream, gateway(openai_at(upstream)) as wayport:
        seen = events((await wayport.ask({**ASK, "stream": True})).text)
        assert seen[-1] == "[DONE]"
        assert seen[0]["object"] == "chat.completion.chunk"
        assert only(wayport).cost_nano_usd == 7_500_000


async def test_an_upstream_that_streams_unasked_is_folded_into_a_whole_answer() -> None:
    async with Upstream([sse(*STREAM)]) as upstream, gateway(openai_at(upstream)) as wayport:
        answered = (await wayport.ask(ASK)).json()
        assert answered["choices"][0]["message"]["content"] == "Hello"
        assert answered["usage"]["completion_tokens"] == 2


async def test_a_stream_without_its_done_but_with_its_finish_is_a_clean_end() -> None:
    async with Upstream([sse(*STREAM[:4])]) as upstream, gateway(openai_at(upstream)) as wayport:
        seen = events((await wayport.ask({**ASK, "stream": True})).text)
        assert seen[-1] == "[DONE]"
        assert only(wayport).status == "success"


# ----------------------------------------------------------------------------------------- what breaks after content
@pytest.mark.parametrize(
    "broken",
    [
        chunked(OPENING, chunk({"content": "Hel"}), content_type="text/event-stream"),
        chunked(OPENING, chunk({"content": "Hel"}), content_type="text/event-stream", end=False, then="close"),
        chunked(
            OPENING,
            chunk({"content": "Hel"}),
            b'data: {"error": {"message": "overloaded"}}\n\n',
            content_type="text/event-stream",
        ),
        chunked(OPENING, chunk({"content": "Hel"}), b'data: {"id": "c1", "cho', content_type="text/event-stream"),
    ],
    ids=["ends without finish", "connection cut", "error event", "truncated event"],
)
async def test_a_stream_that_breaks_after_content_ends_with_an_error_event_and_no_done(broken: Any) -> None:
    async with Upstream([broken]) as upstream, gateway(openai_at(upstream)) as wayport:
        text = (await wayport.ask({**ASK, "stream": True})).text
        seen = events(text)
        assert "[DONE]" not in text
        assert "error" in seen[-1]
        record = only(wayport)
        assert (record.status, record.usage_source) == ("cut", "estimated")
        assert record.cost_nano_usd is not None
        assert record.cost_nano_usd > 0


async def test_a_started_stream_is_never_restarted() -> None:
    broken = chunked(OPENING, chunk({"content": "Hel"}), content_type="text/event-stream")
    async with Upstream([broken]) as upstream:
        async with gateway(openai_at(upstream, "").replace("num_retries: 0", "num_retries: 3")) as wayport:
            await wayport.ask({**ASK, "stream": True})
            assert len(upstream.requests) == 1


# ---------------------------------------------------------------------------------------- what breaks before content
@pytest.mark.parametrize(
    "broken",
    [
        json_answer({"error": {"message": "busy"}}, status=503),
        html_error(502),
        close_without_answer(),
        chunked(OPENING, content_type="text/event-stream"),
        chunked(
            OPENING,
            b'data: {"error": {"message": "overloaded", "type": "server_error"}}\n\n',
            content_type="text/event-stream",
        ),
        reset(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"),
        answer(b"<html>sorry</html>", headers={"content-type": "text/html"}),
        cut(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{", after=90),
    ],
    ids=["503", "HTML 502", "no answer", "empty stream", "error event", "reset", "HTML 200", "cut body"],
)
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_a_failure_before_content_falls_back_unseen(broken: Any, *, stream: bool) -> None:
    good = sse(*STREAM) if stream else json_answer(WHOLE)
    async with Upstream([broken]) as first, Upstream([good]) as second:
        config = f"""
providers:
  one: {{api_base: {first.url}/v1, api_key: k}}
  two: {{api_base: {second.url}/v1, api_key: k}}
models:
  m: [one/up-1, two/up-1]
"""
        async with gateway(config) as wayport:
            answered = await wayport.ask({**ASK, "stream": stream})
            assert answered.status_code == 200
            assert "error" not in answered.text
            record = only(wayport)
            assert [a.provider for a in record.attempts] == ["one", "two"]
            assert record.status == "success"
            assert record.provider == "two"


async def test_num_retries_two_is_three_attempts_and_then_the_upstreams_error() -> None:
    busy = json_answer({"error": {"message": "busy", "type": "server_error"}}, status=503, headers={"retry-after": "0"})
    async with Upstream([busy, busy, busy]) as upstream:
        async with gateway(openai_at(upstream).replace("num_retries: 0", "num_retries: 2")) as wayport:
            answered = await wayport.ask(ASK)
            assert answered.status_code == 503
            assert answered.json()["error"]["message"] == "busy"
            assert answered.headers["x-should-retry"] == "true"
            assert answered.headers["x-wayport-attempts"] == "3"
            assert len(upstream.requests) == 3


async def test_a_rate_limit_comes_out_with_its_retry_after() -> None:
    limited = json_answer({"error": {"message": "slow down"}}, status=429, headers={"retry-after": "17"})
    async with Upstream([limited]) as upstream, gateway(openai_at(upstream)) as wayport:
        answered = await wayport.ask(ASK)
        assert (answered.status_code, answered.headers["retry-after"]) == (429, "17")
        assert only(wayport).error_class == "rate_limit"


async def test_the_clients_own_mistake_is_not_tried_elsewhere() -> None:
    wrong = json_answer(
        {"error": {"message": "bad temperature", "param": "temperature", "type": "invalid_request_error"}}, status=400
    )
    async with Upstream([wrong]) as first, Upstream([]) as second:
        config = f"""
providers: {{one: {{api_base: {first.url}/v1, api_key: k}}, two: {{api_base: {second.url}/v1, api_key: k}}}}
models: {{m: [one/up-1, two/up-1]}}
"""
        async with gateway(config) as wayport:
            answered = await wayport.ask(ASK)
            assert answered.status_code == 400
            assert answered.json()["error"]["param"] == "temperature"


async def test_an_upstream_error_that_echoes_our_credential_is_masked() -> None:
    echo = json_answer({"error": {"message": "Incorrect API key provided: sk-upstream-secret."}}, status=401)
    async with Upstream([echo]) as upstream, gateway(openai_at(upstream)) as wayport:
        answered = await wayport.ask(ASK)
        assert "sk-upstream-secret" not in answered.text
        assert "sk-upstream-secret" not in str(only(wayport))


async def test_a_200_that_holds_an_error_is_an_error() -> None:
    async with Upstream([json_answer({"error": {"message": "no capacity", "code": 503}})]) as upstream:
        async with gateway(openai_at(upstream)) as wayport:
            answered = await wayport.ask(ASK)
            assert answered.status_code >= 500
            assert "no capacity" in answered.text


# ------------------------------------------------------------------------------------------------------ client gone
async def test_a_client_that_leaves_closes_the_upstream_at_once_and_is_accounted() -> None:
    reached = asyncio.Event()
    async with Upstream(
        stall(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n", OPENING, chunk({"content": "a"}), reached.set
        )
    ) as upstream:
        async with gateway(openai_at(upstream)) as wayport:
            _, writer = await asyncio.open_connection("127.0.0.1", wayport.port)
            body = json.dumps({**ASK, "stream": True}).encode()
            writer.write(
                b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %b\r\ncontent-length: %d\r\n\r\n%b"
                % ((wayport.key or "").encode(), len(body), body)
            )
            await asyncio.wait_for(reached.wait(), 5)
            writer.transport.abort()
            await upstream.until(lambda: upstream.open == 0)
            await wayport.until_idle()
            record = only(wayport)
            assert (record.status, record.http_status, record.usage_source) == ("cancelled", 499, "estimated")
            assert record.usage is not None
            assert wayport.worker.health.cooling_until_s(record.deployment) == 0.0


async def test_a_client_that_leaves_before_the_answer_is_accounted_for_what_was_sent() -> None:
    async with Upstream(stall()) as upstream, gateway(openai_at(upstream)) as wayport:
        _, writer = await asyncio.open_connection("127.0.0.1", wayport.port)
        body = json.dumps(ASK).encode()
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %b\r\ncontent-length: %d\r\n\r\n%b"
            % ((wayport.key or "").encode(), len(body), body)
        )
        await upstream.until(lambda: len(upstream.requests) == 1)
        writer.transport.abort()
        await upstream.until(lambda: upstream.open == 0)
        await wayport.until_idle()
        record = only(wayport)
        assert record.status == "cancelled"
        assert record.cost_nano_usd is not None
        assert record.cost_nano_usd > 0


# ------------------------------------------------------------------------------------------------------------ holding
async def test_a_long_silence_before_content_is_filled_with_comments_and_can_still_fall_back() -> None:
    gate = asyncio.Event()
    async with (
        Upstream(sse(OPENING, gate, b'data: {"error": {"message": "gone"}}\n\n')) as first,
        Upstream([sse(*STREAM)]) as second,
    ):
        config = f"""
providers: {{one: {{api_base: {first.url}/v1, api_key: k}}, two: {{api_base: {second.url}/v1, api_key: k}}}}
models: {{m: [one/up-1, two/up-1]}}
"""
        async with gateway(config, hold_max_s=0.01) as wayport:
            body = json.dumps({**ASK, "stream": True})
            async with wayport.http.stream("POST", "/v1/chat/completions", content=body) as answered:
                seen = b""
                async for data in answered.aiter_raw():
                    seen += data
                    gate.set()
            assert seen.startswith(b": ")
            assert b"error" not in seen
            assert seen.endswith(DONE)
            assert len(only(wayport).attempts) == 2


# ------------------------------------------------------------------------------------------------------------- names
async def test_in_litellm_mode_the_answer_names_the_requested_model_in_streams_too() -> None:
    config = """
model_list:
  - model_name: m
    litellm_params: {model: openai/up-1, api_base: %s/v1, api_key: k}
"""
    async with Upstream([json_answer(WHOLE), sse(*STREAM)]) as upstream, gateway(config % upstream.url) as wayport:
        answered = await wayport.ask(ASK)
        assert answered.json()["model"] == "m"
        assert answered.headers["x-litellm-model-group"] == "m"
        seen = events((await wayport.ask({**ASK, "stream": True})).text)
        assert {event["model"] for event in seen[:-1]} == {"m"}


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/chat/completions", "m"),
        ("/openai/deployments/m/chat/completions", None),
        ("/engines/m/chat/completions", None),
    ],
)
async def test_other_paths_lead_to_chat_too(path: str, model: str | None) -> None:
    body = {k: v for k, v in {**ASK, "model": model}.items() if v is not None}
    async with Upstream([json_answer(WHOLE)]) as upstream, gateway(openai_at(upstream)) as wayport:
        assert (await wayport.ask(body, path)).status_code == 200


async def test_the_built_in_model_answers_without_any_upstream() -> None:
    async with gateway() as wayport:
        answered = (await wayport.ask({**ASK, "model": "wayport/echo"})).json()
        assert answered["choices"][0]["message"]["content"] == "Hello"
        seen = events((await wayport.ask({**ASK, "model": "wayport/echo", "stream": True})).text)
        assert seen[-1] == "[DONE]"
        assert [record.cost_nano_usd for record in wayport.records] == [0, 0]


CLAUDES = {
    "id": "msg_7", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "stop_reason": "max_tokens",
    "stop_sequence": None, "content": [{"type": "text", "text": "Hello"}],
    "usage": {"input_tokens": 5, "output_tokens": 3, "service_tier": "priority"},
}  # fmt: skip
GEMINIS = {
    "candidates": [{"content": {"role": "model", "parts": [{"text": "Hi"}]}, "finishReason": "SAFETY", "index": 0}],
    "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5},
    "responseId": "r-9", "modelVersion": "gemini-2.5-flash",
}  # fmt: skip


def _claude_event(name: str, **value: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **value})}\n\n".encode()


CLAUDES_STREAM = (
    _claude_event("message_start", message={**CLAUDES, "content": [], "stop_reason": None}),
    _claude_event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
    *(_claude_event("content_block_delta", index=0, delta={"type": "text_delta", "text": w}) for w in "abcdefgh"),
    _claude_event("content_block_stop", index=0),
    _claude_event(
        "message_delta", delta={"stop_reason": "max_tokens", "stop_sequence": None}, usage={"output_tokens": 3}
    ),
    _claude_event("message_stop"),
)


@pytest.mark.parametrize(
    ("path", "ask", "answered", "stated"),
    [
        (
            "/v1/chat/completions",
            ASK,
            json_answer({**WHOLE, "service_tier": "flex"}),
            ("chatcmpl-1", "flex", "stop"),
        ),
        ("/v1/chat/completions", {**ASK, "stream": True}, sse(*STREAM), ("c1", None, "stop")),
        ("/v1/messages", {**ASK, "max_tokens": 9}, json_answer(CLAUDES), ("msg_7", "priority", "length")),
        (
            "/v1/messages",
            {**ASK, "max_tokens": 9, "stream": True},
            sse(*CLAUDES_STREAM),
            ("msg_7", "priority", "length"),
        ),
        (
            "/v1beta/models/m:generateContent",
            {"contents": [{"parts": [{"text": "Hi"}]}]},
            json_answer(GEMINIS),
            ("r-9", None, "content_filter"),
        ),
    ],
    ids=["chat", "chat streamed", "messages", "messages streamed", "Gemini"],
)
async def test_what_an_answer_says_of_itself_is_recorded_where_it_passes_as_it_is(
    path: str, ask: dict[str, Any], answered: Any, stated: tuple[str, str | None, str]
) -> None:
    """Support asks for the upstream's id; the tier that was served has a price of its own."""
    provider = {"/v1/messages": "anthropic", "/v1/chat/completions": "up"}.get(path, "gemini")
    async with Upstream([answered, answered]) as upstream:
        base = f"{upstream.url}/v1" if provider == "up" else upstream.url
        config = f"""
providers:
  {provider}: {{api_base: {base}, api_key: sk-x}}
models:
  m: {provider}/some-model
"""
        async with gateway(config) as wayport:
            # The second time on a connection that is open: the straight way, where there is one.
            for _ in range(2):
                assert (await wayport.ask(ask, path)).status_code == 200
            for record in wayport.records:
                assert (record.upstream_id, record.service_tier, record.finish) == stated


async def test_a_tier_is_billed_at_its_own_price_where_the_answer_passes_as_it_is() -> None:
    async with Upstream(json_answer({**WHOLE, "service_tier": "flex"})) as upstream:
        config = f"""
providers:
  up: {{api_base: {upstream.url}/v1, api_key: sk-x}}
models:
  m:
    deployments:
    - {{model: up/x, prices: {{input: 2, output: 8, service_tiers: {{flex: {{input: 1, output: 4}}}}}}}}
"""
        async with gateway(config) as wayport:
            for _ in range(2):
                answered = await wayport.ask(ASK)
                assert answered.headers["x-wayport-cost-usd"] == "0.003"
