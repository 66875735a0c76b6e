"""The client half of `openai_chat`: those who call us with chat completions."""

from wayport.core.errors import WayportError
from wayport.dialects.dialect import Headers, StreamEncoder
from wayport.dialects.neutral import DialectName, Request, Response
from wayport.dialects.openai_chat_decode import decode_request
from wayport.dialects.openai_chat_encoder import ChatStreamEncoder
from wayport.dialects.openai_chat_fault import error_body
from wayport.dialects.openai_chat_whole import encode_response
from wayport.dialects.openai_read import encode
from wayport.wire.patch import Fields


class ChatClient:
    name: DialectName = "openai_chat"

    def decode_request(self, fields: Fields, headers: Headers) -> Request:  # noqa: ARG002 (OpenAI says nothing of a request in headers)
        return decode_request(fields)

    def encode_response(self, response: Response, *, request: Request | None = None) -> bytes:
        return encode_response(response, request)

    def stream_encoder(self, *, request: Request | None, response_id: str, created: int) -> StreamEncoder:
        return ChatStreamEncoder(request, response_id, created)

    def encode_error(self, error: WayportError, *, call_id: str) -> bytes:  # noqa: ARG002 (the call's id is in a header)
        return encode(error_body(error))
