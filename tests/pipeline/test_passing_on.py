"""Events that pass in the chunks in which they came: the client, the record and the bill are as if each had been parsed."""

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.pipeline.test_chat import DONE, OPENING, USAGE, chunk
from tests.upstream.rig import Keeper, Wire

from wayport.core.errors import UpstreamFault
from wayport.core.outbox import Outbox
from wayport.core.usage import Usage
from wayport.dialects.dialect import Glance
from wayport.dialects.neutral import DialectName
from wayport.dialects.registry import DIALECTS
from wayport.pipeline.call import began
from wayport.pipeline.passing import PassthroughRelay
from wayport.server.exchange import Exchange
from wayport.server.protocol import GatewayProtocol, Limits, Load, ServerState
from wayport.upstream.answer import Answer
from wayport.upstream.connection import Connection
from wayport.upstream.faults import TransportFault
from wayport.wire.chunks import framed

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_ERROR = b'data: {"error":{"message":"no more"}}\n\n'


def _event(value: object) -> bytes:
    return b"data: %b\n\n" % json.dumps(value, separators=(",", ":")).encode()


def _chat(delta: object, finish: str | None = None, **more: Any) -> bytes:
    return _event({"id": "c1", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more})


def _usage(read: int, written: int) -> bytes:
    return _event({"id": "c1", "choices": [], "usage": {"prompt_tokens": read, "completion_tokens": written}})


TWO = _chat({"content": "two, told apart by carriage returns"})[:-2] + b"\r\r" + _usage(3, 4)
CHAT = [
    OPENING,
    chunk({"content": "Hello"}),
    _chat({"content": "Hello"}),
    _chat({"content": "Hello"}).replace(b"\n", b"\r\n"),
    _chat({"content": 'said: "usage":{"x":1} "error":1 \n\n data: [DONE]\n\n'}),
    _chat({"content": ""}),
    _chat({"role": "assistant", "content": "again"}),
    _chat({"content": None, "reasoning_content": "hm"}),
    _chat({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}),
    _chat({"content": "all"}, usage={"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}),
    _chat({"content": "long " * 400}),
    _chat({"content": "part"}, error={"message": "broke"}),
    TWO,
    _chat({}, "stop"),
    b'data: {"choices":[],"content":"x","usage":{"prompt_tokens":5,"completion_tokens":6}}\n\n',
    b": ping\n\n",
    USAGE,
    DONE,
    _ERROR,
]
COMPLETIONS = [
    _event({"id": "c1", "choices": [{"index": 0, "text": "Hello", "finish_reason": None}]}),
    _event({"id": "c1", "choices": [{"index": 0, "text": "", "finish_reason": "stop"}]}),
    _event({"id": "c1", "choices": [], "text": "x", "usage": {"prompt_tokens": 5, "completion_tokens": 6}}),
    DONE,
    _ERROR,
]


def _named(kind: str, **fields: object) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), json.dumps({"type": kind, **fields}).encode())


MESSAGES = [
    _named("message_start", message={"id": "m1", "type": "message", "role": "assistant", "model": "c", "content": [],
                                     "usage": {"input_tokens": 7, "output_tokens": 1}}),
    _named("content_block_start", index=0, content_block={"type": "text", "text": ""}),
    _named("content_block_delta", index=0, delta={"type": "text_delta", "text": "Hello"}),
    _named("content_block_delta", index=0, delta={"type": "text_delta", "text": "event: error\ndata: x\n\n"}),
    _named("content_block_stop", index=0),
    _named("ping"),
    _named("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 9}),
    _named("message_stop"),
    _named("error", error={"type": "overloaded_error", "message": "event: content_block_delta"}),
]  # fmt: skip
RESPONSES = [
    _named("response.created", response={"id": "r1", "model": "m"}),
    _named("response.output_text.delta", delta="Hello", item_id="i", output_index=0, content_index=0),
    _named("response.output_text.done", text="Hello"),
    _named("response.completed", response={"id": "r1", "usage": {"input_tokens": 4, "output_tokens": 5}}),
    _named("error", message="no more"),
]
GEMINI = [
    _event({"candidates": [{"content": {"role": "model", "parts": [{"text": "Hello"}]}}], "responseId": "g"}),
    _event({"candidates": [{"content": {"role": "model", "parts": [{"text": "Hello"}]}}],
            "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2}}),
    _event({"candidates": [{"content": {"role": "model", "parts": [{"text": "!"}]}, "finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2}}),
    _event({"error": {"code": 500, "message": "no more"}}),
]  # fmt: skip
STREAMS: dict[DialectName, list[bytes]] = {
    "openai_chat": CHAT,
    "openai_completions": COMPLETIONS,
    "anthropic_messages": MESSAGES,
    "openai_responses": RESPONSES,
    "gemini_content": GEMINI,
}


class Told(NamedTuple):
    """All that a stream leaves behind."""

    answer: bytes
    fault: object
    usage: object
    facts: tuple[object, ...]


class Socket(Wire):
    def is_closing(self) -> bool:
        return not self.open


class ClientWire(Socket):
    """A socket's transport that has had enough after some bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.enough = b""
        self.tell: Callable[[], None] = lambda: None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        super().write(data)
        if data == self.enough:
            self.tell()


class Rig:
    """An upstream's connection, a relay and a client's connection, without sockets."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        dialect: DialectName,
        *,
        version: str = "1.1",
        keep_usage: bool,
        renames: bool,
    ) -> None:
        self.wire, self.client_wire = Socket(), ClientWire()
        self.state = ServerState()
        load, limits = Load(), Limits()
        self.exchanges: list[Exchange] = []
        protocol = GatewayProtocol(
            self.exchanges.append, state=self.state, load=load, limits=limits, refuse=lambda *_: None
        )
        protocol.connection_made(self.client_wire)
        protocol.data_received(
            b"POST /v1/chat/completions HTTP/%b\r\ncontent-length: 40\r\n\r\n" % version.encode() + b"x" * 40
        )
        (client,) = self.exchanges
        self.call = began(
            client,
            DIALECTS[dialect],
            call_id="c",
            operation="chat",
            route=client.path,
            started_s=1.0,
            steady_s=1.0,
        )
        outbox = Outbox(loop.call_soon)
        self.connection = Connection(Keeper(), "upstream.test", outbox)
        self.connection.connection_made(self.wire)
        self.answer = Answer(loop, self.connection, loop.create_future(), reused=False)
        self.connection.begin(self.answer, b"POST / HTTP/1.1\r\n", b"{}")
        outbox.flush()
        self.connection.data_received(_HEAD)
        self.settled: list[bytes] = []
        """what the client had been told by then, each time"""
        self.relay = PassthroughRelay(
            self.call,
            self.answer,
            dialect=DIALECTS[dialect],
            model="shown" if renames else None,
            keep_usage=keep_usage,
            head=lambda _: b"",
            settle=lambda _: self.settled.append(self._written()),
            now=lambda: 2.0,
            hold_max_s=60.0,
        )
        self.ended = self.answer.pump(self.relay.on_bytes, self.relay.on_chunk)

    def _written(self) -> bytes:
        return _content(self.client_wire.sent + b"".join(data for _, data in self.state.outbox.waiting))

    def hear(self, *turns: Sequence[bytes]) -> None:
        """What comes in so many turns of the loop."""
        for pieces in turns:
            for piece in pieces:
                if self.wire.open and not self.ended.done():
                    self.connection.data_received(piece)
            self.state.outbox.flush()

    def told(self, *, cut: bool) -> Told:
        """What is left when the stream has ended, or was cut there."""
        fault: object = None
        if cut and not self.ended.done():
            self.connection.eof_received()
        try:
            error = self.ended.exception()
            if isinstance(error, TransportFault):
                self.relay.on_fault(error.fault)
            elif error is not None:
                raise error
            else:
                self.relay.on_end()
        except UpstreamFault as unopened:
            fault = unopened.fault
        self.relay.close()
        self.state.outbox.flush()
        call = self.call
        facts = (
            call.usage_source, call.finish, call.upstream_id, call.service_tier, call.content_bytes, len(self.settled), call.first_content_s,
        )  # fmt: skip
        return Told(_content(self.client_wire.sent), fault or self.relay.fault, call.usage, facts)


def _content(sent: bytes) -> bytes:
    """What the client reads, without the frames."""
    head, _, body = sent.partition(b"\r\n\r\n")
    if b"chunked" not in head:
        return body
    content = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        content += body[:length]
        assert body[length : length + 2] == b"\r\n", "a chunk that is none"
        body = body[length + 2 :]
    return content


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    asyncio.set_event_loop(made)
    yield made
    asyncio.set_event_loop(None)
    made.close()


@pytest.mark.parametrize(("dialect", "event"), [(name, event) for name, found in STREAMS.items() for event in found])
def test_only_what_says_something_and_stays_as_it_is_passes(dialect: DialectName, event: bytes) -> None:
    passthrough = DIALECTS[dialect].passthrough
    assert passthrough is not None
    chunk = framed(event)
    if passthrough.passes(chunk, chunk.index(b"\n") + 1):
        assert passthrough.glance(event) is Glance.CONTENT
        assert passthrough.patch_event(event, model=None, keep_usage=False) == event


@pytest.mark.parametrize(
    ("dialect", "event"),
    [
        ("openai_chat", _chat({"content": "Hello"})),
        ("openai_chat", _chat({"role": "assistant", "content": "Hello"})),
        ("openai_completions", COMPLETIONS[0]),
        ("anthropic_messages", MESSAGES[2]),
        ("openai_responses", RESPONSES[1]),
        ("gemini_content", GEMINI[0]),
    ],
)
def test_a_word_passes(dialect: DialectName, event: bytes) -> None:
    passthrough = DIALECTS[dialect].passthrough
    assert passthrough is not None
    assert passthrough.passes(event, 0)


@settings(max_examples=300)
@given(data=st.data())
def test_a_stream_tells_and_leaves_the_same_however_it_comes(
    loop: asyncio.AbstractEventLoop, data: st.DataObject
) -> None:
    dialect = data.draw(st.sampled_from(sorted(STREAMS)))
    events = data.draw(st.lists(st.sampled_from(STREAMS[dialect]), max_size=12))
    version = data.draw(st.sampled_from(["1.1", "1.1", "1.0"]))
    keep_usage, renames = data.draw(st.booleans()), data.draw(st.sampled_from([False, False, True]))
    # Events stand alone in their chunks, share one, or are spread over several; a chunk comes whole or in parts.
    stream = b"".join(events)
    ends = [sum(map(len, events[: number + 1])) for number in range(len(events))]
    edges = {end for end in ends if data.draw(st.sampled_from([True, True, True, False]))}
    edges |= set(data.draw(st.lists(st.integers(1, max(1, len(stream) - 1)), max_size=2)))
    cuts = sorted(edge for edge in edges if edge < len(stream))
    chunks = [framed(stream[a:b]) for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True) if a != b]
    pieces = [
        part
        for whole in chunks
        for part in (
            [whole[: len(whole) // 2], whole[len(whole) // 2 :]] if data.draw(st.integers(0, 9)) == 0 else [whole]
        )
    ]
    cut = data.draw(st.booleans())
    last = [] if cut else [b"0\r\n\r\n"]

    async def played(*turns: Sequence[bytes]) -> Told:
        it = Rig(loop, dialect, version=version, keep_usage=keep_usage, renames=renames)
        it.hear(*turns)
        return it.told(cut=cut)

    at_once = loop.run_until_complete(played([b"".join([*pieces, *last])]))
    in_one_turn = loop.run_until_complete(played([*pieces, *last]))
    assert in_one_turn == at_once
    in_many = loop.run_until_complete(played(*([piece] for piece in pieces), last))
    assert in_many == at_once


async def test_an_event_that_says_something_goes_on_in_the_chunk_in_which_it_came() -> None:
    """What makes it cheap: it is neither parsed nor framed again."""
    it = Rig(asyncio.get_running_loop(), "openai_chat", keep_usage=False, renames=False)
    word = _chat({"content": "Hello"})
    it.hear([framed(OPENING)], [framed(word)])
    came = framed(word)
    before = it.client_wire.sent
    upper = came[:2].upper() + came[2:]
    it.hear([came], [upper])
    assert it.client_wire.sent == before + came + upper
    it.hear([framed(_chat({}, "stop")) + framed(DONE) + b"0\r\n\r\n"])
    told = it.told(cut=False)
    assert told.answer == OPENING + word * 3 + _chat({}, "stop") + DONE
    # By the smallest event: three tokens at least.
    assert told.usage is not None
    assert it.settled == [OPENING + word * 3 + _chat({}, "stop")]
    assert it.call.content_bytes == 3 * len(word)


async def test_an_event_that_only_carriage_returns_set_apart_is_read() -> None:
    it = Rig(asyncio.get_running_loop(), "openai_chat", keep_usage=False, renames=False)
    it.hear([*map(framed, (_chat({"content": "Hello"}), TWO, _chat({}, "stop"), DONE)), b"0\r\n\r\n"])
    assert it.told(cut=False).usage == Usage(input_tokens=3, output_tokens=4)


async def test_a_slow_client_slows_the_upstream_of_a_stream_that_passes_so() -> None:
    it = Rig(asyncio.get_running_loop(), "openai_chat", keep_usage=False, renames=False)
    word = framed(_chat({"content": "Hello"}))
    it.client_wire.enough, it.client_wire.tell = word, it.exchanges[0].protocol.pause_writing
    it.hear([word], [word])
    assert not it.wire.reading
    it.exchanges[0].protocol.resume_writing()
    assert it.wire.reading
    it.answer.abort()
    it.told(cut=True)


async def test_nothing_goes_to_a_client_that_has_left() -> None:
    it = Rig(asyncio.get_running_loop(), "openai_chat", keep_usage=False, renames=False)
    word = framed(_chat({"content": "Hello"}))
    it.hear([word], [word])
    before = it.client_wire.sent
    it.exchanges[0].gone = True
    it.hear([word])
    assert it.client_wire.sent == before
    it.answer.abort()
    assert it.told(cut=True).facts[0] == "estimated"
