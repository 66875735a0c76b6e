"""Counting the tokens of a request without an answer: by the upstream where it can, else estimated; the answer says which."""

from collections.abc import Callable, Mapping

from msgspec.structs import replace

from wayport.core.errors import BadRequest, UpstreamFault
from wayport.core.record import AttemptRecord
from wayport.core.usage import Usage
from wayport.dialects.anthropic_messages_count import (
    decode_count,
    encode_count,
    encode_count_request,
    patch_count_request,
)
from wayport.dialects.gemini_content_beside import (
    decode_count_request,
    decode_count_response,
    encode_count_response,
)
from wayport.dialects.gemini_content_beside import encode_count_request as encode_google_count
from wayport.dialects.neutral import DialectName, Request
from wayport.dialects.openai_responses_stored import encode_input_tokens
from wayport.pipeline.answer_head import JSON, head_lines
from wayport.pipeline.betas import joined
from wayport.pipeline.call import Call
from wayport.pipeline.estimate import estimate_tokens
from wayport.pipeline.prepare import Headers, Preparation
from wayport.pipeline.relay import Settle
from wayport.pipeline.signing import way_to
from wayport.pipeline.targets import Target, Targets
from wayport.routing.snapshot import Deployment
from wayport.upstream.credentials import Credentials
from wayport.upstream.faults import refusal, unexpected
from wayport.upstream.transport import Transport, TransportFault

_ANSWER_BYTES = 1024 * 1024
_ANSWERS: Mapping[DialectName, Callable[[int], bytes]] = {
    "gemini_content": encode_count_response,
    "openai_responses": encode_input_tokens,
}


class Counting:
    def __init__(
        self,
        *,
        transport: Transport,
        targets: Targets,
        prepare: Preparation,
        credentials: Credentials,
        settle: Settle,
    ) -> None:
        self._transport = transport
        self._targets = targets
        self._prepare = prepare
        self._credentials = credentials
        self._settle = settle

    async def count(self, call: Call, deployment: Deployment, record: AttemptRecord) -> None:
        """Answers the call with its count. Raises `UpstreamFault` when an upstream that counts fails to."""
        request = _read(call)
        if deployment.base_url and "count_tokens" in deployment.paths:
            tokens = await self._ask(call, deployment, request, record)
            how = b"exact"
        else:
            tokens, how = estimate_tokens(request), b"estimated"
        # Counting is free everywhere: a fact, not a gap.
        call.usage = Usage()
        call.usage_source = "reported"
        body = _ANSWERS.get(call.dialect.name, encode_count)(tokens)
        self._settle(call)
        call.client.respond(200, head_lines(call, JSON, b"x-wayport-count: %b\r\n" % how), body)

    async def _ask(self, call: Call, deployment: Deployment, request: Request, record: AttemptRecord) -> int:
        target = self._targets.of(deployment, "count_tokens", stream=False)
        google = deployment.dialect == "gemini_content"
        body = self._body(call, deployment, request, google=google, target=target)
        lines = joined(b"", target.betas) if target.betas else b""
        origin, head = await way_to(self._credentials, deployment, target, body, lines)
        try:
            answer = await self._transport.send(origin, head, body, timeouts=deployment.timeouts)
            record.status = answer.status
            data = await answer.read(_ANSWER_BYTES)
        except TransportFault as error:
            raise UpstreamFault(error.fault) from None
        half = self._prepare.dialect(deployment.dialect).upstream
        assert half is not None
        if answer.status >= 400:
            raise UpstreamFault(
                refusal(answer, data, half.decode_error, deployment.profile, deployment.credential.value)
            )
        try:
            return decode_count_response(data) if google else decode_count(data)
        except ValueError as error:
            raise UpstreamFault(unexpected(answer, data, error)) from None

    def _body(self, call: Call, deployment: Deployment, request: Request, *, google: bool, target: Target) -> bytes:
        asked = replace(request, model=deployment.upstream_model)
        if google:
            # Vertex AI takes the system prompt beside the contents, the Gemini API only within a whole request.
            wrapped = "/publishers/" not in target.url
            return encode_google_count(asked, deployment.profile, wrapped=wrapped)
        if call.dialect.name == deployment.dialect:
            return patch_count_request(call.fields, model=deployment.upstream_model)
        return encode_count_request(asked, deployment.profile).body


def _read(call: Call) -> Request:
    if call.dialect.name == "gemini_content":
        return decode_count_request(call.fields)
    half = call.dialect.client
    if half is None:
        raise BadRequest("Tokens cannot be counted in this format.")
    fields = call.fields if call.conversation is None else call.conversation.told_whole(call.fields)
    return half.decode_request(fields, Headers(call))
