"""Users: who they are, what they may do here and use at most."""

from sqlalchemy import func, select

from wayport.access.principal import Role
from wayport.access.rows import Conflict, Managed, Rows
from wayport.core.clock import Clock
from wayport.storage.database import Database
from wayport.storage.tables import users


class User(Managed, kw_only=True, frozen=True):
    email: str | None = None
    alias: str | None = None
    role: Role | None = None
    models: tuple[str, ...] = ()


class Users(Rows[User]):
    def __init__(self, database: Database, *, clock: Clock) -> None:
        super().__init__(database, users, User, clock=clock)

    async def by_email(self, email: str) -> User | None:
        async with self.database.read() as connection:
            rows = await connection.execute(select(users).where(func.lower(users.c.email) == email.lower()))
            row = rows.mappings().first()
        return None if row is None else self.read(row)

    def taken(self, wanted: str) -> Conflict:
        return Conflict(f"A user with the id {wanted!r}, or with this e-mail address, exists already.", param="user_id")
