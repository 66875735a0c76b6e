"""Reads a request of the Messages API into the neutral form.

Errors are `ValueError`s that begin with the path of the wrong field, as Anthropic's own do: `messages.2.role: …`.
"""

from collections.abc import Callable
from typing import TypeVar

from msgspec import Raw

from wayport.dialects.anthropic_messages_carry import restore
from wayport.dialects.anthropic_messages_control import upstream_fields
from wayport.dialects.anthropic_messages_fields import (
    EMPTY_LIST,
    NAME,
    NULL,
    is_string,
    need,
    optional_text,
    take_cache,
    text_of,
    type_of,
)
from wayport.dialects.anthropic_messages_parts import BILLING_HEADER, decode_content
from wayport.dialects.dialect import Headers
from wayport.dialects.neutral import (
    Message,
    Opaque,
    OutputFormat,
    Part,
    ReasoningAsk,
    Request,
    Role,
    Sampling,
    Text,
    Tool,
    ToolChoice,
)
from wayport.wire import anthropic_messages as wire
from wayport.wire.patch import Fields

T = TypeVar("T")

_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system"}

# The neutral words for service tiers are OpenAI's.
_TIERS = {"standard_only": "default"}


def decode_request(fields: Fields, headers: Headers) -> Request:
    left = upstream_fields(fields)
    request = Request(
        dialect=NAME,
        model=_take(left, "model", wire.decode_str) or "",
        messages=[*_system(left), *_messages(left)],
        tools=_tools(left),
        sampling=_sampling(left),
        stream=_take(left, "stream", wire.decode_bool) or False,
    )
    if "stream" in fields and "stream" not in left:
        request.spelling["stream"] = True
    _tool_choice(left, request)
    _thinking(left, request)
    _output(left, request)
    _metadata(left, request)
    tier = _take(left, "service_tier", wire.decode_str)
    request.service_tier = _TIERS.get(tier, tier) if tier is not None else None
    if betas := headers.get("anthropic-beta"):
        request.betas = [beta for item in betas.split(",") if (beta := item.strip())]
    request.extras = left
    restore(request.messages)
    return request


def _take(left: Fields, name: str, decode: Callable[[Raw], T]) -> T | None:
    """Takes a field out of `left`; what says nothing (null, an empty list) stays there as written."""
    value = left.get(name)
    if value is None or value in (NULL, EMPTY_LIST):
        return None
    try:
        taken = decode(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    del left[name]
    return taken


# ---------------------------------------------------------------------------------------------------------- messages
def _system(left: Fields) -> list[Message]:
    value = left.get("system")
    if value is None or value == NULL:
        return []
    del left["system"]
    try:
        parts, plain = decode_content(value)
    except ValueError as error:
        raise ValueError(f"system.{error}") from error
    if not plain:
        parts = [_without_billing(part, raw) for part, raw in zip(parts, wire.decode_list(value), strict=True)]
    return [Message(role="system", parts=parts, plain=plain)]


def _without_billing(part: Part, raw: Raw) -> Part:
    """Claude Code's billing header is for Anthropic alone."""
    if isinstance(part, Text) and part.text.startswith(BILLING_HEADER):
        return Opaque(dialect=NAME, kind="text", raw=raw)
    return part


def _messages(left: Fields) -> list[Message]:
    value = need(left, "messages")
    try:
        raws = wire.decode_list(value)
    except ValueError as error:
        raise ValueError(f"messages: {error}") from error
    if not raws:
        raise ValueError("messages: at least one message is required")
    messages = []
    for number, raw in enumerate(raws):
        try:
            messages.append(_message(wire.decode_fields(raw)))
        except ValueError as error:
            raise ValueError(f"messages.{number}.{error}") from error
    return messages


def _message(fields: Fields) -> Message:
    word = text_of(fields, "role")
    role = _ROLES.get(word)
    if role is None:
        raise ValueError(f"role: must be user, assistant or system, not {word!r}")
    content = need(fields, "content")
    try:
        parts, plain = decode_content(content)
    except ValueError as error:
        raise ValueError(f"content.{error}") from error
    return Message(role=role, parts=parts, plain=plain, extras=fields or None)


# ------------------------------------------------------------------------------------------------------------- tools
def _tools(left: Fields) -> list[Tool]:
    raws = _take(left, "tools", wire.decode_list) or []
    tools = []
    for number, raw in enumerate(raws):
        try:
            tools.append(_tool(wire.decode_fields(raw), raw))
        except ValueError as error:
            raise ValueError(f"tools.{number}.{error}") from error
    return tools


def _tool(fields: Fields, raw: Raw) -> Tool:
    kind = type_of(fields) if fields.get("type", NULL) != NULL else ""
    if kind not in ("", "custom"):
        name = optional_text(fields, "name") or optional_text(fields, "mcp_server_name") or kind
        return Tool(name=name, kind="server", raw=raw)
    name = text_of(fields, "name")
    description = optional_text(fields, "description")
    strict: bool | None = None
    if fields.get("strict", NULL) != NULL:
        strict = wire.decode_bool(fields.pop("strict"))
    schema = fields.get("input_schema")
    if schema is not None and schema != NULL:
        del fields["input_schema"]
        wire.decode_fields(schema)
    return Tool(
        name=name,
        description=description,
        parameters=schema if schema != NULL else None,
        strict=strict,
        cache=take_cache(fields),
        extras=fields or None,
    )


def _tool_choice(left: Fields, request: Request) -> None:
    value = left.get("tool_choice")
    if value is None or value == NULL:
        return
    fields = _take(dict(left), "tool_choice", wire.decode_fields) or {}
    kind = type_of(fields)
    choice = ToolChoice(mode="auto")
    match kind:
        case "auto":
            pass
        case "any":
            choice.mode = "required"
        case "none":
            choice.mode = "none"
        case "tool":
            choice.mode = "named"
            try:
                choice.names = [text_of(fields, "name")]
            except ValueError as error:
                raise ValueError(f"tool_choice.{error}") from error
        case _:
            # Not known yet: it stays as written, for Anthropic to judge.
            return
    del left["tool_choice"]
    fields.pop("type")
    if fields.get("disable_parallel_tool_use", NULL) != NULL:
        try:
            request.parallel_tool_calls = not wire.decode_bool(fields.pop("disable_parallel_tool_use"))
        except ValueError as error:
            raise ValueError(f"tool_choice.disable_parallel_tool_use: {error}") from error
    choice.extras = fields or None
    request.tool_choice = choice


# ----------------------------------------------------------------------------------------------------------- options
def _sampling(left: Fields) -> Sampling:
    return Sampling(
        max_output_tokens=_take(left, "max_tokens", wire.decode_int),
        temperature=_take(left, "temperature", wire.decode_number),
        top_p=_take(left, "top_p", wire.decode_number),
        top_k=_take(left, "top_k", wire.decode_int),
        stop=_take(left, "stop_sequences", wire.decode_strings) or [],
    )


_SHOWN = {"summarized": True, "omitted": False}


def _thinking(left: Fields, request: Request) -> None:
    fields = _take(dict(left), "thinking", wire.decode_fields)
    if fields is None:
        return
    kind = type_of(fields)
    if kind not in ("enabled", "disabled", "adaptive"):
        return
    del left["thinking"]
    del fields["type"]
    ask = ReasoningAsk(mode="enabled" if kind == "enabled" else "disabled" if kind == "disabled" else "adaptive")
    try:
        ask.budget_tokens = _take(fields, "budget_tokens", wire.decode_int)
    except ValueError as error:
        raise ValueError(f"thinking.{error}") from error
    if is_string(display := fields.get("display", NULL)):
        ask.show = _SHOWN.get(wire.decode_str(display))
    ask.extras = fields or None
    request.reasoning = ask


def _output(left: Fields, request: Request) -> None:
    """`output_config` (effort and format) and the older `output_format`."""
    config = _take(dict(left), "output_config", wire.decode_fields)
    if config:
        whole = len(config)
        if is_string(config.get("effort", NULL)):
            request.reasoning = request.reasoning or ReasoningAsk()
            request.reasoning.effort = wire.decode_str(config.pop("effort"))
        if config.get("format", NULL) != NULL:
            request.output = _format(config.pop("format"), "output_config.format")
        if not config:
            del left["output_config"]
        elif len(config) < whole:
            left["output_config"] = Raw(wire.encode(config))
    if request.output is None and left.get("output_format", NULL) != NULL:
        request.output = _format(left.pop("output_format"), "output_format")
        request.spelling["output_format"] = True


def _format(value: Raw, path: str) -> OutputFormat:
    try:
        fields = wire.decode_fields(value)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    schema = fields.get("schema", NULL)
    if type_of(fields) != "json_schema" or schema == NULL:
        return OutputFormat(kind="other", raw=value)
    del fields["type"], fields["schema"]
    return OutputFormat(kind="json_schema", schema=schema, extras=fields or None)


def _metadata(left: Fields, request: Request) -> None:
    fields = _take(dict(left), "metadata", wire.decode_fields)
    if not fields or not is_string(fields.get("user_id", NULL)):
        return
    request.user = wire.decode_str(fields.pop("user_id"))
    if fields:
        left["metadata"] = Raw(wire.encode(fields))
    else:
        del left["metadata"]
