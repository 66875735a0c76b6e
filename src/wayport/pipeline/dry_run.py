"""The answer to `x-wayport-dry-run: true`: where the call would go, and where then, without any call."""

from typing import Any

import msgspec

from wayport.pipeline.answer_head import JSON, head_lines
from wayport.pipeline.call import Call
from wayport.routing.filters import NOT_PERMITTED
from wayport.routing.plan import Plan

_encode = msgspec.json.Encoder().encode


def tell_plan(call: Call, plan: Plan, now_s: float) -> None:
    """Answers and ends the call: it costs nothing and leaves no record. Raises what a real call would be refused with."""
    steps = plan.outlook(now_s)
    names: dict[str, dict[str, Any]] = {}
    for found in plan.reachable():
        for deployment in found.deployments:
            names[deployment.id] = {
                "model": deployment.model,
                "provider": deployment.provider,
                "upstream_model": deployment.upstream_model,
            }
    mentioned = {each for step in steps for each in (step.chosen, *step.scores)}
    # What a key may not use it need not know by name.
    mentioned |= {each for step in steps for each, why in step.removed.items() if why != NOT_PERMITTED}
    told = {
        "object": "wayport.plan",
        "model": call.model_asked,
        "stream": call.stream,
        "steps": msgspec.to_builtins(steps),
        "deployments": {name: facts for name, facts in names.items() if name in mentioned},
    }
    call.ended = True
    call.client.respond(200, head_lines(call, JSON), _encode(told))
