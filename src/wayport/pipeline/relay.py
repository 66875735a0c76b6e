"""Bytes back to the client, counted as they pass.

What must stay true: before the first content nothing of a dialect has been sent, so a failure up to there can be retried
unseen; after it a stream that breaks ends with an error event of the client's dialect and never looks like a clean end;
the record of the call is written before its last bytes go out.
"""

import asyncio
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Protocol

import msgspec

from wayport.core.errors import Fault, UpstreamFault
from wayport.core.usage import Usage
from wayport.dialects.dialect import Dialect, StreamDecoder, StreamEncoder
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
BYTES_PER_TOKEN = 4


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
            input_tokens=before.input_tokens if before else call.request_bytes // BYTES_PER_TOKEN,
            output_tokens=max(
                call.content_bytes // BYTES_PER_TOKEN, before.output_tokens if before else 0, int(self.opened)
            ),
            cache_read_tokens=before.cache_read_tokens if before else 0,
            cache_write_5m_tokens=before.cache_write_5m_tokens if before else 0,
            cache_write_1h_tokens=before.cache_write_1h_tokens if before else 0,
        )
        call.usage_source = "estimated"

    def on_end(self) -> None:
        if self.ended:
            return
        if is_event(self._splitter.rest()):
            self.on_bytes(b"\n\n")
        if not self.ended:
            self._write(self._decoder.end())

    def on_fault(self, fault: Fault) -> None:
        if not self.ended:
            self._write([Failed(fault=fault)])


def is_event(rest: bytes) -> bool:
    """Whether what came after the last blank line is an event that lacks only that: not one that was cut in the middle."""
    data = parse(rest).data.strip()
    if data == b"[DONE]":
        return True
    try:
        msgspec.json.decode(data)
    except (ValueError, RecursionError):
        return False
    return True


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
        if is_event(self._splitter.rest()):
            self.on_bytes(b"\n\n")
        if not self._fold.ended and self._fold.fault is None:
            for delta in self._decoder.end():
                self._fold.feed(delta)
        if self._fold.fault is not None:
            raise UpstreamFault(self._fold.fault)
        if self._fold.response is None or not self._fold.ended:
            raise UpstreamFault(Fault(kind="cut", status=0, message="The upstream's stream ended before its end."))
        return self._fold.response
