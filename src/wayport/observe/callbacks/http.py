"""Posting to another server: what is worth another try, and what is not."""

import httpx

from wayport import __version__
from wayport.observe.callbacks.base import Refused, Undelivered

_TIMEOUT_S = 20.0
_AGAIN = frozenset({401, 403, 404, 407, 408, 409, 423, 425, 429})
"""a credential or an address may be mended, a busy server recovers"""


def client(**headers: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        timeout=_TIMEOUT_S, headers={"user-agent": f"wayport/{__version__}", **headers}, follow_redirects=False
    )


async def post(
    http: httpx.AsyncClient, url: str, body: bytes, *, headers: dict[str, str] | None = None
) -> httpx.Response:
    """Raises `Undelivered` or `Refused`, neither with what was sent."""
    try:
        answer = await http.post(url, content=body, headers=headers)
    except httpx.HTTPError as error:
        raise Undelivered(f"{type(error).__name__}: {error}") from None
    except (httpx.InvalidURL, ValueError) as error:
        raise Undelivered(f"the address cannot be used: {error}") from None
    if answer.is_success:
        return answer
    told = f"HTTP {answer.status_code}: {answer.text[:200]}"
    if answer.status_code in _AGAIN or answer.status_code >= 500 or answer.is_redirect:
        raise Undelivered(told, retry_after_s=_seconds(answer.headers.get("retry-after")))
    raise Refused(told)


def _seconds(text: str | None) -> float | None:
    try:
        return max(0.0, float(text)) if text else None
    except ValueError:
        return None
