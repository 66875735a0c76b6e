"""Bytes back to the client, counted as they pass.

What must stay true: before the first content nothing of a dialect has been sent, so a failure up to there can be retried
unseen; after it a stream that breaks ends with an error event of the client's dialect and never looks like a clean end;
the record of the call is written before its last bytes go out.
"""

import asyncio
import re
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Protocol

import msgspec

from wayport.core.errors import Fault, UpstreamFault
from wayport.core.secret import mask
from wayport.core.usage import Usage
from wayport.dialects.dialect import Dialect, Glance, Passthrough, StreamDecoder, StreamEncoder
from wayport.dialects.neutral import (
    BlockDelta,
    BlockOpened,
    ChoiceFinished,
    Delta,
    Ended,
    Failed,
    Fold,
    Pinged,
    Response,
    Started,
    UsageReported,
    has_content,
)
from wayport.pipeline.call import Call
from wayport.pipeline.framing import Splits
from wayport.upstream.faults import masked
from wayport.wire.sse import Splitter, parse

_HOLD_BYTES = 1024 * 1024
_KEEPALIVE_S = 10.0
_TRAIL_S = 5.0
"""how long after its last event an upstream may leave its stream open: the connection is kept if it ends within it"""
_BYTES_PER_TOKEN = 4
_CONTENT = Glance.CONTENT


class Settle(Protocol):
    """Accounts for a call; contains no await. The second time does nothing."""

    def __call__(self, call: Call) -> None: ...


class Source(Protocol):
    """The upstream's answer, as far as a relay steers it."""

    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def abort(self) -> None: ...


class StreamRelay:
    """What both ways of relaying share: holding back, opening, ending, and settling in time."""

    # Slots in all of them: hundreds of streams take turns, and each finds the processor's caches full of the others.
    __slots__ = (
        "_head",
        "_held",
        "_held_bytes",
        "_loop",
        "_now",
        "_settle",
        "_source",
        "_timer",
        "call",
        "client",
        "ended",
        "fault",
        "keep",
        "keeping",
        "opened",
    )

    def __init__(
        self,
        call: Call,
        source: Source,
        *,
        head: Callable[[Call], bytes],
        settle: Callable[[Call], None],
        now: Callable[[], float],
        hold_max_s: float,
    ) -> None:
        self.call = call
        self.client = call.client
        self._source = source
        self._head = head
        self._settle = settle
        self._now = now
        self._held: list[bytes] = []
        self._held_bytes = 0
        self.opened = False
        """content went out: nothing is retried any more"""
        self.fault: Fault | None = None
        """what broke the stream"""
        self.ended = False
        self.keep: Callable[[bytes], asyncio.Future[None]] | None = None
        """begins to keep the answer; what it returns is done when the last bytes, given to it, have gone out"""
        self.keeping: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = self._loop.call_later(hold_max_s, self._comment)
        self.client.on_pause = source.pause
        self.client.on_resume = source.resume

    def _comment(self) -> None:
        """Nothing came for long: the client gets a sign of life that is no part of any dialect."""
        if not self.client.started:
            self.client.start(200, self._head(self.call))
        self.client.write(self.call.dialect.keep_alive)
        self._timer = self._loop.call_later(_KEEPALIVE_S, self._comment)

    def _hold(self, data: bytes) -> None:
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > _HOLD_BYTES:
            self.client.write(self._open())

    def _open(self) -> bytes:
        """The first content is here: from now on all goes out at once. Returns what was held back until now."""
        self.opened = True
        call = self.call
        call.first_content_s = self._now()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self.client.started:
            self.client.start(200, self._head(call))
        call.release()
        held, self._held = self._held, []
        return b"".join(held)

    def _finish(self, last: bytes) -> None:
        """The clean end: settle, then let the last bytes go."""
        if self.ended:
            return
        self.ended = True
        if not self.opened:
            self.client.write(self._open())
        self._timer = self._loop.call_later(_TRAIL_S, self._source.abort)
        if self.keep is not None:
            self.keeping = self.keep(last)
            return
        self.call.upstream_wait_s += self._now() - self.call.asked_s
        self._settle(self.call)
        self.client.end(last)

    def _break(self, fault: Fault, event: bytes) -> None:
        """The stream broke. Before content the attempt fails; after it the client is told in its dialect."""
        if self.ended:
            return
        self.fault = fault = masked(fault, self._secret())
        if not self.opened:
            raise UpstreamFault(fault)
        self.ended = True
        call = self.call
        call.error = UpstreamFault(fault)
        call.upstream_wait_s += self._now() - call.asked_s
        self._settle(call)
        self.client.end(event)

    def _secret(self) -> str:
        """The credential that the upstream was given: it never goes out with what the upstream says."""
        deployment = self.call.deployment
        return "" if deployment is None else deployment.credential.value

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.client.on_pause = None
        self.client.on_resume = None
        if not self.ended:
            # The client has gone, or the attempt failed: what came so far counts.
            self._take_usage()

    def _take_usage(self) -> None:
        """Puts on the call what was used: as stated, else estimated from what passed."""
        raise NotImplementedError

    def on_bytes(self, data: bytes) -> None:
        raise NotImplementedError

    @property
    def on_chunk(self) -> Callable[[bytes, int], bool] | None:
        """Takes a chunk that came alone, as it is on the wire; its content begins where is said. False: it is for
        `on_bytes`. None: none is taken.
        """
        return None

    def on_end(self) -> None:
        """The body has ended as HTTP goes; whether the stream has, the dialect says."""
        raise NotImplementedError

    def on_fault(self, fault: Fault) -> None:
        raise NotImplementedError


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
            self.client.bytes_out += self._passed_bytes
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
            call.usage = Usage(input_tokens=call.request_bytes // _BYTES_PER_TOKEN, output_tokens=self._counted())
            call.usage_source = "estimated"

    def _counted(self) -> int:
        # One event is at least one token; what exceeds the smallest event is text.
        text = self.call.content_bytes - self._events * self._smallest
        return max(self._events, text // _BYTES_PER_TOKEN)

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
        if _is_event(self._splitter.rest()):
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


class TranslatedRelay(StreamRelay):
    """Another dialect upstream: every event is decoded to deltas and encoded from them."""

    __slots__ = (
        "_answer_id",
        "_decoder",
        "_dialect",
        "_encoder",
        "_model",
        "_reported",
        "_restore",
        "_splitter",
    )

    def __init__(
        self,
        call: Call,
        source: Source,
        *,
        dialect: Dialect,
        decoder: StreamDecoder,
        encoder: StreamEncoder,
        restore: Callable[[Delta], Iterable[Delta]] | None,
        model: str | None,
        head: Callable[[Call], bytes],
        settle: Callable[[Call], None],
        now: Callable[[], float],
        hold_max_s: float,
        splitter: Splits | None = None,
        answer_id: str | None = None,
    ) -> None:
        """`answer_id`: what the client knows the answer by; None: as the upstream calls it."""
        super().__init__(call, source, head=head, settle=settle, now=now, hold_max_s=hold_max_s)
        self._answer_id = answer_id
        self._dialect = dialect
        self._decoder = decoder
        self._encoder = encoder
        self._restore = restore
        self._model = model
        self._splitter: Splits = splitter or Splitter()
        self._reported = False

    def on_bytes(self, data: bytes) -> None:
        for event in self._splitter.feed(data):
            if self.ended:
                return
            self._write(self._decoder.feed(parse(event)))

    def on_deltas(self, deltas: Iterable[Delta]) -> None:
        self._write(deltas)

    def _write(self, deltas: Iterable[Delta]) -> None:
        out: list[bytes] = []
        encode = self._encoder.feed
        if self._restore is not None:
            deltas = chain.from_iterable(map(self._restore, deltas))
        for delta in deltas:
            if isinstance(delta, BlockDelta):
                self.call.content_bytes += len(delta.text)
            else:
                self._note(delta)
                if isinstance(delta, Failed):
                    if out:
                        self.client.write(b"".join(out))
                    self._take_usage()
                    delta.fault = masked(delta.fault, self._secret())
                    self._break(delta.fault, encode(delta) if self.opened else b"")
                    return
                if isinstance(delta, Ended):
                    self._take_usage()
                    last = b"".join(out) + encode(delta)
                    self._finish(last)
                    return
            data = encode(delta)
            if self.opened:
                if data:
                    out.append(data)
            elif has_content(delta):
                out.append(self._open())
                out.append(data)
            elif data:
                self._hold(data)
        if out:
            self.client.write(out[0] if len(out) == 1 else b"".join(out))

    def _note(self, delta: Delta) -> None:
        call = self.call
        match delta:
            case Started():
                call.upstream_id = delta.id
                if self._answer_id is not None:
                    delta.id = self._answer_id
                call.service_tier = delta.service_tier
                if self._model is not None:
                    delta.model = self._model
                if delta.usage is not None:
                    call.usage = delta.usage
            case BlockOpened():
                text = getattr(delta.part, "text", "") or getattr(delta.part, "arguments", "")
                call.content_bytes += len(text or "")
            case UsageReported():
                call.usage = delta.usage
                self._reported = True
            case ChoiceFinished():
                call.finish = delta.finish
            case _:
                pass

    def _take_usage(self) -> None:
        call = self.call
        if self._reported:
            call.usage_source = "reported"
            return
        before = call.usage
        call.usage = Usage(
            input_tokens=before.input_tokens if before else call.request_bytes // _BYTES_PER_TOKEN,
            output_tokens=max(
                call.content_bytes // _BYTES_PER_TOKEN, before.output_tokens if before else 0, int(self.opened)
            ),
            cache_read_tokens=before.cache_read_tokens if before else 0,
            cache_write_5m_tokens=before.cache_write_5m_tokens if before else 0,
            cache_write_1h_tokens=before.cache_write_1h_tokens if before else 0,
        )
        call.usage_source = "estimated"

    def on_end(self) -> None:
        if self.ended:
            return
        if _is_event(self._splitter.rest()):
            self.on_bytes(b"\n\n")
        if not self.ended:
            self._write(self._decoder.end())

    def on_fault(self, fault: Fault) -> None:
        if not self.ended:
            self._write([Failed(fault=fault)])


_ID = re.compile(rb'"(?:id|responseId)"\s*:\s*"([^"\\]{1,200})"')


def id_in(event: bytes) -> str | None:
    """The answer's id, which stands in the first event of each dialect before any other."""
    match = _ID.search(event)
    return None if match is None else match[1].decode("utf-8", "replace")


def _is_event(rest: bytes) -> bool:
    """Whether what came after the last blank line is an event that lacks only that: not one that was cut in the middle."""
    data = parse(rest).data.strip()
    if data == b"[DONE]":
        return True
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def error_event(call: Call, dialect: Dialect, fault: Fault) -> bytes:
    """The dialect's error event, for a stream that was relayed and not encoded."""
    assert dialect.client is not None
    encoder = dialect.client.stream_encoder(request=None, response_id=call.id, created=int(call.started_s))
    return encoder.feed(Failed(fault=fault))


def _closing(dialect: Dialect) -> bytes:
    """The terminal event that an upstream left out (a chat stream without `[DONE]`)."""
    return b"data: [DONE]\n\n" if dialect.name in ("openai_chat", "openai_completions") else b""


class Collected:
    """A stream folded into a whole answer, for a client that did not ask for a stream."""

    def __init__(self, dialect: Dialect, decoder: StreamDecoder, splitter: Splits | None = None) -> None:
        self._splitter: Splits = splitter or Splitter()
        self._decoder = decoder
        self._fold = Fold(dialect.name)

    def on_bytes(self, data: bytes) -> None:
        for event in self._splitter.feed(data):
            self._take(event)

    def _take(self, event: bytes) -> None:
        for delta in self._decoder.feed(parse(event)):
            if not isinstance(delta, Pinged):
                self._fold.feed(delta)

    def response(self) -> Response:
        """The whole. Raises `UpstreamFault` if the stream broke."""
        if _is_event(self._splitter.rest()):
            self.on_bytes(b"\n\n")
        if not self._fold.ended and self._fold.fault is None:
            for delta in self._decoder.end():
                self._fold.feed(delta)
        if self._fold.fault is not None:
            raise UpstreamFault(self._fold.fault)
        if self._fold.response is None or not self._fold.ended:
            raise UpstreamFault(Fault(kind="cut", status=0, message="The upstream's stream ended before its end."))
        return self._fold.response
