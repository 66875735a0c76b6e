"""Whose call it is beyond its key: read from body and headers, bounded, and never a reason to fail."""

import json
from typing import Any

from tests.fakes.gateway import gateway

from wayport.core.record import CallRecord

ASK = {"model": "wayport/echo", "messages": [{"role": "user", "content": "Hello"}]}


async def _record(body: dict[str, Any], headers: dict[str, str] | None = None) -> CallRecord:
    async with gateway() as wayport:
        answered = await wayport.ask({**ASK, **body}, headers=headers or {})
        assert answered.status_code == 200, answered.text
        return wayport.records[-1]


async def test_the_body_names_end_user_tags_session_and_trace() -> None:
    record = await _record(
        {"user": "customer-1", "tags": ["blue", " ", "blue"], "litellm_session_id": "s-1", "litellm_trace_id": "t-1"}
    )
    assert (record.end_user, record.tags, record.session_id, record.trace_id) == ("customer-1", ["blue"], "s-1", "t-1")


async def test_metadata_is_kept_and_its_labels_count() -> None:
    metadata = {"tags": ["a", "b"], "session_id": "s-2", "trace_id": "t-2", "user_id": "u-2", "run": 7}
    record = await _record({"metadata": metadata})
    assert json.loads(record.metadata or b"") == metadata
    assert (record.end_user, record.tags, record.session_id, record.trace_id) == ("u-2", ["a", "b"], "s-2", "t-2")


async def test_headers_beat_the_body() -> None:
    record = await _record(
        {"user": "body", "tags": ["body"], "metadata": {"session_id": "body"}},
        {
            "x-litellm-end-user-id": "head",
            "x-litellm-tags": "one, two",
            "x-litellm-session-id": "head",
            "x-litellm-trace-id": "trace",
            "x-litellm-spend-logs-metadata": '{"job": 1}',
        },
    )
    assert (record.end_user, record.tags, record.session_id, record.trace_id) == (
        "head",
        ["one", "two"],
        "head",
        "trace",
    )
    assert json.loads(record.metadata or b"") == {"session_id": "body", "spend_logs_metadata": {"job": 1}}


async def test_tags_of_our_own_header_are_the_calls_tags() -> None:
    """What leads a call to a tag's deployments binds it by the tag's budget and stands in its record."""
    assert (await _record({"tags": ["body"]}, {"x-wayport-tags": "one, ,two"})).tags == ["one", "two"]
    both = {"x-litellm-tags": "theirs", "x-wayport-tags": "ours"}
    assert (await _record({}, both)).tags == ["ours"]


async def test_a_w3c_trace_is_continued() -> None:
    record = await _record({}, {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"})
    assert (record.trace_id, record.parent_span_id) == ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")


async def test_what_is_too_long_is_cut_and_what_is_wrong_passed_over() -> None:
    record = await _record(
        {"user": "u" * 1000, "tags": [f"{n:03}" * 100 for n in range(100)], "metadata": {"x": "y" * 10_000}},
        {"traceparent": "nonsense"},
    )
    assert record.end_user == "u" * 256
    assert len(record.tags) == 32
    assert max(map(len, record.tags)) == 128
    assert record.metadata is None
    assert record.trace_id is None
    wrongs: list[dict[str, Any]] = [
        {"tags": 7},
        {"tags": [1]},
        {"litellm_session_id": {}},
        {"metadata": {"tags": "blue", "user_id": 3}},
    ]
    for wrong in wrongs:
        record = await _record(wrong)
        assert (record.tags, record.end_user, record.session_id) == ([], None, None)
