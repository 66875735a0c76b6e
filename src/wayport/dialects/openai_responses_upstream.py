"""The upstream half of the Responses dialect: what we call at OpenAI, Azure, DeepSeek and others."""

from typing import Any

import msgspec
from msgspec import Raw

from wayport.core.errors import Fault
from wayport.dialects.dialect import Encoded, Headers, Profile
from wayport.dialects.neutral import DialectName, Message, OutputFormat, Request, Response
from wayport.dialects.openai_responses_client import FIELDS, INPUT, INSTRUCTIONS, REST
from wayport.dialects.openai_responses_errors import decode_error
from wayport.dialects.openai_responses_fit import Fitting
from wayport.dialects.openai_responses_foreign import translate
from wayport.dialects.openai_responses_items import encode_input
from wayport.dialects.openai_responses_parts import NAME
from wayport.dialects.openai_responses_stream import StreamDecoder
from wayport.dialects.openai_responses_tools import encode_choice, encode_tools
from wayport.dialects.openai_responses_whole import decode_response

_encode = msgspec.json.Encoder().encode


class ResponsesUpstream:
    name: DialectName = NAME

    def encode_request(self, request: Request, profile: Profile) -> Encoded:
        fitting = Fitting(request, profile)
        body = _again(request) if request.dialect == NAME else translate(request, profile, fitting)
        fitting.apply(body)
        return Encoded(
            body=_encode(body),
            dropped=fitting.dropped,
            lowered=fitting.lowered,
            tool_names=fitting.tool_names,
        )

    def decode_response(self, body: bytes) -> Response:
        return decode_response(body)

    def stream_decoder(self) -> StreamDecoder:
        return StreamDecoder()

    def decode_error(self, status: int, headers: Headers, body: bytes, profile: Profile) -> Fault:
        return decode_error(status, headers, body, profile)


def _again(request: Request) -> dict[str, Any]:
    """The body again, for a request of this very dialect."""
    body: dict[str, Any] = {"model": request.model}
    messages = request.messages
    if messages and INSTRUCTIONS in (messages[0].extras or {}):
        body["instructions"] = "".join(getattr(part, "text", "") for part in messages[0].parts)
        messages = messages[1:]
    if INPUT in request.spelling or messages:
        body["input"] = _input(messages, request)
    if request.tools:
        body["tools"] = encode_tools(request.tools)
    if request.tool_choice is not None:
        body["tool_choice"] = encode_choice(request.tool_choice, request.tools)
    settings = {
        "parallel_tool_calls": request.parallel_tool_calls,
        "max_output_tokens": request.sampling.max_output_tokens,
        "temperature": request.sampling.temperature,
        "top_p": request.sampling.top_p,
        "top_logprobs": request.sampling.top_logprobs,
        "text": _text(request),
        "reasoning": _reasoning(request),
        "store": request.store,
        "service_tier": request.service_tier,
        "user": request.user if "user" not in request.spelling else None,
        "prompt_cache_key": request.cache_key,
        "prompt_cache_retention": request.cache_retention,
        "metadata": request.metadata,
    }
    body |= {name: value for name, value in settings.items() if value is not None}
    kept = request.spelling.get(FIELDS, {})
    if request.stream or "stream" in request.spelling:
        body["stream"] = request.stream
    return {**body, **kept, **request.extras}


def _input(messages: list[Message], request: Request) -> Any:
    items = list(encode_input(messages))
    if request.spelling.get(INPUT) is True and len(items) == 1 and len(messages) == 1 and messages[0].plain:
        return items[0]["content"]
    return items


def _text(request: Request) -> dict[str, Any] | None:
    rest: dict[str, Raw] | None = request.spelling.get(REST, {}).get("text")
    text: dict[str, Any] = {}
    if request.output is not None:
        text["format"] = _format(request.output, request.spelling.get(REST, {}).get("format", {}))
    if request.verbosity is not None:
        text["verbosity"] = request.verbosity
    return {**text, **(rest or {})} if text or rest is not None else None


def _format(output: OutputFormat, rest: dict[str, Raw]) -> Any:
    match output.kind:
        case "other" if output.raw is not None:
            return output.raw
        case "json":
            value: dict[str, Any] = {"type": "json_object"}
        case "json_schema":
            value = {"type": "json_schema"}
            if output.name is not None:
                value["name"] = output.name
            if output.description is not None:
                value["description"] = output.description
            if output.strict is not None:
                value["strict"] = output.strict
            value["schema"] = output.schema
        case _:
            value = {"type": "text"}
    return {**value, **rest}


def _reasoning(request: Request) -> dict[str, Any] | None:
    ask = request.reasoning
    if ask is None:
        return None
    value: dict[str, Any] = {}
    if ask.effort is not None:
        value["effort"] = ask.effort
    if ask.summary is not None:
        value["summary"] = ask.summary
    return {**value, **request.spelling.get(REST, {}).get("reasoning", {})}
