"""Streams of other providers, told to Gemini clients; and what a stream of Gemini's says at the wrong moment."""

import json
from typing import Any

import pytest
from google.genai import types
from msgspec import Raw
from tests.dialects import laws
from tests.dialects.gemini_sdk import CLIENT, UPSTREAM

from wayport.core.errors import Fault
from wayport.core.usage import Usage
from wayport.dialects.gemini_content import KEEP_ALIVE, Framing, GeminiClient
from wayport.dialects.neutral import (
    Annotated,
    Audio,
    BlockClosed,
    BlockDelta,
    BlockOpened,
    ChoiceFinished,
    Citation,
    Delta,
    Ended,
    Failed,
    Image,
    LogprobsAdded,
    Media,
    Opaque,
    Pinged,
    Refusal,
    Request,
    Started,
    Text,
    TokenLogprob,
    ToolCall,
    UsageReported,
    fold,
)
from wayport.wire.sse import Event

REQUEST = Request(dialect="gemini_content", model="m", messages=[])
START = Started(id="msg_1", model="claude", created=1_700_000_000, dialect="anthropic_messages")


def told(*deltas: Delta, as_list: bool = False) -> list[bytes]:
    """What is written for each delta."""
    encoder = GeminiClient().stream_encoder(request=REQUEST, response_id="ours", created=5, as_list=as_list)
    return [encoder.feed(delta) for delta in deltas]


def events(*deltas: Delta) -> list[dict[str, Any]]:
    """The events, each judged by Google's type."""
    bodies = [event.data for event in laws.sse_frames(told(*deltas))]
    for body in bodies:
        if not body.startswith(b'{"error"'):
            types.GenerateContentResponse.model_validate_json(body)
    return [json.loads(body) for body in bodies]


def parts(event: dict[str, Any]) -> Any:
    return event["candidates"][0]["content"]["parts"]


def words(*pieces: str, block: int = 0) -> list[Delta]:
    opened: list[Delta] = [BlockOpened(block=block, part=Text(text=""))]
    return [*opened, *(BlockDelta(block=block, text=piece) for piece in pieces), BlockClosed(block=block)]


def test_text_is_told_piece_by_piece_and_the_end_in_one_event() -> None:
    usage = Usage(input_tokens=10, output_tokens=7, reasoning_tokens=2, cache_read_tokens=4, audio_input_tokens=3)
    first, second, last = events(
        START,
        *words("Hel", "lo"),
        ChoiceFinished(finish="length"),
        UsageReported(usage=usage),
        Annotated(service_tier="flex"),
        Ended(),
    )
    head = {"modelVersion": "claude", "responseId": "msg_1", "createTime": "2023-11-14T22:13:20Z"}
    assert first == {"candidates": [{"content": {"parts": [{"text": "Hel"}], "role": "model"}, "index": 0}], **head}
    assert parts(second) == [{"text": "lo"}]
    assert last == {
        "candidates": [
            {"content": {"parts": [{"text": ""}], "role": "model"}, "finishReason": "MAX_TOKENS", "index": 0}
        ],
        **head,
        "usageMetadata": {
            "promptTokenCount": 10,
            "candidatesTokenCount": 5,
            "totalTokenCount": 17,
            "cachedContentTokenCount": 4,
            "thoughtsTokenCount": 2,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 7}, {"modality": "AUDIO", "tokenCount": 3}],
            "trafficType": "ON_DEMAND_FLEX",
        },
    }


def test_what_the_upstream_did_not_state_is_ours() -> None:
    first, *_ = events(Started(id="", model=""), *words("x"), ChoiceFinished(finish="stop"), Ended())
    assert first["responseId"] == "ours"
    assert first["createTime"] == "1970-01-01T00:00:05Z"


def test_parallel_calls_whose_arguments_interleave_are_told_whole_and_once() -> None:
    written = told(
        START,
        BlockOpened(block=0, part=ToolCall(id="a", name="f")),
        BlockOpened(block=1, part=ToolCall(id="b", name="g")),
        BlockDelta(block=0, text='{"x":'),
        BlockDelta(block=1, text="{"),
        BlockDelta(block=0, text="1}"),
        BlockDelta(block=1, text="}"),
        BlockClosed(block=1),
        BlockClosed(block=0),
        ChoiceFinished(finish="tool_calls"),
        Ended(),
    )
    assert [bool(piece) for piece in written] == [False] * 7 + [True, True, False, True]
    told_calls = [json.loads(event.data) for event in laws.sse_frames(written)]
    assert [parts(event) for event in told_calls[:2]] == [
        [{"functionCall": {"name": "g", "id": "b", "args": {}}}],
        [{"functionCall": {"name": "f", "id": "a", "args": {"x": 1}}}],
    ]
    assert told_calls[2]["candidates"][0]["finishReason"] == "STOP"


def test_a_call_s_last_word_replaces_what_was_gathered() -> None:
    (event, _) = events(
        START,
        BlockOpened(block=0, part=ToolCall(id="a", name="f")),
        BlockDelta(block=0, text='{"x":'),
        BlockClosed(block=0, part=ToolCall(id="a", name="f", arguments='{"x":2}')),
        ChoiceFinished(finish="tool_calls"),
        Ended(),
    )
    assert parts(event) == [{"functionCall": {"name": "f", "id": "a", "args": {"x": 2}}}]


def test_refusals_are_text_and_finish_for_safety() -> None:
    refused, last = events(
        START,
        BlockOpened(block=0, part=Refusal(text="")),
        BlockDelta(block=0, text="I cannot."),
        BlockClosed(block=0),
        ChoiceFinished(finish="refusal"),
        Ended(),
    )
    assert parts(refused) == [{"text": "I cannot."}]
    assert last["candidates"][0]["finishReason"] == "SAFETY"


def test_text_that_comes_only_at_its_close_is_told() -> None:
    first, _ = events(
        START,
        BlockOpened(block=0, part=Text(text="")),
        BlockClosed(block=0, part=Text(text="all at once")),
        ChoiceFinished(finish="stop"),
        Ended(),
    )
    assert parts(first) == [{"text": "all at once"}]


def test_images_and_audio_are_data() -> None:
    image, one, two, words_of_it, _ = events(
        START,
        BlockOpened(block=0, part=Image(source=Media(kind="base64", value="iVBO", media_type="image/png"))),
        BlockDelta(block=0, text="Rw=="),
        BlockClosed(block=0),
        BlockOpened(block=1, part=Audio(source=Media(kind="base64", value="", media_type="audio/wav"))),
        BlockDelta(block=1, text="AAAA"),
        BlockDelta(block=1, text="BBBB"),
        BlockDelta(block=1, transcript="hello"),
        BlockClosed(block=1),
        ChoiceFinished(finish="stop"),
        Ended(),
    )
    assert parts(image) == [{"inlineData": {"mimeType": "image/png", "data": "iVBORw=="}}]
    assert [parts(event)[0]["inlineData"]["data"] for event in (one, two)] == ["AAAA", "BBBB"]
    assert parts(words_of_it) == [{"text": "hello"}]


def test_sources_become_grounding_counted_in_bytes() -> None:
    cited = Citation(kind="url", url="https://a.example", title="A", start=4, end=9)
    named = Citation(kind="file", title="b.pdf", cited_text="words")
    *_, last = events(
        START,
        *words("Die "),
        BlockOpened(block=1, part=Text(text="")),
        BlockDelta(block=1, text="Die Größe"),
        BlockDelta(block=1, citation=cited),
        BlockDelta(block=1, citation=cited),
        BlockDelta(block=1, citation=named),
        BlockClosed(block=1),
        ChoiceFinished(finish="stop"),
        Ended(),
    )
    support = {
        "segment": {"startIndex": 4, "endIndex": 11, "text": "Größe", "partIndex": 1},
        "groundingChunkIndices": [0],
    }
    assert last["candidates"][0]["groundingMetadata"] == {
        "groundingChunks": [
            {"web": {"uri": "https://a.example", "title": "A"}},
            {"retrievedContext": {"title": "b.pdf", "text": "words"}},
        ],
        "groundingSupports": [support, support],
    }


def test_log_probabilities_are_told_at_the_end() -> None:
    top = TokenLogprob(token="b", logprob=-2.0)
    *_, last = events(
        START,
        *words("a"),
        LogprobsAdded(tokens=[TokenLogprob(token="a", logprob=-0.5, top=[top])]),
        LogprobsAdded(tokens=[TokenLogprob(token="no", logprob=-0.5)], refusal=True),
        ChoiceFinished(finish="stop"),
        Ended(),
    )
    assert last["candidates"][0]["logprobsResult"] == {
        "chosenCandidates": [{"token": "a", "logProbability": -0.5}],
        "topCandidates": [{"candidates": [{"token": "b", "logProbability": -2.0}]}],
    }


def test_foreign_parts_are_shown_if_they_have_words() -> None:
    shown = Opaque(dialect="anthropic_messages", raw=Raw(b"{}"), text="a search")
    hidden = Opaque(dialect="anthropic_messages", raw=Raw(b"{}"))
    first, _ = events(
        START,
        BlockOpened(block=0, part=shown),
        BlockClosed(block=0),
        BlockOpened(block=1, part=hidden),
        BlockClosed(block=1),
        Pinged(),
        ChoiceFinished(finish="stop"),
        Ended(),
    )
    assert parts(first) == [{"text": "a search"}]


def test_an_error_is_told_as_google_s_with_what_was_used() -> None:
    fault = Fault(kind="overloaded", status=529, message="busy", retry_after_s=3)
    _, usage, error = events(START, *words("x"), UsageReported(usage=Usage(input_tokens=3)), Failed(fault=fault))
    assert usage["usageMetadata"] == {"promptTokenCount": 3, "totalTokenCount": 3}
    assert error["error"]["code"] == 503
    assert error["error"]["status"] == "UNAVAILABLE"
    assert error["error"]["message"] == "busy"
    assert {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3s"} in error["error"]["details"]


# -------------------------------------------------------------------------------------------------------- JSON list
def test_a_call_without_sse_gets_one_list() -> None:
    written = b"".join(told(START, *words("a", "b"), ChoiceFinished(finish="stop"), Ended(), as_list=True))
    assert written.startswith(b"[{")
    assert b"},\r\n{" in written
    assert [parts(event) for event in json.loads(written)] == [[{"text": "a"}], [{"text": "b"}], [{"text": ""}]]


def test_a_list_is_closed_after_an_error_and_when_empty() -> None:
    fault = Fault(kind="server", status=500, message="no")
    assert json.loads(b"".join(told(Failed(fault=fault), as_list=True)))[0]["error"]["message"] == "no"
    assert Framing(as_list=True).end() == b"[]"
    assert Framing(as_list=False).end() == b""


def test_no_event_is_broken_by_what_readers_take_for_a_line_end() -> None:
    text = "a\u2028b\u2029c\x85d\ne\rf"
    written = b"".join(told(START, *words(text), ChoiceFinished(finish="stop"), Ended()))
    assert "\u2028" not in written.decode()
    lines = [line for line in written.decode().splitlines() if line]
    assert [line[:6] for line in lines] == ["data: "] * 2
    assert parts(json.loads(lines[0][6:])) == [{"text": text}]


def test_a_sign_of_life_is_no_event() -> None:
    assert laws.sse_frames([KEEP_ALIVE, *told(START, *words("a"))]) == laws.sse_frames(told(START, *words("a")))


# ---------------------------------------------------------------------------------------------------------- reading
def event(value: object) -> Event:
    return Event("", value if isinstance(value, bytes) else json.dumps(value).encode())


@pytest.mark.parametrize(
    "data", [b"no json", b"[]", b'"text"', b'{"candidates": 1}', b'{"candidates":[{"content":{"parts":[1]}}]}']
)
def test_an_unreadable_event_ends_the_stream(data: bytes) -> None:
    decoder = UPSTREAM.stream_decoder()
    (failed,) = decoder.feed(event(data))
    assert isinstance(failed, Failed)
    assert failed.fault.kind == "malformed"
    assert list(decoder.feed(event({"candidates": []}))) == []
    assert list(decoder.end()) == []


def test_nothing_at_all_is_a_cut() -> None:
    decoder = UPSTREAM.stream_decoder()
    assert list(decoder.feed(Event("", b""))) == []
    assert list(decoder.feed(Event("", b"[DONE]"))) == []
    (failed,) = decoder.end()
    assert isinstance(failed, Failed)
    assert failed.fault.kind == "cut"


def test_a_cut_stream_states_its_last_usage_before_it_fails() -> None:
    decoder = UPSTREAM.stream_decoder()
    usage = {"promptTokenCount": 5, "candidatesTokenCount": 1}
    deltas = list(
        decoder.feed(event({"candidates": [{"content": {"parts": [{"text": "a"}]}}], "usageMetadata": usage}))
    )
    assert not any(isinstance(delta, UsageReported) for delta in deltas)
    reported, failed = decoder.end()
    assert isinstance(reported, UsageReported)
    assert reported.usage == Usage(input_tokens=5, output_tokens=1)
    assert isinstance(failed, Failed)


def test_a_call_broken_off_in_the_middle_is_a_cut() -> None:
    decoder = UPSTREAM.stream_decoder()
    begun = {"functionCall": {"name": "f", "willContinue": True}}
    list(decoder.feed(event({"candidates": [{"content": {"parts": [begun]}, "finishReason": "STOP"}]})))
    assert isinstance(list(decoder.end())[-1], Failed)


def test_a_client_of_this_dialect_gets_an_answer_and_a_stream_that_say_the_same() -> None:
    """The whole answer and the stream of one foreign answer spell the same text, calls and finish."""
    deltas: list[Delta] = [
        START,
        *words("Let me", " see."),
        BlockOpened(block=1, part=ToolCall(id="a", name="f", arguments='{"x":1}')),
        BlockClosed(block=1),
        ChoiceFinished(finish="tool_calls"),
        Ended(),
    ]
    whole = json.loads(CLIENT.encode_response(fold("anthropic_messages", deltas), request=REQUEST))
    streamed = [part for one in events(*deltas) for part in parts(one)]
    text = "".join(part.get("text", "") for part in streamed)
    assert [{"text": text}, streamed[2]] == whole["candidates"][0]["content"]["parts"]
