"""Answers of Cohere's Chat API, read into the neutral form: texts, thoughts, plans, calls, citations, usage."""

from typing import Final

from msgspec import Raw

from wayport.core.usage import Usage
from wayport.dialects.neutral import (
    Choice,
    Citation,
    DialectName,
    FinishReason,
    Issuer,
    Part,
    Reasoning,
    Response,
    Text,
    TokenLogprob,
    ToolCall,
)
from wayport.wire import cohere_chat as wire
from wayport.wire.patch import Fields

NAME: Final[DialectName] = "cohere_chat"
ISSUER: Final[Issuer] = "other"

FINISH: dict[str, FinishReason] = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop_sequence",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
    "ERROR": "error",
    "TIMEOUT": "error",
    # Words of the first version that hosted models still say.
    "ERROR_TOXIC": "content_filter",
    "ERROR_LIMIT": "context_window",
    "USER_CANCEL": "error",
}

# Where in an answer a citation stands, if not in its text.
_NOT_IN_TEXT = frozenset({"PLAN", "THINKING_CONTENT"})
_TAKEN = frozenset({"id", "finish_reason", "message", "usage", "logprobs"})


def decode_response(body: bytes) -> Response:
    answer = wire.decode_response(body)
    choice = Choice(parts=_parts(answer.message), finish_raw=answer.finish_reason)
    if answer.finish_reason is not None:
        choice.finish = finish_of(answer.finish_reason)
    if answer.logprobs:
        choice.logprobs = [logprob_of(item) for item in answer.logprobs]
    stated = answer.usage != wire.EMPTY
    return Response(
        dialect=NAME,
        id=answer.id,
        model="",
        choices=[choice],
        usage=decode_usage(answer.usage) if stated else None,
        usage_raw=answer.usage if stated else None,
        extras={name: value for name, value in wire.decode_fields(body).items() if name not in _TAKEN},
    )


def finish_of(word: str) -> FinishReason:
    return FINISH.get(word, "stop")


def _parts(message: wire.Message) -> list[Part]:
    parts: list[Part] = []
    if message.tool_plan:
        parts.append(Reasoning(text=message.tool_plan, issuer=ISSUER))
    texts: dict[int, Text] = {}
    content = message.content or ()
    for index, item in enumerate((wire.Content(text=content),) if isinstance(content, str) else content):
        if item.thinking:
            parts.append(Reasoning(text=item.thinking, issuer=ISSUER))
        elif item.text:
            texts[index] = Text(text=item.text)
            parts.append(texts[index])
    for raw in message.citations or ():
        citation = wire.decode_citation(raw)
        text = texts.get(citation.content_index or 0) or next(iter(texts.values()), None)
        if text is not None and stands_in_text(citation):
            text.citations += citations_of(citation, raw)
    parts.extend(call_of(call) for call in message.tool_calls or ())
    return parts


def call_of(call: wire.ToolCall) -> ToolCall:
    function = call.function or wire.Function()
    return ToolCall(id=call.id, name=function.name or "", arguments=function.arguments or "")


# ----------------------------------------------------------------------------------------------------------- citations
def stands_in_text(citation: wire.Citation) -> bool:
    return citation.type not in _NOT_IN_TEXT


def citations_of(citation: wire.Citation, raw: Raw) -> list[Citation]:
    """One for each source that a passage rests on."""
    return [
        Citation(
            kind=source.type or "source",
            url=_said(source, "url"),
            title=_said(source, "title") or source.id,
            cited_text=_said(source, "snippet") or _said(source, "text"),
            start=citation.start,
            end=citation.end,
            raw=raw,
            dialect=NAME,
        )
        for source in citation.sources or (wire.Source(),)
    ]


def _said(source: wire.Source, name: str) -> str | None:
    """A text that a cited document or tool's output states of itself."""
    fields: Fields = source.document or source.tool_output or {}
    value = fields.get(name)
    return wire.decode_str(value) if value is not None and bytes(value)[:1] == b'"' else None


# --------------------------------------------------------------------------------------------------------------- usage
_NO_UNITS = wire.Units()


def decode_usage(raw: Raw) -> Usage:
    """What was billed, where that is stated: Cohere's own preamble is in `tokens` and costs nothing."""
    stated = wire.decode_usage(raw)
    billed = stated.billed_units
    if billed is not None and (billed.input_tokens is not None or billed.output_tokens is not None):
        return Usage(input_tokens=int(billed.input_tokens or 0), output_tokens=int(billed.output_tokens or 0))
    seen = stated.tokens or _NO_UNITS
    inputs = int(seen.input_tokens or 0)
    return Usage(
        input_tokens=inputs,
        output_tokens=int(seen.output_tokens or 0),
        cache_read_tokens=min(int(stated.cached_tokens or 0), inputs),
    )


def logprob_of(item: wire.LogprobItem) -> TokenLogprob:
    """A chunk of text, which may be several tokens: their logarithms add up."""
    return TokenLogprob(token=item.text or "", logprob=sum(item.logprobs or ()))
