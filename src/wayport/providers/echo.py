"""The built-in offline model: says back what it was told. Costs nothing, needs nothing, always answers."""

from collections.abc import Iterable

from wayport.core.usage import Usage
from wayport.dialects.neutral import (
    BlockClosed,
    BlockDelta,
    BlockOpened,
    Choice,
    ChoiceFinished,
    Delta,
    Ended,
    Request,
    Response,
    Started,
    Text,
    UsageReported,
)

_GREETING = "This is Wayport's built-in echo model. It answers with your last message."


def _said(request: Request) -> str:
    """The text of the last user message that has any."""
    for message in reversed(request.messages):
        if message.role == "user":
            text = "\n".join(part.text for part in message.parts if isinstance(part, Text))
            if text:
                return text
    return _GREETING


def _words(request: Request) -> int:
    return sum(
        len(part.text.split()) for message in request.messages for part in message.parts if isinstance(part, Text)
    )


def answer_of(request: Request, *, response_id: str, created: int) -> Response:
    """The whole answer. A word counts as a token."""
    text = _said(request)
    words = text.split()
    finish = "stop"
    limit = request.sampling.max_output_tokens
    if limit is not None and 0 < limit < len(words):
        text = " ".join(words[:limit])
        words = words[:limit]
        finish = "length"
    return Response(
        dialect=request.dialect,
        id=response_id,
        model=request.model,
        created=created,
        choices=[Choice(parts=[Text(text=text)], finish="length" if finish == "length" else "stop")],
        usage=Usage(input_tokens=_words(request), output_tokens=len(words)),
    )


def deltas_of(response: Response) -> Iterable[Delta]:
    """The same answer as a stream, a word at a time."""
    yield Started(id=response.id, model=response.model, created=response.created)
    choice = response.choices[0]
    part = choice.parts[0]
    assert isinstance(part, Text)
    yield BlockOpened(block=0, part=Text(text=""))
    pieces = part.text.split(" ")
    for number, piece in enumerate(pieces):
        yield BlockDelta(block=0, text=piece if number == 0 else " " + piece)
    yield BlockClosed(block=0)
    yield ChoiceFinished(finish=choice.finish or "stop")
    assert response.usage is not None
    yield UsageReported(usage=response.usage)
    yield Ended()
