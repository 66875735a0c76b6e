"""What is plain is read and written in one go, and comes to the same as when every field of it is looked at."""

import json
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dialects import laws

from wayport.dialects.anthropic_messages import DIALECT as ANTHROPIC
from wayport.dialects.anthropic_messages_usage import merge
from wayport.dialects.dialect import Profile
from wayport.dialects.gemini_content import DIALECT as GEMINI
from wayport.dialects.neutral import CacheMarker, Message, Request, Response, Text
from wayport.dialects.openai_chat import DIALECT as OPENAI
from wayport.wire import anthropic_messages as wire
from wayport.wire import patch
from wayport.wire.sse import parse

NEW = "x_unknown"
"""a field that nobody knows: whatever holds it is read field by field"""
TEXTS = st.sampled_from(["Hello", " Hello ", "", " ", "\n", "Ünïcödé \u2603", '"quoted"\\'])
ROLES = st.sampled_from(["system", "developer", "user", "assistant"])
CONVERSATIONS = st.lists(st.tuples(ROLES, TEXTS), min_size=1, max_size=6)
COUNTS = st.none() | st.integers(0, 3)


def read(messages: list[dict[str, Any]]) -> Request:
    assert OPENAI.client is not None
    return OPENAI.client.decode_request(patch.split(json.dumps({"model": "m", "messages": messages}).encode()), {})


@given(told=CONVERSATIONS)
def test_plain_messages_are_read_as_any_message(told: list[tuple[str, str]]) -> None:
    plain = read([{"role": role, "content": text} for role, text in told])
    looked_at = read([{"role": role, "content": text, NEW: 1} for role, text in told])
    for message in looked_at.messages:
        assert message.extras is not None
        assert message.extras.pop(NEW) == msgspec.Raw(b"1")
        message.extras = message.extras or None
    assert plain == looked_at


@given(told=CONVERSATIONS)
@settings(max_examples=300)
def test_plain_conversations_are_written_as_any_conversation(told: list[tuple[str, str]]) -> None:
    """A blank text at the end is no turn of its own, and keeps a conversation from being plain."""
    assert ANTHROPIC.upstream is not None
    messages = [Message(role=role, parts=[Text(text=text)]) for role, text in told]  # type: ignore[arg-type]
    if messages[-1].role != "user":
        messages.append(Message(role="user", parts=[Text(text="Go on.")]))
    plain = Request(dialect="openai_chat", model="m", messages=messages)
    blank = Message(role="user", parts=[Text(text=" ")])
    looked_at = Request(dialect="openai_chat", model="m", messages=[*messages, blank])
    encode = ANTHROPIC.upstream.encode_request
    assert encode(plain, Profile()) == encode(looked_at, Profile())


@given(
    told=CONVERSATIONS,
    marker=st.sampled_from(
        [None, CacheMarker(ttl="1h"), CacheMarker(extras={"prompt_cache_breakpoint": msgspec.Raw(b"{}")})]
    ),
    profile=st.sampled_from(
        [Profile(), Profile(cache_markers=True), Profile(system_role="user"), Profile(one_system_message=True)]
    ),
)
@settings(max_examples=300)
def test_plain_conversations_are_written_for_openai_as_any_conversation(
    told: list[tuple[str, str]], marker: CacheMarker | None, profile: Profile
) -> None:
    """A message that holds nothing is not told, and keeps a conversation from being plain."""
    assert OPENAI.upstream is not None
    messages = [Message(role=role, parts=[Text(text=text, cache=marker)]) for role, text in told]  # type: ignore[arg-type]
    messages.append(Message(role="system", parts=[Text(text="x-anthropic-billing-header: x")]))
    plain = Request(dialect="anthropic_messages", model="m", messages=messages)
    looked_at = Request(dialect="anthropic_messages", model="m", messages=[*messages, Message(role="user", parts=[])])
    assert OPENAI.upstream.encode_request(plain, profile) == OPENAI.upstream.encode_request(looked_at, profile)


@laws.each("anthropic_messages", "response.json")
def test_plain_answers_are_read_as_any_answer(case: Path) -> None:
    assert ANTHROPIC.upstream is not None
    said = json.loads((case / "response.json").read_bytes())
    assert _bare(ANTHROPIC.upstream.decode_response(json.dumps(said).encode())) == _bare(
        ANTHROPIC.upstream.decode_response(json.dumps({**said, NEW: 1}).encode())
    )


@laws.each("openai_chat", "response.json")
def test_openais_plain_answers_are_read_as_any_answer(case: Path) -> None:
    assert OPENAI.upstream is not None
    said = json.loads((case / "response.json").read_bytes())
    plain = OPENAI.upstream.decode_response(json.dumps(said).encode())
    for choice in said["choices"]:
        choice["message"][NEW] = 1
    looked_at = OPENAI.upstream.decode_response(json.dumps(said).encode())
    for each in looked_at.choices:
        assert each.message_extras is not None
        del each.message_extras[NEW]
    assert _bare(plain) == _bare(looked_at)


def _bare(response: Response) -> Any:
    response.extras.pop(NEW, None)
    return msgspec.json.decode(msgspec.json.encode(response))


@given(
    counts=st.tuples(COUNTS, COUNTS, COUNTS),
    written=st.none() | st.tuples(st.integers(0, 3), st.integers(0, 3)),
    thought=st.none() | st.integers(0, 3),
)
def test_plain_usage_is_read_as_any_usage(
    counts: tuple[int | None, int | None, int | None], written: tuple[int, int] | None, thought: int | None
) -> None:
    """An empty list of iterations says nothing, and has every count looked at."""
    inputs, outputs, read_ = counts
    stated: dict[str, Any] = {"input_tokens": inputs, "output_tokens": outputs, "cache_read_input_tokens": read_}
    if written is not None:
        stated["cache_creation"] = {"ephemeral_5m_input_tokens": written[0], "ephemeral_1h_input_tokens": written[1]}
        stated["cache_creation_input_tokens"] = sum(written)
    if thought is not None:
        stated["output_tokens_details"] = {"thinking_tokens": thought}
    plain = merge(None, wire.decode_usage(json.dumps(stated)))
    assert plain == merge(None, wire.decode_usage(json.dumps({**stated, "iterations": []})))


def test_one_text_is_told_as_any_content() -> None:
    assert ANTHROPIC.upstream is not None
    assert OPENAI.client is not None
    said = {
        "type": "message",
        "role": "assistant",
        "id": "msg_1",
        "model": "m",
        "stop_reason": "end_turn",
        "content": [],
    }
    texts = [{"type": "text", "text": "Hello"}, {"type": "text", "text": ""}]
    told = [
        OPENAI.client.encode_response(
            ANTHROPIC.upstream.decode_response(json.dumps({**said, "content": content}).encode()), request=None
        )
        for content in (texts[:1], texts)
    ]
    assert told[0] == told[1]


# -------------------------------------------------------------------------------------------------------------- Google's
SIGNED = st.sampled_from([{}, {"thoughtSignature": "c2ln"}, {"thoughtSignature": None}])
DATA = st.sampled_from(["iVBORw0KGgo=", "-_-_", ""])
HELD = st.one_of(
    st.builds(lambda text: {"text": text}, TEXTS),
    st.builds(lambda text, thought: {"text": text, "thought": thought}, TEXTS, st.booleans()),
    st.builds(
        lambda data, kind: {"inlineData": {"mimeType": kind, "data": data}},
        DATA,
        st.sampled_from(["image/png", "audio/wav", "video/mp4", "application/pdf"]),
    ),
    st.just({"inlineData": {"mimeType": "image/png", "data": "AAAA"}, "thought": True}),
    st.just({"functionCall": {"name": "look", "args": {"where": "here"}}}),
    st.just({"functionCall": {"name": "look", "id": "call_1", "args": {}}}),
    st.just({"functionCall": {"name": "look"}}),
    st.just({"functionCall": {"name": "", "args": {}}}),
    st.just({"text": "Both", "functionCall": {"name": "look"}}),
    st.just({"text": None, "functionCall": {"name": "look"}}),
    st.just({"text": "Alone", "functionCall": None, "inlineData": None}),
    st.just({"executableCode": {"language": "PYTHON", "code": "1"}}),
)
PARTS = st.lists(st.builds(lambda held, signed: {**held, **signed}, HELD, SIGNED), max_size=4)
BESIDE = st.sampled_from(
    [
        {},
        {"finishReason": "STOP"},
        {"finishReason": None},
        {"index": 0},
        {"index": 1, "finishReason": "STOP", "avgLogprobs": -0.5},
    ]
)
CANDIDATES = st.builds(lambda parts, beside: {"content": {"role": "model", "parts": parts}, **beside}, PARTS, BESIDE)
ENVELOPES = st.sampled_from(
    [
        {},
        {"modelVersion": "g", "responseId": "r", "createTime": "2026-11-20T10:00:00Z"},
        {"usageMetadata": {"promptTokenCount": 4, "candidatesTokenCount": 2, "totalTokenCount": 6}},
    ]
)


@given(candidate=CANDIDATES, envelope=ENVELOPES)
@settings(max_examples=300)
def test_googles_plain_answers_are_read_as_any_answer(candidate: dict[str, Any], envelope: dict[str, Any]) -> None:
    _are_read_alike({"candidates": [candidate], **envelope})


@given(events=st.lists(st.tuples(CANDIDATES, ENVELOPES), min_size=1, max_size=5))
@settings(max_examples=300)
def test_googles_plain_events_are_read_as_any_event(events: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    said = [{"candidates": [candidate], **envelope} for candidate, envelope in events]
    assert _deltas(said) == _deltas([{**event, NEW: 1} for event in said])


@laws.each("gemini_content", "response.json")
def test_googles_recorded_answers_are_read_as_any_answer(case: Path) -> None:
    said = json.loads((case / "response.json").read_bytes())
    _are_read_alike(said)
    assert _deltas([said]) == _deltas([{**said, NEW: 1}])


def _are_read_alike(said: dict[str, Any]) -> None:
    assert GEMINI.upstream is not None
    decode = GEMINI.upstream.decode_response
    assert _bare(decode(json.dumps(said).encode())) == _bare(decode(json.dumps({**said, NEW: 1}).encode()))


def _deltas(events: list[dict[str, Any]]) -> Any:
    assert GEMINI.upstream is not None
    decoder = GEMINI.upstream.stream_decoder()
    deltas = [
        each for event in events for each in decoder.feed(parse(b"data: " + json.dumps(event).encode() + b"\n\n"))
    ]
    found = json.loads(msgspec.json.encode([*deltas, *decoder.end()]))
    for delta in found:
        if delta["type"] == "Annotated":
            delta["extras"] = {name: value for name, value in (delta["extras"] or {}).items() if name != NEW} or None
    return [
        delta
        for delta in found
        if delta["type"] != "Annotated" or any(delta[each] for each in ("extras", "model", "service_tier"))
    ]
