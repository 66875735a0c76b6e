"""Providers that answer with a job first: its result is asked for until it is there, or its stream is opened.

What must stay true: the deployment's credential and headers go to its own address and nowhere else.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from msgspec.structs import replace

from wayport.core.errors import Fault, UpstreamFault
from wayport.providers.provider import AuthStyle, Follow, FollowUp
from wayport.routing.snapshot import Deployment
from wayport.upstream.faults import TransportFault, unexpected
from wayport.upstream.headers import head_for
from wayport.upstream.media import public
from wayport.upstream.origin import Origin, origin_of
from wayport.upstream.transport import Answer, Transport

_JOB_BYTES = 64 * 1024 * 1024
_LONGEST_S = 600.0
"""for all the asking, where the operator set no time"""

FollowOf = Callable[[str], Follow | None]


class Following:
    """`follow_of`: a provider's name to what is asked after its first answer."""

    def __init__(
        self,
        transport: Transport,
        follow_of: FollowOf,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._transport = transport
        self._follow_of = follow_of
        self.sleep = sleep

    async def last(self, answer: Answer, deployment: Deployment, *, stream: bool) -> Answer:
        """The answer that holds the result, a refusal, or an open stream. `answer`: the first, with a success status.

        Raises `UpstreamFault` for a job that failed, `TransportFault` for a connection that did.
        """
        follow = self._follow_of(deployment.behaves_like or deployment.provider)
        if follow is None:
            return answer
        longest_s = deployment.timeouts.total_s or _LONGEST_S
        try:
            async with asyncio.timeout(longest_s):
                return await self._until_done(answer, deployment, follow, stream=stream)
        except TimeoutError:
            message = f"The job was not done after {longest_s:g} seconds."
            raise UpstreamFault(Fault(kind="timeout", status=0, message=message)) from None

    async def _until_done(self, answer: Answer, deployment: Deployment, follow: Follow, *, stream: bool) -> Answer:
        tries = 0
        while True:
            body = await answer.read(_JOB_BYTES)
            try:
                step = follow(body, stream=stream, tries=tries)
            except ValueError as error:
                raise UpstreamFault(unexpected(answer, body, error)) from None
            if step is None:
                answer.put_back(body)
                return answer
            if step.after_s:
                await self.sleep(step.after_s)
            answer = await self._ask(step, deployment)
            tries += 1
            if step.stream or answer.status >= 400:
                return answer

    async def _ask(self, step: FollowUp, deployment: Deployment) -> Answer:
        origin, head = await self._addressed(step, deployment)
        return await self._transport.send(origin, head, b"", timeouts=deployment.timeouts)

    async def _addressed(self, step: FollowUp, deployment: Deployment) -> tuple[Origin, bytes]:
        accept = {"accept": "text/event-stream"} if step.stream else {}
        own, _ = origin_of(deployment.base_url, proxy=deployment.proxy)
        url = step.url if "://" in step.url else deployment.base_url.rstrip("/") + step.url
        try:
            origin, _ = origin_of(url, proxy=deployment.proxy)
        except ValueError as error:
            raise _misled(str(error)) from None
        if origin == own:
            head = head_for(
                method=step.method,
                url=url,
                auth=deployment.auth,
                credential=deployment.credential.value,
                headers={**deployment.headers, **accept},
            )
            return origin_of(url, tls=deployment.tls, proxy=deployment.proxy)[0], head
        head = head_for(method=step.method, url=url, auth=AuthStyle(where="none"), credential="", headers=accept)
        return await _on_the_open_internet(origin), head


async def _on_the_open_internet(origin: Origin) -> Origin:
    """`origin` with the address that it has now: an upstream must not send us into our own network."""
    if origin.scheme != "https":
        raise _misled(f"{origin} is not the provider's own address and not https")
    try:
        found: list[Any] = await asyncio.get_running_loop().getaddrinfo(
            origin.host, origin.port, type=socket.SOCK_STREAM
        )
    except OSError as error:
        raise TransportFault("connect", f"{origin} cannot be found: {error}.", body_sent=False) from None
    addresses = [entry[4][0] for entry in found]
    if not addresses or not all(map(public, addresses)):
        raise _misled(f"{origin} is no public address")
    return replace(origin, address=addresses[0])


def _misled(why: str) -> UpstreamFault:
    message = f"The provider said that its result is elsewhere, and nobody is asked there: {why}."
    return UpstreamFault(Fault(kind="malformed", status=0, message=message))
