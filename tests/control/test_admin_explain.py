"""Why a call went where it went, from the request log."""

from pathlib import Path

from tests.fakes.admin import Admin, admin_app
from tests.fakes.records import call_record

from wayport.core.record import AttemptRecord, CallRecord, Decision
from wayport.ledger.calls import CallLog
from wayport.storage.address import Address


async def _log(admin: Admin, record: CallRecord) -> None:
    async with admin.database.write() as connection:
        await CallLog(admin.database, clock=admin.clock).add(connection, [record])


def _record() -> CallRecord:
    record = call_record()
    record.routing = [
        Decision(model="m", chosen="b", strategy="least-busy", candidates=2, removed={"a": "rpm: 5"}, scores={"b": 0.0})
    ]
    record.attempts = [
        AttemptRecord(
            deployment="b", provider="p", model="x", status=503, error_class="overloaded", error="busy", reason="first"
        ),
        AttemptRecord(deployment="b", provider="p", model="x", status=200, wait_ms=70.0, reason="retry"),
    ]
    return record


async def test_a_call_is_explained_from_its_record(address: Address, tmp_path: Path) -> None:
    record = _record()
    async with admin_app(address, tmp_path) as admin:
        await _log(admin, record)
        told = (await admin.client.get(f"/v1/calls/{record.call_id}/explain")).json()
        assert told["decisions"][0]["removed"] == {"a": "rpm: 5"}
        assert [attempt["reason"] for attempt in told["attempts"]] == ["first", "retry"]
        text = "\n".join(told["explanation"])
        assert "a was no candidate (rpm: 5)" in text
        assert "b was chosen (first), by least-busy out of 2, score 0" in text
        assert "Attempt 2 (retry) at p/x (b) after 70 ms of waiting: answered 200" in text


async def test_somebody_elses_call_is_answered_like_one_that_never_was(address: Address, tmp_path: Path) -> None:
    record = _record()
    async with admin_app(address, tmp_path) as admin:
        await _log(admin, record)
        made = (await admin.client.post("/key/generate", json={})).json()
        for call_id in (record.call_id, "never-was"):
            answer = await admin.as_key(made["key"], "GET", f"/v1/calls/{call_id}/explain")
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "call_not_found")
