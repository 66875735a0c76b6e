"""The Responses dialect keeps the laws of all dialects over its golden files."""

from pathlib import Path

from hypothesis import given
from tests.dialects import laws

from wayport.dialects.openai_responses import DIALECT

SUBJECT = laws.Subject(DIALECT)


@laws.each("openai_responses", "request.json")
def test_requests_survive(case: Path) -> None:
    laws.request_round_trip(SUBJECT, case)


@laws.each("openai_responses", "response.json")
def test_responses_survive(case: Path) -> None:
    laws.response_round_trip(SUBJECT, case)


@laws.each("openai_responses", "response.json")
def test_a_whole_answer_told_as_a_stream_is_the_same(case: Path) -> None:
    laws.stream_is_whole(SUBJECT, case)


@laws.each("openai_responses", "stream.sse")
def test_streams_survive(case: Path) -> None:
    laws.stream_round_trip(SUBJECT, case)


@laws.each("openai_responses", "stream.sse")
def test_cut_streams_never_end_clean(case: Path) -> None:
    laws.cut_streams_never_end_clean(SUBJECT, case)


@laws.each("openai_responses", "stream.sse")
def test_glances_agree(case: Path) -> None:
    laws.glances_agree(SUBJECT, case)


@laws.each("openai_responses", "stream.sse")
@given(cuts=laws.CUTS)
def test_chunking_does_not_matter(case: Path, cuts: list[int]) -> None:
    laws.chunking_does_not_matter(SUBJECT, case, cuts)


@laws.each("openai_responses", "error.json")
def test_errors_keep_their_meaning(case: Path) -> None:
    laws.error_round_trip(SUBJECT, case)


@given(status=laws.STATUSES, body=laws.BODIES)
def test_no_error_body_breaks_us(status: int, body: bytes) -> None:
    laws.error_never_raises(SUBJECT, status, body)
