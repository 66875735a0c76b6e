"""Whatever was said, in whatever dialect: Converse's rules are kept, and Claude's thoughts come home signed."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from tests.dialects import anthropic_sdk, bedrock_sdk, laws

from wayport.core.errors import BadRequest
from wayport.dialects.anthropic_messages import DIALECT as ANTHROPIC_MESSAGES
from wayport.dialects.bedrock_converse import DIALECT
from wayport.dialects.dialect import Dialect, Profile
from wayport.dialects.gemini_content import DIALECT as GEMINI_CONTENT
from wayport.dialects.neutral import (
    Audio,
    CacheMarker,
    Document,
    Image,
    Media,
    Message,
    Opaque,
    Part,
    Reasoning,
    ReasoningAsk,
    Request,
    Response,
    Role,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Video,
)
from wayport.dialects.openai_chat import DIALECT as OPENAI_CHAT
from wayport.dialects.openai_responses import DIALECT as OPENAI_RESPONSES
from wayport.wire import patch
from wayport.wire.eventstream import Frames

assert DIALECT.upstream is not None
UPSTREAM = DIALECT.upstream
CLAUDE = Profile(reasoning="budget", cache_markers=True)
PDF = Media(kind="base64", value="JVBERi0x", filename="tides.pdf")
PNG = Media(kind="base64", value="iVBORw0KGgo=")


def say(role: Role, *parts: Part | str) -> Message:
    return Message(role=role, parts=[Text(text=part) if isinstance(part, str) else part for part in parts])


def ask(*messages: Message, **fields: Any) -> Request:
    return Request(dialect="openai_chat", model="claude-here", messages=list(messages), **fields)


def body_of(request: Request, profile: Profile | None = None) -> Any:
    body = json.loads(UPSTREAM.encode_request(request, profile or Profile()).body)
    bedrock_sdk.accept(body)
    bedrock_sdk.keeps_the_rules(body)
    return body


# ------------------------------------------------------------------------------------------------------------- laws
MARKERS = st.sampled_from([None, None, CacheMarker(), CacheMarker(ttl="1h")])
PARTS = st.one_of(
    st.builds(Text, text=st.text(max_size=5), cache=MARKERS),
    st.builds(
        ToolCall,
        id=st.sampled_from(["a", "b", "c|d", "e" * 80]),
        name=st.sampled_from(["look", "l.ook", "x" * 70]),
        arguments=st.sampled_from(["", "{}", "x"]),
        cache=MARKERS,
    ),
    st.builds(
        ToolResult,
        call_id=st.sampled_from(["a", "b", "c|d", "e" * 80, "nobody"]),
        parts=st.lists(st.builds(Text, text=st.text(max_size=3)) | st.builds(Image, source=st.just(PNG)), max_size=2),
        is_error=st.sampled_from([None, True]),
        cache=MARKERS,
    ),
    st.builds(Reasoning, text=st.text(max_size=3), signature=st.sampled_from([None, "s"]), issuer=st.just("anthropic")),
    st.builds(Reasoning, text=st.text(max_size=3), issuer=st.just("bedrock")),
    st.builds(Document, source=st.just(PDF), title=st.text(max_size=9), cache=MARKERS),
    st.builds(Image, source=st.just(PNG), cache=MARKERS),
)
ROLES: list[Role] = ["system", "user", "assistant", "tool", "developer"]
MESSAGES = st.lists(st.builds(Message, role=st.sampled_from(ROLES), parts=st.lists(PARTS, max_size=4)), max_size=8)
PROFILES = st.builds(
    Profile,
    cache_markers=st.booleans(),
    reasoning=st.sampled_from([None, "budget", "adaptive"]),
    reasoning_back=st.sampled_from(["never", "tool_turns", "always"]),
    prefill=st.booleans(),
    media_in_tool_results=st.sampled_from([(), ("image",), ("image", "document")]),
    beside_tool_results=st.sampled_from([None, (), ("text", "image")]),
    unsupported=st.sampled_from([frozenset[str](), frozenset({"system", "status", "cachePoint.ttl"})]),
)


@given(MESSAGES, PROFILES)
def test_whatever_is_said_the_rules_are_kept(messages: list[Message], profile: Profile) -> None:
    request = ask(*messages, tools=[Tool(name="look", cache=CacheMarker())], reasoning=ReasoningAsk(effort="low"))
    body = body_of(request, profile)
    allowed = profile.beside_tool_results
    for message in body["messages"]:
        kinds = {next(iter(block)) for block in message["content"]} - {"cachePoint"}
        if allowed is not None and "toolResult" in kinds:
            assert kinds - {"toolResult"} <= set(allowed)


# ---------------------------------------------------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    ("part", "why"),
    [
        (Image(source=Media(kind="url", value="https://h.example/a.png")), r"image \(by its URL"),
        (Image(source=Media(kind="file", value="file-1")), r"image \(a file that only its own provider knows: file-1"),
        (Image(source=Media(kind="base64", value="PHN2Zz4=", media_type="image/svg+xml")), r"image \(image/svg"),
        (Image(source=Media(kind="base64", value="")), r"image \(without data"),
        (Document(source=Media(kind="base64", value="UEsDBA==", media_type="application/zip")), "application/zip"),
        (Document(source=Media(kind="base64", value="AAAA")), "of no stated type"),
        (Video(source=Media(kind="url", value="https://h.example/a.mp4")), r"video \(by its URL"),
        (Audio(source=Media(kind="base64", value="AAAA", media_type="audio/midi")), "audio/midi"),
    ],
)
def test_what_cannot_be_told_is_refused_with_the_reason(part: Part, why: str) -> None:
    with pytest.raises(BadRequest, match=f"claude-here cannot take this .*{why}"):
        UPSTREAM.encode_request(ask(say("user", part)), Profile())


@pytest.mark.parametrize(
    ("part", "profile"),
    [
        (Image(source=PNG), Profile(images="none")),
        (Document(source=PDF), Profile(documents="none")),
        (
            Video(source=Media(kind="base64", value="AAAA", media_type="video/mp4")),
            Profile(unsupported=frozenset({"video"})),
        ),
    ],
)
def test_what_a_model_does_not_take_is_refused(part: Part, profile: Profile) -> None:
    with pytest.raises(BadRequest, match="claude-here cannot take"):
        UPSTREAM.encode_request(ask(say("user", part)), profile)


@pytest.mark.parametrize(("sampling", "param"), [({"temperature": -1.0}, "temperature"), ({"top_p": -0.1}, "top_p")])
def test_a_negative_temperature_is_the_clients_mistake(sampling: dict[str, float], param: str) -> None:
    with pytest.raises(BadRequest, match=f"`{param}` must not be below 0"):
        UPSTREAM.encode_request(ask(say("user", "Hi"), sampling=Sampling(**sampling)), Profile())  # type: ignore[arg-type]  # by name


def test_an_empty_document_is_told_of() -> None:
    empty = Document(source=Media(kind="text", value=" "))
    assert body_of(ask(say("user", empty)))["messages"][0]["content"] == [{"text": "(an empty document)"}]


def test_what_others_alone_understand_is_told_as_text() -> None:
    found = Opaque(dialect="anthropic_messages", kind="search_result", raw=Raw(b"{}"), text="Noon, says the log.")
    call, result = ToolCall(id="t", name="look"), ToolResult(call_id="t", parts=[found])
    body = body_of(ask(say("user", "?"), say("assistant", call), say("tool", result)))
    assert body["messages"][-1]["content"][0]["toolResult"]["content"] == [{"text": "Noon, says the log."}]


def test_a_result_given_as_an_object_is_told_as_text() -> None:
    call, result = ToolCall(id="t", name="look"), ToolResult(call_id="t", structured=Raw(b'{"noon":true}'))
    body = body_of(ask(say("user", "?"), say("assistant", call), say("user", result)))
    assert body["messages"][-1]["content"][0]["toolResult"]["content"] == [{"text": '{"noon":true}'}]


# ---------------------------------------------------------------------------------------------------------- thoughts
SIGNED = laws.GOLDEN / "bedrock_converse" / "thoughts_signed"
REDACTED = laws.GOLDEN / "bedrock_converse" / "thoughts_redacted"
SIGNATURE = {"reasoningContent": {"reasoningText": {"text": "The moon is full.", "signature": "EqQBCkgIBxABGAIqQA=="}}}
SECRET = {"reasoningContent": {"redactedContent": base64.b64encode(b"EmwKAhgBEgy3va3pzix").decode()}}


def answer(case: Any) -> Response:
    return UPSTREAM.decode_response((case / "response.json").read_bytes())


def told_whole(client: Dialect, case: Any) -> Any:
    assert client.client is not None
    asked = Request(dialect=client.name, model="m", messages=[], reasoning=ReasoningAsk(show=True))
    return json.loads(client.client.encode_response(answer(case), request=asked))


def came_home(client: Dialect, body: dict[str, Any]) -> list[Any]:
    """The assistant's turn, as it goes upstream after the client sent it back."""
    assert client.client is not None
    request = client.client.decode_request(patch.split(json.dumps({"model": "m", **body}).encode()), {})
    written: list[Any] = body_of(request, CLAUDE)["messages"][1]["content"]
    return written


@pytest.mark.parametrize(("case", "thought"), [(SIGNED, SIGNATURE), (REDACTED, SECRET)], ids=["signed", "redacted"])
def test_thoughts_come_home_through_the_messages_api(case: Any, thought: Any) -> None:
    content = told_whole(ANTHROPIC_MESSAGES, case)["content"]
    turns = [("user", "?"), ("assistant", content), ("user", "Sure?")]
    messages = [{"role": role, "content": said} for role, said in turns]
    assert came_home(ANTHROPIC_MESSAGES, {"max_tokens": 9, "messages": messages})[0] == thought


@pytest.mark.parametrize(("case", "thought"), [(SIGNED, SIGNATURE), (REDACTED, SECRET)], ids=["signed", "redacted"])
def test_thoughts_of_a_stream_come_home_through_the_messages_api(case: Any, thought: Any) -> None:
    assert ANTHROPIC_MESSAGES.client is not None
    encoder = ANTHROPIC_MESSAGES.client.stream_encoder(request=None, response_id="msg_1", created=1)
    decoder = UPSTREAM.stream_decoder()
    events = Frames().feed(laws.stream_bytes(case))
    told = b"".join(encoder.feed(delta) for event in events for delta in decoder.feed(event))
    content = anthropic_sdk.collect(told)["content"]
    turns = [("user", "?"), ("assistant", content), ("user", "Sure?")]
    messages = [{"role": role, "content": said} for role, said in turns]
    assert came_home(ANTHROPIC_MESSAGES, {"max_tokens": 9, "messages": messages})[0] == thought


@pytest.mark.parametrize(("case", "thought"), [(SIGNED, SIGNATURE), (REDACTED, SECRET)], ids=["signed", "redacted"])
def test_thoughts_come_home_through_chat(case: Any, thought: Any) -> None:
    message = told_whole(OPENAI_CHAT, case)["choices"][0]["message"]
    body = {"messages": [{"role": "user", "content": "?"}, message, {"role": "user", "content": "Sure?"}]}
    assert came_home(OPENAI_CHAT, body)[0] == thought


@pytest.mark.parametrize(("case", "thought"), [(SIGNED, SIGNATURE), (REDACTED, SECRET)], ids=["signed", "redacted"])
def test_thoughts_come_home_through_responses(case: Any, thought: Any) -> None:
    output = told_whole(OPENAI_RESPONSES, case)["output"]
    body = {"input": [{"role": "user", "content": "?"}, *output, {"role": "user", "content": "Sure?"}]}
    assert came_home(OPENAI_RESPONSES, body)[0] == thought


@pytest.mark.parametrize(("case", "thought"), [(SIGNED, SIGNATURE), (REDACTED, SECRET)], ids=["signed", "redacted"])
def test_thoughts_come_home_through_gemini(case: Any, thought: Any) -> None:
    content = told_whole(GEMINI_CONTENT, case)["candidates"][0]["content"]
    asked = {"role": "user", "parts": [{"text": "?"}]}
    assert came_home(GEMINI_CONTENT, {"contents": [asked, content, asked]})[0] == thought


def test_bytes_of_another_making_go_back_as_they_came() -> None:
    (thought, _) = answer(laws.GOLDEN / "bedrock_converse" / "thoughts_of_another_making").choices[0].parts
    body = body_of(ask(say("user", "?"), say("assistant", thought, "Noon."), say("user", "Sure?")), CLAUDE)
    assert body["messages"][1]["content"][0] == {"reasoningContent": {"redactedContent": "/wAH"}}


def test_unsigned_thoughts_go_back_where_they_are_wanted() -> None:
    thought = Reasoning(text="Hm.", issuer="bedrock")
    call, result = ToolCall(id="t", name="look"), ToolResult(call_id="t", parts=[Text(text="full")])
    earlier = (say("user", "?"), say("assistant", thought, "Noon."), say("user", "And the moon?"))
    request = ask(*earlier, say("assistant", thought, call), say("tool", result))

    def thinks(profile: Profile) -> list[bool]:
        turns = body_of(request, profile)["messages"]
        return ["reasoningContent" in turn["content"][0] for turn in turns if turn["role"] == "assistant"]

    assert thinks(Profile()) == [False, False]
    assert thinks(Profile(reasoning_back="tool_turns")) == [False, True]
    assert thinks(Profile(reasoning_back="always")) == [True, True]


def test_signed_thoughts_stay_away_from_models_that_did_not_sign_them() -> None:
    thought = Reasoning(text="Hm.", signature="EqQB", issuer="anthropic")
    request = ask(say("user", "?"), say("assistant", thought, "Noon."), say("user", "Sure?"))
    assert body_of(request, Profile(reasoning="effort", reasoning_back="always"))["messages"][1]["content"] == [
        {"text": "Noon."}
    ]
