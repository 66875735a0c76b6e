"""Tools, tool choice and settings of other dialects in Google's words; what has none is named in the client's."""

import json
from typing import Any, Literal

import pytest
from msgspec import Raw
from tests.dialects.gemini_sdk import UPSTREAM, assistant, encoded, sent, tool, user

from wayport.dialects.dialect import Profile
from wayport.dialects.neutral import (
    DialectName,
    OutputFormat,
    ReasoningAsk,
    Request,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)


def ask(dialect: DialectName = "openai_chat", **options: Any) -> Request:
    return Request(dialect=dialect, model="m", messages=[user(Text(text="Hi"))], **options)


def raw(value: object) -> Raw:
    return Raw(json.dumps(value).encode())


SCHEMA = raw({"$schema": "s", "type": "object", "properties": {"a": {"const": 1}}, "additionalProperties": False})


# ------------------------------------------------------------------------------------------------------------- tools
def test_a_function_s_schema_goes_as_it_is_or_reduced() -> None:
    request = ask(tools=[Tool(name="f", description="d", parameters=SCHEMA, strict=True)])
    assert sent(request)["tools"] == [
        {"functionDeclarations": [{"name": "f", "description": "d", "parametersJsonSchema": json.loads(bytes(SCHEMA))}]}
    ]
    assert sent(request, Profile(tool_schema="openapi"))["tools"] == [
        {
            "functionDeclarations": [
                {
                    "name": "f",
                    "description": "d",
                    "parameters": {
                        "type": "OBJECT",
                        "properties": {"a": {"type": "INTEGER", "description": "One of: 1"}},
                    },
                }
            ]
        }
    ]


def test_a_function_without_parameters_has_none() -> None:
    empty = Tool(name="f", parameters=raw({"type": "object", "properties": {}}))
    body = sent(ask(tools=[empty, Tool(name="g")]), Profile(tool_schema="openapi"))
    assert body["tools"] == [{"functionDeclarations": [{"name": "f"}, {"name": "g"}]}]


def test_schema_bytes_are_sent_as_the_client_wrote_them() -> None:
    written = b'{ "type" : "object", "properties": {"b":{},"a":{}} }'
    assert written in UPSTREAM.encode_request(ask(tools=[Tool(name="f", parameters=Raw(written))]), Profile()).body


def test_a_tool_for_free_text_becomes_a_function_that_tells_its_grammar() -> None:
    entry = raw(
        {"type": "custom", "name": "patch", "format": {"type": "grammar", "syntax": "lark", "definition": "start: x"}}
    )
    body = sent(ask("openai_responses", tools=[Tool(name="patch", kind="custom", description="Edits.", raw=entry)]))
    declared = body["tools"][0]["functionDeclarations"][0]
    assert declared["parametersJsonSchema"]["required"] == ["input"]
    assert declared["description"].startswith("Edits.")
    assert declared["description"].endswith("start: x")


@pytest.mark.parametrize(
    ("name", "google"),
    [
        ("web_search_20250305", "googleSearch"),
        ("web_search_preview", "googleSearch"),
        ("web_fetch_20250910", "urlContext"),
        ("code_interpreter", "codeExecution"),
    ],
)
def test_a_server_tool_that_google_has_too_is_used_where_no_function_is_offered(name: str, google: str) -> None:
    server = Tool(name=name, kind="server", raw=raw({"type": name}))
    assert sent(ask(tools=[server]))["tools"] == [{google: {}}]
    body, out = encoded(ask(tools=[server, Tool(name="f")]))
    assert body["tools"] == [{"functionDeclarations": [{"name": "f"}]}]
    assert out.dropped == [f"tools.{name}"]


def test_a_server_tool_that_google_lacks_is_named() -> None:
    body, out = encoded(
        ask(tools=[Tool(name="image_generation", kind="server", raw=raw({"type": "image_generation"}))])
    )
    assert "tools" not in body
    assert out.dropped == ["tools.image_generation"]


@pytest.mark.parametrize(
    ("choice", "written"),
    [
        (ToolChoice(mode="auto"), {"mode": "AUTO"}),
        (ToolChoice(mode="none"), {"mode": "NONE"}),
        (ToolChoice(mode="required"), {"mode": "ANY"}),
        (ToolChoice(mode="named", names=["f"]), {"mode": "ANY", "allowedFunctionNames": ["f"]}),
        (ToolChoice(mode="required", names=["f", "g"]), {"mode": "ANY", "allowedFunctionNames": ["f", "g"]}),
        (ToolChoice(mode="auto", names=["f"]), {"mode": "VALIDATED", "allowedFunctionNames": ["f"]}),
    ],
)
def test_tool_choices(choice: ToolChoice, written: dict[str, Any]) -> None:
    body = sent(ask(tools=[Tool(name="f"), Tool(name="g")], tool_choice=choice))
    assert body["toolConfig"] == {"functionCallingConfig": written}


def test_a_choice_among_no_functions_is_not_sent() -> None:
    assert "toolConfig" not in sent(ask(tool_choice=ToolChoice(mode="auto")))


# ------------------------------------------------------------------------------------------------------------- names
def test_names_that_google_refuses_are_changed_the_same_way_everywhere_and_lead_back() -> None:
    name = "8 búsquedas/" + "x" * 80
    request = Request(
        dialect="openai_responses",
        model="m",
        messages=[
            user(Text(text="go")),
            assistant(
                ToolCall(id="a", name=name, arguments="{}"), ToolCall(id="b", name="f", namespace="n", arguments="{}")
            ),
            tool(ToolResult(call_id="a", parts=[]), ToolResult(call_id="b", parts=[])),
        ],
        tools=[Tool(name=name), Tool(name="f", namespace="n"), Tool(name="f"), Tool(name="fine.name:1-x_")],
        tool_choice=ToolChoice(mode="named", names=[name]),
    )
    body, out = encoded(request)
    changed, spaced, plain, fine = (one["name"] for one in body["tools"][0]["functionDeclarations"])
    assert len(changed) == 64
    assert changed.startswith("_8_b_squedas_xx")
    assert (spaced, plain, fine) == ("n.f", "f", "fine.name:1-x_")
    assert out.tool_names == {changed: (name, None), "n.f": ("f", "n")}
    assert body["contents"][1]["parts"][0]["functionCall"]["name"] == changed
    assert [part["functionResponse"]["name"] for part in body["contents"][2]["parts"]] == [changed, "n.f"]
    assert body["toolConfig"]["functionCallingConfig"]["allowedFunctionNames"] == [changed]


def test_two_names_never_become_one() -> None:
    body = sent(ask(tools=[Tool(name="a b"), Tool(name="a/b"), Tool(name="a_b")]))
    assert len({one["name"] for one in body["tools"][0]["functionDeclarations"]}) == 3


# ---------------------------------------------------------------------------------------------------------- settings
def test_settings_keep_their_values() -> None:
    sampling = Sampling(
        max_output_tokens=100,
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        stop=["a"],
        n=2,
        seed=7,
        presence_penalty=0.1,
        frequency_penalty=-0.1,
        logprobs=True,
        top_logprobs=3,
    )
    assert sent(ask(sampling=sampling))["generationConfig"] == {
        "maxOutputTokens": 100,
        "temperature": 0.5,
        "topP": 0.9,
        "topK": 40,
        "stopSequences": ["a"],
        "candidateCount": 2,
        "seed": 7,
        "presencePenalty": 0.1,
        "frequencyPenalty": -0.1,
        "responseLogprobs": True,
        "logprobs": 3,
    }


def test_more_than_five_stops_are_cut_and_reported() -> None:
    body, out = encoded(ask("anthropic_messages", sampling=Sampling(stop=list("abcdefg"))))
    assert body["generationConfig"]["stopSequences"] == list("abcde")
    assert out.lowered == ["stop_sequences"]


def test_what_is_too_much_is_lowered_and_reported() -> None:
    limits = Profile(max_output_tokens=8, temperature_max=1.0)
    body, out = encoded(ask(sampling=Sampling(max_output_tokens=9, temperature=1.5)), limits)
    assert body["generationConfig"] == {"maxOutputTokens": 8, "temperature": 1.0}
    assert out.lowered == ["temperature", "max_tokens"]


def test_what_a_target_refuses_is_dropped_in_the_client_s_words() -> None:
    sampling = Sampling(seed=1, presence_penalty=0.5, logprobs=True, top_logprobs=2)
    refusing = Profile(unsupported=frozenset({"seed", "presencePenalty", "responseLogprobs", "thinkingConfig"}))
    body, out = encoded(ask(sampling=sampling, reasoning=ReasoningAsk(effort="low")), refusing)
    assert "generationConfig" not in body
    assert out.dropped == ["seed", "presence_penalty", "logprobs", "reasoning_effort"]


def test_what_gemini_lacks_is_named() -> None:
    request = ask(
        "openai_responses",
        sampling=Sampling(min_p=0.1, logit_bias=raw({"1": 1})),
        audio=raw({}),
        verbosity="low",
        user="u",
        metadata=raw({}),
        prediction=raw({}),
        parallel_tool_calls=False,
        cache_key="k",
        extras={"background": raw(True), "@note": raw(1), "cache_control": raw({})},
    )
    _, out = encoded(request)
    assert out.dropped == [
        "min_p",
        "logit_bias",
        "audio",
        "text.verbosity",
        "user",
        "metadata",
        "prediction",
        "parallel_tool_calls",
        "background",
    ]


def test_google_s_own_fields_are_taken_from_other_dialects_too() -> None:
    settings = [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]
    body, out = encoded(ask(extras={"safety_settings": raw(settings), "cached_content": raw("cachedContents/1")}))
    assert body["safetySettings"] == settings
    assert body["cachedContent"] == "cachedContents/1"
    assert not out.dropped


@pytest.mark.parametrize(
    ("tier", "written", "dropped"),
    [
        ("auto", None, []),
        ("default", "standard", []),
        ("flex", "flex", []),
        ("priority", "priority", []),
        ("scale", None, ["service_tier"]),
    ],
)
def test_service_tiers(tier: str, written: str | None, dropped: list[str]) -> None:
    body, out = encoded(ask(service_tier=tier))
    assert body.get("serviceTier") == written
    assert out.dropped == dropped


def test_modalities_are_sent_when_they_are_more_than_text() -> None:
    assert sent(ask(modalities=["text", "audio"]))["generationConfig"]["responseModalities"] == ["TEXT", "AUDIO"]
    assert "generationConfig" not in sent(ask(modalities=["text"]))


# ------------------------------------------------------------------------------------------------------------ output
def test_json_mode_and_schemas() -> None:
    assert sent(ask(output=OutputFormat(kind="json")))["generationConfig"] == {"responseMimeType": "application/json"}
    request = ask(output=OutputFormat(kind="json_schema", name="n", schema=SCHEMA, strict=True))
    assert sent(request)["generationConfig"] == {
        "responseMimeType": "application/json",
        "responseJsonSchema": json.loads(bytes(SCHEMA)),
    }
    reduced = sent(request, Profile(tool_schema="openapi"))["generationConfig"]["responseSchema"]
    assert reduced["type"] == "OBJECT"
    body, out = encoded(request, Profile(json_schema="none"))
    assert "generationConfig" not in body
    assert out.dropped == ["response_format"]
    body, out = encoded(request, Profile(json_schema="json_object"))
    assert body["generationConfig"] == {"responseMimeType": "application/json"}
    assert out.lowered == ["response_format"]
    assert "generationConfig" not in sent(ask(output=OutputFormat(kind="text")))


# --------------------------------------------------------------------------------------------------------- reasoning
How = Literal["budget", "level", "none"]


@pytest.mark.parametrize(
    ("how", "wish", "written", "reported"),
    [
        ("budget", ReasoningAsk(effort="low"), {"thinkingBudget": 1024, "includeThoughts": True}, []),
        ("budget", ReasoningAsk(effort="medium"), {"thinkingBudget": 8192, "includeThoughts": True}, []),
        ("budget", ReasoningAsk(effort="max"), {"thinkingBudget": 24576, "includeThoughts": True}, []),
        ("budget", ReasoningAsk(effort="none"), {"thinkingBudget": 0}, []),
        ("budget", ReasoningAsk(mode="disabled"), {"thinkingBudget": 0}, []),
        ("budget", ReasoningAsk(budget_tokens=2000), {"thinkingBudget": 2000, "includeThoughts": True}, []),
        ("budget", ReasoningAsk(budget_tokens=2000, show=False), {"thinkingBudget": 2000}, []),
        (
            "budget",
            ReasoningAsk(budget_tokens=60000),
            {"thinkingBudget": 24576, "includeThoughts": True},
            ["reasoning_effort"],
        ),
        ("budget", ReasoningAsk(mode="adaptive"), {"thinkingBudget": -1, "includeThoughts": True}, []),
        ("budget", ReasoningAsk(summary="auto"), {"includeThoughts": True}, []),
        ("level", ReasoningAsk(effort="low"), {"thinkingLevel": "LOW", "includeThoughts": True}, []),
        ("level", ReasoningAsk(effort="max"), {"thinkingLevel": "HIGH", "includeThoughts": True}, ["reasoning_effort"]),
        ("level", ReasoningAsk(effort="none"), {"thinkingLevel": "LOW"}, ["reasoning_effort"]),
        ("level", ReasoningAsk(budget_tokens=1024), {"thinkingLevel": "LOW", "includeThoughts": True}, []),
        ("level", ReasoningAsk(budget_tokens=8000), {"thinkingLevel": "MEDIUM", "includeThoughts": True}, []),
        ("level", ReasoningAsk(budget_tokens=32000), {"thinkingLevel": "HIGH", "includeThoughts": True}, []),
        ("level", ReasoningAsk(mode="adaptive"), {"includeThoughts": True}, []),
        ("level", ReasoningAsk(mode="adaptive", effort="high"), {"thinkingLevel": "HIGH", "includeThoughts": True}, []),
        ("none", ReasoningAsk(effort="high"), None, ["reasoning_effort"]),
        ("none", ReasoningAsk(effort="none"), None, []),
        ("none", ReasoningAsk(mode="disabled"), None, []),
    ],
)
def test_how_much_to_think(how: How, wish: ReasoningAsk, written: dict[str, Any] | None, reported: list[str]) -> None:
    body, out = encoded(ask(reasoning=wish), Profile(reasoning=how))
    assert body.get("generationConfig", {}).get("thinkingConfig") == written
    assert [*out.dropped, *out.lowered] == reported


def test_efforts_are_rounded_up_to_what_a_target_knows() -> None:
    pro = Profile(reasoning="level", reasoning_efforts=("low", "high"))
    body, out = encoded(ask("anthropic_messages", reasoning=ReasoningAsk(effort="medium")), pro)
    assert body["generationConfig"]["thinkingConfig"]["thinkingLevel"] == "HIGH"
    assert out.lowered == ["thinking"]
    always = Profile(reasoning="budget", reasoning_efforts=("minimal", "low", "medium", "high"))
    body, _ = encoded(ask(reasoning=ReasoningAsk(effort="none")), always)
    assert body["generationConfig"]["thinkingConfig"] == {"thinkingBudget": 1024}
    body, out = encoded(ask(reasoning=ReasoningAsk(effort="brisk")), pro)
    assert body["generationConfig"]["thinkingConfig"] == {"includeThoughts": True}
    assert out.dropped == ["reasoning_effort"]
