"""The log line of a call."""

import json

import msgspec
import pytest

from wayport.core.record import AttemptRecord, CallRecord
from wayport.core.usage import Usage
from wayport.observe.call_log import as_json, line_of


def record(**more: object) -> CallRecord:
    fields: dict[str, object] = {
        "call_id": "01a1f7ac-018d-7000-aa73-1219f84b35b0",
        "started_s": 1_795_154_550.25,
        "ended_s": 1_795_154_550.5,
        "model_asked": 'odd "name"\n',
        "model": "m",
        "provider": "up",
        "upstream_model": "x",
        "deployment": "d",
        "key_hash": "ab" * 32,
        "client_address": "127.0.0.1",
        "attempts": [AttemptRecord(deployment="d", provider="up", model="x")],
        "usage": Usage(input_tokens=12, output_tokens=3),
        "usage_source": "reported",
        "cost_nano_usd": 1_500_000,
        "overhead_ms": 0.123,
        **more,
    }
    return msgspec.convert(fields, CallRecord)


@pytest.mark.parametrize(
    "more",
    [{}, {"cost_nano_usd": None}, {"stream": True}, {"key_alias": "ci"}, {"key_hash": None}],
    ids=["ordinary", "unpriced", "stream", "alias", "no key"],
)
def test_the_short_way_says_the_same_as_the_long_one(more: dict[str, object]) -> None:
    of = record(**more)
    assert json.loads(as_json(of)) == json.loads(msgspec.json.encode(line_of(of)))


@pytest.mark.parametrize(
    "more",
    [
        {"status": "failure", "error_class": "server", "error": "busy", "http_status": 502},
        {"dropped_params": ["seed"]},
        {"first_token_ms": 12.5},
        {"usage": None},
    ],
)
def test_what_is_out_of_the_ordinary_is_in_the_line(more: dict[str, object]) -> None:
    of = record(**more)
    line = json.loads(as_json(of))
    for name, value in more.items():
        assert line.get(name) == value
    assert as_json(of).endswith(b"}\n")
