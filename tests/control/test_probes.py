"""Which deployments are asked in the background, and what is told of them."""

import asyncio

from tests.fakes.manual_clock import ManualClock
from tests.routing.places import deployment

from wayport.config.settings import HealthCheckSettings
from wayport.control.probes import Probes, to_ask
from wayport.core.errors import Unavailable
from wayport.core.probe import Probed, ProbeWay
from wayport.routing.snapshot import Model, Snapshot

A, B = deployment("a"), deployment("b", model="n")
FACTS = Snapshot(
    models={
        "m": Model(
            name="m",
            deployments=(
                A,
                deployment("off", probe=ProbeWay(off=True)),
                deployment("picture", mode="image_generation"),
                deployment("locked", missing=("KEY",)),
                deployment("built in", base_url=""),
            ),
        ),
        "n": Model(name="n", deployments=(B,)),
    },
    wildcards=(
        Model(
            name="x/*",
            deployments=(
                deployment("open", upstream_model="*"),
                deployment("named", upstream_model="*", probe=ProbeWay(model="small", timeout_s=9)),
            ),
        ),
    ),
)


class Asked:
    """The workers, as far as they are asked and told."""

    any_workers = True

    def __init__(self) -> None:
        self.asked: dict[str, float] = {}
        self.told: dict[str, Probed] = {}
        self.kept: set[str] = set()
        self.at_once = self.most = 0

    async def probe(self, deployment_id: str, *, timeout_s: float) -> Probed:
        self.asked[deployment_id] = timeout_s
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        if deployment_id == "b":
            raise Unavailable("the worker has gone")
        return Probed(error="no" if deployment_id == "a" else None)

    def tell_probed(self, deployment_id: str, probed: Probed) -> None:
        self.told[deployment_id] = probed

    def forget_probed(self, but: set[str]) -> None:
        self.kept = but


def probes(workers: Asked, settings: HealthCheckSettings) -> Probes:
    return Probes(lambda: settings, workers=workers, snapshot=lambda: FACTS, clock=ManualClock())


def test_those_are_asked_that_can_be_and_may_be() -> None:
    assert [d.id for d in to_ask(FACTS, ())] == ["a", "b", "named"]
    assert [d.id for d in to_ask(FACTS, ("n",))] == ["b"]


async def test_what_came_of_it_is_told_but_not_what_says_nothing_of_the_deployment() -> None:
    workers = Asked()
    settings = HealthCheckSettings(background=True, timeout_s=4, at_once=2)
    await probes(workers, settings).round(settings)
    assert workers.asked == {"a": 4, "b": 4, "named": 9}
    assert workers.told == {"a": Probed(error="no"), "named": Probed()}
    assert workers.kept == {"a", "b", "named"}
    assert workers.most == 2


async def test_nobody_is_asked_unless_somebody_wants_it() -> None:
    workers, slept = Asked(), 0

    async def sleep(_: float) -> None:
        nonlocal slept
        slept += 1
        if slept == 5:
            raise asyncio.CancelledError
        await asyncio.sleep(0)

    asking = Probes(HealthCheckSettings, workers=workers, snapshot=lambda: FACTS, clock=ManualClock(), sleep=sleep)
    await asyncio.gather(asking.run(), return_exceptions=True)
    assert workers.asked == {}
