"""What is read of a chat stream's end at a glance is what the decoder tells of it."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wayport.dialects.dialect import Stated
from wayport.dialects.neutral import ChoiceFinished, Started
from wayport.dialects.openai_chat import DIALECT
from wayport.dialects.openai_chat_ending import ending
from wayport.wire.sse import parse

DONE = b"data: [DONE]\n\n"


def _chunk(choices: object, **more: object) -> bytes:
    return b"data: %b\n\n" % json.dumps({"id": "c1", "created": 1, "model": "m", "choices": choices, **more}).encode()


def _choice(delta: object, finish: object = None, **more: object) -> dict[str, object]:
    return {"index": 0, "delta": delta, "finish_reason": finish, **more}


def decoded(events: Sequence[bytes]) -> Stated:
    assert DIALECT.upstream is not None
    decoder = DIALECT.upstream.stream_decoder()
    found = Stated()
    for delta in [*(delta for event in events for delta in decoder.feed(parse(event))), *decoder.end()]:
        if isinstance(delta, ChoiceFinished):
            found.finish = delta.finish
        elif isinstance(delta, Started):
            found.id, found.service_tier = delta.id or None, delta.service_tier
    return found


WORDS: list[Any] = [None, "", "stop", "length", "tool_calls", "content_filter", "STOP", "made up", 5]
DELTAS: list[Any] = [
    {}, None, {"content": "word"}, {"content": ""}, {"role": "assistant", "content": None, "refusal": None},
    {"content": [{"type": "text", "text": "listed"}]}, {"content": 5}, {"refusal": "no"}, {"refusal": 5},
    {"tool_calls": [{"index": 0, "id": "t", "function": {"name": "f", "arguments": "{}"}}]}, {"tool_calls": []},
    {"tool_calls": None}, {"function_call": {"name": "f", "arguments": "{}"}}, {"reasoning_content": "hm"},
    {"reasoning": 5}, {"reasoning_details": [{"type": "reasoning.text", "text": "hm"}]}, {"annotations": 5},
    {"audio": {"id": "a", "data": "AA=="}}, {"images": 5}, {"something": {"new": 1}}, 5,
]  # fmt: skip
CHOICES = st.builds(
    lambda delta, finish, more: {**_choice(delta, finish), **more},
    st.sampled_from(DELTAS),
    st.sampled_from(WORDS),
    st.sampled_from([{}, {}, {"index": None}, {"index": 0.0}, {"index": 1}, {"index": "0"}, {"logprobs": None}, {"logprobs": 5},
                     {"usage": {"prompt_tokens": 1}}, {"usage": 5}, {"stop_reason": None}]),
)  # fmt: skip
CHUNKS = st.builds(
    lambda choices, more: _chunk(choices, **more),
    st.lists(CHOICES, max_size=2) | st.sampled_from([None, 5, {}]),
    st.sampled_from(
        [{}, {}, {"id": None}, {"id": ""}, {"id": 5}, {"created": "x"}, {"created": 1.5}, {"service_tier": "flex"},
         {"service_tier": 5}, {"error": None}, {"error": {"message": "no"}}, {"detail": "no"}, {"object": "error"},
         {"usage": None}, {"usage": {"prompt_tokens": 1, "completion_tokens": 2}}, {"usage": {"prompt_tokens": "x"}},
         {"usage": 5}, {"model": 5}, {"x_groq": {"usage": {"prompt_tokens": 1}}}, {"x_groq": 5, "system_fingerprint": 5}]
    ),
)  # fmt: skip
EVENTS = CHUNKS | st.sampled_from(
    [DONE, DONE, b": ping\n\n", b"data: {\n\n", b"event: error\ndata: {}\n\n", b"data: 5\n\n", b"data: \xff\n\n"]
)


@settings(max_examples=300)
@given(st.lists(EVENTS, max_size=4), st.booleans())
def test_it_is_what_the_decoder_tells_or_nothing(events: list[bytes], done: bool) -> None:
    events = [*events, DONE] if done else events
    found = ending(events)
    if found is not None:
        assert found == decoded(events)


@pytest.mark.parametrize(
    ("events", "stated"),
    [
        ((_chunk([_choice({"role": "assistant", "content": ""})]), _chunk([_choice({}, "length")]), _chunk([]), DONE),
         Stated(None, "c1", None, "length")),
        ((_chunk([_choice({"content": "word"})], service_tier="flex"), DONE), Stated(None, "c1", "flex", "stop")),
        ((_chunk([], id=""), _chunk([_choice({}, "stop")], id="c2"), DONE), Stated(None, "c2", None, "stop")),
    ],
)  # fmt: skip
def test_of_an_ordinary_end_it_is_all(events: Sequence[bytes], stated: Stated) -> None:
    assert ending(events) == stated == decoded(events)


def test_half_a_character_does_not_break_the_end_of_a_stream() -> None:
    """A server that cuts an answer in the middle of an emoji, as bytes."""
    cut = b'data: {"id":"c1","choices":[{"index":0,"delta":{"content":"\xf0\x9f"},"finish_reason":null}]}\n\n'
    assert ending([cut, _chunk([_choice({}, "length")]), DONE]) is None
