"""What models there are: OpenAI's list, and LiteLLM's /model/info. Answered from the snapshot, without the control process."""

from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import msgspec

from wayport.access.allow import is_a_teams, may_use, of_team
from wayport.access.principal import Principal
from wayport.core.errors import BadRequest, ModelNotFound
from wayport.routing.snapshot import Deployment, Model
from wayport.routing.table import RoutingTable
from wayport.server.endpoints.known import listed

CREATED = 1_677_610_602
"""a constant, as LiteLLM gives it: an alias has no date of birth"""


def entry(name: str, model: Model | None, *, compat: bool) -> dict[str, object]:
    """One model in OpenAI's list shape. In LiteLLM mode the owner is `openai`, as its clients expect."""
    owner = model.deployments[0].provider if model is not None and model.deployments else "wayport"
    shown = {"id": name, "object": "model", "created": CREATED, "owned_by": "openai" if compat else owner}
    # Clients of LiteLLM compare its four keys; price and window are in /model/info there.
    return shown if compat or model is None else {**shown, **listed(model)}


Groups = Literal["without", "with", "only"]


def listing(
    table: RoutingTable, principal: Principal, *, groups: Groups = "without", patterns: bool = False
) -> list[dict[str, object]]:
    """The models that this principal may use, and the configuration's access groups that they are in, if asked for; and
    `patterns` in whose place models of the catalogue are listed.
    """
    compat = table.snapshot.compat == "litellm"
    models = table.snapshot.models
    expanded = [model.name for model in table.snapshot.wildcards if model.expanded] if patterns else []
    names = dict.fromkeys((*table.names(), *expanded, *own_names(table, principal))) if groups != "only" else {}
    found = [
        entry(name, models.get(name) or _behind(table, name), compat=compat)
        for name in names
        if may_see(table, principal, name)
    ]
    if groups != "without":
        found += [entry(name, None, compat=compat) for name in _groups(table, principal)]
    return found


def _groups(table: RoutingTable, principal: Principal) -> Iterable[str]:
    """Access groups of the models that this principal may use."""
    snapshot = table.snapshot
    return dict.fromkeys(
        group
        for model in (*snapshot.models.values(), *snapshot.wildcards)
        if not model.hidden and may_use(principal, model.name, model.access_groups)
        for group in model.access_groups
        if not principal.models or group in principal.models
    )


def own_names(table: RoutingTable, principal: Principal) -> Iterator[str]:
    """What this principal calls models that are its team's alone."""
    for name, target in principal.aliases.items():
        model = table.snapshot.models.get(target)
        if model is not None and principal.team_id is not None and of_team(principal.team_id) in model.access_groups:
            yield name


def may_see(table: RoutingTable, principal: Principal, name: str) -> bool:
    """Whether a name is in this principal's list of models: itself, or a group that the model behind it is in."""
    model = table.snapshot.models.get(name) or _behind(table, name)
    return may_use(principal, name, model.access_groups if model is not None else ())


def _behind(table: RoutingTable, name: str) -> Model | None:
    try:
        return table.find(name).model
    except ModelNotFound:
        return None


def one(table: RoutingTable, principal: Principal, name: str) -> dict[str, object]:
    """Raises `ModelNotFound`, also for a model that this principal may not use."""
    try:
        found = table.find(principal.aliases.get(name, name))
    except ModelNotFound as missing:
        # Calls of what is not there have another status with LiteLLM's configuration.
        raise ModelNotFound(missing.message, param="model") from None
    groups = found.model.access_groups
    if not may_use(principal, found.name, groups) and not may_use(principal, name, groups):
        raise ModelNotFound(f"The model `{name}` does not exist here, or this key may not use it.", param="model")
    return entry(name, found.model, compat=table.snapshot.compat == "litellm")


_DAY = "2023-02-28T00:00:00Z"
"""as `CREATED`"""


def _anthropic_entry(name: str) -> dict[str, object]:
    return {"type": "model", "id": name, "display_name": name, "created_at": _DAY}


def anthropic_listing(table: RoutingTable, principal: Principal) -> bytes:
    """The same list for Anthropic's SDK, which sends `anthropic-version`."""
    names = [name for name in dict.fromkeys(table.names()) if may_see(table, principal, name)]
    return encode(
        {
            "data": [_anthropic_entry(name) for name in names],
            "has_more": False,
            "first_id": names[0] if names else None,
            "last_id": names[-1] if names else None,
        }
    )


def anthropic_one(table: RoutingTable, principal: Principal, name: str) -> bytes:
    one(table, principal, name)
    return encode(_anthropic_entry(name))


def _info(deployment: Deployment, learned: list[str]) -> dict[str, object]:
    """A deployment as /model/info shows it: no secret, no address of a credential's owner."""
    params: dict[str, object] = {"model": f"{deployment.provider}/{deployment.upstream_model}"}
    if deployment.base_url:
        params["api_base"] = deployment.base_url
    for name in ("weight", "order", "rpm", "tpm"):
        if (value := getattr(deployment, name)) is not None:
            params[name] = value
    params |= deployment.told
    info: dict[str, object] = {
        "id": deployment.id,
        "db_model": False,
        "key": f"{deployment.provider}/{deployment.upstream_model}",
        "mode": deployment.mode,
        "litellm_provider": deployment.provider,
        **deployment.info,
    }
    if deployment.missing:
        info["unavailable"] = f"set {' or '.join(deployment.missing)}"
    if learned:
        info["learned"] = learned
    public = deployment.info.get("team_public_model_name")
    return {"model_name": public or deployment.model, "litellm_params": params, "model_info": info}


def info(
    table: RoutingTable, principal: Principal, *, learned: Callable[[str], list[str]], model_id: str | None = None
) -> dict[str, object]:
    """LiteLLM's `GET /model/info`: one entry a deployment. `learned`: what a deployment (its id) has taught this worker."""
    snapshot = table.snapshot
    models: Iterable[Model] = (*snapshot.models.values(), *snapshot.wildcards, *snapshot.blocked)
    data = [
        _info(deployment, learned(deployment.id))
        for model in models
        if (not model.hidden or is_a_teams(model.access_groups)) and may_use(principal, model.name, model.access_groups)
        for deployment in model.deployments
        if model_id is None or deployment.id == model_id
    ]
    if model_id is not None and not data:
        if snapshot.compat == "litellm":
            raise BadRequest(f"Model id = {model_id} not found on litellm proxy", param="litellm_model_id")
        raise ModelNotFound(f"No deployment has the id `{model_id}`.", param="litellm_model_id")
    return {"data": data}


encode = msgspec.json.Encoder().encode
