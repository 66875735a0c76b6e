"""Upstreams that answer what no upstream should: redirects, wrong labels, impossible counts, events without end."""

import asyncio
import gzip
import json

import pytest
from tests.fakes.gateway import gateway
from tests.fakes.upstream import Upstream, answer, chunked, json_answer, sse
from tests.pipeline.test_chat import ASK, DONE, OPENING, STREAM, WHOLE, chunk, events, only, openai_at

STREAMED = {**ASK, "stream": True}


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed_and_never_an_answer(status: int) -> None:
    async with Upstream([]) as elsewhere:
        location = [("location", f"{elsewhere.url}/v1/chat/completions?token=secret")]
        async with Upstream([json_answer(WHOLE, status=status, headers=location)]) as upstream:
            async with gateway(openai_at(upstream)) as wayport:
                answered = await wayport.ask(ASK)
        assert answered.status_code == 502
        message = answered.json()["error"]["message"]
        assert "redirect" in message
        assert "token=secret" not in message
        assert elsewhere.requests == []


@pytest.mark.parametrize("label", ["Text/Event-Stream", "text/plain", "application/octet-stream", None])
@pytest.mark.parametrize("streamed", [True, False])
async def test_a_stream_under_a_wrong_label_is_a_stream(label: str | None, streamed: bool) -> None:
    async with Upstream([chunked(*STREAM, content_type=label)]) as upstream, gateway(openai_at(upstream)) as wayport:
        answered = await wayport.ask(STREAMED if streamed else ASK)
        assert answered.status_code == 200
        if streamed:
            told = events(answered.text)
            assert told[-1] == "[DONE]"
            assert "".join(e["choices"][0]["delta"].get("content", "") for e in told[:-1] if e["choices"]) == "Hello"
        else:
            assert answered.json()["choices"][0]["message"]["content"] == "Hello"
        record = only(wayport)
        assert (record.status, record.usage_source) == ("success", "reported")


async def test_a_compressed_stream_is_read() -> None:
    packed = sse(gzip.compress(b"".join(STREAM)), headers=[("content-encoding", "gzip")])
    async with Upstream([packed]) as upstream, gateway(openai_at(upstream)) as wayport:
        assert events((await wayport.ask(STREAMED)).text)[-1] == "[DONE]"


@pytest.mark.parametrize(
    "counts",
    [
        b'{"prompt_tokens": -5, "completion_tokens": 3, "total_tokens": -2}',
        b'{"prompt_tokens": 99999999999999999999999, "completion_tokens": 5, "total_tokens": 5}',
        b'{"prompt_tokens": 9223372036854775807, "completion_tokens": 1e30, "total_tokens": 5}',
    ],
)
async def test_counts_that_cannot_be_neither_fail_the_call_nor_lose_its_record(counts: bytes) -> None:
    body = json.dumps({**WHOLE, "usage": None}).encode().replace(b'"usage": null', b'"usage": ' + counts)
    async with Upstream([answer(body)]) as upstream, gateway(openai_at(upstream)) as wayport:
        assert (await wayport.ask(ASK)).status_code == 200
        record = only(wayport)
        assert record.usage is not None
        assert 0 <= record.usage.input_tokens <= 1 << 40
        assert record.cost_nano_usd is not None
        assert record.cost_nano_usd >= 0


async def test_an_event_without_end_is_the_upstreams_fault() -> None:
    endless = chunk({"content": "x" * (17 << 20)})
    async with Upstream([sse(OPENING, endless, DONE)]) as upstream, gateway(openai_at(upstream)) as wayport:
        answered = await wayport.ask(STREAMED)
        assert answered.status_code == 502
        assert answered.json()["error"]["code"] == "upstream_malformed"
    async with Upstream([sse(OPENING, chunk({"content": "a"}), endless)]) as upstream:
        async with gateway(openai_at(upstream)) as wayport:
            assert events((await wayport.ask(STREAMED)).text)[-1]["error"]["code"] == "upstream_malformed"
            assert only(wayport).error_class == "malformed"


async def test_a_credential_that_an_error_echoes_in_any_field_stays_here() -> None:
    said = {"error": {"message": "no key-of-ours-1", "type": "x", "code": "key-of-ours-1", "param": "key-of-ours-1"}}
    async with Upstream([json_answer(said, status=401)]) as upstream:
        config = openai_at(upstream).replace("sk-upstream-secret", "key-of-ours-1")
        async with gateway(config) as wayport:
            answered = await wayport.ask(ASK)
            assert answered.status_code == 401
            assert "key-of-ours" not in answered.text
            assert "key-of-ours" not in (only(wayport).error or "")


async def test_a_credential_that_a_stream_echoes_stays_here() -> None:
    said = {"error": {"message": "no key-of-ours-1", "type": "server_error", "code": "key-of-ours-1"}}
    told = b"data: " + json.dumps(said).encode() + b"\n\n"
    for steps in ((told,), (OPENING, chunk({"content": "a"}), told)):
        for path in ("/v1/chat/completions", "/v1/messages"):
            async with Upstream([sse(*steps)]) as upstream:
                config = openai_at(upstream).replace("sk-upstream-secret", "key-of-ours-1")
                async with gateway(config) as wayport:
                    answered = await wayport.ask({**STREAMED, "max_tokens": 5}, path)
                    assert "error" in answered.text
                    assert "key-of-ours" not in answered.text
                    assert "key-of-ours" not in (only(wayport).error or "")


async def test_a_stream_left_open_after_its_last_event_holds_nothing_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wayport.pipeline.relay._TRAIL_S", 0.0)
    never = asyncio.Event()
    async with Upstream([sse(*STREAM, never)]) as upstream, gateway(openai_at(upstream)) as wayport:
        assert events((await wayport.ask(STREAMED)).text)[-1] == "[DONE]"
        await wayport.until_idle()
        await upstream.until(lambda: upstream.open == 0)
        assert only(wayport).status == "success"
