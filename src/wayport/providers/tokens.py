"""Access tokens that expire: fetched in a thread, kept, and renewed before they end, without ever blocking the loop."""

import asyncio
import json
import logging
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from wayport.core.clock import Clock, SystemClock
from wayport.core.errors import CredentialMissing, Fault, FaultClass, UpstreamFault, WayportError
from wayport.core.secret import mask

log = logging.getLogger("wayport.providers")

EARLY_S = 300.0
"""how long before its end a token is renewed"""
LAST_S = 15.0
"""a token with less left than this may end under way and is not used any more"""
TIMEOUT_S = 20.0


class Token(NamedTuple):
    value: str
    expires_s: float
    """seconds since the epoch"""


class RenewedToken:
    """A token that one caller at a time renews; the others go on with the old one while it holds."""

    def __init__(self, fetch: Callable[[], Token], clock: Clock | None = None) -> None:
        """`fetch` may block; it runs in a thread. It raises `CredentialMissing` or `UpstreamFault`."""
        self._fetch = fetch
        self._clock = clock or SystemClock()
        self._token: Token | None = None
        self._renewing = asyncio.Lock()

    async def get(self) -> str:
        token = self._token
        left_s = 0.0 if token is None else token.expires_s - self._clock.now_s()
        if token is not None and (left_s > EARLY_S or (left_s > LAST_S and self._renewing.locked())):
            return token.value
        async with self._renewing:
            if self._token is not token and self._token is not None:
                return self._token.value
            try:
                self._token = await asyncio.to_thread(self._fetch)
            except WayportError:
                if token is None or left_s <= LAST_S:
                    raise
                log.warning("an access token could not be renewed yet", extra={"left_s": round(left_s)}, exc_info=True)
                return token.value
            return self._token.value


def extra_missing(extra: str, what: str) -> CredentialMissing:
    """The error for a credential whose optional package is not installed."""
    return CredentialMissing(f"{what} needs an optional package: pip install 'wayport[{extra}]'", code="extra_missing")


def refused(what: str, detail: object, *secrets: str, kind: FaultClass = "authentication") -> UpstreamFault:
    """The error for a token service that said no or could not be reached. `secrets` are masked in the detail."""
    status = 401 if kind == "authentication" else 0
    text = mask(str(detail), *secrets)[:300]
    return UpstreamFault(Fault(kind=kind, status=status, message=f"{what}: {text}", body_sent=False))


def fetch_json(
    what: str,
    url: str,
    *,
    form: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    secrets: tuple[str, ...] = (),
) -> dict[str, Any]:
    """The JSON object that a token service answers: POST with a form, else GET. Blocking; proxies as the system says."""
    if not url.startswith(("https://", "http://")):
        raise CredentialMissing(f"{what}: {url!r} is no http address")
    data = None if form is None else urllib.parse.urlencode(form).encode()
    request = urllib.request.Request(  # noqa: S310 (the scheme is checked above; the operator configured the address)
        url, data=data, headers={"accept": "application/json", **(headers or {})}
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 (as above)
            body = answer.read(1_000_000)
    except urllib.error.HTTPError as error:
        with error:
            detail = error.read(2_000).decode("utf-8", "replace")
        kind: FaultClass = "authentication" if error.code in (400, 401, 403) else "server"
        raise refused(what, f"{error.code} {detail}", *secrets, kind=kind) from None
    except OSError as error:
        raise refused(what, error, *secrets, kind="connect") from None
    try:
        answered = json.loads(body)
    except ValueError:
        answered = None
    if not isinstance(answered, dict):
        raise refused(what, "the answer is no JSON object", kind="malformed")
    return answered
