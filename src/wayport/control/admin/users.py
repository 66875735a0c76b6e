"""Users: make, look at, list, change, delete. LiteLLM's routes and shapes."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field, field_validator
from sqlalchemy import ColumnElement, or_, select

from wayport.access import refusals
from wayport.access.keys import KeyFilter
from wayport.access.members import Member
from wayport.access.password import hash_password
from wayport.access.people import User
from wayport.access.principal import Principal, Role
from wayport.access.roles import NOBODYS_USER, Standing
from wayport.access.rows import Patch
from wayport.control.admin import changes
from wayport.control.admin.defaults import for_new_key, for_new_user
from wayport.control.admin.fields import Bounded, Given, Id, Name, Usd, Words, patch_of, show_limits, show_row, spend_as
from wayport.control.admin.key_fields import GenerateKey, fields_of
from wayport.control.admin.key_fields import shape as key_shape
from wayport.control.admin.parts import Parts, sees_all
from wayport.control.admin.stores import name_of
from wayport.control.admin.team_fields import show_membership, show_team
from wayport.control.admin.words import usd
from wayport.core.errors import BadRequest, PermissionDenied, RouteNotFound, WayportError
from wayport.core.ids import uuid7
from wayport.ledger.reports import Reports, Wanted
from wayport.storage.tables import members, users

_TABLE = "users"
_COLUMNS = {
    "user_email": "email",
    "user_alias": "alias",
    "user_role": "role",
    "models": "models",
    "metadata": "metadata",
    "blocked": "blocked",
}
_PASSING = (
    "user_id", "teams", "team_id", "organizations", "auto_create_key", "send_invite_email", "password", "duration",
    "key_alias", "spend",
)  # fmt: skip
_PROXY_BUDGET = "litellm-proxy-budget"
"""under this name LiteLLM tells what the whole gateway has spent"""
_HIDDEN = "password_hash"

ROLES = {
    "proxy_admin": ("Admin (All Permissions)", "Can create keys, teams and users, add models, change settings."),
    "proxy_admin_viewer": ("Admin (View Only)", "Can see everything and change nothing."),
    "org_admin": ("Organization Admin", "Can manage the organisations that it leads."),
    "internal_user": ("Internal User (Create/Delete/View)", "Can make, see and delete its own keys."),
    "internal_user_viewer": ("Internal User (View Only)", "Can see its own keys and spend."),
}


class TeamOfUser(BaseModel):
    team_id: Id
    max_budget_in_team: float | None = Field(default=None, ge=0, le=1e9, allow_inf_nan=False)
    user_role: Literal["user", "admin"] = "user"


class UserWishes(Bounded):
    user_email: Name | None = None
    user_alias: Name | None = None
    user_role: Role | None = Field(default=None, description="What the user may do here.")
    models: Words | None = None
    metadata: dict[str, Any] | None = None
    blocked: bool | None = None
    password: str | None = Field(default=None, max_length=1000)

    @field_validator("user_email")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        return value.strip().lower() or None if value is not None else None


class NewUser(UserWishes):
    user_id: Id | None = None
    teams: list[Id | TeamOfUser] | None = Field(default=None, max_length=1000)
    team_id: Id | None = Field(default=None, description="The team that the key belongs to; the user joins it.")
    organizations: list[Id] | None = Field(default=None, max_length=1000)
    auto_create_key: bool = True
    key_alias: Name | None = None
    duration: Name | None = Field(default=None, description="When the key expires: `30d`. Never, if not given.")
    aliases: dict[Name, Name] | None = Field(default=None, description="Names the key may say for other models.")


class UpdateUser(UserWishes):
    user_id: Id | None = None
    spend: Usd | None = Field(default=None, description="Correct what it has spent.")


class DeleteUsers(BaseModel):
    user_ids: list[Id] = Field(max_length=1000)


class BulkUpdateUsers(BaseModel):
    users: list[UpdateUser] = Field(max_length=500)


def routes(parts: Parts) -> APIRouter:
    router = APIRouter(tags=["users"])
    _making(router, parts)
    _looking(router, parts)
    _changing(router, parts)
    return router


def _making(router: APIRouter, parts: Parts) -> None:
    anyone = Annotated[Principal, Depends(parts.callers.anyone)]
    stores = parts.stores

    @router.post("/user/new", summary="Make a user, with a key unless told otherwise")
    async def new(caller: anyone, body: NewUser | None = None) -> dict[str, Any]:
        body = body or NewUser()
        standing = await stores.standing(caller)
        _check_new(standing, body, parts)
        user_id = body.user_id or uuid7()
        body = await _with_defaults(body, parts)
        patch = patch_of_user(body.given(), parts.clock.now_s())
        if body.user_email and await stores.users.by_email(body.user_email) is not None:
            raise stores.users.taken(body.user_email)
        memberships = await _memberships(body, user_id, parts)
        user = await stores.users.add(user_id, patch, by=name_of(caller))
        await stores.members.add(memberships)
        await changes.tell(parts, user_ids=[user_id])
        await changes.note(parts, caller, "created", _TABLE, user_id, after=_public(user))
        shown = show_user(user, parts, spent=0, team_ids=[m.group_id for m in memberships if m.scope == "team"])
        if not body.auto_create_key:
            return shown | {"key": None, "token": None, "expires": None}
        wishes = GenerateKey(
            user_id=user_id, team_id=body.team_id, key_alias=body.key_alias, duration=body.duration,
            aliases=body.aliases,
        )  # fmt: skip
        fields = fields_of(for_new_key(wishes, parts), parts.clock.now_s())
        secret, key = await parts.keys.create(fields, by=name_of(caller))
        await changes.note(parts, caller, "created", "keys", key.key_hash, after=key)
        made = key_shape(key, parts.clock.now_s(), calendar=parts.calendar)
        return made | shown | {"key": secret.reveal(), "token": key.key_hash, "token_id": key.key_hash}


async def _with_defaults(body: NewUser, parts: Parts) -> NewUser:
    given = body.given()
    filled = for_new_user(given, parts)
    if filled.get("teams") and not given.get("teams"):
        # Of the configuration's teams those that there are.
        known = {team.id for team in await parts.stores.teams.those([team["team_id"] for team in filled["teams"]])}
        filled["teams"] = [team for team in filled["teams"] if team["team_id"] in known]
    return NewUser.model_validate(filled)


def _check_new(standing: Standing, body: NewUser, parts: Parts) -> None:
    if standing.manages_all:
        return
    if not standing.led_organization_ids:
        raise refusals.admins_only(parts.compat, "/user/new")
    if not body.organizations or not set(body.organizations) <= set(standing.led_organization_ids):
        raise PermissionDenied("Name organisations that you lead.", param="organizations", code="field_not_allowed")
    if body.user_role not in (None, "internal_user", "internal_user_viewer"):
        raise PermissionDenied("Only administrators give this role.", param="user_role", code="role_not_allowed")
    if body.teams or body.team_id:
        raise PermissionDenied("Add the user to the team instead.", param="teams", code="field_not_allowed")


async def _memberships(body: NewUser, user_id: str, parts: Parts) -> list[Member]:
    found = []
    named = {told if isinstance(told, str) else told.team_id for told in body.teams or ()}
    teams = [*(body.teams or ()), *([body.team_id] if body.team_id is not None and body.team_id not in named else [])]
    for told in teams:
        team = TeamOfUser(team_id=told) if isinstance(told, str) else told
        if await parts.stores.teams.find(team.team_id) is None:
            raise RouteNotFound(f"There is no team {team.team_id}.", param="teams", code="team_not_found")
        limits = {} if team.max_budget_in_team is None else {
            "max_budget": team.max_budget_in_team, "anchor_s": parts.clock.now_s()
        }  # fmt: skip
        found.append(
            Member(
                scope="team", group_id=team.team_id, user_id=user_id, email=body.user_email,
                role=team.user_role, limits=limits,
            )
        )  # fmt: skip
    for organization_id in body.organizations or ():
        if await parts.stores.organizations.find(organization_id) is None:
            raise RouteNotFound(f"There is no organisation {organization_id}.", param="organizations")
        role = body.user_role if body.user_role in ("org_admin", "internal_user_viewer") else "internal_user"
        found.append(
            Member(
                scope="organization", group_id=organization_id, user_id=user_id, email=body.user_email, role=str(role)
            )
        )
    return found


def _looking(router: APIRouter, parts: Parts) -> None:
    anyone = Annotated[Principal, Depends(parts.callers.anyone)]
    stores = parts.stores

    async def found(caller: Principal, wanted: str | None) -> User:
        standing = await stores.standing(caller)
        user_id = wanted or standing.user_id
        if user_id is None:
            raise BadRequest("`user_id` is missing: this key belongs to no user.", param="user_id")
        theirs = (await stores.members.of_users([user_id]))[user_id]
        if not standing.sees_user(user_id, theirs):
            raise not_yours()
        user = await stores.users.find(user_id)
        if user is None and user_id == _PROXY_BUDGET and parts.compat == "litellm" and standing.sees_all:
            user = User(id=user_id, limits=parts.models.settings().limits.gateway)
        if user is None:
            raise no_such_user(user_id)
        return user

    async def with_teams(user: User, memberships: list[Member]) -> dict[str, Any]:
        if user.id == _PROXY_BUDGET and parts.compat == "litellm":
            spent = sum(sums["spend_nano_usd"] for _, sums in await Reports(parts.database).in_all(Wanted(), []))
        else:
            spent = (await stores.spent.shown("user", {user.id: user.limits}))[user.id]
        return show_user(user, parts, spent=spent, team_ids=[member.group_id for member in memberships])

    async def teams_of(user: User) -> list[Member]:
        return [member for member in (await stores.members.of_users([user.id]))[user.id] if member.scope == "team"]

    async def shown_teams(memberships: list[Member]) -> list[dict[str, Any]]:
        """The user's teams, each with what it says of this member."""
        of_team = {member.group_id: member for member in memberships}
        rows = await stores.teams.those(list(of_team))
        groups = await stores.members.of_groups("team", list(of_team))
        spent = await stores.spent.shown("team", {team.id: team.limits for team in rows})
        own = await stores.spent.shown(
            "team_member", {f"{member.group_id}/{member.user_id}": member.limits for member in memberships}
        )
        found = []
        for team in rows:
            member = of_team[team.id]
            membership = show_membership(member, parts, spent=own[f"{team.id}/{member.user_id}"])
            shown = show_team(team, groups[team.id], parts, spent=spent[team.id])
            found.append(shown | {"team_memberships": [membership]})
        return found

    @router.get("/user/info", summary="A user with its keys and teams")
    async def info(
        caller: anyone,
        user_id: Annotated[str | None, Query(description="Without it, the user of this call.")] = None,
    ) -> dict[str, Any]:
        if user_id is None and sees_all(caller) and (caller.user_id or NOBODYS_USER) == NOBODYS_USER:
            # The master key belongs to no user: there is nobody to tell of.
            return {"user_id": caller.user_id, "user_info": None, "keys": [], "teams": []}
        user = await found(caller, user_id)
        memberships = await teams_of(user)
        shown = await with_teams(user, memberships)
        page = await parts.keys.page(KeyFilter(user_id=user.id), offset=0, limit=1000)
        now_s = parts.clock.now_s()
        keys = [key_shape(key, now_s, calendar=parts.calendar) for key in page.keys]
        return {"user_id": user.id, "user_info": shown, "keys": keys, "teams": await shown_teams(memberships)}

    @router.get("/v2/user/info", summary="A user alone")
    async def info_alone(caller: anyone, user_id: str | None = None) -> dict[str, Any]:
        user = await found(caller, user_id)
        return await with_teams(user, await teams_of(user))

    @router.get("/user/list", summary="Users, newest first")
    @router.get("/user/get_users", include_in_schema=False)
    async def list_users(  # noqa: PLR0917 (FastAPI reads its parameters from here)
        caller: anyone,
        role: Role | None = None,
        user_ids: Annotated[str | None, Query(description="Ids, with commas between.")] = None,
        user_email: Annotated[str | None, Query(description="A part of the address.")] = None,
        search: str | None = None,
        team: str | None = None,
        organization_ids: str | None = None,
        page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
        page_size: Annotated[int, Query(ge=1, le=1000)] = 25,
        sort_by: Literal["user_id", "user_email", "created_at", "user_alias", "user_role", "spend"] = "created_at",
        sort_order: Literal["asc", "desc"] = "desc",
    ) -> dict[str, Any]:
        conditions: list[ColumnElement[bool]] = _listed(await stores.standing(caller), parts, organization_ids)
        if role is not None:
            conditions.append(users.c.role == role)
        if user_ids:
            conditions.append(users.c.id.in_([word.strip() for word in user_ids.split(",") if word.strip()]))
        if user_email:
            conditions.append(users.c.email.icontains(user_email, autoescape=True))
        if search:
            conditions.append(
                or_(
                    *(
                        column.icontains(search, autoescape=True)
                        for column in (users.c.id, users.c.email, users.c.alias)
                    )
                )
            )
        if team:
            conditions.append(users.c.id.in_(_members_of("team", [team])))
        column = {"user_id": users.c.id, "user_email": users.c.email, "user_alias": users.c.alias}.get(
            sort_by, users.c.role if sort_by == "user_role" else users.c.created_s
        )
        order = column.asc() if sort_order == "asc" else column.desc()
        rows, total = await stores.users.page(
            *conditions, order=[order], offset=(page - 1) * page_size, limit=page_size
        )
        return {
            "users": await show_users(rows, parts),
            "total": total,
            "page": page,
            "page_size": page_size,
            "total_pages": -(-total // page_size),
        }

    @router.get("/user/available_roles", summary="The roles that a user may have")
    async def roles(_: anyone) -> dict[str, Any]:
        return {name: {"ui_label": label, "description": text} for name, (label, text) in ROLES.items()}


def _members_of(scope: str, group_ids: list[str]) -> Any:
    return select(members.c.user_id).where(members.c.scope == scope, members.c.group_id.in_(group_ids))


def _listed(standing: Standing, parts: Parts, organization_ids: str | None) -> list[ColumnElement[bool]]:
    """Which users the caller may list. Raises for those who may list none."""
    wanted = [word.strip() for word in (organization_ids or "").split(",") if word.strip()]
    if not standing.sees_all:
        if not standing.led_organization_ids:
            raise refusals.admins_only(parts.compat, "/user/list")
        wanted = [name for name in wanted or standing.led_organization_ids if name in standing.led_organization_ids]
        return [users.c.id.in_(_members_of("organization", wanted))]
    return [users.c.id.in_(_members_of("organization", wanted))] if wanted else []


async def show_users(rows: list[User], parts: Parts) -> list[dict[str, Any]]:
    ids = [user.id for user in rows]
    spent = await parts.stores.spent.shown("user", {user.id: user.limits for user in rows})
    memberships = await parts.stores.members.of_users(ids)
    counts = await parts.keys.count_by_user(ids)
    return [
        show_user(
            user, parts, spent=spent[user.id],
            team_ids=[member.group_id for member in memberships[user.id] if member.scope == "team"],
        )
        | {"key_count": counts.get(user.id, 0)}
        for user in rows
    ]  # fmt: skip


def _changing(router: APIRouter, parts: Parts) -> None:
    anyone = Annotated[Principal, Depends(parts.callers.anyone)]
    admin = Annotated[Principal, Depends(parts.callers.admin)]
    stores = parts.stores

    async def change(body: UpdateUser, caller: Principal) -> User:
        standing = await stores.standing(caller)
        user = await _named(body, parts)
        await _check_change(standing, user, body, parts)
        given = body.given()
        if user is None and parts.compat == "litellm":
            # LiteLLM's clients change users who were never made.
            user = await stores.users.add(body.user_id or uuid7(), Patch(), by=name_of(caller))
            await changes.note(parts, caller, "created", _TABLE, user.id, after=_public(user))
        elif user is None:
            raise no_such_user(body.user_id or body.user_email or "")
        elif body.user_id is None:
            given.pop("user_email", None)
        patch = patch_of_user(given, parts.clock.now_s(), before=user)
        if body.spend is not None:
            spent = (await stores.spent.by("user", [user.id]))[user.id]
            patch.limits.update(spend_as(body.spend, spent, parts.clock.now_s()))
        changed = await stores.users.change(user.id, patch, by=name_of(caller))
        if changed is None:
            raise no_such_user(user.id)
        await changes.tell(parts, user_ids=[user.id])
        await changes.note(
            parts, caller, "updated", _TABLE, user.id, before=_public(changed[0]), after=_public(changed[1])
        )
        return changed[1]

    @router.post("/user/update", summary="Change a user: only named fields change, null clears one")
    async def update(body: UpdateUser, caller: anyone) -> dict[str, Any]:
        user = await change(body, caller)
        return {"user_id": user.id, "data": (await show_users([user], parts))[0]}

    @router.post("/user/bulk_update", summary="Change several users; each for itself")
    async def bulk_update(body: BulkUpdateUsers, caller: admin) -> dict[str, Any]:
        results = []
        for each in body.users:
            try:
                user = await change(each, caller)
            except WayportError as error:
                results.append({"user_id": each.user_id, "success": False, "error": error.message})
            else:
                results.append({"user_id": user.id, "success": True, "error": None})
        done = sum(1 for result in results if result["success"])
        return {
            "results": results,
            "total_requested": len(results),
            "successful_updates": done,
            "failed_updates": len(results) - done,
        }

    @router.post("/user/delete", summary="Delete users with their keys and memberships")
    async def delete(body: DeleteUsers, caller: admin) -> int:
        known = {user.id for user in await stores.users.those(body.user_ids)}
        if missing := [user_id for user_id in body.user_ids if user_id not in known]:
            raise no_such_user(missing[0])
        hashes = await parts.keys.hashes_where(user_ids=body.user_ids)
        old = await stores.hashes_of(hashes)
        gone = await stores.users.delete(body.user_ids)
        await stores.members.forget_users(body.user_ids)
        await parts.keys.delete(hashes)
        if old:
            parts.invalidate(old)
        for user in gone:
            await changes.note(parts, caller, "deleted", _TABLE, user.id, before=_public(user))
        return len(gone)


async def _named(body: UpdateUser, parts: Parts) -> User | None:
    if body.user_id is not None:
        return await parts.stores.users.find(body.user_id)
    if body.user_email is not None:
        return await parts.stores.users.by_email(body.user_email)
    raise BadRequest("Name the user: `user_id` or `user_email`.", param="user_id")


_OWN_FIELDS = frozenset({"user_id", "user_alias", "password", "metadata"})


async def _check_change(standing: Standing, user: User | None, body: UpdateUser, parts: Parts) -> None:
    """Raises unless the caller may change this user so: leaders of its organisation, and itself a little."""
    if standing.manages_all:
        return
    if standing.principal.role in {"proxy_admin_viewer", "internal_user_viewer"} or standing.user_id is None:
        raise refusals.admins_only(parts.compat, "/user/update")
    given = set(body.given())
    if user is not None and user.id == standing.user_id:
        if refused := given - _OWN_FIELDS:
            raise PermissionDenied(
                f"You may not change your own `{min(refused)}`.", param=min(refused), code="field_not_allowed"
            )
        return
    theirs = (await parts.stores.members.of_users([user.id]))[user.id] if user is not None else []
    organizations = [member.group_id for member in theirs if member.scope == "organization"]
    # Whoever belongs elsewhere, too, is not this leader's alone.
    if user is None or not organizations or not all(standing.leads_organization(name) for name in organizations):
        raise not_yours()
    if user.role == "proxy_admin" or "user_role" in given or "password" in given:
        raise PermissionDenied("Only administrators may do this.", param="user_role", code="role_not_allowed")


def patch_of_user(given: Given, now_s: float, *, before: User | None = None) -> Patch:
    kept = {name: value for name, value in given.items() if name not in _PASSING}
    patch = patch_of(kept, _COLUMNS, now_s, before=before.limits if before is not None else None)
    if given.get("password"):
        patch.settings[_HIDDEN] = hash_password(given["password"])
    return patch


def _public(user: User) -> dict[str, Any]:
    return {**{name: getattr(user, name) for name in User.__struct_fields__}, "settings": _shown_settings(user)}


def _shown_settings(user: User) -> dict[str, Any]:
    return {name: value for name, value in user.settings.items() if name != _HIDDEN}


def show_user(user: User, parts: Parts, *, spent: int, team_ids: list[str]) -> dict[str, Any]:
    """A user as LiteLLM's clients read it."""
    shown = show_row(user)
    shown.pop(_HIDDEN, None)
    return {
        "sso_user_id": None,
        "object_permission": None,
        "model_spend": {},
        **shown,
        **show_limits(user.limits, parts.clock.now_s(), calendar=parts.calendar),
        "user_id": user.id,
        "user_email": user.email,
        "user_alias": user.alias,
        "user_role": user.role,
        "models": list(user.models),
        "teams": team_ids,
        "spend": usd(spent),
    }


def no_such_user(name: str) -> WayportError:
    return RouteNotFound(f"There is no user {name}.", param="user_id", code="user_not_found")


def not_yours() -> WayportError:
    """The same for other users and for those that do not exist."""
    return PermissionDenied("This user is not yours to see or change, or does not exist.", code="user_not_allowed")
