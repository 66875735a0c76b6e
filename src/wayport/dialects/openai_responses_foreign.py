"""Requests of other dialects, put to a Responses upstream: their parameters. The conversation: `_turns`.

What must stay true: nothing is stored at the upstream that the client did not ask to be stored, and what this API lacks
is reported.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw

from wayport.dialects.dialect import Profile
from wayport.dialects.neutral import OutputFormat, ReasoningAsk, Request, Tool, ToolChoice
from wayport.dialects.openai_read import is_empty
from wayport.dialects.openai_responses_fit import EFFORTS, Fitting
from wayport.dialects.openai_responses_frame import SERVICE_TIERS
from wayport.dialects.openai_responses_tools import encode_choice
from wayport.dialects.openai_responses_turns import Turns, safe
from wayport.dialects.tool_names import ToolNames
from wayport.wire.openai_responses import NULL, OBJECT

NO_PARAMETERS = Raw(b'{"type":"object","properties":{}}')
# OpenAI refuses longer ones ("string too long"); a hash of a longer one still tells users and prompts apart.
_ID_CHARS = 64
_FORMAT_NAME = re.compile(r"[^a-zA-Z0-9_-]")
# Tokens of thinking to words, where only a budget was given: the weakest effort whose budget is not smaller.
_EFFORT_OF_BUDGET = ((1_024, "low"), (8_192, "medium"))
# What others ask for and OpenAI does unasked.
_POINTLESS = frozenset({"cache_control"})
_LACKING: Mapping[str, str] = {
    "top_k": "top_k",
    "min_p": "min_p",
    "stop": "stop",
    "seed": "seed",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "logit_bias": "logit_bias",
}


def translate(request: Request, profile: Profile, fitting: Fitting) -> dict[str, Any]:
    names = ToolNames(safe)
    fitting.tool_names = names.changed
    turns = Turns(request, profile, fitting, names)
    body: dict[str, Any] = {"model": request.model}
    _tools(body, request, profile, fitting, names)
    _sampling(body, request, fitting)
    _output(body, request, profile, fitting, turns)
    if turns.instructions and turns.items:
        body["instructions"] = turns.instructions
    body["input"] = turns.items or [{"role": "developer", "content": turns.instructions}]
    reasoning = _reasoning(request.reasoning, profile, fitting)
    if reasoning:
        body["reasoning"] = reasoning
    include = [] if profile.reasoning == "none" else ["reasoning.encrypted_content"]
    if request.sampling.logprobs:
        include.append("message.output_text.logprobs")
    if include:
        body["include"] = include
    _account(body, request, fitting)
    body["store"] = request.store if request.store is not None else False
    if request.stream:
        body["stream"] = True
    return body


# ------------------------------------------------------------------------------------------------------------- tools
def _tools(body: dict[str, Any], request: Request, profile: Profile, fitting: Fitting, names: ToolNames) -> None:
    tools = []
    offered: list[Tool] = []
    for tool in request.tools:
        if tool.kind == "server":
            fitting.drop_as(f"tools.{tool.name}")
            continue
        offered.append(tool)
        tools.append(_custom(tool, names) if tool.kind == "custom" else _function(tool, profile, names))
    if not tools:
        return
    body["tools"] = tools
    if request.parallel_tool_calls is not None:
        body["parallel_tool_calls"] = request.parallel_tool_calls
    choice = request.tool_choice
    if choice is None:
        return
    known = {tool.name for tool in offered}
    wanted = [name for name in choice.names if name in known]
    if choice.names and not wanted:
        fitting.drop("tool_choice")
        return
    if choice.mode in ("required", "named") and not profile.tool_choice_required:
        fitting.drop("tool_choice")
        return
    sent = [msgspec.structs.replace(tool, name=names.sent(tool.name, tool.namespace)) for tool in offered]
    body["tool_choice"] = encode_choice(ToolChoice(mode=choice.mode, names=[names.sent(name) for name in wanted]), sent)


def _function(tool: Tool, profile: Profile, names: ToolNames) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "function", "name": names.sent(tool.name, tool.namespace)}
    if tool.description is not None:
        entry["description"] = tool.description
    entry["parameters"] = tool.parameters if tool.parameters is not None else NO_PARAMETERS
    # This API takes a missing `strict` for true; all others for false.
    entry["strict"] = bool(tool.strict) and profile.strict_tools
    return entry


def _custom(tool: Tool, names: ToolNames) -> dict[str, Any]:
    """A free-text tool, as chat completions write it: one level deeper."""
    entry: dict[str, Any] = {"type": "custom", "name": names.sent(tool.name, tool.namespace)}
    if tool.description is not None:
        entry["description"] = tool.description
    inner = OBJECT.decode(tool.raw).get("custom") if tool.raw is not None else None
    wanted = OBJECT.decode(inner).get("format", NULL) if inner is not None else NULL
    if wanted != NULL:
        fields = OBJECT.decode(wanted)
        grammar = fields.pop("grammar", None)
        entry["format"] = {**fields, **(OBJECT.decode(grammar) if grammar is not None else {})}
    return entry


# -------------------------------------------------------------------------------------------------------- parameters
def _sampling(body: dict[str, Any], request: Request, fitting: Fitting) -> None:
    sampling = request.sampling
    given = {
        "max_output_tokens": sampling.max_output_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_logprobs": sampling.top_logprobs if sampling.logprobs else None,
    }
    body |= {name: value for name, value in given.items() if value is not None}
    for attribute, name in _LACKING.items():
        if getattr(sampling, attribute) not in (None, [], 0.0):
            fitting.drop(name)
    if sampling.n is not None and sampling.n > 1:
        fitting.drop("n")
    for name in ("audio", "prediction"):
        if getattr(request, name) is not None:
            fitting.drop(name)
    if any(each != "text" for each in request.modalities):
        fitting.drop("modalities")
    for name, value in request.extras.items():
        if not name.startswith(("@", "~")) and name not in _POINTLESS and not is_empty(value):
            fitting.drop_as(name)


def _output(body: dict[str, Any], request: Request, profile: Profile, fitting: Fitting, turns: Turns) -> None:
    text: dict[str, Any] = {}
    output = request.output
    if output is not None:
        wanted = _format(output, profile, fitting, turns)
        if wanted is not None:
            text["format"] = wanted
    if request.verbosity is not None:
        text["verbosity"] = request.verbosity
    if text:
        body["text"] = text


def _format(output: OutputFormat, profile: Profile, fitting: Fitting, turns: Turns) -> dict[str, Any] | None:
    if output.kind == "json_schema" and output.schema is not None:
        way = profile.json_schema
        if way == "native":
            name = _FORMAT_NAME.sub("_", output.name or "")[:64] or "response"
            wanted = {"type": "json_schema", "name": name, "schema": output.schema, "strict": bool(output.strict)}
            return {**wanted, "description": output.description} if output.description is not None else wanted
        if way == "none":
            fitting.drop("response_format")
            return None
        turns.say(f"Answer with JSON alone that fits this JSON schema: {bytes(output.schema).decode()}")
        return {"type": "json_object"} if way == "json_object" else None
    if output.kind == "json":
        if profile.json_schema == "none":
            fitting.drop("response_format")
            return None
        # OpenAI refuses this format unless a message says the word.
        if not turns.mention("json"):
            turns.say("Answer with a JSON object.")
        return {"type": "json_object"}
    if output.kind == "other":
        fitting.drop("response_format")
    return None


def _reasoning(ask: ReasoningAsk | None, profile: Profile, fitting: Fitting) -> dict[str, Any]:
    if ask is None:
        return {}
    reasoning: dict[str, Any] = {}
    effort = ask.effort
    if effort is None and (ask.mode == "disabled" or ask.budget_tokens == 0):
        # A model that cannot think refuses the word: said only where it is known.
        known = profile.reasoning_efforts
        effort = "none" if "none" in known else known[0] if known else None
    elif effort is None and ask.budget_tokens is not None and ask.budget_tokens > 0:
        budget = ask.budget_tokens
        effort = next((name for limit, name in _EFFORT_OF_BUDGET if budget <= limit), "high")
    if effort is not None and effort not in EFFORTS and effort not in profile.reasoning_efforts:
        # A word of one provider (`default` at Groq).
        fitting.drop("reasoning_effort")
        effort = None
    if effort is not None:
        reasoning["effort"] = effort
    if ask.summary is not None:
        reasoning["summary"] = ask.summary
    elif ask.show and effort != "none":
        reasoning["summary"] = "auto"
    return reasoning


def _account(body: dict[str, Any], request: Request, fitting: Fitting) -> None:
    if request.service_tier is not None:
        if request.service_tier in SERVICE_TIERS:
            body["service_tier"] = request.service_tier
        else:
            fitting.drop("service_tier")
    if request.user is not None:
        body["user"] = short_id(request.user)
    if request.cache_key is not None:
        body["prompt_cache_key"] = short_id(request.cache_key)
    if request.cache_retention is not None:
        body["prompt_cache_retention"] = request.cache_retention
    if request.metadata is not None and request.metadata != NULL:
        if _is_openai_metadata(request.metadata):
            body["metadata"] = request.metadata
        elif request.user is None:
            fitting.drop("metadata")


def short_id(text: str) -> str:
    return text if len(text) <= _ID_CHARS else hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


_metadata = msgspec.json.Decoder(dict[str, str])


def _is_openai_metadata(raw: Raw) -> bool:
    """Up to 16 pairs of texts, names of up to 64 characters, values of up to 512."""
    try:
        pairs = _metadata.decode(raw)
    except ValueError:
        return False
    return len(pairs) <= 16 and all(len(name) <= 64 and len(value) <= 512 for name, value in pairs.items())
