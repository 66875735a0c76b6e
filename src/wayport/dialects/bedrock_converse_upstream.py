"""Upstream half of Bedrock's Converse and ConverseStream: the same body for both; the path says which is asked."""

from wayport.core.errors import Fault
from wayport.dialects.anthropic_messages_options import Draft
from wayport.dialects.bedrock_converse_answer import NAME, decode_response
from wayport.dialects.bedrock_converse_errors import decode_error
from wayport.dialects.bedrock_converse_messages import limit_cache_points, write_messages
from wayport.dialects.bedrock_converse_options import write_inference, write_output, write_rest, write_thinking
from wayport.dialects.bedrock_converse_stream import Decoder
from wayport.dialects.bedrock_converse_tools import write_tools
from wayport.dialects.dialect import Encoded, Headers, Profile, StreamDecoder
from wayport.dialects.neutral import DialectName, Request, Response
from wayport.dialects.openai_chat_names import Names
from wayport.wire import bedrock_converse as wire


class Upstream:
    """`UpstreamHalf` of `bedrock_converse`."""

    name: DialectName = NAME

    def encode_request(self, request: Request, profile: Profile) -> Encoded:
        draft = Draft(request=request, profile=profile)
        names = Names(request.tools, own=False)
        write_output(draft)
        mid_tools = write_messages(draft, names)
        forced = write_tools(draft, names)
        limit_cache_points(draft)
        write_inference(draft)
        write_thinking(draft, forced=forced, mid_tools=mid_tools)
        write_rest(draft)
        return Encoded(
            body=wire.encode(draft.body), dropped=draft.dropped, lowered=draft.lowered, tool_names=names.changed
        )

    def decode_response(self, body: bytes) -> Response:
        return decode_response(body)

    def stream_decoder(self) -> StreamDecoder:
        return Decoder()

    def decode_error(self, status: int, headers: Headers, body: bytes, profile: Profile) -> Fault:
        return decode_error(status, headers, body, profile)
