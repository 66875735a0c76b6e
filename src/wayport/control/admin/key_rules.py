"""Whose keys a caller may make, see and change, and which of their fields."""

from typing import Any

from msgspec import structs

from wayport.access import refusals
from wayport.access.duration import after
from wayport.access.keys import Key, KeyFields, KeyFilter, Visible
from wayport.access.projects import Project
from wayport.access.roles import NOBODYS_USER, Standing
from wayport.access.teams import Team
from wayport.control.admin.parts import Parts
from wayport.core.errors import BadRequest, PermissionDenied, RouteNotFound, WayportError

# What nobody may give its own key: only those who lead where it belongs.
_LED = frozenset(
    {"role", "blocked", "spend", "team_id", "organization_id", "project_id", "user_id", "temp_budget_increase"}
)
# What the owner of a key that somebody else made may say of it.
_HARMLESS = frozenset({"key_alias", "metadata"})


def no_such_key(names: list[str]) -> WayportError:
    shown = ", ".join(f"{name[:3]}...{name[-4:]}" if name.startswith("sk-") else name for name in names)
    return RouteNotFound(f"There is no such key: {shown}.", param="key", code="key_not_found")


def not_yours() -> WayportError:
    """The same for keys of others and for those that do not exist."""
    return PermissionDenied("This key is not yours to see or change, or does not exist.", code="key_not_allowed")


async def seen(standing: Standing, wanted: str, parts: Parts, *, name: str) -> Key:
    found = await parts.keys.find(wanted)
    if found is None:
        raise no_such_key([name]) if standing.sees_all else not_yours()
    if not standing.sees_key(found, await parts.stores.team_of(found.team_id)):
        raise not_yours()
    return found


async def changeable(
    standing: Standing, wanted: str, parts: Parts, route: str, *, name: str, lead: bool = False
) -> Key:
    """The key, if the caller may change it by this route; `lead`: only as who leads where it belongs."""
    if not standing.manages_something:
        raise refusals.admins_only(parts.compat, route)
    found = await parts.keys.find(wanted)
    if found is None:
        raise no_such_key([name]) if standing.sees_all else not_yours()
    team = await parts.stores.team_of(found.team_id)
    allowed = leads(standing, found, team) if lead else standing.changes_key(found, team, route)
    if not allowed and team is not None and team.id in standing.member_team_ids:
        raise not_for_members(team, route)
    if not allowed:
        raise not_yours()
    return found


def not_for_members(team: Team, route: str) -> WayportError:
    error = PermissionDenied(
        f"Members of the team {team.id} may not use {route} on its keys: an admin of the team may allow it with "
        "/team/permissions_update.",
        param=route,
        code="team_member_permission",
    )
    error.type, error.status = "team_member_permission_error", 401
    return error


def leads(standing: Standing, key: Key, team: Team | None) -> bool:
    if standing.manages_all or standing.leads_organization(key.organization_id):
        return True
    return team is not None and standing.leads(team)


async def owner_of_new(standing: Standing, fields: KeyFields, parts: Parts, route: str) -> KeyFields:
    """The key as this caller may make it. Raises `PermissionDenied`."""
    if fields.project_id is not None:
        project = await _project(standing, fields.project_id, fields.team_id, parts)
        fields = structs.replace(fields, team_id=project.team_id)
    if standing.manages_all:
        if fields.user_id is None and route == "/key/generate":
            # LiteLLM's keys made by the master key belong to this user.
            return structs.replace(fields, user_id=NOBODYS_USER if parts.compat == "litellm" else None)
        return fields
    if fields.role is not None and fields.role != standing.principal.role:
        raise PermissionDenied("Only administrators make keys with a role.", param="role", code="role_not_allowed")
    team = await parts.stores.team_of(fields.team_id)
    if fields.organization_id is not None and not standing.leads_organization(fields.organization_id):
        raise not_yours_to_give("organization_id")
    if fields.team_id is not None:
        return await _for_team(standing, fields, team, parts)
    if standing.leads_organization(fields.organization_id):
        return fields
    if not standing.may_own_keys:
        raise refusals.admins_only(parts.compat, route)
    if fields.user_id not in (None, standing.user_id):
        raise not_yours_to_give("user_id")
    return structs.replace(fields, user_id=standing.user_id)


async def _project(standing: Standing, project_id: str, team_id: str | None, parts: Parts) -> Project:
    """The project of which a key of this team is to be. Raises `PermissionDenied`, `BadRequest`, `RouteNotFound`."""
    project = await parts.stores.projects.find(project_id)
    team = await parts.stores.team_of(project.team_id) if project is not None else None
    if not standing.sees_all and (team is None or not standing.sees_team(team)):
        raise not_yours_to_give("project_id")
    if project is None:
        raise RouteNotFound(f"There is no project {project_id}.", param="project_id", code="project_not_found")
    if team_id not in {None, project.team_id}:
        raise BadRequest(
            f"The project {project_id} belongs to the team {project.team_id}, the key to {team_id}.", param="project_id"
        )
    return project


async def _for_team(standing: Standing, fields: KeyFields, team: Team | None, parts: Parts) -> KeyFields:
    if team is None or not standing.sees_team(team):
        raise not_yours_to_give("team_id")
    if standing.leads(team):
        if fields.user_id not in (None, standing.user_id):
            member = await parts.stores.members.find("team", team.id, str(fields.user_id))
            if member is None:
                raise not_yours_to_give("user_id")
        return fields
    if not standing.may_for(team, "/key/generate"):
        raise not_for_members(team, "/key/generate")
    if fields.user_id not in (None, standing.user_id):
        raise not_yours_to_give("user_id")
    return structs.replace(fields, user_id=standing.user_id)


async def check_change(standing: Standing, key: Key, given: dict[str, Any], parts: Parts) -> None:
    """Raises `PermissionDenied` for fields that this caller may not give this key. A key that joins a project joins its
    team, too.
    """
    project_id = given.get("project_id", key.project_id)
    if project_id is not None and {"project_id", "team_id"} & given.keys():
        given["team_id"] = (await _project(standing, project_id, given.get("team_id", key.team_id), parts)).team_id
    if standing.manages_all:
        return
    changed = {name for name, value in given.items() if not _same(key, name, value)}
    if "role" in changed:
        raise not_yours_to_give("role")
    team = await parts.stores.team_of(key.team_id)
    if not leads(standing, key, team):
        refused = changed & _LED if key.created_by == standing.user_id else changed - _HARMLESS
        if refused:
            raise not_yours_to_give(min(refused))
        return
    if "team_id" in changed:
        other = await parts.stores.team_of(given["team_id"])
        if other is None or not standing.leads(other):
            raise not_yours_to_give("team_id")
    if "organization_id" in changed and not standing.leads_organization(given["organization_id"]):
        raise not_yours_to_give("organization_id")
    if "user_id" in changed and given["user_id"] is not None:
        member = await parts.stores.members.find("team", key.team_id or "", str(given["user_id"]))
        if member is None:
            raise not_yours_to_give("user_id")


def _same(key: Key, name: str, value: Any) -> bool:
    owners = {"role", "blocked", "team_id", "organization_id", "project_id", "user_id"}
    return name in owners and getattr(key, name) == value


def not_yours_to_give(field: str) -> WayportError:
    return PermissionDenied(f"You may not give a key this `{field}`.", param=field, code="field_not_allowed")


async def listed(standing: Standing, wanted: KeyFilter, parts: Parts, *, with_teams: bool) -> KeyFilter:
    """Which of the wanted keys the caller may list. Raises `PermissionDenied` when it asks for those of others."""
    visible = standing.visible
    if visible is None:
        return wanted
    if wanted.team_id is not None:
        team = await parts.stores.team_of(wanted.team_id)
        if team is None or not standing.sees_team(team):
            raise _not_yours_to_list("team_id")
        if standing.leads(team) or standing.may_for(team, "/key/list"):
            visible = structs.replace(visible, team_ids=(*visible.team_ids, team.id))
    elif not with_teams:
        visible = Visible(key_hash=visible.key_hash, user_id=visible.user_id, organization_ids=visible.organization_ids)
    if wanted.user_id is not None and wanted.user_id != standing.user_id:
        theirs = (await parts.stores.members.of_users([wanted.user_id]))[wanted.user_id]
        if not standing.sees_user(wanted.user_id, theirs) and not standing.led_team_ids:
            raise _not_yours_to_list("user_id")
    if wanted.organization_id is not None and wanted.organization_id not in standing.organization_ids:
        raise _not_yours_to_list("organization_id")
    return structs.replace(wanted, within=visible)


def _not_yours_to_list(field: str) -> WayportError:
    return PermissionDenied(f"You may not list the keys of this `{field}`.", param=field, code="key_not_allowed")


def grace_s(text: str | None, now_s: float) -> float:
    if not text:
        return 0.0
    until_s = after(now_s, text, param="grace_period")
    if until_s - now_s > 86_400 * 366:
        raise BadRequest("`grace_period` is longer than a year.", param="grace_period")
    return until_s - now_s


async def with_users(shown: list[dict[str, Any]], parts: Parts) -> None:
    """Puts into each shown key its user."""
    ids = {key["user_id"] for key in shown if key["user_id"] is not None}
    users = {user.id: user for user in await parts.stores.users.those(sorted(ids))}
    for key in shown:
        user = users.get(key["user_id"])
        key["user"] = None if user is None else {
            "user_id": user.id, "user_email": user.email, "user_alias": user.alias, "user_role": user.role,
        }  # fmt: skip
