"""Embeddings: OpenAI's request and answer, passed through, or put to Gemini and Cohere and told again in OpenAI's shape.

There is one client shape here (OpenAI's) and one upstream per dialect that has embeddings. All functions are pure.
"""

import base64
import sys
from array import array
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec
from msgspec import Raw, Struct, field

from wayport.core.errors import BadRequest, Fault, WayportError
from wayport.core.usage import Usage
from wayport.dialects import cloud_embeddings as clouds
from wayport.dialects import gemini_content_beside as gemini
from wayport.dialects import openai_read as read
from wayport.dialects.dialect import Dialect, Glance, Headers, Profile, Stated, StreamEncoder
from wayport.dialects.neutral import DialectName, Request, Response
from wayport.dialects.openai_chat_control import CONTROL, merged
from wayport.dialects.openai_chat_fault import error_body, fault_of_value
from wayport.dialects.openai_chat_passthrough import quoted, rename
from wayport.dialects.openai_read import encode
from wayport.wire.openai_embeddings import (
    OWN_FIELDS,
    EmbedUsage,
    answer_decoder,
    cohere_decoder,
    glimpse_decoder,
)
from wayport.wire.patch import Fields

Encoding = Literal["float", "base64"]
_PLAIN = Profile()


# ------------------------------------------------------------------------------------------------------------ vectors
def floats_of(text: str) -> list[float]:
    """The vector in base64 of little-endian 32-bit floats. Raises `ValueError`."""
    numbers = array("f")
    numbers.frombytes(base64.b64decode(text, validate=True))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()


def base64_of(vector: Sequence[float]) -> str:
    numbers = array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return base64.b64encode(numbers.tobytes()).decode()


# ------------------------------------------------------------------------------------------------------------ request
class EmbedRequest(Struct, kw_only=True):
    """One call for embeddings. `texts` is empty where the client sent tokens, which only OpenAI's own models can read."""

    model: str
    texts: list[str] = field(default_factory=list)
    tokens: Raw | None = None
    single: bool = False
    """the input was one string, not a list"""
    encoding: Encoding | None = None
    dimensions: int | None = None
    input_type: str | None = None
    """what the texts are for: `search_query`, `search_document`, `classification`, `clustering` (Cohere's words)"""
    extras: dict[str, Raw] = field(default_factory=dict)


class Embedded(Struct, kw_only=True):
    vectors: list[list[float]]
    usage: Usage | None = None


def read_request(fields: Fields) -> EmbedRequest:
    """Raises `BadRequest` that names the field."""
    given, _ = merged(fields)
    request = EmbedRequest(model=read.text(read.need(given, "model", ""), "model"))
    _read_input(request, need_input(given))
    for name, raw in given.items():
        if name in ("model", "input") or read.is_null(raw):
            continue
        match name:
            case "encoding_format":
                word = read.text(raw, name)
                if word not in ("float", "base64"):
                    raise BadRequest(f"`{name}` must be `float` or `base64`, but is `{word}`.", param=name)
                request.encoding = "float" if word == "float" else "base64"
            case "dimensions" | "output_dimension":
                request.dimensions = read.whole(raw, name)
            case "input_type" | "task_type":
                request.input_type = read.text(raw, name)
            case _:
                request.extras[name] = raw
    return request


def need_input(given: Mapping[str, Raw]) -> Raw:
    raw = given.get("input")
    if raw is None or read.is_empty(raw):
        raise BadRequest(
            "`input` is missing or empty: it must be a string, or a list of strings or tokens.",
            param="input",
            code="missing_required_parameter",
        )
    return raw


def _read_input(request: EmbedRequest, raw: Raw) -> None:
    if bytes(raw)[:1] == b'"':
        request.texts = [read.text(raw, "input")]
        request.single = True
        return
    items = read.items(raw, "input")
    if bytes(items[0])[:1] == b'"':
        request.texts = [read.text(item, f"input[{number}]") for number, item in enumerate(items)]
        return
    for number, item in enumerate(items):
        place = f"input[{number}]"
        if bytes(item)[:1] == b"[":
            for inner, token in enumerate(read.items(item, place)):
                read.whole(token, f"{place}[{inner}]")
        else:
            read.whole(item, place)
    request.tokens = Raw(bytes(raw))


def write_answer(embedded: Embedded, request: EmbedRequest, *, model: str) -> bytes:
    """The answer in OpenAI's shape and in the encoding that the client asked for; OpenAI's own default is numbers."""
    as_text = request.encoding == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": base64_of(vector) if as_text else vector}
        for index, vector in enumerate(embedded.vectors)
    ]
    tokens = embedded.usage.input_tokens if embedded.usage is not None else 0
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return encode({"object": "list", "data": data, "model": model, "usage": usage})


# ---------------------------------------------------------------------------------------------------------- upstreams
class EmbedUpstream(Protocol):
    """One dialect's way to ask for embeddings."""

    tokens_header: bytes
    """of the answer, that says how many tokens it took where the body does not; empty: none"""

    def one_at_a_time(self, profile: Profile) -> bool:
        """Whether a request may hold one text only."""
        ...

    def encode(self, request: EmbedRequest, *, model: str, profile: Profile) -> tuple[bytes, Sequence[str]]:
        """The body and the names of what was dropped. Raises `BadRequest` for what this target cannot embed."""
        ...

    def decode(self, body: bytes) -> Embedded:
        """Raises `ValueError` when the body holds no embeddings."""
        ...


def _need_texts(request: EmbedRequest) -> list[str]:
    if request.tokens is not None:
        raise BadRequest("`input` holds tokens, but this model embeds text only.", param="input")
    return request.texts


class _Batches:
    """Many texts in one request, and an answer that says what they took."""

    tokens_header = b""

    def one_at_a_time(self, profile: Profile) -> bool:  # noqa: ARG002
        return False


class OpenAIEmbeddings(_Batches):
    def encode(self, request: EmbedRequest, *, model: str, profile: Profile) -> tuple[bytes, Sequence[str]]:
        given: Any = request.tokens or (request.texts[0] if request.single else request.texts)
        options = {
            "encoding_format": request.encoding,
            "dimensions": request.dimensions,
            "input_type": request.input_type,
        }
        body: dict[str, Any] = {"model": model, "input": given, **request.extras}
        body.update({name: value for name, value in options.items() if value is not None})
        dropped = sorted(profile.unsupported & body.keys())
        return encode({name: value for name, value in body.items() if name not in dropped}), dropped

    def decode(self, body: bytes) -> Embedded:
        answer = answer_decoder.decode(body)
        entries = sorted(answer.data, key=lambda entry: entry.index)
        vectors = [floats_of(e.embedding) if isinstance(e.embedding, str) else e.embedding for e in entries]
        return Embedded(vectors=vectors, usage=_usage_of(answer.usage))


_GEMINI_TASKS = {
    "search_query": "RETRIEVAL_QUERY",
    "query": "RETRIEVAL_QUERY",
    "search_document": "RETRIEVAL_DOCUMENT",
    "document": "RETRIEVAL_DOCUMENT",
    "classification": "CLASSIFICATION",
    "clustering": "CLUSTERING",
}


class GeminiEmbeddings(_Batches):
    """`batchEmbedContents`, which takes one text as well as many; on Vertex AI `predict` or `embedContent`."""

    def one_at_a_time(self, profile: Profile) -> bool:
        return profile.embed_by == "embed_content"

    def encode(self, request: EmbedRequest, *, model: str, profile: Profile) -> tuple[bytes, Sequence[str]]:
        texts = _need_texts(request)
        task = request.input_type
        task = _GEMINI_TASKS.get(task, task) if task is not None else None
        match profile.embed_by:
            case "predict":
                body = clouds.predict(texts, task_type=task, dimensions=request.dimensions)
            case "embed_content":
                body = clouds.embed_content(texts, task_type=task, dimensions=request.dimensions)
            case "batch":
                call = gemini.EmbedCall(texts=texts, batch=True, dimensions=request.dimensions, task_type=task)
                body = gemini.encode_embed_request(call, model)
        return body, list(request.extras)

    def decode(self, body: bytes) -> Embedded:
        asked_by_predict = b'"predictions"' in body
        vectors, tokens = clouds.predicted(body) if asked_by_predict else gemini.decode_embed_response(body)
        return Embedded(vectors=vectors, usage=None if tokens is None else Usage(input_tokens=tokens))


class CohereEmbeddings(_Batches):
    """Cohere's v2 embed."""

    def encode(self, request: EmbedRequest, *, model: str, profile: Profile) -> tuple[bytes, Sequence[str]]:
        body: dict[str, Any] = {
            **({"model": model} if profile.model_in_body else {}),
            "texts": _need_texts(request),
            # Demanded since embed v3; who does not say is storing more often than asking.
            "input_type": request.input_type or "search_document",
            "embedding_types": ["float"],
        }
        if request.dimensions is not None:
            body["output_dimension"] = request.dimensions
        truncate = request.extras.get("truncate")
        if truncate is not None:
            body["truncate"] = truncate
        return encode(body), [name for name in request.extras if name != "truncate"]

    def decode(self, body: bytes) -> Embedded:
        answer = cohere_decoder.decode(body)
        vectors = answer.embeddings.floats
        if vectors is None:
            if answer.embeddings.base64 is None:
                raise ValueError("the body has no embedding of floats")
            vectors = [floats_of(text) for text in answer.embeddings.base64]
        units = answer.meta.billed_units if answer.meta is not None else None
        usage = None
        if units is not None:
            images = int(units.image_tokens or 0)
            usage = Usage(input_tokens=int(units.input_tokens or 0) + images, image_input_tokens=images)
        return Embedded(vectors=vectors, usage=usage)


_NOVA_PURPOSES = {
    "search_query": "GENERIC_RETRIEVAL",
    "query": "GENERIC_RETRIEVAL",
    "search_document": "GENERIC_INDEX",
    "document": "GENERIC_INDEX",
    "classification": "CLASSIFICATION",
    "clustering": "CLUSTERING",
}


class AmazonEmbeddings:
    """Titan and Nova on Bedrock. Cohere's there speak Cohere's dialect."""

    tokens_header = b"x-amzn-bedrock-input-token-count"

    def one_at_a_time(self, profile: Profile) -> bool:  # noqa: ARG002
        return True

    def encode(self, request: EmbedRequest, *, model: str, profile: Profile) -> tuple[bytes, Sequence[str]]:  # noqa: ARG002 (the path names the model)
        texts = _need_texts(request)
        if profile.embed_by == "nova":
            truncate = request.extras.get("truncate")
            purpose = request.input_type or "search_document"
            body = clouds.nova(
                texts,
                purpose=_NOVA_PURPOSES.get(purpose, purpose),
                dimensions=request.dimensions,
                # An overlong text is an error, as with everybody else, unless the client says what to cut.
                truncate=read.text(truncate, "truncate") if truncate is not None else "NONE",
            )
            return body, [name for name in request.extras if name != "truncate"]
        dropped = [*request.extras, *(["input_type"] if request.input_type is not None else [])]
        dimensions = request.dimensions
        if "dimensions" in profile.unsupported and dimensions is not None:
            dimensions = None
            dropped.append("dimensions")
        return clouds.titan(texts, dimensions=dimensions), dropped

    def decode(self, body: bytes) -> Embedded:
        vector, tokens = clouds.amazons(body)
        return Embedded(vectors=[vector], usage=None if tokens is None else Usage(input_tokens=tokens))


UPSTREAMS: Mapping[DialectName, EmbedUpstream] = {
    "openai_chat": OpenAIEmbeddings(),
    "gemini_content": GeminiEmbeddings(),
    "cohere_chat": CohereEmbeddings(),
    "bedrock_converse": AmazonEmbeddings(),
}
"""by the dialect of a deployment's provider"""


# -------------------------------------------------------------------------------------------------------- passthrough
def _usage_of(stated: EmbedUsage | None) -> Usage | None:
    if stated is None or (stated.prompt_tokens is None and stated.total_tokens is None):
        return None
    return Usage(input_tokens=max(0, int(stated.prompt_tokens or stated.total_tokens or 0)))


class EmbeddingsPassthrough:
    """OpenAI's shape on both sides. The vectors are never decoded."""

    name: DialectName = "openai_chat"
    removed = CONTROL

    def patch_request(
        self,
        fields: Fields,
        *,
        model: str,
        profile: Profile,
        want_usage: bool,  # noqa: ARG002 (every answer states it)
    ) -> tuple[bytes, Sequence[str]]:
        need_input(fields)
        out, dropped = (dict(fields), []) if OWN_FIELDS.issuperset(fields) else merged(fields)
        out["model"] = Raw(quoted(model))
        for name in sorted(profile.unsupported & out.keys()):
            del out[name]
            dropped.append(name)
        return encode(out), dropped

    def patch_response(self, body: bytes, *, model: str | None) -> tuple[bytes, Stated]:
        try:
            usage = _usage_of(glimpse_decoder.decode(body).usage)
        except msgspec.ValidationError:
            usage = None
        return (body if model is None else rename(body, quoted(model), 1)), Stated(usage)

    # An embedding is never streamed; the words are there because every passthrough has them.
    def glance(self, event: bytes) -> Glance:  # noqa: ARG002
        return Glance.CONTENT

    def passes(self, data: bytes, start: int) -> bool:  # noqa: ARG002
        return False

    def usage_of(self, event: bytes, before: Usage | None) -> Usage | None:  # noqa: ARG002
        return before

    def fault_of(self, event: bytes) -> Fault:
        return fault_of_value(event.decode("utf-8", "replace"), status=200, headers={}, profile=_PLAIN)

    def patch_event(self, event: bytes, *, model: str | None, keep_usage: bool) -> bytes:  # noqa: ARG002
        return event


class EmbeddingsClient:
    """Tells errors in OpenAI's shape; a request for embeddings has no neutral chat form."""

    name: DialectName = "openai_chat"

    def decode_request(self, fields: Fields, headers: Headers) -> Request:  # noqa: ARG002
        read_request(fields)
        raise BadRequest(
            "This model offers no embeddings in OpenAI's format.", param="model", code="operation_not_supported"
        )

    def encode_response(self, response: Response, *, request: Request | None = None) -> bytes:
        raise NotImplementedError("an embedding is no chat answer; see write_answer")

    def stream_encoder(self, *, request: Request | None, response_id: str, created: int) -> StreamEncoder:
        raise NotImplementedError("embeddings are never streamed")

    def encode_error(self, error: WayportError, *, call_id: str) -> bytes:  # noqa: ARG002
        return encode(error_body(error))


DIALECT = Dialect(name="openai_chat", client=EmbeddingsClient(), passthrough=EmbeddingsPassthrough())
"""For `/embeddings` in the pipeline, where the deployment speaks OpenAI; others go through `UPSTREAMS`."""
