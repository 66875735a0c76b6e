"""Organisations and their members. LiteLLM's routes and shapes."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Depends
from pydantic import BaseModel, Field
from sqlalchemy import ColumnElement

from wayport.access import refusals
from wayport.access.members import Member
from wayport.access.organizations import Organization
from wayport.access.principal import Principal
from wayport.access.roles import Standing
from wayport.control.admin import changes
from wayport.control.admin.fields import Bounded, Id, Name, Usd, Words, patch_of, show_limits, show_row
from wayport.control.admin.parts import Parts
from wayport.control.admin.stores import name_of
from wayport.control.admin.team_fields import TeamMember, show_team
from wayport.control.admin.team_members import people_of
from wayport.control.admin.users import show_users
from wayport.control.admin.words import usd
from wayport.core.errors import BadRequest, PermissionDenied, RouteNotFound, WayportError
from wayport.core.ids import uuid7
from wayport.storage.tables import organizations, teams

_TABLE = "organizations"
_COLUMNS = {
    "organization_alias": "alias",
    "budget_id": "budget_id",
    "models": "models",
    "metadata": "metadata",
    "blocked": "blocked",
}
_PASSING = ("organization_id", "spend")

MemberRole = Literal["org_admin", "internal_user", "internal_user_viewer"]


class OrganizationWishes(Bounded):
    organization_alias: Name | None = None
    budget_id: Id | None = Field(default=None, description="A budget by name, for what is not said here.")
    models: Words | None = Field(default=None, description="Models that its keys may use. None: all.")
    metadata: dict[str, Any] | None = None
    blocked: bool | None = None


class NewOrganization(OrganizationWishes):
    organization_id: Id | None = None


class UpdateOrganization(OrganizationWishes):
    organization_id: Id


class OrganizationsNamed(BaseModel):
    organization_ids: list[Id] = Field(max_length=1000)


class OrganizationsAsked(BaseModel):
    organizations: list[Id] = Field(max_length=1000)


class OrganizationMember(TeamMember):
    role: MemberRole = "internal_user"  # type: ignore[assignment]  # other roles than in a team


class AddMembers(BaseModel):
    organization_id: Id
    member: OrganizationMember | list[OrganizationMember]
    max_budget_in_organization: Usd | None = None


class MemberNamed(BaseModel):
    organization_id: Id
    user_id: Id | None = None
    user_email: Name | None = None


class UpdateMember(MemberNamed):
    role: MemberRole | None = None
    max_budget_in_organization: Usd | None = None


def routes(parts: Parts) -> APIRouter:
    router = APIRouter(tags=["organizations"])
    _changing(router, parts)
    _looking(router, parts)
    _members(router, parts)
    return router


async def _shown(rows: list[Organization], parts: Parts) -> list[dict[str, Any]]:
    stores = parts.stores
    ids = [row.id for row in rows]
    joined = await stores.members.of_groups("organization", ids)
    spent = await stores.spent.shown("organization", {row.id: row.limits for row in rows})
    their_teams, _ = await stores.teams.page(teams.c.organization_id.in_(ids))
    team_members = await stores.members.of_groups("team", [team.id for team in their_teams])
    team_spend = await stores.spent.shown("team", {team.id: team.limits for team in their_teams})
    found = []
    for row in rows:
        shown = _show(row, parts, spent=spent[row.id])
        shown["members"] = [_show_member(member) for member in joined[row.id]]
        shown["teams"] = [
            show_team(team, team_members[team.id], parts, spent=team_spend[team.id])
            for team in their_teams
            if team.organization_id == row.id
        ]
        found.append(shown)
    return found


def _show(row: Organization, parts: Parts, *, spent: int) -> dict[str, Any]:
    limits = show_limits(row.limits, parts.clock.now_s(), calendar=parts.calendar)
    return {
        "object_permission": None,
        **show_row(row),
        **limits,
        "organization_id": row.id,
        "organization_alias": row.alias,
        "budget_id": row.budget_id,
        "models": list(row.models),
        "spend": usd(spent),
        "model_spend": {},
        "litellm_budget_table": limits,
        "users": None,
    }


def _show_member(member: Member) -> dict[str, Any]:
    return {
        "user_id": member.user_id,
        "user_email": member.email,
        "organization_id": member.group_id,
        "user_role": member.role,
        "spend": 0.0,
        "budget_id": None,
        "litellm_budget_table": None,
    }


async def _one(row: Organization, parts: Parts) -> dict[str, Any]:
    return (await _shown([row], parts))[0]


def _changing(router: APIRouter, parts: Parts) -> None:
    admin = Annotated[Principal, Depends(parts.callers.admin)]
    stores = parts.stores

    async def change(body: OrganizationWishes, organization_id: str, caller: Principal) -> dict[str, Any]:
        before = await stores.organizations.find(organization_id)
        if before is None:
            raise no_such_organization(organization_id)
        given = {name: value for name, value in body.given().items() if name not in _PASSING}
        patch = patch_of(given, _COLUMNS, parts.clock.now_s(), before=before.limits)
        changed = await stores.organizations.change(organization_id, patch, by=name_of(caller))
        if changed is None:
            raise no_such_organization(organization_id)
        await changes.tell(parts, organization_ids=[organization_id])
        await changes.note(parts, caller, "updated", _TABLE, organization_id, before=changed[0], after=changed[1])
        return await _one(changed[1], parts)

    @router.post("/organization/new", summary="Make an organisation")
    async def new(body: NewOrganization, caller: admin) -> dict[str, Any]:
        organization_id = body.organization_id or uuid7()
        given = {name: value for name, value in body.given().items() if name not in _PASSING}
        if body.budget_id is not None and await stores.budgets.find(body.budget_id) is None:
            raise BadRequest(f"There is no budget {body.budget_id}.", param="budget_id")
        patch = patch_of(given, _COLUMNS, parts.clock.now_s())
        made = await stores.organizations.add(organization_id, patch, by=name_of(caller))
        await changes.tell(parts, organization_ids=[organization_id])
        await changes.note(parts, caller, "created", _TABLE, organization_id, after=made)
        return await _one(made, parts)

    @router.patch("/organization/update", summary="Change an organisation: only named fields change, null clears one")
    async def update(body: UpdateOrganization, caller: admin) -> dict[str, Any]:
        return await change(body, body.organization_id, caller)

    @router.patch("/v2/organization/{organization_id}", summary="The same, with the id in the path")
    async def update_in_path(organization_id: str, body: OrganizationWishes, caller: admin) -> dict[str, Any]:
        return await change(body, organization_id, caller)

    @router.delete("/organization/delete", summary="Delete organisations with their teams, keys and memberships")
    async def delete(body: Annotated[OrganizationsNamed, Body()], caller: admin) -> list[dict[str, Any]]:
        ids = list(dict.fromkeys(body.organization_ids))
        rows = await stores.organizations.those(ids)
        known = {row.id for row in rows}
        if missing := [name for name in ids if name not in known]:
            raise no_such_organization(missing[0])
        gone = await _shown(rows, parts)
        their_teams, _ = await stores.teams.page(teams.c.organization_id.in_(ids))
        team_ids = [team.id for team in their_teams]
        hashes = await parts.keys.hashes_where(team_ids=team_ids, organization_ids=ids)
        old = await stores.hashes_of(hashes)
        await stores.organizations.delete(ids)
        await stores.teams.delete(team_ids)
        await stores.projects.forget_teams(team_ids)
        await stores.members.forget_groups("team", team_ids)
        await stores.members.forget_groups("organization", ids)
        await parts.keys.delete(hashes)
        if old:
            parts.invalidate(old)
        for row in rows:
            await changes.note(parts, caller, "deleted", _TABLE, row.id, before=row)
        return gone


def _looking(router: APIRouter, parts: Parts) -> None:
    anyone = Annotated[Principal, Depends(parts.callers.anyone)]
    stores = parts.stores

    @router.get("/organization/list", summary="Organisations that the caller belongs to, or all")
    async def list_all(caller: anyone, org_id: str | None = None, org_alias: str | None = None) -> list[dict[str, Any]]:
        standing = await stores.standing(caller)
        wanted: list[ColumnElement[bool]] = []
        if not standing.sees_all:
            wanted.append(organizations.c.id.in_(standing.organization_ids))
        if org_id:
            wanted.append(organizations.c.id == org_id)
        if org_alias:
            wanted.append(organizations.c.alias.icontains(org_alias, autoescape=True))
        rows, _ = await stores.organizations.page(*wanted)
        return await _shown(rows, parts)

    @router.get("/organization/info", summary="An organisation with its members and teams")
    async def info(caller: anyone, organization_id: str) -> dict[str, Any]:
        standing = await stores.standing(caller)
        row = await stores.organizations.find(organization_id)
        if row is None and standing.sees_all:
            raise no_such_organization(organization_id)
        if row is None or not (standing.sees_all or standing.leads_organization(row.id)):
            raise not_yours()
        return await _one(row, parts)

    @router.post("/organization/info", summary="Several organisations")
    async def infos(body: OrganizationsAsked, caller: anyone) -> list[dict[str, Any]]:
        standing = await stores.standing(caller)
        rows = await stores.organizations.those(body.organizations)
        return await _shown([r for r in rows if standing.sees_all or standing.leads_organization(r.id)], parts)


async def _led(standing: Standing, organization_id: str, parts: Parts, route: str) -> Organization:
    if not standing.manages_something:
        raise refusals.admins_only(parts.compat, route)
    row = await parts.stores.organizations.find(organization_id)
    if row is None and standing.sees_all:
        raise no_such_organization(organization_id)
    if row is None or not standing.leads_organization(row.id):
        raise not_yours()
    return row


def _members(router: APIRouter, parts: Parts) -> None:
    anyone = Annotated[Principal, Depends(parts.callers.anyone)]
    stores = parts.stores

    async def member_of(row: Organization, body: MemberNamed) -> Member:
        for member in (await stores.members.of_groups("organization", [row.id]))[row.id]:
            email = (body.user_email or "").strip().lower()
            if member.user_id == body.user_id or (body.user_id is None and email and member.email == email):
                return member
        raise RouteNotFound(f"This user is no member of the organisation {row.id}.", param="user_id")

    @router.post("/organization/member_add", summary="Add members to an organisation")
    async def add(body: AddMembers, caller: anyone) -> dict[str, Any]:
        row = await _led(await stores.standing(caller), body.organization_id, parts, "/organization/member_add")
        people = body.member if isinstance(body.member, list) else [body.member]
        found = await people_of(people, parts, by=name_of(caller))
        joined = [
            Member(scope="organization", group_id=row.id, user_id=user_id, email=email, role=role)
            for user_id, email, role in found
        ]
        await stores.members.add(joined)
        ids = [member.user_id for member in joined]
        await changes.tell(parts, user_ids=ids)
        for member in joined:
            name = f"{row.id}/{member.user_id}"
            await changes.note(parts, caller, "created", "organization_members", name, after=member)
        return {
            "organization_id": row.id,
            "updated_users": await show_users(await stores.users.those(ids), parts),
            "updated_organization_memberships": [_show_member(member) for member in joined],
        }

    @router.patch("/organization/member_update", summary="Change a member's role in an organisation")
    async def update(body: UpdateMember, caller: anyone) -> dict[str, Any]:
        row = await _led(await stores.standing(caller), body.organization_id, parts, "/organization/member_update")
        before = await member_of(row, body)
        after = await stores.members.change(before, role=body.role)
        await changes.tell(parts, user_ids=[after.user_id])
        name = f"{row.id}/{after.user_id}"
        await changes.note(parts, caller, "updated", "organization_members", name, before=before, after=after)
        return _show_member(after)

    @router.delete("/organization/member_delete", summary="Remove a member from an organisation")
    async def remove(body: Annotated[MemberNamed, Body()], caller: anyone) -> dict[str, Any]:
        row = await _led(await stores.standing(caller), body.organization_id, parts, "/organization/member_delete")
        member = await member_of(row, body)
        await stores.members.remove("organization", row.id, [member.user_id])
        await changes.tell(parts, user_ids=[member.user_id])
        name = f"{row.id}/{member.user_id}"
        await changes.note(parts, caller, "deleted", "organization_members", name, before=member)
        return _show_member(member)


def no_such_organization(organization_id: str) -> WayportError:
    return RouteNotFound(
        f"There is no organisation {organization_id}.", param="organization_id", code="organization_not_found"
    )


def not_yours() -> WayportError:
    return PermissionDenied(
        "This organisation is not yours to see or change, or does not exist.", code="organization_not_allowed"
    )
