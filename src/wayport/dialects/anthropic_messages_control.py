"""Which fields of a client's request are for the gateway and which for Anthropic."""

from typing import Final

from msgspec import Raw

from wayport.dialects.anthropic_messages_fields import is_string
from wayport.dialects.openai_chat_control import CONTROL, is_control
from wayport.wire import anthropic_messages as wire
from wayport.wire.patch import Fields

OWN_FIELDS: Final = frozenset(
    {
        "model",
        "messages",
        "max_tokens",
        "system",
        "tools",
        "tool_choice",
        "stream",
        "temperature",
        "top_p",
        "top_k",
        "stop_sequences",
        "thinking",
        "output_config",
        "cache_control",
        "service_tier",
        "container",
        "context_management",
        "mcp_servers",
        "speed",
        "inference_geo",
    }
)
"""fields of the Messages API whose names mean nothing else; `metadata` and `fallbacks` are looked at"""

REMOVED: Final = CONTROL - OWN_FIELDS - {"fallbacks"}


def upstream_fields(fields: Fields) -> Fields:
    """A copy of the fields, without what is the gateway's own business."""
    if OWN_FIELDS.issuperset(fields):
        return dict(fields)
    kept = {name: value for name, value in fields.items() if name in OWN_FIELDS or not _is_ours(name, value)}
    if (metadata := kept.get("metadata")) is not None:
        kept["metadata"] = _metadata(metadata)
    return kept


def _is_ours(name: str, value: Raw) -> bool:
    if name == "fallbacks":
        # Anthropic's are objects with a `model` (beta) or the word `default`; a gateway's are names.
        return not is_string(value) and b'"model"' not in bytes(value)
    return is_control(name)


def _metadata(value: Raw) -> Raw:
    """Anthropic stores `user_id` and texts; lists and objects beside it are meant for a gateway."""
    try:
        fields = wire.decode_fields(value)
    except ValueError:
        return value
    kept = {name: item for name, item in fields.items() if is_string(item) or bytes(item) == b"null"}
    return value if len(kept) == len(fields) else Raw(wire.encode(kept))
