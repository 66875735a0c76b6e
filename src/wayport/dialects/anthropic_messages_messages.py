"""System prompt and messages of the Messages API, written for an upstream."""

import base64
import binascii
from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import Raw, Struct, field

from wayport.dialects.anthropic_messages_fields import (
    NAME,
    Block,
    encode_source,
    finish,
    id_to_wire,
    media_type_of,
    plain_media,
)
from wayport.dialects.anthropic_messages_options import Draft, refuse
from wayport.dialects.anthropic_messages_parts import (
    add_document_facts,
    own_document_block,
    text_block,
    thinking_block,
    tool_use_block,
)
from wayport.dialects.anthropic_messages_turns import as_user_text, is_returnable, split_system, turns_of
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
from wayport.dialects.tool_names import ToolNames

_IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})

_SYSTEM = frozenset({"system", "developer"})

MAX_MARKERS = 4
"""cache breakpoints in one request (API reference, prompt caching)"""


class Written(Struct, kw_only=True):
    """The two fields, and what thinking depends on."""

    system: str | list[Block | Raw] | None = None
    messages: list[Block] = field(default_factory=list)
    mid_tools: bool = False
    """the conversation waits for what tools gave, and the turn that called them begins without a thought"""


def write_messages(draft: Draft, names: ToolNames) -> Written:
    pen = _Pen(draft, names)
    written = pen.own() if draft.own else pen.foreign()
    if draft.system:
        told: list[Block | Raw] = [{"type": "text", "text": sentence} for sentence in draft.system]
        before = written.system
        if isinstance(before, str):
            before = [{"type": "text", "text": before}] if before else []
        written.system = [*(before or []), *told]
    return written


def write_plain(draft: Draft) -> Written | None:
    """A conversation of another dialect that is texts in turn and nothing else, as most are; None for every other one."""
    if draft.own or draft.system:
        return None
    written, turn = Written(), "user"
    for message in draft.request.messages:
        parts = message.parts
        if len(parts) != 1 or type(part := parts[0]) is not Text or part.cache is not None:
            return None
        text, role = part.text, message.role
        if not text or text.isspace():
            return None
        if role == turn:
            written.messages.append({"role": role, "content": text})
            turn = "assistant" if role == "user" else "user"
        elif role in _SYSTEM and not written.messages and written.system is None:
            written.system = text
        else:
            return None
    if turn == "user":
        return None
    draft.plain = True
    return written


class _Pen:
    """Writes the parts of one request."""

    def __init__(self, draft: Draft, names: ToolNames) -> None:
        self._draft = draft
        self._names = names
        self._own = draft.own
        self._forgot = False
        """a thought was left out that this upstream did not issue"""

    # ------------------------------------------------------------------------------------------------ own dialect
    def own(self) -> Written:
        leading, rest = split_system(self._draft.request.messages)
        written = Written()
        if len(leading) == 1 and leading[0].plain:
            written.system = self._string(leading[0])
        elif leading:
            written.system = [block for message in leading for block in self._blocks(message.parts)]
        for message in rest:
            if message.role == "system" and self._draft.profile.mid_system is False:
                _say_as_user(written.messages, as_user_text(message.parts))
                continue
            text = self._string(message) if message.plain else None
            content = text if text is not None else list(self._blocks(message.parts))
            if not content and message.parts and text is None:
                # Nothing is left of it but thoughts that went elsewhere.
                continue
            written.messages.append({"role": message.role, "content": content, **(message.extras or {})})
        written.mid_tools = self._forgot and _waits_without_thought(written.messages)
        return written

    @staticmethod
    def _string(message: Message) -> str | None:
        """The content as a bare string, if it can still be one."""
        if len(message.parts) == 1 and isinstance(part := message.parts[0], Text) and part.cache is None:
            return part.text
        return None

    # ---------------------------------------------------------------------------------------------- other dialects
    def foreign(self) -> Written:
        leading, rest = split_system(self._draft.request.messages)
        if leading and not rest:
            # Nothing but a system prompt: here it is the task, and a conversation cannot be empty.
            leading, rest = [], [Message(role="user", parts=message.parts) for message in leading]
        texts = [part for message in leading for part in message.parts if isinstance(part, Text) and part.text.strip()]
        written = Written()
        if len(texts) == 1 and texts[0].cache is None:
            written.system = texts[0].text
        elif texts:
            written.system = [text_block(_bare(part), own=False) for part in texts]
        profile = self._draft.profile
        for turn in turns_of(rest, mid_system=profile.mid_system is True, prefill=profile.prefill):
            content: str | list[Block | Raw] = list(self._blocks(turn.parts))
            if len(turn.parts) == 1 and isinstance(only := turn.parts[0], Text) and only.cache is None:
                content = only.text
            written.messages.append({"role": turn.role, "content": content})
        written.mid_tools = _waits_without_thought(written.messages)
        return written

    # ----------------------------------------------------------------------------------------------------- parts
    def _blocks(self, parts: Iterable[Part]) -> Iterator[Block | Raw]:
        for part in parts:
            block = self._block(part)
            if block is not None:
                yield block

    def _block(self, part: Part) -> Block | Raw | None:
        own = self._own
        match part:
            case Text():
                return text_block(part if own else _bare(part), own=own)
            case Refusal():
                return {"type": "text", "text": part.text}
            case Reasoning():
                if is_returnable(part):
                    return thinking_block(part, own=own)
                self._forgot = True
                return None
            case ToolCall():
                return tool_use_block(part, self._names.sent(part.name, part.namespace), own=own)
            case ToolResult():
                return self._result(part)
            case Image():
                source = encode_source(part.source) if own else self._image_source(part.source)
                return finish({"type": "image", "source": source}, part.cache, part.extras, own=own)
            case Document():
                return own_document_block(part) if own else self._document(part)
            case Opaque():
                if part.dialect == NAME:
                    return part.raw
                return {"type": "text", "text": part.text} if part.text else None
            case Audio():
                raise refuse("audio", self._draft.request)
            case Video():
                raise refuse("video", self._draft.request)

    def _result(self, result: ToolResult) -> Block:
        block: Block = {"type": "tool_result", "tool_use_id": id_to_wire(result.call_id)}
        parts = result.parts
        if not self._own:
            parts = [part for part in parts if not (isinstance(part, Text) and not part.text.strip())]
            if not parts and result.structured is not None:
                parts = [Text(text=bytes(result.structured).decode())]
        only = parts[0] if len(parts) == 1 else None
        if isinstance(only, Text) and only.cache is None and (result.plain or not self._own):
            block["content"] = only.text
        elif parts:
            block["content"] = list(self._blocks(parts))
        if result.is_error is not None:
            block["is_error"] = result.is_error
        return finish(block, result.cache, result.extras, own=self._own)

    # ----------------------------------------------------------------------------------------------------- media
    def _image_source(self, media: Media) -> Block:
        media = plain_media(media)
        if self._draft.profile.images == "none":
            raise refuse("images", self._draft.request)
        if media.kind == "url":
            return {"type": "url", "url": media.value}
        media_type = media_type_of(media)
        if media.kind != "base64" or media_type not in _IMAGE_TYPES:
            raise refuse(f"this image ({_what(media, media_type)})", self._draft.request)
        return {"type": "base64", "media_type": media_type, "data": media.value}

    def _document(self, part: Document) -> Block:
        media = plain_media(part.source)
        if self._draft.profile.documents == "none" and media.kind != "text":
            raise refuse("documents", self._draft.request)
        block: Block = {"type": "document", "source": self._document_source(media)}
        add_document_facts(block, part)
        if part.title is None and part.source.filename:
            block["title"] = part.source.filename
        return finish(block, part.cache, None, own=False)

    def _document_source(self, media: Media) -> Block:
        if media.kind == "url":
            return {"type": "url", "url": media.value}
        if media.kind == "text":
            return {"type": "text", "media_type": "text/plain", "data": media.value}
        media_type = media_type_of(media)
        if media.kind == "base64" and media_type == "application/pdf":
            return {"type": "base64", "media_type": media_type, "data": media.value}
        if media.kind == "base64" and (text := _readable(media, media_type)) is not None:
            return {"type": "text", "media_type": "text/plain", "data": text}
        raise refuse(f"this document ({_what(media, media_type)})", self._draft.request)


def _bare(part: Text) -> Text:
    """A text without the citations of an answer: only Anthropic's own could be sent back, and only by itself."""
    return Text(text=part.text, cache=part.cache) if part.citations else part


def _what(media: Media, media_type: str | None) -> str:
    if media.kind == "file":
        return f"a file that only its own provider knows: {media.value}"
    return media_type or "of no stated type"


def _readable(media: Media, media_type: str | None) -> str | None:
    """The text of a document that is text."""
    if media_type is None or not (media_type.startswith("text/") or media_type.endswith(("json", "xml", "yaml"))):
        return None
    try:
        return base64.b64decode(media.value).decode()
    except (binascii.Error, UnicodeError):
        return None


def _say_as_user(messages: list[Block], text: Text | None) -> None:
    """Adds to the user's last turn, or makes one."""
    if text is None:
        return
    block = text_block(text, own=False)
    if not messages or messages[-1]["role"] != "user":
        messages.append({"role": "user", "content": [block]})
        return
    content = messages[-1]["content"]
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    messages[-1]["content"] = [*content, block]


def _waits_without_thought(messages: list[Block]) -> bool:
    if len(messages) < 2 or messages[-1]["role"] == "assistant":
        return False
    if not any(_type(block) == "tool_result" for block in _list(messages[-1]["content"])):
        return False
    asked = next((message for message in reversed(messages) if message["role"] == "assistant"), None)
    blocks = _list(asked["content"]) if asked is not None else []
    return bool(blocks) and _type(blocks[0]) not in ("thinking", "redacted_thinking")


def _list(content: Any) -> list[Block | Raw]:
    return content if isinstance(content, list) else []


def _type(block: Block | Raw) -> str:
    return str(block.get("type")) if isinstance(block, dict) else ""


# ----------------------------------------------------------------------------------------------------- cache markers
def limit_markers(draft: Draft) -> None:
    """At most four cache breakpoints: the last before the messages is kept, and the last ones among the messages."""
    body = draft.body
    contents = [message["content"] for message in body["messages"]]
    before = [*_marked(body.get("tools")), *_marked(body.get("system"))]
    among = [block for content in contents for block in _marked(content)]
    if len(before) + len(among) < MAX_MARKERS:
        return
    fixed = sum(map(_marked_raw, (body.get("tools"), body.get("system"), *contents))) + ("cache_control" in body)
    surplus = len(before) + len(among) + fixed - MAX_MARKERS
    if surplus <= 0:
        return
    for block in [*before[:-1], *among, *before[-1:]][:surplus]:
        del block["cache_control"]
    draft.lower("cache_control")


def _marked(blocks: Any) -> list[Block]:
    found: list[Block] = []
    for block in blocks if isinstance(blocks, list) else ():
        if not isinstance(block, dict):
            continue
        if block.get("type") == "tool_result":
            found += _marked(block.get("content"))
        if "cache_control" in block:
            found.append(block)
    return found


def _marked_raw(blocks: Any) -> int:
    """Blocks with a marker that are passed on as written."""
    raws = [block for block in blocks if isinstance(block, Raw)] if isinstance(blocks, list) else []
    return sum(b'"cache_control"' in bytes(raw) for raw in raws)
