"""Spend: the request log and what adds up in it, as LiteLLM's clients read them."""

import zlib
from collections import defaultdict
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict
from sqlalchemy import RowMapping, select

from wayport.access.keys import hash_of
from wayport.access.principal import Principal
from wayport.control.admin.parts import Parts
from wayport.control.admin.scope import own_of
from wayport.control.admin.words import iso, moment, usd
from wayport.core.errors import BadRequest, RouteNotFound
from wayport.core.money import NANO_PER_USD
from wayport.core.price import Price
from wayport.core.usage import Usage
from wayport.ledger.days import QUARTER_S
from wayport.ledger.listing import Filter, Listing, Page, Sort
from wayport.ledger.pricing import cost
from wayport.ledger.reports import Reports, Wanted
from wayport.observe.metric_names import litellms_class
from wayport.observe.payload import breakdown
from wayport.storage.tables import keys, spend, users

_CALL_TYPES = {"chat": "acompletion", "completions": "atext_completion", "embeddings": "aembedding"}
_DAY_S = 86_400
_BYTES_PER_TOKEN = 4
_UNKNOWN = "unknown-model"


class Calculate(BaseModel):
    """`model` with `messages`, or the whole answer of a call as `completion_response`."""

    model_config = ConfigDict(extra="allow")

    model: str | None = None
    messages: list[Any] | None = None
    completion_response: dict[str, Any] | None = None


def routes(parts: Parts) -> APIRouter:
    router = APIRouter(prefix="/spend", tags=["spend"])
    anyone = Annotated[Principal, Depends(parts.callers.anyone)]
    reader = Annotated[Principal, Depends(parts.callers.reader)]
    listing = Listing(parts.database)
    reports = Reports(parts.database)

    @router.get("/logs", summary="Calls, newest first; or what they cost by day")
    async def logs(  # noqa: PLR0917 (FastAPI reads its parameters from here)
        caller: anyone,
        api_key: Annotated[str | None, Query(description="A key or its hash.")] = None,
        user_id: str | None = None,
        request_id: str | None = None,
        start_date: Annotated[str | None, Query(description="From this day or moment on, UTC.")] = None,
        end_date: Annotated[str | None, Query(description="Until this moment, or the end of this day, UTC.")] = None,
        summarize: Annotated[bool, Query(description="With both dates: sums by day instead of calls.")] = True,  # noqa: FBT002 (as above)
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1_000,
    ) -> list[dict[str, Any]]:
        wanted = Filter(
            key_hash=hash_of(api_key) if api_key else None,
            user_id=user_id or None,
            request_id=request_id or None,
            since_s=moment(start_date, param="start_date") if start_date else None,
            until_s=moment(end_date, param="end_date", end=True) if end_date else None,
            own=await own_of(parts, caller),
        )
        if start_date and end_date and summarize and not request_id:
            return await _by_day(reports, wanted)
        return [log_row(row, parts) for row in await listing.rows(wanted, limit=limit)]

    @router.get("/logs/v2", summary="Calls by pages")
    @router.get("/logs/ui", include_in_schema=False)
    async def logs_by_page(  # noqa: PLR0917 (as above)
        caller: anyone,
        api_key: str | None = None,
        user_id: str | None = None,
        request_id: str | None = None,
        session_id: str | None = None,
        team_id: str | None = None,
        organization_id: str | None = None,
        end_user: str | None = None,
        key_alias: str | None = None,
        model: Annotated[str | None, Query(description="The model's public name.")] = None,
        model_id: Annotated[str | None, Query(description="A deployment.")] = None,
        provider: str | None = None,
        error_code: Annotated[str | None, Query(description="The class of the error, as `rate_limit`.")] = None,
        status_filter: Literal["success", "failure"] | None = None,
        min_spend: Annotated[float | None, Query(ge=0, le=1e9)] = None,
        max_spend: Annotated[float | None, Query(ge=0, le=1e9)] = None,
        start_date: str | None = None,
        end_date: str | None = None,
        page: Annotated[int, Query(ge=1, le=100_000)] = 1,
        page_size: Annotated[int, Query(ge=1, le=1_000)] = 50,
        sort_by: Sort = "startTime",
        sort_order: Literal["asc", "desc"] = "desc",
    ) -> dict[str, Any]:
        wanted = Filter(
            key_hash=hash_of(api_key) if api_key else None,
            user_id=user_id,
            request_id=request_id or None,
            session_id=session_id,
            team_id=team_id,
            organization_id=organization_id,
            end_user=end_user,
            key_alias=key_alias,
            model=model,
            deployment=model_id,
            provider=provider,
            error_class=error_code,
            success=None if status_filter is None else status_filter == "success",
            min_nano_usd=None if min_spend is None else round(min_spend * NANO_PER_USD),
            max_nano_usd=None if max_spend is None else round(max_spend * NANO_PER_USD),
            since_s=moment(start_date, param="start_date") if start_date else None,
            until_s=moment(end_date, param="end_date", end=True) if end_date else None,
            own=await own_of(parts, caller),
        )
        found = await listing.page(wanted, number=page, size=page_size, sort=sort_by, rising=sort_order == "asc")
        return _paged(found, page, page_size, parts)

    @router.get("/logs/session/ui", summary="The calls of one session, oldest first")
    async def session(
        caller: anyone,
        session_id: str,
        page: Annotated[int, Query(ge=1, le=100_000)] = 1,
        page_size: Annotated[int, Query(ge=1, le=1_000)] = 50,
    ) -> dict[str, Any]:
        wanted = Filter(session_id=session_id, own=await own_of(parts, caller))
        return _paged(await listing.page(wanted, number=page, size=page_size, rising=True), page, page_size, parts)

    @router.get("/logs/ui/{request_id}", summary="One call with its bodies, if they are kept")
    async def one(caller: anyone, request_id: str) -> dict[str, Any]:
        found = await listing.rows(Filter(request_id=request_id, own=await own_of(parts, caller)), limit=1)
        if not found:
            raise RouteNotFound(f"There is no call {request_id}.", param="request_id", code="call_not_found")
        kept = await listing.bodies(found[0]["call_id"])
        return {
            **log_row(found[0], parts),
            "proxy_server_request": _body(kept["request"] if kept else None),
            "response": _body(kept["response"] if kept else None),
            "record": found[0]["record"],
        }

    @router.post("/calculate", summary="What a call would cost, or has cost")
    async def calculate(_: anyone, body: Calculate) -> dict[str, Any]:
        answered = body.completion_response or {}
        name = body.model or answered.get("model")
        if not isinstance(name, str):
            raise BadRequest("Say `model` and `messages`, or `completion_response`.", param="model")
        if body.completion_response is not None:
            usage = _usage_of(answered.get("usage"))
        elif body.messages is not None:
            usage = Usage(input_tokens=len(msgspec.json.encode(body.messages)) // _BYTES_PER_TOKEN)
        else:
            raise BadRequest("Say `messages` or `completion_response`.", param="messages")
        price: Price | None = parts.price_of(name)
        if price is None:
            raise BadRequest(f"There is no price for {name}.", param="model", code="model_unpriced")
        return {"cost": usd(cost(usage, price).total_nano_usd)}

    @router.get("/keys", summary="Keys by what they have spent")
    async def by_key(_: reader) -> list[dict[str, Any]]:
        mine = (spend.c.scope == "key") & (spend.c.holder == keys.c.key_hash)
        wanted = select(keys, spend.c.spend_nano_usd).select_from(keys.outerjoin(spend, mine))
        async with parts.database.read() as connection:
            rows = list((await connection.execute(wanted)).mappings())
        rows.sort(key=lambda row: (-(row["spend_nano_usd"] or 0), row["key_hash"]))
        return [
            {
                "token": row["key_hash"],
                "key_name": row["key_name"],
                "key_alias": row["key_alias"],
                "spend": usd(row["spend_nano_usd"] or 0),
                "user_id": row["user_id"],
                "team_id": row["team_id"],
                "organization_id": row["organization_id"],
                "models": row["models"],
                "metadata": row["metadata"],
                "blocked": row["blocked"],
            }
            for row in rows
        ]

    @router.get("/users", summary="Users by what they have spent")
    async def by_user(_: reader, user_id: str | None = None) -> list[dict[str, Any]]:
        held = select(spend.c.holder, spend.c.spend_nano_usd).where(spend.c.scope == "user")
        async with parts.database.read() as connection:
            spent = {row.holder: row.spend_nano_usd for row in await connection.execute(held)}
            known = {row["id"]: row for row in (await connection.execute(select(users))).mappings()}
        names = [user_id] if user_id else sorted({*spent, *known}, key=lambda name: (-spent.get(name, 0), name))
        return [
            {
                "user_id": name,
                "user_email": known[name]["email"] if name in known else None,
                "user_role": known[name]["role"] if name in known else None,
                "models": known[name]["models"] if name in known else [],
                "spend": usd(spent.get(name, 0)),
            }
            for name in names
        ]

    @router.get("/tags", summary="Tags by what was spent on them")
    async def by_tag(
        caller: anyone, start_date: str | None = None, end_date: str | None = None
    ) -> list[dict[str, Any]]:
        since, until = quarters(start_date, end_date)
        wanted = Wanted(kind="tag", own=await own_of(parts, caller))
        found = await reports.in_all(wanted, ["holder"], since_quarter=since, until_quarter=until)
        return [
            {
                "individual_request_tag": names[0],
                "log_count": sums["calls"],
                "total_spend": usd(sums["spend_nano_usd"]),
            }
            for names, sums in found
        ]

    return router


def quarters(start_date: str | None, end_date: str | None) -> tuple[int | None, int | None]:
    """The quarter-hours from a day or moment to another, for the roll-ups: what is begun is counted whole."""
    since = int(moment(start_date, param="start_date") // QUARTER_S) if start_date else None
    until = -int(-moment(end_date, param="end_date", end=True) // QUARTER_S) if end_date else None
    return since, until


def _led_nowhere(row: RowMapping, parts: Parts) -> bool:
    """Its model means nothing here, which LiteLLM tells in words of its own."""
    return parts.compat == "litellm" and row["error_class"] == "ModelNotFound"


def _error_class(row: RowMapping, parts: Parts) -> str | None:
    stated: str | None = row["error_class"]
    if parts.compat != "litellm" or stated is None:
        return stated
    return "ProxyModelNotFoundError" if _led_nowhere(row, parts) else litellms_class(stated)


def log_row(row: RowMapping, parts: Parts) -> dict[str, Any]:
    """One call as a row of LiteLLM's spend log."""
    record = row["record"]
    ended_s = row["started_s"] + row["duration_ms"] / 1000
    first_s = None if row["first_token_ms"] is None else row["started_s"] + row["first_token_ms"] / 1000
    prompt, completion = row["input_tokens"] or 0, row["output_tokens"] or 0
    failed = row["status"] != "success"
    metadata = record.get("metadata")
    return {
        # LiteLLM's is the id of the answer, where there is one.
        "request_id": (row["upstream_id"] if parts.compat == "litellm" else None) or row["call_id"],
        "litellm_call_id": row["call_id"],
        "call_type": _CALL_TYPES.get(row["operation"], row["operation"]),
        "api_key": row["key_hash"] or "",
        "spend": usd((row["cost_nano_usd"] or 0) + row["wasted_nano_usd"]),
        "total_tokens": prompt + completion,
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "startTime": iso(row["started_s"]),
        "endTime": iso(ended_s),
        "completionStartTime": iso(first_s if first_s is not None else ended_s),
        "request_duration_ms": round(row["duration_ms"]),
        "model": row["upstream_model"] or (_UNKNOWN if _led_nowhere(row, parts) else row["model_asked"]),
        "model_id": row["deployment"],
        "model_group": row["model"] or row["model_asked"],
        "custom_llm_provider": row["provider"],
        "api_base": "",
        "user": row["user_id"] or "",
        "metadata": {
            "user_api_key": row["key_hash"],
            "user_api_key_alias": row["key_alias"],
            "user_api_key_user_id": row["user_id"],
            "user_api_key_team_id": row["team_id"],
            "user_api_key_org_id": row["organization_id"],
            "spend_logs_metadata": metadata.get("spend_logs_metadata", metadata)
            if isinstance(metadata, dict)
            else metadata,
            "requester_ip_address": record.get("client_address"),
            "user_agent": record.get("agent"),
            "status": "failure" if failed else "success",
            "error_information": {
                "error_class": _error_class(row, parts),
                "error_code": str(row["http_status"]),
                "error_message": record.get("error"),
                "llm_provider": row["provider"],
                "traceback": "",
            }
            if failed
            else None,
            "usage_object": record.get("usage"),
            "cost_breakdown": breakdown(
                record.get("cost_parts", {}), (row["cost_nano_usd"] or 0) + row["wasted_nano_usd"]
            ),
        },
        "cache_hit": "False",
        "cache_key": "Cache OFF",
        "request_tags": record.get("tags", []),
        "team_id": row["team_id"],
        "organization_id": row["organization_id"],
        "end_user": row["end_user"] or "",
        "requester_ip_address": record.get("client_address"),
        "messages": {},
        "response": {},
        "session_id": row["session_id"],
        "status": "failure" if failed else "success",
    }


def _paged(found: Page, number: int, size: int, parts: Parts) -> dict[str, Any]:
    return {
        "data": [log_row(row, parts) for row in found.rows],
        "total": found.total,
        "page": number,
        "page_size": size,
        "total_pages": -(-found.total // size),
    }


def _body(packed: bytes | None) -> Any:
    """What was kept: JSON as it is, a stream's events as text."""
    if packed is None:
        return {}
    data = zlib.decompress(packed)
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return data.decode("utf-8", "replace")


def _usage_of(given: Any) -> Usage:
    """A usage as OpenAI's and Anthropic's answers write it."""
    stated = given if isinstance(given, dict) else {}

    def number(*names: str) -> int:
        return next((int(stated[name]) for name in names if isinstance(stated.get(name), int | float)), 0)

    details = stated.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    separate = number("cache_read_input_tokens") if "input_tokens" in stated else 0
    return Usage(
        input_tokens=number("prompt_tokens", "input_tokens") + separate,
        output_tokens=number("completion_tokens", "output_tokens"),
        cache_read_tokens=cached if isinstance(cached, int) else number("cache_read_input_tokens"),
    )


async def _by_day(reports: Reports, wanted: Filter) -> list[dict[str, Any]]:
    """Sums by day of UTC. A moment within a quarter-hour counts that quarter-hour whole."""
    assert wanted.since_s is not None
    assert wanted.until_s is not None
    only = {name: [value] for name in ("key_hash", "user_id") if (value := getattr(wanted, name)) is not None}
    found = await reports.by_quarters(
        Wanted(only=only, own=wanted.own),  # type: ignore[arg-type]  # names of columns, as the loop above has them
        ["user_id", "model"],
        since_quarter=int(wanted.since_s // QUARTER_S),
        until_quarter=-int(-wanted.until_s // QUARTER_S),
        per=_DAY_S // QUARTER_S,
    )
    total: dict[int, int] = defaultdict(int)
    by_user: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    by_model: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for day, (user_id, model), sums in found:
        nano_usd = sums["spend_nano_usd"]
        total[day] += nano_usd
        by_user[day][user_id] += nano_usd
        by_model[day][model] += nano_usd
    return [
        {
            "startTime": iso(day * _DAY_S)[:10],
            "spend": usd(total[day]),
            "users": {name: usd(value) for name, value in sorted(by_user[day].items())},
            "models": {name: usd(value) for name, value in sorted(by_model[day].items())},
        }
        for day in sorted(total)
    ]
