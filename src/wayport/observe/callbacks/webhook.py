"""Any server that takes JSON: batches of calls, signed.

`x-wayport-signature: sha256=…` is HMAC-SHA-256, under the shared secret, of `x-wayport-timestamp`, a dot and the body.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Literal

import httpx
import msgspec

from wayport.core.clock import Clock
from wayport.core.record import CallRecord
from wayport.core.secret import Secret
from wayport.observe.callbacks import http as outgoing
from wayport.observe.payload import payload_of

Form = Literal["json_array", "ndjson", "single"]

_encode = msgspec.json.Encoder().encode


class Webhook:
    def __init__(
        self,
        *,
        url: str,
        clock: Clock,
        secret: Secret | None = None,
        headers: Mapping[str, str] | None = None,
        form: Form = "json_array",
        name: str = "webhook",
        http: httpx.AsyncClient | None = None,
    ) -> None:
        self.name = name
        self._url = url
        self._secret = secret
        self._form: Form = form
        self._clock = clock
        self._http = http or outgoing.client(**(headers or {}))

    async def deliver(self, records: Sequence[CallRecord]) -> None:
        payloads = [_encode(payload_of(record)) for record in records]
        match self._form:
            case "json_array":
                await self._post(b"[" + b",".join(payloads) + b"]", "application/json")
            case "ndjson":
                await self._post(b"".join(payload + b"\n" for payload in payloads), "application/x-ndjson")
            case "single":
                for payload in payloads:
                    await self._post(payload, "application/json")

    async def close(self) -> None:
        await self._http.aclose()

    async def _post(self, body: bytes, content_type: str) -> None:
        headers = {"content-type": content_type}
        if self._secret:
            headers |= signed(self._secret, str(int(self._clock.now_s())), body)
        await outgoing.post(self._http, self._url, body, headers=headers)


def signed(secret: Secret, timestamp: str, body: bytes) -> dict[str, str]:
    """The headers by which the other side knows that it is us, and when."""
    digest = hmac.new(secret.reveal().encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {"x-wayport-timestamp": timestamp, "x-wayport-signature": f"sha256={digest}"}
