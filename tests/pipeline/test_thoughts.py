"""Thoughts and signatures that a client dropped come back to whoever made them; nobody else sees them."""

import json
from typing import Any

import pytest
from tests.fakes.gateway import Gateway, gateway
from tests.fakes.thoughts import KnownThoughts
from tests.fakes.upstream import Behaviour, Upstream, json_answer, sse

from wayport.dialects.neutral import (
    BlockDelta,
    BlockOpened,
    ChoiceFinished,
    Delta,
    Message,
    Part,
    Reasoning,
    Request,
    Text,
    ToolCall,
)
from wayport.pipeline.thoughts import MOST_SHARED_BYTES, ThoughtMemory

SIGNED = Reasoning(text="I should look.", signature="sig", issuer="anthropic")
CALL = ToolCall(id="call_1", name="look", arguments='{"where": "here", "deep": 1.0}')


def asked(*parts: Part) -> Request:
    return Request(dialect="openai_chat", model="m", messages=[Message(role="assistant", parts=list(parts))])


def remembered(*parts: Part, tenant: str = "a", **bounds: int) -> ThoughtMemory:
    memory = ThoughtMemory(None, **bounds)
    memory.remember(tenant, parts)
    return memory


# ---------------------------------------------------------------------------------------------------------- the memory
def test_thoughts_are_put_back_before_their_call() -> None:
    memory = remembered(SIGNED, Text(text="Looking."), CALL)
    request = asked(Text(text="Looking."), ToolCall(id="call_1", name="look", arguments='{"deep":1,"where":"here"}'))
    assert memory.restore("a", request) == 1
    parts = request.messages[0].parts
    assert parts[0] == SIGNED
    assert [type(part) for part in parts] == [Reasoning, Text, ToolCall]


def test_thoughts_between_calls_stand_between_them() -> None:
    second = ToolCall(id="call_2", name="look", arguments="{}")
    more = Reasoning(text="And there.", signature="sig2", issuer="anthropic")
    memory = remembered(SIGNED, CALL, more, second)
    request = asked(CALL, second)
    assert memory.restore("a", request) == 2
    assert request.messages[0].parts == [SIGNED, CALL, more, second]


def test_signatures_on_calls_are_put_back() -> None:
    memory = remembered(ToolCall(id="call_1", name="look", arguments="{}", signature="gemini-sig"))
    request = asked(ToolCall(id="call_1", name="look", arguments="{}"))
    assert memory.restore("a", request) == 1
    call = request.messages[0].parts[0]
    assert isinstance(call, ToolCall)
    assert call.signature == "gemini-sig"


@pytest.mark.parametrize(
    ("tenant", "call"),
    [
        ("b", CALL),
        ("a", ToolCall(id="call_2", name="look", arguments=CALL.arguments)),
        ("a", ToolCall(id="call_1", name="find", arguments=CALL.arguments)),
        ("a", ToolCall(id="call_1", name="look", arguments='{"where":"there","deep":1}')),
        ("a", ToolCall(id="call_1", name="look", arguments="not json")),
    ],
)
def test_another_tenants_or_another_call_gets_nothing(tenant: str, call: ToolCall) -> None:
    memory = remembered(SIGNED, CALL)
    request = asked(call)
    assert memory.restore(tenant, request) == 0
    assert request.messages[0].parts == [call]


def test_what_the_client_sent_stays_unless_it_lost_the_signature() -> None:
    memory = remembered(SIGNED, CALL)
    own = Reasoning(text="Mine.", signature="another", issuer="anthropic")
    request = asked(own, CALL)
    assert memory.restore("a", request) == 0
    assert request.messages[0].parts == [own, CALL]
    unsigned = asked(Reasoning(text="I should look."), CALL)
    assert memory.restore("a", unsigned) == 1
    assert unsigned.messages[0].parts == [SIGNED, CALL]
    plain = remembered(Reasoning(text="Plain thought."), CALL)
    request = asked(Reasoning(text="Mine."), CALL)
    assert plain.restore("a", request) == 0


def test_answers_without_tool_calls_or_thoughts_are_not_remembered() -> None:
    assert len(remembered(SIGNED, Text(text="Hello."))) == 0
    assert len(remembered(Text(text="Looking."), CALL)) == 0
    assert len(remembered(Reasoning(), CALL)) == 0


def test_the_memory_is_bounded_by_entries_and_by_bytes() -> None:
    memory = ThoughtMemory(most_entries=3)
    calls = [ToolCall(id=f"call_{number}", name="look", arguments="{}") for number in range(5)]
    for call in calls:
        memory.remember("a", [SIGNED, call])
    assert len(memory) == 3
    assert [memory.restore("a", asked(call)) for call in calls] == [0, 0, 1, 1, 1]
    memory = ThoughtMemory(most_bytes=3_000)
    for call in calls:
        memory.remember("a", [Reasoning(text="x" * 800, signature="s", issuer="anthropic"), call])
    assert len(memory) == 2
    assert memory.size_bytes <= 3_000
    memory.remember("a", [Reasoning(text="x" * 9_000), CALL])
    assert len(memory) == 2


def test_the_oldest_that_nobody_asks_for_goes_first() -> None:
    memory = ThoughtMemory(most_entries=2)
    one, two, three = (ToolCall(id=f"call_{number}", name="look", arguments="{}") for number in range(3))
    memory.remember("a", [SIGNED, one])
    memory.remember("a", [SIGNED, two])
    memory.restore("a", asked(one))
    memory.remember("a", [SIGNED, three])
    assert [memory.restore("a", asked(call)) for call in (one, two, three)] == [1, 0, 1]


def test_a_stream_is_remembered_when_its_choice_is_finished() -> None:
    memory = ThoughtMemory()
    watch = memory.watch("a")
    through = watch.through(None)
    deltas: list[Delta] = [
        BlockOpened(block=0, part=Reasoning(issuer="anthropic")),
        BlockDelta(block=0, text="I should look."),
        BlockDelta(block=0, signature="sig"),
        BlockOpened(block=1, part=Text(text="")),
        BlockDelta(block=1, text="Looking."),
        BlockOpened(block=2, part=ToolCall(id="call_1", name="look")),
        BlockDelta(block=2, text='{"where":"here",'),
        BlockDelta(block=2, text='"deep":1}'),
    ]
    assert [each for delta in deltas for each in through(delta)] == deltas
    assert len(memory) == 0
    list(through(ChoiceFinished(finish="tool_calls")))
    request = asked(CALL)
    assert memory.restore("a", request) == 1
    assert request.messages[0].parts == [SIGNED, CALL]


# --------------------------------------------------------------------------------------------------- shared with others
async def test_what_another_worker_remembers_is_asked_for_and_put_back() -> None:
    shelf = KnownThoughts()
    ThoughtMemory(shelf).remember("a", [SIGNED, CALL])
    other = ThoughtMemory(shelf)
    request = asked(ToolCall(id="call_1", name="look", arguments='{"deep":1,"where":"here"}'))
    assert other.restore("a", request) == 0
    assert await other.recall("a", request) == 1
    assert request.messages[0].parts[0] == SIGNED
    # From now on it knows it itself.
    assert other.restore("a", asked(CALL)) == 1
    assert len(shelf.asked) == 1


async def test_another_tenant_finds_nothing_of_it() -> None:
    shelf = KnownThoughts()
    ThoughtMemory(shelf).remember("a", [SIGNED, CALL])
    request = asked(CALL)
    assert await ThoughtMemory(shelf).recall("b", request) == 0
    assert request.messages[0].parts == [CALL]


async def test_nothing_is_asked_that_the_client_sent_or_that_is_known() -> None:
    shelf = KnownThoughts()
    memory = ThoughtMemory(shelf)
    signed = ToolCall(id="call_2", name="look", arguments="{}", signature="s")
    assert await memory.recall("a", asked(SIGNED, CALL)) == 0
    assert await memory.recall("a", asked(signed)) == 0
    assert await memory.recall("a", asked(Text(text="No call."))) == 0
    memory.remember("a", [SIGNED, CALL])
    assert await memory.recall("a", asked(CALL)) == 0
    assert shelf.asked == []


async def test_what_nobody_knows_of_an_earlier_turn_is_asked_once() -> None:
    shelf = KnownThoughts()
    memory = ThoughtMemory(shelf)
    later = ToolCall(id="call_2", name="look", arguments="{}")
    messages = [Message(role="assistant", parts=[CALL]), Message(role="assistant", parts=[later])]
    for _ in range(2):
        assert await memory.recall("a", Request(dialect="openai_chat", model="m", messages=messages)) == 0
    assert [len(names) for names in shelf.asked] == [2, 1]
    # The latest turn's is asked for again: another worker may have been about to tell.
    ThoughtMemory(shelf).remember("a", [SIGNED, later])
    assert await memory.recall("a", Request(dialect="openai_chat", model="m", messages=messages)) == 1


async def test_a_store_that_is_away_or_tells_nonsense_harms_nobody() -> None:
    shelf = KnownThoughts()
    ThoughtMemory(shelf).remember("a", [SIGNED, CALL])
    shelf.away = True
    assert await ThoughtMemory(shelf).recall("a", asked(CALL)) == 0
    shelf.away = False
    shelf.thoughts = dict.fromkeys(shelf.thoughts, b"\xc1")
    assert await ThoughtMemory(shelf).recall("a", asked(CALL)) == 0


async def test_answers_without_thoughts_and_huge_ones_are_not_shared() -> None:
    shelf = KnownThoughts()
    memory = ThoughtMemory(shelf)
    memory.remember("a", [Text(text="Looking."), CALL])
    memory.remember("a", [Reasoning(text="x" * MOST_SHARED_BYTES), CALL])
    assert shelf.thoughts == {}
    assert len(memory) == 1


# ------------------------------------------------------------------------------------------------- through the gateway
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}]


def conversation(call: dict[str, Any], **more: Any) -> dict[str, Any]:
    """What a chat client sends back that knows no thoughts: the call and its result."""
    plain = {"id": call["id"], "type": "function", "function": call["function"]}
    return {
        "model": "m",
        "tools": TOOLS,
        "messages": [
            {"role": "user", "content": "Look."},
            {"role": "assistant", "content": None, "tool_calls": [plain]},
            {"role": "tool", "tool_call_id": call["id"], "content": "nothing"},
        ],
        **more,
    }


ASK = {"model": "m", "tools": TOOLS, "messages": [{"role": "user", "content": "Look."}]}


async def call_of(wayport: Gateway, *, stream: bool, **more: Any) -> dict[str, Any]:
    answered = await wayport.ask({**ASK, **more, "stream": stream})
    assert answered.status_code == 200, answered.text
    if not stream:
        found: dict[str, Any] = answered.json()["choices"][0]["message"]["tool_calls"][0]
        return found
    call: dict[str, Any] = {"id": None, "function": {"name": "", "arguments": ""}}
    for line in answered.text.split("\n"):
        if line.startswith("data: {"):
            for choice in json.loads(line[6:])["choices"]:
                for piece in choice["delta"].get("tool_calls") or ():
                    call["id"] = piece.get("id") or call["id"]
                    call["function"]["name"] += piece["function"].get("name") or ""
                    call["function"]["arguments"] += piece["function"].get("arguments") or ""
    return call


def event(name: str, **data: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n".encode()


CLAUDE: dict[str, Any] = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5",
    "content": [
        {"type": "thinking", "thinking": "I should look.", "signature": "c2ln"},
        {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"where": "here"}},
    ],
    "stop_reason": "tool_use", "stop_sequence": None, "usage": {"input_tokens": 7, "output_tokens": 3},
}  # fmt: skip


def claude(*, stream: bool) -> Behaviour:
    if not stream:
        return json_answer(CLAUDE)
    thinking, use = CLAUDE["content"]
    return sse(
        event("message_start", message={**CLAUDE, "content": [], "stop_reason": None}),
        event("content_block_start", index=0, content_block={"type": "thinking", "thinking": "", "signature": ""}),
        event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": thinking["thinking"]}),
        event("content_block_delta", index=0, delta={"type": "signature_delta", "signature": thinking["signature"]}),
        event("content_block_stop", index=0),
        event("content_block_start", index=1, content_block={**use, "input": {}}),
        event("content_block_delta", index=1, delta={"type": "input_json_delta", "partial_json": '{"where":'}),
        event("content_block_delta", index=1, delta={"type": "input_json_delta", "partial_json": ' "here"}'}),
        event("content_block_stop", index=1),
        event("message_delta", delta={"stop_reason": "tool_use", "stop_sequence": None}, usage={"output_tokens": 3}),
        event("message_stop"),
    )


@pytest.mark.parametrize("stream", [False, True])
async def test_claudes_thinking_returns_although_the_client_knows_no_thinking(stream: bool) -> None:
    async with Upstream([claude(stream=stream), json_answer(CLAUDE)]) as upstream:
        config = f"""
providers: {{anthropic: {{api_base: "{upstream.url}", api_key: sk-ant-x}}}}
models: {{m: anthropic/claude-sonnet-4-5}}
"""
        async with gateway(config) as wayport:
            call = await call_of(wayport, stream=stream, reasoning_effort="low")
            assert (await wayport.ask(conversation(call, reasoning_effort="low"))).status_code == 200
        told = upstream.requests[1].json()["messages"][1]["content"]
        assert told == CLAUDE["content"]


async def test_another_key_is_given_nobodys_thoughts() -> None:
    async with Upstream([claude(stream=False), json_answer(CLAUDE)]) as upstream:
        config = f"""
providers: {{anthropic: {{api_base: "{upstream.url}", api_key: sk-ant-x}}}}
models: {{m: anthropic/claude-sonnet-4-5}}
"""
        async with gateway(config) as wayport:
            call = await call_of(wayport, stream=False)
            key = wayport.keys.add("sk-another-0123456789")
            headers = {"authorization": f"Bearer {key}"}
            assert (await wayport.ask(conversation(call), headers=headers)).status_code == 200
        assert [part["type"] for part in upstream.requests[1].json()["messages"][1]["content"]] == ["tool_use"]


GEMINI: dict[str, Any] = {
    "candidates": [{
        "content": {"role": "model", "parts": [
            {"functionCall": {"name": "look", "args": {"where": "here"}}, "thoughtSignature": "c2lnbmF0dXJl"}
        ]},
        "finishReason": "STOP", "index": 0,
    }],
    "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 3, "totalTokenCount": 10},
    "modelVersion": "gemini-3-pro", "responseId": "r1",
}  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
async def test_geminis_signature_returns_on_its_call(stream: bool) -> None:
    first = sse(b"data: " + json.dumps(GEMINI).encode() + b"\n\n") if stream else json_answer(GEMINI)
    async with Upstream([first, json_answer(GEMINI)]) as upstream:
        config = f"""
providers: {{gemini: {{api_base: "{upstream.url}", api_key: x}}}}
models: {{m: gemini/gemini-3-pro-preview}}
"""
        async with gateway(config) as wayport:
            call = await call_of(wayport, stream=stream)
            assert (await wayport.ask(conversation(call))).status_code == 200
        parts = upstream.requests[1].json()["contents"][1]["parts"]
        assert [part.get("thoughtSignature") for part in parts] == ["c2lnbmF0dXJl"]


DEEPSEEK: dict[str, Any] = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "deepseek-reasoner",
    "choices": [{"index": 0, "finish_reason": "tool_calls", "message": {
        "role": "assistant", "content": None, "reasoning_content": "I should look.",
        "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"where": "here"}'}}],
    }}],
    "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
}  # fmt: skip


def deepseek_stream() -> Behaviour:
    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
        body = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "x", "choices": choices}
        return b"data: " + json.dumps(body).encode() + b"\n\n"

    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "look", "arguments": ""}}
    return sse(
        chunk({"role": "assistant", "content": None, "reasoning_content": "I should "}),
        chunk({"reasoning_content": "look."}),
        chunk({"tool_calls": [call]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"where": '}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": '"here"}'}}]}),
        chunk({}, "tool_calls"),
        b"data: [DONE]\n\n",
    )


@pytest.mark.parametrize("provider", ["deepseek/deepseek-reasoner", "moonshot/kimi-k2-thinking"])
@pytest.mark.parametrize("stream", [False, True])
async def test_reasoning_content_returns_in_tool_turns_of_those_who_demand_it(provider: str, stream: bool) -> None:
    first = deepseek_stream() if stream else json_answer(DEEPSEEK)
    async with Upstream([first, json_answer(DEEPSEEK), json_answer(DEEPSEEK)]) as upstream:
        name = provider.partition("/")[0]
        config = f"""
providers: {{{name}: {{api_base: "{upstream.url}", api_key: x}}}}
models: {{m: {provider}}}
"""
        async with gateway(config) as wayport:
            call = await call_of(wayport, stream=stream)
            again = conversation(call, x_unknown={"kept": 1.50})
            assert (await wayport.ask(again)).status_code == 200
            message = upstream.requests[1].json()["messages"][1]
            assert message["reasoning_content"] == "I should look."
            assert message["tool_calls"][0]["function"]["arguments"] == '{"where": "here"}'
            assert upstream.requests[1].json()["x_unknown"] == {"kept": 1.5}
            # Whoever sends it itself is passed through.
            again["messages"][1]["reasoning_content"] = "In my own words."
            assert (await wayport.ask(again)).status_code == 200
            assert upstream.requests[2].json()["messages"][1]["reasoning_content"] == "In my own words."


async def test_an_answer_of_those_passes_byte_for_byte_all_the_same() -> None:
    raw = json.dumps(DEEPSEEK, indent=1).encode()
    async with Upstream([json_answer(DEEPSEEK)]) as upstream:
        config = f"""
providers: {{deepseek: {{api_base: "{upstream.url}", api_key: x}}}}
models: {{m: deepseek/deepseek-reasoner}}
server: {{response_model: upstream}}
"""
        async with gateway(config) as wayport:
            answered = await wayport.ask(ASK)
            assert answered.json() == json.loads(raw)
            assert len(wayport.worker.attempt.thoughts) == 1


async def test_signed_thoughts_are_given_to_nobody_but_who_signed_them() -> None:
    async with (
        Upstream([claude(stream=False)]) as anthropic,
        Upstream([json_answer(DEEPSEEK)]) as deepseek,
        Upstream([json_answer(GEMINI)]) as google,
    ):
        config = f"""
providers:
  anthropic: {{api_base: "{anthropic.url}", api_key: x}}
  deepseek: {{api_base: "{deepseek.url}", api_key: x}}
  gemini: {{api_base: "{google.url}", api_key: x}}
models: {{m: anthropic/claude-sonnet-4-5, d: deepseek/deepseek-reasoner, g: gemini/gemini-3-pro-preview}}
"""
        async with gateway(config) as wayport:
            call = await call_of(wayport, stream=False)
            for model in ("d", "g"):
                assert (await wayport.ask({**conversation(call), "model": model})).status_code == 200
        for other in (deepseek, google):
            assert b"I should look." not in other.requests[0].body
            assert b"c2ln" not in other.requests[0].body


# -------------------------------------------------------------------------------------------- turns that change workers
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "model", ["anthropic/claude-sonnet-4-5", "gemini/gemini-3-pro-preview", "deepseek/deepseek-reasoner"]
)
async def test_a_turn_that_comes_to_another_worker_has_its_thoughts(model: str, stream: bool) -> None:
    provider = model.partition("/")[0]
    answers: dict[str, Behaviour] = {
        "anthropic": claude(stream=stream),
        "gemini": sse(b"data: " + json.dumps(GEMINI).encode() + b"\n\n") if stream else json_answer(GEMINI),
        "deepseek": deepseek_stream() if stream else json_answer(DEEPSEEK),
    }
    whole = {"anthropic": CLAUDE, "gemini": GEMINI, "deepseek": DEEPSEEK}[provider]
    shelf = KnownThoughts()
    async with Upstream([answers[provider], json_answer(whole), json_answer(whole)]) as upstream:
        config = f"""
providers: {{{provider}: {{api_base: "{upstream.url}", api_key: x}}}}
models: {{m: {model}}}
"""
        async with gateway(config, thoughts=shelf) as one, gateway(config, thoughts=shelf) as two:
            call = await call_of(one, stream=stream)
            assert (await two.ask(conversation(call))).status_code == 200
            assert (await two.ask({**conversation(call), "tools": None})).status_code == 200
        told = upstream.requests[1].body
        proof = {"anthropic": b'"c2ln"', "gemini": b'"c2lnbmF0dXJl"', "deepseek": b'"I should look."'}[provider]
        assert proof in told
        # Only a turn with tools is worth asking for.
        assert len(shelf.asked) == 1


async def test_a_target_that_takes_no_thoughts_back_asks_nobody() -> None:
    shelf = KnownThoughts()
    plain: dict[str, Any] = {"id": "call_1", "function": {"name": "look", "arguments": "{}"}}
    async with Upstream([json_answer(DEEPSEEK)]) as upstream:
        config = f"""
providers: {{openai: {{api_base: "{upstream.url}", api_key: x}}}}
models: {{m: openai/gpt-4o}}
"""
        async with gateway(config, thoughts=shelf) as wayport:
            assert (await wayport.ask(conversation(plain))).status_code == 200
    assert shelf.asked == []
