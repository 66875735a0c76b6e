"""What is relayed without translation: bytes stay, and what must be known is told cheaply."""

import json
from typing import Any

import msgspec
import pytest
from tests.dialects.gemini_sdk import UPSTREAM

from wayport.core.usage import Usage
from wayport.dialects.dialect import Glance, Profile, Stated
from wayport.dialects.gemini_content import GeminiPassthrough
from wayport.wire import patch

PASS = GeminiPassthrough()


def patched(body: bytes, **flags: Any) -> tuple[bytes, list[str]]:
    out, dropped = PASS.patch_request(patch.split(body), model="m", profile=Profile(**flags), want_usage=True)
    return out, list(dropped)


def sse(value: object) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\r\n\r\n"


def test_values_travel_byte_for_byte_and_what_is_ours_stays_here() -> None:
    body = b'{"contents": [ {"parts":[{"text":"\\u00e9 1.50"}]} ],"model":"models/x","stream":true,"tags":["a"],"metadata":{},"litellm_call_id":"1","generationConfig":{"topK": 40.0},"aNewField":{"x" : 1}}'
    out, dropped = patched(body)
    assert out == (
        b'{"contents":[ {"parts":[{"text":"\\u00e9 1.50"}]} ],"generationConfig":{"topK": 40.0},"aNewField":{"x" : 1}}'
    )
    assert dropped == []


def test_what_a_target_refuses_is_taken_out_in_either_spelling() -> None:
    body = b'{"contents":[],"service_tier":"flex","generation_config":{"response_logprobs":true,"seed":1,"top_k":1}}'
    out, dropped = patched(body, unsupported=frozenset({"serviceTier", "responseLogprobs", "seed"}))
    assert json.loads(out) == {"contents": [], "generation_config": {"top_k": 1}}
    assert dropped == ["service_tier", "generation_config.response_logprobs", "generation_config.seed"]


def test_an_output_limit_above_the_model_s_is_lowered() -> None:
    body = b'{"contents":[],"generationConfig":{ "maxOutputTokens":9000, "topK":1.0}}'
    out, changed = patched(body, max_output_tokens=8192)
    assert out == b'{"contents":[],"generationConfig":{"maxOutputTokens":8192,"topK":1.0}}'
    assert changed == ["generationConfig.maxOutputTokens"]
    for same in (body.replace(b"9000", b"8000"), body.replace(b"9000", b'"x"'), b'{"generationConfig":3}'):
        assert patched(same, max_output_tokens=8192) == (same, [])


def test_an_answer_is_renamed_only_where_asked_and_only_at_the_top() -> None:
    body = b'{"candidates":[{"content":{"parts":[{"functionCall":{"args":{"modelVersion":"x"}}}]}}], "modelVersion": "real","usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":4,"thoughtsTokenCount":5}}'
    usage = Usage(input_tokens=3, output_tokens=9, reasoning_tokens=5)
    same, stated = PASS.patch_response(body, model=None)
    assert (same, stated.usage) == (body, usage)
    out, seen = PASS.patch_response(body, model="asked")
    assert seen.usage == usage
    assert json.loads(out) == {**json.loads(body), "modelVersion": "asked"}
    assert PASS.patch_response(b'{"candidates":[]}', model="asked") == (b'{"candidates":[]}', Stated())


def test_an_event_is_renamed_only_where_asked() -> None:
    event = sse({"candidates": [], "modelVersion": "real"})
    assert PASS.patch_event(event, model=None, keep_usage=False) is event
    assert PASS.patch_event(event, model="asked", keep_usage=False) == (
        b'data: {"candidates":[],"modelVersion":"asked"}\n\n'
    )
    other = sse({"usageMetadata": {"promptTokenCount": 1}})
    assert PASS.patch_event(other, model="asked", keep_usage=False) is other


TEXT = {"content": {"parts": [{"text": "x"}], "role": "model"}}
EMPTY = {"content": {"parts": [{"text": ""}], "role": "model"}}
USED = {"usageMetadata": {"promptTokenCount": 1}}


@pytest.mark.parametrize(
    ("event", "seen"),
    [
        ({"candidates": [TEXT], **USED}, Glance.CONTENT),
        ({"candidates": [{**TEXT, "finishReason": "STOP"}], **USED}, Glance.TERMINAL),
        ({"candidates": [{**EMPTY, "finishReason": "STOP"}], **USED}, Glance.TERMINAL),
        ({"promptFeedback": {"blockReason": "SAFETY"}}, Glance.TERMINAL),
        ({"candidates": [EMPTY], **USED}, Glance.USAGE),
        (USED, Glance.USAGE),
        ({"candidates": [EMPTY]}, Glance.OPENING),
        (
            {"candidates": [{"content": {"parts": [{"functionCall": {"args": {"finishReason": "STOP"}}}]}}]},
            Glance.CONTENT,
        ),
        ({"candidates": [{"content": {"parts": [{"text": '"finishReason": "STOP"'}]}}]}, Glance.CONTENT),
        ({"candidates": [{"content": {"parts": [{"newKind": {}}]}}], **USED}, Glance.CONTENT),
        ({"candidates": [{"content": {"parts": [{"text": "", "thoughtSignature": "QUJD"}]}}]}, Glance.CONTENT),
        ({"candidates": [{"content": {"parts": [{"text": '{"error": 1}'}]}}]}, Glance.CONTENT),
        ({"error": {"code": 500}}, Glance.ERROR),
        ([{"error": {"code": 500}}], Glance.ERROR),
    ],
)
def test_glances(event: object, seen: Glance) -> None:
    assert PASS.glance(sse(event)) is seen


def test_a_comment_is_nothing() -> None:
    assert PASS.glance(b": wait\n\n") is Glance.OPENING


def test_usage_is_the_latest_statement_and_searches_are_not_forgotten() -> None:
    searched = {"candidates": [{**TEXT, "groundingMetadata": {"webSearchQueries": ["a", "b"]}}], **USED}
    first = PASS.usage_of(sse(searched), None)
    assert first == Usage(input_tokens=1, web_search_requests=2)
    second = PASS.usage_of(sse({"usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 5}}), first)
    assert second == Usage(input_tokens=1, output_tokens=5, web_search_requests=2)
    assert PASS.usage_of(sse({"candidates": [TEXT]}), second) is second
    assert PASS.usage_of(b'data: {"usageMetadata": broken}\n\n', second) is second


def test_usage_agrees_with_the_translated_way() -> None:
    body = msgspec.json.encode({"candidates": [{**TEXT, "finishReason": "STOP"}], **USED})
    assert PASS.patch_response(body, model=None)[1].usage == UPSTREAM.decode_response(body).usage


def test_an_error_event_is_understood() -> None:
    fault = PASS.fault_of(sse({"error": {"code": 429, "message": "Slow down.", "status": "RESOURCE_EXHAUSTED"}}))
    assert (fault.kind, fault.status, fault.message) == ("rate_limit", 429, "Slow down.")
