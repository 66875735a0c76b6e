"""Followers read the spool beside the drain: each at its own pace, nothing lost over a restart, nothing kept for ever."""

from pathlib import Path
from typing import Any

from tests.fakes.databases import opened
from tests.fakes.manual_clock import ManualClock
from tests.fakes.records import call_record

from wayport.core.record import CallRecord
from wayport.ledger.drain import Drain
from wayport.ledger.follower import Follower, clear_away, segments
from wayport.ledger.journal import Spool
from wayport.storage.address import Address


def _clock() -> ManualClock:
    clock = ManualClock()
    clock.advance(1_800_000_000 - clock.now_s())
    return clock


def _spool(root: Path, clock: ManualClock, segment_bytes: int = 2_000) -> Spool:
    return Spool(root / "n1-0", clock=clock, sync="os", segment_bytes=segment_bytes)


def _fill(spool: Spool, count: int) -> list[str]:
    records = [call_record() for _ in range(count)]
    for record in records:
        spool.append(record)
    return [record.call_id for record in records]


def _ids(records: list[CallRecord]) -> list[str]:
    return [record.call_id for record in records]


def _follower(tmp_path: Path, name: str = "one", **more: Any) -> Follower:
    return Follower(tmp_path / "spool", tmp_path / "followers" / f"{name}.json", clock=_clock(), **more)


async def test_it_reads_everything_once_in_order_whatever_the_drain_does(address: Address, tmp_path: Path) -> None:
    root, clock = tmp_path / "spool", _clock()
    spool = _spool(root, clock)
    follower, slow = _follower(tmp_path), _follower(tmp_path, "slow")
    async with opened(address, clock) as database:
        drain = Drain(root, database, clock=clock, followed=True)
        wanted, seen = [], []
        for _ in range(6):
            wanted += _fill(spool, 5)
            await drain.step()
            seen += _ids(follower.read(3))
            follower.acknowledge()
            clear_away(root, [follower, slow])
        while records := follower.read(4):
            seen += _ids(records)
            follower.acknowledge()
        assert seen == wanted
        spool.close()
        while await drain.step():
            pass
        clear_away(root, [follower, slow])
        assert _ids(slow.read(1_000)) == wanted
        slow.acknowledge()
        assert not slow.read(10)
        clear_away(root, [follower, slow])
        assert segments(root) == [] or {s.suffix for s in segments(root)} == {".done"}
        follower.read(10)
        follower.acknowledge()
        clear_away(root, [follower, slow])
        assert segments(root) == []


def test_what_was_not_acknowledged_comes_again(tmp_path: Path) -> None:
    spool = _spool(tmp_path / "spool", _clock())
    wanted = _fill(spool, 10)
    first = _follower(tmp_path)
    assert _ids(first.read(4)) == wanted[:4]
    first.acknowledge()
    assert _ids(first.read(4)) == wanted[4:8]
    again = _follower(tmp_path)
    assert _ids(again.read(100)) == wanted[4:]
    first.forget()
    assert _ids(first.read(100)) == wanted[4:]
    spool.close()


def test_a_new_follower_is_not_told_old_tales(tmp_path: Path) -> None:
    spool = _spool(tmp_path / "spool", _clock())
    old = call_record()
    old.ended_s -= 3600
    spool.append(old)
    (young,) = _fill(spool, 1)
    assert _ids(_follower(tmp_path).read(10)) == [young]
    spool.close()


def test_one_that_is_far_behind_passes_over_the_oldest(tmp_path: Path) -> None:
    spool = _spool(tmp_path / "spool", _clock(), segment_bytes=100_000)
    wanted = _fill(spool, 3_000)
    follower = _follower(tmp_path, max_backlog_bytes=500_000)
    passed = follower.catch_up()
    assert passed == follower.dropped > 0
    assert follower.backlog_bytes() <= 500_000
    rest = []
    while records := follower.read(500):
        rest += _ids(records)
        follower.acknowledge()
    assert rest == wanted[passed:]
    spool.close()


def test_a_position_that_cannot_be_read_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "followers").mkdir()
    (tmp_path / "followers" / "one.json").write_text("not json")
    spool = _spool(tmp_path / "spool", _clock())
    wanted = _fill(spool, 2)
    assert _ids(_follower(tmp_path).read(10)) == wanted
    spool.close()


def test_one_for_a_team_reads_its_calls_alone(tmp_path: Path) -> None:
    """Over buffers and segments, whatever the others say of the team, and with records that no buffer holds whole."""
    root = tmp_path / "spool"
    spool = _spool(root, _clock(), segment_bytes=1_500_000)
    wanted = []
    for number in range(4_000):
        record = call_record()
        record.team_id = "blue" if number % 97 == 0 else "green"
        record.error = "blue" if number % 50 == 0 else None
        if number % 1_500 == 1:
            record.error = "x" * 1_300_000
            record.team_id = "blue"
        if record.team_id == "blue":
            wanted.append(record.call_id)
        spool.append(record)
    follower = _follower(tmp_path, team_id="blue")
    seen: list[str] = []
    while (records := follower.read(10)) or follower.more:
        assert {record.team_id for record in records} <= {"blue"}
        seen += _ids(records)
        follower.acknowledge()
    assert seen == wanted
    assert follower.backlog_bytes() == 0
    assert _follower(tmp_path, "all", team_id="nobody").read(10) == []
    spool.close()


def test_what_the_reader_of_all_has_read_is_not_read_again(tmp_path: Path) -> None:
    root = tmp_path / "spool"
    spool = _spool(root, _clock(), segment_bytes=100_000)
    _fill(spool, 3)
    everything, team = _follower(tmp_path), _follower(tmp_path, "team", team_id="team-1")
    everything.read(100)
    team.pass_over(everything)
    later = _fill(spool, 2)
    assert _ids(team.read(100)) == later
    team.acknowledge()
    # It was ahead of the other one, and stays there.
    team.pass_over(everything)
    assert team.read(100) == []
    spool.close()
