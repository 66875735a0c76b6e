"""Thoughts of other providers survive a Gemini client, whatever it shows or forgets, and never reach Google."""

import json
from typing import Any

import pytest
from google.genai import types
from msgspec import Raw
from tests.dialects import laws
from tests.dialects.gemini_sdk import CLIENT, UPSTREAM

from wayport.dialects import neutral
from wayport.dialects.dialect import Profile
from wayport.dialects.gemini_content import DIALECT
from wayport.dialects.gemini_content_calls import FOREIGN_CALL_SIGNATURE
from wayport.dialects.neutral import (
    BlockClosed,
    BlockDelta,
    BlockOpened,
    Choice,
    ChoiceFinished,
    Delta,
    Ended,
    Part,
    Reasoning,
    ReasoningAsk,
    Request,
    Response,
    Started,
    Text,
    ToolCall,
)
from wayport.dialects.sealing import PREFIX_BYTES, is_sealed
from wayport.wire import patch

SHOWN = Request(dialect="gemini_content", model="m", messages=[], reasoning=ReasoningAsk(show=True))
HIDDEN = Request(dialect="gemini_content", model="m", messages=[])
THOUGHT = Reasoning(text="I weigh it.", signature="sig==", issuer="anthropic")
CALL = ToolCall(id="toolu_1", name="weather", arguments='{"city": "Rome"}')


def answer(*parts: Part) -> Response:
    choices = [Choice(parts=list(parts), finish="stop")]
    return Response(dialect="anthropic_messages", id="msg_1", model="claude", choices=choices)


def told(whole: Response, request: Request, *, streamed: bool) -> list[dict[str, Any]]:
    """The contents that a client of Google's SDK keeps of an answer: one of the whole, or one of each event."""
    if not streamed:
        bodies = [CLIENT.encode_response(whole, request=request)]
    else:
        encoder = CLIENT.stream_encoder(request=request, response_id="r", created=0)
        stream = b"".join(encoder.feed(delta) for delta in in_pieces(whole))
        bodies = [event.data for event in laws.sse_frames([stream])]
    contents = []
    for body in bodies:
        content = types.GenerateContentResponse.model_validate_json(body).candidates[0].content  # type: ignore[index]  # there is one
        assert content is not None
        contents.append(json.loads(content.model_dump_json(by_alias=True, exclude_none=True)))
    return contents


def in_pieces(whole: Response) -> list[Delta]:
    """A whole answer as another provider streams it: words in pieces, signatures at the end of their thought."""
    deltas: list[Delta] = [Started(id=whole.id, model=whole.model, dialect=whole.dialect)]
    for block, part in enumerate(whole.choices[0].parts):
        match part:
            case Reasoning(text=text) if text:
                deltas.append(BlockOpened(block=block, part=Reasoning(issuer=part.issuer)))
                deltas += [BlockDelta(block=block, text=text[:4]), BlockDelta(block=block, text=text[4:])]
                deltas.append(BlockDelta(block=block, signature=part.signature, encrypted=part.encrypted))
            case Text(text=text):
                deltas.append(BlockOpened(block=block, part=Text(text="")))
                deltas += [BlockDelta(block=block, text=text[:2]), BlockDelta(block=block, text=text[2:])]
            case ToolCall():
                deltas.append(BlockOpened(block=block, part=ToolCall(id=part.id, name=part.name)))
                deltas += [BlockDelta(block=block, text=piece) for piece in (part.arguments[:5], part.arguments[5:])]
            case _:
                deltas.append(BlockOpened(block=block, part=part))
        deltas.append(BlockClosed(block=block))
    return [*deltas, ChoiceFinished(finish="stop"), Ended()]


def history(contents: list[dict[str, Any]]) -> dict[str, Any]:
    result = {"functionResponse": {"id": "toolu_1", "name": "weather", "response": {"result": "sunny"}}}
    first = {"role": "user", "parts": [{"text": "Weather?"}]}
    return {"contents": [first, *contents, {"role": "user", "parts": [result]}]}


def read(contents: list[dict[str, Any]]) -> list[Part]:
    body = json.dumps(history(contents)).encode()
    request = CLIENT.decode_request(patch.split(body), {})
    parts = [part for message in request.messages if message.role == "assistant" for part in message.parts]
    assert all(message.parts for message in request.messages)
    for part in parts:
        if isinstance(part, Reasoning):
            part.extras = None
    return joined(parts)


def joined(parts: list[Part]) -> list[Part]:
    out: list[Part] = []
    for part in parts:
        if isinstance(part, Text) and out and isinstance(out[-1], Text):
            out[-1].text += part.text
        elif not (isinstance(part, Text) and not part.text):
            out.append(part)
    return out


def plain(parts: list[Part]) -> Any:
    return laws.plain(parts, frozenset({"extras"}))


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("request_", [SHOWN, HIDDEN], ids=["shown", "hidden"])
@pytest.mark.parametrize(
    "parts",
    [
        [THOUGHT, CALL],
        [THOUGHT, Text(text="It will rain.")],
        [THOUGHT],
        [Reasoning(redacted="cmVk", issuer="anthropic"), THOUGHT, Text(text="Let me see."), CALL],
        [Reasoning(text="", encrypted="enc", id="rs_1", issuer="openai"), CALL],
        [Text(text="First."), THOUGHT, CALL],
        [Reasoning(text="plain thoughts of a model that signs nothing"), CALL],
    ],
)
def test_thoughts_come_back_as_they_were(parts: list[Part], request_: Request, streamed: bool) -> None:
    contents = told(answer(*parts), request_, streamed=streamed)
    assert plain(read(contents)) == plain(parts)


@pytest.mark.parametrize("streamed", [False, True])
def test_thoughts_come_back_though_the_client_forgot_what_was_shown(streamed: bool) -> None:
    contents = told(answer(THOUGHT, CALL), SHOWN, streamed=streamed)
    for content in contents:
        content["parts"] = [part for part in content["parts"] if not part.get("thought")]
    assert plain(read([content for content in contents if content["parts"]])) == plain([THOUGHT, CALL])


def test_thoughts_are_shown_only_to_those_who_asked() -> None:
    assert any(part.get("thought") for part in told(answer(THOUGHT, CALL), SHOWN, streamed=False)[0]["parts"])
    assert not any(part.get("thought") for part in told(answer(THOUGHT, CALL), HIDDEN, streamed=False)[0]["parts"])


def test_plain_thoughts_before_a_text_are_not_carried() -> None:
    contents = told(answer(Reasoning(text="plain"), Text(text="So.")), HIDDEN, streamed=False)
    assert contents == [{"parts": [{"text": "So."}], "role": "model"}]


def test_a_summary_in_parts_is_shown_as_paragraphs_and_comes_back_in_parts() -> None:
    thought = Reasoning(summary=["First.", "Then."], encrypted="enc", issuer="openai")
    contents = told(answer(thought, CALL), SHOWN, streamed=False)
    assert contents[0]["parts"][0] == {"text": "First.\n\nThen.", "thought": True}
    assert plain(read(contents)) == plain([thought, CALL])


def test_a_streamed_summary_is_shown_as_it_comes() -> None:
    deltas: list[Delta] = [
        Started(id="r", model="m", dialect="openai_responses"),
        BlockOpened(block=0, part=Reasoning(summary=[], issuer="openai")),
        BlockDelta(block=0, text="First.", summary_index=0),
        BlockDelta(block=0, text="Then.", summary_index=1),
        BlockDelta(block=0, text=" More.", summary_index=1),
        BlockClosed(block=0, part=Reasoning(summary=["First.", "Then. More."], encrypted="enc", issuer="openai")),
        BlockOpened(block=1, part=CALL),
        BlockClosed(block=1),
        ChoiceFinished(finish="tool_calls"),
        Ended(),
    ]
    encoder = CLIENT.stream_encoder(request=SHOWN, response_id="r", created=0)
    events = [json.loads(event.data) for event in laws.sse_frames([encoder.feed(delta) for delta in deltas])]
    parts = [part for event in events for part in event["candidates"][0]["content"]["parts"]]
    assert "".join(part["text"] for part in parts if part.get("thought")) == "First.\n\nThen. More."
    assert is_sealed(next(part for part in parts if "functionCall" in part)["thoughtSignature"])


# ------------------------------------------------------------------------------------------------------- to Google
@pytest.mark.parametrize("streamed", [False, True])
def test_nothing_sealed_goes_to_google_and_calls_are_signed_as_documented(streamed: bool) -> None:
    body = json.dumps(history(told(answer(THOUGHT, CALL), SHOWN, streamed=streamed))).encode()
    assert PREFIX_BYTES in body
    request = CLIENT.decode_request(patch.split(body), {})
    translated = UPSTREAM.encode_request(request, Profile()).body
    assert DIALECT.passthrough is not None
    passed, _ = DIALECT.passthrough.patch_request(patch.split(body), model="m", profile=Profile(), want_usage=True)
    for sent in (translated, passed):
        assert PREFIX_BYTES not in sent
        parts = [part for content in json.loads(sent)["contents"] for part in content["parts"]]
        call = next(part for part in parts if "functionCall" in part)
        assert call["thoughtSignature"] == FOREIGN_CALL_SIGNATURE
    assert b"I weigh it." not in translated


def test_a_carrier_of_nothing_else_is_left_out() -> None:
    body = json.dumps(history(told(answer(THOUGHT), HIDDEN, streamed=False))).encode()
    assert DIALECT.passthrough is not None
    passed, _ = DIALECT.passthrough.patch_request(patch.split(body), model="m", profile=Profile(), want_usage=False)
    assert PREFIX_BYTES not in passed
    assert [content["role"] for content in json.loads(passed)["contents"]] == ["user", "user"]


def test_a_damaged_envelope_is_taken_off() -> None:
    damaged = {"role": "model", "parts": [{"text": "So.", "thoughtSignature": "WayportSeal1####"}]}
    assert plain(read([damaged])) == plain([Text(text="So.")])


def test_another_answer_s_signature_is_left_alone() -> None:
    whole = neutral.Response(dialect="gemini_content", id="r", model="m")
    whole.choices = [Choice(parts=[Text(text="So.", signature="QUJD")], finish="stop", extras={"index": Raw(b"0")})]
    contents = told(whole, HIDDEN, streamed=False)
    assert plain(read(contents)) == plain([Text(text="So.", signature="QUJD")])
