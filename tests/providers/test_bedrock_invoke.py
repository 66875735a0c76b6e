"""Claude on Bedrock in its own words (`bedrock/invoke/…`): the body as it is, streams in AWS's frames, signed by AWS's rules."""

import base64
import json
from typing import Any

import pytest
from tests.fakes.gateway import gateway
from tests.fakes.upstream import Behaviour, Received, Upstream, by, chunked, json_answer
from tests.providers.test_through_the_gateway import AWS, by_aws

from wayport.wire import eventstream

MODEL = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
MESSAGE: dict[str, Any] = {
    "id": "msg_bdrk_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5",
    "content": [{"type": "text", "text": "Hello"}],
    "stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 7, "output_tokens": 3},
}  # fmt: skip
EVENTS: list[dict[str, Any]] = [
    {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
    {"type": "content_block_stop", "index": 0},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 3},
    },
    {"type": "message_stop"},
]


def framed(event: dict[str, Any]) -> bytes:
    inner = base64.b64encode(json.dumps(event).encode()).decode()
    return eventstream.write(json.dumps({"bytes": inner, "p": "abc"}).encode(), "chunk")


def bedrock(received: Received) -> Behaviour:
    if received.path.endswith("/invoke"):
        return json_answer(MESSAGE)
    return chunked(*map(framed, EVENTS), content_type=eventstream.CONTENT_TYPE)


CONFIG = """
providers: {{bedrock: {{base_url: "{url}"}}}}
models: {{m: "bedrock/invoke/{model}"}}
router: {{num_retries: 0}}
"""
ASK: dict[str, Any] = {"model": "m", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]}


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
@pytest.mark.parametrize("stream", [False, True])
async def test_claude_is_invoked_and_its_frames_are_read(path: str, stream: bool) -> None:
    async with Upstream(by(bedrock)) as upstream:
        async with gateway(CONFIG.format(url=upstream.url, model=MODEL), AWS) as wayport:
            headers = {"anthropic-beta": "interleaved-thinking-2025-05-14,nobody-knows-2030-01-01"}
            answered = await wayport.ask({**ASK, "stream": stream, "x_odd": 1.50}, path, headers=headers)
            assert answered.status_code == 200, answered.text
            assert "Hello" in answered.text
            assert answered.text.count("message_stop") == (2 if stream and path == "/v1/messages" else 0)
            (record,) = wayport.records
            assert record.usage is not None
            assert (record.usage.input_tokens, record.usage.output_tokens, record.usage_source) == (7, 3, "reported")
            assert "stream" not in answered.headers.get("x-wayport-dropped-params", "")
        (received,) = upstream.requests
        verb = "invoke-with-response-stream" if stream else "invoke"
        assert received.path == f"/model/{MODEL.replace(':', '%3A')}/{verb}"
        body = received.json()
        assert body["anthropic_version"] == "bedrock-2023-05-31"
        assert not {"model", "stream"} & body.keys()
        if path == "/v1/messages":
            assert body["anthropic_beta"] == ["interleaved-thinking-2025-05-14"]
            assert b'"x_odd":1.5,' in received.body
            assert answered.headers["x-wayport-dropped-params"] == "anthropic-beta: nobody-knows-2030-01-01"
        assert "anthropic-beta" not in received.headers
        assert received.headers["authorization"] == by_aws(received, upstream, service="bedrock")


async def test_models_that_are_not_claude_are_asked_by_converse() -> None:
    converse = {
        "output": {"message": {"role": "assistant", "content": [{"text": "Hi"}]}}, "stopReason": "end_turn",
        "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}, "metrics": {"latencyMs": 1},
    }  # fmt: skip
    async with Upstream(json_answer(converse)) as upstream:
        async with gateway(CONFIG.format(url=upstream.url, model="amazon.nova-lite-v1:0"), AWS) as wayport:
            assert (await wayport.ask(ASK)).status_code == 200
        assert upstream.requests[0].path == "/model/amazon.nova-lite-v1%3A0/converse"
