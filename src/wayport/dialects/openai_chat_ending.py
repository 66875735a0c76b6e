"""The end of an ordinary chat stream: what it states, read without a decoder's bookkeeping.

What must stay true: it is what `ChatStreamDecoder` tells of the same events, or nothing.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec
from msgspec import Struct

from wayport.dialects.dialect import Stated
from wayport.dialects.openai_chat_message import read_finish
from wayport.wire import sse


# A field that may only be null is for what is out of the ordinary: where it says something, the event does not fit.
class _Delta(Struct, frozen=True):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: None = None
    thinking_blocks: None = None
    tool_calls: None = None
    function_call: None = None
    annotations: None = None
    images: None = None
    audio: None = None
    extra_content: None = None


class _Choice(Struct, frozen=True):
    index: Literal[0] = 0
    delta: _Delta | None = None
    finish_reason: str | None = None
    logprobs: None = None
    usage: None = None


class _Chunk(Struct, frozen=True):
    choices: list[_Choice]
    id: str | None = None
    created: int | None = None
    service_tier: str | None = None
    error: None = None
    detail: None = None


_decode = msgspec.json.Decoder(_Chunk).decode


def ending(events: Iterable[bytes]) -> Stated | None:
    """What these events, the last ones of a stream or all, state but for usage. None: they have to be decoded."""
    started = chosen = False
    told: str | None = None
    tier: str | None = None
    word = ""
    for event in events:
        name, data = sse.parse(event)
        if data.startswith(b"[DONE]"):
            if not started:
                return None
            return Stated(None, told, tier, read_finish(word, has_calls=False) if chosen else None)
        if not data:
            continue
        try:
            chunk = _decode(data)
        except (ValueError, RecursionError):
            return None
        choices = chunk.choices
        if name == "error" or len(choices) > 1:
            return None
        if not started and (chunk.id or choices):
            started, told, tier = True, chunk.id or None, chunk.service_tier
        if choices:
            chosen = True
            word = word or choices[0].finish_reason or ""
    return None
