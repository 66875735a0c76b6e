"""Turns kept for `previous_response_id`: what is kept, how it comes before a new request, how it is listed."""

import json
from typing import Any

import pytest
from msgspec import Raw
from openai.types.responses import ResponseItem
from openai.types.responses.response_item_list import ResponseItemList
from pydantic import TypeAdapter
from tests.dialects import laws

from wayport.dialects.openai_responses import DIALECT
from wayport.dialects.openai_responses_stored import (
    Turn,
    deleted,
    final_response,
    input_items,
    list_items,
    turn_of,
    with_references,
    with_turns,
)
from wayport.wire import patch

ITEMS: TypeAdapter[Any] = TypeAdapter(ResponseItem)


def fields(**body: Any) -> patch.Fields:
    return patch.split(json.dumps({"model": "m", **body}).encode())


def plain(raws: list[Raw]) -> list[Any]:
    return [json.loads(bytes(raw)) for raw in raws]


MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed",
           "content": [{"type": "output_text", "text": "Hello.", "annotations": []}]}  # fmt: skip
ANSWER = json.dumps({"id": "resp_1", "object": "response", "output": [MESSAGE]}).encode()


def test_a_turn_is_the_items_that_came_and_the_items_that_went() -> None:
    turn = turn_of(fields(input="Hi", instructions="Be brief."), ANSWER)
    assert plain(turn.input) == [
        {
            "id": "msg_1_1000",
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "Hi"}],
        }
    ]
    assert plain(turn.output) == [MESSAGE]


def test_items_get_the_ids_that_they_lack_and_keep_those_that_they_have() -> None:
    kept = plain(
        input_items(
            fields(
                input=[
                    {"role": "user", "content": "Hi"},
                    {"type": "message", "id": "msg_own", "role": "user", "content": "Ho"},
                    {"type": "function_call_output", "call_id": "c", "output": "ok"},
                    {"id": "rs_referred"},
                ]
            ),
            "resp_9",
        )
    )
    assert [(item["id"], item["type"]) for item in kept] == [
        ("msg_9_1000", "message"),
        ("msg_own", "message"),
        ("fco_9_1002", "function_call_output"),
        ("rs_referred", "item_reference"),
    ]
    assert input_items(fields(), "resp_9") == []
    with pytest.raises(ValueError, match=r"."):
        input_items(fields(input=5), "resp_9")


def test_earlier_turns_come_before_the_new_request() -> None:
    first = turn_of(fields(input="Hi"), ANSWER)
    second = Turn(input=[patch.encode({"type": "message", "role": "user", "content": "And?", "id": "m2"})], output=[])
    request = with_turns(fields(input="Now", previous_response_id="resp_1", instructions="New."), [first, second])
    assert "previous_response_id" not in request
    body = json.loads(patch.join(request))
    assert body["instructions"] == "New."
    assert [item["role"] for item in body["input"]] == ["user", "assistant", "user", "user"]
    client = laws.Subject(DIALECT).client
    assert [message.role for message in client.decode_request(request, {}).messages] == [
        "system", "user", "assistant", "user", "user",
    ]  # fmt: skip


def test_earlier_turns_and_no_new_input() -> None:
    request = with_turns(fields(previous_response_id="resp_1"), [turn_of(fields(input="Hi"), ANSWER)])
    assert len(json.loads(patch.join(request))["input"]) == 2


def test_references_become_the_items_that_are_known() -> None:
    known = {"msg_1": patch.encode(MESSAGE)}
    request = fields(
        input=[{"type": "item_reference", "id": "msg_1"}, {"id": "gone"}, {"role": "user", "content": "Hi"}]
    )
    body = json.loads(patch.join(with_references(request, known.get)))
    assert body["input"] == [MESSAGE, {"id": "gone"}, {"role": "user", "content": "Hi"}]
    plain_request = fields(input="Hi")
    assert with_references(plain_request, known.get) is plain_request
    untouched = fields(input=[{"role": "user", "content": "Hi"}])
    assert with_references(untouched, known.get) is untouched


def test_the_last_event_holds_the_answer() -> None:
    stream = laws.stream_bytes(laws.GOLDEN / "openai_responses" / "stream_parallel_calls")
    response = final_response(stream)
    assert response is not None
    turn = turn_of(fields(input="Hi"), response)
    assert [item["type"] for item in plain(turn.output)] == ["function_call", "function_call"]
    for early in stream.split(b"\n\n")[:-2]:
        assert final_response(early + b"\n\n") is None


def test_items_are_listed_in_pages() -> None:
    items = input_items(fields(input=[{"role": "user", "content": f"{number}"} for number in range(5)]), "resp_1")
    page = json.loads(list_items(items, limit=2))
    ResponseItemList.model_validate(page)
    assert [item["content"][0]["text"] for item in page["data"]] == ["4", "3"]
    assert (page["has_more"], page["first_id"], page["last_id"]) == (True, "msg_1_1004", "msg_1_1003")
    following = json.loads(list_items(items, limit=10, after=page["last_id"]))
    assert [item["content"][0]["text"] for item in following["data"]] == ["2", "1", "0"]
    assert following["has_more"] is False
    rising = json.loads(list_items(items, order="asc"))
    assert [item["id"] for item in rising["data"]] == [f"msg_1_100{number}" for number in range(5)]
    assert json.loads(list_items(items, after="unknown"))["data"] == []
    assert json.loads(list_items([]))["first_id"] is None


@laws.each("openai_responses", "request.json")
def test_every_kept_item_is_listed_as_the_sdk_knows_it(case: Any) -> None:
    body = patch.split((case / "request.json").read_bytes())
    kept = input_items(body, "resp_1")
    listed = json.loads(list_items(kept, limit=100, order="asc"))["data"]
    assert len(listed) == len(kept)
    for item in listed:
        assert item["id"]
        if item["type"] == "message" and item["role"] == "assistant":
            ITEMS.validate_python(item)


def test_deleting_is_answered() -> None:
    assert json.loads(deleted("resp_1")) == {"id": "resp_1", "object": "response", "deleted": True}
