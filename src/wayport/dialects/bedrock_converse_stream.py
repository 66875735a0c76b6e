"""Reads a ConverseStream into deltas. Its events come as frames: `wire.eventstream` makes events of them.

Only tool calls, tool results and images announce themselves; a text or a thought begins with its first delta.
"""

import base64
from collections.abc import Iterable
from typing import Literal

import msgspec
from msgspec import Raw, Struct, field

from wayport.core.errors import Fault
from wayport.dialects.anthropic_messages_answer import JSON_TOOL, JSON_VALUE_TOOL, unwrapped
from wayport.dialects.bedrock_converse_answer import (
    ADDITIONAL,
    NAME,
    decode_citation,
    decode_usage,
    extras_in,
    finish_of,
    redacted,
    stop_sequence_in,
    thought,
    tier_in,
)
from wayport.dialects.bedrock_converse_errors import decode_stream_error
from wayport.dialects.bedrock_converse_media import media_type_for, s3_uri
from wayport.dialects.neutral import (
    Annotated,
    BlockClosed,
    BlockDelta,
    BlockOpened,
    ChoiceFinished,
    Delta,
    Ended,
    Failed,
    Image,
    Media,
    Opaque,
    Part,
    Started,
    Text,
    ToolCall,
    Unknown,
    UsageReported,
)
from wayport.wire import bedrock_converse as wire
from wayport.wire.eventstream import EXCEPTION
from wayport.wire.patch import Fields
from wayport.wire.sse import Event

_Kind = Literal["text", "thought", "call", "json", "value", "image", "server call", "server result"]


class _Open(Struct):
    """A block of the stream that is not closed yet."""

    number: int
    """its neutral number"""
    kind: _Kind
    pieces: list[str] = field(default_factory=list)
    """of its text or input, as far as it has to be put together here"""
    told: bool = False
    """a tool call's arguments have begun"""
    signature: str = ""
    start: Fields = field(default_factory=dict)
    """of what only Bedrock knows: the member of the block, as far as it was announced"""
    results: list[Raw] = field(default_factory=list)
    media: Media | None = None
    carry: bytes = b""
    """the last bytes of an image, too few to be told in base64"""


class Decoder:
    """`StreamDecoder` of `bedrock_converse`."""

    def __init__(self) -> None:
        self._blocks: dict[int, _Open] = {}
        self._count = 0
        self._called = False
        self._answered = False
        self._started = False
        self._finished = False
        self._described = False
        self._over = False

    def feed(self, event: Event) -> Iterable[Delta]:
        if self._over:
            return ()
        try:
            return self._read(event)
        except (ValueError, RecursionError) as error:
            self._over = True
            fault = Fault(kind="malformed", status=200, message=f"an event of the stream cannot be read: {error}")
            return (Failed(fault=fault),)

    def end(self) -> Iterable[Delta]:
        if self._over:
            return ()
        self._over = True
        if self._finished:
            # All was said; only the account of it is missing.
            return (Ended(),)
        return (Failed(fault=Fault(kind="cut", status=200, message="the stream broke off before its last event")),)

    def _read(self, event: Event) -> Iterable[Delta]:
        match event.name:
            case "contentBlockDelta":
                delta = wire.decode_block_delta(event.data)
                if delta.delta.text is not None:
                    return self._text(delta.content_block_index, delta.delta.text)
                return self._delta(delta.content_block_index, delta.delta, event)
            case "contentBlockStart":
                start = wire.decode_block_start(event.data)
                return self._start(start.content_block_index, start.start, event)
            case "contentBlockStop":
                return self._close(wire.decode_block_stop(event.data).content_block_index)
            case "messageStart":
                return self._begin()
            case "messageStop":
                return self._stop(event.data)
            case "metadata":
                return self._metadata(event.data)
            case name if name.startswith(EXCEPTION):
                self._over = True
                return (Failed(fault=decode_stream_error(name.removeprefix(EXCEPTION), event.data)),)
            case _:
                return [*self._begin(), self._unknown(event)]

    # --------------------------------------------------------------------------------------------------- the message
    def _begin(self) -> list[Delta]:
        if self._started:
            return []
        self._started = True
        return [Started(id="", model="", dialect=NAME)]

    @staticmethod
    def _unknown(event: Event) -> Delta:
        return Unknown(dialect=NAME, name=event.name, raw=Raw(event.data))

    def _stop(self, data: bytes) -> Iterable[Delta]:
        if self._finished:
            return ()
        self._finished = True
        stop = wire.decode_message_stop(data)
        additional = stop.additional_model_response_fields
        given = additional if additional != wire.EMPTY else None
        finish, word = finish_of(stop.stop_reason, answered=self._answered and not self._called)
        deltas = [*self._begin(), *(delta for index in list(self._blocks) for delta in self._close(index))]
        deltas.append(ChoiceFinished(finish=finish, finish_raw=word, stop_sequence=stop_sequence_in(given)))
        if given is not None:
            deltas.append(Annotated(extras={ADDITIONAL: given}))
        return [*deltas, *self._ended()]

    def _metadata(self, data: bytes) -> Iterable[Delta]:
        self._described = True
        fields = wire.decode_fields(data)
        deltas = self._begin()
        extras, tier = extras_in(fields), tier_in(fields)
        if extras or tier is not None:
            deltas.append(Annotated(extras=extras or None, service_tier=tier))
        if (usage := fields.get("usage")) is not None:
            deltas.append(UsageReported(usage=decode_usage(usage), raw=usage))
        return [*deltas, *self._ended()]

    def _ended(self) -> Iterable[Delta]:
        """The end, when the reason and the account of it were both given."""
        if not (self._finished and self._described):
            return ()
        self._over = True
        return (Ended(),)

    # ---------------------------------------------------------------------------------------------------- its blocks
    def _open(self, index: int, kind: _Kind, part: Part) -> tuple[_Open, list[Delta]]:
        deltas = [*self._begin(), *self._close(index)]
        block = self._blocks[index] = _Open(number=self._count, kind=kind)
        self._count += 1
        return block, [*deltas, BlockOpened(block=block.number, part=part)]

    def _start(self, index: int, raw: Raw, event: Event) -> Iterable[Delta]:
        if self._finished:
            return ()
        start = wire.decode_start(raw)
        if start.tool_use != wire.EMPTY:
            return self._call(index, start.tool_use)
        if start.image is not None:
            media = Media(kind="base64", value="", media_type=media_type_for(Image, start.image.format))
            block, deltas = self._open(index, "image", Image(source=media))
            block.media = media
            return deltas
        fields = wire.decode_fields(raw)
        if "toolResult" in fields:
            block, deltas = self._open(index, "server result", Opaque(dialect=NAME, kind="toolResult", raw=raw))
            block.start = wire.decode_fields(fields["toolResult"])
            return deltas
        return [*self._begin(), self._unknown(event)]

    def _call(self, index: int, raw: Raw) -> Iterable[Delta]:
        call = wire.decode_tool_use_start(raw)
        if call.type == "server_tool_use":
            announced = Raw(wire.encode({"toolUse": raw}))
            block, deltas = self._open(index, "server call", Opaque(dialect=NAME, kind=call.type, raw=announced))
            block.start = wire.decode_fields(raw)
            return deltas
        if call.name in (JSON_TOOL, JSON_VALUE_TOOL):
            self._answered = True
            return self._open(index, "json" if call.name == JSON_TOOL else "value", Text(text=""))[1]
        self._called = True
        return self._open(index, "call", ToolCall(id=call.tool_use_id, name=call.name))[1]

    def _text(self, index: int, text: str) -> Iterable[Delta]:
        block = self._blocks.get(index)
        if block is not None and block.kind == "text":
            return (BlockDelta(block=block.number, text=text),) if text else ()
        if not text or self._finished:
            return ()
        block, deltas = self._open(index, "text", Text(text=""))
        return [*deltas, BlockDelta(block=block.number, text=text)]

    def _delta(self, index: int, delta: wire.Delta, event: Event) -> Iterable[Delta]:
        if self._finished:
            return ()
        block = self._blocks.get(index)
        if delta.tool_use is not None:
            return self._input(block, delta.tool_use.input)
        if delta.reasoning_content is not None:
            return self._think(index, delta.reasoning_content)
        if delta.citation != wire.EMPTY:
            return self._cite(index, delta.citation)
        if delta.image != wire.EMPTY:
            return self._show(block, delta.image)
        if delta.tool_result != wire.EMPTY:
            if block is not None:
                block.results += wire.decode_list(delta.tool_result)
            return ()
        return [*self._begin(), self._unknown(event)]

    def _input(self, block: _Open | None, piece: str) -> Iterable[Delta]:
        if block is None or not piece:
            return ()
        if block.kind in ("value", "server call"):
            block.pieces.append(piece)
            return ()
        block.told = True
        return (BlockDelta(block=block.number, text=piece),)

    def _think(self, index: int, delta: wire.ReasoningDelta) -> Iterable[Delta]:
        deltas: list[Delta] = []
        if delta.redacted_content is not None:
            return self._open(index, "thought", redacted(delta.redacted_content))[1]
        block = self._blocks.get(index)
        if block is None or block.kind != "thought":
            if not (delta.text or delta.signature):
                return ()
            block, deltas = self._open(index, "thought", thought("", delta.signature))
            if delta.signature:
                block.signature = delta.signature
        elif delta.signature:
            block.signature += delta.signature
            deltas.append(BlockDelta(block=block.number, signature=delta.signature))
        if delta.text:
            block.pieces.append(delta.text)
            deltas.append(BlockDelta(block=block.number, text=delta.text))
        return deltas

    def _cite(self, index: int, raw: Raw) -> Iterable[Delta]:
        block = self._blocks.get(index)
        deltas: list[Delta] = []
        if block is None or block.kind != "text":
            block, deltas = self._open(index, "text", Text(text=""))
        return [*deltas, BlockDelta(block=block.number, citation=decode_citation(raw))]

    @staticmethod
    def _show(block: _Open | None, raw: Raw) -> Iterable[Delta]:
        if block is None or block.media is None:
            return ()
        delta = wire.decode_image_delta(raw)
        if delta.error != wire.EMPTY:
            block.start["error"] = delta.error
        source = delta.source
        if source is not None and source.s3_location is not None:
            block.media = msgspec.structs.replace(block.media, kind="file", value=s3_uri(source.s3_location))
            block.told = True
        if source is None or not source.bytes:
            return ()
        # Each piece is base64 of its own: pieces that end within a group of three bytes cannot simply be joined.
        data = block.carry + base64.b64decode(source.bytes)
        whole = len(data) - len(data) % 3
        block.carry = data[whole:]
        text = base64.b64encode(data[:whole]).decode()
        block.pieces.append(text)
        return (BlockDelta(block=block.number, text=text),) if text else ()

    def _close(self, index: int) -> Iterable[Delta]:
        block = self._blocks.pop(index, None)
        if block is None:
            return ()
        closed = BlockClosed(block=block.number)
        match block.kind:
            case "call" | "json" if not block.told:
                return (BlockDelta(block=block.number, text="{}"), closed)
            case "value":
                return (BlockDelta(block=block.number, text=unwrapped("".join(block.pieces))), closed)
            case "thought" if block.signature:
                closed.part = thought("".join(block.pieces), block.signature)
            case "image":
                return _close_image(block, closed)
            case "server call":
                given = "".join(block.pieces)
                closed.part = _server_part("toolUse", {**block.start, "input": Raw(given.encode() or b"{}")})
            case "server result":
                closed.part = _server_part("toolResult", {**block.start, "content": Raw(wire.encode(block.results))})
        return (closed,)


def _server_part(member: str, fields: Fields) -> Part:
    kind = "server_tool_use" if member == "toolUse" else member
    return Opaque(dialect=NAME, kind=kind, raw=Raw(wire.encode({member: fields})))


def _close_image(block: _Open, closed: BlockClosed) -> Iterable[Delta]:
    assert block.media is not None
    last = base64.b64encode(block.carry).decode()
    if block.told or block.start:
        value = block.media.value or "".join(block.pieces) + last
        source = msgspec.structs.replace(block.media, value=value)
        closed.part = Image(source=source, extras=block.start or None)
    return (BlockDelta(block=block.number, text=last), closed) if last else (closed,)
