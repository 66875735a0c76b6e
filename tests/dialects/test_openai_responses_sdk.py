"""The golden files know every kind of item, tool, choice, part, annotation and event that OpenAI's own SDK knows, and the
SDK reads every stream that is told.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from openai import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types import responses as sdk
from openai.types.responses import response_create_params, response_output_message, response_output_text
from openai.types.responses.response_create_params import ResponseCreateParams
from openai.types.responses.response_includable import ResponseIncludable
from pydantic import BaseModel, TypeAdapter
from tests.dialects import laws

from wayport.dialects.openai_responses import DIALECT
from wayport.wire.openai_responses import OWN_FIELDS

SUBJECT = laws.Subject(DIALECT)
REQUESTS: TypeAdapter[Any] = TypeAdapter(ResponseCreateParams)

# Where each kind stands in the golden files, by its type word.
INPUT_ITEMS = {
    **dict.fromkeys(("message",), "request_messages"),
    **dict.fromkeys(
        (
            "function_call",
            "function_call_output",
            "custom_tool_call",
            "custom_tool_call_output",
            "reasoning",
        ),
        "request_tool_turn",
    ),
    **dict.fromkeys(
        (
            "additional_tools",
            "apply_patch_call",
            "apply_patch_call_output",
            "code_interpreter_call",
            "compaction",
            "compaction_trigger",
            "computer_call",
            "computer_call_output",
            "configuration_update",
            "file_search_call",
            "image_generation_call",
            "item_reference",
            "local_shell_call",
            "local_shell_call_output",
            "mcp_approval_request",
            "mcp_approval_response",
            "mcp_call",
            "mcp_list_tools",
            "program",
            "program_output",
            "shell_call",
            "shell_call_output",
            "tool_search_call",
            "tool_search_output",
            "web_search_call",
        ),
        "request_server_items",
    ),
}
OUTPUT_ITEMS = {
    **{kind: "answer_server_items" for kind in INPUT_ITEMS if kind not in ("compaction_trigger", "item_reference")},
    "message": "answer_text",
    "reasoning": "answer_thoughts",
    "function_call": "answer_calls",
    "custom_tool_call": "answer_custom_call",
}
# `configuration_update` is input only.
del OUTPUT_ITEMS["configuration_update"]
TOOLS = (
    "apply_patch", "code_interpreter", "computer", "computer_use_preview", "custom", "file_search", "function",
    "image_generation", "local_shell", "mcp", "namespace", "programmatic_tool_calling", "shell", "tool_search",
    "web_search", "web_search_preview",
)  # fmt: skip
# Dated names of the same tools: read as any other.
DATED_TOOLS = frozenset({"web_search_2025_08_26", "web_search_preview_2025_03_11"})
CHOICES = {
    "allowed_tools": "choice_allowed",
    "apply_patch": "choice_apply_patch",
    "custom": "choice_custom",
    "file_search": "choice_hosted",
    "function": "choice_function",
    "mcp": "choice_mcp",
    "programmatic_tool_calling": "choice_programmatic",
    "shell": "choice_shell",
}
# Hosted tools are all chosen alike: by their type.
CHOSEN_LIKE_FILE_SEARCH = frozenset(
    {"code_interpreter", "computer", "computer_use", "computer_use_preview", "image_generation", "web_search_preview",
     "web_search_preview_2025_03_11"}
)  # fmt: skip
EVENT_CASES = {
    "stream_text": ("response.created", "response.in_progress", "response.output_item.added", "response.output_item.done",
                    "response.content_part.added", "response.content_part.done", "response.output_text.delta",
                    "response.output_text.done", "response.output_text.annotation.added", "response.completed"),
    "stream_queued": ("response.queued",),
    "stream_refusal": ("response.refusal.delta", "response.refusal.done"),
    "stream_parallel_calls": ("response.function_call_arguments.delta", "response.function_call_arguments.done"),
    "stream_custom_call": ("response.custom_tool_call_input.delta", "response.custom_tool_call_input.done"),
    "stream_summary": ("response.reasoning_summary_part.added", "response.reasoning_summary_part.done",
                       "response.reasoning_summary_text.delta", "response.reasoning_summary_text.done"),
    "stream_raw_thoughts": ("response.reasoning_text.delta", "response.reasoning_text.done"),
    "stream_searches": ("response.web_search_call.in_progress", "response.web_search_call.searching",
                        "response.web_search_call.completed", "response.file_search_call.in_progress",
                        "response.file_search_call.searching", "response.file_search_call.completed"),
    "stream_code_interpreter": ("response.code_interpreter_call.in_progress", "response.code_interpreter_call.interpreting",
                                "response.code_interpreter_call.completed", "response.code_interpreter_call_code.delta",
                                "response.code_interpreter_call_code.done"),
    "stream_image_generation": ("response.image_generation_call.in_progress",
                                "response.image_generation_call.generating",
                                "response.image_generation_call.partial_image",
                                "response.image_generation_call.completed"),
    "stream_mcp": ("response.mcp_list_tools.in_progress", "response.mcp_list_tools.completed",
                   "response.mcp_list_tools.failed", "response.mcp_call.in_progress", "response.mcp_call.completed",
                   "response.mcp_call.failed", "response.mcp_call_arguments.delta", "response.mcp_call_arguments.done"),
    "stream_shell": ("response.shell_call_command.added", "response.shell_call_command.delta",
                     "response.shell_call_command.done", "response.shell_call_output_content.delta",
                     "response.shell_call_output_content.done", "response.compaction.compacting"),
    "stream_unknown_events": ("response.audio.delta", "response.audio.done", "response.audio.transcript.delta",
                              "response.audio.transcript.done"),
    "stream_incomplete": ("response.incomplete",),
    "stream_failed": ("response.failed",),
    "stream_error": ("error",),
}  # fmt: skip


def golden(case: str, file: str) -> Any:
    return json.loads((laws.GOLDEN / "openai_responses" / case / file).read_bytes())


def events(stream: bytes) -> list[dict[str, Any]]:
    return [json.loads(event.data) for event in laws.sse_frames([stream])]


# ------------------------------------------------------------------------------------------------------- the SDK's list
def members(union: Any) -> Iterator[Any]:
    """The types of a union, aliases opened."""
    arguments = [each for each in get_args(union) if each is not type(None)]
    if isinstance(union, type) or not arguments or get_origin(union) in (list, dict):
        yield union
        return
    # Annotated[Union[…], …] has its metadata behind the union.
    for each in arguments[:1] if hasattr(union, "__metadata__") else arguments:
        yield from members(each)


def literals(annotation: Any) -> Iterator[str]:
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
        return
    for each in get_args(annotation):
        yield from literals(each)


def type_words(union: Any) -> set[str]:
    """Every value that `type` may have in a union of the SDK."""
    words: set[str] = set()
    for member in members(union):
        if isinstance(member, type) and issubclass(member, BaseModel):
            words.update(literals(member.model_fields["type"].annotation))
        elif hasattr(member, "__annotations__"):
            words.update(literals(get_type_hints(member, include_extras=True)["type"]))
    return words


def test_every_input_item_has_a_golden_case() -> None:
    assert type_words(sdk.ResponseInputItemParam) == set(INPUT_ITEMS)
    for kind, case in INPUT_ITEMS.items():
        items = golden(case, "request.json")["input"]
        assert any(item.get("type", "message") == kind for item in items), f"{kind} is not in {case}"


def test_every_output_item_has_a_golden_case() -> None:
    assert type_words(sdk.ResponseOutputItem) == set(OUTPUT_ITEMS)
    for kind, case in OUTPUT_ITEMS.items():
        assert any(item["type"] == kind for item in golden(case, "response.json")["output"]), f"{kind}: {case}"


def test_every_tool_has_a_golden_case() -> None:
    assert type_words(sdk.ToolParam) == set(TOOLS) | DATED_TOOLS
    found = {tool["type"] for tool in golden("request_tools", "request.json")["tools"]}
    assert set(TOOLS) <= found


def test_every_tool_choice_has_a_golden_case() -> None:
    objects = type_words(response_create_params.ToolChoice) - {"auto", "none", "required"}
    assert objects == set(CHOICES) | CHOSEN_LIKE_FILE_SEARCH
    for kind, case in CHOICES.items():
        assert golden(case, "request.json")["tool_choice"]["type"] == kind
    assert golden("choice_none", "request.json")["tool_choice"] == "none"
    assert golden("choice_required", "request.json")["tool_choice"] == "required"
    assert golden("request_tools", "request.json")["tool_choice"] == "auto"


def test_every_content_part_has_a_golden_case() -> None:
    messages = golden("request_messages", "request.json")["input"]
    found = {part["type"] for item in messages if isinstance(item["content"], list) for part in item["content"]}
    wanted = type_words(sdk.ResponseInputContentParam) | type_words(response_output_message.Content) | {"input_audio"}
    assert wanted <= found


def test_every_annotation_has_a_golden_case() -> None:
    wanted = type_words(response_output_text.Annotation)
    written = golden("answer_text", "response.json")["output"][0]["content"][0]["annotations"]
    assert {each["type"] for each in written} == wanted
    told = events((laws.GOLDEN / "openai_responses" / "stream_text" / "stream.sse").read_bytes())
    assert {each["annotation"]["type"] for each in told if "annotation" in each} == wanted


def test_every_event_has_a_golden_case() -> None:
    listed = {kind for kinds in EVENT_CASES.values() for kind in kinds}
    assert type_words(sdk.ResponseStreamEvent) == listed
    for case, kinds in EVENT_CASES.items():
        told = {
            event["type"] for event in events((laws.GOLDEN / "openai_responses" / case / "stream.sse").read_bytes())
        }
        assert set(kinds) <= told, f"{case} lacks {set(kinds) - told}"


def test_every_parameter_has_a_golden_case() -> None:
    known = get_type_hints(response_create_params.ResponseCreateParamsNonStreaming)
    used: set[str] = set()
    for case in laws.cases("openai_responses", "request.json"):
        body = json.loads((case / "request.json").read_bytes())
        used |= {name for name, value in body.items() if value is not None}
    assert set(known) <= used
    assert "reasoning.encrypted_content" in get_args(ResponseIncludable)


# ---------------------------------------------------------------------------------------------- the SDK reads streams
# The SDK does not know these.
UNKNOWN_EVENTS = frozenset({"response.from_the_future", "keepalive"})


def classes() -> dict[str, Any]:
    return {word: member for member in members(sdk.ResponseStreamEvent) for word in type_words(member)}


def accumulated(told: Iterable[dict[str, Any]]) -> list[Any]:
    """The events as the SDK understands them, strictly and as its own accumulator."""
    state: ResponseStreamState[Any] = ResponseStreamState(input_tools=omit, text_format=omit)
    known = classes()
    understood = []
    for event in told:
        if event["type"] in UNKNOWN_EVENTS:
            continue
        understood.append(known[event["type"]].model_validate(listed_code(event)))
        state.handle_event(understood[-1])
    return understood


def listed_code(event: dict[str, Any]) -> dict[str, Any]:
    """OpenAI sends codes that its SDK does not list (`context_length_exceeded`), and the SDK lets them pass."""
    if event["type"] != "response.failed":
        return event
    return {**event, "response": {**event["response"], "error": {"code": "server_error", "message": "…"}}}


@laws.each("openai_responses", "stream.sse")
def test_the_sdk_reads_every_stream_told_again(case: Path) -> None:
    deltas = laws.read_stream(SUBJECT, [laws.stream_bytes(case)])
    whole, _ = laws.folded(SUBJECT, deltas)
    assert whole is not None
    told = events(laws.write_stream(SUBJECT, deltas, whole))
    assert [event["sequence_number"] for event in told] == list(range(len(told)))
    assert told[0]["type"] == "response.created"
    assert_ids_hold(told)
    last = accumulated(told)[-1]
    assert last.response.id == whole.id


def assert_ids_hold(told: list[dict[str, Any]]) -> None:
    """An item has one id and one index in all events that name it, and stands so in the whole answer."""
    ids: dict[Any, str] = {}
    for event in told:
        index = event.get("output_index")
        if event["type"] == "response.output_item.added":
            assert index == len(ids), "items are numbered in order"
            ids[index] = event["item"]["id"]
        elif event["type"] == "response.output_item.done":
            assert event["item"]["id"] == ids[index]
        elif "item_id" in event:
            assert event["item_id"] == ids[index]
    if told[-1]["type"] in ("response.completed", "response.incomplete"):
        assert [item["id"] for item in told[-1]["response"]["output"]] == list(ids.values())


@laws.each("openai_responses", "stream.sse")
def test_nothing_that_was_told_is_left_out_when_told_again(case: Path) -> None:
    given = events(laws.stream_bytes(case))
    if given[-1]["type"] not in ("response.completed", "response.incomplete"):
        pytest.skip("a failure is told in two events")
    deltas = laws.read_stream(SUBJECT, [laws.stream_bytes(case)])
    whole, _ = laws.folded(SUBJECT, deltas)
    assert whole is not None
    told = events(laws.write_stream(SUBJECT, deltas, whole))
    # `queued` is a state of the response, not of the answer; a keepalive becomes a comment.
    left_out = {event["type"] for event in given} - {event["type"] for event in told}
    assert left_out <= {"response.queued", "keepalive"}


def test_the_sdk_takes_the_golden_requests() -> None:
    known = [case for case in laws.cases("openai_responses", "request.json") if b"from_the_future" not in read(case)]
    taken = [case.name for case in known if takes(json.loads(read(case)))]
    refused = {case.name for case in known} - set(taken)
    # Content, tools and formats that no SDK knows yet, and values (null, an empty object) that its types do not allow.
    assert refused == {
        "format_null", "format_unknown", "request_messages", "request_nulls", "request_tools",
    }  # fmt: skip


def read(case: Path) -> bytes:
    return (case / "request.json").read_bytes()


def takes(body: dict[str, Any]) -> bool:
    try:
        laws_of_the_sdk(body)
    except ValueError:
        return False
    return True


def laws_of_the_sdk(body: dict[str, Any]) -> None:
    """Raises ValueError where the SDK's types do not allow the body."""
    exhaust(REQUESTS.validate_python(body))


def exhaust(value: Any) -> None:
    """Pydantic checks what is behind an `Iterable` only when it is read."""
    if isinstance(value, dict):
        for each in value.values():
            exhaust(each)
    elif not isinstance(value, str) and isinstance(value, Iterable):
        for each in value:
            exhaust(each)


def test_the_parameters_that_the_sdk_knows_are_never_taken_for_the_gateways_own() -> None:
    assert set(get_type_hints(response_create_params.ResponseCreateParamsNonStreaming)) == OWN_FIELDS
