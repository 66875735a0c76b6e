"""Cohere's Chat API against its golden files, and the official SDK's types against the golden files."""

from pathlib import Path
from typing import Any, Final

import cohere
import pytest
from cohere.v2.types import V2ChatRequestSafetyMode, V2ChatRequestToolChoice
from hypothesis import given
from tests.dialects import cohere_sdk, laws, upstream_laws

from wayport.dialects.cohere_chat import DIALECT
from wayport.wire.sse import Event

NAME: Final = "cohere_chat"
GOLDEN: Final = laws.GOLDEN / NAME
SUBJECT = laws.Subject(DIALECT)


@pytest.mark.parametrize("case", upstream_laws.asking(DIALECT), ids=lambda case: case.name)
def test_requests_are_written(case: Path) -> None:
    upstream_laws.request_is_written(SUBJECT, case, cohere_sdk.accept)


@laws.each(NAME, "response.json")
def test_answers_are_understood(case: Path) -> None:
    upstream_laws.answer_is_understood(SUBJECT, case)
    upstream_laws.answer_reaches_every_client(SUBJECT, case)


@laws.each(NAME, "stream.sse")
def test_streams_are_understood(case: Path) -> None:
    upstream_laws.stream_is_understood(SUBJECT, case)
    laws.cut_streams_never_end_clean(SUBJECT, case)
    upstream_laws.stream_reaches_every_client(SUBJECT, case)


@laws.each(NAME, "stream.sse")
@given(cuts=laws.CUTS)
def test_chunking_does_not_matter(case: Path, cuts: list[int]) -> None:
    laws.chunking_does_not_matter(SUBJECT, case, cuts)


@laws.each(NAME, "error.json")
def test_errors_are_understood(case: Path) -> None:
    upstream_laws.error_is_understood(SUBJECT, case)


@given(status=laws.STATUSES, body=laws.BODIES)
def test_no_error_body_breaks_us(status: int, body: bytes) -> None:
    laws.error_never_raises(SUBJECT, status, body)


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"message":1}', b'{"message":"too bad"}', b"<html>"])
def test_what_is_no_answer_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        SUBJECT.upstream.decode_response(body)


@pytest.mark.parametrize("data", [b"{", b'{"type":"content-delta","delta":{"message":{"content":{"text":1}}}}'])
def test_an_event_that_cannot_be_read_ends_the_stream(data: bytes) -> None:
    decoder = SUBJECT.upstream.stream_decoder()
    (failed,) = decoder.feed(Event("content-delta", data))
    assert failed.fault.kind == "malformed"  # type: ignore[union-attr]  # the assertion is the test
    assert list(decoder.feed(Event("message-end", b'{"type":"message-end","delta":{}}'))) == []
    assert list(decoder.end()) == []


# --------------------------------------------------------------------------------------------------- against the SDK
EVENTS = {
    "message-start": "text",
    "content-start": "text",
    "content-delta": "text",
    "content-end": "text",
    "tool-plan-delta": "plan_and_tools_in_parallel",
    "tool-call-start": "plan_and_tools_in_parallel",
    "tool-call-delta": "plan_and_tools_in_parallel",
    "tool-call-end": "plan_and_tools_in_parallel",
    "citation-start": "citations",
    "citation-end": "citations",
    "message-end": "text",
    "debug": "stream_with_events_to_come",
}

REASONS = {
    "COMPLETE": "text",
    "STOP_SEQUENCE": "stopped_by_stop_sequence",
    "MAX_TOKENS": "stopped_by_max_tokens",
    "TOOL_CALL": "plan_and_tools_in_parallel",
    "ERROR": "stopped_by_error",
    "TIMEOUT": "stopped_by_timeout",
}

ANSWERS = {
    "V2ChatResponse": {
        "id": "text",
        "finish_reason": "text",
        "message": "text",
        "usage": "text",
        "logprobs": "logprobs",
    },
    "AssistantMessageResponse": {
        "role": "text",
        "content": "text",
        "tool_plan": "plan_and_tools_in_parallel",
        "tool_calls": "plan_and_tools_in_parallel",
        "citations": "citations",
    },
    "Usage": {"billed_units": "text", "tokens": "text", "cached_tokens": "text"},
    "Citation": {
        "start": "citations",
        "end": "citations",
        "text": "citations",
        "sources": "citations",
        "content_index": "citations",
        "type": "citations",
    },
    "LogprobItem": {"text": "logprobs", "token_ids": "logprobs", "logprobs": "logprobs"},
}

PARAMETERS = {
    "model": "request_plain",
    "messages": "request_plain",
    "max_tokens": "request_plain",
    "temperature": "request_plain",
    "p": "request_plain",
    "stop_sequences": "request_plain",
    "seed": "request_plain",
    "k": "documents_in_coheres_own_words",
    "frequency_penalty": "one_penalty_only",
    "presence_penalty": "wishes_out_of_range",
    "tools": "request_tools",
    "tool_choice": "tool_choice_named",
    "strict_tools": "request_tools_strict",
    "documents": "request_documents",
    "citation_options": "documents_in_coheres_own_words",
    "safety_mode": "documents_in_coheres_own_words",
    "priority": "fields_that_are_refused",
    "response_format": "json_schema",
    "thinking": "thinking_by_effort",
    "logprobs": "every_other_wish",
}


def says(case: str, name: str, words: str) -> bool:
    return words in (GOLDEN / case / name).read_text()


def test_every_event_has_a_golden_case() -> None:
    assert cohere_sdk.tags(cohere.V2ChatStreamResponse, "type") == set(EVENTS)
    for tag, case in EVENTS.items():
        assert says(case, "stream.sse", f'"{tag}"'), (tag, case)


def test_every_reason_to_stop_has_a_golden_case() -> None:
    assert cohere_sdk.words(cohere.ChatFinishReason) == set(REASONS)
    for reason, case in REASONS.items():
        assert says(case, "response.json", f'"{reason}"'), (reason, case)
    for reason in ("ERROR", "TIMEOUT"):
        assert says(f"stream_fails_by_{reason.lower()}", "stream.sse", f'"{reason}"')


@pytest.mark.parametrize(
    ("union", "tag", "cases"),
    [
        (cohere.AssistantMessageResponseContentItem, "type", {"text": "text", "thinking": "thoughts"}),
        (cohere.Source, "type", {"tool": "citations", "document": "citations"}),
    ],
    ids=["content", "sources"],
)
def test_every_kind_of_an_answer_has_a_golden_case(union: Any, tag: str, cases: dict[str, str]) -> None:
    assert cohere_sdk.tags(union, tag) == set(cases)
    for kind, case in cases.items():
        assert says(case, "response.json", f'"type": "{kind}"'), (kind, case)


def test_every_place_of_a_citation_has_a_golden_case() -> None:
    cases = {
        "TEXT_CONTENT": "citations",
        "THINKING_CONTENT": "citations_in_thoughts",
        "PLAN": "plan_and_tools_in_parallel",
    }
    assert cohere_sdk.words(cohere.CitationType) == set(cases)
    for place, case in cases.items():
        assert says(case, "response.json", f'"{place}"'), (place, case)


@pytest.mark.parametrize(("model", "cases"), ANSWERS.items(), ids=list(ANSWERS))
def test_every_field_of_an_answer_has_a_golden_case(model: str, cases: dict[str, str]) -> None:
    home = cohere if hasattr(cohere, model) else cohere.v2
    assert set(getattr(home, model).model_fields) == set(cases)
    for name, case in cases.items():
        assert says(case, "response.json", f'"{name}"'), (name, case)


def test_every_parameter_has_a_golden_case() -> None:
    # Asked for whole or as a stream, a request is the same.
    assert cohere_sdk.WHOLE.keys() == cohere_sdk.STREAMED.keys() == set(PARAMETERS)
    for name, case in PARAMETERS.items():
        assert name in laws.load(GOLDEN / case / "encoded.json"), (name, case)


@pytest.mark.parametrize(
    ("union", "tag", "cases"),
    [
        (
            cohere.ChatMessageV2,
            "role",
            {"user": "request_plain", "assistant": "request_tools", "system": "request_plain", "tool": "request_tools"},
        ),
        (cohere.Content, "type", {"text": "request_images", "image_url": "request_images"}),
        (
            cohere.AssistantMessageV2ContentOneItem,
            "type",
            {"text": "thoughts_go_back_always", "thinking": "thoughts_go_back_always"},
        ),
        # A tool's result goes as plain text, which every model takes: also a document that is part of it.
        (cohere.ToolContent, "type", {"text": None, "document": None}),
        # Text is what is written where nothing is said of a format.
        (cohere.ResponseFormatV2, "type", {"json_object": "json_object", "text": None}),
    ],
    ids=["messages", "content", "assistant", "tool_results", "formats"],
)
def test_every_kind_of_a_request_has_a_golden_case_or_a_reason(
    union: Any, tag: str, cases: dict[str, str | None]
) -> None:
    assert cohere_sdk.tags(union, tag) == set(cases)
    for kind, case in cases.items():
        assert case is None or says(case, "encoded.json", f'"{tag}": "{kind}"'), (kind, case)


@pytest.mark.parametrize(
    ("union", "cases"),
    [
        (V2ChatRequestToolChoice, {"REQUIRED": "tool_choice_named", "NONE": "request_tools_strict"}),
        (cohere.ThinkingType, {"enabled": "thinking_by_effort", "disabled": "thinking_off"}),
        (cohere.ImageUrlDetail, {"auto": "request_images", "low": "request_images", "high": "request_images"}),
        # The client's own word, which goes through as it is: one stands for all.
        (V2ChatRequestSafetyMode, {"STRICT": "documents_in_coheres_own_words", "CONTEXTUAL": None, "OFF": None}),
        (
            cohere.CitationOptionsMode,
            {
                "ACCURATE": "documents_in_coheres_own_words",
                "ENABLED": None,
                "DISABLED": None,
                "FAST": None,
                "OFF": None,
            },
        ),
    ],
    ids=["tool_choice", "thinking", "detail", "safety_mode", "citation_options"],
)
def test_every_word_of_a_request_has_a_golden_case_or_a_reason(union: Any, cases: dict[str, str | None]) -> None:
    assert cohere_sdk.words(union) == set(cases)
    for spoken, case in cases.items():
        assert case is None or says(case, "encoded.json", f'"{spoken}"'), (spoken, case)


STATUS_OF = {
    "GatewayTimeoutError": 504,
    "InternalServerError": 500,
    "InvalidTokenError": 498,
    "ClientClosedRequestError": 499,
    "BadRequestError": 400,
    "UnauthorizedError": 401,
    "ForbiddenError": 403,
    "NotFoundError": 404,
    "UnprocessableEntityError": 422,
    "TooManyRequestsError": 429,
    "NotImplementedError": 501,
    "ServiceUnavailableError": 503,
}


def test_every_error_of_the_sdk_has_a_golden_case() -> None:
    known = {name for name in dir(cohere.errors) if name.endswith("Error")}
    assert known == set(STATUS_OF)
    stated = {laws.load(path)["status"] for path in GOLDEN.glob("*/error.json")}
    assert set(STATUS_OF.values()) <= stated
