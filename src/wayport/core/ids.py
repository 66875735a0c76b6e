"""Identifiers: UUIDv7 for calls (sortable by time), short random ones for what dialects need."""

import os
import time
from collections.abc import Callable

_HEX = 16
_POOL = 256
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
_random: list[str] = []
_last_ms = 0
_counter = 0


def uuid7() -> str:
    """A UUIDv7 (RFC 9562): 48 bits of Unix milliseconds, a counter within the millisecond, 62 random bits.

    Ids made by one process sort in the order in which they were made.
    """
    global _last_ms, _counter  # noqa: PLW0603 (monotonic within the process is the point)
    now_ms = time.time_ns() // 1_000_000
    if now_ms <= _last_ms:
        _counter += 1
        if _counter > 0xFFF:
            _last_ms += 1
            _counter = 0
    else:
        _last_ms = now_ms
        _counter = 0
    if not _random:
        # One system call for many ids.
        pool = os.urandom(8 * _POOL)
        _random.extend(pool[at : at + 8].hex() for at in range(0, len(pool), 8))
    random = _random.pop()
    high = f"{_last_ms:012x}"
    # The variant's two bits take the place of the first digit's upper two.
    return f"{high[:8]}-{high[8:]}-7{_counter:03x}-{_VARIANT[random[0]]}{random[1:4]}-{random[4:]}"


def random_hex(length: int) -> str:
    return os.urandom((length + 1) // 2).hex()[:length]


# A forked process must not hand out the same ids.
os.register_at_fork(after_in_child=_random.clear)

NewId = Callable[[], str]
