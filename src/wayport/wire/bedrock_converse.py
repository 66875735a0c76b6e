"""The JSON of AWS Bedrock's Converse and ConverseStream, as far as it is read by name; the rest travels undecoded.

Bytes (images, documents, redacted reasoning) are base64 here. Sources: the API reference and botocore's service model of
`bedrock-runtime`, November 2026.
"""

import msgspec
from msgspec import Raw, Struct

from wayport.wire.patch import Fields

EMPTY = Raw(b"")


# ------------------------------------------------------------------------------------------------------------- usage
class CacheDetail(Struct, kw_only=True, frozen=True, rename="camel"):
    ttl: str = ""
    input_tokens: int = 0


class Usage(Struct, kw_only=True, frozen=True, rename="camel"):
    """`inputTokens` leaves out what was read from and written to the cache; `totalTokens` holds all."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_write_input_tokens: int | None = None
    cache_details: list[CacheDetail] | None = None


class ServiceTier(Struct, kw_only=True, frozen=True, rename="camel"):
    type: str | None = None


# ------------------------------------------------------------------------------------------------------------ stream
class ToolUseStart(Struct, kw_only=True, frozen=True, rename="camel"):
    tool_use_id: str
    name: str
    type: str | None = None


class ImageStart(Struct, kw_only=True, frozen=True, rename="camel"):
    format: str


class Start(Struct, kw_only=True, frozen=True, rename="camel"):
    """One of the members; a start of another kind has none of them."""

    tool_use: Raw = EMPTY
    image: ImageStart | None = None


class BlockStart(Struct, kw_only=True, frozen=True, rename="camel"):
    content_block_index: int = 0
    start: Raw = EMPTY


class ToolUseDelta(Struct, kw_only=True, frozen=True, rename="camel"):
    input: str = ""


class ReasoningDelta(Struct, kw_only=True, frozen=True, rename="camel"):
    text: str | None = None
    signature: str | None = None
    redacted_content: str | None = None


class Delta(Struct, kw_only=True, frozen=True, rename="camel"):
    """One of the members."""

    text: str | None = None
    tool_use: ToolUseDelta | None = None
    reasoning_content: ReasoningDelta | None = None
    tool_result: Raw = EMPTY
    citation: Raw = EMPTY
    image: Raw = EMPTY


class BlockDelta(Struct, kw_only=True, frozen=True, rename="camel"):
    content_block_index: int = 0
    delta: Delta = Delta()


class BlockStop(Struct, kw_only=True, frozen=True, rename="camel"):
    content_block_index: int = 0


class MessageStop(Struct, kw_only=True, frozen=True, rename="camel"):
    stop_reason: str = ""
    additional_model_response_fields: Raw = EMPTY


# ------------------------------------------------------------------------------------------------------------- media
class S3Location(Struct, kw_only=True, frozen=True, rename="camel"):
    uri: str
    bucket_owner: str | None = None


class Source(Struct, kw_only=True, frozen=True, rename="camel"):
    bytes: str | None = None
    s3_location: S3Location | None = None
    text: str | None = None


class MediaBlock(Struct, kw_only=True, frozen=True, rename="camel"):
    """An image, document, video or audio block."""

    format: str | None = None
    name: str | None = None
    source: Source | None = None
    error: Raw = EMPTY


class ImageDelta(Struct, kw_only=True, frozen=True, rename="camel"):
    source: Source | None = None
    error: Raw = EMPTY


# --------------------------------------------------------------------------------------------------------- citations
class CitedText(Struct, kw_only=True, frozen=True, rename="camel"):
    text: str = ""


class WebLocation(Struct, kw_only=True, frozen=True, rename="camel"):
    url: str | None = None


class Citation(Struct, kw_only=True, frozen=True, rename="camel"):
    title: str | None = None
    source: str | None = None
    source_content: list[CitedText] = []
    location: Fields = {}


class CitationsContent(Struct, kw_only=True, frozen=True, rename="camel"):
    content: list[CitedText] = []
    citations: list[Raw] = []


# ------------------------------------------------------------------------------------------------------------ errors
class ErrorBody(Struct, kw_only=True, frozen=True, rename="camel"):
    """`{"message": …}`; AWS's front door writes `Message`, and some services name the type here."""

    message: Raw = EMPTY
    front_message: Raw = msgspec.field(default=EMPTY, name="Message")
    type: Raw = msgspec.field(default=EMPTY, name="__type")
    original_status_code: Raw = EMPTY
    original_message: Raw = EMPTY


decode_fields = msgspec.json.Decoder(Fields).decode
decode_list = msgspec.json.Decoder(list[Raw]).decode
decode_str = msgspec.json.Decoder(str).decode
decode_usage = msgspec.json.Decoder(Usage).decode
decode_tier = msgspec.json.Decoder(ServiceTier).decode
decode_block_start = msgspec.json.Decoder(BlockStart).decode
decode_start = msgspec.json.Decoder(Start).decode
decode_tool_use_start = msgspec.json.Decoder(ToolUseStart).decode
decode_block_delta = msgspec.json.Decoder(BlockDelta).decode
decode_block_stop = msgspec.json.Decoder(BlockStop).decode
decode_message_stop = msgspec.json.Decoder(MessageStop).decode
decode_reasoning = msgspec.json.Decoder(ReasoningDelta).decode
decode_media = msgspec.json.Decoder(MediaBlock).decode
decode_image_delta = msgspec.json.Decoder(ImageDelta).decode
decode_citation = msgspec.json.Decoder(Citation).decode
decode_citations = msgspec.json.Decoder(CitationsContent).decode
decode_web = msgspec.json.Decoder(WebLocation).decode
decode_error = msgspec.json.Decoder(ErrorBody).decode

encode = msgspec.json.Encoder().encode
