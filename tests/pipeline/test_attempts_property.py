"""Whatever fails in whatever order: attempts are bounded, nobody is asked in vain, and every counter returns to zero."""

import asyncio
from collections.abc import Callable, Iterable
from random import Random
from typing import Any, ClassVar

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.manual_clock import ManualClock

from wayport.access.principal import Principal
from wayport.core.errors import BadRequest, Fault, FaultClass, RateLimited, UpstreamFault, WayportError
from wayport.core.record import AttemptRecord
from wayport.core.usage import Usage
from wayport.dialects.neutral import Delta, Response
from wayport.dialects.registry import DIALECTS
from wayport.pipeline.asking import CallAsking
from wayport.pipeline.attempts import tries
from wayport.pipeline.bodies import Kept
from wayport.pipeline.call import Call, began
from wayport.pipeline.sent import Sent
from wayport.routing.live import LiveStates
from wayport.routing.routing import Routing
from wayport.routing.snapshot import Deployment, FallbackRules, Model, QueuePolicy, RouterPolicy, Snapshot
from wayport.routing.table import RoutingTable

KINDS: tuple[FaultClass, ...] = (
    "bad_request", "context_window", "content_policy", "unsupported_param", "authentication", "permission", "quota",
    "not_found", "rate_limit", "overloaded", "server", "connect", "timeout", "cut", "malformed",
)  # fmt: skip
NEVER_AGAIN = {"authentication", "permission", "quota", "not_found", "context_window", "content_policy"}
FINAL = {"bad_request", "unsupported_param"}


class Client:
    """Somebody who asks and waits."""

    body = b'{"model":"m","messages":[]}'
    query = b""
    path = "/v1/chat/completions"
    gone = started = paused = False
    client = ("127.0.0.1", 1)
    headers: ClassVar[dict[bytes, bytes]] = {}
    on_pause: Callable[[], None] | None = None
    on_resume: Callable[[], None] | None = None
    kept: Kept | None = None

    def header(self, name: bytes) -> bytes | None:
        del name
        return None

    def respond(self, *_: object) -> None: ...
    def start(self, *_: object) -> None: ...
    def write(self, *_: object) -> None: ...
    def line(self) -> None: ...
    def end(self, *_: object) -> None: ...
    def release_body(self) -> None: ...


class Scripted:
    """An upstream that fails as it is told. `None` is an answer, `leave` a client that goes away meanwhile."""

    def __init__(self, script: list[Any], clock: ManualClock, lives: LiveStates) -> None:
        self.lives = lives
        self.script = script
        self.clock = clock
        self.asked: list[tuple[str, str]] = []

    async def say(
        self, call: Call, deployment: Deployment, response: Response, deltas: Iterable[Delta]
    ) -> Fault | None:
        raise NotImplementedError

    async def make(
        self, call: Call, deployment: Deployment, record: AttemptRecord, *, sent: Sent | None = None
    ) -> Fault | None:
        assert sent is None
        here = self.lives.of(deployment.id).in_flight
        assert deployment.max_parallel is None or here <= deployment.max_parallel, "more calls than it takes"
        step = self.script.pop(0) if self.script else None
        self.asked.append((deployment.id, "" if step is None else str(step[0])))
        self.clock.advance(0.1)
        await asyncio.sleep(0)
        if step is None:
            call.usage = Usage(input_tokens=3, output_tokens=4)
            return None
        kind, retry_after_s = step
        if kind == "leave":
            raise asyncio.CancelledError
        if kind == "unable":
            raise BadRequest("cannot be told", code="unsupported_parameter")
        if kind == "broken":
            return Fault(kind="cut", status=0, message="broken")
        raise UpstreamFault(Fault(kind=kind, status=500, message=kind, retry_after_s=retry_after_s))


steps = st.one_of(
    st.none(),
    st.tuples(st.sampled_from(KINDS), st.sampled_from([None, 0.0, 0.001])),
    st.tuples(st.sampled_from(["leave", "unable", "broken"]), st.none()),
)


@st.composite
def places(draw: Any) -> tuple[Snapshot, list[list[Any]]]:
    names = ["m", "n", "o"][: draw(st.integers(1, 3))]
    models = {}
    for name in names:
        count = draw(st.integers(1, 3))
        deployments = tuple(
            Deployment(
                id=f"{name}{number}",
                model=name,
                provider="p",
                upstream_model=f"{name}{number}",
                base_url="http://x",
                max_parallel=draw(st.sampled_from([None, None, 1, 2])),
            )
            for number in range(count)
        )
        models[name] = Model(
            name=name,
            deployments=deployments,
            ordered=draw(st.booleans()),
            fallbacks=tuple(draw(st.lists(st.sampled_from(names), max_size=3))),
            context_window_fallbacks=tuple(draw(st.lists(st.sampled_from(names), max_size=2))),
            num_retries=draw(st.sampled_from([None, 0, 1, 2, 3])),
            strategy=draw(st.sampled_from([None, "power-of-two", "least-busy", "round-robin", "usage-based-routing"])),
        )
    rules = FallbackRules(any_other=draw(st.booleans()), max_hops=draw(st.integers(0, 3)))
    # Nobody's time is ever over, as the clock moves with the attempts alone: whoever waits must be let go by others.
    queue = QueuePolicy(wait_s=draw(st.sampled_from([0.0, 1e6])), length=draw(st.integers(1, 3)))
    policy = RouterPolicy(
        num_retries=draw(st.integers(0, 3)),
        fallbacks=rules,
        cooldown_s=draw(st.sampled_from([0.0, 5.0])),
        queue=queue,
    )
    scripts = draw(st.lists(st.lists(steps, max_size=8), min_size=1, max_size=6))
    return Snapshot(models=models, router=policy), scripts


class Unlimited:
    async def further(self, call: Call, names: tuple[str, ...]) -> None:
        """No limits bind any model."""


async def _one(routing: Routing, table: RoutingTable, script: list[Any], clock: ManualClock) -> Scripted:
    client = Client()
    call = began(
        client,
        DIALECTS["openai_chat"],
        call_id="c",
        operation="chat",
        route=client.path,
        started_s=clock.now_s(),
        steady_s=clock.steady_s(),
    )
    call.principal = Principal(kind="master")
    call.snapshot = table.snapshot
    call.model_asked = "m"
    call.fields = msgspec.json.decode(client.body, type=dict[str, msgspec.Raw])
    scripted = Scripted(script, clock, routing.lives)
    try:
        plan = call.plan = routing.plan(
            table.find("m"),
            table,
            asking=CallAsking(call),
            fields=call.fields,
            headers={},
            dialect="openai_chat",
            began_s=clock.steady_s(),
        )
        try:
            first = plan.first(clock.steady_s())
        except RateLimited as refused:
            first = await routing.lines.turn_of(plan, refused, clock)
        # As when a call has to wait for money that others have reserved.
        await asyncio.sleep(0)
        await tries(call, first, admit=Unlimited(), attempt=scripted, routing=routing, clock=clock)
    except (WayportError, asyncio.CancelledError):
        pass
    return scripted


@settings(max_examples=300, deadline=None)
@given(places())
def test_whatever_fails_in_whatever_order(place: tuple[Snapshot, list[list[Any]]]) -> None:
    snapshot, scripts = place
    clock = ManualClock()
    # No waits: backoff is drawn from a source that always says the least.
    routing = Routing(random=_Least(1))
    table = RoutingTable(snapshot)

    async def together() -> list[Scripted]:
        async with asyncio.timeout(20):
            return await asyncio.gather(*(_one(routing, table, list(script), clock) for script in scripts))

    done = asyncio.run(together())
    policy = snapshot.router
    hops = policy.fallbacks.max_hops
    for scripted in done:
        counts: dict[str, int] = {}
        for index, (deployment, kind) in enumerate(scripted.asked):
            model = snapshot.models[deployment[0]]
            counts[model.name] = counts.get(model.name, 0) + 1
            rest = [other for other, _ in scripted.asked[index + 1 :]]
            if kind in FINAL:
                assert not rest, "a wrong request was asked again"
            if kind in NEVER_AGAIN or kind == "unable":
                assert deployment not in rest, "asked again although it would say the same"
            if kind in ("leave", "broken", ""):
                assert not rest, "something came after the end"
        for name, count in counts.items():
            model = snapshot.models[name]
            retries = policy.num_retries if model.num_retries is None else model.num_retries
            assert count <= max(retries + 1, len(model.deployments) if model.ordered else 1)
        assert len(counts) <= hops + 1
    assert routing.lives.in_flight() == 0
    assert routing.lines.count == 0


class _Least(Random):
    def uniform(self, a: float, b: float) -> float:
        del b
        return a
