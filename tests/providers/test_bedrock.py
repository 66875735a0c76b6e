"""Bedrock: where it is, who signs, and that AWS's own code finds the signature right."""

import hashlib
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from wayport.core.errors import CredentialMissing
from wayport.providers import registry
from wayport.providers.bedrock import SigV4Signer, quoted
from wayport.providers.placement import placement
from wayport.providers.provider import Outgoing, Placement, Provider

KEY, SECRET, SESSION = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG", "session-token"
STATIC = {
    "aws_access_key_id": KEY,
    "aws_secret_access_key": SECRET,
    "aws_session_token": SESSION,
    "aws_region_name": "eu-central-1",
}


@pytest.fixture(autouse=True)
def no_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Whatever the machine has of AWS's configuration is not seen."""
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def bedrock() -> Provider:
    provider = registry.get("bedrock")
    assert provider is not None
    return provider


def placed(model: str = "m", *, credential: str = "", **settings: str) -> Placement:
    return placement(bedrock(), model, credential=credential, settings=settings)


def signature_of(outgoing: Outgoing, region: str) -> str:
    """The `authorization` that botocore makes of what was sent, over exactly the headers named as signed."""
    given = outgoing.headers["authorization"]
    names = given.partition("SignedHeaders=")[2].partition(",")[0].split(";")
    headers = {name: outgoing.headers[name] for name in names if name != "host"}
    request = AWSRequest(method=outgoing.method, url=outgoing.url, data=outgoing.body, headers=headers)
    request.context["timestamp"] = outgoing.headers["x-amz-date"]
    auth = SigV4Auth(Credentials(KEY, SECRET, SESSION), "bedrock", region)
    signature = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    scope = auth.scope(request)
    return f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={';'.join(names)}, Signature={signature}"


@pytest.mark.parametrize(
    "model",
    [
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "arn:aws:bedrock:eu-central-1:123456789012:application-inference-profile/abc",
    ],
)
async def test_botocore_finds_the_signature_right(model: str) -> None:
    placement = placed(model, **STATIC)
    outgoing = Outgoing(
        method="POST",
        url=placement.base_url + placement.paths["chat"].replace("{model}", model),
        headers={"content-type": "application/json", "accept": "application/json"},
        body=b'{"messages":[]}',
    )
    await SigV4Signer(STATIC).sign(outgoing)
    assert outgoing.headers["authorization"] == signature_of(outgoing, "eu-central-1")
    assert outgoing.headers["x-amz-security-token"] == SESSION
    outgoing.body = b'{"messages":[1]}'
    assert outgoing.headers["authorization"] != signature_of(outgoing, "eu-central-1")


async def test_only_what_nobody_changes_later_is_signed() -> None:
    outgoing = Outgoing(
        method="POST",
        url="https://bedrock-runtime.eu-central-1.amazonaws.com/model/m/converse",
        headers={"content-type": "application/json", "user-agent": "x", "accept-encoding": "identity"},
        body=b"{}",
    )
    await SigV4Signer(STATIC).sign(outgoing)
    assert "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token," in outgoing.headers["authorization"]


def test_a_model_with_slashes_is_one_segment() -> None:
    url = "https://h/model/arn:aws:bedrock:us-east-1:1:inference-profile/x/converse-stream"
    encoded = "https://h/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fx/converse-stream"
    assert quoted(url) == encoded
    assert quoted(encoded) == encoded
    assert quoted("https://h/openai/v1/responses") == "https://h/openai/v1/responses"


@pytest.mark.parametrize(
    ("model", "settings", "host", "name"),
    [
        ("m", {"aws_region_name": "us-west-2"}, "bedrock-runtime.us-west-2.amazonaws.com", "m"),
        ("eu-west-3/m", {"aws_region_name": "us-west-2"}, "bedrock-runtime.eu-west-3.amazonaws.com", "m"),
        ("m", {"aws_region_name": "cn-north-1"}, "bedrock-runtime.cn-north-1.amazonaws.com.cn", "m"),
        (
            "arn:aws:bedrock:ap-south-1:1:inference-profile/x",
            {},
            "bedrock-runtime.ap-south-1.amazonaws.com",
            "arn:aws:bedrock:ap-south-1:1:inference-profile/x",
        ),
    ],
)
def test_the_region_comes_from_model_or_settings(model: str, settings: dict[str, str], host: str, name: str) -> None:
    placement = placed(model, **settings)
    assert (placement.base_url, placement.model) == (f"https://{host}", name)
    assert placement.signed
    assert placement.missing == ()


def test_the_region_of_the_aws_profile_counts(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "aws"
    config.write_text("[profile work]\nregion = sa-east-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    assert placed(aws_profile_name="work").base_url == "https://bedrock-runtime.sa-east-1.amazonaws.com"


def test_a_missing_region_is_named() -> None:
    assert "AWS_REGION" in placed().missing


def test_an_own_endpoint_is_kept() -> None:
    placement = placed(aws_region_name="us-east-1", aws_bedrock_runtime_endpoint="http://127.0.0.1:1/x/")
    assert placement.base_url == "http://127.0.0.1:1/x"


def test_a_bearer_key_needs_no_signature() -> None:
    placement = placed(credential="bedrock-api-key", aws_region_name="us-east-1")
    assert not placement.signed
    assert placement.auth.prefix == "Bearer "


@pytest.mark.parametrize(
    ("model", "dialect", "path"),
    [
        ("us.amazon.nova-lite-v1:0", "bedrock_converse", "/model/{model}/converse"),
        ("converse/us.amazon.nova-lite-v1:0", "bedrock_converse", "/model/{model}/converse"),
        ("openai.gpt-5.5", "openai_responses", "/openai/v1/responses"),
    ],
)
def test_the_api_follows_the_model(model: str, dialect: str, path: str) -> None:
    placement = placed(model, aws_region_name="us-east-1")
    assert (placement.dialect, placement.paths["chat"]) == (dialect, path)


async def test_no_credentials_anywhere_is_said() -> None:
    outgoing = Outgoing(method="POST", url="https://h.us-east-1.amazonaws.com/x", headers={}, body=b"")
    with pytest.raises(CredentialMissing, match="AWS_ACCESS_KEY_ID"):
        await SigV4Signer({}).sign(outgoing)


async def test_credentials_of_a_profile_are_found(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "shared"
    path.write_text(f"[work]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    outgoing = Outgoing(method="POST", url="https://h.us-east-1.amazonaws.com/x", headers={}, body=b"")
    await SigV4Signer({"aws_profile_name": "work"}).sign(outgoing)
    assert f"Credential={KEY}/" in outgoing.headers["authorization"]
    assert hashlib.sha256(b"").hexdigest() not in outgoing.headers["authorization"]


async def test_a_role_is_assumed_over_the_base_credentials() -> None:
    from tests.fakes.token_service import TokenService

    def sts(asked: Any) -> Any:
        return 200, {}

    answer = (
        "<AssumeRoleResponse xmlns='https://sts.amazonaws.com/doc/2011-06-15/'><AssumeRoleResult><Credentials>"
        "<AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>"
        "<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
    )
    with TokenService(sts, text=answer) as service:
        settings = {**STATIC, "aws_role_name": "arn:aws:iam::1:role/r", "aws_sts_endpoint": service.url}
        outgoing = Outgoing(method="POST", url="https://h.us-east-1.amazonaws.com/x", headers={}, body=b"")
        await SigV4Signer(settings).sign(outgoing)
        assert service.asked[0].form()["Action"] == "AssumeRole"
    assert "Credential=ASIAROLE/" in outgoing.headers["authorization"]
    assert outgoing.headers["x-amz-security-token"] == "t"
