"""What models thought before they called a tool, for clients that do not send it back.

Providers want the thoughts (or a signature of them) that led to a tool call again with the tool's result; many clients
know no field for them and drop them. They are remembered by whose call it was and what it said, and put back where they
are missing; who may read them is the dialects' business, which give signed thoughts to their issuer only.
Bounded, and one worker's: what another worker answered is not known here.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from wayport.dialects.dialect import Profile, StreamDecoder
from wayport.dialects.neutral import (
    BlockClosed,
    BlockDelta,
    BlockOpened,
    ChoiceFinished,
    Delta,
    Message,
    Part,
    Reasoning,
    Request,
    ToolCall,
    append,
)
from wayport.pipeline.framing import Splits
from wayport.wire.sse import parse

MOST_ENTRIES = 10_000
MOST_BYTES = 32 * 1024 * 1024
_ENTRY_BYTES = 500
"""what an entry costs beside its text"""


def _number(text: str) -> float | int:
    """JavaScript writes 1.0 as 1: both are the same argument."""
    number = float(text)
    return int(number) if number.is_integer() else number


_arguments = msgspec.json.Decoder(float_hook=_number)
_sorted = msgspec.json.Encoder(order="deterministic")


class _Thought(Struct, frozen=True):
    reasoning: tuple[Reasoning, ...]
    """what stood right before the call"""
    signature: str | None
    """on the call itself"""
    name: int
    size: int


class ThoughtMemory:
    def __init__(self, *, most_entries: int = MOST_ENTRIES, most_bytes: int = MOST_BYTES) -> None:
        self._most_entries = most_entries
        self._most_bytes = most_bytes
        self._thoughts: OrderedDict[bytes, _Thought] = OrderedDict()
        self._names: dict[int, int] = {}
        """how many there are of each tenant, call id and tool: a call that is in none of them need not be read"""
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._thoughts)

    def remember(self, tenant: str, parts: Sequence[Part]) -> None:
        """The parts of one answer, in order, with its tools' names as the client knows them."""
        before: list[Reasoning] = []
        for part in parts:
            if isinstance(part, Reasoning):
                if part.text or part.summary or _is_signed(part):
                    before.append(_bare(part))
            elif isinstance(part, ToolCall):
                if before or part.signature is not None:
                    self._add(tenant, part, tuple(before))
                before = []

    def _add(self, tenant: str, call: ToolCall, reasoning: tuple[Reasoning, ...]) -> None:
        key = _key(tenant, call)
        size = _ENTRY_BYTES + len(call.signature or "") + sum(map(_size, reasoning))
        if size > self._most_bytes:
            return
        if key in self._thoughts:
            self._drop(key)
        name = hash((tenant, call.id, call.name))
        self._thoughts[key] = _Thought(reasoning, call.signature, name, size)
        self._names[name] = self._names.get(name, 0) + 1
        self.size_bytes += size
        while len(self._thoughts) > self._most_entries or self.size_bytes > self._most_bytes:
            self._drop(next(iter(self._thoughts)))

    def _drop(self, key: bytes) -> None:
        gone = self._thoughts.pop(key)
        self.size_bytes -= gone.size
        left = self._names[gone.name] - 1
        if left:
            self._names[gone.name] = left
        else:
            del self._names[gone.name]

    def _find(self, tenant: str, call: ToolCall) -> _Thought | None:
        if hash((tenant, call.id, call.name)) not in self._names:
            return None
        key = _key(tenant, call)
        found = self._thoughts.get(key)
        if found is not None:
            self._thoughts.move_to_end(key)
        return found

    def restore(self, tenant: str, request: Request) -> int:
        """Puts back what is missing before and on the tool calls of a request; returns to how many."""
        if not self._thoughts:
            return 0
        return sum(self._restore(tenant, message) for message in request.messages if message.role == "assistant")

    def _restore(self, tenant: str, message: Message) -> int:
        parts = message.parts
        found = {
            at: thought
            for at, part in enumerate(parts)
            if isinstance(part, ToolCall) and (thought := self._find(tenant, part)) is not None
        }
        if not found:
            return 0
        given = [part for part in parts if isinstance(part, Reasoning)]
        signs = any(_is_signed(each) for thought in found.values() for each in thought.reasoning)
        # The client's own words stay, unless it kept the words and dropped the signature that proves them.
        wanted = not given or (signs and not any(map(_is_signed, given)))
        restored = 0
        new: list[Part] = []
        for at, part in enumerate(parts):
            if isinstance(part, Reasoning) and wanted:
                continue
            thought = found.get(at)
            if thought is not None and isinstance(part, ToolCall):
                missing = thought.reasoning if wanted else ()
                # Providers want a turn to begin with its thoughts.
                place = 0 if at == min(found) else len(new)
                new[place:place] = [replace(each) for each in missing]
                if part.signature is None and thought.signature is not None:
                    part.signature = thought.signature
                    restored += 1
                elif missing:
                    restored += 1
            new.append(part)
        message.parts = new
        return restored

    def watch(self, tenant: str) -> "Watch":
        return Watch(self, tenant)


class Watch:
    """Follows one stream and remembers what led to its tool calls."""

    __slots__ = ("_blocks", "_memory", "_parts", "_tenant")

    def __init__(self, memory: ThoughtMemory, tenant: str) -> None:
        self._memory = memory
        self._tenant = tenant
        self._blocks: dict[tuple[int, int], Part] = {}
        self._parts: dict[int, list[Part]] = {}

    def feed(self, delta: Delta) -> None:
        match delta:
            case BlockDelta():
                part = self._blocks.get((delta.choice, delta.block))
                if part is not None:
                    append(part, delta)
            case BlockOpened(part=Reasoning() | ToolCall() as part):
                # The delta is still on its way to the client.
                copy = _bare(part) if isinstance(part, Reasoning) else replace(part)
                self._blocks[delta.choice, delta.block] = copy
                self._parts.setdefault(delta.choice, []).append(copy)
            case BlockClosed(part=Reasoning() | ToolCall() as part):
                known = self._blocks.get((delta.choice, delta.block))
                if known is not None:
                    parts = self._parts[delta.choice]
                    parts[next(at for at, each in enumerate(parts) if each is known)] = part
            case ChoiceFinished():
                self._memory.remember(self._tenant, self._parts.pop(delta.choice, ()))
            case _:
                pass

    def through(self, change: Callable[[Delta], Iterable[Delta]] | None) -> Callable[[Delta], Iterable[Delta]]:
        """`change`, and all that comes out of it is fed."""

        def fed(delta: Delta) -> Iterator[Delta]:
            for each in (delta,) if change is None else change(delta):
                self.feed(each)
                yield each

        return fed


class WatchedSplitter:
    """Cuts a stream that passes through into its events, and has them read by a watch."""

    def __init__(self, splitter: Splits, decoder: StreamDecoder, watch: Watch) -> None:
        self._splitter = splitter
        self._decoder: StreamDecoder | None = decoder
        self._watch = watch

    def feed(self, data: bytes) -> list[bytes]:
        events = self._splitter.feed(data)
        for event in events:
            if self._decoder is not None:
                self._read(self._decoder, event)
        return events

    def _read(self, decoder: StreamDecoder, event: bytes) -> None:
        try:
            for delta in decoder.feed(parse(event)):
                self._watch.feed(delta)
        except (ValueError, RecursionError):
            # The relay judges what is wrong with the stream; here nothing more is learned from it.
            self._decoder = None

    def rest(self) -> bytes:
        return self._splitter.rest()


def wants_back(profile: Profile) -> bool:
    """Whether a target of the client's own dialect needs its thoughts again, so that its answers must be read."""
    return profile.reasoning_back != "never" or profile.thought_signatures


def _is_signed(part: Reasoning) -> bool:
    return bool(part.signature or part.encrypted or part.redacted)


def _bare(part: Reasoning) -> Reasoning:
    """Without what only the dialect knows in which it was told."""
    return replace(part, extras=None, summary=list(part.summary) if part.summary is not None else None)


def _size(part: Reasoning) -> int:
    texts = (part.text, part.signature, part.encrypted, part.redacted, *(part.summary or ()))
    return sum(len(text) for text in texts if text)


def _key(tenant: str, call: ToolCall) -> bytes:
    """By what the call says and not by how it is spelled: clients write its arguments anew."""
    try:
        arguments: Any = _sorted.encode(_arguments.decode(call.arguments or "{}"))
    except (ValueError, RecursionError):
        arguments = call.arguments.encode("utf-8", "surrogatepass")
    named = f"{tenant}\0{call.id}\0{call.name}\0".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(named + arguments, digest_size=16).digest()
