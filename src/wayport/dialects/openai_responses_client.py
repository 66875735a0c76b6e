"""The client half of the Responses dialect: those who call us (Codex, the AI SDK, OpenAI's SDKs).

What must stay true: a request keeps everything that it says, in neutral fields, in `extras` (what other targets lack
and must report) or in `spelling` (what loses nothing elsewhere).
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw

from wayport.core.errors import BadRequest, WayportError
from wayport.dialects.dialect import Headers
from wayport.dialects.neutral import DialectName, Message, OutputFormat, ReasoningAsk, Request, Response, Text
from wayport.dialects.openai_chat_fault import error_body
from wayport.dialects.openai_responses_control import upstream_fields
from wayport.dialects.openai_responses_encoder import StreamEncoder, encode_whole
from wayport.dialects.openai_responses_frame import ECHO, ECHOED
from wayport.dialects.openai_responses_items import decode_input
from wayport.dialects.openai_responses_parts import (
    NAME,
    is_text,
    take,
    take_flag,
    take_integer,
    take_number,
    take_text,
)
from wayport.dialects.openai_responses_tools import decode_choice, decode_tools
from wayport.wire.openai_responses import EMPTY_LIST, LIST, NULL, OBJECT, STRING, TRUE
from wayport.wire.patch import Fields

FIELDS = "fields"
"""in `spelling`: fields that mean nothing to another target, as written"""
INPUT = "input"
"""in `spelling`: the input was a bare string (True) or an empty list (False)"""
REST = "rest"
"""in `spelling`: what an object said beyond the neutral form"""
INSTRUCTIONS = "@instructions"
"""on the message that stands for `instructions`"""

# Fields that change nothing that a target without them would do otherwise: no reason to report their loss.
_HARMLESS: Mapping[str, frozenset[bytes] | None] = {
    "include": None,
    "client_metadata": None,
    "stream_options": None,
    "safety_identifier": None,
    "truncation": frozenset({b'"disabled"'}),
    "background": frozenset({b"false"}),
    "tools": frozenset({b"[]"}),
}

_TEXTS = msgspec.json.Decoder(list[str])
LOGPROBS_WANTED = "message.output_text.logprobs"


class ResponsesClient:
    name: DialectName = NAME

    def decode_request(self, fields: Fields, headers: Headers) -> Request:
        del headers  # nothing of this dialect's content stands in them
        try:
            rest, _ = upstream_fields(fields)
            return _decode(rest, fields)
        except RecursionError:
            raise BadRequest("The request is nested too deeply.") from None
        except UnicodeDecodeError as error:
            raise BadRequest(f"The request is not valid UTF-8: {error.reason}.") from None
        except ValueError as error:
            raise _refusal(str(error)) from None

    def encode_response(self, response: Response, *, request: Request | None = None) -> bytes:
        return encode_whole(response, request)

    def stream_encoder(self, *, request: Request | None, response_id: str, created: int) -> StreamEncoder:
        return StreamEncoder(request=request, response_id=response_id, created=created)

    def encode_error(self, error: WayportError, *, call_id: str) -> bytes:
        del call_id  # travels in a header
        return msgspec.json.encode(error_body(error))


def _refusal(words: str) -> BadRequest:
    """`field: what is wrong` as an error that names the field."""
    name, colon, reason = words.partition(": ")
    if not colon or " " in name:
        return BadRequest(words)
    return BadRequest(f"`{name}`: {reason}", param=name, code="invalid_value")


def _decode(rest: dict[str, Raw], fields: Fields) -> Request:
    model = take_text(rest, "model")
    if model is None:
        raise BadRequest("`model` is missing.", param="model", code="missing_required_parameter")
    spelling: dict[str, Any] = {}
    request = Request(dialect=NAME, model=model, messages=_messages(rest, spelling), include_usage=True)
    request.spelling = spelling
    stream = take_flag(rest, "stream")
    request.stream = stream or False
    if stream is not None:
        spelling["stream"] = True
    request.store = take_flag(rest, "store")
    tools = take(rest, "tools", LIST)
    if tools is not None:
        request.tools = decode_tools(tools)
        if not tools:
            rest["tools"] = EMPTY_LIST
    choice = rest.get("tool_choice", NULL)
    if choice != NULL:
        request.tool_choice = decode_choice(choice)
        del rest["tool_choice"]
    request.parallel_tool_calls = take_flag(rest, "parallel_tool_calls")
    _sampling(rest, request)
    _text_settings(rest, request)
    _reasoning(rest, request)
    request.service_tier = take_text(rest, "service_tier")
    request.user = take_text(rest, "user")
    request.cache_key = take_text(rest, "prompt_cache_key")
    request.cache_retention = take_text(rest, "prompt_cache_retention")
    if rest.get("metadata", NULL) != NULL:
        request.metadata = rest.pop("metadata")
    kept = {name: rest.pop(name) for name in list(rest) if _harmless(name, rest[name])}
    if kept:
        spelling[FIELDS] = kept
        if request.user is None and kept.get("safety_identifier", NULL) != NULL:
            request.user = STRING.decode(kept["safety_identifier"])
            spelling["user"] = "safety_identifier"
    spelling[ECHO] = {name: value for name, value in fields.items() if name in ECHOED}
    request.extras = rest
    return request


def _harmless(name: str, value: Raw) -> bool:
    if value == NULL:
        return True
    values = _HARMLESS.get(name, frozenset())
    return values is None or bytes(value) in values


def _messages(rest: dict[str, Raw], spelling: dict[str, Any]) -> list[Message]:
    messages: list[Message] = []
    instructions = rest.get("instructions", NULL)
    if is_text(instructions):
        del rest["instructions"]
        messages.append(
            Message(
                role="system", parts=[Text(text=STRING.decode(instructions))], plain=True, extras={INSTRUCTIONS: TRUE}
            )
        )
    given = rest.pop("input", NULL)
    if is_text(given):
        spelling[INPUT] = True
        messages.append(Message(role="user", parts=[Text(text=STRING.decode(given))], plain=True))
    elif given != NULL:
        try:
            items = LIST.decode(given)
        except msgspec.ValidationError:
            raise BadRequest(
                "`input` must be a string or a list of items.", param="input", code="invalid_type"
            ) from None
        messages.extend(decode_input(items))
        if not items:
            spelling[INPUT] = False
    return messages


def _sampling(rest: dict[str, Raw], request: Request) -> None:
    sampling = request.sampling
    sampling.max_output_tokens = take_integer(rest, "max_output_tokens")
    sampling.temperature = take_number(rest, "temperature")
    sampling.top_p = take_number(rest, "top_p")
    sampling.top_logprobs = take_integer(rest, "top_logprobs")
    include = rest.get("include", NULL)
    if include != NULL and LOGPROBS_WANTED in _TEXTS.decode(include):
        sampling.logprobs = True


def _text_settings(rest: dict[str, Raw], request: Request) -> None:
    raw = rest.get("text", NULL)
    if raw == NULL:
        return
    fields = OBJECT.decode(raw)
    request.verbosity = take_text(fields, "verbosity")
    wanted = fields.pop("format", NULL)
    if wanted != NULL:
        request.output = _output_format(wanted, request)
    elif b'"format"' in bytes(raw):
        fields["format"] = wanted
    # What is left says something only to this dialect; an empty rest still says that there was an object.
    del rest["text"]
    if fields or (request.verbosity is None and request.output is None):
        _keep(request, "text", fields)


def _keep(request: Request, name: str, fields: dict[str, Raw]) -> None:
    request.spelling.setdefault(REST, {})[name] = fields


def _output_format(raw: Raw, request: Request) -> OutputFormat:
    fields = OBJECT.decode(raw)
    match take_text(fields, "type"):
        case "text":
            output = OutputFormat(kind="text")
        case "json_object":
            output = OutputFormat(kind="json")
        case "json_schema" if fields.get("schema", NULL) != NULL:
            output = OutputFormat(
                kind="json_schema",
                schema=fields.pop("schema"),
                name=take_text(fields, "name"),
                description=take_text(fields, "description"),
                strict=take_flag(fields, "strict"),
            )
        case _:
            return OutputFormat(kind="other", raw=raw)
    if fields:
        _keep(request, "format", fields)
    return output


def _reasoning(rest: dict[str, Raw], request: Request) -> None:
    raw = rest.get("reasoning", NULL)
    if raw == NULL:
        return
    fields = OBJECT.decode(raw)
    del rest["reasoning"]
    ask = ReasoningAsk(effort=take_text(fields, "effort"), summary=take_text(fields, "summary"))
    if ask.summary is not None or fields.get("generate_summary", NULL) != NULL:
        ask.show = True
    if fields:
        _keep(request, "reasoning", fields)
    request.reasoning = ask
