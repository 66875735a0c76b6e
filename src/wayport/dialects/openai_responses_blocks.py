"""Blocks of a stream as the Responses dialect tells them: each an item, or one content part of a message item.

What must stay true: an item's id and index are the same in every event that names it, what is told is told at once, and
the item that is done says all that its deltas said.
"""

from typing import Any, Protocol

import msgspec
from msgspec import Raw

from wayport.dialects.neutral import BlockDelta, Citation, Image, Opaque, Part, Refusal, Text, TokenLogprob, ToolCall
from wayport.dialects.openai_responses_items import encode_call
from wayport.dialects.openai_responses_made import (
    ItemIds,
    call_item,
    call_prefix,
    carrier_item,
    image_item,
    message_item,
    refusal_content,
    text_content,
)
from wayport.dialects.openai_responses_parts import ITEM, MORE, encode_annotation, encode_content, written
from wayport.dialects.openai_responses_seals import seal_call
from wayport.wire.openai_responses import NULL, OBJECT

_encode = msgspec.json.Encoder().encode


def one_line(data: bytes) -> bytes:
    """JSON without line breaks: between tokens they mean nothing, inside of an event they would end it."""
    return data.translate(None, b"\r\n") if b"\n" in data or b"\r" in data else data


class Output:
    """Numbers the events and the items of one stream, and keeps the items that are done."""

    __slots__ = ("done", "ids", "own", "sequence")

    def __init__(self, response_id: str, *, own: bool) -> None:
        self.sequence = 0
        self.done: list[bytes | None] = []
        self.ids = ItemIds(response_id)
        self.own = own
        """whether the answer comes from this very dialect, and so its notes and fields can be trusted"""

    def event(self, kind: str, **fields: Any) -> bytes:
        data = _encode({"type": kind, **fields, "sequence_number": self.sequence})
        self.sequence += 1
        return b"event: " + kind.encode() + b"\ndata: " + one_line(data) + b"\n\n"

    def new_index(self) -> int:
        self.done.append(None)
        return len(self.done) - 1

    def added(self, index: int, item: Any) -> bytes:
        return self.event("response.output_item.added", output_index=index, item=item)

    def finished(self, index: int, item: Any) -> bytes:
        raw = _encode(item)
        self.done[index] = raw
        return self.event("response.output_item.done", output_index=index, item=Raw(raw))

    def carrier(self, sealed: str) -> bytes:
        """A reasoning item that only carries the signature on another part."""
        index = self.new_index()
        item = carrier_item(self.ids.make("rs", index), sealed)
        return self.added(index, {**item, "encrypted_content": None}) + self.finished(index, item)

    def items(self) -> Raw:
        return Raw(b"[" + b",".join(raw for raw in self.done if raw is not None) + b"]")


class DeltaLine:
    """The bytes of one kind of delta event around its text: written thousands of times, so put together once."""

    __slots__ = ("_head", "_output", "_tail")

    def __init__(self, output: Output, kind: str, *, after: str = "", **fields: Any) -> None:
        head = _encode({"type": kind, **fields})[:-1]
        self._head = b"event: " + kind.encode() + b"\ndata: " + head + b',"delta":'
        self._tail = after.encode() + b',"sequence_number":'
        self._output = output

    def write(self, text: str) -> bytes:
        number = self._output.sequence
        self._output.sequence = number + 1
        return b"%b%b%b%d}\n\n" % (self._head, _encode(text), self._tail, number)


class Block(Protocol):
    def delta(self, delta: BlockDelta) -> bytes: ...

    def close(self, part: Part | None) -> bytes:
        """`part`: the authoritative whole, if it is known."""
        ...


class MessageItem:
    """A message item, open for the texts that follow one another."""

    __slots__ = ("_around", "_output", "content", "id", "index", "open")

    def __init__(self, output: Output, around: dict[str, Any] | None) -> None:
        self._output = output
        self.index = output.new_index()
        self._around = around
        self.id: str = _id_in(around) or output.ids.make("msg", self.index)
        self.content: list[Any] = []
        self.open = 0

    def added(self) -> bytes:
        item = message_item(self.id, [], "in_progress")
        if self._around is not None:
            item |= {name: value for name, value in self._around.items() if name != "status"}
        return self._output.added(self.index, item)

    def finish(self, status: str = "completed", around: dict[str, Any] | None = None) -> bytes:
        item = message_item(self.id, self.content, status) if around is None else {**around, "content": self.content}
        return self._output.finished(self.index, item)


def _id_in(around: dict[str, Any] | None) -> str | None:
    value = (around or {}).get("id")
    return msgspec.json.decode(value) if isinstance(value, Raw) and value != NULL else None


def item_around(part: Part) -> dict[str, Any] | None:
    """The fields of the message item around a text of this very dialect."""
    extras = part.extras if isinstance(part, Text | Refusal) else None
    return dict(OBJECT.decode(extras[ITEM])) if extras and ITEM in extras else None


class TextBlock:
    """A text or a refusal: a content part of a message item."""

    __slots__ = ("_citations", "_line", "_number", "_part", "_texts", "item", "logprobs", "output")

    def __init__(self, output: Output, item: MessageItem, part: Text | Refusal) -> None:
        self.output = output
        self.item = item
        self._part = part
        self._texts: list[str] = []
        self._citations: list[Citation] = []
        self.logprobs: list[TokenLogprob] = []
        self._number = len(item.content)
        item.content.append(None)
        item.open += 1
        refusal = isinstance(part, Refusal)
        self._line = DeltaLine(
            output,
            "response.refusal.delta" if refusal else "response.output_text.delta",
            after="" if refusal else ',"logprobs":[]',
            **self._where(),
        )

    def _where(self) -> dict[str, Any]:
        return {"item_id": self.item.id, "output_index": self.item.index, "content_index": self._number}

    def begin(self) -> bytes:
        part = self._part
        empty = refusal_content("") if isinstance(part, Refusal) else text_content("", (), ())
        told = self.output.event("response.content_part.added", **self._where(), part=empty)
        if part.text:
            self._texts.append(part.text)
            told += self._line.write(part.text)
        for citation in part.citations if isinstance(part, Text) else ():
            told += self._cite(citation)
        return told

    def delta(self, delta: BlockDelta) -> bytes:
        told = b""
        if delta.text:
            self._texts.append(delta.text)
            told = self._line.write(delta.text)
        if delta.citation is not None:
            told += self._cite(delta.citation)
        return told

    def _cite(self, citation: Citation) -> bytes:
        self._citations.append(citation)
        length = sum(map(len, self._texts))
        return self.output.event(
            "response.output_text.annotation.added",
            **self._where(),
            annotation_index=len(self._citations) - 1,
            annotation=encode_annotation(citation, length),
        )

    def close(self, part: Part | None) -> bytes:
        text = "".join(self._texts)
        told = b""
        final = part if isinstance(part, Text | Refusal) else None
        if final is not None:
            if len(final.text) > len(text) and final.text.startswith(text):
                told += self._line.write(final.text[len(text) :])
            text = final.text
            if isinstance(final, Text):
                for citation in final.citations[len(self._citations) :]:
                    told += self._cite(citation)
        content = self._content(final or self._part, text)
        self.item.content[self._number] = content
        self.item.open -= 1
        if isinstance(self._part, Refusal):
            told += self.output.event("response.refusal.done", **self._where(), refusal=text)
        else:
            told += self.output.event(
                "response.output_text.done", **self._where(), text=text, logprobs=content.get("logprobs") or []
            )
        return told + self.output.event("response.content_part.done", **self._where(), part=content)

    def _content(self, part: Text | Refusal, text: str) -> dict[str, Any]:
        if self.output.own:
            whole = msgspec.structs.replace(part, text=text)
            if isinstance(whole, Text) and len(self._citations) > len(whole.citations):
                whole.citations = self._citations
            content: dict[str, Any] = encode_content(whole, "output_text")
            return content
        if isinstance(part, Refusal):
            return refusal_content(text)
        return text_content(text, self._citations, self.logprobs)

    def add_logprobs(self, tokens: list[TokenLogprob]) -> None:
        """More logprobs, perhaps after the text is closed: then only the item says them."""
        if self.output.own or isinstance(self._part, Refusal):
            return
        self.logprobs += tokens
        content = self.item.content[self._number]
        if content is not None:
            text = content["text"]
            self.item.content[self._number] = text_content(text, self._citations, self.logprobs)

    def item_is_whole(self, part: Part | None) -> dict[str, Any] | None:
        """For a text of this very dialect: the final fields of its item, if no further part follows."""
        final = part if isinstance(part, Text | Refusal) else self._part
        if not self.output.own or MORE in (final.extras or {}):
            return None
        return item_around(final)


class CallBlock:
    """A call of a function or of a custom tool."""

    __slots__ = ("_call", "_id", "_index", "_line", "_output", "_signed", "_texts", "_words")

    def __init__(self, output: Output, call: ToolCall) -> None:
        self._output = output
        self._call = call
        self._texts: list[str] = []
        self._signed = False
        self._words = "custom_tool_call_input" if call.kind == "custom" else "function_call_arguments"

    def begin(self) -> bytes:
        call = self._call
        told = self._sign(call) if call.signature is not None else b""
        self._index = self._output.new_index()
        self._id = (call.item_id if self._output.own else None) or self._output.ids.make(call_prefix(call), self._index)
        self._line = DeltaLine(
            self._output, f"response.{self._words}.delta", item_id=self._id, output_index=self._index
        )
        item = call_item(call, self._id, "in_progress", "")
        if self._output.own:
            item = {**written(call.extras), **item}
        told += self._output.added(self._index, item)
        if call.arguments:
            self._texts.append(call.arguments)
            told += self._line.write(call.arguments)
        return told

    def _sign(self, call: ToolCall) -> bytes:
        self._signed = True
        return self._output.carrier(seal_call(call))

    def delta(self, delta: BlockDelta) -> bytes:
        if delta.signature is not None:
            self._call = msgspec.structs.replace(self._call, signature=delta.signature)
        if not delta.text:
            return b""
        self._texts.append(delta.text)
        return self._line.write(delta.text)

    def close(self, part: Part | None) -> bytes:
        arguments = "".join(self._texts)
        told = b""
        call = part if isinstance(part, ToolCall) else self._call
        if isinstance(part, ToolCall):
            if len(part.arguments) > len(arguments) and part.arguments.startswith(arguments):
                told += self._line.write(part.arguments[len(arguments) :])
            arguments = part.arguments
        fields = {"input" if call.kind == "custom" else "arguments": arguments}
        told += self._output.event(f"response.{self._words}.done", item_id=self._id, output_index=self._index, **fields)
        if self._output.own:
            item = encode_call(msgspec.structs.replace(call, arguments=arguments))
        else:
            item = call_item(call, self._id, "completed", arguments)
        told += self._output.finished(self._index, item)
        if call.signature is not None and not self._signed:
            told += self._sign(call)
        return told


class ImageBlock:
    """A picture, told as OpenAI's picture tool tells its own."""

    __slots__ = ("_id", "_index", "_output", "_part", "_texts")

    def __init__(self, output: Output, part: Image) -> None:
        self._output = output
        self._part = part
        self._texts = [part.source.value]
        self._index = output.new_index()
        self._id = output.ids.make("ig", self._index)

    def _event(self, word: str) -> bytes:
        return self._output.event(f"response.image_generation_call.{word}", item_id=self._id, output_index=self._index)

    def begin(self) -> bytes:
        item = {"id": self._id, "type": "image_generation_call", "status": "in_progress", "result": None}
        return self._output.added(self._index, item) + self._event("in_progress") + self._event("generating")

    def delta(self, delta: BlockDelta) -> bytes:
        self._texts.append(delta.text)
        return b""

    def close(self, part: Part | None) -> bytes:
        if not isinstance(part, Image):
            part = msgspec.structs.replace(
                self._part, source=msgspec.structs.replace(self._part.source, value="".join(self._texts))
            )
        return self._event("completed") + self._output.finished(self._index, image_item(part, self._id))


class OpaqueBlock:
    """An item that only this dialect knows: told as it came, in its place."""

    __slots__ = ("_index", "_output", "_part")

    def __init__(self, output: Output, part: Opaque) -> None:
        self._output = output
        self._part = part
        self._index = output.new_index()

    def begin(self) -> bytes:
        return self._output.added(self._index, self._part.raw)

    def delta(self, delta: BlockDelta) -> bytes:
        if delta.raw is None:
            return b""
        fields: dict[str, Any] = dict(OBJECT.decode(delta.raw))
        kind = msgspec.json.decode(fields.pop("type"))
        fields.pop("sequence_number", None)
        if "output_index" in fields:
            fields["output_index"] = self._index
        return self._output.event(kind, **fields)

    def close(self, part: Part | None) -> bytes:
        return self._output.finished(self._index, part.raw if isinstance(part, Opaque) else self._part.raw)


class SilentBlock:
    """What this dialect cannot say."""

    def delta(self, delta: BlockDelta) -> bytes:
        del delta
        return b""

    def close(self, part: Part | None) -> bytes:
        del part
        return b""
