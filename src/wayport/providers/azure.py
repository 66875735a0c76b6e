"""Azure OpenAI and Azure AI Foundry: two generations of addresses, key header or Entra ID.

An `api-version` that is a date selects the older API with the deployment in the path; none, `v1`, `latest` or
`preview` selects the v1 API, whose body names the deployment.
"""

import re
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any
from urllib.parse import quote, urlsplit

from msgspec import structs

from wayport.core.secret import Secret
from wayport.providers.provider import AuthStyle, Behaviour, Outgoing, Placement
from wayport.providers.tokens import RenewedToken, Token, extra_missing, refused

SCOPE = "https://cognitiveservices.azure.com/.default"

_LIST = "/openai/deployments?api-version=2023-03-15-preview"
"""the last version that lists deployments with a key; `/models` of every version lists what could be deployed"""

_SCOPES = {
    "login.microsoftonline.com": SCOPE,
    "login.microsoft.com": SCOPE,
    "login.windows.net": SCOPE,
    "login.microsoftonline.us": "https://cognitiveservices.azure.us/.default",
    "login.chinacloudapi.cn": "https://cognitiveservices.azure.cn/.default",
    "login.partner.microsoftonline.cn": "https://cognitiveservices.azure.cn/.default",
}
"""by Microsoft's own token authorities"""
_DEPLOYMENT = re.compile(r"/openai/deployments/(?P<name>[^/?]+)(?:/.*)?$")
_UNDATED = frozenset({"", "v1", "latest", "preview"})
_PER_DEPLOYMENT = frozenset(
    {"chat", "completions", "embeddings", "images", "image_edits", "speech", "transcription", "translation"}
)
_KEY = AuthStyle(name="api-key", prefix="")
_ENTRA_SETTINGS = ("tenant_id", "client_id", "client_secret", "azure_username")
_YES = frozenset({"true", "yes", "on", "1"})


def place(placement: Placement, credential: str, settings: Mapping[str, str]) -> Placement:
    split = urlsplit(placement.base_url)
    path = split.path.rstrip("/")
    version = settings.get("api_version", "")
    if (found := re.search(r"api-version=([^&]+)", split.query)) and not version:
        version = found[1]
    model = placement.model
    if named := _DEPLOYMENT.search(path):
        model = named["name"]
        path = path[: named.start()]
    origin = f"{split.scheme}://{split.netloc}" if split.netloc else placement.base_url
    lead, v1, _ = path.partition("/openai/v1")
    if v1 or version in _UNDATED:
        query = "?api-version=preview" if version == "preview" else ""
        base = origin + (lead if v1 else path).removesuffix("/openai") + "/openai/v1"
        paths = {operation: own + query for operation, own in placement.paths.items()}
    else:
        base = origin + path.removesuffix("/openai")
        paths = _dated(placement.paths, version, model)
    paths["models"] = base.removesuffix("/v1").removesuffix("/openai") + _LIST
    placed = structs.replace(placement, model=model, base_url=base if split.netloc else "", paths=paths, auth=_KEY)
    return _with_credential(placed, credential, settings)


def _dated(paths: Mapping[str, str], version: str, model: str) -> dict[str, str]:
    query = f"?api-version={quote(version)}"
    # A wildcard's name is known when it is called.
    name = "{model}" if "*" in model else quote(model, safe="")
    deployment = f"/openai/deployments/{name}"
    dated = {}
    for operation, own in paths.items():
        if operation in ("responses", "messages"):
            dated[operation] = "/openai/v1" + own
        elif operation in _PER_DEPLOYMENT:
            dated[operation] = deployment + own + query
        else:
            dated[operation] = "/openai" + own + query
    return dated


def place_foundry(placement: Placement, credential: str, settings: Mapping[str, str]) -> Placement:
    """Azure AI Foundry. Claude has an API of its own below `/anthropic`; a serverless endpoint wants a bearer key."""
    split = urlsplit(placement.base_url)
    host = split.hostname or ""
    path = split.path.rstrip("/")
    base = f"{split.scheme}://{split.netloc}{path}" if split.netloc else ""
    auth = _KEY
    paths = dict(placement.paths)
    headers = dict(placement.headers)
    if placement.dialect == "anthropic_messages":
        base = base.removesuffix("/anthropic") + "/anthropic" if base else ""
        paths = {"chat": "/v1/messages", "count_tokens": "/v1/messages/count_tokens"}
        auth = AuthStyle(name="x-api-key", prefix="")
        headers["anthropic-version"] = "2023-06-01"
    elif host.endswith(".models.ai.azure.com"):
        base = base.removesuffix("/v1") + "/v1"
        auth = AuthStyle()
    elif path.endswith("/models"):
        query = f"?api-version={settings.get('api_version') or '2024-05-01-preview'}"
        paths = {operation: own + query for operation, own in paths.items()}
    elif base:
        bare = base.removesuffix("/openai/v1").removesuffix("/openai")
        base = bare + "/openai/v1"
        paths["models"] = bare + _LIST
    placed = structs.replace(placement, base_url=base, paths=paths, auth=auth, headers=headers)
    return _with_credential(placed, credential, settings)


def _with_credential(placed: Placement, credential: str, settings: Mapping[str, str]) -> Placement:
    """A key goes into the key header, an Entra ID token that the operator fetched is a bearer, else the signer asks."""
    if token := settings.get("azure_ad_token"):
        return structs.replace(placed, auth=AuthStyle(), credential=Secret(token))
    wanted = any(settings.get(name) for name in _ENTRA_SETTINGS) or settings.get("use_entra_id", "").lower() in _YES
    if not credential and wanted:
        return structs.replace(placed, auth=AuthStyle(where="none"), signed=True)
    return placed


class EntraSigner:
    """Presents a token of Microsoft Entra ID."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        self._settings = dict(settings)
        self._authority = settings.get("azure_authority_host", "").removeprefix("https://").rstrip("/")
        self._scope = settings.get("azure_scope") or _SCOPES.get(self._authority, SCOPE)
        self._ask: Callable[[], Token] | None = None
        self._token = RenewedToken(self._fetch)

    async def sign(self, outgoing: Outgoing) -> None:
        outgoing.headers["authorization"] = f"Bearer {await self._token.get()}"

    def _fetch(self) -> Token:
        if self._ask is None:
            self._ask = self._source()
        return self._ask()

    def _source(self) -> Callable[[], Token]:
        try:
            # Heavy and optional: loaded when a deployment wants it.
            identity = import_module("azure.identity")
        except ImportError:
            raise extra_missing("azure", "Signing in with Microsoft Entra ID") from None
        settings = self._settings
        where: dict[str, Any] = {"authority": self._authority} if self._authority else {}
        if self._authority and self._authority not in _SCOPES:
            # Microsoft's directory of authorities knows its own clouds only.
            where["disable_instance_discovery"] = True
        tenant, client, secret = (settings.get(name) for name in ("tenant_id", "client_id", "client_secret"))
        if tenant and client and secret:
            source = identity.ClientSecretCredential(tenant, client, secret, **where)
        elif client and settings.get("azure_username") and settings.get("azure_password"):
            source = identity.UsernamePasswordCredential(
                client, settings["azure_username"], settings["azure_password"], tenant_id=tenant, **where
            )
        elif tenant and client and (file := settings.get("azure_federated_token_file")):
            # The default chain has it, too, but asks no authority but Microsoft's.
            source = identity.WorkloadIdentityCredential(
                tenant_id=tenant, client_id=client, token_file_path=file, **where
            )
        else:
            source = identity.DefaultAzureCredential(managed_identity_client_id=client, **where)

        def ask() -> Token:
            try:
                token = source.get_token(self._scope)
            except Exception as error:  # noqa: BLE001 (azure-identity's own errors cannot be named without importing it)
                raise refused("Microsoft Entra ID gave no token", error, secret or "") from None
            return Token(token.token, float(token.expires_on))

        return ask


behaviour = Behaviour(place=place, signer=EntraSigner, extra="azure")
foundry = Behaviour(place=place_foundry, signer=EntraSigner, extra="azure")
