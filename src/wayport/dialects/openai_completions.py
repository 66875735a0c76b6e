"""OpenAI's legacy completions: a prompt in, its continuation out."""

from collections.abc import Sequence

from msgspec import Raw

from wayport.core.errors import Fault, WayportError
from wayport.dialects.dialect import Dialect, Encoded, Glance, Headers, Profile, StreamDecoder, StreamEncoder
from wayport.dialects.neutral import DialectName, Request, Response
from wayport.dialects.openai_chat_control import merged
from wayport.dialects.openai_chat_fault import error_body, read_fault
from wayport.dialects.openai_chat_passthrough import ChatPassthrough, quoted
from wayport.dialects.openai_chat_plan import Plan, ask_for_usage
from wayport.dialects.openai_completions_answer import CompletionStreamEncoder, decode_response, encode_response
from wayport.dialects.openai_completions_request import LIMIT, decode_request, encode_request
from wayport.dialects.openai_completions_stream import CompletionStreamDecoder
from wayport.dialects.openai_read import encode
from wayport.wire.patch import Fields

_QUOTE = 0x22


class CompletionsClient:
    name: DialectName = "openai_completions"

    def decode_request(self, fields: Fields, headers: Headers) -> Request:  # noqa: ARG002 (OpenAI says nothing of a request in headers)
        return decode_request(fields)

    def encode_response(self, response: Response, *, request: Request | None = None) -> bytes:  # noqa: ARG002 (a text is a text)
        return encode_response(response)

    def stream_encoder(self, *, request: Request | None, response_id: str, created: int) -> StreamEncoder:
        return CompletionStreamEncoder(request, response_id, created)

    def encode_error(self, error: WayportError, *, call_id: str) -> bytes:  # noqa: ARG002 (the call's id is in a header)
        return encode(error_body(error))


class CompletionsUpstream:
    name: DialectName = "openai_completions"

    def encode_request(self, request: Request, profile: Profile) -> Encoded:
        return encode_request(request, profile)

    def decode_response(self, body: bytes) -> Response:
        return decode_response(body)

    def stream_decoder(self) -> StreamDecoder:
        return CompletionStreamDecoder()

    def decode_error(self, status: int, headers: Headers, body: bytes, profile: Profile) -> Fault:
        return read_fault(status, headers, body, profile)


class CompletionsPassthrough(ChatPassthrough):
    """Answers and usage are told as chat tells them; requests have no messages, and content is called `text`."""

    name: DialectName = "openai_completions"

    def _make_plan(self, profile: Profile) -> Plan:
        return Plan(profile, limit=LIMIT)

    def patch_request(
        self, fields: Fields, *, model: str, profile: Profile, want_usage: bool
    ) -> tuple[bytes, Sequence[str]]:
        plan = self._plans.get(id(profile)) or self._plan(profile)
        out, dropped = merged(fields)
        if "prompt" not in out:
            # Reading it whole says what is wrong.
            decode_request(out)
        out["model"] = Raw(quoted(model))
        if plan.always or not plan.touches.isdisjoint(out):
            plan.apply(out, dropped)
        if want_usage and plan.stream_usage and bytes(out.get("stream", b"")) == b"true":
            ask_for_usage(out)
        return encode(out), dropped

    def glance(self, event: bytes) -> Glance:
        at = event.find(b'"text":"')
        if at >= 0 and event[at + 8] != _QUOTE and event.find(b'"error"') < 0:
            return Glance.CONTENT
        return super().glance(event)

    def passes(self, data: bytes, start: int) -> bool:
        at = data.find(b'"text":"', start)
        return (
            at >= 0
            and data[at + 8] != _QUOTE
            and data.find(b'"choices":[{', start) >= 0
            and data.find(b'"error"', start) < 0
        )


DIALECT = Dialect(
    name="openai_completions",
    client=CompletionsClient(),
    upstream=CompletionsUpstream(),
    passthrough=CompletionsPassthrough(),
)
