"""The same answers in three upstream dialects: a text, a tool call, structured output; whole and as a stream."""

import json
from typing import Any

from tests.fakes.upstream import Behaviour, Received, json_answer, sse

ARGUMENTS = {"city": "Göttingen", "days": 2}


_TOOL_RESULTS = (b"functionResponse", b"tool_result", b'"role":"tool"', b'"role": "tool"', b"function_call_output")


def _wants(received: Received) -> str:
    """A question about the weather calls the tool, until its result is there."""
    body = received.body
    return "tool" if b"weather?" in body and not any(word in body for word in _TOOL_RESULTS) else "text"


def answer(received: Received) -> Behaviour:
    """Answers in the dialect of the path, streamed if asked for."""
    kind = _wants(received)
    if "countTokens" in received.path:
        return json_answer({"totalTokens": 42})
    if received.path.endswith("/count_tokens"):
        return json_answer({"input_tokens": 42})
    if "enerateContent" in received.path:
        return _gemini(kind, stream="stream" in received.path)
    body = received.json()
    if received.path.endswith("/messages"):
        return _anthropic(kind, stream=bool(body.get("stream")))
    return _openai(kind, stream=bool(body.get("stream")))


# ---------------------------------------------------------------------------------------------------------- openai_chat
def _openai(kind: str, *, stream: bool) -> Behaviour:
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": json.dumps(ARGUMENTS)}}
    message: dict[str, Any] = {"role": "assistant", "content": "Hello there" if kind == "text" else None}
    if kind == "tool":
        message["tool_calls"] = [call]
    finish = "stop" if kind == "text" else "tool_calls"
    usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
    base = {"id": "chatcmpl-1", "created": 1, "model": "up"}
    if not stream:
        choice = {"index": 0, "message": message, "finish_reason": finish}
        return json_answer({**base, "object": "chat.completion", "choices": [choice], "usage": usage})

    def chunk(delta: dict[str, Any], reason: str | None = None) -> bytes:
        choices = [{"index": 0, "delta": delta, "finish_reason": reason}]
        return _data({**base, "object": "chat.completion.chunk", "choices": choices})

    steps = [chunk({"role": "assistant", "content": ""})]
    if kind == "text":
        steps += [chunk({"content": "Hello"}), chunk({"content": " there"})]
    else:
        text = json.dumps(ARGUMENTS)
        steps.append(chunk({"tool_calls": [{**call, "index": 0, "function": {"name": "weather", "arguments": ""}}]}))
        steps += [
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}) for piece in (text[:9], text[9:])
        ]
    steps.append(chunk({}, finish))
    steps.append(_data({**base, "object": "chat.completion.chunk", "choices": [], "usage": usage}))
    return sse(*steps, b"data: [DONE]\n\n")


def _data(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


# --------------------------------------------------------------------------------------------------- anthropic_messages
def _anthropic(kind: str, *, stream: bool) -> Behaviour:
    block: dict[str, Any] = (
        {"type": "text", "text": "Hello there"}
        if kind == "text"
        else {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": ARGUMENTS}
    )
    stop = "end_turn" if kind == "text" else "tool_use"
    message: dict[str, Any] = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "up", "content": [block], "stop_reason": stop,
        "stop_sequence": None, "usage": {"input_tokens": 11, "output_tokens": 7},
    }  # fmt: skip
    if not stream:
        return json_answer(message)

    def event(name: str, **value: Any) -> bytes:
        return f"event: {name}\n".encode() + _data({"type": name, **value})

    begun = {**message, "content": [], "stop_reason": None, "usage": {"input_tokens": 11, "output_tokens": 1}}
    empty = {**block, "text": ""} if kind == "text" else {**block, "input": {}}
    text = json.dumps(ARGUMENTS)
    deltas = (
        [{"type": "text_delta", "text": "Hello"}, {"type": "text_delta", "text": " there"}]
        if kind == "text"
        else [{"type": "input_json_delta", "partial_json": piece} for piece in (text[:9], text[9:])]
    )
    return sse(
        event("message_start", message=begun),
        event("content_block_start", index=0, content_block=empty),
        event("ping"),
        *(event("content_block_delta", index=0, delta=delta) for delta in deltas),
        event("content_block_stop", index=0),
        event("message_delta", delta={"stop_reason": stop, "stop_sequence": None}, usage={"output_tokens": 7}),
        event("message_stop"),
    )


# ------------------------------------------------------------------------------------------------------- gemini_content
def _gemini(kind: str, *, stream: bool) -> Behaviour:
    usage = {"promptTokenCount": 11, "candidatesTokenCount": 7, "totalTokenCount": 18}

    def part_of(parts: list[dict[str, Any]], finish: str | None = None) -> dict[str, Any]:
        candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
        if finish:
            candidate["finishReason"] = finish
        return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "up", "responseId": "r1"}

    call = {"functionCall": {"name": "weather", "args": ARGUMENTS}, "thoughtSignature": "c2lnbmVk"}
    if not stream:
        return json_answer(part_of([{"text": "Hello there"}] if kind == "text" else [call], "STOP"))
    pieces = (
        [part_of([{"text": "Hello"}]), part_of([{"text": " there"}], "STOP")]
        if kind == "text"
        else [part_of([call]), part_of([{"text": ""}], "STOP")]
    )
    return sse(*(b"data: " + json.dumps(piece).encode() + b"\r\n\r\n" for piece in pieces))
