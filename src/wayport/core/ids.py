"""Identifiers: UUIDv7 for calls (sortable by time), short random ones for what dialects need."""

import os
import time
from collections.abc import Callable, Iterator

_POOL = 256
_MOST_IN_A_MS = 0xFFF
_RANDOM = (1 << 62) - 1
_VARIANT = 1 << 63
_tails: list[str] = []
"""the last 17 digits of ids to come: the variant's two bits and 62 random ones"""
_last_ms = 0
_counter = 0
_head = ""
"""the time of the last id, and what follows it in all ids"""


def uuid7() -> str:
    """A UUIDv7 (RFC 9562): 48 bits of Unix milliseconds, a counter within the millisecond, 62 random bits.

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
        _tails.extend(_random_tails())
    return f"{_head}{_counter:03x}-{_tails.pop()}"


def _random_tails() -> Iterator[str]:
    # One system call for many ids.
    pool = os.urandom(8 * _POOL)
    for at in range(0, len(pool), 8):
        digits = f"{int.from_bytes(pool[at : at + 8], 'big') & _RANDOM | _VARIANT:016x}"
        yield f"{digits[:4]}-{digits[4:]}"


def random_hex(length: int) -> str:
    return os.urandom((length + 1) // 2).hex()[:length]


# A forked process must not hand out the same ids.
os.register_at_fork(after_in_child=_tails.clear)

NewId = Callable[[], str]
