"""Tags with limits of their own. LiteLLM's routes and shapes."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from wayport.access.principal import Principal
from wayport.access.tags import Tag
from wayport.control.admin import changes
from wayport.control.admin.fields import Bounded, Id, Words, patch_of, show_limits, show_row
from wayport.control.admin.parts import Parts
from wayport.control.admin.stores import name_of
from wayport.control.admin.words import usd
from wayport.core.errors import RouteNotFound, WayportError
from wayport.ledger.reports import Reports, Wanted

_TABLE = "tags"
_COLUMNS = {
    "description": "description",
    "models": "models",
    "allowed_models": "models",
    "budget_id": "budget_id",
    "metadata": "metadata",
}
_PASSING = ("name", "spend")


class TagWishes(Bounded):
    name: Id
    description: str | None = Field(default=None, max_length=10_000)
    models: Words | None = Field(
        default=None, description="Models that requests with this tag may use, or ids of their deployments. None: all."
    )
    allowed_models: Words | None = Field(default=None, description="The same as `models`.")
    budget_id: Id | None = None
    metadata: dict[str, Any] | None = None


class TagNamed(BaseModel):
    name: Id


class TagsAsked(BaseModel):
    names: list[Id] = Field(max_length=1000)


def routes(parts: Parts) -> APIRouter:
    router = APIRouter(prefix="/tag", tags=["tags"])
    _looking(router, parts)
    _changing(router, parts)
    return router


async def _shown(rows: list[Tag], parts: Parts) -> list[dict[str, Any]]:
    spent = await parts.stores.spent.shown("tag", {row.id: row.limits for row in rows})
    deployed = parts.models.snapshot().models.values()
    named = {deployment.id: model.name for model in deployed for deployment in model.deployments}
    found = []
    for row in rows:
        limits = show_limits(row.limits, parts.clock.now_s(), calendar=parts.calendar)
        found.append(
            {
                **show_row(row),
                **limits,
                "name": row.id,
                "description": row.description,
                "models": list(row.models),
                "allowed_models": list(row.models),
                "model_info": {name: named[name] for name in row.models if name in named},
                "budget_id": row.budget_id,
                "spend": usd(spent[row.id]),
                "litellm_budget_table": limits if row.limits else None,
            }
        )
    return found


def _looking(router: APIRouter, parts: Parts) -> None:
    reader = Annotated[Principal, Depends(parts.callers.reader)]
    stores = parts.stores

    @router.post("/info", summary="Tags by name")
    async def info(body: TagsAsked, _: reader) -> dict[str, Any]:
        rows = await stores.tags.those(body.names)
        known = {row.id for row in rows}
        if missing := [name for name in body.names if name not in known]:
            raise no_such_tag(missing[0])
        return {tag["name"]: tag for tag in await _shown(rows, parts)}

    @router.get("/list", summary="Tags, newest first")
    async def list_all(_: reader) -> list[dict[str, Any]]:
        rows, _total = await stores.tags.page()
        return await _shown(rows, parts)

    @router.get("/distinct", summary="Tags that calls have had, whether somebody made them or not")
    async def distinct(_: reader) -> dict[str, Any]:
        found = await Reports(parts.database).in_all(Wanted(kind="tag"), ["holder"])
        return {"results": [{"tag": names[0]} for names, _sums in found]}


def _changing(router: APIRouter, parts: Parts) -> None:
    admin = Annotated[Principal, Depends(parts.callers.admin)]
    stores = parts.stores

    @router.post("/new", summary="Make a tag")
    async def new(body: TagWishes, caller: admin) -> dict[str, Any]:
        given = {name: value for name, value in body.given().items() if name not in _PASSING}
        patch = patch_of(given, _COLUMNS, parts.clock.now_s())
        made = await stores.tags.add(body.name, patch, by=name_of(caller))
        changes.tell_of(parts, "tag", [body.name])
        # From the first one on, workers ask for tags at all.
        changes.tell_all(parts)
        await changes.note(parts, caller, "created", _TABLE, body.name, after=made)
        return {"message": f"Tag {body.name} created successfully", "tag": (await _shown([made], parts))[0]}

    @router.post("/update", summary="Change a tag: only named fields change, null clears one")
    async def update(body: TagWishes, caller: admin) -> dict[str, Any]:
        before = await stores.tags.find(body.name)
        if before is None:
            raise no_such_tag(body.name)
        given = {name: value for name, value in body.given().items() if name not in _PASSING}
        patch = patch_of(given, _COLUMNS, parts.clock.now_s(), before=before.limits)
        changed = await stores.tags.change(body.name, patch, by=name_of(caller))
        if changed is None:
            raise no_such_tag(body.name)
        changes.tell_of(parts, "tag", [body.name])
        await changes.note(parts, caller, "updated", _TABLE, body.name, before=changed[0], after=changed[1])
        return {"message": f"Tag {body.name} updated successfully", "tag": (await _shown([changed[1]], parts))[0]}

    @router.post("/delete", summary="Delete a tag")
    async def delete(body: TagNamed, caller: admin) -> dict[str, Any]:
        gone = await stores.tags.delete([body.name])
        if not gone:
            raise no_such_tag(body.name)
        changes.tell_of(parts, "tag", [body.name])
        await changes.note(parts, caller, "deleted", _TABLE, body.name, before=gone[0])
        return {"message": f"Tag {body.name} deleted successfully"}


def no_such_tag(name: str) -> WayportError:
    return RouteNotFound(f"Tag {name} not found", param="name", code="tag_not_found")
