"""Embeddings of several texts from models that take one at a time: one question each, some at once, one answer."""

import asyncio

from wayport.core.errors import UpstreamFault
from wayport.core.usage import Usage
from wayport.dialects.openai_embeddings import Embedded
from wayport.pipeline.call import Call
from wayport.pipeline.prepare import Prepared
from wayport.pipeline.signing import way_to
from wayport.pipeline.targets import Targets
from wayport.routing.snapshot import Deployment
from wayport.upstream.credentials import Credentials
from wayport.upstream.faults import refusal, unexpected
from wayport.upstream.transport import Answer, Transport

_AT_ONCE = 8
_ANSWER_BYTES = 16 * 1024 * 1024


class OneByOne:
    def __init__(self, *, transport: Transport, targets: Targets, credentials: Credentials) -> None:
        self._transport = transport
        self._targets = targets
        self._credentials = credentials

    async def rest(self, call: Call, deployment: Deployment, prepared: Prepared) -> list[Embedded]:
        """What the texts after the first one are. Raises `UpstreamFault` or `TransportFault` for the first that fails."""
        room = asyncio.Semaphore(_AT_ONCE)

        async def one(body: bytes) -> Embedded:
            async with room:
                return await self._one(call, deployment, prepared, body)

        asked = [asyncio.ensure_future(one(body)) for body in prepared.more]
        try:
            return await asyncio.gather(*asked)
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    async def _one(self, call: Call, deployment: Deployment, prepared: Prepared, body: bytes) -> Embedded:
        target = self._targets.of(deployment, prepared.operation, stream=False)
        origin, head = await way_to(self._credentials, deployment, target, body, prepared.lines)
        answer = await self._transport.send(origin, head, body, timeouts=call.timeouts or deployment.timeouts)
        data = await answer.read(_ANSWER_BYTES)
        if answer.status != 200:
            half = prepared.upstream.upstream
            assert half is not None
            decode, profile = half.decode_error, deployment.profile
            raise UpstreamFault(refusal(answer, data, decode, profile, deployment.credential.value))
        return embedded(prepared, answer, data)


def embedded(prepared: Prepared, answer: Answer, body: bytes) -> Embedded:
    """Raises `UpstreamFault` when the body holds no embeddings."""
    embedder = prepared.embedder
    assert embedder is not None
    try:
        found = embedder.decode(body)
    except ValueError as error:
        raise UpstreamFault(unexpected(answer, body, error)) from None
    if found.usage is None and embedder.tokens_header and (told := answer.header(embedder.tokens_header)):
        found.usage = Usage(input_tokens=int(told)) if told.isdigit() else None
    return found


def together(parts: list[Embedded]) -> Embedded:
    """One answer; what it used is known if all parts say so."""
    if len(parts) == 1:
        return parts[0]
    usages = [part.usage for part in parts if part.usage is not None]
    tokens = sum(usage.input_tokens for usage in usages)
    return Embedded(
        vectors=[vector for part in parts for vector in part.vectors],
        usage=Usage(input_tokens=tokens) if len(usages) == len(parts) else None,
    )
