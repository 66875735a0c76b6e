"""The ledger of leases as a state machine: whatever holders do, die or say twice, what is used stays within the limit."""

import asyncio

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.fakes.manual_clock import ManualClock

from wayport.access.gauges import Gauge
from wayport.control.leases import Lessor
from wayport.core.lease import Claim, Grant

LIMIT = 100
COUNTER = "key:k|usd/30d"
WINDOW = 1000


class Database:
    """What has been drained, by writer."""

    def __init__(self) -> None:
        self.spent: dict[str, int] = {}

    async def load(self, counter: str, window_s: int) -> tuple[dict[str, int], dict[str, int]]:
        del counter, window_s
        return dict(self.spent), {}

    async def of_writer(self, counter: str, window_s: int, writer: str) -> int:
        del counter, window_s
        return self.spent.get(writer, 0)


class Worker:
    def __init__(self, name: str) -> None:
        self.name = name
        self.gauge = Gauge(COUNTER, "money", LIMIT, scope="key", name="k", window=WINDOW)
        self.calls: list[int] = []
        self.settled = 0
        self.answer: Grant | None = None
        """a grant on its way"""


class Leases(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = ManualClock()
        self.database = Database()
        self.workers = [Worker("w0"), Worker("w1"), Worker("w2")]
        self.spool: dict[str, int] = {}
        self.dead: list[str] = []
        self.made = 3
        self.lessor = self._lessor()

    def teardown(self) -> None:
        self.loop.close()

    def _lessor(self) -> Lessor:
        lessor = Lessor(clock=self.clock, spent=self.database, recall=self._recall)
        lessor.workers(3)
        return lessor

    def _recall(self, name: str, counter: str, /, *, next_one: bool = False) -> bool:
        del counter, next_one
        named = [worker.gauge for worker in self.workers if worker.name == name]
        for gauge in named:
            self.loop.call_soon(self._give_back, name, gauge)
        return bool(named)

    def _give_back(self, name: str, gauge: Gauge) -> None:
        self.lessor.state(name, gauge.give_back())

    def _claim(self, worker: Worker, claim: Claim) -> Grant:
        return self.loop.run_until_complete(self.lessor.claim(worker.name, claim))

    which = st.integers(0, 2)

    @rule(which=which, need=st.integers(1, 60), want=st.integers(0, 60))
    def leases(self, which: int, need: int, want: int) -> None:
        worker = self.workers[which]
        if worker.answer is None:
            worker.answer = self._claim(worker, worker.gauge.claim(need=need, want=want))

    @rule(which=which)
    def hears_the_answer(self, which: int) -> None:
        worker = self.workers[which]
        if worker.answer is not None:
            worker.gauge.granted(worker.answer, 0.0)
            worker.answer = None

    @rule(which=which)
    def never_hears_the_answer(self, which: int) -> None:
        worker = self.workers[which]
        if worker.answer is not None:
            worker.answer = None
            worker.gauge.seen = -1

    @rule(which=which, most=st.integers(1, 60))
    def admits(self, which: int, most: int) -> None:
        gauge = self.workers[which].gauge
        if gauge.free >= most:
            gauge.free -= most
            gauge.busy += most
            self.workers[which].calls.append(most)

    @precondition(lambda self: any(worker.calls for worker in self.workers))
    @rule(which=which, share=st.floats(0, 1))
    def settles(self, which: int, share: float) -> None:
        worker = self.workers[which]
        if worker.calls:
            reserved = worker.calls.pop()
            cost = int(reserved * share)
            worker.gauge.busy -= reserved
            worker.gauge.free += reserved - cost
            worker.settled += cost
            self.spool[worker.name] = self.spool.get(worker.name, 0) + cost

    @rule(which=which)
    def gives_back(self, which: int) -> None:
        worker = self.workers[which]
        self.lessor.state(worker.name, worker.gauge.give_back())

    @rule(which=which)
    def states_twice(self, which: int) -> None:
        worker = self.workers[which]
        self.lessor.state(worker.name, worker.gauge.claim())
        self.lessor.state(worker.name, worker.gauge.claim())

    @rule(which=which, most=st.integers(1, 60))
    def serves(self, which: int, most: int) -> None:
        """The ordinary way: leases, hears, admits."""
        worker = self.workers[which]
        if worker.answer is None:
            self.leases(which, most, most)
            self.hears_the_answer(which)
            self.admits(which, most)

    @rule(which=which, chance=st.integers(0, 4))
    def dies(self, which: int, chance: int) -> None:
        if chance:
            return
        worker = self.workers[which]
        # What was reserved stands in its spool as opened, and is charged in full.
        self.spool[worker.name] = self.spool.get(worker.name, 0) + sum(worker.calls)
        self.lessor.gone(worker.name)
        self.dead.append(worker.name)
        self.workers[which] = Worker(f"w{self.made}")
        self.made += 1

    @precondition(lambda self: self.dead)
    @rule()
    def a_dead_workers_spool_is_drained(self) -> None:
        name = self.dead.pop()
        self.database.spent[name] = self.spool.get(name, 0)
        self.loop.run_until_complete(self.lessor.drained(name))

    @rule(chance=st.integers(0, 4))
    def the_control_process_starts_again(self, chance: int) -> None:
        """It drains everything, and who lives registers before anything is granted."""
        if chance:
            return
        self.dead.clear()
        self.database.spent = dict(self.spool)
        self.lessor = self._lessor()
        for worker in self.workers:
            worker.answer = None
            worker.gauge.seen = -1
            if worker.gauge.held:
                self._claim(worker, worker.gauge.claim())

    @invariant()
    def what_is_used_or_reserved_is_within_the_limit(self) -> None:
        reserved = sum(sum(worker.calls) for worker in self.workers)
        assert sum(self.spool.values()) + reserved <= LIMIT

    @invariant()
    def leases_add_up(self) -> None:
        leased = sum(worker.gauge.held for worker in self.workers)
        gone = sum(amount for name, amount in self.spool.items() if name not in {w.name for w in self.workers})
        assert leased + gone <= LIMIT
        for worker in self.workers:
            assert worker.gauge.held - worker.gauge.free - worker.gauge.busy == worker.settled


TestLeases = Leases.TestCase
TestLeases.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
