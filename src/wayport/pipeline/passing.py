"""Streams that pass: the same dialect on both sides, events glanced at and not decoded.

Nearly all of a stream is content, and goes on in the chunks in which it came.
"""

import re
from collections.abc import Callable

from wayport.core.errors import Fault
from wayport.core.secret import mask
from wayport.core.usage import Usage
from wayport.dialects.dialect import Dialect, Glance, Passthrough
from wayport.dialects.neutral import ChoiceFinished, Failed, Started, UsageReported
from wayport.pipeline.call import Call
from wayport.pipeline.framing import Splits
from wayport.pipeline.relay import BYTES_PER_TOKEN, Source, StreamRelay, is_event
from wayport.wire.sse import Splitter, parse

_CONTENT = Glance.CONTENT


class PassthroughRelay(StreamRelay):
    """Same dialect on both sides: events are glanced at, not decoded."""

    __slots__ = (
        "_dialect",
        "_ending",
        "_events",
        "_first",
        "_glance",
        "_keep_usage",
        "_last",
        "_line",
        "_model",
        "_passed",
        "_passed_bytes",
        "_passes",
        "_passthrough",
        "_patch",
        "_smallest",
        "_splitter",
        "_tail",
        "_text",
        "_usage",
    )

    def __init__(
        self,
        call: Call,
        source: Source,
        *,
        dialect: Dialect,
        model: str | None,
        keep_usage: bool,
        head: Callable[[Call], bytes],
        settle: Callable[[Call], None],
        now: Callable[[], float],
        hold_max_s: float,
        splitter: Splits | None = None,
    ) -> None:
        super().__init__(call, source, head=head, settle=settle, now=now, hold_max_s=hold_max_s)
        assert dialect.passthrough is not None
        self._dialect = dialect
        self._passthrough: Passthrough = dialect.passthrough
        self._glance = dialect.passthrough.glance
        self._patch = dialect.passthrough.patch_event
        self._model = model
        self._keep_usage = keep_usage
        self._text = text = Splitter()
        self._splitter: Splits = splitter or text
        self._ending = dialect.ending
        self._passes = dialect.passthrough.passes
        self._line = call.client.line() if model is None else None
        """where events of content go on in the chunks in which they came"""
        self._passed = b""
        """the last chunk that went so"""
        self._passed_bytes = 0
        self._first = b""
        self._tail: list[bytes] = []
        self._last = b""
        """a terminal event that waits for the end of the body"""
        self._usage: Usage | None = None
        self._events = 0
        self._smallest = 1 << 30

    @property
    def on_chunk(self) -> Callable[[bytes, int], bool] | None:
        return self._pass_on if self._splitter is self._text else None

    def _pass_on(self, chunk: bytes, start: int) -> bool:
        """Nearly all of a stream: one event of content, whole, in a chunk of its own."""
        end = len(chunk) - 2
        if (
            not self.opened
            or self.ended
            or self._text.size
            or self.client.gone
            or chunk.find(b"\n\n", start) != end - 2
            or chunk.find(b"\r", start) != end
            or not self._passes(chunk, start)
        ):
            return False
        line = self._line
        if line is None:
            self.client.write(self._content(chunk[start:end]))
            return True
        self._passed = chunk
        size = end - start
        self._passed_bytes += size
        self._events += 1
        if size < self._smallest:  # noqa: PLR1730 (the call of a built-in, a million times)
            self._smallest = size
        line(chunk)
        return True

    def _recall(self) -> None:
        """Accounts for what passed."""
        if self._passed:
            self._tail = [self._passed[self._passed.find(b"\n") + 1 : -2]]
            self._passed = b""
            self.call.content_bytes += self._passed_bytes
            self._passed_bytes = 0

    def on_bytes(self, data: bytes) -> None:
        if self.ended:
            return
        self._recall()
        out: list[bytes] = []
        for event in self._splitter.feed(data):
            kind = self._glance(event)
            if kind is _CONTENT:
                if not self.opened:
                    out.append(self._open())
                out.append(self._content(event))
                continue
            if kind is Glance.ERROR:
                if out:
                    self.client.write(b"".join(out))
                self._take_usage()
                fault = self._passthrough.fault_of(event)
                self._break(fault, mask(event.decode("utf-8", "replace"), self._secret()).encode())
                return
            if not self._tail and not self._first:
                # It has what the answer says of itself: its id, the tier that serves it.
                self._first = event
                self.call.upstream_id = id_in(event)
            self._tail.append(event)
            if kind is Glance.USAGE:
                self._usage = self._passthrough.usage_of(event, self._usage)
            patched = self._patch(event, model=self._model, keep_usage=self._keep_usage)
            if kind is Glance.TERMINAL:
                self._usage = self._passthrough.usage_of(event, self._usage) or self._usage
                if not self._dialect.ends_with_body:
                    self._complete(b"".join(out) + patched)
                    return
                # The last one goes out when the body has ended and the call is settled.
                self._last, patched = patched, self._last
            if not patched:
                continue
            if self.opened:
                out.append(patched)
            else:
                self._hold(patched)
        if out:
            self.client.write(out[0] if len(out) == 1 else b"".join(out))

    def _content(self, event: bytes) -> bytes:
        """An event that says something: counted, and as the client gets it."""
        self._events += 1
        size = len(event)
        self.call.content_bytes += size
        if size < self._smallest:  # noqa: PLR1730 (the call of a built-in, a million times)
            self._smallest = size
        self._tail = [event]
        return self._patch(event, model=self._model, keep_usage=self._keep_usage)

    def _take_usage(self) -> None:
        call = self.call
        self._recall()
        if self._usage is None and self._tail:
            # A client left in mid-stream: where usage is cumulative, the last event states it.
            self._usage = self._passthrough.usage_of(self._tail[-1], None)
        if self._usage is not None:
            call.usage = self._usage
            call.usage_source = "reported"
            if call.deployment is not None and call.deployment.unvouched:
                call.said_tokens = self._counted()
        elif self._events:
            call.usage = Usage(input_tokens=call.request_bytes // BYTES_PER_TOKEN, output_tokens=self._counted())
            call.usage_source = "estimated"

    def _counted(self) -> int:
        # One event is at least one token; what exceeds the smallest event is text.
        text = self.call.content_bytes - self._events * self._smallest
        return max(self._events, text // BYTES_PER_TOKEN)

    def _complete(self, last: bytes) -> None:
        self._read_tail()
        self._take_usage()
        self._finish(last)

    def _read_tail(self) -> bool:
        """Reads the last few events for the finish reason; whether one was stated."""
        call = self.call
        last = self._tail[-4:]
        events = [self._first, *last] if self._first and self._first not in last else last
        if self._usage is not None and self._ending is not None and (stated := self._ending(events)) is not None:
            call.finish = stated.finish or call.finish
            call.upstream_id = stated.id or call.upstream_id
            call.service_tier = stated.service_tier or call.service_tier
            return call.finish is not None
        assert self._dialect.upstream is not None
        decoder = self._dialect.upstream.stream_decoder()
        # All is fed before the end is asked for: some decoders tell a finish only then.
        told = [delta for event in events for delta in decoder.feed(parse(event))]
        for delta in (*told, *decoder.end()):
            if isinstance(delta, ChoiceFinished):
                call.finish = delta.finish
            elif isinstance(delta, Started):
                call.upstream_id = delta.id or call.upstream_id
                call.service_tier = delta.service_tier or call.service_tier
            elif isinstance(delta, UsageReported):
                self._usage = self._usage or delta.usage
        return call.finish is not None

    def on_end(self) -> None:
        if self.ended:
            return
        self._recall()
        if is_event(self._splitter.rest()):
            self.on_bytes(b"\n\n")
        if self.ended:
            return
        if self._read_tail():
            self._take_usage()
            self._finish(self._last or _closing(self._dialect))
        else:
            self.on_fault(
                Fault(
                    kind="cut", status=0, message="The upstream ended its stream without saying that it was complete."
                )
            )

    def on_fault(self, fault: Fault) -> None:
        self._take_usage()
        self._break(fault, error_event(self.call, self._dialect, fault) if self.opened else b"")


_ID = re.compile(rb'"(?:id|responseId)"\s*:\s*"([^"\\]{1,200})"')


def id_in(event: bytes) -> str | None:
    """The answer's id, which stands in the first event of each dialect before any other."""
    match = _ID.search(event)
    return None if match is None else match[1].decode("utf-8", "replace")


def error_event(call: Call, dialect: Dialect, fault: Fault) -> bytes:
    """The dialect's error event, for a stream that was relayed and not encoded."""
    assert dialect.client is not None
    encoder = dialect.client.stream_encoder(request=None, response_id=call.id, created=int(call.started_s))
    return encoder.feed(Failed(fault=fault))


def _closing(dialect: Dialect) -> bytes:
    """The terminal event that an upstream left out (a chat stream without `[DONE]`)."""
    return b"data: [DONE]\n\n" if dialect.name in ("openai_chat", "openai_completions") else b""
