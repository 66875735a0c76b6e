"""Converse against its golden files, and botocore's service model against the golden files."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from tests.dialects import bedrock_sdk, laws, upstream_laws

from wayport.dialects.bedrock_converse import DIALECT
from wayport.wire.eventstream import Frames
from wayport.wire.sse import Event

NAME: Final = "bedrock_converse"


def frames(chunks: Iterable[bytes]) -> list[Event]:
    reader = Frames()
    return [event for chunk in chunks for event in reader.feed(chunk)]


SUBJECT = laws.Subject(DIALECT, frames=frames)


def accept(body: Any) -> None:
    bedrock_sdk.accept(body)
    bedrock_sdk.keeps_the_rules(body)


@pytest.mark.parametrize("case", upstream_laws.asking(DIALECT), ids=lambda case: case.name)
def test_requests_are_written(case: Path) -> None:
    upstream_laws.request_is_written(SUBJECT, case, accept)


@laws.each(NAME, "response.json")
def test_answers_are_understood(case: Path) -> None:
    upstream_laws.answer_is_understood(SUBJECT, case)
    upstream_laws.answer_reaches_every_client(SUBJECT, case)


@laws.each(NAME, "stream.jsonl")
def test_streams_are_understood(case: Path) -> None:
    upstream_laws.stream_is_understood(SUBJECT, case)
    laws.cut_streams_never_end_clean(SUBJECT, case)
    upstream_laws.stream_reaches_every_client(SUBJECT, case)


@laws.each(NAME, "stream.jsonl")
@given(cuts=laws.CUTS)
def test_chunking_does_not_matter(case: Path, cuts: list[int]) -> None:
    laws.chunking_does_not_matter(SUBJECT, case, cuts)


@laws.each(NAME, "error.json")
def test_errors_are_understood(case: Path) -> None:
    upstream_laws.error_is_understood(SUBJECT, case)


@given(status=laws.STATUSES, body=laws.BODIES)
def test_no_error_body_breaks_us(status: int, body: bytes) -> None:
    laws.error_never_raises(SUBJECT, status, body)


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"output":{}}', b'{"output":{"message":1}}', b"<html>"])
def test_what_is_no_answer_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        DIALECT.upstream.decode_response(body)  # type: ignore[union-attr]  # this dialect has an upstream half


def test_an_event_that_cannot_be_read_ends_the_stream() -> None:
    decoder = SUBJECT.upstream.stream_decoder()
    (failed,) = decoder.feed(Event("contentBlockDelta", b"{"))
    assert failed.fault.kind == "malformed"  # type: ignore[union-attr]  # the assertion is the test
    assert list(decoder.feed(Event("messageStop", b'{"stopReason":"end_turn"}'))) == []
    assert list(decoder.end()) == []


# --------------------------------------------------------------------------------------------- against the service model
ANSWERS = {
    "ContentBlock": {
        "text": "text",
        "image": "image",
        "document": "other_media",
        "video": "other_media",
        "audio": "other_media",
        "toolUse": "tools_in_parallel",
        "toolResult": "tool_of_the_provider",
        "guardContent": "blocks_to_come",
        "cachePoint": "other_media",
        "reasoningContent": "thoughts_signed",
        "citationsContent": "citations",
        "searchResult": "blocks_to_come",
        "toolAddition": "blocks_to_come",
        "toolRemoval": "blocks_to_come",
    },
    "ReasoningContentBlock": {"reasoningText": "thoughts_signed", "redactedContent": "thoughts_redacted"},
    "CitationLocation": {
        "web": "citations",
        "documentChar": "citations",
        "documentPage": "citations",
        "documentChunk": "citations",
        "searchResultLocation": "citations",
    },
    "CitationGeneratedContent": {"text": "citations"},
    "ImageSource": {"bytes": "image", "s3Location": "image_in_a_bucket"},
    "ToolResultContentBlock": {"json": "tool_of_the_provider", "text": "tool_of_the_provider"},
    "ConverseOutput": {"message": "text"},
    "ConverseResponse": {
        "output": "text",
        "stopReason": "text",
        "usage": "text",
        "metrics": "text",
        "additionalModelResponseFields": "stopped_by_stop_sequence",
        "trace": "guarded",
        "performanceConfig": "guarded",
        "serviceTier": "guarded",
    },
    "TokenUsage": {
        "inputTokens": "text",
        "outputTokens": "text",
        "totalTokens": "text",
        "cacheReadInputTokens": "text_from_the_cache",
        "cacheWriteInputTokens": "text_from_the_cache",
        "cacheDetails": "text_from_the_cache",
    },
}

STREAMS = {
    "ConverseStreamOutput": {
        "messageStart": "text",
        "contentBlockStart": "tools_in_parallel",
        "contentBlockDelta": "text",
        "contentBlockStop": "text",
        "messageStop": "text",
        "metadata": "text",
        "internalServerException": "stream_fails_by_internal",
        "modelStreamErrorException": "stream_fails_by_model",
        "validationException": "stream_fails_by_validation",
        "throttlingException": "stream_fails_by_throttling",
        "serviceUnavailableException": "stream_fails_by_unavailable",
    },
    "ContentBlockStart": {"toolUse": "tools_in_parallel", "toolResult": "tool_of_the_provider", "image": "image"},
    "ContentBlockDelta": {
        "text": "text",
        "toolUse": "tools_in_parallel",
        "toolResult": "tool_of_the_provider",
        "reasoningContent": "thoughts_signed",
        "citation": "citations",
        "image": "image",
    },
    "ReasoningContentBlockDelta": {
        "text": "thoughts_signed",
        "redactedContent": "thoughts_redacted",
        "signature": "thoughts_signed",
    },
    "ToolResultBlockDelta": {"json": "tool_of_the_provider", "text": "tool_of_the_provider"},
    "ImageBlockDelta": {"source": "image", "error": "image_that_failed"},
    "ConverseStreamMetadataEvent": {
        "usage": "text",
        "metrics": "text",
        "trace": "guarded",
        "performanceConfig": "guarded",
        "serviceTier": "guarded",
    },
    "MessageStopEvent": {"stopReason": "text", "additionalModelResponseFields": "stopped_by_stop_sequence"},
}

REQUESTS = {
    "ConverseRequest": {
        "messages": "request_plain",
        "system": "request_plain",
        "inferenceConfig": "request_plain",
        "toolConfig": "tools_strict",
        "guardrailConfig": "converse_in_its_own_words",
        "additionalModelRequestFields": "converse_in_its_own_words",
        "promptVariables": "converse_in_its_own_words",
        "additionalModelResponseFieldPaths": "converse_in_its_own_words",
        "requestMetadata": "converse_in_its_own_words",
        "performanceConfig": "converse_in_its_own_words",
        "serviceTier": "converse_in_its_own_words",
        "outputConfig": "json_schema_native",
    },
    "ContentBlock": {
        "text": "request_plain",
        "image": "request_images_and_documents",
        "document": "request_images_and_documents",
        "video": "request_objects_in_s3",
        "audio": "request_objects_in_s3",
        "toolUse": "request_like_claude_code",
        "toolResult": "request_like_claude_code",
        "cachePoint": "request_like_claude_code",
        "reasoningContent": "request_like_claude_code",
    },
    "ReasoningContentBlock": {
        "reasoningText": "request_like_claude_code",
        "redactedContent": "request_like_claude_code",
    },
    "SystemContentBlock": {"text": "request_like_claude_code", "cachePoint": "request_like_claude_code"},
    "Tool": {"toolSpec": "request_like_claude_code", "cachePoint": "request_like_claude_code"},
    "ToolChoice": {"any": "json_schema_by_tool", "tool": "tool_choice_named"},
    "ToolResultContentBlock": {
        "text": "request_tool_result_media",
        "image": "request_tool_result_media",
        "document": "request_tool_result_media",
    },
    "OutputConfig": {"textFormat": "json_schema_native", "effort": "thinking_adaptive"},
    "InferenceConfiguration": {
        "maxTokens": "request_plain",
        "temperature": "request_plain",
        "topP": "request_plain",
        "stopSequences": "request_plain",
    },
}

EXCLUDED = {
    ("ImageBlockStart", "format"): "a string, not a choice",
    ("ConverseRequest", "modelId"): "stands in the path",
    ("ContentBlock", "guardContent"): "no client's dialect marks what a guardrail shall look at",
    ("ContentBlock", "citationsContent"): "citations of an answer go back as its text",
    ("ContentBlock", "searchResult"): "search results of another dialect are told as text",
    ("ContentBlock", "toolAddition"): "no other dialect adds tools amid a conversation in a form of its own",
    ("ContentBlock", "toolRemoval"): "as above",
    ("SystemContentBlock", "guardContent"): "as above, of guardrails",
    ("Tool", "systemTool"): "a tool of the provider's own has no counterpart in a client's dialect",
    ("ToolChoice", "auto"): "the default, refused by some models when it is said",
    ("ToolResultContentBlock", "json"): "told as text, which every model takes",
    ("ToolResultContentBlock", "video"): "stands beside the result",
    ("ToolResultContentBlock", "searchResult"): "told as text",
}
"""members that our requests never have, and why"""


@pytest.mark.parametrize(("shape", "cases"), ANSWERS.items(), ids=list(ANSWERS))
def test_every_member_of_an_answer_has_a_golden_case(shape: str, cases: dict[str, str]) -> None:
    # What a tool of the client's gave back is never part of an answer.
    only_asked = {"image", "document", "video", "searchResult"} if shape == "ToolResultContentBlock" else set()
    assert bedrock_sdk.members(shape) - only_asked == set(cases)
    for member, case in cases.items():
        assert f'"{member}"' in (laws.GOLDEN / NAME / case / "response.json").read_text(), (member, case)


@pytest.mark.parametrize(("shape", "cases"), STREAMS.items(), ids=list(STREAMS))
def test_every_member_of_a_stream_has_a_golden_case(shape: str, cases: dict[str, str]) -> None:
    assert bedrock_sdk.members(shape) == set(cases)
    for member, case in cases.items():
        assert f'{member}"' in (laws.GOLDEN / NAME / case / "stream.jsonl").read_text(), (member, case)


@pytest.mark.parametrize(("shape", "cases"), REQUESTS.items(), ids=list(REQUESTS))
def test_every_member_of_a_request_has_a_golden_case_or_a_reason(shape: str, cases: dict[str, str]) -> None:
    excluded = {member for name, member in EXCLUDED if name == shape}
    assert bedrock_sdk.members(shape) == set(cases) | excluded
    for member, case in cases.items():
        assert f'"{member}"' in (laws.GOLDEN / NAME / case / "encoded.json").read_text(), (member, case)


def test_every_reason_to_stop_has_a_golden_case() -> None:
    stated = {path.name for path in (laws.GOLDEN / NAME).iterdir()}
    elsewhere = {"end_turn": "text", "tool_use": "tools_in_parallel", "guardrail_intervened": "guarded"}
    for word in bedrock_sdk.words("StopReason"):
        case = elsewhere.get(word, f"stopped_by_{word}")
        assert case in stated, word
        assert f'"{word}"' in (laws.GOLDEN / NAME / case / "response.json").read_text()


def test_every_exception_of_the_service_has_a_golden_case() -> None:
    stated = [path.read_text() for path in (laws.GOLDEN / NAME).glob("*/error.json")]
    for shape in bedrock_sdk.SERVICE.operation_model("ConverseStream").error_shapes:
        assert any(f'"{shape.name}:' in text for text in stated), shape.name
