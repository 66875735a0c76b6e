"""`generationConfig` and its neighbours: sampling, output format, thinking, modalities, service tier, both ways."""

from typing import Any

from msgspec import Raw

from wayport.dialects import openai_read as read
from wayport.dialects.dialect import Profile
from wayport.dialects.gemini_content_parts import Json, to_camel
from wayport.dialects.gemini_content_schema import to_json_schema, to_openapi
from wayport.dialects.gemini_content_words import (
    BUDGET_OF,
    MAX_BUDGET,
    NAME,
    effort_of,
    round_up,
    tier_out,
)
from wayport.dialects.neutral import Extras, OutputFormat, ReasoningAsk, Request, Sampling
from wayport.dialects.words import word
from wayport.wire.gemini_content import NULL, Object, encode

_MIME = "~mime"
_MODALITIES = "~modalities"
_LEVEL = "thinkingLevel"
MAX_STOPS = 5

# The neutral field, Google's name of it, and OpenAI chat's, by which drops are reported.
_NUMBERS = (
    ("temperature", "temperature", "temperature"),
    ("top_p", "topP", "top_p"),
    ("top_k", "topK", "top_k"),
    ("n", "candidateCount", "n"),
    ("max_output_tokens", "maxOutputTokens", "max_tokens"),
    ("seed", "seed", "seed"),
    ("presence_penalty", "presencePenalty", "presence_penalty"),
    ("frequency_penalty", "frequencyPenalty", "frequency_penalty"),
    ("top_logprobs", "logprobs", "top_logprobs"),
)
_FRACTIONS = frozenset({"temperature", "top_p", "presence_penalty", "frequency_penalty"})


# ------------------------------------------------------------------------------------------------------------ reading
def read_config(raw: Raw, request: Request, spelled: set[str]) -> None:
    """Takes `generationConfig` into the request; what has no neutral field stays in its extras."""
    path = "generationConfig"
    fields = to_camel(read.fields(raw, path), spelled)
    request.sampling = _read_sampling(fields, path)
    request.output = _read_output(fields, path)
    thinking = fields.pop("thinkingConfig", None)
    if thinking is not None and thinking != NULL:
        request.reasoning = _read_thinking(to_camel(read.fields(thinking, f"{path}.thinkingConfig"), spelled))
    modalities = fields.get("responseModalities")
    if modalities is not None and modalities != NULL:
        words = read.texts(modalities, f"{path}.responseModalities")
        request.modalities = [each.lower() for each in words]
        if [each.upper() for each in words] == words:
            del fields["responseModalities"]
        else:
            fields[_MODALITIES] = fields.pop("responseModalities")
    request.extras["generationConfig"] = Raw(encode(fields))


def _read_sampling(fields: Object, path: str) -> Sampling:
    sampling = Sampling()
    for neutral, google, _ in _NUMBERS:
        raw = fields.get(google)
        if raw is None or raw == NULL:
            continue
        del fields[google]
        number = read.number if neutral in _FRACTIONS else read.whole
        setattr(sampling, neutral, number(raw, f"{path}.{google}"))
    stop = fields.get("stopSequences")
    if stop is not None and not read.is_empty(stop):
        sampling.stop = read.texts(fields.pop("stopSequences"), f"{path}.stopSequences")
    wanted = fields.pop("responseLogprobs", None)
    if wanted is not None:
        sampling.logprobs = read.boolean(wanted, f"{path}.responseLogprobs")
    return sampling


def _read_output(fields: Object, path: str) -> OutputFormat | None:
    mime = fields.pop("responseMimeType", None)
    named = "" if mime is None else read.text(mime, f"{path}.responseMimeType")
    extras: Extras = {} if mime is None else {_MIME: mime}
    schema = fields.pop("responseJsonSchema", None)
    if schema is None and "responseSchema" in fields:
        extras["responseSchema"] = fields.pop("responseSchema")
        schema = to_json_schema(extras["responseSchema"])
    if mime is None and schema is None:
        return None
    if named in {"application/json", ""} and schema is not None:
        return OutputFormat(kind="json_schema", schema=schema, extras=extras)
    if named == "application/json":
        return OutputFormat(kind="json", extras=extras)
    kind = "text" if named == "text/plain" else "other"
    return OutputFormat(kind=kind, schema=schema, raw=mime, extras=extras)  # type: ignore[arg-type]  # two literals


def _read_thinking(fields: Object) -> ReasoningAsk:
    path = "generationConfig.thinkingConfig"
    ask = ReasoningAsk()
    budget = fields.pop("thinkingBudget", None)
    if budget is not None:
        ask.budget_tokens = read.whole(budget, f"{path}.thinkingBudget")
        ask.mode = {0: "disabled", -1: "adaptive"}.get(ask.budget_tokens)  # type: ignore[assignment]  # two literals
    show = fields.pop("includeThoughts", None)
    if show is not None:
        ask.show = read.boolean(show, f"{path}.includeThoughts")
    level = fields.get(_LEVEL)
    if level is not None:
        said = read.text(level, f"{path}.{_LEVEL}")
        ask.effort = said.lower() if said != "THINKING_LEVEL_UNSPECIFIED" else None
    ask.extras = fields or None
    return ask


# ------------------------------------------------------------------------------------------------------------ writing
class Report:
    """What could not be said, in the client's words."""

    def __init__(self, request: Request) -> None:
        self._dialect = request.dialect
        self.dropped: list[str] = []
        self.lowered: list[str] = []

    def drop(self, name: str) -> None:
        """`name`: what OpenAI chat calls it."""
        self.dropped.append(word(self._dialect, name))

    def lower(self, name: str) -> None:
        self.lowered.append(word(self._dialect, name))


def write_config(request: Request, profile: Profile, report: Report) -> Json:
    own = request.dialect == NAME
    out: Json = {}
    _write_sampling(request, profile, report, out)
    _write_output(request, profile, report, out)
    thinking = _write_own_thinking(request.reasoning) if own else _write_thinking(request, profile, report)
    if thinking:
        if "thinkingConfig" in profile.unsupported:
            report.drop("reasoning_effort")
        else:
            out["thinkingConfig"] = thinking
    if request.modalities and (own or set(request.modalities) != {"text"}):
        out["responseModalities"] = [each.upper() for each in request.modalities]
    if own and "generationConfig" in request.extras:
        for key, value in read.fields(request.extras["generationConfig"], "generationConfig").items():
            if key in profile.unsupported:
                report.dropped.append(f"generationConfig.{key}")
            else:
                out["responseModalities" if key == _MODALITIES else key] = value
    return out


def _write_sampling(request: Request, profile: Profile, report: Report, out: Json) -> None:
    sampling = request.sampling
    for neutral, google, usual in _NUMBERS:
        value = getattr(sampling, neutral)
        if value is None:
            continue
        if google in profile.unsupported:
            report.drop(usual)
            continue
        limit = {"temperature": profile.temperature_max, "max_output_tokens": profile.max_output_tokens}.get(neutral)
        if limit is not None and value > limit:
            value = limit
            report.lower(usual)
        out[google] = value
    if sampling.logprobs is not None and (sampling.logprobs or request.dialect == NAME):
        if "responseLogprobs" in profile.unsupported:
            report.drop("logprobs")
            out.pop("logprobs", None)
        else:
            out["responseLogprobs"] = sampling.logprobs
    if sampling.stop:
        own = request.dialect == NAME
        out["stopSequences"] = sampling.stop if own else sampling.stop[:MAX_STOPS]
        if len(sampling.stop) > MAX_STOPS and not own:
            report.lower("stop")


def _write_output(request: Request, profile: Profile, report: Report, out: Json) -> None:
    output = request.output
    if output is None:
        return
    if request.dialect == NAME:
        _write_own_output(output, out)
        return
    if output.kind == "text":
        return
    if output.kind == "other" or profile.json_schema == "none" or "responseMimeType" in profile.unsupported:
        report.drop("response_format")
        return
    out["responseMimeType"] = "application/json"
    if output.kind != "json_schema" or output.schema is None:
        return
    if profile.json_schema != "native":
        report.lower("response_format")
    elif profile.tool_schema == "json_schema":
        out["responseJsonSchema"] = output.schema
    else:
        reduced = to_openapi(output.schema)
        if reduced is not None:
            out["responseSchema"] = reduced


def _write_own_output(output: OutputFormat, out: Json) -> None:
    extras = output.extras or {}
    if _MIME in extras:
        out["responseMimeType"] = extras[_MIME]
    if "responseSchema" in extras:
        out["responseSchema"] = extras["responseSchema"]
    elif output.schema is not None:
        out["responseJsonSchema"] = output.schema


def _write_own_thinking(ask: ReasoningAsk | None) -> Json | None:
    if ask is None:
        return None
    out: Json = {}
    if ask.show is not None:
        out["includeThoughts"] = ask.show
    if ask.budget_tokens is not None:
        out["thinkingBudget"] = ask.budget_tokens
    return {**out, **(ask.extras or {})}


def _write_thinking(request: Request, profile: Profile, report: Report) -> Json | None:
    """How much to think, in the words of this target: a budget of tokens (2.5), or a level (3 and later)."""
    ask = request.reasoning
    if ask is None:
        return None
    effort = "none" if ask.mode == "disabled" else ask.effort
    if profile.reasoning == "none":
        if effort not in {None, "none"} or ask.budget_tokens or ask.mode in {"enabled", "adaptive"}:
            report.drop("reasoning_effort")
        return None
    out: Json = {}
    if profile.reasoning == "level":
        if effort is None and ask.budget_tokens is not None and ask.budget_tokens >= 0:
            effort = effort_of(ask.budget_tokens)
        level = _level(effort, profile, report)
        if level is not None:
            out[_LEVEL] = level
    else:
        budget = _budget(ask, effort, profile, report)
        if budget is not None:
            out["thinkingBudget"] = budget
    off = effort == "none" or ask.budget_tokens == 0
    show = ask.show if ask.show is not None else not off
    if show and out.get("thinkingBudget") != 0:
        out["includeThoughts"] = True
    return out


def _level(effort: str | None, profile: Profile, report: Report) -> str | None:
    if effort is None:
        return None
    known = profile.reasoning_efforts or ("low", "medium", "high")
    level = round_up(effort, known)
    if level not in known:
        report.drop("reasoning_effort")
        return None
    if level != effort:
        report.lower("reasoning_effort")
    return level.upper()


def _budget(ask: ReasoningAsk, effort: str | None, profile: Profile, report: Report) -> int | None:
    if ask.budget_tokens is not None and effort != "none":
        if ask.budget_tokens > MAX_BUDGET:
            report.lower("reasoning_effort")
        return min(ask.budget_tokens, MAX_BUDGET)
    if effort is None:
        return -1 if ask.mode in {"enabled", "adaptive"} else None
    fitting = round_up(effort, profile.reasoning_efforts) if profile.reasoning_efforts else effort
    if fitting not in BUDGET_OF:
        report.drop("reasoning_effort")
        return None
    if fitting != effort:
        report.lower("reasoning_effort")
    return BUDGET_OF[fitting]


def write_tier(request: Request, profile: Profile, report: Report) -> str | None:
    """Google's word for the service tier; `auto` is its default and is left out."""
    tier = request.service_tier
    if tier is None or tier in {"auto", "standard_only"}:
        return None
    sold = None if "serviceTier" in profile.unsupported else tier_out(tier)
    if sold is None:
        report.drop("service_tier")
    return sold


# Gemini caches without being asked: to leave a hint out loses nothing.
_CACHE_HINTS = frozenset({"cache_control", "prompt_cache_options"})


def report_unsayable(request: Request, report: Report) -> None:
    """Names what the client asked for and Gemini has no counterpart of."""
    sampling = request.sampling
    asked: dict[str, Any] = {
        "min_p": sampling.min_p,
        "logit_bias": sampling.logit_bias,
        "audio": request.audio,
        "verbosity": request.verbosity,
        "user": request.user,
        "metadata": request.metadata,
        "prediction": request.prediction,
        "parallel_tool_calls": True if request.parallel_tool_calls is False else None,
    }
    for name, value in asked.items():
        if value is not None:
            report.drop(name)
    report.dropped.extend(
        name for name in request.extras if not name.startswith(("@", "~")) and name not in _CACHE_HINTS
    )
