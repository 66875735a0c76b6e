"""The order that OpenAI demands of a conversation with tools: each call directly followed by its result."""

from collections import defaultdict, deque

from msgspec import Struct, field

from wayport.dialects.neutral import Message, Part, ToolCall, ToolResult


class Given(Struct):
    """A tool result and the message that it stood in."""

    message: Message
    result: ToolResult


class Said(Struct):
    """A message without the tool results that stood in it, and the results of the calls in it."""

    message: Message
    parts: list[Part]
    results: list[Given] = field(default_factory=list)
    """in the order in which they were given, wherever they stood"""
    unanswered: list[ToolCall] = field(default_factory=list)
    in_tool_turn: bool = False
    """whether tools were called between the user's last message before it and the next after it"""


def arranged(messages: list[Message]) -> list[Said | Given]:
    """Every call with its results; a result that stands alone here has no call before it."""
    items = _apart(messages)
    waiting: dict[str, deque[int]] = defaultdict(deque)
    for place, item in enumerate(items):
        if isinstance(item, Given):
            waiting[item.result.call_id].append(place)
    taken: set[int] = set()
    for place, item in enumerate(items):
        if isinstance(item, Said):
            found = []
            for part in item.parts:
                if isinstance(part, ToolCall):
                    at = _next(waiting[part.id], place)
                    if at is None:
                        item.unanswered.append(part)
                    else:
                        found.append(at)
            taken.update(found)
            item.results = [given for at in sorted(found) if isinstance(given := items[at], Given)]
    steps = [item for place, item in enumerate(items) if place not in taken]
    _mark_tool_turns(steps)
    return steps


def _next(places: deque[int], after: int) -> int | None:
    """The first place behind `after`. Ids may come again in later turns, so that the nearest result is the right one."""
    while places:
        place = places.popleft()
        if place > after:
            return place
    return None


def _apart(messages: list[Message]) -> list[Said | Given]:
    items: list[Said | Given] = []
    for message in messages:
        results = [part for part in message.parts if isinstance(part, ToolResult)]
        items.extend(Given(message, result) for result in results)
        if not results:
            items.append(Said(message, message.parts))
        elif len(results) < len(message.parts):
            items.append(Said(message, [part for part in message.parts if not isinstance(part, ToolResult)]))
    return items


def _mark_tool_turns(steps: list[Said | Given]) -> None:
    turn: list[Said] = []
    for step in steps:
        if isinstance(step, Said):
            if step.message.role == "user":
                turn = []
            turn.append(step)
            if turn[0].in_tool_turn:
                step.in_tool_turn = True
            elif any(isinstance(part, ToolCall) for part in step.parts):
                for said in turn:
                    said.in_tool_turn = True
