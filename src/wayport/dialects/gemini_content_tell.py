"""A stream for a Gemini client, written from deltas: server-sent events, or the JSON list of a call without `alt=sse`.

Gemini has no events that open or close anything: text and thoughts are sent as they come, a call when it is whole, and
what concerns the whole answer (finish reasons, usage, sources) in one last event.
"""

from typing import Any

import msgspec
from msgspec import Raw, Struct, field

from wayport.core.errors import UpstreamFault
from wayport.dialects.gemini_content_answer import (
    ABSENT,
    CONTENT,
    facts_to_wire,
    seal_onto,
    shows_thoughts,
    time_of,
    usage_to_wire,
)
from wayport.dialects.gemini_content_errors import encode_error
from wayport.dialects.gemini_content_parts import Json, write_part
from wayport.dialects.gemini_content_seals import Pending
from wayport.dialects.gemini_content_words import NAME, finish_word
from wayport.dialects.neutral import (
    Annotated,
    Audio,
    BlockClosed,
    BlockDelta,
    BlockOpened,
    Choice,
    ChoiceFinished,
    Citation,
    Delta,
    Ended,
    Failed,
    Image,
    LogprobsAdded,
    Part,
    Reasoning,
    Refusal,
    Request,
    Response,
    Started,
    Text,
    ToolCall,
    UsageReported,
    Video,
    append,
)
from wayport.wire.gemini_content import NULL, decode_object, encode

KEEP_ALIVE = b"\n\n"
"""a sign of life between events: Google's SDKs take an SSE comment for a broken event, but pass over blank lines"""


class Framing:
    """How the events of an answer stand in its body: `data:` lines, or items of one JSON list (`as_list`)."""

    def __init__(self, *, as_list: bool) -> None:
        self._as_list = as_list
        self._begun = False

    def event(self, data: bytes) -> bytes:
        if not self._as_list:
            # Google indents its whole answers; values taken from one would break the line.
            if data.find(b"\n") >= 0 or data.find(b"\r") >= 0:
                data = data.replace(b"\r", b"").replace(b"\n", b" ")
            # httpx, which Google's SDK reads with, takes these characters for line ends. In JSON they may be escaped.
            if not data.isascii():
                for character, escaped in _LINE_ENDS:
                    data = data.replace(character, escaped)
            return b"data: " + data + b"\r\n\r\n"
        before = b",\r\n" if self._begun else b"["
        self._begun = True
        return before + data

    def end(self) -> bytes:
        """Closes the list. Nothing follows."""
        if not self._as_list:
            return b""
        return b"]" if self._begun else b"[]"


_LINE_ENDS = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"), (b"\xc2\x85", b"\\u0085"))


class _Block(Struct):
    part: Part
    pieces: list[str] = field(default_factory=list)
    citations: list[Citation] = field(default_factory=list)
    told: bool = False
    """whether something of it was sent"""
    apart: bool = False
    """the block before was of the same kind: the first words must be marked as another part"""


class _Told(Struct):
    """What was told of one choice."""

    choice: Choice
    blocks: dict[int, _Block] = field(default_factory=dict)
    last: type | None = None
    pending: Pending = field(default_factory=Pending)
    any: bool = False
    texts: list[_Block] = field(default_factory=list)


class StreamEncoder:
    """`response_id` and `created` stand in for what the upstream did not state."""

    def __init__(self, *, request: Request | None, response_id: str, created: int, as_list: bool = False) -> None:
        self._framing = Framing(as_list=as_list)
        self._show = shows_thoughts(request)
        self._request = request
        self._response = Response(dialect=NAME, id=response_id, model="")
        self._created = created
        self._own = False
        self._head: Json = {}
        self._told: dict[int, _Told] = {}

    def feed(self, delta: Delta) -> bytes:
        match delta:
            case BlockDelta():
                return self._grow(delta)
            case BlockOpened():
                return self._open(delta)
            case BlockClosed():
                return self._close(delta)
            case Started():
                self._start(delta)
            case LogprobsAdded():
                choice = self._of(delta.choice).choice
                if not delta.refusal:
                    choice.logprobs = [*(choice.logprobs or []), *delta.tokens]
            case ChoiceFinished():
                choice = self._of(delta.choice).choice
                choice.finish, choice.finish_raw, choice.extras = delta.finish, delta.finish_raw, delta.extras
            case UsageReported():
                self._response.usage, self._response.usage_raw = delta.usage, delta.raw
            case Annotated():
                if delta.model:
                    self._head["modelVersion"] = delta.model
                self._response.service_tier = delta.service_tier or self._response.service_tier
                self._response.extras.update(delta.extras or {})
            case Ended():
                return self._last() + self._framing.end()
            case Failed():
                error = encode_error(UpstreamFault(delta.fault), call_id="")
                return self._usage_alone() + self._framing.event(error) + self._framing.end()
            case _:
                pass
        return b""

    def _start(self, delta: Started) -> None:
        self._own = delta.dialect == NAME
        response = self._response
        response.extras = dict(delta.extras or {})
        response.usage, response.service_tier = delta.usage, delta.service_tier
        response_id = delta.id or response.id
        if delta.model:
            self._head["modelVersion"] = delta.model
        if delta.id or (response_id and not self._own):
            self._head["responseId"] = response_id
        created = delta.created if self._own else delta.created or self._created
        if "createTime" in response.extras:
            self._head["createTime"] = response.extras.pop("createTime")
        elif created:
            self._head["createTime"] = time_of(created)

    def _of(self, index: int) -> _Told:
        told = self._told.get(index)
        if told is None:
            told = self._told[index] = _Told(choice=Choice(index=index))
        return told

    # ------------------------------------------------------------------------------------------------------- blocks
    def _open(self, delta: BlockOpened) -> bytes:
        told = self._of(delta.choice)
        part = delta.part
        kind = Text if isinstance(part, Refusal) else type(part)
        apart = self._own and told.last is kind and kind in {Text, Reasoning}
        block = told.blocks[delta.block] = _Block(part=part, apart=apart)
        told.last = kind
        match part:
            case Text() | Refusal():
                if isinstance(part, Text):
                    block.citations.extend(part.citations)
                    told.texts.append(block)
                if part.text or (self._own and isinstance(part, Text) and (part.signature or part.extras)):
                    block.pieces.append(part.text)
                    return self._say(told, block, write_part(part, own=self._own))
            case Reasoning():
                if not self._own:
                    block.part = msgspec.structs.replace(
                        part, summary=None if part.summary is None else [*part.summary]
                    )
                    return self._think(told, block, part.text or "\n\n".join(part.summary or ()))
                if part.text or part.signature or part.extras:
                    return self._say(told, block, write_part(part, own=True))
            case ToolCall():
                block.part = msgspec.structs.replace(part)
                if self._own and part.extras is not None and _BEGUN in part.extras:
                    return self._say(told, block, write_part(part, own=True))
            case Audio():
                if part.source.value:
                    return self._say(told, block, write_part(part, own=self._own))
            case Image() | Video():
                block.part = msgspec.structs.replace(part, source=msgspec.structs.replace(part.source))
            case _:
                pass
        return b""

    def _grow(self, delta: BlockDelta) -> bytes:
        told = self._of(delta.choice)
        block = told.blocks[delta.block]
        part = block.part
        match part:
            case Text() | Refusal():
                if delta.citation is not None:
                    block.citations.append(delta.citation)
                if delta.text or delta.signature:
                    block.pieces.append(delta.text)
                    out: Json = {"text": delta.text}
                    if delta.signature is not None:
                        out["thoughtSignature"] = delta.signature
                    return self._say(told, block, out)
            case Reasoning():
                if self._own:
                    out = {"text": delta.text, "thought": True}
                    if delta.signature is not None:
                        out["thoughtSignature"] = delta.signature
                    return self._say(told, block, out)
                return self._think_on(told, block, part, delta)
            case ToolCall():
                if self._own and delta.raw is not None:
                    block.told = True
                    return self._say(told, block, delta.raw)
                block.pieces.append(delta.text)
                if delta.signature is not None:
                    part.signature = delta.signature
            case Audio():
                if delta.text:
                    source = msgspec.structs.replace(part.source, value=delta.text)
                    piece = msgspec.structs.replace(part, source=source)
                    return self._say(told, block, write_part(piece, own=self._own))
                if delta.transcript:
                    return self._say(told, block, {"text": delta.transcript})
            case _:
                append(part, delta)
        return b""

    def _think_on(self, told: _Told, block: _Block, part: Reasoning, delta: BlockDelta) -> bytes:
        text = delta.text
        if delta.summary_index is not None and delta.summary_index >= len(part.summary or ()) and block.told:
            text = "\n\n" + text
        # Words are joined when the thought is whole: added one by one they would be copied again and again.
        if delta.summary_index is None and delta.text:
            block.pieces.append(delta.text)
            delta = msgspec.structs.replace(delta, text="")
        append(part, delta)
        return self._think(told, block, text)

    def _close(self, delta: BlockClosed) -> bytes:
        told = self._of(delta.choice)
        block = told.blocks.pop(delta.block)
        part = delta.part or block.part
        match part:
            case Audio():
                return b""
            case Text() | Refusal():
                if block.told or not part.text or delta.part is None:
                    return b""
                block.pieces.append(part.text)
            case Reasoning():
                if self._own:
                    return b""
                if delta.part is None:
                    part.text += "".join(block.pieces)
                told.pending.add(part)
                return b"" if block.told else self._think(told, block, part.text or "\n\n".join(part.summary or ()))
            case ToolCall():
                if block.told:
                    return b""
                if delta.part is None:
                    part.arguments += "".join(block.pieces)
            case _:
                pass
        return self._say(told, block, write_part(part, own=self._own), part)

    def _think(self, told: _Told, block: _Block, text: str) -> bytes:
        if not text or not self._show:
            return b""
        return self._say(told, block, {"text": text, "thought": True})

    # ------------------------------------------------------------------------------------------------------- events
    def _say(self, told: _Told, block: _Block, out: Json | Raw | None, part: Part | None = None) -> bytes:
        if out is None:
            return b""
        if not self._own:
            seal_onto(out, part or block.part, told.pending)
        parts: list[Json | Raw] = [out]
        if block.apart and not block.told:
            parts.insert(0, {"text": "", "thought": True} if isinstance(block.part, Reasoning) else {"text": ""})
        block.told = True
        told.any = True
        candidate = {"content": {"parts": parts, "role": "model"}, "index": told.choice.index}
        return self._framing.event(encode({"candidates": [candidate], **self._head}))

    def _last(self) -> bytes:
        """The last event: how every choice ended, and all that is said once."""
        response = self._response
        out: Json = {}
        candidates = [
            self._final(told)
            for told in self._told.values()
            if not self._own or ABSENT not in (told.choice.extras or {})
        ]
        if candidates or not self._told:
            out["candidates"] = candidates or [self._final(self._of(0))]
        out.update(self._head)
        if self._own:
            out.update(response.extras)
        usage = usage_to_wire(response, own=self._own)
        if usage is not None:
            out["usageMetadata"] = usage
        return self._framing.event(encode(out))

    def _usage_alone(self) -> bytes:
        """What was consumed before an error, where it is known."""
        usage = usage_to_wire(self._response, own=self._own)
        return b"" if usage is None else self._framing.event(encode({**self._head, "usageMetadata": usage}))

    def _final(self, told: _Told) -> Json:
        choice = told.choice
        extras = (choice.extras or {}) if self._own else {}
        out: Json = {}
        note = extras.get(CONTENT)
        if told.any or not self._own:
            left = None if self._own else told.pending.for_text()
            silent: Json = {"text": ""} if left is None else {"text": "", "thoughtSignature": left}
            content: Any = {"parts": [silent], "role": "model"}
            if note is not None and note != NULL:
                content = {**decode_object(note), "parts": [silent]}
            out["content"] = content
        elif note is None:
            out["content"] = {"role": "model"}
        elif note != NULL:
            out["content"] = note
        out["finishReason"] = finish_word(choice.finish or "error", choice.finish_raw, own=self._own)
        if self._own:
            out.update({name: value for name, value in extras.items() if not name.startswith("~")})
            return out
        out["index"] = choice.index
        choice.parts = [Text(text="".join(block.pieces), citations=block.citations) for block in told.texts]
        out.update(facts_to_wire(choice))
        return out


_BEGUN = "functionCall"
