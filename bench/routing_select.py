"""What a choice costs: `python -m bench.routing_select`. CPU time of a plan and its first step, the best of several runs."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from random import Random

from msgspec import Raw

from wayport.core.errors import Fault
from wayport.core.usage import Usage
from wayport.routing.needs import NOTHING, Needs
from wayport.routing.routing import Routing
from wayport.routing.snapshot import Deployment, Model, Snapshot
from wayport.routing.strategies import MAKERS
from wayport.routing.table import Found, RoutingTable

_ROUNDS = 5
_FIELDS: Mapping[str, Raw] = {"model": Raw(b'"m"'), "messages": Raw(b"[]"), "temperature": Raw(b"1")}
_HEADERS = {b"host": b"h", b"authorization": b"Bearer k", b"content-type": b"application/json", b"content-length": b"9"}


class _Asking:
    def needs(self) -> Needs:
        return NOTHING

    def tags(self) -> Sequence[str]:
        return ()

    def pins(self, found: Found, kinds: Sequence[str]) -> tuple[str, ...]:
        del found, kinds
        return ()

    def region(self) -> str | None:
        return None

    def check_fallbacks(self, models: Sequence[str]) -> None:
        pass

    def may_use(self, model: str) -> bool:
        return bool(model)


class Choice:
    """A model of so many deployments; each call of it plans one request and chooses its first deployment."""

    def __init__(
        self, deployments: int, strategy: str, *, rpm: int | None = None, tpm: int | None = None, resting: int = 0
    ) -> None:
        self.routing = Routing(random=Random(1))
        members = tuple(
            Deployment(
                id=str(n),
                model="m",
                provider="p",
                upstream_model=str(n),
                base_url="http://x",
                order=n % 3,
                rpm=rpm,
                tpm=tpm,
            )
            if strategy == "priority"
            else Deployment(
                id=str(n), model="m", provider="p", upstream_model=str(n), base_url="http://x", rpm=rpm, tpm=tpm
            )
            for n in range(deployments)
        )
        self._table = RoutingTable(Snapshot(models={"m": Model(name="m", deployments=members, strategy=strategy)}))
        self._asking = _Asking()
        for deployment in members:
            live = self.routing.lives.of(deployment.id)
            live.answered(0.0, 1.0 + hash(deployment.id) % 7, Usage(input_tokens=50, output_tokens=50))
        down = Fault(kind="server", status=500, message="down")
        for deployment in members[:resting]:
            for _ in range(3):
                self.routing.health.failed(deployment, down, now_s=0.0, cooldown_s=3600.0)

    def __call__(self) -> None:
        plan = self.routing.plan(
            self._table.find_or_all("m", "chat"),
            self._table,
            asking=self._asking,
            fields=dict(_FIELDS),
            headers=_HEADERS,
            dialect="openai_chat",
            began_s=1.0,
        )
        step = plan.first(1.0)
        self.routing.begin(step, 1.0)
        step.candidate.live.end()


def cpu_us(choice: Callable[[], None], times: int) -> float:
    best = float("inf")
    for _ in range(_ROUNDS):
        began = time.process_time()
        for _ in range(times):
            choice()
        best = min(best, (time.process_time() - began) / times)
    return best * 1e6


def main() -> int:
    lines = [
        ("one deployment", Choice(1, "power-of-two"), 20_000),
        ("three, power-of-two", Choice(3, "power-of-two"), 10_000),
        *((f"1,000, {name}", Choice(1000, name), 300) for name in MAKERS),
        ("1,000, usage-based, with rpm and tpm", Choice(1000, "usage-based-routing", rpm=10**6, tpm=10**8), 300),
        ("1,000, power-of-two, with rpm", Choice(1000, "power-of-two", rpm=10**9), 300),
        ("1,000, power-of-two, 300 left alone", Choice(1000, "power-of-two", resting=300), 300),
    ]
    for name, choice, times in lines:
        sys.stdout.write(f"{name:40} {cpu_us(choice, times):8.1f} µs\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
