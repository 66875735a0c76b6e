"""What users, teams, tags, organisations and customers did by day, in LiteLLM's shape, in any time zone of whole
quarter-hours.
"""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Depends, Query
from sqlalchemy import Column, Table, select

from wayport.access.keys import hash_of
from wayport.access.principal import Principal
from wayport.control.admin.parts import Parts
from wayport.control.admin.scope import own_of
from wayport.control.admin.words import usd
from wayport.core.errors import BadRequest
from wayport.ledger.days import zone_of
from wayport.ledger.reports import Kind, Line, Name, Reports, Wanted
from wayport.storage.database import Database
from wayport.storage.tables import keys, organizations, teams, users

_NAMES: tuple[Name, ...] = ("model", "upstream_model", "provider", "key_hash", "operation")
_NO_SUMS = dict.fromkeys(
    (
        "calls",
        "failures",
        "input_tokens",
        "output_tokens",
        "cache_read_tokens",
        "cache_write_tokens",
        "spend_nano_usd",
    ),
    0,
)


class _Entity(NamedTuple):
    """One kind of report: its paths, which name tells entities apart, and how a query filters them."""

    paths: tuple[str, ...]
    name: Name
    kind: Kind
    ids: str
    table: Table | None


_ENTITIES = (
    _Entity(("/user",), "user_id", "all", "user_id", users),
    _Entity(("/team",), "team_id", "all", "team_ids", teams),
    _Entity(("/organization",), "organization_id", "all", "organization_ids", organizations),
    _Entity(("/tag",), "holder", "tag", "tags", None),
    _Entity(("/customer", "/end_user"), "holder", "end_user", "end_user_ids", None),
)


def routes(parts: Parts) -> APIRouter:
    router = APIRouter(tags=["activity"])
    for entity in _ENTITIES:
        for path in entity.paths:
            _add(router, parts, entity, path)
    return router


def _add(router: APIRouter, parts: Parts, entity: _Entity, path: str) -> None:
    anyone = Annotated[Principal, Depends(parts.callers.anyone)]
    reports = Reports(parts.database)
    ids = Annotated[str | None, Query(alias=entity.ids, description="One or several, by commas.")]
    never = Annotated[str | None, Query(alias=f"exclude_{entity.ids}", description="All but these, by commas.")]
    shown = path == entity.paths[0]

    @router.get(f"{path}/daily/activity", summary=f"What each {path[1:]} did by day", include_in_schema=shown)
    @router.get(f"{path}/daily/activity/aggregated", include_in_schema=False)
    async def activity(  # noqa: PLR0917 (FastAPI reads its parameters from here)
        caller: anyone,
        start_date: Annotated[str | None, Query(description="The first day.")] = None,
        end_date: Annotated[str | None, Query(description="The last day, whole.")] = None,
        only: ids = None,
        excluded: never = None,
        model: Annotated[str | None, Query(description="The upstream's name of it, or the public one.")] = None,
        api_key: Annotated[str | None, Query(description="A key or its hash; several by commas.")] = None,
        timezone: Annotated[
            str | None, Query(description="`Europe/Berlin`, or minutes west of UTC as browsers state them.")
        ] = None,
        page: Annotated[int, Query(ge=1)] = 1,
        page_size: Annotated[int, Query(ge=1, le=1_000, description="Days on a page.")] = 1_000,
    ) -> dict[str, Any]:
        first, last = day_of(start_date, "start_date"), day_of(end_date, "end_date")
        narrowed: dict[Name, Sequence[str]] = {}
        if only:
            narrowed[entity.name] = _list(only)
        if api_key:
            narrowed["key_hash"] = [hash_of(key) for key in _list(api_key)]
        wanted = Wanted(
            kind=entity.kind,
            only=narrowed,
            never={entity.name: _list(excluded)} if excluded else {},
            own=await own_of(parts, caller),
        )
        zone = zone_of(timezone)
        names = (*_NAMES, entity.name)
        lines = await reports.by_day(wanted, names, first=first, last=last, zone=zone)
        if model:
            lines = [line for line in lines if model in line.names[:2]]
        return _answer(
            lines,
            page=page,
            page_size=page_size,
            aliases=await _aliases(parts.database, lines, entity),
        )


def day_of(text: str | None, param: str) -> date:
    """Raises `BadRequest` that names `param`."""
    try:
        return date.fromisoformat((text or "").strip()[:10])
    except ValueError:
        raise BadRequest(f"`{param}` must be a day, as 2026-11-20.", param=param) from None


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


class _Aliases(NamedTuple):
    keys: dict[str, tuple[str | None, str | None]]
    """hash to alias and team"""
    entities: dict[str, str | None]


async def _aliases(database: Database, lines: Iterable[Line], entity: _Entity) -> _Aliases:
    hashes = {line.names[3] for line in lines}
    found = select(keys.c.key_hash, keys.c.key_alias, keys.c.team_id)
    if len(hashes) < 1_000:
        found = found.where(keys.c.key_hash.in_(hashes))
    entities: dict[str, str | None] = {}
    async with database.read() as connection:
        of_keys = {row.key_hash: (row.key_alias, row.team_id) for row in await connection.execute(found)}
        if entity.table is not None:
            alias: Column[Any] = entity.table.c.alias
            entities = {row[0]: row[1] for row in await connection.execute(select(entity.table.c.id, alias))}
    return _Aliases(of_keys, entities)


def _answer(lines: Sequence[Line], *, page: int, page_size: int, aliases: _Aliases) -> dict[str, Any]:
    """Newest day first. The totals are those of the page: clients add them up over pages."""
    days: dict[date, list[Line]] = {}
    for line in lines:
        days.setdefault(line.day, []).append(line)
    ordered = sorted(days, reverse=True)
    shown = ordered[(page - 1) * page_size : page * page_size]
    pages = max(1, -(-len(ordered) // page_size))
    totals = metrics(_added(line.sums for day in shown for line in days[day]))
    return {
        "results": [_of_day(day, days[day], aliases) for day in shown],
        "metadata": {
            **{f"total_{name.removeprefix('total_')}": value for name, value in totals.items()},
            "page": page,
            "total_pages": pages,
            "has_more": page < pages,
        },
    }


def _of_day(day: date, lines: Sequence[Line], aliases: _Aliases) -> dict[str, Any]:
    def grouped(index: int) -> dict[str, dict[str, Any]]:
        groups: dict[str, list[Line]] = {}
        for line in lines:
            groups.setdefault(line.names[index], []).append(line)
        return {name: _group(found, aliases) for name, found in sorted(groups.items()) if name}

    key_groups = grouped(3)
    for key_hash, group in key_groups.items():
        alias, team_id = aliases.keys.get(key_hash, (None, None))
        group["metadata"] = {"key_alias": alias, "team_id": team_id}
        del group["api_key_breakdown"]
    entities = grouped(5)
    for name, group in entities.items():
        group["metadata"] = {"alias": aliases.entities.get(name), "team_alias": aliases.entities.get(name)}
    return {
        "date": day.isoformat(),
        "metrics": metrics(_added(line.sums for line in lines)),
        "breakdown": {
            "models": grouped(1),
            "model_groups": grouped(0),
            "mcp_servers": {},
            "providers": grouped(2),
            "endpoints": grouped(4),
            "api_keys": key_groups,
            "entities": entities,
        },
    }


def _group(lines: Sequence[Line], aliases: _Aliases) -> dict[str, Any]:
    by_key: dict[str, list[dict[str, int]]] = {}
    for line in lines:
        by_key.setdefault(line.names[3], []).append(line.sums)
    return {
        "metrics": metrics(_added(line.sums for line in lines)),
        "metadata": {},
        "api_key_breakdown": {
            key: {
                "metrics": metrics(_added(sums)),
                "metadata": dict(zip(("key_alias", "team_id"), aliases.keys.get(key, (None, None)), strict=True)),
            }
            for key, sums in by_key.items()
            if key
        },
    }


def _added(sums: Iterable[dict[str, int]]) -> dict[str, int]:
    total = dict(_NO_SUMS)
    for each in sums:
        for name in total:
            total[name] += each[name]
    return total


def metrics(sums: dict[str, int]) -> dict[str, Any]:
    """Sums as LiteLLM names them; money as dollars, made of whole nano-dollars once."""
    return {
        "spend": usd(sums["spend_nano_usd"]),
        "prompt_tokens": sums["input_tokens"],
        "completion_tokens": sums["output_tokens"],
        "cache_read_input_tokens": sums["cache_read_tokens"],
        "cache_creation_input_tokens": sums["cache_write_tokens"],
        "total_tokens": sums["input_tokens"] + sums["output_tokens"],
        "successful_requests": sums["calls"] - sums["failures"],
        "failed_requests": sums["failures"],
        "api_requests": sums["calls"],
    }


def days_back(today: date, days: int) -> tuple[date, date]:
    """The last so many days, today with them."""
    return today - timedelta(days=days - 1), today
