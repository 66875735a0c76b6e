"""From a key's hash to its principal: the key with everyone above it, read in one transaction. Control process only."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from msgspec import Struct, json
from sqlalchemy import Select, bindparam, func, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from wayport.access.customers import Customer, Customers
from wayport.access.keys import Key, Keys
from wayport.access.members import Member, Members
from wayport.access.organizations import Organization, Organizations
from wayport.access.people import User, Users
from wayport.access.principal import AskedFor, Holder, ModelBound, Principal, Role, Scope
from wayport.access.projects import Project, Projects
from wayport.access.roles import NOBODYS_USER
from wayport.access.rows import Managed, Rows
from wayport.access.stored import holder_of, plain_limits
from wayport.access.tags import Tag, Tags
from wayport.access.teams import Team, Teams
from wayport.core.clock import Clock
from wayport.storage.database import Database
from wayport.storage.tables import access_groups, budgets, customers, old_keys, tags

_MOCKS = "allow_client_mock_response"
"""by which a team lets its keys ask for answers that are made up"""
EVERY_MODEL = frozenset({"*", "all-proxy-models", "all-team-models"})

_OLD = select(old_keys.c.key_hash, old_keys.c.until_s).where(
    old_keys.c.old_hash == bindparam("old_hash"), old_keys.c.until_s > bindparam("now_s")
)
_ANY_CUSTOMER = select(literal(1)).select_from(customers).limit(1)
_ANY_TAG = select(literal(1)).select_from(tags).limit(1)
_BUDGET = select(budgets.c.limits).where(budgets.c.id == bindparam("id"))

_Row = TypeVar("_Row", bound=Managed)


class _Above(Struct, kw_only=True):
    """Who stands above a key."""

    user: User | None = None
    team: Team | None = None
    project: Project | None = None
    organization: Organization | None = None
    member: Member | None = None


class Principals:
    """`customer_default`, `tag_defaults`: stored limits of end users, and of tags by name, that have none of their own.
    `model_of`: the name of the model that a deployment of this id belongs to. `user_role`: of users who have been given none.
    """

    def __init__(
        self,
        database: Database,
        keys: Keys,
        *,
        clock: Clock,
        calendar: bool = False,
        user_role: Role | None = None,
        customer_default: Callable[[], dict[str, Any]] = dict,
        tag_defaults: Callable[[], dict[str, dict[str, Any]]] = dict,
        model_of: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        self._database = database
        self._keys = keys
        self._clock = clock
        self._calendar = calendar
        self._user_role = user_role
        self._customer_default = customer_default
        self._tag_defaults = tag_defaults
        self._model_of = model_of
        self._users = Users(database, clock=clock)
        self._teams = Teams(database, clock=clock)
        self._projects = Projects(database, clock=clock)
        self._organizations = Organizations(database, clock=clock)
        self._members = Members(database, clock=clock)
        self._customers = Customers(database, clock=clock)
        self._tags = Tags(database, clock=clock)

    async def principal(self, wanted: str) -> Principal | None:
        """Whose key has this hash. Raises `Unavailable`."""
        async with self._database.read() as connection:
            key, until_s = await self._key(connection, wanted)
            if key is None:
                return None
            above = await self._above(connection, key)
            named = await self._named_limits(connection, key, above)
            groups = await self._groups(connection, key, above)
            asks = await self._asks(connection)
        return self._made(key, above, named=named, groups=groups, asks=asks, until_s=until_s)

    async def asks(self) -> tuple[AskedFor, ...]:
        """Who beside those above a key may have limits. Raises `Unavailable`."""
        async with self._database.read() as connection:
            return await self._asks(connection)

    async def _asks(self, connection: AsyncConnection) -> tuple[AskedFor, ...]:
        asks: list[AskedFor] = []
        if self._customer_default() or (await connection.execute(_ANY_CUSTOMER)).first() is not None:
            asks.append("end_user")
        if self._tag_defaults() or (await connection.execute(_ANY_TAG)).first() is not None:
            asks.append("tag")
        return tuple(asks)

    async def holder(self, scope: AskedFor, holder_id: str) -> Holder | None:
        """An end user's or a tag's limits; None: it has none. Raises `Unavailable`."""
        async with self._database.read() as connection:
            row: Customer | Tag | None
            if scope == "end_user":
                row = await self._customers.find_in(connection, holder_id)
            else:
                row = await self._tags.find_in(connection, holder_id)
            default = self._customer_default() if scope == "end_user" else self._tag_defaults().get(holder_id, {})
            limits = {} if row is None else row.limits
            budget_id = row.budget_id if row is not None else None
            if budget_id is None:
                limits, budget_id = {**default, **limits}, default.get("budget_id")
            if budget_id is not None:
                limits = {**await self._budget(connection, budget_id), **limits}
            models: tuple[str, ...] = ()
            if row is not None and not EVERY_MODEL.intersection(row.models):
                named = tuple(self._model_of(name) or name for name in row.models)
                models = _expanded(named, {}, await groups_in(connection, set(named)), {})
        blocked = scope == "end_user" and row is not None and row.blocked
        region = row.settings.get("allowed_model_region") if scope == "end_user" and row is not None else None
        return holder_of(
            scope, holder_id, limits, calendar=self._calendar, models=models, blocked=blocked, region=region
        )

    async def _key(self, connection: AsyncConnection, wanted: str) -> tuple[Key | None, float | None]:
        """The key, and until when this hash is good for it."""
        key = await self._keys.find_in(connection, wanted)
        if key is not None:
            return key, key.expires_s
        old = (await connection.execute(_OLD, {"old_hash": wanted, "now_s": self._clock.now_s()})).first()
        if old is None:
            return None, None
        key = await self._keys.find_in(connection, old.key_hash)
        if key is None or key.expires_s is None:
            return key, old.until_s
        return key, min(old.until_s, key.expires_s)

    async def _above(self, connection: AsyncConnection, key: Key) -> _Above:
        above = _Above()
        above.user = await _maybe(self._users, connection, key.user_id)
        above.team = await _maybe(self._teams, connection, key.team_id)
        above.project = await _maybe(self._projects, connection, key.project_id)
        # A team's key is of its team's organisation, whatever it says of itself.
        organization_id = (above.team.organization_id if above.team is not None else None) or key.organization_id
        above.organization = await _maybe(self._organizations, connection, organization_id)
        if key.user_id not in {None, NOBODYS_USER} and above.team is not None:
            above.member = await self._members.find_in(connection, "team", above.team.id, str(key.user_id))
        return above

    async def _named_limits(self, connection: AsyncConnection, key: Key, above: _Above) -> dict[str, dict[str, Any]]:
        """Limits of the budgets that someone refers to by name, by that name."""
        names = {
            key.settings.get("budget_id"),
            above.organization.budget_id if above.organization is not None else None,
            above.project.budget_id if above.project is not None else None,
            above.member.settings.get("budget_id") if above.member is not None else None,
        }
        return {name: await self._budget(connection, name) for name in names if isinstance(name, str)}

    async def _budget(self, connection: AsyncConnection, name: str) -> dict[str, Any]:
        row = (await connection.execute(_BUDGET, {"id": name})).first()
        return dict(row.limits) if row is not None else {}

    async def _groups(self, connection: AsyncConnection, key: Key, above: _Above) -> dict[str, tuple[str, ...]]:
        """Access groups that some list of models names, with their models."""
        named = {*key.models, *_group_ids(key.settings)}
        for row in (above.user, above.team, above.project, above.organization):
            if row is not None:
                named |= {*row.models, *_group_ids(row.settings)}
        return await groups_in(connection, named - EVERY_MODEL)

    def _made(
        self,
        key: Key,
        above: _Above,
        *,
        named: dict[str, dict[str, Any]],
        groups: dict[str, tuple[str, ...]],
        asks: tuple[AskedFor, ...],
        until_s: float | None,
    ) -> Principal:
        user, team, organization = above.user, above.team, above.organization
        blocked_by = _blocked_by(above)
        of_team = {**team.aliases, **team.own_models} if team is not None else {}
        aliases = {**of_team, **_aliases(key.settings.get("aliases"))}
        return Principal(
            kind="key",
            key_hash=key.key_hash,
            key_alias=key.key_alias,
            user_id=key.user_id,
            team_id=key.team_id,
            organization_id=organization.id if organization is not None else key.organization_id,
            project_id=key.project_id,
            role=key.role or self._role_of(user),
            models=_expanded(key.models, key.settings, groups, aliases),
            routes=key.routes,
            tags=tuple(dict.fromkeys((*key.tags, *_tags(team), *_tags(above.project)))),
            metadata=_metadata(key, team),
            expires_s=until_s,
            blocked=key.blocked or blocked_by is not None,
            blocked_by=None if key.blocked else blocked_by,
            bounds=_bounds(above, groups, aliases),
            aliases=aliases,
            ips=_words(key.settings.get("allowed_ips")),
            limits=plain_limits(key.limits),
            holders=self._holders(key, above, named),
            asks=asks,
        )

    def _role_of(self, user: User | None) -> Role | None:
        if user is None or user.id == NOBODYS_USER:
            return None
        return user.role or self._user_role

    def _holders(self, key: Key, above: _Above, named: dict[str, dict[str, Any]]) -> tuple[Holder, ...]:
        user, team, organization, member = above.user, above.team, above.organization, above.member
        found: list[Holder | None] = []

        def add(scope: Scope, holder_id: str, limits: dict[str, Any], name: str | None, budget: object = None) -> None:
            # What is said of the holder itself goes before what a named budget says.
            whole = {**named.get(str(budget), {}), **limits} if budget else limits
            found.append(holder_of(scope, holder_id, whole, name=name, calendar=self._calendar))

        add("key", key.counted_as, key.limits, key.key_alias, key.settings.get("budget_id"))
        if user is not None:
            add("user", user.id, user.limits, user.alias or user.email)
        if team is not None:
            if member is not None:
                limits = {**_member_defaults(team), **member.limits}
                add(
                    "team_member", f"{team.id}/{member.user_id}", limits, member.email, member.settings.get("budget_id")
                )
            add("team", team.id, team.limits, team.alias)
        if (project := above.project) is not None:
            add("project", project.id, project.limits, project.alias, project.budget_id)
        if organization is not None:
            add("organization", organization.id, organization.limits, organization.alias, organization.budget_id)
        return tuple(holder for holder in found if holder is not None)


async def groups_in(connection: AsyncConnection, names: set[str]) -> dict[str, tuple[str, ...]]:
    """Those of the names that are access groups (by id or alias), with the models in them."""
    if not names:
        return {}
    wanted: Select[Any] = select(access_groups.c.id, access_groups.c.alias, access_groups.c.models).where(
        or_(access_groups.c.id.in_(names), func.coalesce(access_groups.c.alias, "").in_(names))
    )
    found: dict[str, tuple[str, ...]] = {}
    for row in await connection.execute(wanted):
        for name in (row.id, row.alias):
            if name in names:
                found[name] = (*found.get(name, ()), *row.models)
    return found


async def _maybe(rows: Rows[_Row], connection: AsyncConnection, wanted: str | None) -> _Row | None:
    return None if wanted is None else await rows.find_in(connection, wanted)


def _metadata(key: Key, team: Team | None) -> bytes | None:
    """The key's, with what its team's says to its keys."""
    told = {_MOCKS: True} if team is not None and team.metadata.get(_MOCKS) is True else {}
    found = {**told, **key.metadata}
    return json.encode(found) if found else None


def _member_defaults(team: Team) -> dict[str, Any]:
    """What a team says of each of its members."""
    told = {
        "max_budget": team.settings.get("team_member_budget"),
        "budget_duration": team.settings.get("team_member_budget_duration"),
        "rpm_limit": team.settings.get("team_member_rpm_limit"),
        "tpm_limit": team.settings.get("team_member_tpm_limit"),
        "anchor_s": team.created_s,
    }
    return {name: value for name, value in told.items() if value is not None}


def _blocked_by(above: _Above) -> str | None:
    rows = (
        ("Project", above.project), ("Team", above.team), ("User", above.user), ("Organization", above.organization),
    )  # fmt: skip
    for name, row in rows:
        if row is not None and row.blocked:
            return f"{name}={row.id}"
    return None


def _bounds(above: _Above, groups: dict[str, tuple[str, ...]], aliases: dict[str, str]) -> tuple[ModelBound, ...]:
    """A team's key is bound by its team's list and its project's, a personal one by its user's; both by the organisation's."""
    found = []
    rows: tuple[tuple[Scope, User | Team | Project | Organization | None], ...] = (
        ("team", above.team),
        ("project", above.project),
        ("user", above.user if above.team is None else None),
        ("organization", above.organization),
    )
    for scope, row in rows:
        if row is None or not row.models or EVERY_MODEL.intersection(row.models):
            continue
        found.append(ModelBound(scope=scope, id=row.id, models=_expanded(row.models, row.settings, groups, aliases)))
    member = above.member
    if member is not None and (allowed := _words(member.settings.get("allowed_models"))):
        models = _expanded(allowed, {}, {}, aliases)
        found.append(ModelBound(scope="team_member", id=f"{member.group_id}/{member.user_id}", models=models))
    return tuple(found)


def _expanded(
    models: Sequence[str], settings: dict[str, Any], groups: dict[str, tuple[str, ...]], aliases: dict[str, str]
) -> tuple[str, ...]:
    """The list with the models of its access groups and those that its aliases stand for; the groups' names stay, as
    configured models have groups, too.
    """
    if not models:
        return ()
    inside = [model for name in (*models, *_group_ids(settings)) for model in groups.get(name, ())]
    meant = [aliases[name] for name in (*models, *inside) if name in aliases]
    return tuple(dict.fromkeys((*models, *inside, *meant)))


def _tags(row: Team | Project | None) -> tuple[str, ...]:
    return _words(row.metadata.get("tags")) if row is not None else ()


def _group_ids(settings: dict[str, Any]) -> tuple[str, ...]:
    return _words(settings.get("access_group_ids"))


def _words(value: object) -> tuple[str, ...]:
    return tuple(word for word in value if isinstance(word, str)) if isinstance(value, list) else ()


def _aliases(value: object) -> dict[str, str]:
    return {str(k): v for k, v in value.items() if isinstance(v, str)} if isinstance(value, dict) else {}
