"""Budgets of providers over two nodes, on real Redis and real PostgreSQL: also a node that spends nothing knows."""

import os
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from msgspec import structs
from tests.fakes.control_process import until
from tests.fakes.databases import opened
from tests.routing.places import deployment

from wayport.control.client import SocketControl
from wayport.control.leases import InProcess, Lessor
from wayport.control.server import ControlServer
from wayport.control.sockets import listen
from wayport.core.clock import SystemClock
from wayport.core.ids import random_hex
from wayport.core.record import CallRecord
from wayport.core.tasks import Tasks
from wayport.ledger.windows import Windows, add, adding
from wayport.pipeline.target_budgets import TargetBudgets
from wayport.routing.health import Health
from wayport.routing.snapshot import CLIENTS_OWN, OWN_MARK, Model, Snapshot, TargetBudget, UpstreamCredential
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


async def test_workers_of_one_node_learn_of_each_other_again_and_again_over_the_socket(tmp_path: Path) -> None:
    """Whoever asks second, or later, is answered as whoever asked first."""
    clock, path = SystemClock(), tmp_path / "control.sock"
    async with AsyncExitStack() as stack:
        tasks = await stack.enter_async_context(Tasks())
        server = ControlServer(tasks=tasks, snapshot=b"")
        server.lease_from(Lessor(clock=clock), _nobody)
        await server.listen(listen(path))
        stack.push_async_callback(server.close)
        workers: list[TargetBudgets] = []
        for number in range(2):
            control = SocketControl(
                str(path), worker=number, on_snapshot=lambda _: None, on_invalidated=lambda _: None, writer=f"w{number}"
            )
            tasks.start(control.run(), name="control")
            await _connected(server, number + 1)
            workers.append(TargetBudgets(control, Health(), clock=clock, lease_holder=f"w{number}"))
            workers[-1].take(FACTS)
        one, two = workers
        for worker in (one, two, one):
            await worker.look()
            assert worker._health.blocked(A, clock.steady_s()) is None
        one.charge(CallRecord(call_id="c", started_s=0, ended_s=0, cost_nano_usd=3 * DOLLAR), A)
        await one.look()
        await two.look()
        assert two._health.blocked(A, clock.steady_s()) is not None


async def _connected(server: ControlServer, count: int) -> None:
    await until(lambda: len(server.workers) == count)


def test_who_pays_with_a_credential_of_its_own_spends_nothing_of_the_operators_and_is_not_held_by_it() -> None:
    clock, health = SystemClock(), Health()
    budgets = TargetBudgets(InProcess(Lessor(clock=clock), "w"), health, clock=clock, closed=False)
    budgets.take(FACTS)
    brought = UpstreamCredential(reference=f"{CLIENTS_OWN}1", value="k")
    own = structs.replace(A, id=f"{A.id}{OWN_MARK}1", credential=brought)
    budgets.charge(CallRecord(call_id="c", started_s=0, ended_s=0, cost_nano_usd=9 * DOLLAR), own)
    assert health.quiet
    budgets.charge(CallRecord(call_id="d", started_s=0, ended_s=0, cost_nano_usd=9 * DOLLAR), A)
    assert health.blocked(A, clock.steady_s()) is not None
    assert health.blocked(own, clock.steady_s()) is None


async def _nobody(*_: object) -> None:
    return None


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
