"""The keys that we issue: made, looked up, listed and deleted in the database. Control process only.

A key is shown once, when it is made; what is stored is its sha-256.
"""

import secrets
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct, convert, field, structs, to_builtins
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    RowMapping,
    and_,
    bindparam,
    cast,
    delete,
    func,
    literal,
    literal_column,
    or_,
    select,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from wayport.access.principal import Role
from wayport.access.rows import Patch, merged
from wayport.access.spent import since_it_began
from wayport.core.clock import Clock
from wayport.core.errors import BadRequest
from wayport.core.secret import Secret, key_hash
from wayport.storage.database import Database
from wayport.storage.tables import keys, old_keys, spend, teams

Seal = Callable[[str, str], bytes]
"""of a replaced key's hash and the key in its place: what may stand in the database"""
_KEY_BYTES = 24
_SHORTEST_KEY = 16

# What was spent just before a key was replaced may be booked after it, under the hash that it was made with.
_spent = (
    select(cast(func.coalesce(func.sum(spend.c.spend_nano_usd), 0), BigInteger))
    .where(
        spend.c.scope == "key",
        or_(spend.c.holder == keys.c.key_hash, spend.c.holder == keys.c.settings["counted_as"].as_string()),
    )
    .scalar_subquery()
)
_with_spend = select(keys, _spent.label("spend_nano_usd"))
_BY_HASH = _with_spend.where(keys.c.key_hash == bindparam("key_hash"))
_TAKEN = select(keys.c.key_hash, keys.c.key_alias).where(
    or_(keys.c.key_hash == bindparam("key_hash"), keys.c.key_alias == bindparam("key_alias"))
)


class Visible(Struct, kw_only=True, frozen=True):
    """Keys of a user, of some teams, of some organisations, and one by its hash."""

    key_hash: str | None = None
    user_id: str | None = None
    team_ids: tuple[str, ...] = ()
    organization_ids: tuple[str, ...] = ()


class KeyFields(Struct, kw_only=True, frozen=True):
    """What whoever makes a key may say of it."""

    key_alias: str | None = None
    user_id: str | None = None
    team_id: str | None = None
    organization_id: str | None = None
    project_id: str | None = None
    role: Role | None = None
    models: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)
    limits: dict[str, Any] = field(default_factory=dict)
    """what it may use at most, in LiteLLM's words and in dollars (see terms.py)"""
    settings: dict[str, Any] = field(default_factory=dict)
    """what else was said of it: `aliases`, `allowed_ips`, `budget_id` … and fields that are only given back"""
    expires_s: float | None = None
    rotates_s: float | None = None
    """when it is replaced by itself"""
    blocked: bool = False


class Key(KeyFields, kw_only=True, frozen=True):
    """A key as it is stored."""

    key_hash: str
    key_name: str
    """`sk-...` and the last four characters"""
    created_s: float
    created_by: str | None = None
    updated_s: float
    updated_by: str | None = None
    spend_nano_usd: int = 0
    """since ever"""
    shown_nano_usd: int = 0
    """since its budget began anew, or somebody reset its spend"""

    @property
    def counted_as(self) -> str:
        """Under which id its spend is counted: the hash that it was made with, also when it has been replaced."""
        return str(self.settings.get("counted_as", self.key_hash))


class KeyFilter(Struct, kw_only=True, frozen=True):
    """Which keys to list; None: all."""

    key_hash: str | None = None
    key_alias: str | None = None
    user_id: str | None = None
    team_id: str | None = None
    organization_id: str | None = None
    project_id: str | None = None
    created_by: str | None = None
    blocked: bool | None = None
    within: Visible | None = None
    """only those that the caller may see"""


class KeyPage(Struct, kw_only=True, frozen=True):
    keys: list[Key]
    total: int


def new_key() -> Secret:
    return Secret("sk-" + secrets.token_urlsafe(_KEY_BYTES))


def hash_of(key_or_hash: str) -> str:
    """The hash of a key given as itself or already as its hash."""
    given = key_or_hash.strip()
    is_hash = len(given) == 64 and all(character in "0123456789abcdef" for character in given)
    return given if is_hash else key_hash(given)


class Keys:
    """`calendar`: budgets follow the calendar unless they say otherwise."""

    def __init__(self, database: Database, *, clock: Clock, calendar: bool = False) -> None:
        self.calendar = calendar
        self._database = database
        self._clock = clock

    async def create(
        self, fields: KeyFields, *, key: Secret | None = None, by: str | None = None
    ) -> tuple[Secret, Key]:
        """Makes a key; `key` is one that the caller chose. Raises `BadRequest` when it or its alias is taken."""
        key = key or new_key()
        text = _checked(key)
        now_s = self._clock.now_s()
        row = to_builtins(fields) | {
            "key_hash": key_hash(text),
            "key_name": f"sk-...{text[-4:]}",
            "created_s": now_s,
            "created_by": by,
            "updated_s": now_s,
            "updated_by": by,
        }
        try:
            async with self._database.write() as connection:
                taken = (await connection.execute(_TAKEN, row)).first()
                if taken is None:
                    await connection.execute(keys.insert(), row)
        except IntegrityError as error:
            # Another control process made the same one at the same moment.
            raise _taken(fields.key_alias) from error
        if taken is not None:
            raise (
                BadRequest("`key` exists already.", param="key")
                if taken.key_hash == row["key_hash"]
                else _taken(fields.key_alias)
            )
        return key, _key(row)

    async def find(self, wanted: str) -> Key | None:
        async with self._database.read() as connection:
            key = await self.find_in(connection, wanted)
            return None if key is None else (await self._with_windows(connection, [key]))[0]

    async def those(self, hashes: Sequence[str]) -> list[Key]:
        """Keys by hash, those that exist, in no order."""
        if not hashes:
            return []
        async with self._database.read() as connection:
            rows = await connection.execute(_with_spend.where(keys.c.key_hash.in_(list(hashes))))
            return await self._with_windows(connection, [_key(row) for row in rows.mappings()])

    async def page(
        self, wanted: KeyFilter, *, offset: int, limit: int | None, sort: str = "created_at", ascending: bool = False
    ) -> KeyPage:
        """Newest first unless sorted otherwise; `sort` is one of SORTS."""
        condition = _condition(wanted)
        column = SORTS[sort]
        order = column.asc() if ascending else column.desc()
        page = _with_spend.where(condition).order_by(order, keys.c.key_hash)
        async with self._database.read() as connection:
            total = (await connection.execute(select(func.count()).select_from(keys).where(condition))).scalar_one()
            rows = (await connection.execute(page.offset(offset).limit(limit))).mappings().all()
            found = await self._with_windows(connection, [_key(row) for row in rows])
        return KeyPage(keys=found, total=total)

    async def aliases(self, wanted: KeyFilter, *, search: str | None, offset: int, limit: int) -> tuple[list[str], int]:
        """Names of keys in the order of the alphabet, and how many there are."""
        condition = and_(_condition(wanted), keys.c.key_alias.is_not(None))
        if search:
            condition = and_(condition, keys.c.key_alias.icontains(search, autoescape=True))
        page = select(keys.c.key_alias).where(condition).order_by(keys.c.key_alias)
        async with self._database.read() as connection:
            total = (await connection.execute(select(func.count()).select_from(keys).where(condition))).scalar_one()
            return list(await connection.scalars(page.offset(offset).limit(limit))), total

    async def hashes_of(self, aliases: list[str]) -> dict[str, str]:
        """Alias to hash, for those that exist."""
        async with self._database.read() as connection:
            rows = await connection.execute(
                select(keys.c.key_alias, keys.c.key_hash).where(keys.c.key_alias.in_(aliases))
            )
            return {row.key_alias: row.key_hash for row in rows}

    async def old_hashes(self, hashes: Sequence[str]) -> list[str]:
        """Hashes of replaced keys that lead to these ones."""
        async with self._database.read() as connection:
            wanted = select(old_keys.c.old_hash).where(old_keys.c.key_hash.in_(list(hashes)))
            return list(await connection.scalars(wanted))

    async def count_by_user(self, user_ids: Sequence[str]) -> dict[str, int]:
        """How many keys each has; whoever has none is left out."""
        wanted = (
            select(keys.c.user_id, func.count().label("many"))
            .where(keys.c.user_id.in_(list(user_ids)))
            .group_by(keys.c.user_id)
        )
        async with self._database.read() as connection:
            return {row.user_id: row.many for row in await connection.execute(wanted)}

    async def hashes_of_member(self, team_id: str, user_id: str) -> list[str]:
        """A user's keys of a team."""
        wanted = select(keys.c.key_hash).where(keys.c.team_id == team_id, keys.c.user_id == user_id)
        async with self._database.read() as connection:
            return list(await connection.scalars(wanted))

    async def hashes_where(
        self,
        *,
        user_ids: Sequence[str] = (),
        team_ids: Sequence[str] = (),
        organization_ids: Sequence[str] = (),
        project_ids: Sequence[str] = (),
    ) -> list[str]:
        """The keys of any of them."""
        of_their_teams = select(teams.c.id).where(teams.c.organization_id.in_(list(organization_ids)))
        condition = or_(
            keys.c.user_id.in_(list(user_ids)),
            keys.c.team_id.in_(list(team_ids)),
            keys.c.organization_id.in_(list(organization_ids)),
            keys.c.project_id.in_(list(project_ids)),
            keys.c.team_id.in_(of_their_teams),
        )
        async with self._database.read() as connection:
            return list(await connection.scalars(select(keys.c.key_hash).where(condition)))

    async def change(self, wanted: str, patch: Patch, *, by: str | None) -> tuple[Key, Key] | None:
        """The key before and after; None if there is none. Raises `BadRequest` when an alias is taken."""
        try:
            async with self._database.write() as connection:
                before = await self._locked(connection, wanted)
                if before is None:
                    return None
                values = merged(before, patch, keys) | {"updated_s": self._clock.now_s(), "updated_by": by}
                await connection.execute(keys.update().where(keys.c.key_hash == wanted).values(values))
                after = await self._shown(connection, wanted)
        except IntegrityError as error:
            raise _taken(patch.columns.get("key_alias")) from error
        assert after is not None
        return before, after

    async def replace(
        self,
        wanted: str,
        patch: Patch,
        *,
        key: Secret | None = None,
        grace_s: float = 0.0,
        by: str | None,
        due_s: float | None = None,
        seal: Seal | None = None,
    ) -> tuple[Secret, Key, Key] | None:
        """A new key in place of an old one, which is good for `grace_s` more; the new key, and the row before and
        after. None if there is none, or it is not due to be replaced by `due_s`. `seal`: the new key is kept for whoever
        has an old one. Without grace nothing is good any more that was replaced earlier either.
        """
        key = key or new_key()
        text = _checked(key)
        new_hash, now_s = key_hash(text), self._clock.now_s()
        try:
            async with self._database.write() as connection:
                before = await self._locked(connection, wanted)
                if before is None or (due_s is not None and (before.rotates_s is None or before.rotates_s > due_s)):
                    return None
                patch = structs.replace(patch, settings={**patch.settings, "counted_as": before.counted_as})
                values = merged(before, patch, keys) | {
                    "key_hash": new_hash, "key_name": f"sk-...{text[-4:]}", "updated_s": now_s, "updated_by": by,
                }  # fmt: skip
                await connection.execute(keys.update().where(keys.c.key_hash == wanted).values(values))
                await connection.execute(
                    spend.update().where(spend.c.scope == "key", spend.c.holder == wanted).values(holder=new_hash)
                )
                older = await connection.scalars(
                    select(old_keys.c.old_hash).where(old_keys.c.key_hash == wanted, old_keys.c.until_s > now_s)
                )
                for old_hash in older.all():
                    now = {"key_hash": new_hash, "sealed": seal(old_hash, text) if seal is not None else None}
                    await connection.execute(old_keys.update().where(old_keys.c.old_hash == old_hash).values(now))
                if grace_s <= 0:
                    await connection.execute(delete(old_keys).where(old_keys.c.key_hash.in_([wanted, new_hash])))
                else:
                    row = {
                        "old_hash": wanted, "key_hash": new_hash, "until_s": now_s + grace_s,
                        "sealed": seal(wanted, text) if seal is not None else None,
                    }  # fmt: skip
                    await connection.execute(old_keys.insert(), row)
                after = await self._shown(connection, new_hash)
        except IntegrityError as error:
            raise BadRequest("`new_key` exists already.", param="new_key") from error
        assert after is not None
        return key, before, after

    async def delete(self, hashes: list[str]) -> list[str]:
        """Deletes all of them or, when one does not exist, none; returns those that do not."""
        async with self._database.write() as connection:
            found = set(await connection.scalars(select(keys.c.key_hash).where(keys.c.key_hash.in_(hashes))))
            missing = [wanted for wanted in hashes if wanted not in found]
            if not missing:
                await connection.execute(delete(keys).where(keys.c.key_hash.in_(hashes)))
                await connection.execute(delete(old_keys).where(old_keys.c.key_hash.in_(hashes)))
            return missing

    async def _shown(self, connection: AsyncConnection, wanted: str) -> Key | None:
        key = await self.find_in(connection, wanted)
        return None if key is None else (await self._with_windows(connection, [key]))[0]

    async def _with_windows(self, connection: AsyncConnection, found: list[Key]) -> list[Key]:
        """The keys with what they have spent of their budgets."""
        totals = {key.counted_as: (key.spend_nano_usd, key.limits) for key in found}
        now_s = self._clock.now_s()
        shown = await since_it_began(connection, "key", totals, now_s=now_s, calendar=self.calendar)
        return [structs.replace(key, shown_nano_usd=shown[key.counted_as]) for key in found]

    async def find_in(self, connection: AsyncConnection, wanted: str) -> Key | None:
        row = (await connection.execute(_BY_HASH, {"key_hash": wanted})).mappings().first()
        return None if row is None else _key(row)

    async def _locked(self, connection: AsyncConnection, wanted: str) -> Key | None:
        lock = select(keys.c.key_hash).where(keys.c.key_hash == wanted).with_for_update()
        if (await connection.execute(lock)).first() is None:
            return None
        return await self.find_in(connection, wanted)


SORTS: dict[str, ColumnElement[Any]] = {
    "created_at": keys.c.created_s,
    "updated_at": keys.c.updated_s,
    "expires": keys.c.expires_s,
    "key_alias": keys.c.key_alias,
    "user_id": keys.c.user_id,
    "team_id": keys.c.team_id,
    "token": keys.c.key_hash,
    "spend": literal_column("spend_nano_usd", BigInteger),
}
"""what a list of keys may be sorted by"""


def _condition(wanted: KeyFilter) -> ColumnElement[bool]:
    columns = ("key_hash", "key_alias", "user_id", "team_id", "organization_id", "project_id", "created_by", "blocked")
    conditions: list[ColumnElement[bool]] = [
        keys.c[name] == value for name in columns if (value := getattr(wanted, name)) is not None
    ]
    if (own := wanted.within) is not None:
        seen = [keys.c.key_hash == own.key_hash, keys.c.team_id.in_(own.team_ids)]
        if own.user_id is not None:
            seen.append(keys.c.user_id == own.user_id)
        if own.organization_ids:
            of_their_teams = select(teams.c.id).where(teams.c.organization_id.in_(own.organization_ids))
            seen += [keys.c.organization_id.in_(own.organization_ids), keys.c.team_id.in_(of_their_teams)]
        conditions.append(or_(*seen))
    return and_(literal(True), *conditions)


def _checked(key: Secret) -> str:
    text = key.reveal()
    if not text.startswith("sk-") or len(text) < _SHORTEST_KEY or not text.isascii() or not text.isprintable():
        raise BadRequest(
            f"`key` must begin with `sk-` and have at least {_SHORTEST_KEY} plain characters.", param="key"
        )
    return text


def _taken(alias: str | None) -> BadRequest:
    return BadRequest(
        f"A key with the alias {alias!r} exists already. Choose another one, or delete that key first.",
        param="key_alias",
    )


def _key(row: RowMapping | dict[str, Any]) -> Key:
    # SQLAlchemy's names are a subclass of str, which msgspec does not take for one.
    return convert({str(name): value for name, value in row.items()}, Key)
