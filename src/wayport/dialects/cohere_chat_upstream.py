"""Upstream half of Cohere's Chat API, version 2."""

from wayport.core.errors import Fault
from wayport.dialects.anthropic_messages_options import Draft
from wayport.dialects.cohere_chat_answer import NAME, decode_response
from wayport.dialects.cohere_chat_errors import decode_error
from wayport.dialects.cohere_chat_messages import write_messages
from wayport.dialects.cohere_chat_options import write_output, write_rest, write_sampling, write_thinking
from wayport.dialects.cohere_chat_stream import Decoder
from wayport.dialects.cohere_chat_tools import fit_name, write_tools
from wayport.dialects.dialect import Encoded, Headers, Profile, StreamDecoder
from wayport.dialects.neutral import DialectName, Request, Response
from wayport.dialects.tool_names import ToolNames
from wayport.wire import cohere_chat as wire


class Upstream:
    """`UpstreamHalf` of `cohere_chat`."""

    name: DialectName = NAME

    def encode_request(self, request: Request, profile: Profile) -> Encoded:
        draft = Draft(request=request, profile=profile)
        names = ToolNames(fit_name)
        draft.body["model"] = request.model
        draft.body["stream"] = request.stream
        write_output(draft)
        write_messages(draft, names)
        write_tools(draft, names)
        write_sampling(draft)
        write_thinking(draft)
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
