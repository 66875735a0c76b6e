"""What leaves the machine: signed requests over a real connection, checked at the other end by the providers' own code."""

import json
from typing import Any
from urllib.parse import quote

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as AwsCredentials
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt
from tests.fakes.token_service import TokenService
from tests.fakes.upstream import Behaviour, Received, Upstream, early, json_answer, sse

from wayport.core.net import Timeouts
from wayport.core.secret import Secret
from wayport.dialects.neutral import BlockDelta
from wayport.dialects.replicate_predictions import Decoder
from wayport.providers import registry
from wayport.providers.placement import placement
from wayport.providers.provider import Placement
from wayport.providers.replicate import follow
from wayport.upstream.credentials import Credentials
from wayport.upstream.headers import head_for
from wayport.upstream.origin import origin_of
from wayport.upstream.transport import Answer, Transport
from wayport.wire.sse import Splitter, parse

SOON = Timeouts(connect_s=5.0, first_byte_s=5.0, idle_s=5.0, total_s=20.0)
BODY = b'{"messages":[{"role":"user","content":[{"text":"hi"}]}]}'
AWS = {
    "aws_access_key_id": "AKIDEXAMPLE",
    "aws_secret_access_key": "wJalrXUtnFEMI/K7MDENG",
    "aws_session_token": "session-token",
    "aws_region_name": "eu-central-1",
}


async def call(
    client: Transport,
    placed: Placement,
    *,
    provider: str,
    settings: dict[str, str],
    credential: str = "",
    url: str | None = None,
    method: str = "POST",
    body: bytes = BODY,
) -> Answer:
    """One request as a worker sends it: signed where the placement says so, else with a constant credential."""
    if url is None:
        url = placed.base_url + placed.paths["chat"].replace("{model}", quote(placed.model, safe="/:@-._~"))
    if placed.signed:
        credentials = Credentials(lambda name: getattr(registry.get(name), "signer", None))
        signed = await credentials.sign(
            provider=provider, settings=settings, url=url, body=body, headers=placed.headers, method=method
        )
        return await client.send(signed.origin, signed.head, body, timeouts=SOON)
    own = placed.credential or Secret(credential)
    head = head_for(method=method, url=url, auth=placed.auth, credential=own.reveal(), headers=placed.headers)
    return await client.send(origin_of(url)[0], head, body, timeouts=SOON)


def by_aws(received: Received, upstream: Upstream, *, service: str = "bedrock") -> str:
    """The authorization that botocore makes of a request as it arrived."""
    names = received.headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    request = AWSRequest(
        method=received.method,
        url=upstream.url + received.path,
        data=received.body,
        headers={name: received.headers[name] for name in names},
    )
    request.context["timestamp"] = received.headers["x-amz-date"]
    own = AwsCredentials(AWS["aws_access_key_id"], AWS["aws_secret_access_key"], AWS["aws_session_token"])
    auth = SigV4Auth(own, service, AWS["aws_region_name"])
    signature = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    return f"AWS4-HMAC-SHA256 Credential={auth.scope(request)}, SignedHeaders={';'.join(names)}, Signature={signature}"


@pytest.mark.parametrize(
    ("provider", "model", "path", "service"),
    [
        ("bedrock", "us.amazon.nova-lite-v1:0", "/model/us.amazon.nova-lite-v1%3A0/converse", "bedrock"),
        (
            "bedrock",
            "arn:aws:bedrock:eu-central-1:1:application-inference-profile/x",
            "/model/arn%3Aaws%3Abedrock%3Aeu-central-1%3A1%3Aapplication-inference-profile%2Fx/converse",
            "bedrock",
        ),
        ("bedrock", "openai.gpt-5.5", "/openai/v1/responses", "bedrock"),
        ("sagemaker_chat", "my-endpoint", "/endpoints/my-endpoint/invocations", "sagemaker"),
    ],
)
async def test_aws_finds_the_signature_right(provider: str, model: str, path: str, service: str) -> None:
    row = registry.get(provider)
    assert row is not None
    async with Upstream([json_answer({})]) as upstream, Transport() as client:
        placed = placement(row, model, base_url=upstream.url, settings=AWS)
        answer = await call(client, placed, provider=provider, settings=AWS)
        assert answer.status == 200
        await answer.read(1000)
        received = upstream.requests[0]
        assert received.path == path
        assert received.headers["authorization"] == by_aws(received, upstream, service=service)
        assert received.headers["x-amz-security-token"] == "session-token"
        assert received.body == BODY


async def test_bedrock_takes_a_bearer_key_as_it_is() -> None:
    row = registry.get("bedrock")
    assert row is not None
    async with Upstream([json_answer({})]) as upstream, Transport() as client:
        placed = placement(row, "us.amazon.nova-lite-v1:0", base_url=upstream.url, credential="key", settings=AWS)
        await (await call(client, placed, provider="bedrock", settings={}, credential="key")).read(1000)
        assert upstream.requests[0].headers["authorization"] == "Bearer key"
        assert "x-amz-date" not in upstream.requests[0].headers


@pytest.mark.parametrize(
    ("version", "path"),
    [
        ("", "/openai/v1/chat/completions"),
        ("2024-10-21", "/openai/deployments/my-gpt/chat/completions?api-version=2024-10-21"),
    ],
)
async def test_azure_gets_its_key_and_its_version(version: str, path: str) -> None:
    row = registry.get("azure")
    assert row is not None
    async with Upstream([json_answer({})]) as upstream, Transport() as client:
        settings = {"api_version": version}
        placed = placement(row, "my-gpt", base_url=upstream.url, credential="azure-key", settings=settings)
        answer = await call(client, placed, provider="azure", settings=settings, credential="azure-key")
        await answer.read(1000)
        received = upstream.requests[0]
        assert (received.path, received.headers["api-key"]) == (path, "azure-key")
        assert "authorization" not in received.headers


async def test_vertex_gets_the_token_that_its_token_service_gave() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    def answer(asked: Any) -> tuple[int, dict[str, Any]]:
        """As Google's: the assertion is checked by Google's own code before a token is given."""
        jwt.decode(asked.form()["assertion"], certs=public)  # type: ignore[no-untyped-call]  # google-auth is untyped
        return 200, {"access_token": "ya29.given", "expires_in": 3600}

    row = registry.get("vertex_ai")
    assert row is not None
    with TokenService(answer) as service:
        account = {
            "type": "service_account",
            "project_id": "my-project",
            "private_key_id": "1",
            "private_key": private.decode(),
            "client_email": "robot@example.iam.gserviceaccount.com",
            "token_uri": service.url,
        }
        settings = {"vertex_credentials": json.dumps(account), "vertex_location": "europe-west4"}
        async with Upstream([json_answer({})]) as upstream, Transport() as client:
            placed = placement(row, "claude-sonnet-4-5@20250929", base_url=f"{upstream.url}/below", settings=settings)
            await (await call(client, placed, provider="vertex_ai", settings=settings)).read(1000)
            received = upstream.requests[0]
    assert received.headers["authorization"] == "Bearer ya29.given"
    assert received.path == (
        "/below/v1/projects/my-project/locations/europe-west4/publishers/anthropic/models/"
        "claude-sonnet-4-5@20250929:rawPredict"
    )


def prediction(upstream_url: str, status: str, **more: Any) -> dict[str, Any]:
    urls = {"get": f"{upstream_url}/v1/predictions/p1", "stream": f"{upstream_url}/stream/p1"}
    return {"id": "p1", "model": "meta/llama-2-70b-chat", "status": status, "urls": urls, **more}


async def test_a_replicate_prediction_is_made_and_polled() -> None:
    row = registry.get("replicate")
    assert row is not None
    script: list[Behaviour | early] = []
    async with Upstream(script) as upstream, Transport() as client:
        script.extend(
            [
                json_answer(prediction(upstream.url, "starting"), status=201),
                json_answer(prediction(upstream.url, "processing")),
                json_answer(prediction(upstream.url, "succeeded", output=["Hel", "lo"])),
            ]
        )
        placed = placement(row, "meta/llama-2-70b-chat", base_url=f"{upstream.url}/v1", credential="r8_key")
        answer = await call(client, placed, provider="replicate", settings={}, credential="r8_key")
        body = await answer.read(100_000)
        tries = 0
        while (step := follow(body, stream=False, tries=tries)) is not None:
            answer = await call(
                client, placed, provider="replicate", settings={}, credential="r8_key",
                url=placed.base_url + step.url, method=step.method, body=b"",
            )  # fmt: skip
            body = await answer.read(100_000)
            tries += 1
        assert json.loads(body)["output"] == ["Hel", "lo"]
        asked = [(received.method, received.path) for received in upstream.requests]
        assert asked == [
            ("POST", "/v1/models/meta/llama-2-70b-chat/predictions"),
            ("GET", "/v1/predictions/p1"),
            ("GET", "/v1/predictions/p1"),
        ]
        assert {received.headers["authorization"] for received in upstream.requests} == {"Bearer r8_key"}


async def test_a_replicate_prediction_is_streamed_where_it_says() -> None:
    row = registry.get("replicate")
    assert row is not None
    script: list[Behaviour | early] = []
    async with Upstream(script) as upstream, Transport() as client:
        script.extend(
            [
                json_answer(prediction(upstream.url, "starting"), status=201),
                sse(b"event: output\ndata: Hel\n\n", b"event: output\ndata: lo\n\n", b"event: done\ndata: {}\n\n"),
            ]
        )
        placed = placement(row, "meta/llama-2-70b-chat", base_url=f"{upstream.url}/v1", credential="r8_key")
        answer = await call(client, placed, provider="replicate", settings={}, credential="r8_key")
        step = follow(await answer.read(100_000), stream=True, tries=0)
        assert step is not None
        answer = await call(
            client, placed, provider="replicate", settings={}, credential="r8_key",
            url=step.url, method=step.method, body=b"",
        )  # fmt: skip
        splitter, decoder = Splitter(), Decoder()
        deltas = [delta for event in splitter.feed(await answer.read(100_000)) for delta in decoder.feed(parse(event))]
        assert "".join(delta.text for delta in deltas if isinstance(delta, BlockDelta)) == "Hello"
