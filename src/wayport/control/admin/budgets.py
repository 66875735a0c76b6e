"""Budgets by name: limits that several customers, organisations, tags, keys and members share."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from wayport.access.budgets_store import NamedBudget
from wayport.access.principal import Principal
from wayport.control.admin import changes
from wayport.control.admin.fields import Bounded, Id, patch_of, show_limits, show_row
from wayport.control.admin.parts import Parts
from wayport.control.admin.stores import name_of
from wayport.core.errors import BadRequest, RouteNotFound, WayportError
from wayport.core.ids import uuid7

_TABLE = "budgets"


class NewBudget(Bounded):
    budget_id: Id | None = None


class BudgetsAsked(BaseModel):
    budgets: list[Id] = Field(max_length=1000)


class BudgetNamed(BaseModel):
    id: Id


def routes(parts: Parts) -> APIRouter:
    router = APIRouter(prefix="/budget", tags=["budgets"])
    _looking(router, parts)
    _changing(router, parts)
    return router


def show_budget(row: NamedBudget, parts: Parts) -> dict[str, Any]:
    limits = show_limits(row.limits, parts.clock.now_s(), calendar=parts.calendar)
    shown = {**show_row(row), **limits, "budget_id": row.id}
    return {name: value for name, value in shown.items() if name not in {"metadata", "blocked"}}


def _looking(router: APIRouter, parts: Parts) -> None:
    anyone = Annotated[Principal, Depends(parts.callers.reader)]
    stores = parts.stores

    @router.post("/info", summary="Budgets by id")
    async def info(body: BudgetsAsked, _: anyone) -> list[dict[str, Any]]:
        if not body.budgets:
            raise BadRequest("`budgets` is empty: name some.", param="budgets")
        return [show_budget(row, parts) for row in await stores.budgets.those(body.budgets)]

    @router.get("/list", summary="Budgets, newest first")
    async def list_all(_: anyone) -> list[dict[str, Any]]:
        rows, _total = await stores.budgets.page()
        return [show_budget(row, parts) for row in rows]

    @router.get("/settings", summary="The fields of a budget with their values")
    async def settings(_: anyone, budget_id: str) -> list[dict[str, Any]]:
        row = await stores.budgets.find(budget_id)
        if row is None:
            raise no_such_budget(budget_id)
        return [
            {
                "field_name": name,
                "field_type": "Float" if "budget" in name and name != "budget_duration" else "String",
                "field_description": field.description or "",
                "field_value": row.limits.get(name),
                "stored_in_db": name in row.limits,
                "field_default_value": None,
            }
            for name, field in Bounded.model_fields.items()
        ]


def _changing(router: APIRouter, parts: Parts) -> None:
    admin = Annotated[Principal, Depends(parts.callers.admin)]
    stores = parts.stores

    @router.post("/new", summary="Make a budget")
    async def new(body: NewBudget, caller: admin) -> dict[str, Any]:
        budget_id = body.budget_id or uuid7()
        given = {name: value for name, value in body.given().items() if name != "budget_id"}
        made = await stores.budgets.add(budget_id, patch_of(given, {}, parts.clock.now_s()), by=name_of(caller))
        await changes.note(parts, caller, "created", _TABLE, budget_id, after=made)
        return show_budget(made, parts)

    @router.post("/update", summary="Change a budget: only named fields change, null clears one")
    async def update(body: NewBudget, caller: admin) -> dict[str, Any]:
        if body.budget_id is None:
            raise BadRequest("`budget_id` is missing.", param="budget_id")
        before = await stores.budgets.find(body.budget_id)
        if before is None:
            raise no_such_budget(body.budget_id)
        given = {name: value for name, value in body.given().items() if name != "budget_id"}
        patch = patch_of(given, {}, parts.clock.now_s(), before=before.limits)
        changed = await stores.budgets.change(body.budget_id, patch, by=name_of(caller))
        if changed is None:
            raise no_such_budget(body.budget_id)
        changes.tell_all(parts)
        await changes.note(parts, caller, "updated", _TABLE, body.budget_id, before=changed[0], after=changed[1])
        return show_budget(changed[1], parts)

    @router.post("/delete", summary="Delete a budget; whoever referred to it is no longer bound by it")
    async def delete(body: BudgetNamed, caller: admin) -> dict[str, Any]:
        gone = await stores.budgets.delete([body.id])
        if not gone:
            raise no_such_budget(body.id)
        changes.tell_all(parts)
        await changes.note(parts, caller, "deleted", _TABLE, body.id, before=gone[0])
        return show_budget(gone[0], parts)


def no_such_budget(budget_id: str) -> WayportError:
    return RouteNotFound(f"There is no budget {budget_id}.", param="budget_id", code="budget_not_found")
