"""Customers: the end users of clients, with limits of their own. `/end_user/…` is the same."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field
from sqlalchemy import or_

from wayport.access.customers import Customer
from wayport.access.principal import Principal
from wayport.access.rows import Conflict, Patch
from wayport.control.admin import changes
from wayport.control.admin.fields import Bounded, Id, Name, Words, patch_of, show_limits, show_row
from wayport.control.admin.parts import Parts
from wayport.control.admin.stores import name_of
from wayport.control.admin.words import usd
from wayport.core.errors import BadRequest, RouteNotFound, WayportError
from wayport.storage.tables import customers

_TABLE = "customers"
_COLUMNS = {
    "alias": "alias",
    "budget_id": "budget_id",
    "models": "models",
    "allowed_models": "models",
    "metadata": "metadata",
    "blocked": "blocked",
}
_PASSING = ("user_id", "spend")


class CustomerWishes(Bounded):
    alias: Name | None = None
    budget_id: Id | None = Field(default=None, description="A budget by name, for what is not said here.")
    models: Words | None = Field(default=None, description="Models that calls for it may use. None: all.")
    allowed_models: Words | None = Field(default=None, description="The same as `models`.")
    metadata: dict[str, Any] | None = None
    blocked: bool | None = None
    allowed_model_region: Annotated[str, Field(max_length=100, pattern=r"^[A-Za-z0-9-]+$")] | None = Field(
        default=None, description="Only deployments whose region begins so answer calls for it: `eu`."
    )


class NewCustomer(CustomerWishes):
    user_id: Id


class UpdateCustomer(CustomerWishes):
    user_id: Id


class CustomersNamed(BaseModel):
    user_ids: list[Id] = Field(max_length=1000)


def routes(parts: Parts) -> APIRouter:
    router = APIRouter(tags=["customers"])
    for prefix in ("/customer", "/end_user"):
        part = APIRouter(prefix=prefix)
        _looking(part, parts)
        _changing(part, parts)
        _many(part, parts)
        router.include_router(part)
    return router


async def _shown(rows: list[Customer], parts: Parts) -> list[dict[str, Any]]:
    spent = await parts.stores.spent.shown("end_user", {row.id: row.limits for row in rows})
    named = [row.budget_id for row in rows if row.budget_id is not None]
    budgets = {budget.id: budget.limits for budget in await parts.stores.budgets.those(named)}
    found = []
    for row in rows:
        limits = {**budgets.get(row.budget_id or "", {}), **row.limits}
        shown = show_limits(limits, parts.clock.now_s(), calendar=parts.calendar)
        found.append(
            {
                "allowed_model_region": None,
                "default_model": None,
                "object_permission": None,
                **show_row(row),
                "user_id": row.id,
                "alias": row.alias,
                "budget_id": row.budget_id,
                "models": list(row.models),
                "allowed_models": list(row.models),
                "spend": usd(spent[row.id]),
                "litellm_budget_table": {"budget_id": row.budget_id, **shown} if limits else None,
            }
        )
    return found


def _looking(router: APIRouter, parts: Parts) -> None:
    reader = Annotated[Principal, Depends(parts.callers.reader)]
    stores = parts.stores

    @router.get("/info", summary="A customer")
    async def info(_: reader, end_user_id: Annotated[str, Query(description="Its id.")]) -> dict[str, Any]:
        found = await stores.customers.find(end_user_id)
        if found is None:
            raise no_such_customer(end_user_id)
        return (await _shown([found], parts))[0]

    @router.get("/list", summary="Customers, newest first")
    async def list_all(
        _: reader,
        page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
        page_size: Annotated[int, Query(ge=1, le=10_000)] = 1000,
        search: str | None = None,
    ) -> list[dict[str, Any]]:
        wanted = []
        if search:
            columns = (customers.c.id, customers.c.alias)
            wanted.append(or_(*(column.icontains(search, autoescape=True) for column in columns)))
        rows, _total = await stores.customers.page(*wanted, offset=(page - 1) * page_size, limit=page_size)
        return await _shown(rows, parts)


def _changing(router: APIRouter, parts: Parts) -> None:
    admin = Annotated[Principal, Depends(parts.callers.admin)]
    stores = parts.stores

    async def check(body: CustomerWishes) -> None:
        if body.budget_id is not None and await stores.budgets.find(body.budget_id) is None:
            raise BadRequest(f"There is no budget {body.budget_id}.", param="budget_id")

    @router.post("/new", summary="Make a customer")
    async def new(body: NewCustomer, caller: admin) -> dict[str, Any]:
        await check(body)
        given = {name: value for name, value in body.given().items() if name not in _PASSING}
        patch = patch_of(given, _COLUMNS, parts.clock.now_s())
        made = await stores.customers.add(body.user_id, patch, by=name_of(caller))
        changes.tell_of(parts, "end_user", [body.user_id])
        # From the first one on, workers ask for end users at all.
        changes.tell_all(parts)
        await changes.note(parts, caller, "created", _TABLE, body.user_id, after=made)
        return (await _shown([made], parts))[0]

    @router.post("/update", summary="Change a customer: only named fields change, null clears one")
    async def update(body: UpdateCustomer, caller: admin) -> dict[str, Any]:
        await check(body)
        before = await stores.customers.find(body.user_id)
        if before is None:
            raise no_such_customer(body.user_id)
        given = {name: value for name, value in body.given().items() if name not in _PASSING}
        patch = patch_of(given, _COLUMNS, parts.clock.now_s(), before=before.limits)
        changed = await stores.customers.change(body.user_id, patch, by=name_of(caller))
        if changed is None:
            raise no_such_customer(body.user_id)
        changes.tell_of(parts, "end_user", [body.user_id])
        await changes.note(parts, caller, "updated", _TABLE, body.user_id, before=changed[0], after=changed[1])
        return (await _shown([changed[1]], parts))[0]


def _many(router: APIRouter, parts: Parts) -> None:
    admin = Annotated[Principal, Depends(parts.callers.admin)]
    stores = parts.stores

    async def block(body: CustomersNamed, caller: Principal, *, blocked: bool) -> dict[str, Any]:
        rows = []
        for user_id in dict.fromkeys(body.user_ids):
            patch = Patch(columns={"blocked": blocked})
            changed = await stores.customers.change(user_id, patch, by=name_of(caller))
            if changed is None:
                # Whoever is blocked need not have been seen before.
                try:
                    made = await stores.customers.add(user_id, patch, by=name_of(caller))
                except Conflict:
                    continue
                changed = (made, made)
            rows.append(changed[1])
            await changes.note(parts, caller, "blocked" if blocked else "unblocked", _TABLE, user_id, after=changed[1])
        changes.tell_of(parts, "end_user", body.user_ids)
        changes.tell_all(parts)
        return {"blocked_users": await _shown(rows, parts)}

    @router.post("/block", summary="Refuse calls for these customers")
    async def block_them(body: CustomersNamed, caller: admin) -> dict[str, Any]:
        return await block(body, caller, blocked=True)

    @router.post("/unblock", summary="Accept calls for these customers again")
    async def unblock_them(body: CustomersNamed, caller: admin) -> dict[str, Any]:
        return await block(body, caller, blocked=False)

    @router.post("/delete", summary="Delete customers")
    async def delete(body: CustomersNamed, caller: admin) -> dict[str, Any]:
        rows = await stores.customers.those(body.user_ids)
        known = {row.id for row in rows}
        if missing := [user_id for user_id in body.user_ids if user_id not in known]:
            raise no_such_customer(missing[0])
        await stores.customers.delete(body.user_ids)
        changes.tell_of(parts, "end_user", body.user_ids)
        for row in rows:
            await changes.note(parts, caller, "deleted", _TABLE, row.id, before=row)
        return {"deleted_customers": len(rows), "message": f"Successfully deleted customers with ids: {body.user_ids}"}


def no_such_customer(user_id: str) -> WayportError:
    return RouteNotFound(f"End User Id={user_id} does not exist in db", param="end_user_id", code="customer_not_found")
