"""IBM watsonx.ai: an API key buys an access token for an hour; the project stands in the body."""

import base64
from collections.abc import Mapping

from msgspec import structs

from wayport.core.errors import CredentialMissing
from wayport.core.secret import Secret
from wayport.providers.provider import AuthStyle, Behaviour, Outgoing, Placement
from wayport.providers.tokens import RenewedToken, Token, fetch_json, refused

IAM_URL = "https://iam.cloud.ibm.com/identity/token"
_GRANT = "urn:ibm:params:oauth:grant-type:apikey"


def place(placement: Placement, credential: str, settings: Mapping[str, str]) -> Placement:
    scope = {name: value for name in ("project_id", "space_id") if (value := settings.get(f"watsonx_{name}"))}
    missing = () if scope else ("WATSONX_PROJECT_ID", "WATSONX_SPACE_ID")
    profile = structs.replace(placement.profile, constants={**placement.profile.constants, **scope})
    placed = structs.replace(placement, profile=profile, missing=missing)
    if zen := settings.get("watsonx_zen_api_key"):
        return structs.replace(placed, auth=AuthStyle(prefix="ZenApiKey "), credential=Secret(_zen(zen, settings)))
    if token := settings.get("watsonx_token"):
        return structs.replace(placed, auth=AuthStyle(), credential=Secret(token))
    return structs.replace(placed, auth=AuthStyle(where="none"), signed=True) if credential else placed


def _zen(key: str, settings: Mapping[str, str]) -> str:
    """`user:key` in base64, unless it is that already."""
    user = settings.get("watsonx_username")
    return base64.b64encode(f"{user}:{key}".encode()).decode() if user else key


class IamSigner:
    def __init__(self, settings: Mapping[str, str]) -> None:
        self._key = settings.get("api_key", "")
        self._url = settings.get("watsonx_iam_url") or IAM_URL
        self._token = RenewedToken(self._fetch)

    async def sign(self, outgoing: Outgoing) -> None:
        outgoing.headers["authorization"] = f"Bearer {await self._token.get()}"

    def _fetch(self) -> Token:
        if not self._key:
            raise CredentialMissing("watsonx needs WATSONX_API_KEY", param="WATSONX_API_KEY")
        what = "IBM Cloud gave no access token"
        answer = fetch_json(what, self._url, form={"grant_type": _GRANT, "apikey": self._key}, secrets=(self._key,))
        try:
            return Token(str(answer["access_token"]), float(answer["expiration"]))
        except (KeyError, TypeError, ValueError):
            raise refused(what, "the answer has no token", kind="malformed") from None


behaviour = Behaviour(place=place, signer=IamSigner)
