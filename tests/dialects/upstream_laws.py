"""Laws for a dialect that has no client half: it is only spoken to upstreams.

Golden files, beside those of `laws`, in `tests/golden/<dialect>/<case>/`:

    asked.<client dialect>.json   a request as a client of that dialect sends it; with `encoded.json`: the body that must
                                  go upstream (and `profile.json`, `dropped.json`, `lowered.json` as in `laws`)
    response.json, meaning.json   a whole answer, and its neutral form
    stream.jsonl                  events of a binary stream, one per line: {"event": …, "data": {…}} (or `stream.sse`);
                                  with `response.json`: the whole answer that says the same, else with `meaning.json`

`meaning.json` holds only what says something: fields of the neutral form that are not at their default.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from tests.dialects import laws

from wayport.dialects.anthropic_messages import DIALECT as ANTHROPIC_MESSAGES
from wayport.dialects.dialect import ClientHalf, Dialect, Encoded
from wayport.dialects.gemini_content import DIALECT as GEMINI_CONTENT
from wayport.dialects.neutral import (
    Audio,
    Citation,
    Delta,
    Document,
    Failed,
    Fold,
    Image,
    Part,
    Reasoning,
    ReasoningAsk,
    Refusal,
    Request,
    Response,
    Text,
    ToolCall,
    Video,
)
from wayport.dialects.openai_chat import DIALECT as OPENAI_CHAT
from wayport.dialects.openai_responses import DIALECT as OPENAI_RESPONSES
from wayport.wire import patch

CLIENTS: dict[str, Dialect] = {
    dialect.name: dialect for dialect in (OPENAI_CHAT, OPENAI_RESPONSES, ANTHROPIC_MESSAGES, GEMINI_CONTENT)
}

Accept = Callable[[Any], None]
"""raises for a body that the upstream's own SDK would not send"""


def asking(dialect: Dialect) -> list[Path]:
    """The cases that hold a request of some client."""
    return sorted({path.parent for path in (laws.GOLDEN / dialect.name).glob("*/asked.*.json")})


def asked(case: Path) -> Request:
    """The request of a case, as its client half reads it."""
    (path,) = case.glob("asked.*.json")
    client = CLIENTS[path.name.split(".")[1]].client
    assert client is not None
    return client.decode_request(patch.split(path.read_bytes()), {})


def request_is_written(subject: laws.Subject, case: Path, accept: Accept) -> None:
    """The body as stated, the drops as stated, the request left as it was, and the same bytes every time."""
    profile = laws.profile_of(case)
    request = asked(case)
    before = laws.plain(request)
    encoded = subject.upstream.encode_request(request, profile)
    body = json.loads(encoded.body)
    laws.assert_same(laws.load(case / "encoded.json"), body, f"request of {case.name}")
    accept(body)
    assert_reported(case, encoded)
    laws.assert_same(before, laws.plain(request), "encoding changed the request it was given")
    assert subject.upstream.encode_request(asked(case), profile).body == encoded.body, (
        "serialisation is not byte-stable"
    )


def assert_reported(case: Path, encoded: Encoded) -> None:
    assert sorted(encoded.dropped) == sorted(laws.load(case / "dropped.json", default=[])), "dropped parameters"
    assert sorted(encoded.lowered) == sorted(laws.load(case / "lowered.json", default=[])), "lowered parameters"


# ------------------------------------------------------------------------------------------------------------ answers
def brief(value: Any) -> Any:
    """A neutral value as JSON, without fields at their default."""
    if isinstance(value, Struct) and not isinstance(value, msgspec.Raw):
        defaults = dict(zip(value.__struct_fields__[::-1], value.__struct_defaults__[::-1], strict=False))
        fields = {
            name: brief(item)
            for name in value.__struct_fields__
            if name not in ("dialect", "usage_raw")
            and not (name == "raw" and isinstance(value, Citation))
            and (item := getattr(value, name)) != defaults.get(name, ...)
            and item not in ({}, [], None)
        }
        kind = type(value).__name__
        return {kind: fields} if isinstance(value, Part) else fields
    if isinstance(value, list | tuple):
        return [brief(item) for item in value]
    if isinstance(value, dict):
        return {name: brief(item) for name, item in value.items()}
    return laws.plain(value)


def answer_is_understood(subject: laws.Subject, case: Path) -> None:
    response = subject.upstream.decode_response((case / "response.json").read_bytes())
    laws.assert_same(laws.load(case / "meaning.json"), brief(response), f"answer {case.name}")


def stream_is_understood(subject: laws.Subject, case: Path) -> None:
    """A stream says what its whole answer says, or what `meaning.json` states; a fault is stated under `fault`."""
    deltas = laws.read_stream(subject, [laws.stream_bytes(case)])
    laws.assert_well_formed(deltas)
    whole, fault = laws.folded(subject, deltas)
    if (case / "response.json").exists():
        assert fault is None, fault
        body = subject.upstream.decode_response((case / "response.json").read_bytes())
        laws.assert_same(brief(body), brief(whole), f"stream of {case.name}, against the whole answer")
        return
    said = {} if whole is None else brief(whole)
    if fault is not None:
        said["fault"] = {name: getattr(fault, name) for name in ("kind", "status", "message", "type")}
    laws.assert_same(laws.load(case / "meaning.json"), said, f"what the stream of {case.name} says")


# ------------------------------------------------------------------------------------------------ through every client
def error_is_understood(subject: laws.Subject, case: Path) -> None:
    given_error = laws.load(case / "error.json")
    text = given_error["body"]
    body = text.encode() if isinstance(text, str) else json.dumps(text).encode()
    fault = subject.upstream.decode_error(given_error["status"], given_error["headers"], body, laws.profile_of(case))
    assert {name: getattr(fault, name) for name in given_error["fault"]} == given_error["fault"]
    assert fault.status == given_error["status"]


def gist(response: Response) -> dict[str, Any]:
    """What every client must be able to see of an answer."""
    choice = response.choices[0]
    usage = response.usage
    texts = [part.text for part in choice.parts if isinstance(part, Text | Refusal)]
    return {
        "text": "".join(texts),
        "thoughts": "".join(_thought(part) for part in choice.parts if isinstance(part, Reasoning)),
        "calls": [(part.name, _json(part.arguments)) for part in choice.parts if isinstance(part, ToolCall)],
        "usage": (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens) if usage is not None else None,
    }


def _shows_media(response: Response) -> bool:
    """Images and their like are shown by each dialect in a way of its own, or not at all."""
    return any(isinstance(part, Image | Audio | Video | Document) for part in response.choices[0].parts)


def _thought(part: Reasoning) -> str:
    return part.text or "\n\n".join(part.summary or ())


def _json(arguments: str) -> Any:
    try:
        return json.loads(arguments or "{}")
    except ValueError:
        return arguments


def answer_reaches_every_client(subject: laws.Subject, case: Path) -> None:
    """Told to a client of any dialect, whole, an answer is the same answer."""
    response = subject.upstream.decode_response((case / "response.json").read_bytes())
    if _shows_media(response):
        return
    for client, upstream in _halves():
        told = client.encode_response(response, request=_any_request(client))
        laws.assert_same(
            gist(response), _told(response, upstream.upstream.decode_response(told)), f"{case.name} to {client.name}"
        )


def stream_reaches_every_client(subject: laws.Subject, case: Path) -> None:
    """Told to a client of any dialect as it comes, a stream is the same answer; a failed one never ends clean."""
    deltas = laws.read_stream(subject, [laws.stream_bytes(case)])
    whole, fault = laws.folded(subject, deltas)
    if whole is None or not whole.choices or _shows_media(whole):
        return
    for client, upstream in _halves():
        encoder = client.stream_encoder(request=_any_request(client), response_id="answer-1", created=1)
        # Decoded anew: an encoder may keep what it was given.
        told = b"".join(encoder.feed(delta) for delta in laws.read_stream(subject, [laws.stream_bytes(case)]))
        again = laws.read_stream(upstream, [told])
        laws.assert_well_formed(again)
        if fault is not None:
            assert isinstance(again[-1], Failed), f"{case.name} ended clean for {client.name}: {again[-1]}"
            continue
        laws.assert_same(gist(whole), _told(whole, _fold(again)), f"stream {case.name} to {client.name}")


def _told(said: Response, told: Response) -> dict[str, Any]:
    """Clients whose dialect demands a figure of usage are told of none spent."""
    return gist(told) if said.usage is not None else {**gist(told), "usage": None}


def _fold(deltas: list[Delta]) -> Response:
    whole = Fold("openai_chat")
    for delta in deltas:
        whole.feed(delta)
    assert whole.response is not None
    return whole.response


def _halves() -> Iterator[tuple[ClientHalf, laws.Subject]]:
    for dialect in CLIENTS.values():
        assert dialect.client is not None
        yield dialect.client, laws.Subject(dialect)


def _any_request(client: ClientHalf) -> Request:
    show = ReasoningAsk(show=True)
    return Request(dialect=client.name, model="any", messages=[], stream=True, include_usage=True, reasoning=show)
