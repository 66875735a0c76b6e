"""What limits cost a call: authentication + admission + charge of a key with four budgets and three limits, in one process.

python -m bench.limits
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from msgspec import Raw

from wayport.access.admit import Admission, Rules
from wayport.access.authenticate import Authenticator
from wayport.access.beside import Holders, NoHolders
from wayport.access.cache import PrincipalCache
from wayport.access.principal import Budget, Holder, Principal, rates_of
from wayport.control.leases import InProcess, Lessor
from wayport.core.clock import SystemClock
from wayport.core.ids import uuid7
from wayport.core.price import Price, Rates
from wayport.core.record import CallRecord
from wayport.core.secret import key_hash
from wayport.core.tasks import Tasks
from wayport.core.usage import Usage
from wayport.dialects.registry import DIALECTS
from wayport.pipeline.admission import Admit
from wayport.pipeline.call import began
from wayport.routing.snapshot import Deployment, Model, Snapshot
from wayport.routing.table import RoutingTable

KEY = "sk-benchmarked-key-000001"
ROUNDS = 20_000
_COST_NANO_USD = 1_600_000


class _Journal:
    def append(self, _: CallRecord) -> bool:
        return True

    def keep(self, packed: bytes, *, nano_usd: int) -> bool:
        del packed, nano_usd
        return True


class _Plan:
    as_configured = True

    def __init__(self, found: object) -> None:
        self.found = found


class _Client:
    body = b'{"model":"m","max_tokens":400,"messages":[{"role":"user","content":"' + b"x" * 900 + b'"}]}'
    client = ("127.0.0.1", 1)

    def header(self, name: bytes) -> bytes | None:
        return b"Bearer " + KEY.encode() if name == b"authorization" else None


class _Control:
    def __init__(self, principal: Principal) -> None:
        self._principal = principal

    async def principal(self, wanted: str) -> Principal | None:
        del wanted
        return self._principal


def _timed(work: Callable[[], None]) -> float:
    best = float("inf")
    for _ in range(7):
        began = time.perf_counter()
        for _ in range(ROUNDS):
            work()
        best = min(best, (time.perf_counter() - began) / ROUNDS)
    return best * 1e6


async def measure(*, limited: bool) -> tuple[float, float, float]:
    """Microseconds of authentication, of admission with charge, and of the opening record's making."""
    money = Budget(max_nano_usd=10**15, duration="30d")
    rates = rates_of(rpm=10**9, tpm=10**12)
    holders = (
        Holder(scope="key", id="k", budgets=(money,), rates=rates),
        Holder(scope="user", id="u", budgets=(money,)),
        Holder(scope="team", id="t", budgets=(money,), max_parallel=10**6),
        Holder(scope="organization", id="o", budgets=(money,)),
    )
    digest = key_hash(KEY)
    principal = Principal(kind="key", key_hash=digest, holders=holders if limited else ())
    clock = SystemClock()
    price = Price(rates=Rates(input=2_500_000_000, output=10_000_000_000))
    deployment = Deployment(
        id="d", model="m", provider="p", upstream_model="u", base_url="http://x", price=price, max_output_tokens=4096
    )
    table = RoutingTable(Snapshot(models={"m": Model(name="m", deployments=(deployment,))}))
    async with Tasks() as tasks:
        cache = PrincipalCache(_Control(principal), clock=clock, tasks=tasks)
        authenticator = Authenticator(cache)
        await cache.find(digest)
        admission = Admission(InProcess(Lessor(clock=clock)), clock=clock, tasks=tasks, rules=Rules())
        holders_beside = Holders(NoHolders(), clock=clock, tasks=tasks)
        admit = Admit(admission, holders_beside, journal=None)
        opening = Admit(admission, holders_beside, journal=_Journal())
        client: Any = _Client()
        call = began(
            client,
            DIALECTS["openai_chat"],
            call_id=uuid7(),
            operation="chat",
            route="/",
            started_s=0.0,
            steady_s=0.0,
        )
        call.principal = principal
        plan: Any = _Plan(table.find("m"))
        call.plan = plan
        call.model_asked = "m"
        call.fields = {"model": Raw(b'"m"'), "max_tokens": Raw(b"400")}
        call.usage = Usage(input_tokens=250, output_tokens=100)
        for _ in range(20):
            pending = admit(call, table)
            if pending is not None:
                await pending
            admit.settle(call, _COST_NANO_USD, clock.steady_s())

        def authenticate() -> None:
            authenticator.authenticate(client.header)

        def once(admit: Admit) -> None:
            if principal.holders or principal.asks:
                admit(call, table)
            if call.reservation is not None:
                admit.settle(call, _COST_NANO_USD, clock.steady_s())

        bare = _timed(lambda: once(admit))
        whole = _timed(lambda: once(opening))
        return _timed(authenticate), bare, whole - bare


async def main() -> None:
    for limited in (True, False):
        authentication, admission, opening = await measure(limited=limited)
        kind = "four budgets, three limits" if limited else "no limits"
        print(
            f"{kind}: authentication {authentication:.2f} µs, admission and charge {admission:.2f} µs, "
            f"making the opening record {opening:.2f} µs"
        )


if __name__ == "__main__":
    asyncio.run(main())
