"""Upstream half of the Messages API: what is sent to Anthropic, and to Claude on Bedrock and Vertex in the same body."""

from msgspec import Raw

from wayport.core.errors import Fault
from wayport.dialects.anthropic_messages_answer import shown
from wayport.dialects.anthropic_messages_decoder import MESSAGE_FIELDS, Decoder
from wayport.dialects.anthropic_messages_errors import decode_error
from wayport.dialects.anthropic_messages_fields import NAME, NULL, Block, optional_text
from wayport.dialects.anthropic_messages_messages import limit_markers, write_messages, write_plain
from wayport.dialects.anthropic_messages_options import (
    Draft,
    fit_target,
    write_limits,
    write_output,
    write_rest,
    write_sampling,
    write_thinking,
)
from wayport.dialects.anthropic_messages_parts import decode_content, plain_parts
from wayport.dialects.anthropic_messages_tools import encode_choice, encode_tools, fit_name
from wayport.dialects.anthropic_messages_usage import STOP_REASONS, merge, tier_of
from wayport.dialects.dialect import Encoded, Headers, Profile, StreamDecoder, takes_beta
from wayport.dialects.neutral import Choice, DialectName, Part, Request, Response, Text, ToolCall
from wayport.dialects.tool_names import ToolNames
from wayport.wire import anthropic_messages as wire


class Upstream:
    """`UpstreamHalf` of `anthropic_messages`."""

    name: DialectName = NAME

    def encode_request(self, request: Request, profile: Profile) -> Encoded:
        draft, names = draft_request(request, profile)
        headers = {}
        if request.betas and (betas := _betas(draft)):
            if profile.betas_in_body:
                draft.body["anthropic_beta"] = betas
            else:
                headers["anthropic-beta"] = ",".join(betas)
        return Encoded(
            body=wire.encode(draft.body),
            dropped=draft.dropped,
            lowered=draft.lowered,
            headers=headers,
            tool_names=names.changed,
        )

    def decode_response(self, body: bytes) -> Response:
        return decode_response(body)

    def stream_decoder(self) -> StreamDecoder:
        return Decoder()

    def decode_error(self, status: int, headers: Headers, body: bytes, profile: Profile) -> Fault:
        return decode_error(status, headers, body, profile)


def draft_request(request: Request, profile: Profile) -> tuple[Draft, ToolNames]:
    """The body as a dict, and the tool names that had to change."""
    draft = Draft(request=request, profile=profile, own=request.dialect == NAME)
    names = ToolNames(fit_name)
    body = draft.body
    body["model"] = request.model
    write_limits(draft)
    if request.output is not None:
        write_output(draft, request.output)
    written = write_plain(draft) or write_messages(draft, names)
    if written.system is not None:
        body["system"] = written.system
    body["messages"] = written.messages
    bare = draft.plain and not request.tools and draft.answer is None
    forced = not bare and _write_tools(draft, names)
    write_sampling(draft)
    if request.reasoning is not None:
        write_thinking(draft, request.reasoning, forced=forced, mid_tools=written.mid_tools)
    write_rest(draft)
    fit_target(draft)
    if not bare:
        limit_markers(draft)
    return draft, names


def _write_tools(draft: Draft, names: ToolNames) -> bool:
    """Writes tools and choice; whether a tool must be called."""
    body = draft.body
    tools = encode_tools(draft.request, draft.profile, names, draft.dropped)
    choice = encode_choice(draft.request, names, tools, draft.dropped)
    if draft.answer is not None:
        choice = _answer_choice(draft, choice, tools)
    if choice is not None and choice["type"] in ("any", "tool") and not draft.profile.tool_choice_required:
        choice = {"type": "auto"}
        draft.lower("tool_choice")
    if tools:
        body["tools"] = tools
    if choice is not None:
        body["tool_choice"] = choice
    return choice is not None and choice["type"] in ("any", "tool")


def _answer_choice(draft: Draft, choice: Block | None, tools: list[Block | Raw]) -> Block:
    """Offers the tool that takes the JSON answer, and makes the model call it or one of the client's own."""
    assert draft.answer is not None
    name, schema = draft.answer
    alone = not draft.request.tools or (choice is not None and choice["type"] == "none")
    tools.append({"name": name, "description": "Give your answer by calling this tool.", "input_schema": schema})
    if choice is not None and choice["type"] == "tool":
        return choice
    if alone:
        return {"type": "tool", "name": name, "disable_parallel_tool_use": True}
    return {**(choice or {}), "type": "any"}


def _betas(draft: Draft) -> list[str]:
    taken = [beta for beta in draft.request.betas if takes_beta(draft.profile, beta)]
    draft.dropped += [f"anthropic-beta: {beta}" for beta in draft.request.betas if beta not in taken]
    return taken


# ---------------------------------------------------------------------------------------------------------- responses
def decode_response(body: bytes) -> Response:
    try:
        given = wire.decode_plain_message(body)
    except (ValueError, RecursionError):
        return _decode_any(body)
    return _response(
        given.id, given.model, plain_parts(given.content), given.stop_reason, given.stop_sequence, usage_raw=given.usage
    )


def _decode_any(body: bytes) -> Response:
    """A message with fields or blocks that are read one by one, or none at all."""
    fields = wire.decode_fields(body)
    if fields.get("type", _MESSAGE) != _MESSAGE or "content" not in fields:
        raise ValueError("not a message of the Messages API")
    content = fields["content"]
    parts = decode_content(content)[0] if content != NULL else []
    finish_raw, stop_sequence = optional_text(fields, "stop_reason"), optional_text(fields, "stop_sequence")
    response_id, model = optional_text(fields, "id"), optional_text(fields, "model")
    response = _response(response_id, model, parts, finish_raw, stop_sequence, usage_raw=fields.get("usage", NULL))
    response.extras = {name: value for name, value in fields.items() if name not in MESSAGE_FIELDS}
    return response


def _response(
    response_id: str | None,
    model: str | None,
    parts: list[Part],
    finish_raw: str | None,
    stop_sequence: str | None,
    *,
    usage_raw: Raw,
) -> Response:
    answered = False
    if len(parts) != 1 or type(parts[0]) is not Text:
        parts, answered = shown(parts)
    finish = STOP_REASONS.get(finish_raw, "stop") if finish_raw is not None else None
    if answered and finish == "tool_calls" and not any(isinstance(part, ToolCall) for part in parts):
        finish, finish_raw = "stop", "end_turn"
    choice = Choice(parts=parts, finish=finish, finish_raw=finish_raw, stop_sequence=stop_sequence)
    response = Response(dialect=NAME, id=response_id or "", model=model or "", choices=[choice])
    if usage_raw != NULL:
        stated = wire.decode_usage(usage_raw)
        response.usage = merge(None, stated)
        response.usage_raw = usage_raw
        response.service_tier = tier_of(stated)
    return response


_MESSAGE = Raw(b'"message"')
