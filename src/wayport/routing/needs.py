"""What a request needs of a deployment, told from its envelope without decoding its content."""

from msgspec import Struct

from wayport.routing.group import states
from wayport.routing.snapshot import Deployment
from wayport.wire.patch import Fields

_IMAGES = (b'"image_url"', b'"input_image"', b'"image"', b'"inlineData"', b'"inline_data"')
_MEDIA = (*_IMAGES, b'"file_data"', b'"input_audio"', b'"document"', b'"video_url"')
SURE_BYTES_PER_TOKEN = 5
"""no ordinary text has more: what does not fit by this measure does not fit"""
_BYTES_PER_TOKEN = 4
_USUAL_OUTPUT_TOKENS = 500


class Needs(Struct, frozen=True):
    input_tokens: int = 0
    """at least this many; 0 if it holds media, of which bytes say nothing"""
    expected_tokens: int = 0
    """probably this many"""
    output_tokens: int = _USUAL_OUTPUT_TOKENS
    tools: bool = False
    vision: bool = False
    schema: bool = False
    stream: bool = False


NOTHING = Needs()


def needs_of(fields: Fields, body: bytes, *, stream: bool) -> Needs:
    has_tools = "tools" in fields or "functions" in fields
    form = fields.get("response_format") or fields.get("text") or fields.get("generationConfig")
    media = any(body.find(word) >= 0 for word in _MEDIA)
    return Needs(
        input_tokens=0 if media else len(body) // SURE_BYTES_PER_TOKEN,
        expected_tokens=len(body) // _BYTES_PER_TOKEN,
        output_tokens=_limit(fields),
        tools=has_tools and bytes(fields.get("tools", b"[]")).strip() not in (b"[]", b"null"),
        vision=media and any(body.find(word) >= 0 for word in _IMAGES),
        schema=form is not None and b"schema" in bytes(form).lower(),
        stream=stream,
    )


def _limit(fields: Fields) -> int:
    for name in ("max_completion_tokens", "max_tokens", "max_output_tokens"):
        raw = fields.get(name)
        if raw is not None and bytes(raw).isdigit():
            return int(bytes(raw))
    return _USUAL_OUTPUT_TOKENS


def lacks(deployment: Deployment, needs: Needs, *, strict: bool) -> str | None:
    """What a deployment lacks for a request; None if it may do. `strict`: what nobody has stated is lacking, too."""
    window = deployment.context_window
    if window is not None and needs.input_tokens > window:
        return f"context window of {window} tokens; the request has at least {needs.input_tokens}"
    for wanted, capability, name in (
        (needs.tools, "supports_function_calling", "tools"),
        (needs.vision, "supports_vision", "vision"),
        (needs.schema, "supports_response_schema", "structured output"),
    ):
        if wanted:
            known = states(deployment, capability)
            if known is False or (strict and known is None):
                return f"no {name}"
    return None
