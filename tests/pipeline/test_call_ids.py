"""Agents tell calls and results apart by their ids: none is used twice in a conversation, whatever the upstream says."""

import json
from typing import Any

import pytest
from tests.fakes.gateway import Gateway, gateway
from tests.fakes.upstream import Behaviour, Received, Upstream, by, json_answer, sse
from tests.pipeline.test_thoughts import ASK, call_of, conversation

GEMINI: dict[str, Any] = {
    "candidates": [{
        "content": {"role": "model", "parts": [
            {"functionCall": {"name": "look", "args": {}}}, {"functionCall": {"name": "look", "args": {}}},
        ]},
        "finishReason": "STOP", "index": 0,
    }],
    "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 3, "totalTokenCount": 10},
}  # fmt: skip
CALL = {"id": "call_0", "type": "function", "function": {"name": "look", "arguments": "{}"}}
CALLS = [CALL, {**CALL, "id": "call_1"}]
CHAT: dict[str, Any] = {
    "id": "c", "object": "chat.completion", "created": 1, "model": "up",
    "choices": [{"index": 0, "finish_reason": "tool_calls", "message": {
        "role": "assistant", "content": None, "tool_calls": CALLS}}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}  # fmt: skip


def gemini(received: Received) -> Behaviour:
    if "stream" in received.path:
        return sse(b"data: " + json.dumps(GEMINI).encode() + b"\n\n")
    return json_answer(GEMINI)


def chat(received: Received) -> Behaviour:
    if not received.json().get("stream"):
        return json_answer(CHAT)
    delta = {"role": "assistant", "tool_calls": [{"index": n, **call} for n, call in enumerate(CALLS)]}
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "up"}
    first = {**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    last = {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
    return sse(*(b"data: " + json.dumps(each).encode() + b"\n\n" for each in (first, last)), b"data: [DONE]\n\n")


UPSTREAMS = {"gemini": (gemini, "gemini/gemini-2.5-flash"), "openai": (chat, "openai/gpt-4o")}


async def turn(wayport: Gateway, client: str, messages: list[Any], *, stream: bool) -> list[str]:
    """Asks for the next turn as this client; adds it and its results to the messages; the ids of its calls."""
    if client == "chat":
        answered = await wayport.ask({**ASK, "messages": messages})
        calls = answered.json()["choices"][0]["message"]["tool_calls"]
        ids = [call["id"] for call in calls]
        messages.append({"role": "assistant", "content": None, "tool_calls": calls})
        messages += [{"role": "tool", "tool_call_id": name, "content": "x"} for name in ids]
        return ids
    tools = [{"name": "look", "input_schema": {"type": "object"}}]
    body = {"model": "m", "max_tokens": 99, "messages": messages, "tools": tools, "stream": stream}
    answered = await wayport.ask(body, "/v1/messages")
    assert answered.status_code == 200, answered.text
    if stream:
        events = [json.loads(line[6:]) for line in answered.text.split("\n") if line.startswith("data: ")]
        blocks = [event["content_block"] for event in events if event["type"] == "content_block_start"]
    else:
        blocks = answered.json()["content"]
    blocks = [block for block in blocks if block["type"] == "tool_use"]
    messages.append({"role": "assistant", "content": blocks})
    results = [{"type": "tool_result", "tool_use_id": block["id"], "content": "x"} for block in blocks]
    messages.append({"role": "user", "content": results})
    return [block["id"] for block in blocks]


@pytest.mark.parametrize(
    ("upstream_of", "client", "stream"),
    [("gemini", "chat", False), ("gemini", "messages", False), ("gemini", "messages", True),
     ("openai", "messages", False), ("openai", "messages", True)],
)  # fmt: skip
async def test_no_id_is_used_twice_in_a_conversation(upstream_of: str, client: str, stream: bool) -> None:
    script, model = UPSTREAMS[upstream_of]
    async with Upstream(by(script)) as upstream:
        provider = model.partition("/")[0]
        config = f"providers: {{{provider}: {{api_base: '{upstream.url}', api_key: k}}}}\nmodels: {{m: {model}}}\n"
        async with gateway(config) as wayport:
            messages: list[Any] = [{"role": "user", "content": "Look."}]
            ids = [name for _ in range(3) for name in await turn(wayport, client, messages, stream=stream)]
        assert len(ids) == len(set(ids)) == 6
        assert all(len(name) <= 64 and name.replace("-", "").replace("_", "").isalnum() for name in ids)
        # The upstream can tell which result belongs to which call.
        last = upstream.requests[-1].json()
        if upstream_of == "openai":
            called = [call["id"] for m in last["messages"] for call in m.get("tool_calls") or []]
            assert [m["tool_call_id"] for m in last["messages"] if m["role"] == "tool"] == called == ids[:4]
        else:
            assert "gemini-call-" not in json.dumps(last)


async def test_ids_that_are_new_pass_as_they_are() -> None:
    async with Upstream(by(chat)) as upstream:
        config = f"providers: {{openai: {{api_base: '{upstream.url}', api_key: k}}}}\nmodels: {{m: openai/gpt-4o}}\n"
        async with gateway(config) as wayport:
            messages: list[Any] = [{"role": "user", "content": "Look."}]
            assert (await turn(wayport, "messages", messages, stream=True))[0] == "call_0"
            # One dialect on both sides: nothing is changed.
            assert (await call_of(wayport, stream=False))["id"] == "call_0"
            answered = await wayport.ask(conversation(CALL))
            assert [call["id"] for call in answered.json()["choices"][0]["message"]["tool_calls"]] == [
                "call_0",
                "call_1",
            ]


@pytest.mark.parametrize("stream", [False, True])
async def test_no_two_answers_have_the_same_id_for_claude_code(stream: bool) -> None:
    async with Upstream(by(chat)) as upstream:
        config = f"providers: {{openai: {{api_base: '{upstream.url}', api_key: k}}}}\nmodels: {{m: openai/gpt-4o}}\n"
        async with gateway(config) as wayport:
            ids = set()
            for _ in range(2):
                body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}], "stream": stream}
                answered = await wayport.ask(body, "/v1/messages")
                told = (
                    json.loads(answered.text.split("data: ")[1].split("\n")[0])["message"]
                    if stream
                    else answered.json()
                )
                ids.add(told["id"])
            assert len(ids) == 2
            assert all(name.startswith("msg_") for name in ids)
            assert {record.upstream_id for record in wayport.records} == {"c"}
