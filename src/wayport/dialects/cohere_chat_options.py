"""Everything of a Cohere request beside its messages and tools: limits, sampling, thinking, output format."""

from typing import Any, Final

from msgspec import Raw

from wayport.core.errors import BadRequest
from wayport.dialects import openai_read as read
from wayport.dialects.anthropic_messages_options import JSON_ONLY, Draft
from wayport.dialects.gemini_content_words import BUDGET_OF
from wayport.dialects.lacking import report_extras, report_lacking
from wayport.dialects.neutral import Text
from wayport.dialects.openai_chat_ask import effort_of
from wayport.dialects.openai_read import NULL
from wayport.dialects.words import word

OWN_WORDS: Final = ("documents", "citation_options", "safety_mode", "strict_tools", "k", "p")
"""fields that a client of any dialect, or a deployment's settings, may state in Cohere's own words"""

_SAID: Final = frozenset({"top_k", "seed", "presence_penalty", "frequency_penalty", "logprobs"})
_MAX_STOPS = 5
_MOST_P, _LEAST_P = 0.99, 0.01
_MOST_K = 500
_MOST_THOUGHT = 0.8
"""the part of an output limit that an effort may spend on thinking"""

# Names of this dialect and OpenAI chat's for the same, by which drops are reported.
_CHAT_WORDS = {"stop_sequences": "stop", "k": "top_k", "p": "top_p", "thinking": "reasoning_effort"}


# ------------------------------------------------------------------------------------------------- limits and sampling
def write_sampling(draft: Draft) -> None:
    sampling, profile, body = draft.request.sampling, draft.profile, draft.body
    limit = sampling.max_output_tokens if sampling.max_output_tokens is not None else profile.default_max_tokens
    if limit is not None:
        body["max_tokens"] = _at_most(draft, "max_tokens", limit, profile.max_output_tokens)
    if sampling.stop:
        body["stop_sequences"] = sampling.stop[:_MAX_STOPS]
        if len(sampling.stop) > _MAX_STOPS:
            draft.lower("stop")
    if sampling.temperature is not None:
        _not_negative(draft, "temperature", sampling.temperature)
        body["temperature"] = _at_most(draft, "temperature", sampling.temperature, profile.temperature_max)
    if sampling.top_p is not None:
        _not_negative(draft, "top_p", sampling.top_p)
        body["p"] = min(max(sampling.top_p, _LEAST_P), _MOST_P)
    if sampling.top_k is not None:
        body["k"] = max(_at_most(draft, "top_k", sampling.top_k, _MOST_K), 0)
    if sampling.seed is not None:
        body["seed"] = sampling.seed
    for name, value in (
        ("frequency_penalty", sampling.frequency_penalty),
        ("presence_penalty", sampling.presence_penalty),
    ):
        if value is not None and value < 0:
            # Cohere knows no reward for repetition.
            draft.drop(name)
        elif value is not None:
            body[name] = _at_most(draft, name, value, 1)
    if sampling.logprobs:
        body["logprobs"] = True


def _at_most(draft: Draft, name: str, value: Any, most: float | None) -> Any:
    if most is None or value <= most:
        return value
    draft.lower(name)
    return most


def _not_negative(draft: Draft, name: str, value: float) -> None:
    if value < 0:
        said = word(draft.request.dialect, name)
        raise BadRequest(f"`{said}` must not be below 0, but is {value}.", param=said)


# ------------------------------------------------------------------------------------------------------------ thinking
def write_thinking(draft: Draft) -> None:
    ask = draft.request.reasoning
    if ask is None or (ask.effort is None and ask.budget_tokens is None and ask.mode is None):
        return
    effort = effort_of(ask)
    if draft.profile.reasoning == "none":
        if effort != "none":
            draft.drop("reasoning_effort")
        return
    if effort == "none":
        draft.body["thinking"] = {"type": "disabled"}
        return
    budget = (
        ask.budget_tokens if ask.budget_tokens is not None and ask.budget_tokens > 0 else BUDGET_OF.get(effort or "")
    )
    thinking: dict[str, Any] = {"type": "enabled"}
    if budget:
        limit = draft.body.get("max_tokens")
        most = max(int(limit * _MOST_THOUGHT), 1) if limit is not None else budget
        if ask.budget_tokens is not None and budget > most:
            draft.lower("reasoning_effort")
        thinking["token_budget"] = min(budget, most)
    draft.body["thinking"] = thinking


# -------------------------------------------------------------------------------------------------------------- output
def write_output(draft: Draft) -> None:
    """The format of the answer. Cohere takes one only where there are neither tools nor documents; else it is told."""
    output = draft.request.output
    if output is None or output.kind == "text":
        return
    way = draft.profile.json_schema
    if output.kind == "other" or way == "none" or "response_format" in draft.profile.unsupported:
        draft.drop("response_format")
        return
    schema = output.schema if output.kind == "json_schema" else None
    free = not draft.request.tools and draft.request.extras.get("documents", NULL) == NULL
    if free and schema is not None and way == "native":
        draft.body["response_format"] = {"type": "json_object", "json_schema": schema}
        return
    if free and way in ("native", "json_object"):
        draft.body["response_format"] = {"type": "json_object"}
        if schema is None and _speaks_of_json(draft):
            # Without a word of it among the messages the model may write on for ever (API reference).
            return
    told = f"\nIt must match this JSON schema: {bytes(schema).decode()}" if schema is not None else ""
    draft.system.append(JSON_ONLY + told)


def _speaks_of_json(draft: Draft) -> bool:
    return any(
        isinstance(part, Text) and "json" in part.text.lower()
        for message in draft.request.messages
        for part in message.parts
    )


# ---------------------------------------------------------------------------------------------------------------- rest
def write_rest(draft: Draft) -> None:
    """Cohere's own fields by name, a report of what there is no place for, and what the profile says."""
    request, profile, body = draft.request, draft.profile, draft.body
    for name in OWN_WORDS:
        value = request.extras.get(name)
        if value is not None and value != NULL:
            body[name] = _joined(body.get(name), value)
    if request.service_tier not in (None, "auto", "default", "standard_only"):
        draft.drop("service_tier")
    report_lacking(request, draft.drop, known=_SAID)
    report_extras(request, draft.drop, known=OWN_WORDS)
    given = [name for name in profile.exclusive if body.get(name)]
    refused = {name for name in body if {name, _CHAT_WORDS.get(name, name)} & profile.unsupported} - {
        "messages",
        "model",
    }
    for name in sorted({*given[1:], *refused}):
        del body[name]
        draft.drop(_CHAT_WORDS.get(name, name))
    for name, here in profile.renames.items():
        if name in body:
            body[here] = body.pop(name)
    body.update(profile.constants)


def _joined(made: Any, value: Raw) -> Any:
    """A list that the client states goes before what was made of its messages."""
    if isinstance(made, list) and bytes(value)[:1] == b"[":
        return [*read.items(value, "documents"), *made]
    return value
