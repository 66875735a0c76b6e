"""A chat stream, written for a client from deltas: every delta goes out as it comes, nothing is saved for the end."""

from typing import Any

import msgspec
from msgspec import Raw, Struct, field

from wayport.core.errors import UpstreamFault
from wayport.core.usage import Usage
from wayport.dialects.neutral import (
    Annotated,
    Audio,
    BlockClosed,
    BlockDelta,
    BlockOpened,
    ChoiceFinished,
    Delta,
    Document,
    Ended,
    Extras,
    Failed,
    Image,
    LogprobsAdded,
    Opaque,
    Part,
    Pinged,
    Reasoning,
    Refusal,
    Request,
    Started,
    Text,
    TokenLogprob,
    ToolCall,
    ToolResult,
    Unknown,
    UsageReported,
    Video,
    append,
)
from wayport.dialects.openai_chat_fault import error_body
from wayport.dialects.openai_chat_message import (
    as_custom,
    custom_names,
    is_listed,
    unlisted,
    wants_function_call,
    write_annotation,
    write_audio,
    write_finish,
    write_image,
    write_logprobs,
)
from wayport.dialects.openai_chat_parts import write_whole
from wayport.dialects.openai_chat_reasoning import ThoughtWriter
from wayport.dialects.openai_chat_tools import is_legacy, write_call
from wayport.dialects.openai_chat_unwrap import Unwrapper
from wayport.dialects.openai_chat_usage import write_usage
from wayport.dialects.openai_read import Object, encode, fields, is_null
from wayport.wire import sse

Written = dict[str, Any]


class _Block(Struct):
    """What is told of one part."""

    part: Part
    tool: int = 0
    """index among the choice's tool calls"""
    thought: ThoughtWriter | None = None
    unwrap: Unwrapper | None = None


class _Told(Struct):
    """What has been told of one choice."""

    blocks: dict[int, _Block] = field(default_factory=dict)
    tools: int = 0
    images: int = 0
    said: int = 0
    """characters of text before the open block"""
    tokens: list[TokenLogprob] = field(default_factory=list)
    refused: list[TokenLogprob] = field(default_factory=list)


class ChatStreamEncoder:
    def __init__(self, request: Request | None, response_id: str, created: int) -> None:
        self._include_usage = request is not None and request.include_usage
        self._custom = custom_names(request)
        self._wants_older = wants_function_call(request)
        self._older = False
        self._own = False
        self._id = response_id
        self._created = created
        self._model = ""
        self._tier: str | None = None
        self._fingerprint: Raw | None = None
        self._head = b""
        self._news: Extras = {}
        self._choices: dict[int, _Told] = {}
        self._usage: Usage | None = None
        self._usage_raw: Raw | None = None

    def feed(self, delta: Delta) -> bytes:
        match delta:
            case BlockDelta():
                return self._more(delta)
            case BlockOpened():
                return self._opened(delta)
            case BlockClosed():
                return self._closed(delta)
            case Started():
                return self._started(delta)
            case LogprobsAdded():
                told = self._told(delta.choice)
                (told.refused if delta.refusal else told.tokens).extend(delta.tokens)
                return b""
            case ChoiceFinished():
                return self._finished(delta)
            case UsageReported():
                self._usage, self._usage_raw = delta.usage, delta.raw
                return b""
            case Annotated():
                return self._annotated(delta)
            case Unknown():
                return sse.write(bytes(delta.raw)) if delta.dialect == "openai_chat" else b""
            case Pinged():
                return sse.COMMENT
            case Failed():
                return sse.write(encode(error_body(UpstreamFault(delta.fault))))
            case Ended():
                return self._ended()

    # -- around the choices -----------------------------------------------------------------------------------------
    def _started(self, delta: Started) -> bytes:
        self._own = delta.dialect == "openai_chat"
        self._older = self._wants_older and not self._own
        self._id = delta.id or self._id
        self._created = self._created if delta.created is None else delta.created
        self._model = delta.model
        self._tier = delta.service_tier
        if self._own:
            self._news = dict(delta.extras or {})
            self._fingerprint = self._news.pop("system_fingerprint", None)
        self._make_head()
        self._choices[0] = _Told()
        return self._chunk(0, {"role": "assistant", "content": ""})

    def _annotated(self, delta: Annotated) -> bytes:
        self._model = delta.model or self._model
        self._tier = delta.service_tier or self._tier
        if self._own:
            self._news.update(delta.extras or {})
            self._fingerprint = self._news.pop("system_fingerprint", self._fingerprint)
        self._make_head()
        return b""

    def _make_head(self) -> None:
        head: Written = {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._model,
        }
        if self._tier is not None:
            head["service_tier"] = self._tier
        if self._fingerprint is not None:
            head["system_fingerprint"] = self._fingerprint
        self._head = b"data: " + encode(head)[:-1]

    def _opening(self) -> bytes:
        """The head, and once what is new about the answer as a whole."""
        if not self._news:
            return self._head
        news, self._news = self._news, {}
        return self._head + b"," + encode(news)[1:-1]

    def _chunk(self, choice: int, delta: Written, *, finish: str | None = None, extras: Object | None = None) -> bytes:
        told = self._choices[choice]
        body = b'%b,"choices":[{"index":%d,"delta":%b' % (self._opening(), choice, encode(delta))
        if told.tokens or told.refused:
            logprobs: Written = {
                "content": write_logprobs(told.tokens) if told.tokens else None,
                "refusal": write_logprobs(told.refused) if told.refused else None,
            }
            told.tokens, told.refused = [], []
            if extras is not None and "logprobs" in extras:
                if not is_null(extras["logprobs"]):
                    logprobs.update(fields(extras["logprobs"], "logprobs"))
                extras = {name: raw for name, raw in extras.items() if name != "logprobs"}
            body += b',"logprobs":' + encode(logprobs)
        if extras:
            body += b"," + encode(extras)[1:-1]
        body += b',"finish_reason":null}]}' if finish is None else b',"finish_reason":%b}]}' % encode(finish)
        return _on_one_line(body)

    def _told(self, choice: int) -> _Told:
        told = self._choices.get(choice)
        if told is None:
            told = self._choices[choice] = _Told()
        return told

    def _finished(self, delta: ChoiceFinished) -> bytes:
        first = self._first(delta.choice)
        finish = write_finish(delta.finish, delta.finish_raw or None, own=self._own, older=self._older)
        message = dict(delta.message_extras or {}) if self._own else {}
        return first + self._chunk(delta.choice, message, finish=finish, extras=delta.extras if self._own else None)

    def _ended(self) -> bytes:
        last = b""
        if self._include_usage and self._usage is not None:
            raw = self._usage_raw if self._own else None
            usage = bytes(raw) if raw is not None else encode(write_usage(self._usage))
            last = _on_one_line(b'%b,"choices":[],"usage":%b}' % (self._opening(), usage))
        elif self._news:
            last = _on_one_line(self._opening() + b',"choices":[]}')
        return last + sse.DONE

    # -- blocks -----------------------------------------------------------------------------------------------------
    def _first(self, choice: int) -> bytes:
        """The role, for a choice that has said nothing yet; the first choice's went out at the start."""
        told = self._choices.get(choice)
        if told is not None and (choice == 0 or told.blocks):
            return b""
        self._told(choice)
        return self._chunk(choice, {"role": "assistant", "content": ""})

    def _opened(self, delta: BlockOpened) -> bytes:
        first = self._first(delta.choice)
        told = self._choices[delta.choice]
        block = told.blocks[delta.block] = _Block(part=delta.part)
        pieces = [self._chunk(delta.choice, piece) for piece in self._tell_opening(told, block)]
        return first + b"".join(pieces)

    def _tell_opening(self, told: _Told, block: _Block) -> list[Written]:
        part = block.part
        match part:
            case Text():
                said = [self._text(part, part.text)] if part.text else []
                return [*said, *self._about_text(told, part, block)]
            case Reasoning():
                block.thought = ThoughtWriter(part, own=self._own)
                return block.thought.opened()
            case Refusal():
                return [{"refusal": part.text}] if part.text else []
            case ToolCall():
                return self._call(told, block, part)
            case Audio():
                return [{"audio": _heard(part, own=self._own)}]
            case Image():
                # Told when it is whole.
                block.part = msgspec.structs.replace(part, source=msgspec.structs.replace(part.source))
                return []
            case Opaque():
                if self._own:
                    return [{"content": [part.raw]}]
                return [{"content": part.text}] if part.text else []
            case Document() | Video():
                return [{"content": [write_whole(part)]}] if self._own else []
            case ToolResult():
                return []

    def _text(self, part: Text, text: str) -> Written:
        if self._own and is_listed(part):
            return {"content": [{"type": "text", "text": text}]}
        return {"content": text}

    def _about_text(self, told: _Told, part: Text, block: _Block) -> list[Written]:
        pieces: list[Written] = [
            {"annotations": [write_annotation(citation, told.said, len(part.text))]} for citation in part.citations
        ]
        if part.signature is not None:
            pieces.append({"extra_content": {"google": {"thought_signature": part.signature}}})
        # Counted on as the text grows, for citations that come later.
        block.part = msgspec.structs.replace(part, citations=[])
        return pieces

    def _call(self, told: _Told, block: _Block, call: ToolCall) -> list[Written]:
        block.tool = told.tools
        told.tools += 1
        if self._older or (self._own and is_legacy(call.extras)):
            return [{"function_call": {"name": call.name, "arguments": call.arguments}}] if block.tool == 0 else []
        if call.kind == "function" and call.name in self._custom:
            block.unwrap = Unwrapper()
            call = msgspec.structs.replace(as_custom(call, self._custom), arguments=block.unwrap.feed(call.arguments))
        return [{"tool_calls": [{"index": block.tool, **write_call(call, own=self._own)}]}]

    def _more(self, delta: BlockDelta) -> bytes:
        told = self._choices[delta.choice]
        block = told.blocks[delta.block]
        match block.part:
            case Text() as part:
                return self._more_text(delta, told, part)
            case Reasoning():
                assert block.thought is not None
                pieces = block.thought.more(delta)
                return b"".join([self._chunk(delta.choice, piece) for piece in pieces])
            case Refusal():
                return self._chunk(delta.choice, {"refusal": delta.text})
            case ToolCall() as call:
                return self._more_arguments(delta, block, call)
            case Audio():
                heard: Written = {"data": delta.text} if delta.text else {}
                if delta.transcript:
                    heard["transcript"] = delta.transcript
                return self._chunk(delta.choice, {"audio": heard})
            case Image() as image:
                append(image, delta)
        return b""

    def _more_text(self, delta: BlockDelta, told: _Told, part: Text) -> bytes:
        out = b""
        if delta.text:
            part.text += delta.text
            out = self._chunk(delta.choice, self._text(part, delta.text))
        if delta.citation is not None:
            note = write_annotation(delta.citation, told.said, len(part.text))
            out += self._chunk(delta.choice, {"annotations": [note]})
        if delta.signature is not None:
            note = {"google": {"thought_signature": delta.signature}}
            out += self._chunk(delta.choice, {"extra_content": note})
        return out

    def _more_arguments(self, delta: BlockDelta, block: _Block, call: ToolCall) -> bytes:
        text = delta.text
        if self._older or (self._own and is_legacy(call.extras)):
            return self._chunk(delta.choice, {"function_call": {"arguments": text}}) if block.tool == 0 else b""
        kind, content = ("custom", "input") if call.kind == "custom" else ("function", "arguments")
        if block.unwrap is not None:
            kind, content = "custom", "input"
            text = block.unwrap.feed(text)
        entry: Written = {"index": block.tool, kind: {content: text}}
        if delta.signature is not None:
            entry["extra_content"] = {"google": {"thought_signature": delta.signature}}
        return self._chunk(delta.choice, {"tool_calls": [entry]})

    def _closed(self, delta: BlockClosed) -> bytes:
        told = self._choices[delta.choice]
        block = told.blocks[delta.block]
        pieces: list[Written] = []
        match block.part:
            case Text() as part:
                told.said += len(part.text)
            case Reasoning():
                assert block.thought is not None
                pieces = block.thought.closed(delta.part if isinstance(delta.part, Reasoning) else None)
            case Audio() as audio:
                whole = delta.part
                if isinstance(whole, Audio) and whole.expires_at is not None and audio.expires_at is None:
                    pieces = [{"audio": {"expires_at": whole.expires_at}}]
            case Image() as image:
                pieces = [self._image(told, image)]
            case ToolCall():
                rest = block.unwrap.end() if block.unwrap is not None else ""
                if rest:
                    pieces = [{"tool_calls": [{"index": block.tool, "custom": {"input": rest}}]}]
        return b"".join([self._chunk(delta.choice, piece) for piece in pieces])

    def _image(self, told: _Told, image: Image) -> Written:
        if self._own and is_listed(image):
            return {"content": [write_whole(unlisted(image))]}
        told.images += 1
        return {"images": [write_image(image, told.images - 1, own=self._own)]}


def _on_one_line(event: bytes) -> bytes:
    """The event, closed. What an upstream wrote may be indented; within strings line ends are escaped."""
    if event.find(b"\n") >= 0 or event.find(b"\r") >= 0:
        event = event.replace(b"\r", b" ").replace(b"\n", b" ")
    return event + b"\n\n"


def _heard(audio: Audio, *, own: bool) -> Written:
    written = write_audio(audio, own=own)
    return {name: value for name, value in written.items() if value or name in ("id", "expires_at")}
