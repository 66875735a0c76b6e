"""Every field and word of Google's own types has a golden case, or a reason why it needs none."""

import enum
import json
import typing
from collections.abc import Iterator
from typing import Any

import pydantic
import pytest
from google.genai import types
from tests.dialects import laws

from wayport.dialects.gemini_content import DIALECT
from wayport.dialects.gemini_content_words import FINISH
from wayport.dialects.neutral import FinishReason

Model = type[pydantic.BaseModel]

# What we read or write field by field. Types below them (a retrieval's data store, a speech configuration) travel as
# they are, undecoded.
READ: tuple[Model, ...] = (
    types.Content,
    types.Part,
    types.Blob,
    types.FileData,
    types.FunctionCall,
    types.PartialArg,
    types.FunctionResponse,
    types.FunctionResponsePart,
    types.FunctionResponseBlob,
    types.FunctionResponseFileData,
    types.ExecutableCode,
    types.CodeExecutionResult,
    types.VideoMetadata,
    types.PartMediaResolution,
    types.ToolCall,
    types.ToolResponse,
    types.Tool,
    types.FunctionDeclaration,
    types.Schema,
    types.ToolConfig,
    types.FunctionCallingConfig,
    types.RetrievalConfig,
    types.GenerationConfig,
    types.ThinkingConfig,
    types.SafetySetting,
    types.GenerateContentResponse,
    types.Candidate,
    types.CitationMetadata,
    types.Citation,
    types.GroundingMetadata,
    types.GroundingSupport,
    types.Segment,
    types.UrlContextMetadata,
    types.UrlMetadata,
    types.LogprobsResult,
    types.LogprobsResultTopCandidates,
    types.LogprobsResultCandidate,
    types.GenerateContentResponsePromptFeedback,
    types.GenerateContentResponseUsageMetadata,
    types.ModalityTokenCount,
    types.SafetyRating,
)

NO_CASE = {
    "GenerateContentResponse.sdkHttpResponse": "made by the SDK, never on the wire",
    "GenerateContentResponse.automaticFunctionCallingHistory": "made by the SDK, never on the wire",
    "GenerateContentResponse.parsed": "made by the SDK, never on the wire",
    "ModelStatus.retirementTime": "travels undecoded",
}

# GenerateContentConfig is the SDK's own gathering: where each of its fields stands on the wire.
BESIDE = {
    "systemInstruction",
    "tools",
    "toolConfig",
    "safetySettings",
    "cachedContent",
    "labels",
    "serviceTier",
    "store",
    "modelArmorConfig",
    "continuationToken",
}
SDK_ONLY = {
    "httpOptions": "settings of the SDK's transport",
    "shouldReturnHttpResponse": "a setting of the SDK",
    "automaticFunctionCalling": "the SDK calls functions itself",
    "automaticContinuation": "the SDK sends the continuation token itself",
}


def models_in(annotation: Any) -> Iterator[Model]:
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from models_in(inner)


def fields_of(model: Model) -> set[str]:
    return {f"{model.__name__}.{field.alias or name}" for name, field in model.model_fields.items()}


def walk(model: Model, value: Any, seen: set[str], words: set[str]) -> None:
    """Notes every field of `model` that a JSON value has, in either spelling, and every word of an enumeration."""
    if isinstance(value, list):
        for item in value:
            walk(model, item, seen, words)
        return
    if not isinstance(value, dict):
        return
    for name, field in model.model_fields.items():
        alias = field.alias or name
        key = alias if alias in value else name
        if key not in value:
            continue
        seen.add(f"{model.__name__}.{alias}")
        for word in value[key] if isinstance(value[key], list) else [value[key]]:
            if isinstance(word, str):
                words.add(word)
        for inner in models_in(field.annotation):
            if inner is types.Schema and model is types.Schema and isinstance(value[key], dict):
                for item in [value[key], *value[key].values()]:
                    walk(inner, item, seen, words)
            else:
                walk(inner, value[key], seen, words)


def golden() -> tuple[set[str], set[str]]:
    seen: set[str] = set()
    words: set[str] = set()
    for case in laws.cases("gemini_content", "request.json"):
        body = laws.load(case / "request.json")
        walk(types.Content, body["contents"], seen, words)
        walk(types.Tool, body.get("tools"), seen, words)
        walk(types.ToolConfig, body.get("toolConfig"), seen, words)
        walk(types.GenerationConfig, body.get("generationConfig"), seen, words)
        walk(types.SafetySetting, body.get("safetySettings"), seen, words)
        for key, value in body.items():
            seen.add(f"request.{key}")
            if isinstance(value, str):
                words.add(value)
        seen.update(f"config.{key}" for key in body.get("generationConfig", {}))
    for case in laws.cases("gemini_content", "response.json"):
        walk(types.GenerateContentResponse, laws.load(case / "response.json"), seen, words)
    for case in laws.cases("gemini_content", "stream.sse"):
        for event in laws.sse_frames([laws.stream_bytes(case)]):
            walk(types.GenerateContentResponse, json.loads(event.data), seen, words)
    return seen, words


SEEN, WORDS = golden()


@pytest.mark.parametrize("model", READ, ids=lambda model: str(model.__name__))
def test_every_field_has_a_golden_case(model: Model) -> None:
    assert not fields_of(model) - SEEN - set(NO_CASE)


def test_no_reason_outlives_its_field() -> None:
    models: tuple[Model, ...] = (*READ, types.ModelStatus)
    names = {name for model in models for name in fields_of(model)}
    assert set(NO_CASE) <= names
    assert set(SDK_ONLY) <= {f.alias or n for n, f in types.GenerateContentConfig.model_fields.items()}


def test_every_field_of_the_sdk_s_config_has_a_golden_case() -> None:
    wanted = {field.alias or name for name, field in types.GenerateContentConfig.model_fields.items()} - set(SDK_ONLY)
    inside = wanted - BESIDE
    assert not {name for name in wanted & BESIDE if f"request.{name}" not in SEEN}
    assert not {name for name in inside if f"config.{name}" not in SEEN}


WORD_LISTS: dict[type[enum.Enum], set[str]] = {
    types.FunctionCallingConfigMode: set(),
    types.Modality: {"MODALITY_UNSPECIFIED"},
    types.MediaModality: {"MODALITY_UNSPECIFIED"},
    types.ServiceTier: {"unspecified"},
    types.ThinkingLevel: {"MINIMAL", "LOW", "MEDIUM", "XHIGH"},
    types.Type: {"TYPE_UNSPECIFIED", "NULL"},
}


@pytest.mark.parametrize("words", WORD_LISTS, ids=lambda words: str(words.__name__))
def test_every_word_that_means_something_here_has_a_golden_case(words: type[enum.Enum]) -> None:
    """Left out: words that mean nothing, and levels, which are all treated as the one that has a case."""
    missing = {str(word.value) for word in words} - WORDS - WORD_LISTS[words]
    assert not missing


# -------------------------------------------------------------------------------------------------- finish reasons
MEANT: dict[str, FinishReason] = {
    "FINISH_REASON_UNSPECIFIED": "error",
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "OTHER": "error",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "MALFORMED_FUNCTION_CALL": "error",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_OTHER": "error",
    "NO_IMAGE": "error",
    "IMAGE_RECITATION": "content_filter",
    "UNEXPECTED_TOOL_CALL": "error",
    "TOO_MANY_TOOL_CALLS": "error",
    "MISSING_THOUGHT_SIGNATURE": "error",
    "MALFORMED_RESPONSE": "error",
    "ESCALATION": "content_filter",
    "PUP_LIMITED_DISABLED": "content_filter",
    "CONTINUATION": "pause",
    "MODEL_ARMOR": "content_filter",
}

assert DIALECT.client is not None
assert DIALECT.upstream is not None
CLIENT, UPSTREAM = DIALECT.client, DIALECT.upstream


def answer(finish: str, part: dict[str, Any]) -> bytes:
    candidate = {"content": {"parts": [part], "role": "model"}, "finishReason": finish, "index": 0}
    return json.dumps({"candidates": [candidate], "modelVersion": "m", "responseId": "r"}).encode()


@pytest.mark.parametrize("word", [str(reason.value) for reason in types.FinishReason])
def test_every_finish_reason_is_understood_and_written_back(word: str) -> None:
    whole = UPSTREAM.decode_response(answer(word, {"text": "x"}))
    assert whole.choices[0].finish == MEANT[word]
    assert word in FINISH
    assert json.loads(CLIENT.encode_response(whole)) == json.loads(answer(word, {"text": "x"}))


def test_a_call_makes_a_stop_a_tool_call() -> None:
    whole = UPSTREAM.decode_response(answer("STOP", {"functionCall": {"name": "f", "args": {}}}))
    assert whole.choices[0].finish == "tool_calls"
    unasked = UPSTREAM.decode_response(answer("UNEXPECTED_TOOL_CALL", {"functionCall": {"name": "f", "args": {}}}))
    assert unasked.choices[0].finish == "tool_calls"
    cut = UPSTREAM.decode_response(answer("MAX_TOKENS", {"functionCall": {"name": "f", "args": {}}}))
    assert cut.choices[0].finish == "length"


def test_a_finish_reason_to_come_is_no_clean_stop_and_survives() -> None:
    whole = UPSTREAM.decode_response(answer("A_NEW_REASON", {"text": "x"}))
    assert whole.choices[0].finish == "error"
    assert json.loads(CLIENT.encode_response(whole))["candidates"][0]["finishReason"] == "A_NEW_REASON"


@pytest.mark.parametrize("word", [str(reason.value) for reason in types.BlockedReason])
def test_a_blocked_prompt_is_an_answer_that_was_filtered(word: str) -> None:
    body = {"promptFeedback": {"blockReason": word}, "modelVersion": "m", "responseId": "r"}
    whole = UPSTREAM.decode_response(json.dumps(body).encode())
    assert [(choice.finish, choice.finish_raw, choice.parts) for choice in whole.choices] == [
        ("content_filter", word, [])
    ]
    assert json.loads(CLIENT.encode_response(whole)) == body
