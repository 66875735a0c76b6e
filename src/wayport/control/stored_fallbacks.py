"""Fallbacks that were added over HTTP, beside those of the configuration. Where both name a model's, the configuration's are
used.
"""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec
from msgspec import structs
from sqlalchemy import select, update

from wayport.config.settings import ModelSettings
from wayport.storage.database import Database
from wayport.storage.tables import meta

Kind = Literal["general", "context_window", "content_policy"]
Fallbacks = dict[Kind, dict[str, tuple[str, ...]]]
"""by kind and model: who takes over"""

_ROW: Final = "fallbacks"
_decode = msgspec.json.Decoder(Fallbacks).decode
_encode = msgspec.json.Encoder().encode


def those_of(model: ModelSettings, kind: Kind) -> tuple[str, ...]:
    match kind:
        case "general":
            return model.fallbacks
        case "context_window":
            return model.context_window_fallbacks
        case "content_policy":
            return model.content_policy_fallbacks


class StoredFallbacks:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> Fallbacks:
        async with self._database.read() as connection:
            found = (await connection.execute(select(meta.c.value).where(meta.c.name == _ROW))).scalar()
        return _decode(found) if found is not None else {}

    async def put(self, kind: Kind, model: str, names: Sequence[str]) -> Sequence[str] | None:
        """Returns those that it had; `names` empty: it has none any more."""
        async with self._database.write() as connection:
            first = self._database.insert(meta).values(name=_ROW, value="{}").on_conflict_do_nothing()
            await connection.execute(first)
            locked = select(meta.c.value).where(meta.c.name == _ROW).with_for_update()
            fallbacks = _decode((await connection.execute(locked)).scalar_one())
            before = fallbacks.get(kind, {}).get(model)
            of_kind = {**fallbacks.get(kind, {}), model: tuple(names)}
            if not names:
                del of_kind[model]
            value = _encode({**fallbacks, kind: of_kind}).decode()
            await connection.execute(update(meta).where(meta.c.name == _ROW).values(value=value))
            return before


def with_fallbacks(model: ModelSettings, stored: Fallbacks) -> ModelSettings:
    def of(kind: Kind) -> tuple[str, ...]:
        return those_of(model, kind) or stored.get(kind, {}).get(model.name, ())

    return structs.replace(
        model,
        fallbacks=of("general"),
        context_window_fallbacks=of("context_window"),
        content_policy_fallbacks=of("content_policy"),
    )
