"""The stores behind the admin API, and who stands where among them."""

from collections.abc import Sequence

from wayport.access.audit import Audit
from wayport.access.budgets_store import Budgets
from wayport.access.customers import Customers
from wayport.access.groups import AccessGroups
from wayport.access.keys import Keys
from wayport.access.members import Member, Members
from wayport.access.organizations import Organizations
from wayport.access.people import Users
from wayport.access.principal import Principal
from wayport.access.projects import Project, Projects
from wayport.access.roles import NOBODYS_USER, Standing
from wayport.access.spent import Spent
from wayport.access.tags import Tags
from wayport.access.teams import Team, Teams
from wayport.core.clock import Clock
from wayport.storage.database import Database


class Stores:
    def __init__(self, database: Database, keys: Keys, *, clock: Clock) -> None:
        self.keys = keys
        self.users = Users(database, clock=clock)
        self.teams = Teams(database, clock=clock)
        self.projects = Projects(database, clock=clock)
        self.organizations = Organizations(database, clock=clock)
        self.members = Members(database, clock=clock)
        self.customers = Customers(database, clock=clock)
        self.budgets = Budgets(database, clock=clock)
        self.tags = Tags(database, clock=clock)
        self.groups = AccessGroups(database, clock=clock)
        self.audit = Audit(database, clock=clock)
        self.spent = Spent(database, clock=clock, calendar=keys.calendar)

    async def standing(self, principal: Principal) -> Standing:
        if principal.user_id is None or principal.user_id == NOBODYS_USER or principal.kind == "master":
            return Standing(principal=principal)
        found: Sequence[Member] = (await self.members.of_users([principal.user_id]))[principal.user_id]
        return Standing(principal=principal, memberships=tuple(found))

    async def team_of(self, team_id: str | None) -> Team | None:
        return None if team_id is None else await self.teams.find(team_id)

    async def project_of(self, project_id: str | None) -> Project | None:
        return None if project_id is None else await self.projects.find(project_id)

    async def hashes_of(
        self,
        hashes: Sequence[str] = (),
        *,
        user_ids: Sequence[str] = (),
        team_ids: Sequence[str] = (),
        organization_ids: Sequence[str] = (),
        project_ids: Sequence[str] = (),
    ) -> list[str]:
        """The hashes under which a worker may remember any of these, replaced keys included."""
        found = list(hashes)
        if user_ids or team_ids or organization_ids or project_ids:
            found += await self.keys.hashes_where(
                user_ids=user_ids, team_ids=team_ids, organization_ids=organization_ids, project_ids=project_ids
            )
        return [*found, *await self.keys.old_hashes(found)] if found else []


def name_of(principal: Principal) -> str:
    """Who did it, for `created_by`."""
    return principal.user_id or principal.key_alias or principal.kind
