"""The smaller ways to present a credential: exchanged tokens, marked tokens, headers that name their kind."""

import base64
from typing import Any

import pytest
from tests.fakes.token_service import TokenService

from wayport.core.errors import CredentialMissing, UpstreamFault
from wayport.providers import registry
from wayport.providers.databricks import ServicePrincipalSigner
from wayport.providers.gigachat import GigaChatSigner
from wayport.providers.github_copilot import CopilotSigner
from wayport.providers.placement import placement
from wayport.providers.provider import Outgoing, Placement
from wayport.providers.watsonx import IamSigner


def placed(name: str, model: str = "m", **given: Any) -> Placement:
    provider = registry.get(name)
    assert provider is not None
    return placement(provider, model, **given)


def request(url: str = "https://h/x") -> Outgoing:
    return Outgoing(method="POST", url=url, headers={}, body=b"")


# ------------------------------------------------------------------------------------------------------------ anthropic
@pytest.mark.parametrize(
    ("credential", "variable", "header", "beta"),
    [
        ("sk-ant-api03-x", "ANTHROPIC_API_KEY", "x-api-key", None),
        ("sk-ant-oat01-x", "ANTHROPIC_AUTH_TOKEN", "authorization", "oauth-2025-04-20"),
        ("gateway-token", "ANTHROPIC_AUTH_TOKEN", "authorization", None),
        ("gateway-key", "", "x-api-key", None),
    ],
)
def test_anthropic_takes_keys_and_bearer_tokens(credential: str, variable: str, header: str, beta: str | None) -> None:
    placement = placed("anthropic", credential=credential, credential_from=variable)
    assert placement.auth.name == header
    assert placement.headers.get("anthropic-beta") == beta
    assert placement.headers["anthropic-version"] == "2023-06-01"


# ------------------------------------------------------------------------------------------------------------ snowflake
@pytest.mark.parametrize(
    ("credential", "variable", "kind", "presented"),
    [
        ("eyJh.eyJi.c2ln", "SNOWFLAKE_JWT", "KEYPAIR_JWT", None),
        ("pat/secret-token", "", "PROGRAMMATIC_ACCESS_TOKEN", "secret-token"),
        ("eyJh.eyJi.c2ln", "SNOWFLAKE_PAT", "PROGRAMMATIC_ACCESS_TOKEN", None),
    ],
)
def test_snowflake_says_what_kind_of_token_it_is(
    credential: str, variable: str, kind: str, presented: str | None
) -> None:
    placement = placed(
        "snowflake", credential=credential, credential_from=variable, settings={"snowflake_account": "org-acc"}
    )
    assert placement.headers["x-snowflake-authorization-token-type"] == kind
    assert (placement.credential.reveal() if placement.credential else None) == presented
    assert placement.base_url == "https://org-acc.snowflakecomputing.com"


def test_snowflake_names_its_missing_account() -> None:
    assert placed("snowflake", credential="x").missing == ("SNOWFLAKE_ACCOUNT_ID", "SNOWFLAKE_ACCOUNT")


# ------------------------------------------------------------------------------------------------------------- watsonx
def test_watsonx_puts_the_project_into_the_body() -> None:
    settings = {"watsonx_project_id": "p-1", "watsonx_region_name": "eu-de"}
    placement = placed("watsonx", "ibm/granite-4", credential="k", settings=settings)
    assert placement.profile.constants == {"project_id": "p-1"}
    assert placement.profile.renames == {"model": "model_id"}
    assert placement.base_url == "https://eu-de.ml.cloud.ibm.com"
    assert placement.signed


def test_watsonx_names_its_missing_project() -> None:
    placement = placed("watsonx", credential="k", settings={"watsonx_region_name": "eu-de"})
    assert "WATSONX_PROJECT_ID" in placement.missing


def test_watsonx_on_premises_has_a_key_style_of_its_own() -> None:
    settings = {"watsonx_project_id": "p", "watsonx_zen_api_key": "zen", "watsonx_username": "me"}
    placement = placed("watsonx", base_url="https://cpd.example.com", settings=settings)
    assert placement.credential is not None
    assert base64.b64decode(placement.credential.reveal()) == b"me:zen"
    assert placement.auth.prefix == "ZenApiKey "
    assert placement.missing == ()


async def test_ibm_cloud_exchanges_the_key() -> None:
    with TokenService(lambda asked: (200, {"access_token": "iam", "expiration": 4_000_000_000})) as service:
        signer = IamSigner({"api_key": "ibm-key", "watsonx_iam_url": service.url})
        outgoing = request()
        await signer.sign(outgoing)
        assert service.asked[0].form() == {
            "grant_type": "urn:ibm:params:oauth:grant-type:apikey",
            "apikey": "ibm-key",
        }
    assert outgoing.headers["authorization"] == "Bearer iam"


# ---------------------------------------------------------------------------------------------------------- databricks
@pytest.mark.parametrize(
    "base",
    [
        "https://dbc.cloud.databricks.com",
        "dbc.cloud.databricks.com",
        "https://dbc.cloud.databricks.com/serving-endpoints",
    ],
)
def test_databricks_finds_its_serving_endpoints(base: str) -> None:
    placement = placed("databricks", base_url=base, credential="dapi")
    assert placement.base_url + placement.paths["chat"] == (
        "https://dbc.cloud.databricks.com/serving-endpoints/chat/completions"
    )


async def test_databricks_signs_in_a_service_principal() -> None:
    with TokenService(lambda asked: (200, {"access_token": "oauth", "expires_in": 3600})) as service:
        signer = ServicePrincipalSigner({"databricks_client_id": "id", "databricks_client_secret": "secret"})
        outgoing = request(f"{service.url}/serving-endpoints/chat/completions")
        await signer.sign(outgoing)
        asked = service.asked[0]
    assert asked.path == "/oidc/v1/token"
    assert asked.headers["authorization"] == f"Basic {base64.b64encode(b'id:secret').decode()}"
    assert outgoing.headers["authorization"] == "Bearer oauth"


def test_a_databricks_service_principal_is_signed() -> None:
    settings = {"databricks_client_id": "id", "databricks_client_secret": "secret"}
    assert placed("databricks", base_url="https://h", settings=settings).signed
    assert placed("databricks", base_url="https://h").missing == ("DATABRICKS_API_KEY", "DATABRICKS_TOKEN")


# -------------------------------------------------------------------------------------------------------------- copilot
async def test_copilot_buys_a_token_and_follows_its_address() -> None:
    answer = {
        "token": "tid=1",
        "expires_at": 4_000_000_000,
        "endpoints": {"api": "https://api.business.githubcopilot.com"},
    }
    with TokenService(lambda asked: (200, answer)) as service:
        signer = CopilotSigner({"api_key": "gho_oauth", "copilot_token_url": service.url})
        outgoing = request("https://api.githubcopilot.com/chat/completions")
        await signer.sign(outgoing)
        moved = request("https://relay.example.com/chat/completions")
        await signer.sign(moved)
        assert service.asked[0].headers["authorization"] == "token gho_oauth"
    assert outgoing.headers["authorization"] == "Bearer tid=1"
    assert outgoing.url == "https://api.business.githubcopilot.com/chat/completions"
    assert moved.url == "https://relay.example.com/chat/completions"


# ------------------------------------------------------------------------------------------------------------- gigachat
async def test_gigachat_exchanges_its_credentials() -> None:
    with TokenService(lambda asked: (200, {"access_token": "t", "expires_at": 4_000_000_000_000})) as service:
        outgoing = request()
        await GigaChatSigner({"api_key": "YmFzaWM=", "gigachat_auth_url": service.url}).sign(outgoing)
        asked = service.asked[0]
    assert asked.headers["authorization"] == "Basic YmFzaWM="
    assert asked.form() == {"scope": "GIGACHAT_API_PERS"}
    assert asked.headers["rquid"]
    assert outgoing.headers["authorization"] == "Bearer t"


@pytest.mark.parametrize("signer", [CopilotSigner({}), IamSigner({}), GigaChatSigner({})])
async def test_a_signer_without_a_credential_names_its_variable(
    signer: CopilotSigner | IamSigner | GigaChatSigner,
) -> None:
    with pytest.raises(CredentialMissing):
        await signer.sign(request())


@pytest.mark.parametrize("answer", [{}, {"access_token": 1}])
async def test_an_answer_without_a_token_is_malformed(answer: dict[str, Any]) -> None:
    with TokenService(lambda asked: (200, answer)) as service, pytest.raises(UpstreamFault) as failed:
        await IamSigner({"api_key": "k", "watsonx_iam_url": service.url}).sign(request())
    assert failed.value.fault.kind == "malformed"


# ---------------------------------------------------------------------------------------------------------- hugging face
@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("together/deepseek-ai/DeepSeek-R1", "deepseek-ai/DeepSeek-R1:together"),
        ("deepseek-ai/DeepSeek-R1:together", "deepseek-ai/DeepSeek-R1:together"),
        ("deepseek-ai/DeepSeek-R1", "deepseek-ai/DeepSeek-R1"),
    ],
)
def test_hugging_face_says_who_serves_after_the_name(model: str, name: str) -> None:
    assert placed("huggingface", model, credential="hf").model == name
