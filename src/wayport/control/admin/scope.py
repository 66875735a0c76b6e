"""Whose calls a caller may see: an administrator everybody's, anybody else their own and those of teams they lead."""

from sqlalchemy import select

from wayport.access.principal import Principal
from wayport.control.admin.parts import Parts, sees_all
from wayport.ledger.reports import Own
from wayport.storage.tables import members


async def own_of(parts: Parts, caller: Principal) -> Own | None:
    """None: everything."""
    if sees_all(caller):
        return None
    # The key of nobody in particular: LiteLLM writes this name on every key that the master key makes.
    user_id = caller.user_id if caller.user_id != "default_user_id" else None
    if user_id is None:
        return Own(key_hash=caller.key_hash)
    led = select(members.c.group_id).where(
        members.c.scope == "team", members.c.user_id == user_id, members.c.role == "admin"
    )
    async with parts.database.read() as connection:
        return Own(user_id=user_id, key_hash=caller.key_hash, teams=tuple(await connection.scalars(led)))
