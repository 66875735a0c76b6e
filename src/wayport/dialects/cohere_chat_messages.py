"""System prompt and messages of any dialect, written as Cohere's Chat API wants them.

A system message stands first or nowhere; a tool's results stand in messages of their own, right behind the calls; what
an assistant says beside its calls is its plan.
"""

import base64
import binascii
from collections.abc import Callable, Iterable
from typing import Any

from wayport.dialects.anthropic_messages_fields import media_type_of, plain_media
from wayport.dialects.anthropic_messages_options import Draft, refuse
from wayport.dialects.anthropic_messages_parts import tool_input
from wayport.dialects.anthropic_messages_turns import Turn, split_system, turns_of
from wayport.dialects.bedrock_converse_messages import SEE_DOCUMENT, forget_finished_thoughts
from wayport.dialects.cohere_chat_answer import ISSUER
from wayport.dialects.neutral import (
    Audio,
    Document,
    Image,
    Media,
    Message,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
    Video,
)
from wayport.dialects.openai_chat_names import Ids
from wayport.dialects.tool_names import ToolNames

Block = dict[str, Any]

_Media = Image | Document | Audio | Video
_TOOL_FAILED = "The tool failed."


def write_messages(draft: Draft, names: ToolNames) -> None:
    profile = draft.profile
    leading, rest = split_system(draft.request.messages)
    if leading and not rest:
        # Nothing but a system prompt: here it is the task, and a conversation cannot be empty.
        leading, rest = [], [Message(role="user", parts=message.parts) for message in leading]
    told = [part.text for message in leading for part in message.parts if isinstance(part, Text) and part.text.strip()]
    told += draft.system
    messages: list[Block] = [{"role": "system", "content": "\n\n".join(told)}] if told else []
    turns = turns_of(rest, mid_system=False, prefill=profile.prefill, is_own_thought=_is_own(draft))
    if profile.reasoning_back == "tool_turns":
        forget_finished_thoughts(turns)
    pen = _Pen(draft, names)
    for turn in turns:
        messages += pen.assistant(turn) if turn.role == "assistant" else pen.user(turn)
    draft.body["messages"] = messages
    if pen.documents:
        draft.body["documents"] = pen.documents


def _is_own(draft: Draft) -> Callable[[Reasoning], bool]:
    """Cohere's thoughts bear no mark of their own: those that nobody signed may be its."""
    wanted = draft.profile.reasoning_back != "never"

    def is_own(part: Reasoning) -> bool:
        return wanted and bool(part.text) and not part.signature and part.issuer in (None, ISSUER)

    return is_own


class _Pen:
    """Writes the parts of one request."""

    def __init__(self, draft: Draft, names: ToolNames) -> None:
        self._draft = draft
        self._names = names
        self._ids = Ids(draft.profile, own=False)
        self._called: dict[str, str] = {}
        self.documents: list[Block] = []
        """those that the model is asked to cite"""

    # ----------------------------------------------------------------------------------------------------- assistant
    def assistant(self, turn: Turn) -> list[Block]:
        message: Block = {"role": "assistant"}
        texts = [part.text for part in turn.parts if isinstance(part, Text)]
        thoughts = [part.text for part in turn.parts if isinstance(part, Reasoning)]
        calls = [self._call(part) for part in turn.parts if isinstance(part, ToolCall)]
        thinking = [{"type": "thinking", "thinking": text} for text in thoughts]
        if calls:
            # A model that does not think calls its thoughts a plan; beside calls Cohere has no other place for words.
            thinks = self._draft.profile.reasoning != "none"
            plan = "\n\n".join(texts if thinks else [*thoughts, *texts])
            if plan:
                message["tool_plan"] = plan
            if thinking and thinks:
                message["content"] = thinking
            message["tool_calls"] = calls
        elif thinking:
            message["content"] = [*thinking, *({"type": "text", "text": text} for text in texts)]
        else:
            message["content"] = "".join(texts)
        return [message]

    def _call(self, call: ToolCall) -> Block:
        self._called[call.id] = call.name
        name = self._names.sent(call.name, call.namespace)
        function = {"name": name, "arguments": bytes(tool_input(call)).decode()}
        return {"id": self._ids.sent(call.id), "type": "function", "function": function}

    # ---------------------------------------------------------------------------------------------------------- user
    def user(self, turn: Turn) -> list[Block]:
        results = [part for part in turn.parts if isinstance(part, ToolResult)]
        messages = [self._result(result) for result in results]
        content: list[Block] = []
        for result in results:
            media = self._blocks(part for part in result.parts if isinstance(part, Image | Video | Audio))
            if media:
                name = self._called.get(result.call_id, "")
                content += [{"type": "text", "text": f"Returned by the tool {name}:"}, *media]
        content += self._blocks(part for part in turn.parts if not isinstance(part, ToolResult))
        if not messages and not content:
            # Nothing but documents to cite, which stand beside the messages.
            content = [{"type": "text", "text": SEE_DOCUMENT}]
        if content:
            messages.append({"role": "user", "content": _plain(content)})
        return messages

    def _result(self, result: ToolResult) -> Block:
        texts = [part.text for part in result.parts if isinstance(part, Text | Refusal | Opaque) and part.text]
        texts += [self._words(part) for part in result.parts if isinstance(part, Document)]
        if not texts and result.structured is not None:
            texts = [bytes(result.structured).decode()]
        if not texts and result.is_error:
            texts = [_TOOL_FAILED]
        return {"role": "tool", "tool_call_id": self._ids.sent(result.call_id), "content": "\n".join(texts)}

    # -------------------------------------------------------------------------------------------------------- blocks
    def _blocks(self, parts: Iterable[Part]) -> list[Block]:
        return [block for part in parts if (block := self._block(part)) is not None]

    def _block(self, part: Part) -> Block | None:
        match part:
            case Text():
                return {"type": "text", "text": part.text}
            case Image():
                return self._image(part)
            case Document():
                return self._document(part)
            case Audio():
                raise refuse("audio", self._draft.request)
            case Video():
                raise refuse("video", self._draft.request)
            case _:
                return None

    def _image(self, part: Image) -> Block:
        media = plain_media(part.source)
        if self._draft.profile.images == "none":
            raise refuse("images", self._draft.request)
        if media.kind == "base64" and media.value:
            url = f"data:{media_type_of(media) or 'image/jpeg'};base64,{media.value}"
        elif media.kind == "url":
            url = media.value
        else:
            raise refuse(
                f"this image (a file that only its own provider knows: {media.value[:100]})", self._draft.request
            )
        image: Block = {"url": url}
        if part.detail in ("auto", "low", "high"):
            image["detail"] = part.detail
        return {"type": "image_url", "image_url": image}

    def _document(self, part: Document) -> Block | None:
        words = self._words(part)
        if not part.citations or "response_format" in self._draft.body:
            return {"type": "text", "text": words}
        data: Block = {"text": words}
        if part.title is not None:
            data["title"] = part.title
        self.documents.append({"id": f"doc_{len(self.documents)}", "data": data})
        return None

    def _words(self, part: Document) -> str:
        """A document's text; only texts can be read here."""
        media = plain_media(part.source)
        text = media.value if media.kind == "text" else _readable(media)
        if text is None:
            what = media_type_of(media) or ("by its URL" if media.kind == "url" else "of no stated type")
            raise refuse(f"this document ({what})", self._draft.request)
        title = part.title or media.filename
        return f"{title}\n\n{text}" if title and not part.citations else text


def _readable(media: Media) -> str | None:
    media_type = media_type_of(media) or ""
    if not (media_type.startswith("text/") or media_type.endswith(("json", "xml", "yaml"))):
        return None
    try:
        return base64.b64decode(media.value).decode()
    except (binascii.Error, UnicodeError):
        return None


def _plain(content: list[Block]) -> str | list[Block]:
    """A single text as a string, as every model takes it."""
    return content[0]["text"] if len(content) == 1 and content[0]["type"] == "text" else content
