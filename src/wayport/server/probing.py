"""A worker asks a deployment whether it answers: an ordinary call that goes nowhere else, and that no breaker keeps away."""

from random import Random
from typing import TYPE_CHECKING

import msgspec
from msgspec import structs

from wayport.access.principal import Principal
from wayport.core.errors import Fault, UpstreamFault
from wayport.core.probe import Probed
from wayport.dialects.openai_embeddings import DIALECT as EMBEDDINGS
from wayport.dialects.registry import DIALECTS
from wayport.pipeline.call import PROBES_ROUTE, began
from wayport.pipeline.overheard import Overheard
from wayport.pipeline.pipeline import Pipeline
from wayport.routing.health import Blocked
from wayport.routing.routing import Routing
from wayport.routing.snapshot import Deployment, FallbackRules, Model, ProbePolicy
from wayport.routing.table import RoutingTable

if TYPE_CHECKING:
    from wayport.server.app import Worker

_encode = msgspec.json.Encoder().encode
_OURS = Principal(kind="master", key_alias="wayport-health-check", role="proxy_admin")
_TRANSIENT = frozenset({"rate_limit", "timeout"})
_MAX_TOKENS = 16
_AGENT = b"wayport health check"


class Probing:
    def __init__(self, worker: "Worker") -> None:
        self._worker = worker
        self.found: dict[str, Probed] = {}
        """by deployment, what its last probe came to"""
        self._heard_s: dict[str, float] = {}

    @property
    def policy(self) -> ProbePolicy:
        return self._worker.pipeline.table.snapshot.router.probes

    async def probe(self, deployment_id: str, timeout_s: float) -> Probed:
        snapshot = self._worker.pipeline.table.snapshot
        groups = (*snapshot.models.values(), *snapshot.wildcards)
        found = next((d for model in groups for d in model.deployments if d.id == deployment_id), None)
        if found is None:
            return Probed(error="there is no such deployment any more")
        return await self.ask(found, timeout_s=timeout_s)

    async def ask(
        self, deployment: Deployment, *, timeout_s: float | None = None, principal: Principal = _OURS
    ) -> Probed:
        """The smallest question there is."""
        worker, probe = self._worker, deployment.probe
        if deployment.missing:
            return Probed(error=f"set {' or '.join(deployment.missing)}", kind="authentication")
        embeds = deployment.mode == "embedding"
        question: dict[str, object] = {"model": deployment.id}
        if embeds:
            question["input"] = "ping"
        else:
            question |= {
                "messages": [{"role": "user", "content": "ping"}],
                "max_tokens": probe.max_tokens or _MAX_TOKENS,
            }
        headers = {b"user-agent": _AGENT}
        if timeout_s is not None:
            headers[b"x-wayport-timeout"] = f"{timeout_s:g}".encode()
        call = began(
            Overheard(_encode(question), path=PROBES_ROUTE, headers=headers),
            EMBEDDINGS if embeds else DIALECTS["openai_chat"],
            call_id=worker.new_id(),
            operation="embeddings" if embeds else "chat",
            route=PROBES_ROUTE,
            started_s=worker.clock.now_s(),
            steady_s=worker.clock.steady_s(),
        )
        call.principal = principal
        await self._pipeline(deployment).run(call)
        took_ms = (worker.clock.steady_s() - call.steady_s) * 1000
        error = call.error
        if error is None:
            return Probed(took_ms=took_ms)
        kind = error.fault.kind if isinstance(error, UpstreamFault) else None
        return Probed(error=error.message, kind=kind, status=error.status, took_ms=took_ms)

    def _pipeline(self, deployment: Deployment) -> Pipeline:
        """One that knows this deployment alone, and of no failure of it."""
        worker = self._worker
        snapshot = worker.pipeline.table.snapshot
        asked = structs.replace(deployment, upstream_model=deployment.probe.model or deployment.upstream_model)
        router = structs.replace(snapshot.router, num_retries=0, retries={}, fallbacks=FallbackRules(max_hops=0))
        alone = structs.replace(
            snapshot,
            models={asked.id: Model(name=asked.id, deployments=(asked,))},
            wildcards=(),
            aliases={},
            implicit={},
            families={},
            router=router,
        )
        return worker.pipeline.beside(RoutingTable(alone), Routing(random=Random()))  # noqa: S311 (there is no choice)

    # ------------------------------------------------------------------------------------------------------ hearing
    def hear(self, deployment_id: str, probed: Probed | None) -> None:
        """What a probe has come to, whoever made it; None: it is not asked any more."""
        health = self._worker.health
        if probed is None:
            self.found.pop(deployment_id, None)
            health.let_in(deployment_id)
            return
        now_s = self._worker.clock.steady_s()
        self.found[deployment_id] = probed
        self._heard_s[deployment_id] = now_s - probed.age_s
        policy = self.policy
        if not policy.route or probed.error is None or (policy.ignore_transient and probed.kind in _TRANSIENT):
            health.let_in(deployment_id)
            return
        fault = Fault(
            kind=probed.kind or "server",
            status=probed.status,
            message=f"it did not answer when last asked: {probed.error[:200]}",
            body_sent=False,
        )
        # Softly: where all have failed, a call finds out for itself.
        health.shut_out(deployment_id, Blocked(now_s - probed.age_s + policy.stale_s, "probe", fault, soft=True))

    def last(self, deployment_id: str) -> tuple[Probed, float] | None:
        """What the last probe has come to, and how long ago that is; None: nobody knows."""
        found = self.found.get(deployment_id)
        if found is None:
            return None
        return found, self._worker.clock.steady_s() - self._heard_s[deployment_id]
