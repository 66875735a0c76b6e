"""AWS's event-stream framing: botocore reads what we write, and any cut or damage is met."""

import itertools
import json
import struct
from zlib import crc32

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from wayport.core.errors import UpstreamFault
from wayport.wire import eventstream
from wayport.wire.eventstream import EXCEPTION, Frames, MalformedFrame, write, write_frame
from wayport.wire.sse import Event

EVENTS = [
    Event("messageStart", b'{"role":"assistant"}'),
    Event("contentBlockDelta", '{"delta":{"text":"Ebbe – 潮"}}'.encode()),
    Event("", b""),
    Event(EXCEPTION + "throttlingException", b'{"message":"slow down"}'),
]
STREAM = b"".join(write(event.data, event.name) for event in EVENTS)


def resealed(frame: bytes) -> bytes:
    """The frame with right checksums, after its lengths or headers were changed."""
    frame = frame[:8] + struct.pack(">I", crc32(frame[:8])) + frame[12:-4]
    return frame + struct.pack(">I", crc32(frame))


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_the_cut_does_not_matter(cuts: list[int]) -> None:
    frames = Frames()
    edges = sorted({0, len(STREAM), *cuts})
    assert [event for start, end in itertools.pairwise(edges) for event in frames.feed(STREAM[start:end])] == EVENTS
    assert frames.rest() == b""


@given(st.lists(st.tuples(st.text(max_size=20), st.binary(max_size=50)), max_size=5))
def test_botocore_reads_what_is_written(given_events: list[tuple[str, bytes]]) -> None:
    names = [name.removeprefix(EXCEPTION) for name, _ in given_events]
    told = b"".join(write(data, name) for name, (_, data) in zip(names, given_events, strict=True))
    buffer = EventStreamBuffer()
    buffer.add_data(told)
    read = [(message.headers[":event-type"], message.payload) for message in buffer]
    assert read == [(name, data) for name, (_, data) in zip(names, given_events, strict=True)]
    assert [(event.name, event.data) for event in Frames().feed(told)] == read


def test_an_exception_is_told_from_an_event() -> None:
    buffer = EventStreamBuffer()
    buffer.add_data(write(b"{}", EXCEPTION + "validationException"))
    (message,) = buffer
    assert message.headers[":message-type"] == "exception"
    assert message.headers[":exception-type"] == "validationException"


def test_an_error_of_the_stream_itself_states_its_message() -> None:
    headers = {":message-type": "error", ":error-code": "InternalError", ":error-message": 'It "broke".'}
    (event,) = Frames().feed(write_frame(headers, b""))
    assert event.name == EXCEPTION + "InternalError"
    assert json.loads(event.data) == {"message": 'It "broke".'}


def test_headers_of_every_type_are_passed_over() -> None:
    values = [b"\x00", b"\x01", b"\x02\x07", b"\x03\x00\x07", b"\x04" + bytes(4), b"\x05" + bytes(8)]
    values += [b"\x06\x00\x02ab", b"\x07\x00\x02ab", b"\x08" + bytes(8), b"\x09" + bytes(16)]
    headers = b"".join(bytes((1,)) + bytes((65 + number,)) + value for number, value in enumerate(values))
    headers += b"\x0b:event-type\x07\x00\x04stop"
    frame = struct.pack(">II", 16 + len(headers) + 2, len(headers)) + bytes(4) + headers + b"{}" + bytes(4)
    assert Frames().feed(resealed(frame)) == [Event("stop", b"{}")]


def test_a_frame_in_many_pieces_waits_for_its_end() -> None:
    frame = write(b'"' + b"x" * 100_000 + b'"', "contentBlockDelta")
    frames = Frames()
    *before, last = [frames.feed(frame[at : at + 1000]) for at in range(0, len(frame), 1000)]
    assert not any(before)
    (event,) = last
    assert len(event.data) == 100_002


@given(st.integers(0, len(STREAM) - 1), st.integers(1, 255))
def test_a_damaged_byte_is_never_read_as_another_event(place: int, change: int) -> None:
    damaged = STREAM[:place] + bytes((STREAM[place] ^ change,)) + STREAM[place + 1 :]
    try:
        events = Frames().feed(damaged)
    except MalformedFrame:
        return
    assert events == EVENTS[: len(events)]


@pytest.mark.parametrize(
    ("data", "fact"),
    [
        (b"<html>Bad gateway</html>", "not made of frames"),
        (b'data: {"type":"ping"}\n\n', "not made of frames"),
        (resealed(struct.pack(">II", 15, 0) + bytes(8)), "impossible lengths"),
        (resealed(struct.pack(">II", 20, 10) + bytes(12)), "impossible lengths"),
        (resealed(struct.pack(">II", 18, 2) + bytes(4) + b"\x09a" + bytes(4)), "headers of a frame cannot be read"),
        (resealed(struct.pack(">II", 19, 3) + bytes(4) + b"\x01a\x20" + bytes(4)), "headers of a frame cannot be read"),
        (resealed(struct.pack(">II", 21, 5) + bytes(4) + b"\x01a\x07\x00\x09" + bytes(4)), "cannot be read"),
        (STREAM[:-1] + b"\x00", "checksum is wrong"),
    ],
)
def test_what_is_no_frame_is_refused_with_the_fact(data: bytes, fact: str) -> None:
    with pytest.raises(MalformedFrame, match=fact) as caught:
        Frames().feed(data)
    assert isinstance(caught.value, UpstreamFault)
    assert caught.value.fault.kind == "malformed"


def test_a_frame_beyond_the_limit_is_refused_before_it_is_collected() -> None:
    frame = write(bytes(1000), "contentBlockDelta")
    with pytest.raises(MalformedFrame, match="larger than 500 bytes"):
        Frames(max_frame_bytes=500).feed(frame[:12])


def test_remembered_headers_are_bounded() -> None:
    frames = Frames()
    for number in range(500):
        assert frames.feed(write(b"{}", f"event{number}")) == [Event(f"event{number}", b"{}")]
    assert len(frames._known) <= eventstream._KEPT
