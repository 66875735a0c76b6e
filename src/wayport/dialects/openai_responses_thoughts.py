"""Thoughts in a stream, as the Responses dialect tells them: a reasoning item with a summary in parts."""

from typing import Any

import msgspec

from wayport.dialects.neutral import BlockDelta, Part, Reasoning
from wayport.dialects.openai_responses_blocks import DeltaLine, Output
from wayport.dialects.openai_responses_items import encode_reasoning
from wayport.dialects.openai_responses_made import reasoning_item
from wayport.dialects.openai_responses_parts import written


class ReasoningBlock:
    """Thoughts: summary parts, and the thoughts themselves where this dialect's model told them."""

    __slots__ = (
        "_content",
        "_given",
        "_id",
        "_index",
        "_lines",
        "_output",
        "_part",
        "_summary",
        "_summary_open",
        "_text_line",
    )

    def __init__(self, output: Output, part: Reasoning) -> None:
        self._output = output
        self._given = part
        self._part = msgspec.structs.replace(part, text="", summary=None)
        self._index = output.new_index()
        self._id = (part.id if output.own else None) or output.ids.make("rs", self._index)
        self._summary: list[list[str]] = []
        self._lines: list[DeltaLine] = []
        self._summary_open: int | None = None
        self._content: list[str] = []
        self._text_line: DeltaLine | None = None
        # Thoughts of other dialects stand in the summary, which every client shows, unless they have one themselves.
        if part.summary is not None:
            self._part.summary = []

    def begin(self) -> bytes:
        part = self._given
        item: dict[str, Any] = {"id": self._id, "type": "reasoning", "summary": []}
        if self._output.own:
            item |= written(part.extras)
        told = self._output.added(self._index, item)
        for number, text in enumerate(part.summary or ()):
            told += self._tell_summary(number, text)
        return told + (self._tell(part.text) if part.text else b"")

    def delta(self, delta: BlockDelta) -> bytes:
        part = self._part
        if delta.signature is not None:
            part.signature = (part.signature or "") + delta.signature
        if delta.encrypted is not None:
            part.encrypted = delta.encrypted
        if delta.redacted is not None:
            part.redacted = delta.redacted
        if not delta.text:
            return b""
        if delta.summary_index is None:
            return self._tell(delta.text)
        if part.summary is None:
            part.summary = []
        return self._tell_summary(delta.summary_index, delta.text)

    def _tell(self, text: str) -> bytes:
        if not self._output.own and self._part.summary is None and not self._content:
            return self._tell_summary(0, text)
        told = b""
        if self._text_line is None:
            where: dict[str, Any] = {"item_id": self._id, "output_index": self._index, "content_index": 0}
            self._text_line = DeltaLine(self._output, "response.reasoning_text.delta", **where)
            empty = {"type": "reasoning_text", "text": ""}
            told = self._output.event("response.content_part.added", **where, part=empty)
        self._content.append(text)
        return told + self._text_line.write(text)

    def _where(self, number: int) -> dict[str, Any]:
        return {"item_id": self._id, "output_index": self._index, "summary_index": number}

    def _tell_summary(self, number: int, text: str) -> bytes:
        told = b""
        if self._summary_open is not None and number > self._summary_open:
            told += self._end_summary()
        while len(self._summary) <= number:
            at = len(self._summary)
            self._summary.append([])
            self._lines.append(DeltaLine(self._output, "response.reasoning_summary_text.delta", **self._where(at)))
            empty = {"type": "summary_text", "text": ""}
            told += self._output.event("response.reasoning_summary_part.added", **self._where(at), part=empty)
        self._summary_open = number
        if not text:
            return told
        self._summary[number].append(text)
        return told + self._lines[number].write(text)

    def _end_summary(self) -> bytes:
        number, self._summary_open = self._summary_open, None
        if number is None:
            return b""
        text = "".join(self._summary[number])
        return self._output.event(
            "response.reasoning_summary_text.done", **self._where(number), text=text
        ) + self._output.event(
            "response.reasoning_summary_part.done", **self._where(number), part={"type": "summary_text", "text": text}
        )

    def close(self, part: Part | None) -> bytes:
        told = b""
        final = part if isinstance(part, Reasoning) else None
        if final is not None:
            told += self._catch_up(final)
        told += self._end_summary()
        text = "".join(self._content)
        if self._text_line is not None:
            where = {"item_id": self._id, "output_index": self._index, "content_index": 0}
            told += self._output.event("response.reasoning_text.done", **where, text=text)
            content = {"type": "reasoning_text", "text": text}
            told += self._output.event("response.content_part.done", **where, part=content)
        final = final or self._assembled(text)
        item = encode_reasoning(final) if self._output.own else reasoning_item(final, self._id)
        return told + self._output.finished(self._index, item)

    def _catch_up(self, final: Reasoning) -> bytes:
        """Tells what the whole has and no delta had."""
        told = b""
        for number, text in enumerate(final.summary or ()):
            said = "".join(self._summary[number]) if number < len(self._summary) else ""
            if len(text) > len(said) and text.startswith(said):
                told += self._tell_summary(number, text[len(said) :])
            elif number >= len(self._summary):
                told += self._tell_summary(number, "")
        said = "".join(self._content) or ("" if final.summary else "".join(map("".join, self._summary)))
        if len(final.text) > len(said) and final.text.startswith(said):
            told += self._tell(final.text[len(said) :])
        return told

    def _assembled(self, text: str) -> Reasoning:
        summary = ["".join(texts) for texts in self._summary]
        if self._output.own or self._part.summary is not None:
            given = summary if summary or self._part.summary is not None else None
            return msgspec.structs.replace(self._part, text=text, summary=given)
        return msgspec.structs.replace(self._part, text="".join(summary), summary=None)
