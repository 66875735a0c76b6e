"""The audit log: who changed what."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from sqlalchemy import ColumnElement

from wayport.access.audit import Entry
from wayport.access.principal import Principal
from wayport.control.admin.parts import Parts
from wayport.control.admin.words import iso, moment
from wayport.core.errors import RouteNotFound
from wayport.storage.tables import audit


def routes(parts: Parts) -> APIRouter:
    router = APIRouter(tags=["audit"])
    reader = Annotated[Principal, Depends(parts.callers.reader)]
    log = parts.stores.audit

    @router.get("/audit", summary="Management changes, newest first")
    async def entries(  # noqa: PLR0917 (FastAPI reads its parameters from here)
        _: reader,
        page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
        page_size: Annotated[int, Query(ge=1, le=1000)] = 10,
        changed_by: str | None = None,
        changed_by_api_key: str | None = None,
        action: Literal["created", "updated", "deleted", "blocked", "unblocked", "rotated"] | None = None,
        table_name: str | None = None,
        object_id: str | None = None,
        start_date: str | None = None,
        end_date: str | None = None,
    ) -> dict[str, Any]:
        given: dict[str, str | None] = {
            "changed_by": changed_by,
            "changed_by_key": changed_by_api_key,
            "action": action,
            "table_name": table_name,
            "object_id": object_id,
        }
        conditions: list[ColumnElement[bool]] = [audit.c[name] == value for name, value in given.items() if value]
        if start_date:
            conditions.append(audit.c.at_s >= moment(start_date, param="start_date"))
        if end_date:
            conditions.append(audit.c.at_s < moment(end_date, param="end_date", end=True))
        found, total = await log.page(*conditions, offset=(page - 1) * page_size, limit=page_size)
        return {
            "audit_logs": [_shown(entry) for entry in found],
            "total": total,
            "page": page,
            "page_size": page_size,
            "total_pages": -(-total // page_size),
        }

    @router.get("/audit/{id}", summary="One change")
    async def one(id: str, _: reader) -> dict[str, Any]:  # noqa: A002 (the path's name)
        entry = await log.find(id)
        if entry is None:
            raise RouteNotFound(f"There is no audit entry {id}.", param="id", code="audit_entry_not_found")
        return _shown(entry)

    return router


def _shown(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "updated_at": iso(entry.at_s),
        "changed_by": entry.changed_by or "",
        "changed_by_api_key": entry.changed_by_key or "",
        "action": entry.action,
        "table_name": entry.table_name,
        "object_id": entry.object_id,
        "before_value": entry.before,
        "updated_values": entry.after,
    }
