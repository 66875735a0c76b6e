"""The request log: rows made of records, written once each, and the spend that they add up to.

Whatever is inserted here changes the counters in the same transaction, and only for rows that were not there before.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
from sqlalchemy import Text, bindparam, cast, column, delete, func, literal, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from wayport.core.clock import Clock
from wayport.core.record import CallRecord
from wayport.core.secret import mask
from wayport.ledger import rollups, windows
from wayport.storage.database import Database
from wayport.storage.tables import calls, open_calls, spend

_json = msgspec.json.Encoder()
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(CallRecord).decode

Scope = Literal["key", "user", "team", "team_member", "project", "organization", "end_user", "tag"]
"""who may hold spend"""


_MOST_IDS = 5_000


class Opened(NamedTuple):
    """An opening record and the process that wrote it."""

    writer: str
    record: CallRecord


class CallLog:
    """The statements that write calls, for one database."""

    def __init__(self, database: Database, *, clock: Clock) -> None:
        self._clock = clock
        self._kind = database.kind
        self._insert = _insert_sqlite if database.kind == "sqlite" else _insert_postgresql
        self._insert_open = database.insert(open_calls).on_conflict_do_nothing()
        self._add_windows = windows.adding(database)
        add = database.insert(spend)
        self._add_spend = add.on_conflict_do_update(
            index_elements=[spend.c.scope, spend.c.holder],
            set_={
                "spend_nano_usd": spend.c.spend_nano_usd + add.excluded.spend_nano_usd,
                "calls": spend.c.calls + add.excluded.calls,
                "updated_s": add.excluded.updated_s,
            },
        )

    async def add(self, connection: AsyncConnection, records: Sequence[CallRecord]) -> int:
        """Writes closing records; returns how many were new. A record seen before changes nothing."""
        if not records:
            return 0
        once = {record.call_id: record for record in reversed(records)}
        new = await self._insert(connection, {call_id: row(record) for call_id, record in once.items()})
        added = [once[call_id] for call_id in new]
        await self._charge(connection, added)
        await windows.add(connection, self._add_windows, added, now_s=self._clock.now_s())
        await rollups.add(connection, self._kind, added)
        return len(new)

    async def open(self, connection: AsyncConnection, opened: Mapping[str, Opened]) -> None:
        """Keeps opening records until their closing ones come. One whose call is already logged is passed over."""
        if not opened:
            return
        ids = list(opened)
        logged: set[str] = set()
        # The workers of a node may have died together, with more calls under way than a statement takes parameters.
        for at in range(0, len(ids), _MOST_IDS):
            logged.update(await connection.scalars(_LOGGED, {"ids": ids[at : at + _MOST_IDS]}))
        rows = [
            {"call_id": call_id, "writer": opening.writer, "record": _pack(opening.record)}
            for call_id, opening in opened.items()
            if call_id not in logged
        ]
        if rows:
            await connection.execute(self._insert_open, rows)

    async def close(self, connection: AsyncConnection, call_ids: Sequence[str]) -> None:
        """Forgets opening records whose closing ones are written."""
        for at in range(0, len(call_ids), _MOST_IDS):
            await connection.execute(_FORGET, {"ids": list(call_ids[at : at + _MOST_IDS])})

    async def abandon(self, connection: AsyncConnection, writer: str) -> int:
        """Charges what a dead writer had opened and not closed, each call at its reservation; returns how many."""
        rows = await connection.scalars(select(open_calls.c.record).where(open_calls.c.writer == writer))
        records = [abandoned(_unpack(packed)) for packed in rows]
        await self.add(connection, records)
        await connection.execute(delete(open_calls).where(open_calls.c.writer == writer))
        return len(records)

    async def any_open(self, connection: AsyncConnection) -> bool:
        return (await connection.execute(select(literal(1)).select_from(open_calls).limit(1))).first() is not None

    async def _charge(self, connection: AsyncConnection, records: Iterable[CallRecord]) -> None:
        money: dict[tuple[Scope, str], int] = defaultdict(int)
        count: dict[tuple[Scope, str], int] = defaultdict(int)
        for record in records:
            nano_usd = spent(record)
            for holder in holders(record):
                money[holder] += nano_usd
                count[holder] += 1
        if money:
            now_s = self._clock.now_s()
            # Sorted: two that change the same counters take their locks in the same order.
            rows = [
                {
                    "scope": holder[0],
                    "holder": holder[1],
                    "spend_nano_usd": money[holder],
                    "calls": count[holder],
                    "updated_s": now_s,
                }
                for holder in sorted(money)
            ]
            await connection.execute(self._add_spend, rows)


def holders(record: CallRecord) -> Iterable[tuple[Scope, str]]:
    """Everybody whose spend the call adds to."""
    named: tuple[tuple[Scope, str | None], ...] = (
        ("key", record.key_hash),
        ("user", record.user_id),
        ("team", record.team_id),
        ("team_member", f"{record.team_id}/{record.user_id}" if record.team_id and record.user_id else None),
        ("project", record.project_id),
        ("organization", record.organization_id),
        ("end_user", record.end_user),
    )
    for scope, holder in named:
        if holder:
            yield scope, holder.replace("\0", "\ufffd")
    for tag in dict.fromkeys(record.tags):
        yield "tag", tag.replace("\0", "\ufffd")


# Rows go in by the hundreds. Through SQLAlchemy's parameters each would cost 25 µs of our time; these two ways cost a
# third of that, and both tell which rows are new.

_Rows = Mapping[str, Mapping[str, Any]]
_COLUMNS = [column.name for column in calls.columns]

_new_rows = (
    func.json_to_recordset(cast(bindparam("rows", type_=Text), postgresql.JSON))
    .table_valued(*(column(known.name, known.type) for known in calls.columns))
    .render_derived(with_types=True)
)
_INSERT_POSTGRESQL = (
    postgresql.insert(calls)
    .from_select(_COLUMNS, select(*(_new_rows.c[name] for name in _COLUMNS)))
    .on_conflict_do_nothing()
    .returning(calls.c.call_id)
)


async def _insert_postgresql(connection: AsyncConnection, rows: _Rows) -> Collection[str]:
    """All rows travel as one JSON parameter, which the server takes apart."""
    new = await connection.scalars(_INSERT_POSTGRESQL, {"rows": _json.encode(list(rows.values())).decode()})
    return list(new)


_asked = func.json_each(bindparam("ids", type_=Text)).table_valued("value")
_LOGGED_SQLITE = select(calls.c.call_id).where(calls.c.call_id.in_(select(_asked.c.value)))
_INSERT_SQLITE = f"INSERT INTO {calls.name} ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608 (names of our own columns)


async def _insert_sqlite(connection: AsyncConnection, rows: _Rows) -> Collection[str]:
    """One prepared statement for all rows; the transaction holds the only write lock, so asking first is safe."""
    logged = await connection.scalars(_LOGGED_SQLITE, {"ids": _json.encode(list(rows)).decode()})
    new = rows.keys() - set(logged)
    if new:
        await connection.exec_driver_sql(_INSERT_SQLITE, [_values(rows[call_id]) for call_id in new])
    return new


def _values(new: Mapping[str, Any]) -> tuple[Any, ...]:
    *values, record = new.values()
    return (*values, bytes(record).decode())


_LOGGED = select(calls.c.call_id).where(calls.c.call_id.in_(bindparam("ids", expanding=True)))
_FORGET = delete(open_calls).where(open_calls.c.call_id.in_(bindparam("ids", expanding=True)))


def spent(record: CallRecord) -> int:
    """What the call cost us: its answer and the attempts thrown away for it."""
    return (record.cost_nano_usd or 0) + record.wasted_nano_usd


def abandoned(opening: CallRecord) -> CallRecord:
    """The closing record of a call whose process died: nobody knows what it used, so it costs what was reserved."""
    return msgspec.structs.replace(
        opening,
        opened=False,
        status="cut",
        http_status=0,
        error_class="process_died",
        error="the process that served this call ended before the call did",
        cost_nano_usd=opening.reserved_nano_usd,
        cost_parts={"reserved": opening.reserved_nano_usd},
        usage_source="estimated",
    )


def essence(record: CallRecord) -> CallRecord:
    """Who called, when and for how much: what must be counted where the whole record cannot be stored."""
    return CallRecord(
        call_id=record.call_id,
        started_s=record.started_s,
        ended_s=record.ended_s,
        node=record.node,
        worker=record.worker,
        key_hash=record.key_hash,
        status=record.status,
        http_status=record.http_status,
        error="the rest of this record could not be stored; it is in the spool's rejected.jsonl",
        cost_nano_usd=record.cost_nano_usd,
        wasted_nano_usd=record.wasted_nano_usd,
        budget_windows=record.budget_windows,
        lease_holder=record.lease_holder,
    )


def row(record: CallRecord) -> dict[str, Any]:
    """A row of `wayport_calls`. NUL characters, which PostgreSQL stores in no text, become U+FFFD."""
    blob = _json_of(record)
    if b"\\u0000" in blob:
        record = _without_nul(record)
        blob = _json_of(record)
    usage = record.usage
    return {
        "call_id": record.call_id,
        "started_s": record.started_s,
        "duration_ms": (record.ended_s - record.started_s) * 1000,
        "node": record.node,
        "operation": record.operation,
        "route": record.route,
        "key_hash": record.key_hash,
        "key_alias": record.key_alias,
        "user_id": record.user_id,
        "team_id": record.team_id,
        "organization_id": record.organization_id,
        "end_user": record.end_user,
        "session_id": record.session_id,
        "model_asked": record.model_asked,
        "model": record.model,
        "upstream_model": record.upstream_model,
        "provider": record.provider,
        "deployment": record.deployment,
        "stream": record.stream,
        "status": record.status,
        "http_status": record.http_status,
        "error_class": record.error_class,
        "attempts": len(record.attempts),
        "input_tokens": usage and usage.input_tokens,
        "output_tokens": usage and usage.output_tokens,
        "cache_read_tokens": usage and usage.cache_read_tokens,
        "cache_write_tokens": usage and usage.cache_write_tokens,
        "reasoning_tokens": usage and usage.reasoning_tokens,
        "usage_source": record.usage_source,
        "cost_nano_usd": record.cost_nano_usd,
        "wasted_nano_usd": record.wasted_nano_usd,
        "first_token_ms": record.first_token_ms,
        "upstream_id": record.upstream_id,
        "record": msgspec.Raw(blob),
    }


def _json_of(record: CallRecord) -> bytes:
    """The record as JSON, the client's metadata as the object that it is."""
    if record.metadata is None:
        return _json.encode(record)
    fields = msgspec.to_builtins(record)
    try:
        # Clients write credentials where they should not.
        fields["metadata"] = msgspec.json.decode(mask(record.metadata.decode()))
        return _json.encode(fields)
    except (ValueError, RecursionError):
        fields["metadata"] = mask(record.metadata.decode("utf-8", "replace"))
        return _json.encode(fields)


def _without_nul(record: CallRecord) -> CallRecord:
    return msgspec.convert(_clean(msgspec.to_builtins(record, builtin_types=(bytes,))), CallRecord)


def _clean(value: Any) -> Any:
    match value:
        case str():
            return value.replace("\0", "\ufffd")
        case bytes():
            return value.replace(b"\\u0000", b"\\ufffd")
        case dict():
            return {_clean(name): _clean(inner) for name, inner in value.items()}
        case list():
            return [_clean(inner) for inner in value]
        case _:
            return value
