"""Conversations of other dialects as items of the Responses API.

What must stay true: every call is followed by its output before anything else is said (DeepSeek refuses other orders),
no output stands without its call, and reasoning goes back only to whom it belongs.
"""

import hashlib
import re
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from wayport.dialects.dialect import Profile
from wayport.dialects.neutral import (
    Audio,
    CacheMarker,
    Document,
    Image,
    Message,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Request,
    Text,
    ToolCall,
    ToolResult,
    Video,
)
from wayport.dialects.openai_responses_fit import Fitting
from wayport.dialects.openai_responses_parts import url_of
from wayport.dialects.tool_names import ToolNames, hashed

_GOOD_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_BAD_CHARS = re.compile(r"[^a-zA-Z0-9_-]")
_NO_OUTPUT = "No result: the call was not carried out."
_ORPHAN = "Result of an earlier tool call:\n"
# OpenAI takes four prompt-cache breakpoints in a request (its prompt caching guide).
_MAX_BREAKPOINTS = 4


def safe(text: str, limit: int = 64) -> str:
    """An id or a name as OpenAI takes it: letters, digits, `_` and `-`. The same text is always changed alike."""
    if len(text) <= limit and _GOOD_NAME.fullmatch(text):
        return text
    return hashed(text, _BAD_CHARS.sub("_", text), limit)


class Turns:
    """The conversation: `instructions` from the system messages that begin it, and `items` from the rest."""

    def __init__(self, request: Request, profile: Profile, fitting: Fitting, names: ToolNames) -> None:
        self._profile = profile
        self._fitting = fitting
        self._names = names
        self._own_files = request.dialect == "openai_chat"
        self._breakpoints = _MAX_BREAKPOINTS if profile.cache_breakpoints else 0
        self._id_limit = profile.tool_id_chars or 64
        messages = [message for message in request.messages if message.parts]
        leading = 0
        while leading < len(messages) and messages[leading].role in ("system", "developer"):
            leading += 1
        self.items: list[Any] = []
        self.instructions = self._instructions(messages[:leading])
        if not self.instructions:
            self.items.extend(self._message(message) for message in messages[:leading])
        self._outputs: dict[str, deque[ToolResult]] = {}
        for message in messages:
            for part in message.parts:
                if isinstance(part, ToolResult):
                    self._outputs.setdefault(part.call_id, deque()).append(part)
        self._told: set[int] = set()
        self.items.extend(self._conversation(messages[leading:]))

    def say(self, text: str) -> None:
        """An instruction of our own."""
        self.items.insert(0, {"role": "developer", "content": text})

    def mention(self, word: str) -> bool:
        """Whether a message says the word."""
        return any(word in str(item.get("content", "")).lower() for item in self.items if "role" in item)

    def _instructions(self, messages: list[Message]) -> str:
        """Their texts; nothing where they hold more than a string can say."""
        texts = []
        for message in messages:
            for part in message.parts:
                if not isinstance(part, Text | Opaque) or (self._breakpoints and isinstance(part, Text) and part.cache):
                    return ""
                if isinstance(part, Text) and part.text:
                    texts.append(part.text)
        return "\n\n".join(texts)

    # ------------------------------------------------------------------------------------------------- conversation
    def _conversation(self, messages: list[Message]) -> Iterator[Any]:
        run: list[Message] = []
        for message in messages:
            if message.role == "assistant":
                run.append(message)
                continue
            yield from self._assistant(run)
            run = []
            yield from self._from_client(message)
        yield from self._assistant(run)

    def _assistant(self, run: list[Message]) -> Iterator[Any]:
        """What the model said, then the outputs of all its calls."""
        calls = [part for message in run for part in message.parts if isinstance(part, ToolCall)]
        items = [item for message in run for item in self._said(message.parts, in_tool_turn=bool(calls))]
        while items and items[-1].get("type") == "reasoning":
            # OpenAI refuses reasoning that nothing follows.
            items.pop()
        yield from items
        for call in calls:
            waiting = self._outputs.get(call.id)
            if waiting:
                result = waiting.popleft()
                self._told.add(id(result))
                yield self._output(call, result)
            else:
                yield self._output(call, ToolResult(call_id=call.id, parts=[Text(text=_NO_OUTPUT)]))

    def _said(self, parts: list[Part], *, in_tool_turn: bool) -> Iterator[dict[str, Any]]:
        texts: list[str] = []
        for part in parts:
            match part:
                case Text() | Refusal():
                    texts.append(part.text)
                    continue
                case Audio():
                    texts.append(part.transcript or "")
                    continue
                case Opaque():
                    texts.append(part.text or "")
                    continue
            yield from _spoken(texts)
            match part:
                case ToolCall():
                    yield self._call(part)
                case Reasoning():
                    yield from self._thoughts(part, in_tool_turn=in_tool_turn)
                case Image() | Document() | Video():
                    # Only users may show something.
                    content = self._content(part)
                    if content is not None:
                        yield {"role": "user", "content": [content]}
                case _:
                    pass
        yield from _spoken(texts)

    def _call(self, call: ToolCall) -> dict[str, Any]:
        custom = call.kind == "custom"
        return {
            "type": "custom_tool_call" if custom else "function_call",
            "call_id": safe(call.id, self._id_limit),
            "name": self._names.sent(call.name, call.namespace),
            "input" if custom else "arguments": call.arguments or ("" if custom else "{}"),
        }

    def _thoughts(self, part: Reasoning, *, in_tool_turn: bool) -> Iterator[dict[str, Any]]:
        summary = [{"type": "summary_text", "text": text} for text in part.summary or ()]
        if part.encrypted is not None and part.issuer == "openai":
            item: dict[str, Any] = {"type": "reasoning", "summary": summary, "encrypted_content": part.encrypted}
            # The content is bound to its item's id; an id that is not known is better left out than made up.
            yield {"id": part.id, **item} if part.id is not None else item
            return
        back = self._profile.reasoning_back
        wanted = back == "always" or (back == "tool_turns" and in_tool_turn)
        text = part.text or "\n\n".join(part.summary or ())
        if wanted and text and part.issuer in (None, "openai", "other"):
            digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
            yield {
                "type": "reasoning",
                "id": part.id or f"rs_{digest}",
                "summary": [],
                "content": [{"type": "reasoning_text", "text": text}],
            }

    def _output(self, call: ToolCall, result: ToolResult) -> dict[str, Any]:
        kind = "custom_tool_call_output" if call.kind == "custom" else "function_call_output"
        return {"type": kind, "call_id": safe(call.id, self._id_limit), "output": self._result(result.parts)}

    def _result(self, parts: Iterable[Part]) -> Any:
        content = [each for part in parts if (each := self._content(part)) is not None]
        if all(each["type"] == "input_text" and len(each) == 2 for each in content):
            return "\n".join(each["text"] for each in content)
        return content

    def _from_client(self, message: Message) -> Iterator[Any]:
        rest: list[Part] = []
        for part in message.parts:
            if not isinstance(part, ToolResult):
                rest.append(part)
            elif id(part) not in self._told:
                # Its call is gone from the conversation: an output alone is refused.
                waiting = self._outputs.get(part.call_id)
                if waiting and waiting[0] is part:
                    waiting.popleft()
                rest.append(Text(text=_ORPHAN))
                rest.extend(part.parts)
        if rest:
            yield self._message(Message(role=message.role, parts=rest))

    def _message(self, message: Message) -> dict[str, Any]:
        role = {"system": "developer", "tool": "user"}.get(message.role, message.role)
        content = [each for part in message.parts if (each := self._content(part)) is not None]
        if len(content) == 1 and content[0]["type"] == "input_text" and len(content[0]) == 2:
            return {"role": role, "content": content[0]["text"]}
        return {"role": role, "content": content}

    # ------------------------------------------------------------------------------------------------------ content
    def _content(self, part: Part) -> dict[str, Any] | None:
        match part:
            case Text() | Refusal():
                if not part.text:
                    return None
                cache = part.cache if isinstance(part, Text) else None
                return {"type": "input_text", "text": part.text, **self._marker(cache)}
            case Image():
                return self._image(part)
            case Document():
                return self._document(part)
            case Audio() if part.transcript:
                return {"type": "input_text", "text": part.transcript}
            case Audio():
                self._fitting.drop("input_audio")
            case Video():
                self._fitting.drop("video")
            case Opaque(text=str(text)) if text:
                return {"type": "input_text", "text": text}
            case _:
                pass
        return None

    def _marker(self, cache: CacheMarker | None) -> dict[str, Any]:
        if cache is None or self._breakpoints == 0:
            return {}
        self._breakpoints -= 1
        return {"prompt_cache_breakpoint": {"mode": "explicit"}}

    def _image(self, part: Image) -> dict[str, Any] | None:
        if self._profile.images == "none":
            self._fitting.drop("image_url")
            return None
        where = {"file_id": part.source.value} if part.source.kind == "file" else {"image_url": url_of(part.source)}
        if part.source.kind == "file" and not self._own_files:
            self._fitting.drop("file_id")
            return None
        return {"type": "input_image", "detail": part.detail or "auto", **where, **self._marker(part.cache)}

    def _document(self, part: Document) -> dict[str, Any] | None:
        source = part.source
        marker = self._marker(part.cache)
        if source.kind == "text":
            heading = f"{part.title}\n\n" if part.title else ""
            return {"type": "input_text", "text": heading + source.value, **marker}
        if self._profile.documents == "none":
            self._fitting.drop("file")
            return None
        if source.kind == "file":
            if not self._own_files:
                self._fitting.drop("file_id")
                return None
            return {"type": "input_file", "file_id": source.value, **marker}
        if source.kind == "url":
            return {"type": "input_file", "file_url": source.value, **marker}
        name = source.filename or part.title or f"document.{(source.media_type or 'pdf').rpartition('/')[2]}"
        return {"type": "input_file", "filename": name, "file_data": url_of(source, "application/pdf"), **marker}


def _spoken(texts: list[str]) -> Iterator[dict[str, Any]]:
    """The texts so far, as one message: their borders mean nothing to the model."""
    text = "".join(texts)
    texts.clear()
    if text:
        yield {"role": "assistant", "content": text}
