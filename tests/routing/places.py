"""Deployments, faults and plans for tests of routing: no sockets, no clock of the machine."""

from collections.abc import Sequence
from random import Random
from typing import Any

from wayport.core.errors import Fault, FaultClass
from wayport.routing.affinity import Affinity
from wayport.routing.choice import Chooser
from wayport.routing.health import Health
from wayport.routing.live import LiveStates
from wayport.routing.needs import NOTHING, Needs
from wayport.routing.plan import Plan
from wayport.routing.snapshot import Deployment, Model, RouterPolicy, Snapshot
from wayport.routing.table import Found, RoutingTable
from wayport.routing.wishes import NO_WISHES, Wishes


class Request:
    """What routing is told of a request."""

    def __init__(
        self,
        *,
        needs: Needs = NOTHING,
        tags: Sequence[str] = (),
        pins: tuple[str, ...] = (),
        models: Sequence[str] | None = None,
    ) -> None:
        self._needs = needs
        self._tags = tags
        self._pins = pins
        self._models = models
        """those that its key may use; None: all"""

    def needs(self) -> Needs:
        return self._needs

    def most_tokens(self) -> int:
        return self._needs.input_tokens

    def tags(self) -> Sequence[str]:
        return self._tags

    def pins(self, found: Found, kinds: Sequence[str]) -> tuple[str, ...]:
        del found, kinds
        return self._pins

    def region(self) -> str | None:
        return None

    def check_fallbacks(self, models: Sequence[str]) -> None:
        pass

    def may_use(self, model: str) -> bool:
        return self._models is None or model in self._models


def deployment(name: str, **more: Any) -> Deployment:
    return Deployment(
        **{"id": name, "model": "m", "provider": "p", "upstream_model": name, "base_url": "http://x", **more}
    )


def fault(kind: FaultClass, retry_after_s: float | None = None) -> Fault:
    return Fault(kind=kind, status=0, message=kind, retry_after_s=retry_after_s)


class Place:
    """A worker's routing, with a snapshot."""

    def __init__(
        self, *models: Model, policy: RouterPolicy | None = None, health: Health | None = None, **more: Any
    ) -> None:
        self.health = health or Health()
        self.lives = LiveStates()
        self.affinity = Affinity()
        self.chooser = Chooser(random=Random(1), health=self.health, lives=self.lives, affinity=self.affinity)
        router = policy or RouterPolicy(num_retries=2)
        self.table = RoutingTable(Snapshot(models={m.name: m for m in models}, router=router, **more))
        self.model = models[0].name

    def plan(
        self,
        name: str | None = None,
        *,
        request: Request | None = None,
        wishes: Wishes = NO_WISHES,
        until_s: float | None = None,
    ) -> Plan:
        found = self.table.find_or_all(name or self.model, "chat")
        return Plan(found, self.table, self.chooser, asking=request or Request(), wishes=wishes, until_s=until_s)

    def chosen(self, times: int = 1, *, now_s: float = 0.0, **more: Any) -> list[str]:
        """The deployments that calls begin with."""
        return [self.plan(**more).first(now_s).deployment.id for _ in range(times)]


def planned(
    *models: Model,
    policy: RouterPolicy | None = None,
    health: Health | None = None,
    request: Request | None = None,
    wishes: Wishes = NO_WISHES,
    until_s: float | None = None,
) -> Plan:
    return Place(*models, policy=policy, health=health).plan(request=request, wishes=wishes, until_s=until_s)
