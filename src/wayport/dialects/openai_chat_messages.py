"""Messages of the neutral form, written as an OpenAI-compatible target wants them.

What OpenAI demands and other dialects do not: a tool's results stand in messages of their own, directly after the call,
each call has one, and no result stands without its call.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec

from wayport.dialects.dialect import Profile
from wayport.dialects.neutral import (
    Audio,
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
from wayport.dialects.openai_chat_names import Ids, Names
from wayport.dialects.openai_chat_parts import is_of_message, write_cache, write_part, write_thinking
from wayport.dialects.openai_chat_reasoning import reasoning_back
from wayport.dialects.openai_chat_tools import is_legacy, write_call
from wayport.dialects.openai_chat_turns import Given, Said, arranged
from wayport.dialects.openai_read import Object, encode

Written = dict[str, Any]

NO_RESULT = "No result of this tool call was recorded."
_REASONING_FIELDS = frozenset(("reasoning_content", "reasoning", "reasoning_details", "thinking_blocks"))
_SIGNATURE_FIELDS = frozenset(("extra_content", "provider_specific_fields"))

# Claude Code's first system block is an account of itself for Anthropic's billing, and no prompt.
_NOT_A_PROMPT = "x-anthropic-billing-header:"

_SPEAKERS = frozenset({"user", "assistant"})

_Media = Image | Document | Audio | Video


class MessageWriter:
    def __init__(
        self,
        request: Request,
        profile: Profile,
        names: Names,
        *,
        instruction: str | None,
        drop: Callable[[str], None],
    ) -> None:
        self._request = request
        self._own = request.dialect == "openai_chat"
        self._profile = profile
        self._names = names
        self._ids = Ids(profile, own=self._own)
        self._instruction = instruction
        self._drop = drop

    def write(self) -> list[Written]:
        written = self._plain()
        if written is None:
            written = self._any()
        if self._instruction is not None:
            self._instruct(written, self._instruction)
        if self._profile.one_system_message:
            written = _one_system_message(written, self._profile.system_role)
        return written

    def _plain(self) -> list[Written] | None:
        """A conversation of another dialect that is texts and nothing else; None for every other one."""
        profile = self._profile
        if self._own or profile.reasoning_back != "never":
            return None
        marks = profile.cache_markers or profile.cache_breakpoints
        written: list[Written] = []
        for message in self._request.messages:
            parts, role = message.parts, message.role
            if len(parts) != 1 or type(part := parts[0]) is not Text or role == "tool":
                return None
            if part.cache is not None and (marks or part.cache.extras):
                return None
            if role in _SPEAKERS:
                written.append({"role": role, "content": part.text})
            elif not part.text.startswith(_NOT_A_PROMPT):
                written.append({"role": profile.system_role, "content": part.text})
        return written

    def _any(self) -> list[Written]:
        written: list[Written] = []
        steps = arranged(self._request.messages)
        for step in steps:
            if isinstance(step, Given):
                written.append(self._orphan(step.result))
                continue
            message = self._said(step)
            if message is None:
                continue
            written.append(message)
            shown = self._media_made(step)
            written.extend(self._result(given, shown) for given in step.results)
            if not (self._own and step is steps[-1]):
                # A client of this dialect may end with its calls and let the target say what it thinks of that.
                written.extend(self._no_result(call) for call in step.unanswered)
            if shown:
                written.append({"role": "user", "content": shown})
        return written

    # -- tool results -----------------------------------------------------------------------------------------------
    def _result(self, item: Given, shown: list[Written]) -> Written:
        result = item.result
        extras: Object = (item.message.extras or {}) if self._own else {}
        written: Written
        if self._own and is_legacy(result.extras):
            written = {"role": "function", "name": result.name}
        else:
            written = {"role": "tool", "tool_call_id": self._ids.sent(result.call_id)}
            if result.name is not None and self._own:
                written["name"] = result.name
        if self._own:
            content = self._content(result.parts, plain=result.plain)
            if result.parts:
                written["content"] = content
            if not is_of_message(result.cache):
                write_cache(result.cache, self._profile, written)
        else:
            written["content"] = _text_of_result(result)
            pictures = [part for part in result.parts if isinstance(part, _Media)]
            media = [found for part in pictures for found in self._parts([part])]
            if media:
                shown.append({"type": "text", "text": f"Returned by the tool call {written['tool_call_id']}:"})
                shown.extend(media)
        return self._with_extras(written, extras)

    def _no_result(self, call: ToolCall) -> Written:
        if self._own and is_legacy(call.extras):
            return {"role": "function", "name": call.name, "content": NO_RESULT}
        return {"role": "tool", "tool_call_id": self._ids.sent(call.id), "content": NO_RESULT}

    def _orphan(self, result: ToolResult) -> Written:
        """A result without its call would be refused; as the user's words it is at least not lost."""
        name = f" of `{result.name}`" if result.name else ""
        text = f"Result{name} (tool call {result.call_id or 'without id'}):\n{_text_of_result(result)}"
        media = self._parts([part for part in result.parts if isinstance(part, _Media)])
        if media:
            return {"role": "user", "content": [{"type": "text", "text": text}, *media]}
        return {"role": "user", "content": text}

    # -- messages ---------------------------------------------------------------------------------------------------
    def _said(self, item: Said) -> Written | None:
        message = item.message
        if message.role == "assistant":
            written = self._assistant(item)
        elif message.role in ("system", "developer"):
            found = self._system(item.parts, message)
            if found is None:
                return None
            written = found
        else:
            if not item.parts and not (self._own and message.role == "user"):
                return None
            written = {"role": "user"}
            if item.parts or not self._own:
                written["content"] = self._content(item.parts, plain=message.plain)
            elif "content" not in (message.extras or {}):
                written["content"] = ""
        if message.name is not None and self._own:
            written["name"] = message.name
        return self._with_extras(written, (message.extras or {}) if self._own else {})

    def _system(self, parts: list[Part], message: Message) -> Written | None:
        # What a target that knows no `developer` is told as `system`, and the other way round.
        role = self._profile.system_role
        if self._own:
            kept = {"role": role}
            return {**kept, "content": self._content(parts, plain=message.plain)} if parts else kept
        texts = [part for part in parts if isinstance(part, Text) and not part.text.startswith(_NOT_A_PROMPT)]
        if not texts:
            return None
        marked = self._profile.cache_markers or self._profile.cache_breakpoints
        if marked and any(part.cache is not None for part in texts):
            return {"role": role, "content": self._content(texts, plain=False)}
        return {"role": role, "content": "\n\n".join(part.text for part in texts)}

    def _assistant(self, item: Said) -> Written:
        parts, message = item.parts, item.message
        own, profile = self._own, self._profile
        written: Written = {"role": "assistant"}
        calls = [part for part in parts if isinstance(part, ToolCall)]
        thoughts = [part for part in parts if isinstance(part, Reasoning)]
        content = self._spoken(parts, message, has_calls=bool(calls))
        if content is not None or (not own and calls):
            written["content"] = content
        written.update(
            reasoning_back(
                thoughts,
                profile,
                wanted=profile.reasoning_back == "always" or item.in_tool_turn,
                required=profile.reasoning_back == "tool_turns" and bool(calls),
                own=own,
            )
        )
        if own:
            for part in parts:
                if isinstance(part, Refusal) and "type" not in (part.extras or {}):
                    written["refusal"] = part.text
                elif isinstance(part, Audio) and part.id is not None:
                    written["audio"] = {"id": part.id, **(part.extras or {})}
        older = [call for call in calls if own and is_legacy(call.extras)]
        for call in older:
            written["function_call"] = {"name": call.name, "arguments": call.arguments}
        newer = [call for call in calls if call not in older]
        if newer:
            written["tool_calls"] = [self._call(call) for call in newer]
        if len(written) == 1 and "content" not in (message.extras or {}):
            # Nothing of what it said can be told here; an empty turn keeps the order of speakers.
            written["content"] = ""
        return written

    def _spoken(self, parts: list[Part], message: Message, *, has_calls: bool) -> str | list[Written] | None:
        """The content of an assistant's message."""
        if self._own:
            told = [
                part
                for part in parts
                if not isinstance(part, Reasoning | Refusal | ToolCall | Audio)
                or (isinstance(part, Refusal) and "type" in (part.extras or {}))
                or (isinstance(part, Reasoning) and self._thinks_in_content(part))
            ]
            if not told:
                was_list = not message.plain and any(
                    "type" in (p.extras or {}) for p in parts if isinstance(p, Refusal)
                )
                return [] if was_list else None
            return self._content(told, plain=message.plain)
        # Texts of one turn are pieces of one text: citations cut them in the middle of a sentence.
        texts = []
        for part in parts:
            if isinstance(part, Text | Refusal):
                texts.append(part.text)
            elif isinstance(part, Opaque):
                if part.text is not None:
                    texts.append(part.text)
                else:
                    self._drop(part.kind or "content")
        text = "".join(texts)
        return text or (None if has_calls else "")

    def _thinks_in_content(self, part: Reasoning) -> bool:
        profile = self._profile
        return profile.reasoning_field == "content" and part.extras is not None and "type" in part.extras

    def _call(self, call: ToolCall) -> Written:
        sent = call
        if call.kind == "custom" and not self._profile.custom_tools:
            arguments = encode({"input": call.arguments}).decode()
            sent = msgspec.structs.replace(call, kind="function", arguments=arguments, extras=None)
        written = write_call(
            sent,
            own=self._own,
            name=self._names.sent(call.name, call.namespace),
            identity=self._ids.sent(call.id),
            signatures=self._profile.thought_signatures,
        )
        write_cache(call.cache, self._profile, written)
        return written

    def _with_extras(self, written: Written, extras: Object) -> Written:
        for name, raw in extras.items():
            if name in _REASONING_FIELDS and name != self._profile.reasoning_field:
                continue
            if name == "cache_control" and not self._profile.cache_markers:
                continue
            if name in _SIGNATURE_FIELDS and not self._profile.thought_signatures:
                continue
            written.setdefault(name, raw)
        return written

    # -- content ----------------------------------------------------------------------------------------------------
    def _content(self, parts: Sequence[Part], *, plain: bool) -> str | list[Written]:
        if (plain or not self._own) and len(parts) == 1 and isinstance(parts[0], Text):
            marker = parts[0].cache
            written: Written = {}
            write_cache(None if is_of_message(marker) else marker, self._profile, written)
            if not written:
                return parts[0].text
        written_parts = self._parts(parts)
        if not self._profile.content_parts and all(part.get("type") == "text" for part in written_parts):
            return "\n\n".join(str(part["text"]) for part in written_parts)
        return written_parts

    def _parts(self, parts: Sequence[Part]) -> list[Written]:
        return [written for part in parts if (written := self._part(part)) is not None]

    def _part(self, part: Part) -> Written | None:
        if isinstance(part, Image) and self._profile.images == "none":
            self._drop("image_url" if self._own else "image")
            return None
        if isinstance(part, Document) and self._profile.documents == "none" and part.source.kind != "text":
            self._drop("file" if self._own else "document")
            return None
        if isinstance(part, Reasoning):
            return write_thinking(part)
        if isinstance(part, Image) and part.source.kind in ("file", "text"):
            self._drop("image")
            return None
        if isinstance(part, Video) and not self._own:
            # OpenAI has no part for one; those of its imitators who do are asked for it by name.
            self._drop("video")
            return None
        if isinstance(part, Opaque) and not self._own:
            if part.text is not None:
                return {"type": "text", "text": part.text}
            self._drop(part.kind or "content")
            return None
        written = write_part(part, self._profile, own=self._own)
        if written is None:
            self._drop(type(part).__name__.lower())
        return written

    def _media_made(self, item: Said) -> list[Written]:
        """Images and other media that an assistant made: its messages cannot hold them, the user's can."""
        if item.message.role != "assistant" or self._own:
            return []
        media = self._parts([part for part in item.parts if isinstance(part, _Media)])
        return [{"type": "text", "text": "Made by the assistant:"}, *media] if media else []

    def _instruct(self, written: list[Written], text: str) -> None:
        """Says something to the model in the system prompt, at its end."""
        role: Literal["system", "developer", "user"] = self._profile.system_role
        for at, message in enumerate(written):
            if message["role"] != role or role == "user":
                written.insert(at, {"role": role, "content": text})
                return
            if isinstance(message.get("content"), str):
                message["content"] = f"{message['content']}\n\n{text}"
                return
        written.append({"role": role, "content": text})


def _text_of_result(result: ToolResult) -> str:
    texts = [part.text for part in result.parts if isinstance(part, Text | Refusal)]
    texts += [part.text for part in result.parts if isinstance(part, Opaque) and part.text is not None]
    texts += [part.source.value for part in result.parts if isinstance(part, Document) and part.source.kind == "text"]
    if not texts and result.structured is not None:
        return bytes(result.structured).decode("utf-8", "replace")
    if not texts and result.is_error:
        return "The tool failed."
    return "\n".join(texts)


def _one_system_message(written: list[Written], role: str) -> list[Written]:
    """All system messages in one, at the start."""
    said = [message for message in written if message["role"] in ("system", "developer")]
    if not said or (len(said) == 1 and written[0] is said[0]):
        return written
    texts: list[str] = []
    for message in said:
        content = message.get("content")
        if isinstance(content, str):
            texts.append(content)
        elif isinstance(content, list):
            texts.extend(str(part["text"]) for part in content if part.get("type") == "text")
    first = {**said[0], "role": role, "content": "\n\n".join(texts)}
    return [first, *(message for message in written if message["role"] not in ("system", "developer"))]
