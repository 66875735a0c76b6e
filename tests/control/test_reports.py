"""Reports over the admin API: equal to the sum of the records to the nano-dollar, in any zone, before and after deletion."""

from collections import defaultdict
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from tests.fakes.admin import Admin, admin_app
from tests.fakes.records import call_record

from wayport.core.price import Price, Rates
from wayport.core.record import CallRecord
from wayport.ledger.calls import CallLog, spent
from wayport.storage.address import Address, read_address
from wayport.storage.tables import calls

START_S = 1_800_000_000
DAY_S = 86_400


def _records(count: int = 300) -> list[CallRecord]:
    random = Random(11)
    records = []
    for _ in range(count):
        record = call_record(key_hash=random.choice("abc") * 64, cost_nano_usd=random.randrange(1, 10**10))
        record.started_s = START_S + random.randrange(5 * DAY_S)
        record.ended_s = record.started_s + random.random()
        record.user_id = random.choice(["alice", "bob"])
        record.team_id = random.choice(["red", "blue", None])
        record.model = random.choice(["gpt", "claude"])
        record.tags = random.sample(["x", "y"], random.randrange(3))
        record.status = random.choice(["success", "success", "failure"])
        records.append(record)
    return records


async def _log(admin: Admin, records: list[CallRecord]) -> None:
    async with admin.database.write() as connection:
        await CallLog(admin.database, clock=admin.clock).add(connection, records)


async def _get(admin: Admin, path: str, **query: Any) -> Any:
    answer = await admin.client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def _nano(dollars: float) -> int:
    return round(dollars * 1e9)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "America/New_York", "-330"])
async def test_daily_activity_is_the_sum_of_the_records(address: Address, tmp_path: Path, zone: str) -> None:
    records = _records()
    local = ZoneInfo("Asia/Kolkata") if zone == "-330" else ZoneInfo(zone)
    expected: dict[str, int] = defaultdict(int)
    for record in records:
        expected[datetime.fromtimestamp(record.started_s, local).date().isoformat()] += spent(record)
    async with admin_app(address, tmp_path) as admin:
        await _log(admin, records)
        async with admin.database.write() as connection:
            await connection.execute(sa.delete(calls).where(calls.c.started_s < START_S + 2 * DAY_S))
        query = {"start_date": "2027-01-14", "end_date": "2027-01-21", "timezone": zone}
        for entity in ("user", "team", "organization"):
            found = await _get(admin, f"/{entity}/daily/activity", **query)
            assert {day["date"]: _nano(day["metrics"]["spend"]) for day in found["results"]} == expected
            totals = found["metadata"]
            assert _nano(totals["total_spend"]) == sum(expected.values())
            assert totals["total_api_requests"] == len(records)
            assert totals["total_failed_requests"] == sum(r.status != "success" for r in records)
        teams = await _get(admin, "/team/daily/activity/aggregated", **query, team_ids="red")
        of_red = sum(spent(r) for r in records if r.team_id == "red")
        assert _nano(teams["metadata"]["total_spend"]) == of_red
        assert {name for day in teams["results"] for name in day["breakdown"]["entities"]} == {"red"}
        tags = await _get(admin, "/tag/daily/activity", **query)
        of_x = sum(
            _nano(day["breakdown"]["entities"]["x"]["metrics"]["spend"])
            for day in tags["results"]
            if "x" in day["breakdown"]["entities"]
        )
        assert of_x == sum(spent(r) for r in records if "x" in r.tags)
        customers = await _get(admin, "/customer/daily/activity", **query)
        assert _nano(customers["metadata"]["total_spend"]) == sum(expected.values())


async def test_daily_activity_as_litellms_clients_read_it(tmp_path: Path) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path) as admin:
        await _log(admin, [call_record(cost_nano_usd=2_000_000_000)])
        found = await _get(admin, "/user/daily/activity", start_date="2027-01-15", end_date="2027-01-15")
        (day,) = found["results"]
        metrics = {
            "spend": 2.0,
            "prompt_tokens": 100,
            "completion_tokens": 20,
            "cache_read_input_tokens": 40,
            "cache_creation_input_tokens": 0,
            "total_tokens": 120,
            "successful_requests": 1,
            "failed_requests": 0,
            "api_requests": 1,
        }
        assert day["metrics"] == metrics
        assert set(day["breakdown"]) == {
            "models",
            "model_groups",
            "mcp_servers",
            "providers",
            "endpoints",
            "api_keys",
            "entities",
        }
        by_key = day["breakdown"]["models"]["gpt-4o-2024-08-06"]["api_key_breakdown"]
        assert by_key["a" * 64]["metrics"] == metrics
        assert day["breakdown"]["model_groups"]["gpt"]["metrics"] == metrics
        assert found["metadata"] | {"page": 1, "total_pages": 1, "has_more": False} == found["metadata"]


async def test_everything_together(address: Address, tmp_path: Path) -> None:
    records = _records(120)
    total = sum(map(spent, records))
    async with admin_app(address, tmp_path) as admin:
        await _log(admin, records)
        days = {"start_date": "2027-01-14", "end_date": "2027-01-21"}
        assert _nano((await _get(admin, "/global/spend"))["spend"]) == total
        for path, field in (("logs", "spend"), ("provider", "spend")):
            assert sum(_nano(each[field]) for each in await _get(admin, f"/global/spend/{path}", **days)) == total
        teams = await _get(admin, "/global/spend/teams", **days)
        assert sum(_nano(each["total_spend"]) for each in teams["total_spend_per_team"]) == total
        report = await _get(admin, "/global/spend/report", **days)
        assert sum(_nano(team["total_spend"]) for day in report for team in day["teams"]) == total
        assert {"model", "spend", "total_tokens", "api_key"} == set(report[0]["teams"][0]["metadata"][0])
        of_key = await _get(admin, "/global/spend/report", **days, api_key="a" * 64)
        assert _nano(of_key[0]["total_cost"]) == sum(spent(r) for r in records if r.key_hash == "a" * 64)
        tags = (await _get(admin, "/global/spend/tags", **days))["spend_per_tag"]
        assert {t["name"]: _nano(t["spend"]) for t in tags} == {
            tag: sum(spent(r) for r in records if tag in r.tags) for tag in ("x", "y")
        }
        assert (await _get(admin, "/global/spend/all_tag_names")) == {"tag_names": ["x", "y"]}
        activity = await _get(admin, "/global/activity", **days)
        assert (activity["sum_api_requests"], activity["sum_total_tokens"]) == (120, 120 * 120)
        models = await _get(admin, "/global/activity/model", **days)
        assert sum(model["sum_api_requests"] for model in models) == 120
        assert [each["user_id"] for each in await _get(admin, "/spend/users")] == sorted(
            ("alice", "bob"), key=lambda name: -sum(spent(r) for r in records if r.user_id == name)
        )
        assert {each["individual_request_tag"] for each in await _get(admin, "/spend/tags")} == {"x", "y"}


async def test_the_log_by_pages(address: Address, tmp_path: Path) -> None:
    records = _records(130)
    async with admin_app(address, tmp_path) as admin:
        await _log(admin, records)
        newest = [r.call_id for r in sorted(records, key=lambda r: -r.started_s)]
        seen: list[str] = []
        for page in (1, 2, 3):
            found = await _get(admin, "/spend/logs/v2", page=page)
            assert (found["total"], found["total_pages"], found["page_size"]) == (130, 3, 50)
            seen += [row["request_id"] for row in found["data"]]
        assert seen == newest
        dearest = await _get(admin, "/spend/logs/ui", page_size=1, sort_by="spend")
        assert _nano(dearest["data"][0]["spend"]) == max(map(spent, records))
        query = {"status_filter": "failure", "team_id": "red", "user_id": "bob", "page_size": 500}
        found = await _get(admin, "/spend/logs/v2", **query, start_date="2027-01-16 00:00:00")
        assert {row["request_id"] for row in found["data"]} == {
            r.call_id
            for r in records
            if (r.status, r.team_id, r.user_id) == ("failure", "red", "bob") and r.started_s >= START_S + 16 * 3600
        }
        one = await _get(admin, f"/spend/logs/ui/{newest[0]}")
        assert one["record"]["call_id"] == newest[0]
        assert (await admin.client.get("/spend/logs/ui/none")).status_code == 404
        assert (await admin.client.get("/spend/logs/v2?page=0")).status_code == 422


async def test_what_a_call_would_cost(tmp_path: Path) -> None:
    price = Price(rates=Rates(input=2_500_000_000, output=10_000_000_000))
    async with admin_app(read_address(None, tmp_path), tmp_path, prices={"gpt": price}) as admin:
        usage = {"prompt_tokens": 1000, "completion_tokens": 100}
        body: dict[str, Any] = {"completion_response": {"model": "gpt", "usage": usage}}
        assert (await admin.client.post("/spend/calculate", json=body)).json() == {"cost": 0.0035}
        body = {"model": "gpt", "messages": [{"role": "user", "content": "x" * 400}]}
        assert (await admin.client.post("/spend/calculate", json=body)).json()["cost"] > 0
        for wrong in ({"model": "unknown", "messages": []}, {"model": "gpt"}, {}):
            assert (await admin.client.post("/spend/calculate", json=wrong)).status_code == 400


async def test_only_administrators_see_everybody(tmp_path: Path) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path) as admin:
        own = (await admin.client.post("/key/generate", json={"user_id": "bob"})).json()
        mine = call_record(key_hash=own["token"])
        mine.user_id = "bob"
        await _log(admin, [mine, call_record()])
        query = {"start_date": "2027-01-15", "end_date": "2027-01-15"}
        seen = (await admin.as_key(own["key"], "GET", "/spend/logs/v2")).json()
        assert [row["request_id"] for row in seen["data"]] == [mine.call_id]
        day = (await admin.as_key(own["key"], "GET", "/user/daily/activity", params=query)).json()
        assert day["metadata"]["total_api_requests"] == 1
        for path in ("/global/spend", "/global/spend/report", "/spend/keys", "/spend/users", "/global/activity"):
            assert (await admin.as_key(own["key"], "GET", path)).status_code in {401, 403}


async def test_spend_by_whatever_one_asks_for(address: Address, tmp_path: Path) -> None:
    records = _records(60)
    async with admin_app(address, tmp_path) as admin:
        await _log(admin, records)
        days = {"start_date": "2027-01-14", "end_date": "2027-01-21"}
        for by, name in (("team", "team_id"), ("user", "user_id"), ("key", "key_hash"), ("model", "model")):
            rows = (await _get(admin, "/v1/spend", by=by, **days))["data"]
            expected: dict[str, int] = defaultdict(int)
            for record in records:
                expected[getattr(record, name) or ""] += spent(record)
            assert {row[by]: row["spend_nano_usd"] for row in rows} == expected
            assert [row["spend_nano_usd"] for row in rows] == sorted(expected.values(), reverse=True)
        told = (
            await admin.client.get("/v1/spend", params={**days, "by": "model", "format": "csv", "daily": True})
        ).text
        lines = told.strip().splitlines()
        assert lines[0].startswith("date,model,spend_usd,calls,")
        assert sum(int(line.rpartition(",")[2]) for line in lines[1:]) == sum(map(spent, records))
        assert (await admin.client.get("/v1/spend?by=planet")).status_code == 422


async def test_a_csv_has_its_columns_without_rows_and_no_formula_in_them(tmp_path: Path) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path) as admin:
        query = {"by": "customer", "format": "csv", "start_date": "2027-01-14", "end_date": "2027-01-21"}
        empty = (await admin.client.get("/v1/spend", params=query)).text
        assert empty.startswith("customer,spend_usd,calls,")
        hostile = [call_record() for _ in range(2)]
        hostile[0].end_user, hostile[1].end_user = "-1+cmd|' /C calc'!A1", "=HYPERLINK(1)"
        await _log(admin, hostile)
        lines = (await admin.client.get("/v1/spend", params=query)).text.splitlines()[1:]
        assert sorted(line[:3] for line in lines) == ["'-1", "'=H"]


async def test_the_live_tail_refuses_a_filter_that_it_does_not_know(tmp_path: Path) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path) as admin:
        answered = await admin.client.get("/v1/calls/stream?tags=blue")
        assert answered.status_code == 400
        assert "`tags`" in answered.json()["error"]["message"]
        assert " tag," in answered.json()["error"]["message"]
        assert (await admin.client.get("/v1/calls/stream?status=bad")).status_code == 422
