"""Models: add, change and delete those of the database while Wayport runs; look at all of them."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from wayport.access.allow import may_use
from wayport.access.audit import masked
from wayport.access.models_store import StoredModel
from wayport.access.principal import Principal
from wayport.access.refusals import Compat
from wayport.access.rows import Patch
from wayport.access.teams import OWN_MODELS, Team, own_name
from wayport.control.admin import changes
from wayport.control.admin.fields import Id
from wayport.control.admin.parts import Parts
from wayport.control.admin.stores import name_of
from wayport.control.admin.words import iso
from wayport.control.model_info import entries
from wayport.control.stored_models import TEAM, Entry
from wayport.core.errors import BadRequest, PermissionDenied, RouteNotFound, WayportError
from wayport.core.ids import uuid7
from wayport.storage.cipher import NotReadable
from wayport.storage.tables import models

_TABLE = "models"
_PUBLIC = "team_public_model_name"
"""of a model's information: the name by which its team's keys ask for it"""
_SECRETS = ("key", "secret", "token", "password", "credential")
_NO_SECRETS = ("credential_name", "max_tokens", "cost_per_token")


class ModelIn(BaseModel):
    """One deployment as LiteLLM's configuration writes it."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    model_name: Id = Field(description="What clients ask for; several with one name share its calls.")
    litellm_params: dict[str, Any] = Field(description="`model` (`provider/name`), `api_key`, `api_base` …")
    model_info: dict[str, Any] = {}


class ModelChange(BaseModel):
    model_config = ConfigDict(extra="allow", protected_namespaces=())

    model_name: Id | None = None
    litellm_params: dict[str, Any] | None = None
    model_info: dict[str, Any] | None = None


class ModelNamed(BaseModel):
    id: Id


class ModelBlocked(BaseModel):
    model_config = ConfigDict(protected_namespaces=())

    model_id: Id | None = None
    id: Id | None = None


def routes(parts: Parts) -> APIRouter:
    router = APIRouter(tags=["models"])
    _adding(router, parts)
    _changing(router, parts)
    _looking(router, parts)
    return router


def _check(parts: Parts, entry: Entry) -> None:
    if not isinstance(entry.params.get("model"), str) or not entry.params["model"]:
        raise BadRequest("`litellm_params.model` is missing: `provider/name`.", param="litellm_params.model")
    found = parts.models.check(entry)
    if isinstance(found, str):
        raise BadRequest(f"This model cannot be used: {found}.", param="litellm_params", code="model_not_usable")


def _name_of(row: StoredModel) -> str:
    return str(row.info.get(_PUBLIC) or row.name)


async def _team_of(info: dict[str, Any], parts: Parts) -> Team | None:
    team_id = info.get(TEAM)
    if team_id is None:
        return None
    team = await parts.stores.teams.find(str(team_id))
    if team is None:
        raise BadRequest(f"There is no team {team_id}.", param="model_info.team_id", code="team_not_found")
    return team


async def _given_to(team: Team, name: str, caller: Principal, parts: Parts) -> None:
    """The team's keys may use its own model. A team that may use everything goes on to."""
    models = [*(team.models or ("all-proxy-models",)), name]
    own = [*team.own_models, name]
    await _change_team(team, models, own, caller, parts)


async def _taken_from(row: StoredModel, caller: Principal, parts: Parts) -> None:
    team = await parts.stores.teams.find(str(row.info.get(TEAM)))
    name = _name_of(row)
    left = (await parts.models.store.page(models.c.name == row.name, limit=1))[0]
    if team is None or left or name not in team.own_models:
        return
    others = [model for model in team.models if model != name]
    own = [model for model in team.own_models if model != name]
    await _change_team(team, others or ["no-default-models"], own, caller, parts)


async def _change_team(team: Team, names: list[str], own: list[str], caller: Principal, parts: Parts) -> None:
    patch = Patch(
        columns={"models": list(dict.fromkeys(names))}, settings={OWN_MODELS: list(dict.fromkeys(own)) or None}
    )
    changed = await parts.stores.teams.change(team.id, patch, by=name_of(caller))
    await changes.tell(parts, team_ids=[team.id])
    if changed is not None:
        await changes.note(parts, caller, "updated", "teams", team.id, before=changed[0], after=changed[1])


def _shown(row: StoredModel, parts: Parts) -> dict[str, Any]:
    try:
        params = hide(parts.models.store.params_of(row))
    except NotReadable as error:
        params = {"unreadable": str(error)}
    return {
        "model_id": row.id,
        "model_name": _name_of(row),
        "litellm_params": params,
        "model_info": {**row.info, "id": row.id, "db_model": True},
        "blocked": row.blocked,
        "shadowed": row.id in parts.models.shadowed(),
        "created_at": iso(row.created_s),
        "created_by": row.created_by,
        "updated_at": iso(row.updated_s),
        "updated_by": row.updated_by,
    }


def hide(params: dict[str, Any]) -> dict[str, Any]:
    """The parameters without secrets; what only names a variable may be seen."""

    def one(name: str, value: Any) -> Any:
        secret = any(word in name.lower() for word in _SECRETS) and not name.endswith(_NO_SECRETS)
        if secret and isinstance(value, str) and not value.startswith("os.environ/"):
            return "***"
        return {key: one(key, item) for key, item in value.items()} if isinstance(value, dict) else masked(value)

    return {name: one(name, value) for name, value in params.items()}


def _line(row: StoredModel, parts: Parts) -> dict[str, Any]:
    """The row for the audit log."""
    return {name: value for name, value in _shown(row, parts).items() if not name.startswith(("created", "updated"))}


async def _found(parts: Parts, model_id: str) -> StoredModel:
    row = await parts.models.store.find(model_id)
    if row is None:
        raise no_such_model(model_id, compat=parts.compat)
    return row


def _admin_of(parts: Parts) -> Any:
    """Who may change models. LiteLLM has another status and other words here than elsewhere."""
    if parts.compat != "litellm":
        return parts.callers.admin

    async def admin(caller: Annotated[Principal, Depends(parts.callers.anyone)]) -> Principal:
        if caller.role != "proxy_admin":
            raise PermissionDenied(
                "This key does not have permission to make this model call: only a proxy admin's has."
            )
        return caller

    return admin


def _adding(router: APIRouter, parts: Parts) -> None:
    admin = Annotated[Principal, Depends(_admin_of(parts))]

    @router.post("/model/new", summary="Add a deployment; it serves at once")
    async def new(body: ModelIn, caller: admin) -> dict[str, Any]:
        model_id = str(body.model_info.get("id") or uuid7())[:255]
        info = {name: value for name, value in body.model_info.items() if name not in {"id", "db_model"}}
        team, name = await _team_of(info, parts), body.model_name
        if team is not None:
            info[_PUBLIC], name = body.model_name, own_name(team.id, body.model_name)
        _check(parts, Entry(id=model_id, name=name, params=body.litellm_params, info=info))
        store = parts.models.store
        patch = store.patch(model_id, name=name, params=body.litellm_params, info=info)
        row = await store.add(model_id, patch, by=name_of(caller))
        if team is not None:
            await _given_to(team, body.model_name, caller, parts)
        await parts.models.changed()
        await changes.note(parts, caller, "created", _TABLE, model_id, after=_line(row, parts))
        return _shown(row, parts)

    @router.post("/model/delete", summary="Remove a deployment of the database")
    async def delete(body: ModelNamed, caller: admin) -> dict[str, Any]:
        row = await _found(parts, body.id)
        await parts.models.store.delete([row.id])
        await _taken_from(row, caller, parts)
        await parts.models.changed()
        await changes.note(parts, caller, "deleted", _TABLE, row.id, before=_line(row, parts))
        return {"message": f"Model: {row.id} deleted successfully"}


def _changing(router: APIRouter, parts: Parts) -> None:
    admin = Annotated[Principal, Depends(_admin_of(parts))]

    async def change(row: StoredModel, patch: Patch, caller: Principal) -> dict[str, Any]:
        changed = await parts.models.store.change(row.id, patch, by=name_of(caller))
        if changed is None:
            raise no_such_model(row.id, compat=parts.compat)
        await parts.models.changed()
        before, after = (_line(each, parts) for each in changed)
        await changes.note(parts, caller, "updated", _TABLE, row.id, before=before, after=after)
        return _shown(changed[1], parts)

    async def update(row: StoredModel, body: ModelChange, caller: Principal) -> dict[str, Any]:
        """Only named fields change, also of `litellm_params` and `model_info`; null clears one."""
        params = _merged(parts.models.store.params_of(row), body.litellm_params or {})
        info = _merged(row.info, {k: v for k, v in (body.model_info or {}).items() if k not in {"id", "db_model"}})
        name = body.model_name or row.name
        if name == _name_of(row):
            name = row.name
        if info.get(TEAM) != row.info.get(TEAM) or (TEAM in info and name != row.name):
            raise BadRequest(
                "A team's own model keeps its team and its name: add another and delete this.",
                param="model_info.team_id",
            )
        _check(parts, Entry(id=row.id, name=name, params=params, info=info))
        return await change(row, parts.models.store.patch(row.id, name=name, params=params, info=info), caller)

    @router.post("/model/update", summary="Change a deployment of the database, named by `model_info.id`")
    async def update_named(body: ModelChange, caller: admin) -> dict[str, Any]:
        model_id = (body.model_info or {}).get("id")
        if not isinstance(model_id, str) or not model_id:
            raise BadRequest("`model_info.id` is missing.", param="model_info.id")
        return await update(await _found(parts, model_id), body, caller)

    @router.patch("/model/{model_id}/update", summary="The same, with the id in the path")
    async def update_in_path(model_id: str, body: ModelChange, caller: admin) -> dict[str, Any]:
        return await update(await _found(parts, model_id), body, caller)

    async def block(body: ModelBlocked, caller: Principal, *, blocked: bool) -> dict[str, Any]:
        wanted = body.model_id or body.id
        if wanted is None:
            raise BadRequest("`model_id` is missing.", param="model_id")
        return await change(await _found(parts, wanted), Patch(columns={"blocked": blocked}), caller)

    @router.post("/model/block", summary="Leave a deployment of the database out")
    async def block_it(body: ModelBlocked, caller: admin) -> dict[str, Any]:
        return await block(body, caller, blocked=True)

    @router.post("/model/unblock", summary="Use a deployment of the database again")
    async def unblock_it(body: ModelBlocked, caller: admin) -> dict[str, Any]:
        return await block(body, caller, blocked=False)


def _merged(before: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**before, **change}.items() if value is not None}


def _looking(router: APIRouter, parts: Parts) -> None:
    anyone = Annotated[Principal, Depends(parts.callers.anyone)]

    @router.get("/v2/model/info", summary="Deployments page by page, those of the database that are not in use, too")
    async def info(
        *,
        caller: anyone,
        model: str | None = None,
        modelId: str | None = None,  # noqa: N803 (LiteLLM's name)
        search: str | None = None,
        blocked: bool | None = None,
        sortBy: Literal["model_name", "created_at", "updated_at", "costs", "status"] | None = None,  # noqa: N803 (as above)
        sortOrder: Literal["asc", "desc"] = "asc",  # noqa: N803 (as above)
        page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
        size: Annotated[int, Query(ge=1, le=1000)] = 50,
    ) -> dict[str, Any]:
        found: Sequence[dict[str, Any]] = [
            each
            for each in entries(parts.models.snapshot(), _usable(caller))
            if (not model or each["model_name"] == model)
            and (not modelId or each["model_info"]["id"] == modelId)
            and (not search or search.lower() in each["model_name"].lower())
            and blocked in {None, each["model_info"].get("blocked") is True}
        ]
        if sortBy is not None:
            found = sorted(found, key=_SORTS[sortBy], reverse=sortOrder == "desc")
        first = (page - 1) * size
        return {
            "data": found[first : first + size],
            "total_count": len(found),
            "current_page": page,
            "total_pages": -(-len(found) // size),
            "size": size,
        }

    @router.get("/model/stored", summary="Deployments of the database, and which of them the configuration shadows")
    async def stored(_: Annotated[Principal, Depends(parts.callers.reader)]) -> dict[str, Any]:
        rows, _total = await parts.models.store.page()
        wrong = parts.models.wrong()
        return {"data": [_shown(row, parts) | {"unusable": wrong.get(row.id)} for row in rows]}


_SORTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "model_name": lambda each: each["model_name"].lower(),
    "created_at": lambda each: str(each["model_info"].get("created_at") or ""),
    "updated_at": lambda each: str(each["model_info"].get("updated_at") or ""),
    "costs": lambda each: each["model_info"].get("input_cost_per_token") or 0,
    "status": lambda each: each["model_info"]["db_model"],
}


def _usable(caller: Principal) -> Callable[[str, tuple[str, ...]], bool]:
    return lambda name, its_groups: may_use(caller, name, its_groups)


def no_such_model(model_id: str, *, compat: Compat) -> WayportError:
    if compat == "litellm":
        return BadRequest(f"Model with id={model_id} not found in db", param="id", code="model_not_found")
    return RouteNotFound(
        f"There is no model {model_id} in the database. Models of the configuration change there.",
        param="id",
        code="model_not_found",
    )
