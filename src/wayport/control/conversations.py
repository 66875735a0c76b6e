"""Turns that are kept for `previous_response_id` and references to items. Control process only.

What must stay true: nothing that was said can be read in the database without the salt key; what one tenant stored does
not exist for another; a turn lives as long as one that goes on from it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace
from sqlalchemy import CTE, ColumnElement, bindparam, case, delete, func, literal, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from wayport.core.clock import Clock
from wayport.core.errors import BadRequest, Unavailable
from wayport.core.ids import NewId, uuid7
from wayport.core.turn import TOO_LARGE, ConversationChange, FoundItems, KeptConversation, KeptTurn
from wayport.storage.cipher import Cipher, NotReadable
from wayport.storage.database import Database
from wayport.storage.tables import conversation_items as items
from wayport.storage.tables import conversations as turns

log = logging.getLogger("wayport.control")

_DAY_S = 86_400.0
_EXPIRY_INTERVAL_S = 600.0
_BATCH = 500
_LONGEST_CHAIN = 5_000
MOST_BYTES = 64 * 1024 * 1024
"""of the turns that are read at once: they go to a worker in one message, with which its link must not break"""
_ID_CHARS = 256
_PATIENCE_S = 1.5
"""shorter than a worker waits for its answer"""
_FRESH_S = 10.0

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(KeptTurn).decode


class _Said(Struct):
    output: Raw = Raw(b"[]")


_said = msgspec.json.Decoder(_Said).decode
_conversation = msgspec.json.Decoder(KeptConversation).decode


def _chain_of(*columns: ColumnElement[Any]) -> CTE:
    """The turn `last` of the tenant `owner`, and those before it."""
    # SQLAlchemy keeps the names of columns for values: the parameters of conditions have others.
    first = select(turns.c.response_id, turns.c.previous_id, literal(0).label("depth"), *columns)
    own = turns.c.tenant == bindparam("owner")
    chain = first.where(own, turns.c.response_id == bindparam("last")).cte("chain", recursive=True)
    before = select(turns.c.response_id, turns.c.previous_id, chain.c.depth + 1, *columns)
    return chain.union_all(
        before.where(own, turns.c.response_id == chain.c.previous_id, chain.c.depth < _LONGEST_CHAIN)
    )


def _bounded(sealed: ColumnElement[bytes]) -> tuple[ColumnElement[int], ColumnElement[bytes | None]]:
    """How many bytes the rows have together, and what stands in each of them unless that is more than `most`."""
    together = func.sum(func.length(sealed)).over()
    return together.label("size"), case((together <= bindparam("most"), sealed)).label("sealed")


_chain = _chain_of(turns.c.sealed)
_CHAIN = select(_chain.c.response_id, *_bounded(_chain.c.sealed)).order_by(_chain.c.depth.desc())
_sizes = _chain_of(func.length(turns.c.sealed).label("many"))
_CHAIN_BYTES = select(func.coalesce(func.sum(_sizes.c.many), 0))
_KEEP_LONGER = (
    update(turns)
    .where(
        turns.c.tenant == bindparam("owner"),
        turns.c.response_id.in_(select(_chain_of().c.response_id)),
        # A day more or less is not worth writing a long conversation anew with each of its turns.
        turns.c.expires_s < bindparam("until_s") - _DAY_S,
    )
    .values(expires_s=bindparam("until_s"))
)

_FIND_ITEMS = select(items.c.item_id, items.c.deployment, items.c.response_id).where(
    items.c.tenant == bindparam("tenant"), items.c.item_id.in_(bindparam("item_ids", expanding=True))
)
_FIND_TURNS = select(turns.c.response_id, *_bounded(turns.c.sealed)).where(
    turns.c.tenant == bindparam("tenant"), turns.c.response_id.in_(bindparam("response_ids", expanding=True))
)
_HEAD = (
    select(turns.c.sealed)
    .where(turns.c.tenant == bindparam("tenant"), turns.c.response_id == bindparam("response_id"))
    # Answers that end at the same moment are added one after the other.
    .with_for_update()
)
_FORGET = delete(turns).where(turns.c.tenant == bindparam("tenant"), turns.c.response_id == bindparam("response_id"))
_FORGET_ITEMS = delete(items).where(
    items.c.tenant == bindparam("tenant"), items.c.response_id == bindparam("response_id")
)
_EXPIRED = select(turns.c.tenant, turns.c.response_id).where(turns.c.expires_s <= bindparam("now_s")).limit(_BATCH)


def storable(name: str) -> bool:
    """Whether an id that somebody else chose can be one of ours to look up by."""
    return 0 < len(name) <= _ID_CHARS and name.isprintable()


class Conversations:
    """Keeps turns in the database. `run()` deletes what has expired."""

    def __init__(
        self,
        database: Database,
        cipher: Cipher,
        *,
        clock: Clock,
        keep_days: float,
        new_id: NewId = uuid7,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._most_bytes = most_bytes
        self._database = database
        self._cipher = cipher
        self._clock = clock
        self._keep_s = keep_days * _DAY_S
        self._new_id = new_id
        self._sleep = sleep
        added = database.insert(turns)
        self._put = added.on_conflict_do_update(
            index_elements=[turns.c.tenant, turns.c.response_id],
            set_={name: added.excluded[name] for name in ("previous_id", "sealed", "expires_s")},
        )
        self._place_said = _placing(database.insert(items), keeps=True)
        self._place_given = _placing(database.insert(items), keeps=False)

    async def _ready(self) -> None:
        """A database that has only just begun to be waited for (at start, after a restart of its own) is worth a moment."""
        state = self._database.state
        if state.status == "waiting" and self._clock.now_s() - state.since_s < _FRESH_S:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE_S):
                    await self._database.connected()

    async def put(
        self,
        tenant: str,
        turn: KeptTurn,
        *,
        said: Sequence[str],
        given: Sequence[str],
        conversation: str | None = None,
    ) -> None:
        own = {"tenant": tenant, "response_id": turn.response_id}
        names = list(filter(storable, dict.fromkeys(said)))
        new = [{**own, "item_id": name, "deployment": turn.deployment} for name in names]
        names = list(filter(storable, dict.fromkeys(given).keys() - set(said)))
        old = [{**own, "item_id": name, "deployment": None} for name in names]
        await self._ready()
        async with self._database.write() as connection:
            await self._write(connection, tenant, turn)
            if new:
                await connection.execute(self._place_said, new)
            if old:
                await connection.execute(self._place_given, old)
            if conversation is not None:
                # A copy: the answer can be deleted by its id, and the conversation goes on.
                said_too = msgspec.json.encode(_said(turn.response))
                await self._add(connection, tenant, conversation, given=turn.input, response=said_too)

    async def change(self, tenant: str, conversation: str, change: ConversationChange) -> bool:
        """Raises `BadRequest` for items with which the conversation could no longer be read."""
        if not storable(conversation):
            return False
        await self._ready()
        async with self._database.write() as connection:
            if change.items is not None:
                asked = {"owner": tenant, "last": conversation}
                held = (await connection.execute(_CHAIN_BYTES, asked)).scalar_one()
                self._check_size(int(held) + len(change.items), "items")
                return await self._add(connection, tenant, conversation, given=change.items, response=b"{}")
            head = await self._head(connection, tenant, conversation)
            if head is None:
                return False
            known = _conversation(head.response)
            if change.metadata is not None:
                known = replace(known, metadata=Raw(change.metadata))
            if change.without:
                known = replace(known, without=tuple(dict.fromkeys((*known.without, *change.without))))
            await self._write(connection, tenant, replace(head, response=msgspec.json.encode(known)))
        return True

    async def _add(
        self, connection: AsyncConnection, tenant: str, conversation: str, *, given: bytes, response: bytes
    ) -> bool:
        head = await self._head(connection, tenant, conversation)
        if head is None:
            return False
        added = KeptTurn(
            response_id=f"{conversation}/{self._new_id()}",
            previous_id=head.previous_id,
            input=given,
            response=response,
        )
        await self._write(connection, tenant, added)
        await self._write(connection, tenant, replace(head, previous_id=added.response_id))
        return True

    async def _head(self, connection: AsyncConnection, tenant: str, conversation: str) -> KeptTurn | None:
        own = {"tenant": tenant, "response_id": conversation}
        row = (await connection.execute(_HEAD, own)).first()
        return self._read(tenant, conversation, row.sealed) if row is not None else None

    async def _write(self, connection: AsyncConnection, tenant: str, turn: KeptTurn) -> None:
        now_s = self._clock.now_s()
        until_s = now_s + self._keep_s
        await connection.execute(
            self._put,
            {
                "tenant": tenant,
                "response_id": turn.response_id,
                "previous_id": turn.previous_id,
                "sealed": self._cipher.seal(_encode(turn), _place(tenant, turn.response_id)),
                "created_s": now_s,
                "expires_s": until_s,
            },
        )
        if turn.previous_id is not None:
            await connection.execute(_KEEP_LONGER, {"owner": tenant, "last": turn.previous_id, "until_s": until_s})

    async def chain(self, tenant: str, response_id: str) -> tuple[KeptTurn, ...]:
        """Raises `BadRequest` for one that is too large to be told to anybody."""
        if not storable(response_id):
            return ()
        await self._ready()
        async with self._database.read() as connection:
            asked = {"owner": tenant, "last": response_id, "most": self._most_bytes}
            rows = (await connection.execute(_CHAIN, asked)).all()
        if rows:
            self._check_size(int(rows[0].size), None)
        found = [self._read(tenant, row.response_id, row.sealed) for row in rows]
        whole = [turn for turn in found if turn is not None]
        # Half a conversation is worse than none: the model would answer as if the rest had never been said.
        if len(whole) < len(rows) or not whole or whole[0].previous_id is not None:
            return ()
        return tuple(whole)

    async def items(self, tenant: str, item_ids: Sequence[str]) -> FoundItems:
        wanted = [name for name in dict.fromkeys(item_ids) if storable(name)]
        if not wanted:
            return FoundItems()
        await self._ready()
        async with self._database.read() as connection:
            places = (await connection.execute(_FIND_ITEMS, {"tenant": tenant, "item_ids": wanted})).all()
            wanted_turns = list({row.response_id for row in places})
            asked = {"tenant": tenant, "response_ids": wanted_turns, "most": self._most_bytes}
            rows = (await connection.execute(_FIND_TURNS, asked)).all() if places else []
        if rows:
            self._check_size(int(rows[0].size), "input")
        found = [self._read(tenant, row.response_id, row.sealed) for row in rows]
        return FoundItems(
            turns=tuple(turn for turn in found if turn is not None),
            places={row.item_id: row.deployment for row in places},
        )

    async def forget(self, tenant: str, response_id: str) -> bool:
        if not storable(response_id):
            return False
        asked = {"tenant": tenant, "response_id": response_id}
        await self._ready()
        async with self._database.write() as connection:
            gone = (await connection.execute(_FORGET, asked)).rowcount
            await connection.execute(_FORGET_ITEMS, asked)
        return gone > 0

    async def expire(self) -> int:
        """Deletes one batch of what has been kept long enough; how many turns there were. Raises `Unavailable`."""
        async with self._database.write() as connection:
            rows = [tuple(row) for row in await connection.execute(_EXPIRED, {"now_s": self._clock.now_s()})]
            if rows:
                await connection.execute(delete(items).where(tuple_(items.c.tenant, items.c.response_id).in_(rows)))
                await connection.execute(delete(turns).where(tuple_(turns.c.tenant, turns.c.response_id).in_(rows)))
        return len(rows)

    async def run(self) -> None:
        """Deletes what has expired, again and again. Ends only by cancellation."""
        while True:
            try:
                await self._database.connected()
                gone = await self.expire()
            except Unavailable:
                gone = 0
            except Exception:  # border: a background job
                log.exception("expired conversations are not deleted")
                gone = 0
            await self._sleep(0 if gone >= _BATCH else _EXPIRY_INTERVAL_S)

    def _check_size(self, size: int, param: str | None) -> None:
        if size > self._most_bytes:
            raise BadRequest(
                f"What is kept of this conversation has {size / 2**20:.0f} MB with this; at most "
                f"{self._most_bytes / 2**20:.0f} MB can be gone on from: begin a new one.",
                param=param,
                code=TOO_LARGE,
            )

    def _read(self, tenant: str, response_id: str, sealed: bytes) -> KeptTurn | None:
        try:
            return _decode(self._cipher.open(sealed, _place(tenant, response_id)))
        except (NotReadable, msgspec.DecodeError) as error:
            log.warning(
                "a kept turn cannot be read; processes on one database need one salt key",
                extra={"response_id": response_id, "error": str(error)},
            )
            return None


def _place(tenant: str, response_id: str) -> str:
    return f"{tenant}\n{response_id}"


def _placing(insert: postgresql.Insert | sqlite.Insert, *, keeps: bool) -> postgresql.Insert | sqlite.Insert:
    """An item is found in the latest turn that has it. `keeps`: it is said anew who else keeps it."""
    changed = {"response_id": insert.excluded.response_id}
    if keeps:
        changed["deployment"] = insert.excluded.deployment
    return insert.on_conflict_do_update(index_elements=[items.c.tenant, items.c.item_id], set_=changed)
