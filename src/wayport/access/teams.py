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

    @property
    def own_models(self) -> dict[str, str]:
        """Models that are this team's alone, by the names that its keys say for them."""
        found = self.settings.get(OWN_MODELS)
        return {str(name): own_name(self.id, str(name)) for name in found} if isinstance(found, list) else {}


OWN_MODELS = "team_models"
"""the setting that lists a team's own models"""


def own_name(team_id: str, name: str) -> str:
    """The name under which a team's own model stands among all models."""
    return f"team/{team_id}/{name}"


class Teams(Rows[Team]):
    def __init__(self, database: Database, *, clock: Clock) -> None:
        super().__init__(database, teams, Team, clock=clock)

    def taken(self, wanted: str) -> Conflict:
        error = Conflict(f"Team id = {wanted} already exists. Please use a different team id.", param="team_id")
        # LiteLLM's status for this one.
        error.status = 400
        return error
