"""Answers of other dialects, shown to clients of the Messages API; their thoughts come back to where they belong."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from tests.dialects import anthropic_sdk

from wayport.core.errors import (
    Fault,
    FaultClass,
)
from wayport.core.usage import Usage
from wayport.dialects.anthropic_messages import DIALECT
from wayport.dialects.neutral import (
    Annotated,
    Audio,
    BlockClosed,
    BlockDelta,
    BlockOpened,
    Choice,
    ChoiceFinished,
    Citation,
    Delta,
    Ended,
    Failed,
    FinishReason,
    Image,
    LogprobsAdded,
    Media,
    Opaque,
    Part,
    Pinged,
    Reasoning,
    Refusal,
    Request,
    Response,
    Started,
    Text,
    ToolCall,
    Unknown,
    UsageReported,
    unfold,
)
from wayport.dialects.sealing import PREFIX
from wayport.wire import patch, sse

assert DIALECT.client is not None
CLIENT = DIALECT.client


def answer(*parts: Part, finish: FinishReason = "stop", raw: str | None = None, **fields: Any) -> Response:
    return Response(
        dialect="openai_chat",
        id="chatcmpl-1",
        model="gpt-5",
        choices=[Choice(parts=list(parts), finish=finish, finish_raw=raw)],
        **{"usage": Usage(input_tokens=20, output_tokens=5), **fields},
    )


def shown(response: Response) -> Any:
    return anthropic_sdk.receive(CLIENT.encode_response(response))


def told(deltas: Iterable[Delta]) -> bytes:
    encoder = CLIENT.stream_encoder(request=None, response_id="msg_ours", created=0)
    return b"".join(encoder.feed(delta) for delta in deltas)


def events(stream: bytes) -> list[Any]:
    return [json.loads(sse.parse(raw).data) for raw in sse.Splitter().feed(stream)]


def started(**fields: Any) -> Started:
    return Started(id="chatcmpl-1", model="gpt-5", dialect="openai_chat", **fields)


def asked(*messages: Any, **fields: Any) -> Request:
    body = {"model": "m", "max_tokens": 9, "messages": list(messages), **fields}
    return decoded(body)


def decoded(body: dict[str, Any]) -> Request:
    written = json.dumps(body, separators=(",", ":")).encode()
    return CLIENT.decode_request(patch.split(written), {})


def given_back(content: Any) -> list[Part]:
    """What an assistant turn means when the client sends it back."""
    return asked({"role": "user", "content": "?"}, {"role": "assistant", "content": content}).messages[1].parts


# ------------------------------------------------------------------------------------------------------ whole answers
def test_an_answer_of_another_dialect_is_a_message() -> None:
    message = shown(answer(Text(text="Noon.")))
    assert message["content"] == [{"type": "text", "text": "Noon."}]
    assert (message["id"], message["role"], message["stop_reason"]) == ("chatcmpl-1", "assistant", "end_turn")


def test_what_belongs_to_another_dialect_stays_behind() -> None:
    response = answer(Text(text="Noon.", extras={"x": Raw(b"1")}), extras={"system_fingerprint": Raw(b'"fp"')})
    response.usage_raw = Raw(b'{"prompt_tokens":20}')
    assert b"system_fingerprint" not in CLIENT.encode_response(response)
    assert b"prompt_tokens" not in CLIENT.encode_response(response)


def test_usage_is_told_in_anthropics_parts() -> None:
    usage = Usage(
        input_tokens=100, output_tokens=9, cache_read_tokens=40, cache_write_5m_tokens=10, cache_write_1h_tokens=5,
        reasoning_tokens=4, web_search_requests=2,
    )  # fmt: skip
    stated = shown(answer(Text(text="x"), usage=usage, service_tier="priority"))["usage"]
    assert stated["input_tokens"] == 45
    assert stated["cache_read_input_tokens"] == 40
    assert stated["cache_creation_input_tokens"] == 15
    assert stated["cache_creation"] == {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 5}
    assert stated["output_tokens_details"] == {"thinking_tokens": 4}
    assert stated["server_tool_use"] == {"web_search_requests": 2, "web_fetch_requests": 0}
    assert stated["service_tier"] == "priority"
    assert shown(answer(Text(text="x"), usage=None))["usage"]["output_tokens"] == 0


@pytest.mark.parametrize(
    ("finish", "raw", "word"),
    [
        ("stop", "stop", "end_turn"),
        ("length", "MAX_TOKENS", "max_tokens"),
        ("tool_calls", "tool_calls", "tool_use"),
        ("content_filter", "SAFETY", "refusal"),
        ("refusal", None, "refusal"),
        ("stop_sequence", "stop_sequence", "stop_sequence"),
        ("pause", None, "pause_turn"),
        ("context_window", None, "model_context_window_exceeded"),
        ("error", "MALFORMED_FUNCTION_CALL", "end_turn"),
    ],
)
def test_stop_reasons_are_anthropics(finish: FinishReason, raw: str | None, word: str) -> None:
    assert shown(answer(Text(text="x"), finish=finish, raw=raw))["stop_reason"] == word


def test_calls_are_a_reason_to_stop() -> None:
    call = ToolCall(id="call_1", name="look", arguments='{"at": "mole"}')
    message = shown(answer(call, finish="stop", raw="STOP"))
    assert message["stop_reason"] == "tool_use"
    assert message["content"] == [{"type": "tool_use", "id": "call_1", "name": "look", "input": {"at": "mole"}}]


def test_sources_are_shown_as_citations() -> None:
    text = Text(
        text="High water is at noon.",
        citations=[Citation(kind="url", url="https://h.example", title="H", start=14, end=21)],
    )
    assert shown(answer(text))["content"][0]["citations"] == [
        {
            "type": "web_search_result_location",
            "url": "https://h.example",
            "title": "H",
            "cited_text": "at noon",
            "encrypted_index": "",
        }
    ]


def test_refusals_speech_and_images_are_shown() -> None:
    image = Image(source=Media(kind="base64", value="iVBORw0KGgo=", media_type="image/png"))
    speech = Audio(source=Media(kind="base64", value="UklG"), transcript="High water.")
    opaque = Opaque(dialect="openai_responses", raw=Raw(b"{}"), text="Searched.")
    silent = Opaque(dialect="openai_responses", raw=Raw(b"{}"))
    body = json.loads(CLIENT.encode_response(answer(Refusal(text="No."), speech, image, opaque, silent, Text(text=""))))
    assert body["content"] == [
        {"type": "text", "text": "No."},
        {"type": "text", "text": "High water."},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
        {"type": "text", "text": "Searched."},
    ]


# ------------------------------------------------------------------------------------------ thoughts, there and back
THOUGHTS = [
    Reasoning(text="Spring or neap?", issuer="other"),
    Reasoning(text="Spring or neap?", signature="c2ln", issuer="gemini"),
    Reasoning(summary=["Spring?", "Neap?"], encrypted="gAAA", id="rs_1", issuer="openai"),
    Reasoning(encrypted="gAAA", id="rs_1", issuer="openai"),
    Reasoning(redacted="EmwK", issuer="bedrock"),
    Reasoning(text="mine", signature="EqQB", issuer="anthropic"),
    Reasoning(redacted="EmwK", issuer="anthropic"),
]


@pytest.mark.parametrize("thought", THOUGHTS)
def test_a_thought_comes_back_from_a_whole_answer(thought: Reasoning) -> None:
    message = shown(answer(thought, Text(text="Spring.")))
    assert {block["type"] for block in message["content"]} <= {"thinking", "redacted_thinking", "text"}
    assert given_back(message["content"]) == [thought, Text(text="Spring.")]


@pytest.mark.parametrize("thought", THOUGHTS)
def test_a_thought_comes_back_from_a_stream(thought: Reasoning) -> None:
    message = anthropic_sdk.collect(told(unfold(answer(thought, Text(text="Spring.")))))
    assert given_back(message["content"]) == [thought, Text(text="Spring.")]


SIGNED: list[Part] = [
    Text(text="I look.", signature="dGV4dA=="),
    ToolCall(id="call_1", name="look", arguments='{"a":1}', signature="Y2FsbA=="),
    ToolCall(id="call_2", name="look", arguments="{}"),
]


@pytest.mark.parametrize("way", ["whole", "stream"])
def test_signatures_on_calls_and_texts_come_back(way: str) -> None:
    response = answer(*SIGNED, finish="tool_calls")
    message = shown(response) if way == "whole" else anthropic_sdk.collect(told(unfold(response)))
    assert [block["type"] for block in message["content"]] == [
        "text", "redacted_thinking", "redacted_thinking", "tool_use", "tool_use",
    ]  # fmt: skip
    assert given_back(message["content"]) == SIGNED


def test_a_signature_comes_back_though_the_client_cuts_the_turn_into_messages() -> None:
    content = shown(answer(*SIGNED, finish="tool_calls"))["content"]
    turns = [{"role": "assistant", "content": [block]} for block in content]
    parts = [part for message in asked({"role": "user", "content": "?"}, *turns).messages[1:] for part in message.parts]
    assert [part.signature for part in parts if isinstance(part, ToolCall)] == ["Y2FsbA==", None]


def test_a_late_signature_comes_back() -> None:
    deltas: list[Delta] = [
        started(),
        BlockOpened(block=0, part=ToolCall(id="call_1", name="look")),
        BlockDelta(block=0, text='{"a":1}'),
        BlockDelta(block=0, signature="bGF0ZQ=="),
        BlockClosed(block=0),
        BlockOpened(block=1, part=Reasoning(text="", issuer="openai")),
        BlockDelta(block=1, text="Spring?", summary_index=0),
        BlockDelta(block=1, text="Neap?", summary_index=1),
        BlockClosed(
            block=1, part=Reasoning(summary=["Spring?", "Neap?"], encrypted="gAAA", id="rs_1", issuer="openai")
        ),
        ChoiceFinished(finish="tool_calls"),
        Ended(),
    ]
    content = anthropic_sdk.collect(told(deltas))["content"]
    assert content[2]["thinking"] == "Spring?\n\nNeap?"
    assert given_back(content) == [
        ToolCall(id="call_1", name="look", arguments='{"a":1}', signature="bGF0ZQ=="),
        Reasoning(summary=["Spring?", "Neap?"], encrypted="gAAA", id="rs_1", issuer="openai"),
    ]


def test_a_damaged_envelope_is_a_thought_of_nobody() -> None:
    content = [
        {"type": "thinking", "thinking": "Spring?", "signature": PREFIX + "!!"},
        {"type": "redacted_thinking", "data": PREFIX + "!!"},
        {"type": "text", "text": "Spring."},
    ]
    assert given_back(content) == [Reasoning(text="Spring?", issuer="other"), Text(text="Spring.")]


def test_ids_in_other_letters_go_out_fitting_and_come_back_as_they_were() -> None:
    call = ToolCall(id="functions.look:0", name="look", arguments="{}")
    content = shown(answer(call, finish="tool_calls"))["content"]
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": content[0]["id"], "content": "seen"}]}
    request = asked({"role": "user", "content": "?"}, {"role": "assistant", "content": content}, result)
    assert request.messages[1].parts == [call]
    assert getattr(request.messages[2].parts[0], "call_id", None) == "functions.look:0"


# ----------------------------------------------------------------------------------------------------------- streams
def test_a_stream_of_another_dialect_is_told_event_by_event() -> None:
    stream = told(
        [
            started(usage=Usage(input_tokens=20)),
            Pinged(),
            BlockOpened(block=0, part=Reasoning(issuer="other")),
            BlockDelta(block=0, text="hm"),
            BlockOpened(block=1, part=Text(text="")),
            BlockDelta(block=1, text="I look."),
            BlockOpened(block=2, part=ToolCall(id="call_1", name="look")),
            BlockDelta(block=2, text='{"at"'),
            BlockOpened(block=3, part=ToolCall(id="call_2", name="wait")),
            BlockDelta(block=2, text=':"mole"}'),
            LogprobsAdded(tokens=[]),
            BlockClosed(block=0),
            BlockClosed(block=1),
            BlockClosed(block=2),
            BlockClosed(block=3),
            ChoiceFinished(finish="tool_calls", finish_raw="tool_calls"),
            UsageReported(usage=Usage(input_tokens=20, output_tokens=7), raw=Raw(b'{"prompt_tokens":20}')),
            Ended(),
        ]
    )
    seen = events(stream)
    assert [(event["type"], event.get("index")) for event in seen] == [
        ("message_start", None),
        ("ping", None),
        ("content_block_start", 0),
        ("content_block_delta", 0),
        ("content_block_delta", 0),
        ("content_block_stop", 0),
        ("content_block_start", 1),
        ("content_block_delta", 1),
        ("content_block_stop", 1),
        ("content_block_start", 2),
        ("content_block_delta", 2),
        ("content_block_start", 3),
        ("content_block_delta", 2),
        ("content_block_stop", 2),
        ("content_block_delta", 3),
        ("content_block_stop", 3),
        ("message_delta", None),
        ("message_stop", None),
    ]
    assert seen[0]["message"]["usage"]["input_tokens"] == 20
    assert seen[-2]["delta"] == {"stop_reason": "tool_use", "stop_sequence": None}
    assert (seen[-2]["usage"]["input_tokens"], seen[-2]["usage"]["output_tokens"]) == (20, 7)
    assert [block["input"] for block in anthropic_sdk.collect(stream)["content"][2:]] == [{"at": "mole"}, {}]


def test_every_delta_fits_the_type_of_its_block() -> None:
    """Thoughts and words that take turns never share a block."""
    deltas: list[Delta] = [
        started(),
        BlockOpened(block=0, part=Reasoning(issuer="other")),
        BlockOpened(block=1, part=Text(text="")),
    ]
    deltas += [BlockDelta(block=block, text=f"{block}") for block in (0, 1, 0, 1)]
    deltas += [BlockClosed(block=0), BlockClosed(block=1), ChoiceFinished(finish="stop"), Ended()]
    kinds: dict[int, str] = {}
    for event in events(told(deltas)):
        if event["type"] == "content_block_start":
            kinds[event["index"]] = event["content_block"]["type"]
        if event["type"] == "content_block_delta":
            assert kinds[event["index"]] == {"text_delta": "text"}.get(event["delta"]["type"], "thinking")


def test_a_block_that_stays_empty_is_not_shown() -> None:
    parts: list[Part] = [Text(text=""), Reasoning(issuer="other"), Text(text="Noon.")]
    deltas = list(unfold(answer(*parts)))
    assert anthropic_sdk.collect(told(deltas))["content"] == [{"type": "text", "text": "Noon."}]


def test_citations_are_told_as_they_come() -> None:
    deltas: list[Delta] = [
        started(),
        BlockOpened(block=0, part=Text(text="")),
        BlockDelta(block=0, text="at noon"),
        BlockDelta(block=0, citation=Citation(kind="url", url="https://h.example", title="H", start=3, end=7)),
        BlockClosed(block=0),
        ChoiceFinished(finish="stop"),
        Ended(),
    ]
    cited = anthropic_sdk.collect(told(deltas))["content"][0]["citations"][0]
    assert (cited["url"], cited["cited_text"]) == ("https://h.example", "noon")


def test_images_and_speech_are_told() -> None:
    deltas: list[Delta] = [
        started(),
        BlockOpened(block=0, part=Image(source=Media(kind="base64", value="iVBO", media_type="image/png"))),
        BlockDelta(block=0, text="Rw0K"),
        BlockClosed(block=0),
        BlockOpened(block=1, part=Audio(source=Media(kind="base64", value=""), id="a")),
        BlockDelta(block=1, text="UklG", transcript="High "),
        BlockDelta(block=1, transcript="water."),
        BlockClosed(block=1),
        ChoiceFinished(finish="stop"),
        Ended(),
    ]
    seen = events(told(deltas))
    assert seen[1]["content_block"]["source"]["data"] == "iVBORw0K"
    assert anthropic_sdk.collect(told(deltas))["content"][1]["text"] == "High water."


def test_an_answer_without_an_id_gets_ours() -> None:
    assert events(told([Started(id="", model="m"), Ended()]))[0]["message"]["id"] == "msg_ours"


def test_a_second_choice_is_not_told() -> None:
    deltas: list[Delta] = [
        started(),
        BlockOpened(choice=1, block=0, part=Text(text="no")),
        BlockDelta(choice=1, block=0, text="no"),
        BlockClosed(choice=1, block=0),
        ChoiceFinished(choice=1, finish="length"),
        Annotated(extras={"system_fingerprint": Raw(b'"fp"')}, service_tier="priority"),
        Unknown(dialect="openai_responses", name="x", raw=Raw(b"{}")),
        Ended(),
    ]
    seen = events(told(deltas))
    assert [event["type"] for event in seen] == ["message_start", "message_delta", "message_stop"]
    assert seen[1]["delta"]["stop_reason"] == "end_turn"
    assert "system_fingerprint" not in seen[1]


@pytest.mark.parametrize(("kind", "status", "word"), [
    ("overloaded", 529, "overloaded_error"), ("rate_limit", 429, "rate_limit_error"), ("cut", 200, "api_error")])  # fmt: skip
def test_a_broken_stream_ends_in_an_error(kind: FaultClass, status: int, word: str) -> None:
    fault = Fault(kind=kind, status=status, message="It broke.")
    opened = BlockOpened(block=0, part=Text(text="High"))
    seen = events(told([started(), opened, Failed(fault=fault)]))
    assert seen[-1] == {"type": "error", "error": {"type": word, "message": "It broke."}}
    assert [event["type"] for event in seen if event["type"].startswith("message_s")] == ["message_start"]


def test_line_breaks_in_what_is_kept_do_not_break_the_stream() -> None:
    raw = Raw(b'{\n "type": "sextant",\r\n "angle": 1\n}')
    response = Response(
        dialect="anthropic_messages",
        id="m",
        model="m",
        choices=[Choice(parts=[Opaque(dialect="anthropic_messages", raw=raw)])],
    )
    seen = events(told(unfold(response)))
    assert seen[1]["content_block"] == {"type": "sextant", "angle": 1}


TEXTS = st.text(max_size=6)
ANSWERS = st.lists(
    st.one_of(
        st.builds(Text, text=TEXTS),
        st.builds(Reasoning, text=TEXTS, signature=st.none() | TEXTS, issuer=st.sampled_from(["gemini", "other"])),
        st.builds(
            ToolCall,
            id=st.uuids().map(str),
            name=st.just("look"),
            arguments=st.just('{"a":1}'),
            signature=st.none() | st.just("c2ln"),
        ),
    ),
    max_size=5,
)


@given(ANSWERS)
def test_a_stream_and_a_whole_say_the_same(parts: list[Part]) -> None:
    response = answer(*parts)
    whole, stream = shown(response), anthropic_sdk.collect(told(unfold(response)))
    for name in ("content", "stop_reason", "id", "model"):
        assert whole[name] == stream[name]
    assert given_back(whole["content"] or "") == given_back(stream["content"] or "")
