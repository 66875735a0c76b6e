"""How many tokens a request has, told without a tokenizer: the answer says `estimated` where this is used.

A token is about four bytes of English or code, and less of other scripts; UTF-8 makes those longer by about as much. Media
count as the large providers bill them on average. What a provider adds of its own (Anthropic's instructions for tools are
some hundred tokens) is not in it: short requests with tools are estimated far too low.
"""

from wayport.core.usage import Usage
from wayport.dialects.neutral import (
    Audio,
    Document,
    Image,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Request,
    Response,
    Text,
    ToolCall,
    ToolResult,
    Video,
)

BYTES_PER_TOKEN = 4
_PER_MESSAGE = 4
_PER_TOOL = 12
_IMAGE = 1_000
_DOCUMENT_PAGE = 1_500
_MEDIA = 2_000


def estimate_tokens(request: Request) -> int:
    count = sum(_PER_MESSAGE + sum(map(_tokens, message.parts)) for message in request.messages)
    for tool in request.tools:
        schema = tool.parameters or tool.raw
        size = len(tool.name) + len(tool.description or "") + (len(bytes(schema)) if schema is not None else 0)
        count += _PER_TOOL + size // BYTES_PER_TOKEN
    return count


def estimate_answer(response: Response) -> int:
    return sum(sum(map(_tokens, choice.parts)) for choice in response.choices)


def estimate_bytes(data: bytes) -> int:
    return -(-len(data) // BYTES_PER_TOKEN)


def counted(usage: Usage, *, request_bytes: int, said_tokens: int) -> Usage:
    """What a client's own upstream states of a call, as far as it can be true: not less than we count, and no token has
    less than a byte.
    """
    read = max(request_bytes // BYTES_PER_TOKEN + 1, min(usage.input_tokens, request_bytes))
    written = max(said_tokens, min(usage.output_tokens, said_tokens * BYTES_PER_TOKEN))
    return Usage(input_tokens=read, output_tokens=written)


def _of_text(text: str) -> int:
    return estimate_bytes(text.encode("utf-8", "surrogatepass"))


def _tokens(part: Part) -> int:
    match part:
        case Text(text=text) | Refusal(text=text) | Reasoning(text=text):
            return _of_text(text)
        case ToolCall():
            return _of_text(part.name) + _of_text(part.arguments)
        case ToolResult():
            return sum(map(_tokens, part.parts))
        case Image():
            return _IMAGE
        case Document(source=source):
            if source.kind == "text":
                return _of_text(source.value)
            return _DOCUMENT_PAGE
        case Audio() | Video():
            return _MEDIA
        case Opaque():
            return len(bytes(part.raw)) // BYTES_PER_TOKEN
