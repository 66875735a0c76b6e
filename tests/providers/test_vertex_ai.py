"""Vertex AI: regions, publishers, projects, and tokens that Google's own code gets and checks."""

import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt
from tests.fakes.token_service import Asked, TokenService

from wayport.core.errors import CredentialMissing, UpstreamFault
from wayport.providers import registry
from wayport.providers.placement import placement, settings_from
from wayport.providers.provider import Outgoing, Placement, Provider
from wayport.providers.vertex_ai import GoogleSigner


@pytest.fixture(autouse=True)
def no_google(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever the machine has of Google's configuration is not seen, and no metadata server is looked for."""
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def vertex() -> Provider:
    provider = registry.get("vertex_ai")
    assert provider is not None
    return provider


def placed(model: str = "gemini-2.5-pro", *, base: str | None = None, key: str = "", **settings: str) -> Placement:
    return placement(vertex(), model, base_url=base, credential=key, settings=settings)


def account(key: rsa.RSAPrivateKey, token_uri: str) -> dict[str, str]:
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "type": "service_account",
        "project_id": "from-the-credential",
        "private_key_id": "1",
        "private_key": private.decode(),
        "client_email": "robot@example.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": token_uri,
    }


@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("", "aiplatform.googleapis.com"),
        ("global", "aiplatform.googleapis.com"),
        ("europe-west4", "europe-west4-aiplatform.googleapis.com"),
        ("eu", "aiplatform.eu.rep.googleapis.com"),
    ],
)
def test_the_location_chooses_the_host(location: str, host: str) -> None:
    placement = placed(vertex_project="p", vertex_location=location)
    assert urlsplit(placement.base_url).hostname == host
    assert f"/projects/p/locations/{location or 'global'}/publishers/google/" in placement.paths["chat"]
    assert placement.signed
    assert placement.missing == ()


@pytest.mark.parametrize(
    ("model", "dialect", "path"),
    [
        ("gemini-2.5-pro", "gemini_content", "publishers/google/models/{model}:generateContent"),
        ("claude-sonnet-4-5@20250929", "anthropic_messages", "publishers/anthropic/models/{model}:rawPredict"),
        ("mistral-medium-3", "openai_chat", "publishers/mistralai/models/{model}:rawPredict"),
        ("meta/llama-4-maverick-17b-128e-instruct-maas", "openai_chat", "endpoints/openapi/chat/completions"),
        ("1234567890", "gemini_content", "endpoints/{model}:generateContent"),
    ],
)
def test_each_publisher_has_its_api(model: str, dialect: str, path: str) -> None:
    placement = placed(model, vertex_project="p")
    assert placement.dialect == dialect
    assert placement.paths["chat"].endswith(path)


def test_claude_on_vertex_names_its_version_in_the_body_and_its_model_in_the_path() -> None:
    for model in ("claude-3-5-haiku@20241022", "claude-sonnet-4@20250514", "claude-opus-4-8"):
        profile = placed(model, vertex_project="p").profile
        assert profile.constants == {"anthropic_version": "vertex-2023-10-16"}
        assert not profile.model_in_body


def test_an_own_address_keeps_the_path_below_it() -> None:
    placement = placed(base="http://127.0.0.1:8080/vertex", vertex_project="p", vertex_location="us-east5")
    assert placement.base_url == "http://127.0.0.1:8080/vertex"
    assert placement.paths["chat"].startswith("/v1beta1/projects/p/locations/us-east5/")


def test_settings_come_from_the_variables_that_people_use() -> None:
    env = {"GOOGLE_CLOUD_PROJECT": "g", "GOOGLE_CLOUD_LOCATION": "l", "GOOGLE_APPLICATION_CREDENTIALS": "/f"}
    settings = settings_from(vertex(), {}, env)
    assert settings == {"vertex_project": "g", "vertex_location": "l", "vertex_credentials": "/f"}
    assert settings_from(vertex(), {}, {**env, "VERTEXAI_PROJECT": "v"})["vertex_project"] == "v"
    assert settings_from(vertex(), {"vertex_project": "mine"}, env)["vertex_project"] == "mine"


def test_an_api_key_needs_no_project() -> None:
    placement = placed(key="AIzaKey")
    assert not placement.signed
    assert placement.auth.name == "x-goog-api-key"
    assert placement.paths["chat"] == "/v1beta1/publishers/google/models/{model}:generateContent"


async def test_a_service_account_buys_a_token_at_its_own_address(key: rsa.RSAPrivateKey) -> None:
    with TokenService(lambda asked: (200, {"access_token": "ya29.token", "expires_in": 3600})) as service:
        credentials = json.dumps(account(key, f"{service.url}/token"))
        placement = placed(vertex_credentials=credentials)
        outgoing = Outgoing(method="POST", url=placement.base_url + placement.paths["chat"], headers={}, body=b"")
        signer = GoogleSigner({"vertex_credentials": credentials})
        await signer.sign(outgoing)
        await signer.sign(Outgoing(method="POST", url="https://h", headers={}, body=b""))
        assert len(service.asked) == 1
        form = service.asked[0].form()
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    claims: Any = jwt.decode(form["assertion"], certs=public, audience="https://oauth2.googleapis.com/token")  # type: ignore[no-untyped-call]  # google-auth is untyped
    assert claims["iss"] == "robot@example.iam.gserviceaccount.com"
    assert claims["scope"] == "https://www.googleapis.com/auth/cloud-platform"
    assert outgoing.headers["authorization"] == "Bearer ya29.token"
    assert "/projects/from-the-credential/locations/global/" in outgoing.url


async def test_credentials_in_a_file_tell_the_project_too(key: rsa.RSAPrivateKey, tmp_path: Path) -> None:
    with TokenService(lambda asked: (200, {"access_token": "t", "expires_in": 3600})) as service:
        path = tmp_path / "account.json"
        path.write_text(json.dumps(account(key, service.url)))
        placement = placed(vertex_credentials=str(path))
        outgoing = Outgoing(method="POST", url=placement.base_url + placement.paths["chat"], headers={}, body=b"")
        await GoogleSigner({"vertex_credentials": str(path)}).sign(outgoing)
    assert "/projects/from-the-credential/" in outgoing.url


async def test_workload_identity_exchanges_the_token_of_a_file(tmp_path: Path) -> None:
    def answer(asked: Asked) -> tuple[int, dict[str, Any]]:
        return 200, {
            "access_token": "federated",
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "token_type": "Bearer",
            "expires_in": 3600,
        }

    subject = tmp_path / "token"
    subject.write_text("the pod's token")
    with TokenService(answer) as service:
        credentials = {
            "type": "external_account",
            "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": f"{service.url}/v1/token",
            "credential_source": {"file": str(subject)},
        }
        outgoing = Outgoing(method="POST", url="https://h", headers={}, body=b"")
        await GoogleSigner({"vertex_credentials": json.dumps(credentials), "vertex_project": "p"}).sign(outgoing)
        assert service.asked[0].form()["subject_token"] == "the pod's token"
    assert outgoing.headers["authorization"] == "Bearer federated"


async def test_a_refused_account_blames_the_credential(key: rsa.RSAPrivateKey) -> None:
    with TokenService(lambda asked: (400, {"error": "invalid_grant"})) as service:
        signer = GoogleSigner({"vertex_credentials": json.dumps(account(key, service.url))})
        with pytest.raises(UpstreamFault) as failed:
            await signer.sign(Outgoing(method="POST", url="https://h", headers={}, body=b""))
    assert failed.value.fault.kind == "authentication"


@pytest.mark.parametrize(
    ("credentials", "said"),
    [
        ("/no/such/file.json", "cannot be read"),
        ('{"type": "carrier_pigeon"}', "carrier_pigeon"),
        ("{not json", "no JSON"),
    ],
)
async def test_credentials_that_are_none_are_said_to_be(credentials: str, said: str) -> None:
    with pytest.raises(CredentialMissing, match=said):
        await GoogleSigner({"vertex_credentials": credentials}).sign(
            Outgoing(method="POST", url="https://h", headers={}, body=b"")
        )


async def test_no_credentials_anywhere_is_said() -> None:
    with pytest.raises(CredentialMissing, match="GOOGLE_APPLICATION_CREDENTIALS"):
        await GoogleSigner({}).sign(Outgoing(method="POST", url="https://h", headers={}, body=b""))


async def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google.auth.transport.requests", None)
    with pytest.raises(CredentialMissing, match=r"pip install 'wayport\[google\]'"):
        await GoogleSigner({}).sign(Outgoing(method="POST", url="https://h", headers={}, body=b""))
