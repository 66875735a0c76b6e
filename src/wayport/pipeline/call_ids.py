"""Ids of answers and tool calls: agents tell answers, calls and results apart by them.

Servers that count their calls anew with each answer (`call_0`), and those that give none and name their answers always the
same, would make an agent take the second call for the first. Only what collides is changed: every other id passes as it is.
An answer in another dialect than its upstream's has an id of ours where clients join answers by it.
"""

import hashlib
from collections.abc import Callable, Iterable

from msgspec.structs import replace

from wayport.dialects.neutral import BlockClosed, BlockOpened, Delta, Part, Request, Response, ToolCall
from wayport.dialects.openai_responses_made import client_response_id
from wayport.pipeline.call import Call

_LONGEST = 48


def answer_id(call: Call) -> str | None:
    """The id under which the client knows the answer of an upstream of another dialect; None: the upstream's own."""
    match call.dialect.name:
        case "anthropic_messages":
            # Claude Code joins what has the same id into one message.
            return f"msg_{call.id.replace('-', '')}"
        case "openai_responses":
            return client_response_id(call.id)
        case _:
            return None


class FreshIds:
    """Of one answer. `salt` is different for every call of the gateway."""

    def __init__(self, request: Request, *, salt: str) -> None:
        self._salt = salt
        self._known = {part.id for message in request.messages for part in message.parts if isinstance(part, ToolCall)}
        self._changed: dict[tuple[int, int], str] = {}

    def response(self, response: Response) -> None:
        for choice in response.choices:
            choice.parts = [self._part(part) for part in choice.parts]

    def _part(self, part: Part) -> Part:
        return replace(part, id=self._fresh(part.id)) if isinstance(part, ToolCall) else part

    def before(self, change: Callable[[Delta], Iterable[Delta]] | None) -> Callable[[Delta], Iterable[Delta]]:
        """Every delta goes through here, and then through `change`."""
        if change is None:
            return lambda delta: (self.feed(delta),)
        return lambda delta: change(self.feed(delta))

    def feed(self, delta: Delta) -> Delta:
        match delta:
            case BlockOpened(part=ToolCall() as call):
                fresh = self._fresh(call.id)
                if fresh != call.id:
                    self._changed[delta.choice, delta.block] = fresh
                    return replace(delta, part=replace(call, id=fresh))
            case BlockClosed(part=ToolCall() as call) if self._changed:
                changed = self._changed.get((delta.choice, delta.block))
                if changed is not None:
                    return replace(delta, part=replace(call, id=changed))
            case _:
                pass
        return delta

    def _fresh(self, call_id: str) -> str:
        known = self._known
        if not call_id or call_id not in known:
            known.add(call_id)
            return call_id
        number = 0
        while True:
            told = f"{call_id}\n{self._salt}\n{number}".encode("utf-8", "surrogatepass")
            fresh = f"{call_id[:_LONGEST]}-{hashlib.blake2b(told, digest_size=6).hexdigest()}"
            if fresh not in known:
                known.add(fresh)
                return fresh
            number += 1
