"""Reads an upstream's stream of the Messages API into deltas."""

from collections.abc import Iterable
from typing import Literal

import msgspec
from msgspec import Raw, Struct, field

from wayport.core.errors import Fault
from wayport.core.usage import Usage
from wayport.dialects.anthropic_messages_answer import JSON_TOOL, JSON_VALUE_TOOL, unwrapped
from wayport.dialects.anthropic_messages_errors import decode_stream_error
from wayport.dialects.anthropic_messages_fields import EMPTY_LIST, NAME, NULL, decode_citation, optional_text, text_of
from wayport.dialects.anthropic_messages_parts import decode_block, is_json
from wayport.dialects.anthropic_messages_usage import finish_of, merge, tier_of
from wayport.dialects.neutral import (
    Annotated,
    BlockClosed,
    BlockDelta,
    BlockOpened,
    ChoiceFinished,
    Delta,
    Ended,
    Failed,
    Opaque,
    Part,
    Pinged,
    Started,
    Text,
    ToolCall,
    Unknown,
    UsageReported,
)
from wayport.wire import anthropic_messages as wire
from wayport.wire.patch import Fields
from wayport.wire.sse import Event

# Fields of the message that have a place of their own in the neutral form.
MESSAGE_FIELDS = ("id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "usage")

_PINGED = (Pinged(),)

# Some providers leave out `content_block_start`: the first delta tells what the block is.
_PART_OF_DELTA: dict[str, Raw] = {
    "text_delta": Raw(b'{"type":"text","text":""}'),
    "citations_delta": Raw(b'{"type":"text","text":""}'),
    "thinking_delta": Raw(b'{"type":"thinking","thinking":"","signature":""}'),
    "signature_delta": Raw(b'{"type":"thinking","thinking":"","signature":""}'),
}


class _Open(Struct):
    """A block of the stream that is not closed yet."""

    number: int
    """its neutral number"""
    kind: Literal["plain", "tool", "json", "value", "opaque"]
    start: Raw
    pieces: list[str] = field(default_factory=list)
    """of its input, as far as it has to be put together here"""
    late: Fields = field(default_factory=dict)
    """fields of an opaque block that deltas replaced"""
    told: bool = False
    """a tool call's arguments have begun"""


class Decoder:
    """`StreamDecoder` of `anthropic_messages`."""

    def __init__(self) -> None:
        self._blocks: dict[int, _Open] = {}
        self._count = 0
        self._usage: Usage | None = None
        self._usage_fields: Fields = {}
        self._extras: set[str] = set()
        self._tier: str | None = None
        self._called = False
        self._answered = False
        self._started = False
        self._finished = False
        self._over = False

    def feed(self, event: Event) -> Iterable[Delta]:
        if self._over or not event.data:
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
        return (Failed(fault=Fault(kind="cut", status=200, message="the stream broke off before its last event")),)

    def _read(self, event: Event) -> Iterable[Delta]:
        seen = wire.decode_event(event.data)
        match seen.type:
            case "content_block_delta":
                return self._delta(seen.index, seen.delta)
            case "content_block_start":
                return [*self._begin(), *self._open(seen.index, seen.content_block)]
            case "content_block_stop":
                return self._close(seen.index)
            case "message_start":
                return self._start(seen.message)
            case "message_delta":
                return [*self._begin(), *self._message_delta(event.data)]
            case "message_stop":
                return self._stop()
            case "ping":
                return _PINGED
            case "error":
                self._over = True
                return (Failed(fault=decode_stream_error(event.data)),)
            case name:
                return [*self._begin(), Unknown(dialect=NAME, name=event.name or name, raw=Raw(event.data))]

    # --------------------------------------------------------------------------------------------------- the message
    def _begin(self) -> Iterable[Delta]:
        """A start, where the provider gave none."""
        if self._started:
            return ()
        self._started = True
        return (Started(id="", model="", dialect=NAME),)

    def _start(self, message: Raw) -> Iterable[Delta]:
        if self._started:
            return ()
        self._started = True
        fields = wire.decode_fields(message)
        usage_raw: Raw | None = None
        if (stated := fields.get("usage")) is not None and stated != NULL:
            usage_raw = stated
            self._state(stated)
        extras = {name: value for name, value in fields.items() if name not in MESSAGE_FIELDS}
        self._extras = set(extras)
        return (
            Started(
                id=optional_text(fields, "id") or "",
                model=optional_text(fields, "model") or "",
                usage=self._usage,
                usage_raw=usage_raw,
                service_tier=self._tier,
                extras=extras or None,
                dialect=NAME,
            ),
        )

    def _state(self, raw: Raw) -> None:
        stated = wire.decode_usage(raw)
        self._usage_fields.update(wire.decode_fields(raw))
        self._usage = merge(self._usage, stated)
        self._tier = tier_of(stated) or self._tier

    def _message_delta(self, data: bytes) -> Iterable[Delta]:
        fields = wire.decode_fields(data)
        del fields["type"]
        changes = wire.decode_fields(fields.pop("delta", Raw(b"{}")))
        stop_sequence = optional_text(changes, "stop_sequence")
        deltas: list[Delta] = []
        if (stop_reason := optional_text(changes, "stop_reason")) is not None and not self._finished:
            self._finished = True
            deltas += self._close_all()
            finish = finish_of(stop_reason)
            if self._answered and not self._called and finish == "tool_calls":
                finish, stop_reason = "stop", "end_turn"
            deltas.append(ChoiceFinished(finish=finish, finish_raw=stop_reason, stop_sequence=stop_sequence))
        usage = fields.pop("usage", NULL)
        tier = self._tier
        if usage != NULL:
            self._state(usage)
        extras = {
            name: value
            for name, value in {**changes, **fields}.items()
            if name not in MESSAGE_FIELDS and (value != NULL or name in self._extras)
        }
        if extras or self._tier != tier:
            deltas.append(Annotated(extras=extras or None, service_tier=self._tier))
        if usage != NULL and self._usage is not None:
            deltas.append(UsageReported(usage=self._usage, raw=Raw(wire.encode(self._usage_fields))))
        return deltas

    def _stop(self) -> Iterable[Delta]:
        self._over = True
        if not self._started:
            fault = Fault(kind="malformed", status=200, message="the stream ended without having begun")
            return (Failed(fault=fault),)
        return [*self._close_all(), Ended()]

    # ---------------------------------------------------------------------------------------------------- its blocks
    def _open(self, index: int, raw: Raw) -> Iterable[Delta]:
        deltas = list(self._close(index)) if index in self._blocks else []
        if self._finished:
            return deltas
        part = decode_block(raw)
        block = _Open(number=self._count, kind="plain", start=raw)
        self._count += 1
        self._blocks[index] = block
        match part:
            case Text():
                if part.extras and part.extras.get("citations") == EMPTY_LIST:
                    del part.extras["citations"]
                    part.extras = part.extras or None
            case ToolCall():
                part = self._open_call(block, part)
            case Opaque():
                block.kind = "opaque"
            case _:
                pass
        return [*deltas, BlockOpened(block=block.number, part=part)]

    def _open_call(self, block: _Open, call: ToolCall) -> Part:
        given = call.arguments if call.arguments.replace(" ", "") != "{}" else ""
        if call.name in (JSON_TOOL, JSON_VALUE_TOOL):
            self._answered = True
            block.kind = "json" if call.name == JSON_TOOL else "value"
            if block.kind == "value":
                block.pieces.append(given)
                given = ""
            block.told = bool(given)
            return Text(text=given)
        self._called = True
        block.kind = "tool"
        block.told = bool(given)
        call.arguments = given
        return call

    def _delta(self, index: int, raw: Raw) -> Iterable[Delta]:
        block = self._blocks.get(index)
        if block is None:
            return self._unopened(index, raw)
        if block.kind == "opaque":
            return self._opaque_delta(block, raw)
        try:
            delta = wire.decode_delta(raw)
        except msgspec.ValidationError:
            # A field that we do not know (`estimated_tokens`): the delta travels on as written, too.
            known = wire.decode_loose_delta(raw)
            return (BlockDelta(block=block.number, text=known.thinking or known.text or known.partial_json, raw=raw),)
        match delta.type:
            case "text_delta":
                return (BlockDelta(block=block.number, text=delta.text),) if delta.text else ()
            case "input_json_delta":
                return self._input(block, delta.partial_json)
            case "thinking_delta":
                return (BlockDelta(block=block.number, text=delta.thinking),) if delta.thinking else ()
            case "signature_delta":
                return (BlockDelta(block=block.number, signature=delta.signature),) if delta.signature else ()
            case "citations_delta":
                return (BlockDelta(block=block.number, citation=decode_citation(delta.citation)),)
            case _:
                return (BlockDelta(block=block.number, raw=raw),)

    def _unopened(self, index: int, raw: Raw) -> Iterable[Delta]:
        start = _PART_OF_DELTA.get(text_of(wire.decode_fields(raw), "type"))
        if start is None or self._finished:
            return ()
        return [*self._begin(), *self._open(index, start), *self._delta(index, raw)]

    def _input(self, block: _Open, piece: str) -> Iterable[Delta]:
        if not piece:
            return ()
        if block.kind == "value":
            block.pieces.append(piece)
            return ()
        block.told = True
        return (BlockDelta(block=block.number, text=piece),)

    def _opaque_delta(self, block: _Open, raw: Raw) -> Iterable[Delta]:
        fields = wire.decode_fields(raw)
        kind = text_of(fields, "type")
        if kind == "input_json_delta":
            block.pieces.append(text_of(fields, "partial_json"))
        else:
            block.late.update(fields)
        return (BlockDelta(block=block.number, raw=raw),)

    def _close(self, index: int) -> Iterable[Delta]:
        block = self._blocks.pop(index, None)
        if block is None:
            return ()
        closed = BlockClosed(block=block.number)
        match block.kind:
            case "tool" | "json" if not block.told:
                return (BlockDelta(block=block.number, text="{}"), closed)
            case "value":
                return (BlockDelta(block=block.number, text=unwrapped("".join(block.pieces))), closed)
            case "opaque" if block.pieces or block.late:
                closed.part = _assembled(block)
        return (closed,)

    def _close_all(self) -> list[Delta]:
        return [delta for index in list(self._blocks) for delta in self._close(index)]


def _assembled(block: _Open) -> Part:
    fields = {**wire.decode_fields(block.start), **block.late}
    given = "".join(block.pieces)
    if given and is_json(given):
        fields["input"] = Raw(given.encode())
    return decode_block(Raw(wire.encode(fields)))
