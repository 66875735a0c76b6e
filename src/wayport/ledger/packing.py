"""Records as MessagePack, put together of what many calls share, which is packed once, and what is a call's own.

They are read as one `CallRecord`: what the parts are called is what the record's fields are called.
"""

import struct
from copy import copy

import msgspec
from msgspec import Struct

from wayport.core.record import AttemptRecord, CallRecord, Decision
from wayport.core.usage import Usage, UsageSource

_encode = msgspec.msgpack.Encoder().encode
_SMALL = 0x80
"""MessagePack's mark of a map of up to 15 entries: its only byte of head"""
_SMALL_END = 0x8F
_ID_BYTES = 36
_RESERVED = b"\xb1reserved_nano_usd\xcf"
_pack_opening = struct.Struct(">36s11sd9sd19sQ").pack
_OWN = frozenset({"call_id", "started_s", "ended_s"})
"""what no two records share"""


class Own(Struct, omit_defaults=True, gc=False):
    """What is its own of the record of a call that went well. The names and defaults are those of `CallRecord`."""

    call_id: str
    started_s: float
    ended_s: float
    agent: str = ""
    client_address: str = ""
    end_user: str | None = None
    tags: list[str] = []
    session_id: str | None = None
    trace_id: str | None = None
    parent_span_id: str | None = None
    metadata: bytes | None = None
    upstream_id: str | None = None
    stream: bool = False
    attempts: list[AttemptRecord] = []
    routing: list[Decision] = []
    finish: str | None = None
    usage: Usage | None = None
    usage_source: UsageSource = "none"
    cost_nano_usd: int | None = None
    cost_parts: dict[str, int] = {}
    service_tier: str | None = None
    first_token_ms: float | None = None
    overhead_ms: float = 0.0
    dropped_params: list[str] = []
    request_bytes: int = 0
    reserved_nano_usd: int = 0
    budget_windows: tuple[str, ...] = ()
    lease_holder: str = ""


class Shared(Struct, frozen=True):
    """Entries of a map without its head."""

    count: int
    entries: bytes
    beginnings: dict[bytes, bytes]
    """by the head of a map of further entries, which is three bytes, that of both maps and these entries"""


def shared(record: CallRecord) -> Shared:
    """What is set in a record that stands for many."""
    fields = {name: value for name, value in msgspec.to_builtins(record).items() if name not in _OWN}
    # A map of at least 16 has a head of three bytes, a smaller one of one.
    return Shared(len(fields), _encode(fields)[3 if len(fields) > _SMALL_END - _SMALL else 1 :], {})


def joined(common: Shared, own: Struct) -> bytes:
    """Both as one record."""
    packed = _encode(own)
    head = packed[:3]
    beginning = common.beginnings.get(head)
    if beginning is None:
        if (small := head[0]) <= _SMALL_END:
            return _beginning(common, small - _SMALL) + packed[1:]
        beginning = common.beginnings[head] = _beginning(common, int.from_bytes(head[1:], "big"))
    return beginning + packed[3:]


def _beginning(common: Shared, further: int) -> bytes:
    return b"\xde%b%b" % ((common.count + further).to_bytes(2, "big"), common.entries)


def unpacked(record: CallRecord, own: Struct) -> CallRecord:
    """The same as a record, of which `record` is what many share."""
    whole = copy(record)
    for name in own.__struct_fields__:
        setattr(whole, name, getattr(own, name))
    return whole


class Opening(Struct, omit_defaults=True, gc=False):
    """What is its own of the record of a call that begins."""

    call_id: str
    started_s: float
    ended_s: float
    reserved_nano_usd: int = 0
    end_user: str | None = None
    tags: list[str] = []


def opening_head(common: Shared) -> bytes:
    """What the records of many calls that begin have in common, where four entries are their own."""
    return _beginning(common, 4) + b"\xa7call_id\xd9\x24"


def opening(head: bytes, call_id: str, at_s: float, reserved_nano_usd: int) -> bytes | None:
    """The record of a call that begins: the same as `joined` with an `Opening`, for a fourth of the time. None: not of these."""
    try:
        packed_id = call_id.encode()
        if len(packed_id) != _ID_BYTES:
            return None
        return head + _pack_opening(
            packed_id, b"\xa9started_s\xcb", at_s, b"\xa7ended_s\xcb", at_s, _RESERVED, reserved_nano_usd
        )
    except (struct.error, ValueError):
        # More than has room there, or what no record can hold.
        return None
