"""Who may see and change what: roles, ownership, and the lead of a team or an organisation. Facts only, no I/O.

Whoever may not see something gets the same answer as for something that does not exist.
"""

from collections.abc import Sequence

from msgspec import Struct

from wayport.access.keys import Key, Visible
from wayport.access.members import Member
from wayport.access.principal import Principal
from wayport.access.teams import Team

NOBODYS_USER = "default_user_id"
"""the user under which LiteLLM lists the master key's own keys: many have it, so it owns nothing"""


class Standing(Struct, kw_only=True, frozen=True):
    """A caller with its memberships."""

    principal: Principal
    memberships: tuple[Member, ...] = ()

    @property
    def manages_all(self) -> bool:
        return self.principal.role == "proxy_admin" or self.principal.kind == "keyless"

    @property
    def sees_all(self) -> bool:
        return self.manages_all or self.principal.role == "proxy_admin_viewer"

    @property
    def user_id(self) -> str | None:
        user_id = self.principal.user_id
        return None if user_id == NOBODYS_USER else user_id

    @property
    def may_own_keys(self) -> bool:
        """Whether this caller may make keys for itself, and change them."""
        return self.user_id is not None and self.principal.role in {"internal_user", "org_admin", "proxy_admin"}

    @property
    def manages_something(self) -> bool:
        """Whether there is anything at all that it may change."""
        if self.principal.role in {"proxy_admin_viewer", "internal_user_viewer"}:
            return False
        return self.manages_all or self.may_own_keys or bool(self.memberships)

    @property
    def team_ids(self) -> tuple[str, ...]:
        """The teams that it belongs to, as a member or through its key."""
        of_key = [self.principal.team_id] if self.principal.team_id else []
        return tuple(dict.fromkeys((*self.member_team_ids, *of_key)))

    @property
    def member_team_ids(self) -> tuple[str, ...]:
        return tuple(member.group_id for member in self.memberships if member.scope == "team")

    @property
    def led_team_ids(self) -> tuple[str, ...]:
        return tuple(m.group_id for m in self.memberships if m.scope == "team" and m.role == "admin")

    @property
    def organization_ids(self) -> tuple[str, ...]:
        return tuple(member.group_id for member in self.memberships if member.scope == "organization")

    @property
    def led_organization_ids(self) -> tuple[str, ...]:
        return tuple(m.group_id for m in self.memberships if m.scope == "organization" and m.role == "org_admin")

    def leads_organization(self, organization_id: str | None) -> bool:
        return self.manages_all or (organization_id is not None and organization_id in self.led_organization_ids)

    def leads(self, team: Team) -> bool:
        return self.manages_all or team.id in self.led_team_ids or self.leads_organization(team.organization_id)

    def sees_team(self, team: Team) -> bool:
        return self.sees_all or team.id in self.team_ids or self.leads(team)

    def sees_user(self, user_id: str | None, theirs: Sequence[Member] = ()) -> bool:
        """Itself, and the members of organisations that it leads."""
        if self.sees_all or (user_id is not None and user_id == self.user_id):
            return True
        return any(member.scope == "organization" and self.leads_organization(member.group_id) for member in theirs)

    def owns(self, key: Key) -> bool:
        return key.user_id is not None and key.user_id == self.user_id

    def sees_key(self, key: Key, team: Team | None) -> bool:
        if self.sees_all or key.key_hash == self.principal.key_hash or self.owns(key):
            return True
        if team is not None and (self.leads(team) or self.may_for(team, "/key/info")):
            return True
        return self.leads_organization(key.organization_id)

    def changes_key(self, key: Key, team: Team | None, route: str) -> bool:
        """Whether it may change the key by this route (`/key/update`)."""
        if self.manages_all:
            return True
        if self.principal.role in {"proxy_admin_viewer", "internal_user_viewer"}:
            return False
        if team is not None:
            return self.leads(team) or self.may_for(team, route)
        return (self.may_own_keys and self.owns(key)) or self.leads_organization(key.organization_id)

    def may_for(self, team: Team, route: str) -> bool:
        """Whether the team gives its members this route on its keys."""
        return team.id in self.team_ids and route in _permissions(team)

    @property
    def visible(self) -> Visible | None:
        """Which keys it may list; None: all."""
        if self.sees_all:
            return None
        return Visible(
            key_hash=self.principal.key_hash,
            user_id=self.user_id,
            team_ids=self.led_team_ids,
            organization_ids=self.led_organization_ids,
        )


MEMBER_ROUTES = ("/key/info", "/key/health")
"""what members may do with their team's keys unless the team says otherwise"""


def _permissions(team: Team) -> tuple[str, ...]:
    told = team.settings.get("team_member_permissions")
    return tuple(told) if isinstance(told, list) else MEMBER_ROUTES
