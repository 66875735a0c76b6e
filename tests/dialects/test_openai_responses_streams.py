"""Streams of careless Responses upstreams: what is missing is made up for, what cannot be read is a failure."""

import json
from typing import Any

import pytest
from tests.dialects import laws

from wayport.dialects.neutral import (
    BlockDelta,
    Delta,
    Ended,
    Failed,
    Opaque,
    Part,
    Pinged,
    Reasoning,
    Refusal,
    Response,
    Started,
    Text,
    ToolCall,
    Unknown,
)
from wayport.dialects.openai_responses import DIALECT
from wayport.dialects.openai_responses_seals import seal_call, seal_reasoning, seal_text

SUBJECT = laws.Subject(DIALECT)
CREATED = {
    "type": "response.created",
    "response": {"id": "resp_1", "model": "m", "created_at": 5, "status": "in_progress"},
}


def read(*events: dict[str, Any] | bytes) -> list[Delta]:
    stream = b"".join(
        each if isinstance(each, bytes) else f"event: {each['type']}\ndata: {json.dumps(each)}\n\n".encode()
        for each in events
    )
    deltas = laws.read_stream(SUBJECT, [stream])
    laws.assert_well_formed(deltas)
    return deltas


def completed(*output: dict[str, Any], status: str = "completed") -> dict[str, Any]:
    response = {"id": "resp_1", "model": "m", "created_at": 5, "status": status, "output": list(output)}
    return {"type": f"response.{status}", "response": response}


def parts(deltas: list[Delta]) -> list[Part]:
    whole, fault = laws.folded(SUBJECT, deltas)
    assert isinstance(whole, Response)
    assert fault is None
    return whole.choices[0].parts


def text(words: str, item_id: str = "msg_1") -> dict[str, Any]:
    content = [{"type": "output_text", "text": words, "annotations": []}]
    return {"id": item_id, "type": "message", "role": "assistant", "status": "completed", "content": content}


def test_events_find_their_item_by_id_where_the_number_is_wrong() -> None:
    call = {"id": "fc_1", "type": "function_call", "call_id": "c", "name": "f", "arguments": ""}
    done = {**call, "arguments": "{}"}
    deltas = read(
        CREATED,
        {"type": "response.output_item.added", "output_index": 0, "item": {**text(""), "content": []}},
        {"type": "response.output_item.added", "output_index": 1, "item": call},
        {"type": "response.function_call_arguments.delta", "output_index": 0, "item_id": "fc_1", "delta": "{}"},
        {"type": "response.output_text.delta", "item_id": "msg_1", "content_index": 0, "delta": "Hi"},
        completed(text("Hi"), done),
    )
    call_part, text_part = parts(deltas)
    assert isinstance(call_part, ToolCall)
    assert isinstance(text_part, Text)
    assert (call_part.arguments, text_part.text) == ("{}", "Hi")


def test_a_part_that_was_told_in_half_is_told_to_its_end() -> None:
    deltas = read(
        CREATED,
        {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "It "},
        completed(text("It is high.")),
    )
    assert [delta.text for delta in deltas if isinstance(delta, BlockDelta)] == ["It ", "is high."]
    [part] = parts(deltas)
    assert isinstance(part, Text)
    assert part.text == "It is high."


def test_an_unannounced_refusal() -> None:
    deltas = read(
        CREATED,
        {"type": "response.refusal.delta", "output_index": 0, "content_index": 0, "delta": "No."},
        completed(),
    )
    [part] = parts(deltas)
    assert isinstance(part, Refusal)
    assert part.text == "No."


def test_items_of_another_kind_at_the_end_close_nothing() -> None:
    deltas = read(
        CREATED,
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {"id": "rs_1", "type": "reasoning", "summary": []},
        },
        {"type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 0, "delta": "Hm."},
        completed(text("Hi")),
    )
    [part] = parts(deltas)
    assert isinstance(part, Reasoning)
    assert part.summary == ["Hm."]


def test_signs_of_life_come_through() -> None:
    deltas = read({"type": "keepalive"}, CREATED, {"type": "response.heartbeat"}, completed())
    assert [type(delta) for delta in deltas if not isinstance(delta, Started)][:2] == [Pinged, Pinged]


def test_unknown_events_wait_for_the_start() -> None:
    deltas = read({"type": "response.odd"}, CREATED, {"type": "response.odd", "output_index": 7}, completed())
    assert [delta.name for delta in deltas if isinstance(delta, Unknown)] == ["response.odd"]


def test_a_stream_that_was_never_created_still_has_a_start() -> None:
    deltas = read({"type": "response.output_item.done", "output_index": 0, "item": text("Hi")}, completed(text("Hi")))
    assert isinstance(deltas[0], Started)
    assert isinstance(deltas[-1], Ended)


def test_nothing_after_the_end_is_read() -> None:
    deltas = read(CREATED, completed(text("Hi")), {"type": "error", "message": "late"}, b"data: [DONE]\n\n")
    assert isinstance(deltas[-1], Ended)
    deltas = read(CREATED, b"data: [DONE]\n\n")
    assert isinstance(deltas[-1], Failed)
    assert deltas[-1].fault.kind == "cut"


@pytest.mark.parametrize(
    "event",
    [
        b"event: response.output_text.delta\ndata: {oops\n\n",
        b"data: <html>\n\n",
        b'event: response.output_item.added\ndata: {"output_index":0,"item":{"id":"x"}}\n\n',
        b'event: response.output_item.added\ndata: {"output_index":0,"item":{"type":"function_call"}}\n\n',
        b'event: response.completed\ndata: {"response":{"output":{}}}\n\n',
    ],
)
def test_what_cannot_be_read_is_a_failure(event: bytes) -> None:
    deltas = read(CREATED, event, completed(text("Hi")))
    assert isinstance(deltas[-1], Failed)
    assert deltas[-1].fault.kind == "malformed"


def test_lifecycle_events_without_a_response_say_nothing() -> None:
    deltas = read(CREATED, {"type": "response.in_progress"}, completed())
    assert sum(isinstance(delta, Started) for delta in deltas) == 1


def test_a_failed_response_states_its_usage() -> None:
    failed = completed(status="failed")
    failed["response"] |= {
        "usage": {"input_tokens": 3, "output_tokens": 1},
        "error": {"code": "slow_down", "message": "Wait."},
    }
    deltas = read(CREATED, failed)
    whole, fault = laws.folded(SUBJECT, deltas)
    assert whole is not None
    assert whole.usage is not None
    assert whole.usage.input_tokens == 3
    assert (fault.kind, fault.message) == ("overloaded", "Wait.")


def test_an_error_that_is_only_a_text() -> None:
    deltas = read(CREATED, {"type": "error", "error": "broken"})
    assert isinstance(deltas[-1], Failed)
    assert deltas[-1].fault.message == "broken"


def test_envelopes_of_another_gateway_are_opened() -> None:
    signed = Reasoning(text="Hm.", signature="sig", issuer="anthropic")
    call = {"id": "fc_1", "type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}

    def thought(item_id: str, sealed: str, *summary: str) -> dict[str, Any]:
        shown = [{"type": "summary_text", "text": each} for each in summary]
        return {"id": item_id, "type": "reasoning", "summary": shown, "encrypted_content": sealed}

    output = [
        thought("rs_1", seal_reasoning(signed), "Hm."),
        thought("rs_2", seal_call(ToolCall(id="c", name="f", signature="g"))),
        call,
        thought("rs_3", seal_text("t", "next")),
        text("Hi"),
    ]
    items = [{"type": "response.output_item.done", "output_index": n, "item": item} for n, item in enumerate(output)]
    told = parts(read(CREATED, *items, completed(*output)))
    whole = SUBJECT.upstream.decode_response(json.dumps(completed(*output)["response"]).encode()).choices[0].parts
    for found in (told, whole):
        thoughts = [part for part in found if isinstance(part, Reasoning)]
        assert (thoughts[0].text, thoughts[0].signature, thoughts[0].issuer) == ("Hm.", "sig", "anthropic")
        assert [part.signature for part in found if isinstance(part, ToolCall | Text)] == ["g", "t"]


def test_messages_with_content_that_nobody_knows_are_kept_whole() -> None:
    item = {**text("Hi"), "content": [{"type": "output_text", "text": "Hi"}, {"type": "hologram"}]}
    [part] = parts(read(CREATED, completed(item)))
    assert isinstance(part, Opaque)
    assert (part.kind, part.text) == ("message", "Hi")
