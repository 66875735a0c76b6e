"""Budgets of providers over two nodes, on real Redis and real PostgreSQL: also a node that spends nothing knows."""

import os
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests.fakes.databases import opened
from tests.routing.places import deployment

from wayport.control.leases import InProcess, Lessor
from wayport.core.clock import SystemClock
from wayport.core.ids import random_hex
from wayport.core.record import CallRecord
from wayport.ledger.windows import Windows, add, adding
from wayport.pipeline.target_budgets import TargetBudgets
from wayport.routing.health import Health
from wayport.routing.snapshot import Model, Snapshot, TargetBudget
from wayport.storage.address import read_address
from wayport.storage.database import Database
from wayport.storage.postgres_counters import PostgresCounters
from wayport.storage.redis_counters import RedisCounters

# The tests' own setting is no setting of Wayport.
REDIS = os.environ.get("WAYPORT_TEST_REDIS_URL", "redis://127.0.0.1:6379/15")  # noqa: TID251
DOLLAR = 1_000_000_000
A = deployment("a")
BUDGET = TargetBudget(counter="provider:p", max_nano_usd=3 * DOLLAR, per="1mo")
FACTS = Snapshot(models={"m": Model(name="m", deployments=(A,))}, provider_budgets={"p": BUDGET})


class Node:
    """One worker and the ledger of its control process. A worker writes under another name each time."""

    def __init__(self, name: str, kind: str, database: Database, stack: AsyncExitStack) -> None:
        clock = SystemClock()
        writer = f"{name} {random_hex(6)}"
        self.name = name
        self.database = database
        shared: RedisCounters | PostgresCounters
        if kind == "redis":
            shared = RedisCounters(REDIS, database, node=name, clock=clock)
            stack.push_async_callback(shared.close)
        else:
            shared = PostgresCounters(database, node=name, clock=clock)
        self.lessor = Lessor(clock=clock, spent=Windows(database, node=name, clock=clock), shared=shared, node=name)
        self.health = Health()
        self.budgets = TargetBudgets(InProcess(self.lessor, writer), self.health, clock=clock, lease_holder=writer)
        self.budgets.take(FACTS)

    @property
    def refuses(self) -> bool:
        return self.health.blocked(A, SystemClock().steady_s()) is not None

    async def spend(self, dollars: int) -> None:
        """A call, up to its place in the database."""
        record = CallRecord(call_id="c", started_s=0, ended_s=0, node=self.name, cost_nano_usd=dollars * DOLLAR)
        self.budgets.charge(record, A)
        async with self.database.write() as connection:
            await add(connection, adding(self.database), [record], now_s=0)


@pytest.mark.parametrize("kind", ["redis", "postgresql"])
async def test_a_node_that_spends_nothing_knows_when_others_have_spent_it(
    kind: str, postgresql: str, tmp_path: Path
) -> None:
    async with opened(read_address(postgresql, tmp_path)) as database, AsyncExitStack() as stack:
        one, two = Node("one", kind, database, stack), Node("two", kind, database, stack)
        for node in (one, two):
            await node.budgets.look()
            assert not node.refuses
        await one.spend(2)
        for node in (one, two):
            await node.budgets.look()
            assert not node.refuses
        await one.spend(1)
        await one.budgets.look()
        await two.budgets.look()
        assert (one.refuses, two.refuses) == (True, True)


@pytest.mark.parametrize("kind", ["redis", "postgresql"])
async def test_two_nodes_add_up_and_one_that_starts_again_goes_on_from_there(
    kind: str, postgresql: str, tmp_path: Path
) -> None:
    async with opened(read_address(postgresql, tmp_path)) as database, AsyncExitStack() as stack:
        one, two = Node("one", kind, database, stack), Node("two", kind, database, stack)
        for node in (one, two):
            await node.budgets.look()
        await one.spend(1)
        await two.spend(2)
        for node in (one, two, one):
            await node.budgets.look()
        assert (one.refuses, two.refuses) == (True, True)
        again = Node("one", kind, database, stack)
        await again.budgets.look()
        assert again.refuses
