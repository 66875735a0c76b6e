"""What Gemini clients ask beside a chat call: counting tokens, embeddings, the list of models. Pure shapes, both ways."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct, field

from wayport.core.errors import BadRequest
from wayport.dialects import openai_read as read
from wayport.dialects.dialect import Profile
from wayport.dialects.gemini_content_parts import to_camel
from wayport.dialects.gemini_content_request import decode_request
from wayport.dialects.gemini_content_upstream import encode_request
from wayport.dialects.neutral import Request
from wayport.wire.gemini_content import (
    NULL,
    BatchEmbedContentsAnswer,
    CountTokensAnswer,
    EmbedContentAnswer,
    Embedding,
    EmbedUsage,
    ModelEntry,
    ModelsAnswer,
    Object,
    encode,
)
from wayport.wire.patch import Fields


# ---------------------------------------------------------------------------------------------------- counting tokens
def decode_count_request(fields: Fields) -> Request:
    """The call whose tokens are to be counted: bare `contents`, or a whole request under `generateContentRequest`."""
    given = to_camel(dict(fields), set())
    whole = given.get("generateContentRequest")
    if whole is not None and whole != NULL:
        given = read.fields(whole, "generateContentRequest")
    return decode_request(given, {})


def encode_count_response(tokens: int, *, cached: int = 0) -> bytes:
    return encode(CountTokensAnswer(total_tokens=tokens, cached_content_token_count=cached))


def encode_count_request(request: Request, profile: Profile, *, wrapped: bool) -> bytes:
    """`wrapped`: the Gemini API takes system prompt and tools only inside a whole request, Vertex AI beside `contents`."""
    fields = msgspec.json.decode(encode_request(request, profile).body, type=dict[str, Raw])
    for name in ("serviceTier", "store", "labels"):
        fields.pop(name, None)
    if not wrapped:
        return encode({name: fields[name] for name in _COUNTED if name in fields})
    return encode({"generateContentRequest": {"model": f"models/{request.model}", **fields}})


_COUNTED = ("contents", "systemInstruction", "tools", "generationConfig")
_count = msgspec.json.Decoder(CountTokensAnswer).decode


def decode_count_response(body: bytes) -> int:
    """Raises `ValueError` when the body states no count."""
    return _count(body).total_tokens


# ---------------------------------------------------------------------------------------------------------- embeddings
class EmbedCall(Struct, kw_only=True):
    """One call of `embedContent` or `batchEmbedContents`."""

    texts: list[str]
    batch: bool
    """how the answer must be shaped"""
    model: str = ""
    """as the body names it, without `models/`; the path decides"""
    dimensions: int | None = None
    task_type: str | None = None
    title: str | None = None
    extras: dict[str, Raw] = field(default_factory=dict)
    """what else the (first) request says"""


def decode_embed_request(fields: Fields) -> EmbedCall:
    """Raises `BadRequest` that names the field. All requests of a batch must ask for the same kind of embedding."""
    given = to_camel(dict(fields), set())
    listed = given.get("requests")
    if listed is None:
        return _embed(given, "", batch=False)
    calls = [
        _embed(to_camel(read.fields(one, f"requests[{i}]"), set()), f"requests[{i}].", batch=True)
        for i, one in enumerate(read.items(listed, "requests"))
    ]
    if not calls:
        raise BadRequest("`requests` is empty: at least one content is needed.", param="requests")
    whole = calls[0]
    for number, call in enumerate(calls[1:], 1):
        if (call.dimensions, call.task_type) != (whole.dimensions, whole.task_type):
            path = f"requests[{number}]"
            raise BadRequest(f"`{path}` asks for another kind of embedding than the first request.", param=path)
        whole.texts.extend(call.texts)
    return whole


def _embed(given: Object, path: str, *, batch: bool) -> EmbedCall:
    content = read.fields(read.need(given, "content", path.rstrip(".")), f"{path}content")
    config = given.get("embedContentConfig")
    if config is not None:
        given = {**given, **to_camel(read.fields(config, f"{path}embedContentConfig"), set())}
    parts = read.need(content, "parts", f"{path}content")
    texts = []
    for number, part in enumerate(read.items(parts, f"{path}content.parts")):
        at = f"{path}content.parts[{number}]"
        inner = read.fields(part, at)
        if "text" not in inner:
            raise BadRequest(f"`{at}` is no text: only text can be embedded here.", param=at)
        texts.append(read.text(inner["text"], f"{at}.text"))
    known = {"content", "model", "outputDimensionality", "taskType", "title", "embedContentConfig"}
    size = given.get("outputDimensionality")
    return EmbedCall(
        texts=["\n".join(texts)],
        batch=batch,
        model=_text(given, "model", path).removeprefix("models/"),
        dimensions=None if size is None else read.whole(size, f"{path}outputDimensionality"),
        task_type=_text(given, "taskType", path) or None,
        title=_text(given, "title", path) or None,
        extras={name: value for name, value in given.items() if name not in known},
    )


def _text(given: Object, name: str, path: str) -> str:
    raw = given.get(name)
    return "" if raw is None or raw == NULL else read.text(raw, f"{path}{name}")


def encode_embed_response(vectors: Sequence[Sequence[float]], *, batch: bool, tokens: int | None = None) -> bytes:
    usage = None if tokens is None else EmbedUsage(prompt_token_count=tokens, total_token_count=tokens)
    embeddings = [Embedding(values=list(vector)) for vector in vectors]
    if batch:
        return encode(BatchEmbedContentsAnswer(embeddings=embeddings, usage_metadata=usage))
    return encode(EmbedContentAnswer(embedding=embeddings[0], usage_metadata=usage))


def encode_embed_request(call: EmbedCall, model: str) -> bytes:
    """The body for `batchEmbedContents` of the Gemini API, which takes one text as well as many."""
    name = f"models/{model}"
    options: dict[str, Any] = {}
    if call.task_type is not None:
        options["taskType"] = call.task_type
    if call.title is not None:
        options["title"] = call.title
    if call.dimensions is not None:
        options["outputDimensionality"] = call.dimensions
    return encode(
        {"requests": [{"model": name, "content": {"parts": [{"text": text}]}, **options} for text in call.texts]}
    )


class _Embedded(Struct, rename="camel"):
    """The answer of `embedContent` or `batchEmbedContents`."""

    embedding: Embedding | None = None
    embeddings: list[Embedding] = []
    usage_metadata: EmbedUsage | None = None


_embedded = msgspec.json.Decoder(_Embedded).decode


def decode_embed_response(body: bytes) -> tuple[list[list[float]], int | None]:
    """The vectors, and the tokens that they took where the answer says so. Raises `ValueError` when it has none."""
    given = _embedded(body)
    vectors = [one.values for one in given.embeddings]
    if given.embedding is not None:
        vectors.append(given.embedding.values)
    if not vectors:
        raise ValueError("the body has no embedding")
    return vectors, None if given.usage_metadata is None else given.usage_metadata.prompt_token_count


# -------------------------------------------------------------------------------------------------------------- models
def model_entry(name: str, *, context_window: int | None = None, max_output_tokens: int | None = None) -> ModelEntry:
    """How a model of ours is listed."""
    return ModelEntry(
        name=f"models/{name}",
        base_model_id=name,
        display_name=name,
        version="001",
        input_token_limit=context_window,
        output_token_limit=max_output_tokens,
        supported_generation_methods=["generateContent", "streamGenerateContent", "countTokens"],
    )


def encode_models(entries: Iterable[ModelEntry], *, next_page_token: str = "") -> bytes:
    """The body of `GET /v1beta/models`."""
    return encode(ModelsAnswer(models=list(entries), next_page_token=next_page_token))


def encode_model(entry: ModelEntry) -> bytes:
    """The body of `GET /v1beta/models/{name}`."""
    return encode(entry)
