"""Usage: what an upstream says it consumed. Cost is made of it elsewhere; the two are never mixed."""

from typing import Literal

import msgspec
from msgspec.structs import astuple

UsageSource = Literal["reported", "estimated", "none"]


class Usage(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """Token counts of one answer, normalised so that kinds do not overlap in meaning.

    `input_tokens` and `output_tokens` are totals: the other kinds are parts of them (Anthropic's separate cache
    counts are added in; OpenAI's and Gemini's are already inside, Gemini's thoughts are added to the output).
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    """part of input: served from the provider's prompt cache"""
    cache_write_5m_tokens: int = 0
    """part of input: written to the cache for five minutes (or the provider's only lifetime)"""
    cache_write_1h_tokens: int = 0
    """part of input: written to the cache for an hour"""
    audio_cache_read_tokens: int = 0
    """part of both cache_read and audio_input"""
    image_cache_read_tokens: int = 0
    """part of both cache_read and image_input"""
    audio_input_tokens: int = 0
    image_input_tokens: int = 0
    video_input_tokens: int = 0
    tool_input_tokens: int = 0
    """part of input: spent by server tools' results (Gemini's toolUsePromptTokenCount)"""
    reasoning_tokens: int = 0
    """part of output"""
    audio_output_tokens: int = 0
    image_output_tokens: int = 0
    accepted_prediction_tokens: int = 0
    rejected_prediction_tokens: int = 0
    web_search_requests: int = 0
    web_fetch_requests: int = 0
    code_execution_requests: int = 0
    cost_nano_usd: int | None = None
    """what the upstream itself says the call cost (OpenRouter, Perplexity)"""

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    @property
    def cache_write_tokens(self) -> int:
        return self.cache_write_5m_tokens + self.cache_write_1h_tokens


_MOST = 1 << 40
"""more than any answer holds, and little enough for prices, sums and every store"""
_DEAREST = 1 << 60
PLAIN = astuple(Usage())[2:]
"""what stands behind input and output where there was text in and text out and nothing else: in most answers"""
_COUNTS = tuple(name for name in Usage.__struct_fields__ if name != "cost_nano_usd")


def plausible(usage: Usage) -> Usage:
    """The usage itself; where an upstream stated what cannot be (negative, beyond all bounds), the nearest that can."""
    told = astuple(usage)
    if told[2:] == PLAIN and 0 <= usage.input_tokens <= _MOST and 0 <= usage.output_tokens <= _MOST:
        return usage
    *counted, stated = told
    if min(counted) >= 0 and sum(counted) <= _MOST and (stated is None or 0 <= stated < _DEAREST):
        return usage
    counts = {name: max(0, min(_MOST, getattr(usage, name))) for name in _COUNTS}
    return Usage(**counts, cost_nano_usd=stated if stated is not None and 0 <= stated < _DEAREST else None)
