"""Health: alive, ready, and the state of the deployments. Only with the admin's key are models called."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from wayport import __version__
from wayport.access.principal import Principal
from wayport.core.errors import WayportError
from wayport.dialects.openai_embeddings import DIALECT as EMBEDDINGS
from wayport.dialects.registry import DIALECTS
from wayport.pipeline.bodies import Kept
from wayport.pipeline.call import Call
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
    if principal is not None and principal.role in _ADMINS and principal.kind != "keyless":
        exchange.respond(200, _JSON, _encode(await _asked(worker, principal)))
        return
    report = _cached(worker)
    if principal is None:
        # Whoever has no key learns that we live, not what we have.
        report = {**report, "healthy_endpoints": [], "unhealthy_endpoints": []}
    exchange.respond(200, _JSON, _encode(report))


async def _who(worker: "Worker", exchange: Exchange) -> Principal | None:
    try:
        found = worker.authenticator.authenticate(exchange.header, has_body=False)
        return found if isinstance(found, Principal) else await found
    except WayportError:
        return None


def _deployments(worker: "Worker") -> list[Deployment]:
    snapshot = worker.pipeline.table.snapshot
    return [d for model in snapshot.models.values() for d in model.deployments if d.base_url or d.missing]


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


def _cached(worker: "Worker") -> dict[str, object]:
    """What traffic has shown so far: a deployment that is cooling or lacks its credential is unhealthy."""
    now_s = worker.clock.steady_s()
    healthy, unhealthy = [], []
    for deployment in _deployments(worker):
        if deployment.missing:
            unhealthy.append({**_entry(deployment), "error": f"set {' or '.join(deployment.missing)}"})
        elif worker.health.cooling_until_s(deployment.id) > now_s:
            unhealthy.append({**_entry(deployment), "error": "left alone for a while after failures"})
        else:
            healthy.append(_entry(deployment))
    return _report(healthy, unhealthy)


class Overheard:
    """A client that keeps the answer to itself: for calls that we make of our own models."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.query = b""
        self.path = "/health"
        self.gone = False
        self.started = False
        self.bytes_out = 0
        self.client = ("", 0)
        self.on_pause: Callable[[], None] | None = None
        self.on_resume: Callable[[], None] | None = None
        self.kept: Kept | None = None
        self.paused = False
        self.headers: dict[bytes, bytes] = {}
        self.status = 0
        self.answer = b""

    def header(self, name: bytes) -> bytes | None:
        return b"wayport health check" if name == b"user-agent" else None

    def respond(self, status: int, head: bytes, body: bytes) -> None:
        del head
        self.status = status
        self.answer = body
        self.bytes_out = len(body)

    def start(self, status: int, head: bytes) -> None:
        del head
        self.started = True
        self.status = status

    def write(self, data: bytes) -> None:
        self.answer += data

    def end(self, data: bytes = b"") -> None:
        self.answer += data

    def release_body(self) -> None:
        self.body = b""


async def _asked(worker: "Worker", principal: Principal) -> dict[str, object]:
    """Calls every deployment with the smallest question there is."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def ask(deployment: Deployment) -> tuple[Deployment, str | None]:
        if deployment.missing:
            return deployment, f"set {' or '.join(deployment.missing)}"
        async with gate:
            return deployment, await _ask(worker, deployment, principal)

    # A credential's fault shows in every deployment that uses it: all are asked.
    answers = await asyncio.gather(*(ask(deployment) for deployment in _deployments(worker)))
    return _report(
        [_entry(deployment) for deployment, error in answers if error is None],
        [{**_entry(deployment), "error": error} for deployment, error in answers if error is not None],
    )


async def _ask(worker: "Worker", deployment: Deployment, principal: Principal) -> str | None:
    embeds = deployment.mode == "embedding"
    question: dict[str, object] = {"model": deployment.id}
    if embeds:
        question["input"] = "ping"
    else:
        question |= {"messages": [{"role": "user", "content": "ping"}], "max_tokens": 16}
    client = Overheard(_encode(question))
    call = Call(
        client,
        EMBEDDINGS if embeds else DIALECTS["openai_chat"],
        call_id=worker.new_id(),
        operation="embeddings" if embeds else "chat",
        route="/health",
        started_s=worker.clock.now_s(),
        steady_s=worker.clock.steady_s(),
    )
    call.principal = principal
    await worker.pipeline.run(call)
    return None if call.error is None else call.error.message
