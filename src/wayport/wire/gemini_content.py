"""Google's generateContent JSON (Gemini API v1beta and Vertex AI): the shapes that are read or written as structs.

What may hold fields to come (contents, parts, candidates, tools, configurations) is decoded as an object of undecoded
values, so that nothing is lost; structs are only for what is consumed here. https://ai.google.dev/api/generate-content
"""

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw, Struct, field

Object = dict[str, Raw]
"""a JSON object with its values undecoded"""

# Google's JSON parser takes both spellings of a field; these are the ones that we read.
_CAMEL = """
systemInstruction generationConfig safetySettings toolConfig cachedContent serviceTier
inlineData fileData functionCall functionResponse executableCode codeExecutionResult toolCall toolResponse
thoughtSignature videoMetadata mediaResolution partMetadata audioTranscription mediaProcessing speechMetadata
mimeType fileUri displayName partialArgs willContinue
functionDeclarations parametersJsonSchema responseJsonSchema googleSearch googleSearchRetrieval codeExecution urlContext
googleMaps fileSearch computerUse mcpServers enterpriseWebSearch parallelAiSearch exaAiSearch
functionCallingConfig allowedFunctionNames streamFunctionCallArguments retrievalConfig includeServerSideToolInvocations
candidateCount stopSequences maxOutputTokens topP topK presencePenalty frequencyPenalty responseMimeType responseSchema
responseLogprobs responseModalities thinkingConfig includeThoughts thinkingBudget thinkingLevel speechConfig imageConfig
generateContentRequest taskType outputDimensionality embedContentConfig autoTruncate
"""

CAMEL_OF: dict[str, str] = {
    re.sub("([A-Z])", r"_\1", name).lower(): name for name in _CAMEL.split() if not name.islower()
}
"""snake_case spelling to the documented one"""
SNAKE_OF: dict[str, str] = {camel: snake for snake, camel in CAMEL_OF.items()}


# ----------------------------------------------------------------------------------------------------------- answers
class ModalityTokenCount(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    modality: str = ""
    token_count: int = 0


class UsageMetadata(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    prompt_token_count: int = 0
    candidates_token_count: int = 0
    total_token_count: int = 0
    cached_content_token_count: int = 0
    thoughts_token_count: int = 0
    tool_use_prompt_token_count: int = 0
    prompt_tokens_details: list[ModalityTokenCount] | None = None
    cache_tokens_details: list[ModalityTokenCount] | None = None
    candidates_tokens_details: list[ModalityTokenCount] | None = None
    service_tier: str | None = None
    traffic_type: str | None = None


class SearchQueries(Struct, frozen=True, kw_only=True, rename="camel"):
    web_search_queries: list[str] = []


class SearchedCandidate(Struct, frozen=True, kw_only=True, rename="camel"):
    grounding_metadata: SearchQueries | None = None
    finish_reason: str | None = None


class UsageOnly(Struct, frozen=True, kw_only=True, rename="camel"):
    """What of an answer concerns usage; everything else is passed over undecoded."""

    response_id: str | None = None
    usage_metadata: UsageMetadata | None = None
    candidates: list[SearchedCandidate] = []


# ------------------------------------------------------------------------------------------------------ plain answers
class PlainBlob(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    mime_type: str
    data: str


class PlainCall(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1)]
    id: str = ""
    args: Raw = Raw()


class PlainPart(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    text: str | None = None
    thought: Raw = Raw()
    thought_signature: str | None = None
    inline_data: PlainBlob | None = None
    function_call: PlainCall | None = None


class PlainContent(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    role: Literal["model"]
    parts: Annotated[list[PlainPart], Meta(min_length=1)]


class PlainCandidate(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    content: PlainContent
    finish_reason: str | None = None
    index: Raw = Raw()
    safety_ratings: Raw = Raw()
    avg_logprobs: Raw = Raw()


class PlainAnswer(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """An answer, or an event of a stream, in which nothing stands that is seldom there: read in one go, as it may be long."""

    candidates: Annotated[list[PlainCandidate], Meta(min_length=1)]
    usage_metadata: Raw = Raw()
    model_version: str = ""
    response_id: str = ""
    create_time: Raw = Raw()


# ------------------------------------------------------------------------------------------------------------ errors
class Status(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """google.rpc.Status as JSON."""

    code: int = 0
    message: str = ""
    status: str = ""
    details: list[dict[str, Any]] = []


class ErrorBody(Struct, frozen=True, kw_only=True):
    error: Status


# ------------------------------------------------------------------------------------------------ tokens, embeddings
class CountTokensAnswer(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    total_tokens: int
    cached_content_token_count: int = 0
    prompt_tokens_details: list[ModalityTokenCount] | None = None


class Embedding(Struct, frozen=True, kw_only=True, rename="camel"):
    values: list[float] = []


class EmbedUsage(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    prompt_token_count: int = 0
    total_token_count: int = 0


class EmbedContentAnswer(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    embedding: Embedding
    usage_metadata: EmbedUsage | None = None


class BatchEmbedContentsAnswer(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    embeddings: list[Embedding] = field(default_factory=list)
    usage_metadata: EmbedUsage | None = None


# ------------------------------------------------------------------------------------------------------------ models
class ModelEntry(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One model as `GET /v1beta/models` lists it. `name` begins with `models/`."""

    name: str
    display_name: str = ""
    description: str = ""
    version: str = ""
    base_model_id: str = ""
    input_token_limit: int | None = None
    output_token_limit: int | None = None
    supported_generation_methods: list[str] = []
    thinking: bool = False


class ModelsAnswer(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    models: list[ModelEntry] = field(default_factory=list)
    next_page_token: str = ""


# ---------------------------------------------------------------------------------------------------------- decoders
NULL = Raw(b"null")
NOTHING = Raw()
TRUE = Raw(b"true")


def first(raw: Raw) -> bytes:
    """The first byte of a value: tells a string from a list from an object, without copying it."""
    return bytes(memoryview(raw)[:1])


decode_object = msgspec.json.Decoder(Object).decode
decode_plain = msgspec.json.Decoder(PlainAnswer).decode
decode_objects = msgspec.json.Decoder(list[Object]).decode
decode_usage = msgspec.json.Decoder(UsageMetadata).decode
decode_usage_only = msgspec.json.Decoder(UsageOnly).decode
decode_error = msgspec.json.Decoder(ErrorBody | list[ErrorBody]).decode
decode_string = msgspec.json.Decoder(str).decode
encode = msgspec.json.Encoder().encode


def optional_string(raw: Raw | None) -> str | None:
    return None if raw is None or raw == NULL else decode_string(raw)
