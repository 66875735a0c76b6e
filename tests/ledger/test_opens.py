"""The calls under way of a process, kept so that its death cannot make them free."""

import os
from pathlib import Path

import msgspec
import pytest
from tests.fakes.manual_clock import ManualClock
from tests.fakes.records import call_record

from wayport.ledger.journal import Spool
from wayport.ledger.opens import SLOT_BYTES, SLOTS, OpenCalls, read_open
from wayport.ledger.segment import OPEN


def _packed(call_id: str) -> bytes:
    return msgspec.msgpack.encode(msgspec.structs.replace(call_record(call_id=call_id), opened=True))


def _ids(path: Path) -> set[str]:
    return {record.call_id for record in read_open(path)}


@pytest.fixture(autouse=True)
def _steadfast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever file system the tests run on."""
    monkeypatch.setattr("wayport.ledger.journal.stands_by_its_blocks", lambda _: True)


def test_what_is_open_can_be_read_by_others_and_what_is_closed_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "w.open"
    calls = OpenCalls(path)
    slots = {name: calls.open(_packed(name)) for name in ("one", "two", "three")}
    assert all(slots.values())
    assert _ids(path) == {"one", "two", "three"}
    calls.close(slots["two"])
    assert _ids(path) == {"one", "three"}
    assert calls.open(_packed("four")) == slots["two"], "the place that was left is the next one taken"
    assert _ids(path) == {"one", "three", "four"}
    calls.let_go()
    assert _ids(path) == {"one", "three", "four"}


def test_a_shorter_record_leaves_nothing_of_the_one_before_it(tmp_path: Path) -> None:
    calls = OpenCalls(tmp_path / "w.open", slots=1)
    calls.close(calls.open(_packed("a" * 200)))
    assert calls.open(_packed("b"))
    assert _ids(tmp_path / "w.open") == {"b"}


def test_where_there_is_no_room_it_says_so(tmp_path: Path) -> None:
    calls = OpenCalls(tmp_path / "w.open", slots=2)
    assert calls.open(b"x" * SLOT_BYTES) == 0, "larger than a place"
    assert calls.open(_packed("one"))
    assert calls.open(_packed("two"))
    assert calls.open(_packed("three")) == 0, "more calls than places"
    assert _ids(tmp_path / "w.open") == {"one", "two"}


def test_a_place_that_was_taken_is_brought_to_the_disk_though_nothing_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    spool = Spool(tmp_path, clock=ManualClock(), sync="os")
    assert spool.opens is not None
    monkeypatch.setattr("os.fdatasync", synced.append)
    spool.sync_now()
    synced.clear()
    spool.opens.open(_packed("one"))
    spool.sync_now()
    spool.sync_now()
    assert len(synced) == 1


@pytest.mark.parametrize("wrong", [b"", b"something else entirely"])
def test_a_file_that_is_none_of_ours_holds_no_calls(tmp_path: Path, wrong: bytes) -> None:
    (tmp_path / "w.open").write_bytes(wrong)
    assert read_open(tmp_path / "w.open") == []
    assert read_open(tmp_path / "absent.open") == []


def test_its_blocks_are_on_the_disk_before_it_is_used(tmp_path: Path) -> None:
    """Else a disk that fills up later would kill the process at its next call."""
    OpenCalls(tmp_path / "w.open", slots=64)
    assert (tmp_path / "w.open").stat().st_blocks * 512 >= 64 * SLOT_BYTES


def test_where_the_file_cannot_be_made_there_is_none(tmp_path: Path) -> None:
    assert OpenCalls.beside(tmp_path / "absent", "w") is None


def test_a_file_that_was_cut_within_a_place_holds_the_calls_before_it(tmp_path: Path) -> None:
    path = tmp_path / "w.open"
    calls = OpenCalls(path, slots=4)
    calls.open(_packed("one"))
    calls.open(_packed("two"))
    calls.let_go()
    os.truncate(path, 2 * SLOT_BYTES + 3)
    assert _ids(path) == {"one"}


def test_who_begins_gives_back_what_the_dead_do_not_use(tmp_path: Path) -> None:
    """With the database away nobody else would, however often a worker dies."""
    alive, idle, dead = (Spool(tmp_path, clock=ManualClock(), sync="os") for _ in range(3))
    assert alive.opens is not None
    assert dead.opens is not None
    alive.opens.open(_packed("going on"))
    dead.opens.close(dead.opens.open(_packed("ended")))
    for name in ("one", "two"):
        dead.opens.open(_packed(name))
    idle.close()
    dead.close()
    spool = Spool(tmp_path, clock=ManualClock(), sync="os")
    files = {each: tmp_path / f"{each.writer}{OPEN}" for each in (alive, idle, dead, spool)}
    assert [path.stat().st_size // SLOT_BYTES for path in files.values()] == [SLOTS + 1, 1, 3, SLOTS + 1]
    assert [_ids(path) for path in files.values()] == [{"going on"}, set(), {"one", "two"}, set()]
    alive.close()
    spool.close()
