"""Fits a Responses body to its target: what the profile says is refused, capped, renamed or always wanted."""

from collections.abc import Mapping
from typing import Any

from wayport.dialects.dialect import Profile
from wayport.dialects.neutral import Request
from wayport.dialects.openai_responses_parts import NAME
from wayport.dialects.words import word

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")

# OpenAI refuses less (API reference, max_output_tokens).
_MIN_OUTPUT_TOKENS = 16

# Fields of the body to the names by which dropped parameters are looked up in the client's words.
_CHAT_NAMES: Mapping[str, str] = {
    "max_output_tokens": "max_tokens",
    "text.format": "response_format",
    "text.verbosity": "verbosity",
    "reasoning": "reasoning_effort",
    "reasoning.effort": "reasoning_effort",
}
# What a translated request gets without anybody having asked: no loss if the target does not want it.
_UNASKED = frozenset({"include", "store", "reasoning.summary"})


class Fitting:
    """Collects what had to be dropped or lowered, in the client's own words."""

    def __init__(self, request: Request, profile: Profile) -> None:
        self._request = request
        self._own = request.dialect == NAME
        self._profile = profile
        self.dropped: list[str] = []
        self.lowered: list[str] = []
        self.tool_names: dict[str, tuple[str, str | None]] = {}

    @property
    def reported(self) -> list[str]:
        return self.dropped + self.lowered

    def drop(self, name: str) -> None:
        """`name`: as OpenAI chat calls it."""
        self.drop_as(word(self._request.dialect, name))

    def drop_as(self, name: str) -> None:
        if name not in self.dropped:
            self.dropped.append(name)

    def _report(self, field: str) -> None:
        if self._own:
            self.drop_as(field)
        elif field not in _UNASKED:
            self.drop(_CHAT_NAMES.get(field, field))

    def _lower(self, field: str) -> None:
        name = field if self._own else word(self._request.dialect, _CHAT_NAMES.get(field, field))
        if name not in self.lowered:
            self.lowered.append(name)

    def apply(self, body: dict[str, Any]) -> None:
        profile = self._profile
        self._cap_output(body)
        self._fit_effort(body)
        for field in sorted(profile.unsupported):
            self._remove(body, field)
        if profile.unsupported_reasoning and self._thinks(body):
            for field in sorted(profile.unsupported_reasoning):
                self._remove(body, field)
        for field in [name for name in profile.exclusive if name in body][1:]:
            self._remove(body, field)
        limit = profile.temperature_max
        if limit is not None and isinstance(body.get("temperature"), int | float) and body["temperature"] > limit:
            body["temperature"] = limit
            self._lower("temperature")
        for old, new in profile.renames.items():
            if old in body:
                body[new] = body.pop(old)
        body |= profile.constants

    def _remove(self, body: dict[str, Any], field: str) -> None:
        outer, dot, inner = field.partition(".")
        if not dot:
            if body.pop(field, None) is not None:
                self._report(field)
            return
        nested = body.get(outer)
        if isinstance(nested, dict) and nested.pop(inner, None) is not None:
            self._report(field)
            if not nested:
                del body[outer]

    def _cap_output(self, body: dict[str, Any]) -> None:
        wish = body.get("max_output_tokens")
        if not isinstance(wish, int):
            return
        limit = self._profile.max_output_tokens
        if limit is not None and wish > limit:
            body["max_output_tokens"] = limit
            self._lower("max_output_tokens")
        elif not self._own and wish < _MIN_OUTPUT_TOKENS:
            body["max_output_tokens"] = _MIN_OUTPUT_TOKENS
            self._lower("max_output_tokens")

    def _fit_effort(self, body: dict[str, Any]) -> None:
        reasoning = body.get("reasoning")
        if not isinstance(reasoning, dict):
            return
        if self._profile.reasoning == "none":
            del body["reasoning"]
            self._report("reasoning")
            return
        effort = reasoning.get("effort")
        if isinstance(effort, str):
            fitting = rounded_up(effort, self._profile.reasoning_efforts)
            if fitting != effort:
                reasoning["effort"] = fitting
                self._lower("reasoning")

    def _thinks(self, body: dict[str, Any]) -> bool:
        reasoning = body.get("reasoning")
        effort = reasoning.get("effort") if isinstance(reasoning, dict) else None
        return (effort or self._profile.reasoning_default) != "none"


def rounded_up(effort: str, known: tuple[str, ...]) -> str:
    """The weakest known effort that is not weaker; the strongest where none is. Words that nobody knows stay."""
    if not known or effort in known or effort not in EFFORTS:
        return effort
    wish = EFFORTS.index(effort)
    return next((each for each in known if each in EFFORTS and EFFORTS.index(each) >= wish), known[-1])
