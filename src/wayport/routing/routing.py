"""What all calls of a worker share of routing, and the making of a call's plan."""

from collections.abc import Callable
from random import Random

from wayport.core.errors import Fault
from wayport.dialects.neutral import DialectName
from wayport.routing.affinity import Affinity
from wayport.routing.choice import Asking, Chooser
from wayport.routing.group import Candidate
from wayport.routing.health import Health
from wayport.routing.lines import Lines
from wayport.routing.live import LiveStates
from wayport.routing.plan import Plan, Step
from wayport.routing.slots import Slots
from wayport.routing.snapshot import Deployment, Snapshot
from wayport.routing.table import Found, RoutingTable
from wayport.routing.traces import Traces
from wayport.routing.wishes import NO_WISHES, Headers, wishes_of
from wayport.wire.patch import Fields


class Routing:
    def __init__(
        self,
        *,
        random: Random,
        lines: Lines | None = None,
        slots_of: Callable[[Deployment], Slots | None] = lambda _: None,
    ) -> None:
        """`slots_of`: what this worker shares of a deployment's `max_parallel` with others."""
        self.health = Health()
        self.lives = LiveStates(slots_of=slots_of)
        self.affinity = Affinity()
        self.traces = Traces()
        self.lines = lines or Lines()
        self._chooser = Chooser(
            random=random,
            health=self.health,
            lives=self.lives,
            affinity=self.affinity,
            waiting=self.lines.waiting,
        )

    def plan(
        self,
        found: Found,
        table: RoutingTable,
        *,
        asking: Asking,
        fields: Fields,
        headers: Headers,
        dialect: DialectName,
        began_s: float,
    ) -> Plan:
        """Raises `BadRequest` for wishes that cannot be read. `began_s`: steady seconds at the call's start."""
        wishes = wishes_of(fields, headers, dialect=dialect, model=found.name)
        total_s = wishes.total_s if wishes.total_s is not None else table.snapshot.router.request_timeout_s
        until_s = None if total_s is None else began_s + total_s
        return Plan(found, table, self._chooser, asking=asking, wishes=wishes, until_s=until_s)

    def only(self, found: Found) -> Candidate | None:
        """The one deployment there is for calls that wish nothing, where nothing needs to be looked at."""
        return self._chooser.only(found, NO_WISHES)

    def candidates(self, found: Found) -> tuple[Candidate, ...]:
        """All that may be chosen for calls of this model."""
        return self._chooser.group(found).able

    # ----------------------------------------------------------------------------------------------------- learning
    def begin(self, step: Step, now_s: float) -> None:
        """A call goes there. To be followed by `end`, whatever becomes of it."""
        candidate = step.candidate
        live = candidate.live
        if step.again:
            live.begin_again(now_s)
        else:
            live.begin(now_s)
        if not self.health.quiet:
            self.health.probing(candidate.deployment, now_s)

    def failed(self, step: Step, fault: Fault, now_s: float, cooldown_s: float) -> None:
        own_s = step.deployment.cooldown_s
        rest_s = cooldown_s if own_s is None else own_s
        self.health.failed(step.deployment, fault, now_s=now_s, cooldown_s=rest_s, again=step.again)
        if fault.kind == "timeout":
            step.candidate.live.timed_out(now_s)

    def keep(self, snapshot: Snapshot) -> None:
        """Forgets deployments that are gone."""
        groups = (*snapshot.models.values(), *snapshot.wildcards)
        deployments = {deployment.id: deployment for model in groups for deployment in model.deployments}
        self.health.keep(set(deployments))
        self.lives.keep(deployments)

    def state_of(self, deployment: Deployment, now_s: float) -> str:
        return self.health.state_of(deployment, now_s)
