"""A conversation of another dialect as Gemini's contents: roles by turns, and every call followed by its result.

Google refuses a function call without a response right after it, a response without a call, and two responses to one
call. So results are put in the order of their calls, missing ones are made, and orphans become text.
"""

from collections.abc import Iterable, Sequence

from msgspec import Raw, Struct, field

from wayport.core.errors import BadRequest
from wayport.dialects.dialect import Profile
from wayport.dialects.gemini_content_calls import FOREIGN_CALL_SIGNATURE
from wayport.dialects.gemini_content_config import Report
from wayport.dialects.gemini_content_parts import Json, write_part
from wayport.dialects.neutral import (
    Audio,
    Document,
    Image,
    Message,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
    Video,
)
from wayport.dialects.tool_names import ToolNames

NO_RESULT = "The tool call was interrupted: there is no result."
_START = "(start of the conversation)"
_Media = Image | Document | Audio | Video


class _Turn(Struct):
    """What the model said, and what followed until it spoke again."""

    said: list[Part] = field(default_factory=list)
    after: list[Part] = field(default_factory=list)

    def calls(self) -> list[ToolCall]:
        return [part for part in self.said if isinstance(part, ToolCall)]


class Conversation:
    """The contents and the system instruction that a list of messages comes to."""

    def __init__(self, messages: Sequence[Message], profile: Profile, names: ToolNames, report: Report) -> None:
        self._profile = profile
        self._names = names
        self._report = report
        self.system: list[Json | Raw] = []
        self.contents: list[Json] = []
        head = 0
        while head < len(messages) and messages[head].role in {"system", "developer"}:
            self.system.extend(self._written(_texts(messages[head].parts)))
            head += 1
        self._write(_turns(messages[head:]))

    def _write(self, turns: list[_Turn]) -> None:
        results, orphans = _pair(turns)
        for turn in turns:
            self._add("model", self._model_parts(turn.said))
            answers: list[Json | Raw] = []
            media: list[Json | Raw] = []
            for call in turn.calls():
                self._answer(call, results.get(id(call)), answers, media)
            # A call or a thought among the user's words is nobody's.
            nobodys = ToolResult | ToolCall | Reasoning
            rest = [part for part in turn.after if not isinstance(part, nobodys) or id(part) in orphans]
            self._add("user", [*answers, *media, *self._written(rest)])
        if not self.contents:
            if not self.system:
                raise BadRequest("there is no message that could be sent to this model", param="messages")
            self.contents, self.system = [{"role": "user", "parts": self.system}], []
        elif self.contents[0]["role"] == "model":
            self.contents.insert(0, {"role": "user", "parts": [{"text": _START}]})

    def _add(self, role: str, parts: list[Json | Raw]) -> None:
        if not parts:
            return
        if self.contents and self.contents[-1]["role"] == role:
            self.contents[-1]["parts"].extend(parts)
        else:
            self.contents.append({"role": role, "parts": parts})

    def _model_parts(self, parts: Iterable[Part]) -> list[Json | Raw]:
        """The model's words. Its first call needs a signature: Gemini 3 refuses the request without one."""
        written: list[Json | Raw] = []
        first = True
        for part in parts:
            if isinstance(part, Reasoning) and not (part.issuer == "gemini" and part.signature):
                continue
            out = self._one(part)
            if out is None:
                continue
            if isinstance(part, ToolCall):
                if first and part.signature is None and isinstance(out, dict):
                    out["thoughtSignature"] = FOREIGN_CALL_SIGNATURE
                first = False
            written.append(out)
        return written

    def _answer(
        self, call: ToolCall, result: ToolResult | None, answers: list[Json | Raw], media: list[Json | Raw]
    ) -> None:
        if result is None:
            result = ToolResult(call_id=call.id, parts=[Text(text=NO_RESULT)], is_error=True)
        shown = [part for part in result.parts if isinstance(part, _Media) and part.source.kind != "text"]
        texts: list[Part] = [Text(text=part.text) for part in _texts(result.parts)]
        inside: list[Part] = list(shown) if self._profile.tool_result_media else []
        told = ToolResult(
            call_id=call.id,
            name=self._names.sent(call.name, call.namespace),
            parts=[*texts, *inside],
            is_error=result.is_error,
        )
        out = write_part(told, own=False)
        if out is not None:
            answers.append(out)
        if shown and not inside:
            media.append({"text": f"Returned by the tool {call.name}:"})
            media.extend(self._written(shown))

    def _written(self, parts: Iterable[Part]) -> list[Json | Raw]:
        return [out for part in parts if (out := self._one(part)) is not None]

    def _one(self, part: Part) -> Json | Raw | None:
        if isinstance(part, Text) and not part.text and part.signature is None:
            return None
        if isinstance(part, ToolResult):
            text = "".join(inner.text for inner in _texts(part.parts))
            return {"text": f"Result of an earlier tool call ({part.name or part.call_id}): {text}"}
        if isinstance(part, Audio) and not part.source.value:
            return {"text": part.transcript} if part.transcript else None
        if isinstance(part, Document) and part.source.kind == "text":
            return {"text": _document(part)}
        if isinstance(part, Image) and self._profile.images == "none":
            self._report.drop("image_url")
            return None
        if isinstance(part, Document) and self._profile.documents == "none":
            self._report.drop("file")
            return None
        out = write_part(part, own=False, names=self._names)
        if out is None and isinstance(part, _Media):
            self._report.drop("file_id")
        return out


def _texts(parts: Iterable[Part]) -> list[Text]:
    """What can be read of some parts; a document given as text is one."""
    found: list[Text] = []
    for part in parts:
        if isinstance(part, Text | Refusal) and part.text:
            found.append(part if isinstance(part, Text) else Text(text=part.text))
        elif isinstance(part, Document) and part.source.kind == "text":
            found.append(Text(text=_document(part)))
    return found


def _document(part: Document) -> str:
    """A document's text, under its title."""
    return f"{part.title}\n\n{part.source.value}" if part.title else part.source.value


def _turns(messages: Iterable[Message]) -> list[_Turn]:
    """Messages gathered by who speaks. A system message amid the conversation is told to the model by the user."""
    turns = [_Turn()]
    for message in messages:
        if message.role == "assistant":
            if turns[-1].after:
                turns.append(_Turn())
            turns[-1].said.extend(message.parts)
        elif message.role in {"system", "developer"}:
            text = "\n".join(part.text for part in _texts(message.parts))
            if text:
                turns[-1].after.append(Text(text=f"<system>\n{text}\n</system>"))
        else:
            turns[-1].after.extend(message.parts)
    return turns


def _pair(turns: Sequence[_Turn]) -> tuple[dict[int, ToolResult], set[int]]:
    """Results by their call (its identity), and the results (theirs) that belong to no call."""
    found: dict[int, ToolResult] = {}
    left: list[ToolResult] = []
    for turn in turns:
        waiting: dict[str, list[ToolCall]] = {}
        for call in reversed(turn.calls()):
            waiting.setdefault(call.id, []).append(call)
        for part in turn.after:
            if not isinstance(part, ToolResult):
                continue
            asked = waiting.get(part.call_id)
            if asked:
                found[id(asked.pop())] = part
            else:
                left.append(part)
    # What came late, or too early, still belongs to a call that nobody answered.
    open_calls = {call.id: call for turn in reversed(turns) for call in turn.calls() if id(call) not in found}
    orphans: set[int] = set()
    for part in left:
        late = open_calls.pop(part.call_id, None)
        if late is None:
            orphans.add(id(part))
        else:
            found[id(late)] = part
    return found, orphans
