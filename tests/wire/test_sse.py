"""Whatever way the bytes of a stream are cut, the events are the same, and no byte is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayport.wire import sse
from wayport.wire.sse import Event, EventTooLarge, Splitter

ENDINGS = st.sampled_from([b"\n", b"\r\n", b"\r"])
LINES = st.sampled_from(
    [
        b"data: {}",
        b"data:x",
        b"data: [DONE]",
        b"event: ping",
        b": comment",
        b"id: 7",
        b"retry: 10",
        b"data",
        b"",
        b"data: \xc3\xa9",
    ]
)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Streams whose lines end in any mixture of the endings that the standard allows."""
    return b"".join(line + draw(ENDINGS) for line in draw(st.lists(LINES, max_size=12)))


def cut(body: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    return [body[start:end] for start, end in zip(edges, edges[1:], strict=False)]  # noqa: RUF007 (an empty body has one edge)


def split(chunks: list[bytes]) -> tuple[list[bytes], bytes]:
    splitter = Splitter()
    events = [event for chunk in chunks for event in splitter.feed(chunk)]
    return events, splitter.rest()


def lines_between_blank_lines(body: bytes) -> list[list[bytes]]:
    """The reading of the standard, line by line, slow and plain: groups of lines, each closed by an empty line."""
    groups: list[list[bytes]] = [[]]
    for line in body.splitlines():
        if line:
            groups[-1].append(line)
        elif groups[-1]:
            groups.append([])
    return [group for group in groups[:-1] if group]


@given(body=streams(), cuts=st.lists(st.integers(min_value=0, max_value=200), max_size=8))
def test_cuts_do_not_matter(body: bytes, cuts: list[int]) -> None:
    assert split(cut(body, cuts)) == split([body])


@given(body=streams(), cuts=st.lists(st.integers(min_value=0, max_value=200), max_size=8))
def test_no_byte_is_lost(body: bytes, cuts: list[int]) -> None:
    events, rest = split(cut(body, cuts))
    assert b"".join(events) + rest == body


@given(body=streams())
def test_events_are_those_of_the_standard(body: bytes) -> None:
    # Closed by a line of text, so that no line ending is left waiting for its second half.
    events, _ = split([body + b": end"])
    found = [[line for line in event.splitlines() if line] for event in events]
    assert [lines for lines in found if lines] == lines_between_blank_lines(body)


@given(pieces=st.lists(st.binary(max_size=40), max_size=12))
def test_any_bytes_in_any_pieces_come_out_the_same(pieces: list[bytes]) -> None:
    assert split(pieces) == split([b"".join(pieces)])


def test_a_line_ending_of_two_bytes_is_one_line() -> None:
    assert split([b"data: a\r\ndata: b\r\n\r\n"]) == ([b"data: a\r\ndata: b\r\n\r\n"], b"")


def test_a_large_event_in_small_pieces_is_joined_once() -> None:
    splitter = Splitter()
    pieces = [b"data: ", *[b"x" * 1000] * 50, b"\n\n"]
    assert [event for piece in pieces for event in splitter.feed(piece)] == [b"".join(pieces)]
    assert splitter.rest() == b""


def test_an_event_above_the_limit_is_refused_while_it_still_grows() -> None:
    splitter = Splitter(max_event_bytes=100)
    splitter.feed(b"data: " + b"x" * 90)
    with pytest.raises(EventTooLarge):
        splitter.feed(b"y" * 20)


@pytest.mark.parametrize(
    ("raw", "event"),
    [
        (b"data: {}\n\n", Event("", b"{}")),
        (b"data:{}\n\n", Event("", b"{}")),
        (b"data:  two spaces\n\n", Event("", b" two spaces")),
        (b"data: {}\r\n\r\n", Event("", b"{}")),
        (b"data: a\ndata: b\n\n", Event("", b"a\nb")),
        (b"event: message_start\ndata: {}\n\n", Event("message_start", b"{}")),
        (b": ping\n\n", Event("", b"")),
        (b": ping\ndata: {}\n\n", Event("", b"{}")),
        (b"id: 1\nretry: 5\ndata: {}\n\n", Event("", b"{}")),
        (b"\xef\xbb\xbfdata: {}\n\n", Event("", b"{}")),
        (b"\ndata: {}\n\n", Event("", b"{}")),
    ],
)
def test_reads_one_event(raw: bytes, event: Event) -> None:
    assert sse.parse(raw) == event


@pytest.mark.parametrize("name", ["", "error"])
@pytest.mark.parametrize("data", [b'{"a":1}', b'{\n "a": 1\n}', b"", b"two\n\nparagraphs\n"])
def test_what_is_written_is_read_again(name: str, data: bytes) -> None:
    assert split([sse.write(data, name)]) == ([sse.write(data, name)], b"")
    assert sse.parse(sse.write(data, name)) == Event(name, data)
