"""OpenAI chat keeps the laws of all dialects over its golden files."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dialects import laws

from wayport.dialects.openai_chat import DIALECT

SUBJECT = laws.Subject(DIALECT)


@laws.each("openai_chat", "request.json")
def test_requests_survive(case: Path) -> None:
    laws.request_round_trip(SUBJECT, case)


@laws.each("openai_chat", "response.json")
def test_answers_survive(case: Path) -> None:
    laws.response_round_trip(SUBJECT, case)


@laws.each("openai_chat", "response.json")
def test_an_answer_told_as_a_stream_is_the_same_answer(case: Path) -> None:
    laws.stream_is_whole(SUBJECT, case)


@laws.each("openai_chat", "stream.sse")
def test_streams_survive(case: Path) -> None:
    laws.stream_round_trip(SUBJECT, case)


@laws.each("openai_chat", "stream.sse")
def test_a_stream_that_breaks_off_never_ends_clean(case: Path) -> None:
    laws.cut_streams_never_end_clean(SUBJECT, case)


@laws.each("openai_chat", "stream.sse")
def test_a_glance_tells_what_decoding_tells(case: Path) -> None:
    laws.glances_agree(SUBJECT, case)


@laws.each("openai_chat", "stream.sse")
@settings(max_examples=15)
@given(cuts=laws.CUTS)
def test_chunking_does_not_matter(case: Path, cuts: list[int]) -> None:
    laws.chunking_does_not_matter(SUBJECT, case, cuts)


@laws.each("openai_chat", "error.json")
def test_errors_keep_their_meaning(case: Path) -> None:
    laws.error_round_trip(SUBJECT, case)


@given(status=laws.STATUSES, body=laws.BODIES)
def test_no_error_body_breaks_us(status: int, body: bytes) -> None:
    laws.error_never_raises(SUBJECT, status, body)


@given(data=st.one_of(laws.BODIES, st.binary(max_size=60)))
def test_no_event_breaks_the_stream_reader(data: bytes) -> None:
    event = b"data: " + data.replace(b"\n", b" ").replace(b"\r", b" ") + b"\n\n"
    deltas = laws.read_stream(SUBJECT, [event])
    laws.assert_well_formed(deltas)
