"""Embeddings where a cloud's own API carries them: Vertex AI's `predict` and `embedContent`, Titan and Nova on Bedrock."""

import re
from typing import Any

import msgspec
from msgspec import Struct

from wayport.core.errors import BadRequest
from wayport.wire.openai_chat import Count

_encode = msgspec.json.Encoder().encode


class _Statistics(Struct, frozen=True):
    token_count: float | None = None


class _Values(Struct, frozen=True):
    values: list[float]
    statistics: _Statistics | None = None


class _Prediction(Struct, frozen=True):
    embeddings: _Values


class _Predictions(Struct, frozen=True):
    predictions: list[_Prediction]


class _Nova(Struct, frozen=True):
    embedding: list[float]


class _Amazon(Struct, frozen=True):
    embedding: list[float] | None = None
    """Titan's"""
    embeddings: list[_Nova] = []
    input_text_token_count: Count = msgspec.field(default=None, name="inputTextTokenCount")


_predictions = msgspec.json.Decoder(_Predictions).decode
_amazon = msgspec.json.Decoder(_Amazon).decode

_DATA_URI = re.compile(
    r"data:(?P<family>image|audio|video)/(?P<format>[\w.+-]+)(?:;[^,;]*)*;base64,(?P<data>.*)", re.DOTALL
)
_FORMATS = {
    "jpg": "jpeg",
    "mpeg": "mp3",
    "x-wav": "wav",
    "wave": "wav",
    "quicktime": "mov",
    "x-matroska": "mkv",
    "3gpp": "3gp",
}


def only_one(texts: list[str]) -> str:
    """Raises `BadRequest` for several texts where one at a time is taken."""
    if len(texts) != 1:
        raise BadRequest("`input`: this model embeds one text at a time.", param="input")
    return texts[0]


def predict(texts: list[str], *, task_type: str | None, dimensions: int | None) -> bytes:
    task = {"task_type": task_type} if task_type is not None else {}
    body: dict[str, Any] = {"instances": [{"content": text, **task} for text in texts]}
    if dimensions is not None:
        body["parameters"] = {"outputDimensionality": dimensions}
    return _encode(body)


def predicted(body: bytes) -> tuple[list[list[float]], int | None]:
    """The vectors, and the tokens that they took. Raises `ValueError` when it is no answer to `predict`."""
    found = [one.embeddings for one in _predictions(body).predictions]
    if not found:
        raise ValueError("the body has no prediction")
    counts = [one.statistics.token_count if one.statistics is not None else None for one in found]
    known = [count for count in counts if count is not None]
    return [one.values for one in found], int(sum(known)) if len(known) == len(found) else None


def embed_content(texts: list[str], *, task_type: str | None, dimensions: int | None) -> bytes:
    body: dict[str, Any] = {"content": {"parts": [{"text": only_one(texts)}]}}
    if task_type is not None:
        body["taskType"] = task_type
    if dimensions is not None:
        body["outputDimensionality"] = dimensions
    return _encode(body)


def titan(texts: list[str], *, dimensions: int | None) -> bytes:
    body: dict[str, Any] = {"inputText": only_one(texts)}
    if dimensions is not None:
        body["dimensions"] = dimensions
    return _encode(body)


def nova(texts: list[str], *, purpose: str, dimensions: int | None, truncate: str) -> bytes:
    """A text, or a picture, sound or film as a data URI."""
    text = only_one(texts)
    params: dict[str, Any] = {"embeddingPurpose": purpose}
    if dimensions is not None:
        params["embeddingDimension"] = dimensions
    if (media := _DATA_URI.fullmatch(text)) is None:
        params["text"] = {"truncationMode": truncate, "value": text}
    else:
        family, form = media["family"], media["format"].lower()
        if family == "video" and form == "mpeg":
            form = "mpg"
        part: dict[str, Any] = {"format": _FORMATS.get(form, form), "source": {"bytes": media["data"]}}
        if family == "image":
            part["detailLevel"] = "STANDARD_IMAGE"
        elif family == "video":
            part["embeddingMode"] = "AUDIO_VIDEO_COMBINED"
        params[family] = part
    return _encode({"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": params})


def amazons(body: bytes) -> tuple[list[float], int | None]:
    """The vector, and the tokens where the body states them. Raises `ValueError` when there is none."""
    answer = _amazon(body)
    vector = answer.embedding or (answer.embeddings[0].embedding if answer.embeddings else None)
    if vector is None:
        raise ValueError("the body has no embedding")
    count = answer.input_text_token_count
    return vector, None if count is None else int(count)
