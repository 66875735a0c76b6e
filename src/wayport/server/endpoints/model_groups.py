"""LiteLLM's `GET /model_group/info`: each model that clients ask for, its deployments taken together."""

from collections.abc import Iterable

from wayport.access.principal import Principal
from wayport.routing.snapshot import Model
from wayport.routing.table import RoutingTable
from wayport.server.endpoints.known import together
from wayport.server.endpoints.models import may_see


def groups(table: RoutingTable, principal: Principal, *, wanted: str | None = None) -> dict[str, object]:
    """`wanted`: one model by its name, hidden or not."""
    models: Iterable[Model] = (*table.snapshot.models.values(), *table.snapshot.wildcards)
    shown = (model for model in models if (model.name == wanted if wanted is not None else not model.hidden))
    return {"data": [_group(model) for model in shown if may_see(table, principal, model.name)]}


def _group(model: Model) -> dict[str, object]:
    return {
        "model_group": model.name,
        "providers": list(dict.fromkeys(each.provider for each in model.deployments)),
        **together(model.deployments),
        "tpm": _sum(each.tpm for each in model.deployments),
        "rpm": _sum(each.rpm for each in model.deployments),
    }


def _sum(limits: Iterable[int | None]) -> int | None:
    found = [limit for limit in limits if limit is not None]
    return sum(found) if found else None
