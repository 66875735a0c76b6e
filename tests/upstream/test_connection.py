"""The law of the wire: however an answer is framed, coded and cut into pieces, what is read is what was sent."""

import asyncio
import gc
import gzip
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.upstream.rig import Rig, Wire

from wayport.core.net import Timeouts
from wayport.core.outbox import Outbox
from wayport.upstream.answer import Answer
from wayport.upstream.connection import Connection
from wayport.upstream.faults import TransportFault


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


HEADERS = st.lists(
    st.sampled_from(
        [(b"x-a", b"1"), (b"x-a", b"2, 3"), (b"x-b", b"\xe4 \xf6"), (b"x-long", b"v" * 300), (b"x-none", b"")]
    ),
    max_size=3,
)


@st.composite
def answers(draw: st.DrawFn) -> tuple[bytes, list[tuple[bytes, bytes]], bytes, bool]:
    """Bytes on the wire, the extra headers and the body that they mean, and whether the connection's end ends it."""
    body = draw(st.binary(max_size=60)) * draw(st.sampled_from([1, 1, 50]))
    headers = draw(HEADERS)
    coding = draw(st.sampled_from(["", "gzip", "deflate"]))
    coded = {"": lambda b: b, "gzip": gzip.compress, "deflate": zlib.compress}[coding](body)
    lines = [
        b"%b:%b%b" % (n.upper() if draw(st.booleans()) else n, b" " * draw(st.integers(0, 2)), v) for n, v in headers
    ]
    if coding:
        lines.append(f"Content-Encoding: {coding}".encode())
    framing = draw(st.sampled_from(["length", "chunked", "end"]))
    if framing == "length":
        lines.append(b"Content-Length: %d" % len(coded))
    elif framing == "chunked":
        lines.append(b"Transfer-Encoding: chunked")
        cuts = sorted(draw(st.lists(st.integers(1, max(1, len(coded) - 1)), max_size=4, unique=True)))
        chunks = [coded[a:b] for a, b in zip([0, *cuts], [*cuts, len(coded)], strict=True)]
        extension = draw(st.sampled_from([b"", b";a=b"]))
        coded = b"".join(b"%x%b\r\n%b\r\n" % (len(c), extension, c) for c in chunks if c)
        coded += b"0\r\n" + draw(st.sampled_from([b"", b"x-late: 1\r\n"])) + b"\r\n"
    head = b"HTTP/1.1 200 OK\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n"
    interim = draw(st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n"]))
    return interim + head + coded, headers, body, framing == "end"


@st.composite
def cut_up(draw: st.DrawFn, data: bytes) -> list[bytes]:
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True) if a != b]


@settings(max_examples=100)
@given(data=st.data())
def test_what_is_read_is_what_was_sent_however_it_was_cut(loop: asyncio.AbstractEventLoop, data: st.DataObject) -> None:
    sent, headers, body, until_end = data.draw(answers())
    it = Rig(loop)
    answer = it.ask()
    it.hear(*data.draw(cut_up(sent)))
    if until_end:
        it.connection.eof_received()
    assert it.read(answer) == body
    assert [pair for pair in answer.headers if pair[0].startswith(b"x-")] == headers
    assert (len(it.keeper.idle), it.keeper.lost) == ((0, 1) if until_end else (1, 0))
    assert it.wire.open is not until_end


@settings(max_examples=100)
@given(data=st.data())
def test_a_pump_delivers_the_same_wherever_it_begins(loop: asyncio.AbstractEventLoop, data: st.DataObject) -> None:
    sent, _, body, until_end = data.draw(answers())
    pieces = data.draw(cut_up(sent))
    begin = data.draw(st.integers(0, len(pieces)))
    taken: list[bytes] = []
    it = Rig(loop)
    answer = it.ask()
    it.hear(*pieces[:begin])
    ended = answer.pump(taken.append) if answer.status else None
    it.hear(*pieces[begin:])
    if until_end:
        it.connection.eof_received()
    it.loop.run_until_complete(ended or answer.pump(taken.append))
    assert b"".join(taken) == body


# ------------------------------------------------------------------------------------------ chunks as they are on the wire
_CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
_LIKE_CHUNKS = st.sampled_from([b"5\r\nhello\r\n", b"0\r\n\r\n", b"\r\n", b"x" * 254, b"x" * 1100])


@settings(max_examples=200)
@given(data=st.data())
def test_a_body_is_the_same_whichever_chunks_are_taken_as_they_are(
    loop: asyncio.AbstractEventLoop, data: st.DataObject
) -> None:
    contents = data.draw(st.lists(st.binary(min_size=1, max_size=20) | _LIKE_CHUNKS, max_size=12))
    head = data.draw(st.sampled_from([b"%x\r\n", b"%X\r\n", b"%x;a=b\r\n", b"00%x\r\n"]))
    chunks = [head % len(content) + content + b"\r\n" for content in contents]
    pieces = [part for chunk in chunks for part in (data.draw(cut_up(chunk)) if data.draw(st.booleans()) else [chunk])]
    taken: list[bytes] = []

    def take(chunk: bytes, start: int) -> bool:
        assert chunk in chunks, "no chunk, or not whole"
        wanted = data.draw(st.booleans())
        if wanted:
            taken.append(chunk[start:-2])
        return wanted

    it = Rig(loop)
    answer = it.ask()
    it.hear(_CHUNKED)
    ended = answer.pump(taken.append, take)
    it.hear(*pieces, b"0\r\n\r\n")
    it.loop.run_until_complete(ended)
    assert b"".join(taken) == b"".join(contents)
    assert it.keeper.idle == [it.connection]
    # The next answer on the connection is read as any other.
    answer = it.ask()
    it.hear(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n4\r\nx")
    assert it.read(answer) == b"4\r\nx"


def test_between_chunks_a_whole_one_is_handed_over_with_its_frame(loop: asyncio.AbstractEventLoop) -> None:
    """What makes an event cheap: neither the parser nor anybody else looks at it."""
    it = Rig(loop)
    answer = it.ask()
    it.hear(_CHUNKED)
    parsed: list[bytes] = []
    taken: list[tuple[bytes, int]] = []

    def take(chunk: bytes, start: int) -> bool:
        taken.append((chunk, start))
        return True

    ended = answer.pump(parsed.append, take)
    it.hear(b"3\r\none\r\n", b"3\r\ntwo\r\n", b"C\r\ntwelve bytes\r\n", b"5\r\nthree\r\n0\r\n\r\n")
    it.loop.run_until_complete(ended)
    assert taken == [(b"3\r\ntwo\r\n", 3), (b"C\r\ntwelve bytes\r\n", 3)]
    assert parsed == [b"one", b"three"]
    # Of the next answer it gets nothing.
    following = it.ask()
    it.hear(_CHUNKED, b"4\r\nfour\r\n", b"4\r\nfive\r\n", b"0\r\n\r\n")
    assert it.read(following) == b"fourfive"
    assert len(taken) == 2


@pytest.mark.parametrize(
    "framing", [b"content-length: 36\r\n", b"content-length: 36\r\ncontent-encoding: identity\r\n", b""]
)
def test_what_looks_like_a_chunk_in_another_body_is_content(loop: asyncio.AbstractEventLoop, framing: bytes) -> None:
    it = Rig(loop)
    answer = it.ask()
    it.hear(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n")
    parsed: list[bytes] = []
    ended = answer.pump(parsed.append, lambda *_: True)
    it.hear(*[b"7\r\ncontent\r\n"] * 3)
    if not framing:
        it.connection.eof_received()
    it.loop.run_until_complete(ended)
    assert parsed == [b"7\r\ncontent\r\n"] * 3


def test_coded_chunks_are_not_taken_as_they_are(loop: asyncio.AbstractEventLoop) -> None:
    it = Rig(loop)
    answer = it.ask()
    it.hear(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-encoding: gzip\r\n\r\n")
    parsed: list[bytes] = []
    ended = answer.pump(parsed.append, lambda *_: True)
    coded = gzip.compress(b"said")
    it.hear(*[b"1\r\n%b\r\n" % coded[at : at + 1] for at in range(len(coded))], b"0\r\n\r\n")
    it.loop.run_until_complete(ended)
    assert b"".join(parsed) == b"said"


def test_what_a_taker_of_chunks_raises_ends_the_pump_and_the_connection(loop: asyncio.AbstractEventLoop) -> None:
    def take(chunk: bytes, start: int) -> bool:
        raise KeyError(chunk[start:-2])

    it = Rig(loop)
    answer = it.ask()
    it.hear(_CHUNKED)
    ended = answer.pump(lambda _: None, take)
    it.hear(b"3\r\none\r\n", b"3\r\ntwo\r\n")
    with pytest.raises(KeyError, match="two"):
        it.loop.run_until_complete(ended)
    assert not it.wire.open


def test_a_chunk_that_is_taken_is_a_sign_of_life(loop: asyncio.AbstractEventLoop) -> None:
    it = Rig(loop)
    answer = it.ask()
    it.connection.wait(Timeouts(first_byte_s=1.0, idle_s=1.0), 0.0, float("inf"))
    it.hear(_CHUNKED)
    ended = answer.pump(lambda _: None, lambda *_: True)
    it.hear(b"3\r\none\r\n")
    for second in range(1, 4):
        assert not it.connection.overdue(float(second))
        it.hear(b"3\r\ntwo\r\n")
    assert not it.connection.overdue(4.0)
    assert it.connection.overdue(5.0)
    ended.cancel()
    it.loop.run_until_complete(asyncio.sleep(0))
    it.hear(b"3\r\nend\r\n")


@settings(max_examples=100)
@given(data=st.data())
def test_an_answer_that_ends_too_soon_is_never_whole(loop: asyncio.AbstractEventLoop, data: st.DataObject) -> None:
    sent, _, body, until_end = data.draw(answers())
    kept = data.draw(st.integers(0, len(sent) - 1))
    it = Rig(loop)
    answer = it.ask()
    it.hear(*data.draw(cut_up(sent[:kept])))
    it.connection.eof_received()
    got = it.end(answer)
    if isinstance(got, bytes):
        # Only where nothing but the connection's end marks the end can a part look whole.
        assert until_end
        assert body.startswith(got)
    else:
        assert got == "cut"
    assert not it.keeper.idle


@settings(max_examples=100)
@given(data=st.data())
def test_rubbish_never_raises_and_never_hangs(loop: asyncio.AbstractEventLoop, data: st.DataObject) -> None:
    sent = data.draw(st.one_of(st.binary(max_size=200), answers().map(lambda made: made[0])))
    at = data.draw(st.integers(0, len(sent)))
    broken = sent[:at] + data.draw(st.binary(max_size=5)) + sent[at:]
    it = Rig(loop)
    answer = it.ask()
    it.hear(*data.draw(cut_up(broken)))
    it.connection.connection_lost(None)
    got = it.end(answer)
    assert isinstance(got, bytes) or got in ("cut", "malformed")


@settings(max_examples=100)
@given(data=st.data())
def test_answers_that_follow_each_other_do_not_mix(loop: asyncio.AbstractEventLoop, data: st.DataObject) -> None:
    it = Rig(loop)
    for _ in range(3):
        sent, headers, body, until_end = data.draw(answers().filter(lambda made: not made[3]))
        assert not until_end
        answer = it.ask(reused=True)
        it.hear(*data.draw(cut_up(sent)))
        assert it.read(answer) == body
        assert [pair for pair in answer.headers if pair[0].startswith(b"x-")] == headers
        assert it.keeper.idle.pop() is it.connection


def test_a_large_body_is_not_copied_behind_its_head(loop: asyncio.AbstractEventLoop) -> None:
    it = Rig(loop)
    body = b"x" * 100_000
    answer = Answer(it.loop, it.connection, it.loop.create_future(), reused=False)
    it.connection.begin(answer, b"POST / HTTP/1.1\r\n", body)
    assert it.wire.sent == b"POST / HTTP/1.1\r\ncontent-length: 100000\r\n\r\n" + body


def test_what_is_heard_after_the_end_is_for_nobody(loop: asyncio.AbstractEventLoop) -> None:
    it = Rig(loop)
    answer = it.ask()
    it.hear(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    assert it.read(answer) == b"ok"
    it.connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")
    assert (it.wire.open, it.keeper.lost) == (False, 1)


@pytest.mark.parametrize("reused", [False, True])
def test_what_comes_before_the_request_has_left_does_not_answer_it(
    loop: asyncio.AbstractEventLoop, reused: bool
) -> None:
    it = Rig(loop)
    waiter = it.loop.create_future()
    answer = Answer(it.loop, it.connection, waiter, reused=reused)
    it.connection.begin(answer, b"POST / HTTP/1.1\r\n", b"{}")
    it.hear(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")
    assert not it.wire.open
    assert answer.whole() == b""
    if reused:
        # It is sent again, on another connection.
        assert it.loop.run_until_complete(waiter) is False
    else:
        with pytest.raises(TransportFault, match="before it was asked"):
            it.loop.run_until_complete(waiter)
    it.outbox.flush()
    assert it.wire.sent == b""


def test_an_answer_is_held_back_at_a_megabyte_until_somebody_takes_it(loop: asyncio.AbstractEventLoop) -> None:
    it = Rig(loop)
    answer = it.ask()
    it.hear(b"HTTP/1.1 200 OK\r\ncontent-length: 3000000\r\n\r\n", b"x" * 1_000_000)
    assert it.wire.reading
    it.hear(b"x" * 100_000)
    assert not it.wire.reading
    taken: list[bytes] = []
    ended = answer.pump(taken.append)
    assert it.wire.reading
    it.hear(b"x" * 1_900_000)
    it.loop.run_until_complete(ended)
    assert sum(map(len, taken)) == 3_000_000


@pytest.mark.parametrize("reused", [False, True])
def test_a_reused_connection_that_dies_unheard_asks_for_another_try(
    loop: asyncio.AbstractEventLoop, reused: bool
) -> None:
    it = Rig(loop)
    waiter = it.loop.create_future()
    answer = Answer(it.loop, it.connection, waiter, reused=reused)
    it.connection.begin(answer, b"POST / HTTP/1.1\r\n", b"{}")
    it.outbox.flush()
    it.connection.connection_lost(ConnectionResetError(104, "Connection reset by peer"))
    if reused:
        assert it.loop.run_until_complete(waiter) is False
    else:
        with pytest.raises(TransportFault, match=r"broke the connection \(Connection reset by peer\)"):
            it.loop.run_until_complete(waiter)


def test_neither_calls_nor_closed_connections_wait_for_the_garbage_collector(loop: asyncio.AbstractEventLoop) -> None:
    class Nobody:
        def release(self, _: Connection) -> None: ...

        def gone(self, _: Connection) -> None: ...

    gc.collect()
    gc.disable()
    try:
        outbox = Outbox(loop.call_soon)
        connection = Connection(Nobody(), "upstream.test", outbox)
        connection.connection_made(Wire())
        for coding, body in ((b"identity", b"body"), (b"gzip", gzip.compress(b"body"))):
            for pumped in (False, True):
                answer = Answer(loop, connection, loop.create_future(), reused=False)
                connection.begin(answer, b"POST / HTTP/1.1\r\n", b"{}")
                outbox.flush()
                head = b"HTTP/1.1 200 OK\r\ncontent-encoding: %b\r\ncontent-length: %d\r\n\r\n" % (coding, len(body))
                connection.data_received(head)
                ended = answer.pump(lambda _: None) if pumped else None
                connection.data_received(body)
                loop.run_until_complete(ended or answer.read(100))
                del answer, ended
        connection.connection_lost(None)
        del connection
        assert gc.collect() == 0
    finally:
        gc.enable()
