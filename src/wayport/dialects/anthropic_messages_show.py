"""An answer's parts as content blocks for a client of the Messages API, whatever dialect they came in."""

from collections.abc import Iterable, Iterator

from msgspec import Raw

from wayport.dialects.anthropic_messages_carry import call_carrier, foreign_thinking_block, text_carrier
from wayport.dialects.anthropic_messages_fields import ISSUER, NAME, Block, encode_citation, encode_source, plain_media
from wayport.dialects.anthropic_messages_parts import text_block, thinking_block, tool_use_block
from wayport.dialects.neutral import (
    Audio,
    Document,
    Image,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
    Video,
)


def is_native(part: Reasoning) -> bool:
    """Whether Anthropic issued this thought, so that its signature stands in the block as it is."""
    return part.issuer == ISSUER


def show_parts(parts: Iterable[Part], *, own: bool) -> list[Block | Raw]:
    return [block for part in parts for block in show(part, own=own)]


def show(part: Part, *, own: bool) -> Iterator[Block | Raw]:
    """The blocks that show one part. `own`: the answer came in this dialect, and its extras go back with it."""
    match part:
        case Text():
            if own:
                yield text_block(part, own=True)
            elif part.text:
                yield foreign_text_block(part)
            if part.signature is not None and not own:
                yield text_carrier(part.signature)
        case Refusal():
            if part.text:
                yield {"type": "text", "text": part.text}
        case Reasoning():
            if is_native(part):
                yield thinking_block(part, own=own)
            elif (block := foreign_thinking_block(part)) is not None:
                yield block
        case ToolCall():
            if part.signature is not None:
                yield call_carrier(part.id, part.signature)
            yield tool_use_block(part, part.name, own=own)
        case Image():
            # No block of an answer holds an image; a request's does, and clients pass unknown blocks on.
            yield {"type": "image", "source": encode_source(plain_media(part.source))}
        case Audio():
            if part.transcript:
                yield {"type": "text", "text": part.transcript}
        case Opaque():
            if part.dialect == NAME:
                yield part.raw
            elif part.text:
                yield {"type": "text", "text": part.text}
        case Document() | Video() | ToolResult():
            pass


def foreign_text_block(part: Text) -> Block:
    block: Block = {"type": "text", "text": part.text}
    if part.citations:
        block["citations"] = [encode_citation(citation, part.text) for citation in part.citations]
    return block
