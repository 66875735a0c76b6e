"""The law of known heads: however often a head was said before, an answer is read as if it had never been heard."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.upstream.rig import Rig

from wayport.upstream.answer import Answer
from wayport.upstream.heads import LOWER, Headers, learn

HEAD = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\nx-a: 1\r\n\r\n"
JSON = (b"content-type", b"application/json")


def said(body: bytes = b'{"a": 1}', head: bytes = HEAD) -> bytes:
    return head % len(body) + body


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


class Counted(Rig):
    """Counts how often the parser was asked."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.parsed = 0
        feed = self.connection._feed

        def counted(data: Any) -> None:
            self.parsed += 1
            feed(data)

        self.connection._feed = counted

    def call(self, *pieces: bytes) -> Answer:
        answer = self.ask(reused=True)
        self.hear(*pieces)
        return answer


def test_an_answer_whose_head_is_known_is_not_parsed(loop: asyncio.AbstractEventLoop) -> None:
    """What makes an ordinary answer cheap."""
    it = Counted(loop)
    for body in (b"[1]", b"[2]", b'{"longer": "than ten bytes"}', b"x" * 1000, b"[3]"):
        answer = it.call(said(body))
        assert (answer.status, answer.header(b"content-type"), answer.header(b"x-a")) == (
            200,
            b"application/json",
            b"1",
        )
        assert it.read(answer) == body
        assert it.keeper.idle.pop() is it.connection
    assert it.parsed == 1


@pytest.mark.parametrize(
    ("head", "body"),
    [
        pytest.param(HEAD.replace(b"application/json", b"text/event-stream"), b"data: 1\n\n", id="events"),
        pytest.param(HEAD.replace(b"Content-Type: application/json\r\n", b""), b"data: 1\n\n", id="of no type"),
        pytest.param(HEAD.replace(b"x-a: 1", b"content-encoding: identity"), b"{}", id="coded"),
        pytest.param(HEAD.replace(b"200 OK", b"500 Oh"), b"{}", id="no success"),
        pytest.param(HEAD.replace(b"200 OK", b"201 Made"), b"{}", id="another success"),
        pytest.param(HEAD.replace(b"x-a: 1", b"x-a: " + b"v" * 5000), b"{}", id="a large head"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD, b"{}", id="behind an interim answer"),
        pytest.param(HEAD, b"", id="empty"),
        pytest.param(HEAD.replace(b"%d", b"00%d"), b"{}", id="an odd length"),
    ],
)
def test_what_is_not_ordinary_is_parsed_each_time(loop: asyncio.AbstractEventLoop, head: bytes, body: bytes) -> None:
    it = Counted(loop)
    for count in range(1, 4):
        assert it.read(it.call(said(body, head))) == body
        assert it.parsed == count


def test_an_answer_in_pieces_is_parsed_and_not_learned(loop: asyncio.AbstractEventLoop) -> None:
    it = Counted(loop)
    whole = said()
    for at in range(1, len(whole)):
        assert it.read(it.call(whole[:at], whole[at:])) == b'{"a": 1}'
    assert it.parsed == 2 * (len(whole) - 1)
    # Nor when both pieces have one size.
    body = b"x" * len(HEAD % 100)
    for _ in range(3):
        assert it.read(it.call(HEAD % len(body), body)) == body


def test_an_answer_that_closes_its_connection_is_believed(loop: asyncio.AbstractEventLoop) -> None:
    it = Counted(loop)
    it.call(said())
    it.keeper.idle.clear()
    answer = it.call(said(head=HEAD.replace(b"x-a: 1", b"connection: close")))
    assert it.read(answer) == b'{"a": 1}'
    assert (it.keeper.idle, it.wire.open) == ([], False)


def test_bytes_behind_an_answer_with_a_known_head_close_the_connection(loop: asyncio.AbstractEventLoop) -> None:
    it = Counted(loop)
    it.call(said())
    it.keeper.idle.clear()
    answer = it.call(said() + said(b'{"evil": 1}'))
    assert it.read(answer) == b'{"a": 1}'
    assert (it.keeper.idle, it.wire.open) == ([], False)


def test_a_known_head_before_the_request_has_left_does_not_answer_it(loop: asyncio.AbstractEventLoop) -> None:
    it = Counted(loop)
    it.call(said())
    waiter = loop.create_future()
    answer = Answer(loop, it.connection, waiter, reused=True)
    it.connection.begin(answer, b"POST / HTTP/1.1\r\n", b"{}")
    it.hear(said(b'{"evil": 1}'))
    assert not it.wire.open
    assert loop.run_until_complete(waiter) is False


def test_a_known_head_before_all_of_the_request_has_left_ends_the_connection(loop: asyncio.AbstractEventLoop) -> None:
    it = Counted(loop)
    it.call(said())
    it.keeper.idle.clear()
    it.connection.pause_writing()
    assert it.read(it.call(said())) == b'{"a": 1}'
    assert (it.keeper.idle, it.wire.open) == ([], False)


def test_a_connection_on_which_nobody_listened_is_read_again_after_a_known_head(
    loop: asyncio.AbstractEventLoop,
) -> None:
    it = Counted(loop)
    it.call(said())
    answer = it.ask(reused=True)
    answer.pause()
    it.connection.data_received(said())
    assert it.read(answer) == b'{"a": 1}'
    assert it.wire.reading


def test_a_connection_is_not_kept_after_a_known_head_that_answers_head(loop: asyncio.AbstractEventLoop) -> None:
    it = Counted(loop)
    it.call(said())
    answer = Answer(loop, it.connection, loop.create_future(), reused=True)
    it.connection.begin(answer, b"HEAD / HTTP/1.1\r\n", b"")
    it.outbox.flush()
    it.keeper.idle.clear()
    it.hear(said())
    assert answer.status == 200
    assert (it.keeper.idle, it.wire.open) == ([], False)


def test_a_stream_after_known_heads_and_known_heads_after_a_stream(loop: asyncio.AbstractEventLoop) -> None:
    it = Counted(loop)
    for _ in range(3):
        for _ in range(3):
            assert it.read(it.call(said())) == b'{"a": 1}'
        answer = it.call(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"3\r\none\r\n", b"0\r\n\r\n")
        assert it.read(answer) == b"one"


def test_heads_that_are_never_the_same_are_seldom_learned_and_those_that_are_again_are_found(
    loop: asyncio.AbstractEventLoop,
) -> None:
    it = Counted(loop)
    learned = 0
    for id_ in range(1000):
        it.read(it.call(said(head=HEAD.replace(b"x-a: 1", b"x-id: %d" % id_))))
        learned += it.connection._known is not None
    assert it.parsed == 1000
    assert learned < 30
    it.parsed = 0
    for _ in range(100):
        it.read(it.call(said()))
    assert it.parsed <= 65
    # From then on the next second's head is learned at once.
    it.parsed = 0
    for second in range(10):
        for _ in range(3):
            it.read(it.call(said(head=HEAD.replace(b"x-a: 1", b"x-a: %d" % second))))
    assert it.parsed <= 11


@given(size=st.integers(0, 120_000), off=st.integers(-12, 12))
def test_a_head_begins_what_is_exactly_one_answer(size: int, off: int) -> None:
    headers = Headers.of([JSON, (b"content-length", b"2")])
    known = learn(said(b"{}"), headers, 2)
    assert known is not None
    data = HEAD % size + b"x" * max(0, size + off)
    assert known.begins(data) is (off == 0 and size > 0)
    assert known.begins(data) is (off == 0 and size > 0), "asked again, it says the same"
    if known.begins(data):
        assert len(data) - len(known.text) == size
    assert known.begins(said(b"{}"))


@pytest.mark.parametrize(
    ("data", "headers", "size"),
    [
        pytest.param(said(b"{}"), [(b"content-length", b"2")], 2, id="of no type"),
        pytest.param(said(b"{}") + b"\r\n", [JSON, (b"content-length", b"2")], 2, id="something behind it"),
        pytest.param(said(b"{}"), [JSON, (b"content-length", b"3")], 2, id="read otherwise"),
        pytest.param(said(b"{}"), [JSON, (b"content-length", b"2")], 6, id="the body began before"),
        pytest.param(said(b"{}"), [JSON, (b"content-length", b"2"), (b"content-length", b"2")], 2, id="two lengths"),
        pytest.param(said(b"{}"), [JSON, (b"content-length", b"2"), (b"trailer", b"x")], 2, id="trailers"),
        pytest.param(said(b"{}")[:-4], [JSON, (b"content-length", b"2")], 2, id="not whole"),
    ],
)
def test_what_the_parser_read_otherwise_is_not_learned(
    data: bytes, headers: list[tuple[bytes, bytes]], size: int
) -> None:
    assert learn(data, Headers.of(headers), size) is None


def test_what_only_looks_like_the_length_is_none(loop: asyncio.AbstractEventLoop) -> None:
    head = b"HTTP/1.1 200 OK\r\nx-content-length: %d\r\ncontent-length: 2\r\ncontent-type: application/json\r\n\r\n"
    it = Counted(loop)
    assert it.read(it.call(head % 2 + b"{}")) == b"{}"
    it.keeper.idle.clear()
    assert it.read(it.call(head % 5 + b"{}xxx")) == b"{}"
    assert (it.keeper.idle, it.wire.open) == ([], False)


LINES = st.sampled_from(
    [
        b"x-a: 1",
        b"X-A:2",
        b"x-a : 3",
        b"connection: keep-alive",
        b"connection: close",
        b"Connection: Upgrade",
        b"upgrade: h2c",
        b"keep-alive: timeout=7",
        b"content-length: 3",
        b"Content-Length:5",
        b"content-length: +5",
        b"content-length: 5 ",
        b"content-length:  5",
        b"content-length: 5, 5",
        b"x-b: c\r\n content-length: 5",
        b"x-b: c\r\n\tfolded",
        b"x-b: c\ncontent-length: 5",
        b"x-b: c\rcontent-length: 5",
        b"x-b: \0",
        b"x-b: \x01",
        b"x-b: \xe4",
        b"x-b:",
        b": b",
        b"no colon",
        b"\xe4: b",
        b"transfer-encoding: chunked",
        b"content-encoding: gzip",
        b"content-encoding: identity",
        b"trailer: x-late",
        b"proxy-connection: close",
        b"content-type: application/json; charset=utf-8",
        b"",
    ]
)
BODIES = st.sampled_from(
    [b"", b"{}", b"[1]", b"12345", b"1234567890", b"5\r\n12345\r\n0\r\n\r\n", b"x" * 99, b"x" * 1001]
)


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    first = draw(st.sampled_from([b"HTTP/1.1 200 OK"] * 6 + [b"HTTP/1.1 200", b"HTTP/1.0 200 OK", b"HTTP/1.1 204 None", b"HTTP/1.1 429 No"]))  # fmt: skip
    body = draw(BODIES)
    lines = [b"content-type: application/json", b"Content-Length: %d" % draw(st.sampled_from([len(body)] * 5 + [5]))]
    for line in draw(st.lists(LINES, max_size=2)):
        lines.insert(draw(st.integers(0, len(lines))), line)
    end = draw(st.sampled_from([b"\r\n"] * 8 + [b"\n"]))
    behind = draw(st.sampled_from([b""] * 8 + [b"\r\n", b"x", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"]))
    return end.join([first, *lines, b"", b""]) + body + behind


def read(it: Rig, pieces: list[bytes]) -> tuple[object, ...]:
    """All that can be seen of an answer and of its connection."""
    answer = it.ask(reused=True)
    it.hear(*pieces)
    idle, open_ = len(it.keeper.idle), it.wire.open
    it.keeper.idle.clear()
    if open_ and not idle:
        it.connection.eof_received()
    length = answer.header(b"content-length")
    others = [pair for pair in answer.headers if pair[0] != b"content-length"]
    body = it.end(answer)
    assert length is None or not isinstance(body, bytes) or not body or int(length) == len(body) or not idle
    return answer.status, others, body, idle, open_, it.connection.kept_s


@settings(max_examples=400)
@given(data=st.data())
def test_what_was_heard_before_changes_nothing(loop: asyncio.AbstractEventLoop, data: st.DataObject) -> None:
    """Each answer is read on one connection where like ones came before, and on one where none did."""
    it = Rig(loop)
    kept_s = it.connection.kept_s
    kinds = data.draw(st.lists(answers(), min_size=1, max_size=3))
    for _ in range(data.draw(st.integers(2, 6))):
        sent = data.draw(st.sampled_from(kinds))
        if data.draw(st.integers(0, 3)) == 0:
            # Nearly the same.
            at = data.draw(st.integers(0, len(sent)))
            sent = sent[:at] + data.draw(st.binary(max_size=2)) + sent[at + data.draw(st.integers(0, 2)) :]
        at = data.draw(st.sampled_from([len(sent)] * 4 + [len(sent) // 2]))
        pieces = [piece for piece in (sent[:at], sent[at:]) if piece]
        fresh = Rig(loop)
        fresh.connection.kept_s = kept_s
        expected = read(fresh, pieces)
        assert read(it, pieces) == expected
        kept_s = it.connection.kept_s
        if not it.wire.open or it.connection.closed:
            it = Rig(loop)
            kept_s = it.connection.kept_s


def test_names_that_are_remembered_are_bounded() -> None:
    """An upstream may make up as many as it likes."""
    for number in range(5000):
        assert LOWER[b"X-%d" % number] == b"x-%d" % number
    long = b"X" * 60_000
    assert LOWER[long] == long.lower()
    assert len(LOWER) <= 1024
    assert long not in LOWER
