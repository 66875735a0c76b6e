"""The admin API. A new part of it is one file with `routes(parts)` and one line in ROUTERS."""

from collections.abc import Callable

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from wayport import __version__
from wayport.control.admin import (
    access_groups,
    activity,
    audit,
    budgets,
    cache,
    config,
    credentials,
    customers,
    docs_page,
    effective,
    exceptions,
    explain,
    fallbacks,
    global_spend,
    keys,
    metrics,
    models,
    organizations,
    projects,
    provider_budgets,
    spend,
    state,
    sums,
    tags,
    tail,
    team_callbacks,
    team_members,
    teams,
    users,
)
from wayport.control.admin.parts import Parts
from wayport.control.admin.sound import OnlySound
from wayport.core.errors import BadRequest, MethodNotAllowed, RouteNotFound, WayportError

ROUTERS: tuple[Callable[[Parts], APIRouter], ...] = (
    keys.routes,
    users.routes,
    teams.routes,
    team_members.routes,
    team_callbacks.routes,
    organizations.routes,
    projects.routes,
    customers.routes,
    budgets.routes,
    effective.routes,
    provider_budgets.routes,
    tags.routes,
    access_groups.routes,
    audit.routes,
    models.routes,
    credentials.routes,
    fallbacks.routes,
    config.routes,
    cache.routes,
    spend.routes,
    activity.routes,
    global_spend.routes,
    exceptions.routes,
    metrics.routes,
    sums.routes,
    tail.routes,
    state.routes,
    explain.routes,
    docs_page.routes,
)


_LITELLM_TYPES = {
    (400, "invalid_request_error"): "bad_request_error",
    (404, "invalid_request_error"): "not_found_error",
    (409, "invalid_request_error"): "bad_request_error",
    (403, "permission_error"): "auth_error",
}
"""what LiteLLM calls refusals that have no name of their own"""


def build_app(parts: Parts) -> FastAPI:
    app = FastAPI(
        title="Wayport",
        version=__version__,
        summary="Keys, people, spend and the state of the gateway.",
        # FastAPI's own pages load scripts from elsewhere; docs_page.py is ours.
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(OnlySound, refuse=lambda error: answer(error, parts))
    for routes in ROUTERS:
        app.include_router(routes(parts))

    @app.exception_handler(WayportError)
    async def refuse(_: Request, error: WayportError) -> JSONResponse:
        return answer(error, parts)

    @app.exception_handler(RequestValidationError)
    async def refuse_body(_: Request, error: RequestValidationError) -> JSONResponse:
        """422 with `detail`, as clients of LiteLLM's management API read it, and our own `error` beside it."""
        details = [
            {key: value for key, value in each.items() if key in {"loc", "msg", "type"}} for each in error.errors()
        ]
        first = details[0]
        if parts.compat == "litellm" and (wrong := _litellms_refusal(error)) is not None:
            return answer(wrong, parts)
        field = ".".join(str(part) for part in first["loc"][1:])
        message = f"`{field}`: {first['msg']}" if field else str(first["msg"])
        body = {"message": message, "type": "invalid_request_error", "param": field or None, "code": "422"}
        return JSONResponse({"error": body, "detail": details}, status_code=422)

    @app.exception_handler(HTTPException)
    async def refuse_route(request: Request, error: HTTPException) -> JSONResponse:
        path = request.url.path
        if error.status_code == 405:
            allowed = (error.headers or {}).get("Allow", "")
            wrong = MethodNotAllowed(f"{path} does not take {request.method}: use {allowed or 'another method'}.")
            return answer(wrong, parts, {"allow": allowed})
        return answer(RouteNotFound(f"There is no {path} here; /docs lists what there is."), parts)

    return app


def _litellms_refusal(error: RequestValidationError) -> WayportError | None:
    """Of what LiteLLM refuses after its reading of the body, with another status and other words."""
    first = error.errors()[0]
    name = str(first["loc"][-1])
    if name in {"max_budget", "soft_budget"} and first["type"] in {"greater_than_equal", "finite_number"}:
        return BadRequest(f"{name} must be a non-negative finite number. Received: {first['input']}", param=name)
    if name in {"sort_by", "sort_order"} and first["type"] == "literal_error":
        return BadRequest(f"Invalid {name}: {first['msg']}", param=name)
    return None


def answer(error: WayportError, parts: Parts, headers: dict[str, str] | None = None) -> JSONResponse:
    """An error as OpenAI's clients and LiteLLM's read it; the latter want the status as `code`."""
    code = str(error.status) if parts.compat == "litellm" else error.code
    headers = {"x-should-retry": "true" if error.retryable else "false", **(headers or {})}
    if error.retry_after_s is not None:
        headers["retry-after"] = str(max(1, round(error.retry_after_s)))
    kind = _LITELLM_TYPES.get((error.status, error.type), error.type) if parts.compat == "litellm" else error.type
    body = {"message": error.message, "type": kind, "param": error.param, "code": code}
    return JSONResponse({"error": body}, status_code=error.status, headers=headers)
