from pathlib import Path
from typing import Any

import pytest
from tests.fakes.admin import Admin, admin_app
from tests.fakes.records import call_record

from wayport.core.record import CallRecord
from wayport.ledger.calls import CallLog
from wayport.storage.address import Address, read_address

DAY_S = 86_400


async def _log(admin: Admin, *records: CallRecord) -> None:
    async with admin.database.write() as connection:
        await CallLog(admin.database, clock=admin.clock).add(connection, records)


async def _logs(admin: Admin, **query: object) -> list[dict[str, Any]]:
    answer = await admin.client.get("/spend/logs", params=query)  # type: ignore[arg-type]  # the values of each test
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()
    return rows


async def test_a_call_as_litellms_clients_read_it(address: Address, tmp_path: Path) -> None:
    record = call_record(cost_nano_usd=1_234_567)
    record.wasted_nano_usd = 1
    record.metadata = b'{"run":"7"}'
    record.client_address = "192.0.2.7"
    async with admin_app(address, tmp_path) as admin:
        await _log(admin, record)
        (row,) = await _logs(admin)
    assert row["request_id"] == row["litellm_call_id"] == record.call_id
    expected = {
        "call_type": "acompletion",
        "api_key": "a" * 64,
        "spend": 0.001234568,
        "total_tokens": 120,
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "startTime": "2027-01-15T08:00:00.250Z",
        "endTime": "2027-01-15T08:00:01.500Z",
        "completionStartTime": "2027-01-15T08:00:00.370Z",
        "request_duration_ms": 1250,
        "model": "gpt-4o-2024-08-06",
        "model_group": "gpt",
        "custom_llm_provider": "openai",
        "user": "alice",
        "team_id": "team-1",
        "end_user": "customer-9",
        "request_tags": ["blue"],
        "requester_ip_address": "192.0.2.7",
        "status": "success",
    }
    assert {name: row[name] for name in expected} == expected
    assert row["metadata"]["spend_logs_metadata"] == {"run": "7"}
    assert row["metadata"]["usage_object"]["input_tokens"] == 100


async def test_calls_are_filtered(address: Address, tmp_path: Path) -> None:
    records = [call_record(key_hash=name * 64) for name in "ab"]
    records[1].user_id = "bob"
    records[1].started_s += DAY_S
    records[1].status = "failure"
    records[1].error_class = "server"
    async with admin_app(address, tmp_path) as admin:
        await _log(admin, *records)
        assert [row["request_id"] for row in await _logs(admin)] == [records[1].call_id, records[0].call_id]
        for query in (
            {"api_key": "b" * 64},
            {"user_id": "bob"},
            {"request_id": records[1].call_id},
            {"start_date": "2027-01-16"},
            {"limit": 1},
        ):
            (row,) = await _logs(admin, **query)
            assert (row["request_id"], row["status"]) == (records[1].call_id, "failure")
            assert row["metadata"]["error_information"]["error_class"] == "server"
        (row,) = await _logs(admin, end_date="2027-01-15")
        assert row["request_id"] == records[0].call_id
        assert (
            await _logs(admin, start_date="2027-01-15T09:00:00Z", end_date="2027-01-16T00:00:00Z", summarize=False)
            == []
        )


async def test_sums_by_day(address: Address, tmp_path: Path) -> None:
    records = [call_record(cost_nano_usd=cost) for cost in (1, 2, 3)]
    records[1].user_id = "bob"
    # a second before midnight: neither database may round it into the next day
    records[2].started_s = 1_800_000_000 - 1_800_000_000 % DAY_S + 2 * DAY_S - 0.001
    async with admin_app(address, tmp_path) as admin:
        await _log(admin, *records)
        days = await _logs(admin, start_date="2027-01-15", end_date="2027-01-16")
    assert days == [
        {"startTime": "2027-01-15", "spend": 3e-9, "users": {"alice": 1e-9, "bob": 2e-9}, "models": {"gpt": 3e-9}},
        {"startTime": "2027-01-16", "spend": 3e-9, "users": {"alice": 3e-9}, "models": {"gpt": 3e-9}},
    ]


async def test_a_key_sees_its_own_calls_only(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        own = (await admin.client.post("/key/generate", json={})).json()
        foreign, mine = call_record(), call_record(key_hash=own["token"])
        await _log(admin, foreign, mine)
        seen = (await admin.as_key(own["key"], "GET", "/spend/logs")).json()
        assert [row["request_id"] for row in seen] == [mine.call_id]
        tried = await admin.as_key(own["key"], "GET", "/spend/logs", params={"api_key": "a" * 64})
        assert tried.json() == []
        info = (await admin.as_key(own["key"], "GET", "/key/info")).json()
        assert info["info"]["spend"] == 1e-6


@pytest.mark.parametrize("name", ["start_date", "end_date"])
async def test_a_wrong_date_is_named(tmp_path: Path, name: str) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path) as admin:
        answer = await admin.client.get("/spend/logs", params={name: "yesterday"})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, name)
