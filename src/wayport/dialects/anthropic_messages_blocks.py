"""The blocks of a stream while they are being shown to a client of the Messages API, each correctly typed.

A block goes on the wire when it has something to show, with the next index; several may be open at once.
"""

from typing import Protocol

import msgspec
from msgspec import Raw

from wayport.dialects.anthropic_messages_carry import (
    call_carrier,
    envelope,
    has_secret,
    redacted_block,
    shown_text,
    text_carrier,
)
from wayport.dialects.anthropic_messages_fields import NAME, Block, encode_citation, finish, id_to_wire
from wayport.dialects.anthropic_messages_parts import text_block, thinking_block, tool_input
from wayport.dialects.anthropic_messages_show import is_native, show
from wayport.dialects.neutral import (
    Audio,
    BlockDelta,
    Image,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    append,
)
from wayport.wire import anthropic_messages as wire

_DELTA = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":'
_TEXT = _DELTA + b'{"type":"text_delta","text":%b}}\n\n'
_INPUT = _DELTA + b'{"type":"input_json_delta","partial_json":%b}}\n\n'
_THINKING = _DELTA + b'{"type":"thinking_delta","thinking":%b}}\n\n'
_SIGNATURE = _DELTA + b'{"type":"signature_delta","signature":%b}}\n\n'
_CITATION = _DELTA + b'{"type":"citations_delta","citation":%b}}\n\n'
_RAW = _DELTA + b"%b}\n\n"
_START = b'event: content_block_start\ndata: {"type":"content_block_start","index":%d,"content_block":%b}\n\n'
_STOP = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n'

_NO_INPUT = Raw(b"{}")


def one_line(json: bytes) -> bytes:
    """JSON without line breaks, which would end a line of the stream. Between values they are only white space."""
    return json.replace(b"\r", b" ").replace(b"\n", b" ") if b"\n" in json or b"\r" in json else json


class Writer:
    """Gives out indexes."""

    def __init__(self) -> None:
        self.own = False
        """the stream comes from this same dialect: everything of it is shown, as it is"""
        self._next = 0

    def start(self, block: Block | Raw) -> tuple[int, bytes]:
        index = self._next
        self._next += 1
        return index, _START % (index, one_line(wire.encode(block)))

    def whole(self, block: Block | Raw) -> bytes:
        """A block that is complete at once."""
        index, started = self.start(block)
        return started + _STOP % index


class Shown(Protocol):
    """One block of the answer. `open` is called once, then `add` for each delta, then `close`."""

    def open(self) -> bytes: ...

    def add(self, delta: BlockDelta) -> bytes: ...

    def pause(self) -> bytes:
        """Another block begins: what can be closed is closed, and begins anew with the next delta."""
        ...

    def close(self, part: Part | None) -> bytes:
        """`part`: the authoritative whole, where the upstream gives one."""
        ...


def shown_block(part: Part, writer: Writer) -> Shown:
    match part:
        case Text() | Refusal() | Audio():
            return _TextBlock(part, writer)
        case Reasoning():
            return _NativeThought(part, writer) if is_native(part) else _ForeignThought(part, writer)
        case ToolCall():
            return _Call(part, writer)
        case Opaque() if part.dialect == NAME:
            return _OwnOpaque(part, writer)
        case _:
            return _Held(part, writer)


class _TextBlock:
    """A text; a refusal and the transcript of a spoken answer are shown as texts, too."""

    def __init__(self, part: Text | Refusal | Audio, writer: Writer) -> None:
        self._part = part
        self._writer = writer
        self._index: int | None = None
        self._pieces: list[str] = []
        self._signature = part.signature if isinstance(part, Text) else None

    def open(self) -> bytes:
        part = self._part
        if isinstance(part, Audio):
            return self._say(part.transcript or "")
        out = b""
        if self._writer.own and isinstance(part, Text):
            start = msgspec.structs.replace(part, text="", citations=[])
            self._index, out = self._writer.start(text_block(start, own=True))
        out += self._say(part.text)
        if isinstance(part, Text):
            out += b"".join(self._cite(encode_citation(citation, part.text)) for citation in part.citations)
        return out

    def _begin(self) -> bytes:
        if self._index is not None:
            return b""
        self._index, started = self._writer.start({"type": "text", "text": ""})
        return started

    def _say(self, text: str) -> bytes:
        if not text:
            return b""
        out = self._begin()
        if not self._writer.own:
            self._pieces.append(text)
        return out + _TEXT % (self._index, wire.encode(text))

    def _cite(self, citation: Block | Raw) -> bytes:
        return self._begin() + _CITATION % (self._index, one_line(wire.encode(citation)))

    def add(self, delta: BlockDelta) -> bytes:
        if delta.raw is not None and self._writer.own:
            return self._begin() + _RAW % (self._index, one_line(bytes(delta.raw)))
        out = self._say(delta.transcript if isinstance(self._part, Audio) else delta.text)
        if delta.citation is not None:
            out += self._cite(encode_citation(delta.citation, "".join(self._pieces)))
        if delta.signature is not None:
            self._signature = delta.signature
        return out

    def pause(self) -> bytes:
        if self._index is None:
            return b""
        index, self._index = self._index, None
        return _STOP % index

    def close(self, part: Part | None) -> bytes:
        if isinstance(part, Text) and part.signature is not None:
            self._signature = part.signature
        out = self.pause()
        if self._signature is not None:
            out += self._writer.whole(text_carrier(self._signature))
        return out


class _NativeThought:
    """A thought that Anthropic issued: its signature is told once, whole, at the end, as clients expect."""

    def __init__(self, part: Reasoning, writer: Writer) -> None:
        self._part = part
        self._writer = writer
        self._index: int | None = None
        self._signature = part.signature or ""

    def open(self) -> bytes:
        part = self._part
        own = self._writer.own
        if part.redacted is not None:
            self._index, out = self._writer.start(thinking_block(part, own=own))
            return out
        start = msgspec.structs.replace(part, text="", signature=None)
        self._index, out = self._writer.start(thinking_block(start, own=own))
        return out + self._think(part.text)

    def _begin(self) -> bytes:
        if self._index is not None:
            return b""
        self._index, started = self._writer.start({"type": "thinking", "thinking": "", "signature": ""})
        return started

    def _think(self, text: str) -> bytes:
        if not text:
            return b""
        return self._begin() + _THINKING % (self._index, wire.encode(text))

    def add(self, delta: BlockDelta) -> bytes:
        self._signature += delta.signature or ""
        if delta.raw is not None and self._writer.own:
            return self._begin() + _RAW % (self._index, one_line(bytes(delta.raw)))
        return self._think(delta.text)

    def pause(self) -> bytes:
        if self._index is None:
            return b""
        index, self._index = self._index, None
        signature, self._signature = self._signature, ""
        told = _SIGNATURE % (index, wire.encode(signature)) if signature and self._part.redacted is None else b""
        return told + _STOP % index

    def close(self, part: Part | None) -> bytes:
        if isinstance(part, Reasoning) and part.signature and self._part.redacted is None:
            self._signature = part.signature
        return self.pause()


class _ForeignThought:
    """Another provider's thought: a thinking block with a sealed signature, or a redacted one if there is no text."""

    def __init__(self, part: Reasoning, writer: Writer) -> None:
        # What has been shown so far, and of its secrets those that no envelope holds yet.
        self._part = msgspec.structs.replace(part, summary=list(part.summary) if part.summary is not None else None)
        self._writer = writer
        self._index: int | None = None
        self._sealed: tuple[str | None, ...] = (None, None, None)
        self._last_summary = len(part.summary or ()) - 1

    def open(self) -> bytes:
        return self._think(shown_text(self._part))

    def _think(self, text: str) -> bytes:
        if not text:
            return b""
        started = b""
        if self._index is None:
            self._index, started = self._writer.start({"type": "thinking", "thinking": "", "signature": ""})
        return started + _THINKING % (self._index, wire.encode(text))

    def add(self, delta: BlockDelta) -> bytes:
        append(self._part, delta)
        text = delta.text
        if delta.summary_index is not None and text:
            if delta.summary_index > self._last_summary >= 0:
                text = "\n\n" + text
            self._last_summary = max(self._last_summary, delta.summary_index)
        return self._think(text)

    def pause(self) -> bytes:
        if self._index is None:
            return b""
        index, self._index = self._index, None
        told = _SIGNATURE % (index, wire.encode(envelope(self._part))) + _STOP % index
        self._sealed = _secrets(self._part)
        self._part = _without_secrets(self._part)
        return told

    def close(self, part: Part | None) -> bytes:
        late = b""
        if isinstance(part, Reasoning):
            if not shown_text(self._part):
                late = self._think(shown_text(part))
            self._part = part if _secrets(part) != self._sealed else _without_secrets(part)
        if self._index is not None:
            return late + self.pause()
        if not has_secret(self._part):
            return b""
        # Its text, if any, was shown before the secret came.
        secret = msgspec.structs.replace(self._part, text="", summary=None)
        return self._writer.whole(redacted_block(envelope(secret)))


def _secrets(part: Reasoning) -> tuple[str | None, ...]:
    return (part.signature, part.encrypted, part.redacted)


def _without_secrets(part: Reasoning) -> Reasoning:
    return msgspec.structs.replace(part, signature=None, encrypted=None, redacted=None)


class _Call:
    """A tool call; its signature travels in a redacted thinking block before it (or after, if it came late)."""

    def __init__(self, part: ToolCall, writer: Writer) -> None:
        self._part = part
        self._writer = writer
        self._index = 0
        self._told = False
        self._signature: str | None = None

    def open(self) -> bytes:
        part = self._part
        out = self._writer.whole(call_carrier(part.id, part.signature)) if part.signature is not None else b""
        block: Block = {"type": "tool_use", "id": id_to_wire(part.id), "name": part.name, "input": {}}
        self._index, started = self._writer.start(finish(block, part.cache, part.extras, own=self._writer.own))
        return out + started + self._input(part.arguments)

    def _input(self, piece: str) -> bytes:
        if not piece:
            return b""
        self._told = True
        return _INPUT % (self._index, wire.encode(piece))

    def add(self, delta: BlockDelta) -> bytes:
        if delta.signature is not None:
            self._signature = delta.signature
        return self._input(delta.text)

    def pause(self) -> bytes:
        return b""

    def close(self, part: Part | None) -> bytes:
        out = b""
        if isinstance(part, ToolCall):
            self._signature = part.signature or self._signature
            if not self._told and part.arguments:
                out = self._input(bytes(tool_input(part)).decode())
        if not self._told:
            out = self._input("{}")
        out += _STOP % self._index
        if self._signature is not None and self._signature != self._part.signature:
            out += self._writer.whole(call_carrier(self._part.id, self._signature))
        return out


class _OwnOpaque:
    """A block that only this dialect knows, on its way back to this same dialect."""

    def __init__(self, part: Opaque, writer: Writer) -> None:
        self._raw = part.raw
        self._writer = writer
        self._index = 0

    def open(self) -> bytes:
        fields = wire.decode_fields(self._raw)
        given = fields.get("input", _NO_INPUT)
        if given == _NO_INPUT:
            self._index, started = self._writer.start(self._raw)
            return started
        # Clients collect a tool's input from deltas and forget what the start of the block says.
        fields["input"] = _NO_INPUT
        self._index, started = self._writer.start(fields)
        return started + _INPUT % (self._index, wire.encode(bytes(given).decode()))

    def add(self, delta: BlockDelta) -> bytes:
        return _RAW % (self._index, one_line(bytes(delta.raw))) if delta.raw is not None else b""

    def pause(self) -> bytes:
        return b""

    def close(self, part: Part | None) -> bytes:
        del part
        return _STOP % self._index


class _Held:
    """A part that can only be shown whole (an image) or that another dialect alone understands."""

    def __init__(self, part: Part, writer: Writer) -> None:
        self._part = part
        if isinstance(part, Image):
            self._part = msgspec.structs.replace(part, source=msgspec.structs.replace(part.source))
        self._writer = writer

    def open(self) -> bytes:
        return b""

    def add(self, delta: BlockDelta) -> bytes:
        append(self._part, delta)
        return b""

    def pause(self) -> bytes:
        return b""

    def close(self, part: Part | None) -> bytes:
        return b"".join(self._writer.whole(block) for block in show(part or self._part, own=self._writer.own))
