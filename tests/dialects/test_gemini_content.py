"""The laws over Gemini's golden files."""

from pathlib import Path

from hypothesis import given, settings
from tests.dialects import laws

from wayport.dialects.gemini_content import DIALECT

SUBJECT = laws.Subject(DIALECT)


@laws.each("gemini_content", "request.json")
def test_requests_survive(case: Path) -> None:
    laws.request_round_trip(SUBJECT, case)


@laws.each("gemini_content", "response.json")
def test_answers_survive(case: Path) -> None:
    laws.response_round_trip(SUBJECT, case)
    laws.stream_is_whole(SUBJECT, case)


@laws.each("gemini_content", "stream.sse")
def test_streams_survive(case: Path) -> None:
    laws.stream_round_trip(SUBJECT, case)
    laws.cut_streams_never_end_clean(SUBJECT, case)
    laws.glances_agree(SUBJECT, case)


@laws.each("gemini_content", "stream.sse")
@settings(max_examples=30)
@given(cuts=laws.CUTS)
def test_chunking_does_not_matter(case: Path, cuts: list[int]) -> None:
    laws.chunking_does_not_matter(SUBJECT, case, cuts)


@laws.each("gemini_content", "error.json")
def test_errors_keep_their_meaning(case: Path) -> None:
    laws.error_round_trip(SUBJECT, case)


@given(status=laws.STATUSES, body=laws.BODIES)
def test_no_error_body_breaks_us(status: int, body: bytes) -> None:
    laws.error_never_raises(SUBJECT, status, body)
