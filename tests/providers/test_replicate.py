"""Replicate: addresses by the model's name, prompts, polling and plain text streams."""

import json
from typing import Any

import pytest

from wayport.core.errors import UpstreamFault
from wayport.dialects.dialect import Profile
from wayport.dialects.neutral import (
    BlockDelta,
    Ended,
    Failed,
    Message,
    Request,
    Role,
    Sampling,
    Text,
    Tool,
)
from wayport.dialects.replicate_predictions import DIALECT, Decoder
from wayport.providers import registry
from wayport.providers.placement import placement
from wayport.providers.replicate import follow
from wayport.wire.sse import Event

assert DIALECT.upstream is not None
UPSTREAM = DIALECT.upstream


def said(role: Role, text: str) -> Message:
    return Message(role=role, parts=[Text(text=text)])


def asked(*messages: Message, **fields: Any) -> Request:
    return Request(dialect="openai_chat", model="meta/llama-2-70b-chat", messages=list(messages), **fields)


def body_of(request: Request, profile: Profile | None = None) -> Any:
    return json.loads(UPSTREAM.encode_request(request, profile or Profile()).body)


@pytest.mark.parametrize(
    ("model", "path", "constants"),
    [
        ("meta/llama-2-70b-chat", "/models/meta/llama-2-70b-chat/predictions", {}),
        ("owner/name:abc123", "/predictions", {"version": "abc123"}),
        ("deployments/owner/name", "/deployments/owner/name/predictions", {}),
    ],
)
def test_the_name_chooses_the_address(model: str, path: str, constants: dict[str, str]) -> None:
    found = registry.from_prefix(f"replicate/{model}")
    assert found is not None
    placed = placement(found[0], found[1], credential="r8", base_url="http://127.0.0.1:1/v1")
    assert placed.base_url + placed.paths["chat"] == f"http://127.0.0.1:1/v1{path}"
    assert placed.profile.constants == constants


def test_one_question_is_its_own_prompt() -> None:
    body = body_of(asked(said("system", "Be brief."), said("user", "Hello?"), sampling=Sampling(max_output_tokens=9)))
    assert body == {"input": {"prompt": "Hello?", "system_prompt": "Be brief.", "max_tokens": 9}}


def test_a_conversation_says_who_spoke() -> None:
    body = body_of(asked(said("user", "One"), said("assistant", "Two"), said("user", "Three")))
    assert body["input"]["prompt"] == "User: One\n\nAssistant: Two\n\nUser: Three\n\nAssistant:"


def test_what_does_not_exist_there_is_reported() -> None:
    request = asked(said("user", "x"), tools=[Tool(name="f")], sampling=Sampling(n=2, seed=1, temperature=0.5))
    encoded = UPSTREAM.encode_request(request, Profile(unsupported=frozenset({"temperature"})))
    assert sorted(encoded.dropped) == ["n", "temperature", "tools"]
    assert json.loads(encoded.body)["input"] == {"prompt": "x", "seed": 1}


def test_only_a_whole_answer_is_waited_for() -> None:
    assert UPSTREAM.encode_request(asked(said("user", "x")), Profile()).headers == {"prefer": "wait=60"}
    assert UPSTREAM.encode_request(asked(said("user", "x"), stream=True), Profile()).headers == {}


def test_pieces_of_output_are_one_text() -> None:
    response = UPSTREAM.decode_response(
        b'{"id":"p1","model":"meta/llama","status":"succeeded","output":["Hel","lo"],'
        b'"metrics":{"input_token_count":4,"output_token_count":2,"predict_time":0.4}}'
    )
    assert response.choices[0].parts == [Text(text="Hello")]
    assert response.choices[0].finish == "stop"
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens) == (4, 2)


def test_what_is_no_prediction_is_refused() -> None:
    with pytest.raises(ValueError, match="prediction"):
        UPSTREAM.decode_response(b"{}")


def test_an_unfinished_prediction_is_polled_ever_more_slowly() -> None:
    body = b'{"id":"p/1","status":"processing","urls":{"get":"https://h/p/1","stream":"https://s/1"}}'
    first, later = follow(body, stream=False, tries=0), follow(body, stream=False, tries=30)
    assert first is not None
    assert later is not None
    assert (first.url, first.stream) == ("/predictions/p%2F1", False)
    assert first.after_s < later.after_s == 5.0


def test_a_stream_is_read_where_it_is_offered() -> None:
    body = b'{"status":"starting","urls":{"get":"https://h/p/1","stream":"https://s/1"}}'
    step = follow(body, stream=True, tries=0)
    assert step is not None
    assert (step.url, step.stream, step.after_s) == ("https://s/1", True, 0.0)


def test_a_finished_prediction_is_the_answer() -> None:
    assert follow(b'{"id":"p1","status":"succeeded","urls":{"get":"https://h/p/1"}}', stream=False, tries=1) is None


def test_a_failed_prediction_is_a_fault() -> None:
    with pytest.raises(UpstreamFault, match="CUDA"):
        follow(b'{"status":"failed","error":"CUDA out of memory"}', stream=False, tries=1)


def test_stream_events_carry_plain_text() -> None:
    decoder = Decoder()
    deltas = [
        delta
        for event in (Event("output", b"a"), Event("output", b" line\nbreak"), Event("done", b"{}"))
        for delta in decoder.feed(event)
    ]
    assert "".join(delta.text for delta in deltas if isinstance(delta, BlockDelta)) == "a line\nbreak"
    assert isinstance(deltas[-1], Ended)
    assert list(decoder.end()) == []


@pytest.mark.parametrize(
    "event",
    [Event("error", b"out of memory"), Event("done", b'{"reason":"canceled"}'), Event("done", b'{"reason":"error"}')],
)
def test_a_bad_end_is_no_clean_end(event: Event) -> None:
    assert isinstance(list(Decoder().feed(event))[-1], Failed)


def test_a_cut_stream_is_said_to_be_cut() -> None:
    decoder = Decoder()
    list(decoder.feed(Event("output", b"a")))
    (failed,) = decoder.end()
    assert isinstance(failed, Failed)
    assert failed.fault.kind == "cut"


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, "authentication"), (402, "quota"), (422, "bad_request"), (429, "rate_limit"), (500, "server")],
)
def test_errors_are_told_by_status(status: int, kind: str) -> None:
    fault = UPSTREAM.decode_error(status, {"retry-after": "3"}, b'{"detail":"no"}', Profile())
    assert (fault.kind, fault.message, fault.retry_after_s) == (kind, "no", 3.0)
