"""Asks every deployment now and then whether it answers, through a worker of ours, and tells all workers what became of it.

What must stay true: the question takes the way of an ordinary call, so that it fails where a call would, and is accounted for.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Protocol

from wayport.config.settings import HealthCheckSettings
from wayport.core.clock import Clock
from wayport.core.errors import Unavailable
from wayport.core.probe import Probed
from wayport.routing.snapshot import Deployment, Snapshot

log = logging.getLogger("wayport.control")

_FIRST_S = 0.2
ASKABLE = frozenset({"chat", "completion", "embedding", "responses"})
"""what a model must be for that a short question can be put to it"""


class Workers(Protocol):
    @property
    def any_workers(self) -> bool: ...
    async def probe(self, deployment_id: str, *, timeout_s: float) -> Probed: ...
    def tell_probed(self, deployment_id: str, probed: Probed) -> None: ...
    def forget_probed(self, but: set[str]) -> None: ...


class Probes:
    def __init__(
        self,
        settings: Callable[[], HealthCheckSettings],
        *,
        workers: Workers,
        snapshot: Callable[[], Snapshot],
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._settings = settings
        self._workers = workers
        self._snapshot = snapshot
        self._clock = clock
        self._sleep = sleep

    async def run(self) -> None:
        """Ends by cancellation."""
        while True:
            settings = self._settings()
            if not settings.background or not self._workers.any_workers:
                await self._sleep(_FIRST_S)
                continue
            began_s = self._clock.steady_s()
            await self.round(settings)
            await self._sleep(max(_FIRST_S, settings.every_s - (self._clock.steady_s() - began_s)))

    async def round(self, settings: HealthCheckSettings) -> None:
        """Asks each of them once."""
        gate = asyncio.Semaphore(settings.at_once)

        async def ask(deployment: Deployment) -> None:
            async with gate:
                try:
                    probed = await self._workers.probe(
                        deployment.id, timeout_s=deployment.probe.timeout_s or settings.timeout_s
                    )
                except Unavailable as error:
                    # It says something of us, and nothing of the deployment.
                    log.info("a deployment was not asked", extra={"deployment": deployment.id, "error": error.message})
                    return
                if probed.error is not None:
                    where = f"{deployment.provider}/{deployment.upstream_model}"
                    log.warning("%s does not answer", where, extra={"deployment": deployment.id, "error": probed.error})
                self._workers.tell_probed(deployment.id, probed)

        chosen = list(to_ask(self._snapshot(), settings.models))
        self._workers.forget_probed({deployment.id for deployment in chosen})
        await asyncio.gather(*(ask(deployment) for deployment in chosen))


def to_ask(snapshot: Snapshot, models: tuple[str, ...]) -> Iterator[Deployment]:
    """Those of these models (none named: of all) that can be asked and may be."""
    for model in (*snapshot.models.values(), *snapshot.wildcards):
        if models and model.name not in models:
            continue
        for deployment in model.deployments:
            named = deployment.probe.model or deployment.upstream_model
            if (
                deployment.base_url
                and not deployment.missing
                and not deployment.probe.off
                and deployment.mode in ASKABLE
                and "*" not in named
            ):
                yield deployment
