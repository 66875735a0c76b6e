"""Requests that clients of the Messages API send, and the errors that they get."""

import json
from typing import Any

import pytest

from wayport.core.errors import (
    BadRequest,
    BodyTooLarge,
    CredentialMissing,
    Fault,
    InternalError,
    ModelNotFound,
    PermissionDenied,
    RateLimited,
    Unauthenticated,
    Unavailable,
    UpstreamFault,
    WayportError,
)
from wayport.dialects.anthropic_messages import DIALECT
from wayport.dialects.dialect import Profile
from wayport.dialects.neutral import (
    Document,
    Message,
    Opaque,
    Request,
    Text,
)
from wayport.wire import patch

assert DIALECT.client is not None
CLIENT = DIALECT.client


def asked(*messages: Any, **fields: Any) -> Request:
    body = {"model": "m", "max_tokens": 9, "messages": list(messages), **fields}
    return decoded(body)


def decoded(body: dict[str, Any]) -> Request:
    written = json.dumps(body, separators=(",", ":")).encode()
    return CLIENT.decode_request(patch.split(written), {})


# ------------------------------------------------------------------------------------------------------------ errors
@pytest.mark.parametrize(
    ("error", "word"),
    [
        (BadRequest("no"), "invalid_request_error"),
        (Unauthenticated("no"), "authentication_error"),
        (PermissionDenied("no"), "permission_error"),
        (ModelNotFound("no"), "not_found_error"),
        (BodyTooLarge("no"), "request_too_large"),
        (RateLimited("no"), "rate_limit_error"),
        (Unavailable("no"), "api_error"),
        (CredentialMissing("no"), "api_error"),
        (InternalError("no"), "api_error"),
        (UpstreamFault(Fault(kind="overloaded", status=529, message="no")), "overloaded_error"),
        (UpstreamFault(Fault(kind="overloaded", status=503, message="no")), "api_error"),
        (UpstreamFault(Fault(kind="quota", status=429, message="no")), "billing_error"),
        (UpstreamFault(Fault(kind="timeout", status=0, message="no")), "timeout_error"),
        (UpstreamFault(Fault(kind="connect", status=0, message="no")), "api_error"),
    ],
)
def test_errors_are_anthropics(error: WayportError, word: str) -> None:
    body = json.loads(CLIENT.encode_error(error, call_id="call-1"))
    assert body == {"type": "error", "error": {"type": word, "message": "no"}, "request_id": "call-1"}


def test_claude_code_understands_that_it_must_compact() -> None:
    fault = Fault(kind="context_window", status=400, message="This model's maximum context length is 8192 tokens.")
    body = json.loads(CLIENT.encode_error(UpstreamFault(fault), call_id="c"))
    assert body["error"]["message"] == f"prompt is too long: {fault.message}"


# ---------------------------------------------------------------------------------------------------------- requests
@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": {}}, "messages"),
        ({"messages": [{"content": "?"}]}, "messages.0.role"),
        ({"messages": [{"role": "tool", "content": "?"}]}, "messages.0.role"),
        ({"messages": [{"role": "user"}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages.0.content.0.text"),
        ({"messages": [{"role": "user", "content": [{"text": "?"}]}]}, "messages.0.content.0.type"),
        ({"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "b", "input": 1}]}]}, "messages.0.content.0.input"),
        ({"system": [{"type": "text"}]}, "system.0.text"),
        ({"tools": [{"description": "?"}]}, "tools.0.name"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"thinking": {"type": "enabled", "budget_tokens": "many"}}, "thinking.budget_tokens"),
        ({"output_config": {"format": 7}}, "output_config.format"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"stop_sequences": "END"}, "stop_sequences"),
        ({"temperature": "hot"}, "temperature"),
        ({"stream": "yes"}, "stream"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named_by_its_path(fields: dict[str, Any], path: str) -> None:
    body: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "?"}], **fields}
    if body["messages"] is None:
        del body["messages"]
    with pytest.raises(BadRequest) as caught:
        decoded(body)
    assert caught.value.param == path
    assert caught.value.message.startswith(path)


def test_betas_come_from_the_header() -> None:
    fields = patch.split(b'{"model":"m","messages":[{"role":"user","content":"?"}]}')
    assert CLIENT.decode_request(fields, {"anthropic-beta": "a-2026, b-2026,"}).betas == ["a-2026", "b-2026"]


def test_the_billing_header_is_for_anthropic_alone() -> None:
    request = asked(
        {"role": "user", "content": "?"},
        system=[
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.197;"},
            {"type": "text", "text": "Be brief."},
        ],
    )
    header, prompt = request.messages[0].parts
    assert isinstance(header, Opaque)
    assert header.text is None
    assert prompt == Text(text="Be brief.")


def test_blocks_that_others_must_understand_say_what_they_are() -> None:
    found = {
        "type": "search_result",
        "source": "https://h.example",
        "title": "FAQ",
        "content": [{"type": "text", "text": "Ten."}],
    }
    parts = asked(
        {"role": "user", "content": [found, {"type": "compaction", "content": "Noon was asked."}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "find", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": [{"type": "tool_reference", "tool_name": "tide"}]}]},
    ).messages  # fmt: skip
    assert [getattr(part, "text", None) for part in parts[0].parts] == [
        "FAQ\nhttps://h.example\n\nTen.",
        "Noon was asked.",
    ]
    [result] = parts[2].parts
    assert "tide" in getattr(result, "parts")[0].text  # noqa: B009 (a union's field)


def test_neutral_words_are_found() -> None:
    request = asked(
        {"role": "user", "content": "?"},
        service_tier="standard_only",
        metadata={"user_id": "u-7"},
        thinking={"type": "adaptive", "display": "summarized"},
        output_config={"effort": "high", "format": {"type": "json_schema", "schema": {"type": "object"}}},
        tools=[
            {"name": "look", "input_schema": {"type": "object"}},
            {"type": "web_search_20250305", "name": "web_search"},
        ],
        tool_choice={"type": "any", "disable_parallel_tool_use": True},
        stop_sequences=["END"],
    )
    assert (request.service_tier, request.user, request.parallel_tool_calls) == ("default", "u-7", False)
    assert request.reasoning is not None
    assert (request.reasoning.mode, request.reasoning.effort, request.reasoning.show) == ("adaptive", "high", True)
    assert request.output is not None
    assert request.output.kind == "json_schema"
    assert [(tool.name, tool.kind) for tool in request.tools] == [("look", "function"), ("web_search", "server")]
    assert request.tool_choice is not None
    assert request.tool_choice.mode == "required"
    assert request.extras == {}


def test_a_message_is_a_message() -> None:
    request = asked({"role": "user", "content": "?"})
    assert request.messages == [Message(role="user", parts=[Text(text="?")], plain=True)]


# ---------------------------------------------------------------------------------------------- what a guardrail wrote
def rewritten(request: Request) -> Any:
    assert DIALECT.upstream is not None
    return json.loads(DIALECT.upstream.encode_request(request, Profile()).body)


def test_what_a_guardrail_changed_is_what_is_sent() -> None:
    source = {"type": "content", "content": [{"type": "text", "text": "Call 555-0100."}]}
    request = asked(
        {
            "role": "user",
            "content": [{"type": "document", "source": source}, {"type": "text", "text": "Who is 555-0100?"}],
        }
    )
    document, text = request.messages[0].parts
    assert isinstance(document, Document)
    assert isinstance(text, Text)
    assert rewritten(request)["messages"][0]["content"][0]["source"] == source
    document.source.value = "Call ***."
    text.text = "Who is ***?"
    assert rewritten(request)["messages"][0]["content"] == [
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Call ***."}},
        {"type": "text", "text": "Who is ***?"},
    ]


def test_what_a_guardrail_adds_finds_its_form() -> None:
    request = asked({"role": "user", "content": "Hi"}, system="Be brief.")
    request.messages.insert(1, Message(role="system", parts=[Text(text="No names.")]))
    request.messages[2].parts.append(Text(text="Thanks."))
    assert rewritten(request)["system"] == [
        {"type": "text", "text": "Be brief."},
        {"type": "text", "text": "No names."},
    ]
    assert rewritten(request)["messages"][0]["content"] == [
        {"type": "text", "text": "Hi"},
        {"type": "text", "text": "Thanks."},
    ]


@pytest.mark.parametrize("body", [b'{"type":"error","error":{}}', b'{"choices":[]}', b"[]", b"<html>", b""])
def test_an_answer_of_another_api_is_no_message(body: bytes) -> None:
    assert DIALECT.upstream is not None
    with pytest.raises(ValueError, match=r"message|JSON|object|truncated"):
        DIALECT.upstream.decode_response(body)
