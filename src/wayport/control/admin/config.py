"""The configuration in force, to be read. It changes in its file, as an answer to whoever would write says; models and
credentials change over HTTP, too.
"""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends

from wayport.access.principal import Principal
from wayport.config.settings import Settings
from wayport.control.admin.parts import Parts
from wayport.core.errors import BadRequest, RouteNotFound, WayportError


def routes(parts: Parts) -> APIRouter:
    router = APIRouter(tags=["config"])
    _settings(router, parts)
    _callbacks(router, parts)
    _given(router, parts)
    _changing(router, parts)
    return router


def _general(settings: Settings) -> dict[str, Any]:
    """What LiteLLM calls `general_settings`, as far as it may be told."""
    return {
        "master_key": "***" if settings.auth.master_keys else None,
        "database_url": "***" if settings.storage.database_url else None,
        "litellm_key_header_name": next(iter(settings.auth.header_names), None),
        "max_request_size_mb": settings.server.limits.body_bytes / 2**20,
        "max_in_flight_requests_per_worker": settings.server.limits.calls_in_flight,
        "trusted_proxy_ranges": list(settings.server.trusted_proxies),
        "alerting": None,
    }


def _router(settings: Settings) -> dict[str, Any]:
    router = settings.router
    return {
        "routing_strategy": router.strategy,
        "num_retries": router.num_retries,
        "timeout": router.request_timeout_s,
        "stream_timeout": router.first_byte_timeout_s,
        "cooldown_time": router.cooldown_s,
        "max_fallbacks": router.fallbacks.max_hops,
        "default_fallbacks": list(router.fallbacks.default),
        "fallbacks": [{model.name: list(model.fallbacks)} for model in settings.models if model.fallbacks],
        "model_group_alias": {name: alias.to for name, alias in settings.aliases.items()},
    }


def _settings(router: APIRouter, parts: Parts) -> None:
    reader = Annotated[Principal, Depends(parts.callers.reader)]

    @router.get("/config/list", summary="General settings with their values")
    async def list_all(
        _: reader, config_type: Literal["general_settings", "router_settings"] = "general_settings"
    ) -> list[dict[str, Any]]:
        settings = parts.models.settings()
        values = _general(settings) if config_type == "general_settings" else _router(settings)
        return [
            {
                "field_name": name,
                "field_type": type(value).__name__ if value is not None else "String",
                "field_description": "",
                "field_value": value,
                "stored_in_db": False,
                "field_default_value": None,
            }
            for name, value in values.items()
        ]

    @router.get("/config/field/info", summary="One general setting")
    async def field(_: reader, field_name: str) -> dict[str, Any]:
        values = _general(parts.models.settings())
        if field_name not in values:
            raise RouteNotFound(f"There is no setting {field_name}.", param="field_name", code="setting_not_found")
        return {"field_name": field_name, "field_value": values[field_name]}

    @router.get("/router/settings", summary="How models are routed")
    async def router_settings(_: reader) -> dict[str, Any]:
        return {"current_values": _router(parts.models.settings()), "fields": []}


def _callbacks(router: APIRouter, parts: Parts) -> None:
    reader = Annotated[Principal, Depends(parts.callers.reader)]

    def by_phase() -> dict[str, list[str]]:
        found: dict[str, list[str]] = {"success": [], "failure": [], "success_and_failure": []}
        for callback in parts.models.settings().callbacks:
            both = len(callback.on) > 1
            found["success_and_failure" if both else callback.on[0]].append(callback.name)
        return found

    @router.get("/callbacks/list", summary="Callbacks by what they are told of")
    async def callbacks(_: reader) -> dict[str, list[str]]:
        return by_phase()

    @router.get("/get/config/callbacks", summary="Callbacks, alerts and routing")
    async def config(_: reader) -> dict[str, Any]:
        settings = parts.models.settings()
        return {
            "status": "success",
            "callbacks": [
                {
                    "name": callback.name,
                    "variables": dict.fromkeys(callback.params, "***"),
                    "type": "_and_".join(callback.on),
                }
                for callback in settings.callbacks
            ],
            "alerts": [],
            "router_settings": _router(settings),
            "available_callbacks": {},
        }

    async def active(_: reader) -> dict[str, Any]:
        phases = by_phase()
        both = phases["success_and_failure"]
        settings = parts.models.settings()
        return {
            "alerting": None,
            "litellm.callbacks": both,
            "litellm.input_callback": [],
            "litellm.success_callback": [*phases["success"], *both],
            "litellm.failure_callback": [*phases["failure"], *both],
            "num_callbacks": len(settings.callbacks),
            "num_alerting": 0,
            "litellm.request_timeout": settings.router.request_timeout_s,
        }

    for path in ("/active/callbacks", "/settings"):
        router.get(path, summary="Which callbacks are told of calls")(active)

    @router.get("/health/services", summary="Whether a callback of the configuration is there")
    async def service(_: reader, service: str) -> dict[str, Any]:
        names = {callback.name for callback in parts.models.settings().callbacks}
        if service not in names:
            raise RouteNotFound(f"There is no callback {service}.", param="service", code="callback_not_found")
        return {"status": "success", "message": f"{service} is configured"}


def _given(router: APIRouter, parts: Parts) -> None:
    """What new users and teams get, which LiteLLM's clients ask for under these names."""
    reader = Annotated[Principal, Depends(parts.callers.reader)]

    @router.get("/get/internal_user_settings", summary="What new users get")
    async def users(_: reader) -> dict[str, Any]:
        return {"values": parts.models.settings().management.for_users, "field_schema": {}}

    @router.get("/get/default_team_settings", summary="What new teams get")
    async def teams(_: reader) -> dict[str, Any]:
        return {"values": parts.models.settings().management.for_teams, "field_schema": {}}


_WRITES = (
    ("POST", "/config/update"),
    ("POST", "/config/field/update"),
    ("POST", "/config/field/delete"),
    ("POST", "/config/callback/delete"),
    ("POST", "/cache/settings"),
    ("PATCH", "/update/internal_user_settings"),
    ("PATCH", "/update/default_team_settings"),
)
"""by which LiteLLM's clients change the configuration"""


def _changing(router: APIRouter, parts: Parts) -> None:
    admin = Annotated[Principal, Depends(parts.callers.admin)]

    async def refuse(_: admin) -> None:
        raise in_its_file(parts.models.settings().file)

    for method, path in _WRITES:
        router.add_api_route(
            path, refuse, methods=[method], include_in_schema=False, summary="Refused: says where to change it"
        )


def in_its_file(file: str | None) -> WayportError:
    where = f"its file, {file}" if file else "a file (`wayport serve --config`), which there is none of"
    return BadRequest(
        f"The configuration is not changed over HTTP but in {where}; what is saved there holds at once. Models and credentials "
        "can be added with /model/new and /credentials.",
        code="configuration_read_only",
    )
