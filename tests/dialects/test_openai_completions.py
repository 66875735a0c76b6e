"""Legacy completions keep the laws, know all that the SDK knows, and can be answered by chat models."""

import json
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types import Completion, CompletionChoice, completion_create_params
from openai.types.completion_choice import Logprobs
from tests.dialects import laws

from wayport.core.errors import BadRequest
from wayport.core.usage import Usage
from wayport.dialects import neutral
from wayport.dialects.dialect import Glance, Profile
from wayport.dialects.neutral import Choice, Message, Reasoning, Request, Response, Text, TokenLogprob, Tool
from wayport.dialects.openai_chat import DIALECT as CHAT
from wayport.dialects.openai_completions import DIALECT
from wayport.wire import patch, sse

SUBJECT = laws.Subject(DIALECT)
assert DIALECT.passthrough is not None
PASSTHROUGH = DIALECT.passthrough


@laws.each("openai_completions", "request.json")
def test_requests_survive(case: Path) -> None:
    laws.request_round_trip(SUBJECT, case)


@laws.each("openai_completions", "response.json")
def test_answers_survive(case: Path) -> None:
    laws.response_round_trip(SUBJECT, case)


# What a stream cannot tell: probabilities that the neutral form has no word for.
TOLD = [c for c in laws.cases("openai_completions", "response.json") if "echo" not in c.name and "after" not in c.name]


@pytest.mark.parametrize("case", TOLD, ids=lambda case: case.name)
def test_an_answer_told_as_a_stream_is_the_same_answer(case: Path) -> None:
    laws.stream_is_whole(SUBJECT, case)


@laws.each("openai_completions", "stream.sse")
def test_streams_survive(case: Path) -> None:
    laws.stream_round_trip(SUBJECT, case)


@laws.each("openai_completions", "stream.sse")
def test_a_stream_that_breaks_off_never_ends_clean(case: Path) -> None:
    laws.cut_streams_never_end_clean(SUBJECT, case)


@laws.each("openai_completions", "stream.sse")
def test_a_glance_tells_what_decoding_tells(case: Path) -> None:
    laws.glances_agree(SUBJECT, case)


@laws.each("openai_completions", "stream.sse")
@settings(max_examples=10)
@given(cuts=laws.CUTS)
def test_chunking_does_not_matter(case: Path, cuts: list[int]) -> None:
    laws.chunking_does_not_matter(SUBJECT, case, cuts)


@laws.each("openai_completions", "error.json")
def test_errors_keep_their_meaning(case: Path) -> None:
    laws.error_round_trip(SUBJECT, case)


@given(data=st.one_of(laws.BODIES, st.binary(max_size=60)))
def test_no_event_breaks_the_stream_reader(data: bytes) -> None:
    event = b"data: " + data.replace(b"\n", b" ").replace(b"\r", b" ") + b"\n\n"
    laws.assert_well_formed(laws.read_stream(SUBJECT, [event]))


# -------------------------------------------------------------------------------------------------------- the SDK
def test_every_field_of_the_sdk_has_a_case() -> None:
    requests = [laws.load(case / "request.json") for case in laws.cases("openai_completions", "request.json")]
    answers = [laws.load(case / "response.json") for case in laws.cases("openai_completions", "response.json")]
    choices = [choice for answer in answers for choice in answer["choices"]]
    for known, found in (
        (get_type_hints(completion_create_params.CompletionCreateParamsStreaming), requests),
        (Completion.model_fields, answers),
        (CompletionChoice.model_fields, choices),
        (Logprobs.model_fields, [choice["logprobs"] for choice in choices if choice["logprobs"]]),
    ):
        missing = set(known) - {name for one in found for name in one}
        assert not missing, f"the openai SDK knows {sorted(missing)}: add a case to tests/golden/openai_completions"


@pytest.mark.parametrize("case", TOLD, ids=lambda case: case.name)
def test_what_a_client_gets_is_a_completion_of_theirs(case: Path) -> None:
    whole = SUBJECT.upstream.decode_response((case / "response.json").read_bytes())
    Completion.model_validate_json(SUBJECT.client.encode_response(whole), strict=True)


# ------------------------------------------------------------------------------------------------ chat models answer
def decode(**fields: Any) -> Request:
    body = json.dumps({"model": "m", **fields}).encode()
    return SUBJECT.client.decode_request(patch.split(body), {})


def test_a_prompt_is_what_the_user_says() -> None:
    assert CHAT.upstream is not None
    request = decode(prompt="Once", max_tokens=5, stop="END", logprobs=2, suffix="x", echo=True, best_of=2)
    encoded = CHAT.upstream.encode_request(request, Profile())
    assert json.loads(encoded.body) == {
        "model": "m",
        "messages": [{"role": "user", "content": "Once"}],
        "max_tokens": 5,
        "stop": ["END"],
        "logprobs": True,
        "top_logprobs": 2,
    }
    assert sorted(encoded.dropped) == ["best_of", "echo", "suffix"]


@pytest.mark.parametrize("prompt", [["Once", "Twice"], [1, 2], [[1], [2]]])
def test_what_no_chat_model_can_answer_is_refused(prompt: Any) -> None:
    assert CHAT.upstream is not None
    with pytest.raises(BadRequest, match="prompt"):
        CHAT.upstream.encode_request(decode(prompt=prompt), Profile())


@pytest.mark.parametrize("prompt", [None, 7, [], [None], {"a": 1}, [[1], "x"]])
def test_a_prompt_that_is_none_is_refused(prompt: Any) -> None:
    with pytest.raises(BadRequest) as caught:
        decode(prompt=prompt)
    assert (caught.value.param or "").startswith("prompt")


def test_a_chat_answer_as_a_completion() -> None:
    tokens = [TokenLogprob(token="A", logprob=-0.1, top=[TokenLogprob(token="A", logprob=-0.1)])]
    choice = Choice(
        parts=[Reasoning(text="Hm."), Text(text="A"), Text(text=" wren.")],
        finish="tool_calls",
        finish_raw="x",
        logprobs=tokens,
    )
    usage = Usage(input_tokens=4, output_tokens=3)
    whole = Response(dialect="anthropic_messages", id="msg_1", model="claude", choices=[choice], usage=usage)
    body = json.loads(SUBJECT.client.encode_response(whole))
    assert body["choices"] == [
        {
            "index": 0,
            "text": "A wren.",
            "logprobs": {
                "tokens": ["A"],
                "token_logprobs": [-0.1],
                "top_logprobs": [{"A": -0.1}],
                "text_offset": [0],
            },
            "finish_reason": "stop",
        }
    ]
    assert body["usage"]["total_tokens"] == 7
    Completion.model_validate(body, strict=True)
    told = laws.write_stream(SUBJECT, neutral.unfold(whole), whole)
    texts = [json.loads(e.data)["choices"] for e in laws.sse_frames([told])[:-1]]
    assert "".join(choice["text"] for choices in texts for choice in choices) == "A wren."
    assert told.endswith(sse.DONE)


def test_a_conversation_for_a_model_that_only_continues_text() -> None:
    request = Request(
        dialect="openai_chat",
        model="m",
        messages=[
            Message(role="system", parts=[Text(text="Be brief.")]),
            Message(role="user", parts=[Text(text="Hi")]),
        ],
        tools=[Tool(name="look")],
    )
    encoded = SUBJECT.upstream.encode_request(request, Profile())
    assert json.loads(encoded.body) == {"model": "m", "prompt": "System: Be brief.\n\nUser: Hi\n\nAssistant:"}
    assert encoded.dropped == ["tools"]


# ------------------------------------------------------------------------------------------------------- passthrough
def test_only_the_model_and_the_stream_options_change() -> None:
    fields = patch.split(b'{"model":"m","prompt":["a", "b"],"stream":true,"max_tokens":5,"api_key":"x"}')
    profile = Profile(max_tokens_field="max_completion_tokens")
    for _ in range(2):
        written, dropped = PASSTHROUGH.patch_request(fields, model="up", profile=profile, want_usage=True)
        assert written == (
            b'{"model":"up","prompt":["a", "b"],"stream":true,"max_tokens":5,"stream_options":{"include_usage":true}}'
        )
        assert not dropped


def test_a_request_without_a_prompt_does_not_go_upstream() -> None:
    with pytest.raises(BadRequest, match="prompt"):
        PASSTHROUGH.patch_request(patch.split(b'{"model":"m"}'), model="up", profile=Profile(), want_usage=True)


def test_glances() -> None:
    assert PASSTHROUGH.glance(b'data: {"choices":[{"text":"a","index":0}]}\n\n') is Glance.CONTENT
    assert PASSTHROUGH.glance(b'data: {"choices":[{"text":"","index":0}]}\n\n') is Glance.OPENING
    assert PASSTHROUGH.glance(sse.DONE) is Glance.TERMINAL
