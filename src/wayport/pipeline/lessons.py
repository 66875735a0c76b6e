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
from wayport.routing.snapshot import OWN_MARK, Deployment

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
_BETAS_STATED = re.compile(r"Unexpected value\(s\) (?P<values>.{1,2000}?) for the `?anthropic-beta`? header\b")
_ONLY_DEFAULT = re.compile(r"Only the default \([^()']{1,40}\) value is supported\.?$")
_VALUES_STATED = "supported values are"


class Lesson(Struct, frozen=True):
    """What one deployment does not take."""

    refused: frozenset[str] = frozenset()
    betas: tuple[str, ...] = ()
    """the latest last"""
    limit: str | None = None
    """its name for the output limit"""
    lasting: bool = True
    """False: it is about this one call, and says nothing of others"""

    def applied(self, deployment: Deployment) -> Deployment:
        """The deployment as it wants to be asked."""
        profile = deployment.profile
        profile = replace(
            profile,
            unsupported=profile.unsupported | self.refused,
            refused_betas=profile.refused_betas.union(self.betas),
        )
        if self.limit is not None:
            profile = replace(profile, max_tokens_field=self.limit)
        return replace(deployment, profile=profile)


class Lessons:
    """Kept per worker, by the deployment's id: they survive a reload."""

    def __init__(self) -> None:
        self.learned: dict[str, Lesson] = {}
        """by the deployment; of nearly all of them there is nothing"""
        self._taught: dict[str, tuple[Deployment, Deployment]] = {}

    def __iter__(self) -> Iterator[tuple[str, list[str]]]:
        """Deployment and what was learned of it, for those who look."""
        for deployment_id in self.learned:
            yield deployment_id, self.of(deployment_id)

    def of(self, deployment_id: str) -> list[str]:
        """What was learned of a deployment, in words."""
        known = self.learned.get(deployment_id)
        if known is None:
            return []
        limit = [f"{known.limit} instead of {_LIMITS[known.limit]}"] if known.limit else []
        return [*sorted(known.refused), *(f"{BETAS}: {beta}" for beta in sorted(known.betas)), *limit]

    def taught(self, deployment: Deployment) -> Deployment:
        """The deployment with what was learned in its profile. Nearly always itself."""
        if deployment.id not in self.learned:
            return deployment
        known = self._taught.get(deployment.id)
        if known is None or known[0] is not deployment:
            known = self._taught[deployment.id] = (
                deployment,
                self.learned[deployment.id].applied(deployment),
            )
        return known[1]

    def lesson(self, call: Call, deployment: Deployment, fault: Fault) -> Lesson | None:
        """How the deployment may want to be asked, if the fault says what was wrong and that can be left out."""
        name = (fault.param or "").partition(".")[0]
        if fault.kind != "unsupported_param" or not deployment.drop_params or call.client.started:
            return None
        assert call.snapshot is not None
        if not call.snapshot.router.learn_params or _VALUES_STATED in fault.message.lower():
            # Who says which values are good has found a bad one, and takes the parameter.
            return None
        if name == BETAS:
            return _of_betas(call, deployment, fault)
        lasting = fault.code != "unsupported_value" or _ONLY_DEFAULT.search(fault.message) is not None
        if name in _LIMITS and deployment.dialect == "openai_chat":
            other = _LIMITS[name]
            return None if deployment.profile.max_tokens_field == other else Lesson(limit=other, lasting=lasting)
        if name not in _OPTIONAL or name in deployment.profile.unsupported:
            return None
        return Lesson(refused=frozenset({name}), lasting=lasting)

    def keep(self, deployment: Deployment, lesson: Lesson) -> None:
        """With it the deployment has answered what it had refused: from now on it is asked so."""
        if not lesson.lasting or OWN_MARK in deployment.id:
            return
        known = self.learned.get(deployment.id, Lesson())
        if len(self.learned) >= _MOST and deployment.id not in self.learned:
            oldest = next(iter(self.learned))
            del self.learned[oldest]
            self._taught.pop(oldest, None)
        betas = tuple(dict.fromkeys((*known.betas, *lesson.betas)))
        self.learned[deployment.id] = Lesson(
            refused=known.refused | lesson.refused, betas=betas[-_MOST_BETAS:], limit=lesson.limit or known.limit
        )
        self._taught.pop(deployment.id, None)
        log.info(
            "a deployment is asked differently from now on",
            extra={"deployment": deployment.id, "model": deployment.model, "learned": self.of(deployment.id)},
        )


def _of_betas(call: Call, deployment: Deployment, fault: Fault) -> Lesson | None:
    """The client's beta flags that the fault names; all of them, and for this call alone, if it names none."""
    sent = [
        beta for beta in named(call.client.header) if takes_beta(deployment.profile, beta) and len(beta) <= _BETA_CHARS
    ]
    if not sent:
        return None
    values = _BETAS_STATED.match(fault.message)
    # A comma ends a flag, whatever else a client may have written into one; each stands in quotes or plainly.
    stated = {each.strip() for each in values["values"].split(",")} if values is not None else set()
    refused = tuple(beta for beta in sent if beta in stated or f"`{beta}`" in stated)
    return Lesson(betas=refused) if refused else Lesson(betas=tuple(sent), lasting=False)
