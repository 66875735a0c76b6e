"""Usage and stop reasons of the Messages API, to the neutral ones and back."""

from msgspec import Raw

from wayport.core.usage import Usage
from wayport.dialects.anthropic_messages_fields import Block
from wayport.dialects.neutral import FinishReason
from wayport.wire import anthropic_messages as wire

STOP_REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "max_tokens": "length",
    "stop_sequence": "stop_sequence",
    "tool_use": "tool_calls",
    "pause_turn": "pause",
    "compaction": "stop",
    "refusal": "refusal",
    "model_context_window_exceeded": "context_window",
}

_WORDS: dict[FinishReason, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "refusal": "refusal",
    "stop_sequence": "stop_sequence",
    "pause": "pause_turn",
    "context_window": "model_context_window_exceeded",
    "error": "end_turn",
}

# Iterations whose tokens are billed but left out of the top-level counts (API reference, `usage.iterations`).
_APART = frozenset({"compaction", "advisor_message"})

_TIERS = {"default": "standard", "standard": "standard", "priority": "priority", "batch": "batch"}
_NEUTRAL_TIERS = {"standard": "default"}


def finish_of(stop_reason: str) -> FinishReason:
    return STOP_REASONS.get(stop_reason, "stop")


def stop_reason_of(finish: FinishReason | None, raw: str | None, *, called: bool, own: bool) -> str:
    """The word for the client. `called`: the answer holds tool calls, which this API's clients run on `tool_use` only.

    A guardrail may have changed `finish`; the upstream's own word counts only while it says the same.
    """
    if raw is not None and STOP_REASONS.get(raw, "stop" if own else None) == finish:
        return raw
    if called and finish in (None, "stop", "stop_sequence"):
        return "tool_use"
    return _WORDS[finish] if finish is not None else "end_turn"


def tier_of(usage: wire.Usage) -> str | None:
    """The service tier in the neutral words, which are OpenAI's."""
    return _NEUTRAL_TIERS.get(usage.service_tier, usage.service_tier) if usage.service_tier is not None else None


_NOTHING_WRITTEN = (None, wire.CacheCreation(ephemeral_5m_input_tokens=0, ephemeral_1h_input_tokens=0))


def _plain(stated: wire.Usage) -> Usage:
    """Of a whole answer for which nothing was written to the cache."""
    read, thought = stated.cache_read_input_tokens or 0, stated.output_tokens_details
    return Usage(
        input_tokens=(stated.input_tokens or 0) + read,
        output_tokens=stated.output_tokens or 0,
        cache_read_tokens=read,
        reasoning_tokens=0 if thought is None else thought.thinking_tokens or 0,
    )


def merge(before: Usage | None, stated: wire.Usage) -> Usage:
    """The normalised usage after a statement. What it leaves out stands as it was before (`message_start`)."""
    if (
        before is None
        and not stated.cache_creation_input_tokens
        and stated.cache_creation in _NOTHING_WRITTEN
        and stated.server_tool_use is None
        and stated.iterations is None
    ):
        return _plain(stated)
    old = before if before is not None else Usage()
    # Counts are cumulative: a nought after a figure is a provider with nothing to say, not a correction. Whoever lists
    # iterations says everything (and `before` may hold what is added from them below).
    latest = _stated_or_before if stated.iterations is None else _stated_unless_absent
    read = latest(stated.cache_read_input_tokens, old.cache_read_tokens)
    split = stated.cache_creation
    if split is not None:
        hour = latest(split.ephemeral_1h_input_tokens, old.cache_write_1h_tokens)
        written = (split.ephemeral_5m_input_tokens or 0) + hour
    else:
        hour = old.cache_write_1h_tokens
        written = old.cache_write_tokens
    # Server tools write more as they go on: the total of the last event tells, and the split of the first does not.
    written = max(written, stated.cache_creation_input_tokens or 0)
    new = Usage(
        cache_read_tokens=read,
        cache_write_5m_tokens=written - hour,
        cache_write_1h_tokens=hour,
        output_tokens=latest(stated.output_tokens, old.output_tokens),
        reasoning_tokens=old.reasoning_tokens,
        web_search_requests=old.web_search_requests,
        web_fetch_requests=old.web_fetch_requests,
        code_execution_requests=old.code_execution_requests,
    )
    fresh = latest(stated.input_tokens, old.input_tokens - old.cache_read_tokens - old.cache_write_tokens)
    new.input_tokens = fresh + read + written
    if stated.output_tokens_details is not None:
        new.reasoning_tokens = latest(stated.output_tokens_details.thinking_tokens, old.reasoning_tokens)
    if (tools := stated.server_tool_use) is not None:
        new.web_search_requests = latest(tools.web_search_requests, old.web_search_requests)
        new.web_fetch_requests = latest(tools.web_fetch_requests, old.web_fetch_requests)
        new.code_execution_requests = latest(tools.code_execution_requests, old.code_execution_requests)
    for iteration in stated.iterations or ():
        if iteration.type in _APART:
            _add(new, iteration)
    return new


def _stated_or_before(stated: int | None, before: int) -> int:
    return stated or before


def _stated_unless_absent(stated: int | None, before: int) -> int:
    return stated if stated is not None else before


def _add(usage: Usage, iteration: wire.Iteration) -> None:
    read = iteration.cache_read_input_tokens or 0
    written = iteration.cache_creation_input_tokens or 0
    hour = (iteration.cache_creation.ephemeral_1h_input_tokens or 0) if iteration.cache_creation is not None else 0
    usage.input_tokens += (iteration.input_tokens or 0) + read + written
    usage.output_tokens += iteration.output_tokens or 0
    usage.cache_read_tokens += read
    usage.cache_write_1h_tokens += hour
    usage.cache_write_5m_tokens += written - hour


def decode_usage(raw: Raw, before: Usage | None = None) -> Usage:
    return merge(before, wire.decode_usage(raw))


def encode_usage(usage: Usage | None, service_tier: str | None = None) -> Block:
    """The usage object for a client, from the usage of another dialect."""
    usage = usage if usage is not None else Usage()
    # The three kinds of input add up to the total here. Some providers count one token as read and as written.
    read = min(usage.cache_read_tokens, usage.input_tokens)
    hour = min(usage.cache_write_1h_tokens, usage.input_tokens - read)
    minutes = min(usage.cache_write_5m_tokens, usage.input_tokens - read - hour)
    block: Block = {
        "input_tokens": usage.input_tokens - read - hour - minutes,
        "cache_creation_input_tokens": minutes + hour,
        "cache_read_input_tokens": read,
        "cache_creation": {"ephemeral_5m_input_tokens": minutes, "ephemeral_1h_input_tokens": hour},
        "output_tokens": usage.output_tokens,
        "service_tier": _TIERS.get(service_tier or "standard", "standard"),
    }
    if usage.reasoning_tokens:
        block["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    if usage.web_search_requests or usage.web_fetch_requests:
        block["server_tool_use"] = {
            "web_search_requests": usage.web_search_requests,
            "web_fetch_requests": usage.web_fetch_requests,
        }
    return block
