"""Azure: two generations of addresses, three ways to present a credential."""

import sys
from types import ModuleType
from typing import Any, ClassVar, NamedTuple

import pytest

from wayport.core.errors import CredentialMissing, UpstreamFault
from wayport.providers import registry
from wayport.providers.azure import EntraSigner
from wayport.providers.placement import placement
from wayport.providers.provider import Outgoing, Placement

BASE = "https://res.openai.azure.com"
DATED = "2024-10-21"


def placed(base: str, model: str = "my-gpt", *, provider: str = "azure", key: str = "k", **settings: str) -> Placement:
    found = registry.get(provider)
    assert found is not None
    return placement(found, model, base_url=base, credential=key, settings=settings)


def chat_url(placement: Placement) -> str:
    return placement.base_url + placement.paths["chat"]


@pytest.mark.parametrize(
    ("base", "version", "url"),
    [
        (BASE, "", f"{BASE}/openai/v1/chat/completions"),
        (f"{BASE}/", "v1", f"{BASE}/openai/v1/chat/completions"),
        (f"{BASE}/openai/v1", "", f"{BASE}/openai/v1/chat/completions"),
        (f"{BASE}/openai/v1/", DATED, f"{BASE}/openai/v1/chat/completions"),
        (BASE, "preview", f"{BASE}/openai/v1/chat/completions?api-version=preview"),
        (BASE, DATED, f"{BASE}/openai/deployments/my-gpt/chat/completions?api-version={DATED}"),
        (f"{BASE}/openai", DATED, f"{BASE}/openai/deployments/my-gpt/chat/completions?api-version={DATED}"),
        (
            f"{BASE}/openai/deployments/other/chat/completions?api-version={DATED}",
            "",
            f"{BASE}/openai/deployments/other/chat/completions?api-version={DATED}",
        ),
        (
            "https://gw.example.com/apim",
            DATED,
            f"https://gw.example.com/apim/openai/deployments/my-gpt/chat/completions?api-version={DATED}",
        ),
    ],
)
def test_the_api_version_chooses_the_address(base: str, version: str, url: str) -> None:
    assert chat_url(placed(base, api_version=version)) == url


def test_responses_live_in_the_v1_api() -> None:
    assert placed(BASE, api_version=DATED).paths["responses"] == "/openai/v1/responses"


def test_a_deployment_behaves_as_its_base_model() -> None:
    provider = registry.get("azure")
    assert provider is not None
    mine = placement(provider, "my-o3", base_url=BASE, credential="k", base_model="azure/o3-mini")
    assert mine.profile.max_tokens_field == "max_completion_tokens"
    assert mine.model == "my-o3"


def test_a_key_goes_into_the_key_header() -> None:
    assert (placed(BASE).auth.name, placed(BASE).auth.prefix) == ("api-key", "")


def test_a_token_given_as_a_setting_is_a_bearer() -> None:
    placement = placed(BASE, key="", azure_ad_token="entra-token")
    assert placement.credential is not None
    assert placement.credential.reveal() == "entra-token"
    assert placement.auth.prefix == "Bearer "
    assert "entra-token" not in repr(placement)


def test_a_service_principal_is_signed() -> None:
    assert placed(BASE, key="", tenant_id="t", client_id="c", client_secret="s").signed


def test_what_is_missing_is_named_in_turn() -> None:
    assert "AZURE_API_BASE" in placed("").missing
    assert "AZURE_API_KEY" in placed(BASE, key="").missing
    assert placed(BASE).missing == ()


@pytest.mark.parametrize(
    ("base", "model", "url", "header"),
    [
        (
            "https://r.services.ai.azure.com",
            "DeepSeek-V3",
            "https://r.services.ai.azure.com/openai/v1/chat/completions",
            "api-key",
        ),
        (
            "https://r.services.ai.azure.com/models",
            "DeepSeek-V3",
            "https://r.services.ai.azure.com/models/chat/completions?api-version=2024-05-01-preview",
            "api-key",
        ),
        (
            "https://x.eastus2.models.ai.azure.com",
            "Mistral",
            "https://x.eastus2.models.ai.azure.com/v1/chat/completions",
            "authorization",
        ),
        (
            "https://r.services.ai.azure.com",
            "claude-sonnet-4-5",
            "https://r.services.ai.azure.com/anthropic/v1/messages",
            "x-api-key",
        ),
    ],
)
def test_foundry_has_an_api_per_kind_of_model(base: str, model: str, url: str, header: str) -> None:
    placement = placed(base, model, provider="azure_ai")
    assert (chat_url(placement), placement.auth.name) == (url, header)


class AccessToken(NamedTuple):
    token: str
    expires_on: int


class FakeCredential:
    """Stands for a class of azure-identity: remembers how it was made, hands out one token or raises."""

    made: ClassVar[list[tuple[Any, ...]]] = []
    refuse = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        FakeCredential.made.append((args, kwargs))

    def get_token(self, scope: str) -> AccessToken:
        if FakeCredential.refuse:
            raise RuntimeError("AADSTS7000215: invalid client secret very-secret-value")
        return AccessToken(f"token for {scope}", 4_000_000_000)


@pytest.fixture
def azure_identity(monkeypatch: pytest.MonkeyPatch) -> type[FakeCredential]:
    identity: Any = ModuleType("azure.identity")
    identity.ClientSecretCredential = FakeCredential
    identity.DefaultAzureCredential = FakeCredential
    identity.UsernamePasswordCredential = FakeCredential
    monkeypatch.setitem(sys.modules, "azure", ModuleType("azure"))
    monkeypatch.setitem(sys.modules, "azure.identity", identity)
    monkeypatch.setattr(FakeCredential, "made", [])
    monkeypatch.setattr(FakeCredential, "refuse", False)
    return FakeCredential


def request() -> Outgoing:
    return Outgoing(method="POST", url=BASE, headers={}, body=b"")


async def test_entra_id_signs_with_a_bearer(azure_identity: type[FakeCredential]) -> None:
    signer = EntraSigner({"tenant_id": "t", "client_id": "c", "client_secret": "s"})
    outgoing = request()
    await signer.sign(outgoing)
    await signer.sign(request())
    assert outgoing.headers["authorization"] == "Bearer token for https://cognitiveservices.azure.com/.default"
    assert azure_identity.made == [(("t", "c", "s"), {})]


async def test_without_a_secret_the_default_chain_is_asked(azure_identity: type[FakeCredential]) -> None:
    await EntraSigner({"client_id": "managed", "azure_scope": "mine"}).sign(outgoing := request())
    assert outgoing.headers["authorization"] == "Bearer token for mine"
    assert azure_identity.made == [((), {"managed_identity_client_id": "managed"})]


async def test_a_refusal_of_entra_id_blames_the_credential(azure_identity: type[FakeCredential]) -> None:
    azure_identity.refuse = True
    signer = EntraSigner({"tenant_id": "t", "client_id": "c", "client_secret": "very-secret-value"})
    with pytest.raises(UpstreamFault) as failed:
        await signer.sign(request())
    assert failed.value.fault.kind == "authentication"
    assert "very-secret-value" not in str(failed.value)


async def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    with pytest.raises(CredentialMissing, match=r"pip install 'wayport\[azure\]'"):
        await EntraSigner({}).sign(request())
