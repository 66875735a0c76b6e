"""The straight way and the long way tell, record, send and charge the same; whatever is not ordinary takes the long one."""

import asyncio
import gzip
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from tests.fakes.gateway import Gateway, gateway
from tests.fakes.upstream import (
    Behaviour,
    Upstream,
    answer,
    close_without_answer,
    cut,
    html_error,
    json_answer,
    reset,
    sse,
    stall,
    whole,
)
from tests.pipeline.test_chat import OPENING, STREAM, WHOLE, chunk

from wayport.access.principal import Budget, Holder, rates_of
from wayport.core.record import CallRecord
from wayport.dialects.registry import DIALECTS

KEY = "sk-straight-and-long-01"
LIMITED = Holder(
    scope="key",
    id="k",
    budgets=(Budget(max_nano_usd=10_000_000_000, duration="30d"),),
    rates=rates_of(rpm=1000, tpm=1_000_000),
    max_parallel=10,
)
ASK = {"model": "gpt", "messages": [{"role": "user", "content": "Hello"}]}
OK = json_answer(WHOLE)
CLAUDE: dict[str, Any] = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "stop_reason": "end_turn",
    "stop_sequence": None, "content": [{"type": "text", "text": "Hello"}],
    "usage": {"input_tokens": 5, "output_tokens": 3},
}  # fmt: skip
ASK_CLAUDE = {"model": "claude", "max_tokens": 20, "messages": [{"role": "user", "content": "Hi"}]}
GEMINI = {
    "candidates": [{"content": {"role": "model", "parts": [{"text": "Hello"}]}, "finishReason": "STOP", "index": 0}],
    "usageMetadata": {"promptTokenCount": 4, "candidatesTokenCount": 2, "totalTokenCount": 6},
    "modelVersion": "gemini-3-pro", "responseId": "r1",
}  # fmt: skip
FEW = json_answer({**WHOLE, "usage": {"prompt_tokens": 4, "completion_tokens": 2, "total_tokens": 6}})
"""Of few tokens: whoever said it is slower by the token than what nobody knows, however fast this machine is."""
ANSWERS = {
    "gpt": OK,
    "other": OK,
    "claude": json_answer(CLAUDE),
    "old": json_answer(CLAUDE),
    "gemini": json_answer(GEMINI),
    "both": json_answer(CLAUDE),
    **dict.fromkeys(("two", "chain", "tagged", "narrow", "counted", "slots"), FEW),
}
"""what the upstream of each model says"""


def _config(upstream: Upstream, *, compat: bool = False, strategy: str = "round-robin") -> str:
    if compat:
        return f"""
model_list:
  - model_name: gpt
    litellm_params: {{model: openai/gpt-4o, api_key: sk-up, api_base: "{upstream.url}/v1"}}
  - model_name: other
    litellm_params: {{model: openai/gpt-4o-mini, api_key: sk-up, api_base: "{upstream.url}/v1"}}
  - model_name: claude
    litellm_params: {{model: anthropic/claude-sonnet-4-5, api_key: sk-up, api_base: "{upstream.url}"}}
  - model_name: gemini
    litellm_params: {{model: gemini/gemini-3-pro-preview, api_key: sk-up, api_base: "{upstream.url}"}}
router_settings: {{num_retries: 1, fallbacks: [{{gpt: [other]}}]}}
"""
    priced = "prices: {input: 2, output: 8}, max_output_tokens: 100"
    return f"""
providers:
  openai: {{api_key: sk-up, api_base: "{upstream.url}/v1", timeouts: {{first_byte_s: 0.3}}}}
  anthropic: {{api_key: sk-up, api_base: "{upstream.url}"}}
  gemini: {{api_key: sk-up, api_base: "{upstream.url}"}}
  both: {{api_key: sk-up, api_base: "{upstream.url}/v1", paths: {{chat: /chat/completions, messages: /messages}}}}
models:
  gpt:
    deployments: [{{model: openai/gpt-4o, prices: {{input: 2, output: 8}}, context_window: 1000, max_output_tokens: 100}}]
    fallbacks: [other]
  other:
    deployments: [{{model: openai/gpt-4o-mini, prices: {{input: 1, output: 2}}, context_window: 1000, max_output_tokens: 50}}]
  claude:
    deployments: [{{model: anthropic/claude-sonnet-4-5, prices: {{input: 3, output: 15, cache_read: 0.3}}, max_output_tokens: 100}}]
  gemini:
    deployments: [{{model: gemini/gemini-3-pro-preview, max_output_tokens: 100}}]
  old:
    deployments: [{{model: anthropic/claude-sonnet-4-5, drop_params: false}}]
  both:
    deployments: [{{model: both/gpt-4o, prices: {{input: 2, output: 8}}, max_output_tokens: 100}}]
  two:
    strategy: {strategy}
    deployments:
    - {{model: openai/a, prices: {{input: 2, output: 8}}, max_output_tokens: 100}}
    - {{model: openai/b, prices: {{input: 1, output: 9}}, max_output_tokens: 100}}
  chain:
    strategy: ordered
    deployments: [{{model: openai/a, {priced}}}, {{model: openai/b, {priced}}}]
  tagged:
    strategy: round-robin
    deployments: [{{model: openai/a, tags: [red], {priced}}}, {{model: openai/b, tags: [blue], {priced}}}, {{model: openai/c, {priced}}}]
  narrow:
    strategy: round-robin
    deployments: [{{model: openai/a, context_window: 20, {priced}}}, {{model: openai/b, context_window: 2000, {priced}}}]
  counted:
    strategy: round-robin
    deployments: [{{model: openai/a, rpm: 1, {priced}}}, {{model: openai/b, {priced}}}]
  slots:
    strategy: round-robin
    deployments: [{{model: openai/a, max_parallel: 2, {priced}}}, {{model: openai/b, {priced}}}]
router: {{num_retries: 1}}
"""


@dataclass
class Case:
    name: str
    script: Sequence[Behaviour]
    ask: Any = field(default_factory=lambda: ASK)
    path: str = "/v1/chat/completions"
    headers: dict[str, str] = field(default_factory=dict)
    limited: bool = True
    compat: bool = False
    strategy: str = "round-robin"
    """of the model `two`"""
    straight: bool = True
    """it is ordinary as it comes, whatever becomes of it"""


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "look",
            "description": "Look.",
            "parameters": {"type": "object", "properties": {"where": {"type": "string"}}},
        },
    }
]
NAMED = {"type": "function", "function": {"name": "look.at/" + "x" * 70, "parameters": {"type": "object"}}}
OWN_TOOL = {"name": "look", "input_schema": {"type": "object", "properties": {"where": {"type": "string"}}}}
CALLS = json_answer({
    **WHOLE,
    "choices": [{
        "index": 0, "finish_reason": "tool_calls",
        "message": {"role": "assistant", "content": None, "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"where": "here"}'}}
        ]},
    }],
})  # fmt: skip
CACHED = {
    "input_tokens": 5, "output_tokens": 3, "cache_read_input_tokens": 1000, "cache_creation_input_tokens": 200,
    "cache_creation": {"ephemeral_5m_input_tokens": 150, "ephemeral_1h_input_tokens": 50}, "service_tier": "priority",
}  # fmt: skip
STREAMED = {**ASK, "stream": True}
ZIPPED = answer(
    gzip.compress(json.dumps(WHOLE).encode()), headers={"content-type": "application/json", "content-encoding": "gzip"}
)
BUSY = json_answer({"error": {"message": "busy"}}, status=503, headers={"retry-after": "0"})
CASES = [
    Case("whole", [OK]),
    Case("whole, by a key without limits", [OK], limited=False),
    Case("whole, with an output limit", [OK], ask={**ASK, "max_tokens": 7, "temperature": 0.5}),
    Case("whole, as LiteLLM tells it", [OK], compat=True),
    Case("whole, with headers to pass on", [json_answer(WHOLE, headers={"x-request-id": "r1", "set-cookie": "a"})]),
    Case("whole, compressed", [ZIPPED]),
    Case("whole, with a header for the upstream", [OK], headers={"openai-beta": "assistants=v2"}),
    Case("whole, without usage", [json_answer({k: v for k, v in WHOLE.items() if k != "usage"})]),
    Case("false for a stream", [OK], ask={**ASK, "stream": False}),
    Case("Anthropic's format", [json_answer(CLAUDE)], ask=ASK_CLAUDE, path="/v1/messages"),
    Case(
        "Anthropic's format with a beta flag",
        [json_answer(CLAUDE)],
        ask=ASK_CLAUDE,
        path="/v1/messages",
        headers={"anthropic-beta": "context-1m-2025-08-07"},
    ),
    Case("streamed", [sse(*STREAM)], ask=STREAMED),
    Case("streamed, as LiteLLM tells it", [sse(*STREAM)], ask=STREAMED, compat=True),
    Case("a stream that was not asked for", [sse(*STREAM)]),
    Case("no stream where one was asked for", [OK], ask=STREAMED),
    Case("refused", [json_answer({"error": {"message": "no"}}, status=400)]),
    Case("busy once", [BUSY, OK]),
    Case("busy twice, then the fallback", [BUSY, BUSY, OK]),
    Case("an error under a good status", [json_answer({"error": {"message": "no", "code": 500}}), OK]),
    Case("no JSON", [html_error(200), OK]),
    Case("cut in the middle", [cut(whole(json.dumps(WHOLE).encode()), after=60), OK]),
    Case("reset in the middle", [reset(whole(json.dumps(WHOLE).encode())[:60]), OK]),
    Case("silent for too long", [stall(), OK]),
    Case("a stream that breaks off", [sse(OPENING, chunk({"content": "Hal"}), end=False, then="close")], ask=STREAMED),
    Case("a connection that was closed meanwhile", [close_without_answer(), OK]),
    Case(
        "what is dropped, on a connection that was closed meanwhile",
        [close_without_answer(), OK],
        ask={**ASK, "max_tokens": 5000, "reasoning_effort": "low"},
    ),
    Case("a deployment that redirects", [answer(b"", status=307, headers={"location": "/v2"}), OK]),
    Case("tools", [OK], ask={**ASK, "tools": TOOLS}),
    Case(
        "a format that the provider has beside its own",
        [json_answer(CLAUDE)],
        ask={**ASK_CLAUDE, "model": "both"},
        path="/v1/messages",
    ),
    Case("an end user", [OK], ask={**ASK, "user": "u1"}),
    Case("tags and a session", [OK], headers={"x-wayport-tags": "a,b", "x-litellm-session-id": "s1"}),
    Case("a trace", [OK], headers={"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}),
    Case(
        "Claude Code's metadata",
        [json_answer(CLAUDE)],
        ask={**ASK_CLAUDE, "metadata": {"user_id": "user_1_account__session_2"}},
        path="/v1/messages",
    ),
    Case("metadata that is none", [OK], ask={**ASK, "metadata": [1]}),
    # What is not ordinary:
    Case("wishes", [BUSY], ask={**ASK, "num_retries": 0, "disable_fallbacks": True}, straight=False),
    Case("an unknown model", [], ask={**ASK, "model": "nobody"}, straight=False),
    Case("an unknown key", [], headers={"authorization": "Bearer sk-nobody"}, straight=False),
    Case("no JSON in", [], ask=b"{", straight=False),
    Case("a stream that is neither", [], ask={**ASK, "stream": 1}, straight=False),
    Case("no messages", [], ask={"model": "gpt"}, straight=False),
]


def to_claude(**more: Any) -> dict[str, Any]:
    return {**ASK, "model": "claude", **more}


def of_claude(*content: dict[str, Any], **more: Any) -> Behaviour:
    return json_answer({**CLAUDE, "content": list(content), **more})


CALLED = of_claude(
    {"type": "thinking", "thinking": "I should look.", "signature": "c2ln"},
    {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"where": "here"}},
    stop_reason="tool_use",
)
TOLD = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Look around."},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "toolu_1", "type": "function", "function": {"name": "look", "arguments": '{"where": "here"}'}}
        ],
    },
    {"role": "tool", "tool_call_id": "toolu_1", "content": "A door."},
]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
SHOWN = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
        ],
    }
]
SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "answer",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"a": {"type": "string"}},
            "required": ["a"],
            "additionalProperties": False,
        },
    },
}
REFUSED = json_answer(
    {"type": "error", "error": {"type": "invalid_request_error", "message": "max_tokens: too large"}}, status=400
)
OVERLOADED = json_answer(
    {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
    status=529,
    headers={"retry-after": "0"},
)
SAID = json_answer(CLAUDE)
CLAUDE_EVENTS: list[dict[str, Any]] = [
    {"type": "message_start", "message": {**CLAUDE, "content": [], "stop_reason": None}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hel"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "lo"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
]
CLAUDE_STREAM = [
    b"event: %b\ndata: %b\n\n" % (each["type"].encode(), json.dumps(each).encode()) for each in CLAUDE_EVENTS
]
TO_GPT = {**ASK_CLAUDE, "model": "gpt"}
TO_GEMINI = {**ASK, "model": "gemini"}
TRANSLATED = [
    Case("whole", [SAID], ask=to_claude()),
    Case("whole, by a key without limits", [SAID], ask=to_claude(), limited=False),
    Case("whole, as LiteLLM tells it", [SAID], ask=to_claude(), compat=True, limited=False),
    Case("with an output limit and sampling", [SAID], ask=to_claude(max_tokens=7, temperature=1.7, stop=["\n", "END"])),
    Case("with what the target lacks", [SAID], ask=to_claude(seed=7, n=2, logprobs=True, presence_penalty=0.5)),
    Case("with what the target lacks, and must not", [], ask={**ASK, "model": "old", "seed": 7}, straight=False),
    Case(
        "with headers to pass on",
        [json_answer(CLAUDE, headers={"request-id": "r1", "set-cookie": "a"})],
        ask=to_claude(),
    ),
    Case(
        "with a header for the upstream", [SAID], ask=to_claude(), headers={"anthropic-beta": "context-1m-2025-08-07"}
    ),
    Case("a system prompt", [SAID], ask=to_claude(messages=TOLD[:2])),
    Case(
        "tools",
        [CALLED],
        ask=to_claude(tools=TOOLS, messages=TOLD[1:2], parallel_tool_calls=False, tool_choice="required"),
    ),
    Case("what tools gave", [SAID], ask=to_claude(tools=TOOLS, messages=TOLD)),
    Case("what tools gave, of a call without them", [SAID], ask=to_claude(messages=TOLD)),
    Case("a call whose id comes again", [CALLED], ask=to_claude(tools=TOOLS, messages=TOLD)),
    Case("a tool that is called otherwise there", [CALLED], ask=to_claude(tools=[NAMED])),
    Case("an image by its data", [SAID], ask=to_claude(messages=SHOWN)),
    Case(
        "an answer to a schema",
        [of_claude({"type": "text", "text": '{"a":"b"}'})],
        ask=to_claude(response_format=SCHEMA),
    ),
    Case(
        "thinking",
        [of_claude({"type": "thinking", "thinking": "Hm.", "signature": "s"}, *CLAUDE["content"])],
        ask=to_claude(reasoning_effort="low", max_tokens=9000),
    ),
    Case("usage with a cache", [of_claude(*CLAUDE["content"], usage=CACHED)], ask=to_claude()),
    Case("no usage", [json_answer({k: v for k, v in CLAUDE.items() if k != "usage"})], ask=to_claude()),
    Case("a refusal", [of_claude({"type": "text", "text": "No."}, stop_reason="refusal")], ask=to_claude()),
    Case(
        "cut at the limit",
        [of_claude({"type": "text", "text": "He"}, stop_reason="max_tokens")],
        ask=to_claude(max_tokens=1),
    ),
    Case("no content", [of_claude()], ask=to_claude()),
    Case(
        "half a surrogate",
        [json_answer(CLAUDE), SAID],
        ask=to_claude(messages=[{"role": "user", "content": "\ud83d"}]),
        straight=False,
    ),
    Case("streamed", [sse(*CLAUDE_STREAM)], ask=to_claude(stream=True)),
    Case(
        "streamed, with its usage",
        [sse(*CLAUDE_STREAM)],
        ask=to_claude(stream=True, stream_options={"include_usage": True}),
    ),
    Case("a stream that breaks off", [sse(*CLAUDE_STREAM[:3], end=False, then="close")], ask=to_claude(stream=True)),
    Case("a stream that was not asked for", [sse(*CLAUDE_STREAM)], ask=to_claude()),
    Case("no stream where one was asked for", [SAID], ask=to_claude(stream=True)),
    Case("refused", [REFUSED], ask=to_claude(seed=7)),
    Case("busy once", [OVERLOADED, SAID], ask=to_claude(tools=TOOLS, messages=TOLD)),
    Case("busy twice", [OVERLOADED, OVERLOADED], ask=to_claude()),
    Case(
        "an error under a good status",
        [json_answer({"type": "error", "error": {"type": "api_error", "message": "no"}}), SAID],
        ask=to_claude(),
    ),
    Case("no JSON", [html_error(200), SAID], ask=to_claude()),
    Case("another format", [OK, SAID], ask=to_claude()),
    Case("cut in the middle", [cut(whole(json.dumps(CLAUDE).encode()), after=60), SAID], ask=to_claude()),
    Case("silent for too long", [stall(), ANSWERS["gpt"]], ask=TO_GPT, path="/v1/messages"),
    Case("a connection that was closed meanwhile", [close_without_answer(), SAID], ask=to_claude(seed=7, tools=TOOLS)),
    Case("no messages", [], ask={"model": "claude"}, straight=False),
    Case("messages that are none", [], ask=to_claude(messages=[{"role": "nobody", "content": "x"}]), straight=False),
    Case("an end user", [SAID], ask=to_claude(user="u1")),
    Case("from Anthropic's format", [OK], ask=TO_GPT, path="/v1/messages"),
    Case(
        "from Anthropic's format, with a beta flag",
        [OK],
        ask=TO_GPT,
        path="/v1/messages",
        headers={"anthropic-beta": "context-1m-2025-08-07"},
    ),
    Case(
        "from Anthropic's format, with a system prompt and tools",
        [CALLS],
        ask={**TO_GPT, "system": "Be brief.", "tools": [OWN_TOOL], "top_k": 3},
        path="/v1/messages",
    ),
    Case("from Anthropic's format, busy, then the fallback", [BUSY, BUSY, OK], ask=TO_GPT, path="/v1/messages"),
    Case("from Anthropic's format, streamed", [sse(*STREAM)], ask={**TO_GPT, "stream": True}, path="/v1/messages"),
    Case(
        "from Anthropic's format, refused",
        [json_answer({"error": {"message": "no"}}, status=400)],
        ask=TO_GPT,
        path="/v1/messages",
    ),
    Case("to Google's", [json_answer(GEMINI)], ask=TO_GEMINI),
    Case("to Google's, with tools", [json_answer(GEMINI)], ask={**TO_GEMINI, "tools": TOOLS, "messages": TOLD}),
    Case("to Google's, with an image by its data", [json_answer(GEMINI)], ask={**TO_GEMINI, "messages": SHOWN}),
    Case(
        "to Google's, streamed from another address",
        [sse(b"data: " + json.dumps(GEMINI).encode() + b"\n\n")],
        ask={**TO_GEMINI, "stream": True},
        straight=False,
    ),
    Case("to Google's, blocked", [json_answer({"promptFeedback": {"blockReason": "SAFETY"}})], ask=TO_GEMINI),
    Case(
        "to Google's, busy once",
        [
            json_answer(
                {"error": {"code": 503, "message": "x", "status": "UNAVAILABLE"}},
                status=503,
                headers={"retry-after": "0"},
            ),
            json_answer(GEMINI),
        ],
        ask=TO_GEMINI,
    ),
    Case(
        "from Anthropic's format to Google's",
        [json_answer(GEMINI)],
        ask={**ASK_CLAUDE, "model": "gemini"},
        path="/v1/messages",
    ),
]


def of_two(**more: Any) -> dict[str, Any]:
    return {**ASK, "model": "two", **more}


CHOSEN = [
    Case("one of two", [OK], ask=of_two()),
    Case("one of two, streamed", [sse(*STREAM)], ask=of_two(stream=True)),
    Case("one of two, and then the other", [BUSY, OK], ask=of_two()),
    Case("one of two, and then the other after a cut", [cut(whole(json.dumps(WHOLE).encode()), after=60), OK], ask=of_two()),
    Case("one of two, on a connection that was closed meanwhile", [close_without_answer(), OK], ask=of_two()),
    Case("one of two, for a session", [OK], ask=of_two(), headers={"x-litellm-session-id": "s1"}),
    Case("one of two, for a prompt that may be in its cache", [OK], ask=of_two(messages=[{"role": "user", "content": "x" * 5000}])),
    Case("one of two, refused", [json_answer({"error": {"message": "no"}}, status=400)], ask=of_two()),
    Case("one of two, with tools", [OK], ask=of_two(tools=TOOLS)),
    Case("a chain", [OK], ask={**ASK, "model": "chain"}),
    Case("a chain whose first link is busy", [BUSY, OK], ask={**ASK, "model": "chain"}),
    Case("by tags", [OK], ask={**ASK, "model": "tagged"}, headers={"x-wayport-tags": "blue"}),
    Case("by tags, without any", [OK], ask={**ASK, "model": "tagged"}),
    Case("too long for one", [OK], ask={**ASK, "model": "narrow", "messages": [{"role": "user", "content": "x" * 300}]}),
    Case("too long for all", [OK], ask={**ASK, "model": "narrow", "messages": [{"role": "user", "content": "x" * 30_000}]}),
    Case("one of which has had its calls", [OK], ask={**ASK, "model": "counted"}),
    Case("one of which counts its calls in flight", [OK], ask={**ASK, "model": "slots"}, straight=False),
]  # fmt: skip


STRATEGIES = (
    "simple-shuffle", "power-of-two", "least-busy", "latency-based-routing", "cost-based-routing", "usage-based-routing", "priority",
)  # fmt: skip
CHOSEN += [
    replace(case, name=f"{case.name}, {strategy}", strategy=strategy) for case in CHOSEN[:3] for strategy in STRATEGIES
]


@pytest.mark.parametrize("case", CHOSEN, ids=lambda case: case.name)
async def test_both_ways_choose_the_same(case: Case) -> None:
    await test_both_ways_come_to_the_same(case)


async def test_calls_that_may_not_go_straight_do_not_take_a_turn_twice() -> None:
    """While no connection is idle, as at first, every call goes the long way; each deployment gets its share all the same."""
    async with Upstream(OK) as upstream, gateway(_config(upstream)) as wayport:
        headers = {"authorization": f"Bearer {wayport.keys.add(KEY)}"}
        for _ in range(4):
            upstream.drop_idle()
            await wayport.until_idle()
            assert (await wayport.ask(of_two(), headers=headers)).status_code == 200
        await wayport.until_idle()
        assert [record.upstream_model for record in wayport.records] == ["a", "b", "a", "b"]


async def test_calls_that_have_chosen_and_must_wait_do_not_take_a_turn_twice() -> None:
    """Each key's first call has nothing leased yet."""
    async with Upstream(OK) as upstream, gateway(_config(upstream)) as wayport:
        for number in range(6):
            key = wayport.keys.add(f"{KEY}-{number}", holders=(msgspec.structs.replace(LIMITED, id=f"k{number}"),))
            assert (await wayport.ask(of_two(), headers={"authorization": f"Bearer {key}"})).status_code == 200
        await wayport.until_idle()
        assert [record.upstream_model for record in wayport.records if not record.opened] == ["a", "b"] * 3


async def test_calls_that_are_led_to_another_model_at_once_do_not_take_a_turn_twice() -> None:
    config = """
  full:
    strategy: round-robin
    deployments: [{model: openai/x, rpm: 1}, {model: openai/y, rpm: 1}]
    fallbacks: [two]
router: {num_retries: 1}
"""
    async with (
        Upstream(FEW) as upstream,
        gateway(_config(upstream).replace("router: {num_retries: 1}\n", config)) as wayport,
    ):
        headers = {"authorization": f"Bearer {wayport.keys.add(KEY)}"}
        for _ in range(8):
            assert (await wayport.ask({**ASK, "model": "full"}, headers=headers)).status_code == 200
        await wayport.until_idle()
        assert [record.upstream_model for record in wayport.records] == ["x", "y", *["a", "b"] * 3]
        assert wayport.worker.load.calls == 0


async def test_who_leaves_before_its_call_can_be_sent_leaves_nothing_behind() -> None:
    async with Upstream(OK) as upstream, gateway(_config(upstream)) as wayport:
        key = wayport.keys.add(KEY, holders=(LIMITED,))
        asking = asyncio.ensure_future(wayport.ask(of_two(), headers={"authorization": f"Bearer {key}"}))
        while not wayport.worker.load.calls:
            await asyncio.sleep(0)
        asking.cancel()
        await wayport.until_idle()
        assert wayport.worker.load.calls == 0
        assert not any(live.in_flight for live in wayport.worker.routing.lives._states.values())


@pytest.mark.parametrize("case", TRANSLATED, ids=lambda case: case.name)
async def test_both_ways_translate_to_the_same(case: Case) -> None:
    await test_both_ways_come_to_the_same(case)


GOLDEN = Path(__file__).parent.parent / "golden"
DIALECTS_OF = {"gpt": "openai_chat", "claude": "anthropic_messages", "gemini": "gemini_content"}


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/v1/chat/completions", "claude"),
        ("/v1/chat/completions", "gemini"),
        ("/v1/messages", "gpt"),
        ("/v1/messages", "gemini"),
    ],
)
async def test_both_ways_translate_every_golden_file_to_the_same(path: str, model: str) -> None:
    """Requests of the client's dialect, answered with the answers of the target's."""
    asks = _golden(DIALECTS_OF["gpt" if path.endswith("completions") else "claude"], "request.json")
    answers = _golden(DIALECTS_OF[model], "response.json")
    assert min(len(asks), len(answers)) > 10
    pairs = list(zip(asks, cycle(answers), strict=False)) + list(zip(cycle(asks), answers, strict=False))
    async with Upstream(ANSWERS[model]) as upstream:
        straight, taken = await _outcomes(path, model, pairs, upstream, straight=True)
        upstream.drop_idle()
        long, _ = await _outcomes(path, model, pairs, upstream, straight=False)
    for one, other in zip(straight, long, strict=True):
        assert one == other
    assert sum(taken) > len(taken) // 2


async def _outcomes(
    path: str, model: str, pairs: Sequence[tuple[Any, Any]], upstream: Upstream, *, straight: bool
) -> tuple[list[Any], list[bool]]:
    outcomes: list[Any] = []
    warm = ASK if path.endswith("completions") else ASK_CLAUDE
    upstream.script = ANSWERS[model]
    async with gateway(_config(upstream).replace("0.3", "60")) as wayport:
        headers = {"authorization": f"Bearer {wayport.keys.add(KEY, holders=(LIMITED,))}"}
        assert (await wayport.ask({**warm, "model": model}, path, headers=headers)).status_code == 200
        taken = _watched(wayport, straight=straight)
        for ask, said in pairs:
            upstream.script = json_answer(said)
            upstream.requests.clear()
            told = await wayport.ask({**ask, "model": model, "stream": False}, path, headers=headers)
            await wayport.until_idle()
            outcomes.append(
                {
                    "status": told.status_code,
                    "headers": _timeless(told),
                    "body": _comparable(told.text),
                    "sent": [(each.path, sorted(each.headers.items()), each.body) for each in upstream.requests],
                    "record": _plain(wayport.records[-1]),
                }
            )
    return outcomes, taken


def _golden(dialect: str, name: str) -> list[Any]:
    return [json.loads(file.read_bytes()) for file in sorted((GOLDEN / dialect).glob(f"*/{name}"))]


@pytest.mark.parametrize(
    ("more", "headers", "ordinary"),
    [
        ({"user": "u1"}, {}, False),
        ({"metadata": {"tags": ["red"]}}, {}, True),
        ({}, {"x-wayport-tags": "red"}, True),
        ({}, {"x-litellm-end-user-id": "u1"}, False),
        ({}, {"x-litellm-session-id": "s1"}, True),
    ],
)
async def test_whom_a_limit_may_bind_beside_the_key_is_looked_up_the_long_way(
    more: dict[str, Any], headers: dict[str, str], *, ordinary: bool
) -> None:
    async with Upstream(OK) as upstream, gateway(_config(upstream)) as wayport:
        wayport.keys.add(KEY, holders=(LIMITED,), asks=("end_user",))
        authorized = {"authorization": f"Bearer {KEY}", **headers}
        assert (await wayport.ask(ASK, headers=authorized)).status_code == 200
        taken = _watched(wayport, straight=True)
        assert (await wayport.ask({**ASK, **more}, headers=authorized)).status_code == 200
        assert taken == [ordinary]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_both_ways_come_to_the_same(case: Case) -> None:
    warm = ANSWERS[_model_of(case)]
    async with Upstream([warm, *case.script, warm, *case.script]) as upstream:
        straight = await _outcome(case, upstream, straight=True)
        upstream.drop_idle()
        upstream.requests.clear()
        assert straight == await _outcome(case, upstream, straight=False)


async def _outcome(case: Case, upstream: Upstream, *, straight: bool) -> dict[str, Any]:
    """All that can be seen from outside, but for times and ids."""
    warm_up = {**(ASK_CLAUDE if case.path == "/v1/messages" else ASK), "model": _model_of(case)}
    async with gateway(_config(upstream, compat=case.compat, strategy=case.strategy)) as wayport:
        # Some strategies draw: both ways draw the same.
        wayport.worker.routing._chooser.random.seed(1)
        key = wayport.keys.add(KEY, holders=(LIMITED,) if case.limited else ())
        headers = {"authorization": f"Bearer {key}"}
        warm = await wayport.ask(warm_up, case.path, headers=headers)
        assert warm.status_code == 200, warm.text
        await wayport.until_idle()
        taken = _watched(wayport, straight=straight)
        told = await wayport.ask(case.ask, case.path, headers={**headers, **case.headers})
        await wayport.until_idle()
        assert taken == ([case.straight] if straight else [])
        gauges = {g.counter: (g.held, g.free, g.busy) for g in wayport.worker.admission.gauges.all()}
        pins = {key: pin.deployment for key, pin in wayport.worker.routing.affinity._pins.items()}
        lives = {name: live.in_flight for name, live in wayport.worker.routing.lives._states.items()}
        assert not any(lives.values())
        traced = wayport.worker.routing.traces.of(told.headers.get("x-wayport-call-id", ""))
        return {
            "status": told.status_code,
            "headers": _timeless(told),
            "body": _comparable(told.text),
            "sent": [(each.path, sorted(each.headers.items()), each.body) for each in upstream.requests[1:]],
            "records": [_plain(record) for record in wayport.records[1:]],
            "traced": None if traced is None else _plain(traced),
            "gauges": gauges,
            "pins": pins,
        }


def _model_of(case: Case) -> str:
    asked = case.ask.get("model") if isinstance(case.ask, dict) else None
    return asked if asked in ANSWERS else "gpt"


def _comparable(text: str) -> str:
    """Without times, and ids that are made of the call's."""
    return re.sub(
        r'"created":\d+|call-?[0-9a-f-]{30,}|[0-9a-f]{8}-[0-9a-f-]{27}|msg_[0-9a-f]{32}|toolu_1-[0-9a-f]{12}', "", text
    )


def _watched(wayport: Gateway, *, straight: bool) -> list[bool]:
    """Whether calls are taken, from now on."""
    way = wayport.worker.straight
    assert way is not None
    if not straight:
        wayport.worker.straight = None
        return []
    taken: list[bool] = []
    begin = way.begin

    def watch(client: Any) -> bool:
        taken.append(begin(client))
        return taken[-1]

    way.begin = watch  # type: ignore[method-assign]  # the real one, looked at
    return taken


def _timeless(told: httpx.Response) -> list[tuple[str, str]]:
    apart = ("date", "x-wayport-call-id", "x-litellm-call-id", "x-ratelimit-reset-requests", "x-ratelimit-reset-tokens")
    return sorted((name, value) for name, value in told.headers.items() if name not in apart)


def _plain(record: CallRecord) -> Any:
    """A record without what is another in each call."""
    found = msgspec.to_builtins(record)
    times = ("call_id", "started_s", "ended_s", "first_token_ms", "overhead_ms", "client_address", "budget_windows")
    for name in times:
        found.pop(name, None)
    for attempt in found.get("attempts", ()):
        for name in ("started_ms", "duration_ms", "wait_ms"):
            attempt.pop(name, None)
    for decision in found.get("routing", ()):
        # Some strategies go by times.
        decision["scores"] = sorted(decision.get("scores", ()))
    return json.loads(re.sub(r"127\.0\.0\.1:\d+", "upstream", json.dumps(found, default=str)))


@pytest.mark.parametrize("headed", [False, True], ids=["silence", "the answer's head"])
@pytest.mark.parametrize("model", ["gpt", "claude"])
async def test_a_client_that_leaves_is_accounted_alike(model: str, headed: bool) -> None:
    """Its call is called off at once, counts against nobody and is charged for what was sent."""
    ask, said = {**ASK, "model": model}, ANSWERS[model]
    behind = whole(json.dumps(CLAUDE if model == "claude" else WHOLE).encode())[:-30] if headed else b""
    asked = asyncio.Event()
    hold = stall(behind, asked.set) if behind else stall(asked.set)
    async with Upstream([said, hold, said, said, hold, said]) as upstream:
        outcomes = []
        for straight in (True, False):
            async with gateway(_config(upstream).replace("0.3", "60")) as wayport:
                headers = {"authorization": f"Bearer {wayport.keys.add(KEY, holders=(LIMITED,))}"}
                await wayport.ask(ask, headers=headers)
                taken = _watched(wayport, straight=straight)
                leaving = asyncio.ensure_future(wayport.ask(ask, headers=headers))
                await asked.wait()
                while behind and not any(each.head_bytes for each in _upstream_connections(wayport)):
                    await asyncio.sleep(0)
                leaving.cancel()
                await wayport.until_idle()
                assert taken == ([True] if straight else [])
                assert (await wayport.ask(ask, headers=headers)).status_code == 200
                await wayport.until_idle()
                records = [_plain(record) for record in wayport.records if not record.opened]
                assert [record.get("status", "success") for record in records] == ["success", "cancelled", "success"]
                gauges = {g.counter: (g.held, g.free, g.busy) for g in wayport.worker.admission.gauges.all()}
                outcomes.append((records, gauges))
            asked.clear()
        assert outcomes[0] == outcomes[1]


def _upstream_connections(wayport: Gateway) -> list[Any]:
    return [each for each in wayport.worker.transport._pools.connections if each.answer is not None]


@pytest.mark.parametrize("gone", [True, False], ids=["the client leaves", "the worker stops"])
async def test_what_is_cancelled_as_it_is_handed_over_is_ended_all_the_same(gone: bool) -> None:
    """A task that is cancelled before its first step runs nothing: neither a slot nor money may stay taken for it."""
    async with Upstream([OK, BUSY, OK]) as upstream, gateway(_config(upstream)) as wayport:
        headers = {"authorization": f"Bearer {wayport.keys.add(KEY, holders=(LIMITED,))}"}
        await wayport.ask(ASK, headers=headers)
        way: Any = wayport.worker.straight
        hand_over = way.go_on

        def interrupted(straight: Any, fault: Any) -> None:
            hand_over(straight, fault)
            if gone:
                straight.client.protocol._transport.abort()
                straight.client.protocol.connection_lost(None)
            else:
                straight.client.task.cancel("draining")

        way.go_on = interrupted
        try:
            told = await wayport.ask(ASK, headers=headers)
            assert not gone
            assert (told.status_code, told.json()["error"]["code"]) == (503, "shutting_down")
        except httpx.HTTPError:
            assert gone
        await wayport.until_idle()
        way.go_on = hand_over
        assert [g.busy for g in wayport.worker.admission.gauges.all() if g.kind in {"slots", "money"}] == [0, 0]
        assert not wayport.worker.routing.lives.in_flight()
        assert [record.status for record in wayport.records if not record.opened] == [
            "success",
            "cancelled" if gone else "failure",
        ]
        assert (await wayport.ask(ASK, headers=headers)).status_code == 200


async def test_what_others_learned_meanwhile_is_learned_of_a_call_that_was_sent_before() -> None:
    """Two calls with a parameter that the target refuses: both are asked again without it, whoever is refused first."""
    refused = json_answer(
        {
            "error": {
                "message": "Unsupported parameter: 'logprobs'",
                "param": "logprobs",
                "code": "unsupported_parameter",
            }
        },
        status=400,
    )
    gate, arrived = asyncio.Event(), asyncio.Event()
    both = asyncio.Barrier(2)

    async def beside(exchange: Any) -> None:
        await both.wait()
        await OK(exchange)

    async def late(exchange: Any) -> None:
        arrived.set()
        await gate.wait()
        await refused(exchange)

    ask = {**ASK, "logprobs": True}
    async with Upstream([beside, beside, late, refused, OK, OK]) as upstream:
        async with gateway(_config(upstream).replace("0.3", "60")) as wayport:
            await asyncio.gather(wayport.ask(ASK), wayport.ask(ASK))
            taken = _watched(wayport, straight=True)
            first = asyncio.ensure_future(wayport.ask(ask))
            await arrived.wait()
            assert (await wayport.ask(ask)).status_code == 200
            gate.set()
            answered = await first
            assert (answered.status_code, taken) == (200, [True, True])
            assert answered.headers["x-wayport-dropped-params"] == "logprobs"


async def test_when_the_worker_stops_a_straight_call_is_told_so() -> None:
    asked = asyncio.Event()

    async def hold(exchange: Any) -> None:
        asked.set()
        await stall()(exchange)

    async with Upstream([OK, hold]) as upstream, gateway(_config(upstream).replace("0.3", "60")) as wayport:
        await wayport.ask(ASK)
        taken = _watched(wayport, straight=True)
        waiting = asyncio.ensure_future(wayport.ask(ASK))
        await asked.wait()
        for connection in list(wayport.worker.load.connections):
            if connection.exchange is not None and connection.exchange.task is not None:
                connection.exchange.task.cancel("draining")
        told = await waiting
        assert taken == [True]
        assert told.status_code == 503
        assert told.json()["error"]["code"] == "shutting_down"
        await wayport.until_idle()
        assert wayport.records[-1].http_status == 503


async def test_our_own_mistake_on_the_straight_way_is_told_and_settled() -> None:
    """An exception that nobody foresaw costs one call an error, and neither the connection nor the worker anything."""
    async with Upstream([OK, OK, OK]) as upstream, gateway(_config(upstream)) as wayport:
        headers = {"authorization": f"Bearer {wayport.keys.add(KEY, holders=(LIMITED,))}"}
        await wayport.ask(ASK, headers=headers)
        way = wayport.worker.straight
        assert way is not None

        def fails(*_: object, **__: object) -> None:
            raise ZeroDivisionError

        patch: Any = DIALECTS["openai_chat"].passthrough
        original = patch.patch_response
        patch.patch_response = fails
        try:
            told = await wayport.ask(ASK, headers=headers)
        finally:
            patch.patch_response = original
        assert told.status_code == 500
        assert "ZeroDivisionError" in told.json()["error"]["message"]
        await wayport.until_idle()
        assert (await wayport.ask(ASK, headers=headers)).status_code == 200
        await wayport.until_idle()
        slots = next(g for g in wayport.worker.admission.gauges.all() if g.kind == "slots")
        assert slots.busy == 0
        assert [record.http_status for record in wayport.records if not record.opened] == [200, 500, 200]


async def test_a_key_that_is_revoked_or_changed_is_another_the_next_time() -> None:
    """What is remembered of a key's calls is never older than what is known of the key."""
    async with Upstream([OK, OK]) as upstream, gateway(_config(upstream)) as wayport:
        headers = {"authorization": f"Bearer {wayport.keys.add(KEY)}"}
        await wayport.ask(ASK, headers=headers)
        taken = _watched(wayport, straight=True)
        assert (await wayport.ask(ASK, headers=headers)).status_code == 200
        wayport.keys.add(KEY, models=("other",))
        wayport.worker.principals.invalidate_all()
        denied = await wayport.ask(ASK, headers=headers)
        assert denied.status_code == 403
        denied = await wayport.ask(ASK, headers=headers)
        assert denied.status_code == 403
        assert taken == [True, False, False]
