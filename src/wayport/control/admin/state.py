"""How the control process itself is doing: database, journal, workers, configuration."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from msgspec import to_builtins

from wayport.access.principal import Principal
from wayport.control.admin.parts import Parts
from wayport.control.admin.words import iso


def routes(parts: Parts) -> APIRouter:
    router = APIRouter(tags=["health"])
    admin = Annotated[Principal, Depends(parts.callers.admin)]
    reader = Annotated[Principal, Depends(parts.callers.reader)]

    @router.get("/health/control", summary="Database, journal and workers")
    async def control(_: reader) -> dict[str, Any]:
        database = parts.database.state
        vitals = parts.observing.vitals() if parts.observing is not None else ()
        doing = {each.pid: to_builtins(each) for each in vitals}
        return {
            "database": {
                "status": database.status,
                "where": database.where,
                "since": iso(database.since_s),
                "error": database.error,
                "revision": database.revision,
            },
            "journal": to_builtins(parts.drain.state) | {"backlog_bytes": parts.drain.backlog_bytes()},
            "workers": [to_builtins(worker) | {"vitals": doing.get(worker.pid)} for worker in parts.workers()],
        }

    @router.post("/config/reload", summary="Read the configuration again, as SIGHUP does", tags=["config"])
    async def reload(_: admin) -> dict[str, Any]:
        refused = await parts.reload()
        return {"reloaded": refused is None, "error": refused}

    return router
