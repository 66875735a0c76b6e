"""Everything of a request beside its messages and tools: limits, sampling, thinking, output format, metadata.

A request of this same dialect keeps its words; one of another dialect is fitted to what Anthropic takes, and what is left
out or lowered is named in the client's words.
"""

from functools import lru_cache
from operator import attrgetter
from typing import Final

from msgspec import Raw, Struct, field

from wayport.core.errors import BadRequest
from wayport.dialects.anthropic_messages_answer import answer_tool
from wayport.dialects.anthropic_messages_fields import EMPTY_LIST, NAME, NULL, Block
from wayport.dialects.anthropic_messages_schema import strict_schema
from wayport.dialects.dialect import Profile
from wayport.dialects.neutral import OutputFormat, ReasoningAsk, Request, Sampling
from wayport.dialects.words import word
from wayport.wire import anthropic_messages as wire

FALLBACK_MAX_TOKENS: Final = 4096
"""`max_tokens` is demanded; every Claude model can give this many"""
MIN_BUDGET: Final = 1024
"""smallest thinking budget (API reference, `thinking.budget_tokens`)"""

NEVER_REFUSED: Final = frozenset({"messages", "model", "max_tokens"})
"""fields without which there is no request, whatever a profile says"""
HOTTEST: Final = 1
"""highest temperature of the API"""
EFFORTS: Final = ("minimal", "low", "medium", "high", "xhigh", "max")
KNOWN_EFFORTS: Final = ("low", "medium", "high", "xhigh", "max")

# How much of the output limit an effort spends on thinking, for models that know budgets only.
_SHARE = {"minimal": 0.1, "low": 0.2, "medium": 0.5, "high": 0.8, "xhigh": 0.9, "max": 0.95}

# The strongest budget that still counts as an effort, for models that know efforts only.
_EFFORT_OF_BUDGET = ((2_048, "low"), (8_192, "medium"), (24_576, "high"))

JSON_ONLY: Final = "Answer with one JSON value and nothing else: no other words, no code fence."


class Draft(Struct, kw_only=True):
    """A request body in the making."""

    request: Request
    profile: Profile
    own: bool = False
    """the request came in this dialect"""
    body: Block = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    lowered: list[str] = field(default_factory=list)
    system: list[str] = field(default_factory=list)
    """sentences that the target has to be told for want of a parameter"""
    answer: tuple[str, Raw] | None = None
    """name and schema of the tool that takes a JSON answer"""
    plain: bool = False
    """its messages are texts and nothing else: no tool was called, nothing is marked for the cache"""

    def drop(self, name: str) -> None:
        name = word(self.request.dialect, name)
        if name not in self.dropped:
            self.dropped.append(name)

    def lower(self, name: str) -> None:
        name = word(self.request.dialect, name)
        if name not in self.lowered:
            self.lowered.append(name)


def write_limits(draft: Draft) -> None:
    asked = draft.request.sampling.max_output_tokens
    cap = draft.profile.max_output_tokens
    limit = asked if asked is not None else draft.profile.default_max_tokens or cap or FALLBACK_MAX_TOKENS
    if cap is not None and limit > cap:
        limit = cap
        if asked is not None:
            draft.lower("max_tokens")
    draft.body["max_tokens"] = limit


def write_sampling(draft: Draft) -> None:
    sampling = draft.request.sampling
    body = draft.body
    if sampling.temperature is not None:
        body["temperature"] = sampling.temperature
    if sampling.top_p is not None:
        body["top_p"] = sampling.top_p
    if sampling.top_k is not None:
        body["top_k"] = sampling.top_k
    if sampling.stop:
        body["stop_sequences"] = sampling.stop
    if not draft.own:
        _fit_sampling(draft)


def _fit_sampling(draft: Draft) -> None:
    sampling = draft.request.sampling
    body = draft.body
    # Anthropic's temperatures end at 1, OpenAI's and Google's at 2.
    hottest = min(draft.profile.temperature_max or HOTTEST, HOTTEST)
    if sampling.temperature is not None and sampling.temperature > hottest:
        body["temperature"] = hottest
        draft.lower("temperature")
    if "stop_sequences" in body:
        kept = [stop for stop in sampling.stop if stop.strip()]
        if len(kept) < len(sampling.stop):
            # "each stop sequence must contain non-whitespace"
            draft.drop("stop")
        body["stop_sequences"] = kept
        if not kept:
            del body["stop_sequences"]
    if _lacking(sampling) == _NOTHING_LACKING:
        return
    lacking = {
        "n": sampling.n is not None and sampling.n > 1,
        "seed": sampling.seed is not None,
        "min_p": bool(sampling.min_p),
        "presence_penalty": bool(sampling.presence_penalty),
        "frequency_penalty": bool(sampling.frequency_penalty),
        "logit_bias": sampling.logit_bias is not None and bytes(sampling.logit_bias) not in (b"{}", b"null"),
        "logprobs": bool(sampling.logprobs),
        "top_logprobs": bool(sampling.top_logprobs),
    }
    for name, asked in lacking.items():
        if asked:
            draft.drop(name)


_lacking = attrgetter(
    "n", "seed", "min_p", "presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs"
)
_NOTHING_LACKING = _lacking(Sampling())


# ---------------------------------------------------------------------------------------------------------- thinking
def write_thinking(draft: Draft, ask: ReasoningAsk, *, forced: bool, mid_tools: bool) -> None:
    """`thinking` and `output_config.effort`.

    `forced`: a tool must be called; `mid_tools`: the last assistant turn called tools and shows no thought of Anthropic's,
    without which a budget is refused.
    """
    if draft.own:
        _own_thinking(draft, ask)
    else:
        _fit_thinking(draft, ask)
    thinking = draft.body.get("thinking")
    budgeted = isinstance(thinking, dict) and thinking.get("type") == "enabled"
    if budgeted and ((forced and not draft.own) or mid_tools):
        # Refused with a budget ("Thinking may not be enabled when tool_choice forces tool use"), allowed with `adaptive`.
        del draft.body["thinking"]
        draft.drop("reasoning_effort")
    if _is_thinking(draft) and not draft.own:
        _quiet_sampling(draft)


def _own_thinking(draft: Draft, ask: ReasoningAsk) -> None:
    """The client's own words, but for those that this model is known to answer with a 400."""
    kind = draft.profile.reasoning
    if ask.mode in ("adaptive", "enabled") and kind == "none":
        draft.drop("reasoning_effort")
    elif ask.mode == "adaptive" and kind == "budget":
        budget = _budget(draft, ask)
        if budget is None:
            draft.drop("reasoning_effort")
        else:
            draft.body["thinking"] = {"type": "enabled", "budget_tokens": budget, **(ask.extras or {})}
            draft.lower("reasoning_effort")
            if not draft.profile.reasoning_efforts:
                # The budget says it.
                return
    elif ask.mode is not None:
        block: Block = {"type": ask.mode}
        if ask.budget_tokens is not None:
            block["budget_tokens"] = ask.budget_tokens
        draft.body["thinking"] = {**block, **(ask.extras or {})}
    if ask.effort is None:
        return
    if knows_effort(draft.profile, ask.effort):
        _output_config(draft)["effort"] = ask.effort
    elif draft.profile.reasoning_efforts:
        _output_config(draft)["effort"] = _effort(draft, ask)
    else:
        draft.dropped.append("output_config.effort")


def knows_effort(profile: Profile, effort: str) -> bool:
    """Whether the model takes this word. A model of budgets takes none but those that its profile lists."""
    if profile.reasoning_efforts:
        return effort in profile.reasoning_efforts
    return profile.reasoning not in ("budget", "none")


def _fit_thinking(draft: Draft, ask: ReasoningAsk) -> None:
    kind = draft.profile.reasoning
    off = ask.mode == "disabled" or ask.effort == "none" or ask.budget_tokens == 0
    wanted = not off and (ask.effort is not None or ask.budget_tokens is not None or ask.mode is not None)
    if kind == "none":
        if wanted:
            draft.drop("reasoning_effort")
        return
    if off:
        if kind != "effort":
            draft.body["thinking"] = {"type": "disabled"}
        return
    if not wanted:
        return
    if kind == "budget":
        budget = _budget(draft, ask)
        if budget is None:
            draft.drop("reasoning_effort")
            return
        draft.body["thinking"] = {"type": "enabled", "budget_tokens": budget}
    else:
        effort = _effort(draft, ask)
        if effort is not None:
            _output_config(draft)["effort"] = effort
        if kind != "effort":
            draft.body["thinking"] = {"type": "adaptive"}
    if ask.show is not None and "thinking" in draft.body:
        draft.body["thinking"]["display"] = "summarized" if ask.show else "omitted"


def _budget(draft: Draft, ask: ReasoningAsk) -> int | None:
    """A budget that fits under `max_tokens`; None if there is no room for one."""
    limit: int = draft.body["max_tokens"]
    if limit <= MIN_BUDGET:
        return None
    if ask.budget_tokens is not None and ask.budget_tokens > 0:
        budget = max(ask.budget_tokens, MIN_BUDGET)
        if budget >= limit:
            draft.lower("reasoning_effort")
    else:
        budget = max(int(limit * _SHARE.get(ask.effort or "medium", 0.5)), MIN_BUDGET)
    return min(budget, limit - 1)


def _effort(draft: Draft, ask: ReasoningAsk) -> str | None:
    """The weakest effort known here that is not weaker than the wish. None: the model's own choice."""
    effort = ask.effort
    if effort is None and ask.budget_tokens is not None and ask.budget_tokens > 0:
        effort = next((name for most, name in _EFFORT_OF_BUDGET if ask.budget_tokens <= most), "high")
    known = draft.profile.reasoning_efforts or KNOWN_EFFORTS
    if effort in known:
        return effort
    if effort is None or effort not in EFFORTS:
        # A word of another ladder (`default`) is the model's ordinary thinking.
        return None
    rank = EFFORTS.index(effort)
    stronger = [name for name in known if name in EFFORTS and EFFORTS.index(name) >= rank]
    draft.lower("reasoning_effort")
    return stronger[0] if stronger else known[-1]


def _quiet_sampling(draft: Draft) -> None:
    """Thinking goes with no changed temperature or top_k, and with a top_p of 0.95 to 1 only."""
    body = draft.body
    if body.get("temperature", 1) != 1:
        draft.drop("temperature")
    body.pop("temperature", None)
    if body.pop("top_k", None) is not None:
        draft.drop("top_k")
    if body.get("top_p", 1) < 0.95:
        del body["top_p"]
        draft.drop("top_p")


# ------------------------------------------------------------------------------------------------------------ output
def _output_config(draft: Draft) -> Block:
    config: Block = draft.body.setdefault("output_config", {})
    return config


def write_output(draft: Draft, output: OutputFormat) -> None:
    if draft.own:
        _own_output(draft, output)
        return
    way = draft.profile.json_schema
    match output.kind:
        case "text" | "other":
            if output.kind == "other":
                draft.drop("response_format")
        case _ if way == "none":
            draft.drop("response_format")
        case "json_schema" if output.schema is not None and way == "native":
            _output_config(draft)["format"] = {"type": "json_schema", "schema": strict_schema(output.schema)}
        case "json_schema" if output.schema is not None and way == "tool":
            draft.answer = answer_tool(output.schema)
        case "json" if way == "tool":
            draft.answer = answer_tool(Raw(b'{"type":"object","additionalProperties":true}'))
        case _:
            # No JSON mode without a schema here: the model is told in words.
            schema = f"\nIt must match this JSON schema: {bytes(output.schema).decode()}" if output.schema else ""
            draft.system.append(JSON_ONLY + schema)


def _own_output(draft: Draft, output: OutputFormat) -> None:
    if output.kind == "other" and output.raw is not None:
        written: Block | Raw = output.raw
    else:
        written = {"type": "json_schema", "schema": output.schema, **(output.extras or {})}
    if "output_format" in draft.request.spelling:
        draft.body["output_format"] = written
    else:
        _output_config(draft)["format"] = written


# -------------------------------------------------------------------------------------------------------------- rest
def write_rest(draft: Draft) -> None:
    """Metadata, service tier, stream, and the fields that only this dialect knows."""
    request = draft.request
    body = draft.body
    if request.user is not None:
        body["metadata"] = {"user_id": request.user}
    if request.service_tier is not None:
        _service_tier(draft, request.service_tier)
    if request.stream or "stream" in request.spelling:
        body["stream"] = request.stream
    if draft.own:
        _own_extras(draft)
        return
    if _rest(request) != _NO_REST:
        _drop_rest(draft, request)
    for message in request.messages:
        if message.name:
            draft.drop("messages.name")
            break
    for name, value in request.extras.items():
        if value not in _SAYS_NOTHING:
            draft.drop(name)


_rest = attrgetter("modalities", "audio", "verbosity", "prediction", "cache_key", "cache_retention")
_NO_REST = _rest(Request(dialect=NAME, model="", messages=[]))


def _drop_rest(draft: Draft, request: Request) -> None:
    lacking = {
        "modalities": bool(request.modalities) and request.modalities != ["text"],
        "audio": request.audio is not None,
        "verbosity": request.verbosity is not None,
        "prediction": request.prediction is not None,
        "prompt_cache_key": request.cache_key is not None,
        "prompt_cache_retention": request.cache_retention is not None,
    }
    for name, asked in lacking.items():
        if asked:
            draft.drop(name)


_SAYS_NOTHING = (NULL, EMPTY_LIST, Raw(b"{}"), Raw(b"false"))


def _service_tier(draft: Draft, tier: str) -> None:
    if tier == "default":
        draft.body["service_tier"] = "standard_only"
    elif tier == "auto" or draft.own:
        draft.body["service_tier"] = tier
    else:
        draft.drop("service_tier")


def _own_extras(draft: Draft) -> None:
    body = draft.body
    for name, value in draft.request.extras.items():
        if name not in body:
            body[name] = value
        elif name in ("output_config", "metadata"):
            # What the neutral form does not know of an object that it knows in part.
            body[name] = {**wire.decode_fields(value), **body[name]}


def fit_target(draft: Draft) -> None:
    """What the profile says of top-level fields: those refused here, exclusive, renamed or always wanted."""
    profile = draft.profile
    refused = profile.unsupported
    if profile.unsupported_reasoning and _is_thinking(draft):
        refused |= profile.unsupported_reasoning
    if refused:
        _drop_refused(draft, refused)
    if profile.exclusive:
        given = [name for name in profile.exclusive if name in draft.body]
        for name in given[1:]:
            del draft.body[name]
            draft.drop(_CLIENT_WORDS.get(name, name))
    for name, here in profile.renames.items():
        if name in draft.body:
            draft.body[here] = draft.body.pop(name)
    if profile.constants:
        draft.body.update(profile.constants)
    if not profile.model_in_body:
        del draft.body["model"]


def _is_thinking(draft: Draft) -> bool:
    thinking = draft.body.get("thinking")
    return isinstance(thinking, dict) and thinking.get("type") != "disabled"


def _drop_refused(draft: Draft, refused: frozenset[str]) -> None:
    """Takes out top-level names, or names one step deep (`output_config.effort`)."""
    body, by_field = draft.body, _by_field(refused)
    for outer in sorted(by_field.keys() & body.keys()):
        for inner in by_field[outer]:
            name = f"{outer}.{inner}" if inner else outer
            if not inner:
                # Where `stream` is refused the path says it: nothing is lost.
                if body.pop(outer, None) is not None and outer != "stream":
                    draft.drop(_CLIENT_WORDS.get(name, name))
                continue
            holder = body.get(outer)
            if isinstance(holder, dict) and holder.pop(inner, None) is not None:
                draft.drop(_CLIENT_WORDS.get(name, name))
                if not holder:
                    del body[outer]


@lru_cache(1024)
def _by_field(refused: frozenset[str]) -> dict[str, list[str]]:
    """By top-level field what is refused of it; `""`: all of it."""
    found: dict[str, list[str]] = {}
    for name in sorted(refused - NEVER_REFUSED):
        outer, _, inner = name.partition(".")
        found.setdefault(outer, []).append(inner)
    return found


# Fields of this dialect whose wish another dialect states under a name of its own (OpenAI chat's, see words.py).
_CLIENT_WORDS = {
    "stop_sequences": "stop",
    "thinking": "reasoning_effort",
    "output_config.effort": "reasoning_effort",
    "output_config.format": "response_format",
    "metadata": "user",
}


def refuse(what: str, request: Request) -> BadRequest:
    return BadRequest(f"{request.model} cannot take {what}: leave it out, or ask a model that takes it")
