"""Writes the stream of the Messages API to a client, from deltas of any dialect."""

from collections.abc import Callable
from typing import Any

from msgspec import Raw

from wayport.dialects.anthropic_messages_blocks import Shown, Writer, one_line, shown_block
from wayport.dialects.anthropic_messages_errors import encode_stream_error
from wayport.dialects.anthropic_messages_fields import NAME, NULL, Block
from wayport.dialects.anthropic_messages_usage import encode_usage, stop_reason_of
from wayport.dialects.neutral import (
    Annotated,
    BlockClosed,
    BlockDelta,
    BlockOpened,
    ChoiceFinished,
    Delta,
    Ended,
    Extras,
    Failed,
    LogprobsAdded,
    Pinged,
    Started,
    ToolCall,
    Unknown,
    UsageReported,
)
from wayport.wire import anthropic_messages as wire
from wayport.wire import sse

_PING = b'event: ping\ndata: {"type":"ping"}\n\n'
_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'

# What `message_delta` says inside `delta`; every other late fact stands beside it.
_INSIDE_DELTA = ("container", "stop_details")


class Encoder:
    """`StreamEncoder` of `anthropic_messages`. An answer of another dialect leaves its extras and raw usage behind."""

    def __init__(self, response_id: str) -> None:
        self._response_id = response_id
        self._own = False
        self._writer = Writer()
        self._blocks: dict[int, Shown] = {}
        self._usage: Block | Raw = encode_usage(None)
        self._tier: str | None = None
        self._finish: ChoiceFinished | None = None
        self._late: Extras = {}
        self._called = False
        self._write: dict[type, Callable[[Any], bytes]] = {
            Started: self._started,
            BlockOpened: self._opened,
            BlockDelta: self._delta,
            BlockClosed: self._closed,
            ChoiceFinished: self._finished,
            UsageReported: self._reported,
            Annotated: self._annotated,
            LogprobsAdded: _nothing,
            Pinged: _ping,
            Unknown: self._unknown,
            Failed: _failed,
            Ended: self._ended,
        }

    def feed(self, delta: Delta) -> bytes:
        return self._write[type(delta)](delta)

    # --------------------------------------------------------------------------------------------------- the message
    def _started(self, delta: Started) -> bytes:
        self._own = delta.dialect == NAME
        self._writer.own = self._own
        self._tier = delta.service_tier
        message: Block = {
            "id": delta.id or self._response_id,
            "type": "message",
            "role": "assistant",
            "model": delta.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
        }
        self._usage = encode_usage(delta.usage, delta.service_tier)
        if self._own:
            message.update(delta.extras or {})
            if (details := message.get("stop_details", NULL)) != NULL:
                # The start of a stream knows of no stop; clients take it from `message_delta`.
                self._late["stop_details"] = details
                message["stop_details"] = None
            if delta.usage_raw is not None:
                self._usage = delta.usage_raw
        message["usage"] = self._usage
        return _event({"type": "message_start", "message": message}, "message_start")

    def _finished(self, delta: ChoiceFinished) -> bytes:
        if delta.choice == 0:
            self._finish = delta
        return b""

    def _reported(self, delta: UsageReported) -> bytes:
        self._usage = delta.raw if self._own and delta.raw is not None else encode_usage(delta.usage, self._tier)
        return b""

    def _annotated(self, delta: Annotated) -> bytes:
        self._tier = delta.service_tier or self._tier
        if self._own:
            self._late.update(delta.extras or {})
        return b""

    def _ended(self, delta: Ended) -> bytes:
        del delta
        closed = b"".join(block.close(None) for block in self._blocks.values())
        self._blocks.clear()
        return closed + self._message_delta() + _STOP

    def _message_delta(self) -> bytes:
        change: Block = {"stop_reason": None, "stop_sequence": None}
        finish = self._finish
        if finish is not None or not self._own:
            stated = (finish.finish, finish.finish_raw) if finish is not None else (None, None)
            change["stop_reason"] = stop_reason_of(*stated, called=self._called, own=self._own)
            change["stop_sequence"] = finish.stop_sequence if finish is not None else None
        beside: Block = {}
        for name, value in self._late.items():
            (change if name in _INSIDE_DELTA else beside)[name] = value
        event = {"type": "message_delta", "delta": change, "usage": self._usage, **beside}
        return _event(event, "message_delta")

    def _unknown(self, delta: Unknown) -> bytes:
        return sse.write(one_line(bytes(delta.raw)), delta.name) if delta.dialect == NAME else b""

    # ---------------------------------------------------------------------------------------------------- its blocks
    def _opened(self, delta: BlockOpened) -> bytes:
        if delta.choice != 0:
            return b""
        self._called = self._called or isinstance(delta.part, ToolCall)
        # Texts and thoughts that their own dialect leaves open are closed before the next block, as clients of this API
        # are used to; if they go on after all, they do so in a block of their own. Tool calls cannot be cut: they stay.
        paused = b"" if self._own else b"".join(block.pause() for block in self._blocks.values())
        block = self._blocks[delta.block] = shown_block(delta.part, self._writer)
        return paused + block.open()

    def _delta(self, delta: BlockDelta) -> bytes:
        if delta.choice != 0:
            return b""
        return self._blocks[delta.block].add(delta)

    def _closed(self, delta: BlockClosed) -> bytes:
        if delta.choice != 0:
            return b""
        return self._blocks.pop(delta.block).close(delta.part)


def _event(event: Block, name: str) -> bytes:
    return sse.write(one_line(wire.encode(event)), name)


def _nothing(delta: LogprobsAdded) -> bytes:
    del delta
    return b""


def _ping(delta: Pinged) -> bytes:
    del delta
    return _PING


def _failed(delta: Failed) -> bytes:
    return sse.write(encode_stream_error(delta.fault), "error")
