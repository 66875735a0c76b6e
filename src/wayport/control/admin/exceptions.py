"""`/global/activity/exceptions`: on which days calls of a model ended at a rate limit, in all and by deployment, in LiteLLM's
shapes. It is told of the request log, as far back as that is kept.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from sqlalchemy import Integer, cast, func, select

from wayport.access.principal import Principal
from wayport.control.admin.activity import day_of, days_back
from wayport.control.admin.parts import Parts
from wayport.core.errors import BadRequest
from wayport.ledger.days import MOST_DAYS
from wayport.storage.tables import calls

_DEFAULT_DAYS = 30
_DAY_S = 86_400
_RATE_LIMITED = 429
_NAME = "num_rate_limit_exceptions"
_MOST_DEPLOYMENTS = 10

_Line = tuple[date, str, int]
"""a day, a deployment, and how many"""


def routes(parts: Parts) -> APIRouter:
    router = APIRouter(prefix="/global/activity/exceptions", tags=["activity"])
    reader = Annotated[Principal, Depends(parts.callers.reader)]
    first_day = Annotated[str | None, Query(description="The first day, UTC; 30 days ago if nothing is said.")]
    last_day = Annotated[str | None, Query(description="The last day, whole; today if nothing is said.")]
    group = Annotated[str | None, Query(description="The model, by its public name; all if nothing is said.")]

    async def lines(model: str | None, start_date: str | None, end_date: str | None) -> Sequence[_Line]:
        today = datetime.fromtimestamp(parts.clock.now_s(), tz=UTC).date()
        first, last = days_back(today, _DEFAULT_DAYS)
        first = day_of(start_date, "start_date") if start_date else first
        last = day_of(end_date, "end_date") if end_date else last
        if last < first or (last - first).days > MOST_DAYS:
            raise BadRequest(f"`end_date` must be after `start_date`, by at most {MOST_DAYS} days.", param="end_date")
        day = cast(func.floor(calls.c.started_s / _DAY_S), Integer)
        found = (
            select(day, calls.c.deployment, func.count())
            .where(
                calls.c.http_status == _RATE_LIMITED,
                calls.c.started_s >= _moment(first),
                calls.c.started_s < _moment(last + timedelta(days=1)),
            )
            .group_by(day, calls.c.deployment)
            .order_by(day)
        )
        if model:
            found = found.where(calls.c.model == model)
        async with parts.database.read() as connection:
            rows = await connection.execute(found)
            return [(date(1970, 1, 1) + timedelta(days=row[0]), row[1], row[2]) for row in rows]

    @router.get("", summary="Calls that ended at a rate limit, by day")
    async def by_day(
        _: reader, model_group: group = None, start_date: first_day = None, end_date: last_day = None
    ) -> dict[str, Any]:
        return _shown(await lines(model_group, start_date, end_date))

    @router.get("/deployment", summary="The same by deployment, those with the most")
    async def by_deployment(
        _: reader, model_group: group = None, start_date: first_day = None, end_date: last_day = None
    ) -> list[dict[str, Any]]:
        found: dict[str, list[_Line]] = {}
        for line in await lines(model_group, start_date, end_date):
            found.setdefault(line[1], []).append(line)
        addresses = {
            deployment.id: deployment.base_url
            for model in parts.models.snapshot().models.values()
            for deployment in model.deployments
        }
        told = [{"api_base": addresses.get(name) or name, **_shown(some)} for name, some in found.items()]
        return sorted(told, key=lambda each: -each[f"sum_{_NAME}"])[:_MOST_DEPLOYMENTS]

    return router


def _moment(day: date) -> float:
    return datetime.combine(day, time(), UTC).timestamp()


def _shown(lines: Sequence[_Line]) -> dict[str, Any]:
    days: dict[date, int] = {}
    for day, _, count in lines:
        days[day] = days.get(day, 0) + count
    return {
        "daily_data": [{"date": day.isoformat(), _NAME: count} for day, count in days.items()],
        f"sum_{_NAME}": sum(days.values()),
    }
