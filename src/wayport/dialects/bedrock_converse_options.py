"""Everything of a Converse request beside its messages and tools: limits, sampling, thinking, output format, tier.

`Profile.unsupported` names fields as AWS's own refusals do: `topP`, `stopSequences`, `toolConfig.toolChoice.any`,
`toolConfig.cachePoint`, `status` (of a toolResult), `system`, and the names inside of `additionalModelRequestFields`;
OpenAI chat's names of the same count as well. What Converse itself has no field for (`top_k`) is sent only where
`Profile.renames` says under which name the model takes it; a dot leads into an object (`inferenceConfig.topK`).
"""

import re
from typing import Any, Final

import msgspec
from msgspec import Raw

from wayport.core.errors import BadRequest
from wayport.dialects.anthropic_messages_answer import answer_tool
from wayport.dialects.anthropic_messages_options import JSON_ONLY, MIN_BUDGET, Draft
from wayport.dialects.anthropic_messages_schema import strict_schema
from wayport.dialects.gemini_content_words import BUDGET_OF
from wayport.dialects.lacking import report_extras, report_lacking
from wayport.dialects.neutral import OutputFormat, ReasoningAsk
from wayport.dialects.openai_chat_ask import effort_of, fitted
from wayport.dialects.openai_read import NULL, is_empty
from wayport.dialects.words import word
from wayport.wire import bedrock_converse as wire

Block = dict[str, Any]

CLAUDE: Final = ("budget", "adaptive")
"""ways of thinking that only Claude has; its rules for tools and sampling while it thinks come with them"""
ADDITIONAL: Final = "additionalModelRequestFields"
_PATHS: Final = "additionalModelResponseFieldPaths"

# Fields of Converse that a client of any dialect, or a deployment's settings, may state in Converse's own words.
OWN_WORDS: Final = (
    "guardrailConfig",
    "performanceConfig",
    "promptVariables",
    "requestMetadata",
    "serviceTier",
    _PATHS,
)

_SAID: Final = frozenset({"top_k", "metadata"})
_HOTTEST = 1.0
_MOST_THOUGHT = 0.8
"""the part of an output limit that an effort may spend on thinking"""
_TIERS = {"default": "default", "standard_only": "default", "flex": "flex", "priority": "priority"}

# Names of this dialect and OpenAI chat's for the same, by which drops are reported.
_CHAT_WORDS = {
    "topP": "top_p",
    "stopSequences": "stop",
    "maxTokens": "max_tokens",
    "outputConfig.textFormat": "response_format",
    "outputConfig.effort": "reasoning_effort",
    "serviceTier": "service_tier",
    "thinking": "reasoning_effort",
    "reasoningConfig": "reasoning_effort",
    "requestMetadata": "metadata",
}


def refuses(draft: Draft, name: str) -> bool:
    """Whether the target is known to refuse a field."""
    refused = draft.profile.unsupported
    return name in refused or _CHAT_WORDS.get(name, name) in refused


def additional(draft: Draft) -> Block:
    """The fields that only this one model knows."""
    fields: Block = draft.body.setdefault(ADDITIONAL, {})
    return fields


# ------------------------------------------------------------------------------------------------- limits and sampling
def write_inference(draft: Draft) -> None:
    sampling = draft.request.sampling
    profile = draft.profile
    config: Block = {}
    limit = sampling.max_output_tokens if sampling.max_output_tokens is not None else profile.default_max_tokens
    if limit is not None:
        most = profile.max_output_tokens
        if most is not None and limit > most:
            draft.lower("max_tokens")
            limit = most
        config["maxTokens"] = max(limit, 1)
    for name, value in (("temperature", sampling.temperature), ("top_p", sampling.top_p)):
        if value is not None and value < 0:
            said = word(draft.request.dialect, name)
            raise BadRequest(f"`{said}` must not be below 0, but is {value}.", param=said)
    if sampling.temperature is not None:
        hottest = min(profile.temperature_max or _HOTTEST, _HOTTEST)
        if sampling.temperature > hottest:
            draft.lower("temperature")
        config["temperature"] = min(sampling.temperature, hottest)
    if sampling.top_p is not None:
        config["topP"] = min(sampling.top_p, 1.0)
    stops = [stop for stop in sampling.stop if stop and (stop.strip() or not _refuses_blank_stops(draft))]
    if len(stops) < len(sampling.stop):
        draft.drop("stop")
    if stops:
        config["stopSequences"] = stops
    for name in [name for name in config if refuses(draft, name)]:
        del config[name]
        draft.drop(_CHAT_WORDS.get(name, name))
    given = [name for name in ("temperature", "topP") if name in config]
    if len(given) > 1 and {"temperature", "top_p"} <= set(profile.exclusive):
        del config["topP"]
        draft.drop("top_p")
    if config:
        draft.body["inferenceConfig"] = config
    if "stopSequences" in config:
        # A pointer that leads nowhere is ignored; Claude's answer then says which sequence was met.
        draft.body[_PATHS] = ["/stop_sequence"]
    if sampling.top_k is not None:
        _write_renamed(draft, "top_k", sampling.top_k)


def _refuses_blank_stops(draft: Draft) -> bool:
    """Claude takes no stop sequence of white space alone ("must contain non-whitespace")."""
    return draft.profile.reasoning in CLAUDE or refuses(draft, "stopSequences.blank")


def _write_renamed(draft: Draft, name: str, value: Any) -> None:
    place = draft.profile.renames.get(name)
    if place is None or refuses(draft, name):
        draft.drop(name)
        return
    *holders, last = place.split(".")
    fields = additional(draft)
    for holder in holders:
        fields = fields.setdefault(holder, {})
    fields[last] = value


# ------------------------------------------------------------------------------------------------------------ thinking
def write_thinking(draft: Draft, *, forced: bool, mid_tools: bool) -> None:
    """How much to think. `forced`: a tool must be called; `mid_tools`: the last turn of the assistant called tools and
    shows no thought of its own, without which Claude refuses to think on a budget.
    """
    ask = draft.request.reasoning
    if ask is None or (ask.effort is None and ask.budget_tokens is None and ask.mode is None):
        return
    effort = effort_of(ask)
    match draft.profile.reasoning:
        case "budget":
            if effort != "none" and (forced or mid_tools or not _write_budget(draft, ask, effort)):
                draft.drop("reasoning_effort")
        case "adaptive":
            _write_adaptive(draft, ask, effort)
        case "reasoning_object":
            _write_reasoning_config(draft, effort)
        case "none" | None:
            if effort != "none":
                draft.drop("reasoning_effort")
        case _:
            name = draft.profile.renames.get("reasoning_effort", "reasoning_effort")
            additional(draft)[name] = _fitted(draft, effort or "medium")
    if effort != "none":
        for name in [name for name in draft.body.get("inferenceConfig", {}) if _refused_while_thinking(draft, name)]:
            del draft.body["inferenceConfig"][name]
            draft.drop(_CHAT_WORDS.get(name, name))


def _refused_while_thinking(draft: Draft, name: str) -> bool:
    return bool({name, _CHAT_WORDS.get(name, name)} & draft.profile.unsupported_reasoning)


def _fitted(draft: Draft, effort: str) -> str:
    fit = fitted(effort, draft.profile.reasoning_efforts)
    if fit != effort:
        draft.lower("reasoning_effort")
    return fit


def _write_budget(draft: Draft, ask: ReasoningAsk, effort: str | None) -> bool:
    """A budget below the output limit; False where there is no room for one."""
    limit = draft.body.get("inferenceConfig", {}).get("maxTokens")
    if limit is not None and limit <= MIN_BUDGET:
        return False
    wanted = ask.budget_tokens
    if wanted is None or wanted <= 0:
        wanted = BUDGET_OF.get(effort or "medium", BUDGET_OF["medium"])
        if limit is not None:
            # The limit counts thoughts and answer together.
            wanted = min(wanted, int(limit * _MOST_THOUGHT))
    elif limit is not None and wanted >= limit:
        draft.lower("reasoning_effort")
    budget = max(wanted, MIN_BUDGET)
    additional(draft)["thinking"] = {
        "type": "enabled",
        "budget_tokens": budget if limit is None else min(budget, limit - 1),
    }
    _quiet_sampling(draft)
    return True


def _write_adaptive(draft: Draft, ask: ReasoningAsk, effort: str | None) -> None:
    if effort == "none":
        additional(draft)["thinking"] = {"type": "disabled"}
        return
    thinking: Block = {"type": "adaptive"}
    if ask.show is not None:
        thinking["display"] = "summarized" if ask.show else "omitted"
    additional(draft)["thinking"] = thinking
    if effort is not None and not refuses(draft, "outputConfig.effort"):
        known = draft.profile.reasoning_efforts or ("low", "medium", "high", "xhigh", "max")
        fit = fitted(effort, known)
        if fit != effort:
            draft.lower("reasoning_effort")
        if fit in known:
            _output_config(draft)["effort"] = fit
    _quiet_sampling(draft)


def _quiet_sampling(draft: Draft) -> None:
    """Claude thinks with no changed temperature or top_k, and with a top_p of 0.95 to 1 only."""
    config = draft.body.get("inferenceConfig", {})
    if config.get("temperature", 1) != 1:
        draft.drop("temperature")
    config.pop("temperature", None)
    if config.get("topP", 1) < 0.95:
        del config["topP"]
        draft.drop("top_p")
    if additional(draft).pop("top_k", None) is not None:
        draft.drop("top_k")


def _write_reasoning_config(draft: Draft, effort: str | None) -> None:
    """Nova's object. Its strongest effort goes with no output limit, temperature or top_p: a limit is a promise to keep."""
    if effort == "none":
        additional(draft)["reasoningConfig"] = {"type": "disabled"}
        return
    config = draft.body.get("inferenceConfig", {})
    fit = _fitted(draft, effort or "medium")
    if fit == "high" and "maxTokens" in config:
        draft.lower("reasoning_effort")
        fit = "medium"
    if fit == "high":
        for name in [name for name in ("temperature", "topP") if name in config]:
            del config[name]
            draft.drop(_CHAT_WORDS.get(name, name))
    additional(draft)["reasoningConfig"] = {"type": "enabled", "maxReasoningEffort": fit}


# -------------------------------------------------------------------------------------------------------------- output
def _output_config(draft: Draft) -> Block:
    config: Block = draft.body.setdefault("outputConfig", {})
    return config


def write_output(draft: Draft) -> None:
    """The format of the answer: as a schema, by way of a tool, or in words."""
    output = draft.request.output
    if output is None or output.kind == "text":
        return
    way = "prompt" if refuses(draft, "outputConfig.textFormat") else draft.profile.json_schema
    match output.kind:
        case "other":
            draft.drop("response_format")
        case _ if way == "none":
            draft.drop("response_format")
        case "json_schema" if output.schema is not None and way == "native":
            _output_config(draft)["textFormat"] = {"type": "json_schema", "structure": _structure(output)}
        case "json_schema" if output.schema is not None and way == "tool":
            draft.answer = answer_tool(output.schema)
        case "json" if way == "tool":
            draft.answer = answer_tool(Raw(b'{"type":"object","additionalProperties":true}'))
        case _:
            schema = f"\nIt must match this JSON schema: {bytes(output.schema).decode()}" if output.schema else ""
            draft.system.append(JSON_ONLY + schema)


def _structure(output: OutputFormat) -> Block:
    assert output.schema is not None
    # The schema travels as text.
    schema: Block = {"schema": bytes(strict_schema(output.schema)).decode()}
    if output.name:
        schema["name"] = output.name
    if output.description:
        schema["description"] = output.description
    return {"jsonSchema": schema}


# ---------------------------------------------------------------------------------------------------------------- rest
def write_rest(draft: Draft) -> None:
    """Service tier, metadata, betas, Converse's own fields by name, and a report of what there is no place for."""
    request = draft.request
    _write_tier(draft)
    _write_metadata(draft)
    _write_betas(draft)
    for name in OWN_WORDS:
        value = request.extras.get(name)
        if value is not None and value != NULL and bytes(value)[:1] in (b"{", b"["):
            draft.body[name] = value
    _merge(draft, ADDITIONAL)
    _merge(draft, "outputConfig")
    report_lacking(request, draft.drop, known=_SAID)
    report_extras(request, draft.drop, known=(*OWN_WORDS, ADDITIONAL, "outputConfig"))
    _drop_refused(draft, draft.body.get(ADDITIONAL, {}))
    _drop_refused(draft, draft.body)
    draft.body.update(draft.profile.constants)
    for name in [name for name in (ADDITIONAL, "inferenceConfig", "outputConfig") if draft.body.get(name) == {}]:
        del draft.body[name]


def _drop_refused(draft: Draft, fields: Block) -> None:
    for name in sorted(draft.profile.unsupported & fields.keys() - {"messages", "system"}):
        del fields[name]
        draft.drop(_CHAT_WORDS.get(name, name))


def _write_tier(draft: Draft) -> None:
    tier = draft.request.service_tier
    if tier is None or tier == "auto":
        return
    if tier in _TIERS:
        draft.body["serviceTier"] = {"type": _TIERS[tier]}
    else:
        draft.drop("service_tier")


def _write_betas(draft: Draft) -> None:
    """Only what the profile lists: Bedrock answers an unknown beta with a 400."""
    known = frozenset(draft.profile.betas or ()) - draft.profile.refused_betas
    draft.dropped += [f"anthropic-beta: {beta}" for beta in draft.request.betas if beta not in known]
    if betas := [beta for beta in draft.request.betas if beta in known]:
        additional(draft)["anthropic_beta"] = betas


def _merge(draft: Draft, name: str) -> None:
    """What the client says of an object in Converse's own words goes before what was made of its other words."""
    value = draft.request.extras.get(name)
    if value is None or bytes(value)[:1] != b"{":
        return
    made: Block = draft.body.setdefault(name, {})
    for key, inner in wire.decode_fields(value).items():
        before = made.get(key)
        if isinstance(before, dict) and bytes(inner)[:1] == b"{":
            made[key] = {**before, **wire.decode_fields(inner)}
        else:
            made[key] = inner


_PAIRS: Final = 16
_PAIR = re.compile(r"[a-zA-Z0-9\s:_@$#=/+,.-]{0,256}")
_pairs = msgspec.json.Decoder(dict[str, str])


def _write_metadata(draft: Draft) -> None:
    """OpenAI's names and texts, as the metadata by which Bedrock's invocation logs are filtered."""
    raw = draft.request.metadata
    if raw is None or is_empty(raw):
        return
    try:
        pairs = _pairs.decode(raw)
    except ValueError:
        pairs = {}
    fits = all(name and _PAIR.fullmatch(name) and _PAIR.fullmatch(value) for name, value in pairs.items())
    if pairs and fits and len(pairs) <= _PAIRS:
        draft.body["requestMetadata"] = pairs
    else:
        draft.drop("metadata")
