"""Identifiers: UUIDv7 for calls (sortable by time), short random ones for what dialects need."""

import os
import time
from collections.abc import Callable

_POOL = 256
_MOST_IN_A_MS = 0xFFF
_tails: list[str] = []
"""random digits of ids to come, sixteen each"""
_last_ms = 0
_counter = 0
_head = ""
"""the time of the last id, and what follows it in all ids"""


def uuid7() -> str:
    """A UUIDv7 (RFC 9562): 48 bits of Unix milliseconds, a counter within the millisecond, 60 random bits.

    Ids made by one process sort in the order in which they were made.
    """
    global _last_ms, _counter, _head  # noqa: PLW0603 (monotonic within the process is the point)
    now_ms = time.time_ns() // 1_000_000
    if now_ms <= _last_ms and _counter < _MOST_IN_A_MS:
        _counter += 1
    else:
        _last_ms = now_ms if now_ms > _last_ms else _last_ms + 1
        _counter = 0
        high = f"{_last_ms:012x}"
        _head = f"{high[:8]}-{high[8:]}-7"
    if not _tails:
        # One system call for many ids.
        _tails.extend(os.urandom(8 * _POOL).hex(",", 8).split(","))
    tail = _tails.pop()
    # The first digit behind the counter is the variant's.
    return f"{_head}{_counter:03x}-8{tail[1:4]}-{tail[4:]}"


def random_hex(length: int) -> str:
    return os.urandom((length + 1) // 2).hex()[:length]


# A forked process must not hand out the same ids.
os.register_at_fork(after_in_child=_tails.clear)

NewId = Callable[[], str]
