"""Bodies and retention: kept only when asked for, masked, compressed, and gone after their time; sums stay."""

import json
import zlib
from pathlib import Path

import sqlalchemy as sa
from tests.fakes.databases import opened
from tests.fakes.gateway import gateway
from tests.fakes.manual_clock import ManualClock
from tests.fakes.records import call_record

from wayport.config.observing import BodiesSettings, RetentionSettings
from wayport.control.retention import Retention
from wayport.core.record import CallBodies, CallRecord
from wayport.ledger.bodies import Redaction
from wayport.ledger.calls import CallLog
from wayport.ledger.drain import Drain
from wayport.ledger.journal import Spool
from wayport.storage.address import Address
from wayport.storage.tables import bodies, calls, rollups

ASK = {"model": "wayport/echo", "messages": [{"role": "user", "content": "Hello"}]}
KEPT = "bodies: {{store: {store}, max_bytes: 300}}\nserver: {{implicit_models: true}}\n"


async def test_nothing_is_kept_unless_asked_for() -> None:
    async with gateway() as wayport:
        await wayport.ask(ASK)
        assert [record.bodies for record in wayport.records] == [None]


async def test_requests_and_answers_are_kept_and_cut_at_their_limit() -> None:
    async with gateway(KEPT.format(store="true")) as wayport:
        answered = await wayport.ask(ASK)
        streamed = await wayport.ask({**ASK, "stream": True})
        refused = await wayport.ask({**ASK, "messages": 7})
        await wayport.until_idle()
        records = wayport.records
    assert [record.bodies is not None for record in records] == [False, True] * 3
    kept = [record.bodies for record in records if record.bodies is not None]
    assert json.loads(kept[0].request) == ASK
    assert kept[0].response == answered.content[:300]
    assert kept[1].response == streamed.content[:300]
    assert kept[2].response == refused.content[:300]
    assert records[0].call_id == records[1].call_id


async def test_a_key_decides_for_itself() -> None:
    for store, metadata, expected in (
        ("keys", b'{"store_bodies": true}', 1),
        ("keys", b'{"other": 1}', 0),
        ("true", b'{"store_bodies": false}', 0),
    ):
        async with gateway(KEPT.format(store=store)) as wayport:
            key = wayport.keys.add("sk-some-key-of-a-test", metadata=metadata)
            answer = await wayport.ask(ASK, headers={"authorization": f"Bearer {key}"})
            assert answer.status_code == 200, answer.text
            await wayport.until_idle()
            assert sum(record.bodies is not None for record in wayport.records) == expected


def _kept(record: CallRecord, request: bytes) -> CallRecord:
    return CallRecord(
        call_id=record.call_id,
        started_s=record.started_s,
        ended_s=record.ended_s,
        bodies=CallBodies(request=request, response=b'{"answer": "4111-1111"}'),
    )


async def test_they_reach_the_database_masked_and_compressed(address: Address, tmp_path: Path) -> None:
    clock = ManualClock()
    record = call_record()
    spool = Spool(tmp_path / "spool" / "n1-0", clock=clock, sync="os")
    spool.append(record)
    spool.append(_kept(record, b'{"key": "sk-live-0123456789abcdef", "text": "' + b"long " * 1_000 + b'"}'))
    spool.close()
    async with opened(address, clock) as database:
        drain = Drain(tmp_path / "spool", database, clock=clock, redaction=Redaction([r"\d{4}-\d{4}"]))
        while await drain.step():
            pass
        async with database.read() as connection:
            (row,) = (await connection.execute(sa.select(bodies))).mappings()
            assert (await connection.execute(sa.select(sa.func.count()).select_from(calls))).scalar_one() == 1
    assert zlib.decompress(row["request"]).startswith(b'{"key": "***"')
    assert zlib.decompress(row["response"]) == b'{"answer": "***"}'
    assert row["stored_bytes"] == len(row["request"]) + len(row["response"]) < 500
    assert drain.state.rejected == 0


async def _sleep(_: float) -> None:
    """Does not wait."""


async def test_what_is_old_goes_and_sums_stay(address: Address) -> None:
    clock = ManualClock(1_800_000_000 + 10 * 86_400)
    records = [call_record() for _ in range(25)]
    for number, record in enumerate(records):
        record.started_s = 1_800_000_000 + number * 43_200
        record.ended_s = record.started_s + 1
    async with opened(address, clock) as database:
        rows = Redaction(()).rows([_kept(record, b"x" * 100) for record in records])
        async with database.write() as connection:
            await CallLog(database, clock=clock).add(connection, records)
            await connection.execute(sa.insert(bodies), rows)
        settings = RetentionSettings(calls_days=5, batch=3)
        size = rows[0]["stored_bytes"]
        kept = BodiesSettings(keep_days=3, max_total_bytes=size * 4)
        retention = Retention(database, settings, kept, clock=clock, sleep=_sleep)
        assert await retention.clean() > 0
        assert await retention.clean() == 0
        async with database.read() as connection:
            oldest = (await connection.execute(sa.select(sa.func.min(calls.c.started_s)))).scalar_one()
            assert oldest >= clock.now_s() - 5 * 86_400
            assert (await connection.execute(sa.select(sa.func.count()).select_from(bodies))).scalar_one() == 4
            assert (await connection.execute(sa.select(sa.func.sum(rollups.c.calls)))).scalar_one() == 25 * 3


def test_a_credential_that_a_client_brings_is_masked_whatever_it_looks_like() -> None:
    redaction = Redaction(())
    for body in (
        b'{"model":"m","api_key":"of-no-known-shape","messages":[]}',
        b'{"api_key" : "with \\"quotes\\" of-no-known-shape", "aws_secret_access_key":"of-no-known-shape"}',
        b'{"api_base":"http://x","api_key":"of-no-known-sh',
        b'{"api_base":"http://x","api_key":"of-no-known-sh\\',
        b'{"vertex_credentials": {"private_key": "of-no-known-shape"}, "model": "m"}',
        b'{"vertex_ai_credentials": "of-no-known-shape", "aws_web_identity_token": "of-no-known-shape"}',
        b'{"api\\u005fkey": "of-no-known-shape", "user_config": {"model_list": ["of-no-known-shape"]}}',
        b'{"fallbacks": [{"model": "m", "api_key": "of-no-known-shape"}]}',
        b'{"model": "m", "api\\u005Fkey": "of-no-known-sh',
        b'{"model": "m", "vertex_credentials": {"type": "x", "private_key": "of-no-known-sh',
    ):
        packed = redaction.pack(body)
        assert packed is not None
        kept = zlib.decompress(packed).decode()
        assert "known-sh" not in kept
        assert '"***"' in kept
