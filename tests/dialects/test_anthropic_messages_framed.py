"""Claude's streams in AWS's frames: whatever a stream says, framed it says the same."""

import base64
import itertools
import json
from pathlib import Path

import pytest
from botocore.loaders import Loader
from hypothesis import given
from tests.dialects import anthropic_sdk, laws

from wayport.dialects.anthropic_messages import DIALECT
from wayport.dialects.anthropic_messages_framed import FramedEvents
from wayport.dialects.dialect import Profile
from wayport.dialects.neutral import Delta, Failed, Message, Request, Text
from wayport.wire import eventstream, sse
from wayport.wire.eventstream import EXCEPTION, MalformedFrame
from wayport.wire.sse import Event

assert DIALECT.upstream is not None
UPSTREAM = DIALECT.upstream


def framed(events: list[Event]) -> bytes:
    return b"".join(
        eventstream.write(json.dumps({"bytes": base64.b64encode(event.data).decode(), "p": "abcd"}).encode(), "chunk")
        for event in events
    )


def deltas(events: list[Event]) -> list[Delta]:
    decoder = UPSTREAM.stream_decoder()
    return [*(delta for event in events for delta in decoder.feed(event)), *decoder.end()]


@laws.each("anthropic_messages", "stream.sse")
@given(cuts=laws.CUTS)
def test_a_framed_stream_says_the_same(case: Path, cuts: list[int]) -> None:
    events = laws.sse_frames([laws.stream_bytes(case)])
    told = framed(events)
    edges = sorted({0, len(told), *(cut % (len(told) + 1) for cut in cuts)})
    reader = FramedEvents()
    read = [event for start, end in itertools.pairwise(edges) for event in reader.feed(told[start:end])]
    assert reader.rest() == b""
    assert [event.data for event in read] == [event.data for event in events]
    assert laws.plain(deltas(read)) == laws.plain(deltas(events))


def test_passed_on_the_events_are_what_the_official_client_reads() -> None:
    case = laws.GOLDEN / "anthropic_messages" / "stream_thinking_between_tools"
    events = FramedEvents().feed(framed(laws.sse_frames([laws.stream_bytes(case)])))
    told = b"".join(sse.write(event.data, event.name) for event in events)
    assert anthropic_sdk.collect(told) == anthropic_sdk.collect(laws.stream_bytes(case))


KINDS = {
    "internalServerException": "server",
    "modelStreamErrorException": "server",
    "validationException": "bad_request",
    "throttlingException": "rate_limit",
    "modelTimeoutException": "timeout",
    "serviceUnavailableException": "overloaded",
}


def test_every_exception_of_a_framed_stream_has_a_kind() -> None:
    model = Loader().load_service_model("bedrock-runtime", "service-2")
    assert set(model["shapes"]["ResponseStream"]["members"]) - {"chunk"} == set(KINDS)


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_an_exception_is_the_apis_own_error(name: str, kind: str) -> None:
    (event,) = FramedEvents().feed(eventstream.write(b'{"message":"It broke."}', EXCEPTION + name))
    assert event.name == "error"
    assert json.loads(event.data)["error"]["message"] == "It broke."
    (failed,) = deltas([event])
    assert isinstance(failed, Failed)
    assert failed.fault.kind == kind


@pytest.mark.parametrize("data", [b"{", b'{"bytes":"*"}', b'{"bytes":"bm8="}', b"[]"])
def test_a_frame_without_an_event_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedFrame, match="holds no event"):
        FramedEvents().feed(eventstream.write(data, "chunk"))


def test_a_profile_makes_the_body_that_goes_with_it() -> None:
    profile = Profile(
        model_in_body=False,
        betas_in_body=True,
        unsupported=frozenset({"stream"}),
        constants={"anthropic_version": "bedrock-2023-05-31"},
    )
    request = Request(
        dialect="openai_chat",
        model="anthropic.claude",
        messages=[Message(role="user", parts=[Text(text="The tide?")])],
        stream=True,
        betas=["context-1m-2025-08-07"],
    )
    encoded = UPSTREAM.encode_request(request, profile)
    assert json.loads(encoded.body) == {
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": "The tide?"}],
        "anthropic_version": "bedrock-2023-05-31",
        "anthropic_beta": ["context-1m-2025-08-07"],
    }
    assert (encoded.dropped, encoded.headers) == ([], {})
