"""Heads that come again on a connection are not parsed again: what is handled must be what the parser would have read."""

import asyncio
from collections.abc import Callable, Iterable
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from wayport.server.exchange import Exchange
from wayport.server.heads import Head, Heads
from wayport.server.protocol import GatewayProtocol, Limits, Load, ServerState

OK = b"content-type: text/plain\r\n"


class Wire(asyncio.Transport):
    """A connection without a socket."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 50000)})
        self.sent = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def can_write_eof(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Peer:
    """One client, and what the server understood of it."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.heard: list[tuple[bytes, str, bytes, dict[bytes, bytes], bytes]] = []
        self.known: list[Head | None] = []
        self.at_work: list[Exchange] = []
        """those that are answered when somebody says so"""
        self.patient = False
        self.load = Load()
        self.wire = Wire()
        self.protocol = GatewayProtocol(
            self._handle, state=ServerState(), load=self.load, limits=limits or Limits(), refuse=lambda *_: b""
        )
        self.protocol.connection_made(self.wire)

    def _handle(self, exchange: Exchange) -> None:
        headers = {name: value for name, value in exchange.headers.items() if name != b"content-length"}
        self.heard.append((exchange.method, exchange.path, exchange.query, headers, exchange.body))
        self.known.append(exchange.known)
        if self.patient:
            self.at_work.append(exchange)
        else:
            exchange.respond(200, OK, b"")

    def answer(self) -> None:
        while self.at_work:
            self.at_work.pop(0).respond(200, OK, b"")

    @property
    def bodies(self) -> list[bytes]:
        return [body for *_, body in self.heard]

    def say(self, *pieces: bytes) -> "Peer":
        for piece in pieces:
            self.protocol.data_received(piece)
        return self


async def _talk(make: Callable[[], Peer], pieces: Iterable[bytes]) -> Peer:
    peer = make().say(*pieces)
    # What is written leaves at the end of the loop's turn.
    await asyncio.sleep(0)
    return peer


def talk(*pieces: bytes, limits: Limits | None = None) -> Peer:
    return asyncio.run(_talk(lambda: Peer(limits), pieces))


def post(body: bytes, *lines: bytes, path: bytes = b"/a", length: bytes | None = None) -> bytes:
    head = b"".join(line + b"\r\n" for line in lines)
    size = b"%d" % len(body) if length is None else length
    return b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %b\r\n%b\r\n%b" % (path, size, head, body)


def test_a_head_is_remembered_from_the_second_request_on_whatever_the_length_of_its_body() -> None:
    peer = talk(*(post(b"x" * size, b"X-A: 1") for size in (3, 10, 0, 1000)))
    assert [len(body) for body in peer.bodies] == [3, 10, 0, 1000]
    assert {path for _, path, *_ in peer.heard} == {"/a"}
    assert {tuple(headers.items()) for *_, headers, _ in peer.heard} == {((b"host", b"x"), (b"x-a", b"1"))}
    # The first is not learnt of, the second was parsed, and those behind it were known.
    assert [known is not None for known in peer.known] == [False, False, True, True]
    assert peer.load.body_bytes == 0


def test_connections_that_say_the_same_share_what_is_worked_out_of_it() -> None:
    peer = talk(*[post(b"a")] * 3)

    async def another() -> Peer:
        second = Peer()
        second.protocol.state = peer.protocol.state
        return second.say(*[post(b"bb")] * 3)

    assert peer.known[2] is not None
    assert asyncio.run(another()).known[2] is peer.known[2]


def test_another_head_is_read_for_itself() -> None:
    first = [post(b"1")] * 3
    peer = talk(*first, post(b"2", b"authorization: other"), post(b"3", path=b"/b"), *first)
    assert peer.bodies == [b"1"] * 3 + [b"2", b"3"] + [b"1"] * 3
    assert peer.heard[3][3][b"authorization"] == b"other"
    assert peer.heard[4][1] == "/b"
    assert b"authorization" not in peer.heard[5][3]


def test_a_body_that_comes_in_pieces_and_what_comes_behind_it() -> None:
    whole = post(b"0123456789")
    peer = talk(whole, whole, whole[:-7], whole[-7:-3], whole[-3:] + whole + whole, whole)
    assert peer.bodies == [b"0123456789"] * 6
    assert peer.load.body_bytes == 0


def test_a_length_that_is_none_is_refused_under_a_known_head_as_under_a_new_one() -> None:
    for length in (b"", b"5x", b"+5", b"-5", b"5, 5", b"0x5", b"5 5"):
        peer = talk(post(b"12345"), post(b"12345"), post(b"12345"), post(b"12345", length=length))
        assert peer.bodies == [b"12345"] * 3, length
        assert peer.wire.sent.split(b"\r\n\r\n")[-2].startswith(b"HTTP/1.1 400 "), length


def test_two_lengths_or_a_transfer_encoding_are_never_remembered() -> None:
    chunked = b"POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\n\r\n"
    peer = talk(*[chunked] * 4)
    assert peer.bodies == [b"12345"] * 4
    assert peer.known == [None] * 4
    twice = talk(*[post(b"12345", b"content-length: 5")] * 3)
    assert twice.known == [None] * len(twice.known)


def test_limits_hold_under_a_known_head() -> None:
    limits = Limits(body_bytes=100)
    peer = talk(post(b"1"), post(b"1"), post(b"1"), post(b"x" * 101), limits=limits)
    assert peer.bodies == [b"1"] * 3
    assert b"HTTP/1.1 413 " in peer.wire.sent
    full = talk(post(b"1"), post(b"1"), post(b"x" * 60)[:-1], limits=Limits(total_body_bytes=50))
    assert b"HTTP/1.1 503 " in full.wire.sent


def test_a_connection_whose_heads_all_differ_is_given_up_as_a_pupil() -> None:
    different = [post(b"1", b"x-request: %d" % number) for number in range(20)]
    peer = talk(*different, *[post(b"2")] * 3)
    assert peer.bodies == [b"1"] * 20 + [b"2"] * 3
    assert peer.known == [None] * 23


_REQUESTS = st.lists(
    st.one_of(
        st.builds(post, st.binary(max_size=40)),
        st.builds(post, st.binary(max_size=40), st.sampled_from([b"x-a: 1", b"x-a: 2", b"Expect: 100-continue"])),
        st.builds(lambda body: post(body).replace(b"Content-Length", b"content-length"), st.binary(max_size=40)),
        st.just(b"GET /models HTTP/1.1\r\nhost: x\r\n\r\n"),
        st.just(b"POST /c HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
    ),
    min_size=1,
    max_size=12,
)


@given(requests=_REQUESTS, data=st.data())
def test_however_the_bytes_come_the_same_requests_are_heard(requests: list[bytes], data: st.DataObject) -> None:
    """Cut anywhere, and answered at once or only after more has come."""
    # Each on a connection of its own, where no head can be known.
    expected = [talk(request).heard[0] for request in requests]
    whole = b"".join(requests)
    ends = [sum(map(len, requests[: number + 1])) for number in range(len(requests))]
    cuts = data.draw(st.lists(st.one_of(st.sampled_from(ends), st.integers(0, len(whole))), max_size=20))
    places = sorted({0, len(whole), *cuts})
    pieces = [whole[a:b] for a, b in pairwise(places)]
    answered = data.draw(st.lists(st.booleans(), min_size=len(pieces), max_size=len(pieces)))

    async def slowly() -> Peer:
        peer = Peer()
        peer.patient = True
        for piece, now in zip(pieces, answered, strict=True):
            peer.say(piece)
            if now:
                peer.answer()
        while peer.at_work:
            peer.answer()
        return peer

    peer = asyncio.run(slowly())
    assert peer.heard == expected
    assert peer.load.body_bytes == 0


PIPELINED = post(b"{}", b"authorization: Bearer mine")


def test_what_looks_like_a_known_head_inside_of_another_one_is_no_request() -> None:
    """The beginning of a head, sent while the request before it is at work, and then the bytes of a known one."""

    async def smuggles() -> Peer:
        peer = Peer().say(*[PIPELINED] * 3)
        peer.patient = True
        peer.say(PIPELINED, b"POST /nothing HTTP/1.1\r\nX: ")
        peer.answer()
        return peer.say(PIPELINED)

    peer = asyncio.run(smuggles())
    assert [path for _, path, *_ in peer.heard] == ["/a"] * 4 + ["/nothing"]


def test_half_a_head_is_never_remembered_as_a_whole_one() -> None:
    state = ServerState()

    async def poisons() -> None:
        peer = Peer()
        peer.protocol.state = state
        peer.say(PIPELINED)
        for _ in range(3):
            peer.patient = True
            peer.say(PIPELINED, b"POST /elsewhere HTTP/1.1\r\nX: ")
            peer.answer()
            peer.patient = False
            peer.say(PIPELINED)

    async def victim() -> Peer:
        peer = Peer()
        peer.protocol.state = state
        return peer.say(*[PIPELINED] * 4)

    asyncio.run(poisons())
    peer = asyncio.run(victim())
    assert {path for _, path, *_ in peer.heard} == {"/a"}
    assert peer.known[-1] is not None


def test_bytes_that_were_read_otherwise_are_not_remembered() -> None:
    heads = Heads()
    opening = post(b"{}")
    said = {"method": b"POST", "target": b"/a", "query": b"", "headers": {b"host": b"x", b"content-length": b"2"}}
    first = heads.learn(opening, path="/a", **said)  # type: ignore[arg-type]
    assert first is not None
    assert heads.learn(opening, path="/a", **said) is first  # type: ignore[arg-type]
    said["target"] = b"/b"
    assert heads.learn(opening, path="/b", **said) is None  # type: ignore[arg-type]
