"""Projects: parts of a team with keys, models and limits of their own. LiteLLM's routes and shapes."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends
from pydantic import BaseModel, Field
from sqlalchemy import or_, select

from wayport.access import refusals
from wayport.access.keys import KeyFilter
from wayport.access.principal import Principal
from wayport.access.projects import Project
from wayport.access.roles import Standing
from wayport.access.rows import Patch
from wayport.access.teams import Team
from wayport.control.admin import changes
from wayport.control.admin.fields import (
    Bounded,
    Given,
    Id,
    Name,
    Words,
    check_within,
    patch_of,
    show_limits,
    show_row,
    with_tags,
)
from wayport.control.admin.parts import Parts
from wayport.control.admin.stores import name_of
from wayport.control.admin.team_members import led
from wayport.control.admin.words import usd
from wayport.core.errors import BadRequest, PermissionDenied, RouteNotFound, WayportError
from wayport.core.ids import uuid7
from wayport.storage.tables import projects, teams

_TABLE = "projects"
_COLUMNS = {
    "project_alias": "alias",
    "team_id": "team_id",
    "budget_id": "budget_id",
    "models": "models",
    "metadata": "metadata",
    "blocked": "blocked",
}
_PASSING = ("project_id", "tags", "spend")
_BUDGETS = ("max_budget", "budget_limits", "model_max_budget", "budget_id")
_BESIDE_BUDGETS = ("budget_duration", "calendar_aligned", "temp_budget_increase", "temp_budget_expiry")
"""what says how long a budget is for, or that it is more for a while"""


class ProjectWishes(Bounded):
    project_alias: Name | None = None
    description: Annotated[str, Field(max_length=10_000)] | None = None
    budget_id: Id | None = Field(default=None, description="A budget by name, for what is not said here.")
    models: Words | None = Field(default=None, description="Models that its keys may use. None: all of its team's.")
    metadata: dict[str, Any] | None = None
    tags: Words | None = None
    blocked: bool | None = None


class NewProject(ProjectWishes):
    project_id: Id | None = None
    team_id: Id = Field(description="The team that it belongs to.")


class UpdateProject(ProjectWishes):
    project_id: Id
    team_id: Id | None = Field(default=None, description="Another team, as long as the project has no keys.")


class ProjectsNamed(BaseModel):
    project_ids: list[Id] = Field(min_length=1, max_length=1000)


def routes(parts: Parts) -> APIRouter:
    router = APIRouter(prefix="/project", tags=["projects"])
    _looking(router, parts)
    _changing(router, parts)
    return router


async def _shown(rows: list[Project], parts: Parts) -> list[dict[str, Any]]:
    spent = await parts.stores.spent.shown("project", {row.id: row.limits for row in rows})
    found = []
    for row in rows:
        limits = show_limits(row.limits, parts.clock.now_s(), calendar=parts.calendar)
        found.append(
            {
                "description": None,
                "object_permission": None,
                "model_rpm_limit": None,
                "model_tpm_limit": None,
                **show_row(row),
                **limits,
                "project_id": row.id,
                "project_alias": row.alias,
                "team_id": row.team_id,
                "budget_id": row.budget_id,
                "models": list(row.models),
                "spend": usd(spent[row.id]),
                "model_spend": {},
                "litellm_budget_table": {"budget_id": row.budget_id, **limits},
            }
        )
    return found


async def _one(row: Project, parts: Parts) -> dict[str, Any]:
    return (await _shown([row], parts))[0]


def _looking(router: APIRouter, parts: Parts) -> None:
    anyone = Annotated[Principal, Depends(parts.callers.anyone)]
    stores = parts.stores

    @router.get("/info", summary="A project")
    async def info(caller: anyone, project_id: str) -> dict[str, Any]:
        standing = await stores.standing(caller)
        row = await stores.projects.find(project_id)
        if row is None:
            raise no_such_project(project_id) if standing.sees_all else not_yours()
        team = await stores.team_of(row.team_id)
        if not (standing.sees_all or (team is not None and standing.sees_team(team))):
            raise not_yours()
        return await _one(row, parts)

    @router.get("/list", summary="Projects of the caller's teams, or all")
    async def list_all(caller: anyone) -> list[dict[str, Any]]:
        standing = await stores.standing(caller)
        wanted = []
        if not standing.sees_all:
            of_theirs = select(teams.c.id).where(teams.c.organization_id.in_(standing.led_organization_ids))
            wanted.append(or_(projects.c.team_id.in_(standing.team_ids), projects.c.team_id.in_(of_theirs)))
        rows, _total = await stores.projects.page(*wanted)
        return await _shown(rows, parts)


def _changing(router: APIRouter, parts: Parts) -> None:
    anyone = Annotated[Principal, Depends(parts.callers.anyone)]
    admin = Annotated[Principal, Depends(parts.callers.admin)]
    stores = parts.stores

    async def check_budget(body: ProjectWishes) -> None:
        if body.budget_id is not None and await stores.budgets.find(body.budget_id) is None:
            raise BadRequest(f"There is no budget {body.budget_id}.", param="budget_id")

    @router.post("/new", summary="Make a project of a team")
    async def new(body: NewProject, caller: anyone) -> dict[str, Any]:
        standing = await stores.standing(caller)
        team = await led(standing, body.team_id, parts, "/project/new")
        await check_budget(body)
        project_id = body.project_id or uuid7()
        given = body.given()
        _check_blocking(standing, team, given, blocked=False)
        check_within(given, "Project", team, "team")
        made = await stores.projects.add(project_id, _patch(given, parts.clock.now_s()), by=name_of(caller))
        await changes.tell(parts, project_ids=[project_id])
        await changes.note(parts, caller, "created", _TABLE, project_id, after=made)
        return await _one(made, parts)

    @router.post("/update", summary="Change a project: only named fields change, null clears one")
    async def update(body: UpdateProject, caller: anyone) -> dict[str, Any]:
        standing = await stores.standing(caller)
        before, team = await _led_project(standing, body.project_id, parts)
        await check_budget(body)
        given = body.given()
        _check_blocking(standing, team, given, blocked=before.blocked)
        _check_money(standing, team, before, given)
        if given.pop("team_id", None) not in {None, before.team_id}:
            team = await led(standing, str(body.team_id), parts, "/project/update")
            if await _has_keys(before.id, parts):
                raise BadRequest(
                    f"The project {before.id} has keys, which belong to its team: delete or move them first.",
                    param="team_id",
                )
            given["team_id"] = team.id
        if team is not None:
            check_within(given, "Project", team, "team")
        patch = _patch(given, parts.clock.now_s(), before=before)
        changed = await stores.projects.change(before.id, patch, by=name_of(caller))
        if changed is None:
            raise no_such_project(before.id)
        await changes.tell(parts, project_ids=[before.id])
        await changes.note(parts, caller, "updated", _TABLE, before.id, before=changed[0], after=changed[1])
        return await _one(changed[1], parts)

    @router.delete("/delete", summary="Delete projects that no key belongs to any more")
    async def delete(body: Annotated[ProjectsNamed, Body()], caller: admin) -> list[dict[str, Any]]:
        ids = list(dict.fromkeys(body.project_ids))
        rows = await stores.projects.those(ids)
        known = {row.id for row in rows}
        if missing := [name for name in ids if name not in known]:
            raise no_such_project(missing[0])
        for project_id in ids:
            if await _has_keys(project_id, parts):
                raise BadRequest(
                    f"Cannot delete project {project_id}: keys are associated with it. Delete or reassign them first.",
                    param="project_ids",
                )
        gone = await _shown(rows, parts)
        await stores.projects.delete(ids)
        for row in rows:
            await changes.note(parts, caller, "deleted", _TABLE, row.id, before=row)
        return gone


async def _led_project(standing: Standing, project_id: str, parts: Parts) -> tuple[Project, Team | None]:
    """The project, if the caller leads its team and may change anything."""
    if not standing.manages_something:
        raise refusals.admins_only(parts.compat, "/project/update")
    row = await parts.stores.projects.find(project_id)
    if row is None:
        raise no_such_project(project_id) if standing.sees_all else not_yours()
    team = await parts.stores.team_of(row.team_id)
    if not (standing.manages_all or (team is not None and standing.leads(team))):
        raise not_yours()
    return row, team


def _check_blocking(standing: Standing, team: Team | None, given: Given, *, blocked: bool) -> None:
    """As with teams: who leads one may not undo what was decided above it."""
    if bool(given.get("blocked", blocked)) == blocked:
        return
    if not standing.leads_organization(team.organization_id if team is not None else None):
        raise PermissionDenied(
            "A team's admin may not change its projects' `blocked`: ask who stands above the team.",
            param="blocked",
            code="field_not_allowed",
        )


def _check_money(standing: Standing, team: Team | None, before: Project, given: Given) -> None:
    """As with teams: who leads one may spend less than was decided for its project, not more."""
    now = {**before.limits, "budget_id": before.budget_id}
    if all(now.get(name) in (None, {}, []) for name in _BUDGETS):
        return
    if standing.leads_organization(team.organization_id if team is not None else None):
        return
    for name in (*_BUDGETS, *_BESIDE_BUDGETS):
        if name not in given or given[name] == now.get(name):
            continue
        told, most = given[name], now.get(name)
        if name == "max_budget" and told is not None and (most is None or told < most):
            continue
        raise PermissionDenied(
            f"A team's admin may lower its projects' `max_budget`, not change their `{name}`: ask who stands above the team.",
            param=name,
            code="field_not_allowed",
        )


async def _has_keys(project_id: str, parts: Parts) -> bool:
    return (await parts.keys.page(KeyFilter(project_id=project_id), offset=0, limit=1)).total > 0


def _patch(given: Given, now_s: float, *, before: Project | None = None) -> Patch:
    kept = {name: value for name, value in given.items() if name not in _PASSING}
    with_tags(kept, given, before)
    return patch_of(kept, _COLUMNS, now_s, before=before.limits if before is not None else None)


def no_such_project(project_id: str) -> WayportError:
    return RouteNotFound(
        f"Project not found, passed project id: {project_id}.", param="project_id", code="project_not_found"
    )


def not_yours() -> WayportError:
    """The same for projects of other teams and for those that do not exist."""
    return PermissionDenied(
        "This project is not yours to see or change, or does not exist.", code="project_not_allowed"
    )
