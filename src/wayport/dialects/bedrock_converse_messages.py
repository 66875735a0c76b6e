"""System prompt and messages of any dialect, written as Converse wants them.

Beside the rules of turns (`anthropic_messages_turns`) there are: a document wants a text beside it; a cache point stands
behind nothing that is a document or a video; some models take tool results only by themselves.
"""

import base64
from collections.abc import Callable, Iterable
from typing import Any

from wayport.core.errors import BadRequest
from wayport.dialects.anthropic_messages_options import Draft, refuse
from wayport.dialects.anthropic_messages_parts import tool_input
from wayport.dialects.anthropic_messages_turns import Turn, as_user_text, split_system, turns_of
from wayport.dialects.bedrock_converse_media import MediaPart, MediaPen, member_of
from wayport.dialects.bedrock_converse_options import CLAUDE, refuses
from wayport.dialects.bedrock_converse_tools import cache_point
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
    Text,
    ToolCall,
    ToolResult,
    Video,
)
from wayport.dialects.openai_chat_names import Ids, Names

Block = dict[str, Any]

MAX_CACHE_POINTS = 4
"""in one request (user guide, prompt caching)"""
SEE_DOCUMENT = "See the attached document."
"""stands beside a document that came without a word"""
EMPTY_DOCUMENT = "(an empty document)"
SEPARATOR = "."
"""an assistant's turn between messages of the user that must not become one; white space alone is refused"""
SEE_ATTACHED = "See what follows."
"""what a tool result says that holds nothing but media which stand beside it"""
NO_CONTENT = "(nothing)"
"""what a failed tool said that said nothing: an empty content is refused with `status: error`"""


def write_messages(draft: Draft, names: Names) -> bool:
    """Writes both; whether the conversation waits for tools that were called without a thought of the model's own."""
    request = draft.request
    leading, rest = split_system(request.messages)
    if leading and not rest:
        # Nothing but a system prompt: here it is the task, and a conversation cannot be empty.
        leading, rest = [], [Message(role="user", parts=message.parts) for message in leading]
    if draft.system:
        leading = [*leading, Message(role="system", parts=[Text(text=sentence) for sentence in draft.system])]
    if refuses(draft, "system") and leading:
        told = as_user_text(part for message in leading for part in message.parts)
        leading, rest = [], [Message(role="user", parts=[told] if told is not None else []), *rest]
    pen = _Pen(draft, names)
    system = pen.system(part for message in leading for part in message.parts)
    if system:
        draft.body["system"] = system
    profile = draft.profile
    turns = turns_of(
        rest, mid_system=profile.mid_system is True, prefill=profile.prefill, is_own_thought=own_thoughts(draft)
    )
    if profile.reasoning_back == "tool_turns":
        forget_finished_thoughts(turns)
    draft.body["messages"] = [message for turn in turns for message in pen.turn(turn)]
    return _waits_without_thought(turns)


def forget_finished_thoughts(turns: list[Turn]) -> None:
    """Leaves unsigned thoughts only where the model still works on the last thing that the user said."""
    said = [number for number, turn in enumerate(turns) if turn.role == "user" and not _is_tools_word(turn)]
    for turn in turns[: said[-1] if said else 0]:
        turn.parts = [part for part in turn.parts if not (isinstance(part, Reasoning) and not part.signature)]


def _is_tools_word(turn: Turn) -> bool:
    return any(isinstance(part, ToolResult) for part in turn.parts)


def own_thoughts(draft: Draft) -> Callable[[Reasoning], bool]:
    """Which thoughts the model of this target knows for its own."""
    profile = draft.profile

    def is_own(part: Reasoning) -> bool:
        if part.signature or part.redacted:
            return profile.reasoning in CLAUDE and part.issuer in ("anthropic", "bedrock")
        return profile.reasoning_back != "never" and part.issuer == "bedrock" and bool(part.text)

    return is_own


class _Pen:
    """Writes the parts of one request."""

    def __init__(self, draft: Draft, names: Names) -> None:
        self._draft = draft
        self._names = names
        self._ids = Ids(draft.profile, own=False)
        self._media = MediaPen(self._refuse)
        self._marks = draft.profile.cache_markers
        self._called: dict[str, str] = {}

    def _refuse(self, what: str) -> BadRequest:
        return refuse(what, self._draft.request)

    def system(self, parts: Iterable[Part]) -> list[Block]:
        written: list[Block] = []
        for part in parts:
            if isinstance(part, Text) and part.text.strip():
                written.append({"text": part.text})
                self._mark(written, part.cache)
        return written

    # --------------------------------------------------------------------------------------------------------- turns
    def turn(self, turn: Turn) -> list[Block]:
        if turn.role == "assistant":
            return [{"role": "assistant", "content": self._blocks(turn.parts)}]
        if turn.role == "system":
            return [{"role": "system", "content": self._blocks(turn.parts)}]
        results = [part for part in turn.parts if isinstance(part, ToolResult)]
        others = [part for part in turn.parts if not isinstance(part, ToolResult)]
        written: list[Block] = []
        beside: list[Block] = []
        for result in results:
            self._result(result, written, beside)
        beside += self._blocks(others)
        return self._messages(written, beside)

    def _messages(self, results: list[Block], beside: list[Block]) -> list[Block]:
        """One message, or two where the model takes no such neighbours of its tool results."""
        allowed = self._draft.profile.beside_tool_results
        kinds = {next(iter(block)) for block in beside} - {"cachePoint"}
        if not results or not beside or allowed is None or kinds <= set(allowed):
            content = [*results, *beside]
            return [{"role": "user", "content": _with_word(content)}] if content else []
        return [
            {"role": "user", "content": results},
            {"role": "assistant", "content": [{"text": SEPARATOR}]},
            {"role": "user", "content": _with_word(beside)},
        ]

    # -------------------------------------------------------------------------------------------------------- blocks
    def _blocks(self, parts: Iterable[Part]) -> list[Block]:
        written: list[Block] = []
        for part in parts:
            block = self._block(part)
            if block is not None:
                written.append(block)
                self._mark(written, getattr(part, "cache", None))
        return written

    def _block(self, part: Part) -> Block | None:
        match part:
            case Text() | Refusal() | Opaque():
                return {"text": part.text} if part.text and part.text.strip() else None
            case Reasoning():
                return {"reasoningContent": _thought(part)}
            case ToolCall():
                name = self._names.sent(part.name, part.namespace)
                self._called[part.id] = part.name
                return {"toolUse": {"toolUseId": self._ids.sent(part.id), "name": name, "input": tool_input(part)}}
            case Image() | Document() | Video() | Audio():
                return self._medium(part)
            case _:
                return None

    def _medium(self, part: MediaPart) -> Block:
        profile = self._draft.profile
        if isinstance(part, Document) and part.source.kind == "text" and not part.source.value.strip():
            return {"text": EMPTY_DOCUMENT}
        if isinstance(part, Image) and profile.images == "none":
            raise self._refuse("images")
        if isinstance(part, Document) and profile.documents == "none" and part.source.kind != "text":
            raise self._refuse("documents")
        if member_of(part) in profile.unsupported:
            raise self._refuse(member_of(part))
        return self._media.block(part)

    def _result(self, result: ToolResult, written: list[Block], beside: list[Block]) -> None:
        """The tool result, and beside it the media that it must not hold itself."""
        content: list[Block] = []
        shown: list[Block] = []
        for part in result.parts:
            block = self._block(part)
            if block is None:
                continue
            inside = "text" in block or next(iter(block)) in self._draft.profile.media_in_tool_results
            (content if inside else shown).append(block)
        if not content and result.structured is not None:
            content.append({"text": bytes(result.structured).decode()})
        if not content and (shown or result.is_error):
            content.append({"text": SEE_ATTACHED if shown else NO_CONTENT})
        block = {"toolUseId": self._ids.sent(result.call_id), "content": content}
        if result.is_error and not refuses(self._draft, "status"):
            block["status"] = "error"
        written.append({"toolResult": block})
        self._mark(written, result.cache)
        if shown:
            beside += [{"text": f"Returned by the tool {self._called.get(result.call_id, '')}:"}, *shown]

    def _mark(self, written: list[Block], marker: CacheMarker | None) -> None:
        if marker is None or not self._marks:
            return
        place = len(written)
        while place and ("document" in written[place - 1] or "video" in written[place - 1]):
            place -= 1
        if place and "cachePoint" not in written[place - 1]:
            written.insert(place, cache_point(self._draft, marker))


def _thought(part: Reasoning) -> Block:
    if part.redacted is not None:
        # Issued as bytes of another making, they are base64 already.
        own = part.issuer == "bedrock"
        return {"redactedContent": part.redacted if own else base64.b64encode(part.redacted.encode()).decode()}
    text: Block = {"text": part.text}
    if part.signature:
        text["signature"] = part.signature
    return {"reasoningText": text}


def _with_word(content: list[Block]) -> list[Block]:
    """A message with a document must have a text, too."""
    if any("document" in block for block in content) and not any("text" in block for block in content):
        place = next(number for number, block in enumerate(content) if "toolResult" not in block)
        return [*content[:place], {"text": SEE_DOCUMENT}, *content[place:]]
    return content


def _waits_without_thought(turns: list[Turn]) -> bool:
    if len(turns) < 2 or turns[-1].role == "assistant":
        return False
    if not _is_tools_word(turns[-1]):
        return False
    asked = next((turn for turn in reversed(turns) if turn.role == "assistant"), None)
    return asked is not None and not isinstance(asked.parts[0], Reasoning)


# -------------------------------------------------------------------------------------------------------- cache points
def limit_cache_points(draft: Draft) -> None:
    """At most four: the last before the messages is kept, and the last ones among the messages."""
    body = draft.body
    before = [body.get("toolConfig", {}).get("tools", []), body.get("system", [])]
    places = [(blocks, block) for blocks in before for block in blocks if "cachePoint" in block]
    last = places[-1:]
    among = [(m["content"], block) for m in body["messages"] for block in m["content"] if "cachePoint" in block]
    surplus = len(places) + len(among) - MAX_CACHE_POINTS
    if surplus <= 0:
        return
    for blocks, block in [*places[:-1], *among, *last][:surplus]:
        at = next(number for number, each in enumerate(blocks) if each is block)
        del blocks[at]
    draft.lower("cache_control")
