"""What is said of teams and their members in requests, and how a team is shown."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, Field, field_validator, model_validator

from wayport.access.members import Member
from wayport.access.teams import Team
from wayport.control.admin.fields import (
    Bounded,
    Count,
    Duration,
    Given,
    Id,
    Name,
    Request,
    Usd,
    Words,
    show_limits,
    show_row,
)
from wayport.control.admin.parts import Parts
from wayport.control.admin.words import usd
from wayport.core.errors import PermissionDenied, RouteNotFound, WayportError

COLUMNS = {
    "team_alias": "alias",
    "organization_id": "organization_id",
    "models": "models",
    "metadata": "metadata",
    "blocked": "blocked",
}
PASSING = ("team_id", "members_with_roles", "members", "admins", "tags", "spend")

PERMISSIONS = (
    "/key/generate", "/key/service-account/generate", "/key/update", "/key/delete", "/key/regenerate", "/key/info",
    "/key/list", "/key/aliases", "/key/health", "/key/block", "/key/unblock", "/key/bulk_update", "/key/reset_spend",
    "/team/daily/activity",
)  # fmt: skip
"""what a team may allow its members to do with its keys"""


class _Somebody(BaseModel):
    user_id: Id | None = None
    user_email: Name | None = None

    @model_validator(mode="after")
    def _is_somebody(self) -> Self:
        if self.user_id is None and not self.user_email:
            raise ValueError("name the user: `user_id` or `user_email`")
        return self


class TeamMember(_Somebody):
    role: Literal["admin", "user"] = "user"

    @field_validator("user_email")
    @classmethod
    def _plain(cls, value: str | None) -> str | None:
        return value.strip().lower() if value is not None else None


class TeamWishes(Bounded):
    team_alias: Name | None = None
    organization_id: Id | None = None
    models: Words | None = Field(default=None, description="Models that its keys may use. None: all.")
    metadata: dict[str, Any] | None = None
    tags: Words | None = None
    blocked: bool | None = None
    model_aliases: dict[Name, Name] | None = Field(default=None, description="Names its keys may say for other models.")
    team_member_budget: Usd | None = Field(default=None, description="US dollars, for each member.")
    team_member_budget_duration: Duration | None = None
    team_member_rpm_limit: Count | None = None
    team_member_tpm_limit: Count | None = None
    team_member_permissions: Words | None = Field(default=None, description="What members may do with its keys.")
    access_group_ids: Words | None = None


class NewTeam(TeamWishes):
    team_id: Id | None = None
    members_with_roles: list[TeamMember] = Field(default=[], max_length=1000)
    members: list[Id] | None = Field(default=None, max_length=1000)
    admins: list[Id] | None = Field(default=None, max_length=1000)


class UpdateTeam(TeamWishes):
    team_id: Id


class TeamNamed(BaseModel):
    team_id: Id


class TeamsNamed(BaseModel):
    team_ids: list[Id] = Field(max_length=1000)


class MemberTerms(Request):
    """What new members may use in their team."""

    max_budget_in_team: Usd | None = Field(default=None, description="US dollars, for each of them in this team.")
    budget_duration: Duration | None = None
    tpm_limit: Count | None = None
    rpm_limit: Count | None = None
    allowed_models: Words | None = None


class AddMembers(MemberTerms):
    team_id: Id
    member: TeamMember | list[TeamMember]


class AddManyMembers(MemberTerms):
    team_id: Id
    members: list[TeamMember] = Field(default=[], max_length=500)
    all_users: bool = Field(default=False, description="All users that there are.")


class RemoveMember(_Somebody):
    team_id: Id


class UpdateMember(RemoveMember):
    role: Literal["admin", "user"] | None = None
    max_budget_in_team: Usd | None = None
    budget_duration: Duration | None = None
    tpm_limit: Count | None = None
    rpm_limit: Count | None = None


class TeamModels(BaseModel):
    team_id: Id
    models: Words


def _permission(name: str) -> str:
    if name not in PERMISSIONS:
        raise ValueError(f"{name!r} is none of: {', '.join(PERMISSIONS)}")
    return name


Permission = Annotated[str, AfterValidator(_permission)]


class Permissions(BaseModel):
    team_id: Id
    team_member_permissions: list[Permission]


class ManyPermissions(BaseModel):
    permissions: list[Permission] = Field(min_length=1)
    team_ids: list[Id] = Field(default=[], max_length=1000)
    apply_to_all_teams: bool = False


def member_limits(given: Given, now_s: float) -> dict[str, Any]:
    """A member's limits from a request, in the stored spelling."""
    found: dict[str, Any] = {}
    if "max_budget_in_team" in given:
        found["max_budget"] = given["max_budget_in_team"]
        found["anchor_s"] = now_s if given["max_budget_in_team"] is not None else None
    for name in ("budget_duration", "tpm_limit", "rpm_limit"):
        if name in given:
            found[name] = given[name]
    return found


def show_team(team: Team, members: Sequence[Member], parts: Parts, *, spent: int) -> dict[str, Any]:
    """A team as LiteLLM's clients read it."""
    aliases = team.settings.get("model_aliases")
    return {
        "team_member_permissions": [],
        "router_settings": None,
        "object_permission": None,
        "model_id": None,
        **show_row(team),
        **show_limits(team.limits, parts.clock.now_s(), calendar=parts.calendar),
        "team_id": team.id,
        "team_alias": team.alias,
        "organization_id": team.organization_id,
        "models": list(team.models),
        # LiteLLM keeps these two for clients of old and leaves them empty.
        "members": [],
        "admins": [],
        "members_with_roles": [show_member(member) for member in members],
        "litellm_model_table": {"model_aliases": aliases} if aliases else None,
        "spend": usd(spent),
    }


def show_member(member: Member) -> dict[str, Any]:
    return {"user_id": member.user_id, "user_email": member.email, "role": member.role}


def show_membership(member: Member, parts: Parts, *, spent: int) -> dict[str, Any]:
    limits = show_limits(member.limits, parts.clock.now_s(), calendar=parts.calendar)
    return {
        "user_id": member.user_id,
        "team_id": member.group_id,
        "budget_id": member.settings.get("budget_id"),
        "spend": usd(spent),
        "litellm_budget_table": limits if member.limits else None,
    }


def no_such_team(team_id: str) -> WayportError:
    return RouteNotFound(
        f"Team not found, passed team id: {team_id}. Team does not exist in the database.",
        param="team_id",
        code="team_not_found",
    )


def not_yours() -> WayportError:
    """The same for other teams and for those that do not exist."""
    return PermissionDenied(
        "You are not allowed to see or change this team, or it does not exist.", code="team_not_allowed"
    )
