"""The response object of the Responses dialect but for its output: status and finish reason, usage, and the fields of
the request that a response repeats.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Raw

from wayport.core.usage import Usage
from wayport.dialects.neutral import Extras, FinishReason, Opaque, Part, Refusal, Request, Text, ToolCall
from wayport.dialects.openai_responses_parts import NAME, is_text, raw_of
from wayport.wire.openai_responses import (
    EMPTY_LIST,
    NULL,
    STRING,
    TRUE,
    IncompleteDetails,
    ResponseUsage,
    Summary,
    ToolUsage,
)

ECHO = "echo"
"""in a request's `spelling`: the fields that the response repeats, as the client wrote them"""

FALSE = Raw(b"false")
EMPTY_OBJECT = Raw(b"{}")

# The fields of a response that repeat the request, with what OpenAI says where the request says nothing.
_ECHOED: Mapping[str, Raw] = {
    "background": FALSE,
    "instructions": NULL,
    "max_output_tokens": NULL,
    "max_tool_calls": NULL,
    "parallel_tool_calls": TRUE,
    "previous_response_id": NULL,
    "prompt_cache_key": NULL,
    "prompt_cache_retention": NULL,
    "reasoning": Raw(b'{"effort":null,"summary":null}'),
    "safety_identifier": NULL,
    "service_tier": Raw(b'"default"'),
    "store": TRUE,
    "temperature": NULL,
    "text": Raw(b'{"format":{"type":"text"}}'),
    "tool_choice": Raw(b'"auto"'),
    "tools": EMPTY_LIST,
    "top_logprobs": Raw(b"0"),
    "top_p": NULL,
    "truncation": Raw(b'"disabled"'),
    "user": NULL,
    "metadata": EMPTY_OBJECT,
}

SERVICE_TIERS = frozenset({"auto", "default", "flex", "scale", "priority", "fast", "ultrafast"})
"""the words that this dialect knows"""

ECHOED = frozenset((*_ECHOED, "conversation"))

_LATE = ("error", "incomplete_details", "completed_at", "usage")

_usage_decoder = msgspec.json.Decoder(ResponseUsage)
_tool_usage_decoder = msgspec.json.Decoder(ToolUsage)
_incomplete_decoder = msgspec.json.Decoder(IncompleteDetails | None)


# ------------------------------------------------------------------------------------------------------------- usage
def usage_of(stated: ResponseUsage | None, tools: ToolUsage | None) -> Usage | None:
    if stated is None:
        return None
    usage = Usage(input_tokens=stated.input_tokens or 0, output_tokens=stated.output_tokens or 0)
    details = stated.input_tokens_details
    if details is not None:
        usage.cache_read_tokens = details.cached_tokens or 0
        split = details.cache_write_tokens_details
        # Two lifetimes, as everywhere: the ordinary one (30 minutes here) and the long one (12 hours).
        usage.cache_write_1h_tokens = (split.ttl_12h_tokens or 0) if split is not None else 0
        usage.cache_write_5m_tokens = max(0, (details.cache_write_tokens or 0) - usage.cache_write_1h_tokens)
    if stated.output_tokens_details is not None:
        usage.reasoning_tokens = stated.output_tokens_details.reasoning_tokens or 0
    if tools is not None and tools.web_search is not None:
        usage.web_search_requests = tools.web_search.num_requests or 0
    return usage


def read_usage(usage: Raw, tools: Raw | None) -> Usage | None:
    """The usage of a response object; None where it states none that can be read."""
    if usage == NULL:
        return None
    try:
        return usage_of(
            _usage_decoder.decode(usage), _tool_usage_decoder.decode(tools) if tools not in (None, NULL) else None
        )
    except msgspec.ValidationError:
        return None


def summary_usage(summary: Summary) -> Usage | None:
    return usage_of(summary.usage, summary.tool_usage)


def write_usage(usage: Usage) -> Raw:
    return raw_of(
        {
            "input_tokens": usage.input_tokens,
            "input_tokens_details": {
                "cached_tokens": usage.cache_read_tokens,
                "cache_write_tokens": usage.cache_write_tokens,
            },
            "output_tokens": usage.output_tokens,
            "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
            "total_tokens": usage.total_tokens,
        }
    )


# ---------------------------------------------------------------------------------------------------- finish reasons
_FINISH_OF_REASON: Mapping[str, FinishReason] = {
    "max_output_tokens": "length",
    "max_tokens": "length",
    "max_messages": "length",
    "content_filter": "content_filter",
    "steered": "stop",
}


def finish_of(status: str | None, incomplete: Raw | None, parts: Iterable[Part]) -> tuple[FinishReason | None, str]:
    """The finish reason, and the upstream's own word for it."""
    word = status or ""
    match status:
        case "queued" | "in_progress" | "cancelled":
            return None, word
        case "failed":
            return "error", word
        case "incomplete":
            details = _incomplete_decoder.decode(incomplete) if incomplete is not None else None
            reason = (details.reason if details is not None else None) or ""
            return _FINISH_OF_REASON.get(reason, "length"), reason or word
        case _:
            return _finish_of_parts(parts), word


def _finish_of_parts(parts: Iterable[Part]) -> FinishReason:
    refused = spoken = False
    for part in parts:
        match part:
            case ToolCall():
                return "tool_calls"
            case Refusal():
                refused = True
            case Text(text=text) if text:
                spoken = True
            case Opaque():
                pass
    return "refusal" if refused and not spoken else "stop"


def status_of(finish: FinishReason | None, *, refused: bool) -> tuple[str, Raw]:
    """The status and the incomplete_details for a finish reason. `refused`: the output says a refusal itself."""
    match finish:
        case "length" | "context_window":
            return "incomplete", Raw(b'{"reason":"max_output_tokens"}')
        case "content_filter":
            return "incomplete", Raw(b'{"reason":"content_filter"}')
        case "refusal" if not refused:
            return "incomplete", Raw(b'{"reason":"content_filter"}')
        case "error":
            return "failed", NULL
        case _:
            return "completed", NULL


# -------------------------------------------------------------------------------------------------------------- frame
class Frame:
    """Writes one response object again and again: when it is created, in progress, and done.

    `own`: the fields of an answer of this very dialect, kept; else the request is repeated as OpenAI repeats it.
    """

    __slots__ = ("_fields",)

    def __init__(
        self, *, response_id: str, model: str, created: int | None, request: Request | None, own: Extras | None
    ) -> None:
        fields: dict[str, Any] = {
            "id": response_id,
            "object": Raw(b'"response"'),
        }
        if created is not None or own is None:
            fields["created_at"] = created or 0
        fields["status"] = "in_progress"
        if own is None:
            fields |= {"completed_at": NULL, "error": NULL, "incomplete_details": NULL}
            fields |= _repeated(request)
        fields["model"] = model
        fields["output"] = EMPTY_LIST
        fields |= own if own is not None else {"usage": NULL}
        self._fields = fields

    def update(self, **fields: Any) -> None:
        self._fields.update(fields)

    def serve(self, service_tier: str | None) -> None:
        """The service tier, where it is one that clients of this dialect can read."""
        if service_tier in SERVICE_TIERS:
            self._fields["service_tier"] = service_tier

    def merge(self, extras: Extras) -> None:
        self._fields.update(extras)

    def text(self, name: str) -> str | None:
        """A field that is a string."""
        value = self._fields.get(name)
        if isinstance(value, Raw):
            return STRING.decode(value) if is_text(value) else None
        return value if isinstance(value, str) else None

    def undone(self) -> dict[str, Raw]:
        """What a response that is still in progress does not state yet, of the fields that it has."""
        return {name: NULL for name in _LATE if name in self._fields}

    def write(self, **fields: Any) -> bytes:
        """The object with these fields on top."""
        return raw_bytes({**self._fields, **fields})


def raw_bytes(value: Any) -> bytes:
    return bytes(raw_of(value))


def _repeated(request: Request | None) -> dict[str, Any]:
    fields: dict[str, Any] = dict(_ECHOED)
    if request is None:
        return fields
    if request.dialect != NAME:
        fields["store"] = FALSE
        return fields
    echo = request.spelling.get(ECHO, {})
    fields |= {name: value for name, value in echo.items() if value != NULL or _ECHOED.get(name, NULL) == NULL}
    conversation = fields.get("conversation")
    if isinstance(conversation, Raw) and is_text(conversation):
        fields["conversation"] = {"id": STRING.decode(conversation)}
    return fields
