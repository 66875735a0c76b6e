"""Tags: words on requests and keys that money can be counted by."""

from wayport.access.rows import Conflict, Managed, Rows
from wayport.core.clock import Clock
from wayport.storage.database import Database
from wayport.storage.tables import tags


class Tag(Managed, kw_only=True, frozen=True):
    """`id` is its name."""

    description: str | None = None
    budget_id: str | None = None
    models: tuple[str, ...] = ()


class Tags(Rows[Tag]):
    def __init__(self, database: Database, *, clock: Clock) -> None:
        super().__init__(database, tags, Tag, clock=clock)

    def taken(self, wanted: str) -> Conflict:
        error = Conflict(f"Tag {wanted} already exists", param="name")
        # LiteLLM's status for this one.
        error.status = 400
        return error
