"""Microsoft Entra ID through the real azure-identity: a token authority, a managed identity and a federated token on loopback."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.gateway import gateway
from tests.fakes.token_service import Answer, Asked, TokenService
from tests.fakes.upstream import Authority, Upstream, json_answer

from wayport.core.errors import UpstreamFault
from wayport.providers.azure import EntraSigner
from wayport.providers.provider import Outgoing

pytest.importorskip("azure.identity")

TENANT = "11111111-2222-3333-4444-555555555555"
CLIENT = "66666666-7777-8888-9999-000000000000"
SECRET = "a-client-secret-of-the-test"


@pytest.fixture(autouse=True)
def _no_identity_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "MSI_ENDPOINT", "AZURE_AUTHORITY_HOST"):
        monkeypatch.delenv(name, raising=False)
    # The chain looks for tools of developers, too.
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture(scope="module")
def authority() -> Iterator[Authority]:
    made = Authority()
    yield made
    made.close()


def entra(asked: Asked) -> Answer:
    """A token authority as its documentation has it: its description, and tokens that say whom they are for."""
    if asked.method == "GET":
        base = f"https://{asked.headers['host']}/{TENANT}"
        return 200, {
            "issuer": f"{base}/v2.0",
            "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
            "token_endpoint": f"{base}/oauth2/v2.0/token",
        }
    form = asked.form()
    if form.get("client_secret", SECRET) != SECRET:
        words = f"AADSTS7000215: Invalid client secret provided: {form['client_secret']}"
        return 401, {"error": "invalid_client", "error_description": words}
    return 200, {"token_type": "Bearer", "expires_in": 3600, "access_token": f"token for {form['scope'].split()[0]}"}


def signed() -> Outgoing:
    return Outgoing(method="POST", url="https://res.openai.azure.com", headers={}, body=b"")


@pytest.fixture
def service(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[TokenService]:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", authority.ca_file)
    with TokenService(entra, tls=authority.server("127.0.0.1")) as made:
        yield made


async def test_a_service_principal_gets_a_token_of_its_authority(service: TokenService) -> None:
    settings = {
        "tenant_id": TENANT, "client_id": CLIENT, "client_secret": SECRET, "azure_authority_host": service.url,
    }  # fmt: skip
    signer = EntraSigner(settings)
    for _ in range(2):
        outgoing = signed()
        await signer.sign(outgoing)
        assert outgoing.headers["authorization"] == "Bearer token for https://cognitiveservices.azure.com/.default"
    tokens = [asked for asked in service.asked if asked.method == "POST"]
    assert len(tokens) == 1
    assert (tokens[0].form()["client_id"], tokens[0].form()["grant_type"]) == (CLIENT, "client_credentials")


async def test_a_wrong_secret_is_the_credentials_fault_and_stays_secret(service: TokenService) -> None:
    settings = {
        "tenant_id": TENANT, "client_id": CLIENT, "client_secret": "a-wrong-secret-of-somebody",
        "azure_authority_host": service.url,
    }  # fmt: skip
    with pytest.raises(UpstreamFault) as failed:
        await EntraSigner(settings).sign(signed())
    assert failed.value.fault.kind == "authentication"
    assert "AADSTS7000215" in failed.value.fault.message
    assert "a-wrong-secret-of-somebody" not in str(failed.value)


async def test_a_federated_token_of_a_workload_becomes_one(service: TokenService, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("the-token-of-the-cluster")
    settings = {
        "tenant_id": TENANT, "client_id": CLIENT, "azure_authority_host": service.url, "azure_scope": "https://mine/.default",
        "azure_federated_token_file": str(file),
    }  # fmt: skip
    outgoing = signed()
    await EntraSigner(settings).sign(outgoing)
    assert outgoing.headers["authorization"] == "Bearer token for https://mine/.default"
    form = next(asked for asked in service.asked if asked.method == "POST").form()
    assert (form["client_assertion"], form["client_id"]) == ("the-token-of-the-cluster", CLIENT)


async def test_a_managed_identity_is_asked_where_the_machine_says(monkeypatch: pytest.MonkeyPatch) -> None:
    def identity(asked: Asked) -> Answer:
        if asked.headers.get("x-identity-header") != "the-header":
            return 401, {}
        return 200, {
            "access_token": "token of the machine",
            "expires_on": "4000000000",
            "resource": "r",
            "token_type": "Bearer",
        }

    with TokenService(identity) as service:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{service.url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", "the-header")
        outgoing = signed()
        await EntraSigner({"use_entra_id": "true", "client_id": CLIENT}).sign(outgoing)
        assert outgoing.headers["authorization"] == "Bearer token of the machine"
        assert f"client_id={CLIENT}" in service.asked[0].path
        assert "resource=https://cognitiveservices.azure.com" in service.asked[0].path


async def test_a_call_is_signed_from_the_configuration_on(service: TokenService) -> None:
    chat = {
        "id": "c1", "object": "chat.completion", "created": 1, "model": "up",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
    }  # fmt: skip
    async with Upstream(json_answer(chat)) as upstream:
        config = f"""
providers:
  azure:
    base_url: "{upstream.url}"
    settings: {{tenant_id: "{TENANT}", client_id: "{CLIENT}", client_secret: {SECRET}, azure_authority_host: "{service.url}"}}
models: {{m: azure/my-gpt}}
"""
        async with gateway(config) as wayport:
            answered = await wayport.ask({"model": "m", "messages": [{"role": "user", "content": "Hello"}]})
            assert answered.status_code == 200, answered.text
        assert (
            upstream.requests[0].headers["authorization"]
            == "Bearer token for https://cognitiveservices.azure.com/.default"
        )
        assert "api-key" not in upstream.requests[0].headers
