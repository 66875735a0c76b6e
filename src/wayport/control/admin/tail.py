"""The live tail: calls as they end, as server-sent events. Everybody sees their own, administrators all."""

from collections.abc import AsyncIterator
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import StreamingResponse

from wayport.access.keys import hash_of
from wayport.access.principal import Principal
from wayport.control.admin.parts import Parts
from wayport.control.admin.scope import own_of
from wayport.core.errors import BadRequest, RouteNotFound, Unavailable
from wayport.core.record import CallRecord
from wayport.ledger.reports import Own
from wayport.observe.tail import TailFilter, TooManyWatchers, event_of

QUIET_S = 15.0
_encode = msgspec.json.Encoder().encode


_FILTERS = (set(TailFilter.__struct_fields__) - {"key_hash"}) | {"api_key"}


def routes(parts: Parts) -> APIRouter:
    router = APIRouter(tags=["calls"])
    anyone = Annotated[Principal, Depends(parts.callers.anyone)]

    @router.get("/v1/calls/stream", summary="Calls as they end", response_class=StreamingResponse)
    async def stream(  # noqa: PLR0917 (FastAPI reads its parameters from here)
        request: Request,
        caller: anyone,
        model: str | None = None,
        provider: str | None = None,
        api_key: Annotated[str | None, Query(description="A key or its hash.")] = None,
        key_alias: str | None = None,
        user_id: str | None = None,
        team_id: str | None = None,
        end_user: str | None = None,
        organization_id: str | None = None,
        session_id: str | None = None,
        tag: str | None = None,
        status: Annotated[
            Literal["success", "failure", "cancelled", "cut", "failed"] | None,
            Query(description="`success`, `failure`, `cancelled`, `cut`, or `failed`: all but the first."),
        ] = None,
        slower_than_ms: float | None = None,
    ) -> StreamingResponse:
        if unknown := request.query_params.keys() - _FILTERS:
            # A filter that is passed over would show calls that nobody asked for.
            known = ", ".join(sorted(_FILTERS))
            raise BadRequest(f"There is no filter `{min(unknown)}`; there are {known}.", param=min(unknown))
        if parts.observing is None:
            raise RouteNotFound("There is no live tail here.")
        wanted = TailFilter(
            model=model,
            provider=provider,
            key_hash=hash_of(api_key) if api_key else None,
            key_alias=key_alias,
            user_id=user_id,
            team_id=team_id,
            end_user=end_user,
            organization_id=organization_id,
            session_id=session_id,
            tag=tag,
            status=status,
            slower_than_ms=slower_than_ms,
        )
        return StreamingResponse(
            _events(parts, wanted, await own_of(parts, caller)),
            media_type="text/event-stream",
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        )

    return router


async def _events(parts: Parts, wanted: TailFilter, own: Own | None) -> AsyncIterator[bytes]:
    assert parts.observing is not None

    def shows(record: CallRecord) -> bool:
        return (own is None or _is_own(own, record)) and wanted.shows(record)

    try:
        with parts.observing.tail.watch(shows) as watcher:
            yield b": watching\n\n"
            told = 0
            async for record in watcher.records(quiet_s=QUIET_S):
                if watcher.missed > told:
                    yield b"event: missed\ndata: %d\n\n" % (watcher.missed - told)
                    told = watcher.missed
                yield b": quiet\n\n" if record is None else b"data: %b\n\n" % _encode(event_of(record))
    except TooManyWatchers:
        raise Unavailable("Too many are watching already.", retry_after_s=10) from None


def _is_own(own: Own, record: CallRecord) -> bool:
    if own.user_id is not None and record.user_id == own.user_id:
        return True
    if own.user_id is None and own.key_hash is not None and record.key_hash == own.key_hash:
        return True
    return record.team_id is not None and record.team_id in own.teams
