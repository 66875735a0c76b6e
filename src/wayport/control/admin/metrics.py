"""What Prometheus reads, and the health of who is told of calls."""

from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from msgspec import to_builtins

from wayport import __version__
from wayport.access.principal import Principal
from wayport.control.admin import provider_budgets
from wayport.control.admin.parts import Parts, sees_all
from wayport.control.admin.words import iso
from wayport.core.errors import RouteNotFound, Unavailable


def routes(parts: Parts) -> APIRouter:
    router = APIRouter(tags=["health"])
    reader = Annotated[Principal, Depends(parts.callers.reader)]

    @router.get("/metrics", summary="Metrics as Prometheus reads them", response_class=Response)
    @router.get("/metrics/", include_in_schema=False, response_class=Response)
    async def metrics(request: Request) -> Response:
        observing = parts.observing
        if observing is None:
            raise RouteNotFound("There are no metrics here.")
        if observing.require_key:
            caller = await parts.callers.anyone(request)
            if not sees_all(caller):
                await parts.callers.admin(request)
        # First, as they renew the names that the others are told by.
        stored = await observing.stored_gauges()
        gauges = [*observing.gauges()]
        with suppress(Unavailable):
            gauges += await provider_budgets.gauges(parts)
        # Last: of these there may be more than are shown.
        gauges += stored
        return Response(observing.metrics.render(gauges), media_type="text/plain; version=0.0.4; charset=utf-8")

    @router.get("/health/readiness/details", summary="Ready, and how callbacks, database and journal are doing")
    async def readiness(_: reader) -> dict[str, Any]:
        database = parts.database.state
        callbacks = parts.observing.callbacks if parts.observing is not None else []
        return {
            "status": "healthy",
            "litellm_version": __version__,
            "wayport_version": __version__,
            "db": "connected" if database.status == "connected" else "Not connected",
            "database": {"status": database.status, "since": iso(database.since_s), "error": database.error},
            "journal": to_builtins(parts.drain.state) | {"backlog_bytes": parts.drain.backlog_bytes()},
            "success_callbacks": [state.name for state in callbacks if state.status != "off" and state.team_id is None],
            "callbacks": [to_builtins(state) for state in callbacks],
        }

    return router
