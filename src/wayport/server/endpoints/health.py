"""Health: alive, ready, and the state of the deployments. Only with the admin's key are models called, and only if they
are not asked in the background anyway.
"""

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import msgspec

from wayport import __version__
from wayport.access.allow import may_use
from wayport.access.principal import Principal
from wayport.control.probes import ASKABLE
from wayport.core.errors import WayportError
from wayport.routing.snapshot import Deployment
from wayport.server.exchange import Exchange

if TYPE_CHECKING:
    from wayport.server.app import Worker

_JSON = b"content-type: application/json\r\n"
_encode = msgspec.json.Encoder().encode
_AT_ONCE = 8
_ADMINS = ("proxy_admin", "proxy_admin_viewer")


def root() -> bytes:
    return _encode({"name": "wayport", "version": __version__, "docs": "/docs", "models": "/v1/models"})


def readiness(worker: "Worker") -> tuple[int, bytes]:
    """Ready means: the snapshot is loaded and no stop is under way. The database is a detail, never the verdict."""
    draining = worker.state.draining
    details = {
        "status": "draining" if draining else "healthy",
        "db": "connected" if worker.database_state == "connected" else "Not connected",
        "wayport_version": __version__,
    }
    return (503 if draining else 200), _encode(details)


async def respond(worker: "Worker", exchange: Exchange) -> None:
    principal = await _who(worker, exchange)
    asks = principal is not None and principal.role in _ADMINS and principal.kind != "keyless"
    if principal is not None and asks and not worker.probing.policy.background:
        exchange.respond(200, _JSON, _encode(await _asked(worker, principal, exchange.query)))
        return
    if principal is None:
        # Whoever has no key learns that we live, not what we have, nor by counts which names we know.
        exchange.respond(200, _JSON, _encode({"healthy_endpoints": [], "unhealthy_endpoints": []}))
        return
    exchange.respond(200, _JSON, _encode(_cached(worker, principal, exchange.query)))


async def _who(worker: "Worker", exchange: Exchange) -> Principal | None:
    try:
        found = worker.authenticator.authenticate(exchange.header, has_body=False)
        return found if isinstance(found, Principal) else await found
    except WayportError:
        return None


def _deployments(worker: "Worker", query: bytes) -> list[Deployment]:
    """Those that `?model=` (its name, or the upstream's) or `?model_id=` names, else all; wildcards where a model is named
    for asking them.
    """
    snapshot = worker.pipeline.table.snapshot
    found = [d for model in snapshot.models.values() for d in model.deployments if d.base_url or d.missing]
    found += [d for model in snapshot.wildcards for d in model.deployments if d.probe.model is not None]
    asked = parse_qs(query.decode("latin-1"))
    if names := asked.get("model"):
        found = [d for d in found if d.model in names or f"{d.provider}/{d.upstream_model}" in names]
    if ids := asked.get("model_id"):
        found = [d for d in found if d.id in ids]
    return found


def _entry(deployment: Deployment) -> dict[str, object]:
    return {
        "model": f"{deployment.provider}/{deployment.upstream_model}",
        "model_name": deployment.model,
        "model_id": deployment.id,
    }


def _report(healthy: list[dict[str, object]], unhealthy: list[dict[str, object]]) -> dict[str, object]:
    return {
        "healthy_endpoints": healthy,
        "unhealthy_endpoints": unhealthy,
        "healthy_count": len(healthy),
        "unhealthy_count": len(unhealthy),
    }


def _shown(worker: "Worker", principal: Principal, deployment: Deployment) -> bool:
    model = worker.pipeline.table.snapshot.models.get(deployment.model)
    return may_use(principal, deployment.model, model.access_groups if model is not None else ())


def _cached(worker: "Worker", principal: Principal, query: bytes) -> dict[str, object]:
    """What background probes and traffic have shown so far: a deployment that did not answer, is cooling or lacks its
    credential is unhealthy. Others than admins see the models that they may use, and not what went wrong.
    """
    now_s = worker.clock.steady_s()
    sees_all = principal.role in _ADMINS or principal.kind == "keyless"
    healthy: list[dict[str, object]] = []
    unhealthy: list[dict[str, object]] = []
    for deployment in _deployments(worker, query):
        if not (sees_all or _shown(worker, principal, deployment)):
            continue
        last = worker.probing.last(deployment.id)
        entry = _entry(deployment) if last is None else {**_entry(deployment), "checked_s_ago": round(last[1], 1)}
        if deployment.missing:
            unhealthy.append({**entry, "error": f"set {' or '.join(deployment.missing)}"})
        elif last is not None and last[0].error is not None:
            unhealthy.append({**entry, "error": last[0].error})
        elif worker.health.cooling_until_s(deployment.id) > now_s:
            unhealthy.append({**entry, "error": "left alone for a while after failures"})
        else:
            healthy.append(entry)
    if not sees_all:
        for entry in unhealthy:
            del entry["error"]
    return _report(healthy, unhealthy)


async def _asked(worker: "Worker", principal: Principal, query: bytes) -> dict[str, object]:
    """Calls every deployment with the smallest question there is. Models that draw, speak or listen are not asked."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def ask(deployment: Deployment) -> tuple[Deployment, str | None]:
        if deployment.mode not in ASKABLE:
            return deployment, None
        async with gate:
            return deployment, (await worker.probing.ask(deployment, principal=principal)).error

    # A credential's fault shows in every deployment that uses it: all are asked.
    answers = await asyncio.gather(*(ask(deployment) for deployment in _deployments(worker, query)))
    return _report(
        [_entry(deployment) for deployment, error in answers if error is None],
        [{**_entry(deployment), "error": error} for deployment, error in answers if error is not None],
    )
