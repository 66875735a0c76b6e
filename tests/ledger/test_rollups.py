"""Sums by quarter-hour and the views on them: equal to the records, whatever is written twice or deleted."""

import shutil
import subprocess
from collections import defaultdict
from pathlib import Path
from random import Random

import pytest
import sqlalchemy as sa
from tests.fakes.databases import opened
from tests.fakes.manual_clock import ManualClock
from tests.fakes.records import call_record

from wayport.core.record import CallRecord
from wayport.ledger.calls import CallLog, spent
from wayport.storage.address import Address, read_address
from wayport.storage.tables import calls, rollups, spend

QUERY = (Path(__file__).parent / "litellm_query.sql").read_text()


def _records(count: int) -> list[CallRecord]:
    random = Random(7)
    records = []
    for _ in range(count):
        record = call_record(key_hash=random.choice(["a" * 64, "b" * 64, None]), cost_nano_usd=random.randrange(10**9))
        record.started_s += random.randrange(86_400)
        record.ended_s = record.started_s + 1
        record.tags = random.sample(["blue", "red", "green"], random.randrange(3))
        record.end_user = random.choice([None, "customer-1", "customer\0-2"])
        record.wasted_nano_usd = random.randrange(100)
        record.status = random.choice(["success", "failure", "cut"])
        if random.random() < 0.2:
            record.cost_nano_usd = None
        records.append(record)
    return records


async def test_rollups_are_the_sums_of_their_records(address: Address) -> None:
    records = _records(400)
    async with opened(address) as database:
        log = CallLog(database, clock=ManualClock())
        for start in range(0, 400, 50):
            async with database.write() as connection:
                await log.add(connection, records[start : start + 50])
        async with database.write() as connection:
            assert await log.add(connection, records[10:90]) == 0
            await connection.execute(sa.delete(calls))
        async with database.read() as connection:
            rows = (await connection.execute(sa.select(rollups))).mappings().all()
            counters = {
                (row.scope, row.holder): row.spend_nano_usd for row in await connection.execute(sa.select(spend))
            }
    total = sum(map(spent, records))
    of_all = [row for row in rows if row["kind"] == "all"]
    assert sum(row["spend_nano_usd"] for row in of_all) == total
    assert sum(row["calls"] for row in of_all) == 400
    assert sum(row["failures"] for row in of_all) == sum(r.status != "success" for r in records)
    assert sum(row["unpriced"] for row in of_all) == sum(r.cost_nano_usd is None for r in records)
    assert sum(row["input_tokens"] for row in of_all) == 400 * 100
    by_quarter: dict[int, int] = defaultdict(int)
    for record in records:
        by_quarter[int(record.started_s // 900)] += spent(record)
    assert {q: sum(r["spend_nano_usd"] for r in of_all if r["quarter"] == q) for q in by_quarter} == by_quarter
    for tag in ("blue", "red", "green"):
        of_tag = sum(spent(r) for r in records if tag in r.tags)
        assert sum(row["spend_nano_usd"] for row in rows if (row["kind"], row["holder"]) == ("tag", tag)) == of_tag
        assert counters["tag", tag] == of_tag
    assert counters["end_user", "customer�-2"] == sum(spent(r) for r in records if r.end_user == "customer\0-2")
    assert counters["user", "alice"] == counters["team", "team-1"] == total


async def test_the_view_for_litellms_readers(address: Address) -> None:
    failed = call_record(cost_nano_usd=None)
    failed.status, failed.model, failed.usage = "failure", "", None
    ok = call_record(cost_nano_usd=1_500_000_000)
    async with opened(address) as database:
        async with database.write() as connection:
            await CallLog(database, clock=ManualClock()).add(connection, [ok, failed])
        async with database.read() as connection:
            rows = (
                await connection.execute(sa.text("SELECT * FROM litellm_request_logs ORDER BY status DESC"))
            ).mappings()
            first, second = rows.all()
            (group,) = (await connection.execute(sa.text(QUERY))).all()
    assert list(first) == [
        "call_id",
        "created_at",
        "model",
        "provider",
        "key_hash",
        "user_id",
        "team_id",
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "spend",
        "status",
        "latency_ms",
    ]
    assert (first["call_id"], first["model"], first["total_tokens"], float(first["spend"])) == (
        ok.call_id,
        "gpt",
        120,
        1.5,
    )
    assert str(first["created_at"]).startswith("2027-01-15")
    assert (second["status"], second["total_tokens"], float(second["spend"])) == ("failure", None, 0)
    assert (group[0], group[1], float(group[2])) == ("gpt", 2, 120)


async def test_psql_runs_the_query_as_people_write_it(postgresql: str, tmp_path: Path) -> None:
    psql = shutil.which("psql")
    if psql is None:
        pytest.skip("psql is not installed")
    async with opened(read_address(postgresql, tmp_path)) as database, database.write() as connection:
        await CallLog(database, clock=ManualClock()).add(connection, [call_record()])
    out = subprocess.run([psql, postgresql, "-At", "-c", QUERY], capture_output=True, text=True, check=True, timeout=20)
    assert out.stdout.strip() == "gpt|1|120.0000000000000000"
    where = "SELECT table_schema FROM information_schema.views WHERE table_name = 'litellm_request_logs'"
    out = subprocess.run([psql, postgresql, "-At", "-c", where], capture_output=True, text=True, check=True, timeout=20)
    assert out.stdout.strip() == "public"


async def test_a_view_of_another_program_is_left_alone(postgresql: str, tmp_path: Path) -> None:
    import asyncpg

    connection = await asyncpg.connect(postgresql)
    try:
        await connection.execute("CREATE TABLE litellm_request_logs (theirs int)")
        async with opened(read_address(postgresql, tmp_path)) as database:
            assert database.state.status == "connected"
        assert await connection.fetch("SELECT theirs FROM litellm_request_logs") == []
    finally:
        await connection.close()


async def test_credentials_in_metadata_do_not_reach_the_request_log(tmp_path: Path) -> None:
    record = call_record()
    record.metadata = b'{"run": 1, "token": "sk-live-0123456789abcdef"}'
    async with opened(read_address(None, tmp_path)) as database:
        async with database.write() as connection:
            await CallLog(database, clock=ManualClock()).add(connection, [record])
        async with database.read() as connection:
            row = (await connection.execute(sa.select(calls.c.record))).scalar_one()
    assert row["metadata"] == {"run": 1, "token": "***"}
