"""What models thought before they called a tool, for clients that do not send it back.

Providers want the thoughts (or a signature of them) that led to a tool call again with the tool's result; many clients
know no field for them and drop them. They are remembered by whose call it was and what it said, and put back where they
are missing; who may read them is the dialects' business, which give signed thoughts to their issuer only.
Bounded. What another worker has passed on is asked of the store that workers share, once, and only for a turn that needs it.
"""

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from wayport.core.errors import Unavailable
from wayport.core.thought import ThoughtStore
from wayport.dialects.dialect import Profile, StreamDecoder
from wayport.dialects.neutral import (
    BlockClosed,
    BlockDelta,
    BlockOpened,
    ChoiceFinished,
    Delta,
    DialectName,
    Message,
    Part,
    Reasoning,
    Request,
    ToolCall,
    append,
)
from wayport.pipeline.framing import Splits
from wayport.wire.sse import parse

log = logging.getLogger("wayport.pipeline")

MOST_ENTRIES = 10_000
MOST_BYTES = 32 * 1024 * 1024
MOST_SHARED_BYTES = 1024 * 1024
"""of one call; what is larger stays with its worker"""
_ENTRY_BYTES = 500
"""what an entry costs beside its text"""
_MOST_ABSENT = 50_000


def _number(text: str) -> float | int:
    """JavaScript writes 1.0 as 1: both are the same argument."""
    number = float(text)
    return int(number) if number.is_integer() else number


_WITH_THOUGHTS = frozenset({"anthropic_messages", "bedrock_converse", "gemini_content", "openai_responses"})
_arguments = msgspec.json.Decoder(float_hook=_number)
_sorted = msgspec.json.Encoder(order="deterministic")


class _Shared(Struct, frozen=True, omit_defaults=True):
    """A thought as workers tell each other of it."""

    reasoning: tuple[Reasoning, ...] = ()
    """what stood right before the call"""
    signature: str | None = None
    """on the call itself"""


class _Thought(Struct, frozen=True):
    told: _Shared
    name: int
    size: int


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(_Shared).decode


class ThoughtMemory:
    """One worker's. `store`: whom it shares with; None: nobody."""

    def __init__(
        self, store: ThoughtStore | None = None, *, most_entries: int = MOST_ENTRIES, most_bytes: int = MOST_BYTES
    ) -> None:
        self.store = store
        self._most_entries = most_entries
        self._most_bytes = most_bytes
        self._absent: OrderedDict[bytes, None] = OrderedDict()
        """calls of earlier turns that nobody knows thoughts of: they are not asked for again"""
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
        told = _Shared(reasoning, call.signature)
        self._keep(key, told, hash((tenant, call.id, call.name)))
        if self.store is not None and len(packed := _pack(told)) <= MOST_SHARED_BYTES:
            self.store.put({key: packed})

    def _keep(self, key: bytes, told: _Shared, name: int) -> None:
        size = _ENTRY_BYTES + len(told.signature or "") + sum(map(_size, told.reasoning))
        if size > self._most_bytes:
            return
        if key in self._thoughts:
            self._drop(key)
        self._absent.pop(key, None)
        self._thoughts[key] = _Thought(told, name, size)
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

    async def recall(self, tenant: str, request: Request) -> int:
        """Asks the store for what is missing and not known here, and puts that back; returns to how many calls."""
        assert self.store is not None
        wanted: dict[bytes, int] = {}
        last: list[bytes] = []
        for message in request.messages:
            if message.role != "assistant":
                continue
            calls = [part for part in message.parts if isinstance(part, ToolCall)]
            keys = [_key(tenant, call) for call in calls]
            last = keys or last
            if any(isinstance(part, Reasoning) and _is_signed(part) for part in message.parts):
                continue
            for key, call in zip(keys, calls, strict=True):
                if call.signature is None and key not in self._thoughts and key not in self._absent:
                    wanted[key] = hash((tenant, call.id, call.name))
        if not wanted:
            return 0
        try:
            found = await self.store.find(list(wanted))
        except Unavailable as error:
            log.info("thoughts of other workers cannot be looked up", extra={"error": error.message})
            return 0
        for key, name in wanted.items():
            packed = found.get(key)
            if packed is not None:
                try:
                    self._keep(key, _unpack(packed), name)
                except msgspec.DecodeError as error:
                    log.warning("a thought of another worker is not understood", extra={"error": str(error)})
            elif key not in last:
                # Of the latest turn another worker may be about to tell.
                self._absent[key] = None
        while len(self._absent) > _MOST_ABSENT:
            self._absent.popitem(last=False)
        return self.restore(tenant, request)

    def _find(self, tenant: str, call: ToolCall) -> _Shared | None:
        if hash((tenant, call.id, call.name)) not in self._names:
            return None
        key = _key(tenant, call)
        found = self._thoughts.get(key)
        if found is None:
            return None
        self._thoughts.move_to_end(key)
        return found.told

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


def takes_back(dialect: DialectName, profile: Profile) -> bool:
    """Whether a target has a place for thoughts that led to its tool calls."""
    return dialect in _WITH_THOUGHTS or wants_back(profile)


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
