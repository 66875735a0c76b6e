"""Teams: make, look at, list, change, delete. LiteLLM's routes and shapes; members are in team_members.py."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from sqlalchemy import ColumnElement, literal, or_, select

from wayport.access import refusals
from wayport.access.keys import KeyFilter
from wayport.access.members import Member
from wayport.access.principal import Principal
from wayport.access.roles import MEMBER_ROUTES, NOBODYS_USER, Standing
from wayport.access.rows import Patch
from wayport.access.teams import Team
from wayport.control.admin import changes
from wayport.control.admin.defaults import for_new_team
from wayport.control.admin.fields import Given, check_within, merge_patched, patch_of, with_tags
from wayport.control.admin.key_fields import shape as key_shape
from wayport.control.admin.parts import Parts, sees_all
from wayport.control.admin.stores import name_of
from wayport.control.admin.team_callbacks import forget_teams, put_logging, take_logging
from wayport.control.admin.team_fields import (
    COLUMNS,
    PASSING,
    PERMISSIONS,
    ManyPermissions,
    NewTeam,
    Permissions,
    TeamMember,
    TeamModels,
    TeamNamed,
    TeamsNamed,
    TeamWishes,
    UpdateTeam,
    no_such_team,
    not_yours,
    show_membership,
    show_team,
)
from wayport.control.admin.team_members import led, people_of
from wayport.core.errors import BadRequest, PermissionDenied
from wayport.core.ids import uuid7
from wayport.storage.tables import members, teams

_TABLE = "teams"


def routes(parts: Parts) -> APIRouter:
    router = APIRouter(tags=["teams"])
    _making(router, parts)
    _looking(router, parts)
    _listing(router, parts)
    _changing(router, parts)
    _permitting(router, parts)
    return router


async def seen(standing: Standing, team_id: str, parts: Parts) -> Team:
    """The team, if the caller may see it."""
    team = await parts.stores.teams.find(team_id)
    if team is None:
        raise no_such_team(team_id) if standing.sees_all else not_yours()
    if not standing.sees_team(team):
        raise not_yours()
    return team


async def shown(rows: list[Team], parts: Parts) -> list[dict[str, Any]]:
    ids = [team.id for team in rows]
    groups = await parts.stores.members.of_groups("team", ids)
    spent = await parts.stores.spent.shown("team", {team.id: team.limits for team in rows})
    return [show_team(team, groups[team.id], parts, spent=spent[team.id]) for team in rows]


def _patch(given: Given, now_s: float, *, before: Team | None = None) -> Patch:
    kept = {name: value for name, value in given.items() if name not in PASSING}
    with_tags(kept, given, before)
    return patch_of(kept, COLUMNS, now_s, before=before.limits if before is not None else None)


def _making(router: APIRouter, parts: Parts) -> None:
    anyone = Annotated[Principal, Depends(parts.callers.anyone)]
    stores = parts.stores

    @router.post("/team/new", summary="Make a team")
    async def new(body: NewTeam, caller: anyone) -> dict[str, Any]:
        standing = await stores.standing(caller)
        body = NewTeam.model_validate(for_new_team(body.given(), parts))
        if not standing.manages_all:
            if not standing.led_organization_ids:
                raise refusals.admins_only(parts.compat, "/team/new")
            if not standing.leads_organization(body.organization_id):
                raise PermissionDenied("Name an organisation that you lead.", param="organization_id")
        given = body.given()
        logging = await take_logging(given, standing, parts)
        if body.organization_id is not None:
            await _within(body.organization_id, given, parts)
        team_id = body.team_id or uuid7()
        people = [
            *body.members_with_roles,
            *(TeamMember(user_id=user_id) for user_id in body.members or ()),
            *(TeamMember(user_id=user_id, role="admin") for user_id in body.admins or ()),
        ]
        creator = standing.user_id
        if parts.compat == "litellm" and standing.manages_all and parts.models.settings().management.creator_joins:
            creator = creator or NOBODYS_USER
        elif standing.manages_all:
            creator = None
        if creator is not None:
            people.append(TeamMember(user_id=creator, role="admin"))
        team = await stores.teams.add(team_id, _patch(given, parts.clock.now_s()), by=name_of(caller))
        if logging:
            await put_logging(team, logging, standing, caller, parts)
        found = await people_of(people, parts, by=name_of(caller))
        joined = [Member(scope="team", group_id=team_id, user_id=u, email=e, role=r) for u, e, r in found]
        await stores.members.add(joined)
        # Keys may have been made for it before it was there.
        await changes.tell(parts, team_ids=[team_id])
        await changes.note(parts, caller, "created", _TABLE, team_id, after=team)
        return (await shown([team], parts))[0]


def _looking(router: APIRouter, parts: Parts) -> None:
    anyone = Annotated[Principal, Depends(parts.callers.anyone)]
    stores = parts.stores

    @router.get("/team/info", summary="A team with its keys and members")
    async def info(
        caller: anyone,
        team_id: Annotated[str | None, Query(description="Without it, the team of this call.")] = None,
        key_limit: Annotated[int, Query(ge=0, le=10_000)] = 1000,
    ) -> dict[str, Any]:
        standing = await stores.standing(caller)
        wanted = team_id or caller.team_id
        if wanted is None:
            raise no_such_team("")
        team = await seen(standing, wanted, parts)
        joined = (await stores.members.of_groups("team", [team.id]))[team.id]
        spent = await stores.spent.shown(
            "team_member", {f"{team.id}/{member.user_id}": member.limits for member in joined}
        )
        within = None if standing.leads(team) or standing.sees_all else standing.visible
        page = await parts.keys.page(KeyFilter(team_id=team.id, within=within), offset=0, limit=key_limit)
        now_s = parts.clock.now_s()
        keys = [key_shape(key, now_s, calendar=parts.calendar) for key in page.keys]
        if not sees_all(caller):
            for key in keys:
                del key["token"]
        return {
            "team_id": team.id,
            "team_info": (await shown([team], parts))[0],
            "keys": keys,
            "team_memberships": [
                show_membership(member, parts, spent=spent[f"{team.id}/{member.user_id}"]) for member in joined
            ],
        }

    @router.get("/team/available", summary="Teams that anybody may join")
    async def available(_: anyone) -> list[dict[str, Any]]:
        return []


def _listing(router: APIRouter, parts: Parts) -> None:
    anyone = Annotated[Principal, Depends(parts.callers.anyone)]
    stores = parts.stores

    async def conditions(caller: Principal, user_id: str | None, organization_id: str | None) -> list[Any]:
        standing = await stores.standing(caller)
        found: list[ColumnElement[bool]] = []
        if not standing.sees_all:
            if user_id is not None and user_id != standing.user_id and not standing.led_organization_ids:
                raise PermissionDenied("You may list your own teams.", param="user_id", code="team_not_allowed")
            found.append(
                or_(teams.c.id.in_(standing.team_ids), teams.c.organization_id.in_(standing.led_organization_ids))
            )
        if user_id:
            of_user = select(members.c.group_id).where(members.c.scope == "team", members.c.user_id == user_id)
            found.append(teams.c.id.in_(of_user))
        if organization_id:
            found.append(teams.c.organization_id == organization_id)
        return found or [literal(True)]

    @router.get("/team/list", summary="Teams, newest first")
    async def list_teams(
        caller: anyone, user_id: str | None = None, organization_id: str | None = None
    ) -> list[dict[str, Any]]:
        rows, _ = await stores.teams.page(*await conditions(caller, user_id, organization_id))
        return [each | {"keys": [], "team_memberships": []} for each in await shown(rows, parts)]

    @router.get("/v2/team/list", summary="Teams, page by page")
    async def list_paged(  # noqa: PLR0917 (FastAPI reads its parameters from here)
        caller: anyone,
        user_id: str | None = None,
        organization_id: str | None = None,
        team_id: str | None = None,
        team_alias: str | None = None,
        page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
        page_size: Annotated[int, Query(ge=1, le=1000)] = 10,
        sort_by: Literal["team_id", "team_alias", "created_at"] = "created_at",
        sort_order: Literal["asc", "desc"] = "desc",
    ) -> dict[str, Any]:
        wanted = await conditions(caller, user_id, organization_id)
        if team_id:
            wanted.append(teams.c.id == team_id)
        if team_alias:
            wanted.append(teams.c.alias.icontains(team_alias, autoescape=True))
        column = {"team_id": teams.c.id, "team_alias": teams.c.alias, "created_at": teams.c.created_s}[sort_by]
        order = column.asc() if sort_order == "asc" else column.desc()
        rows, total = await stores.teams.page(*wanted, order=[order], offset=(page - 1) * page_size, limit=page_size)
        return {
            "teams": await shown(rows, parts),
            "total": total,
            "page": page,
            "page_size": page_size,
            "total_pages": -(-total // page_size),
        }


def _changing(router: APIRouter, parts: Parts) -> None:
    anyone = Annotated[Principal, Depends(parts.callers.anyone)]
    admin = Annotated[Principal, Depends(parts.callers.admin)]
    stores = parts.stores

    async def change(
        caller: Principal, team: Team, patch: Patch, action: Literal["updated", "blocked", "unblocked"] = "updated"
    ) -> dict[str, Any]:
        changed = await stores.teams.change(team.id, patch, by=name_of(caller))
        if changed is None:
            raise no_such_team(team.id)
        await changes.tell(parts, team_ids=[team.id])
        await changes.note(parts, caller, action, _TABLE, team.id, before=changed[0], after=changed[1])
        return (await shown([changed[1]], parts))[0]

    async def update(team_id: str, body: TeamWishes, caller: Principal, *, merging: bool = False) -> dict[str, Any]:
        standing = await stores.standing(caller)
        team = await led(standing, team_id, parts, "/team/update")
        given = body.given()
        logging = await take_logging(given, standing, parts)
        if merging and given.get("metadata") is not None:
            given["metadata"] = merge_patched(team.metadata, given["metadata"])
        if not standing.manages_all:
            _check_change(standing, team, given)
        above_id = given.get("organization_id", team.organization_id)
        if above_id not in {None, team.organization_id} or (above_id is not None and given.keys() & _BOUNDS):
            await _within(str(above_id), given, parts)
        if logging is not None:
            await put_logging(team, logging, standing, caller, parts)
        return await change(caller, team, _patch(given, parts.clock.now_s(), before=team))

    @router.post("/team/update", summary="Change a team: only named fields change, null clears one")
    async def update_named(body: UpdateTeam, caller: anyone) -> dict[str, Any]:
        return {"team_id": body.team_id, "data": await update(body.team_id, body, caller)}

    @router.patch("/team/{team_id}", summary="The same, with the id in the path; metadata is merged (RFC 7386)")
    async def update_in_path(team_id: str, body: TeamWishes, caller: anyone) -> dict[str, Any]:
        return await update(team_id, body, caller, merging=True)

    @router.post("/team/block", summary="Refuse a team's keys from now on")
    async def block(body: TeamNamed, caller: anyone) -> dict[str, Any]:
        team = await _above(await stores.standing(caller), body.team_id, parts, "/team/block")
        return await change(caller, team, Patch(columns={"blocked": True}), "blocked")

    @router.post("/team/unblock", summary="Accept a team's keys again")
    async def unblock(body: TeamNamed, caller: anyone) -> dict[str, Any]:
        team = await _above(await stores.standing(caller), body.team_id, parts, "/team/unblock")
        return await change(caller, team, Patch(columns={"blocked": False}), "unblocked")

    @router.post("/team/model/add", summary="Allow a team more models")
    async def add_models(body: TeamModels, caller: admin) -> dict[str, Any]:
        team = await led(await stores.standing(caller), body.team_id, parts, "/team/model/add")
        return await change(caller, team, Patch(columns={"models": list(dict.fromkeys((*team.models, *body.models)))}))

    @router.post("/team/model/delete", summary="Allow a team fewer models")
    async def delete_models(body: TeamModels, caller: admin) -> dict[str, Any]:
        team = await led(await stores.standing(caller), body.team_id, parts, "/team/model/delete")
        left = [model for model in team.models if model not in body.models]
        if team.models and not left:
            # An empty list would mean: all.
            left = ["no-default-models"]
        return await change(caller, team, Patch(columns={"models": left}))

    @router.post("/team/delete", summary="Delete teams with their keys and memberships")
    async def delete(body: TeamsNamed, caller: anyone) -> list[dict[str, Any]]:
        standing = await stores.standing(caller)
        rows = [await _above(standing, team_id, parts, "/team/delete") for team_id in dict.fromkeys(body.team_ids)]
        gone = await shown(rows, parts)
        ids = [team.id for team in rows]
        hashes = await parts.keys.hashes_where(team_ids=ids)
        old = await stores.hashes_of(hashes)
        await stores.teams.delete(ids)
        await stores.projects.forget_teams(ids)
        await forget_teams(ids, parts)
        await stores.members.forget_groups("team", ids)
        await parts.keys.delete(hashes)
        if old:
            parts.invalidate(old)
        for team in rows:
            await changes.note(parts, caller, "deleted", _TABLE, team.id, before=team)
        return gone


_BOUNDS = frozenset({"models", "max_budget", "tpm_limit", "rpm_limit"})


async def _within(organization_id: str, given: Given, parts: Parts) -> None:
    """The organisation is there, and has what is promised to the team."""
    found = await parts.stores.organizations.find(organization_id)
    if found is None:
        raise BadRequest(
            f"Organization not found for organization_id={organization_id}. Create it with `/organization/new` first.",
            param="organization_id",
        )
    snapshot = parts.models.snapshot()
    check_within(
        given,
        "Team",
        found,
        "organization",
        known=lambda name: "*" in name or name in snapshot.models or name in snapshot.aliases,
    )


async def _above(standing: Standing, team_id: str, parts: Parts, route: str) -> Team:
    """The team, if the caller stands above it: its own admins may not delete or block it."""
    if not standing.manages_all and not standing.led_organization_ids:
        raise refusals.admins_only(parts.compat, route)
    team = await led(standing, team_id, parts, route)
    if not standing.leads_organization(team.organization_id):
        raise not_yours()
    return team


# What bounds a team is said by those above it.
_OWN_FIELDS = frozenset({
    "team_id", "team_alias", "metadata", "model_aliases", "team_member_budget", "team_member_budget_duration",
    "team_member_rpm_limit", "team_member_tpm_limit", "team_member_permissions", "tags",
})  # fmt: skip


def _check_change(standing: Standing, team: Team, given: Given) -> None:
    if standing.leads_organization(team.organization_id):
        target = given.get("organization_id", team.organization_id)
        if not standing.leads_organization(target):
            raise PermissionDenied("Name an organisation that you lead.", param="organization_id")
        return
    if refused := given.keys() - _OWN_FIELDS:
        raise PermissionDenied(
            f"A team's admin may not change its `{min(refused)}`.", param=min(refused), code="field_not_allowed"
        )


def _permitting(router: APIRouter, parts: Parts) -> None:
    admin = Annotated[Principal, Depends(parts.callers.admin)]
    anyone = Annotated[Principal, Depends(parts.callers.anyone)]
    stores = parts.stores

    @router.get("/team/permissions_list", summary="What members may do with their team's keys")
    async def permissions(caller: anyone, team_id: str) -> dict[str, Any]:
        team = await seen(await stores.standing(caller), team_id, parts)
        told = team.settings.get("team_member_permissions")
        return {
            "team_id": team.id,
            "team_member_permissions": told if isinstance(told, list) else list(MEMBER_ROUTES),
            "all_available_permissions": list(PERMISSIONS),
        }

    @router.post("/team/permissions_update", summary="Say what members may do with their team's keys")
    async def permit(body: Permissions, caller: anyone) -> dict[str, Any]:
        team = await led(await stores.standing(caller), body.team_id, parts, "/team/permissions_update")
        patch = Patch(settings={"team_member_permissions": body.team_member_permissions})
        changed = await stores.teams.change(team.id, patch, by=name_of(caller))
        if changed is None:
            raise no_such_team(team.id)
        await changes.note(parts, caller, "updated", _TABLE, team.id, before=changed[0], after=changed[1])
        return (await shown([changed[1]], parts))[0]

    @router.post(
        "/team/permissions_bulk_update", summary="Give the members of several teams, or of all, more permissions"
    )
    async def permit_many(body: ManyPermissions, caller: admin) -> dict[str, Any]:
        if bool(body.team_ids) == body.apply_to_all_teams:
            raise BadRequest("Name `team_ids`, or set `apply_to_all_teams`.", param="team_ids")
        rows = (await stores.teams.page())[0] if body.apply_to_all_teams else await stores.teams.those(body.team_ids)
        known = {team.id for team in rows}
        if missing := [name for name in body.team_ids if name not in known]:
            raise no_such_team(missing[0])
        count = 0
        for team in rows:
            told = team.settings.get("team_member_permissions")
            now = told if isinstance(told, list) else list(MEMBER_ROUTES)
            more = list(dict.fromkeys((*now, *body.permissions)))
            if more == told:
                continue
            patch = Patch(settings={"team_member_permissions": more})
            changed = await stores.teams.change(team.id, patch, by=name_of(caller))
            if changed is not None:
                count += 1
                await changes.note(parts, caller, "updated", _TABLE, team.id, before=changed[0], after=changed[1])
        return {
            "message": f"{count} teams updated",
            "teams_updated": count,
            "permissions_appended": body.permissions,
        }
