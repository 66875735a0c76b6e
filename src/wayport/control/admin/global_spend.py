"""Spend of everybody together: `/global/spend*`, `/global/activity*`, in LiteLLM's shapes."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel
from sqlalchemy import select

from wayport.access.keys import hash_of
from wayport.access.principal import Principal
from wayport.control.admin.activity import day_of, days_back
from wayport.control.admin.parts import Parts
from wayport.control.admin.spend import quarters
from wayport.control.admin.words import usd
from wayport.ledger.days import QUARTER_S, zone_of
from wayport.ledger.reports import Line, Name, Reports, Wanted
from wayport.storage.tables import keys, teams

_DEFAULT_DAYS = 30
_FIRST_DAYS = Annotated[str | None, Query(description="The first day; 30 days ago if nothing is said.")]
_LAST_DAYS = Annotated[str | None, Query(description="The last day, whole; today if nothing is said.")]
_ZONES = Annotated[str | None, Query(description="`Europe/Berlin`, or minutes west of UTC.")]

GroupBy = Literal["team", "customer", "api_key", "user", "tag", "model", "provider", "organization"]
_GROUPS: Mapping[GroupBy, Name] = {
    "team": "team_id",
    "customer": "holder",
    "api_key": "key_hash",
    "user": "user_id",
    "tag": "holder",
    "model": "model",
    "provider": "provider",
    "organization": "organization_id",
}


class EndUsers(BaseModel):
    """Of whom and when; all may be left out."""

    api_key: str | None = None
    startTime: str | None = None  # noqa: N815 (LiteLLM's name)
    endTime: str | None = None  # noqa: N815 (as above)


def routes(parts: Parts) -> APIRouter:
    router = APIRouter(prefix="/global", tags=["spend"])
    reader = Annotated[Principal, Depends(parts.callers.reader)]
    reports = Reports(parts.database)

    def days(start_date: str | None, end_date: str | None) -> tuple[date, date]:
        today = datetime.fromtimestamp(parts.clock.now_s(), tz=UTC).date()
        first, last = days_back(today, _DEFAULT_DAYS)
        return (
            day_of(start_date, "start_date") if start_date else first,
            day_of(end_date, "end_date") if end_date else last,
        )

    async def dearest(name: Name, limit: int) -> list[tuple[str, dict[str, int]]]:
        """Of the last thirty days."""
        since = int(parts.clock.now_s() // QUARTER_S) - _DEFAULT_DAYS * 96
        found = await reports.in_all(Wanted(), [name], since_quarter=since)
        return [(names[0], sums) for names, sums in found if names[0]][:limit]

    async def key_aliases() -> dict[str, tuple[str | None, str]]:
        async with parts.database.read() as connection:
            rows = await connection.execute(select(keys.c.key_hash, keys.c.key_alias, keys.c.key_name))
            return {row.key_hash: (row.key_alias, row.key_name) for row in rows}

    async def team_names() -> dict[str, str | None]:
        async with parts.database.read() as connection:
            return {row.id: row.alias for row in await connection.execute(select(teams.c.id, teams.c.alias))}

    @router.get("/spend", summary="What all calls together have cost")
    async def everything(_: reader) -> dict[str, Any]:
        found = await reports.in_all(Wanted(), [])
        return {"spend": usd(sum(sums["spend_nano_usd"] for _, sums in found)), "max_budget": 0.0}

    @router.get("/spend/logs", summary="Spend by day")
    async def by_day(
        _: reader,
        api_key: str | None = None,
        start_date: _FIRST_DAYS = None,
        end_date: _LAST_DAYS = None,
        timezone: _ZONES = None,
    ) -> list[dict[str, Any]]:
        first, last = days(start_date, end_date)
        wanted = Wanted(only={"key_hash": [hash_of(api_key)]} if api_key else {})
        lines = await reports.by_day(wanted, [], first=first, last=last, zone=zone_of(timezone))
        return [{"date": line.day.isoformat(), "spend": usd(line.sums["spend_nano_usd"])} for line in lines]

    @router.get("/spend/keys", summary="The dearest keys of the last thirty days")
    async def by_key(_: reader, limit: Annotated[int, Query(ge=1, le=1_000)] = 10) -> list[dict[str, Any]]:
        known = await key_aliases()
        return [
            {
                "api_key": key,
                "key_alias": known.get(key, (None, ""))[0],
                "key_name": known.get(key, (None, ""))[1],
                "total_spend": usd(sums["spend_nano_usd"]),
            }
            for key, sums in await dearest("key_hash", limit)
        ]

    @router.get("/spend/models", summary="The dearest models of the last thirty days")
    async def by_model(_: reader, limit: Annotated[int, Query(ge=1, le=1_000)] = 10) -> list[dict[str, Any]]:
        return [
            {"model": name, "total_spend": usd(sums["spend_nano_usd"])} for name, sums in await dearest("model", limit)
        ]

    @router.get("/spend/provider", summary="Spend by provider")
    async def by_provider(
        _: reader, start_date: _FIRST_DAYS = None, end_date: _LAST_DAYS = None
    ) -> list[dict[str, Any]]:
        since, until = quarters(start_date, end_date)
        found = await reports.in_all(Wanted(), ["provider"], since_quarter=since, until_quarter=until)
        return [{"provider": names[0], "spend": usd(sums["spend_nano_usd"])} for names, sums in found]

    @router.get("/spend/teams", summary="Spend of teams, by day and in all")
    async def by_team(
        _: reader, start_date: _FIRST_DAYS = None, end_date: _LAST_DAYS = None, timezone: _ZONES = None
    ) -> dict[str, Any]:
        first, last = days(start_date, end_date)
        lines = await reports.by_day(Wanted(), ["team_id"], first=first, last=last, zone=zone_of(timezone))
        aliases = await team_names()
        daily: dict[str, dict[str, Any]] = {}
        total: dict[str, int] = {}
        for line in lines:
            name = aliases.get(line.names[0]) or line.names[0] or "Unassigned"
            daily.setdefault(line.day.isoformat(), {"date": line.day.isoformat()})[name] = usd(
                line.sums["spend_nano_usd"]
            )
            total[name] = total.get(name, 0) + line.sums["spend_nano_usd"]
        ordered = sorted(total, key=lambda name: -total[name])
        return {
            "daily_spend": list(daily.values()),
            "teams": ordered,
            "total_spend_per_team": [{"team_id": name, "total_spend": usd(total[name])} for name in ordered],
        }

    @router.get("/spend/tags", summary="Spend by tag")
    async def by_tag(
        _: reader, start_date: _FIRST_DAYS = None, end_date: _LAST_DAYS = None, tags: str | None = None
    ) -> dict[str, Any]:
        since, until = quarters(start_date, end_date)
        only: dict[Name, Sequence[str]] = {"holder": [tag for tag in tags.split(",") if tag]} if tags else {}
        found = await reports.in_all(
            Wanted(kind="tag", only=only), ["holder"], since_quarter=since, until_quarter=until
        )
        return {
            "spend_per_tag": [
                {"name": names[0], "spend": usd(sums["spend_nano_usd"]), "log_count": sums["calls"]}
                for names, sums in found
            ]
        }

    @router.get("/spend/all_tag_names", summary="Every tag that calls had")
    async def tag_names(_: reader) -> dict[str, Any]:
        found = await reports.in_all(Wanted(kind="tag"), ["holder"])
        return {"tag_names": sorted(names[0] for names, _ in found)}

    @router.get("/all_end_users", summary="Every end user whom calls named")
    async def end_user_names(_: reader) -> dict[str, Any]:
        found = await reports.in_all(Wanted(kind="end_user"), ["holder"])
        return {"end_users": sorted(names[0] for names, _ in found)}

    @router.post("/spend/end_users", summary="Spend by end user, the dearest hundred")
    async def by_end_user(_: reader, body: EndUsers | None = None) -> list[dict[str, Any]]:
        body = body or EndUsers()
        since, until = quarters(body.startTime, body.endTime)
        wanted = Wanted(kind="end_user", only={"key_hash": [hash_of(body.api_key)]} if body.api_key else {})
        found = await reports.in_all(wanted, ["holder"], since_quarter=since, until_quarter=until)
        return [
            {"end_user": names[0], "total_count": sums["calls"], "total_spend": usd(sums["spend_nano_usd"])}
            for names, sums in found[:100]
        ]

    @router.get("/spend/report", summary="Spend by day and group, or of one holder by key and model")
    async def report(  # noqa: PLR0917 (FastAPI reads its parameters from here)
        _: reader,
        start_date: _FIRST_DAYS = None,
        end_date: _LAST_DAYS = None,
        group_by: GroupBy | None = "team",
        api_key: str | None = None,
        internal_user_id: str | None = None,
        team_id: str | None = None,
        customer_id: str | None = None,
        timezone: _ZONES = None,
    ) -> list[dict[str, Any]]:
        first, last = days(start_date, end_date)
        only: dict[Name, Sequence[str]] = {}
        if api_key:
            only["key_hash"] = [hash_of(api_key)]
        if internal_user_id:
            only["user_id"] = [internal_user_id]
        if team_id:
            only["team_id"] = [team_id]
        if customer_id:
            only["holder"] = [customer_id]
        by_customer = bool(customer_id) or group_by == "customer"
        wanted = Wanted(kind="end_user" if by_customer else "tag" if group_by == "tag" else "all", only=only)
        group: GroupBy = "api_key" if only and group_by == "team" else group_by or "team"
        names: list[Name] = [_GROUPS[group], "upstream_model", "key_hash"]
        lines = await reports.by_day(wanted, names, first=first, last=last, zone=zone_of(timezone))
        if group == "api_key":
            return _by_key(lines)
        aliases = await team_names() if group == "team" else {}
        return _by_group(lines, group, aliases)

    @router.get("/activity", summary="Calls and tokens by day")
    async def activity(
        _: reader, start_date: _FIRST_DAYS = None, end_date: _LAST_DAYS = None, timezone: _ZONES = None
    ) -> dict[str, Any]:
        first, last = days(start_date, end_date)
        return _activity(await reports.by_day(Wanted(), [], first=first, last=last, zone=zone_of(timezone)))

    @router.get("/activity/model", summary="Calls and tokens by model and day")
    async def activity_by_model(
        _: reader, start_date: _FIRST_DAYS = None, end_date: _LAST_DAYS = None, timezone: _ZONES = None
    ) -> list[dict[str, Any]]:
        first, last = days(start_date, end_date)
        lines = await reports.by_day(Wanted(), ["model"], first=first, last=last, zone=zone_of(timezone))
        models: dict[str, list[Line]] = {}
        for line in lines:
            models.setdefault(line.names[0], []).append(line)
        return [{"model": name, **_activity(found)} for name, found in sorted(models.items())]

    @router.post("/spend/refresh", summary="Nothing to do: sums are always those of all calls")
    async def refresh(_: Annotated[Principal, Depends(parts.callers.admin)]) -> dict[str, Any]:
        return {"message": "Sums are kept with each call; there is no view to refresh.", "status": "success"}

    return router


def _activity(lines: Sequence[Line]) -> dict[str, Any]:
    daily = [
        {
            "date": line.day.isoformat(),
            "api_requests": line.sums["calls"],
            "total_tokens": line.sums["input_tokens"] + line.sums["output_tokens"],
        }
        for line in lines
    ]
    return {
        "daily_data": daily,
        "sum_api_requests": sum(line.sums["calls"] for line in lines),
        "sum_total_tokens": sum(line.sums["input_tokens"] + line.sums["output_tokens"] for line in lines),
    }


def _by_group(lines: Sequence[Line], group: GroupBy, aliases: Mapping[str, str | None]) -> list[dict[str, Any]]:
    by_day: dict[date, dict[str, list[Line]]] = {}
    for line in lines:
        by_day.setdefault(line.day, {}).setdefault(line.names[0], []).append(line)
    label = "team_name" if group == "team" else group
    return [
        {
            "group_by_day": day.isoformat(),
            f"{group}s": [
                {
                    label: aliases.get(name) or name or ("Unassigned" if group == "team" else ""),
                    "total_spend": usd(sum(line.sums["spend_nano_usd"] for line in found)),
                    "metadata": [
                        {
                            "model": line.names[1],
                            "spend": usd(line.sums["spend_nano_usd"]),
                            "total_tokens": line.sums["input_tokens"] + line.sums["output_tokens"],
                            "api_key": line.names[2],
                        }
                        for line in found
                    ],
                }
                for name, found in sorted(groups.items())
            ],
        }
        for day, groups in sorted(by_day.items())
    ]


def _by_key(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """Over the whole time, by key and model."""
    found: dict[str, dict[str, list[Line]]] = {}
    for line in lines:
        found.setdefault(line.names[2], {}).setdefault(line.names[1], []).append(line)

    def sums(some: Sequence[Line]) -> dict[str, Any]:
        return {
            "total_cost": usd(sum(line.sums["spend_nano_usd"] for line in some)),
            "total_input_tokens": sum(line.sums["input_tokens"] for line in some),
            "total_output_tokens": sum(line.sums["output_tokens"] for line in some),
        }

    return [
        {
            "api_key": key,
            **sums([line for some in models.values() for line in some]),
            "model_details": [{"model": model, **sums(some)} for model, some in sorted(models.items())],
        }
        for key, models in sorted(found.items())
    ]
