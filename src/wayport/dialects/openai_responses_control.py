"""Which fields of a client's request are for the gateway and which for a Responses upstream."""

from typing import Final

from msgspec import Raw

from wayport.dialects.openai_chat_control import CONTROL, merge
from wayport.wire.openai_responses import OWN_FIELDS
from wayport.wire.patch import Fields

REMOVED: Final = CONTROL

# What limits and prices were worked out from before: not to be changed by a side door.
_NOT_FROM_EXTRA_BODY: Final = frozenset({"model", "input", "stream", "max_output_tokens", "previous_response_id"})


def upstream_fields(fields: Fields) -> tuple[dict[str, Raw], list[str]]:
    """A copy of the fields that may go upstream, `extra_body` merged into them, and what was left out of that."""
    if OWN_FIELDS.issuperset(fields) and "metadata" not in fields:
        return dict(fields), []
    return merge(fields, OWN_FIELDS, _NOT_FROM_EXTRA_BODY)
