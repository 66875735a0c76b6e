"""What deployments have taught us: optional parameters and beta flags that they refuse, what they call the output limit.

What must stay true: a lesson is tried once, with a call that has failed for it, and remembered only after the call succeeded; only
optional parameters are left out, and never against the operator's will (`drop_params: false`, `learn_params: false`).
"""

import logging
import re
from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from wayport.core.errors import Fault
from wayport.dialects.dialect import takes_beta
from wayport.dialects.prose import BETAS
from wayport.pipeline.betas import named
from wayport.pipeline.call import Call
from wayport.routing.snapshot import Deployment

log = logging.getLogger("wayport.pipeline")

_OPTIONAL = frozenset({
    "temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty", "seed", "logit_bias", "logprobs",
    "top_logprobs", "stop", "user", "parallel_tool_calls", "reasoning_effort", "reasoning", "verbosity", "service_tier",
    "store", "metadata", "prediction", "prompt_cache_key", "prompt_cache_retention", "safety_identifier",
    "stream_options", "thinking", "output_config", "context_management", "web_search_options", "truncation", "include",
})  # fmt: skip
_LIMITS = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
MOST_LESSONS = 3
"""of one call, each about something else: agents send several things at once that a target does not know"""
_MOST = 4096
_MOST_BETAS = 64
_BETA_CHARS = 100


class _Learned(Struct, frozen=True):
    """Of one deployment."""

    refused: frozenset[str] = frozenset()
    betas: frozenset[str] = frozenset()
    limit: str | None = None
    """its name for the output limit"""


class Lessons:
    """Kept per worker, by the deployment's id: they survive a reload."""

    def __init__(self) -> None:
        self._learned: dict[str, _Learned] = {}
        self._taught: dict[str, tuple[Deployment, Deployment]] = {}

    def __iter__(self) -> Iterator[tuple[str, list[str]]]:
        """Deployment and what was learned of it, for those who look."""
        for deployment_id in self._learned:
            yield deployment_id, self.of(deployment_id)

    def of(self, deployment_id: str) -> list[str]:
        """What was learned of a deployment, in words."""
        known = self._learned.get(deployment_id)
        if known is None:
            return []
        limit = [f"{known.limit} instead of {_LIMITS[known.limit]}"] if known.limit else []
        return [*sorted(known.refused), *(f"{BETAS}: {beta}" for beta in sorted(known.betas)), *limit]

    def taught(self, deployment: Deployment) -> Deployment:
        """The deployment with what was learned in its profile. Nearly always itself."""
        if deployment.id not in self._learned:
            return deployment
        known = self._taught.get(deployment.id)
        if known is None or known[0] is not deployment:
            known = self._taught[deployment.id] = (deployment, _with(deployment, self._learned[deployment.id]))
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
            return None if deployment.profile.max_tokens_field == other else _with(deployment, _Learned(limit=other))
        if name == BETAS:
            betas = _refused(call, deployment, fault)
            return _with(deployment, _Learned(betas=betas)) if betas else None
        if name not in _OPTIONAL or name in deployment.profile.unsupported:
            return None
        return _with(deployment, _Learned(refused=frozenset({name})))

    def keep(self, deployment: Deployment, taught: Deployment) -> None:
        """`taught` has answered what `deployment` refused: from now on it is asked so."""
        if len(self._learned) >= _MOST and deployment.id not in self._learned:
            return
        known = self._learned.get(deployment.id, _Learned())
        new, old = taught.profile, deployment.profile
        self._learned[deployment.id] = _Learned(
            refused=known.refused | (new.unsupported - old.unsupported),
            betas=frozenset(sorted(known.betas | (new.refused_betas - old.refused_betas))[:_MOST_BETAS]),
            limit=new.max_tokens_field if new.max_tokens_field != old.max_tokens_field else known.limit,
        )
        self._taught.pop(deployment.id, None)
        log.info(
            "a deployment is asked differently from now on",
            extra={"deployment": deployment.id, "model": deployment.model, "learned": self.of(deployment.id)},
        )


def _refused(call: Call, deployment: Deployment, fault: Fault) -> frozenset[str]:
    """The client's beta flags that the fault names; all of them if it names none."""
    sent = [
        beta for beta in named(call.client.header) if takes_beta(deployment.profile, beta) and len(beta) <= _BETA_CHARS
    ]
    stated = [beta for beta in sent if re.search(rf"(?<![\w-]){re.escape(beta)}(?![\w-])", fault.message)]
    return frozenset(stated or sent)


def _with(deployment: Deployment, learned: _Learned) -> Deployment:
    profile = deployment.profile
    profile = replace(
        profile,
        unsupported=profile.unsupported | learned.refused,
        refused_betas=profile.refused_betas | learned.betas,
    )
    if learned.limit is not None:
        profile = replace(profile, max_tokens_field=learned.limit)
    return replace(deployment, profile=profile)
