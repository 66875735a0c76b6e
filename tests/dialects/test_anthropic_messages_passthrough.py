"""The same dialect on both sides: every value travels as it was written, and what is ours stays here."""

import json
from typing import Any

import msgspec
import pytest
from tests.dialects import laws

from wayport.core.usage import Usage
from wayport.dialects.anthropic_messages import DIALECT
from wayport.dialects.anthropic_messages_count import (
    decode_count,
    encode_count,
    encode_count_request,
    patch_count_request,
)
from wayport.dialects.dialect import Glance, Profile, Stated
from wayport.dialects.neutral import Message, ReasoningAsk, Request, Sampling, Text
from wayport.dialects.sealing import seal
from wayport.wire import patch, sse

assert DIALECT.passthrough is not None
PASS = DIALECT.passthrough


def sent(body: bytes | dict[str, Any], **profile: Any) -> tuple[bytes, list[str]]:
    written = body if isinstance(body, bytes) else json.dumps(body).encode()
    patched, names = PASS.patch_request(patch.split(written), model="up", profile=Profile(**profile), want_usage=True)
    return patched, list(names)


# ---------------------------------------------------------------------------------------------------------- requests
@laws.each("anthropic_messages", "request.json")
def test_every_value_stays_as_it_was_written(case: Any) -> None:
    written = (case / "request.json").read_bytes()
    fields = patch.split(written)
    sealed = b"WayportSeal" in written
    patched, _ = sent(written)
    kept = patch.split(patched)
    assert kept["model"] == msgspec.Raw(b'"up"')
    for name, value in fields.items():
        if name not in PASS.removed | {"model", "metadata"} and name in kept and not sealed:
            assert bytes(kept[name]) == bytes(value), name


def test_the_spelling_of_numbers_and_unknown_fields_stays() -> None:
    body = b'{"max_tokens":9,"model":"alias","messages":[ {"role":"user","content":"\\u00e9"} ],"temperature":0.50,"new":{"a": 1.0}}'
    assert sent(body)[0] == body.replace(b'"alias"', b'"up"')


def test_what_is_ours_stays_here() -> None:
    body = {
        "model": "m",
        "max_tokens": 9,
        "messages": [],
        "api_base": "x",
        "tags": [1],
        "litellm_metadata": {},
        "timeout": 3,
    }
    assert json.loads(sent(body)[0]) == {"model": "up", "max_tokens": 9, "messages": []}
    assert "api_base" in PASS.removed


@pytest.mark.parametrize(("fallbacks", "kept"), [
    (["gpt-5"], False), ([{"m": ["gpt-5"]}], False), ([{"model": "claude-x"}], True), ("default", True)])  # fmt: skip
def test_anthropics_own_fallbacks_are_told_from_a_gateways(fallbacks: Any, kept: bool) -> None:
    patched, _ = sent({"model": "m", "max_tokens": 9, "messages": [], "fallbacks": fallbacks})
    assert ("fallbacks" in json.loads(patched)) is kept


def test_metadata_for_a_gateway_stays_here() -> None:
    body = {"model": "m", "max_tokens": 9, "messages": [], "metadata": {"user_id": "u", "tags": ["a"]}}
    assert json.loads(sent(body)[0])["metadata"] == {"user_id": "u"}


def test_the_profile_takes_out_and_lowers() -> None:
    body = {"model": "m", "max_tokens": 64000, "messages": [], "temperature": 1, "output_config": {"effort": "low"}}
    patched, names = sent(
        body,
        unsupported=frozenset({"temperature", "output_config.effort", "top_k", "thinking.x"}),
        max_output_tokens=8192,
    )
    assert json.loads(patched) == {"model": "up", "max_tokens": 8192, "messages": []}
    assert sorted(names) == ["max_tokens", "output_config.effort", "temperature"]


def test_the_profile_shapes_the_body() -> None:
    body = b'{"model":"m","max_tokens":9,"messages":[],"top_p":0.90,"temperature":1.0,"top_k":3,"stream":true}'
    patched, names = sent(
        body,
        exclusive=("temperature", "top_p"),
        renames={"top_k": "k"},
        constants={"anthropic_version": "v"},
        unsupported=frozenset({"stream"}),
        model_in_body=False,
    )
    assert patched == b'{"max_tokens":9,"messages":[],"temperature":1.0,"k":3,"anthropic_version":"v"}'
    assert names == ["top_p"]


@pytest.mark.parametrize(("effort", "profile", "sent_effort", "reported"), [
    ("xhigh", {"reasoning_efforts": ("low", "high", "max")}, "max", ["thinking"]),
    ("high", {"reasoning_efforts": ("low", "high", "max")}, "high", []),
    ("high", {"reasoning": "budget"}, None, ["output_config.effort"]),
    ("high", {"reasoning": "budget", "reasoning_efforts": ("high",)}, "high", []),
    ("high", {}, "high", [])])  # fmt: skip
def test_an_effort_that_a_model_does_not_know_is_fitted(
    effort: str, profile: dict[str, Any], sent_effort: str | None, reported: list[str]
) -> None:
    messages = [{"role": "user", "content": "?"}]
    patched, names = sent(
        {"model": "m", "max_tokens": 9, "messages": messages, "output_config": {"effort": effort}}, **profile
    )
    assert json.loads(patched).get("output_config", {}).get("effort") == sent_effort
    assert names == reported


def test_a_missing_limit_is_added_where_a_default_is_known() -> None:
    body = {"model": "m", "messages": []}
    assert json.loads(sent(body, default_max_tokens=4096)[0])["max_tokens"] == 4096
    assert "max_tokens" not in json.loads(sent(body)[0])


def test_thoughts_of_other_providers_do_not_reach_anthropic() -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": seal("gemini", "{}")}
    turn = {"role": "assistant", "content": [thought, {"type": "text", "text": "Noon."}]}
    body = {
        "model": "m",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "?"}, turn, {"role": "user", "content": "!"}],
    }
    patched = json.loads(sent(body)[0])
    assert patched["model"] == "up"
    assert patched["messages"][1]["content"] == [{"type": "text", "text": "Noon."}]


def test_what_a_target_cannot_take_is_rebuilt() -> None:
    messages = [{"role": "user", "content": "?"}, {"role": "system", "content": "Brief."}]
    body: dict[str, Any] = {"model": "m", "max_tokens": 9000, "messages": messages, "thinking": {"type": "adaptive"}}
    patched = json.loads(sent(body, mid_system=False)[0])
    assert patched["messages"][0]["content"][1]["text"] == "<system>\nBrief.\n</system>"
    assert patched["thinking"] == {"type": "adaptive"}
    patched, names = sent(body, reasoning="budget")
    assert json.loads(patched)["thinking"]["type"] == "enabled"
    assert names == ["thinking"]


# ----------------------------------------------------------------------------------------------------------- answers
def test_an_answer_is_renamed_and_its_usage_read() -> None:
    body = b'{"id":"m","model":"claude-x","content":[{"type":"text", "text":"x"}],"usage":{"input_tokens":3,"output_tokens":2,"cache_read_input_tokens":4}}'
    same, stated = PASS.patch_response(body, model=None)
    assert (same, stated.usage) == (body, Usage(input_tokens=7, output_tokens=2, cache_read_tokens=4))
    renamed, _ = PASS.patch_response(body, model="alias")
    assert renamed == body.replace(b"claude-x", b"alias")
    assert PASS.patch_response(b'{"model":"m"}', model=None)[1] == Stated()


START = b'event: message_start\ndata: {"type":"message_start","message":{"id":"m","model":"claude-x","usage":{"input_tokens":3,"output_tokens":1}}}\n\n'


def test_only_the_start_of_a_stream_is_renamed() -> None:
    assert PASS.patch_event(START, model="alias", keep_usage=False) == START.replace(b"claude-x", b"alias")
    assert PASS.patch_event(START, model=None, keep_usage=False) is START
    said = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\\"message_start\\" claude-x"}}\n\n'
    assert PASS.patch_event(said, model="alias", keep_usage=False) is said
    assert PASS.patch_event(said.partition(b"\n")[2], model="alias", keep_usage=False) == said.partition(b"\n")[2]


def test_usage_grows_with_the_stream() -> None:
    before = PASS.usage_of(START, None)
    assert before == Usage(input_tokens=3, output_tokens=1)
    end = b'event: message_delta\ndata: {"type":"message_delta","delta":{},"usage":{"output_tokens":9}}\n\n'
    assert PASS.usage_of(end, before) == Usage(input_tokens=3, output_tokens=9)
    assert PASS.usage_of(b'event: message_stop\ndata: {"type":"message_stop"}\n\n', before) == before


@pytest.mark.parametrize(
    ("event", "glance"),
    [
        ({"type": "ping"}, Glance.OPENING),
        ({"type": "message_start", "message": {}}, Glance.USAGE),
        ({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}, Glance.OPENING),
        ({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "A"}}, Glance.CONTENT),
        ({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}}, Glance.OPENING),
        ({"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "a", "name": "b", "input": {}}}, Glance.CONTENT),
        ({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "error"}}, Glance.CONTENT),
        ({"type": "message_delta", "delta": {}, "usage": {}}, Glance.USAGE),
        ({"type": "message_stop"}, Glance.TERMINAL),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "x"}}, Glance.ERROR),
        ({"type": "to_come"}, Glance.OPENING),
    ],
)  # fmt: skip
def test_an_event_is_known_by_its_bytes(event: dict[str, Any], glance: Glance) -> None:
    for data in (json.dumps(event).encode(), json.dumps(event, separators=(",", ":")).encode()):
        assert PASS.glance(sse.write(data, event["type"])) is glance
        assert PASS.glance(sse.write(data)) is glance
    assert PASS.glance(b": comment\n\n") is Glance.OPENING


def test_an_error_event_says_what_is_wrong() -> None:
    data = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
    fault = PASS.fault_of(sse.write(data, "error"))
    assert (fault.kind, fault.status, fault.message) == ("overloaded", 529, "Overloaded")


# ------------------------------------------------------------------------------------------------------ token counts
def test_counts_are_read_and_written() -> None:
    assert decode_count(encode_count(42)) == 42
    with pytest.raises(ValueError, match="input_tokens"):
        decode_count(b'{"total":1}')


def test_a_count_request_holds_only_what_is_counted() -> None:
    body = b'{"model":"m","max_tokens":9,"stream":true,"temperature":0.5,"messages":[{"role":"user","content":"?"}],"tags":["a"],"system":"s"}'
    kept = patch_count_request(patch.split(body), model="up")
    assert json.loads(kept) == {"model": "up", "messages": [{"role": "user", "content": "?"}], "system": "s"}
    request = Request(
        dialect="openai_chat",
        model="up",
        messages=[Message(role="system", parts=[Text(text="s")]), Message(role="user", parts=[Text(text="?")])],
        sampling=Sampling(temperature=0.5, max_output_tokens=9),
        reasoning=ReasoningAsk(effort="low"),
        stream=True,
    )
    counted = json.loads(encode_count_request(request, Profile()).body)
    assert set(counted) == {"model", "messages", "system", "thinking", "output_config"}
