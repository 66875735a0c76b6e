"""Ids of calls: UUIDs by the standard, in the order in which they were made."""

import os
import time
from uuid import UUID

import pytest

from wayport.core import ids


def test_an_id_is_a_uuid_of_version_7_that_tells_its_time() -> None:
    before_ms = time.time_ns() // 1_000_000
    for _ in range(1_000):
        made = UUID(ids.uuid7())
        assert made.version == 7
        assert made.variant == "specified in RFC 4122"
        assert before_ms <= made.int >> 80 <= time.time_ns() // 1_000_000 + 1


def test_ids_sort_in_the_order_in_which_they_were_made_and_never_repeat() -> None:
    made = [ids.uuid7() for _ in range(20_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


@pytest.mark.parametrize("moments_ms", [[5000, 4000, 4000, 5001], [5000] * 5000])
def test_a_clock_that_stands_still_or_goes_back_makes_no_disorder(
    moments_ms: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ids, "_until_ns", 0)
    moments = iter(moments_ms)
    monkeypatch.setattr(time, "time_ns", lambda: next(moments) * 1_000_000)
    made = [ids.uuid7() for _ in moments_ms]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_a_forked_process_hands_out_other_ids() -> None:
    ids.uuid7()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, ids.uuid7()[-17:].encode())
        os._exit(0)
    os.waitpid(child, 0)
    ours = {ids.uuid7()[-17:] for _ in range(300)}
    assert os.read(reading, 100).decode() not in ours
    os.close(reading)
    os.close(writing)


def test_random_digits_are_as_many_as_asked_for() -> None:
    assert [len(ids.random_hex(length)) for length in (0, 1, 7, 32)] == [0, 1, 7, 32]
