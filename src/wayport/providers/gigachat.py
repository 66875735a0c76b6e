"""GigaChat: credentials in Basic form buy an access token for half an hour."""

from collections.abc import Mapping

from wayport.core.errors import CredentialMissing
from wayport.core.ids import uuid7
from wayport.providers.provider import Behaviour, Outgoing
from wayport.providers.tokens import RenewedToken, Token, fetch_json, refused

AUTH_URL = "https://ngw.devices.sberbank.ru:9443/api/v2/oauth"
PERSONAL = "GIGACHAT_API_PERS"


class GigaChatSigner:
    def __init__(self, settings: Mapping[str, str]) -> None:
        self._credentials = settings.get("api_key", "")
        self._scope = settings.get("gigachat_scope") or PERSONAL
        self._url = settings.get("gigachat_auth_url") or AUTH_URL
        self._token = RenewedToken(self._fetch)

    async def sign(self, outgoing: Outgoing) -> None:
        outgoing.headers["authorization"] = f"Bearer {await self._token.get()}"

    def _fetch(self) -> Token:
        if not self._credentials:
            raise CredentialMissing("GigaChat needs GIGACHAT_CREDENTIALS", param="GIGACHAT_CREDENTIALS")
        what = "GigaChat gave no access token"
        answer = fetch_json(
            what,
            self._url,
            form={"scope": self._scope},
            headers={"authorization": f"Basic {self._credentials}", "rquid": uuid7()},
            secrets=(self._credentials,),
        )
        try:
            return Token(str(answer["access_token"]), float(answer["expires_at"]) / 1000)
        except (KeyError, TypeError, ValueError):
            raise refused(what, "the answer has no token", kind="malformed") from None


behaviour = Behaviour(signer=GigaChatSigner)
