"""The upstream half of `openai_chat`: OpenAI and the hundred that speak like it."""

from wayport.core.errors import Fault
from wayport.dialects.dialect import Encoded, Headers, Profile, StreamDecoder
from wayport.dialects.neutral import DialectName, Request, Response
from wayport.dialects.openai_chat_encode import encode_request
from wayport.dialects.openai_chat_fault import read_fault
from wayport.dialects.openai_chat_stream import ChatStreamDecoder
from wayport.dialects.openai_chat_whole import decode_response


class ChatUpstream:
    name: DialectName = "openai_chat"

    def encode_request(self, request: Request, profile: Profile) -> Encoded:
        return encode_request(request, profile)

    def decode_response(self, body: bytes) -> Response:
        return decode_response(body)

    def stream_decoder(self) -> StreamDecoder:
        return ChatStreamDecoder()

    def decode_error(self, status: int, headers: Headers, body: bytes, profile: Profile) -> Fault:
        return read_fault(status, headers, body, profile)
