"""The JSON of Cohere's Chat API, version 2, as far as it is read by name; the rest travels undecoded.

Source: the API reference and the official Python SDK 7.3, November 2026.
"""

import msgspec
from msgspec import Raw, Struct

from wayport.wire.patch import Fields

EMPTY = Raw(b"")


# ------------------------------------------------------------------------------------------------------------- usage
class Units(Struct, kw_only=True, frozen=True):
    """Counts are written as floats at times."""

    input_tokens: float | None = None
    output_tokens: float | None = None


class Usage(Struct, kw_only=True, frozen=True):
    """`tokens` is what the model saw and made; `billed_units` leaves out Cohere's own preamble, and is what is charged."""

    billed_units: Units | None = None
    tokens: Units | None = None
    cached_tokens: float | None = None


class LogprobItem(Struct, kw_only=True, frozen=True):
    text: str | None = None
    logprobs: list[float] | None = None


# ----------------------------------------------------------------------------------------------------------- message
class Content(Struct, kw_only=True, frozen=True):
    type: str = ""
    text: str | None = None
    thinking: str | None = None


class Function(Struct, kw_only=True, frozen=True):
    name: str | None = None
    arguments: str | None = None


class ToolCall(Struct, kw_only=True, frozen=True):
    id: str = ""
    function: Function | None = None


class Source(Struct, kw_only=True, frozen=True):
    type: str = ""
    id: str | None = None
    document: Fields | None = None
    tool_output: Fields | None = None


class Citation(Struct, kw_only=True, frozen=True):
    """`start` and `end` count characters of the content item that `content_index` names."""

    start: int | None = None
    end: int | None = None
    text: str | None = None
    sources: list[Source] | None = None
    content_index: int | None = None
    type: str | None = None


class Message(Struct, kw_only=True, frozen=True):
    tool_plan: str | None = None
    content: list[Content] | str | None = None
    tool_calls: list[ToolCall] | None = None
    citations: list[Raw] | None = None


class Response(Struct, kw_only=True, frozen=True):
    message: Message
    id: str = ""
    finish_reason: str | None = None
    usage: Raw = EMPTY
    logprobs: list[LogprobItem] | None = None


# ------------------------------------------------------------------------------------------------------------ stream
class MessageDelta(Struct, kw_only=True, frozen=True):
    """What an event adds. Each of these is an object in its own event, and an empty list or text in `message-start`."""

    content: Raw = EMPTY
    tool_plan: str | None = None
    tool_calls: Raw = EMPTY
    citations: Raw = EMPTY


class Delta(Struct, kw_only=True, frozen=True):
    message: MessageDelta = MessageDelta()
    finish_reason: str | None = None
    usage: Raw = EMPTY
    error: str | None = None


class Event(Struct, kw_only=True, frozen=True):
    """Any event of a stream; which fields are there depends on `type`."""

    type: str = ""
    id: str = ""
    index: int = 0
    delta: Delta = Delta()
    logprobs: LogprobItem | None = None
    message: Raw = EMPTY
    """of an error that comes in place of an event"""


class ErrorBody(Struct, kw_only=True, frozen=True):
    message: Raw = EMPTY
    data: Raw = EMPTY


decode_fields = msgspec.json.Decoder(Fields).decode
decode_str = msgspec.json.Decoder(str).decode
decode_usage = msgspec.json.Decoder(Usage).decode
decode_content = msgspec.json.Decoder(Content).decode
decode_tool_call = msgspec.json.Decoder(ToolCall).decode
decode_citation = msgspec.json.Decoder(Citation).decode
decode_response = msgspec.json.Decoder(Response).decode
decode_event = msgspec.json.Decoder(Event).decode
decode_error = msgspec.json.Decoder(ErrorBody).decode

encode = msgspec.json.Encoder().encode
