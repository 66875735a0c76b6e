"""The Messages API against its golden files."""

from pathlib import Path

from hypothesis import given
from tests.dialects import laws

from wayport.dialects.anthropic_messages import DIALECT

SUBJECT = laws.Subject(DIALECT)


@laws.each("anthropic_messages", "request.json")
def test_requests_survive(case: Path) -> None:
    laws.request_round_trip(SUBJECT, case)


@laws.each("anthropic_messages", "response.json")
def test_responses_survive(case: Path) -> None:
    laws.response_round_trip(SUBJECT, case)
    laws.stream_is_whole(SUBJECT, case)


@laws.each("anthropic_messages", "stream.sse")
def test_streams_survive(case: Path) -> None:
    laws.stream_round_trip(SUBJECT, case)
    laws.cut_streams_never_end_clean(SUBJECT, case)


@laws.each("anthropic_messages", "stream.sse")
def test_glances_agree(case: Path) -> None:
    laws.glances_agree(SUBJECT, case)


@laws.each("anthropic_messages", "stream.sse")
@given(cuts=laws.CUTS)
def test_chunking_does_not_matter(case: Path, cuts: list[int]) -> None:
    laws.chunking_does_not_matter(SUBJECT, case, cuts)


@laws.each("anthropic_messages", "error.json")
def test_errors_keep_their_meaning(case: Path) -> None:
    laws.error_round_trip(SUBJECT, case)


@given(status=laws.STATUSES, body=laws.BODIES)
def test_no_error_body_breaks_us(status: int, body: bytes) -> None:
    laws.error_never_raises(SUBJECT, status, body)
