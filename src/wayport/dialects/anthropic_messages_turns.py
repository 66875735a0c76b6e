"""Messages of another dialect as the turns that Anthropic demands.

Rules of the Messages API that other dialects do not have: the system prompt stands apart; the first turn is the user's;
every tool call is answered in the very next turn, results first; ids are unique; texts are not empty; an assistant turn
does not end in a thought, and the last one not in white space. What breaks a rule is mended here, and nothing is lost: a
result without its call becomes text, a call without its result gets one that says so.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from typing import Literal

from msgspec import Struct, field
from msgspec.structs import replace

from wayport.dialects.neutral import (
    Audio,
    Message,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
)

FIRST_WORD = "Continue the conversation."
"""the user's turn before a conversation that begins with the assistant, or after one that ends so and must not"""
NO_RESULT = "This call gave no result."


class Turn(Struct, kw_only=True):
    role: Literal["user", "assistant", "system"]
    parts: list[Part] = field(default_factory=list)


def split_system(messages: list[Message]) -> tuple[list[Message], list[Message]]:
    """The system messages at the beginning, and the rest."""
    for number, message in enumerate(messages):
        if message.role not in ("system", "developer"):
            return messages[:number], messages[number:]
    return messages, []


def as_user_text(parts: Iterable[Part]) -> Text | None:
    """A system message for a target that takes none in the middle: user text in `<system>` tags.

    The tags keep it apart from the user's own words, so that it is neither lost nor taken for the task.
    """
    texts = [part for part in parts if isinstance(part, Text) and part.text.strip()]
    if not texts:
        return None
    text = "\n\n".join(part.text for part in texts)
    return Text(text=f"<system>\n{text}\n</system>", cache=texts[-1].cache)


def is_returnable(part: Reasoning) -> bool:
    """Whether Anthropic would know this thought for its own."""
    return part.issuer == "anthropic" and bool(part.signature or part.redacted)


def turns_of(
    messages: list[Message],
    *,
    mid_system: bool,
    prefill: bool = True,
    is_own_thought: Callable[[Reasoning], bool] = is_returnable,
) -> list[Turn]:
    """Messages after the system prompt, as turns by the rules above. `is_own_thought`: which thoughts may go back."""
    turns: list[Turn] = []
    for number, message in enumerate(messages):
        match message.role:
            case "assistant":
                _add(turns, "assistant", message.parts)
            case "user" | "tool":
                _add(turns, "user", message.parts)
            case "system" | "developer":
                after_user = bool(turns) and turns[-1].role == "user"
                before_assistant = number + 1 == len(messages) or messages[number + 1].role == "assistant"
                if mid_system and after_user and before_assistant:
                    turns.append(Turn(role="system", parts=list(message.parts)))
                elif (text := as_user_text(message.parts)) is not None:
                    _add(turns, "user", [text])
    turns = _answered(turns)
    for turn in turns:
        turn.parts = _clean(turn, is_own_thought)
    turns = _finished([turn for turn in turns if turn.parts])
    if not prefill and turns[-1].role == "assistant":
        turns.append(Turn(role="user", parts=[Text(text=FIRST_WORD)]))
    return turns


def _add(turns: list[Turn], role: Literal["user", "assistant"], parts: list[Part]) -> None:
    if turns and turns[-1].role == role:
        turns[-1].parts.extend(parts)
    else:
        turns.append(Turn(role=role, parts=list(parts)))


# ------------------------------------------------------------------------------------------------- calls and results
class _Claims:
    """Which result answers which call, and calls with ids of their own."""

    def __init__(self, turns: list[Turn]) -> None:
        self._waiting: dict[str, deque[ToolResult]] = defaultdict(deque)
        self._used: set[str] = set()
        self._claimed: set[int] = set()
        for turn in turns:
            for part in turn.parts if turn.role == "user" else ():
                if isinstance(part, ToolResult):
                    self._waiting[part.call_id].append(part)

    def call(self, call: ToolCall) -> tuple[ToolCall, ToolResult]:
        """The call, under an id that no other call has, and its result."""
        call_id = call.id
        number = 1
        while call_id in self._used:
            number += 1
            call_id = f"{call.id}-{number}"
        self._used.add(call_id)
        waiting = self._waiting.get(call.id)
        if not waiting:
            return replace(call, id=call_id), ToolResult(call_id=call_id, parts=[Text(text=NO_RESULT)], is_error=True)
        found = waiting.popleft()
        self._claimed.add(id(found))
        return replace(call, id=call_id), replace(found, call_id=call_id)

    def rest(self, parts: list[Part]) -> list[Part]:
        """What else is said beside results; a result that no call claimed is said as text."""
        return [
            _orphan(part) if isinstance(part, ToolResult) else part for part in parts if id(part) not in self._claimed
        ]


def _answered(turns: list[Turn]) -> list[Turn]:
    """Every call answered in the next turn, results first and in the order of the calls."""
    claims = _Claims(turns)
    asked: list[tuple[Turn, list[Part]]] = []
    for turn in turns:
        owed: list[Part] = []
        parts: list[Part] = []
        for part in turn.parts:
            if isinstance(part, ToolCall) and turn.role == "assistant":
                part, result = claims.call(part)
                owed.append(result)
            parts.append(part)
        asked.append((Turn(role=turn.role, parts=parts), owed))

    mended: list[Turn] = []
    due: list[Part] = []
    for turn, owed in asked:
        if turn.role == "user":
            turn.parts = due + claims.rest(turn.parts)
            due = []
        elif due:
            mended.append(Turn(role="user", parts=due))
            due = []
        mended.append(turn)
        due += owed
    if due:
        mended.append(Turn(role="user", parts=due))
    return mended


def _orphan(result: ToolResult) -> Text:
    said = "\n\n".join(part.text for part in result.parts if isinstance(part, Text | Refusal))
    return Text(text=f"Result of the tool call {result.name or result.call_id}:\n{said}", cache=result.cache)


# ----------------------------------------------------------------------------------------------------------- cleaning
def _clean(turn: Turn, is_own_thought: Callable[[Reasoning], bool]) -> list[Part]:
    kept: list[Part] = []
    for part in turn.parts:
        part = _plain(part)
        if isinstance(part, Text) and not part.text.strip():
            if part.cache is not None and kept and isinstance(kept[-1], Text | ToolResult | ToolCall):
                kept[-1] = replace(kept[-1], cache=part.cache)
            continue
        if isinstance(part, Reasoning) and not is_own_thought(part):
            continue
        if not _has_form(part, turn.role):
            continue
        kept.append(part)
    while turn.role == "assistant" and kept and isinstance(kept[-1], Reasoning):
        kept.pop()
    return kept


def _plain(part: Part) -> Part:
    """Parts that are text in this dialect."""
    match part:
        case Refusal():
            return Text(text=part.text)
        case Opaque():
            return Text(text=part.text or "")
        case Audio() if part.transcript:
            return Text(text=part.transcript)
        case _:
            return part


def _has_form(part: Part, role: str) -> bool:
    """Whether the part can stand in a turn of this role. Media that the model made cannot be told to it again."""
    if role == "assistant":
        return isinstance(part, Text | ToolCall | Reasoning)
    return not isinstance(part, Reasoning | ToolCall)


def _finished(turns: list[Turn]) -> list[Turn]:
    """Turns that alternate, begin with the user, and end without white space."""
    merged: list[Turn] = []
    for turn in turns:
        if merged and merged[-1].role == turn.role:
            merged[-1].parts.extend(turn.parts)
        else:
            merged.append(turn)
    if not merged or merged[0].role != "user":
        merged.insert(0, Turn(role="user", parts=[Text(text=FIRST_WORD)]))
    last = merged[-1]
    if last.role == "assistant" and isinstance(text := last.parts[-1], Text):
        last.parts[-1] = replace(text, text=text.text.rstrip())
    return merged
