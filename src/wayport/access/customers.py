"""Customers: the end users whom a client names in its requests."""

from wayport.access.rows import Conflict, Managed, Rows
from wayport.core.clock import Clock
from wayport.storage.database import Database
from wayport.storage.tables import customers


class Customer(Managed, kw_only=True, frozen=True):
    alias: str | None = None
    budget_id: str | None = None
    models: tuple[str, ...] = ()


class Customers(Rows[Customer]):
    def __init__(self, database: Database, *, clock: Clock) -> None:
        super().__init__(database, customers, Customer, clock=clock)

    def taken(self, wanted: str) -> Conflict:
        error = Conflict(
            f"Customer already exists, passed user_id={wanted}. Please pass a new user_id.", param="user_id"
        )
        error.status = 400
        return error
