"""The dialect `gemini_content`: Google's generateContent, for clients that speak it and upstreams that do.

The model and whether the answer streams stand in the path: whoever decodes a request sets both. For what lies beside a
chat call (counting tokens, embeddings, the list of models) see `gemini_content_beside`.
"""

from wayport.core.errors import Fault, WayportError
from wayport.dialects import gemini_content_answer as answer
from wayport.dialects import gemini_content_errors as errors
from wayport.dialects import gemini_content_request as requests
from wayport.dialects import gemini_content_upstream as upstream
from wayport.dialects.dialect import Dialect, Encoded, Headers, Profile
from wayport.dialects.gemini_content_passthrough import GeminiPassthrough
from wayport.dialects.gemini_content_stream import StreamDecoder
from wayport.dialects.gemini_content_tell import KEEP_ALIVE, Framing, StreamEncoder
from wayport.dialects.gemini_content_words import NAME
from wayport.dialects.neutral import DialectName, Request, Response
from wayport.wire.patch import Fields

__all__ = ["DIALECT", "KEEP_ALIVE", "LISTED", "Framing", "GeminiClient", "GeminiPassthrough", "GeminiUpstream"]


class GeminiClient:
    """`ClientHalf` of `gemini_content`."""

    name: DialectName = NAME

    def decode_request(self, fields: Fields, headers: Headers) -> Request:
        return requests.decode_request(fields, headers)

    def encode_response(self, response: Response, *, request: Request | None = None) -> bytes:
        return answer.encode_response(response, request=request)

    def stream_encoder(
        self, *, request: Request | None, response_id: str, created: int, as_list: bool = False
    ) -> StreamEncoder:
        """`as_list`: one JSON list, for a call of `streamGenerateContent` without `alt=sse`."""
        return StreamEncoder(request=request, response_id=response_id, created=created, as_list=as_list)

    def encode_error(self, error: WayportError, *, call_id: str) -> bytes:
        return errors.encode_error(error, call_id=call_id)


class GeminiUpstream:
    """`UpstreamHalf` of `gemini_content`: the Gemini API and Vertex AI."""

    name: DialectName = NAME

    def encode_request(self, request: Request, profile: Profile) -> Encoded:
        return upstream.encode_request(request, profile)

    def decode_response(self, body: bytes) -> Response:
        return answer.decode_response(body)

    def stream_decoder(self) -> StreamDecoder:
        return StreamDecoder()

    def decode_error(self, status: int, headers: Headers, body: bytes, profile: Profile) -> Fault:
        return errors.decode_error(status, headers, body, profile)


class ListClient(GeminiClient):
    """A client that asked for a stream without `alt=sse`: it gets one JSON list, item by item."""

    def stream_encoder(
        self, *, request: Request | None, response_id: str, created: int, as_list: bool = True
    ) -> StreamEncoder:
        return super().stream_encoder(request=request, response_id=response_id, created=created, as_list=as_list)


DIALECT = Dialect(
    name=NAME,
    client=GeminiClient(),
    upstream=GeminiUpstream(),
    passthrough=GeminiPassthrough(),
    ends_with_body=True,
    # Google's own reader takes a comment for a broken event.
    keep_alive=KEEP_ALIVE,
)
LISTED = Dialect(
    name=NAME, client=ListClient(), upstream=GeminiUpstream(), keep_alive=KEEP_ALIVE, stream_type=b"application/json"
)
"""for streams without `alt=sse`"""
