"""Projects: parts of a team with keys, models and limits of their own."""

from collections.abc import Sequence

from sqlalchemy import delete

from wayport.access.rows import Conflict, Managed, Rows
from wayport.core.clock import Clock
from wayport.storage.database import Database
from wayport.storage.tables import projects


class Project(Managed, kw_only=True, frozen=True):
    alias: str | None = None
    team_id: str
    budget_id: str | None = None
    models: tuple[str, ...] = ()


class Projects(Rows[Project]):
    def __init__(self, database: Database, *, clock: Clock) -> None:
        super().__init__(database, projects, Project, clock=clock)

    async def forget_teams(self, team_ids: Sequence[str]) -> None:
        """Their projects go with them."""
        async with self.database.write() as connection:
            await connection.execute(delete(projects).where(projects.c.team_id.in_(list(team_ids))))

    def taken(self, wanted: str) -> Conflict:
        error = Conflict(
            f"Project id = {wanted} already exists. Please use a different project id.", param="project_id"
        )
        # LiteLLM's status for this one.
        error.status = 400
        return error
