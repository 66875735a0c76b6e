"""What Gemini's JSON means to other dialects: the golden files show that nothing is lost, these that it is understood."""

import json
from typing import Any

import pytest
from msgspec import Raw
from tests.dialects import laws
from tests.dialects.gemini_sdk import CLIENT, UPSTREAM

from wayport.core.errors import BadRequest, InternalError, Unauthenticated
from wayport.core.usage import Usage
from wayport.dialects.dialect import Profile
from wayport.dialects.gemini_content import GeminiClient
from wayport.dialects.neutral import (
    Audio,
    Citation,
    Document,
    Image,
    Media,
    Opaque,
    Part,
    Reasoning,
    ReasoningAsk,
    Request,
    Response,
    Text,
    ToolCall,
    ToolResult,
    Video,
)
from wayport.wire import patch


def golden(case: str, file: str) -> bytes:
    return (laws.GOLDEN / "gemini_content" / case / file).read_bytes()


def asked(case: str) -> Request:
    return CLIENT.decode_request(patch.split(golden(case, "request.json")), {})


def read(body: object) -> Request:
    return CLIENT.decode_request(patch.split(json.dumps(body).encode()), {})


def answered(case: str) -> Response:
    return UPSTREAM.decode_response(golden(case, "response.json"))


def parts(request: Request) -> list[Part]:
    return [part for message in request.messages for part in message.parts]


def bare(found: list[Part]) -> Any:
    return laws.plain(found, frozenset({"extras"}))


# ----------------------------------------------------------------------------------------------------------- requests
def test_roles_and_system() -> None:
    request = asked("request-roles")
    roles = ["user", "assistant", "user", "assistant", "system", "user", "assistant"]
    assert [message.role for message in request.messages] == roles
    for case in ("content", "string", "parts", "part", "without-role"):
        assert asked(f"request-system-{case}").messages[0].role == "system"


def test_calls_without_ids_get_different_ones_and_results_find_them_in_order() -> None:
    found = parts(asked("request-calls-without-ids"))
    calls = [part for part in found if isinstance(part, ToolCall)]
    results = [part for part in found if isinstance(part, ToolResult)]
    assert len({call.id for call in calls}) == 4
    assert [result.call_id for result in results] == [call.id for call in calls]
    assert all(call.id.replace("-", "").isalnum() and len(call.id) <= 64 for call in calls)
    assert [[part.text for part in result.parts if isinstance(part, Text)] for result in results] == [
        ["sunny"],
        ['["rain","wind"]'],
        [],
        ["fog"],
    ]


def test_ids_stay_the_same_as_the_history_grows() -> None:
    whole = json.loads(golden("request-calls-without-ids", "request.json"))
    shorter = read({"contents": whole["contents"][:3]})
    calls = [part.id for part in parts(shorter) if isinstance(part, ToolCall)]
    assert calls == [part.id for part in parts(read(whole)) if isinstance(part, ToolCall)][:3]


def test_a_result_that_names_an_unknown_id_finds_its_call_by_name() -> None:
    found = parts(asked("request-results-name-ids-that-calls-lack"))
    calls = [part.id for part in found if isinstance(part, ToolCall)]
    assert [part.call_id for part in found if isinstance(part, ToolResult)] == calls


def test_results_tell_errors_and_carry_media() -> None:
    error = [part for part in parts(asked("request-calls-with-ids")) if isinstance(part, ToolResult)][1]
    assert (error.is_error, error.parts) == (True, [Text(text="no such city")])
    media = next(part for part in parts(asked("request-result-media")) if isinstance(part, ToolResult))
    assert [type(part) for part in media.parts] == [Text, Image, Document, Opaque]


def test_a_changed_result_is_sent_as_changed() -> None:
    request = asked("request-calls-with-ids")
    result = next(part for part in parts(request) if isinstance(part, ToolResult))
    result.parts = [Text(text="masked")]
    body = json.loads(UPSTREAM.encode_request(request, Profile()).body)
    assert body["contents"][2]["parts"][0]["functionResponse"]["response"] == {"result": "masked"}


def test_media_kinds() -> None:
    found = parts(asked("request-media"))
    kinds = [Text, Image, Image, Audio, Document, Video, Video, Document, Audio, Image, Text, Opaque]
    assert [type(part) for part in found] == kinds
    sources = [part.source for part in found if isinstance(part, Image | Audio | Document | Video)]
    assert sources[1] == Media(kind="base64", value="+/8=", media_type="image/png", filename="shot.png")
    assert [source.kind for source in sources] == ["base64"] * 5 + ["url", "file", "file", "url"]


def test_thoughts_and_signatures() -> None:
    assert bare(parts(asked("request-thoughts"))[1:7]) == bare(
        [
            Reasoning(text="I weigh it."),
            Reasoning(text="More.", signature="U2lnbmF0dXJlIG9mIGEgdGhvdWdodA==", issuer="gemini"),
            Text(text="Done.", signature="QW5vdGhlciBzaWduYXR1cmU="),
            Text(text="", signature="U2lnbmF0dXJlIG9mIGEgdGhvdWdodA=="),
            Image(
                source=Media(kind="base64", value="iVBORw0KGgo+/w==", media_type="image/png"),
                signature="QW5vdGhlciBzaWduYXR1cmU=",
            ),
            Opaque(dialect="gemini_content", raw=parts(asked("request-thoughts"))[6].raw, kind="inlineData"),  # type: ignore[union-attr]  # an Opaque
        ]
    )


def test_tools_are_json_schema_to_other_dialects() -> None:
    request = asked("request-tools")
    functions = {tool.name: tool for tool in request.tools if tool.kind == "function"}
    assert list(functions) == ["weather", "old.style:tool-1", "bare", "later"]
    old = functions["old.style:tool-1"].parameters
    assert old is not None
    schema = json.loads(bytes(old))
    assert schema["properties"]["kind"] == {"type": ["string", "null"], "enum": ["a", "b", None]}
    assert schema["properties"]["list"]["minItems"] == 1
    assert functions["bare"].parameters is None
    served = [tool.name for tool in request.tools if tool.kind == "server"]
    assert served[:3] == ["googleSearch", "urlContext", "codeExecution"]
    assert served[-1] == "someFutureTool"


@pytest.mark.parametrize(
    ("case", "mode", "names"),
    [
        ("auto", "auto", []),
        ("none", "none", []),
        ("any-one", "named", ["a"]),
        ("any-two", "required", ["a", "b"]),
        ("validated", "auto", []),
        ("unstated", "auto", []),
    ],
)
def test_tool_choices(case: str, mode: str, names: list[str]) -> None:
    choice = asked(f"request-choice-{case}").tool_choice
    assert choice is not None
    assert (choice.mode, choice.names) == (mode, names)


@pytest.mark.parametrize(
    ("case", "ask"),
    [
        ("off", ReasoningAsk(budget_tokens=0, mode="disabled")),
        ("dynamic", ReasoningAsk(budget_tokens=-1, mode="adaptive")),
        ("level", ReasoningAsk(effort="high", show=False)),
        ("level-lower-case", ReasoningAsk(effort="xhigh")),
        ("level-unspecified", ReasoningAsk()),
    ],
)
def test_thinking(case: str, ask: ReasoningAsk) -> None:
    found = asked(f"request-thinking-{case}").reasoning
    assert found is not None
    found.extras = None
    assert found == ask


def test_settings() -> None:
    request = asked("request-generation-config")
    assert (request.sampling.n, request.sampling.stop, request.sampling.top_k) == (2, list("abcdef"), 40)
    assert (request.sampling.logprobs, request.sampling.top_logprobs) == (True, 5)
    assert request.modalities == ["text", "image", "audio", "video"]
    assert request.output is not None
    assert request.output.kind == "json_schema"
    tiers = [asked(f"request-tier-{case}").service_tier for case in ("standard", "priority")]
    assert tiers == ["default", "priority"]


@pytest.mark.parametrize(
    ("case", "kind", "schema"),
    [
        ("request-json-mode", "json", None),
        ("request-json-openapi-schema", "json_schema", {"type": "array", "items": {"type": "string"}}),
        (
            "request-json-schema-without-mime",
            "json_schema",
            {"type": "object", "properties": {"a": {"type": "string"}}},
        ),
        ("request-json-enum", "other", {"type": "string", "enum": ["A", "B"]}),
        ("request-plain-text-asked", "text", None),
    ],
)
def test_output_formats(case: str, kind: str, schema: object) -> None:
    output = asked(case).output
    assert output is not None
    assert output.kind == kind
    assert (None if output.schema is None else json.loads(bytes(output.schema))) == schema


def test_what_is_a_gateway_s_business_is_not_taken_for_google_s() -> None:
    hello = [{"parts": [{"text": "Hi"}]}]
    request = read({"contents": hello, "model": "models/m", "stream": True, "tags": ["a"], "litellm_call_id": "x"})
    assert request.model == "m"
    assert request.extras == {}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "contents"),
        ({"contents": []}, "contents"),
        ({"contents": 3}, "contents"),
        ({"contents": [3]}, "contents[0]"),
        ({"contents": [{"role": "assistant", "parts": []}]}, "contents[0].role"),
        ({"contents": [{"role": 1}]}, "contents[0].role"),
        ({"contents": [{"parts": "x"}]}, "contents[0].parts"),
        ({"contents": [{"parts": [3]}]}, "contents[0].parts[0]"),
        ({"contents": [{"parts": [{"text": 3}]}]}, "contents[0].parts[0]"),
        ({"contents": [{"parts": [{"functionCall": 3}]}]}, "contents[0].parts[0]"),
        ({"contents": "x", "systemInstruction": 3}, "systemInstruction"),
        ({"contents": "x", "tools": 3}, "tools"),
        ({"contents": "x", "tools": [3]}, "tools[0]"),
        ({"contents": "x", "tools": [{"functionDeclarations": [{}]}]}, "tools[0].functionDeclarations[0].name"),
        (
            {"contents": "x", "toolConfig": {"functionCallingConfig": {"mode": 1}}},
            "toolConfig.functionCallingConfig.mode",
        ),
        ({"contents": "x", "generationConfig": 3}, "generationConfig"),
        ({"contents": "x", "generationConfig": {"temperature": "hot"}}, "generationConfig.temperature"),
        ({"contents": "x", "generationConfig": {"topK": 1.5}}, "generationConfig.topK"),
        ({"contents": "x", "generationConfig": {"stopSequences": "a"}}, "generationConfig.stopSequences"),
        (
            {"contents": "x", "generationConfig": {"thinkingConfig": {"thinkingBudget": "a"}}},
            "generationConfig.thinkingConfig.thinkingBudget",
        ),
        ({"contents": "x", "serviceTier": 3}, "serviceTier"),
    ],
)
def test_what_is_wrong_is_named(body: object, field: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read(body)
    assert refused.value.param == field
    assert field in refused.value.message


def test_deep_nesting_is_refused_and_not_fatal() -> None:
    deep = "[" * 100_000 + "]" * 100_000
    body = f'{{"contents":[{{"parts":[{{"functionResponse":{{"name":"f","response":{{"a":{deep}}}}}}}]}}]}}'
    with pytest.raises(BadRequest, match="contents"):
        CLIENT.decode_request({"contents": Raw(body[12:-1].encode())}, {})


# ------------------------------------------------------------------------------------------------------------ answers
def test_usage() -> None:
    whole = answered("response-usage")
    assert whole.usage == Usage(
        input_tokens=108,
        output_tokens=50,
        cache_read_tokens=40,
        tool_input_tokens=8,
        reasoning_tokens=30,
        audio_input_tokens=20,
        image_input_tokens=30,
        video_input_tokens=35,
        image_output_tokens=10,
        audio_output_tokens=5,
    )
    assert whole.service_tier == "priority"
    assert answered("response-vertex").service_tier == "default"


def test_sources_count_characters() -> None:
    whole = answered("response-grounding")
    (text,) = whole.choices[0].parts
    assert isinstance(text, Text)
    assert text.citations == [
        Citation(
            kind="url", url="https://a.example/1", title="a.example", cited_text="Grüße aus Köln.", start=0, end=15
        ),
        Citation(kind="url", url="https://maps.example/2", title="Dom", cited_text="Grüße aus Köln.", start=0, end=15),
        Citation(kind="file", url="gs://b/x.pdf", title="x.pdf", cited_text="Es regnet.", start=16, end=26),
        Citation(kind="url", url="https://i.example/3", title="Bild"),
    ]
    assert text.text[16:26] == "Es regnet."
    assert whole.usage is not None
    assert whole.usage.web_search_requests == 2


def test_sources_whose_place_is_wrong_have_none() -> None:
    (text,) = answered("response-grounding-not-found").choices[0].parts
    assert isinstance(text, Text)
    assert text.citations == [Citation(kind="url", url="https://a.example/1", cited_text="nicht da")]
    (quoted,) = answered("response-recitation").choices[0].parts
    assert isinstance(quoted, Text)
    assert quoted.citations == [
        Citation(kind="url", url="https://h.example", title="Hamlet", cited_text="To be", start=0, end=5)
    ]


def test_log_probabilities() -> None:
    scores = answered("response-logprobs").choices[0].logprobs
    assert scores is not None
    assert [(one.token, one.logprob, len(one.top)) for one in scores] == [("a", -0.1, 2), ("b", -0.2, 0)]


def test_indented_arguments_are_told_compact_with_their_numbers_as_written() -> None:
    call = next(part for part in answered("response-call").choices[0].parts if isinstance(part, ToolCall))
    assert call.arguments == '{"city":"Rome","deep":{"a":[1,2.5]}}'


def test_an_answer_is_the_same_answer_whole_or_streamed_even_in_the_ids_of_its_calls() -> None:
    body = golden("response-parallel-calls-without-ids", "response.json")
    first, second = (UPSTREAM.decode_response(body) for _ in range(2))
    ids = [part.id for part in first.choices[0].parts if isinstance(part, ToolCall)]
    assert len(set(ids)) == 3
    assert ids == [part.id for part in second.choices[0].parts if isinstance(part, ToolCall)]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"{}", b'{"error":{}}', b'{"candidates":3}', b"\xff"])
def test_what_is_no_answer_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        UPSTREAM.decode_response(body)


def test_an_answer_without_candidates_or_reason_is_an_error_and_not_a_stop() -> None:
    whole = UPSTREAM.decode_response(b'{"usageMetadata":{"promptTokenCount":3},"modelVersion":"m"}')
    assert [choice.finish for choice in whole.choices] == ["error"]


def test_usage_of_another_shape_does_not_break_an_answer() -> None:
    whole = UPSTREAM.decode_response(b'{"candidates":[],"usageMetadata":{"promptTokenCount":"many"}}')
    assert whole.usage is None


# ------------------------------------------------------------------------------------------------------------- errors
@pytest.mark.parametrize(
    ("error", "code", "word"),
    [(Unauthenticated("no key"), 401, "UNAUTHENTICATED"), (InternalError("oops"), 500, "INTERNAL")],
)
def test_our_own_errors_in_google_s_words(error: Exception, code: int, word: str) -> None:
    assert isinstance(error, Unauthenticated | InternalError)
    told = json.loads(GeminiClient().encode_error(error, call_id="call-1"))["error"]
    assert (told["code"], told["status"], told["message"]) == (code, word, error.message)
    assert told["details"][0]["metadata"]["callId"] == "call-1"
