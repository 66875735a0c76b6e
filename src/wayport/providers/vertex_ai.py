"""Google Vertex AI: Google, Anthropic, Mistral and open models behind one project, with Google's own credentials."""

import json
import re
from collections.abc import Mapping
from datetime import UTC
from pathlib import Path
from typing import Any

from msgspec import structs

from wayport.core.errors import CredentialMissing
from wayport.providers.provider import AuthStyle, Behaviour, Outgoing, Placement
from wayport.providers.tokens import RenewedToken, Token, extra_missing, refused

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)

_PROJECT = "{vertex_project}"
_LOCATION = "{vertex_location}"
_LEFT_OPEN = "{credential:project}"
"""stands in a path for the project that only the credential knows; the signer fills it"""
_MULTI_REGIONS = frozenset({"us", "eu"})
_DEFAULT_LOCATION = "global"
"""what Google's own SDK takes when none is set"""


def place(placement: Placement, credential: str, settings: Mapping[str, str]) -> Placement:
    location = settings.get("vertex_location") or _DEFAULT_LOCATION
    project = settings.get("vertex_project") or project_of(settings.get("vertex_credentials", "") or credential)
    base = placement.base_url
    if base.startswith(f"https://{_LOCATION}-"):
        base = f"https://{host_of(location)}"
    paths = {}
    for operation, path in placement.paths.items():
        paths[operation] = path.replace(_LOCATION, location).replace(_PROJECT, project or _LEFT_OPEN)
    model = placement.model.removeprefix("google/").removeprefix("anthropic/")
    if credential and not _holds_credentials(credential):
        # Express mode: an API key in place of project and location.
        paths = {name: re.sub(r"/projects/[^/]+/locations/[^/]+", "", path) for name, path in paths.items()}
        auth = AuthStyle(name="x-goog-api-key", prefix="")
        return structs.replace(
            placement, model=model, base_url=base.replace(host_of(location), host_of("global")), paths=paths,
            auth=auth, signed=False,
        )  # fmt: skip
    return structs.replace(
        placement, model=model, base_url=base, paths=paths, auth=AuthStyle(where="none"), signed=True
    )


def host_of(location: str) -> str:
    if location == "global":
        return "aiplatform.googleapis.com"
    if location in _MULTI_REGIONS:
        return f"aiplatform.{location}.rep.googleapis.com"
    return f"{location}-aiplatform.googleapis.com"


def _holds_credentials(text: str) -> bool:
    """Whether a credential is a JSON document or the name of a file, and not an API key."""
    return text.lstrip().startswith("{") or "/" in text or text.endswith(".json")


def project_of(credentials: str) -> str:
    """The project that credentials given as JSON name; empty if they name none or are given as a file."""
    if not credentials.lstrip().startswith("{"):
        return ""
    try:
        info = json.loads(credentials)
    except ValueError:
        return ""
    return str(info.get("project_id") or info.get("quota_project_id") or "") if isinstance(info, dict) else ""


class GoogleSigner:
    """Presents a Google access token: a service account, workload identity or whatever the application default is."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        given = settings.get("vertex_credentials") or settings.get("api_key") or ""
        self._given = given if _holds_credentials(given) else ""
        self._project = settings.get("vertex_project", "")
        self._source: Any = None
        self._token = RenewedToken(self._fetch)

    async def sign(self, outgoing: Outgoing) -> None:
        outgoing.headers["authorization"] = f"Bearer {await self._token.get()}"
        if quota := getattr(self._source, "quota_project_id", None):
            outgoing.headers["x-goog-user-project"] = quota
        if _LEFT_OPEN in outgoing.url:
            if not self._project:
                raise CredentialMissing(
                    "No Google Cloud project: set GOOGLE_CLOUD_PROJECT or `vertex_project`",
                    code="setting_missing",
                    param="vertex_project",
                )
            outgoing.url = outgoing.url.replace(_LEFT_OPEN, self._project)

    def _fetch(self) -> Token:
        try:
            from google.auth import exceptions  # noqa: PLC0415 (heavy and optional: loaded when a deployment wants it)
            from google.auth.transport.requests import Request  # noqa: PLC0415 (as above)
        except ImportError:
            raise extra_missing("google", "Signing in to Google Cloud") from None
        try:
            if self._source is None:
                self._source, project = _load(self._given)
                self._project = self._project or project
            self._source.refresh(Request())
        except exceptions.DefaultCredentialsError as error:
            raise CredentialMissing(
                f"No Google credentials: set GOOGLE_APPLICATION_CREDENTIALS or `vertex_credentials` ({error})",
                param="GOOGLE_APPLICATION_CREDENTIALS",
            ) from None
        except exceptions.TransportError as error:
            raise refused("Google's token service cannot be reached", error, kind="connect") from None
        except (exceptions.GoogleAuthError, ValueError) as error:
            raise refused("Google gave no access token", error, self._given) from None
        # google-auth keeps the expiry as UTC without saying so.
        return Token(self._source.token, self._source.expiry.replace(tzinfo=UTC).timestamp())


def _load(given: str) -> tuple[Any, str]:
    """Credentials and the project that they name, from a JSON document, a file, or the application default."""
    if not given:
        import google.auth  # noqa: PLC0415 (heavy and optional; already loaded by now)

        source, project = google.auth.default(scopes=SCOPES)
        return source, project or ""
    text = given
    if not given.lstrip().startswith("{"):
        try:
            text = Path(given).expanduser().read_text(encoding="utf-8")
        except OSError as error:
            raise CredentialMissing(f"The Google credentials cannot be read: {error}") from None
    try:
        info = json.loads(text)
    except ValueError:
        raise CredentialMissing("The Google credentials are no JSON document") from None
    return _from_info(info), project_of(text)


def _from_info(info: Mapping[str, Any]) -> Any:
    from google.auth import aws, identity_pool, impersonated_credentials, pluggable  # noqa: PLC0415 (as above)
    from google.oauth2 import credentials, service_account  # noqa: PLC0415 (as above)

    read: Any  # google-auth's constructors are untyped
    match info.get("type"):
        case "service_account":
            read = service_account.Credentials.from_service_account_info
        case "authorized_user":
            read = credentials.Credentials.from_authorized_user_info
        case "impersonated_service_account":
            read = impersonated_credentials.Credentials.from_impersonated_service_account_info
        case "external_account":
            source = info.get("credential_source") or {}
            if str(source.get("environment_id", "")).startswith("aws"):
                read = aws.Credentials.from_info
            elif "executable" in source:
                read = pluggable.Credentials.from_info
            else:
                read = identity_pool.Credentials.from_info
        case other:
            raise CredentialMissing(f"Google credentials of type {other!r} are not known")
    return read(info, scopes=SCOPES)


behaviour = Behaviour(place=place, signer=GoogleSigner, extra="google")
