"""Spend by whatever one asks for, exact to the nano-dollar: what `wayport spend` and CSV exports are made of."""

import csv
import io
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from wayport.access.principal import Principal
from wayport.control.admin.activity import day_of, days_back
from wayport.control.admin.parts import Parts
from wayport.control.admin.scope import own_of
from wayport.core.money import usd_text
from wayport.ledger.days import zone_of
from wayport.ledger.reports import Kind, Line, Name, Reports, Wanted

By = Literal[
    "team", "user", "key", "organization", "model", "upstream_model", "provider", "operation", "tag", "customer"
]
_NAMES: dict[By, tuple[Kind, Name]] = {
    "team": ("all", "team_id"),
    "user": ("all", "user_id"),
    "key": ("all", "key_hash"),
    "organization": ("all", "organization_id"),
    "model": ("all", "model"),
    "upstream_model": ("all", "upstream_model"),
    "provider": ("all", "provider"),
    "operation": ("all", "operation"),
    "tag": ("tag", "holder"),
    "customer": ("end_user", "holder"),
}
_SUMS = ("calls", "failures", "unpriced", "input_tokens", "output_tokens", "spend_nano_usd")


def routes(parts: Parts) -> APIRouter:
    router = APIRouter(tags=["spend"])
    anyone = Annotated[Principal, Depends(parts.callers.anyone)]
    reports = Reports(parts.database)

    @router.get("/v1/spend", summary="Spend by team, user, key, model …, by day or in all; also as CSV")
    async def sums(  # noqa: PLR0917 (FastAPI reads its parameters from here)
        caller: anyone,
        by: By = "team",
        start_date: Annotated[str | None, Query(description="The first day; 30 days ago if nothing is said.")] = None,
        end_date: Annotated[str | None, Query(description="The last day, whole; today if nothing is said.")] = None,
        timezone: Annotated[str | None, Query(description="`Europe/Berlin`, or minutes west of UTC.")] = None,
        daily: Annotated[bool, Query(description="A line for each day.")] = False,  # noqa: FBT002 (as above)
        form: Annotated[Literal["json", "csv"], Query(alias="format")] = "json",
    ) -> Response:
        zone = zone_of(timezone)
        first, last = days_back(datetime.fromtimestamp(parts.clock.now_s(), tz=UTC).astimezone(zone).date(), 30)
        kind, name = _NAMES[by]
        lines = await reports.by_day(
            Wanted(kind=kind, own=await own_of(parts, caller)),
            [name],
            first=day_of(start_date, "start_date") if start_date else first,
            last=day_of(end_date, "end_date") if end_date else last,
            zone=zone,
        )
        rows = _rows(lines, by, daily=daily)
        columns = [*(["date"] if daily else []), by, "spend_usd", *_SUMS]
        return (
            PlainTextResponse(_csv(rows, columns), media_type="text/csv")
            if form == "csv"
            else JSONResponse({"data": rows})
        )

    return router


def _rows(lines: list[Line], by: By, *, daily: bool) -> list[dict[str, Any]]:
    """The dearest first; with `daily` day by day."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    for line in lines:
        into = found.setdefault((line.day.isoformat() if daily else "", line.names[0]), dict.fromkeys(_SUMS, 0))
        for measure in _SUMS:
            into[measure] += line.sums[measure]
    ordered = sorted(found.items(), key=lambda item: (item[0][0], -item[1]["spend_nano_usd"], item[0][1]))
    return [
        {**({"date": day} if daily else {}), by: name, "spend_usd": usd_text(sums["spend_nano_usd"]), **sums}
        for (day, name), sums in ordered
    ]


def _csv(rows: list[dict[str, Any]], columns: list[str]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows({name: _harmless(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def _harmless(value: Any) -> Any:
    """A name that a spreadsheet would take for a formula is not one."""
    return f"'{value}" if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"} else value
