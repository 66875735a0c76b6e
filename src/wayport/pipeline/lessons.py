"""What deployments have taught us: optional parameters that they refuse, and what they call the output limit.

What must stay true: a lesson is tried once, with a call that has failed for it, and remembered only after it helped; only
optional parameters are left out, and never against the operator's will (`drop_params: false`, `learn_params: false`).
"""

from collections.abc import Iterator

from msgspec.structs import replace

from wayport.core.errors import Fault
from wayport.pipeline.call import Call
from wayport.routing.snapshot import Deployment

_OPTIONAL = frozenset({
    "temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty", "seed", "logit_bias", "logprobs",
    "top_logprobs", "stop", "user", "parallel_tool_calls", "reasoning_effort", "reasoning", "verbosity", "service_tier",
    "store", "metadata", "prediction", "prompt_cache_key", "prompt_cache_retention", "safety_identifier",
    "stream_options", "thinking", "output_config", "context_management", "web_search_options", "truncation", "include",
})  # fmt: skip
_LIMITS = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
_MOST = 4096


class Lessons:
    """Kept per worker, by the deployment's id: they survive a reload."""

    def __init__(self) -> None:
        self._learned: dict[str, tuple[frozenset[str], str | None]] = {}
        """deployment to the parameters it refuses and its name for the output limit"""
        self._taught: dict[str, tuple[Deployment, Deployment]] = {}

    def __iter__(self) -> Iterator[tuple[str, list[str]]]:
        """Deployment and what was learned of it, for those who look."""
        for deployment_id, (refused, limit) in self._learned.items():
            yield deployment_id, sorted(refused) + ([f"{limit} instead of {_LIMITS[limit]}"] if limit else [])

    def taught(self, deployment: Deployment) -> Deployment:
        """The deployment with what was learned in its profile. Nearly always itself."""
        if deployment.id not in self._learned:
            return deployment
        known = self._taught.get(deployment.id)
        if known is None or known[0] is not deployment:
            known = self._taught[deployment.id] = (deployment, _with(deployment, *self._learned[deployment.id]))
        return known[1]

    def lesson(self, call: Call, deployment: Deployment, fault: Fault) -> Deployment | None:
        """The deployment as it may want to be asked, if the fault says what was wrong and that can be left out."""
        name = (fault.param or "").partition(".")[0]
        if fault.kind != "unsupported_param" or not deployment.drop_params or call.client.started:
            return None
        assert call.snapshot is not None
        if not call.snapshot.router.learn_params:
            return None
        if name in _LIMITS and deployment.dialect == "openai_chat":
            other = _LIMITS[name]
            return None if deployment.profile.max_tokens_field == other else _with(deployment, frozenset(), other)
        if name not in _OPTIONAL or name in deployment.profile.unsupported:
            return None
        return _with(deployment, frozenset({name}), None)

    def keep(self, deployment: Deployment, taught: Deployment) -> None:
        """`taught` has answered what `deployment` refused: from now on it is asked so."""
        if len(self._learned) >= _MOST and deployment.id not in self._learned:
            return
        refused, limit = self._learned.get(deployment.id, (frozenset(), None))
        new_limit = taught.profile.max_tokens_field
        self._learned[deployment.id] = (
            refused | (taught.profile.unsupported - deployment.profile.unsupported),
            new_limit if new_limit != deployment.profile.max_tokens_field else limit,
        )
        self._taught.pop(deployment.id, None)


def _with(deployment: Deployment, refused: frozenset[str], limit: str | None) -> Deployment:
    profile = deployment.profile
    profile = replace(profile, unsupported=profile.unsupported | refused)
    if limit is not None:
        profile = replace(profile, max_tokens_field=limit)
    return replace(deployment, profile=profile)
