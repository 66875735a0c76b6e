"""GitHub Copilot: a GitHub OAuth token buys a short-lived Copilot token, which also names the address to use."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from wayport.core.errors import CredentialMissing
from wayport.providers.provider import Behaviour, Outgoing
from wayport.providers.tokens import RenewedToken, Token, fetch_json, refused

TOKEN_URL = "https://api.github.com/copilot_internal/v2/token"  # noqa: S105 (an address)
_DEFAULT_HOST = "api.githubcopilot.com"


class CopilotSigner:
    def __init__(self, settings: Mapping[str, str]) -> None:
        self._oauth = settings.get("api_key", "")
        self._url = settings.get("copilot_token_url") or TOKEN_URL
        self._host = ""
        self._token = RenewedToken(self._fetch)

    async def sign(self, outgoing: Outgoing) -> None:
        outgoing.headers["authorization"] = f"Bearer {await self._token.get()}"
        # Business and enterprise accounts have an address of their own; one that the operator set stays.
        split = urlsplit(outgoing.url)
        if self._host and split.netloc == _DEFAULT_HOST:
            outgoing.url = split._replace(netloc=self._host).geturl()

    def _fetch(self) -> Token:
        if not self._oauth:
            raise CredentialMissing("GitHub Copilot needs GITHUB_COPILOT_TOKEN", param="GITHUB_COPILOT_TOKEN")
        what = "GitHub gave no Copilot token"
        answer = fetch_json(
            what,
            self._url,
            headers={"authorization": f"token {self._oauth}", "user-agent": "wayport"},
            secrets=(self._oauth,),
        )
        endpoints = answer.get("endpoints")
        if isinstance(endpoints, dict) and isinstance(endpoints.get("api"), str):
            self._host = urlsplit(endpoints["api"]).netloc
        try:
            return Token(str(answer["token"]), float(answer["expires_at"]))
        except (KeyError, TypeError, ValueError):
            raise refused(what, "the answer has no token", kind="malformed") from None


behaviour = Behaviour(signer=CopilotSigner)
