"""OpenAI's Responses API (`POST /v1/responses`) as its owner documents it: the parts that Wayport reads by field.

Items, tools and content parts come in more kinds than anybody knows, so they are read as objects of `Raw` values
(`OBJECT`) and told apart by `Tag`; what has a fixed shape has a struct.
"""

from typing import Any

import msgspec
from msgspec import Raw, Struct, field

NO_RAW = Raw(b"")
NULL = Raw(b"null")
TRUE = Raw(b"true")
EMPTY_LIST = Raw(b"[]")


class Tag(Struct, kw_only=True, frozen=True):
    """What tells items, parts, tools and events apart."""

    type: str | None = None
    role: str | None = None


class TopLogprob(Struct, kw_only=True, frozen=True):
    token: str = ""
    logprob: float = 0.0
    bytes: list[int] | None = None


class Logprob(Struct, kw_only=True, frozen=True):
    token: str
    logprob: float
    bytes: list[int] | None = None
    top_logprobs: list[TopLogprob] | None = None


class InputTokensDetails(Struct, kw_only=True, frozen=True):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_tokens_details: "CacheWriteDetails | None" = None


class CacheWriteDetails(Struct, kw_only=True, frozen=True):
    ttl_30m_tokens: int | None = None
    ttl_12h_tokens: int | None = None


class OutputTokensDetails(Struct, kw_only=True, frozen=True):
    reasoning_tokens: int | None = None


class ResponseUsage(Struct, kw_only=True, frozen=True):
    input_tokens: int | None = None
    input_tokens_details: InputTokensDetails | None = None
    output_tokens: int | None = None
    output_tokens_details: OutputTokensDetails | None = None


class WebSearchUsage(Struct, kw_only=True, frozen=True):
    num_requests: int | None = None


class ToolUsage(Struct, kw_only=True, frozen=True):
    web_search: WebSearchUsage | None = None


class IncompleteDetails(Struct, kw_only=True, frozen=True):
    reason: str | None = None


class Summary(Struct, kw_only=True, frozen=True):
    """What Passthrough reads of a response, whole or inside an event."""

    id: str | None = None
    service_tier: str | None = None
    status: str | None = None
    incomplete_details: Raw = NO_RAW
    usage: ResponseUsage | None = None
    tool_usage: ToolUsage | None = None
    error: Raw = NO_RAW


class StreamEvent(Struct, kw_only=True, frozen=True):
    """One event of a stream. The fields of all kinds together; each kind has its own few."""

    output_index: int | None = None
    content_index: int = 0
    summary_index: int = 0
    item_id: str | None = None
    delta: str | dict[str, Any] = ""
    item: Raw = NO_RAW
    part: Raw = NO_RAW
    response: Raw = NO_RAW
    annotation: Raw = NO_RAW
    logprobs: list[Logprob] | None = None


class ErrorEvent(Struct, kw_only=True, frozen=True):
    """The `error` event: documented flat, sent with the facts inside `error`."""

    message: Any = None
    code: Any = None
    param: Any = None
    error: Any = None


class LifecycleEvent(Struct, kw_only=True, frozen=True):
    response: Summary = field(default_factory=Summary)


OWN_FIELDS = frozenset(
    {
        "access_programs", "background", "context_management", "conversation", "image", "include", "input",
        "instructions", "max_output_tokens", "max_tool_calls", "metadata", "model", "moderation", "parallel_tool_calls",
        "previous_response_id", "prompt", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention",
        "reasoning", "safety_identifier", "service_tier", "store", "stream", "stream_options", "temperature", "text",
        "tool_choice", "tools", "top_logprobs", "top_p", "truncation", "user",
    }
)  # fmt: skip
"""what a request may say (SDK 3.51), whatever else its names mean"""

OBJECT = msgspec.json.Decoder(dict[str, Raw])
LIST = msgspec.json.Decoder(list[Raw])
STRING = msgspec.json.Decoder(str)
TAG = msgspec.json.Decoder(Tag)
EVENT = msgspec.json.Decoder(StreamEvent)
ERROR_EVENT = msgspec.json.Decoder(ErrorEvent)
LIFECYCLE = msgspec.json.Decoder(LifecycleEvent)
SUMMARY = msgspec.json.Decoder(Summary)
USAGE = msgspec.json.Decoder(ResponseUsage)
LOGPROBS = msgspec.json.Decoder(list[Logprob])
