"""The top-level settings of a client's chat request, read one by one into the neutral form."""

from collections.abc import Callable

from msgspec import Raw

from wayport.dialects import openai_read as read
from wayport.dialects.neutral import (
    OutputFormat,
    ReasoningAsk,
    Request,
)
from wayport.dialects.openai_chat_tools import (
    read_choice,
    read_function_choice,
    read_functions,
    read_tools,
)
from wayport.dialects.openai_read import Object, encode, is_null


def _stream(request: Request, raw: Raw) -> None:
    request.stream = read.boolean(raw, "stream")
    if not request.stream:
        request.spelling["stream"] = True


def _stream_options(request: Request, raw: Raw) -> None:
    options = read.fields(raw, "stream_options")
    usage = options.get("include_usage")
    request.include_usage = (
        usage is not None and not is_null(usage) and read.boolean(usage, "stream_options.include_usage")
    )
    request.spelling["stream_options"] = options


def _stop(request: Request, raw: Raw) -> None:
    if bytes(raw)[:1] == b'"':
        request.sampling.stop = [read.text(raw, "stop")]
        request.spelling["stop"] = True
    else:
        request.sampling.stop = read.texts(raw, "stop")
        if not request.sampling.stop:
            request.extras["stop"] = raw


def _tools(request: Request, raw: Raw) -> None:
    tools = read_tools(raw, "tools")
    if not tools:
        request.extras["tools"] = raw
    request.tools.extend(tools)


def _functions(request: Request, raw: Raw) -> None:
    tools = read_functions(raw, "functions")
    if not tools:
        request.extras["functions"] = raw
    request.tools.extend(tools)
    request.spelling["functions"] = True


def _tool_choice(request: Request, raw: Raw) -> None:
    request.tool_choice = read_choice(raw, "tool_choice")


def _function_call(request: Request, raw: Raw) -> None:
    if request.tool_choice is not None:
        request.extras["function_call"] = raw
        return
    request.tool_choice = read_function_choice(raw, "function_call")
    request.spelling["function_call"] = True


def _response_format(request: Request, raw: Raw) -> None:
    path = "response_format"
    entry = read.fields(raw, path)
    kind = read.text(read.need(entry, "type", path), f"{path}.type")
    del entry["type"]
    if kind == "json_schema":
        request.output = _json_schema(entry, path)
    elif kind in ("text", "json_object"):
        request.output = OutputFormat(kind="text" if kind == "text" else "json", extras=entry or None)
    else:
        request.output = OutputFormat(kind="other", raw=raw)


def _json_schema(entry: Object, path: str) -> OutputFormat:
    at = f"{path}.json_schema"
    inner = read.fields(read.need(entry, "json_schema", path), at)
    del entry["json_schema"]
    output = OutputFormat(kind="json_schema")
    for name in ("name", "description"):
        raw = inner.get(name)
        if raw is not None and not is_null(raw):
            setattr(output, name, read.text(raw, f"{at}.{name}"))
            del inner[name]
    raw = inner.get("schema")
    if raw is not None and not is_null(raw):
        output.schema = raw
        del inner["schema"]
    raw = inner.get("strict")
    if raw is not None and not is_null(raw):
        output.strict = read.boolean(raw, f"{at}.strict")
        del inner["strict"]
    if inner:
        entry["json_schema"] = Raw(encode(inner))
    output.extras = entry or None
    return output


def _ask(request: Request, field: str, raw: Raw) -> ReasoningAsk:
    """What the client asks of the model's thinking, in however many fields; each is also kept as written."""
    if request.reasoning is None:
        request.reasoning = ReasoningAsk()
    request.spelling.setdefault("reasoning", {})[field] = raw
    return request.reasoning


def _reasoning_effort(request: Request, raw: Raw) -> None:
    if bytes(raw)[:1] == b"{":  # LiteLLM: {"effort": …, "summary": …}
        inner = read.fields(raw, "reasoning_effort")
        ask = _ask(request, "reasoning_effort", raw)
        if "effort" in inner:
            ask.effort = read.text(inner["effort"], "reasoning_effort.effort")
        if "summary" in inner:
            ask.summary = read.text(inner["summary"], "reasoning_effort.summary")
        return
    _ask(request, "reasoning_effort", raw).effort = read.text(raw, "reasoning_effort")


def _thinking(request: Request, raw: Raw) -> None:
    """Anthropic's object, which DeepSeek, Kimi and GLM took over."""
    inner = read.fields(raw, "thinking")
    ask = _ask(request, "thinking", raw)
    kind = inner.get("type")
    if kind is not None and not is_null(kind):
        word = read.text(kind, "thinking.type")
        if word == "enabled":
            ask.mode = "enabled"
        elif word == "disabled":
            ask.mode = "disabled"
        elif word in ("adaptive", "auto"):
            ask.mode = "adaptive"
    budget = inner.get("budget_tokens")
    if budget is not None and not is_null(budget):
        ask.budget_tokens = read.whole(budget, "thinking.budget_tokens")


def _reasoning(request: Request, raw: Raw) -> None:
    """OpenRouter's object."""
    inner = read.fields(raw, "reasoning")
    ask = _ask(request, "reasoning", raw)
    effort = inner.get("effort")
    if effort is not None and not is_null(effort):
        ask.effort = read.text(effort, "reasoning.effort")
    budget = inner.get("max_tokens")
    if budget is not None and not is_null(budget):
        ask.budget_tokens = read.whole(budget, "reasoning.max_tokens")
    enabled = inner.get("enabled")
    if enabled is not None and not is_null(enabled):
        ask.mode = "enabled" if read.boolean(enabled, "reasoning.enabled") else "disabled"
    hidden = inner.get("exclude")
    if hidden is not None and not is_null(hidden):
        ask.show = not read.boolean(hidden, "reasoning.exclude")
    summary = inner.get("summary")
    if summary is not None and not is_null(summary):
        ask.summary = read.text(summary, "reasoning.summary")


def _sampling_number(name: str) -> Callable[[Request, Raw], None]:
    def reader(request: Request, raw: Raw) -> None:
        setattr(request.sampling, name, read.number(raw, name))

    return reader


def _sampling_whole(name: str, target: str | None = None) -> Callable[[Request, Raw], None]:
    def reader(request: Request, raw: Raw) -> None:
        setattr(request.sampling, target or name, read.whole(raw, name))

    return reader


def _request_text(name: str, target: str | None = None) -> Callable[[Request, Raw], None]:
    def reader(request: Request, raw: Raw) -> None:
        setattr(request, target or name, read.text(raw, name))

    return reader


def _request_raw(name: str) -> Callable[[Request, Raw], None]:
    def reader(request: Request, raw: Raw) -> None:
        read.fields(raw, name)
        setattr(request, name, raw)

    return reader


def _logprobs(request: Request, raw: Raw) -> None:
    request.sampling.logprobs = read.boolean(raw, "logprobs")


def _logit_bias(request: Request, raw: Raw) -> None:
    read.fields(raw, "logit_bias")
    request.sampling.logit_bias = raw


def _parallel(request: Request, raw: Raw) -> None:
    request.parallel_tool_calls = read.boolean(raw, "parallel_tool_calls")


def _store(request: Request, raw: Raw) -> None:
    request.store = read.boolean(raw, "store")


def _modalities(request: Request, raw: Raw) -> None:
    request.modalities = read.texts(raw, "modalities")
    if not request.modalities:
        request.extras["modalities"] = raw


SETTINGS: dict[str, Callable[[Request, Raw], None]] = {
    "stream": _stream,
    "stream_options": _stream_options,
    "temperature": _sampling_number("temperature"),
    "top_p": _sampling_number("top_p"),
    "top_k": _sampling_whole("top_k"),
    "min_p": _sampling_number("min_p"),
    "n": _sampling_whole("n"),
    "seed": _sampling_whole("seed"),
    "max_tokens": _sampling_whole("max_tokens", "max_output_tokens"),
    "max_completion_tokens": _sampling_whole("max_completion_tokens", "max_output_tokens"),
    "presence_penalty": _sampling_number("presence_penalty"),
    "frequency_penalty": _sampling_number("frequency_penalty"),
    "logit_bias": _logit_bias,
    "logprobs": _logprobs,
    "top_logprobs": _sampling_whole("top_logprobs"),
    "stop": _stop,
    "tools": _tools,
    "functions": _functions,
    "tool_choice": _tool_choice,
    "function_call": _function_call,
    "parallel_tool_calls": _parallel,
    "response_format": _response_format,
    "reasoning_effort": _reasoning_effort,
    "thinking": _thinking,
    "reasoning": _reasoning,
    "verbosity": _request_text("verbosity"),
    "service_tier": _request_text("service_tier"),
    "user": _request_text("user"),
    "store": _store,
    "modalities": _modalities,
    "audio": _request_raw("audio"),
    "prediction": _request_raw("prediction"),
    "metadata": _request_raw("metadata"),
    "prompt_cache_key": _request_text("prompt_cache_key", "cache_key"),
    "prompt_cache_retention": _request_text("prompt_cache_retention", "cache_retention"),
}
"""readers of the top-level fields, by name; legacy completions share many of them"""
