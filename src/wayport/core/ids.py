"""Identifiers: UUIDv7 for calls (sortable by time), short random ones for what dialects need."""

import os
import time
from collections.abc import Callable

_POOL = 256
_MOST_IN_A_MS = 0x3FF
_COUNTS = tuple(f"-7{count:03x}-" for count in range(_MOST_IN_A_MS + 1))
"""the version and the counter"""
_VARIANT = bytes(0x80 | byte & 0x3F for byte in range(256))
_LEADING = 1 << 48
"""so that milliseconds have twelve digits behind a first one"""
_MS_NS = 1_000_000
_clock_sequences: list[str] = []
_nodes: list[str] = []
"""random digits of ids to come: four, of which the first bits are the variant's, and twelve"""
_until_ns = 0
"""where the millisecond of the last id ends"""
_counter = 0
_head = ""
"""the time of the last id, in the digits with which it begins"""


def uuid7() -> str:
    """A UUIDv7 (RFC 9562): 48 bits of Unix milliseconds, a counter within the millisecond, 62 random bits.

    Ids made by one process sort in the order in which they were made.
    """
    global _until_ns, _counter, _head  # noqa: PLW0603 (monotonic within the process is the point)
    now_ns = time.time_ns()
    if now_ns < _until_ns and _counter < _MOST_IN_A_MS:
        _counter += 1
    else:
        now_ms = max(now_ns, _until_ns) // _MS_NS
        _until_ns = (now_ms + 1) * _MS_NS
        _counter = 0
        digits = hex(_LEADING + now_ms)
        _head = f"{digits[3:11]}-{digits[11:]}"
    if not _nodes:
        _draw()
    return f"{_head}{_COUNTS[_counter]}{_clock_sequences.pop()}-{_nodes.pop()}"


def _draw() -> None:
    """One system call for many ids."""
    chance = os.urandom(8 * _POOL)
    pairs = bytearray(chance[: 2 * _POOL])
    pairs[::2] = pairs[::2].translate(_VARIANT)
    _clock_sequences[:] = pairs.hex(",", 2).split(",")
    _nodes[:] = chance[2 * _POOL :].hex(",", 6).split(",")


def random_hex(length: int) -> str:
    return os.urandom((length + 1) // 2).hex()[:length]


# A forked process must not hand out the same ids.
os.register_at_fork(after_in_child=_nodes.clear)

NewId = Callable[[], str]
