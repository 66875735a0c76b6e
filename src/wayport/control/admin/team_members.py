"""Members of teams: add, change, remove. Users that do not exist yet are made."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends

from wayport.access import refusals
from wayport.access.members import Member
from wayport.access.principal import Principal
from wayport.access.roles import Standing
from wayport.access.rows import Conflict
from wayport.access.teams import Team
from wayport.control.admin import changes
from wayport.control.admin.defaults import for_new_user
from wayport.control.admin.fields import ResetSpend, spend_as
from wayport.control.admin.parts import Parts, sees_all
from wayport.control.admin.stores import name_of
from wayport.control.admin.team_fields import (
    AddManyMembers,
    AddMembers,
    MemberTerms,
    RemoveMember,
    TeamMember,
    UpdateMember,
    member_limits,
    no_such_team,
    not_yours,
    show_membership,
    show_team,
)
from wayport.control.admin.users import patch_of_user, show_users
from wayport.control.admin.words import usd
from wayport.core.errors import BadRequest, WayportError
from wayport.core.ids import uuid7

Person = tuple[str, str | None, str]
"""user id, e-mail address, role"""


async def people_of(people: Sequence[TeamMember], parts: Parts, *, by: str) -> list[Person]:
    """The users that are meant; who does not exist yet is made."""
    users = parts.stores.users
    found: dict[str, Person] = {}
    for person in people:
        user = await users.find(person.user_id) if person.user_id is not None else None
        if user is None and person.user_id is None and person.user_email is not None:
            user = await users.by_email(person.user_email)
        if user is None:
            new_id = person.user_id or uuid7()
            given = for_new_user({"user_email": person.user_email} if person.user_email else {}, parts)
            try:
                user = await users.add(new_id, patch_of_user(given, parts.clock.now_s()), by=by)
            except Conflict:
                # Another request made it at the same moment, or the address is somebody else's.
                user = await users.find(new_id)
                if user is None:
                    raise
        found.setdefault(user.id, (user.id, user.email or person.user_email, person.role))
    return list(found.values())


def routes(parts: Parts) -> APIRouter:
    router = APIRouter(tags=["teams"])
    _adding(router, parts)
    _changing(router, parts)
    _looking(router, parts)
    return router


async def led(standing: Standing, team_id: str, parts: Parts, route: str) -> Team:
    """The team, if the caller may change it."""
    if not standing.manages_something:
        raise refusals.admins_only(parts.compat, route)
    team = await parts.stores.teams.find(team_id)
    if team is None:
        raise no_such_team(team_id) if standing.sees_all else not_yours()
    if not standing.leads(team):
        raise not_yours()
    return team


async def shown_team(team: Team, parts: Parts) -> dict[str, Any]:
    joined = (await parts.stores.members.of_groups("team", [team.id]))[team.id]
    return show_team(
        team, joined, parts, spent=(await parts.stores.spent.shown("team", {team.id: team.limits}))[team.id]
    )


def _adding(router: APIRouter, parts: Parts) -> None:
    anyone = Annotated[Principal, Depends(parts.callers.anyone)]
    stores = parts.stores

    @router.post("/team/member_add", summary="Add members to a team; users that do not exist yet are made")
    async def add(body: AddMembers, caller: anyone) -> dict[str, Any]:
        team = await led(await stores.standing(caller), body.team_id, parts, "/team/member_add")
        people = body.member if isinstance(body.member, list) else [body.member]
        if not people:
            raise BadRequest("`member` is empty.", param="member")
        joined = await _join(team, people, body, caller, parts)
        return {
            **await shown_team(team, parts),
            "updated_users": await show_users(await stores.users.those([each.user_id for each in joined]), parts),
            "updated_team_memberships": [show_membership(member, parts, spent=0) for member in joined],
        }

    @router.post("/team/bulk_member_add", summary="Add many members to a team; each for itself")
    async def add_many(body: AddManyMembers, caller: anyone) -> dict[str, Any]:
        team = await led(await stores.standing(caller), body.team_id, parts, "/team/bulk_member_add")
        people = body.members
        if body.all_users:
            if not sees_all(caller):
                raise refusals.admins_only(parts.compat, "/team/bulk_member_add")
            everybody, _ = await stores.users.page()
            people = [TeamMember(user_id=user.id) for user in everybody]
        results = []
        for person in people:
            told: dict[str, Any] = {"user_id": person.user_id, "user_email": person.user_email}
            try:
                (member,) = await _join(team, [person], body, caller, parts)
            except WayportError as error:
                results.append(told | {"success": False, "error": error.message})
            else:
                shown = show_membership(member, parts, spent=0)
                told |= {"user_id": member.user_id, "user_email": member.email}
                results.append(told | {"success": True, "error": None, "updated_team_membership": shown})
        done = sum(1 for result in results if result["success"])
        return {
            "team_id": team.id,
            "results": results,
            "total_requested": len(results),
            "successful_additions": done,
            "failed_additions": len(results) - done,
            "updated_team": await shown_team(team, parts),
        }


async def _join(
    team: Team, people: Sequence[TeamMember], body: MemberTerms, caller: Principal, parts: Parts
) -> list[Member]:
    """Makes them members. Raises `BadRequest` when one of them is a member already."""
    stores = parts.stores
    before = (await stores.members.of_groups("team", [team.id]))[team.id]
    known = {member.user_id for member in before} | {member.email for member in before if member.email}
    if any(person.user_id in known or (person.user_email or "-") in known for person in people):
        raise _already(team)
    found = await people_of(people, parts, by=name_of(caller))
    limits = {k: v for k, v in member_limits(body.given(), parts.clock.now_s()).items() if v is not None}
    settings = {"allowed_models": body.allowed_models} if body.allowed_models else {}
    joined = [
        Member(
            scope="team", group_id=team.id, user_id=user_id, email=email, role=role,
            limits=limits, settings=settings,
        )
        for user_id, email, role in found
    ]  # fmt: skip
    await stores.members.add(joined)
    await changes.tell(parts, user_ids=[member.user_id for member in joined])
    for member in joined:
        await changes.note(parts, caller, "created", "team_members", f"{team.id}/{member.user_id}", after=member)
    return joined


def _already(team: Team) -> WayportError:
    error = BadRequest(
        f"User is already a member of the team {team.id}.", param="member", code="team_member_already_in_team"
    )
    error.type = "team_member_already_in_team"
    return error


def _changing(router: APIRouter, parts: Parts) -> None:
    anyone = Annotated[Principal, Depends(parts.callers.anyone)]
    stores = parts.stores

    async def member_of(team: Team, body: RemoveMember) -> Member:
        email = (body.user_email or "").strip().lower()
        for member in (await stores.members.of_groups("team", [team.id]))[team.id]:
            if member.user_id == body.user_id or (body.user_id is None and email and member.email == email):
                return member
        raise BadRequest(f"This user is no member of the team {team.id}.", param="user_id", code="not_a_member")

    @router.post("/team/member_delete", summary="Remove a member from a team, and its keys of this team")
    async def remove(body: RemoveMember, caller: anyone) -> dict[str, Any]:
        team = await led(await stores.standing(caller), body.team_id, parts, "/team/member_delete")
        member = await member_of(team, body)
        keys = await parts.keys.hashes_of_member(team.id, member.user_id)
        old = await stores.hashes_of(keys, user_ids=[member.user_id])
        await stores.members.remove("team", team.id, [member.user_id])
        await parts.keys.delete(keys)
        if old:
            parts.invalidate(old)
        await changes.note(parts, caller, "deleted", "team_members", f"{team.id}/{member.user_id}", before=member)
        return await shown_team(team, parts)

    @router.post("/team/member_update", summary="Change a member's role and limits in a team")
    async def update(body: UpdateMember, caller: anyone) -> dict[str, Any]:
        team = await led(await stores.standing(caller), body.team_id, parts, "/team/member_update")
        before = await member_of(team, body)
        given = body.model_dump(exclude_unset=True, mode="json")
        after = await stores.members.change(before, role=body.role, limits=member_limits(given, parts.clock.now_s()))
        await changes.tell(parts, user_ids=[after.user_id])
        await changes.note(
            parts, caller, "updated", "team_members", f"{team.id}/{after.user_id}", before=before, after=after
        )
        return {
            "team_id": team.id,
            "user_id": after.user_id,
            "user_email": after.email,
            "role": after.role,
            "max_budget_in_team": after.limits.get("max_budget"),
            "budget_duration": after.limits.get("budget_duration"),
            "tpm_limit": after.limits.get("tpm_limit"),
            "rpm_limit": after.limits.get("rpm_limit"),
        }

    async def reset(team_id: str, user_id: str, reset_to: float, caller: Principal, route: str) -> dict[str, Any]:
        team = await led(await stores.standing(caller), team_id, parts, route)
        before = await member_of(team, RemoveMember(team_id=team_id, user_id=user_id))
        name = f"{team.id}/{before.user_id}"
        previous = usd((await stores.spent.shown("team_member", {name: before.limits}))[name])
        if reset_to > previous:
            raise BadRequest("`reset_to` is more than what has been spent.", param="reset_to")
        total = (await stores.spent.by("team_member", [name]))[name]
        limits = spend_as(reset_to, total, parts.clock.now_s())
        after = await stores.members.change(before, limits=limits)
        await changes.tell(parts, user_ids=[after.user_id])
        await changes.note(parts, caller, "updated", "team_members", name, before=before, after=after)
        return {
            "team_id": team.id,
            "user_id": after.user_id,
            "spend": reset_to,
            "previous_spend": previous,
            "max_budget": after.limits.get("max_budget"),
        }

    @router.post("/team/{team_id}/member/{user_id}/reset_spend", summary="Count a member's spend from here on")
    async def reset_spend(team_id: str, user_id: str, caller: anyone, body: ResetSpend | None = None) -> dict[str, Any]:
        told = (body or ResetSpend()).reset_to
        return await reset(team_id, user_id, told, caller, "/team/{team_id}/member/{user_id}/reset_spend")

    @router.post("/team/{team_id}/member/{user_id}/reset_budget", summary="Let a member's budget begin anew")
    async def reset_budget(team_id: str, user_id: str, caller: anyone) -> dict[str, Any]:
        return await reset(team_id, user_id, 0.0, caller, "/team/{team_id}/member/{user_id}/reset_budget")


def _looking(router: APIRouter, parts: Parts) -> None:
    anyone = Annotated[Principal, Depends(parts.callers.anyone)]
    stores = parts.stores

    @router.get("/team/{team_id}/members/me", summary="What a team says of its member who asks")
    async def myself(team_id: str, caller: anyone) -> dict[str, Any]:
        standing = await stores.standing(caller)
        member = None
        if standing.user_id is not None:
            member = await stores.members.find("team", team_id, standing.user_id)
        if member is None:
            raise no_such_team(team_id) if standing.sees_all else not_yours()
        name = f"{team_id}/{member.user_id}"
        spent = (await stores.spent.shown("team_member", {name: member.limits}))[name]
        return show_membership(member, parts, spent=spent) | {"user_email": member.email, "role": member.role}
