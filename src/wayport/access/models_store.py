"""Models and credentials that were added over HTTP. What may hold a secret is sealed under the salt key."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import select, update

from wayport.access import callbacks_store
from wayport.access.rotation import context_of
from wayport.access.rows import Conflict, Managed, Patch, Rows
from wayport.core.clock import Clock
from wayport.storage.cipher import Cipher
from wayport.storage.database import Database
from wayport.storage.tables import credentials, models, old_keys, team_callbacks

PURPOSE = "models and credentials"
"""what the cipher is for; see storage/cipher.py"""


class StoredModel(Managed, kw_only=True, frozen=True):
    name: str
    params: bytes
    """sealed"""
    info: dict[str, Any]


class StoredCredential(Managed, kw_only=True, frozen=True):
    """`id` is its name."""

    sealed: bytes
    info: dict[str, Any]


class Rotated(Struct, kw_only=True, frozen=True):
    models: int
    credentials: int
    keys: int
    """that were replaced and not fetched so far"""
    teams: int
    """that have callbacks of their own"""


class StoredModels(Rows[StoredModel]):
    def __init__(self, database: Database, cipher: Cipher, *, clock: Clock) -> None:
        super().__init__(database, models, StoredModel, clock=clock)
        self._cipher = cipher

    def sealed(self, model_id: str, params: Mapping[str, Any]) -> bytes:
        return self._cipher.seal(msgspec.json.encode(params), _of_model(model_id))

    def params_of(self, row: StoredModel) -> dict[str, Any]:
        """Raises `NotReadable`."""
        found: dict[str, Any] = msgspec.json.decode(self._cipher.open(row.params, _of_model(row.id)))
        return found

    def patch(self, model_id: str, *, name: str, params: Mapping[str, Any], info: Mapping[str, Any]) -> Patch:
        return Patch(columns={"name": name, "params": self.sealed(model_id, params), "info": dict(info)})

    def taken(self, wanted: str) -> Conflict:
        return Conflict(f"A model with the id {wanted!r} exists already.", param="model_info.id")


class StoredCredentials(Rows[StoredCredential]):
    def __init__(self, database: Database, cipher: Cipher, *, clock: Clock) -> None:
        super().__init__(database, credentials, StoredCredential, clock=clock)
        self._cipher = cipher

    def values_of(self, row: StoredCredential) -> dict[str, Any]:
        """Raises `NotReadable`."""
        found: dict[str, Any] = msgspec.json.decode(self._cipher.open(row.sealed, _of_credential(row.id)))
        return found

    def patch(self, name: str, *, values: Mapping[str, Any], info: Mapping[str, Any]) -> Patch:
        sealed = self._cipher.seal(msgspec.json.encode(values), _of_credential(name))
        return Patch(columns={"sealed": sealed, "info": dict(info)})

    def taken(self, wanted: str) -> Conflict:
        return Conflict(f"A credential with the name {wanted!r} exists already.", param="credential_name")


async def rotate(database: Database, *, old: Cipher, new: Cipher) -> Rotated:
    """Seals everything anew under another salt key, all of it or nothing. Raises `NotReadable`."""
    counts = []
    async with database.write() as connection:
        for table, key, column, context in (
            (models, models.c.id, models.c.params, _of_model),
            (credentials, credentials.c.id, credentials.c.sealed, _of_credential),
            (old_keys, old_keys.c.old_hash, old_keys.c.sealed, context_of),
            (team_callbacks, team_callbacks.c.id, team_callbacks.c.sealed, callbacks_store.context_of),
        ):
            rows = (await connection.execute(select(key, column).where(column.is_not(None)).with_for_update())).all()
            for name, sealed in rows:
                again = new.seal(old.open(sealed, context(name)), context(name))
                await connection.execute(update(table).where(key == name).values({column.name: again}))
            counts.append(len(rows))
    return Rotated(models=counts[0], credentials=counts[1], keys=counts[2], teams=counts[3])


def _of_model(model_id: str) -> str:
    return f"model:{model_id}"


def _of_credential(name: str) -> str:
    return f"credential:{name}"
