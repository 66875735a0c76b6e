"""Organisations: several teams under one set of limits."""

from wayport.access.rows import Managed, Rows
from wayport.core.clock import Clock
from wayport.storage.database import Database
from wayport.storage.tables import organizations


class Organization(Managed, kw_only=True, frozen=True):
    alias: str | None = None
    budget_id: str | None = None
    models: tuple[str, ...] = ()


class Organizations(Rows[Organization]):
    def __init__(self, database: Database, *, clock: Clock) -> None:
        super().__init__(database, organizations, Organization, clock=clock)
