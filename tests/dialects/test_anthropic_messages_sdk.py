"""Every type of the official SDK's unions has a golden case, and what we write is what the SDK's types say."""

import json
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import pydantic
import pytest
from anthropic import types as stable
from anthropic.types import beta, message_create_params, tool_result_block_param
from anthropic.types.beta import message_create_params as beta_create_params
from tests.dialects import anthropic_sdk, laws

from wayport.dialects import neutral
from wayport.dialects.anthropic_messages import DIALECT
from wayport.dialects.neutral import Started
from wayport.dialects.openai_chat_control import is_control
from wayport.wire import patch, sse

SUBJECT = laws.Subject(DIALECT)


# ------------------------------------------------------------------------------------------------- what the SDK knows
def members(union: Any) -> Iterator[Any]:
    origin = typing.get_origin(union)
    if origin is typing.Annotated or origin is typing.Required:
        yield from members(typing.get_args(union)[0])
    elif typing.get_args(union) and origin is not typing.Literal:
        for inner in typing.get_args(union):
            yield from members(inner)
    else:
        yield union


def words(member: Any) -> set[str]:
    """The values of a member's `type`."""
    if issubclass(member, pydantic.BaseModel):
        hint = member.model_fields["type"].annotation
    else:
        hint = typing.get_type_hints(member, include_extras=True)["type"]
    return {
        word
        for literal in members(hint)
        if typing.get_origin(literal) is typing.Literal
        for word in typing.get_args(literal)
    }


def types_of(union: Any) -> set[str]:
    found = {word for member in members(union) if isinstance(member, type) for word in words(member)}
    assert found, union
    return found


# ----------------------------------------------------------------------------------------- what the golden files show
def golden(name: str) -> Iterator[Any]:
    for case in laws.cases("anthropic_messages", name):
        yield json.loads((case / name).read_bytes())


def events() -> Iterator[dict[str, Any]]:
    for case in laws.cases("anthropic_messages", "stream.sse"):
        for event in laws.sse_frames([(case / "stream.sse").read_bytes()]):
            yield json.loads(event.data)


def request_blocks() -> Iterator[dict[str, Any]]:
    for request in golden("request.json"):
        for message in request["messages"]:
            if isinstance(message["content"], list):
                yield from message["content"]


def types_in(values: Any) -> set[str]:
    return {value["type"] for value in values if isinstance(value, dict) and value.get("type")}


def test_every_block_of_a_request_has_a_case() -> None:
    shown = types_in(request_blocks())
    assert types_of(stable.ContentBlockParam) - shown == set()
    assert types_of(beta.BetaContentBlockParam) - shown == set()
    assert types_of(beta.beta_system_message_param.ContentBlock) - shown == set()


def test_everything_in_a_tool_result_has_a_case() -> None:
    inside = [
        block
        for result in request_blocks()
        if result["type"] == "tool_result" and isinstance(result.get("content"), list)
        for block in result["content"]
    ]
    assert types_of(tool_result_block_param.Content) - types_in(inside) == set()


def test_every_source_of_media_has_a_case() -> None:
    blocks = list(request_blocks())
    images = types_in(block["source"] for block in blocks if block["type"] == "image")
    documents = types_in(block["source"] for block in blocks if block["type"] == "document")
    assert types_of(stable.image_block_param.Source) - images == set()
    assert types_of(stable.document_block_param.Source) - documents == set()
    assert types_of(beta.beta_request_document_block_param.Source) - documents == set()


def test_every_tool_has_a_case() -> None:
    shown = types_in(tool for request in golden("request.json") for tool in request.get("tools", []))
    assert types_of(stable.ToolUnionParam) - shown - {"tool_search_tool_bm25", "tool_search_tool_regex"} == set()
    assert types_of(beta.BetaToolUnionParam) - shown - {"tool_search_tool_bm25", "tool_search_tool_regex"} == set()


@pytest.mark.parametrize(
    ("field", "union"),
    [
        ("tool_choice", stable.ToolChoiceParam),
        ("tool_choice", beta.BetaToolChoiceParam),
        ("thinking", stable.ThinkingConfigParam),
        ("thinking", beta.BetaThinkingConfigParam),
    ],
)
def test_every_choice_has_a_case(field: str, union: Any) -> None:
    assert types_of(union) - types_in(request.get(field) for request in golden("request.json")) == set()


def test_every_parameter_has_a_case() -> None:
    shown = {name for request in golden("request.json") for name in request}
    known = {
        name
        for params in (message_create_params, beta_create_params)
        for name in typing.get_type_hints(params.MessageCreateParamsBase)
    }
    # `betas` and `workspace_id` travel as headers.
    assert known - shown - {"betas", "workspace_id"} == set()


def test_no_parameter_of_the_sdk_is_taken_for_the_gateways_own() -> None:
    known = {
        name
        for params in (message_create_params, beta_create_params)
        for name in typing.get_type_hints(params.MessageCreateParamsBase)
    }
    # Lists of names are a gateway's, objects with a model are Anthropic's: looked at, see the passthrough's tests.
    assert {name for name in known if is_control(name)} == {"fallbacks"}


def test_every_block_of_an_answer_has_a_case() -> None:
    whole = types_in(block for response in golden("response.json") for block in response["content"])
    begun = types_in(event["content_block"] for event in events() if event["type"] == "content_block_start")
    for union in (stable.ContentBlock, beta.BetaContentBlock):
        assert types_of(union) - whole == set()
        assert types_of(union) - begun == set()


def test_every_citation_has_a_case() -> None:
    sent = types_in(
        cite for block in request_blocks() if block["type"] == "text" for cite in block.get("citations") or []
    )
    whole = types_in(
        cite
        for response in golden("response.json")
        for block in response["content"]
        if block["type"] == "text"
        for cite in block.get("citations") or []
    )
    told = types_in(event["delta"].get("citation") for event in events() if event["type"] == "content_block_delta")
    for union, shown in (
        (stable.TextCitationParam, sent),
        (beta.BetaTextCitationParam, sent),
        (stable.TextCitation, whole),
        (beta.BetaTextCitation, whole),
        (stable.TextCitation, told),
    ):
        assert types_of(union) - shown == set()


def test_every_event_and_delta_has_a_case() -> None:
    assert types_of(stable.RawMessageStreamEvent) | types_of(beta.BetaRawMessageStreamEvent) <= types_in(events())
    deltas = types_in(event["delta"] for event in events() if event["type"] == "content_block_delta")
    assert types_of(stable.RawContentBlockDelta) | types_of(beta.BetaRawContentBlockDelta) <= deltas
    assert {"ping", "error"} <= types_in(events())


def test_every_stop_reason_has_a_case() -> None:
    shown = {response["stop_reason"] for response in golden("response.json")}
    known = {*typing.get_args(stable.StopReason), *typing.get_args(beta.BetaStopReason)}
    assert known - shown == set()


def test_every_error_has_a_case() -> None:
    shown = {case["fault"].get("type") for case in golden("error.json")}
    assert types_of(stable.ErrorObject) - shown == set()


# ----------------------------------------------------------------------------------------------- what the SDK accepts
# These show what is not in the SDK (yet): fields and types to come, and what only older versions knew.
TO_COME = {
    "request_tool_choice_to_come",
    "request_images",
    "request_server_tools",
    "request_output_format_of_old",
    "request_every_other_field",
    # Here pydantic takes a word for an iterable of letters.
    "request_fallbacks_by_word",
}


KNOWN = [case for case in laws.cases("anthropic_messages", "request.json") if case.name not in TO_COME]


@pytest.mark.parametrize("case", KNOWN, ids=lambda case: case.name)
def test_what_goes_upstream_is_what_the_sdk_would_send(case: Path) -> None:
    assert DIALECT.client is not None
    assert DIALECT.upstream is not None
    request = DIALECT.client.decode_request(patch.split((case / "request.json").read_bytes()), {})
    body = json.loads(DIALECT.upstream.encode_request(request, laws.profile_of(case)).body)
    anthropic_sdk.accept(body)


def test_the_check_against_the_sdk_sees_what_is_deep_inside() -> None:
    wrong = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": [{"type": "text", "text": 7}]}]}
    with pytest.raises(pydantic.ValidationError):
        anthropic_sdk.accept(wrong)


# ----------------------------------------------------------------------------------------------- what the SDK collects
@laws.each("anthropic_messages", "response.json")
def test_the_sdk_collects_the_same_from_a_stream_as_from_a_whole(case: Path) -> None:
    whole = SUBJECT.upstream.decode_response((case / "response.json").read_bytes())
    told = laws.write_stream(SUBJECT, neutral.unfold(whole), whole)
    got = anthropic_sdk.collect(told)
    expected = anthropic_sdk.receive(SUBJECT.client.encode_response(whole))
    for body in (got, expected):
        for block in body["content"]:
            block.pop("parsed_output", None)
            # The SDK collects no server blocks' fields that it does not know.
            if block["type"] == "text" and not block.get("citations"):
                block.pop("citations", None)
    # A relabelled model and an absent answer are the SDK's own touches.
    for name in ("model", "stop_details", "container"):
        got.pop(name, None)
        expected.pop(name, None)
    laws.assert_same(expected, got, f"what the SDK collects of {case.name}")


@laws.each("anthropic_messages", "stream.sse")
def test_the_sdk_reads_every_stream_we_tell(case: Path) -> None:
    deltas = laws.read_stream(SUBJECT, [(case / "stream.sse").read_bytes()])
    whole, fault = laws.folded(SUBJECT, deltas)
    if whole is None:
        return
    told = laws.write_stream(SUBJECT, deltas, whole)
    if fault is not None:
        with pytest.raises(anthropic.APIStatusError, match=fault.message):
            anthropic_sdk.collect(told)
        return
    got = anthropic_sdk.collect(told)
    text = (
        "".join(part.text for part in whole.choices[0].parts if isinstance(part, neutral.Text)) if whole.choices else ""
    )
    assert "".join(block["text"] for block in got["content"] if block["type"] == "text") == text
    assert whole.usage is not None
    assert got["usage"]["output_tokens"] == whole.usage.output_tokens


def test_indexes_rise_from_nought_and_every_block_is_closed() -> None:
    for case in laws.cases("anthropic_messages", "response.json"):
        whole = SUBJECT.upstream.decode_response((case / "response.json").read_bytes())
        told = laws.write_stream(SUBJECT, neutral.unfold(whole), whole)
        seen = [json.loads(sse.parse(raw).data) for raw in sse.Splitter().feed(told)]
        begun = [event["index"] for event in seen if event["type"] == "content_block_start"]
        ended = [event["index"] for event in seen if event["type"] == "content_block_stop"]
        assert begun == list(range(len(begun)))
        assert sorted(ended) == begun
        assert [event["type"] for event in seen[-2:]] == ["message_delta", "message_stop"]


def test_a_stream_says_what_it_carries() -> None:
    whole = SUBJECT.upstream.decode_response(b'{"type":"message","id":"m","model":"x","content":[],"usage":{}}')
    first = next(iter(neutral.unfold(whole)))
    assert isinstance(first, Started)
    assert first.dialect == "anthropic_messages"
