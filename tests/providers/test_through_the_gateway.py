"""Providers with behaviour, whole: a client's call, what the provider is sent, and its answer back at the client."""

import json
from base64 import b64encode
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as AwsCredentials
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt
from tests.fakes.gateway import gateway
from tests.fakes.token_service import TokenService
from tests.fakes.upstream import Behaviour, Received, Upstream, by, chunked, early, json_answer, sse

from wayport.wire import eventstream

ASK = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
MESSAGES = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}
CHAT = {
    "id": "c1", "object": "chat.completion", "created": 1, "model": "up",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
}  # fmt: skip
MESSAGE = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "stop_reason": "end_turn",
    "content": [{"type": "text", "text": "Hi"}], "usage": {"input_tokens": 3, "output_tokens": 1},
}  # fmt: skip
GEMINI = {
    "candidates": [{"content": {"role": "model", "parts": [{"text": "Hi"}]}, "finishReason": "STOP", "index": 0}],
    "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 1, "totalTokenCount": 4},
}


def config(provider: str, target: str, base_url: str, extra: str = "") -> str:
    return f"""
providers:
  {provider}: {{base_url: "{base_url}"{extra}}}
models:
  m: {target}
router: {{num_retries: 0}}
"""


def text_of(answer: Any) -> str:
    assert answer.status_code == 200, answer.text
    text: str = answer.json()["choices"][0]["message"]["content"]
    return text


async def no_wait(_seconds: float) -> None:
    """Polls at once."""


# ------------------------------------------------------------------------------------------------------ Replicate
def prediction(upstream: Upstream, status: str, **more: Any) -> dict[str, Any]:
    urls = {"get": "https://api.replicate.com/v1/predictions/p1", "stream": f"{upstream.url}/stream/p1"}
    return {"id": "p1", "model": "meta/llama-2-70b-chat", "status": status, "urls": urls, **more}


def replicate_at(upstream: Upstream, name: str = "replicate", extra: str = "") -> str:
    return config(name, f"{name}/meta/llama-2-70b-chat", f"{upstream.url}/v1", f", api_key: r8_secret{extra}")


@pytest.mark.parametrize(("name", "extra"), [("replicate", ""), ("ours", ", like: replicate")])
async def test_a_prediction_is_polled_until_it_is_there(name: str, extra: str) -> None:
    script: list[Behaviour | early] = []
    async with Upstream(script) as upstream, gateway(replicate_at(upstream, name, extra)) as wayport:
        wayport.worker.attempt.following.sleep = no_wait
        metrics = {"input_token_count": 5, "output_token_count": 2}
        script += [
            json_answer(prediction(upstream, "starting"), status=201),
            json_answer(prediction(upstream, "processing")),
            json_answer(prediction(upstream, "succeeded", output=["Hel", "lo"], metrics=metrics)),
        ]
        assert text_of(await wayport.ask(ASK)) == "Hello"
        assert [(each.method, each.path) for each in upstream.requests] == [
            ("POST", "/v1/models/meta/llama-2-70b-chat/predictions"),
            ("GET", "/v1/predictions/p1"),
            ("GET", "/v1/predictions/p1"),
        ]
        assert {each.headers["authorization"] for each in upstream.requests} == {"Bearer r8_secret"}
        (record,) = wayport.records
        assert record.usage is not None
        assert (record.usage.input_tokens, record.usage.output_tokens, record.usage_source) == (5, 2, "reported")


async def test_a_prediction_is_streamed_from_where_it_says() -> None:
    script: list[Behaviour | early] = []
    async with Upstream(script) as upstream, gateway(replicate_at(upstream)) as wayport:
        script += [
            json_answer(prediction(upstream, "starting"), status=201),
            sse(b"event: output\ndata: Hel\n\n", b"event: output\ndata: lo\n\n", b"event: done\ndata: {}\n\n"),
        ]
        answer = await wayport.ask({**ASK, "stream": True})
        assert answer.headers["content-type"].startswith("text/event-stream")
        told = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
        assert "".join(one["choices"][0]["delta"].get("content") or "" for one in told if one["choices"]) == "Hello"
        assert answer.text.rstrip().endswith("[DONE]")
        assert upstream.requests[1].headers["accept"] == "text/event-stream"
        assert wayport.records[0].usage_source == "estimated"


async def test_the_credential_goes_to_no_other_address() -> None:
    script: list[Behaviour | early] = []
    async with Upstream([]) as other, Upstream(script) as upstream, gateway(replicate_at(upstream)) as wayport:
        script.append(json_answer({**prediction(upstream, "starting"), "urls": {"stream": f"{other.url}/x"}}))
        answer = await wayport.ask({**ASK, "stream": True})
        assert answer.status_code >= 500
        assert "elsewhere" in answer.text
        assert other.connections == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_a_failed_prediction_is_an_error(stream: bool) -> None:
    script: list[Behaviour | early] = []
    async with Upstream(script) as upstream, gateway(replicate_at(upstream)) as wayport:
        script.append(json_answer(prediction(upstream, "failed", error="CUDA out of memory"), status=201))
        answer = await wayport.ask({**ASK, "stream": stream})
        assert answer.status_code >= 500
        assert "CUDA out of memory" in answer.text


async def test_a_poll_that_is_refused_is_told_as_the_provider_said() -> None:
    script: list[Behaviour | early] = []
    async with Upstream(script) as upstream, gateway(replicate_at(upstream)) as wayport:
        wayport.worker.attempt.following.sleep = no_wait
        script += [
            json_answer(prediction(upstream, "starting"), status=201),
            json_answer({"detail": "slow down"}, status=429),
        ]
        answer = await wayport.ask(ASK)
        assert answer.status_code == 429
        assert "slow down" in answer.text


# ---------------------------------------------------------------------------------------------------------- Azure
@pytest.mark.parametrize(
    ("version", "path"),
    [
        ("", "/openai/v1/chat/completions"),
        ("2024-10-21", "/openai/deployments/my-gpt/chat/completions?api-version=2024-10-21"),
    ],
)
async def test_azure_is_called_by_its_version(version: str, path: str) -> None:
    async with Upstream(json_answer(CHAT)) as upstream:
        settings = f", api_key: azure-secret, settings: {{api_version: '{version}'}}"
        async with gateway(config("azure", "azure/my-gpt", upstream.url, settings)) as wayport:
            assert text_of(await wayport.ask(ASK)) == "Hi"
        (received,) = upstream.requests
        assert (received.path, received.headers["api-key"]) == (path, "azure-secret")
        assert "authorization" not in received.headers


async def test_azure_takes_a_token_of_entra_id() -> None:
    async with Upstream(json_answer(CHAT)) as upstream:
        settings = ", settings: {azure_ad_token: '${AZURE_AD_TOKEN}'}"
        written = config("azure", "azure/my-gpt", upstream.url, settings)
        async with gateway(written, {"AZURE_AD_TOKEN": "ey.entra"}) as wayport:
            assert text_of(await wayport.ask(ASK)) == "Hi"
        assert upstream.requests[0].headers["authorization"] == "Bearer ey.entra"
        assert "api-key" not in upstream.requests[0].headers


# -------------------------------------------------------------------------------------------------------- Bedrock
AWS = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG",
    "AWS_SESSION_TOKEN": "session-token",
    "AWS_REGION_NAME": "eu-central-1",
}


def by_aws(received: Received, upstream: Upstream, *, service: str) -> str:
    """The authorization that botocore makes of a request as it arrived."""
    names = received.headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    request = AWSRequest(
        method=received.method,
        url=upstream.url + received.path,
        data=received.body,
        headers={name: received.headers[name] for name in names},
    )
    request.context["timestamp"] = received.headers["x-amz-date"]
    own = AwsCredentials(AWS["AWS_ACCESS_KEY_ID"], AWS["AWS_SECRET_ACCESS_KEY"], AWS["AWS_SESSION_TOKEN"])
    auth = SigV4Auth(own, service, AWS["AWS_REGION_NAME"])
    signature = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    return f"AWS4-HMAC-SHA256 Credential={auth.scope(request)}, SignedHeaders={';'.join(names)}, Signature={signature}"


async def test_sagemaker_finds_the_signature_right() -> None:
    async with Upstream(json_answer(CHAT)) as upstream:
        async with gateway(config("sagemaker_chat", "sagemaker_chat/my-endpoint", upstream.url), AWS) as wayport:
            assert text_of(await wayport.ask(ASK)) == "Hi"
        (received,) = upstream.requests
        assert received.path == "/endpoints/my-endpoint/invocations"
        assert received.headers["authorization"] == by_aws(received, upstream, service="sagemaker")
        assert received.headers["x-amz-security-token"] == "session-token"


CONVERSED = {
    "output": {"message": {"role": "assistant", "content": [{"text": "Hi"}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 3, "outputTokens": 1, "totalTokens": 4},
    "metrics": {"latencyMs": 5},
}
NOVA = "us.amazon.nova-lite-v1:0"
FRAMES = [
    eventstream.write(b'{"role":"assistant"}', "messageStart"),
    eventstream.write(b'{"contentBlockIndex":0,"delta":{"text":"Hel"}}', "contentBlockDelta"),
    eventstream.write(b'{"contentBlockIndex":0,"delta":{"text":"lo"}}', "contentBlockDelta"),
    eventstream.write(b'{"contentBlockIndex":0}', "contentBlockStop"),
    eventstream.write(b'{"stopReason":"end_turn"}', "messageStop"),
    eventstream.write(
        b'{"usage":{"inputTokens":3,"outputTokens":2,"totalTokens":5},"metrics":{"latencyMs":5}}', "metadata"
    ),
]


def framed(*pieces: bytes) -> Behaviour:
    return chunked(*pieces, content_type=eventstream.CONTENT_TYPE)


def told(answer: Any) -> str:
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
    choices = [event["choices"][0] for event in events if event.get("choices")]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


@pytest.mark.parametrize("stream", [False, True])
async def test_bedrock_finds_the_signature_right(stream: bool) -> None:
    answer = framed(b"".join(FRAMES)) if stream else json_answer(CONVERSED)
    async with Upstream(answer) as upstream:
        async with gateway(config("bedrock", f"bedrock/{NOVA}", upstream.url), AWS) as wayport:
            got = await wayport.ask({**ASK, "stream": stream})
            assert got.status_code == 200, got.text
            assert (told(got) if stream else text_of(got)) == ("Hello" if stream else "Hi")
            (record,) = wayport.records
            assert record.usage is not None
            assert (record.usage.input_tokens, record.usage_source) == (3, "reported")
        (received,) = upstream.requests
        assert received.path == f"/model/us.amazon.nova-lite-v1%3A0/converse{'-stream' if stream else ''}"
        assert received.headers["authorization"] == by_aws(received, upstream, service="bedrock")


async def test_bedrock_takes_a_bearer_key_as_it_is() -> None:
    async with Upstream(json_answer(CONVERSED)) as upstream:
        environ = {"AWS_BEARER_TOKEN_BEDROCK": "bearer-key", "AWS_REGION": "eu-central-1"}
        async with gateway(config("bedrock", f"bedrock/{NOVA}", upstream.url), environ) as wayport:
            assert text_of(await wayport.ask(ASK)) == "Hi"
        assert upstream.requests[0].headers["authorization"] == "Bearer bearer-key"
        assert "x-amz-date" not in upstream.requests[0].headers


async def test_frames_may_be_cut_anywhere() -> None:
    stream = b"".join(FRAMES)
    pieces = [stream[start : start + 7] for start in range(0, len(stream), 7)]
    async with Upstream(framed(*pieces)) as upstream:
        async with gateway(config("bedrock", f"bedrock/{NOVA}", upstream.url), AWS) as wayport:
            assert told(await wayport.ask({**ASK, "stream": True})) == "Hello"


async def test_a_framed_stream_that_nobody_asked_for_is_put_together() -> None:
    async with Upstream(framed(*FRAMES)) as upstream:
        async with gateway(config("bedrock", f"bedrock/{NOVA}", upstream.url), AWS) as wayport:
            assert text_of(await wayport.ask(ASK)) == "Hello"


async def test_a_damaged_frame_before_content_is_an_error() -> None:
    damaged = FRAMES[0][:-1] + bytes([FRAMES[0][-1] ^ 1])
    async with Upstream(framed(damaged)) as upstream:
        async with gateway(config("bedrock", f"bedrock/{NOVA}", upstream.url), AWS) as wayport:
            got = await wayport.ask({**ASK, "stream": True})
            assert got.status_code == 502
            assert "checksum" in got.text


async def test_a_damaged_frame_after_content_ends_the_stream_with_an_error() -> None:
    damaged = FRAMES[2][:-1] + bytes([FRAMES[2][-1] ^ 1])
    async with Upstream(framed(FRAMES[0], FRAMES[1], damaged)) as upstream:
        async with gateway(config("bedrock", f"bedrock/{NOVA}", upstream.url), AWS) as wayport:
            got = await wayport.ask({**ASK, "stream": True})
            assert told(got) == "Hel"
            assert "checksum" in got.text
            assert not got.text.rstrip().endswith("[DONE]")
            assert wayport.records[0].status == "cut"


async def test_an_exception_in_the_stream_is_told_as_what_it_is() -> None:
    throttled = eventstream.write(b'{"message":"slow down"}', "exception:throttlingException")
    async with Upstream(framed(FRAMES[0], throttled)) as upstream:
        async with gateway(config("bedrock", f"bedrock/{NOVA}", upstream.url), AWS) as wayport:
            got = await wayport.ask({**ASK, "stream": True})
            assert got.status_code == 429, got.text
            assert "slow down" in got.text


# --------------------------------------------------------------------------------------------------------- Vertex
def account(service: TokenService, private: str) -> str:
    return json.dumps(
        {
            "type": "service_account",
            "project_id": "my-project",
            "private_key_id": "1",
            "private_key": private,
            "client_email": "robot@example.iam.gserviceaccount.com",
            "token_uri": service.url,
        }
    )


def keys() -> tuple[str, bytes]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public


@pytest.mark.parametrize(
    ("model", "answer", "path"),
    [
        ("gemini-2.5-flash", GEMINI, "/v1beta1/{place}/publishers/google/models/gemini-2.5-flash:generateContent"),
        (
            "claude-sonnet-4-5@20250929",
            MESSAGE,
            "/v1/{place}/publishers/anthropic/models/claude-sonnet-4-5@20250929:rawPredict",
        ),
        ("mistral-small-2503", CHAT, "/v1/{place}/publishers/mistralai/models/mistral-small-2503:rawPredict"),
        ("meta/llama-4-scout", CHAT, "/v1/{place}/endpoints/openapi/chat/completions"),
    ],
)
async def test_vertex_gets_a_token_that_google_checked(model: str, answer: dict[str, Any], path: str) -> None:
    private, public = keys()

    def give(asked: Any) -> tuple[int, dict[str, Any]]:
        jwt.decode(asked.form()["assertion"], certs=public)  # type: ignore[no-untyped-call]  # google-auth is untyped
        return 200, {"access_token": "ya29.given", "expires_in": 3600}

    with TokenService(give) as service:
        async with Upstream(json_answer(answer)) as upstream:
            environ = {"VERTEX_CREDENTIALS": account(service, private), "VERTEXAI_LOCATION": "europe-west4"}
            written = config("vertex_ai", f"vertex_ai/{model}", f"{upstream.url}/below")
            async with gateway(written, environ) as wayport:
                assert text_of(await wayport.ask(ASK)) == "Hi"
                assert text_of(await wayport.ask(ASK)) == "Hi"
        assert len(service.asked) == 1
    received = upstream.requests[0]
    assert received.headers["authorization"] == "Bearer ya29.given"
    assert received.path == "/below" + path.format(place="projects/my-project/locations/europe-west4")


# ------------------------------------------------------------------------------------------- credentials that buy tokens
async def test_a_signer_is_given_the_key_that_buys_its_token() -> None:
    def give(_asked: Any) -> tuple[int, dict[str, Any]]:
        return 200, {"access_token": "bought", "expiration": 4102444800}

    with TokenService(give) as service:
        async with Upstream(json_answer(CHAT)) as upstream:
            settings = f", api_key: ibm-key, settings: {{watsonx_project_id: p, watsonx_iam_url: '{service.url}'}}"
            written = config("watsonx", "watsonx/ibm/granite", upstream.url, settings)
            async with gateway(written) as wayport:
                assert text_of(await wayport.ask(ASK)) == "Hi"
                shown = (await wayport.http.get("/model/info")).text
        assert service.asked[0].form()["apikey"] == "ibm-key"
    assert upstream.requests[0].headers["authorization"] == "Bearer bought"
    assert "ibm-key" not in shown


# ------------------------------------------------------------------------------------------------------ Anthropic
def betas(received: Received) -> list[str]:
    return [value for name, value in received.header_list if name.lower() == "anthropic-beta"]


async def test_betas_of_client_and_credential_stand_in_one_header() -> None:
    async with Upstream(json_answer(MESSAGE)) as upstream:
        written = config("anthropic", "anthropic/claude-sonnet-4-5", upstream.url, ", api_key: sk-ant-oat01-x")
        async with gateway(written) as wayport:
            answer = await wayport.ask(MESSAGES, "/v1/messages", headers={"anthropic-beta": "one-2025, two-2025"})
            assert answer.status_code == 200, answer.text
            assert text_of(await wayport.ask(ASK)) == "Hi"
        own, translated = upstream.requests
        assert betas(own) == ["oauth-2025-04-20,one-2025,two-2025"]
        assert betas(translated) == ["oauth-2025-04-20"]
        assert own.headers["authorization"] == "Bearer sk-ant-oat01-x"


async def test_a_target_without_headers_gets_betas_in_the_body() -> None:
    async with Upstream(json_answer(MESSAGE)) as upstream:
        written = f"""
providers:
  anthropic: {{base_url: "{upstream.url}", api_key: k}}
models:
  m: {{model: anthropic/claude-sonnet-4-5, profile: {{betas_in_body: true, betas: [one-2025]}}}}
"""
        async with gateway(written) as wayport:
            answer = await wayport.ask(MESSAGES, "/v1/messages", headers={"anthropic-beta": "one-2025,two-2025"})
            assert answer.status_code == 200, answer.text
        (received,) = upstream.requests
        assert received.json()["anthropic_beta"] == ["one-2025"]
        assert betas(received) == []


async def test_the_formats_own_header_goes_wherever_it_is_spoken() -> None:
    async with Upstream(json_answer(MESSAGE)) as upstream:
        extra = ", api_key: k, paths: {messages: /messages}"
        written = config("openrouter", "openrouter/anthropic/claude-sonnet-4.5", upstream.url, extra)
        async with gateway(written) as wayport:
            answer = await wayport.ask(MESSAGES, "/v1/messages")
            assert answer.status_code == 200, answer.text
        (received,) = upstream.requests
        assert received.path == "/messages"
        assert received.headers["anthropic-version"] == "2023-06-01"


async def test_claudes_own_events_in_frames_reach_its_own_clients() -> None:
    said: list[dict[str, Any]] = [
        MESSAGE_START,
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    ]
    frames = [
        eventstream.write(json.dumps({"bytes": b64encode(json.dumps(event).encode()).decode()}).encode(), "chunk")
        for event in said
    ]
    async with Upstream(framed(*frames)) as upstream:
        written = config("anthropic", "anthropic/claude-sonnet-4-5", upstream.url, ", api_key: k")
        async with gateway(written) as wayport:
            answer = await wayport.ask({**MESSAGES, "stream": True}, "/v1/messages")
            events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
            assert [event["type"] for event in events] == [event["type"] for event in said]
            assert wayport.records[0].usage_source == "reported"


MESSAGE_START = {
    "type": "message_start",
    "message": {**MESSAGE, "content": [], "stop_reason": None, "usage": {"input_tokens": 3, "output_tokens": 0}},
}


# --------------------------------------------------------------------------------------------------------- Cohere
async def test_cohere_is_asked_in_its_own_format() -> None:
    chat = {
        "id": "c1", "finish_reason": "COMPLETE",
        "message": {"role": "assistant", "content": [{"type": "text", "text": "Hi"}]},
        "usage": {"billed_units": {"input_tokens": 1, "output_tokens": 1}, "tokens": {"input_tokens": 3, "output_tokens": 1}},
    }  # fmt: skip
    embedded = {
        "id": "e",
        "embeddings": {"float": [[0.5, 0.25]]},
        "texts": ["x"],
        "meta": {"billed_units": {"input_tokens": 2}},
    }
    script: list[Behaviour | early] = [json_answer(chat), json_answer(embedded)]
    async with Upstream(script) as upstream:
        written = f"""
providers:
  cohere: {{base_url: "{upstream.url}", api_key: co-secret, paths: {{embeddings: /v2/embed}}}}
models:
  m: cohere/command-a-03-2025
  e: cohere/embed-v4.0
"""
        async with gateway(written) as wayport:
            assert text_of(await wayport.ask(ASK)) == "Hi"
            vectors = await wayport.ask({"model": "e", "input": "x"}, "/v1/embeddings")
            assert vectors.json()["data"][0]["embedding"] == [0.5, 0.25]
        assert [received.path for received in upstream.requests] == ["/v2/chat", "/v2/embed"]
        assert {received.headers["authorization"] for received in upstream.requests} == {"Bearer co-secret"}
        assert upstream.requests[1].json()["texts"] == ["x"]


# ----------------------------------------------------------------------------------------- embeddings in the clouds
COHERE_VECTORS = {"id": "e", "embeddings": {"float": [[0.5, 0.25], [1.0, 2.0]]}, "texts": ["x", "y"]}


@pytest.mark.parametrize(
    ("model", "texts", "answer", "path", "body"),
    [
        (
            "amazon.titan-embed-text-v2:0",
            ["x"],
            {"embedding": [0.5, 0.25], "inputTextTokenCount": 3},
            "amazon.titan-embed-text-v2%3A0",
            {"inputText": "x"},
        ),
        (
            "us.cohere.embed-v4:0",
            ["x", "y"],
            COHERE_VECTORS,
            "us.cohere.embed-v4%3A0",
            {"texts": ["x", "y"], "input_type": "search_document", "embedding_types": ["float"]},
        ),
    ],
)
async def test_bedrock_embeds(model: str, texts: list[str], answer: Any, path: str, body: Any) -> None:
    async with Upstream(json_answer(answer)) as upstream:
        written = f"""
providers:
  bedrock: {{base_url: "{upstream.url}", paths: {{embeddings: "/model/{{model}}/invoke"}}}}
models: {{m: "bedrock/{model}"}}
"""
        async with gateway(written, AWS) as wayport:
            got = await wayport.ask({"model": "m", "input": texts}, "/v1/embeddings")
            assert got.status_code == 200, got.text
            assert got.json()["data"][0]["embedding"] == [0.5, 0.25]
        (received,) = upstream.requests
        assert received.path == f"/model/{path}/invoke"
        assert received.json() == body
        assert received.headers["authorization"] == by_aws(received, upstream, service="bedrock")


@pytest.mark.parametrize(
    ("model", "answer", "verb", "body"),
    [
        (
            "text-embedding-005",
            {"predictions": [{"embeddings": {"values": [0.5, 0.25], "statistics": {"token_count": 3.0}}}]},
            "predict",
            {"instances": [{"content": "x"}], "parameters": {"outputDimensionality": 2}},
        ),
        (
            "gemini-embedding-2",
            {"embedding": {"values": [0.5, 0.25]}, "usageMetadata": {"promptTokenCount": 3}},
            "embedContent",
            {"content": {"parts": [{"text": "x"}]}, "outputDimensionality": 2},
        ),
    ],
)
async def test_vertex_embeds(model: str, answer: Any, verb: str, body: Any) -> None:
    async with Upstream(json_answer(answer)) as upstream:
        place = "/v1beta1/projects/p/locations/l/publishers/google/models/{model}:" + verb
        written = f"""
providers:
  vertex_ai: {{base_url: "{upstream.url}", api_key: express, paths: {{embeddings: "{place}"}}}}
models: {{m: vertex_ai/{model}}}
"""
        async with gateway(written) as wayport:
            got = await wayport.ask({"model": "m", "input": "x", "dimensions": 2}, "/v1/embeddings")
            assert got.status_code == 200, got.text
            assert got.json()["data"][0]["embedding"] == [0.5, 0.25]
            assert got.json()["usage"]["prompt_tokens"] == 3
        (received,) = upstream.requests
        assert received.path.endswith(f"/models/{model}:{verb}")
        assert received.json() == body


def vector_of(received: Received) -> Behaviour:
    """Answers with the length of the one text that was asked."""
    body = received.json()
    if "content" in body:
        size = len(body["content"]["parts"][0]["text"])
        return json_answer({"embedding": {"values": [size, 0.5]}, "usageMetadata": {"promptTokenCount": size}})
    if "inputText" in body:
        size = len(body["inputText"])
        return json_answer({"embedding": [size, 0.5], "inputTextTokenCount": size})
    size = len(body["singleEmbeddingParams"]["text"]["value"])
    if size == 13:
        return json_answer({"message": "expected maxLength: 50000"}, status=400)
    vectors = {"embeddings": [{"embeddingType": "TEXT", "embedding": [size, 0.5]}]}
    return json_answer(vectors, headers=[("x-amzn-bedrock-input-token-count", str(size))])


NOVA_EMBED = "amazon.nova-2-multimodal-embeddings-v1:0"


def embedding(provider: str, model: str, url: str) -> str:
    verb = "/model/{model}/invoke" if provider == "bedrock" else "/m/{model}:embedContent"
    key = "" if provider == "bedrock" else "api_key: k, "
    return f"""
providers: {{{provider}: {{base_url: "{url}", {key}paths: {{embeddings: "{verb}"}}}}}}
models: {{m: "{provider}/{model}"}}
"""


@pytest.mark.parametrize(
    ("provider", "model"),
    [("bedrock", "amazon.titan-embed-text-v2:0"), ("bedrock", NOVA_EMBED), ("vertex_ai", "gemini-embedding-2")],
)
async def test_models_that_take_one_text_are_asked_for_each(provider: str, model: str) -> None:
    sizes = range(1, 12)
    async with Upstream(by(vector_of)) as upstream:
        async with gateway(embedding(provider, model, upstream.url), AWS) as wayport:
            texts = ["x" * size for size in sizes]
            got = await wayport.ask({"model": "m", "input": texts}, "/v1/embeddings")
            assert got.status_code == 200, got.text
            assert [entry["embedding"] for entry in got.json()["data"]] == [[size, 0.5] for size in sizes]
            assert [entry["index"] for entry in got.json()["data"]] == list(range(len(sizes)))
            assert got.json()["usage"]["prompt_tokens"] == sum(sizes)
            (record,) = wayport.records
            assert record.usage is not None
            assert record.usage.input_tokens == sum(sizes)
        assert len(upstream.requests) == len(sizes)
        if provider == "bedrock":
            for received in upstream.requests:
                assert received.headers["authorization"] == by_aws(received, upstream, service="bedrock")


async def test_one_text_that_cannot_be_embedded_is_an_error_for_all() -> None:
    async with Upstream(by(vector_of)) as upstream:
        async with gateway(embedding("bedrock", NOVA_EMBED, upstream.url), AWS) as wayport:
            got = await wayport.ask({"model": "m", "input": ["y", "x" * 13, "z"]}, "/v1/embeddings")
            assert (got.status_code, "maxLength" in got.text) == (400, True)


@pytest.mark.parametrize(
    ("asked", "purpose", "params"),
    [
        ({}, "GENERIC_INDEX", {"text": {"truncationMode": "NONE", "value": "hello"}}),
        (
            {"input_type": "search_query", "dimensions": 256, "truncate": "END"},
            "GENERIC_RETRIEVAL",
            {"embeddingDimension": 256, "text": {"truncationMode": "END", "value": "hello"}},
        ),
        (
            {"input": "data:image/jpg;base64,aGk=", "input_type": "IMAGE_RETRIEVAL"},
            "IMAGE_RETRIEVAL",
            {"image": {"format": "jpeg", "source": {"bytes": "aGk="}, "detailLevel": "STANDARD_IMAGE"}},
        ),
        (
            {"input": "data:audio/mpeg;base64,aGk="},
            "GENERIC_INDEX",
            {"audio": {"format": "mp3", "source": {"bytes": "aGk="}}},
        ),
        (
            {"input": "data:video/quicktime;base64,aGk="},
            "GENERIC_INDEX",
            {"video": {"format": "mov", "source": {"bytes": "aGk="}, "embeddingMode": "AUDIO_VIDEO_COMBINED"}},
        ),
    ],
)
async def test_nova_is_asked_as_amazon_documents_it(
    asked: dict[str, Any], purpose: str, params: dict[str, Any]
) -> None:
    async with Upstream(json_answer({"embeddings": [{"embeddingType": "TEXT", "embedding": [0.5]}]})) as upstream:
        async with gateway(embedding("bedrock", NOVA_EMBED, upstream.url), AWS) as wayport:
            got = await wayport.ask({"model": "m", "input": "hello", **asked}, "/v1/embeddings")
            assert got.status_code == 200, got.text
            assert got.json()["data"][0]["embedding"] == [0.5]
        told = {"embeddingPurpose": purpose, **params}
        assert upstream.requests[0].json() == {"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": told}
