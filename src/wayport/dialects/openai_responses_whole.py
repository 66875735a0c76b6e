"""Whole answers of a Responses upstream, read into the neutral form; a stream's response objects are read here too."""

from msgspec import Raw, Struct, field

from wayport.dialects.neutral import Choice, Extras, Response
from wayport.dialects.openai_responses_frame import finish_of, read_usage
from wayport.dialects.openai_responses_items import decode_output
from wayport.dialects.openai_responses_parts import NAME, is_text, logprobs_of, take_integer, take_list, take_text
from wayport.wire.openai_responses import NULL, OBJECT, STRING


class Head(Struct, kw_only=True):
    """A response object but for its output."""

    id: str = ""
    model: str = ""
    created: int | None = None
    status: str | None = None
    service_tier: str | None = None
    usage: Raw | None = None
    extras: Extras = field(default_factory=dict)
    """all other fields, `status` among them"""


def split_response(raw: Raw | bytes) -> tuple[Head, list[Raw]]:
    """Raises ValueError when this is no response object."""
    fields = OBJECT.decode(raw)
    head = Head(id=take_text(fields, "id") or "", model=take_text(fields, "model") or "")
    created = fields.get("created_at", NULL)
    if bytes(created).isdigit():
        head.created = take_integer(fields, "created_at")
    output = take_list(fields, "output") or []
    fields.pop("output", None)
    if fields.get("usage", NULL) != NULL:
        head.usage = fields.pop("usage")
    head.status = _word(fields, "status")
    head.service_tier = _word(fields, "service_tier")
    head.extras = fields
    return head, output


def _word(fields: Extras, name: str) -> str | None:
    value = fields.get(name, NULL)
    return STRING.decode(value) if is_text(value) else None


def decode_response(body: bytes) -> Response:
    head, output = split_response(body)
    if not head.id and "object" not in head.extras:
        raise ValueError("the body is no response object: it has neither `id` nor `object`")
    parts = decode_output(output)
    finish, word = finish_of(head.status, head.extras.get("incomplete_details"), parts)
    tokens = [token for part in parts for token in logprobs_of(part)]
    return Response(
        dialect=NAME,
        id=head.id,
        model=head.model,
        created=head.created,
        choices=[Choice(parts=parts, finish=finish, finish_raw=word, logprobs=tokens or None)],
        usage=read_usage(head.usage, head.extras.get("tool_usage")) if head.usage is not None else None,
        usage_raw=head.usage,
        service_tier=head.service_tier,
        extras=head.extras,
    )
