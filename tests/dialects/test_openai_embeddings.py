"""Embeddings pass with their vectors untouched, and other dialects' are told in OpenAI's shape."""

import json
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import CreateEmbeddingResponse, EmbeddingCreateParams

from wayport.core.errors import BadRequest
from wayport.core.usage import Usage
from wayport.dialects.dialect import Profile
from wayport.dialects.openai_embeddings import (
    DIALECT,
    UPSTREAMS,
    Embedded,
    EmbedRequest,
    base64_of,
    floats_of,
    read_request,
    write_answer,
)
from wayport.wire import patch
from wayport.wire.openai_embeddings import OWN_FIELDS

assert DIALECT.passthrough is not None
PASSTHROUGH = DIALECT.passthrough
FLOATS = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=8)


def asked(**fields: Any) -> EmbedRequest:
    return read_request(patch.split(json.dumps({"model": "m", "input": "hello", **fields}).encode()))


def put(dialect: Any, request: EmbedRequest, **flags: Any) -> tuple[dict[str, Any], list[str]]:
    body, dropped = UPSTREAMS[dialect].encode(request, model="up", profile=Profile(**flags))
    return json.loads(body), list(dropped)


@given(vector=FLOATS)
def test_a_vector_is_the_same_in_both_encodings(vector: list[float]) -> None:
    assert floats_of(base64_of(vector)) == vector


def test_the_encoding_is_the_one_that_openai_documents() -> None:
    assert floats_of("AACAPwAAAMA=") == [1.0, -2.0]


@pytest.mark.parametrize("text", ["AAA", "AAA=", "*", "AACA"])
def test_what_is_no_vector_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        floats_of(text)


# --------------------------------------------------------------------------------------------------------- requests
@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": 7}, "input"),
        ({"input": ["a", 7]}, "input[1]"),
        ({"input": [1, "a"]}, "input[1]"),
        ({"input": [[1], ["a"]]}, "input[1][0]"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"dimensions": "many"}, "dimensions"),
        ({"model": None}, "model"),
    ],
)
def test_a_refusal_names_the_field(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        asked(**fields)
    assert caught.value.param == param


@pytest.mark.parametrize("given_input", ["hello", ["hello"], ["a", "b"], [1, 2], [[1], [2, 3]]])
def test_every_form_of_input_reaches_openai_as_it_was(given_input: Any) -> None:
    body, _ = put("openai_chat", asked(input=given_input, dimensions=8, encoding_format="base64", user="u"))
    assert body == {
        "model": "up",
        "input": given_input,
        "dimensions": 8,
        "encoding_format": "base64",
        "user": "u",
    }


def test_the_sdk_knows_no_field_that_we_do_not() -> None:
    assert set(get_type_hints(EmbeddingCreateParams)) == OWN_FIELDS


def test_gemini_is_asked_in_a_batch() -> None:
    body, dropped = put("gemini_content", asked(input=["a", "b"], dimensions=8, input_type="search_query", user="u"))
    part = {"model": "models/up", "taskType": "RETRIEVAL_QUERY", "outputDimensionality": 8}
    assert body == {
        "requests": [{**part, "content": {"parts": [{"text": "a"}]}}, {**part, "content": {"parts": [{"text": "b"}]}}]
    }
    assert dropped == ["user"]


def test_cohere_is_told_what_the_texts_are_for() -> None:
    body, dropped = put("cohere_chat", asked(dimensions=8, truncate="END", user="u"))
    assert body == {
        "model": "up",
        "texts": ["hello"],
        "input_type": "search_document",
        "embedding_types": ["float"],
        "output_dimension": 8,
        "truncate": "END",
    }
    assert dropped == ["user"]


@pytest.mark.parametrize("dialect", ["gemini_content", "cohere_chat"])
def test_tokens_are_for_openai_alone(dialect: Any) -> None:
    with pytest.raises(BadRequest, match="tokens"):
        put(dialect, asked(input=[1, 2]))


def test_what_a_target_refuses_is_left_out_and_named() -> None:
    assert put("openai_chat", asked(dimensions=8), unsupported=frozenset({"dimensions"})) == (
        {"model": "up", "input": "hello"},
        ["dimensions"],
    )


# ---------------------------------------------------------------------------------------------------------- answers
@pytest.mark.parametrize(
    ("dialect", "body", "usage"),
    [
        (
            "openai_chat",
            {
                "object": "list",
                "model": "m",
                "data": [
                    {"object": "embedding", "index": 1, "embedding": [3.0, 4.0]},
                    {"object": "embedding", "index": 0, "embedding": "AACAPwAAAMA="},
                ],
                "usage": {"total_tokens": 3},
            },
            Usage(input_tokens=3),
        ),
        (
            "gemini_content",
            {"embeddings": [{"values": [1.0, -2.0]}, {"values": [3.0, 4.0]}], "usageMetadata": {"promptTokenCount": 7}},
            Usage(input_tokens=7),
        ),
        ("gemini_content", {"embeddings": [{"values": [1.0, -2.0]}, {"values": [3.0, 4.0]}]}, None),
        (
            "cohere_chat",
            {
                "id": "x",
                "embeddings": {"float": [[1.0, -2.0], [3.0, 4.0]]},
                "meta": {"billed_units": {"input_tokens": 4, "image_tokens": 0}},
            },
            Usage(input_tokens=4),
        ),
        ("cohere_chat", {"embeddings": {"base64": ["AACAPwAAAMA=", "AABAQAAAgEA="]}}, None),
    ],
)
def test_answers_of_every_dialect(dialect: Any, body: dict[str, Any], usage: Usage | None) -> None:
    embedded = UPSTREAMS[dialect].decode(json.dumps(body).encode())
    assert embedded == Embedded(vectors=[[1.0, -2.0], [3.0, 4.0]], usage=usage)


@pytest.mark.parametrize("dialect", list(UPSTREAMS))
@pytest.mark.parametrize(
    "body", [b"{}", b"[]", b"x", b'{"embeddings":{"int8":[[1]]}}', b'{"data":[{"embedding":"*"}]}']
)
def test_what_holds_no_embedding_is_said_to_hold_none(dialect: Any, body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        UPSTREAMS[dialect].decode(body)


@pytest.mark.parametrize(
    ("encoding", "vector"), [("base64", "AACAPwAAAMA="), ("float", [1.0, -2.0]), (None, [1.0, -2.0])]
)
def test_a_client_gets_the_encoding_that_it_asked_for(encoding: str | None, vector: Any) -> None:
    embedded = Embedded(vectors=[[1.0, -2.0]], usage=Usage(input_tokens=3))
    answer = json.loads(write_answer(embedded, asked(encoding_format=encoding), model="m"))
    assert answer == {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": vector}],
        "model": "m",
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
    }
    if encoding != "base64":
        CreateEmbeddingResponse.model_validate(answer, strict=True)


# ------------------------------------------------------------------------------------------------------- passthrough
def test_a_request_passes_but_for_the_model_and_what_is_ours() -> None:
    fields = patch.split(b'{"model":"m","input":[ "a" ],"api_key":"x","input_type":"query","metadata":{"tags":[]}}')
    written, dropped = PASSTHROUGH.patch_request(fields, model="up", profile=Profile(), want_usage=True)
    assert written == b'{"model":"up","input":[ "a" ],"input_type":"query"}'
    assert not dropped
    with pytest.raises(BadRequest, match="input"):
        PASSTHROUGH.patch_request(patch.split(b'{"model":"m"}'), model="up", profile=Profile(), want_usage=True)


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [(b'{"prompt_tokens":3,"total_tokens":3}', 3), (b'{"total_tokens":3}', 3), (b"{}", None), (b"null", None)],
)
def test_an_answer_keeps_its_vectors_byte_for_byte(usage: bytes, tokens: int | None) -> None:
    body = b'{"object":"list","data":[{"embedding":[0.10, 1e-3]}],"model":"a","usage":' + usage + b"}"
    written, stated = PASSTHROUGH.patch_response(body, model="b")
    assert json.loads(written) == {**json.loads(body), "model": "b"}
    assert b"[0.10, 1e-3]" in written
    assert stated.usage == (None if tokens is None else Usage(input_tokens=tokens))
