"""How fast the request log and its reports answer with many calls: `python -m bench.reports [--records N] [--database URL]`.

Generates calls of 30 days (200 keys, 12 models), writes them as the journal's drain does, and times what the admin API
asks for. Without `--database` a SQLite file in a temporary directory is used.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import uvloop
from sqlalchemy import text

from wayport.core.clock import SystemClock
from wayport.core.ids import uuid7
from wayport.core.record import AttemptRecord, CallRecord
from wayport.core.tasks import Tasks
from wayport.core.usage import Usage
from wayport.ledger.calls import CallLog
from wayport.ledger.days import zone_of
from wayport.ledger.listing import Filter, Listing
from wayport.ledger.reports import Name, Reports, Wanted
from wayport.storage.address import read_address
from wayport.storage.database import Database
from wayport.storage.engines import open_engines

BATCH = 2_000
DAYS = 30
ROUNDS = 7
KEYS = 200
MODELS = [f"model-{number}" for number in range(12)]


def generated(number: int, count: int, start_s: float, random: Random) -> CallRecord:
    model = MODELS[int(random.triangular(0, len(MODELS), 0))]
    key = random.randrange(KEYS)
    started_s = start_s + DAYS * 86_400 * number / count
    failed = random.random() < 0.02
    return CallRecord(
        call_id=uuid7(),
        started_s=started_s,
        ended_s=started_s + random.expovariate(0.5),
        node="bench",
        route="/v1/chat/completions",
        client_dialect="openai_chat",
        agent="OpenAI/Python 2.0.0",
        key_hash=f"{key:064x}",
        key_alias=f"key-{key}",
        user_id=f"user-{key % 60}",
        team_id=f"team-{key % 12}",
        model_asked=model,
        model=model,
        upstream_model=f"{model}-2026-10-01",
        deployment=f"{MODELS.index(model):016x}",
        provider=("north", "south", "west")[MODELS.index(model) % 3],
        attempts=[AttemptRecord(deployment="d", provider="north", model=model, status=200)],
        status="failure" if failed else "success",
        http_status=502 if failed else 200,
        usage=None if failed else Usage(input_tokens=random.randrange(20_000), output_tokens=random.randrange(2_000)),
        usage_source="none" if failed else "reported",
        cost_nano_usd=None if failed else random.randrange(50_000_000),
    )


async def fill(database: Database, count: int, start_s: float) -> float:
    """Microseconds per record."""
    log = CallLog(database, clock=SystemClock())
    random = Random(1)
    spent_s = 0.0
    for first in range(0, count, BATCH):
        records = [generated(n, count, start_s, random) for n in range(first, min(first + BATCH, count))]
        before_s = time.perf_counter()
        async with database.write() as connection:
            await log.add(connection, records)
        spent_s += time.perf_counter() - before_s
    return spent_s / count * 1e6


async def vacuum(database: Database) -> None:
    """What PostgreSQL does by itself some time after so many rows; here there is no time to wait for it."""
    engines = open_engines(database.address)
    try:
        connection = await engines.write.connect()
        autocommit = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await autocommit.execute(text("VACUUM ANALYZE"))
        await connection.close()
    finally:
        await engines.dispose()


async def timed(what: str, ask: Callable[[], Awaitable[object]]) -> None:
    times = []
    for _ in range(ROUNDS):
        before_s = time.perf_counter()
        await ask()
        times.append((time.perf_counter() - before_s) * 1000)
    print(f"| {what} | {statistics.median(times):.0f} | {max(times):.0f} |", flush=True)


async def measure(database: Database, count: int) -> None:
    end = datetime.now(tz=UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    start = end - timedelta(days=DAYS)
    cost_us = await fill(database, count, start.timestamp())
    if database.kind == "postgresql":
        await vacuum(database)
    print(f"\n{database.kind}, {count:,} calls in {DAYS} days, written at {cost_us:.0f} µs each\n")
    print("| asked | median ms | slowest ms |\n|---|---|---|", flush=True)
    listing, reports = Listing(database), Reports(database)
    day = (start + timedelta(days=15)).date()
    last = (end - timedelta(days=1)).date()
    names: tuple[Name, ...] = ("model", "upstream_model", "provider", "key_hash", "operation", "team_id")
    week = (start + timedelta(days=20)).timestamp()
    zone = zone_of("Asia/Kolkata")
    await timed("first page of all calls", lambda: listing.page(Filter()))
    await timed("page 200 of all calls", lambda: listing.page(Filter(), number=200))
    await timed("first page of a key", lambda: listing.page(Filter(key_hash=f"{7:064x}")))
    await timed("first page of a team, failures only", lambda: listing.page(Filter(team_id="team-3", success=False)))
    await timed("first page of a model since ten days", lambda: listing.page(Filter(model="model-2", since_s=week)))
    await timed(
        "one day by model, key and team", lambda: reports.by_day(Wanted(), names, first=day, last=day, zone=zone)
    )
    await timed(
        "one day of one team",
        lambda: reports.by_day(Wanted(only={"team_id": ["team-3"]}), names, first=day, last=day, zone=zone),
    )
    await timed(
        "30 days by team", lambda: reports.by_day(Wanted(), ["team_id"], first=start.date(), last=last, zone=zone)
    )
    await timed("30 days in all by model", lambda: reports.in_all(Wanted(), ["model"]))


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--database", default=None)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        database = Database(read_address(given.database, Path(folder)), clock=SystemClock())
        async with Tasks() as tasks:
            tasks.start(database.run(), name="database")
            await database.connected()
            try:
                await measure(database, given.records)
            finally:
                await database.close()


if __name__ == "__main__":
    uvloop.run(main())
