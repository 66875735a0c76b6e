"""The JSON of embeddings as OpenAI (and those who speak like it) and Cohere document it."""

from typing import Final, Literal

import msgspec
from msgspec import Struct, field

from wayport.wire.openai_chat import Count

OWN_FIELDS: Final = frozenset(("model", "input", "encoding_format", "dimensions", "user"))


class EmbedUsage(Struct, kw_only=True, frozen=True):
    prompt_tokens: Count = None
    total_tokens: Count = None
    """Voyage states this alone"""


class EmbeddingsGlimpse(Struct, kw_only=True, frozen=True):
    """What passthrough reads of an answer: never the vectors."""

    usage: EmbedUsage | None = None


class Embedding(Struct, kw_only=True, frozen=True):
    embedding: list[float] | str
    """numbers, or little-endian 32-bit floats in base64"""
    index: int = 0
    object: Literal["embedding"] = "embedding"


class EmbeddingsAnswer(Struct, kw_only=True, frozen=True):
    data: list[Embedding]
    model: str = ""
    object: str = "list"
    usage: EmbedUsage | None = None


class CohereVectors(Struct, kw_only=True, frozen=True):
    floats: list[list[float]] | None = field(default=None, name="float")
    base64: list[str] | None = None


class CohereUnits(Struct, kw_only=True, frozen=True):
    input_tokens: Count = None
    image_tokens: Count = None


class CohereMeta(Struct, kw_only=True, frozen=True):
    billed_units: CohereUnits | None = None


class CohereAnswer(Struct, kw_only=True, frozen=True):
    embeddings: CohereVectors
    meta: CohereMeta | None = None


glimpse_decoder: Final = msgspec.json.Decoder(EmbeddingsGlimpse)
answer_decoder: Final = msgspec.json.Decoder(EmbeddingsAnswer)
cohere_decoder: Final = msgspec.json.Decoder(CohereAnswer)
