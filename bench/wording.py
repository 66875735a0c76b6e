"""What is asked and answered in a benchmark: the bytes of requests, whole answers and stream events, in two dialects."""

import json
import re
from typing import NamedTuple

BODY_BYTES = 1024
WORD = b'" word"'
"""stands once in every content event, in whatever dialect and spacing"""

TEXT = "The quick brown fox jumps over the lazy dog. " * 12
INPUT_TOKENS, OUTPUT_TOKENS = 120, 130


class Pace(NamedTuple):
    """How a stream is sent. It travels in the prompt, as gateways translate or drop everything else."""

    events: int
    """of content; the opening and closing ones come on top"""
    pace_ms: float

    def __str__(self) -> str:
        return f"[[events={self.events} pace_ms={self.pace_ms:g}]]"


_PACE = re.compile(rb"\[\[events=(\d+) pace_ms=([\d.]+)\]\]")
_STREAMS = re.compile(rb'"stream"\s*:\s*true')


def asked_pace(body: bytes) -> Pace | None:
    """None: a whole answer is wanted."""
    if not _STREAMS.search(body):
        return None
    found = _PACE.search(body)
    return Pace(int(found[1]), float(found[2])) if found else Pace(100, 50.0)


def chat_body(model: str, pace: Pace | None = None) -> bytes:
    """A chat call of 1 KB."""
    begin: dict[str, object] = {"model": model}
    if pace is not None:
        begin["stream"] = True
    prompt = f"{pace or ''}"

    def body(filling: str) -> bytes:
        messages = [{"role": "user", "content": prompt + filling}]
        return json.dumps({**begin, "messages": messages, "temperature": 0.7}, separators=(",", ":")).encode()

    missing = BODY_BYTES - len(body(""))
    return body(("word " * (missing // 5 + 1))[:missing])


# ------------------------------------------------------------------------------------------------------------ OpenAI
def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


OPENAI_WHOLE = _json({
    "id": "chatcmpl-bench", "object": "chat.completion", "created": 1760000000, "model": "bench-model",
    "choices": [{
        "index": 0, "message": {"role": "assistant", "content": TEXT, "refusal": None},
        "logprobs": None, "finish_reason": "stop",
    }],
    "usage": {
        "prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS, "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
        "prompt_tokens_details": {"cached_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 0},
    },
})  # fmt: skip


def _openai_event(choices: list[object], usage: object = None) -> bytes:
    event = {
        "id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1760000000, "model": "bench-model",
        "choices": choices,
    }  # fmt: skip
    if usage is not None:
        event["usage"] = usage
    return b"data: %b\n\n" % _json(event)


def _openai_delta(delta: object, finish: str | None = None) -> bytes:
    return _openai_event([{"index": 0, "delta": delta, "finish_reason": finish}])


# --------------------------------------------------------------------------------------------------------- Anthropic
_ANTHROPIC_START: dict[str, object] = {
    "id": "msg_bench", "type": "message", "role": "assistant", "model": "claude-bench", "content": [],
    "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": INPUT_TOKENS, "output_tokens": 1},
}  # fmt: skip

ANTHROPIC_WHOLE = _json(
    {
        **_ANTHROPIC_START,
        "content": [{"type": "text", "text": TEXT}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": INPUT_TOKENS, "output_tokens": OUTPUT_TOKENS},
    }
)


def _anthropic_event(kind: str, **fields: object) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), _json({"type": kind, **fields}))


class Script(NamedTuple):
    """The events of a stream: each one chunk of its own."""

    opening: tuple[bytes, ...]
    content: bytes
    closing: tuple[bytes, ...]


OPENAI = Script(
    opening=(_openai_delta({"role": "assistant", "content": ""}),),
    content=_openai_delta({"content": " word"}),
    closing=(
        _openai_delta({}, "stop"),
        _openai_event([], {"prompt_tokens": 120, "completion_tokens": 100, "total_tokens": 220}),
        b"data: [DONE]\n\n",
    ),
)
ANTHROPIC = Script(
    opening=(
        _anthropic_event("message_start", message=_ANTHROPIC_START),
        _anthropic_event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
    ),
    content=_anthropic_event("content_block_delta", index=0, delta={"type": "text_delta", "text": " word"}),
    closing=(
        _anthropic_event("content_block_stop", index=0),
        _anthropic_event(
            "message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 100}
        ),
        _anthropic_event("message_stop"),
    ),
)
