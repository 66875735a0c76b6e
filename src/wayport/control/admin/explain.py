"""Why a call went where it went, from its record: for calls that the worker that is asked does not remember."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends
from sqlalchemy import select

from wayport.access.principal import Principal
from wayport.control.admin.parts import Parts, sees_all
from wayport.core.errors import RouteNotFound
from wayport.core.record import AttemptRecord, CallRecord, Decision
from wayport.routing.traces import explain
from wayport.storage.tables import calls


class _Told(msgspec.Struct):
    """What of a stored record is told; the rest of it is not looked at."""

    call_id: str
    started_s: float
    ended_s: float
    model_asked: str = ""
    model: str = ""
    deployment: str = ""
    provider: str = ""
    status: str = "success"
    http_status: int = 200
    stream: bool = False
    routing: list[Decision] = []
    attempts: list[AttemptRecord] = []
    dropped_params: list[str] = []
    first_token_ms: float | None = None
    overhead_ms: float = 0.0
    error: str | None = None
    key_hash: str | None = None


def routes(parts: Parts) -> APIRouter:
    router = APIRouter(tags=["calls"])
    anyone = Annotated[Principal, Depends(parts.callers.anyone)]

    @router.get("/v1/calls/{call_id}/explain", summary="Candidates, filters, scores and attempts of a call")
    @router.get("/calls/{call_id}/explain", include_in_schema=False)
    async def explain_call(caller: anyone, call_id: str) -> dict[str, Any]:
        wanted = select(calls.c.record).where(calls.c.call_id == call_id)
        async with parts.database.read() as connection:
            row = (await connection.execute(wanted)).first()
        told = None if row is None else msgspec.convert(row[0], _Told)
        # Somebody else's call is answered like one that never was.
        if told is None or not (sees_all(caller) or (caller.key_hash is not None and caller.key_hash == told.key_hash)):
            raise RouteNotFound(
                f"There is no call `{call_id[:80]}` (yet): records reach the database within a few seconds.",
                code="call_not_found",
            )
        return dict(msgspec.to_builtins(explain(_record(told))))

    return router


def _record(told: _Told) -> CallRecord:
    return CallRecord(
        **{name: getattr(told, name) for name in _Told.__struct_fields__},
    )
