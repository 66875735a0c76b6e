import os
import struct
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fakes.manual_clock import ManualClock
from tests.fakes.records import call_record

from wayport.core.record import CallRecord
from wayport.ledger.journal import OnFull, Spool, Sync
from wayport.ledger.segment import HEADER_BYTES, MAX_RECORD_BYTES, Chunk, is_alive, list_spool, read


def _spool(directory: Path, **options: object) -> Spool:
    settings = {"clock": ManualClock(), "sync": "os", **options}
    return Spool(directory, **settings)  # type: ignore[arg-type]  # options of each test


def _segments(directory: Path) -> list[Path]:
    return list_spool(directory).segments


def _read_all(directory: Path) -> list[CallRecord]:
    return [record for path in _segments(directory) for record in read(path, 0, 1_000_000).records]


@pytest.mark.parametrize("sync", ["os", "1s", "always"])
def test_what_is_appended_is_read_back(tmp_path: Path, sync: Sync) -> None:
    spool = _spool(tmp_path / "n-0", sync=sync)
    records = [call_record() for _ in range(10)]
    for record in records:
        spool.append(record)
    assert _read_all(tmp_path / "n-0") == records
    assert spool.state.appended == 10
    spool.close()
    assert _read_all(tmp_path / "n-0") == records


def test_a_record_is_readable_when_append_returns(tmp_path: Path) -> None:
    spool = _spool(tmp_path)
    for count in range(1, 4):
        spool.append(call_record())
        assert len(_read_all(tmp_path)) == count
    spool.close()


def test_reading_goes_on_from_a_position(tmp_path: Path) -> None:
    spool = _spool(tmp_path)
    records = [call_record() for _ in range(5)]
    for record in records[:3]:
        spool.append(record)
    (path,) = _segments(tmp_path)
    first = read(path, 0, 2)
    assert (first.records, first.end) == (records[:2], "full")
    second = read(path, first.position, 100)
    assert (second.records, second.end) == (records[2:3], "end")
    spool.append(records[3])
    spool.append(records[4])
    assert read(path, second.position, 100).records == records[3:]
    spool.close()


def test_segments_are_rotated_by_size(tmp_path: Path) -> None:
    spool = _spool(tmp_path, segment_bytes=2000)
    records = [call_record() for _ in range(20)]
    for record in records:
        spool.append(record)
    assert len(_segments(tmp_path)) > 3
    assert all(path.stat().st_size < 4000 for path in _segments(tmp_path))
    assert _read_all(tmp_path) == records
    spool.close()


def test_a_spool_is_its_owners_alone(tmp_path: Path) -> None:
    spool = _spool(tmp_path / "spool" / "n-0")
    spool.append(call_record())
    assert (tmp_path / "spool" / "n-0").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "spool" / "n-0").iterdir()} == {0o600}
    spool.close()


def test_a_writer_lives_until_it_is_closed(tmp_path: Path) -> None:
    spool = _spool(tmp_path)
    assert is_alive(tmp_path, spool.writer)
    spool.close()
    assert not is_alive(tmp_path, spool.writer)


def test_two_processes_of_one_name_do_not_mix(tmp_path: Path) -> None:
    old, new = _spool(tmp_path), _spool(tmp_path)
    for spool in (old, new, old, new):
        spool.append(call_record())
    assert len(_segments(tmp_path)) == 2
    assert len(_read_all(tmp_path)) == 4
    old.close()
    assert not is_alive(tmp_path, old.writer)
    assert is_alive(tmp_path, new.writer)
    new.close()


# Damage


def _written(directory: Path, count: int) -> tuple[Path, list[CallRecord], list[int]]:
    """A closed segment, its records, and the position of each."""
    spool = _spool(directory)
    records = [call_record() for _ in range(count)]
    for record in records:
        spool.append(record)
    spool.close()
    (path,) = _segments(directory)
    positions, position = [], HEADER_BYTES
    for _ in records:
        positions.append(position)
        position = read(path, position, 1).position
    return path, records, positions


def test_a_torn_tail_is_passed_over_and_told(tmp_path: Path) -> None:
    path, records, positions = _written(tmp_path, 3)
    whole = path.read_bytes()
    for size in range(positions[2] + 1, len(whole)):
        path.write_bytes(whole[:size])
        chunk = read(path, 0, 100)
        assert (chunk.records, chunk.end, chunk.position) == (records[:2], "torn", positions[2])
        assert read(path, 0, 100, live=True)[:3] == (records[:2], positions[2], "end"), "it may still be whole"


def test_half_a_record_in_the_room_ahead_is_a_torn_tail_and_room_alone_is_none(tmp_path: Path) -> None:
    """As a killed writer leaves it: the head is written first, what follows may be there or not."""
    path, records, positions = _written(tmp_path, 3)
    whole = path.read_bytes()
    for size in range(positions[2], len(whole.rstrip(b"\0"))):
        path.write_bytes(whole[:size] + b"\0" * 5_000)
        chunk = read(path, 0, 100)
        assert (chunk.records, chunk.position, chunk.damaged) == (records[:2], positions[2], 0)
        assert chunk.end == ("end" if size == positions[2] else "torn")
        assert read(path, 0, 100, live=True)[:3] == (records[:2], positions[2], "end")


def test_records_behind_a_hole_are_not_passed_over_in_silence(tmp_path: Path) -> None:
    """A page that did not reach the disk when the power went, and one behind it that did."""
    path, records, positions = _written(tmp_path, 4)
    whole = path.read_bytes()
    hole = positions[2] - positions[1]
    path.write_bytes(whole[: positions[1]] + b"\0" * hole + whole[positions[2] :])
    assert read(path, 0, 100)[:3] == (records[:1], positions[1], "damaged")


def test_a_header_that_did_not_reach_the_disk_is_an_empty_segment(tmp_path: Path) -> None:
    path = tmp_path / "x-00000001.wal"
    path.write_bytes(b"\0" * 5_000)
    assert read(path, 0, 100)[:3] == ([], 0, "end")


@pytest.mark.parametrize("size", range(HEADER_BYTES))
def test_a_segment_that_ends_in_its_header_is_no_damage(tmp_path: Path, size: int) -> None:
    path, _, _ = _written(tmp_path, 1)
    os.truncate(path, size)
    assert read(path, 0, 100).end in {"torn", "end"}


def test_one_bad_record_among_good_ones_costs_only_itself(tmp_path: Path) -> None:
    path, records, positions = _written(tmp_path, 4)
    data = bytearray(path.read_bytes())
    data[positions[1] + 30] ^= 0xFF
    path.write_bytes(data)
    chunk = read(path, 0, 100)
    assert chunk.records == [records[0], records[2], records[3]]
    assert (chunk.damaged, chunk.end) == (1, "end")


def test_where_the_framing_is_lost_the_segment_is_damaged(tmp_path: Path) -> None:
    path, records, positions = _written(tmp_path, 4)
    data = bytearray(path.read_bytes())
    data[positions[1] : positions[1] + 4] = struct.pack("<I", 12345)
    path.write_bytes(data)
    chunk = read(path, 0, 100)
    assert chunk.records == records[:1]
    assert chunk.end in {"damaged", "torn"}
    data[positions[1] : positions[1] + 4] = struct.pack("<I", 100)
    path.write_bytes(data)
    assert read(path, 0, 100)[:3] == (records[:1], positions[1], "damaged")


def test_a_length_that_nobody_writes_is_damage_and_no_torn_tail(tmp_path: Path) -> None:
    """A torn tail is deleted: with it would go every record behind the head that is wrong."""
    path, records, positions = _written(tmp_path, 4)
    data = bytearray(path.read_bytes())
    data[positions[1] + 3] = 0x7F
    for room in (0, 5_000):
        path.write_bytes(data + b"\0" * room)
        assert read(path, 0, 100)[:3] == (records[:1], positions[1], "damaged")


@pytest.mark.parametrize("room", range(12))
def test_room_that_is_smaller_than_a_head_is_no_torn_tail(tmp_path: Path, room: int) -> None:
    path, records, _ = _written(tmp_path, 2)
    whole = path.read_bytes()
    path.write_bytes(whole + b"\0" * room)
    assert read(path, 0, 100)[:3] == (records, len(whole), "end")


def test_a_record_larger_than_anybody_reads_is_counted_and_not_written(tmp_path: Path) -> None:
    spool = _spool(tmp_path, segment_bytes=2 * MAX_RECORD_BYTES, max_bytes=8 * MAX_RECORD_BYTES)
    assert spool.append(call_record(call_id="before"))
    assert not spool.keep(b"x" * (MAX_RECORD_BYTES + 1), 5)
    assert spool.append(call_record(call_id="behind"))
    assert (spool.state.lost, spool.state.lost_nano_usd) == (1, 5)
    spool.close()
    (path,) = list_spool(tmp_path).segments
    chunk = read(path, 0, 100)
    assert ([record.call_id for record in chunk.records], chunk.end) == (["before", "behind"], "end")


def test_a_file_of_another_kind_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "x-00000001.wal"
    path.write_bytes(b"something else altogether")
    assert read(path, 0, 100).end == "damaged"


def test_a_frame_that_holds_no_record_is_handed_back(tmp_path: Path) -> None:
    spool = _spool(tmp_path)
    # What a newer version might write:
    spool.keep(msgspec.msgpack.encode({"call_id": 5}), nano_usd=0)
    record = call_record()
    spool.append(record)
    spool.close()
    chunk = read(_segments(tmp_path)[0], 0, 100)
    assert chunk.records == [record]
    assert [msgspec.msgpack.decode(payload) for payload in chunk.rejected] == [{"call_id": 5}]


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_happens_to_the_bytes_no_record_is_invented(tmp_path: Path, data: st.DataObject) -> None:
    directory = tmp_path / "any"
    for old in directory.glob("*"):
        old.unlink()
    path, records, _ = _written(directory, 5)
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at : at + data.draw(st.integers(1, 60))] = data.draw(st.binary(max_size=60))
    path.write_bytes(content)
    chunk: Chunk = read(path, 0, 100)
    assert all(record in records for record in chunk.records)
    assert chunk.position <= len(content)


# What cannot be encoded


def test_a_lone_surrogate_does_not_make_a_call_vanish(tmp_path: Path) -> None:
    spool = _spool(tmp_path)
    record = call_record()
    record.end_user = "bad \ud800 name"
    record.metadata = b'{"a": 1}'
    spool.append(record)
    (read_back,) = _read_all(tmp_path)
    assert read_back.end_user == "bad ? name"
    assert (read_back.call_id, read_back.cost_nano_usd, read_back.metadata) == (record.call_id, 1000, b'{"a": 1}')
    spool.close()


def test_a_number_beyond_64_bits_does_not_make_a_call_vanish(tmp_path: Path) -> None:
    spool = _spool(tmp_path)
    spool.append(call_record(cost_nano_usd=2**70))
    assert _read_all(tmp_path)[0].cost_nano_usd == 2**63 - 1
    spool.close()


def test_what_is_no_record_at_all_is_counted_and_does_not_raise(tmp_path: Path) -> None:
    spool = _spool(tmp_path)
    record = call_record()
    record.tags = [object()]  # type: ignore[list-item]  # a defect elsewhere
    spool.append(record)
    assert (spool.state.lost, spool.state.appended) == (1, 0)
    spool.close()


# Trouble with the disk


def test_without_a_directory_calls_go_on_and_the_loss_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock()
    (tmp_path / "data").write_text("a file where the directory should be")
    spool = _spool(tmp_path / "data" / "n-0", clock=clock)
    for _ in range(5):
        spool.append(call_record())
    assert (spool.state.lost, spool.state.lost_nano_usd, spool.state.error) == (5, 5000, "Not a directory")
    assert len(caplog.records) == 1

    clock.advance(61)
    spool.append(call_record())
    assert len(caplog.records) == 2

    (tmp_path / "data").unlink()
    clock.advance(2)
    spool.append(call_record())
    assert (spool.state.lost, spool.state.appended) == (6, 1)
    assert len(_read_all(tmp_path / "data" / "n-0")) == 1
    spool.close()


def test_told_to_refuse_it_does_so_while_nothing_can_be_written_and_looks_again(tmp_path: Path) -> None:
    clock = ManualClock()
    (tmp_path / "data").write_text("a file where the directory should be")
    spool = _spool(tmp_path / "data" / "n-0", clock=clock, on_full="refuse")
    assert spool.refusing() is True
    (tmp_path / "data").unlink()
    assert spool.refusing() is True
    clock.advance(2)
    assert spool.refusing() is False
    spool.append(call_record())
    assert (spool.state.appended, spool.state.lost) == (1, 0)
    spool.close()


_FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from tests.fakes.manual_clock import ManualClock
from tests.fakes.records import call_record
from wayport.ledger.journal import Spool

clock = ManualClock()
spool = Spool(Path(sys.argv[1]), clock=clock, sync="os")
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY))
for _ in range(10):
    spool.append(call_record(cost_nano_usd=1))
print(spool.state.appended, spool.state.lost, spool.state.lost_nano_usd)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
clock.advance(2)
for _ in range(10):
    spool.append(call_record(cost_nano_usd=1))
print(spool.state.appended, spool.state.lost, spool.state.lost_nano_usd)
"""


def test_a_write_that_the_disk_cuts_short_leaves_a_readable_spool(tmp_path: Path) -> None:
    """The limit on a file's size makes the kernel cut a write short and then refuse: a full disk, for one process."""
    result = subprocess.run(
        [sys.executable, "-c", _FULL_DISK, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    first, second = (tuple(map(int, line.split())) for line in result.stdout.splitlines())
    assert first[0] + first[1] == 10
    assert first[0] > 0
    assert first[1] > 0
    assert first[2] == first[1]
    assert second[0] == first[0] + 10
    assert second[1] == first[1]
    assert len(_read_all(tmp_path)) == second[0]
    assert all(read(path, 0, 1000).end == "end" for path in _segments(tmp_path))
    assert "calls are not journaled" in result.stderr


@pytest.mark.parametrize("on_full", ["serve", "refuse"])
def test_at_its_limit_the_spool_serves_or_refuses_as_told(tmp_path: Path, on_full: OnFull) -> None:
    clock = ManualClock()
    spool = _spool(tmp_path, clock=clock, max_bytes=20_000, segment_bytes=4_000, on_full=on_full)
    while not spool.state.full:
        spool.append(call_record())
    assert spool.state.lost == (1 if on_full == "serve" else 0)
    assert sum(path.stat().st_size for path in _segments(tmp_path)) < 25_000
    assert spool.refusing() is (on_full == "refuse")

    # those that were in flight are still kept when new ones are refused
    spool.append(call_record())
    assert spool.state.lost == (2 if on_full == "serve" else 0)

    for path in _segments(tmp_path)[:-1]:
        path.unlink()
    clock.advance(2)
    assert spool.refusing() is False
    lost = spool.state.lost
    spool.append(call_record())
    assert spool.state.lost == lost
    assert spool.state.full is False
    spool.close()


def test_a_limit_that_nobody_drains_bounds_the_disk_either_way(tmp_path: Path) -> None:
    spool = _spool(tmp_path, max_bytes=20_000, segment_bytes=4_000, on_full="refuse")
    for _ in range(200):
        spool.append(call_record())
    assert spool.state.lost > 0
    assert sum(path.stat().st_size for path in _segments(tmp_path)) < 30_000
    spool.close()


def test_syncing_closes_what_rotation_left_open(tmp_path: Path) -> None:
    spool = _spool(tmp_path, sync="1s", segment_bytes=1000)
    for _ in range(10):
        spool.append(call_record())
    spool.close()
    open_files = {str(fd.readlink()) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()}
    assert not any(str(tmp_path) in name for name in open_files)


def test_imports_stay_light() -> None:
    """It runs in the data workers, which have no room for more."""
    code = (
        "import sys, wayport.ledger.journal; "
        "print([m for m in ('sqlalchemy', 'pydantic', 'asyncio', 'fastapi') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
