"""Upstream half of the Messages API: what is sent to Anthropic, and to Claude on Bedrock and Vertex in the same body."""

from msgspec import Raw

from wayport.core.errors import Fault
from wayport.dialects.anthropic_messages_answer import shown
from wayport.dialects.anthropic_messages_decoder import MESSAGE_FIELDS, Decoder
from wayport.dialects.anthropic_messages_errors import decode_error
from wayport.dialects.anthropic_messages_fields import NAME, NULL, Block, optional_text
from wayport.dialects.anthropic_messages_messages import limit_markers, write_messages
from wayport.dialects.anthropic_messages_options import (
    Draft,
    fit_target,
    write_limits,
    write_output,
    write_rest,
    write_sampling,
    write_thinking,
)
from wayport.dialects.anthropic_messages_parts import decode_content
from wayport.dialects.anthropic_messages_tools import encode_choice, encode_tools, fit_name
from wayport.dialects.anthropic_messages_usage import finish_of, merge, tier_of
from wayport.dialects.dialect import Encoded, Headers, Profile, StreamDecoder, takes_beta
from wayport.dialects.neutral import Choice, DialectName, Request, Response, ToolCall
from wayport.dialects.tool_names import ToolNames
from wayport.wire import anthropic_messages as wire


class Upstream:
    """`UpstreamHalf` of `anthropic_messages`."""

    name: DialectName = NAME

    def encode_request(self, request: Request, profile: Profile) -> Encoded:
        draft, names = draft_request(request, profile)
        headers = {}
        if betas := _betas(draft):
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
    draft = Draft(request=request, profile=profile)
    names = ToolNames(fit_name)
    body = draft.body
    body["model"] = request.model
    write_limits(draft)
    write_output(draft)
    written = write_messages(draft, names)
    if written.system is not None:
        body["system"] = written.system
    body["messages"] = written.messages
    forced = _write_tools(draft, names)
    write_sampling(draft)
    write_thinking(draft, forced=forced, mid_tools=written.mid_tools)
    write_rest(draft)
    fit_target(draft)
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
    fields = wire.decode_fields(body)
    if fields.get("type", _MESSAGE) != _MESSAGE or "content" not in fields:
        raise ValueError("not a message of the Messages API")
    content = fields["content"]
    parts = decode_content(content)[0] if content != NULL else []
    finish_raw = optional_text(fields, "stop_reason")
    parts, answered = shown(parts)
    finish = finish_of(finish_raw) if finish_raw is not None else None
    if answered and finish == "tool_calls" and not any(isinstance(part, ToolCall) for part in parts):
        finish, finish_raw = "stop", "end_turn"
    choice = Choice(
        parts=parts, finish=finish, finish_raw=finish_raw, stop_sequence=optional_text(fields, "stop_sequence")
    )
    usage_raw = fields.get("usage", NULL)
    stated = wire.decode_usage(usage_raw) if usage_raw != NULL else None
    return Response(
        dialect=NAME,
        id=optional_text(fields, "id") or "",
        model=optional_text(fields, "model") or "",
        choices=[choice],
        usage=merge(None, stated) if stated is not None else None,
        usage_raw=usage_raw if stated is not None else None,
        service_tier=tier_of(stated) if stated is not None else None,
        extras={name: value for name, value in fields.items() if name not in MESSAGE_FIELDS},
    )


_MESSAGE = Raw(b'"message"')
