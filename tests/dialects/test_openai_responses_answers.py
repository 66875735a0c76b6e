"""Answers of other dialects, told to clients of the Responses API: whole and streamed, as OpenAI's SDK reads them."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from msgspec import Raw
from openai import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response as SdkResponse
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter
from tests.dialects import laws

from wayport.core.errors import Fault
from wayport.core.usage import Usage
from wayport.dialects import neutral
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
    Image,
    LogprobsAdded,
    Media,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Request,
    Response,
    Started,
    Text,
    TokenLogprob,
    ToolCall,
    UsageReported,
)
from wayport.dialects.openai_responses import DIALECT
from wayport.wire import patch

EVENTS: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
CLIENT = laws.Subject(DIALECT).client
UPSTREAM = laws.Subject(DIALECT).upstream

USAGE = Usage(input_tokens=100, output_tokens=20, cache_read_tokens=30, cache_write_5m_tokens=7, reasoning_tokens=5)


def asked(**fields: Any) -> Request:
    body = {"model": "m", "input": "Hi", **fields}
    return CLIENT.decode_request(patch.split(json.dumps(body).encode()), {})


def told(deltas: Iterable[Delta], request: Request | None = None) -> list[dict[str, Any]]:
    """The events, each checked by the SDK and all of them accumulated by it."""
    encoder = CLIENT.stream_encoder(request=request, response_id="call-1", created=1795000000)
    written = b"".join(encoder.feed(delta) for delta in deltas)
    events = [json.loads(event.data) for event in laws.sse_frames([written])]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    state: ResponseStreamState[Any] = ResponseStreamState(input_tools=omit, text_format=omit)
    for event in events:
        if event["type"] != "response.failed":
            state.handle_event(EVENTS.validate_python(event))
    return events


def stream(*middle: Delta, finish: neutral.FinishReason = "stop") -> list[Delta]:
    return [
        Started(id="chatcmpl-9", model="other-model", created=5, dialect="openai_chat", extras={"odd": Raw(b"1")}),
        *middle,
        ChoiceFinished(finish=finish),
        UsageReported(usage=USAGE),
        Ended(),
    ]


def block(number: int, part: Part, *texts: str, close: bool = True) -> list[Delta]:
    opened: list[Delta] = [BlockOpened(block=number, part=part), *(BlockDelta(block=number, text=t) for t in texts)]
    return [*opened, BlockClosed(block=number)] if close else opened


def whole(*parts: Part, finish: neutral.FinishReason = "stop") -> dict[str, Any]:
    response = Response(
        dialect="openai_chat",
        id="call-1",
        model="other-model",
        created=5,
        choices=[Choice(parts=list(parts), finish=finish)],
        usage=USAGE,
        extras={"odd": Raw(b"1")},
    )
    value: dict[str, Any] = json.loads(CLIENT.encode_response(response))
    SdkResponse.model_validate(value)
    return value


def types(events: Sequence[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


# ------------------------------------------------------------------------------------------------------------- texts
def test_a_text_is_told_piece_by_piece_and_whole_at_the_end() -> None:
    events = told(stream(*block(0, Text(text=""), "It ", "is ", "high.")))
    assert types(events) == [
        "created", "in_progress", "output_item.added", "content_part.added", "output_text.delta", "output_text.delta",
        "output_text.delta", "output_text.done", "content_part.done", "output_item.done", "completed",
    ]  # fmt: skip
    final = events[-1]["response"]
    assert final["output"][0]["content"] == [
        {"type": "output_text", "annotations": [], "logprobs": [], "text": "It is high."}
    ]
    assert final["usage"] == {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 7},
        "output_tokens": 20,
        "output_tokens_details": {"reasoning_tokens": 5},
        "total_tokens": 120,
    }
    assert "odd" not in final
    assert final["id"] == "resp_call1"


def test_every_delta_is_told_at_once() -> None:
    encoder = CLIENT.stream_encoder(request=None, response_id="r", created=1)
    for delta in stream(*block(0, Text(text=""), "a", "b"), *block(1, ToolCall(id="c", name="f"), "{", "}")):
        written = encoder.feed(delta)
        if isinstance(delta, BlockDelta):
            assert json.dumps(delta.text).encode() in written


def test_texts_that_follow_one_another_share_a_message() -> None:
    parts: list[Part] = [
        Text(text="One."),
        Text(text="Two."),
        ToolCall(id="c1", name="f", arguments="{}"),
        Text(text="Three."),
    ]
    deltas = [delta for number, part in enumerate(parts) for delta in block(number, part)]
    for output in (told(stream(*deltas))[-1]["response"]["output"], whole(*parts)["output"]):
        assert [item["type"] for item in output] == ["message", "function_call", "message"]
        assert [part["text"] for part in output[0]["content"]] == ["One.", "Two."]


def test_whole_and_streamed_answers_are_the_same() -> None:
    parts: list[Part] = [
        Reasoning(text="Let me see.", signature="sig", issuer="anthropic"),
        Text(text="Here: ", citations=[Citation(kind="url", url="https://e.com", title="E")]),
        ToolCall(id="c1", name="f", arguments='{"a":1}'),
        ToolCall(id="c2", name="g", arguments="", kind="custom", namespace="ns"),
        Image(source=Media(kind="base64", value="iVBO", media_type="image/png")),
        Refusal(text="No more."),
    ]
    deltas = [delta for number, part in enumerate(parts) for delta in block(number, part)]
    streamed = told(stream(*deltas, finish="tool_calls"))[-1]["response"]
    at_once = whole(*parts, finish="tool_calls")
    assert streamed == at_once


def test_a_block_that_closes_with_more_than_was_told_is_caught_up() -> None:
    deltas: list[Delta] = [
        BlockOpened(block=0, part=Text(text="")),
        BlockDelta(block=0, text="It is"),
        BlockClosed(block=0, part=Text(text="It is high.", citations=[Citation(kind="url", url="https://e.com")])),
        BlockOpened(block=1, part=ToolCall(id="c1", name="f")),
        BlockClosed(block=1, part=ToolCall(id="c1", name="f", arguments="{}")),
    ]
    events = told(stream(*deltas))
    said = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    assert said == "It is high."
    assert "response.output_text.annotation.added" in [event["type"] for event in events]
    assert "".join(e["delta"] for e in events if e["type"] == "response.function_call_arguments.delta") == "{}"


def test_logprobs_of_a_chat_stream_stand_in_the_finished_text() -> None:
    tokens = [TokenLogprob(token="Hi", logprob=-0.5, top=[TokenLogprob(token="Ho", logprob=-1.5)])]
    events = told(stream(*block(0, Text(text=""), "Hi"), LogprobsAdded(tokens=tokens)))
    assert events[-1]["response"]["output"][0]["content"][0]["logprobs"] == [
        {
            "token": "Hi",
            "logprob": -0.5,
            "bytes": [72, 105],
            "top_logprobs": [{"token": "Ho", "logprob": -1.5, "bytes": [72, 111]}],
        }
    ]


# ------------------------------------------------------------------------------------------------------------- calls
def test_parallel_calls_are_told_as_they_come() -> None:
    one, two = ToolCall(id="c1", name="f"), ToolCall(id="c2", name="g")
    deltas = [
        *block(0, one, '{"a"', close=False),
        *block(1, two, "{", close=False),
        BlockDelta(block=0, text=":1}"),
        BlockDelta(block=1, text="}"),
        BlockClosed(block=0),
        BlockClosed(block=1),
    ]
    events = told(stream(*deltas, finish="tool_calls"))
    assert [(e["output_index"], e["delta"]) for e in events if e["type"].endswith("arguments.delta")] == [
        (0, '{"a"'), (1, "{"), (0, ":1}"), (1, "}"),
    ]  # fmt: skip
    output = events[-1]["response"]["output"]
    assert [(item["call_id"], item["arguments"], item["status"]) for item in output] == [
        ("c1", '{"a":1}', "completed"),
        ("c2", "{}", "completed"),
    ]
    assert len({item["id"] for item in output}) == 2


def test_a_text_may_go_on_while_a_call_is_open() -> None:
    deltas = [
        *block(0, Text(text=""), "a", close=False),
        *block(1, ToolCall(id="c1", name="f"), "{}"),
        BlockDelta(block=0, text="b"),
        BlockClosed(block=0),
    ]
    output = told(stream(*deltas))[-1]["response"]["output"]
    assert output[0]["content"][0]["text"] == "ab"
    assert output[1]["arguments"] == "{}"


def test_custom_calls_have_their_own_events() -> None:
    events = told(stream(*block(0, ToolCall(id="c1", name="sql", kind="custom"), "select ", "1")))
    assert [e["delta"] for e in events if e["type"] == "response.custom_tool_call_input.delta"] == ["select ", "1"]
    item = events[-1]["response"]["output"][0]
    assert (item["type"], item["input"]) == ("custom_tool_call", "select 1")
    assert item["id"].startswith("ctc_")


# ----------------------------------------------------------------------------------------------------------- thoughts
def back(output: list[dict[str, Any]]) -> list[Part]:
    """What comes of an answer's items when the client sends them with its next request."""
    request = asked(input=[{"role": "user", "content": "Hi"}, *output])
    return [part for message in request.messages if message.role == "assistant" for part in message.parts]


@pytest.mark.parametrize(
    "part",
    [
        Reasoning(text="Let me see.", signature="sig", issuer="anthropic"),
        Reasoning(redacted="xxx", issuer="anthropic"),
        Reasoning(text="Plain.", issuer=None),
        Reasoning(text="Half.", encrypted="gAAAA", id="rs_5", issuer="openai"),
    ],
    ids=["signed", "redacted", "plain", "encrypted"],
)
def test_thoughts_of_others_survive_the_client(part: Reasoning) -> None:
    deltas: list[Delta] = [
        BlockOpened(block=0, part=Reasoning(issuer=part.issuer, id=part.id)),
        *([BlockDelta(block=0, text=part.text[:3]), BlockDelta(block=0, text=part.text[3:])] if part.text else []),
        BlockDelta(block=0, signature=part.signature, redacted=part.redacted, encrypted=part.encrypted),
        BlockClosed(block=0),
        *block(1, Text(text="Yes.")),
    ]
    for output in (told(stream(*deltas))[-1]["response"]["output"], whole(part, Text(text="Yes."))["output"]):
        shown = [each["text"] for each in output[0]["summary"]]
        assert shown == ([part.text] if part.text else [])
        [again, *_] = back(output)
        assert isinstance(again, Reasoning)
        again.extras = None
        assert laws.plain(again) == laws.plain(part)


def test_thoughts_are_told_as_summary_parts() -> None:
    deltas: list[Delta] = [
        BlockOpened(block=0, part=Reasoning(summary=[])),
        BlockDelta(block=0, text="One.", summary_index=0),
        BlockDelta(block=0, text="Two.", summary_index=1),
        BlockClosed(block=0),
    ]
    events = told(stream(*deltas))
    assert types(events)[3:-2] == [
        "reasoning_summary_part.added", "reasoning_summary_text.delta", "reasoning_summary_text.done",
        "reasoning_summary_part.done", "reasoning_summary_part.added", "reasoning_summary_text.delta",
        "reasoning_summary_text.done", "reasoning_summary_part.done",
    ]  # fmt: skip
    assert [each["text"] for each in events[-1]["response"]["output"][0]["summary"]] == ["One.", "Two."]


def test_the_signature_on_a_call_survives_the_client() -> None:
    call = ToolCall(id="c1", name="f", arguments="{}", signature="Z2VtaW5p")
    late: list[Delta] = [
        BlockOpened(block=0, part=ToolCall(id="c1", name="f", arguments="{}")),
        BlockDelta(block=0, signature="Z2VtaW5p"),
        BlockClosed(block=0),
    ]
    for output in (
        whole(call)["output"],
        told(stream(*block(0, call)))[-1]["response"]["output"],
        told(stream(*late))[-1]["response"]["output"],
    ):
        assert sorted(item["type"] for item in output) == ["function_call", "reasoning"]
        [again] = back(output)
        assert isinstance(again, ToolCall)
        assert again.signature == "Z2VtaW5p"


def test_the_signature_on_a_text_survives_the_client() -> None:
    late: list[Delta] = [
        BlockOpened(block=0, part=Text(text="Hi")),
        BlockDelta(block=0, signature="Z2Vt"),
        BlockClosed(block=0),
    ]
    at_once = whole(Text(text="Hi", signature="Z2Vt"))["output"]
    assert at_once[-1]["type"] == "message", "who reads the last item finds the text"
    for output in (at_once, told(stream(*late))[-1]["response"]["output"]):
        [again] = back(output)
        assert isinstance(again, Text)
        assert (again.text, again.signature) == ("Hi", "Z2Vt")


def test_a_damaged_envelope_is_nobodys() -> None:
    item = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "WayportSeal1%%%"}
    [part] = back([item])
    assert isinstance(part, Reasoning)
    assert part.encrypted is None
    assert part.issuer is None


# --------------------------------------------------------------------------------------------- what only others have
def test_a_picture_stands_where_the_picture_tool_puts_its_own() -> None:
    picture = Image(source=Media(kind="base64", value="iVBORw0K", media_type="image/png"))
    deltas: list[Delta] = [
        BlockOpened(block=0, part=Image(source=Media(kind="base64", value="iVBO", media_type="image/png"))),
        BlockDelta(block=0, text="Rw0K"),
        BlockClosed(block=0),
    ]
    for output in (whole(picture)["output"], told(stream(*deltas))[-1]["response"]["output"]):
        assert output[0]["type"] == "image_generation_call"
        assert (output[0]["result"], output[0]["output_format"]) == ("iVBORw0K", "png")


def test_what_has_no_word_here_is_said_as_text_or_not_at_all() -> None:
    parts: list[Part] = [
        Image(source=Media(kind="url", value="https://e.com/a.png")),
        Audio(source=Media(kind="base64", value="UklG"), transcript="Spoken."),
        Opaque(dialect="anthropic_messages", raw=Raw(b"{}"), kind="x", text="Shown."),
        Opaque(dialect="gemini_content", raw=Raw(b"{}"), kind="y"),
    ]
    deltas = [delta for number, part in enumerate(parts) for delta in block(number, part)]
    for output in (whole(*parts)["output"], told(stream(*deltas))[-1]["response"]["output"]):
        texts = [part["text"] for item in output for part in item["content"]]
        assert texts == ["![image](https://e.com/a.png)", "Spoken.", "Shown."]


def test_citations_of_others_become_annotations() -> None:
    text = Text(
        text="Tall.",
        citations=[
            Citation(kind="url", url="https://e.com", title="E", start=1, end=3),
            Citation(kind="page", title="map.pdf", start=7, end=8),
            Citation(kind="search_result", url="https://s.com"),
        ],
    )
    [item] = whole(text)["output"]
    assert item["content"][0]["annotations"] == [
        {"type": "url_citation", "start_index": 1, "end_index": 3, "url": "https://e.com", "title": "E"},
        {"type": "file_citation", "file_id": "", "filename": "map.pdf", "index": 5},
        {"type": "url_citation", "start_index": 0, "end_index": 5, "url": "https://s.com", "title": ""},
    ]


# ------------------------------------------------------------------------------------------------------ how it ends
@pytest.mark.parametrize(
    ("finish", "status", "reason"),
    [
        ("stop", "completed", None),
        ("tool_calls", "completed", None),
        ("stop_sequence", "completed", None),
        ("pause", "completed", None),
        ("length", "incomplete", "max_output_tokens"),
        ("context_window", "incomplete", "max_output_tokens"),
        ("content_filter", "incomplete", "content_filter"),
        ("refusal", "incomplete", "content_filter"),
    ],
)
def test_finish_reasons(finish: neutral.FinishReason, status: str, reason: str | None) -> None:
    events = told(stream(*block(0, Text(text="Hi")), finish=finish))
    assert events[-1]["type"] == f"response.{status}"
    for final in (events[-1]["response"], whole(Text(text="Hi"), finish=finish)):
        assert final["status"] == status
        assert (final["incomplete_details"] or {}).get("reason") == reason
        cut = finish in ("length", "context_window")
        assert final["output"][0]["status"] == ("incomplete" if cut else "completed")


def test_a_refusal_that_is_said_is_a_complete_answer() -> None:
    events = told(stream(*block(0, Refusal(text=""), "No."), finish="refusal"))
    assert events[-1]["type"] == "response.completed"
    assert events[-1]["response"]["output"][0]["content"] == [{"type": "refusal", "refusal": "No."}]


def test_a_failure_is_told_in_both_events_that_clients_look_for() -> None:
    fault = Fault(kind="context_window", status=400, message="Too long.", param="input")
    begun: list[Delta] = stream(*block(0, Text(text="Hi")))[:-3]
    events = told([*begun, Failed(fault=fault)])
    assert types(events)[-2:] == ["error", "failed"]
    error, failed = events[-2:]
    assert error["error"]["code"] == error["code"] == failed["response"]["error"]["code"] == "context_length_exceeded"
    assert failed["response"]["status"] == "failed"
    assert failed["response"]["usage"] is None


def test_a_failure_before_the_start_still_has_a_start() -> None:
    events = told([Failed(fault=Fault(kind="overloaded", status=529, message="Later."))])
    assert types(events) == ["created", "error", "failed"]
    assert events[-1]["response"]["error"] == {"code": "server_is_overloaded", "message": "Later."}


@pytest.mark.parametrize("kind", ["rate_limit", "quota", "cut", "timeout", "malformed", "server", "content_policy"])
def test_a_failure_keeps_its_meaning(kind: Any) -> None:
    encoder = CLIENT.stream_encoder(request=None, response_id="r", created=1)
    written = encoder.feed(Failed(fault=Fault(kind=kind, status=0, message="Why.")))
    [*_, last] = laws.read_stream(laws.Subject(DIALECT), [written])
    assert isinstance(last, Failed)
    assert (last.fault.kind, last.fault.message) == (kind, "Why.")


def test_a_failed_answer_is_not_a_clean_one() -> None:
    body = json.dumps(
        {"id": "resp_1", "object": "response", "model": "m", "status": "failed", "output": [], "usage": None,
         "error": {"code": "server_error", "message": "Broken."}}
    ).encode()  # fmt: skip
    response = UPSTREAM.decode_response(body)
    assert response.choices[0].finish == "error"
    assert json.loads(CLIENT.encode_response(response)) == json.loads(body)


def test_a_body_that_is_no_response_is_refused() -> None:
    for body in (b"[]", b"{}", b"<html>", b'{"error":{"message":"no"}}', b'{"id":"x","output":{}}'):
        with pytest.raises(ValueError, match=r"."):
            UPSTREAM.decode_response(body)


# ----------------------------------------------------------------------------------------------- what is repeated
def test_the_response_repeats_the_request() -> None:
    tools = [{"type": "function", "name": "f", "description": "F.", "parameters": {"type": "object"}, "strict": True}]
    request = asked(
        instructions="Be brief.",
        tools=tools,
        tool_choice={"type": "function", "name": "f"},
        parallel_tool_calls=False,
        temperature=0.3,
        top_p=None,
        metadata={"a": "b"},
        max_output_tokens=50,
        text={"format": {"type": "json_object"}},
        reasoning={"effort": "low"},
        previous_response_id="resp_0",
        store=False,
        conversation="conv_1",
        user="u",
    )
    events = told(stream(*block(0, Text(text="Hi")), Annotated(model="exact-model", service_tier="flex")), request)
    response = Response(
        dialect="openai_chat", id="r", model="m", choices=[Choice(parts=[], finish="stop")], usage=USAGE
    )
    for final in (
        events[0]["response"],
        events[-1]["response"],
        json.loads(CLIENT.encode_response(response, request=request)),
    ):
        assert final["tools"] == tools
        assert final["tool_choice"] == {"type": "function", "name": "f"}
        assert final["parallel_tool_calls"] is False
        assert (final["temperature"], final["top_p"], final["max_output_tokens"]) == (0.3, None, 50)
        assert (final["instructions"], final["metadata"], final["user"]) == ("Be brief.", {"a": "b"}, "u")
        assert final["text"] == {"format": {"type": "json_object"}}
        assert (final["previous_response_id"], final["store"]) == ("resp_0", False)
        assert final["conversation"] == {"id": "conv_1"}
    assert (events[-1]["response"]["model"], events[-1]["response"]["service_tier"]) == ("exact-model", "flex")
    assert events[0]["response"]["status"] == "in_progress"


def test_pretty_printed_fields_do_not_break_events() -> None:
    body = json.dumps({"model": "m", "input": "Hi", "tools": [{"type": "shell", "x": "a\nb"}]}, indent=2).encode()
    request = CLIENT.decode_request(patch.split(body), {})
    events = told(stream(*block(0, Text(text="Hi"))), request)
    assert events[-1]["response"]["tools"] == [{"type": "shell", "x": "a\nb"}]


def test_a_service_tier_that_openai_does_not_know_is_not_told() -> None:
    response = Response(dialect="openai_chat", id="r", model="m", service_tier="on_demand")
    assert json.loads(CLIENT.encode_response(response))["service_tier"] == "default"
