"""Usage as OpenAI and its imitators state it, read into ours and written from it.

What must stay true: input and output are totals, and nothing that was billed is missing from them.
"""

from operator import attrgetter

import msgspec
from msgspec import Raw
from msgspec.structs import astuple

from wayport.core.money import nano_from_usd
from wayport.core.usage import Usage
from wayport.wire.openai_chat import (
    Cost,
    Count,
    PromptDetails,
    UsageObject,
    usage_decoder,
)

_PLACES = 5
_NO_OTHERS = astuple(UsageObject())[_PLACES:]
_TICKS_PER_NANO_USD = 10
_FIELDS = frozenset(UsageObject.__struct_fields__)


def read_usage(raw: Raw | bytes) -> Usage | None:
    """What a `usage` value states; None if it is null or no object. Values of a wrong type are passed over."""
    try:
        given = usage_decoder.decode(raw)
    except msgspec.ValidationError:
        return _read_what_fits(raw)
    except ValueError:
        return None
    return usage_of(given)


def _read_what_fits(raw: Raw | bytes) -> Usage | None:
    loose = msgspec.json.decode(raw)
    if not isinstance(loose, dict):
        return None
    fitting: dict[str, object] = {}
    for name in _FIELDS & loose.keys():
        try:
            msgspec.convert({name: loose[name]}, UsageObject)
        except msgspec.ValidationError:
            continue
        fitting[name] = loose[name]
    return usage_of(msgspec.convert(fitting, UsageObject))


def _count(value: Count) -> int:
    """A count as it may be billed: never negative."""
    return int(value) if value and value > 0 else 0


def usage_of(given: UsageObject) -> Usage:
    # On the hot path: what most answers do not state is looked at in one go.
    more = astuple(given)[_PLACES:] != _NO_OTHERS
    inputs, outputs, total = given.prompt_tokens, given.completion_tokens, given.total_tokens
    prompt, completion = given.prompt_tokens_details, given.completion_tokens_details
    reasoning = None if completion is None else completion.reasoning_tokens
    if more:
        inputs = inputs or given.input_tokens
        outputs = outputs or given.output_tokens
        reasoning = reasoning or given.reasoning_tokens
    # As `_count`.
    inputs = (inputs if type(inputs) is int else int(inputs)) if inputs and inputs > 0 else 0
    outputs = (outputs if type(outputs) is int else int(outputs)) if outputs and outputs > 0 else 0
    # Where the total exceeds its parts, the thoughts were left out of the completion (xAI, Gemini's OpenAI endpoint).
    if total and total > inputs + outputs > 0:
        missing = int(total - inputs - outputs)
        outputs += missing
        reasoning = reasoning or missing
    usage = Usage(input_tokens=inputs, output_tokens=outputs)
    if reasoning:
        usage.reasoning_tokens = _count(reasoning)
    if prompt is not None and (
        prompt.cached_tokens
        or prompt.cache_write_tokens
        or prompt.cache_creation_tokens
        or prompt.audio_tokens
        or prompt.image_tokens
        or prompt.video_tokens
    ):
        _read_prompt(prompt, usage)
    if completion is not None and (
        completion.audio_tokens
        or completion.image_tokens
        or completion.accepted_prediction_tokens
        or completion.rejected_prediction_tokens
    ):
        usage.audio_output_tokens = _count(completion.audio_tokens)
        usage.image_output_tokens = _count(completion.image_tokens)
        usage.accepted_prediction_tokens = _count(completion.accepted_prediction_tokens)
        usage.rejected_prediction_tokens = _count(completion.rejected_prediction_tokens)
    if more:
        _read_others(given, usage)
    return usage


def _read_prompt(prompt: PromptDetails, usage: Usage) -> None:
    usage.cache_read_tokens = _count(prompt.cached_tokens)
    usage.cache_write_5m_tokens = _count(prompt.cache_write_tokens or prompt.cache_creation_tokens)
    usage.audio_input_tokens = _count(prompt.audio_tokens)
    usage.image_input_tokens = _count(prompt.image_tokens)
    usage.video_input_tokens = _count(prompt.video_tokens)


def _read_others(given: UsageObject, usage: Usage) -> None:
    """What stands elsewhere than OpenAI writes it."""
    if not usage.cache_read_tokens:
        usage.cache_read_tokens = _count(
            given.prompt_cache_hit_tokens
            or given.cache_read_input_tokens
            or given.num_cached_tokens
            or given.cached_tokens
        )
    if given.cache_creation_input_tokens or given.cache_creation is not None:
        written = usage.cache_write_5m_tokens or _count(given.cache_creation_input_tokens)
        _read_cache_writes(given, written, usage)
    if given.server_tool_use is not None:
        usage.web_search_requests = _count(given.server_tool_use.web_search_requests)
        usage.web_fetch_requests = _count(given.server_tool_use.web_fetch_requests)
        usage.code_execution_requests = _count(given.server_tool_use.code_execution_requests)
    elif given.num_search_queries or given.num_sources_used:
        usage.web_search_requests = _count(given.num_search_queries or given.num_sources_used)
    if given.cost is not None or given.cost_in_usd_ticks is not None:
        usage.cost_nano_usd = _cost(given)


def _read_cache_writes(given: UsageObject, written: int, usage: Usage) -> None:
    if given.cache_creation is not None:
        usage.cache_write_1h_tokens = _count(given.cache_creation.ephemeral_1h_input_tokens)
        written = max(written, usage.cache_write_1h_tokens + _count(given.cache_creation.ephemeral_5m_input_tokens))
    usage.cache_write_5m_tokens = written - usage.cache_write_1h_tokens


def _cost(given: UsageObject) -> int | None:
    if given.cost_in_usd_ticks is not None:
        return round(given.cost_in_usd_ticks / _TICKS_PER_NANO_USD)
    cost = given.cost.total_cost if isinstance(given.cost, Cost) else given.cost
    if cost is None:
        return None
    nano_usd = nano_from_usd(cost)
    # With the caller's own provider key `cost` is OpenRouter's fee alone; the provider bills the rest.
    if given.is_byok and given.cost_details is not None and given.cost_details.upstream_inference_cost:
        nano_usd += nano_from_usd(given.cost_details.upstream_inference_cost)
    return nano_usd


_seldom = attrgetter(
    "cache_write_5m_tokens", "cache_write_1h_tokens", "image_input_tokens", "video_input_tokens", "image_output_tokens",
    "web_search_requests", "web_fetch_requests", "code_execution_requests",
)  # fmt: skip


def write_usage(usage: Usage) -> dict[str, object]:
    """Usage of another dialect in OpenAI's shape, with LiteLLM's names for the cache beside it."""
    read, inputs, outputs = usage.cache_read_tokens, usage.input_tokens, usage.output_tokens
    prompt_details = {"cached_tokens": read, "audio_tokens": usage.audio_input_tokens}
    completion_details = {
        "reasoning_tokens": usage.reasoning_tokens,
        "audio_tokens": usage.audio_output_tokens,
        "accepted_prediction_tokens": usage.accepted_prediction_tokens,
        "rejected_prediction_tokens": usage.rejected_prediction_tokens,
    }
    written: dict[str, object] = {
        "prompt_tokens": inputs,
        "completion_tokens": outputs,
        "total_tokens": inputs + outputs,
        "prompt_tokens_details": prompt_details,
        "completion_tokens_details": completion_details,
    }
    if read or any(_seldom(usage)):
        _write_seldom(usage, written, prompt_details, completion_details)
    return written


def _write_seldom(
    usage: Usage, written: dict[str, object], prompt_details: dict[str, int], completion_details: dict[str, int]
) -> None:
    if usage.cache_write_tokens:
        prompt_details["cache_write_tokens"] = usage.cache_write_tokens
    if usage.image_input_tokens:
        prompt_details["image_tokens"] = usage.image_input_tokens
    if usage.video_input_tokens:
        prompt_details["video_tokens"] = usage.video_input_tokens
    if usage.image_output_tokens:
        completion_details["image_tokens"] = usage.image_output_tokens
    if usage.cache_read_tokens or usage.cache_write_tokens:
        written["cache_read_input_tokens"] = usage.cache_read_tokens
        written["cache_creation_input_tokens"] = usage.cache_write_tokens
    if usage.cache_write_1h_tokens:
        written["cache_creation"] = {
            "ephemeral_5m_input_tokens": usage.cache_write_5m_tokens,
            "ephemeral_1h_input_tokens": usage.cache_write_1h_tokens,
        }
    if usage.web_search_requests or usage.web_fetch_requests or usage.code_execution_requests:
        written["server_tool_use"] = {
            "web_search_requests": usage.web_search_requests,
            "web_fetch_requests": usage.web_fetch_requests,
            "code_execution_requests": usage.code_execution_requests,
        }
