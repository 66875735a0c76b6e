"""Answers for clients of the Responses dialect: streamed from any upstream's deltas, or whole."""

from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import Raw

from wayport.core.errors import Fault
from wayport.core.usage import Usage
from wayport.dialects.neutral import (
    Annotated,
    Audio,
    BlockClosed,
    BlockDelta,
    BlockOpened,
    ChoiceFinished,
    Delta,
    Ended,
    Failed,
    FinishReason,
    Image,
    LogprobsAdded,
    Opaque,
    Part,
    Pinged,
    Reasoning,
    Refusal,
    Request,
    Response,
    Started,
    Text,
    TokenLogprob,
    ToolCall,
    Unknown,
    UsageReported,
)
from wayport.dialects.openai_responses_blocks import (
    Block,
    CallBlock,
    ImageBlock,
    MessageItem,
    OpaqueBlock,
    Output,
    SilentBlock,
    TextBlock,
    item_around,
)
from wayport.dialects.openai_responses_errors import code_of
from wayport.dialects.openai_responses_frame import Frame, status_of, write_usage
from wayport.dialects.openai_responses_items import encode_items
from wayport.dialects.openai_responses_made import (
    ItemIds,
    call_item,
    call_prefix,
    carrier_item,
    client_response_id,
    image_item,
    image_words,
    message_item,
    reasoning_item,
    refusal_content,
    text_content,
)
from wayport.dialects.openai_responses_parts import NAME
from wayport.dialects.openai_responses_seals import seal_call, seal_text
from wayport.dialects.openai_responses_thoughts import ReasoningBlock
from wayport.wire import sse
from wayport.wire.openai_responses import EMPTY_LIST, NULL, OBJECT, STRING

_TERMINALS = {"incomplete": "response.incomplete", "failed": "response.failed"}


def spoken(part: Part) -> Part:
    """What this dialect says instead of a part of another dialect for which it has no word."""
    match part:
        case Image() if part.source.kind != "base64":
            return Text(text=image_words(part))
        case Audio():
            return Text(text=part.transcript or "")
        case Opaque() if part.dialect != NAME and part.text:
            return Text(text=part.text)
        case _:
            return part


class StreamEncoder:
    """`response_id` names the answer for the client, unless it comes from an upstream of this dialect, which named it."""

    def __init__(self, *, request: Request | None, response_id: str, created: int) -> None:
        self._request = request
        self.response_id = client_response_id(response_id)
        self._created = created
        self._output = Output(self.response_id, own=False)
        self._frame: Frame | None = None
        self._blocks: dict[tuple[int, int], Block] = {}
        self._message: MessageItem | None = None
        self._last_text: TextBlock | None = None
        self._signature: str | None = None
        """of the last text: told when its message is done"""
        self._refused = False
        self._finish: FinishReason | None = None
        self._usage: Usage | None = None
        self._usage_raw: Raw | None = None

    def feed(self, delta: Delta) -> bytes:
        match delta:
            case BlockDelta():
                block = self._blocks.get((delta.choice, delta.block))
                if block is None:
                    return b""
                if delta.signature is not None and isinstance(block, TextBlock):
                    self._signature = delta.signature
                return block.delta(delta)
            case BlockOpened():
                return self._open(delta)
            case BlockClosed():
                return self._close(delta)
            case Started():
                return self._start(delta)
            case LogprobsAdded():
                if self._last_text is not None and not delta.refusal:
                    self._last_text.add_logprobs(delta.tokens)
                return b""
            case ChoiceFinished():
                self._finish = self._finish or delta.finish
                return self._end_message("incomplete" if delta.finish in ("length", "context_window") else "completed")
            case UsageReported():
                self._usage, self._usage_raw = delta.usage, delta.raw
                return b""
            case Annotated():
                self._annotate(delta)
                return b""
            case Unknown():
                return self._pass_on(delta)
            case Pinged():
                return sse.COMMENT
            case Failed():
                return self._fail(delta.fault)
            case Ended():
                return self._end()

    # ------------------------------------------------------------------------------------------------ the response
    def _start(self, delta: Started) -> bytes:
        own = delta.dialect == NAME
        if own and delta.id:
            self.response_id = delta.id
        self._output = Output(self.response_id, own=own)
        self._frame = Frame(
            response_id=self.response_id,
            model=delta.model,
            created=delta.created if delta.created is not None else self._created,
            request=self._request,
            own=(delta.extras or {}) if own else None,
        )
        if not own:
            self._frame.serve(delta.service_tier)
        self._usage = delta.usage
        return self._lifecycle("response.created", "in_progress") + self._lifecycle(
            "response.in_progress", "in_progress"
        )

    def _lifecycle(self, kind: str, status: str, **fields: Any) -> bytes:
        frame = self._ready()
        if status == "in_progress":
            fields |= frame.undone()
        response = frame.write(**{"status": status, "output": EMPTY_LIST, **fields})
        return self._output.event(kind, response=Raw(response))

    def _ready(self) -> Frame:
        if self._frame is None:
            self._frame = Frame(
                response_id=self.response_id, model="", created=self._created, request=self._request, own=None
            )
        return self._frame

    def _annotate(self, delta: Annotated) -> None:
        frame = self._ready()
        if delta.model is not None:
            frame.update(model=delta.model)
        if self._output.own:
            frame.merge(delta.extras or {})
        else:
            frame.serve(delta.service_tier)

    def _stated_usage(self) -> dict[str, Raw]:
        if self._output.own and self._usage_raw is not None:
            return {"usage": self._usage_raw}
        return {"usage": write_usage(self._usage)} if self._usage is not None else {}

    def _end(self) -> bytes:
        told = self._end_message("completed")
        frame = self._ready()
        if self._output.own:
            status = frame.text("status") or "completed"
            return told + self._output.event(
                _TERMINALS.get(status, "response.completed"),
                response=Raw(frame.write(output=self._output.items(), **self._stated_usage())),
            )
        status, incomplete = status_of(self._finish, refused=self._refused)
        kind = _TERMINALS.get(status, "response.completed")
        return told + self._lifecycle(
            kind,
            status,
            incomplete_details=incomplete,
            output=self._output.items(),
            **self._stated_usage(),
        )

    def _fail(self, fault: Fault) -> bytes:
        told = b""
        if self._frame is None:
            told = self._lifecycle("response.created", "in_progress")
        code = code_of(fault)
        error = {"type": fault.type or code, "code": code, "message": fault.message, "param": fault.param}
        # Both, as OpenAI sends them: the AI SDK reads only the first, Codex only the second. The flat fields are the
        # documented shape of the first, `error` is what is really sent.
        told += self._output.event("error", code=code, message=fault.message, param=fault.param, error=error)
        return told + self._lifecycle(
            "response.failed",
            "failed",
            error={"code": code, "message": fault.message},
            output=self._output.items(),
            **self._stated_usage(),
        )

    def _pass_on(self, delta: Unknown) -> bytes:
        if delta.dialect != NAME or not self._output.own:
            return b""
        fields: dict[str, Any] = dict(OBJECT.decode(delta.raw))
        kind = fields.pop("type", None)
        fields.pop("sequence_number", None)
        return self._output.event(STRING.decode(kind) if kind is not None else delta.name, **fields)

    # -------------------------------------------------------------------------------------------------- the blocks
    def _open(self, delta: BlockOpened) -> bytes:
        part = delta.part if self._output.own else spoken(delta.part)
        if isinstance(part, Text | Refusal):
            return self._open_text(delta, part)
        told = self._end_idle_message()
        block: Any
        match part:
            case ToolCall():
                block = CallBlock(self._output, part)
            case Reasoning():
                block = ReasoningBlock(self._output, part)
            case Image():
                block = ImageBlock(self._output, part)
            case Opaque(dialect="openai_responses"):
                block = OpaqueBlock(self._output, part)
            case _:
                self._blocks[delta.choice, delta.block] = SilentBlock()
                return told
        self._blocks[delta.choice, delta.block] = block
        begun: bytes = block.begin()
        return told + begun

    def _open_text(self, delta: BlockOpened, part: Text | Refusal) -> bytes:
        told = b""
        if isinstance(part, Refusal):
            self._refused = True
        elif part.signature is not None:
            self._signature = part.signature
        if self._message is None:
            self._message = MessageItem(self._output, item_around(part) if self._output.own else None)
            told = self._message.added()
        block = TextBlock(self._output, self._message, part)
        self._blocks[delta.choice, delta.block] = block
        self._last_text = block
        return told + block.begin()

    def _close(self, delta: BlockClosed) -> bytes:
        block = self._blocks.pop((delta.choice, delta.block), None)
        if block is None:
            return b""
        told = block.close(delta.part)
        if isinstance(block, TextBlock):
            if isinstance(delta.part, Text) and delta.part.signature is not None:
                self._signature = delta.part.signature
            around = block.item_is_whole(delta.part)
            if around is not None and block.item.open == 0:
                if self._message is block.item:
                    self._message = None
                told += block.item.finish(around=around)
        return told

    def _end_idle_message(self) -> bytes:
        """Another kind of item begins: texts after it stand in a message of their own."""
        return self._end_message("completed") if self._message is not None and self._message.open == 0 else b""

    def _end_message(self, status: str) -> bytes:
        message, self._message = self._message, None
        told = message.finish(status) if message is not None and message.open == 0 else b""
        if self._signature is not None:
            told += self._output.carrier(seal_text(self._signature, "last"))
            self._signature = None
        return told


# -------------------------------------------------------------------------------------------------------------- whole
def encode_whole(response: Response, request: Request | None) -> bytes:
    own = response.dialect == NAME
    frame = Frame(
        response_id=response.id if own else client_response_id(response.id),
        model=response.model,
        created=response.created,
        request=request,
        own=response.extras if own else None,
    )
    parts = [part for choice in response.choices for part in choice.parts]
    if own:
        fields: dict[str, Any] = {"output": list(encode_items(parts))}
        if response.usage_raw is not None:
            fields["usage"] = response.usage_raw
        elif response.usage is not None:
            fields["usage"] = write_usage(response.usage)
        return frame.write(**fields)
    frame.serve(response.service_tier)
    finish = next((choice.finish for choice in response.choices if choice.finish is not None), None)
    status, incomplete = status_of(finish, refused=any(isinstance(part, Refusal) for part in parts))
    logprobs = [token for choice in response.choices for token in choice.logprobs or ()]
    items = list(_made(parts, ItemIds(client_response_id(response.id)), logprobs, finish))
    return frame.write(
        status=status,
        incomplete_details=incomplete,
        error=Raw(b'{"code":"server_error","message":"The upstream reported a failure."}')
        if status == "failed"
        else NULL,
        output=items,
        usage=write_usage(response.usage) if response.usage is not None else NULL,
    )


def _made(
    parts: Iterable[Part], ids: ItemIds, logprobs: list[TokenLogprob], finish: FinishReason | None
) -> Iterator[dict[str, Any]]:
    """The items of another dialect's answer, as the stream tells them."""
    last = "incomplete" if finish in ("length", "context_window") else "completed"
    index = 0
    content: list[Any] = []
    for part in map(spoken, parts):
        if isinstance(part, Text | Refusal):
            if isinstance(part, Text):
                if part.signature is not None and not content:
                    yield carrier_item(ids.make("rs", index), seal_text(part.signature, "next"))
                    index += 1
                content.append(text_content(part.text, part.citations, logprobs))
                logprobs = []
            else:
                content.append(refusal_content(part.text))
            continue
        if content:
            yield message_item(ids.make("msg", index), content, "completed")
            index += 1
            content = []
        for item in _made_of(part, ids, index):
            yield item
            index += 1
    if content:
        yield message_item(ids.make("msg", index), content, last)


def _made_of(part: Part, ids: ItemIds, index: int) -> Iterator[Any]:
    match part:
        case ToolCall():
            if part.signature is not None:
                yield carrier_item(ids.make("rs", index), seal_call(part))
                index += 1
            yield call_item(part, ids.make(call_prefix(part), index), "completed", part.arguments)
        case Reasoning():
            yield reasoning_item(part, ids.make("rs", index))
        case Image():
            yield image_item(part, ids.make("ig", index))
        case Opaque(dialect="openai_responses"):
            yield part.raw
        case _:
            pass
