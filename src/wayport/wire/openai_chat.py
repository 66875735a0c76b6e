"""The JSON of OpenAI's chat completions as OpenAI documents it, and what its many imitators add to it.

Requests and messages are read field by field (`dict[str, Raw]`), so that unknown ones travel on; structs stand here only
for what is read on the way through without keeping the rest.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

Count = int | float | None
"""Some servers write counts as floats, or null for none"""


class PlainMessage(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A message that says a text and nothing else, as most do."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str


class PlainAnswerMessage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A message of a whole answer that says a text, and beside it only that there is nothing else."""

    role: Literal["assistant"]
    content: Annotated[str, Meta(min_length=1)]
    refusal: Raw = Raw()
    annotations: Raw = Raw()


class PromptDetails(Struct, kw_only=True, frozen=True):
    cached_tokens: Count = None
    cache_write_tokens: Count = None
    """OpenAI, OpenRouter"""
    cache_creation_tokens: Count = None
    """LiteLLM"""
    audio_tokens: Count = None
    image_tokens: Count = None
    video_tokens: Count = None


class CompletionDetails(Struct, kw_only=True, frozen=True):
    reasoning_tokens: Count = None
    audio_tokens: Count = None
    image_tokens: Count = None
    accepted_prediction_tokens: Count = None
    rejected_prediction_tokens: Count = None


class CacheCreation(Struct, kw_only=True, frozen=True):
    """Anthropic's, as LiteLLM and others hand it on."""

    ephemeral_5m_input_tokens: Count = None
    ephemeral_1h_input_tokens: Count = None


class ServerToolUse(Struct, kw_only=True, frozen=True):
    web_search_requests: Count = None
    web_fetch_requests: Count = None
    code_execution_requests: Count = None


class CostDetails(Struct, kw_only=True, frozen=True):
    upstream_inference_cost: Count = None
    """OpenRouter: what the provider charges the caller's own account"""


class Cost(Struct, kw_only=True, frozen=True):
    """Perplexity: an object where OpenRouter writes a number."""

    total_cost: Count = None


class UsageObject(Struct, kw_only=True, frozen=True):
    """`usage`, in all the spellings that were seen."""

    prompt_tokens: Count = None
    completion_tokens: Count = None
    total_tokens: Count = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None
    # Other places for the same facts.
    input_tokens: Count = None
    output_tokens: Count = None
    reasoning_tokens: Count = None
    cached_tokens: Count = None
    num_cached_tokens: Count = None
    prompt_cache_hit_tokens: Count = None
    cache_read_input_tokens: Count = None
    cache_creation_input_tokens: Count = None
    cache_creation: CacheCreation | None = None
    server_tool_use: ServerToolUse | None = None
    num_search_queries: Count = None
    num_sources_used: Count = None
    cost: Cost | int | float | None = None
    cost_details: CostDetails | None = None
    cost_in_usd_ticks: Count = None
    """xAI: ten thousand millionths of a dollar"""
    is_byok: bool | None = None


class GroqEnd(Struct, kw_only=True, frozen=True):
    """`x_groq` of a stream's last chunk."""

    usage: UsageObject | None = None


class ChoiceGlimpse(Struct, kw_only=True, frozen=True):
    finish_reason: str | None = None


class AnswerGlimpse(Struct, kw_only=True, frozen=True):
    """What passthrough reads of a whole answer or a chunk."""

    id: str | None = None
    service_tier: str | None = None
    choices: list[ChoiceGlimpse] | None = None
    usage: UsageObject | None = None
    x_groq: GroqEnd | None = None


class LooseGlimpse(Struct, kw_only=True, frozen=True):
    """The same, of one whose usage has values of unexpected types."""

    usage: Raw = Raw(b"null")


class MessageGlimpse(Struct, kw_only=True, frozen=True):
    """What passthrough asks of a message before it lets it pass."""

    role: str = ""
    content: Raw | UnsetType = UNSET
    cache_control: Raw | UnsetType = UNSET
    tool_calls: Raw | UnsetType = UNSET
    reasoning_content: Raw | UnsetType = UNSET
    reasoning: Raw | UnsetType = UNSET
    reasoning_details: Raw | UnsetType = UNSET
    thinking_blocks: Raw | UnsetType = UNSET
    extra_content: Raw | UnsetType = UNSET
    provider_specific_fields: Raw | UnsetType = UNSET


messages_glimpse_decoder: Final = msgspec.json.Decoder(list[MessageGlimpse])
plain_message_decoder: Final = msgspec.json.Decoder(PlainMessage)
plain_messages_decoder: Final = msgspec.json.Decoder(list[PlainMessage])
plain_answer_message_decoder: Final = msgspec.json.Decoder(PlainAnswerMessage)
usage_decoder: Final = msgspec.json.Decoder(UsageObject)
glimpse_decoder: Final = msgspec.json.Decoder(AnswerGlimpse)
loose_glimpse_decoder: Final = msgspec.json.Decoder(LooseGlimpse)

OWN_FIELDS: Final = frozenset(
    (
        "model", "messages", "stream", "stream_options", "temperature", "top_p", "n", "stop", "max_tokens",
        "max_completion_tokens", "presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs",
        "seed", "tools", "tool_choice", "parallel_tool_calls", "response_format", "reasoning_effort", "verbosity",
        "user", "service_tier", "store", "modalities", "audio", "prediction", "functions", "function_call",
        "web_search_options", "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options",
        "safety_identifier", "moderation",
    )
)  # fmt: skip
"""top-level request fields that OpenAI documents, `metadata` apart"""
