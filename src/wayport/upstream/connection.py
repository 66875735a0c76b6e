"""One connection to an upstream.

What must stay true: it carries one exchange at a time and is given back only after a clean, whole answer; nothing that
came before a request or behind an answer ever becomes part of another answer.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Protocol, cast

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpResponseParser

from wayport.core.errors import FaultClass
from wayport.core.net import Timeouts
from wayport.core.outbox import Outbox
from wayport.upstream.answer import Answer
from wayport.upstream.faults import TransportFault
from wayport.upstream.heads import LOWER, Head, Headers, learn
from wayport.upstream.inflate import BadCoding
from wayport.wire.chunks import WHOLE, WHOLE_MOST
from wayport.wire.lengths import HEAD_END

MAX_HEAD_BYTES = 64 * 1024
_SPLIT_BYTES = 64 * 1024
"""a body above this is not copied to stand behind its head"""

FOREVER = float("inf")
_STANDARD = Timeouts()
_H, _P = b"HP"
_KEPT = re.compile(rb"timeout=(\d{1,6})")
_LESSONS_APART = 64
"""where heads are never the same, one in so many is learned, to see whether they still are not"""


class Keeper(Protocol):
    """Who owns a connection between its exchanges."""

    def release(self, connection: "Connection") -> None:
        """It is free for another exchange."""

    def gone(self, connection: "Connection") -> None:
        """It is closed or closing."""


def _ignore(_: bytes) -> None:
    """Takes what still comes after an answer was given up."""


class Connection(asyncio.Protocol):
    """The socket's side of it."""

    __slots__ = (
        "_between",
        "_feed",
        "_headers",
        "_in_chunk",
        "_keep_alive",
        "_keeper",
        "_known",
        "_learned_at",
        "_left",
        "_lessons_apart",
        "_method_head",
        "_name",
        "_opening",
        "_outbox",
        "_over",
        "_parser",
        "_paused",
        "_posted",
        "_trailing",
        "_transport",
        "_unsent_bytes",
        "_writing_paused",
        "answer",
        "closed",
        "head_bytes",
        "heard",
        "idle_until",
        "kept_s",
        "quiet_until",
        "served",
        "take",
        "take_chunk",
        "timeouts",
        "total_until",
    )

    def __init__(self, keeper: Keeper, name: str, outbox: Outbox) -> None:
        # For the connection's life:
        self._keeper = keeper
        self._outbox = outbox
        self._name = name
        self._parser = HttpResponseParser(self)
        self._feed = self._parser.feed_data
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)  # until it is made
        self.closed = False
        self.served = 0
        self.idle_until = 0.0
        """when it has been idle for too long; 0: not determined yet"""
        self.kept_s = FOREVER
        """how long the other side keeps an idle connection, if it said so"""
        self._known: Head | None = None
        """the last answer's, if it was learned"""
        self._learned_at = 0
        """how many exchanges were served when a head was learned"""
        self._lessons_apart = 1
        """and how many more there have to be until another is"""
        self._paused = False
        self._writing_paused = False
        # For one exchange:
        self.answer: Answer | None = None
        self.take: Callable[[bytes], None] = _ignore
        """takes each piece of the body"""
        self.take_chunk: Callable[[bytes, int], bool] | None = None
        """is offered a chunk that came alone and whole, as it is, and where its content begins; whether it took it"""
        self._between: Callable[[bytes, int], bool] | None = None
        """the same, while the parser stands between two chunks"""
        self._in_chunk = True
        self._headers: Headers | None = None
        """while they come; trailers go nowhere"""
        self._method_head = False
        self._keep_alive = False
        self._opening: bytes | None = None
        """what the answer began with, while that is parsed, if its head may be learned"""
        self._over = False
        """the answer's last byte was parsed"""
        self._trailing = False
        """something came behind it"""
        self.head_bytes = 0
        self.heard = False
        """bytes came since the last sweep"""
        self.timeouts = _STANDARD
        self.quiet_until = FOREVER
        self.total_until = FOREVER
        self._left = False
        self._unsent_bytes = 0
        self._posted = -1
        """the outbox's turn in which the request was given to it"""

    # ------------------------------------------------------------------------------------------------ one exchange
    def begin(self, answer: Answer, head: bytes, body: bytes) -> None:
        """Writes one request, whole. `head` lacks its content-length and blank line."""
        self.served += 1
        self.idle_until = 0.0
        self.answer = answer
        self._left = self.heard = False
        self.head_bytes = self._unsent_bytes = 0
        self._posted = self._outbox.turn
        first = head[0]
        self._method_head = first == _H and head.startswith(b"HEAD ")
        size = len(body)
        if size > _SPLIT_BYTES:
            self._outbox.flush()
            self._posted = -1
            self._transport.writelines((head + HEAD_END[size], body))
        elif size or first == _P:
            self._outbox.write(self._transport, head + HEAD_END[size] + body)
        else:
            self._outbox.write(self._transport, head + b"\r\n")

    def wait(self, timeouts: Timeouts, now: float, total_until: float) -> None:
        """From now on its answer is waited for."""
        self.timeouts = timeouts
        self.total_until = total_until
        first_byte_s = timeouts.first_byte_s
        self.quiet_until = FOREVER if first_byte_s is None else now + first_byte_s

    def fail(self, error: Exception) -> None:
        """Ends the exchange with `error` and the connection with it."""
        answer = self.answer
        self.answer = None
        self.drop()
        if answer is not None:
            answer.end(error)

    def _fault(self, kind: FaultClass, message: str) -> None:
        status = self.answer.status if self.answer is not None else 0
        self.fail(TransportFault(kind, message, status=status, body_sent=True))

    def drop(self) -> None:
        """Closes at once, whatever is in flight."""
        self._leave()
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Closes in good order; for idle connections."""
        self._leave()
        self._transport.close()

    def _leave(self) -> None:
        self.take = _ignore
        self.take_chunk = self._between = None
        self._headers = None
        if not self.closed:
            self.closed = True
            self._keeper.gone(self)

    def _complete(self) -> None:
        """The answer is whole."""
        answer = self.answer
        assert answer is not None
        inflate = answer.inflate
        if inflate is not None and not inflate.finished:
            self._fault("cut", f"{self._name} ended its compressed answer before its end.")
            return
        self.answer = None
        self.take = _ignore
        self.take_chunk = self._between = None
        if self._keep_alive and not self._trailing and not self._unsent():
            if self._paused:
                self.resume()
            if self._opening is not None and answer.status == 200:
                self._learn(self._opening, answer)
            self._keeper.release(self)
        else:
            self.drop()
        answer.end(None)

    def _learn(self, data: bytes, answer: Answer) -> None:
        """The next answer may begin as this one did, which came whole."""
        self._known = learn(data, answer.head, answer.size)
        self._learned_at = self.served
        self._lessons_apart = min(self._lessons_apart * 2, _LESSONS_APART)

    def _unsent(self) -> bool:
        """Whether the answer came before all of the request had left."""
        return self._writing_paused or self._transport.get_write_buffer_size() > 0

    # ---------------------------------------------------------------------------------------- timeouts, by the sweep
    def overdue(self, now: float) -> bool:
        """Whether a timeout has passed. Moves the end of the permitted silence where something was heard."""
        if self.heard:
            # Of every stream, each time.
            self.heard = False
            idle_s = self.timeouts.idle_s
            self.quiet_until = FOREVER if idle_s is None else now + idle_s
        elif self._left:
            # The last of a large body has just gone.
            self._left = False
            self._may_be_quiet(now, self.timeouts.first_byte_s)
        elif now >= self.quiet_until and not self._paused and not self._still_leaving(now):
            return True
        return now >= self.total_until

    def _may_be_quiet(self, now: float, for_s: float | None) -> None:
        self.quiet_until = FOREVER if for_s is None else now + for_s

    def _still_leaving(self, now: float) -> bool:
        """Whether a large body is on its way: the first-byte clock starts again as long as it moves."""
        if not self._writing_paused:
            return False
        unsent = self._transport.get_write_buffer_size()
        moved = unsent != self._unsent_bytes
        self._unsent_bytes = unsent
        self._may_be_quiet(now, self.timeouts.first_byte_s)
        return moved

    def time_out(self, now: float) -> None:
        timeouts = self.timeouts
        if now >= self.total_until:
            what = f"did not finish its answer within {timeouts.total_s:g} s (`total_s`)"
        elif self.head_bytes == 0:
            what = f"did not begin to answer within {timeouts.first_byte_s:g} s (`first_byte_s`)"
        else:
            what = f"fell silent for {timeouts.idle_s:g} s in the middle of its answer (`idle_s`)"
        self._fault("timeout", f"{self._name} {what}.")

    # ---------------------------------------------------------------------------------------------------- the socket
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        between = self._between
        if between is not None and (size := len(data)) < WHOLE_MOST and data.endswith(b"\r\n"):
            head = WHOLE[size]
            if data.startswith(head) or data.startswith(head.upper()):  # noqa: PIE810 (the second one is rare)
                # Nearly all of a stream. The parser need not see it: behind a whole chunk it stands where it stood before.
                self.heard = True
                try:
                    if between(data, len(head)):
                        return
                except Exception as error:  # noqa: BLE001 (it is the taker's own, and goes back to it)
                    self.fail(error)
                    return
        answer = self.answer
        if answer is None:
            # Nothing was asked: whatever this is, it must not become the answer to the next request.
            self.drop()
            return
        self.heard = True
        if answer.status:
            self._parse(answer, data)
        elif self._posted == self._outbox.turn:
            self._unasked(answer)
        elif self.head_bytes:
            self.head_bytes += len(data)
            self._parse(answer, data)
        elif (
            (known := self._known) is not None
            and known.begins(data)
            and not (self._method_head or self._paused or self._unsent())
        ):
            # Neither the parser nor anything else need look at it.
            self._lessons_apart = 1
            self.answer = None
            self._keeper.release(self)
            answer.arrived(known.headers, data[len(known.text) :])
        else:
            self._parse_first(answer, data)

    def _parse_first(self, answer: Answer, data: bytes) -> None:
        """The parser reads what an answer begins with."""
        self.take = answer.keep
        self.head_bytes = len(data)
        self._headers = Headers()
        self._over = False
        self._in_chunk = True
        self._known = None
        self._opening = data if self.served >= self._learned_at + self._lessons_apart else None
        self._parse(answer, data)
        self._opening = None

    def _parse(self, answer: Answer, data: bytes) -> None:
        try:
            self._feed(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            if not self._over:
                self._misread(error)
                return
            self._trailing = True
        if self._over:
            if self.answer is answer:
                self._complete()
        elif self.head_bytes > MAX_HEAD_BYTES and answer.status == 0 and self.answer is answer:
            self._head_too_large()
        elif self.take_chunk is not None:
            self._between = None if self._in_chunk or not data.endswith(b"\r\n") else self.take_chunk

    def _unasked(self, answer: Answer) -> None:
        """It spoke before the request had left: whatever this answers, it is not that."""
        if answer.reused:
            self.answer = None
            self.drop()
            answer.died_unanswered()
        else:
            self._fault("malformed", f"{self._name} answered before it was asked.")

    def _head_too_large(self) -> None:
        self._fault("malformed", f"{self._name} sent a response head larger than {MAX_HEAD_BYTES} bytes.")

    def _misread(self, error: Exception) -> None:
        if self.answer is None:
            return
        # What a taker of the body raised comes wrapped.
        cause = error.__context__ if isinstance(error, HttpParserCallbackError) else None
        if isinstance(cause, BadCoding):
            self._fault("malformed", f"{self._name} sent a body that cannot be decoded: {cause}.")
        elif isinstance(cause, Exception):
            self.fail(cause)
        else:
            self._fault("malformed", f"{self._name} sent what is not HTTP/1.1: {error}.")

    def eof_received(self) -> None:
        self._ended(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended(exc)
        # The parser holds our methods: without this a closed connection would wait for the garbage collector.
        del self._parser, self._feed

    def _ended(self, error: Exception | None) -> None:
        answer = self.answer
        if answer is None:
            self._leave()
            return
        if self.head_bytes == 0 and answer.reused:
            self.answer = None
            self._leave()
            answer.died_unanswered()
        elif error is None and answer.status and not _framed(answer):
            # The end of the connection is the end of the body.
            self._keep_alive = False
            self._complete()
        else:
            self._fault("cut", self._cut_message(answer, error))

    def _cut_message(self, answer: Answer, error: Exception | None) -> str:
        how = "closed the connection" if error is None else f"broke the connection ({_reason(error)})"
        if answer.status == 0:
            return f"{self._name} {how} without an answer."
        return f"{self._name} {how} in the middle of its answer."

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        self._left = True

    def pause(self) -> None:
        if not self.closed and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if not self.closed and self._paused:
            self._paused = False
            # The silence was ours.
            self.heard = True
            self._transport.resume_reading()

    # ---------------------------------------------------------------------------------------------------- the parser
    def on_message_begin(self) -> None:
        if self._over:
            self._trailing = True

    def on_header(self, name: bytes, value: bytes) -> None:
        headers = self._headers
        if headers is not None:
            name, value = LOWER[name], value.strip()
            headers.pairs.append((name, value))
            headers.by_name[name] = value

    def on_headers_complete(self) -> None:
        answer, headers = self.answer, self._headers
        if answer is None or headers is None or self._over:
            return
        status = self._parser.get_status_code()
        if status < 200:
            if status == 101:
                self._fault("malformed", f"{self._name} switched to another protocol without being asked.")
            self._headers = Headers()
            return
        if self.head_bytes > MAX_HEAD_BYTES and _size(headers.pairs) > MAX_HEAD_BYTES:
            self._head_too_large()
            return
        answer.status = status
        answer.head = headers
        self._headers = None
        self._keep_alive = self._parser.should_keep_alive()
        try:
            answer.headed()
        except BadCoding as error:
            self._fault("malformed", f"{self._name} sent an answer that cannot be read: {error}.")
            return
        kept = answer.header(b"keep-alive")
        if kept is not None and (match := _KEPT.search(kept)) is not None:
            self.kept_s = float(match[1])
        if self._method_head:
            # The parser does not know what was asked and would wait for a body.
            self._keep_alive = False
            self._over = True

    def on_body(self, data: bytes) -> None:
        self.take(data)

    def on_chunk_header(self) -> None:
        self._in_chunk = True

    def on_chunk_complete(self) -> None:
        self._in_chunk = False

    def on_message_complete(self) -> None:
        answer = self.answer
        if answer is not None and answer.status:
            self._over = True
            # Whatever is parsed from here on belongs to no request.
            self.take = _ignore


def _size(headers: list[tuple[bytes, bytes]]) -> int:
    return sum(len(name) + len(value) + 4 for name, value in headers)


def _framed(answer: Answer) -> bool:
    """Whether the head says where the body ends."""
    return answer.header(b"content-length") is not None or answer.header(b"transfer-encoding") is not None


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
