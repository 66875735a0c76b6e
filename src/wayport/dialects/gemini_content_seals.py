"""Thoughts of other providers, carried through `thoughtSignature` by clients that speak Gemini.

Such a client keeps the signature of a call or a text and sends it back, but may throw thoughts away. So whole thoughts
travel sealed on the first call or text after them, and `restore` puts them before it again.
"""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from wayport.dialects.gemini_content_calls import FOREIGN_CALL_SIGNATURE
from wayport.dialects.neutral import Issuer, Message, Part, Reasoning, Text, ToolCall
from wayport.dialects.sealing import is_sealed, seal, unseal

SEALED = "~sealed"
"""note on a thought: another provider's, that came in an envelope"""


class _Thought(Struct, kw_only=True, omit_defaults=True):
    """One thought in an envelope. Short names: it is sent again with every turn."""

    text: str = msgspec.field(default="", name="t")
    summary: list[str] | None = msgspec.field(default=None, name="m")
    signature: str | None = msgspec.field(default=None, name="s")
    redacted: str | None = msgspec.field(default=None, name="r")
    encrypted: str | None = msgspec.field(default=None, name="e")
    id: str | None = msgspec.field(default=None, name="i")


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[_Thought]).decode


class Pending:
    """Thoughts on their way to the next part that can carry a signature."""

    def __init__(self) -> None:
        self._thoughts: list[Reasoning] = []

    def add(self, part: Reasoning) -> None:
        if part.issuer != "gemini":
            self._thoughts.append(part)

    def for_call(self) -> str | None:
        """Everything: some targets want plain thoughts back as well in tool turns."""
        return self._take()

    def for_text(self) -> str | None:
        """Only what somebody signed: plain thoughts before a text are of no use to anyone."""
        if any(part.signature or part.redacted or part.encrypted for part in self._thoughts):
            return self._take()
        self._thoughts.clear()
        return None

    def _take(self) -> str | None:
        if not self._thoughts:
            return None
        issuer: Issuer = next((part.issuer for part in self._thoughts if part.issuer is not None), "other")
        thoughts = [
            _Thought(
                text=part.text,
                summary=part.summary,
                signature=part.signature,
                redacted=part.redacted,
                encrypted=part.encrypted,
                id=part.id,
            )
            for part in self._thoughts
        ]
        self._thoughts.clear()
        return seal(issuer, _encode(thoughts).decode())


def restore(messages: list[Message]) -> None:
    """Opens every envelope in a client's history; what was shown of those thoughts is replaced by the thoughts."""
    full = [message for message in messages if message.parts]
    for number, message in enumerate(messages):
        if message.role != "assistant" or not any(is_sealed(_signature(part)) for part in message.parts):
            continue
        parts: list[Part] = []
        for part in message.parts:
            thoughts = _open(part)
            if thoughts:
                _forget_shown(parts, messages[:number])
                parts.extend(thoughts)
            if not (isinstance(part, Text | Reasoning) and not part.text and thoughts is not None):
                parts.append(part)
        message.parts = parts
    emptied = {id(message) for message in full if not message.parts}
    if emptied:
        messages[:] = [message for message in messages if id(message) not in emptied]


def _signature(part: Part) -> str | None:
    return part.signature if isinstance(part, Text | ToolCall | Reasoning) else None


def _open(part: Part) -> list[Reasoning] | None:
    """The thoughts that a part carries, taken off it; None for a part that carries none."""
    signature = _signature(part)
    if signature is None or not is_sealed(signature):
        return None
    assert isinstance(part, Text | ToolCall | Reasoning)
    part.signature = None
    opened = unseal(signature)
    if opened is None:
        return []
    issuer, payload = opened
    try:
        thoughts = _decode(payload)
    except ValueError:
        return []
    return [
        Reasoning(
            text=thought.text,
            summary=thought.summary,
            signature=thought.signature,
            redacted=thought.redacted,
            encrypted=thought.encrypted,
            id=thought.id,
            issuer=None if issuer == "other" else issuer,
            extras={SEALED: Raw(b"true")},
        )
        for thought in thoughts
    ]


def _forget_shown(parts: list[Part], before: list[Message]) -> None:
    """Removes the unsigned thoughts at the end: they are the shown form of what was sealed, often one part a chunk."""
    while parts and _is_shown(parts[-1]):
        parts.pop()
    for message in reversed(before):
        if parts or message.role != "assistant":
            return
        while message.parts and _is_shown(message.parts[-1]):
            message.parts.pop()
        if message.parts:
            return


def _is_shown(part: Part) -> bool:
    return isinstance(part, Reasoning) and not (part.signature or part.redacted or part.encrypted)


def without_seals(contents: Raw) -> Raw:
    """The contents of a request without our envelopes, for the way that decodes nothing else: Google refuses
    signatures that it did not make, and wants one on a call.
    """
    value = msgspec.json.decode(contents)
    kept = []
    for content in value if isinstance(value, list) else [value]:
        if isinstance(content, dict) and isinstance(content.get("parts"), list) and content["parts"]:
            content["parts"] = [part for part in content["parts"] if _without_seal(part)]
            if not content["parts"]:
                continue
        kept.append(content)
    return Raw(_encode(kept))


def _without_seal(part: Any) -> bool:
    """Takes an envelope off a part; False when nothing is left of it."""
    if not isinstance(part, dict):
        return True
    for key in ("thoughtSignature", "thought_signature"):
        if is_sealed(part.get(key)):
            if "functionCall" in part or "function_call" in part:
                part[key] = FOREIGN_CALL_SIGNATURE
            else:
                del part[key]
                return part.get("text") != ""
    return True
