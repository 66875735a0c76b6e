"""What binds ordinary calls is looked up once, and anew when it may be no longer what it was."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from tests.fakes.manual_clock import ManualClock

from wayport.access.admit import Admission, Amounts, Reservation, Rules
from wayport.access.beside import Holders, NoHolders
from wayport.access.gauges import Gauge
from wayport.access.principal import Budget, Holder, Principal, Rate
from wayport.core.lease import Claim, Grant
from wayport.core.tasks import Tasks
from wayport.pipeline.admission import Admit, Standing

PER_MINUTE = Rate(of="requests", at_most=1000, per_s=60)


class Told:
    """A lender that grants nothing and hears everything."""

    def __init__(self) -> None:
        self.claims: list[Claim] = []

    async def claim(self, claim: Claim) -> Grant:
        return Grant(counter=claim.counter)

    def state(self, claim: Claim) -> None:
        self.claims.append(claim)


async def _with(work: Callable[[Admission, ManualClock, Tasks], None], told: Told | None = None) -> None:
    async with Tasks() as tasks:
        clock = ManualClock()
        work(Admission(told or Told(), clock=clock, tasks=tasks, rules=Rules()), clock, tasks)


async def test_ordinary_calls_see_a_window_that_somebody_else_began() -> None:
    def work(admission: Admission, clock: ManualClock, tasks: Tasks) -> None:
        admit = Admit(admission, Holders(NoHolders(), clock=clock, tasks=tasks), journal=None)
        principal = Principal(kind="key", key_hash="k", holders=(Holder(scope="key", id="k", rates=(PER_MINUTE,)),))
        other = Holder(scope="end_user", id="u", rates=(PER_MINUTE,))
        standing = Standing(principal, "m", ("m",), None)
        call: Any = SimpleNamespace(
            dialect=SimpleNamespace(name="openai_chat"), operation="chat", fields={}, request_bytes=10, end_user=None, tags=[]
        )  # fmt: skip

        def admitted() -> bool:
            call.steady_s = clock.steady_s()
            return admit.at_once(call, standing)

        def lease() -> None:
            gauge = admission.gauges.get("key:k|requests/60")
            assert gauge is not None
            gauge.held = gauge.free = 100
            gauge.ends_s = clock.steady_s() + 60

        assert not admitted()
        lease()
        assert admitted()
        clock.advance(61)
        # The first call of the next window is for an end user.
        admission.account(principal, "m", ("m",), (other,))
        lease()
        assert admitted()

    await _with(work)


async def test_calls_that_are_refused_keep_nothing_from_others() -> None:
    """What lies idle here goes back to the lender although a call a second asks for it, and is refused for money."""
    told = Told()

    def work(admission: Admission, clock: ManualClock, tasks: Tasks) -> None:
        del tasks
        holder = Holder(scope="key", id="k", rates=(PER_MINUTE,), budgets=(Budget(max_nano_usd=1000, duration=None),))
        account = admission.account(Principal(kind="key", key_hash="k", holders=(holder,)), "m", ("m",))
        requests = account.requests[0]
        requests.held = requests.free = 100
        for _ in range(40):
            short = admission.take(account, Amounts(5, 1, 1), clock.steady_s())
            assert isinstance(short, Gauge)
            assert (short.kind, requests.free) in {("money", 100), ("money", 0), ("requests", 0)}
            admission.tick()
            clock.advance(0.25)
        assert requests.free == 0

    await _with(work, told)
    assert any(claim.counter.endswith("requests/60") and claim.held == 0 for claim in told.claims)


async def test_what_was_taken_is_put_back_where_another_limit_has_too_little() -> None:
    def work(admission: Admission, clock: ManualClock, tasks: Tasks) -> None:
        del tasks
        rates = (PER_MINUTE, Rate(of="tokens", at_most=1000, per_s=60), Rate(of="output_tokens", at_most=9, per_s=60))
        holder = Holder(
            scope="key", id="k", rates=rates, max_parallel=3, budgets=(Budget(max_nano_usd=1000, duration=None),)
        )
        account = admission.account(Principal(kind="key", key_hash="k", holders=(holder,)), "m", ("m",))
        assert len(account.gauges) == 5
        for gauge in account.gauges:
            gauge.held = gauge.free = gauge.limit
        before = [(gauge.counter, gauge.free, gauge.busy) for gauge in account.gauges]
        for amounts in (Amounts(2000, 1, 1), Amounts(1, 1, 10), Amounts(1, 2000, 1)):
            assert isinstance(admission.take(account, amounts, clock.steady_s()), Gauge)
            assert [(gauge.counter, gauge.free, gauge.busy) for gauge in account.gauges] == before
        taken = admission.take(account, Amounts(1000, 100, 9), clock.steady_s())
        assert isinstance(taken, Reservation)
        admission.settle(taken, 0, None, clock.steady_s())
        after = {gauge.counter: (gauge.free, gauge.busy) for gauge in account.gauges if gauge.kind != "requests"}
        assert after == {counter: (free, busy) for counter, free, busy in before if counter in after}

    await _with(work)
