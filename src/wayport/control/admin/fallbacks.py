"""Fallbacks of models, to be changed while Wayport runs. Those that stand in the configuration are changed there."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from wayport.access.audit import Action
from wayport.access.principal import Principal
from wayport.config.settings import ModelSettings
from wayport.control.admin import changes
from wayport.control.admin.config import in_its_file
from wayport.control.admin.fields import Id
from wayport.control.admin.parts import Parts
from wayport.control.stored_fallbacks import Kind, those_of
from wayport.core.errors import BadRequest, RouteNotFound, WayportError

_TABLE = "fallbacks"
_KIND = Annotated[Kind, Field(description="After which failures: any, too long a request, or refused content.")]


class FallbackIn(BaseModel):
    model: Id
    fallback_models: list[Id] = Field(min_length=1, description="Who takes over, in this order.")
    fallback_type: _KIND = "general"


def routes(parts: Parts) -> APIRouter:
    router = APIRouter(prefix="/fallback", tags=["models"])
    admin = Annotated[Principal, Depends(parts.callers.admin)]
    reader = Annotated[Principal, Depends(parts.callers.reader)]
    stored = parts.models.fallbacks

    def configured(model: str, kind: Kind) -> bool:
        """Whether the configuration names any; those of the database are in the settings in force, too."""
        known = _model(parts, model)
        return known is not None and those_of(known, kind) != () and model not in parts.models.source.fallbacks(kind)

    async def change(model: str, kind: Kind, names: list[str], caller: Principal) -> bool:
        """Whether it had any before."""
        if configured(model, kind):
            raise in_its_file(parts.models.settings().file)
        before = await stored.put(kind, model, names)
        await parts.models.changed()
        action: Action = "deleted" if not names else "updated" if before else "created"
        await changes.note(
            parts, caller, action, _TABLE, model, before=_line(kind, before or ()), after=_line(kind, names)
        )
        return bool(before)

    @router.post("", summary="Who takes over when a model fails")
    async def put(body: FallbackIn, caller: admin) -> dict[str, Any]:
        if _model(parts, body.model) is None:
            raise RouteNotFound(f"Model '{body.model}' not found in router", param="model", code="model_not_found")
        snapshot = parts.models.snapshot()
        wrong = [name for name in body.fallback_models if name not in snapshot.models and name not in snapshot.aliases]
        if wrong:
            raise BadRequest(f"Invalid fallback models: {wrong}", param="fallback_models")
        if body.model in body.fallback_models:
            raise BadRequest(f"Model '{body.model}' cannot be its own fallback", param="fallback_models")
        names = list(dict.fromkeys(body.fallback_models))
        had = await change(body.model, body.fallback_type, names, caller)
        return {
            "model": body.model,
            "fallback_models": names,
            "fallback_type": body.fallback_type,
            "message": f"Fallback configuration {'updated' if had else 'created'} successfully",
        }

    @router.get("/{model:path}", summary="Who takes over from this model")
    async def get(model: str, _: reader, fallback_type: _KIND = "general") -> dict[str, Any]:
        known = _model(parts, model)
        names = those_of(known, fallback_type) if known is not None else ()
        if not names and known is not None and fallback_type == "general":
            names = parts.models.settings().router.fallbacks.default
        if not names:
            raise _none(model, fallback_type)
        return {"model": model, "fallback_models": names, "fallback_type": fallback_type}

    @router.delete("/{model:path}", summary="Nobody takes over from this model any more")
    async def delete(model: str, caller: admin, fallback_type: _KIND = "general") -> dict[str, Any]:
        if not configured(model, fallback_type) and model not in parts.models.source.fallbacks(fallback_type):
            raise _none(model, fallback_type)
        await change(model, fallback_type, [], caller)
        return {
            "model": model,
            "fallback_type": fallback_type,
            "message": "Fallback configuration deleted successfully",
        }

    return router


def _model(parts: Parts, name: str) -> ModelSettings | None:
    return next((model for model in parts.models.settings().models if model.name == name), None)


def _line(kind: Kind, names: object) -> dict[str, object]:
    return {"fallback_type": kind, "fallback_models": names}


def _none(model: str, kind: Kind) -> WayportError:
    return RouteNotFound(
        f"No {kind} fallbacks configured for model '{model}'", param="model", code="fallback_not_found"
    )
