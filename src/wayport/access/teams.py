"""Teams: several users, keys of their own, one set of limits."""

from wayport.access.rows import Conflict, Managed, Rows
from wayport.core.clock import Clock
from wayport.storage.database import Database
from wayport.storage.tables import teams


class Team(Managed, kw_only=True, frozen=True):
    alias: str | None = None
    organization_id: str | None = None
    models: tuple[str, ...] = ()

    @property
    def aliases(self) -> dict[str, str]:
        """Names that this team's keys may say for other models."""
        found = self.settings.get("model_aliases")
        return {str(k): v for k, v in found.items() if isinstance(v, str)} if isinstance(found, dict) else {}


class Teams(Rows[Team]):
    def __init__(self, database: Database, *, clock: Clock) -> None:
        super().__init__(database, teams, Team, clock=clock)

    def taken(self, wanted: str) -> Conflict:
        error = Conflict(f"Team id = {wanted} already exists. Please use a different team id.", param="team_id")
        # LiteLLM's status for this one.
        error.status = 400
        return error
