"""The shared ledger of leases in PostgreSQL, for several nodes without Redis: the row of a window is locked while it changes."""

import asyncio
from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from wayport.core.clock import Clock
from wayport.core.errors import Unavailable
from wayport.core.lease import Claim, Grant
from wayport.storage.counters import share
from wayport.storage.database import Database
from wayport.storage.nodes import Nodes
from wayport.storage.shared import Restate
from wayport.storage.tables import counters, leases

_SLOT_S = 30.0
_TICK_S = 1.0
_TIMEOUT_S = 2.0

# The database's clock: nodes may disagree on the time.
_NOW = func.extract("epoch", func.clock_timestamp())


class PostgresCounters:
    def __init__(self, database: Database, *, node: str, clock: Clock) -> None:
        self._database = database
        self._node = node
        self._nodes = Nodes(database, node=node, clock=clock)

    @property
    def others(self) -> list[str]:
        """Nodes that live, as far as is known."""
        return self._nodes.others

    async def claim(self, holder: str, claim: Claim, *, spent: Mapping[str, int]) -> Grant:
        try:
            async with asyncio.timeout(_TIMEOUT_S), self._database.write() as connection:
                return await self._claim(connection, holder, claim, spent)
        except TimeoutError:
            raise Unavailable("the database does not answer") from None

    async def held(self) -> list[tuple[str, int]]:
        async with self._database.read() as connection:
            mine = select(leases.c.counter, leases.c.window_s).where(leases.c.node == self._node, leases.c.held != 0)
            rows = await connection.execute(mine)
            return [(row.counter, row.window_s) for row in rows if "|usd/" in row.counter]

    async def run(self, restate: Restate) -> None:
        del restate  # what PostgreSQL has committed it does not forget
        while True:
            await self._nodes.say()
            await asyncio.sleep(_TICK_S)

    async def _claim(self, connection: AsyncConnection, holder: str, claim: Claim, spent: Mapping[str, int]) -> Grant:
        rate = claim.kind in {"requests", "tokens"}
        key = {"counter": claim.counter, "window_s": claim.window if claim.kind == "money" else 0}
        row = await self._lock(connection, key)
        now_s = float(row.now)
        of_window = (leases.c.counter == key["counter"], leases.c.window_s == key["window_s"])
        number, carried, ends_s = row.number, row.carried, row.ends_s
        if rate and (ends_s is None or now_s >= ends_s):
            if claim.kind == "tokens" and ends_s is not None:
                total = (await connection.execute(select(func.sum(leases.c.held)).where(*of_window))).scalar() or 0
                missed = int((now_s - ends_s) // max(1, claim.per_s))
                carried = max(0, int(total) + carried - claim.limit * (1 + missed))
            number, ends_s = max(number + 1, int(now_s * 1000)), now_s + claim.per_s
            await connection.execute(delete(leases).where(*of_window))
            await connection.execute(
                update(counters)
                .where(counters.c.counter == key["counter"], counters.c.window_s == key["window_s"])
                .values(number=number, ends_s=ends_s, carried=carried)
            )
        if claim.kind == "slots":
            await connection.execute(delete(leases).where(*of_window, leases.c.until_s < now_s))
        for name, amount in sorted(spent.items()):
            seed = insert(leases).values(**key, node=name, held=amount, busy=0, free=0)
            await connection.execute(seed.on_conflict_do_nothing())
        parts = {part.node: part for part in await connection.execute(select(leases).where(*of_window))}
        if not rate or claim.window == number:
            own = (claim.held, claim.busy, claim.free)
        else:
            before = parts.get(holder)
            own = (before.held, before.busy, before.free) if before is not None else (0, 0, 0)
        others = [part for name, part in parts.items() if name != holder]
        total = carried + own[0] + sum(part.held for part in others)
        elsewhere = sum(part.busy + part.free for part in others)
        left = claim.limit - total
        holders = 1 + len(self._nodes.others)
        granted = share(left, claim.limit, holders, claim.need, claim.want) if claim.need > 0 else 0
        values = {
            "held": own[0] + granted, "busy": own[1], "free": own[2] + granted,
            "until_s": now_s + _SLOT_S if claim.kind == "slots" else None,
        }  # fmt: skip
        put = insert(leases).values(**key, node=holder, **values)
        await connection.execute(put.on_conflict_do_update(index_elements=list(leases.primary_key), set_=values))
        return Grant(
            counter=claim.counter,
            window=number,
            ends_in_s=max(0.0, ends_s - now_s) if rate else None,
            granted=granted,
            left=max(0, left - granted),
            settled=total - elsewhere - own[1] - own[2],
            busy_elsewhere=elsewhere,
        )

    async def _lock(self, connection: AsyncConnection, key: Mapping[str, Any]) -> Any:
        """The window's row, made if there is none, ours until the transaction ends."""
        wanted = (
            select(counters, _NOW.label("now"))
            .where(counters.c.counter == key["counter"], counters.c.window_s == key["window_s"])
            .with_for_update()
        )
        row = (await connection.execute(wanted)).first()
        if row is None:
            made = insert(counters).values(**key, number=0, carried=0)
            await connection.execute(made.on_conflict_do_nothing())
            row = (await connection.execute(wanted)).one()
        return row
