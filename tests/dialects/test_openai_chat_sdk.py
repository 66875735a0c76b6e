"""The official SDK's types know no request field, part, tool, message or delta without a golden case, and every body that
leaves us is one of theirs.
"""

import functools
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Required, Union, get_args, get_origin, get_type_hints

import pytest
from openai.types.chat import (
    ChatCompletion,
    ChatCompletionChunk,
    ChatCompletionContentPartParam,
    ChatCompletionMessage,
    ChatCompletionMessageParam,
    ChatCompletionToolChoiceOptionParam,
    ChatCompletionToolUnionParam,
    chat_completion,
    chat_completion_assistant_message_param,
    chat_completion_chunk,
    chat_completion_custom_tool_param,
    chat_completion_message,
    completion_create_params,
)
from openai.types.chat.chat_completion_message_tool_call import ChatCompletionMessageToolCallUnion
from openai.types.completion_usage import CompletionTokensDetails, CompletionUsage, PromptTokensDetails
from openai.types.shared_params import ResponseFormatJSONSchema
from pydantic import BaseModel, TypeAdapter
from tests.dialects import laws
from typing_extensions import TypedDict, is_typeddict

from wayport.dialects.openai_chat import DIALECT
from wayport.wire import patch, sse

SUBJECT = laws.Subject(DIALECT)
DIRECTORY = "tests/golden/openai_chat"

# What imitators of OpenAI write and OpenAI's own types refuse.
NOT_OPENAI_REQUESTS = {
    "nulls",
    "thinking_parts_back",
    "prompt_mode",
    "ends_with_its_calls",
    "response_format_unknown",
    "tool_choice_any",
    "media_of_imitators",
    "unknown_part",
    "tool_of_the_server",
    "tool_without_type",
    "tool_result_with_image",
}
NOT_OPENAI_ANSWERS = {"answer_thinking_parts", "answer_unknown_finish"}
NOT_OPENAI_STREAMS = {
    "stream_without_finish_reason",
    "stream_thinking_parts",
    "stream_custom_tool_call",
    "stream_answer_tool",
}


# ------------------------------------------------------------------------------------------------ what the SDK knows
def members(union: Any) -> Iterator[Any]:
    """The members of a union, however it is wrapped."""
    origin = get_origin(union)
    if origin is None or origin is Literal:
        yield union
    elif origin.__name__ == "Annotated":
        yield from members(get_args(union)[0])
    else:
        for member in get_args(union):
            yield from members(member)


def literal(owner: Any, name: str) -> str:
    """The one value that a discriminating field may have."""
    is_model = issubclass(owner, BaseModel)
    hint = owner.model_fields[name].annotation if is_model else get_type_hints(owner)[name]
    (value,) = get_args(hint)
    return str(value)


def tags(union: Any, name: str = "type") -> set[str]:
    return {literal(member, name) for member in members(union) if isinstance(member, type)}


def words(owner: type[BaseModel], field: str) -> set[str]:
    """The literals that a field of a model may hold."""
    return {str(w) for m in members(owner.model_fields[field].annotation) for w in get_args(m)}


def walk(value: Any) -> Iterator[dict[str, Any]]:
    """Every object within a JSON value."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from walk(item)


def requests() -> list[dict[str, Any]]:
    return [laws.load(case / "request.json") for case in laws.cases("openai_chat", "request.json")]


def answers() -> list[dict[str, Any]]:
    return [laws.load(case / "response.json") for case in laws.cases("openai_chat", "response.json")]


def chunks(case: Path) -> list[dict[str, Any]]:
    events = laws.sse_frames([laws.stream_bytes(case)])
    return [json.loads(event.data) for event in events if event.data.startswith(b"{")]


def all_chunks() -> list[dict[str, Any]]:
    return [chunk for case in laws.cases("openai_chat", "stream.sse") for chunk in chunks(case)]


def messages() -> list[dict[str, Any]]:
    return [message for request in requests() for message in request["messages"]]


def assert_covered(known: Iterable[str], found: Iterable[str], what: str, file: str) -> None:
    missing = sorted(set(known) - set(found))
    assert not missing, (
        f"the openai SDK knows {what} {missing}, but no golden case has one: "
        f"add {DIRECTORY}/<what it shows>/{file} and teach the dialect what it means"
    )


# ------------------------------------------------------------------------------------------- every one has its case
def test_every_request_field_has_a_case() -> None:
    known = get_type_hints(completion_create_params.CompletionCreateParamsStreaming)
    assert_covered(known, {name for request in requests() for name in request}, "the request fields", "request.json")


def test_every_message_role_has_a_case() -> None:
    found = {message["role"] for message in messages()}
    assert_covered(tags(ChatCompletionMessageParam, "role"), found, "the message roles", "request.json")


def test_every_field_of_every_message_has_a_case() -> None:
    for member in members(ChatCompletionMessageParam):
        role = literal(member, "role")
        found = {name for message in messages() if message["role"] == role for name in message}
        known = set(get_type_hints(member))
        if role in ("system", "developer"):
            known.discard("name")  # one name is as good as another: shown on user and assistant
        assert_covered(known, found, f"the fields of a {role} message", "request.json")


def test_every_content_part_has_a_case() -> None:
    known = tags(ChatCompletionContentPartParam)
    known |= tags(chat_completion_assistant_message_param.ContentArrayOfContentPart)
    parts = [p for m in messages() if isinstance(m.get("content"), list) for p in m["content"]]
    assert_covered(known, {part["type"] for part in parts}, "the content parts", "request.json")
    for member in members(ChatCompletionContentPartParam):
        kind = literal(member, "type")
        found = {name for part in parts if part["type"] == kind for name in part}
        assert_covered(get_type_hints(member), found, f"the fields of a {kind} part", "request.json")


def test_every_kind_of_tool_has_a_case() -> None:
    tools = [tool for request in requests() for tool in request.get("tools") or ()]
    assert_covered(
        tags(ChatCompletionToolUnionParam), {tool.get("type") for tool in tools}, "the tools", "request.json"
    )
    formats = {t["custom"]["format"]["type"] for t in tools if t.get("type") == "custom" and "format" in t["custom"]}
    known = tags(chat_completion_custom_tool_param.CustomFormat)
    assert_covered(known, formats, "the formats of custom tools", "request.json")


def test_every_tool_choice_has_a_case() -> None:
    choices = [request["tool_choice"] for request in requests() if "tool_choice" in request]
    known = tags(ChatCompletionToolChoiceOptionParam)
    known |= {str(w) for m in members(ChatCompletionToolChoiceOptionParam) for w in get_args(m)}
    found = {choice if isinstance(choice, str) else choice["type"] for choice in choices}
    assert_covered(known, found, "the tool choices", "request.json")


def test_every_response_format_has_a_case() -> None:
    found = {request["response_format"]["type"] for request in requests() if "response_format" in request}
    assert_covered(tags(completion_create_params.ResponseFormat), found, "the response formats", "request.json")
    schemas = [r["response_format"] for r in requests() if "json_schema" in r.get("response_format", {})]
    known = get_type_hints(get_type_hints(ResponseFormatJSONSchema)["json_schema"])
    assert_covered(known, {n for s in schemas for n in s["json_schema"]}, "the fields of a schema", "request.json")


def test_every_kind_of_tool_call_has_a_case() -> None:
    for bodies, file in ((messages(), "request.json"), (list(walk(answers())), "response.json")):
        found = {call.get("type") for body in bodies for call in body.get("tool_calls") or ()}
        assert_covered(tags(ChatCompletionMessageToolCallUnion), found, "the tool calls", file)


def test_every_field_of_an_answer_has_a_case() -> None:
    given = answers()
    choices = [choice for answer in given for choice in answer["choices"]]
    found_messages = [choice["message"] for choice in choices]
    for model, found in (
        (ChatCompletion, given),
        (chat_completion.Choice, choices),
        (chat_completion.ChoiceLogprobs, [c["logprobs"] for c in choices if c.get("logprobs")]),
        (ChatCompletionMessage, found_messages),
        (chat_completion_message.Annotation, [a for m in found_messages for a in m.get("annotations") or ()]),
        (CompletionUsage, [answer["usage"] for answer in given if "usage" in answer]),
        (PromptTokensDetails, [o for o in walk(given) if "cache_write_tokens" in o]),
        (CompletionTokensDetails, [o for o in walk(given) if "accepted_prediction_tokens" in o]),
    ):
        names = {name for one in found for name in one}
        assert_covered(model.model_fields, names, f"the fields of {model.__name__}", "response.json")


def test_every_finish_reason_has_a_case() -> None:
    found = {choice["finish_reason"] for answer in answers() for choice in answer["choices"]}
    assert_covered(words(chat_completion.Choice, "finish_reason"), found, "the finish reasons", "response.json")
    streamed = {choice.get("finish_reason") for chunk in all_chunks() for choice in chunk.get("choices", ())}
    known = words(chat_completion_chunk.Choice, "finish_reason") - {"content_filter"}  # shown whole; a word like others
    assert_covered(known, streamed, "the finish reasons", "stream.sse")


def test_every_field_of_a_chunk_has_a_case() -> None:
    given = all_chunks()
    choices = [choice for chunk in given for choice in chunk.get("choices", ())]
    deltas = [choice["delta"] for choice in choices]
    for model, found in (
        (ChatCompletionChunk, given),
        (chat_completion_chunk.Choice, choices),
        (chat_completion_chunk.ChoiceDelta, deltas),
        (chat_completion_chunk.ChoiceDeltaAudio, [d["audio"] for d in deltas if d.get("audio")]),
        (chat_completion_chunk.ChoiceDeltaFunctionCall, [d["function_call"] for d in deltas if d.get("function_call")]),
        (chat_completion_chunk.ChoiceDeltaToolCall, [c for d in deltas for c in d.get("tool_calls") or ()]),
        (chat_completion_chunk.ChoiceLogprobs, [c["logprobs"] for c in choices if c.get("logprobs")]),
    ):
        names = {name for one in found for name in one}
        assert_covered(model.model_fields, names, f"the fields of {model.__name__}", "stream.sse")


# ------------------------------------------------------------------------------------- what leaves us is one of theirs
def listed(hint: Any) -> Any:
    """The same type with lists for iterables: pydantic takes a string for one, and checks it only while walked."""
    origin, args = get_origin(hint), get_args(hint)
    if is_typeddict(hint):
        return _listed_dict(hint)
    if origin is None or origin is Literal:
        return hint
    if origin is Required:
        return Required[listed(args[0])]
    if origin in (list, Iterable, Sequence):
        return list[listed(args[0])]  # type: ignore[misc]  # made at run time
    if origin is dict:
        return dict[str, listed(args[1])]  # type: ignore[misc]  # as above
    return Union[tuple(listed(arg) for arg in args)]  # noqa: UP007 (the members are known at run time only)


@functools.cache
def _listed_dict(hint: Any) -> Any:
    fields = {name: listed(inner) for name, inner in get_type_hints(hint, include_extras=True).items()}
    return TypedDict(hint.__name__, fields, total=False)  # type: ignore[operator]  # made at run time


_REQUEST: TypeAdapter[Any] = TypeAdapter(listed(completion_create_params.CompletionCreateParams))


@pytest.mark.parametrize(
    "case",
    [case for case in laws.cases("openai_chat", "request.json") if case.name not in NOT_OPENAI_REQUESTS],
    ids=lambda case: case.name,
)
def test_what_goes_upstream_is_a_request_of_theirs(case: Path) -> None:
    request = SUBJECT.client.decode_request(patch.split((case / "request.json").read_bytes()), {})
    body = SUBJECT.upstream.encode_request(request, laws.profile_of(case)).body
    _REQUEST.validate_json(body, strict=True)


@pytest.mark.parametrize(
    "case",
    [case for case in laws.cases("openai_chat", "response.json") if case.name not in NOT_OPENAI_ANSWERS],
    ids=lambda case: case.name,
)
def test_what_a_client_gets_is_an_answer_of_theirs(case: Path) -> None:
    whole = SUBJECT.upstream.decode_response((case / "response.json").read_bytes())
    ChatCompletion.model_validate_json(SUBJECT.client.encode_response(whole), strict=True)


@pytest.mark.parametrize(
    "case",
    [case for case in laws.cases("openai_chat", "stream.sse") if case.name not in NOT_OPENAI_STREAMS],
    ids=lambda case: case.name,
)
def test_what_a_client_gets_are_chunks_of_theirs(case: Path) -> None:
    deltas = laws.read_stream(SUBJECT, [laws.stream_bytes(case)])
    whole, fault = laws.folded(SUBJECT, deltas)
    if whole is None:
        return
    events = [sse.parse(raw) for raw in sse.Splitter().feed(laws.write_stream(SUBJECT, deltas, whole))]
    if fault is None:
        assert events[-1].data == b"[DONE]"
        events.pop()
    else:
        assert json.loads(events.pop().data)["error"]["message"] == fault.message
    for event in events:
        if b'"finish_reason":"error"' not in event.data:
            ChatCompletionChunk.model_validate_json(event.data, strict=True)
