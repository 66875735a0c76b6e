"""Whole answers: a GenerateContentResponse to and from the neutral form.

Fields that the neutral form does not know wait in the extras of answer and choice; keys that begin with `~` are notes
of ours on the answer's shape.
"""

import datetime as dt
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import Raw

from wayport.dialects.gemini_content_calls import AnswerCalls
from wayport.dialects.gemini_content_parts import Json, is_plain, plain_part, read_part, write_part
from wayport.dialects.gemini_content_seals import Pending
from wayport.dialects.gemini_content_usage import (
    read_logprobs,
    read_recitations,
    read_sources,
    read_usage,
    searches_in,
    write_logprobs,
    write_sources,
    write_usage,
)
from wayport.dialects.gemini_content_words import NAME, finish_of, finish_word
from wayport.dialects.neutral import Choice, Citation, Extras, Part, Reasoning, Request, Response, Text, ToolCall
from wayport.wire.gemini_content import (
    NOTHING,
    NULL,
    Object,
    PlainAnswer,
    PlainCandidate,
    decode_object,
    decode_objects,
    decode_plain,
    encode,
    optional_string,
)

ABSENT = "~absent"
"""note on a choice: no candidate stood in the answer, the prompt was blocked"""
CONTENT = "~content"
"""note on a choice: its content, where that is not just parts of role `model`"""
MODEL_ROLE = Raw(b'"model"')

_decode_block = msgspec.json.Decoder(dict[str, Any]).decode


class NotAnAnswer(ValueError):
    """The body is JSON, but no GenerateContentResponse."""


# ------------------------------------------------------------------------------------------------------------ reading
def plain_answer(data: bytes) -> PlainAnswer | None:
    """An answer, or an event of one, that can be read in one go: long values are then looked through once."""
    try:
        answer = decode_plain(data)
    except (ValueError, RecursionError):
        return None
    for candidate in answer.candidates:
        for part in candidate.content.parts:
            if not is_plain(part):
                return None
    return answer


def decode_response(body: bytes) -> Response:
    plain = plain_answer(body)
    return _decode_any(body) if plain is None else _of_plain(plain)


def _of_plain(answer: PlainAnswer) -> Response:
    response = Response(dialect=NAME, id=answer.response_id, model=answer.model_version)
    calls = AnswerCalls(response.id)
    for number, candidate in enumerate(answer.candidates):
        facts = facts_of(candidate)
        index = index_of(facts, number)
        parts = [plain_part(part, calls, index) for part in candidate.content.parts]
        choice = Choice(index=index, parts=parts, extras=facts or None)
        if (said := candidate.finish_reason) is not None:
            choice.finish_raw = said
            choice.finish = finish_of(said, calls=any(isinstance(part, ToolCall) for part in parts))
        response.choices.append(choice)
    if answer.usage_metadata != NOTHING:
        response.usage, response.service_tier = read_usage(answer.usage_metadata, 0)
        response.usage_raw = answer.usage_metadata
    if answer.create_time != NOTHING:
        response.extras["createTime"] = answer.create_time
        response.created = seconds_of(answer.create_time)
    return response


def _decode_any(body: bytes) -> Response:
    fields = decode_object(body)
    if "candidates" not in fields and "promptFeedback" not in fields and "usageMetadata" not in fields:
        raise NotAnAnswer("the body has neither candidates nor promptFeedback")
    response = Response(
        dialect=NAME,
        id=optional_string(fields.pop("responseId", None)) or "",
        model=optional_string(fields.pop("modelVersion", None)) or "",
    )
    calls = AnswerCalls(response.id)
    searches = 0
    candidates = fields.pop("candidates", NULL)
    for number, candidate in enumerate(() if candidates == NULL else decode_objects(candidates)):
        grounding = candidate.get("groundingMetadata")
        searches += 0 if grounding is None else searches_in(grounding)
        response.choices.append(_read_candidate(candidate, number, calls))
    if not response.choices:
        response.choices.append(blocked_choice(fields.get("promptFeedback")))
    usage = fields.pop("usageMetadata", None)
    if usage is not None:
        response.usage, response.service_tier = read_usage(usage, searches)
        response.usage_raw = usage
    response.created = seconds_of(fields.get("createTime"))
    response.extras = fields
    return response


def _read_candidate(fields: Object, number: int, calls: AnswerCalls) -> Choice:
    choice = Choice(index=index_of(fields, number))
    content = fields.pop("content", None)
    held: Object = decode_object(content) if content is not None and content != NULL else {}
    parts = held.pop("parts", None)
    listed = [] if parts is None or parts == NULL else decode_objects(parts)
    choice.parts = [read_part(part, calls, choice.index) for part in listed]
    said = optional_string(fields.pop("finishReason", None))
    if said is not None:
        choice.finish_raw = said
        choice.finish = finish_of(said, calls=any(isinstance(part, ToolCall) for part in choice.parts))
    note = content_note(content, held, empty_list=parts is not None and not listed)
    if note is not None:
        fields[CONTENT] = note
    scores = fields.get("logprobsResult")
    if scores is not None:
        choice.logprobs = read_logprobs(scores) or None
    _cite(choice, fields)
    choice.extras = fields or None
    return choice


_facts = attrgetter("index", "safety_ratings", "avg_logprobs")
_NO_FACTS = (NOTHING, NOTHING, NOTHING)
_FACTS = ("index", "safetyRatings", "avgLogprobs")


def facts_of(candidate: PlainCandidate) -> Object:
    """What stands beside the content and the reason of its end."""
    stated = _facts(candidate)
    if stated == _NO_FACTS:
        return {}
    return {name: raw for name, raw in zip(_FACTS, stated, strict=True) if raw != NOTHING}


def index_of(fields: Object, number: int) -> int:
    raw = fields.get("index")
    return number if raw is None else msgspec.json.decode(raw, type=int)


def content_note(content: Raw | None, held: Object, *, empty_list: bool) -> Raw | None:
    """The shape of a content that is not just parts of role `model`. `held`: what it has beside its parts."""
    if content is None or content == NULL:
        return NULL
    if held == {"role": MODEL_ROLE} and not empty_list:
        return None
    return Raw(encode({**held, "parts": []} if empty_list else held))


def blocked_choice(feedback: Raw | None) -> Choice:
    """What stands for the candidates of an answer that has none: the prompt was blocked, or nothing came."""
    reason = block_reason(feedback)
    return Choice(
        finish="error" if reason is None else "content_filter", finish_raw=reason, extras={ABSENT: Raw(b"true")}
    )


def block_reason(feedback: Raw | None) -> str | None:
    if feedback is None or feedback == NULL:
        return None
    reason = _decode_block(feedback).get("blockReason")
    return reason if isinstance(reason, str) else None


def seconds_of(raw: Raw | None) -> int | None:
    """Unix seconds of an RFC 3339 time."""
    if raw is None:
        return None
    try:
        return int(msgspec.json.decode(raw, type=dt.datetime).timestamp())
    except (msgspec.MsgspecError, OverflowError):
        return None


def time_of(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds, tz=dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def sources_of(fields: Object, text: str) -> list[Citation]:
    """Every source that a candidate names for its text."""
    found: list[Citation] = []
    if "groundingMetadata" in fields:
        found += read_sources(fields["groundingMetadata"], text)
    if "citationMetadata" in fields:
        found += read_recitations(fields["citationMetadata"], text)
    return found


def _cite(choice: Choice, fields: Object) -> None:
    """Sources belong to the last text: Gemini states them once, at the end."""
    if "groundingMetadata" not in fields and "citationMetadata" not in fields:
        return
    last = next((part for part in reversed(choice.parts) if isinstance(part, Text) and part.text), None)
    if last is not None:
        last.citations = sources_of(fields, last.text)


# ------------------------------------------------------------------------------------------------------------ writing
def encode_response(response: Response, *, request: Request | None = None) -> bytes:
    own = response.dialect == NAME
    show = own or shows_thoughts(request)
    out: Json = {}
    candidates = [
        _write_candidate(choice, own=own, show=show)
        for choice in response.choices
        if not own or ABSENT not in (choice.extras or {})
    ]
    if candidates or not own:
        out["candidates"] = candidates
    if own:
        out.update(response.extras)
    elif response.created is not None:
        out["createTime"] = time_of(response.created)
    usage = usage_to_wire(response, own=own)
    if usage is not None:
        out["usageMetadata"] = usage
    if response.model:
        out["modelVersion"] = response.model
    if response.id:
        out["responseId"] = response.id
    return encode(out)


def shows_thoughts(request: Request | None) -> bool:
    """Whether the client asked to see thoughts. Without asking, Gemini's own models show none."""
    if request is None or request.dialect != NAME:
        return True
    return request.reasoning is not None and request.reasoning.show is True


def usage_to_wire(response: Response, *, own: bool) -> Any:
    if own and response.usage_raw is not None:
        return response.usage_raw
    if response.usage is None:
        return None
    return write_usage(response.usage, response.service_tier)


def _write_candidate(choice: Choice, *, own: bool, show: bool) -> Json:
    out: Json = {}
    extras: Extras = (choice.extras or {}) if own else {}
    parts = [write_part(part, own=True) for part in choice.parts] if own else foreign_parts(choice.parts, show=show)
    note = extras.get(CONTENT)
    if note != NULL:
        content: Json = {"role": "model"} if note is None else dict(decode_object(note))
        if parts:
            content["parts"] = [part for part in parts if part is not None]
        out["content"] = content
    if choice.finish is not None:
        out["finishReason"] = finish_word(choice.finish, choice.finish_raw, own=own)
    if own:
        out.update({name: value for name, value in extras.items() if not name.startswith("~")})
        return out
    out["index"] = choice.index
    out.update(facts_to_wire(choice))
    return out


def facts_to_wire(choice: Choice) -> Json:
    """Sources and log probabilities of another upstream's choice."""
    out: Json = {}
    sources = write_sources(choice.parts)
    if sources is not None:
        out["groundingMetadata"] = sources
    if choice.logprobs:
        out["logprobsResult"] = write_logprobs(choice.logprobs)
    return out


def foreign_parts(parts: list[Part], *, show: bool) -> list[Json | Raw]:
    """Another upstream's parts, its signed thoughts sealed onto the call or text after them."""
    written: list[Json | Raw] = []
    pending = Pending()
    for part in parts:
        if isinstance(part, Reasoning):
            pending.add(part)
            text = part.text or "\n\n".join(part.summary or ())
            if show and text:
                written.append({"text": text, "thought": True})
            continue
        if isinstance(part, Text) and not part.text:
            continue
        out = write_part(part, own=False)
        if out is None:
            continue
        seal_onto(out, part, pending)
        written.append(out)
    left = pending.for_text()
    if left is not None:
        written.append({"text": "", "thoughtSignature": left})
    return written


def seal_onto(out: Json | Raw, part: Part, pending: Pending) -> None:
    if isinstance(out, Raw) or not isinstance(part, Text | ToolCall) or part.signature is not None:
        return
    seal = pending.for_call() if isinstance(part, ToolCall) else pending.for_text()
    if seal is not None:
        out["thoughtSignature"] = seal
