"""What has been spent in each window of each budget, by each process: the truth that leases are settled against.

Written in the transaction of the calls themselves, so that a call counts once, whatever dies in between.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import bindparam, delete, func, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from wayport.core.clock import Clock
from wayport.core.record import CallRecord
from wayport.storage.database import Database
from wayport.storage.tables import budget_spend, spend

_OTHER_NODE = "node "
_BEFORE = "before"

_OF_WINDOW = select(budget_spend.c.node, budget_spend.c.writer, budget_spend.c.spend_nano_usd).where(
    budget_spend.c.counter == bindparam("counter"), budget_spend.c.window_s == bindparam("window_s")
)
_OF_WRITER = select(budget_spend.c.spend_nano_usd).where(
    budget_spend.c.counter == bindparam("counter"),
    budget_spend.c.window_s == bindparam("window_s"),
    budget_spend.c.writer == bindparam("writer"),
)
_IN_ALL = select(spend.c.spend_nano_usd).where(
    spend.c.scope == bindparam("scope"), spend.c.holder == bindparam("holder")
)


async def add(
    connection: AsyncConnection, database_insert: Any, records: Sequence[CallRecord], *, now_s: float
) -> None:
    """Counts calls in the windows that they were admitted into. `database_insert`: an INSERT that knows ON CONFLICT."""
    money: dict[tuple[str, int, str, str], int] = defaultdict(int)
    for record in records:
        cost = (record.cost_nano_usd or 0) + record.wasted_nano_usd
        for named in record.budget_windows:
            counter, _, window_s = named.rpartition("@")
            money[counter.replace("\0", "\ufffd"), int(window_s), record.node, record.lease_holder] += cost
        for named, nano_usd in record.target_windows.items():
            counter, _, window_s = named.rpartition("@")
            money[counter.replace("\0", "\ufffd"), int(window_s), record.node, record.lease_holder] += nano_usd
    if not money:
        return
    # Sorted: two that change the same rows take their locks in the same order.
    rows = [
        {
            "counter": counter,
            "window_s": window_s,
            "node": node,
            "writer": writer,
            "spend_nano_usd": money[counter, window_s, node, writer],
            "updated_s": now_s,
        }
        for counter, window_s, node, writer in sorted(money)
    ]
    await connection.execute(database_insert, rows)


def adding(database: Database) -> Any:
    """The statement that `add` needs."""
    insert = database.insert(budget_spend)
    return insert.on_conflict_do_update(
        index_elements=[budget_spend.c.counter, budget_spend.c.window_s, budget_spend.c.node, budget_spend.c.writer],
        set_={
            "spend_nano_usd": budget_spend.c.spend_nano_usd + insert.excluded.spend_nano_usd,
            "updated_s": insert.excluded.updated_s,
        },
    )


class Windows:
    """Reads what was spent, for one node."""

    def __init__(self, database: Database, *, node: str, clock: Clock) -> None:
        self._database = database
        self._node = node
        self._clock = clock

    async def load(self, counter: str, window_s: int) -> tuple[dict[str, int], dict[str, int]]:
        """What our own node's writers have spent, and what everybody else has, by node. Raises `Unavailable`."""
        own: dict[str, int] = {}
        others: dict[str, int] = defaultdict(int)
        async with self._database.read() as connection:
            rows = await connection.execute(_OF_WINDOW, {"counter": counter, "window_s": window_s})
            for node, writer, amount in rows:
                if node == self._node:
                    own[writer] = own.get(writer, 0) + amount
                else:
                    others[node] += amount
            whose, _, what = counter.partition("|usd/")
            if window_s == 0 and what == "ever":
                scope, _, holder = whose.partition(":")
                total = (await connection.execute(_IN_ALL, {"scope": scope, "holder": holder})).scalar()
                if total is not None:
                    # Spent before there was a budget, or corrected by hand since.
                    before = total - sum(own.values()) - sum(others.values())
                    if before:
                        others[_BEFORE] = before
        return own, dict(others)

    async def of_writer(self, counter: str, window_s: int, writer: str) -> int:
        async with self._database.read() as connection:
            asked = {"counter": counter, "window_s": window_s, "writer": writer}
            return (await connection.execute(_OF_WRITER, asked)).scalar() or 0

    async def merge(self, living: Collection[str]) -> None:
        """One row for all writers of ours that are gone, and drained. Raises `Unavailable`."""
        insert = self._database.insert(budget_spend)
        mine = (budget_spend.c.node == self._node, budget_spend.c.writer != "", budget_spend.c.writer.not_in(living))
        summed = select(
            budget_spend.c.counter,
            budget_spend.c.window_s,
            budget_spend.c.node,
            literal(""),
            func.sum(budget_spend.c.spend_nano_usd),
            func.max(budget_spend.c.updated_s),
        )
        gone = summed.where(*mine).group_by(budget_spend.c.counter, budget_spend.c.window_s, budget_spend.c.node)
        columns = [column.name for column in budget_spend.columns]
        async with self._database.write() as connection:
            await connection.execute(
                insert.from_select(columns, gone).on_conflict_do_update(
                    index_elements=list(budget_spend.primary_key.columns),
                    set_={"spend_nano_usd": budget_spend.c.spend_nano_usd + insert.excluded.spend_nano_usd},
                )
            )
            await connection.execute(delete(budget_spend).where(*mine))
