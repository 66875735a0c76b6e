"""A day of traffic over ten deployments, once with each routing strategy: `python -m bench.routing_sim`.

No sockets: the gateway's own routing (plan, breakers, live states, strategies) meets upstreams that are made of numbers, on
a clock of its own, so a day takes seconds and is the same each time. Latencies drift over the day, deployments fail for
minutes, refuse what is too much for them and differ in price. `--write` puts table and figure into docs/routing.md.
"""

import argparse
import heapq
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from random import Random
from typing import NamedTuple

from wayport.core.errors import Fault, FaultClass, WayportError
from wayport.core.price import Price, Rates
from wayport.core.usage import Usage
from wayport.routing.affinity import session_key
from wayport.routing.needs import Needs
from wayport.routing.plan import Plan, Step
from wayport.routing.routing import Routing
from wayport.routing.snapshot import Deployment, Model, RouterPolicy, Snapshot
from wayport.routing.table import Found, RoutingTable

DAY_S = 86_400.0
STRATEGIES = (
    "simple-shuffle",
    "round-robin",
    "least-busy",
    "latency-based-routing",
    "usage-based-routing-v2",
    "cost-based-routing",
    "priority",
    "power-of-two",
)
DOCS = Path(__file__).parent.parent / "docs"
FIGURE = "routing_simulation.svg"
_BEGIN, _END = "<!-- simulation begin -->", "<!-- simulation end -->"
_CACHE_S = 300.0


class Upstream(NamedTuple):
    """One deployment in numbers."""

    name: str
    usd_in: float
    """per million tokens; what comes out costs four times as much"""
    first_s: float
    token_s: float
    capacity: int
    """calls at the same time; one more is a 429"""
    drift: float = 0.3
    """by how much its speed changes over the day"""
    phase: float = 0.0
    errors: float = 0.002
    """share of calls that fail for no reason"""
    down: tuple[tuple[float, float], ...] = ()
    """seconds of the day between which it is away"""
    flaps_s: float = 0.0
    """if set: away for every other such period"""

    def is_down(self, now_s: float) -> bool:
        if self.flaps_s and int(now_s / self.flaps_s) % 2:
            return True
        return any(begin <= now_s < end for begin, end in self.down)

    def speed(self, now_s: float) -> float:
        return 1 + self.drift * math.sin(2 * math.pi * (now_s / DAY_S + self.phase))


def hour(value: float) -> float:
    return value * 3600


TEN = (
    Upstream("fast-dear", 5.0, 0.20, 0.006, 8, phase=0.0),
    Upstream("fast-fragile", 3.0, 0.20, 0.007, 4, phase=0.2, errors=0.03, down=((hour(9), hour(9.5)),)),
    Upstream("usual-1", 2.5, 0.40, 0.012, 8, phase=0.1),
    Upstream("usual-2", 2.5, 0.45, 0.013, 8, phase=0.5, down=((hour(14), hour(16)),)),
    Upstream("usual-3", 2.5, 0.40, 0.012, 3, phase=0.7),
    Upstream("drifter", 2.0, 0.50, 0.012, 5, drift=0.8, phase=0.3),
    Upstream("cheap-1", 0.8, 0.80, 0.022, 5, phase=0.4, errors=0.01),
    Upstream("cheap-2", 0.7, 1.00, 0.025, 3, phase=0.9, errors=0.02, down=((hour(2), hour(3)), (hour(20), hour(20.2)))),
    Upstream("cheapest", 0.4, 1.50, 0.035, 2, phase=0.6, errors=0.02),
    Upstream("slow", 2.0, 2.00, 0.060, 5, phase=0.8),
)
THREE = (
    Upstream("good", 2.5, 0.4, 0.012, 200),
    Upstream("dead", 2.5, 0.4, 0.012, 200, down=((0, DAY_S),)),
    Upstream("flapping", 2.5, 0.4, 0.012, 200, flaps_s=45.0),
)


class Result(NamedTuple):
    strategy: str
    calls: int
    succeeded: int
    attempts: int
    p50_s: float
    p99_s: float
    usd_per_1000: float
    cached: float
    """share of answers whose conversation had been at the same deployment within five minutes"""
    most_failures_before_open: int

    @property
    def success(self) -> float:
        return self.succeeded / self.calls


class _Call:
    __slots__ = ("began_s", "output_tokens", "plan", "prompt_tokens", "session", "step")

    def __init__(self, began_s: float, session: int, prompt_tokens: int, output_tokens: int) -> None:
        self.began_s = began_s
        self.session = session
        self.prompt_tokens = prompt_tokens
        self.output_tokens = output_tokens
        self.plan: Plan
        self.step: Step


class _Asking:
    def __init__(self, call: _Call, *, sticky: bool) -> None:
        self._call = call
        self._sticky = sticky

    def needs(self) -> Needs:
        return Needs(expected_tokens=self._call.prompt_tokens, output_tokens=self._call.output_tokens)

    def most_tokens(self) -> int:
        return 0

    def tags(self) -> Sequence[str]:
        return ()

    def pins(self, found: Found, kinds: Sequence[str]) -> tuple[str, ...]:
        del kinds
        return (session_key(found.name, str(self._call.session)),) if self._sticky else ()

    def region(self) -> str | None:
        return None

    def check_fallbacks(self, models: Sequence[str]) -> None:
        pass

    def may_use(self, model: str) -> bool:
        return bool(model)


class Day:
    """One run. `calls_per_s` is the mean; the busiest hour has twice as many as the quietest."""

    def __init__(
        self,
        upstreams: Sequence[Upstream],
        strategy: str,
        *,
        calls_per_s: float = 1.2,
        length_s: float = DAY_S,
        sticky: bool = False,
        seed: int = 7,
    ) -> None:
        self.strategy = strategy
        self._random = Random(seed)
        self._upstreams = {each.name: each for each in upstreams}
        self._rate = calls_per_s
        self._length_s = length_s
        self._sticky = sticky
        self._routing = Routing(random=Random(seed + 1))
        deployments = tuple(_deployment(each, ordered=strategy == "priority") for each in upstreams)
        model = Model(name="m", deployments=deployments, strategy=strategy)
        self._table = RoutingTable(Snapshot(models={"m": model}, router=RouterPolicy(num_retries=2)))
        self._found = self._table.find("m")
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._numbers = count()
        self._busy: dict[str, int] = dict.fromkeys(self._upstreams, 0)
        self._seen: dict[int, tuple[str, float]] = {}
        self._in_a_row: dict[str, int] = dict.fromkeys(self._upstreams, 0)
        self._latencies: list[float] = []
        self._calls = self._attempts = self._cached = self._most = 0
        self._usd = 0.0

    def run(self) -> Result:
        self._at(self._pause(0.0), self._arrive)
        while self._events:
            now_s, _, action = heapq.heappop(self._events)
            action(now_s)
        assert self._routing.lives.in_flight() == 0
        latencies = sorted(self._latencies)
        return Result(
            strategy=self.strategy,
            calls=self._calls,
            succeeded=len(latencies),
            attempts=self._attempts,
            p50_s=latencies[len(latencies) // 2],
            p99_s=latencies[int(len(latencies) * 0.99)],
            usd_per_1000=self._usd / max(1, len(latencies)) * 1000,
            cached=self._cached / max(1, len(latencies)),
            most_failures_before_open=self._most,
        )

    def _at(self, when_s: float, action: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (when_s, next(self._numbers), action))

    def _pause(self, now_s: float) -> float:
        rate = self._rate * (1 + math.sin(2 * math.pi * (now_s / DAY_S - 0.25)) / 3)
        return now_s + self._random.expovariate(rate)

    # --------------------------------------------------------------------------------------------------- the gateway
    def _arrive(self, now_s: float) -> None:
        if now_s > self._length_s:
            return
        self._at(self._pause(now_s), self._arrive)
        random = self._random
        # A conversation is taken up again and again for a while.
        session = int(now_s / 120) * 50 + random.randrange(50)
        call = _Call(now_s, session, random.choice((200, 800, 2000, 6000)), random.choice((50, 150, 300, 800)))
        self._calls += 1
        call.plan = self._routing.plan(
            self._found,
            self._table,
            asking=_Asking(call, sticky=self._sticky),
            fields={},
            headers={},
            dialect="openai_chat",
            began_s=now_s,
        )
        try:
            self._try(call, call.plan.first(now_s), now_s)
        except WayportError:
            return

    def _try(self, call: _Call, step: Step, now_s: float) -> None:
        call.step = step
        self._routing.begin(step, now_s)
        self._attempts += 1
        name = step.deployment.id
        took_s, kind = self._answer(self._upstreams[name], call, now_s)
        self._busy[name] += 1
        self._at(now_s + took_s, lambda then_s: self._ended(call, kind, took_s, then_s))

    def _ended(self, call: _Call, kind: FaultClass | None, took_s: float, now_s: float) -> None:
        step = call.step
        name = step.deployment.id
        self._busy[name] -= 1
        step.candidate.live.end()
        if kind is None:
            self._in_a_row[name] = 0
            self._succeeded(call, name, took_s, now_s)
            return
        fault = Fault(kind=kind, status=500, message=kind, retry_after_s=2.0 if kind == "rate_limit" else None)
        if kind != "rate_limit" and self._routing.health.state_of(step.deployment, now_s) == "closed":
            self._in_a_row[name] += 1
            self._most = max(self._most, self._in_a_row[name])
        self._routing.failed(step, fault, now_s, 5.0)
        following = call.plan.after(step.deployment, fault, now_s)
        if following is not None:
            self._at(now_s + following.wait_s, lambda then_s: self._try(call, following, then_s))

    def _succeeded(self, call: _Call, name: str, took_s: float, now_s: float) -> None:
        step, routing = call.step, self._routing
        routing.health.succeeded(step.deployment, now_s)
        usage = Usage(input_tokens=call.prompt_tokens, output_tokens=call.output_tokens)
        step.candidate.live.answered(now_s, took_s, usage)
        routing.affinity.pin(call.plan.pins, name, now_s)
        before = self._seen.get(call.session)
        cached = before is not None and before[0] == name and now_s - before[1] < _CACHE_S
        self._seen[call.session] = (name, now_s)
        self._cached += cached
        usd_in = self._upstreams[name].usd_in
        # Tokens from a provider's cache cost a tenth.
        paid = call.prompt_tokens * (0.1 if cached else 1.0) + call.output_tokens * 4
        self._usd += paid * usd_in / 1e6
        self._latencies.append(now_s - call.began_s)

    # ------------------------------------------------------------------------------------------------- the upstreams
    def _answer(self, upstream: Upstream, call: _Call, now_s: float) -> tuple[float, FaultClass | None]:
        """How long it takes, and how it fails if it does."""
        random = self._random
        if upstream.is_down(now_s):
            return 0.05, "server"
        busy = self._busy[upstream.name]
        if busy >= upstream.capacity:
            return 0.05, "rate_limit"
        if random.random() < upstream.errors:
            return upstream.first_s, "server"
        load = 1 + 0.5 * busy / upstream.capacity
        spread = random.lognormvariate(0, 0.2)
        return (upstream.first_s + call.output_tokens * upstream.token_s) * upstream.speed(now_s) * load * spread, None


def _deployment(upstream: Upstream, *, ordered: bool) -> Deployment:
    nano = int(upstream.usd_in * 1e9)
    return Deployment(
        id=upstream.name,
        model="m",
        provider=upstream.name,
        upstream_model=upstream.name,
        base_url=f"http://{upstream.name}",
        price=Price(rates=Rates(input=nano, output=nano * 4)),
        # The fastest first; for all other strategies `order` would decide before they are asked.
        order=int(upstream.first_s * 100) if ordered else None,
    )


def compare(*, length_s: float = DAY_S) -> list[Result]:
    results = [Day(TEN, strategy, length_s=length_s).run() for strategy in STRATEGIES]
    sticky = Day(TEN, "power-of-two", length_s=length_s, sticky=True).run()
    return [*results, sticky._replace(strategy="power-of-two, sessions pinned")]


def hard_times(*, length_s: float = DAY_S) -> Result:
    """One of three deployments is dead, one comes and goes."""
    return Day(THREE, "power-of-two", length_s=length_s).run()


# -------------------------------------------------------------------------------------------------------------- telling
def table(results: Sequence[Result]) -> Iterator[str]:
    yield "| strategy | answered | p50 | p99 | USD per 1,000 calls | found in the cache | attempts per call |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for each in results:
        yield (
            f"| `{each.strategy}` | {each.success:.3%} | {each.p50_s:.2f} s | {each.p99_s:.1f} s "
            f"| {each.usd_per_1000:.2f} | {each.cached:.0%} | {each.attempts / each.calls:.3f} |"
        )


def figure(results: Sequence[Result]) -> str:
    """Cost against the 99th percentile of the time to the whole answer, as a small SVG."""
    width, height, left, bottom = 640, 360, 56, 40
    most_usd = max(each.usd_per_1000 for each in results) * 1.25
    most_s = max(each.p99_s for each in results) * 1.15
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<path d="M{left} 12V{height - bottom}H{width - 8}" fill="none" stroke="#888"/>',
        f'<text x="{width - 8}" y="{height - 8}" text-anchor="end" fill="#444">USD per 1,000 calls</text>',
        '<text x="8" y="14" fill="#444">p99, s</text>',
    ]

    def x(usd: float) -> float:
        return left + (width - left - 8) * usd / most_usd

    def y(seconds: float) -> float:
        return height - bottom - (height - bottom - 24) * seconds / most_s

    for part in range(1, 5):
        usd, seconds = most_usd * part / 5, most_s * part / 5
        parts.append(
            f'<text x="{x(usd):.0f}" y="{height - bottom + 16}" text-anchor="middle" fill="#666">{usd:.1f}</text>'
        )
        parts.append(
            f'<text x="{left - 6}" y="{y(seconds) + 4:.0f}" text-anchor="end" fill="#666">{seconds:.0f}</text>'
        )
        parts.append(f'<path d="M{left} {y(seconds):.0f}H{width - 8}" stroke="#eee"/>')
    taken: list[tuple[float, float]] = []
    for each in sorted(results, key=lambda result: result.p99_s):
        at = y(each.p99_s)
        label = at + 4
        beside = x(each.usd_per_1000)
        while any(abs(label - other) < 13 and abs(beside - there) < 190 for there, other in taken):
            label -= 13
        taken.append((beside, label))
        ours = each.strategy.startswith("power")
        parts.append(
            f'<circle cx="{x(each.usd_per_1000):.0f}" cy="{at:.0f}" r="5" fill="{"#1f6feb" if ours else "#8a8f98"}"/>'
        )
        parts.append(f'<text x="{x(each.usd_per_1000) + 9:.0f}" y="{label:.0f}" fill="#222">{each.strategy}</text>')
    return "\n".join([*parts, "</svg>", ""])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="put table and figure into docs/")
    given = parser.parse_args(arguments)
    results = compare()
    lines = list(table(results))
    hard = hard_times()
    last = (
        f"One of three deployments dead, one away for every other {THREE[2].flaps_s:.0f} s: {hard.success:.3%} of "
        f"{hard.calls:,} calls answered; every breaker was open after at most {hard.most_failures_before_open} failures in a row."
    )
    lines += ["", last]
    sys.stdout.write("\n".join(lines) + "\n")
    if given.write:
        page = DOCS / "routing.md"
        before, _, rest = page.read_text().partition(_BEGIN)
        _, _, after = rest.partition(_END)
        page.write_text("\n".join([before + _BEGIN, *lines, _END + after]))
        (DOCS / FIGURE).write_text(figure(results))
    good = hard.success >= 0.999 and hard.most_failures_before_open <= 5
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
