"""What the data say of models on Bedrock, against what AWS and its models are known to answer."""

import json
from typing import Any

import pytest
from msgspec import Raw
from tests.dialects import bedrock_sdk

from wayport.dialects.bedrock_converse import DIALECT
from wayport.dialects.dialect import Profile
from wayport.dialects.neutral import (
    CacheMarker,
    Message,
    OutputFormat,
    ReasoningAsk,
    Request,
    Sampling,
    Text,
    Tool,
    ToolChoice,
)
from wayport.providers import registry

assert DIALECT.upstream is not None
UPSTREAM = DIALECT.upstream

CLAUDE_4 = "us.anthropic.claude-sonnet-4-20250514-v1:0"
CLAUDE_4_5 = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
CLAUDE_4_6 = "us.anthropic.claude-sonnet-4-6"
CLAUDE_5 = "global.anthropic.claude-opus-5"
NOVA = "us.amazon.nova-lite-v1:0"
NOVA_2 = "us.amazon.nova-2-lite-v1:0"
LLAMA = "us.meta.llama4-maverick-17b-instruct-v1:0"
OPEN = "openai.gpt-oss-120b-1:0"
QWEN = "qwen.qwen3-32b-v1:0"
WRITER = "us.writer.palmyra-x4-v1:0"


def profile_of(model: str) -> Profile:
    provider = registry.get("bedrock")
    assert provider is not None
    profile = registry.rule_for(provider, model).profile
    assert profile is not None
    return profile


def body_of(model: str, **fields: Any) -> Any:
    messages = [Message(role="user", parts=[Text(text="The tide?")])]
    request = Request(dialect="openai_chat", model=model, messages=messages, **fields)
    body = json.loads(UPSTREAM.encode_request(request, profile_of(model)).body)
    bedrock_sdk.accept(body)
    return body


@pytest.mark.parametrize(
    ("model", "additional", "effort"),
    [
        (CLAUDE_4, {"thinking": {"type": "enabled", "budget_tokens": 24576}}, None),
        (CLAUDE_4_5, {"thinking": {"type": "enabled", "budget_tokens": 24576}}, None),
        (CLAUDE_4_6, {"thinking": {"type": "adaptive"}}, "high"),
        (CLAUDE_5, {"thinking": {"type": "adaptive"}}, "high"),
        (NOVA, None, None),
        (NOVA_2, {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}}, None),
        (OPEN, {"reasoning_effort": "high"}, None),
        (QWEN, {"reasoning_config": "high"}, None),
        (LLAMA, None, None),
    ],
)
def test_each_family_is_asked_to_think_in_its_own_way(model: str, additional: Any, effort: str | None) -> None:
    body = body_of(model, reasoning=ReasoningAsk(effort="high"))
    assert body.get("additionalModelRequestFields") == additional
    assert body.get("outputConfig", {}).get("effort") == effort


@pytest.mark.parametrize(
    ("model", "additional"),
    [(CLAUDE_4_5, {"top_k": 20}), (NOVA_2, {"inferenceConfig": {"topK": 20}}), (LLAMA, None), (CLAUDE_5, None)],
)
def test_top_k_goes_where_the_family_takes_it(model: str, additional: Any) -> None:
    assert body_of(model, sampling=Sampling(top_k=20)).get("additionalModelRequestFields") == additional


@pytest.mark.parametrize(
    ("model", "choice"),
    [(CLAUDE_4_5, {"tool": {"name": "t"}}), (NOVA, {"tool": {"name": "t"}}), (OPEN, {"any": {}}), (LLAMA, None)],
)
def test_a_tool_is_forced_where_that_is_known(model: str, choice: Any) -> None:
    body = body_of(model, tools=[Tool(name="t")], tool_choice=ToolChoice(mode="named", names=["t"]))
    assert body["toolConfig"].get("toolChoice") == choice


@pytest.mark.parametrize(
    ("model", "points"), [(CLAUDE_4_5, ["1h", "1h"]), (CLAUDE_4, [None, None]), (NOVA, [None]), (OPEN, []), (LLAMA, [])]
)
def test_cache_points_stand_where_the_family_takes_them(model: str, points: list[str | None]) -> None:
    marker = CacheMarker(ttl="1h")
    marked = Request(
        dialect="anthropic_messages",
        model=model,
        messages=[Message(role="user", parts=[Text(text="The tide?", cache=marker)])],
        tools=[Tool(name="t", cache=marker)],
    )
    body = json.loads(UPSTREAM.encode_request(marked, profile_of(model)).body)
    blocks = [*body["toolConfig"]["tools"], *body["messages"][0]["content"]]
    assert [block["cachePoint"].get("ttl") for block in blocks if "cachePoint" in block] == points


@pytest.mark.parametrize(
    ("model", "way"), [(CLAUDE_4_5, "native"), (QWEN, "native"), (CLAUDE_4, "tool"), (NOVA, "tool"), (LLAMA, "prompt")]
)
def test_a_schema_is_put_as_the_family_takes_it(model: str, way: str) -> None:
    schema = Raw(b'{"type":"object","properties":{}}')
    body = body_of(model, output=OutputFormat(kind="json_schema", name="tide", schema=schema))
    assert ("outputConfig" in body, "toolConfig" in body, "system" in body) == (
        way == "native",
        way == "tool",
        way == "prompt",
    )


def test_claude_4_5_takes_temperature_or_top_p_and_claude_5_neither() -> None:
    both = Sampling(temperature=0.5, top_p=0.5)
    assert body_of(CLAUDE_4_5, sampling=both)["inferenceConfig"] == {"temperature": 0.5}
    assert "inferenceConfig" not in body_of(CLAUDE_5, sampling=both)
    assert body_of(NOVA, sampling=both)["inferenceConfig"] == {"temperature": 0.5, "topP": 0.5}


def test_only_betas_that_bedrock_knows_are_sent() -> None:
    request = Request(
        dialect="anthropic_messages",
        model=CLAUDE_4_5,
        messages=[Message(role="user", parts=[Text(text="Hi")])],
        betas=["context-1m-2025-08-07", "claude-code-20250219"],
    )
    encoded = UPSTREAM.encode_request(request, profile_of(CLAUDE_4_5))
    assert json.loads(encoded.body)["additionalModelRequestFields"] == {"anthropic_beta": ["context-1m-2025-08-07"]}
    assert encoded.dropped == ["anthropic-beta: claude-code-20250219"]


MODEL_SAID = "The model returned the following errors: "


@pytest.mark.parametrize(
    ("message", "kind", "param"),
    [
        # The pattern's witness: a recorded answer, status 400, without `x-amzn-errortype`.
        ("The provided model identifier is invalid.", "not_found", None),
        (
            "Invocation of model ID anthropic.claude-sonnet-4-6 with on-demand throughput isn’t supported. Retry with …",
            "not_found",
            None,
        ),
        (MODEL_SAID + "prompt is too long: 200049 tokens > 200000 maximum", "context_window", None),
        ("Input is too long for requested model.", "context_window", None),
        (MODEL_SAID + "Input is too long for requested model.", "context_window", None),
        (
            MODEL_SAID + "input length and `max_tokens` exceed context limit: 178959 + 64000 > 200000",
            "context_window",
            None,
        ),
        (MODEL_SAID + "Output blocked by content filtering policy", "content_policy", None),
        (
            "This model doesn't support the toolConfig.toolChoice.any field. Remove it and try again.",
            "unsupported_param",
            "toolConfig.toolChoice.any",
        ),
        (
            "Malformed input request: #: extraneous key [top_k] is not permitted, please reformat your input.",
            "unsupported_param",
            "top_k",
        ),
        (MODEL_SAID + "`temperature` is deprecated for this model.", "unsupported_param", "temperature"),
        ("The toolConfig field must be defined when using toolUse and toolResult content blocks.", "bad_request", None),
    ],
)
def test_what_is_said_in_prose_only_is_understood(message: str, kind: str, param: str | None) -> None:
    body = json.dumps({"message": message}).encode()
    fault = UPSTREAM.decode_error(400, {"x-amzn-errortype": "ValidationException"}, body, profile_of(WRITER))
    assert (fault.kind, fault.param) == (kind, param)


@pytest.mark.parametrize(
    "name", ["toolConfig.toolChoice.any", "toolConfig.toolChoice", "top_k", "topP", "stopSequences"]
)
def test_a_name_that_was_refused_is_one_that_can_be_left_out(name: str) -> None:
    """What `unsupported_param` names can be put into a profile, and the field is not sent again."""
    profile = Profile(unsupported=frozenset({name}), renames={"top_k": "top_k"})
    request = Request(
        dialect="openai_chat",
        model="m",
        messages=[Message(role="user", parts=[Text(text="Hi")])],
        tools=[Tool(name="t")],
        tool_choice=ToolChoice(mode="required"),
        sampling=Sampling(top_k=4, top_p=0.5, stop=["END"]),
    )
    encoded = UPSTREAM.encode_request(request, profile)
    assert f'"{name.rpartition(".")[2]}":' not in encoded.body.decode()
    assert len(encoded.dropped + encoded.lowered) == 1
