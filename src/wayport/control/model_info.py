"""What the routing facts say of models, as LiteLLM's clients read it."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from wayport.access.allow import is_a_teams
from wayport.routing.snapshot import Deployment, Model, Snapshot

Usable = Callable[[str, tuple[str, ...]], bool]
"""a model's name and its access groups to whether the caller may use it"""


def _listed(snapshot: Snapshot, usable: Usable) -> Iterator[Model]:
    for model in (*snapshot.models.values(), *snapshot.wildcards, *snapshot.blocked):
        if (not model.hidden or is_a_teams(model.access_groups)) and usable(model.name, model.access_groups):
            yield model


def _facts(deployment: Deployment) -> dict[str, Any]:
    return {name: msgspec.json.decode(value) for name, value in deployment.info.items()}


def entries(snapshot: Snapshot, usable: Usable) -> list[dict[str, Any]]:
    """One entry a deployment; no secret is in it."""
    return [_entry(deployment) for model in _listed(snapshot, usable) for deployment in model.deployments]


def _entry(deployment: Deployment) -> dict[str, Any]:
    params: dict[str, Any] = {"model": f"{deployment.provider}/{deployment.upstream_model}"}
    if deployment.base_url:
        params["api_base"] = deployment.base_url
    for name in ("weight", "order", "rpm", "tpm"):
        if (value := getattr(deployment, name)) is not None:
            params[name] = value
    params |= {name: msgspec.json.decode(value) for name, value in deployment.told.items()}
    info = {
        "id": deployment.id,
        "db_model": False,
        "mode": deployment.mode,
        "litellm_provider": deployment.provider,
        **_facts(deployment),
    }
    if deployment.missing:
        info["unavailable"] = f"set {' or '.join(deployment.missing)}"
    name = info.get("team_public_model_name") or deployment.model
    return {"model_name": name, "litellm_params": params, "model_info": info}
