"""`/cache/*` of LiteLLM's: answers are not cached here, and that is what each of them says."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from wayport.access.principal import Principal
from wayport.control.admin.parts import Parts
from wayport.core.errors import Unavailable


def routes(parts: Parts) -> APIRouter:
    router = APIRouter(prefix="/cache", tags=["cache"])
    admin = Annotated[Principal, Depends(parts.callers.admin)]
    reader = Annotated[Principal, Depends(parts.callers.reader)]

    def none() -> Unavailable:
        error = Unavailable("Service Unhealthy (cache not initialized: there is none here).", code="no_cache")
        error.retryable = False
        return error

    @router.get("/ping", summary="503: there is no cache of answers")
    async def ping(_: reader) -> None:
        raise none()

    @router.get("/redis/info", summary="503: there is no cache of answers")
    async def redis_info(_: reader) -> None:
        raise none()

    @router.post("/delete", summary="503: there is no cache of answers")
    async def delete(_: admin) -> None:
        raise none()

    @router.post("/flushall", summary="503: there is no cache of answers")
    async def flush_all(_: admin) -> None:
        raise none()

    @router.get("/settings", summary="Settings of the cache, of which there is none")
    async def settings(_: reader) -> dict[str, Any]:
        return {"fields": [], "current_values": {}, "redis_type_descriptions": {}}

    return router
