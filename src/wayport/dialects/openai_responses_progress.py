"""What was told of each item of a Responses stream: which blocks it became, and how much of each."""

import msgspec
from msgspec import Raw

from wayport.dialects.neutral import Part, Refusal, Text
from wayport.dialects.openai_responses_parts import raw_of

MESSAGE, REASONING, CALL, OPAQUE = range(4)
KINDS = {"message": MESSAGE, "reasoning": REASONING, "function_call": CALL, "custom_tool_call": CALL}


class Item:
    """An item of the stream: what was told of it, and which blocks it became."""

    __slots__ = ("blocks", "closed", "id", "kind", "logprobs", "pending", "raw", "told")

    def __init__(self, kind: int, raw: Raw, item_id: str | None) -> None:
        self.kind = kind
        self.raw = raw
        self.id = item_id
        self.blocks: dict[int, int] = {}
        """content index (0 but for messages) to block"""
        self.told: dict[int, int] = {}
        """characters told, by content index; summary parts at negative numbers"""
        self.pending: dict[int, Raw] = {}
        """content parts that are done, held until it is known whether another one follows"""
        self.closed: set[int] = set()
        self.logprobs = False


def implied(item_id: str | None) -> Raw:
    """The message item that an upstream never announced."""
    return raw_of({"id": item_id or "", "type": "message", "status": "in_progress", "role": "assistant"})


def bare(part: Part) -> Part:
    """A part as it opens: its text follows as deltas."""
    match part:
        case Text():
            return msgspec.structs.replace(part, text="", citations=[])
        case Refusal():
            return msgspec.structs.replace(part, text="")
        case _:
            return part
