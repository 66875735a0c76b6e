"""Reasoning of other providers, carried through the thinking blocks of a client that speaks the Messages API.

A client of this API sends thinking blocks back unchanged and does not look into them. So another provider's thoughts are
shown as a thinking block whose signature is a sealed envelope, and what has no text (encrypted reasoning, Gemini's
signature on a tool call or on a text) travels as a redacted thinking block. `restore` puts all of it back in its place.
"""

import msgspec
from msgspec import Struct

from wayport.dialects.anthropic_messages_fields import Block
from wayport.dialects.neutral import Issuer, Message, Part, Reasoning, Text, ToolCall
from wayport.dialects.sealing import is_sealed, seal, unseal

# Signatures on tool calls and texts are Gemini's invention (neutral.ToolCall.signature).
_SIGNER: Issuer = "gemini"


class _Private(Struct, kw_only=True, omit_defaults=True):
    """What stands in an envelope, as JSON."""

    signature: str | None = None
    encrypted: str | None = None
    redacted: str | None = None
    id: str | None = None
    summary_parts: int = 0
    call: str | None = None
    """the signature belongs to the tool call with this id"""
    text: bool = False
    """the signature belongs to the text before"""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Private).decode


def envelope(part: Reasoning) -> str:
    """All of a thought but its text."""
    private = _Private(
        signature=part.signature,
        encrypted=part.encrypted,
        redacted=part.redacted,
        id=part.id,
        summary_parts=len(part.summary or ()) if not part.text else 0,
    )
    return seal(part.issuer or "other", _encode(private).decode())


def shown_text(part: Reasoning) -> str:
    return part.text or "\n\n".join(part.summary or ())


def has_secret(part: Reasoning) -> bool:
    """Whether there is something to carry that has no text."""
    return bool(part.signature or part.encrypted or part.redacted)


def foreign_thinking_block(part: Reasoning) -> Block | None:
    """A thought that Anthropic did not issue; None when it holds nothing."""
    text = shown_text(part)
    if text:
        return {"type": "thinking", "thinking": text, "signature": envelope(part)}
    return redacted_block(envelope(part)) if has_secret(part) else None


def redacted_block(data: str) -> Block:
    return {"type": "redacted_thinking", "data": data}


def call_carrier(call_id: str, signature: str) -> Block:
    """Carries the signature of a tool call. Stands before the call, or after it when the signature came late."""
    return redacted_block(seal(_SIGNER, _encode(_Private(signature=signature, call=call_id)).decode()))


def text_carrier(signature: str) -> Block:
    """Carries the signature of the text before."""
    return redacted_block(seal(_SIGNER, _encode(_Private(signature=signature, text=True)).decode()))


def restore(messages: list[Message]) -> None:
    """Opens every envelope in the messages: thoughts regain their issuer, signatures go back to calls and texts."""
    on_calls: dict[str, str] = {}
    for message in messages:
        if message.role == "assistant" and any(map(_is_sealed, message.parts)):
            message.parts = _restored(message.parts, on_calls)
    if not on_calls:
        return
    for message in messages:
        for part in message.parts:
            if isinstance(part, ToolCall) and part.signature is None:
                part.signature = on_calls.get(part.id)


def _is_sealed(part: Part) -> bool:
    return isinstance(part, Reasoning) and (is_sealed(part.signature) or is_sealed(part.redacted))


def _restored(parts: list[Part], on_calls: dict[str, str]) -> list[Part]:
    restored: list[Part] = []
    for part in parts:
        if not isinstance(part, Reasoning) or not _is_sealed(part):
            restored.append(part)
            continue
        opened = _open(part)
        if opened is None:
            # A damaged envelope: its text is still a thought, but nobody's that could be asked to read it.
            if part.text:
                restored.append(Reasoning(text=part.text, issuer="other"))
            continue
        issuer, private = opened
        if private.call is not None:
            on_calls[private.call] = private.signature or ""
        elif private.text:
            before = next((p for p in reversed(restored) if isinstance(p, Text)), None)
            if before is not None:
                before.signature = private.signature
        else:
            restored.append(_reasoning(part.text, issuer, private))
    return restored


def _open(part: Reasoning) -> tuple[Issuer, _Private] | None:
    opened = unseal(part.signature or part.redacted or "")
    if opened is None:
        return None
    try:
        return opened[0], _decode(opened[1])
    except ValueError:
        return None


def _reasoning(text: str, issuer: Issuer, private: _Private) -> Reasoning:
    summary: list[str] | None = None
    if private.summary_parts:
        pieces = text.split("\n\n")
        summary = pieces if len(pieces) == private.summary_parts else [text]
        text = ""
    return Reasoning(
        text=text,
        summary=summary,
        signature=private.signature,
        encrypted=private.encrypted,
        redacted=private.redacted,
        id=private.id,
        issuer=issuer,
    )
