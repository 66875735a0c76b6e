import asyncio
import base64
import errno
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import msgspec
import pytest
import sqlalchemy as sa
from tests.fakes.databases import opened
from tests.fakes.manual_clock import ManualClock
from tests.fakes.records import call_record
from tests.fakes.tcp_proxy import TcpProxy

from wayport.core.clock import SystemClock
from wayport.core.errors import Unavailable
from wayport.core.record import CallRecord
from wayport.core.tasks import Tasks
from wayport.core.usage import Usage
from wayport.ledger.calls import row
from wayport.ledger.drain import Drain
from wayport.ledger.journal import Spool
from wayport.ledger.segment import is_alive, list_spool, unread_bytes
from wayport.storage.address import Address, read_address
from wayport.storage.database import Database
from wayport.storage.tables import calls, open_calls, spend, spool_positions

ROOT = Path(__file__).parents[2]


def _spool(directory: Path, segment_bytes: int = 100_000) -> Spool:
    return Spool(directory, clock=ManualClock(), sync="os", segment_bytes=segment_bytes)


def _drain(root: Path, database: Database, batch_records: int = 500) -> Drain:
    return Drain(root, database, clock=ManualClock(), batch_records=batch_records)


async def _drain_all(drain: Drain) -> None:
    while await drain.step():
        pass


async def _logged(database: Database) -> dict[str, int | None]:
    async with database.read() as connection:
        rows = await connection.execute(sa.select(calls.c.call_id, calls.c.cost_nano_usd))
        return {row.call_id: row.cost_nano_usd for row in rows}


async def _spent(database: Database) -> dict[str, tuple[int, int]]:
    async with database.read() as connection:
        rows = await connection.execute(sa.select(spend).where(spend.c.scope == "key"))
        return {row.holder: (row.spend_nano_usd, row.calls) for row in rows}


async def test_records_become_rows_and_spend(address: Address, tmp_path: Path) -> None:
    spool = _spool(tmp_path / "spool" / "n-0")
    records = [call_record(key_hash="k1", cost_nano_usd=5), call_record(key_hash="k2"), call_record(key_hash="k1")]
    records[1].cost_nano_usd = None
    records[2].wasted_nano_usd = 7
    for record in records:
        spool.append(record)
    async with opened(address) as database:
        drain = _drain(tmp_path / "spool", database)
        assert await drain.step() == 3
        assert drain.caught_up.is_set()
        assert await _logged(database) == {records[0].call_id: 5, records[1].call_id: None, records[2].call_id: 1000}
        assert await _spent(database) == {"k1": (1012, 2), "k2": (0, 1)}
        async with database.read() as connection:
            row = (await connection.execute(sa.select(calls).where(calls.c.call_id == records[0].call_id))).one()
        assert (row.model, row.input_tokens, row.cache_read_tokens, row.duration_ms, row.stream) == (
            "gpt",
            100,
            40,
            1250.0,
            True,
        )
        assert msgspec.convert(row.record, CallRecord) == records[0]
    spool.close()


def test_a_row_has_the_tables_columns_in_their_order() -> None:
    assert list(row(call_record())) == [column.name for column in calls.columns]


async def test_a_record_that_comes_twice_in_one_batch_counts_once(address: Address, tmp_path: Path) -> None:
    spool = _spool(tmp_path / "spool" / "n-0")
    record = call_record()
    for _ in range(3):
        spool.append(record)
    async with opened(address) as database:
        drain = _drain(tmp_path / "spool", database)
        assert await drain.step() == 3
        assert drain.state.inserted == 1
        assert await _spent(database) == {"a" * 64: (1000, 1)}
    spool.close()


async def test_a_living_workers_segment_is_followed_and_kept(address: Address, tmp_path: Path) -> None:
    spool = _spool(tmp_path / "spool" / "n-0")
    async with opened(address) as database:
        drain = _drain(tmp_path / "spool", database)
        for _ in range(3):
            spool.append(call_record())
            assert await drain.step() == 1
            assert await drain.step() == 0
        assert len(await _logged(database)) == 3
        assert len(list_spool(spool.directory).segments) == 1
        assert drain.backlog_bytes() == 0
        spool.append(call_record())
        assert drain.backlog_bytes() > 500
    spool.close()


async def test_drained_segments_are_deleted(address: Address, tmp_path: Path) -> None:
    spool = _spool(tmp_path / "spool" / "n-0", segment_bytes=3000)
    async with opened(address) as database:
        for _ in range(20):
            spool.append(call_record())
        drain = _drain(tmp_path / "spool", database)
        await _drain_all(drain)
        assert len(list_spool(spool.directory).segments) == 1
        spool.close()
        await _drain_all(drain)
        assert list(spool.directory.iterdir()) == []
        assert len(await _logged(database)) == 20

        late = _spool(tmp_path / "spool" / "n-0")
        late.append(call_record())
        await _drain_all(drain)
        async with database.read() as connection:
            assert (await connection.execute(sa.select(sa.func.count()).select_from(spool_positions))).scalar_one() == 1
        late.close()


async def test_spools_of_several_workers_share_a_batch(address: Address, tmp_path: Path) -> None:
    spools = [_spool(tmp_path / "spool" / f"n-{number}") for number in range(3)]
    for spool in spools:
        for _ in range(10):
            spool.append(call_record())
    async with opened(address) as database:
        drain = _drain(tmp_path / "spool", database, batch_records=16)
        assert await drain.step() == 16
        assert not drain.caught_up.is_set()
        assert await drain.step() == 14
        assert drain.caught_up.is_set()
        assert len(await _logged(database)) == 30
    for spool in spools:
        spool.close()


async def test_a_lost_position_doubles_nothing(address: Address, tmp_path: Path) -> None:
    spool = _spool(tmp_path / "spool" / "n-0")
    for _ in range(5):
        spool.append(call_record())
    async with opened(address) as database:
        await _drain_all(_drain(tmp_path / "spool", database))
        async with database.write() as connection:
            await connection.execute(sa.delete(spool_positions))
        spool.append(call_record())
        again = _drain(tmp_path / "spool", database)
        await _drain_all(again)
        assert (again.state.records, again.state.inserted) == (6, 1)
        assert await _spent(database) == {"a" * 64: (6000, 6)}
    spool.close()


async def test_a_restart_goes_on_where_the_last_one_stopped(address: Address, tmp_path: Path) -> None:
    spool = _spool(tmp_path / "spool" / "n-0")
    for _ in range(5):
        spool.append(call_record())
    async with opened(address) as database:
        await _drain_all(_drain(tmp_path / "spool", database))
        spool.append(call_record())
        again = _drain(tmp_path / "spool", database)
        await _drain_all(again)
        assert (again.state.records, again.state.inserted) == (1, 1)
    spool.close()


async def test_a_torn_tail_of_a_dead_writer_is_counted(address: Address, tmp_path: Path) -> None:
    spool = _spool(tmp_path / "spool" / "n-0")
    for _ in range(3):
        spool.append(call_record())
    (path,) = list_spool(spool.directory).segments
    with path.open("r+b") as file:
        file.seek(unread_bytes(path, 0) - 100)
        file.write(b"\0" * 100)
    async with opened(address) as database:
        drain = _drain(tmp_path / "spool", database)
        assert await drain.step() == 2
        assert drain.state.torn_tails == 0
        spool.close()
        await _drain_all(drain)
        assert drain.state.torn_tails == 1
        assert list(spool.directory.iterdir()) == []


async def test_a_damaged_segment_is_kept_and_the_next_one_read(address: Address, tmp_path: Path) -> None:
    spool = _spool(tmp_path / "spool" / "n-0", segment_bytes=3000)
    for _ in range(10):
        spool.append(call_record())
    first = list_spool(spool.directory).segments[0]
    data = bytearray(first.read_bytes())
    data[8:12] = b"\x10\0\0\0"
    first.write_bytes(data)
    inside = len(list_spool(spool.directory).segments)
    spool.close()
    async with opened(address) as database:
        drain = _drain(tmp_path / "spool", database)
        await _drain_all(drain)
        assert drain.state.damaged == 1
        assert drain.state.inserted >= 10 - 10 // inside - 1
    assert [path.suffix for path in spool.directory.iterdir()] == [".damaged"]


async def test_a_spool_that_cannot_be_read_keeps_no_other_waiting(
    address: Address, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken, whole = tmp_path / "spool" / "a-0", _spool(tmp_path / "spool" / "n-0")
    broken.mkdir()
    # A directory where a segment should be: it can neither be read nor deleted, not even by root.
    (broken / "w-00000001.wal").mkdir()
    whole.append(call_record())
    async with opened(address) as database:
        drain = _drain(tmp_path / "spool", database)
        assert await drain.step() == 1
        await drain.step()
        assert drain.caught_up.is_set()
    assert caplog.text.count("cannot be read or cleared") == 1
    whole.close()


async def test_nul_characters_do_not_stop_the_drain(address: Address, tmp_path: Path) -> None:
    spool = _spool(tmp_path / "spool" / "n-0")
    record = call_record()
    record.model_asked = "gpt\0-4"
    record.metadata = b'{"a\\u0000": "\\u0000", "b": "back\\\\u0000slash"}'
    spool.append(record)
    async with opened(address) as database:
        drain = _drain(tmp_path / "spool", database)
        await drain.step()
        assert drain.state.rejected == 0
        async with database.read() as connection:
            row = (await connection.execute(sa.select(calls))).one()
        assert row.model_asked == "gpt\ufffd-4"
        assert row.record["metadata"]["a\ufffd"] == "\ufffd"
    spool.close()


async def test_metadata_is_stored_as_the_object_it_is(address: Address, tmp_path: Path) -> None:
    spool = _spool(tmp_path / "spool" / "n-0")
    surrogate, deep = b'{"a": "\\ud800"}', b"[" * 3000 + b"]" * 3000
    for metadata in (b'{"run": {"id": 7}}', b"not json", surrogate, deep):
        record = call_record()
        record.metadata = metadata
        spool.append(record)
    async with opened(address) as database:
        await _drain_all(_drain(tmp_path / "spool", database))
        async with database.read() as connection:
            rows = (await connection.execute(sa.select(calls.c.record).order_by(calls.c.call_id))).scalars().all()
        assert [row["metadata"] for row in rows[:2]] == [{"run": {"id": 7}}, "not json"]
        assert len(rows) == 4
    spool.close()


async def test_a_record_that_no_database_takes_is_kept_aside_and_still_counted(
    address: Address, tmp_path: Path
) -> None:
    spool = _spool(tmp_path / "spool" / "n-0")
    records = [call_record() for _ in range(6)]
    records[2].usage = Usage(input_tokens=2**64 - 1)
    records[4].cost_nano_usd = 2**64 - 1
    for record in records:
        spool.append(record)
    async with opened(address) as database:
        drain = _drain(tmp_path / "spool", database)
        await _drain_all(drain)
        assert (drain.state.rejected, drain.state.inserted) == (2, 5)
        assert await _spent(database) == {"a" * 64: (5000, 5)}
        async with database.read() as connection:
            row = (await connection.execute(sa.select(calls).where(calls.c.call_id == records[2].call_id))).one()
        assert (row.cost_nano_usd, row.model, row.input_tokens) == (1000, "", None)
        spool.append(call_record())
        await _drain_all(drain)
        assert drain.state.inserted == 6
    lines = (tmp_path / "spool" / "rejected.jsonl").read_text().splitlines()
    kept = [msgspec.msgpack.decode(base64.b64decode(msgspec.json.decode(line)["msgpack"])) for line in lines]
    assert [record["call_id"] for record in kept] == [records[2].call_id, records[4].call_id]
    spool.close()


# Calls that are open


def _opening(record: CallRecord, reserved: int = 9000) -> CallRecord:
    return msgspec.structs.replace(record, opened=True, reserved_nano_usd=reserved, cost_nano_usd=None)


_packed = msgspec.msgpack.encode


async def _open_ids(database: Database) -> set[str]:
    async with database.read() as connection:
        return set((await connection.execute(sa.select(open_calls.c.call_id))).scalars())


@pytest.mark.parametrize("together", [True, False])
async def test_a_call_that_closes_costs_what_it_cost(address: Address, tmp_path: Path, *, together: bool) -> None:
    spool = _spool(tmp_path / "spool" / "n-0")
    record = call_record()
    async with opened(address) as database:
        drain = _drain(tmp_path / "spool", database)
        spool.append(_opening(record))
        if not together:
            await drain.step()
            assert await _open_ids(database) == {record.call_id}
            assert await _logged(database) == {}
        spool.append(record)
        await drain.step()
        assert await _open_ids(database) == set()
        assert await _logged(database) == {record.call_id: 1000}
    spool.close()


@pytest.mark.parametrize("restarted", [True, False])
async def test_a_call_left_open_by_a_dead_process_costs_its_reservation(
    address: Address, tmp_path: Path, *, restarted: bool
) -> None:
    spool = _spool(tmp_path / "spool" / "n-0")
    left, closed = call_record(), call_record()
    async with opened(address) as database:
        drain = _drain(tmp_path / "spool", database)
        spool.append(_opening(left))
        spool.append(_opening(closed))
        await drain.step()
        assert await _logged(database) == {}
        spool.append(closed)
        spool.close()
        if restarted:
            drain = _drain(tmp_path / "spool", database)
        await drain.step()
        await drain.step()
        assert await _logged(database) == {left.call_id: 9000, closed.call_id: 1000}
        assert await _open_ids(database) == set()
        assert await _spent(database) == {"a" * 64: (10_000, 2)}
        assert drain.state.abandoned == 1
        async with database.read() as connection:
            row = (await connection.execute(sa.select(calls).where(calls.c.call_id == left.call_id))).one()
        assert (row.status, row.usage_source, row.error_class) == ("cut", "estimated", "process_died")


@pytest.mark.parametrize("restarted", [True, False])
async def test_calls_under_way_cost_their_reservation_when_their_process_dies(
    address: Address, tmp_path: Path, *, restarted: bool
) -> None:
    root = tmp_path / "spool"
    spool = _spool(root / "n-0")
    assert spool.opens is not None
    left, closed, closing, refused = (call_record() for _ in range(4))
    slots = {record.call_id: spool.opens.open(_packed(_opening(record))) for record in (left, closed, closing, refused)}
    async with opened(address) as database:
        drain = _drain(root, database)
        await drain.step()
        assert await _logged(database) == {}
        spool.append(closed)
        spool.opens.close(slots[closed.call_id])
        # Died between the two.
        spool.append(closing)
        await drain.step()
        spool.close()
        torn = root / "n-0" / f"{spool.writer}.open"
        with torn.open("r+b") as file:
            # Died as this one was being written: it was never sent.
            file.seek(slots[refused.call_id] + 50)
            file.write(b"\xff" * 20)
        if restarted:
            drain = _drain(root, database)
        await drain.step()
        assert await _logged(database) == {left.call_id: 9000, closed.call_id: 1000, closing.call_id: 1000}
        assert await _open_ids(database) == set()
        assert await _spent(database) == {"a" * 64: (11_000, 3)}
        assert drain.state.abandoned == 1
        assert list((root / "n-0").iterdir()) == []


async def test_calls_under_way_that_cannot_be_read_now_are_not_cleared_away(
    address: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "spool"
    spool = _spool(root / "n-0")
    assert spool.opens is not None
    record = call_record()
    spool.opens.open(_packed(_opening(record)))
    spool.close()

    def fails(_: Path) -> bytes:
        raise OSError(errno.EMFILE, "Too many open files")

    async with opened(address) as database:
        drain = _drain(root, database)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "read_bytes", fails)
            await drain.step()
        await drain.step()
        assert await _logged(database) == {record.call_id: 9000}


async def test_more_calls_under_way_than_a_statement_takes_are_charged(address: Address, tmp_path: Path) -> None:
    root = tmp_path / "spool"
    for _ in range(3):
        spool = _spool(root / "n-0")
        assert spool.opens is not None
        for _ in range(4_000):
            assert spool.opens.open(_packed(_opening(call_record())))
        spool.close()
    async with opened(address) as database:
        drain = _drain(root, database)
        await drain.step()
        assert drain.state.abandoned == 12_000


async def test_a_living_writers_open_calls_wait(address: Address, tmp_path: Path) -> None:
    living, dead = _spool(tmp_path / "spool" / "n-0"), _spool(tmp_path / "spool" / "n-0")
    record = call_record()
    living.append(_opening(record))
    dead.close()
    async with opened(address) as database:
        drain = _drain(tmp_path / "spool", database)
        await drain.step()
        assert await _open_ids(database) == {record.call_id}
    living.close()


# The database is away


async def test_with_the_database_away_nothing_moves(postgresql: str, tmp_path: Path) -> None:
    spool = _spool(tmp_path / "spool" / "n-0", segment_bytes=3000)
    parts = urlsplit(postgresql)
    async with TcpProxy(parts.hostname or "", parts.port or 5432) as proxy, Tasks() as tasks:
        await proxy.listen()
        address = read_address(urlunsplit(parts._replace(netloc=f"{parts.username}@127.0.0.1:{proxy.port}")), tmp_path)
        database = Database(address, clock=SystemClock(), sleep=lambda _: asyncio.sleep(0.01))
        tasks.start(database.run(), name="database")
        drain = Drain(tmp_path / "spool", database, clock=SystemClock(), interval_s=0.001)
        tasks.start(drain.run(), name="drain")
        async with asyncio.timeout(30):
            for _ in range(5):
                spool.append(call_record())
            while drain.state.inserted < 5:
                await asyncio.sleep(0.001)
            await proxy.vanish()
            for _ in range(20):
                spool.append(call_record())
            while drain.state.error is None:
                await asyncio.sleep(0.001)
            assert drain.state.inserted == 5
            assert drain.backlog_bytes() > 10_000
            await proxy.listen()
            while drain.state.inserted < 25:
                await asyncio.sleep(0.001)
        assert len(await _logged(database)) == 25
        await database.close()
    spool.close()


async def test_without_a_database_the_drain_says_so(tmp_path: Path) -> None:
    database = Database(read_address(None, tmp_path), clock=SystemClock())
    with pytest.raises(Unavailable):
        await _drain(tmp_path / "spool", database).step()


# Real processes, really killed


@contextmanager
def _process(module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
        cwd=ROOT,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _lines_until(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline().strip() for _ in range(count)]


def _rest(process: subprocess.Popen[str]) -> list[str]:
    """What a killed process had still said."""
    assert process.stdout is not None
    return [line.strip() for line in process.stdout if line.endswith("\n")]


def test_a_worker_killed_at_any_moment_loses_and_doubles_nothing(address: Address, tmp_path: Path) -> None:
    confirmed: dict[str, int] = {}
    for round_number in range(4):
        with _process("tests.fakes.spool_writer", str(tmp_path / "spool" / "n-0"), "100000", "20000") as writer:
            said = _lines_until(writer, 20 + 37 * round_number)
            writer.send_signal(signal.SIGKILL)
            said += _rest(writer)
        for line in said:
            call_id, number = line.split()
            confirmed[call_id] = 1000 + int(number)

    async def check() -> None:
        async with opened(address) as database:
            drain = _drain(tmp_path / "spool", database, batch_records=50)
            await _drain_all(drain)
            logged = await _logged(database)
            missing = set(confirmed) - set(logged)
            assert missing == set()
            # what was appended and not yet confirmed may be there too: at most one for each kill
            assert len(logged) - len(confirmed) <= 4
            assert all(logged[call_id] == cost for call_id, cost in confirmed.items())
            spent = await _spent(database)
            assert sum(money for money, _ in spent.values()) == sum(cost or 0 for cost in logged.values())
            assert sum(count for _, count in spent.values()) == len(logged)
        assert list((tmp_path / "spool" / "n-0").iterdir()) == []

    asyncio.run(check())


@pytest.mark.parametrize("opened_in", ["lines", "slots"])
def test_a_drain_killed_again_and_again_loses_and_doubles_nothing(
    address: Address, tmp_path: Path, request: pytest.FixtureRequest, opened_in: str
) -> None:
    url = [address.dsn.reveal()] if address.kind == "postgresql" else []
    chance = random.Random(request.node.name)
    ids = []
    with _process("tests.fakes.spool_writer", str(tmp_path / "spool" / "n-0"), "1500", "20000", opened_in) as writer:
        for _ in range(6):
            with _process("tests.fakes.drain_runner", str(tmp_path / "spool"), str(tmp_path), *url) as drainer:
                ids += [line.split()[0] for line in _lines_until(writer, 200)]
                assert "0" not in _lines_until(drainer, chance.randint(1, 20))
                drainer.send_signal(signal.SIGKILL)
        ids += [line.split()[0] for line in _lines_until(writer, 300)]
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        assert _rest(writer) == []

    async def check() -> None:
        async with opened(address) as database:
            before = await _logged(database)
            assert 0 < len(before) < 1500
            await _drain_all(_drain(tmp_path / "spool", database))
            logged = await _logged(database)
            assert set(ids) - {"done"} <= set(logged)
            # the last call was opened and never closed
            assert len(logged) == 1500
            assert sorted(cost or 0 for cost in logged.values()) == sorted([*range(1000, 2499), 5000])
            spent = await _spent(database)
            assert sum(money for money, _ in spent.values()) == sum(cost or 0 for cost in logged.values())
            assert sum(count for _, count in spent.values()) == 1500
            assert await _open_ids(database) == set()

    asyncio.run(check())


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    with _process("tests.fakes.spool_writer", str(tmp_path), "1", "20000") as writer:
        _lines_until(writer, 2)
        (name,) = list_spool(tmp_path).writers
        assert is_alive(tmp_path, name)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        assert not is_alive(tmp_path, name)
