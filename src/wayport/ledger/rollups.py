"""Sums of calls by quarter-hour of UTC: what reports are made of, in any time zone of whole quarter-hours.

Written in the transaction of their calls and kept when these are deleted, so a report never changes by retention.
"""

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from wayport.core.record import CallRecord
from wayport.storage.address import Kind
from wayport.storage.tables import rollups

QUARTER_S = 900
NAMES = (
    "kind",
    "holder",
    "key_hash",
    "user_id",
    "team_id",
    "organization_id",
    "operation",
    "model",
    "upstream_model",
    "provider",
)
SUMS = (
    "calls",
    "failures",
    "unpriced",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "spend_nano_usd",
    "duration_ms",
)

_COLUMNS = ("quarter", "series", *NAMES, *SUMS)
_json = msgspec.json.Encoder()
_add = f" ON CONFLICT (quarter, series) DO UPDATE SET {', '.join(f'{n} = {rollups.name}.{n} + excluded.{n}' for n in SUMS)}"
_into = f"INSERT INTO {rollups.name} ({', '.join(_COLUMNS)}) "
_types = ", ".join(
    f"{name} {'text' if name in NAMES or name == 'series' else 'double precision' if name == 'duration_ms' else 'bigint'}"
    for name in _COLUMNS
)
_SQLITE = f"{_into}VALUES ({', '.join('?' * len(_COLUMNS))}){_add}"
_POSTGRESQL = text(
    # Sorted: two that change the same sums take their locks in the same order.
    f"{_into}SELECT * FROM json_to_recordset(CAST(:rows AS json)) AS new({_types}) ORDER BY quarter, series{_add}"  # noqa: S608 (names of our own columns)
)

Names = tuple[str, ...]


def summed(records: Iterable[CallRecord]) -> dict[tuple[int, Names], list[float]]:
    """By quarter and names: the sums of these records."""
    found: dict[tuple[int, Names], list[float]] = {}
    for record in records:
        sums = _sums(record)
        quarter = int(record.started_s // QUARTER_S)
        for names in _names(record):
            known = found.get((quarter, names))
            if known is None:
                found[quarter, names] = list(sums)
            else:
                for index, value in enumerate(sums):
                    known[index] += value
    return found


async def add(connection: AsyncConnection, kind: Kind, records: Iterable[CallRecord]) -> None:
    """Adds new records to the sums of their quarters."""
    rows = [(quarter, series(names), *names, *sums) for (quarter, names), sums in sorted(summed(records).items())]
    if not rows:
        return
    if kind == "sqlite":
        await connection.exec_driver_sql(_SQLITE, rows)
        return
    as_objects: list[Mapping[str, Any]] = [dict(zip(_COLUMNS, row, strict=True)) for row in rows]
    await connection.execute(_POSTGRESQL, {"rows": _json.encode(as_objects).decode()})


def series(names: Names) -> str:
    return blake2b("\x1f".join(names).encode("utf-8", "replace"), digest_size=16).hexdigest()


def _names(record: CallRecord) -> Iterable[Names]:
    model = record.model or record.model_asked
    who = (record.key_hash or "", record.user_id or "", record.team_id or "", record.organization_id or "")
    what = (record.operation, model, record.upstream_model, record.provider)
    yield tuple(map(_storable, ("all", "", *who, *what)))
    for tag in dict.fromkeys(record.tags):
        yield tuple(map(_storable, ("tag", tag, *who, *what)))
    if record.end_user:
        yield tuple(map(_storable, ("end_user", record.end_user, *who, *what)))


def _storable(value: str) -> str:
    return value.replace("\0", "\ufffd") if "\0" in value else value


def _sums(record: CallRecord) -> tuple[float, ...]:
    usage = record.usage
    failed = record.status != "success"
    return (
        1,
        1 if failed else 0,
        1 if record.cost_nano_usd is None and usage is not None else 0,
        usage.input_tokens if usage else 0,
        usage.output_tokens if usage else 0,
        usage.cache_read_tokens if usage else 0,
        usage.cache_write_tokens if usage else 0,
        usage.reasoning_tokens if usage else 0,
        (record.cost_nano_usd or 0) + record.wasted_nano_usd,
        (record.ended_s - record.started_s) * 1000,
    )
