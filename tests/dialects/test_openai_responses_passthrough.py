"""The Responses dialect on both sides: only what must change does, to the byte."""

import base64
import json
from typing import Any

import msgspec
import pytest
from tests.dialects import laws

from wayport.core.usage import Usage
from wayport.dialects.dialect import Glance, Profile, Stated
from wayport.dialects.openai_responses import DIALECT
from wayport.wire import patch, sse

PASS = DIALECT.passthrough
assert PASS is not None
SUBJECT = laws.Subject(DIALECT)
PLAIN = Profile()


def passed(body: bytes, **profile: Any) -> tuple[bytes, list[str]]:
    assert PASS is not None
    sent, dropped = PASS.patch_request(patch.split(body), model="up", profile=Profile(**profile), want_usage=True)
    return sent, list(dropped)


def test_values_travel_byte_for_byte() -> None:
    body = (
        b'{"input":[{"role":"user",   "content":"caf\\u00e9 \xc3\xa9"}],"temperature":1.0e0, "model":"m",'
        b'"future":{"b":1,"a":[ ]},"tools":[]}'
    )
    sent, dropped = passed(body)
    assert sent == (
        b'{"input":[{"role":"user",   "content":"caf\\u00e9 \xc3\xa9"}],"temperature":1.0e0,"model":"up",'
        b'"future":{"b":1,"a":[ ]},"tools":[]}'
    )
    assert dropped == []


def test_our_own_fields_never_go_upstream() -> None:
    sent, _ = passed(
        b'{"model":"m","input":"Hi","api_base":"http://x","api_key":"k","tags":["a"],"metadata":{"a":"b"}}'
    )
    assert json.loads(sent) == {"model": "up", "input": "Hi", "metadata": {"a": "b"}}


def test_extra_body_is_merged_but_for_what_was_authorised() -> None:
    sent, reported = passed(
        b'{"model":"m","input":"Hi","metadata":{"tags":["a"]},'
        b'"extra_body":{"model":"dear","new_switch":true,"input":"x","api_key":"k"}}'
    )
    assert json.loads(sent) == {"model": "up", "input": "Hi", "new_switch": True}
    assert reported == ["extra_body.model", "extra_body.input"]


def test_the_profile_holds_and_the_rest_stays_as_it_was() -> None:
    sent, reported = passed(
        b'{"model":"m","input":"Hi","max_output_tokens":9000,"temperature":1.50,"top_p":0.10,"reasoning":{"effort":"minimal",'
        b'"summary":"auto"},"text":{"verbosity":"low","format":{"type":"text"}},"service_tier":"flex"}',
        unsupported=frozenset({"service_tier", "text.verbosity"}),
        max_output_tokens=4000,
        reasoning_efforts=("low", "high"),
        temperature_max=1.0,
    )
    assert json.loads(sent) == {
        "model": "up",
        "input": "Hi",
        "max_output_tokens": 4000,
        "temperature": 1.0,
        "top_p": 0.1,
        "reasoning": {"effort": "low", "summary": "auto"},
        "text": {"format": {"type": "text"}},
    }
    assert b'"top_p":0.10' in sent
    assert sorted(reported) == sorted(
        ["service_tier", "text.verbosity", "max_output_tokens", "reasoning", "temperature"]
    )


def test_a_profile_that_changes_nothing_changes_no_byte() -> None:
    body = b'{"model":"up","reasoning":{"effort":"low" },"max_output_tokens":1e3,"text":{ }}'
    sent, reported = passed(body, max_output_tokens=4000, reasoning_efforts=("low",), unsupported=frozenset({"user"}))
    assert sent == body
    assert reported == []


def test_our_envelopes_do_not_go_upstream() -> None:
    sealed = "WayportSeal1" + base64.urlsafe_b64encode(b'anthropic\n{"s":"c2ln"}').decode()
    theirs = {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "gAAAA"}
    talk = {"role": "user", "content": "What is WayportSeal1?"}
    items = [{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": sealed}, theirs, talk]
    sent, _ = passed(json.dumps({"model": "m", "input": items}).encode())
    assert json.loads(sent)["input"] == [theirs, talk]
    sent, _ = passed(b'{"model":"m","input":"WayportSeal1"}')
    assert json.loads(sent)["input"] == "WayportSeal1"


def test_an_answer_keeps_every_byte_but_the_models_name() -> None:
    assert PASS is not None
    body = (
        b'{"id":"resp_1", "model":"gpt-x-2026","output":[ {"type":"message","model":"inner"} ],"usage":{"input_tokens":5,'
        b'"output_tokens":2,"input_tokens_details":{"cached_tokens":1}},"tool_usage":{"web_search":{"num_requests":3}}}'
    )
    same, stated = PASS.patch_response(body, model=None)
    assert same == body
    assert stated.usage == Usage(input_tokens=5, output_tokens=2, cache_read_tokens=1, web_search_requests=3)
    named, _ = PASS.patch_response(body, model="mine")
    assert named == body.replace(b'"gpt-x-2026"', b'"mine"').replace(b'", "model"', b'","model"')


@laws.each("openai_responses", "stream.sse")
def test_events_keep_every_byte_but_the_models_name(case: Any) -> None:
    assert PASS is not None
    for raw in sse.Splitter().feed(laws.stream_bytes(case)):
        assert PASS.patch_event(raw, model=None, keep_usage=False) is raw
        before, after = sse.parse(raw), sse.parse(PASS.patch_event(raw, model="mine", keep_usage=True))
        given, told = json.loads(before.data), json.loads(after.data)
        if "response" in given:
            given["response"]["model"] = "mine"
        assert told == given
        assert after.name == before.name


def test_glances_need_no_event_line() -> None:
    assert PASS is not None
    seen = {
        b'data: {"type":"response.output_text.delta","delta":"x"}\n\n': Glance.CONTENT,
        b'data: {"sequence_number":1,"type":"response.completed","response":{}}\n\n': Glance.TERMINAL,
        b'event:response.created\ndata:{"type":"response.created"}\n\n': Glance.OPENING,
        b": comment\n\n": Glance.OPENING,
        b"data: not json\n\n": Glance.CONTENT,
        b'event: response.output_item.added\ndata: {"item":{"type":"message","content":[{}]}}\n\n': Glance.CONTENT,
        b'event: response.output_item.added\ndata: {"item":{"type":"reasoning"}}\n\n': Glance.OPENING,
        b"event: response.output_item.added\ndata: {}\n\n": Glance.CONTENT,
        b'event: error\ndata: {"type":"error"}\n\n': Glance.ERROR,
    }
    for raw, glance in seen.items():
        assert PASS.glance(raw) is glance, raw


def test_usage_and_faults_of_odd_events() -> None:
    assert PASS is not None
    before = Usage(input_tokens=3)
    assert (
        PASS.usage_of(b'event: response.completed\ndata: {"type":"response.completed","response":{}}\n\n', before)
        == before
    )
    assert PASS.usage_of(b"event: response.completed\ndata: oops\n\n", before) == before
    fault = PASS.fault_of(
        b'event: response.failed\ndata: {"response":{"error":{"code":"invalid_prompt","message":"No."}}}\n\n'
    )
    assert (fault.kind, fault.message) == ("content_policy", "No.")
    assert PASS.fault_of(b"event: error\ndata: oops\n\n").kind == "server"
    assert PASS.fault_of(b'event: response.failed\ndata: {"response":{}}\n\n').message


def test_a_repeated_key_keeps_its_last_value() -> None:
    sent, _ = passed(b'{"model":"a","model":"b","input":"1","input":"2"}')
    assert json.loads(sent) == {"model": "up", "input": "2"}
    assert sent.count(b"input") == 1


def test_a_body_that_cannot_be_read_is_an_error_with_a_position() -> None:
    with pytest.raises(msgspec.DecodeError, match=r"byte"):
        patch.split(b'{"model":"a",}')


@pytest.mark.parametrize(
    ("status", "details", "finish"),
    [("completed", None, "stop"), ("incomplete", {"reason": "max_output_tokens"}, "length"), ("failed", None, "error")],
)
def test_what_an_answer_says_of_itself_is_read(status: str, details: object, finish: Any) -> None:
    answer = {"id": "resp_1", "status": status, "incomplete_details": details, "service_tier": "flex", "output": []}
    assert PASS is not None
    _, stated = PASS.patch_response(json.dumps(answer).encode(), model=None)
    assert stated == Stated(None, "resp_1", "flex", finish)
