"""The laws that every dialect passes over its golden files. Each function checks one of them and raises a readable error.

How to use it, in `tests/dialects/test_<dialect>.py`:

    from tests.dialects import laws
    from wayport.dialects.<dialect> import DIALECT

    SUBJECT = laws.Subject(DIALECT)

    @laws.each("<dialect>", "request.json")
    def test_requests_survive(case: Path) -> None:
        laws.request_round_trip(SUBJECT, case)

    @laws.each("<dialect>", "response.json")
    def test_responses_survive(case: Path) -> None:
        laws.response_round_trip(SUBJECT, case)
        laws.stream_is_whole(SUBJECT, case)

    @laws.each("<dialect>", "stream.sse")
    def test_streams_survive(case: Path) -> None:
        laws.stream_round_trip(SUBJECT, case)
        laws.cut_streams_never_end_clean(SUBJECT, case)
        laws.glances_agree(SUBJECT, case)

    @laws.each("<dialect>", "stream.sse")
    @given(cuts=laws.CUTS)
    def test_chunking_does_not_matter(case: Path, cuts: list[int]) -> None:
        laws.chunking_does_not_matter(SUBJECT, case, cuts)

    @laws.each("<dialect>", "error.json")
    def test_errors_keep_their_meaning(case: Path) -> None:
        laws.error_round_trip(SUBJECT, case)

    @given(status=laws.STATUSES, body=laws.BODIES)
    def test_no_error_body_breaks_us(status: int, body: bytes) -> None:
        laws.error_never_raises(SUBJECT, status, body)

Golden files: `tests/golden/<dialect>/<case>/`, the case named for the behaviour it shows. All of these are optional:

    request.json    a body that the client half reads and the upstream half writes again as equal JSON
    profile.json    flags of `Profile` for the upstream half (and for `error.json`)
    encoded.json    the body that must go upstream, where the profile makes it differ from request.json
    dropped.json    the list of names that must then be reported as dropped (default: none)
    lowered.json    likewise for `lowered`
    response.json   a whole answer that comes back as equal JSON
    stream.sse      a stream (`stream.bin` where the dialect frames in binary; see `Subject.frames`; or `stream.jsonl`:
                    its events, {"event": …, "data": {…}} per line, in AWS's frames)
    whole.json      the whole answer that the stream must fold to, in the dialect's own JSON
    error.json      {"status": 429, "headers": {…}, "body": {…} or "text", "fault": {"kind": "rate_limit", …}}

A stream may end in an error event: it then must fold to a `Failed`, and what came before it must survive all the same.
"""

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import strategies as st
from msgspec import Raw, Struct

from wayport.core.errors import UpstreamFault
from wayport.core.usage import Usage
from wayport.dialects import neutral
from wayport.dialects.dialect import ClientHalf, Dialect, Glance, Profile, UpstreamHalf
from wayport.dialects.neutral import Delta, DialectName, Fold, Request, Response
from wayport.wire import eventstream, patch, sse
from wayport.wire.sse import Event

GOLDEN = Path(__file__).parent.parent / "golden"

CUTS = st.lists(st.integers(min_value=0, max_value=20_000), max_size=12)
"""positions at which a stream's bytes are cut"""
STATUSES = st.integers(min_value=400, max_value=599)
BODIES = st.one_of(
    st.binary(max_size=200),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["error", "message", "type", "code", "param", "detail", "status", "object"])
                | st.text(max_size=5),
                inner,
                max_size=4,
            )
        ),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode()),
)
"""error bodies: JSON of every shape near the real ones, and bytes that are no JSON at all"""

Frames = Callable[[Iterable[bytes]], list[Event]]


def sse_frames(chunks: Iterable[bytes]) -> list[Event]:
    """Server-sent events out of chunks; what is only a comment is no event."""
    splitter = sse.Splitter()
    events = [sse.parse(raw) for chunk in chunks for raw in splitter.feed(chunk)]
    return [event for event in events if event.data or event.name]


@dataclass(frozen=True)
class Subject:
    """A dialect under test."""

    dialect: Dialect
    frames: Frames = sse_frames
    """bytes to events; another function for a binary framing"""
    forget: frozenset[str] = frozenset()
    """fields of neutral structs that this dialect's streams cannot carry; each deserves a comment where it is named"""
    loose: Callable[[Any], Any] = lambda value: value
    """brings a dialect's JSON to one spelling before it is compared (numbers written as strings, say)"""

    @property
    def client(self) -> ClientHalf:
        assert self.dialect.client is not None
        return self.dialect.client

    @property
    def upstream(self) -> UpstreamHalf:
        assert self.dialect.upstream is not None
        return self.dialect.upstream


# ------------------------------------------------------------------------------------------------------- golden files
def cases(dialect: DialectName, file: str) -> list[Path]:
    """The golden cases of a dialect that have this file."""
    return sorted(path.parent for path in (GOLDEN / dialect).glob(f"*/{file}"))


def each(dialect: DialectName, file: str) -> pytest.MarkDecorator:
    found = cases(dialect, file)
    assert found, f"no golden case of {dialect} has a {file}"
    return pytest.mark.parametrize("case", found, ids=lambda path: str(path.name))


def profile_of(case: Path) -> Profile:
    path = case / "profile.json"
    return msgspec.json.decode(path.read_bytes(), type=Profile) if path.exists() else Profile()


def load(path: Path, default: object = None) -> Any:
    return json.loads(path.read_bytes()) if path.exists() else default


def stream_bytes(case: Path) -> bytes:
    for name in ("stream.sse", "stream.bin"):
        if (case / name).exists():
            return (case / name).read_bytes()
    lines = (case / "stream.jsonl").read_bytes().splitlines()
    events = [msgspec.json.decode(line, type=_Line) for line in lines]
    return b"".join(eventstream.write(bytes(event.data), event.event) for event in events)


class _Line(Struct):
    event: str
    data: Raw


# --------------------------------------------------------------------------------------------------------- comparison
def plain(value: object, forget: frozenset[str] = frozenset()) -> Any:
    """A neutral value as plain Python, `Raw` decoded, so that it can be compared and shown."""
    match value:
        case Raw():
            return msgspec.json.decode(value)
        case Struct():
            fields = {
                # No extras and an empty dict of them say the same.
                name: plain(getattr(value, name), forget) if getattr(value, name) != {} else None
                for name in value.__struct_fields__
                if name not in forget and name != "dialect"
            }
            return {"": type(value).__name__, **fields}
        case dict():
            return {name: plain(item, forget) for name, item in value.items()}
        case list() | tuple():
            return [plain(item, forget) for item in value]
        case _:
            return value


def differences(left: Any, right: Any, path: str = "$") -> Iterator[str]:
    """Where two plain values differ, as lines a person can read."""
    if isinstance(left, dict) and isinstance(right, dict):
        for name in [*left, *(n for n in right if n not in left)]:
            if name not in right:
                yield f"{path}.{name} is lost (was {left[name]!r})"
            elif name not in left:
                yield f"{path}.{name} is new ({right[name]!r})"
            else:
                yield from differences(left[name], right[name], f"{path}.{name}")
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for number, (one, other) in enumerate(zip(left, right, strict=True)):
            yield from differences(one, other, f"{path}[{number}]")
    elif left != right or isinstance(left, bool) is not isinstance(right, bool):
        yield f"{path}: {left!r} became {right!r}"


def assert_same(left: Any, right: Any, what: str) -> None:
    found = list(differences(left, right))
    assert not found, f"{what}:\n  " + "\n  ".join(found[:20])


# ----------------------------------------------------------------------------------------------------------- requests
def request_round_trip(subject: Subject, case: Path) -> None:
    """Decode, then encode: equal JSON (or `encoded.json`), the drops as stated, and the same bytes every time."""
    body = (case / "request.json").read_bytes()
    profile = profile_of(case)
    request = subject.client.decode_request(patch.split(body), {})
    before = plain(request)
    encoded = subject.upstream.encode_request(request, profile)
    expected = load(case / "encoded.json", default=json.loads(body))
    assert_same(subject.loose(expected), subject.loose(json.loads(encoded.body)), f"request of {case.name}")
    assert sorted(encoded.dropped) == sorted(load(case / "dropped.json", default=[])), "dropped parameters"
    assert sorted(encoded.lowered) == sorted(load(case / "lowered.json", default=[])), "lowered parameters"
    assert_same(before, plain(request), "encoding changed the request it was given")
    again = subject.client.decode_request(patch.split(body), {})
    assert subject.upstream.encode_request(again, profile).body == encoded.body, "serialisation is not byte-stable"


# ---------------------------------------------------------------------------------------------------------- responses
def response_round_trip(subject: Subject, case: Path) -> None:
    """Decode, then encode: equal JSON."""
    body = (case / "response.json").read_bytes()
    whole = subject.upstream.decode_response(body)
    written = subject.client.encode_response(whole, request=_any_request(subject))
    assert_same(subject.loose(json.loads(body)), subject.loose(json.loads(written)), f"response of {case.name}")
    assert subject.client.encode_response(whole) == written, "an answer depends on a request that changes nothing"


def stream_is_whole(subject: Subject, case: Path) -> None:
    """A whole answer, told as a stream and read again, is the same whole answer."""
    whole = subject.upstream.decode_response((case / "response.json").read_bytes())
    told = write_stream(subject, neutral.unfold(whole), whole)
    deltas = read_stream(subject, [told])
    assert_well_formed(deltas)
    assert_same(
        plain(whole, subject.forget),
        plain(neutral.fold(subject.dialect.name, deltas), subject.forget),
        f"stream of the whole answer {case.name}",
    )


# ------------------------------------------------------------------------------------------------------------ streams
def read_stream(subject: Subject, chunks: Iterable[bytes]) -> list[Delta]:
    decoder = subject.upstream.stream_decoder()
    deltas = [delta for event in subject.frames(chunks) for delta in decoder.feed(event)]
    return [*deltas, *decoder.end()]


def write_stream(subject: Subject, deltas: Iterable[Delta], whole: Response) -> bytes:
    encoder = subject.client.stream_encoder(
        request=_any_request(subject), response_id=whole.id, created=whole.created or 0
    )
    return b"".join(_feed(encoder.feed, delta) for delta in deltas)


def _feed(feed: Callable[[Delta], bytes], delta: Delta) -> bytes:
    written = feed(delta)
    if isinstance(delta, neutral.BlockDelta) and delta.text and delta.summary_index is None:
        assert written, f"held back instead of told at once: {delta}"
    return written


def stream_round_trip(subject: Subject, case: Path) -> None:
    """Decode a stream, encode its deltas, decode again: the same whole; and the whole that `whole.json` states."""
    deltas = read_stream(subject, [stream_bytes(case)])
    assert_well_formed(deltas)
    whole, fault = folded(subject, deltas)
    if whole is None:
        assert fault is not None
        return
    told = write_stream(subject, deltas, whole)
    again = read_stream(subject, [told])
    assert_well_formed(again)
    same, same_fault = folded(subject, again)
    assert_same(plain(whole, subject.forget), plain(same, subject.forget), f"stream of {case.name}, told again")
    assert (fault and fault.kind) == (same_fault and same_fault.kind), f"{fault} became {same_fault}"
    if (case / "whole.json").exists():
        written = json.loads(subject.client.encode_response(whole))
        assert_same(
            subject.loose(load(case / "whole.json")), subject.loose(written), f"what the stream of {case.name} spells"
        )


def folded(subject: Subject, deltas: Iterable[Delta]) -> tuple[Response | None, Any]:
    whole = Fold(subject.dialect.name)
    for delta in deltas:
        whole.feed(delta)
    return whole.response, whole.fault


def chunking_does_not_matter(subject: Subject, case: Path, cuts: Sequence[int]) -> None:
    """Any split of the bytes gives the same deltas."""
    body = stream_bytes(case)
    edges = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    chunks = [body[start:end] for start, end in itertools.pairwise(edges)]
    assert_same(
        plain(read_stream(subject, [body])),
        plain(read_stream(subject, chunks)),
        f"stream of {case.name} cut at {edges}",
    )


def cut_streams_never_end_clean(subject: Subject, case: Path) -> None:
    """Wherever a stream breaks off before a choice has finished, the last delta is `Failed`, kind `cut`."""
    events = subject.frames([stream_bytes(case)])
    for length in range(len(events)):
        decoder = subject.upstream.stream_decoder()
        deltas = [delta for event in events[:length] for delta in decoder.feed(event)]
        deltas += decoder.end()
        assert_well_formed(deltas)
        if not any(isinstance(delta, neutral.ChoiceFinished | neutral.Failed | neutral.Ended) for delta in deltas[:-1]):
            last = deltas[-1]
            assert isinstance(last, neutral.Failed), f"{case.name} cut after {length} events ends with {last}"
            assert last.fault.kind in ("cut", "server", "overloaded", "rate_limit", "malformed", "bad_request"), last


def assert_well_formed(deltas: Sequence[Delta]) -> None:
    """The grammar of deltas that every encoder may rely on."""
    started = False
    opened: dict[int, int] = {}
    closed: set[tuple[int, int]] = set()
    finished: set[int] = set()
    assert deltas, "a stream without any delta"
    assert isinstance(deltas[-1], neutral.Ended | neutral.Failed), f"the last delta is {deltas[-1]}"
    for number, delta in enumerate(deltas):
        at = f"delta {number}, {delta}"
        match delta:
            case neutral.Started():
                assert not started, f"{at}: a second start"
                started = True
            case neutral.Failed() | neutral.Ended():
                assert number == len(deltas) - 1, f"{at}: something follows"
                if isinstance(delta, neutral.Ended):
                    left = {(c, b) for c, count in opened.items() for b in range(count)} - closed
                    assert not left, f"blocks never closed: {left}"
                    assert started, f"{at}: ended without a start"
                continue
            case neutral.Pinged():
                continue
            case neutral.BlockOpened():
                assert delta.block == opened.get(delta.choice, 0), f"{at}: blocks are numbered in order of opening"
                assert delta.choice not in finished, f"{at}: the choice has finished"
                opened[delta.choice] = delta.block + 1
            case neutral.BlockDelta() | neutral.BlockClosed():
                key = (delta.choice, delta.block)
                assert delta.block < opened.get(delta.choice, 0), f"{at}: the block was never opened"
                assert key not in closed, f"{at}: the block is closed"
                if isinstance(delta, neutral.BlockClosed):
                    closed.add(key)
            case neutral.ChoiceFinished():
                assert delta.choice not in finished, f"{at}: finished twice"
                still = {b for b in range(opened.get(delta.choice, 0)) if (delta.choice, b) not in closed}
                assert not still, f"{at}: blocks {still} are still open"
                finished.add(delta.choice)
            case _:
                pass
        assert started, f"{at}: comes before the start"


# -------------------------------------------------------------------------------------------------------- passthrough
def glances_agree(subject: Subject, case: Path) -> None:
    """The cheap look at an event's bytes says what the full decoding says."""
    passthrough = subject.dialect.passthrough
    assert passthrough is not None
    splitter = sse.Splitter()
    decoder = subject.upstream.stream_decoder()
    known: Usage | None = None
    for raw in splitter.feed(stream_bytes(case)):
        event = sse.parse(raw)
        deltas = list(decoder.feed(event)) if event.data or event.name else []
        seen = passthrough.glance(raw)
        at = f"{case.name}: {raw!r} looks {seen}"
        if any(isinstance(delta, neutral.Failed) for delta in deltas):
            assert seen is Glance.ERROR, at
            passthrough.fault_of(raw)
            continue
        assert seen is not Glance.ERROR, at
        if any(isinstance(delta, neutral.Ended) for delta in deltas):
            assert seen is Glance.TERMINAL, at
        if seen in (Glance.USAGE, Glance.TERMINAL):
            known = passthrough.usage_of(raw, known)
        has_content = any(neutral.has_content(delta) for delta in deltas)
        if has_content:
            assert seen is not Glance.OPENING, at
        # Usage that is stated again with each piece of content need not stop the event from being content.
        if any(isinstance(delta, neutral.UsageReported) for delta in deltas) and not (
            has_content and seen is Glance.CONTENT
        ):
            assert seen in (Glance.USAGE, Glance.TERMINAL), at
            stated = next(d.usage for d in reversed(deltas) if isinstance(d, neutral.UsageReported))
            assert known == stated, f"{at}: usage"


# ------------------------------------------------------------------------------------------------------------- errors
def error_round_trip(subject: Subject, case: Path) -> None:
    """An error is understood as `fault` states, and a client that is told of it can understand it the same way."""
    given = load(case / "error.json")
    text = given["body"]
    body = text.encode() if isinstance(text, str) else json.dumps(text).encode()
    fault = subject.upstream.decode_error(given["status"], given.get("headers", {}), body, profile_of(case))
    stated = {name: getattr(fault, name) for name in given["fault"]}
    assert_same(given["fault"], stated, f"error {case.name}")
    assert fault.status == given["status"]
    error = UpstreamFault(fault)
    told = subject.client.encode_error(error, call_id="call-1")
    again = subject.upstream.decode_error(error.status, given.get("headers", {}), told, Profile())
    assert again.kind == fault.kind, f"told to a client, {fault.kind} became {again.kind}: {told!r}"
    assert fault.message in again.message


def error_never_raises(subject: Subject, status: int, body: bytes) -> None:
    fault = subject.upstream.decode_error(status, {}, body, Profile())
    assert fault.status == status
    assert fault.message, "an error without a word"


def _any_request(subject: Subject) -> Request:
    return Request(dialect=subject.dialect.name, model="any", messages=[], stream=True, include_usage=True)
