"""Counting tokens without an answer: `POST /v1/messages/count_tokens`, both sides."""

from typing import Final

from wayport.dialects.anthropic_messages_control import upstream_fields
from wayport.dialects.anthropic_messages_upstream import draft_request
from wayport.dialects.dialect import Encoded, Profile
from wayport.dialects.neutral import Request
from wayport.wire import anthropic_messages as wire
from wayport.wire import patch
from wayport.wire.patch import Fields

COUNTED: Final = frozenset(
    {
        "billing_policy",
        "cache_control",
        "compaction",
        "context_management",
        "mcp_servers",
        "messages",
        "model",
        "output_config",
        "speed",
        "system",
        "thinking",
        "tool_choice",
        "tools",
        "user_profile_id",
    }
)
"""what the count endpoint takes; it refuses the rest of a request"""


def encode_count_request(request: Request, profile: Profile) -> Encoded:
    """A request for its number of tokens. A client's own count request is decoded as any request of this dialect."""
    draft, names = draft_request(request, profile)
    body = {name: value for name, value in draft.body.items() if name in COUNTED}
    return Encoded(body=wire.encode(body), dropped=draft.dropped, lowered=draft.lowered, tool_names=names.changed)


def patch_count_request(fields: Fields, *, model: str) -> bytes:
    """The same dialect on both sides: all values but the model's name as written."""
    kept = {name: value for name, value in upstream_fields(fields).items() if name in COUNTED}
    kept["model"] = patch.encode(model)
    return patch.join(kept)


def decode_count(body: bytes) -> int:
    """Raises `msgspec.MsgspecError` (a `ValueError`) when the body is no count."""
    return wire.decode_token_count(body).input_tokens


def encode_count(input_tokens: int) -> bytes:
    return wire.encode({"input_tokens": input_tokens})
