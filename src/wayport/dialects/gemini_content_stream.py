"""The stream of a Gemini upstream, read into deltas.

Every event is a whole GenerateContentResponse with more parts. There is no terminal event: a stream is complete when
each candidate has a finish reason. As a reason may come before the last part, choices are finished when the bytes end.
"""

from collections.abc import Iterable

from msgspec import Raw, Struct, field
from msgspec.structs import replace

from wayport.core.errors import Fault
from wayport.core.usage import Usage
from wayport.dialects.gemini_content_answer import (
    ABSENT,
    CONTENT,
    block_reason,
    content_note,
    facts_of,
    index_of,
    plain_answer,
    seconds_of,
    sources_of,
)
from wayport.dialects.gemini_content_calls import AnswerCalls
from wayport.dialects.gemini_content_errors import fault_in_stream
from wayport.dialects.gemini_content_partial import GrowingArguments
from wayport.dialects.gemini_content_parts import plain_part, read_part
from wayport.dialects.gemini_content_usage import merge_logprobs, read_logprobs, read_usage, searches_in
from wayport.dialects.gemini_content_words import NAME, finish_of
from wayport.dialects.neutral import (
    Annotated,
    BlockClosed,
    BlockDelta,
    BlockOpened,
    ChoiceFinished,
    Delta,
    Ended,
    Extras,
    Failed,
    LogprobsAdded,
    Part,
    Reasoning,
    Started,
    Text,
    ToolCall,
    UsageReported,
)
from wayport.wire.gemini_content import (
    NOTHING,
    NULL,
    Object,
    PlainAnswer,
    decode_object,
    decode_objects,
    encode,
    optional_string,
)
from wayport.wire.sse import Event


class _Growing(Struct):
    """A call whose arguments arrive in pieces."""

    part: ToolCall
    block: int
    arguments: GrowingArguments = field(default_factory=GrowingArguments)


class _Choice(Struct):
    """What is known of one candidate so far."""

    blocks: int = 0
    open: type[Text] | type[Reasoning] | None = None
    """the kind of the last block, while it may still grow"""
    signed: bool = False
    """the open block has its signature: what follows is another part"""
    texts: list[str] = field(default_factory=list)
    """pieces of the open text block, for sources that count its bytes"""
    growing: _Growing | None = None
    calls: bool = False
    finish: str | None = None
    extras: Extras = field(default_factory=dict)
    scores: list[Raw] = field(default_factory=list)


class StreamDecoder:
    def __init__(self) -> None:
        self._choices: dict[int, _Choice] = {}
        self._calls = AnswerCalls("")
        self._started = False
        self._over = False
        self._model = ""
        self._extras: Extras = {}
        self._usage: Raw | None = None
        self._searches = 0
        self._tier: str | None = None
        self._odd = 0
        """events in turn that were not plain"""

    # -------------------------------------------------------------------------------------------------- the events
    def feed(self, event: Event) -> Iterable[Delta]:
        data = event.data
        if self._over or not data or data == b"[DONE]":
            return ()
        deltas: list[Delta] = []
        try:
            plain = self._plain(data)
            if plain is not None:
                self._read_plain(plain, deltas)
                return deltas
            fields = decode_object(data) if data[:1] != b"[" else decode_objects(data)[0]
            if "error" in fields:
                return self._fail(fault_in_stream(data))
            self._read(fields, deltas)
        except (ValueError, IndexError, RecursionError) as error:
            return self._fail(
                Fault(kind="malformed", status=0, message=f"an event of the stream is unreadable: {error}")
            )
        return deltas

    def _fail(self, fault: Fault) -> Iterable[Delta]:
        self._over = True
        return (Failed(fault=fault),)

    def _plain(self, data: bytes) -> PlainAnswer | None:
        """An event that can be read in one go. Where several in turn could not, the rest of the stream is not tried."""
        if self._odd >= _MOST_ODD:
            return None
        answer = plain_answer(data)
        self._odd = self._odd + 1 if answer is None else 0
        return answer

    def _read_plain(self, answer: PlainAnswer, deltas: list[Delta]) -> None:
        created = answer.create_time
        self._envelope(
            answer.response_id, answer.model_version, {} if created == NOTHING else {"createTime": created}, deltas
        )
        before = len(deltas)
        finished = False
        for number, candidate in enumerate(answer.candidates):
            facts = facts_of(candidate)
            index = index_of(facts, number)
            choice = self._choice(index)
            for place, given in enumerate(candidate.content.parts):
                self._part(plain_part(given, self._calls, index), place, index, choice, deltas)
            if candidate.finish_reason is not None:
                choice.finish = candidate.finish_reason
                finished = True
            else:
                facts.pop("index", None)
            if facts:
                self._facts(facts, index, choice, deltas)
        if answer.usage_metadata != NOTHING:
            self._usage = answer.usage_metadata
            if finished or len(deltas) == before:
                self._tell_usage(deltas)

    def _envelope(self, response_id: str, model: str, rest: Object, deltas: list[Delta]) -> None:
        if not self._started:
            self._started = True
            self._model = model
            self._calls = AnswerCalls(response_id)
            created = seconds_of(rest.get("createTime"))
            deltas.append(Started(id=response_id, model=model, created=created, dialect=NAME))
        elif model and model != self._model:
            self._model = model
            deltas.append(Annotated(model=model))
        if rest:
            self._extras.update(rest)

    def _choice(self, index: int) -> _Choice:
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = _Choice()
        return choice

    def _read(self, fields: Object, deltas: list[Delta]) -> None:
        model = optional_string(fields.pop("modelVersion", None)) or ""
        response_id = optional_string(fields.pop("responseId", None)) or ""
        candidates = fields.pop("candidates", NULL)
        usage = fields.pop("usageMetadata", None)
        self._envelope(response_id, model, fields, deltas)
        before = len(deltas)
        finished = False
        if candidates != NULL:
            for number, candidate in enumerate(decode_objects(candidates)):
                finished |= self._candidate(candidate, number, deltas)
        if usage is not None:
            self._usage = usage
            # Counts grow with every event: they are told when content pauses, and in any case at the end.
            if finished or len(deltas) == before:
                self._tell_usage(deltas)

    def _candidate(self, fields: Object, number: int, deltas: list[Delta]) -> bool:
        """Reads one candidate's news; whether it says that the candidate is finished."""
        index = index_of(fields, number)
        choice = self._choice(index)
        content = fields.pop("content", None)
        held: Object = {} if content is None or content == NULL else decode_object(content)
        parts = held.pop("parts", None)
        listed = [] if parts is None or parts == NULL else decode_objects(parts)
        for place, each in enumerate(listed):
            written = dict(each) if "functionCall" in each else None
            self._part(read_part(each, self._calls, index), place, index, choice, deltas, written=written)
        said = optional_string(fields.pop("finishReason", None))
        if said is not None:
            choice.finish = said
            note = content_note(content, held, empty_list=parts is not None and not listed and not choice.blocks)
            if note is not None and not (choice.blocks and note == NULL):
                fields[CONTENT] = note
        elif "index" in fields:
            # Kept from the last event only, as the one that states the candidate's facts.
            del fields["index"]
        if fields:
            self._facts(fields, index, choice, deltas)
        return said is not None

    def _facts(self, fields: Object, index: int, choice: _Choice, deltas: list[Delta]) -> None:
        grounding = fields.get("groundingMetadata")
        if grounding is not None:
            self._searches = max(self._searches, searches_in(grounding))
        scores = fields.pop("logprobsResult", None)
        if scores is not None:
            choice.scores.append(scores)
            tokens = read_logprobs(scores)
            if tokens:
                deltas.append(LogprobsAdded(choice=index, tokens=tokens))
        choice.extras.update(fields)

    # --------------------------------------------------------------------------------------------------- the parts
    def _part(
        self,
        part: Part,
        place: int,
        index: int,
        choice: _Choice,
        deltas: list[Delta],
        *,
        written: Object | None = None,
    ) -> None:
        """`written`: a call that may be a piece of one."""
        if isinstance(part, Text | Reasoning):
            self._words(part, place, index, choice, deltas)
        elif isinstance(part, ToolCall) and written is not None and _is_piece(part, choice):
            self._grow(part, written, index, choice, deltas)
        else:
            choice.calls = choice.calls or isinstance(part, ToolCall)
            self._close(index, choice, deltas)
            self._open(part, index, choice, deltas)
            deltas.append(BlockClosed(choice=index, block=choice.blocks - 1))

    def _words(self, part: Text | Reasoning, place: int, index: int, choice: _Choice, deltas: list[Delta]) -> None:
        """The first part of an event goes on with the block before; a second one of the same kind is another part."""
        if not part.text and part.signature is None and part.extras is None:
            return
        if place == 0 and choice.open is type(part) and not choice.signed and part.extras is None:
            block = choice.blocks - 1
            deltas.append(BlockDelta(choice=index, block=block, text=part.text, signature=part.signature))
        else:
            self._close(index, choice, deltas)
            self._open(part, index, choice, deltas)
            choice.open = type(part)
        choice.signed = part.signature is not None
        if choice.open is Text:
            choice.texts.append(part.text)

    def _open(self, part: Part, index: int, choice: _Choice, deltas: list[Delta]) -> None:
        deltas.append(BlockOpened(choice=index, block=choice.blocks, part=part))
        choice.blocks += 1

    def _close(self, index: int, choice: _Choice, deltas: list[Delta]) -> None:
        if choice.open is None:
            return
        deltas.append(BlockClosed(choice=index, block=choice.blocks - 1))
        choice.open = None
        choice.texts.clear()

    def _grow(self, part: ToolCall, written: Object, index: int, choice: _Choice, deltas: list[Delta]) -> None:
        inner = decode_object((part.extras or {}).get("functionCall", Raw(b"{}")))
        growing = choice.growing
        if growing is None:
            self._close(index, choice, deltas)
            whole = replace(part, extras=None)
            growing = choice.growing = _Growing(part=whole, block=choice.blocks)
            choice.calls = True
            self._open(replace(part, extras=_BEGUN), index, choice, deltas)
            if "partialArgs" not in inner:
                return
            written = {"functionCall": Raw(encode(inner))}
            part = whole
        text = growing.arguments.feed(inner["partialArgs"]) if "partialArgs" in inner else ""
        goes_on = inner.get("willContinue") == _TRUE
        text += "" if goes_on else growing.arguments.close()
        growing.part.arguments += text
        raw = Raw(encode(written))
        signature = part.signature if part is not growing.part else None
        deltas.append(BlockDelta(choice=index, block=growing.block, text=text, raw=raw, signature=signature))
        if not goes_on:
            choice.growing = None
            deltas.append(BlockClosed(choice=index, block=growing.block, part=growing.part))

    # ------------------------------------------------------------------------------------------------------ the end
    def end(self) -> Iterable[Delta]:
        if self._over:
            return ()
        self._over = True
        deltas: list[Delta] = []
        blocked = None if self._choices else block_reason(self._extras.get("promptFeedback"))
        if blocked is not None:
            absent: Extras = {ABSENT: _TRUE}
            deltas.append(ChoiceFinished(finish="content_filter", finish_raw=blocked, extras=absent))
        elif not self._choices or any(choice.finish is None or choice.growing for choice in self._choices.values()):
            if self._started:
                self._tell_usage(deltas)
            fault = Fault(kind="cut", status=0, message="the stream ended before the answer was finished")
            return (*deltas, Failed(fault=fault))
        for index, choice in self._choices.items():
            self._finish(index, choice, deltas)
        if self._extras or self._tier is not None:
            deltas.append(Annotated(service_tier=self._tier, extras=self._extras or None))
        self._tell_usage(deltas)
        return (*deltas, Ended())

    def _finish(self, index: int, choice: _Choice, deltas: list[Delta]) -> None:
        if choice.open is Text:
            sources = sources_of(choice.extras, "".join(choice.texts))
            block = choice.blocks - 1
            deltas.extend(BlockDelta(choice=index, block=block, citation=source) for source in sources)
        self._close(index, choice, deltas)
        if choice.scores:
            choice.extras["logprobsResult"] = merge_logprobs(choice.scores)
        finish = choice.finish or ""
        deltas.append(
            ChoiceFinished(
                choice=index,
                finish=finish_of(finish, calls=choice.calls),
                finish_raw=finish,
                extras=choice.extras or None,
            )
        )

    def _tell_usage(self, deltas: list[Delta]) -> None:
        """What the upstream stated last, once."""
        if self._usage is None:
            return
        raw, self._usage = self._usage, None
        usage, tier = read_usage(raw, self._searches)
        self._tier = tier or self._tier
        deltas.append(UsageReported(usage=usage or Usage(), raw=raw))


_TRUE = Raw(b"true")
_MOST_ODD = 3
_BEGUN: Extras = {"functionCall": Raw(b'{"willContinue":true}')}


def _is_piece(part: ToolCall, choice: _Choice) -> bool:
    rest = (part.extras or {}).get("functionCall")
    if choice.growing is not None and not part.name:
        return True
    return rest is not None and (b"willContinue" in bytes(rest) or b"partialArgs" in bytes(rest))
