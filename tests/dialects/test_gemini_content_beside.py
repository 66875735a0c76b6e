"""Counting tokens, embeddings, the list of models: the shapes that Google's SDK sends and reads."""

import json
from typing import Any

import pytest
from google import genai
from google.genai import errors, types
from tests.dialects.gemini_sdk import CLIENT, user
from tests.fakes.upstream import Behaviour, Received, Upstream, answer, by

from wayport.core.errors import BadRequest, ModelNotFound, RateLimited, WayportError
from wayport.core.usage import Usage
from wayport.dialects.dialect import Profile
from wayport.dialects.gemini_content import GeminiClient
from wayport.dialects.gemini_content_beside import (
    EmbedCall,
    decode_count_request,
    decode_count_response,
    decode_embed_request,
    decode_embed_response,
    encode_count_request,
    encode_count_response,
    encode_embed_request,
    encode_embed_response,
    encode_model,
    encode_models,
    model_entry,
)
from wayport.dialects.neutral import (
    BlockClosed,
    BlockDelta,
    BlockOpened,
    ChoiceFinished,
    Delta,
    Ended,
    Message,
    Request,
    Started,
    Text,
    Tool,
    ToolCall,
    UsageReported,
)
from wayport.wire import patch

HELLO = {"role": "user", "parts": [{"text": "Hi"}]}


def fields(value: object) -> patch.Fields:
    return patch.split(json.dumps(value).encode())


# ------------------------------------------------------------------------------------------------------------- tokens
def test_a_count_is_asked_for_contents_or_for_a_whole_request() -> None:
    bare = decode_count_request(fields({"contents": [HELLO]}))
    assert [part for message in bare.messages for part in message.parts] == [Text(text="Hi")]
    whole = {"model": "models/m", "contents": [HELLO], "systemInstruction": {"parts": [{"text": "s"}]}}
    read = decode_count_request(fields({"generateContentRequest": whole}))
    assert read.model == "m"
    assert [message.role for message in read.messages] == ["system", "user"]


def test_a_count_is_asked_of_both_of_google_s_services() -> None:
    system = Message(role="system", parts=[Text(text="s")])
    request = Request(
        dialect="openai_chat", model="m", messages=[system, user(Text(text="Hi"))], tools=[Tool(name="f")]
    )
    request.service_tier = "flex"
    wrapped = json.loads(encode_count_request(request, Profile(), wrapped=True))
    assert set(wrapped["generateContentRequest"]) == {"model", "contents", "systemInstruction", "tools"}
    assert wrapped["generateContentRequest"]["model"] == "models/m"
    assert set(json.loads(encode_count_request(request, Profile(), wrapped=False))) == {
        "contents",
        "systemInstruction",
        "tools",
    }
    assert decode_count_response(encode_count_response(7)) == 7
    with pytest.raises(ValueError, match="totalTokens"):
        decode_count_response(b"{}")


# --------------------------------------------------------------------------------------------------------- embeddings
def test_one_content_is_embedded() -> None:
    body = {
        "content": {"parts": [{"text": "a"}, {"text": "b"}]},
        "taskType": "RETRIEVAL_QUERY",
        "outputDimensionality": 8,
    }
    assert decode_embed_request(fields(body)) == EmbedCall(
        texts=["a\nb"], batch=False, dimensions=8, task_type="RETRIEVAL_QUERY"
    )


def test_settings_may_stand_in_a_configuration_and_in_snake_case() -> None:
    body = {
        "model": "models/e",
        "content": {"parts": [{"text": "a"}]},
        "embed_content_config": {"output_dimensionality": 8, "title": "T", "autoTruncate": False},
    }
    call = decode_embed_request(fields(body))
    assert (call.model, call.dimensions, call.title) == ("e", 8, "T")
    assert set(call.extras) == {"autoTruncate"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "content"),
        ({"content": {}}, "content.parts"),
        ({"content": {"parts": [{"inlineData": {}}]}}, "content.parts[0]"),
        ({"requests": []}, "requests"),
        ({"requests": [{"content": {"parts": [{"text": 1}]}}]}, "requests[0].content.parts[0].text"),
        (
            {
                "requests": [
                    {"content": {"parts": [{"text": "a"}]}, "outputDimensionality": 8},
                    {"content": {"parts": [{"text": "b"}]}},
                ]
            },
            "requests[1]",
        ),
    ],
)
def test_a_wrong_embedding_request_is_refused_with_the_field(body: object, field: str) -> None:
    with pytest.raises(BadRequest) as refused:
        decode_embed_request(fields(body))
    assert refused.value.param == field


def test_embeddings_survive_the_way_out_and_back() -> None:
    call = EmbedCall(texts=["a", "b"], batch=True, dimensions=2, task_type="CLUSTERING", title="T", model="e")
    assert decode_embed_request(patch.split(encode_embed_request(call, "e"))) == call
    vectors = [[0.5, 1.0], [0.25, 2.0]]
    assert decode_embed_response(encode_embed_response(vectors, batch=True, tokens=3)) == (vectors, 3)
    assert decode_embed_response(encode_embed_response(vectors[:1], batch=False)) == (vectors[:1], None)
    with pytest.raises(ValueError, match="no embedding"):
        decode_embed_response(b"{}")


# ------------------------------------------------------------------------------------------------------ Google's SDK
def answering(body: bytes, *, status: int = 200, content_type: str = "application/json") -> Behaviour:
    return answer(body, status=status, headers={"content-type": content_type})


def sdk(upstream: Upstream) -> Any:
    return genai.Client(api_key="k", http_options=types.HttpOptions(base_url=upstream.url)).aio


async def test_the_sdk_counts_embeds_and_lists() -> None:
    def reply(request: Received) -> Behaviour:
        action = request.path.partition("?")[0].rpartition(":")[2]
        if action == "countTokens":
            return answering(encode_count_response(len(decode_count_request(fields(request.json())).messages)))
        if action == "batchEmbedContents":
            call = decode_embed_request(fields(request.json()))
            return answering(encode_embed_response([[1.0] * (call.dimensions or 1) for _ in call.texts], batch=True))
        if request.path.endswith("/models/fast"):
            return answering(encode_model(model_entry("fast", context_window=1000)))
        return answering(encode_models([model_entry("fast", max_output_tokens=5), model_entry("slow")]))

    async with Upstream(by(reply)) as upstream:
        client = sdk(upstream)
        counted = await client.models.count_tokens(model="fast", contents="Hi")
        assert counted.total_tokens == 1
        config = types.EmbedContentConfig(output_dimensionality=3)
        embedded = await client.models.embed_content(model="e", contents=["a", "b"], config=config)
        assert [vector.values for vector in embedded.embeddings] == [[1.0] * 3] * 2
        listed = await client.models.list(config={"query_base": True})
        assert [model.name for model in listed.page] == ["models/fast", "models/slow"]
        got = await client.models.get(model="fast")
        assert got.input_token_limit == 1000
        assert "generateContent" in got.supported_actions
        await client.aclose()


async def test_the_sdk_keeps_a_streamed_chat() -> None:
    deltas: list[Delta] = [
        Started(id="r", model="claude", dialect="anthropic_messages"),
        BlockOpened(block=0, part=Text(text="")),
        BlockDelta(block=0, text="Let me "),
        BlockDelta(block=0, text="see.\u2028"),
        BlockClosed(block=0),
        BlockOpened(block=1, part=ToolCall(id="toolu_1", name="weather")),
        BlockDelta(block=1, text='{"city":"Rome"}'),
        BlockClosed(block=1),
        ChoiceFinished(finish="tool_calls"),
        UsageReported(usage=Usage(input_tokens=3, output_tokens=4)),
        Ended(),
    ]
    encoder = CLIENT.stream_encoder(request=None, response_id="r", created=0)
    body = b"".join(encoder.feed(delta) for delta in deltas)
    async with Upstream([answering(body, content_type="text/event-stream")] * 2) as upstream:
        client = sdk(upstream)
        chat = client.chats.create(model="fast")
        chunks = [chunk async for chunk in await chat.send_message_stream("Weather?")]
        assert "".join(chunk.text or "" for chunk in chunks) == "Let me see.\u2028"
        (call,) = [call for chunk in chunks for call in chunk.function_calls or []]
        assert (call.id, call.name, call.args) == ("toolu_1", "weather", {"city": "Rome"})
        assert chunks[-1].candidates[0].finish_reason is types.FinishReason.STOP
        assert chunks[-1].usage_metadata.total_token_count == 7
        result = types.Part.from_function_response(name="weather", response={"result": "sunny"})
        assert [chunk async for chunk in await chat.send_message_stream(result)]
        again = CLIENT.decode_request(fields(upstream.requests[1].json()), {})
        spoken = [part for message in again.messages for part in message.parts]
        assert [type(part).__name__ for part in spoken if not (isinstance(part, Text) and not part.text)] == [
            "Text",
            "Text",
            "Text",
            "ToolCall",
            "ToolResult",
        ]
        assert spoken[-1].call_id == "toolu_1"  # type: ignore[union-attr]  # the last one is the result
        await client.aclose()


@pytest.mark.parametrize(
    ("error", "kind", "word"),
    [
        (ModelNotFound("no model `x`; did you mean `y`?"), errors.ClientError, "NOT_FOUND"),
        (RateLimited("too many requests", retry_after_s=2), errors.ClientError, "RESOURCE_EXHAUSTED"),
        (BadRequest("`contents` is missing", param="contents"), errors.ClientError, "INVALID_ARGUMENT"),
    ],
)
async def test_the_sdk_understands_our_errors(error: WayportError, kind: type[errors.APIError], word: str) -> None:
    body = GeminiClient().encode_error(error, call_id="call-1")
    async with Upstream([answering(body, status=error.status)]) as upstream:
        client = sdk(upstream)
        with pytest.raises(kind) as raised:
            await client.models.generate_content(model="x", contents="Hi")
        assert raised.value.code == error.status
        assert raised.value.status == word
        assert raised.value.message == error.message
        await client.aclose()


async def test_the_sdk_sees_an_error_amid_a_stream() -> None:
    begun: list[Delta] = [
        Started(id="r", model="m"),
        BlockOpened(block=0, part=Text(text="Once")),
    ]
    encoder = CLIENT.stream_encoder(request=None, response_id="r", created=0)
    body = (
        b"".join(encoder.feed(delta) for delta in begun)
        + b"data: "
        + CLIENT.encode_error(RateLimited("stop"), call_id="")
        + b"\r\n\r\n"
    )
    async with Upstream([answering(body, content_type="text/event-stream")]) as upstream:
        client = sdk(upstream)
        stream = await client.models.generate_content_stream(model="x", contents="Hi")
        assert (await anext(stream)).text == "Once"
        with pytest.raises(errors.APIError, match="stop"):
            await anext(stream)
        await client.aclose()
