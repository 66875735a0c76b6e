"""The ids under which a call stands in a trace (W3C Trace Context). Made of the call's own id, so whoever works them out
gets the same: the span that is told upstream is the one that is exported later.
"""

import hashlib
import re

_HEX = frozenset("0123456789abcdef")
_PARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}")
_STATE_BYTES = 512


def parent_of(header: bytes) -> tuple[str, str] | None:
    """Trace and span of a `traceparent`; None if it is none."""
    match = _PARENT.fullmatch(header)
    return (match[1].decode(), match[2].decode()) if match is not None else None


def is_state(header: bytes) -> bool:
    """Whether a `tracestate` may be handed on: of bearable length, and printable."""
    return 0 < len(header) <= _STATE_BYTES and header.isascii() and header.decode("ascii").isprintable()


def trace_of(stated: str | None, call_id: str) -> str:
    """32 hex digits: the client's trace where it sent one that is of that form."""
    found = (stated or call_id).replace("-", "").lower()
    if len(found) == 32 and _HEX.issuperset(found) and found.strip("0"):
        return found
    return hashlib.blake2b(found.encode(), digest_size=16).hexdigest()


def span_of_call(call_id: str) -> str:
    return call_id.replace("-", "")[-16:]


def span_of_attempt(call_id: str, number: int) -> str:
    """`number`: of the attempt within its call, from 0."""
    return hashlib.blake2b(f"{call_id}/{number}".encode(), digest_size=8).hexdigest()


def in_share(trace: str, share: float) -> bool:
    """By the trace's id, so that all of a trace is told or nothing; and every worker decides alike."""
    return share >= 1 or int(trace[-14:], 16) / 16**14 < share
