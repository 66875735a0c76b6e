"""Reads a stream of Cohere's Chat API into deltas.

A plan has no start and no end of its own. Citations may come when their text has ended: a text stays open until
something else begins.
"""

from collections.abc import Iterable

from msgspec import Raw

from wayport.core.errors import Fault
from wayport.dialects.cohere_chat_answer import (
    FINISH,
    ISSUER,
    NAME,
    call_of,
    citations_of,
    decode_usage,
    finish_of,
    logprob_of,
    stands_in_text,
)
from wayport.dialects.neutral import (
    BlockClosed,
    BlockDelta,
    BlockOpened,
    ChoiceFinished,
    Delta,
    Ended,
    Failed,
    LogprobsAdded,
    Part,
    Reasoning,
    Started,
    Text,
    Unknown,
    UsageReported,
)
from wayport.wire import cohere_chat as wire
from wayport.wire.sse import Event

_Key = tuple[str, int]
_PLAN: _Key = ("plan", 0)
_DONE = b"[DONE]"


class Decoder:
    """`StreamDecoder` of `cohere_chat`."""

    def __init__(self) -> None:
        self._blocks: dict[_Key, int] = {}
        """what is open, and its neutral number"""
        self._texts: dict[int, int] = {}
        """texts that are open, by their index"""
        self._count = 0
        self._started = False
        self._over = False

    def feed(self, event: Event) -> Iterable[Delta]:
        if self._over or not event.data or event.data == _DONE:
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
            case "content-delta":
                return self._content_delta(seen)
            case "tool-call-delta":
                return self._input(seen)
            case "message-start":
                return self._begin(seen.id)
            case "content-start":
                return self._content_start(seen)
            case "content-end":
                return self._content_end(seen.index)
            case "tool-plan-delta":
                return self._plan(seen.delta.message.tool_plan or "")
            case "tool-call-start":
                return self._call(seen)
            case "tool-call-end":
                return self._close(("call", seen.index))
            case "citation-start":
                return self._cite(seen)
            case "citation-end":
                return ()
            case "message-end":
                return self._finish(seen)
            case "" if seen.message != wire.EMPTY:
                return self._fail(wire.decode_str(seen.message), None)
            case name:
                return [*self._begin(""), Unknown(dialect=NAME, name=name or event.name, raw=Raw(event.data))]

    # --------------------------------------------------------------------------------------------------- the message
    def _begin(self, answer_id: str) -> list[Delta]:
        if self._started:
            return []
        self._started = True
        return [Started(id=answer_id, model="", dialect=NAME)]

    def _finish(self, seen: wire.Event) -> Iterable[Delta]:
        delta = seen.delta
        word = delta.finish_reason or "COMPLETE"
        if delta.error or FINISH.get(word) == "error":
            return self._fail(delta.error or "the generation failed", word)
        self._over = True
        deltas = [*self._begin(seen.id), *self._close_all()]
        deltas.append(ChoiceFinished(finish=finish_of(word), finish_raw=word))
        if delta.usage != wire.EMPTY:
            deltas.append(UsageReported(usage=decode_usage(delta.usage), raw=delta.usage))
        return [*deltas, Ended()]

    def _fail(self, message: str, word: str | None) -> Iterable[Delta]:
        self._over = True
        timeout = word == "TIMEOUT"
        fault = Fault(
            kind="timeout" if timeout else "server", status=504 if timeout else 500, message=message, type=word
        )
        return (Failed(fault=fault),)

    # ---------------------------------------------------------------------------------------------------- its blocks
    def _open(self, key: _Key, part: Part) -> list[Delta]:
        """Opens a block. What has no end of its own ends here: a plan, and texts that were waiting for citations."""
        deltas = [*self._begin(""), *self._close(_PLAN), *self._close(key)]
        for index in list(self._texts):
            deltas += self._close(("text", index))
        number = self._blocks[key] = self._count
        self._count += 1
        return [*deltas, BlockOpened(block=number, part=part)]

    def _close(self, key: _Key) -> list[Delta]:
        number = self._blocks.pop(key, None)
        if key[0] == "text":
            self._texts.pop(key[1], None)
        return [BlockClosed(block=number)] if number is not None else []

    def _close_all(self) -> list[Delta]:
        return [delta for key in list(self._blocks) for delta in self._close(key)]

    def _content_start(self, seen: wire.Event) -> Iterable[Delta]:
        raw = seen.delta.message.content
        content = wire.decode_content(raw) if raw != wire.EMPTY else wire.Content()
        if content.thinking is not None or content.type == "thinking":
            return self._say(("thought", seen.index), content.thinking or "")
        return self._say(("text", seen.index), content.text or "")

    def _content_delta(self, seen: wire.Event) -> Iterable[Delta]:
        raw = seen.delta.message.content
        content = wire.decode_content(raw) if raw != wire.EMPTY else wire.Content()
        if content.thinking is not None:
            deltas = self._say(("thought", seen.index), content.thinking)
        else:
            deltas = self._say(("text", seen.index), content.text or "")
        if seen.logprobs is not None:
            return [*deltas, LogprobsAdded(tokens=[logprob_of(seen.logprobs)])]
        return deltas

    def _say(self, key: _Key, text: str) -> list[Delta]:
        """Tells a piece; the block opens with the first that is not empty."""
        if not text:
            return []
        number = self._blocks.get(key)
        deltas: list[Delta] = []
        if number is None:
            is_text = key[0] == "text"
            deltas = self._open(key, Text(text="") if is_text else Reasoning(issuer=ISSUER))
            number = self._blocks[key]
            if is_text:
                self._texts[key[1]] = number
        deltas.append(BlockDelta(block=number, text=text))
        return deltas

    def _content_end(self, index: int) -> Iterable[Delta]:
        return self._close(("thought", index))

    def _plan(self, text: str) -> Iterable[Delta]:
        return self._say(_PLAN, text)

    def _call(self, seen: wire.Event) -> Iterable[Delta]:
        return self._open(("call", seen.index), call_of(wire.decode_tool_call(seen.delta.message.tool_calls)))

    def _input(self, seen: wire.Event) -> Iterable[Delta]:
        number = self._blocks.get(("call", seen.index))
        call = wire.decode_tool_call(seen.delta.message.tool_calls)
        piece = call.function.arguments if call.function is not None else None
        return (BlockDelta(block=number, text=piece),) if number is not None and piece else ()

    def _cite(self, seen: wire.Event) -> Iterable[Delta]:
        raw = seen.delta.message.citations
        citation = wire.decode_citation(raw)
        number = self._texts.get(citation.content_index or 0, next(iter(self._texts.values()), None))
        if number is None or not stands_in_text(citation):
            return ()
        return [BlockDelta(block=number, citation=each) for each in citations_of(citation, raw)]
