"""The audit log: who changed what, and how it was before. Secrets never get into it."""

from typing import Any, Literal

from msgspec import Struct, json, to_builtins
from sqlalchemy import ColumnElement, and_, func, literal, select

from wayport.access.principal import Principal
from wayport.core.clock import Clock
from wayport.core.ids import uuid7
from wayport.core.secret import mask
from wayport.storage.database import Database
from wayport.storage.tables import audit

Action = Literal["created", "updated", "deleted", "blocked", "unblocked", "rotated"]
_SECRET_WORDS = ("password", "secret", "api_key", "private_key", "credential", "access_token", "sealed")


class Entry(Struct, kw_only=True, frozen=True):
    id: str
    at_s: float
    changed_by: str | None
    changed_by_key: str | None
    action: str
    table_name: str
    object_id: str
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None


class Audit:
    def __init__(self, database: Database, *, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def note(
        self, by: Principal, action: Action, table: str, object_id: str, *, before: object = None, after: object = None
    ) -> None:
        """`before` and `after`: the rows as they were and are; what did not change is left out of a change."""
        old, new = _plain(before), _plain(after)
        if old is not None and new is not None:
            changed = {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
            old = {name: value for name, value in old.items() if name in changed}
            new = {name: value for name, value in new.items() if name in changed}
        row = {
            "id": uuid7(),
            "at_s": self._clock.now_s(),
            "changed_by": by.user_id or by.key_alias or by.kind,
            "changed_by_key": by.key_hash,
            "action": action,
            "table_name": table,
            "object_id": object_id,
            "before": old,
            "after": new,
        }
        async with self._database.write() as connection:
            await connection.execute(audit.insert(), row)

    async def find(self, wanted: str) -> Entry | None:
        async with self._database.read() as connection:
            row = (await connection.execute(select(audit).where(audit.c.id == wanted))).mappings().first()
        return None if row is None else Entry(**{str(name): value for name, value in row.items()})

    async def page(self, *conditions: ColumnElement[bool], offset: int, limit: int) -> tuple[list[Entry], int]:
        """Newest first."""
        condition = and_(literal(True), *conditions)
        wanted = select(audit).where(condition).order_by(audit.c.at_s.desc(), audit.c.id.desc())
        async with self._database.read() as connection:
            total = (await connection.execute(select(func.count()).select_from(audit).where(condition))).scalar_one()
            rows = (await connection.execute(wanted.offset(offset).limit(limit))).mappings().all()
        return [Entry(**{str(name): value for name, value in row.items()}) for row in rows], total


def _plain(row: object) -> dict[str, Any] | None:
    if row is None:
        return None
    values = masked(json.decode(json.encode(to_builtins(row))))
    assert isinstance(values, dict)
    return values


def masked(value: Any, name: str = "") -> Any:
    """The value without anything that is, or looks like, a secret."""
    if isinstance(value, dict):
        return {key: masked(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item, name) for item in value]
    if isinstance(value, str):
        if any(word in name.lower() for word in _SECRET_WORDS):
            return "***" if value else value
        return mask(value)
    return value
