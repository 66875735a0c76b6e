"""Budgets by name: limits that customers, organisations, tags, keys and members share."""

from wayport.access.rows import Conflict, Managed, Rows
from wayport.core.clock import Clock
from wayport.storage.database import Database
from wayport.storage.tables import budgets


class NamedBudget(Managed, kw_only=True, frozen=True):
    """Its limits are those of whoever refers to it, each counted for itself."""


class Budgets(Rows[NamedBudget]):
    def __init__(self, database: Database, *, clock: Clock) -> None:
        super().__init__(database, budgets, NamedBudget, clock=clock)

    def taken(self, wanted: str) -> Conflict:
        error = Conflict(f"A budget with the id {wanted!r} exists already.", param="budget_id")
        # LiteLLM's status for this one.
        error.status = 400
        return error
