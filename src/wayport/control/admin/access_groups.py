"""Access groups: one name for several models. LiteLLM has two families of routes for them; both work on the same groups."""

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, Field

from wayport.access.allow import is_a_teams
from wayport.access.groups import AccessGroup
from wayport.access.principal import Principal
from wayport.access.rows import Patch
from wayport.control.admin import changes
from wayport.control.admin.fields import Id, Name, Words, show_row
from wayport.control.admin.parts import Parts
from wayport.control.admin.stores import name_of
from wayport.core.errors import RouteNotFound, WayportError
from wayport.core.ids import uuid7
from wayport.routing.snapshot import Model

_TABLE = "access_groups"


class NewGroup(BaseModel):
    access_group: Id
    model_names: Words = Field(min_length=1, max_length=1000)


class UpdateGroup(BaseModel):
    model_names: Words = Field(min_length=1, max_length=1000)


class NewUnifiedGroup(BaseModel):
    access_group_name: Id
    description: Name | None = None
    access_model_names: Words | None = None


class UpdateUnifiedGroup(BaseModel):
    access_group_name: Id | None = None
    description: Name | None = None
    access_model_names: Words | None = None


def routes(parts: Parts) -> APIRouter:
    router = APIRouter(tags=["access groups"])
    _plain(router, parts)
    for prefix in ("/v1/access_group", "/v1/unified_access_group"):
        part = APIRouter(prefix=prefix)
        _unified(part, parts)
        router.include_router(part)
    return router


async def _changed(parts: Parts, wanted: AccessGroup, patch: Patch, caller: Principal) -> AccessGroup:
    found = await parts.stores.groups.change(wanted.id, patch, by=name_of(caller))
    if found is None:
        raise no_such_group(wanted.name)
    changes.tell_all(parts)
    await changes.note(parts, caller, "updated", _TABLE, wanted.id, before=found[0], after=found[1])
    return found[1]


async def _deleted(parts: Parts, wanted: AccessGroup, caller: Principal) -> None:
    await parts.stores.groups.delete([wanted.id])
    changes.tell_all(parts)
    await changes.note(parts, caller, "deleted", _TABLE, wanted.id, before=wanted)


async def _named(parts: Parts, name: str) -> AccessGroup:
    found = await parts.stores.groups.named([name])
    if not found:
        raise no_such_group(name)
    return found[0]


def _plain(router: APIRouter, parts: Parts) -> None:
    admin = Annotated[Principal, Depends(parts.callers.admin)]
    reader = Annotated[Principal, Depends(parts.callers.reader)]
    stores = parts.stores

    def shown(group: AccessGroup) -> dict[str, Any]:
        return {"access_group": group.name, "model_names": list(group.models), "deployment_count": len(group.models)}

    def models() -> Iterator[Model]:
        snapshot = parts.models.snapshot()
        return (
            model for model in (*snapshot.models.values(), *snapshot.wildcards) if not is_a_teams(model.access_groups)
        )

    def in_models() -> set[str]:
        """Groups that stand in what is said of models (`model_info.access_groups`), in the configuration or the database."""
        return {group for model in models() for group in model.access_groups}

    def of_models(name: str) -> dict[str, Any]:
        inside = [model for model in models() if name in model.access_groups]
        count = sum(len(model.deployments) for model in inside)
        return {"access_group": name, "model_names": [model.name for model in inside], "deployment_count": count}

    @router.post("/access_group/new", summary="Make a group of models")
    async def new(body: NewGroup, caller: admin) -> dict[str, Any]:
        if await stores.groups.named([body.access_group]):
            raise stores.groups.taken(body.access_group)
        patch = Patch(columns={"models": body.model_names, "alias": body.access_group})
        made = await stores.groups.add(body.access_group, patch, by=name_of(caller))
        changes.tell_all(parts)
        await changes.note(parts, caller, "created", _TABLE, made.id, after=made)
        return {"access_group": made.name, "model_names": list(made.models), "models_updated": len(made.models)}

    @router.get("/access_group/list", summary="Groups of models")
    async def list_all(_: reader) -> dict[str, Any]:
        rows, _total = await stores.groups.page()
        made = {group.name: shown(group) for group in rows}
        return {"access_groups": [*made.values(), *(of_models(name) for name in sorted(in_models() - made.keys()))]}

    @router.get("/access_group/{access_group}/info", summary="A group of models")
    async def info(access_group: str, _: reader) -> dict[str, Any]:
        if access_group in in_models() and not await stores.groups.named([access_group]):
            return of_models(access_group)
        return shown(await _named(parts, access_group))

    @router.put("/access_group/{access_group}/update", summary="Say which models are in a group")
    async def update(access_group: str, body: UpdateGroup, caller: admin) -> dict[str, Any]:
        group = await _named(parts, access_group)
        after = await _changed(parts, group, Patch(columns={"models": body.model_names}), caller)
        return {"access_group": after.name, "model_names": list(after.models), "models_updated": len(after.models)}

    @router.delete("/access_group/{access_group}/delete", summary="Delete a group of models")
    async def delete(access_group: str, caller: admin) -> dict[str, Any]:
        group = await _named(parts, access_group)
        await _deleted(parts, group, caller)
        return {
            "access_group": group.name,
            "models_updated": len(group.models),
            "message": f"Access group '{group.name}' deleted successfully",
        }


def _unified(router: APIRouter, parts: Parts) -> None:
    admin = Annotated[Principal, Depends(parts.callers.admin)]
    reader = Annotated[Principal, Depends(parts.callers.reader)]
    stores = parts.stores

    def shown(group: AccessGroup) -> dict[str, Any]:
        return {
            **show_row(group),
            "access_group_id": group.id,
            "access_group_name": group.name,
            "description": group.settings.get("description"),
            "access_model_names": list(group.models),
            "access_mcp_server_ids": [],
            "access_agent_ids": [],
            "assigned_team_ids": [],
            "assigned_key_ids": [],
        }

    async def wanted(group_id: str) -> AccessGroup:
        found = await stores.groups.find(group_id)
        if found is None:
            raise no_such_group(group_id)
        return found

    @router.get("", summary="Groups of models")
    async def list_all(_: reader) -> list[dict[str, Any]]:
        rows, _total = await stores.groups.page()
        return [shown(group) for group in rows]

    @router.post("", summary="Make a group of models", status_code=201)
    async def new(body: NewUnifiedGroup, caller: admin) -> dict[str, Any]:
        if await stores.groups.named([body.access_group_name]):
            raise stores.groups.taken(body.access_group_name)
        patch = Patch(
            columns={"alias": body.access_group_name, "models": body.access_model_names or []},
            settings={"description": body.description},
        )
        made = await stores.groups.add(uuid7(), patch, by=name_of(caller))
        changes.tell_all(parts)
        await changes.note(parts, caller, "created", _TABLE, made.id, after=made)
        return shown(made)

    @router.get("/{access_group_id}", summary="A group of models")
    async def info(access_group_id: str, _: reader) -> dict[str, Any]:
        return shown(await wanted(access_group_id))

    @router.put("/{access_group_id}", summary="Change a group of models")
    async def update(access_group_id: str, body: UpdateUnifiedGroup, caller: admin) -> dict[str, Any]:
        group = await wanted(access_group_id)
        given = body.model_dump(exclude_unset=True)
        if (name := given.get("access_group_name")) is not None:
            others = await stores.groups.named([name])
            if any(other.id != group.id for other in others):
                raise stores.groups.taken(name)
        columns = {
            column: given[field]
            for field, column in (("access_group_name", "alias"), ("access_model_names", "models"))
            if field in given
        }
        settings = {"description": given["description"]} if "description" in given else {}
        return shown(await _changed(parts, group, Patch(columns=columns, settings=settings), caller))

    @router.delete("/{access_group_id}", summary="Delete a group of models", status_code=204)
    async def delete(access_group_id: str, caller: admin) -> Response:
        await _deleted(parts, await wanted(access_group_id), caller)
        return Response(status_code=204)


def no_such_group(name: str) -> WayportError:
    return RouteNotFound(f"Access group '{name}' not found.", param="access_group", code="access_group_not_found")
