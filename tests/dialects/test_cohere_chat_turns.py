"""Whatever was said, in whatever dialect: Cohere's order of messages is kept, and what it cannot take is refused."""

import base64
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from tests.dialects import cohere_sdk

from wayport.core.errors import BadRequest
from wayport.dialects.cohere_chat import DIALECT
from wayport.dialects.dialect import Profile
from wayport.dialects.neutral import (
    Audio,
    BlockDelta,
    CacheMarker,
    Delta,
    Document,
    Image,
    Media,
    Message,
    Opaque,
    Part,
    Reasoning,
    Request,
    Role,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Video,
)
from wayport.wire.sse import Event

assert DIALECT.upstream is not None
UPSTREAM = DIALECT.upstream
PNG = Media(kind="base64", value="iVBORw0KGgo=")
LOG = Media(kind="text", value="High water 12:04.")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


def say(role: Role, *parts: Part | str) -> Message:
    return Message(role=role, parts=[Text(text=part) if isinstance(part, str) else part for part in parts])


def ask(*messages: Message, **fields: Any) -> Request:
    return Request(dialect="openai_chat", model="command-here", messages=list(messages), **fields)


def body_of(request: Request, profile: Profile | None = None) -> Any:
    body = json.loads(UPSTREAM.encode_request(request, profile or Profile()).body)
    cohere_sdk.accept(body)
    keeps_the_rules(body["messages"])
    return body


def keeps_the_rules(messages: list[Any]) -> None:
    assert messages
    assert {message["role"] for message in messages[1:]} <= {"user", "assistant", "tool"}
    assert any(message["role"] != "system" for message in messages)
    called: set[str] = set()
    waiting: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            assert message["tool_call_id"] == waiting.pop(0), "a result stands behind its call, in the call's order"
            continue
        assert not waiting, f"calls without a result: {waiting}"
        calls = message.get("tool_calls", [])
        waiting = [call["id"] for call in calls]
        assert not called & set(waiting), "no call bears the name of another"
        assert len(set(waiting)) == len(waiting)
        called |= set(waiting)
        for call in calls:
            assert NAME.fullmatch(call["function"]["name"])
            assert isinstance(json.loads(call["function"]["arguments"]), dict)
        assert calls or message["content"], "a message says something"
        content = message.get("content", [])
        texts = [content] if isinstance(content, str) else [item["text"] for item in content if item["type"] == "text"]
        assert calls or all(text.strip() for text in texts), "no text is empty"
    assert not waiting, f"calls without a result: {waiting}"


# ------------------------------------------------------------------------------------------------------------- laws
MARKERS = st.sampled_from([None, CacheMarker()])
PARTS = st.one_of(
    st.builds(Text, text=st.text(max_size=5), cache=MARKERS),
    st.builds(
        ToolCall,
        id=st.sampled_from(["a", "b", "c|d", "e" * 80]),
        name=st.sampled_from(["look", "l.ook", "9look", "", "x" * 70]),
        arguments=st.sampled_from(["", "{}", "x"]),
    ),
    st.builds(
        ToolResult,
        call_id=st.sampled_from(["a", "b", "c|d", "e" * 80, "nobody"]),
        parts=st.lists(st.builds(Text, text=st.text(max_size=3)) | st.builds(Image, source=st.just(PNG)), max_size=2),
        is_error=st.sampled_from([None, True]),
    ),
    st.builds(Reasoning, text=st.text(max_size=3), signature=st.sampled_from([None, "s"]), issuer=st.just("anthropic")),
    st.builds(Reasoning, text=st.text(max_size=3), issuer=st.just("other")),
    st.builds(Document, source=st.just(LOG), title=st.text(max_size=9), citations=st.sampled_from([None, True])),
    st.builds(Image, source=st.just(PNG)),
)
ROLES: list[Role] = ["system", "user", "assistant", "tool", "developer"]
MESSAGES = st.lists(st.builds(Message, role=st.sampled_from(ROLES), parts=st.lists(PARTS, max_size=4)), max_size=8)
PROFILES = st.builds(
    Profile,
    reasoning=st.sampled_from([None, "none", "budget"]),
    reasoning_back=st.sampled_from(["never", "tool_turns", "always"]),
    prefill=st.booleans(),
)


@given(MESSAGES, PROFILES)
def test_whatever_is_said_the_rules_are_kept(messages: list[Message], profile: Profile) -> None:
    body = body_of(ask(*messages, tools=[Tool(name="look")]), profile)
    assert body["messages"][-1]["role"] in ({"user", "tool", "assistant"} if profile.prefill else {"user", "tool"})


# ---------------------------------------------------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    ("part", "why"),
    [
        (Image(source=Media(kind="file", value="file-1")), r"image \(a file that only its own provider knows: file-1"),
        (Image(source=Media(kind="base64", value="")), "image"),
        (Document(source=Media(kind="base64", value="JVBERi0x", media_type="application/pdf")), "application/pdf"),
        (Document(source=Media(kind="base64", value="AAAA")), "of no stated type"),
        (Document(source=Media(kind="base64", value="/w==", media_type="text/plain")), "text/plain"),
        (Document(source=Media(kind="url", value="https://h.example/a")), "by its URL"),
        (Video(source=Media(kind="url", value="https://h.example/a.mp4")), "video"),
        (Audio(source=Media(kind="base64", value="AAAA", media_type="audio/wav")), "audio"),
    ],
)
def test_what_cannot_be_told_is_refused_with_the_reason(part: Part, why: str) -> None:
    with pytest.raises(BadRequest, match=f"command-here cannot take .*{why}"):
        UPSTREAM.encode_request(ask(say("user", part)), Profile())


def test_images_are_refused_where_the_model_takes_none() -> None:
    with pytest.raises(BadRequest, match="command-here cannot take images"):
        UPSTREAM.encode_request(ask(say("user", Image(source=PNG))), Profile(images="none"))


@pytest.mark.parametrize(("sampling", "param"), [({"temperature": -1.0}, "temperature"), ({"top_p": -0.1}, "top_p")])
def test_a_negative_temperature_is_the_clients_mistake(sampling: dict[str, float], param: str) -> None:
    with pytest.raises(BadRequest, match=f"`{param}` must not be below 0"):
        UPSTREAM.encode_request(ask(say("user", "Hi"), sampling=Sampling(**sampling)), Profile())  # type: ignore[arg-type]  # by name


# ------------------------------------------------------------------------------------------------------------- texts
def test_documents_that_are_texts_are_read() -> None:
    data = base64.b64encode(b'{"noon":"12:04"}').decode()
    paper = Document(source=Media(kind="base64", value=data, media_type="application/json", filename="tides.json"))
    assert body_of(ask(say("user", paper)))["messages"] == [
        {"role": "user", "content": 'tides.json\n\n{"noon":"12:04"}'}
    ]


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (ToolResult(call_id="t", structured=Raw(b'{"noon":true}')), '{"noon":true}'),
        (ToolResult(call_id="t", parts=[Document(source=LOG, title="Log")]), "Log\n\nHigh water 12:04."),
        (
            ToolResult(
                call_id="t",
                parts=[Opaque(dialect="anthropic_messages", kind="search_result", raw=Raw(b"{}"), text="Noon.")],
            ),
            "Noon.",
        ),
        (ToolResult(call_id="t", is_error=True), "The tool failed."),
    ],
    ids=["structured", "document", "of_another", "failed"],
)
def test_results_are_told_as_text(result: ToolResult, told: str) -> None:
    body = body_of(ask(say("user", "?"), say("assistant", ToolCall(id="t", name="look")), say("tool", result)))
    assert body["messages"][-1] == {"role": "tool", "tool_call_id": "t", "content": told}


# ------------------------------------------------------------------------------------------------------------ streams
def feed(*events: dict[str, Any]) -> list[Delta]:
    decoder = UPSTREAM.stream_decoder()
    return [delta for event in events for delta in decoder.feed(Event(event["type"], json.dumps(event).encode()))]


def test_a_citation_without_a_text_says_nothing() -> None:
    cited = {"start": 0, "end": 4, "text": "Noon", "content_index": 0, "sources": []}
    assert feed({"type": "citation-start", "index": 0, "delta": {"message": {"citations": cited}}}) == []


def test_input_of_a_call_that_never_began_says_nothing() -> None:
    piece = {"tool_calls": {"function": {"arguments": "{}"}}}
    assert feed({"type": "tool-call-delta", "index": 3, "delta": {"message": piece}}) == []


def test_a_text_waits_for_its_citations() -> None:
    cited = {"start": 0, "end": 4, "text": "Noon", "content_index": 0, "sources": [{"type": "document", "id": "d"}]}
    deltas = feed(
        {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Noon."}}}},
        {"type": "content-end", "index": 0},
        {"type": "citation-start", "index": 0, "delta": {"message": {"citations": cited}}},
    )
    last = deltas[-1]
    assert isinstance(last, BlockDelta)
    assert last.citation is not None
    assert (last.citation.kind, last.citation.title, last.citation.end) == ("document", "d", 4)
