"""Budgets of providers and deployments, and what is left of them."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from wayport.access.principal import Principal
from wayport.control.admin.parts import Parts
from wayport.control.admin.words import iso
from wayport.control.effective import Line
from wayport.core.errors import RouteNotFound
from wayport.core.money import NANO_PER_USD
from wayport.observe.metrics import Gauge


def routes(parts: Parts) -> APIRouter:
    router = APIRouter(tags=["budgets"])
    reader = Annotated[Principal, Depends(parts.callers.reader)]

    @router.get("/provider/budgets", summary="What providers and deployments may spend, and have spent")
    async def provider_budgets(_: reader) -> dict[str, Any]:
        """`providers` as LiteLLM has it; `deployments` by their id."""
        if parts.effective is None:
            raise RouteNotFound("There are no budgets here.")
        snapshot = parts.models.snapshot()
        providers = {
            name: _shown(await parts.effective.of_target(target)) for name, target in snapshot.provider_budgets.items()
        }
        deployments = {
            d.id: {"model": d.model, "provider": d.provider, **_shown(await parts.effective.of_target(d.budget))}
            for model in (*snapshot.models.values(), *snapshot.wildcards)
            for d in model.deployments
            if d.budget is not None
        }
        return {"providers": providers, "deployments": deployments}

    return router


async def gauges(parts: Parts) -> list[Gauge]:
    """What is left at each provider. Raises `Unavailable`."""
    if parts.effective is None:
        return []
    found = []
    for name, target in parts.models.snapshot().provider_budgets.items():
        left = (await parts.effective.of_target(target)).left / NANO_PER_USD
        help_text = "Dollars left of a provider's budget in its present window."
        found.append(Gauge("litellm_provider_remaining_budget_metric", help_text, {"api_provider": name}, left))
    return found


def _shown(line: Line) -> dict[str, Any]:
    return {
        "budget_limit": line.limit / NANO_PER_USD,
        "time_period": line.period or None,
        "spend": line.used / NANO_PER_USD,
        "budget_reset_at": iso(line.ends_s) if line.ends_s is not None else None,
    }
