"""Answers that an upstream keeps itself: what is done with them there, by their id."""

from urllib.parse import quote

from wayport.core.errors import UpstreamFault
from wayport.dialects.dialect import UpstreamHalf
from wayport.pipeline.targets import path_of
from wayport.providers.provider import Operation
from wayport.routing.snapshot import Deployment
from wayport.upstream.credentials import Credentials
from wayport.upstream.faults import refusal
from wayport.upstream.headers import head_for
from wayport.upstream.origin import origin_of
from wayport.upstream.transport import Transport, TransportFault

_MOST_BYTES = 256 * 1024 * 1024


class NativeAnswers:
    def __init__(self, transport: Transport, credentials: Credentials, half: UpstreamHalf) -> None:
        self._transport = transport
        self._credentials = credentials
        self._half = half

    async def ask(self, deployment: Deployment, method: str, response_id: str, action: str = "") -> bytes:
        """`GET`, `DELETE` or `POST …/cancel` of one answer. Raises `UpstreamFault`."""
        operation: Operation = "chat" if deployment.dialect == "openai_responses" else "responses"
        path, mark, query = (path_of(deployment, operation, stream=False) or "").partition("?")
        url = f"{deployment.base_url.rstrip('/')}{path}/{quote(response_id, safe='')}{action}{mark}{query}"
        origin, _ = origin_of(url, tls=deployment.tls, proxy=deployment.proxy)
        if deployment.signed:
            signed = await self._credentials.sign(
                provider=deployment.behaves_like or deployment.provider,
                settings=deployment.credential.settings,
                url=url,
                body=b"",
                headers=deployment.headers,
                method=method,
                tls=deployment.tls,
                proxy=deployment.proxy,
            )
            origin, head = signed.origin, signed.head
        else:
            head = head_for(
                method=method,
                url=url,
                auth=deployment.auth,
                credential=deployment.credential.value,
                headers=deployment.headers,
            )
        try:
            answer = await self._transport.send(origin, head, b"", timeouts=deployment.timeouts)
            body = await answer.read(_MOST_BYTES)
        except TransportFault as error:
            raise UpstreamFault(error.fault) from None
        if answer.status >= 400:
            fault = refusal(answer, body, self._half.decode_error, deployment.profile, deployment.credential.value)
            raise UpstreamFault(fault)
        return body
