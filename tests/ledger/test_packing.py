"""Records put together of what many calls share and what is a call's own read like records made at once."""

from typing import Any

import msgspec
import pytest

from wayport.core.record import AttemptRecord, CallRecord, Decision
from wayport.core.usage import Usage
from wayport.ledger.packing import Opening, Own, joined, opening, opening_head, shared, unpacked

_OF_ITS_OWN: dict[str, Any] = {
    "call_id": "0192f3a4-7c1e-7abc-8def-0123456789ab", "started_s": 1.5, "ended_s": 2.25,
}  # fmt: skip
_SHARED: list[dict[str, Any]] = [
    {},
    {"node": "n1"},
    {"node": "n1", "worker": 3, "key_hash": "k", "user_id": "u", "model_asked": "gpt", "route": "/v1/chat/completions"},
    {
        "node": "n1", "worker": 3, "operation": "embeddings", "route": "/v1/chat/completions", "client_dialect": "d",
        "key_hash": "k", "key_alias": "a", "user_id": "u", "team_id": "t", "organization_id": "o", "project_id": "p",
        "model_asked": "gpt", "model": "m", "upstream_model": "um", "deployment": "d1", "provider": "pr",
        "upstream_dialect": "openai_chat", "price_source": "config", "price_version": "1",
    },
]  # fmt: skip
_MORE: list[dict[str, Any]] = [
    {},
    {"agent": "curl", "stream": True, "usage": Usage(input_tokens=3, output_tokens=70_000), "cost_nano_usd": 0},
    {
        "agent": "curl", "client_address": "10.0.0.1", "end_user": "ü", "tags": ["a", "b"], "session_id": "s",
        "trace_id": "t", "parent_span_id": "ps", "metadata": b'{"a":1}', "upstream_id": "up",
        "attempts": [AttemptRecord(deployment="d", provider="p", model="m", status=200)],
        "routing": [Decision(model="m", chosen="d")], "finish": "stop", "usage": Usage(input_tokens=3),
        "usage_source": "reported", "cost_nano_usd": 1 << 40, "cost_parts": {"input": 1 << 40}, "service_tier": "flex",
        "first_token_ms": 1.25, "overhead_ms": 0.5, "dropped_params": ["top_k"], "request_bytes": 100,
        "reserved_nano_usd": 7, "budget_windows": ("key:k|usd/30d@0",),
        "lease_holder": "w",
    },
]  # fmt: skip


@pytest.mark.parametrize("common", _SHARED, ids=len)
@pytest.mark.parametrize("more", _MORE, ids=len)
def test_a_record_of_two_parts_reads_like_one(common: dict[str, Any], more: dict[str, Any]) -> None:
    """Whatever the number of entries: the head of a map of sixteen is another than that of a map of fifteen."""
    prototype = CallRecord(call_id="", started_s=0.0, ended_s=0.0, **common)
    own = Own(**_OF_ITS_OWN, **more)
    whole = CallRecord(**_OF_ITS_OWN, **common, **more)
    assert msgspec.msgpack.decode(joined(shared(prototype), own), type=CallRecord) == whole
    assert unpacked(prototype, own) == whole


def test_what_a_record_of_two_parts_leaves_out_is_what_a_record_leaves_out() -> None:
    """A default that differed would be read as the record's."""
    record = CallRecord(**_OF_ITS_OWN)
    own = Own(**_OF_ITS_OWN)
    for name in Own.__struct_fields__:
        assert getattr(own, name) == getattr(record, name), name


@pytest.mark.parametrize("common", _SHARED, ids=len)
@pytest.mark.parametrize("reserved", [0, 1, 1 << 40, (1 << 64) - 1])
def test_the_quick_way_to_an_opening_record_leads_to_the_same(common: dict[str, Any], reserved: int) -> None:
    prototype = CallRecord(call_id="", started_s=0.0, ended_s=0.0, opened=True, **common)
    call_id = _OF_ITS_OWN["call_id"]
    quick = opening(opening_head(shared(prototype)), call_id, 12.5, reserved)
    assert quick is not None
    slow = joined(shared(prototype), Opening(call_id, 12.5, 12.5, reserved))
    read = msgspec.msgpack.decode(quick, type=CallRecord)
    assert read == msgspec.msgpack.decode(slow, type=CallRecord)
    assert (read.call_id, read.started_s, read.reserved_nano_usd, read.opened) == (call_id, 12.5, reserved, True)


def test_what_has_no_room_in_the_quick_way_is_left_to_the_other() -> None:
    head = opening_head(shared(CallRecord(call_id="", started_s=0.0, ended_s=0.0)))
    assert opening(head, "call-1", 1.0, 5) is None
    assert opening(head, _OF_ITS_OWN["call_id"], 1.0, 1 << 64) is None
    assert opening(head, _OF_ITS_OWN["call_id"], 1.0, -1) is None
    assert opening(head, "ü" * 36, 1.0, 5) is None
    assert opening(head, "\ud800" * 12, 1.0, 5) is None
