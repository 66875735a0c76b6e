"""Tools and options of other dialects, written for Anthropic: fitted to what it takes, and what it lacks is named."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from tests.dialects.anthropic_asks import TOOLS, UPSTREAM, ask, body_of, calls, encode, result, say, tool

from wayport.dialects.anthropic_messages_answer import JSON_TOOL, JSON_VALUE_TOOL
from wayport.dialects.anthropic_messages_tools import fit_name
from wayport.dialects.dialect import Encoded, Profile
from wayport.dialects.neutral import (
    CacheMarker,
    OutputFormat,
    Reasoning,
    ReasoningAsk,
    Sampling,
    Text,
    Tool,
    ToolChoice,
)
from wayport.dialects.tool_names import ToolNames


# ------------------------------------------------------------------------------------------------------------- tools
def test_names_are_changed_where_they_must_be_and_lead_back() -> None:
    long = "n" * 140
    encoded = encode(
        ask(
            tools=[tool("look"), tool("harbour.look"), tool(long), tool("tide", namespace="mcp")],
            tool_choice=ToolChoice(mode="named", names=["harbour.look"]),
        )
    )
    body = json.loads(encoded.body)
    sent = [entry["name"] for entry in body["tools"]]
    assert sent[0] == "look"
    assert all(len(name) <= 128 for name in sent)
    assert sent[3] == "mcp__tide"
    assert encoded.tool_names == {
        sent[1]: ("harbour.look", None),
        sent[2]: (long, None),
        "mcp__tide": ("tide", "mcp"),
    }
    assert body["tool_choice"] == {"type": "tool", "name": sent[1]}


@given(st.lists(st.text(min_size=1, max_size=200), unique=True, max_size=6))
def test_two_names_never_meet(names: list[str]) -> None:
    made = ToolNames(fit_name)
    sent = [made.sent(name) for name in names]
    assert len(set(sent)) == len(names)
    assert all(len(name) <= 128 and name.isascii() for name in sent)
    assert [made.changed.get(name, (name, None))[0] for name in sent] == names


def test_a_schema_is_always_an_objects() -> None:
    bare = Tool(name="bare")
    untyped = Tool(name="untyped", parameters=Raw(b'{"properties":{"a":{"type":"string"}}}'))
    body = body_of(ask(tools=[bare, untyped, Tool(name="empty", parameters=Raw(b"{}"))]))
    assert [entry["input_schema"]["type"] for entry in body["tools"]] == ["object"] * 3
    assert body["tools"][1]["input_schema"]["properties"] == {"a": {"type": "string"}}


def test_a_schema_keeps_its_bytes() -> None:
    written = b'{"type":"object",  "properties":{"feet":{"type":"number","minimum":1.50}}}'
    encoded = encode(ask(tools=[Tool(name="tide", parameters=Raw(written))]))
    assert written in encoded.body


def test_a_strict_schema_is_closed_and_its_limits_are_told() -> None:
    written = Raw(b'{"type":"object","properties":{"feet":{"type":"number","minimum":1}},"required":["feet"]}')
    body = body_of(ask(tools=[Tool(name="tide", parameters=written, strict=True)]))
    assert body["tools"][0]["strict"] is True
    schema = body["tools"][0]["input_schema"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["feet"] == {"type": "number", "description": "{minimum: 1}"}


def test_a_custom_tool_takes_its_text_as_input() -> None:
    raw = Raw(b'{"type":"custom","name":"patch","format":{"type":"grammar","syntax":"lark","definition":"start: x"}}')
    patch = Tool(name="patch", kind="custom", description="Patches.", raw=raw)
    body = body_of(ask(dialect="openai_responses", tools=[patch]))
    assert body["tools"][0]["input_schema"]["required"] == ["input"]
    assert "start: x" in body["tools"][0]["description"]


def test_server_tools_of_others_are_dropped_by_name() -> None:
    search = Tool(name="web_search", kind="server", raw=Raw(b'{"type":"web_search"}'))
    encoded = encode(
        ask(
            dialect="openai_responses",
            tools=[search, tool("look")],
            tool_choice=ToolChoice(mode="named", names=["web_search"]),
        )
    )
    assert encoded.dropped == ["tools.web_search", "tool_choice"]
    assert json.loads(encoded.body)["tool_choice"] == {"type": "auto"}


def test_parallel_calls_are_switched_off() -> None:
    off = {"type": "auto", "disable_parallel_tool_use": True}
    assert body_of(ask(tools=TOOLS, parallel_tool_calls=False))["tool_choice"] == off
    forced = ask(tools=TOOLS, parallel_tool_calls=False, tool_choice=ToolChoice(mode="required"))
    assert body_of(forced)["tool_choice"] == {"type": "any", "disable_parallel_tool_use": True}
    assert "tool_choice" not in body_of(ask(tools=TOOLS, parallel_tool_calls=True))
    none = ask(tools=TOOLS, parallel_tool_calls=False, tool_choice=ToolChoice(mode="none"))
    assert body_of(none)["tool_choice"] == {"type": "none"}


def test_a_choice_without_tools_is_no_choice() -> None:
    assert "tool_choice" not in body_of(ask(tool_choice=ToolChoice(mode="auto"), parallel_tool_calls=False))


def test_only_allowed_tools_are_offered() -> None:
    request = ask(tools=[tool("look"), tool("listen")], tool_choice=ToolChoice(mode="required", names=["listen"]))
    assert [entry["name"] for entry in body_of(request)["tools"]] == ["listen"]


def test_tools_of_the_past_stay_defined() -> None:
    body = body_of(ask(say("user", "?"), calls("a"), result("a"), say("user", "Thanks.")))
    assert [entry["name"] for entry in body["tools"]] == ["look"]
    assert body["tool_choice"] == {"type": "none"}


# ----------------------------------------------------------------------------------------------------------- options
def test_a_limit_is_always_given_and_never_above_the_models() -> None:
    assert body_of(ask())["max_tokens"] == 4096
    assert body_of(ask(), default_max_tokens=16000)["max_tokens"] == 16000
    assert body_of(ask(), max_output_tokens=8192)["max_tokens"] == 8192
    encoded = encode(ask(sampling=Sampling(max_output_tokens=99999)), max_output_tokens=8192)
    assert json.loads(encoded.body)["max_tokens"] == 8192
    assert encoded.lowered == ["max_tokens"]


def test_what_anthropic_lacks_is_named_in_the_clients_words() -> None:
    sampling = Sampling(
        n=2,
        seed=7,
        presence_penalty=0.5,
        frequency_penalty=1,
        logit_bias=Raw(b'{"7":1}'),
        logprobs=True,
        top_logprobs=3,
    )
    fields: dict[str, Any] = {
        "sampling": sampling,
        "verbosity": "low",
        "modalities": ["text", "audio"],
        "prediction": Raw(b"{}"),
        "cache_key": "k",
        "extras": {"safety_identifier": Raw(b'"x"')},
    }
    assert encode(ask(**fields)).dropped == [
        "n", "seed", "presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs",
        "modalities", "verbosity", "prediction", "prompt_cache_key", "safety_identifier",
    ]  # fmt: skip
    words = encode(ask(dialect="gemini_content", sampling=Sampling(n=2, seed=7, top_p=0.5, temperature=0.5))).dropped
    assert words == ["generationConfig.candidateCount", "generationConfig.seed"]


def test_what_changes_nothing_is_not_named() -> None:
    idle = Sampling(n=1, presence_penalty=0, frequency_penalty=0.0, logprobs=False, logit_bias=Raw(b"{}"))
    assert encode(ask(sampling=idle, modalities=["text"], store=True)).dropped == []


def test_sampling_is_fitted() -> None:
    encoded = encode(ask(sampling=Sampling(temperature=1.7, top_p=0.5, top_k=9, stop=["\n", "END"])))
    body = json.loads(encoded.body)
    assert (body["temperature"], body["top_k"], body["stop_sequences"]) == (1, 9, ["END"])
    assert (encoded.dropped, encoded.lowered) == (["stop"], ["temperature"])
    cool = encode(ask(sampling=Sampling(temperature=0.9)), temperature_max=0.5)
    assert (json.loads(cool.body)["temperature"], cool.lowered) == (0.5, ["temperature"])


def test_the_profile_shapes_the_body() -> None:
    sampling = Sampling(temperature=0.5, top_p=0.9, top_k=3)
    encoded = UPSTREAM.encode_request(
        ask(sampling=sampling, stream=True, betas=["b-2026"]),
        Profile(
            exclusive=("temperature", "top_p"),
            renames={"top_k": "k"},
            constants={"anthropic_version": "bedrock-2023-05-31"},
            unsupported=frozenset({"stream"}),
            model_in_body=False,
            betas_in_body=True,
        ),
    )
    body = json.loads(encoded.body)
    assert body == {
        "anthropic_version": "bedrock-2023-05-31",
        "anthropic_beta": ["b-2026"],
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": "The tide?"}],
        "temperature": 0.5,
        "k": 3,
    }
    assert (encoded.dropped, encoded.headers) == (["top_p"], {})


def test_what_a_target_refuses_while_it_thinks_is_taken_out_then() -> None:
    request = ask(sampling=Sampling(stop=["END"]), reasoning=ReasoningAsk(effort="low"))
    assert encode(request, unsupported_reasoning=frozenset({"stop_sequences"})).dropped == ["stop"]
    request.reasoning = None
    assert encode(request, unsupported_reasoning=frozenset({"stop_sequences"})).dropped == []


def test_a_target_without_forced_calls_is_not_forced() -> None:
    encoded = encode(ask(tools=TOOLS, tool_choice=ToolChoice(mode="required")), tool_choice_required=False)
    assert json.loads(encoded.body)["tool_choice"] == {"type": "auto"}
    assert encoded.lowered == ["tool_choice"]


@pytest.mark.parametrize(("tier", "sent", "dropped"), [
    ("auto", "auto", []), ("default", "standard_only", []), ("flex", None, ["service_tier"])])  # fmt: skip
def test_service_tiers_are_mapped(tier: str, sent: str | None, dropped: list[str]) -> None:
    encoded = encode(ask(service_tier=tier, user="u-7"))
    body = json.loads(encoded.body)
    assert body.get("service_tier") == sent
    assert encoded.dropped == dropped
    assert body["metadata"] == {"user_id": "u-7"}


def test_unsupported_parameters_are_taken_out() -> None:
    request = ask(sampling=Sampling(temperature=0.5, stop=["END"]), reasoning=ReasoningAsk(effort="low"))
    encoded = encode(request, unsupported=frozenset({"temperature", "stop_sequences", "output_config.effort", "model"}))
    assert sorted(encoded.dropped) == ["reasoning_effort", "stop", "temperature"]
    assert json.loads(encoded.body)["model"] == "claude-sonnet-4-5"


def test_betas_pass_the_list() -> None:
    request = ask(dialect="anthropic_messages", betas=["context-1m-2025-08-07", "other-2026"])
    assert encode(request).headers == {"anthropic-beta": "context-1m-2025-08-07,other-2026"}
    known = encode(request, betas=("other-2026",))
    assert known.headers == {"anthropic-beta": "other-2026"}
    assert known.dropped == ["anthropic-beta: context-1m-2025-08-07"]
    assert encode(request, betas=()).headers == {}


# ---------------------------------------------------------------------------------------------------------- thinking
def thinking(wish: ReasoningAsk, limit: int = 10_000, /, **profile: Any) -> tuple[Any, Any, Encoded]:
    encoded = encode(ask(reasoning=wish, sampling=Sampling(max_output_tokens=limit)), **profile)
    body = json.loads(encoded.body)
    return body.get("thinking"), body.get("output_config"), encoded


def test_effort_is_adaptive_thinking() -> None:
    assert thinking(ReasoningAsk(effort="high"))[:2] == ({"type": "adaptive"}, {"effort": "high"})
    asked, config, encoded = thinking(ReasoningAsk(effort="minimal"))
    assert (asked, config, encoded.lowered) == ({"type": "adaptive"}, {"effort": "low"}, ["reasoning_effort"])
    efforts: dict[str, Any] = {"reasoning_efforts": ("low", "medium", "high")}
    assert thinking(ReasoningAsk(effort="max"), **efforts)[1] == {"effort": "high"}
    assert thinking(ReasoningAsk(budget_tokens=5000))[1] == {"effort": "medium"}
    assert thinking(ReasoningAsk(budget_tokens=-1))[:2] == ({"type": "adaptive"}, None)
    assert thinking(ReasoningAsk(effort="low", show=True))[0] == {"type": "adaptive", "display": "summarized"}
    assert thinking(ReasoningAsk(effort="high"), reasoning="effort")[:2] == (None, {"effort": "high"})


def test_effort_is_a_budget_where_models_know_budgets() -> None:
    assert thinking(ReasoningAsk(effort="medium"), reasoning="budget")[0] == {"type": "enabled", "budget_tokens": 5000}
    assert thinking(ReasoningAsk(effort="low"), 2000, reasoning="budget")[0]["budget_tokens"] == 1024
    assert thinking(ReasoningAsk(budget_tokens=300), reasoning="budget")[0]["budget_tokens"] == 1024
    capped, _, encoded = thinking(ReasoningAsk(budget_tokens=64_000), reasoning="budget")
    assert capped["budget_tokens"] == 9999
    assert encoded.lowered == ["reasoning_effort"]


def test_there_is_no_thinking_without_room_for_it() -> None:
    none, _, encoded = thinking(ReasoningAsk(effort="high"), 1000, reasoning="budget")
    assert none is None
    assert encoded.dropped == ["reasoning_effort"]


def test_thinking_is_switched_off() -> None:
    for off in (
        ReasoningAsk(effort="none"),
        ReasoningAsk(budget_tokens=0),
        ReasoningAsk(mode="disabled", effort="high"),
    ):
        assert thinking(off)[:2] == ({"type": "disabled"}, None)
        assert thinking(off, reasoning="none")[0] is None
    assert thinking(ReasoningAsk(effort="high"), reasoning="none")[2].dropped == ["reasoning_effort"]


def test_thinking_goes_without_changed_sampling() -> None:
    sampling = Sampling(temperature=0.2, top_k=5, max_output_tokens=9000)
    encoded = encode(ask(reasoning=ReasoningAsk(effort="high"), sampling=sampling))
    assert encoded.dropped == ["temperature", "top_k"]
    low = encode(ask(reasoning=ReasoningAsk(effort="high"), sampling=Sampling(top_p=0.5)))
    assert low.dropped == ["top_p"]
    kept = encode(ask(reasoning=ReasoningAsk(effort="none"), sampling=Sampling(temperature=0.2)))
    assert json.loads(kept.body)["temperature"] == 0.2


def test_a_forced_tool_outweighs_a_budget_but_not_adaptive_thinking() -> None:
    request = ask(
        tools=TOOLS,
        tool_choice=ToolChoice(mode="required"),
        reasoning=ReasoningAsk(effort="high"),
        sampling=Sampling(max_output_tokens=9000),
    )
    encoded = encode(request, reasoning="budget")
    assert "thinking" not in json.loads(encoded.body)
    assert encoded.dropped == ["reasoning_effort"]
    assert body_of(request)["thinking"] == {"type": "adaptive"}


def test_a_budget_needs_the_thought_before_the_calls() -> None:
    fields: dict[str, Any] = {
        "tools": TOOLS,
        "reasoning": ReasoningAsk(effort="high"),
        "sampling": Sampling(max_output_tokens=9000),
    }
    request = ask(say("user", "?"), calls("a"), result("a"), **fields)
    assert encode(request, reasoning="budget").dropped == ["reasoning_effort"]
    assert encode(request).dropped == []
    thought = Reasoning(text="hm", signature="EqQB", issuer="anthropic")
    shown = ask(say("user", "?"), say("assistant", thought, *calls("a").parts), result("a"), **fields)
    assert encode(shown, reasoning="budget").dropped == []


# ------------------------------------------------------------------------------------------------------- JSON answers
SCHEMA = Raw(
    b'{"type":"object","properties":{"feet":{"type":"number"}},"required":["feet"],"additionalProperties":false}'
)


def test_a_json_schema_is_put_as_the_target_takes_it() -> None:
    output = OutputFormat(kind="json_schema", name="tide", schema=SCHEMA, strict=True)
    native = body_of(ask(output=output, reasoning=ReasoningAsk(effort="low")))
    assert native["output_config"] == {
        "format": {"type": "json_schema", "schema": json.loads(bytes(SCHEMA))},
        "effort": "low",
    }
    told = body_of(ask(output=output), json_schema="prompt")
    assert bytes(SCHEMA).decode() in told["system"][-1]["text"]
    assert encode(ask(output=output), json_schema="none").dropped == ["response_format"]
    forced = body_of(ask(output=output), json_schema="tool")
    assert forced["tools"][0]["name"] == JSON_TOOL
    assert forced["tool_choice"] == {"type": "tool", "name": JSON_TOOL, "disable_parallel_tool_use": True}


def test_a_json_answer_stands_beside_the_clients_tools() -> None:
    output = OutputFormat(kind="json_schema", schema=SCHEMA)
    body = body_of(ask(output=output, tools=TOOLS), json_schema="tool")
    assert [entry["name"] for entry in body["tools"]] == ["look", JSON_TOOL]
    assert body["tool_choice"] == {"type": "any"}
    none = body_of(ask(output=output, tools=TOOLS, tool_choice=ToolChoice(mode="none")), json_schema="tool")
    assert none["tool_choice"]["name"] == JSON_TOOL


def test_an_answer_that_is_no_object_is_wrapped() -> None:
    schema = Raw(b'{"type":"array","items":{"$ref":"#/$defs/x"},"$defs":{"x":{"type":"number"}}}')
    body = body_of(ask(output=OutputFormat(kind="json_schema", schema=schema)), json_schema="tool")
    assert body["tools"][0]["name"] == JSON_VALUE_TOOL
    wrapped = body["tools"][0]["input_schema"]
    assert wrapped["$defs"] == {"x": {"type": "number"}}
    assert wrapped["properties"]["value"] == {"type": "array", "items": {"$ref": "#/$defs/x"}}


@pytest.mark.parametrize(("name", "given", "text"), [
    (JSON_TOOL, b'{"feet": 7}', '{"feet": 7}'), (JSON_VALUE_TOOL, b'{"value": [1, 2]}', "[1, 2]")])  # fmt: skip
def test_a_json_answer_by_tool_is_text_again(name: str, given: bytes, text: str) -> None:
    content = b'[{"type":"tool_use","id":"t","name":"%b","input":%b}]' % (name.encode(), given)
    response = UPSTREAM.decode_response(b'{"type":"message","content":%b,"stop_reason":"tool_use"}' % content)
    assert response.choices[0].parts == [Text(text=text)]
    assert response.choices[0].finish == "stop"


def test_json_without_a_schema_is_asked_for_in_words() -> None:
    body = body_of(ask(say("system", "Log."), say("user", "?"), output=OutputFormat(kind="json")))
    assert body["system"][0] == {"type": "text", "text": "Log."}
    assert "JSON" in body["system"][1]["text"]
    assert "output_config" not in body


# ----------------------------------------------------------------------------------------------------- cache markers
def test_markers_beyond_four_are_taken_from_the_middle() -> None:
    marked = [Text(text=str(number), cache=CacheMarker()) for number in range(6)]
    request = ask(
        say("system", Text(text="s", cache=CacheMarker(ttl="1h"))),
        say("user", *marked),
        tools=[tool("look", cache=CacheMarker())],
    )
    encoded = encode(request)
    body = json.loads(encoded.body)
    assert encoded.lowered == ["cache_control"]
    assert "cache_control" not in body["tools"][0]
    assert body["system"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert ["cache_control" in block for block in body["messages"][0]["content"]] == [False] * 3 + [True] * 3
