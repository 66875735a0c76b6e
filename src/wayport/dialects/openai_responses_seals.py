"""What other providers signed, carried through `encrypted_content` of reasoning items.

The Responses API has one field that a client keeps without reading it. Thoughts of Anthropic, Gemini and others travel
in it, sealed: whole thoughts in their own reasoning item, a signature that stood on a tool call in an empty one before
that call. What is sealed goes back to its issuer only.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec
from msgspec import Struct, field

from wayport.dialects.neutral import Issuer, Part, Reasoning, Text, ToolCall
from wayport.dialects.sealing import is_sealed, seal, unseal

SEALED = "@sealed"
"""on a reasoning part: its encrypted_content was an envelope of ours; holds the whole item as written"""


class Seal(Struct, kw_only=True, omit_defaults=True):
    """What an envelope holds. Short names: it is sent again with every turn."""

    issuer: Issuer = field(default="other", name="by")
    call_id: str | None = field(default=None, name="c")
    """the signature stood on this tool call"""
    on_text: Literal["next", "last"] | None = field(default=None, name="x")
    """the signature stood on the text after this item, or before it"""
    text: str | None = field(default=None, name="t")
    """the thoughts word for word, where a signature covers them; else they are the summary"""
    signature: str | None = field(default=None, name="s")
    redacted: str | None = field(default=None, name="r")
    encrypted: str | None = field(default=None, name="e")
    id: str | None = field(default=None, name="i")

    def restore(self, part: Reasoning) -> None:
        """Makes the part again what it was before it was sealed."""
        part.issuer = None if self.issuer == "other" and not self._signed else self.issuer
        shown = "".join(part.summary or ())
        part.text = self.text if self.text is not None else part.text or shown
        part.summary = None
        part.signature = self.signature
        part.redacted = self.redacted
        part.encrypted = self.encrypted
        part.id = self.id

    @property
    def _signed(self) -> bool:
        return bool(self.signature or self.redacted or self.encrypted)


_decoder = msgspec.json.Decoder(Seal)
_encoder = msgspec.json.Encoder()


def seal_reasoning(part: Reasoning) -> str:
    """The envelope of one thought."""
    signed = bool(part.signature or part.redacted or part.encrypted)
    content = Seal(
        text=part.text if signed and part.text else None,
        signature=part.signature,
        redacted=part.redacted,
        encrypted=part.encrypted,
        id=part.id,
    )
    return seal(part.issuer or "other", _encoder.encode(content).decode())


def seal_call(call: ToolCall) -> str:
    """The envelope of the signature on a tool call. Only Gemini signs calls."""
    return seal("gemini", _encoder.encode(Seal(call_id=call.id, signature=call.signature)).decode())


def seal_text(signature: str, which: Literal["next", "last"]) -> str:
    """The envelope of the signature on a text, which stands after this item or before it."""
    return seal("gemini", _encoder.encode(Seal(on_text=which, signature=signature)).decode())


def open_seal(text: str) -> Seal | None:
    """What an envelope holds; None for encrypted content that OpenAI made."""
    opened = unseal(text)
    if opened is None:
        return Seal() if is_sealed(text) else None
    issuer, payload = opened
    try:
        content = _decoder.decode(payload)
    except ValueError:
        content = Seal(signature=payload)
    content.issuer = issuer
    return content


class Seals:
    """Collects the signatures that stood on tool calls and texts, and puts them back."""

    __slots__ = ("_calls", "_last", "_next")

    def __init__(self) -> None:
        self._calls: dict[str, str] = {}
        self._next: str | None = None
        self._last: Text | None = None

    def keep(self, content: Seal) -> bool:
        """Whether this envelope was about another part (and is kept for it)."""
        if content.signature is None:
            return False
        if content.call_id is not None:
            self._calls[content.call_id] = content.signature
        elif content.on_text == "next":
            self._next = content.signature
        elif content.on_text == "last":
            if self._last is not None:
                self._last.signature = content.signature
        else:
            return False
        return True

    def see(self, parts: Iterable[Part]) -> None:
        """More parts, in order."""
        for part in parts:
            if isinstance(part, Text):
                if self._next is not None:
                    part.signature, self._next = self._next, None
                self._last = part

    def apply(self, parts: Iterable[Part]) -> None:
        """All parts, at the end."""
        if not self._calls:
            return
        for part in parts:
            if isinstance(part, ToolCall) and part.id in self._calls:
                part.signature = self._calls[part.id]
