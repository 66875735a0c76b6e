"""Databricks model serving: a personal access token, or OAuth for a service principal."""

import base64
from collections.abc import Mapping
from urllib.parse import urlsplit

from msgspec import structs

from wayport.core.clock import Clock, SystemClock
from wayport.providers.provider import AuthStyle, Behaviour, Outgoing, Placement
from wayport.providers.tokens import RenewedToken, Token, fetch_json, refused

_BELOW = "/serving-endpoints"


def place(placement: Placement, credential: str, settings: Mapping[str, str]) -> Placement:
    """The address may be the workspace's or that of its serving endpoints; a host may lack its scheme."""
    base = placement.base_url
    if base and "://" not in base:
        base = f"https://{base}"
    if base and not urlsplit(base).path.strip("/"):
        base += _BELOW
    placed = structs.replace(placement, base_url=base)
    if not credential and settings.get("databricks_client_id") and settings.get("databricks_client_secret"):
        return structs.replace(placed, auth=AuthStyle(where="none"), signed=True)
    return placed


class ServicePrincipalSigner:
    def __init__(self, settings: Mapping[str, str], clock: Clock | None = None) -> None:
        self._id = settings.get("databricks_client_id", "")
        self._secret = settings.get("databricks_client_secret", "")
        self._clock = clock or SystemClock()
        self._url = ""
        self._token = RenewedToken(self._fetch, self._clock)

    async def sign(self, outgoing: Outgoing) -> None:
        split = urlsplit(outgoing.url)
        self._url = f"{split.scheme}://{split.netloc}/oidc/v1/token"
        outgoing.headers["authorization"] = f"Bearer {await self._token.get()}"

    def _fetch(self) -> Token:
        what = "Databricks gave no access token"
        basic = base64.b64encode(f"{self._id}:{self._secret}".encode()).decode()
        answer = fetch_json(
            what,
            self._url,
            form={"grant_type": "client_credentials", "scope": "all-apis"},
            headers={"authorization": f"Basic {basic}"},
            secrets=(self._secret, basic),
        )
        try:
            return Token(str(answer["access_token"]), self._clock.now_s() + float(answer["expires_in"]))
        except (KeyError, TypeError, ValueError):
            raise refused(what, "the answer has no token", kind="malformed") from None


behaviour = Behaviour(place=place, signer=ServicePrincipalSigner)
