"""Reads a stream of the Responses API into deltas.

What must stay true: blocks open in the order of the items, whatever an event left out is taken from the item that is
done, and what the response says at its end is told before the end.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar

from msgspec import Raw

from wayport.core.errors import Fault
from wayport.dialects.neutral import (
    Annotated,
    BlockClosed,
    BlockDelta,
    BlockOpened,
    ChoiceFinished,
    Delta,
    Ended,
    Failed,
    LogprobsAdded,
    Opaque,
    Part,
    Pinged,
    Reasoning,
    Refusal,
    Started,
    Text,
    ToolCall,
    Unknown,
    UsageReported,
)
from wayport.dialects.openai_responses_errors import fault_of_event, fault_of_response
from wayport.dialects.openai_responses_frame import finish_of, read_usage
from wayport.dialects.openai_responses_items import decode_item, note_item
from wayport.dialects.openai_responses_parts import (
    NAME,
    decode_annotation,
    decode_content,
    decode_logprobs,
    logprobs_of,
    raw_of,
)
from wayport.dialects.openai_responses_progress import CALL, KINDS, MESSAGE, OPAQUE, REASONING, Item, bare, implied
from wayport.dialects.openai_responses_seals import Seals
from wayport.dialects.openai_responses_whole import Head, split_response
from wayport.wire.openai_responses import (
    ERROR_EVENT,
    EVENT,
    NO_RAW,
    NULL,
    OBJECT,
    STRING,
    TAG,
    StreamEvent,
)
from wayport.wire.sse import Event


class StreamDecoder:
    def __init__(self) -> None:
        self._items: dict[int, Item] = {}
        self._blocks = 0
        self._parts: list[Part] = []
        self._seals = Seals()
        self._started: Head | None = None
        self._over = False

    def feed(self, event: Event) -> Iterator[Delta]:
        if self._over or not event.data or event.data == b"[DONE]":
            return
        kind = event.name
        try:
            if not kind or kind == "message":
                kind = TAG.decode(event.data).type or ""
            read = self._readers.get(kind)
            if read is not None:
                yield from read(self, EVENT.decode(event.data))
            else:
                yield from self._other(kind, event.data)
        except (ValueError, KeyError, RecursionError) as error:
            self._over = True
            yield Failed(fault=Fault(kind="malformed", status=0, message=f"unreadable event {kind}: {error}"))

    def end(self) -> Iterator[Delta]:
        if not self._over:
            self._over = True
            yield Failed(
                fault=Fault(kind="cut", status=0, message="the upstream's stream broke off before its last event")
            )

    # ----------------------------------------------------------------------------------------------- the response
    def _start(self, head: Head) -> Iterator[Delta]:
        if self._started is None:
            self._started = head
            yield Started(
                id=head.id,
                model=head.model,
                created=head.created,
                service_tier=head.service_tier,
                extras=head.extras or None,
                dialect=NAME,
            )

    def _begun(self) -> Iterator[Delta]:
        if self._started is None:
            yield from self._start(Head())

    def _lifecycle(self, event: StreamEvent) -> Iterator[Delta]:
        if event.response is NO_RAW:
            return
        head, _ = split_response(event.response)
        head.extras.pop("usage", None)
        yield from self._start(head)

    def _finish(self, event: StreamEvent) -> Iterator[Delta]:
        head, output = split_response(event.response)
        yield from self._start(head)
        for index, raw in enumerate(output):
            item = self._items.get(index)
            if item is None or (not self._done(item) and item.kind == KINDS.get(TAG.decode(raw).type or "", OPAQUE)):
                yield from self._whole_item(index, raw)
        yield from self._close_rest()
        self._over = True
        incomplete = head.extras.get("incomplete_details")
        finish, word = finish_of(head.status, incomplete, self._parts)
        yield ChoiceFinished(finish=finish or "stop", finish_raw=word)
        if head.usage is not None:
            usage = read_usage(head.usage, head.extras.get("tool_usage"))
            if usage is not None:
                yield UsageReported(usage=usage, raw=head.usage)
        yield Annotated(model=head.model or None, service_tier=head.service_tier, extras=head.extras or None)
        yield Ended()

    def _fail(self, event: StreamEvent) -> Iterator[Delta]:
        head, _ = split_response(event.response)
        yield from self._start(head)
        if head.usage is not None:
            usage = read_usage(head.usage, head.extras.get("tool_usage"))
            if usage is not None:
                yield UsageReported(usage=usage, raw=head.usage)
        self._over = True
        yield Failed(fault=fault_of_response(head.extras.get("error", NULL)))

    def _other(self, kind: str, data: bytes) -> Iterator[Delta]:
        if kind == "error":
            self._over = True
            yield Failed(fault=fault_of_event(ERROR_EVENT.decode(data)))
            return
        if kind in ("keepalive", "ping", "response.heartbeat"):
            yield Pinged()
            return
        if self._started is None:
            return
        event = EVENT.decode(data)
        item = self._items.get(event.output_index) if event.output_index is not None else None
        if item is not None and item.kind == OPAQUE and not self._done(item):
            yield BlockDelta(block=item.blocks[0], raw=Raw(data))
        else:
            yield Unknown(dialect=NAME, name=kind, raw=Raw(data))

    # -------------------------------------------------------------------------------------------------- the items
    def _open_block(self, item: Item, content: int, part: Part) -> BlockOpened:
        block = self._blocks
        self._blocks += 1
        item.blocks[content] = block
        self._parts.append(part)
        return BlockOpened(block=block, part=part)

    def _close_block(self, item: Item, content: int, part: Part | None) -> BlockClosed:
        item.closed.add(content)
        if part is not None:
            self._parts[item.blocks[content]] = part
        return BlockClosed(block=item.blocks[content], part=part)

    def _done(self, item: Item) -> bool:
        return -1 in item.closed

    def _added(self, event: StreamEvent) -> Iterator[Delta]:
        yield from self._begun()
        index = event.output_index if event.output_index is not None else len(self._items)
        if index not in self._items and event.item not in (NO_RAW, NULL):
            yield from self._add(index, event.item)

    def _add(self, index: int, raw: Raw) -> Iterator[Delta]:
        fields = OBJECT.decode(raw)
        kind = STRING.decode(fields["type"])
        item_id = fields.get("id", NULL)
        item = Item(KINDS.get(kind, OPAQUE), raw, STRING.decode(item_id) if item_id != NULL else None)
        self._items[index] = item
        match item.kind:
            case 1:
                # Its encrypted content is final only when the item is done.
                yield self._open_block(item, 0, Reasoning(id=item.id))
            case 2:
                [part] = decode_item(kind, raw, self._seals)
                assert isinstance(part, ToolCall)
                self._seals.apply([part])
                self._seals.apply([part])
                yield self._open_block(item, 0, part)
                item.told[0] = len(part.arguments)
            case 3:
                yield self._open_block(item, 0, Opaque(dialect=NAME, raw=raw, kind=kind))

    def _find(self, event: StreamEvent) -> Item | None:
        """The item that an event speaks of: by index, or by id where an upstream numbers carelessly."""
        item = self._items.get(event.output_index) if event.output_index is not None else None
        wanted = event.item_id
        if item is None or (wanted and item.id and item.id != wanted):
            for other in self._items.values():
                if other.id is not None and other.id == wanted:
                    return other
        return item

    def _item_done(self, event: StreamEvent) -> Iterator[Delta]:
        yield from self._begun()
        if event.item in (NO_RAW, NULL):
            return
        index = event.output_index
        if index is None:
            index = len(self._items)
        yield from self._whole_item(index, event.item)

    def _whole_item(self, index: int, raw: Raw) -> Iterator[Delta]:
        """The item is done: what was not told yet is told now, and its blocks close with what they are."""
        if index not in self._items:
            yield from self._add(index, raw)
        item = self._items[index]
        if self._done(item):
            return
        kind = TAG.decode(raw).type or ""
        parts = decode_item(kind, raw, self._seals)
        if not parts:
            # An envelope about a tool call: no part of its own.
            self._seals.apply(self._parts)
            parts = [Reasoning(id=item.id)]
        self._seals.see(parts)
        self._seals.apply(parts)
        for number, part in enumerate(parts):
            if number not in item.blocks:
                yield self._open_block(item, number, bare(part))
            if number in item.closed:
                continue
            yield from self._rest_of(item, number, part)
            yield self._close_block(item, number, part)
        for number in sorted(item.blocks.keys() - item.closed):
            yield self._close_block(item, number, None)
        item.closed.add(-1)

    def _rest_of(self, item: Item, number: int, part: Part) -> Iterator[Delta]:
        """What the whole part says and no delta said."""
        block = item.blocks[number]
        match part:
            case Text() | Refusal():
                text = part.text
            case ToolCall():
                text = part.arguments
            case Reasoning():
                text = part.text
                for at, summary in enumerate(part.summary or ()):
                    told = item.told.get(-1 - at, 0)
                    if len(summary) > told:
                        yield BlockDelta(block=block, text=summary[told:], summary_index=at)
                if part.encrypted is not None or part.signature is not None or part.redacted is not None:
                    rest = text[item.told.get(0, 0) :] if item.told.get(0, 0) < len(text) else ""
                    yield BlockDelta(
                        block=block,
                        text=rest,
                        encrypted=part.encrypted,
                        signature=part.signature,
                        redacted=part.redacted,
                    )
                    return
            case _:
                return
        told = item.told.get(number, 0)
        if len(text) > told:
            yield BlockDelta(block=block, text=text[told:])
        if isinstance(part, Text):
            if not item.logprobs and (tokens := logprobs_of(part)):
                yield LogprobsAdded(tokens=tokens)
            item.logprobs = False

    def _close_rest(self) -> Iterator[Delta]:
        for item in self._items.values():
            for content in sorted(item.blocks.keys() - item.closed):
                yield self._close_block(item, content, None)

    # ----------------------------------------------------------------------------------------------------- deltas
    def _content_added(self, event: StreamEvent) -> Iterator[Delta]:
        item = self._find(event)
        if item is None or item.kind != MESSAGE or event.content_index in item.blocks:
            return
        yield from self._close_pending(item)
        part = decode_content(event.part, "output_text") if event.part is not NO_RAW else Text(text="")
        if isinstance(part, Text | Refusal):
            yield self._open_text(item, event.content_index, part)

    def _open_text(self, item: Item, content: int, part: Text | Refusal) -> Delta:
        fields = dict(OBJECT.decode(item.raw))
        fields.pop("content", None)
        note_item(part, fields, raw_of(fields), last=True)
        item.told[content] = len(part.text)
        item.logprobs = False
        return self._open_block(item, content, part)

    def _close_pending(self, item: Item) -> Iterator[Delta]:
        """Another part of the message begins: those before it were not the last."""
        for content, raw in list(item.pending.items()):
            del item.pending[content]
            part = decode_content(raw, "output_text")
            if content in item.closed or not isinstance(part, Text | Refusal):
                continue
            fields = dict(OBJECT.decode(item.raw))
            fields.pop("content", None)
            note_item(part, fields, NULL, last=False)
            yield from self._rest_of(item, content, part)
            yield self._close_block(item, content, part)

    def _content_done(self, event: StreamEvent) -> Iterator[Delta]:
        item = self._find(event)
        if item is not None and item.kind == MESSAGE and event.part is not NO_RAW:
            item.pending[event.content_index] = event.part
        return iter(())

    def _text(self, event: StreamEvent) -> Iterator[Delta]:
        yield from self._words(event, Text)

    def _refusal(self, event: StreamEvent) -> Iterator[Delta]:
        yield from self._words(event, Refusal)

    def _words(self, event: StreamEvent, kind: Callable[..., Text | Refusal]) -> Iterator[Delta]:
        item = self._find(event)
        if item is None:
            yield from self._begun()
            index = event.output_index if event.output_index is not None else len(self._items)
            yield from self._add(index, implied(event.item_id))
            item = self._items[index]
        content = event.content_index
        block = item.blocks.get(content)
        if block is None:
            yield self._open_text(item, content, kind(text=""))
            block = item.blocks[content]
        text = event.delta
        if content in item.closed or not isinstance(text, str):
            return
        item.told[content] = item.told.get(content, 0) + len(text)
        yield BlockDelta(block=block, text=text)
        if event.logprobs:
            item.logprobs = True
            yield LogprobsAdded(tokens=decode_logprobs(event.logprobs))

    def _annotation(self, event: StreamEvent) -> Iterator[Delta]:
        item = self._find(event)
        if item is not None and event.content_index in item.blocks and event.annotation not in (NO_RAW, NULL):
            yield BlockDelta(block=item.blocks[event.content_index], citation=decode_annotation(event.annotation))

    def _arguments(self, event: StreamEvent) -> Iterator[Delta]:
        item = self._find(event)
        if item is not None and item.kind == CALL and isinstance(event.delta, str) and not self._done(item):
            item.told[0] = item.told.get(0, 0) + len(event.delta)
            yield BlockDelta(block=item.blocks[0], text=event.delta)

    def _thought(self, event: StreamEvent) -> Iterator[Delta]:
        item = self._find(event)
        if item is not None and item.kind == REASONING and isinstance(event.delta, str) and not self._done(item):
            item.told[0] = item.told.get(0, 0) + len(event.delta)
            yield BlockDelta(block=item.blocks[0], text=event.delta)

    def _summary(self, event: StreamEvent) -> Iterator[Delta]:
        item = self._find(event)
        if item is not None and item.kind == REASONING and isinstance(event.delta, str) and not self._done(item):
            at = -1 - event.summary_index
            item.told[at] = item.told.get(at, 0) + len(event.delta)
            yield BlockDelta(block=item.blocks[0], text=event.delta, summary_index=event.summary_index)

    def _nothing(self, event: StreamEvent) -> Iterator[Delta]:
        """Says again what deltas said, or announces what they will say."""
        del event
        return iter(())

    _readers: ClassVar[Mapping[str, Callable[["StreamDecoder", StreamEvent], Iterator[Delta]]]] = {
        "response.created": _lifecycle,
        "response.queued": _lifecycle,
        "response.in_progress": _lifecycle,
        "response.completed": _finish,
        "response.incomplete": _finish,
        "response.cancelled": _finish,
        "response.failed": _fail,
        "response.output_item.added": _added,
        "response.output_item.done": _item_done,
        "response.content_part.added": _content_added,
        "response.content_part.done": _content_done,
        "response.output_text.delta": _text,
        "response.output_text.done": _nothing,
        "response.output_text.annotation.added": _annotation,
        "response.refusal.delta": _refusal,
        "response.refusal.done": _nothing,
        "response.function_call_arguments.delta": _arguments,
        "response.function_call_arguments.done": _nothing,
        "response.custom_tool_call_input.delta": _arguments,
        "response.custom_tool_call_input.done": _nothing,
        "response.reasoning_text.delta": _thought,
        "response.reasoning_text.done": _nothing,
        "response.reasoning_summary_part.added": _nothing,
        "response.reasoning_summary_part.done": _nothing,
        "response.reasoning_summary_text.delta": _summary,
        "response.reasoning_summary_text.done": _nothing,
    }
