"""The journal is written through memory: what that must not change for those who read it, and for the disk."""

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from zlib import crc32

import msgspec
import pytest
from tests.fakes.manual_clock import ManualClock
from tests.fakes.records import call_record

from wayport.core.record import CallRecord
from wayport.ledger import mapped
from wayport.ledger.follower import Follower
from wayport.ledger.journal import Spool
from wayport.ledger.opens import OpenCalls
from wayport.ledger.segment import FRAME_BYTES, HEADER_BYTES, MAGIC, SEED, list_spool, pack_head, read, unread_bytes

_ROOT = Path(__file__).parents[2]
_KB = 1024


def _spool(directory: Path, **options: object) -> Spool:
    return Spool(directory, **{"clock": ManualClock(), "sync": "os", **options})  # type: ignore[arg-type]  # of each test


def _segments(directory: Path) -> list[Path]:
    return list_spool(directory).segments


def _read_all(directory: Path) -> list[CallRecord]:
    return [record for path in _segments(directory) for record in read(path, 0, 1_000_000).records]


def _allocated(path: Path) -> int:
    return path.stat().st_blocks * 512


@pytest.fixture(autouse=True)
def _steadfast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever file system the tests run on."""
    monkeypatch.setattr("wayport.ledger.journal.stands_by_its_blocks", lambda _: True)


def test_an_idle_worker_takes_no_room_and_a_busy_one_is_little_ahead(tmp_path: Path) -> None:
    spool = _spool(tmp_path)
    (path,) = _segments(tmp_path)
    assert path.stat().st_size == HEADER_BYTES
    spool.append(call_record())
    assert path.stat().st_size <= 64 * _KB + HEADER_BYTES
    for _ in range(5_000):
        spool.append(call_record())
        # A page beyond what is said: blocks are whole.
        assert _allocated(path) >= path.stat().st_size
    written = unread_bytes(path, 0)
    assert written > 3 * _KB * _KB
    assert written <= path.stat().st_size <= written + 256 * _KB
    spool.close()


def test_what_is_mapped_is_the_part_that_is_written_to(tmp_path: Path) -> None:
    """Else all of a segment would count as the worker's memory."""
    spool = _spool(tmp_path)
    for _ in range(5_000):
        spool.append(call_record())
    (path,) = _segments(tmp_path)
    maps = [
        line.split()[0].split("-") for line in Path("/proc/self/maps").read_text().splitlines() if str(path) in line
    ]
    assert sum(int(end, 16) - int(begin, 16) for begin, end in maps) <= 256 * _KB + 4096
    spool.close()


def test_a_finished_segment_ends_where_its_records_do(tmp_path: Path) -> None:
    spool = _spool(tmp_path, segment_bytes=100_000)
    records = [call_record() for _ in range(400)]
    for record in records:
        spool.append(record)
    *finished, last = _segments(tmp_path)
    assert len(finished) > 1
    for path in finished:
        chunk = read(path, 0, 1_000)
        assert (chunk.end, chunk.position) == ("end", path.stat().st_size)
    assert read(last, 0, 1_000).position < last.stat().st_size
    spool.close()
    assert read(last, 0, 1_000).position == last.stat().st_size
    assert _read_all(tmp_path) == records


def test_records_of_every_size_are_read_back(tmp_path: Path) -> None:
    """Over the edges of what is mapped, and larger than it."""
    spool = _spool(tmp_path)
    records = []
    for number in range(600):
        record = call_record()
        record.error = "x" * (number * 37 % 5_000 if number % 150 else 1_500 * _KB)
        records.append(record)
        spool.append(record)
    assert (spool.state.appended, spool.state.lost) == (600, 0)
    assert _read_all(tmp_path) == records
    spool.close()
    assert _read_all(tmp_path) == records


def test_a_killed_writer_loses_nothing_and_its_room_is_a_clean_end(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.spool_writer", str(tmp_path), "300", "100000"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_ROOT,
    ) as writer:  # fmt: skip
        assert writer.stdout is not None
        told = [line.split()[0] for line in iter(writer.stdout.readline, "done\n")]
        writer.send_signal(signal.SIGKILL)
    assert [record.call_id for record in _read_all(tmp_path)] == told
    chunk = read(_segments(tmp_path)[-1], 0, 1_000)
    assert (chunk.end, chunk.damaged) == ("end", 0)


def _no_room(*_: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_without_blocks_ahead_records_are_written_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the beginning, and from where the disk has become full; with room again the next segment is mapped."""
    records = [call_record() for _ in range(700)]
    monkeypatch.setattr("os.posix_fallocate", _no_room)
    spool = _spool(tmp_path, segment_bytes=150_000)
    for record in records[:100]:
        spool.append(record)
    (path,) = _segments(tmp_path)
    assert path.stat().st_size == read(path, 0, 1_000).position
    monkeypatch.undo()
    for record in records[100:300]:
        spool.append(record)
    last = _segments(tmp_path)[-1]
    assert last != path
    assert last.stat().st_size > unread_bytes(last, 0), "mapped"
    monkeypatch.setattr("os.posix_fallocate", _no_room)
    for record in records[300:]:
        spool.append(record)
    assert (spool.state.appended, spool.state.lost) == (700, 0)
    assert _read_all(tmp_path) == records
    spool.close()
    assert _read_all(tmp_path) == records
    assert {read(path, 0, 1_000).end for path in _segments(tmp_path)} == {"end"}


def test_where_blocks_are_not_sure_and_where_each_record_is_synced_nothing_is_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    always = _spool(tmp_path / "always", sync="always")
    monkeypatch.setattr("wayport.ledger.journal.stands_by_its_blocks", lambda _: False)
    unsure = _spool(tmp_path / "unsure")
    for spool in (always, unsure):
        assert spool.opens is None
        spool.append(call_record())
        (path,) = _segments(spool.directory)
        assert read(path, 0, 10).position == path.stat().st_size
        assert not any(str(path) in line for line in Path("/proc/self/maps").read_text().splitlines())
        spool.close()


def test_which_file_systems_stand_by_their_blocks(tmp_path: Path) -> None:
    assert not mapped.stands_by_its_blocks(Path("/proc"))
    kinds = {line.split()[1]: line.split()[2] for line in Path("/proc/mounts").read_text().splitlines()}
    if kinds.get("/dev/shm") == "tmpfs":
        assert mapped.stands_by_its_blocks(Path("/dev/shm"))
    if kinds.get("/") in {"ext4", "xfs"} and tmp_path.stat().st_dev == Path("/").stat().st_dev:
        assert mapped.stands_by_its_blocks(tmp_path)


def test_room_ahead_is_nothing_that_waits_to_be_drained_or_fills_the_spool(tmp_path: Path) -> None:
    clock = ManualClock()
    others = tmp_path / "w-00000001.wal"
    others.write_bytes(b"\0" * 350_000)
    spool = _spool(tmp_path, clock=clock, max_bytes=400_000, on_full="refuse")
    assert spool.refusing()
    spool.append(call_record())
    (own,) = (path for path in _segments(tmp_path) if path != others)
    assert own.stat().st_size > 60 * _KB
    assert unread_bytes(own, read(own, 0, 10).position) == 0
    # There is room for another segment, by what is in use; by what is allocated there would be none.
    os.truncate(others, 290_000)
    clock.advance(2)
    assert not spool.refusing()
    spool.close()


def test_what_was_copied_is_brought_to_the_disk_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = _spool(tmp_path)
    spool.sync_now()
    synced: list[str] = []
    monkeypatch.setattr("os.fdatasync", lambda fd: synced.append(Path(f"/proc/self/fd/{fd}").readlink().suffix))
    for _ in range(2):
        spool.append(call_record())
    spool.sync_now()
    spool.sync_now()
    assert synced == [".wal"]
    spool.append(call_record())
    spool.sync_now()
    assert synced == [".wal", ".wal"]
    spool.close()


def _frames(count: int) -> tuple[list[CallRecord], list[bytes]]:
    records = [call_record() for _ in range(count)]
    for record in records:
        record.team_id = "team-1"
    packed = [msgspec.msgpack.encode(record) for record in records]
    frames = [pack_head(len(each), crc32(each, len(each) ^ SEED)) + each for each in packed]
    return records, frames


def test_a_record_that_is_half_there_is_read_when_it_is_whole(tmp_path: Path) -> None:
    """By those, too, who pass over the records of others: what cannot be told yet is not passed over."""
    (tmp_path / "n-0").mkdir()
    path = tmp_path / "n-0" / "w-00000001.wal"
    records, (first, second) = _frames(2)
    everybody = Follower(tmp_path, tmp_path / "all.json", clock=ManualClock())
    team = Follower(tmp_path, tmp_path / "team.json", clock=ManualClock(), team_id="team-1")
    room = b"\0" * 5_000
    path.write_bytes(MAGIC + first + second[:FRAME_BYTES] + room)
    assert everybody.read(10) == team.read(10) == records[:1]
    path.write_bytes(MAGIC + first + second[:-200] + room)
    assert everybody.read(10) == team.read(10) == []
    path.write_bytes(MAGIC + first + second + room)
    assert everybody.read(10) == team.read(10) == records[1:]


def test_a_record_that_was_copied_as_it_was_read_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader may have had the first half of a record before it was written, and the record behind it after that."""
    path = tmp_path / "w-00000001.wal"
    records, frames = _frames(3)
    path.write_bytes(MAGIC + b"".join(frames) + b"\0" * 5_000)
    half = HEADER_BYTES + len(frames[0]) + FRAME_BYTES
    looks = 0

    def pread(fd: int, length: int, position: int) -> bytes:
        nonlocal looks
        looks += 1
        data = bytearray(_pread(fd, length, position))
        if looks == 2:
            data[half - position : half - position + 50] = b"\0" * 50
        return bytes(data)

    _pread = os.pread
    monkeypatch.setattr("os.pread", pread)
    chunk = read(path, 0, 10, live=True)
    assert looks == 3
    assert (chunk.records, chunk.damaged, chunk.end) == (records, 0, "end")


def test_who_reads_while_it_is_written_sees_every_record_once_and_no_damage(tmp_path: Path) -> None:
    spool = _spool(tmp_path, segment_bytes=400_000)
    total = 20_000
    packed = [msgspec.msgpack.encode(call_record(call_id=f"{number:036d}")) for number in range(total)]

    def write() -> None:
        for each in packed:
            spool.keep(each, 0)

    writer = threading.Thread(target=write)
    interval_s = sys.getswitchinterval()
    # The writer is interrupted anywhere, in the midst of a record, too.
    sys.setswitchinterval(1e-5)
    try:
        writer.start()
        seen: list[str] = []
        positions: dict[Path, int] = {}
        while len(seen) < total:
            for path in _segments(tmp_path):
                live = path == _segments(tmp_path)[-1]
                chunk = read(path, positions.get(path, 0), 1_000, live=live)
                assert (chunk.damaged, chunk.rejected) == (0, [])
                assert chunk.end in {"end", "full"}
                seen += [record.call_id for record in chunk.records]
                positions[path] = chunk.position
        writer.join()
    finally:
        sys.setswitchinterval(interval_s)
    assert seen == [f"{number:036d}" for number in range(total)]
    spool.close()


def test_calls_under_way_have_their_blocks_the_same_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.posix_fallocate", _no_room)
    assert OpenCalls.beside(tmp_path, "w") is None
    assert list(tmp_path.iterdir()) == []
