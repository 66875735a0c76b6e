"""Client half of the Messages API: what Claude Code and the anthropic SDKs send us, and the answers they understand."""

from wayport.core.errors import BadRequest, WayportError
from wayport.dialects.anthropic_messages_encoder import Encoder
from wayport.dialects.anthropic_messages_errors import encode_error
from wayport.dialects.anthropic_messages_fields import NAME, Block
from wayport.dialects.anthropic_messages_request import decode_request
from wayport.dialects.anthropic_messages_show import show_parts
from wayport.dialects.anthropic_messages_usage import encode_usage, stop_reason_of
from wayport.dialects.dialect import Headers, StreamEncoder
from wayport.dialects.neutral import DialectName, Request, Response, ToolCall
from wayport.wire import anthropic_messages as wire
from wayport.wire.patch import Fields


class Client:
    """`ClientHalf` of `anthropic_messages`."""

    name: DialectName = NAME

    def decode_request(self, fields: Fields, headers: Headers) -> Request:
        """Raises `BadRequest` that names the field by its path (`messages.2.content.0.text`)."""
        try:
            return decode_request(fields, headers)
        except ValueError as error:
            path, _, fact = str(error).partition(": ")
            raise BadRequest(f"{path}: {fact}" if fact else path, param=path if fact else None) from error

    def encode_response(self, response: Response, *, request: Request | None = None) -> bytes:
        """The first choice: this API has but one."""
        del request
        own = response.dialect == NAME
        choice = response.choices[0] if response.choices else None
        parts = choice.parts if choice is not None else []
        body: Block = {
            "id": response.id,
            "type": "message",
            "role": "assistant",
            "model": response.model,
            "content": show_parts(parts, own=own),
            "stop_reason": None,
            "stop_sequence": None,
        }
        finish = choice.finish if choice is not None else None
        if choice is not None and (finish is not None or not own):
            called = any(isinstance(part, ToolCall) for part in parts)
            body["stop_reason"] = stop_reason_of(finish, choice.finish_raw, called=called, own=own)
            body["stop_sequence"] = choice.stop_sequence
        if own:
            body.update(response.extras)
        if own and response.usage_raw is not None:
            body["usage"] = response.usage_raw
        else:
            body["usage"] = encode_usage(response.usage, response.service_tier)
        return wire.encode(body)

    def stream_encoder(self, *, request: Request | None, response_id: str, created: int) -> StreamEncoder:
        del request, created
        return Encoder(response_id)

    def encode_error(self, error: WayportError, *, call_id: str) -> bytes:
        return encode_error(error, call_id)
