"""The JSON of Anthropic's Messages API, as far as it is read by name; every other field travels undecoded.

Source: the Messages API reference and the official Python SDK 2.10 (stable and beta types), November 2026.
"""

from typing import Literal

import msgspec
from msgspec import Raw, Struct

from wayport.wire.patch import Fields

EMPTY = Raw(b"")


# ---------------------------------------------------------------------------------------------------------- usage
class CacheCreation(Struct, kw_only=True, frozen=True):
    ephemeral_5m_input_tokens: int | None = None
    ephemeral_1h_input_tokens: int | None = None


class ServerToolUse(Struct, kw_only=True, frozen=True):
    web_search_requests: int | None = None
    web_fetch_requests: int | None = None
    code_execution_requests: int | None = None


class OutputTokensDetails(Struct, kw_only=True, frozen=True):
    thinking_tokens: int | None = None


class Iteration(Struct, kw_only=True, frozen=True):
    """One sampling step of a call with server tools, compaction or an advisor."""

    type: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_creation: CacheCreation | None = None


class Usage(Struct, kw_only=True, frozen=True):
    """`input_tokens` leaves out what was read from and written to the cache. In a stream all counts are cumulative."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation: CacheCreation | None = None
    output_tokens_details: OutputTokensDetails | None = None
    server_tool_use: ServerToolUse | None = None
    iterations: list[Iteration] | None = None
    service_tier: str | None = None


# ---------------------------------------------------------------------------------------------------------- whole
class TextBlock(Struct, frozen=True, tag="text", forbid_unknown_fields=True, gc=False):
    text: str


class ThinkingBlock(Struct, frozen=True, tag="thinking", forbid_unknown_fields=True, gc=False):
    thinking: str
    signature: str = ""


class ToolUseBlock(Struct, frozen=True, tag="tool_use", forbid_unknown_fields=True, gc=False):
    id: str
    name: str
    input: Raw


class PlainMessage(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A whole answer in which nothing stands that is not known, as in most."""

    type: Literal["message"] = "message"
    id: str | None = None
    role: str | None = None
    model: str | None = None
    content: list[TextBlock | ThinkingBlock | ToolUseBlock]
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: Raw = Raw(b"null")


# --------------------------------------------------------------------------------------------------------- stream
class StreamEvent(Struct, kw_only=True, frozen=True):
    """Any event of a stream; which fields are there depends on `type`."""

    type: str = ""
    index: int = 0
    delta: Raw = EMPTY
    content_block: Raw = EMPTY
    message: Raw = EMPTY
    usage: Raw = EMPTY
    error: Raw = EMPTY


class BlockDelta(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """The delta of a content block whose fields are all known; any other is kept as written."""

    type: str
    text: str = ""
    partial_json: str = ""
    thinking: str = ""
    signature: str = ""
    citation: Raw = EMPTY


class LooseBlockDelta(Struct, kw_only=True, frozen=True):
    """What can be read of a delta that has unknown fields."""

    text: str = ""
    partial_json: str = ""
    thinking: str = ""


# --------------------------------------------------------------------------------------------------------- errors
class ErrorDetails(Struct, kw_only=True, frozen=True):
    error_code: str | None = None


class ErrorObject(Struct, kw_only=True, frozen=True):
    type: str | None = None
    message: str | None = None
    details: Raw = EMPTY
    code: Raw = EMPTY
    status: Raw = EMPTY


class ErrorBody(Struct, kw_only=True, frozen=True):
    """`{"type": "error", "error": {…}, "request_id": …}`; Bedrock says `{"message": …}` instead."""

    error: Raw = EMPTY
    message: Raw = EMPTY
    request_id: Raw = EMPTY


# --------------------------------------------------------------------------------------------------- token counts
class TokenCount(Struct, kw_only=True, frozen=True):
    input_tokens: int


decode_fields = msgspec.json.Decoder(Fields).decode
decode_blocks = msgspec.json.Decoder(list[Fields]).decode
decode_list = msgspec.json.Decoder(list[Raw]).decode
decode_raw = msgspec.json.Decoder(Raw).decode
decode_str = msgspec.json.Decoder(str).decode
decode_strings = msgspec.json.Decoder(list[str]).decode
decode_int = msgspec.json.Decoder(int).decode
decode_number = msgspec.json.Decoder(int | float).decode
decode_bool = msgspec.json.Decoder(bool).decode
decode_plain_message = msgspec.json.Decoder(PlainMessage).decode
decode_usage = msgspec.json.Decoder(Usage).decode
decode_event = msgspec.json.Decoder(StreamEvent).decode
decode_delta = msgspec.json.Decoder(BlockDelta).decode
decode_loose_delta = msgspec.json.Decoder(LooseBlockDelta).decode
decode_error_body = msgspec.json.Decoder(ErrorBody).decode
decode_error_object = msgspec.json.Decoder(ErrorObject).decode
decode_error_details = msgspec.json.Decoder(ErrorDetails).decode
decode_token_count = msgspec.json.Decoder(TokenCount).decode

encode = msgspec.json.Encoder().encode
