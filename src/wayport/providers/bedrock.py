"""Amazon Bedrock and SageMaker: Signature Version 4 over botocore's whole credential chain, or a bearer key; regions and profiles."""

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from msgspec import structs

from wayport.core.errors import CredentialMissing
from wayport.providers.provider import AuthStyle, Behaviour, Outgoing, Placement
from wayport.providers.tokens import extra_missing, refused

_REGION_SEGMENT = re.compile(r"(?P<region>[a-z]{2}(?:-[a-z]+)+-\d)/(?P<model>.+)")
_ARN = re.compile(r"arn:aws[^:]*:[^:]+:(?P<region>[a-z0-9-]+):")
_OPEN = "{aws_region_name}"
_MODEL_PATH = re.compile(r"^/model/(?P<model>.+)/(?P<verb>[a-z-]+)$")


def place(placement: Placement, credential: str, settings: Mapping[str, str]) -> Placement:
    model = placement.model
    region = settings.get("aws_region_name") or ""
    if segment := _REGION_SEGMENT.fullmatch(model):
        region, model = segment["region"], segment["model"]
    elif not region and (arn := _ARN.match(model)):
        region = arn["region"]
    region = region or profile_region(settings)
    base = settings.get("aws_bedrock_runtime_endpoint") or placement.base_url
    if region:
        base = base.replace(_OPEN, region)
        if region.startswith("cn-"):
            base = re.sub(r"\.amazonaws\.com$", ".amazonaws.com.cn", base)
    placed = structs.replace(placement, model=model, base_url=base.rstrip("/"))
    if credential:
        return structs.replace(placed, auth=AuthStyle(), signed=False)
    return structs.replace(placed, auth=AuthStyle(where="none"), signed=True)


def profile_region(settings: Mapping[str, str]) -> str:
    """The region of the AWS profile in use; empty without botocore. Reads AWS's own configuration file."""
    try:
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415 (heavy and optional)
        from botocore.session import Session  # noqa: PLC0415 (as above)
    except ImportError:
        return ""
    try:
        return Session(profile=settings.get("aws_profile_name")).get_config_variable("region") or ""
    except BotoCoreError:
        return ""


class SigV4Signer:
    """Signs with AWS credentials, wherever botocore finds them: settings, environment, profile, SSO, role, instance."""

    service = "bedrock"

    def __init__(self, settings: Mapping[str, str]) -> None:
        self._settings = dict(settings)
        self._source: Any = None
        self._frozen: Any = None
        self._region = settings.get("aws_region_name") or ""
        self._loading = asyncio.Lock()

    async def sign(self, outgoing: Outgoing) -> None:
        frozen = await self._credentials()
        from botocore.auth import SigV4Auth  # noqa: PLC0415 (heavy and optional; already loaded by now)
        from botocore.awsrequest import AWSRequest  # noqa: PLC0415 (as above)

        region = self._region_of(outgoing.url)
        outgoing.url = quoted(outgoing.url)
        # Signed is what no later hand changes: the host, the body's type, and AWS's own headers.
        signed = {
            name: value
            for name, value in outgoing.headers.items()
            if name.lower() == "content-type" or name.lower().startswith("x-amz-")
        }
        request = AWSRequest(method=outgoing.method, url=outgoing.url, data=outgoing.body, headers=signed)
        SigV4Auth(frozen, self.service, region).add_auth(request)
        for name in ("Authorization", "X-Amz-Date", "X-Amz-Security-Token"):
            if name in request.headers:
                outgoing.headers[name.lower()] = request.headers[name]

    def _region_of(self, url: str) -> str:
        host = urlsplit(url).hostname or ""
        named = re.search(r"\.([a-z]{2}(?:-[a-z]+)+-\d)\.", host)
        region = named[1] if named else self._region
        if not region:
            raise CredentialMissing(
                "No AWS region: set AWS_REGION or `aws_region_name`", code="setting_missing", param="aws_region_name"
            )
        return region

    async def _credentials(self) -> Any:
        source = self._source
        if source is None or (hasattr(source, "refresh_needed") and source.refresh_needed()):
            async with self._loading:
                # botocore's chain may ask files, processes, STS or the instance's metadata: never on the loop.
                self._frozen = await asyncio.to_thread(self._load)
        return self._frozen

    def _load(self) -> Any:
        try:
            from botocore import exceptions  # noqa: PLC0415 (heavy and optional: loaded when a deployment wants it)
            from botocore.session import Session  # noqa: PLC0415 (as above)
        except ImportError:
            raise extra_missing("aws", "Signing requests for AWS") from None
        try:
            if self._source is None:
                session = Session(profile=self._settings.get("aws_profile_name"))
                self._source = _source(session, self._settings)
                self._region = self._region or session.get_config_variable("region") or ""
            if self._source is None:
                raise CredentialMissing(
                    "No AWS credentials found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, "
                    "a role, or AWS_BEARER_TOKEN_BEDROCK",
                    param="AWS_ACCESS_KEY_ID",
                )
            return self._source.get_frozen_credentials()
        except (exceptions.BotoCoreError, exceptions.ClientError) as error:
            secret = self._settings.get("aws_secret_access_key", "")
            raise refused("AWS gave no credentials", error, secret) from None


def quoted(url: str) -> str:
    """The URL with a model that holds slashes or colons (an ARN) as one path segment, as AWS's own SDKs write it."""
    split = urlsplit(url)
    found = _MODEL_PATH.match(split.path)
    if found is None:
        return url
    model = quote(unquote(found["model"]), safe="")
    return split._replace(path=f"/model/{model}/{found['verb']}").geturl()


def _source(session: Any, settings: Mapping[str, str]) -> Any:
    """Where credentials come from: static ones of the settings, botocore's chain, and a role to assume over either."""
    from botocore import credentials  # noqa: PLC0415 (heavy and optional; already loaded by now)

    key, secret = settings.get("aws_access_key_id"), settings.get("aws_secret_access_key")
    if key and secret:
        base = credentials.Credentials(key, secret, settings.get("aws_session_token"))
    else:
        base = session.get_credentials()
    role = settings.get("aws_role_name")
    if not role:
        return base
    extra = {"RoleSessionName": settings.get("aws_session_name") or "wayport"}
    if external := settings.get("aws_external_id"):
        extra["ExternalId"] = external
    creator = _client_creator(session, settings)
    if identity := settings.get("aws_web_identity_token"):
        fetcher = credentials.AssumeRoleWithWebIdentityCredentialFetcher(
            client_creator=creator,
            web_identity_token_loader=lambda: _token_text(identity),
            role_arn=role,
            extra_args=extra,
        )
    else:
        fetcher = credentials.AssumeRoleCredentialFetcher(
            client_creator=creator, source_credentials=base, role_arn=role, extra_args=extra
        )
    return credentials.DeferredRefreshableCredentials(refresh_using=fetcher.fetch_credentials, method="assume-role")


def _client_creator(session: Any, settings: Mapping[str, str]) -> Callable[..., Any]:
    def create(service: str, **options: Any) -> Any:
        options.setdefault("region_name", settings.get("aws_region_name"))
        if endpoint := settings.get("aws_sts_endpoint"):
            options["endpoint_url"] = endpoint
        return session.create_client(service, **options)

    return create


def _token_text(identity: str) -> str:
    """A web identity token given as itself or as the file that holds it."""
    if identity.startswith("eyJ"):
        return identity
    try:
        with open(identity, encoding="utf-8") as file:  # noqa: PTH123 (a thread of botocore's; plain reading)
            return file.read().strip()
    except OSError as error:
        raise CredentialMissing(f"The web identity token cannot be read: {error}") from None


class MantleSigner(SigV4Signer):
    service = "bedrock-mantle"


class SageMakerSigner(SigV4Signer):
    service = "sagemaker"


behaviour = Behaviour(place=place, signer=SigV4Signer, extra="aws")
mantle = Behaviour(place=place, signer=MantleSigner, extra="aws")
sagemaker = Behaviour(place=place, signer=SageMakerSigner, extra="aws")
