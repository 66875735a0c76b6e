"""What other dialects say, told to chat clients and chat targets; and what must come back unharmed."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from tests.dialects import laws

from wayport.core.usage import Usage
from wayport.dialects import neutral
from wayport.dialects.dialect import Profile
from wayport.dialects.neutral import (
    CacheMarker,
    Choice,
    Citation,
    Delta,
    Document,
    Image,
    Media,
    Message,
    Opaque,
    OutputFormat,
    Part,
    Reasoning,
    ReasoningAsk,
    Refusal,
    Request,
    Response,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from wayport.dialects.openai_chat import DIALECT
from wayport.dialects.openai_chat_unwrap import Unwrapper
from wayport.wire import patch

SUBJECT = laws.Subject(DIALECT)
CALL = ToolCall(id="toolu_1", name="look", arguments='{"at":"sky"}')
PNG = Media(kind="base64", value="iVBORw0KGgo=", media_type="image/png")


def request(*messages: Message, **fields: Any) -> Request:
    return Request(dialect="anthropic_messages", model="m", messages=list(messages), **fields)


def user(*parts: Part) -> Message:
    return Message(role="user", parts=list(parts))


def assistant(*parts: Part) -> Message:
    return Message(role="assistant", parts=list(parts))


def sent(given: Request, **flags: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(SUBJECT.upstream.encode_request(given, Profile(**flags)).body)
    return body


def answer(*parts: Part, **fields: Any) -> Response:
    choice = Choice(parts=list(parts), finish=fields.pop("finish", "stop"), finish_raw="end_turn")
    return Response(dialect="anthropic_messages", id="msg_1", model="claude", choices=[choice], created=1, **fields)


def told(given: Response, asked: Request | None = None) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(SUBJECT.client.encode_response(given, request=asked))
    return body


def streamed(given: Response, asked: Request | None = None) -> dict[str, Any]:
    """The message that a client puts together out of the stream's deltas, as SDKs do."""
    encoder = SUBJECT.client.stream_encoder(request=asked, response_id="x", created=1)
    events = laws.sse_frames([encoder.feed(delta) for delta in neutral.unfold(given)])
    message: dict[str, Any] = {}
    for event in events[:-1]:
        for choice in json.loads(event.data)["choices"]:
            _gather(message, choice["delta"])
    return message


def _gather(whole: dict[str, Any], delta: dict[str, Any]) -> None:
    for name, value in delta.items():
        if name == "tool_calls":
            calls = whole.setdefault(name, [])
            for entry in value:
                if entry["index"] == len(calls):
                    calls.append({k: v for k, v in entry.items() if k != "index"})
                else:
                    _gather(calls[entry["index"]], {k: v for k, v in entry.items() if k != "index"})
        elif isinstance(value, str) and name not in ("role", "type", "id"):
            whole[name] = (whole.get(name) or "") + value
        elif isinstance(value, list):
            whole[name] = [*(whole.get(name) or []), *value]
        elif isinstance(value, dict):
            _gather(whole.setdefault(name, {}), value)
        else:
            whole[name] = value


def decoded(message: dict[str, Any]) -> list[Part]:
    """The parts of a message that a client sends back as it got it."""
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}, message]}).encode()
    return SUBJECT.client.decode_request(patch.split(body), {}).messages[1].parts


# ------------------------------------------------------------------------------------------------------- signatures
THOUGHTS = [
    Reasoning(text="Small.", signature="c2ln", issuer="anthropic"),
    Reasoning(redacted="ZW5j", issuer="anthropic"),
    Reasoning(text="Small.", signature="c2ln", issuer="gemini"),
    Reasoning(text="Small.", signature="c2ln", issuer="bedrock"),
    Reasoning(redacted="ZW5j", issuer="bedrock"),
    Reasoning(summary=["Small", " bird."], encrypted="ZW5j", id="rs_1", issuer="openai"),
    Reasoning(summary=[], encrypted="ZW5j", id="rs_1", issuer="openai"),
    Reasoning(text="Small.", encrypted="ZW5j", issuer="other"),
    Reasoning(text="Small."),
]


@pytest.mark.parametrize("way", [lambda r: told(r)["choices"][0]["message"], streamed], ids=["whole", "streamed"])
@pytest.mark.parametrize("thought", THOUGHTS, ids=str)
def test_signed_thoughts_survive_a_chat_client(thought: Reasoning, way: Any) -> None:
    message = way(answer(thought, Text(text="A wren."), CALL))
    back = decoded(message)
    assert isinstance(back[0], Reasoning)
    for name in ("text", "summary", "signature", "redacted", "encrypted", "id", "issuer"):
        assert getattr(back[0], name) == getattr(thought, name), name
    assert [type(part) for part in back[1:]] == [Text, ToolCall]


def test_what_a_client_is_shown_of_thoughts() -> None:
    message = told(answer(Reasoning(text="Small.", signature="c2ln", issuer="anthropic"), Text(text="A wren.")))
    assert message["choices"][0]["message"]["reasoning_content"] == "Small."
    assert message["choices"][0]["message"]["thinking_blocks"] == [
        {"type": "thinking", "thinking": "Small.", "signature": "c2ln"}
    ]


def test_unsigned_thoughts_are_text_alone() -> None:
    assert "thinking_blocks" not in told(answer(Reasoning(text="Small.")))["choices"][0]["message"]


@pytest.mark.parametrize("way", [lambda r: told(r)["choices"][0]["message"], streamed], ids=["whole", "streamed"])
def test_thought_signatures_on_calls_survive_a_chat_client(way: Any) -> None:
    call = ToolCall(id="c1", name="look", arguments="{}", signature="c2ln")
    message = way(answer(call, finish="tool_calls"))
    assert message["tool_calls"][0]["extra_content"] == {"google": {"thought_signature": "c2ln"}}
    back = decoded(message)[0]
    assert isinstance(back, ToolCall)
    assert back.signature == "c2ln"


def test_the_place_where_litellm_writes_signatures_is_read_too() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    for place in ({**call, "provider_specific_fields": {"thought_signature": "c2ln"}},):
        back = decoded({"role": "assistant", "content": None, "tool_calls": [place]})[0]
        assert isinstance(back, ToolCall)
        assert back.signature == "c2ln"


@pytest.mark.parametrize("way", [lambda r: told(r)["choices"][0]["message"], streamed], ids=["whole", "streamed"])
def test_thought_signatures_on_text_survive_a_chat_client(way: Any) -> None:
    back = decoded(way(answer(Text(text="A wren.", signature="c2ln"))))[0]
    assert isinstance(back, Text)
    assert back.signature == "c2ln"


# ---------------------------------------------------------------------------------------------------------- answers
def test_citations_become_annotations_counted_in_the_whole_text() -> None:
    web = Citation(kind="url", url="https://example.org", title="A", start=0, end=6)
    page = Citation(kind="page", title="Birds", cited_text="a wren")
    whole = answer(Text(text="A wren", citations=[web]), Text(text=" is small.", citations=[page]))
    message = told(whole)["choices"][0]["message"]
    assert message["content"] == "A wren is small."
    assert message["annotations"] == [
        {
            "type": "url_citation",
            "url_citation": {"url": "https://example.org", "title": "A", "start_index": 0, "end_index": 6},
        },
        {
            "type": "url_citation",
            "url_citation": {"url": "", "title": "Birds", "start_index": 6, "end_index": 16, "content": "a wren"},
        },
    ]
    assert streamed(whole)["annotations"] == message["annotations"]


def test_usage_of_another_dialect_in_openais_shape() -> None:
    usage = Usage(input_tokens=30, output_tokens=9, cache_read_tokens=8, cache_write_5m_tokens=4, reasoning_tokens=3)
    stated = told(answer(Text(text="A wren."), usage=usage, usage_raw=Raw(b'{"input_tokens":18}')))["usage"]
    assert stated["prompt_tokens"] == 30
    assert stated["total_tokens"] == 39
    assert stated["prompt_tokens_details"]["cached_tokens"] == 8
    assert stated["completion_tokens_details"]["reasoning_tokens"] == 3
    assert stated["cache_creation_input_tokens"] == 4
    assert "input_tokens" not in stated


@pytest.mark.parametrize(
    ("finish", "word"),
    [
        ("stop", "stop"),
        ("stop_sequence", "stop"),
        ("pause", "stop"),
        ("length", "length"),
        ("context_window", "length"),
        ("tool_calls", "tool_calls"),
        ("content_filter", "content_filter"),
        ("refusal", "content_filter"),
    ],
)
def test_finish_reasons_in_openais_words(finish: str, word: str) -> None:
    assert told(answer(Text(text="A"), finish=finish))["choices"][0]["finish_reason"] == word


def test_images_of_an_answer() -> None:
    whole = answer(Text(text="Here."), Image(source=PNG))
    images = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}, "index": 0},
    ]
    assert told(whole)["choices"][0]["message"]["images"] == images
    assert streamed(whole)["images"] == images


def test_blocks_of_another_dialect_are_shown_only_as_far_as_they_can_be_read() -> None:
    hidden = Opaque(dialect="anthropic_messages", raw=Raw(b"{}"), kind="server_tool_use")
    shown = Opaque(dialect="anthropic_messages", raw=Raw(b"{}"), kind="x", text="Found it.")
    assert told(answer(hidden, shown))["choices"][0]["message"]["content"] == "Found it."
    assert streamed(answer(hidden, shown))["content"] == "Found it."


def test_the_usage_chunk_comes_only_if_it_was_asked_for() -> None:
    whole = answer(Text(text="A wren."), usage=Usage(input_tokens=1, output_tokens=1))
    for wanted in (True, False):
        asked = Request(dialect="openai_chat", model="m", messages=[], stream=True, include_usage=wanted)
        encoder = SUBJECT.client.stream_encoder(request=asked, response_id="x", created=1)
        body = b"".join(encoder.feed(delta) for delta in neutral.unfold(whole))
        assert (b'"choices":[],"usage":{' in body) is wanted
        assert body.endswith(b"data: [DONE]\n\n")


def test_interleaved_blocks_of_another_dialect_keep_their_calls_apart() -> None:
    deltas: list[Delta] = [
        neutral.Started(id="msg_1", model="claude", dialect="anthropic_messages"),
        neutral.BlockOpened(block=0, part=ToolCall(id="a", name="one")),
        neutral.BlockOpened(block=1, part=ToolCall(id="b", name="two")),
        neutral.BlockDelta(block=1, text='{"b":'),
        neutral.BlockDelta(block=0, text='{"a":'),
        neutral.BlockDelta(block=1, text="2}"),
        neutral.BlockDelta(block=0, text="1}"),
        neutral.BlockClosed(block=0),
        neutral.BlockClosed(block=1),
        neutral.ChoiceFinished(finish="tool_calls"),
        neutral.Ended(),
    ]
    encoder = SUBJECT.client.stream_encoder(request=None, response_id="x", created=1)
    again = laws.read_stream(SUBJECT, [encoder.feed(delta) for delta in deltas])
    calls = neutral.fold("openai_chat", again).choices[0].parts
    assert [(c.id, c.name, c.arguments) for c in calls if isinstance(c, ToolCall)] == [
        ("a", "one", '{"a":1}'),
        ("b", "two", '{"b":2}'),
    ]


# ----------------------------------------------------------------------------------------- custom and older functions
def chat_request(**fields: Any) -> Request:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], **fields}
    return SUBJECT.client.decode_request(patch.split(json.dumps(body).encode()), {})


@pytest.mark.parametrize("way", [lambda r, q: told(r, q)["choices"][0]["message"], streamed], ids=["whole", "streamed"])
def test_a_custom_tool_that_was_put_as_a_function_is_called_as_custom(way: Any) -> None:
    asked = chat_request(tools=[{"type": "custom", "custom": {"name": "run"}}])
    call = ToolCall(id="c", name="run", arguments='{"input": "print(\\"h\\u00ef \\ud83e\\udd89\\")\\n"}')
    assert way(answer(call, finish="tool_calls"), asked)["tool_calls"] == [
        {"id": "c", "type": "custom", "custom": {"name": "run", "input": 'print("hï 🦉")\n'}}
    ]


@given(
    text=st.text(max_size=30), cuts=st.lists(st.integers(min_value=0, max_value=200), max_size=8), ascii=st.booleans()
)
def test_free_text_comes_out_of_its_object_however_it_is_cut(text: str, cuts: list[int], ascii: bool) -> None:  # noqa: A002 (json's own word)
    body = json.dumps({"input": text}, ensure_ascii=ascii)
    edges = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    unwrapper = Unwrapper()
    pieces = [unwrapper.feed(body[a:b]) for a, b in zip(edges, edges[1:], strict=False)]  # noqa: RUF007 (edges may be one)
    assert "".join(pieces) + unwrapper.end() == text


@pytest.mark.parametrize("body", ['{"other":1}', "plain text", '{"inp', "", "[1]"])
def test_arguments_of_another_shape_come_through(body: str) -> None:
    unwrapper = Unwrapper()
    assert "".join(unwrapper.feed(letter) for letter in body) + unwrapper.end() == body


@pytest.mark.parametrize("way", [lambda r, q: told(r, q)["choices"][0]["message"], streamed], ids=["whole", "streamed"])
def test_a_client_of_functions_gets_a_function_call(way: Any) -> None:
    asked = chat_request(functions=[{"name": "look"}])
    message = way(answer(CALL, finish="tool_calls"), asked)
    assert message["function_call"] == {"name": "look", "arguments": '{"at":"sky"}'}
    assert "tool_calls" not in message


# --------------------------------------------------------------------------------------------------------- requests
def test_tool_results_of_a_user_message_become_messages_of_their_own() -> None:
    body = sent(
        request(
            user(Text(text="Look.")),
            assistant(Reasoning(text="Hm.", signature="c2ln", issuer="anthropic"), Text(text="I look."), CALL),
            user(
                ToolResult(call_id="toolu_1", parts=[Text(text="blue"), Image(source=PNG)]),
                Text(text="Be quick."),
            ),
        )
    )
    assert body["messages"][1:] == [
        {
            "role": "assistant",
            "content": "I look.",
            "tool_calls": [
                {"id": "toolu_1", "type": "function", "function": {"name": "look", "arguments": '{"at":"sky"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "toolu_1", "content": "blue"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Returned by the tool call toolu_1:"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
            ],
        },
        {"role": "user", "content": "Be quick."},
    ]


def test_system_prompts_are_one_string_and_the_billing_header_is_none() -> None:
    body = sent(
        request(
            Message(
                role="system",
                parts=[
                    Text(text="x-anthropic-billing-header: cc_version=2"),
                    Text(text="Be brief.", cache=CacheMarker()),
                    Text(text="Be kind."),
                ],
            ),
            user(Text(text="Hi")),
            Message(role="system", parts=[Text(text="Reminder.")]),
        )
    )
    assert body["messages"] == [
        {"role": "system", "content": "Be brief.\n\nBe kind."},
        {"role": "user", "content": "Hi"},
        {"role": "system", "content": "Reminder."},
    ]


def test_cache_markers_of_another_dialect_where_the_target_has_some() -> None:
    marked = request(user(Text(text="Long.", cache=CacheMarker(ttl="1h"))))
    (message,) = sent(marked, cache_markers=True)["messages"]
    assert message["content"] == [
        {"type": "text", "text": "Long.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    ]
    (message,) = sent(marked, cache_breakpoints=True)["messages"]
    assert message["content"] == [{"type": "text", "text": "Long.", "prompt_cache_breakpoint": {"mode": "explicit"}}]
    assert sent(marked)["messages"] == [{"role": "user", "content": "Long."}]


def test_documents_of_another_dialect() -> None:
    pdf = Media(kind="base64", value="JVBERi0=", media_type="application/pdf")
    body = sent(
        request(
            user(
                Document(source=pdf, title="Birds"),
                Document(source=pdf),
                Document(source=Media(kind="text", value="Wrens are small."), title="Notes"),
            )
        )
    )
    assert body["messages"][0]["content"] == [
        {"type": "file", "file": {"filename": "Birds", "file_data": "data:application/pdf;base64,JVBERi0="}},
        {"type": "file", "file": {"filename": "document.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}},
        {"type": "text", "text": "Notes\n\nWrens are small."},
    ]


def test_what_no_chat_target_knows_is_left_out_and_named() -> None:
    encoded = SUBJECT.upstream.encode_request(
        request(
            user(Text(text="Hi"), Opaque(dialect="anthropic_messages", raw=Raw(b"{}"), kind="container_upload")),
            tools=[Tool(name="web_search", kind="server", raw=Raw(b"{}")), Tool(name="look")],
            sampling=Sampling(top_k=5, max_output_tokens=10),
            extras={"context_management": Raw(b'{"edits":[]}'), "shape": Raw(b"{}")},
            service_tier="standard_only",
            user="u" * 100,
        ),
        Profile(),
    )
    assert encoded.dropped == ["top_k", "web_search", "context_management", "container_upload"]
    body = json.loads(encoded.body)
    assert set(body) == {"model", "messages", "max_tokens", "tools", "service_tier", "user"}
    assert body["service_tier"] == "default"
    assert len(body["user"]) == 64


def test_a_choice_among_some_tools_offers_no_others() -> None:
    tools = [Tool(name="one"), Tool(name="two")]
    body = sent(request(user(Text(text="Hi")), tools=tools, tool_choice=ToolChoice(mode="required", names=["two"])))
    assert [tool["function"]["name"] for tool in body["tools"]] == ["two"]
    assert body["tool_choice"] == "required"


def test_names_and_ids_fit_and_lead_back() -> None:
    long = "x" * 80
    tools = [Tool(name="mcp.server/look"), Tool(name=long), Tool(name="read", namespace="fs"), Tool(name="plain")]
    calls = [ToolCall(id="call:weird/é", name="mcp.server/look"), ToolCall(id="i" * 90, name="read", namespace="fs")]
    results = [ToolResult(call_id=call.id, parts=[Text(text="ok")]) for call in calls]
    given_request = request(
        user(Text(text="Hi")),
        assistant(*calls),
        user(*results),
        tools=tools,
        tool_choice=ToolChoice(mode="named", names=[long]),
    )
    encoded = SUBJECT.upstream.encode_request(given_request, Profile())
    body = json.loads(encoded.body)
    names = [tool["function"]["name"] for tool in body["tools"]]
    assert all(len(name) <= 64 and name.replace("_", "").replace("-", "").isalnum() for name in names)
    assert [encoded.tool_names.get(name, (name, None)) for name in names] == [
        ("mcp.server/look", None),
        (long, None),
        ("read", "fs"),
        ("plain", None),
    ]
    made = body["messages"][1]["tool_calls"]
    assert [call["function"]["name"] for call in made] == [names[0], names[2]]
    assert [call["id"] for call in made] == [m["tool_call_id"] for m in body["messages"][2:]]
    assert all(len(call["id"]) <= 64 and call["id"].replace("_", "").isalnum() for call in made)
    assert body["tool_choice"]["function"]["name"] == names[1]
    assert json.loads(SUBJECT.upstream.encode_request(given_request, Profile()).body) == body, "not the same again"


def test_reasoning_of_another_issuer_goes_nowhere() -> None:
    thoughts = [
        Reasoning(text="Theirs.", signature="c2ln", issuer="anthropic"),
        Reasoning(text="Ours."),
    ]
    given_request = request(user(Text(text="Hi")), assistant(*thoughts, CALL), user(ToolResult(call_id="toolu_1")))
    assert b"Theirs" not in SUBJECT.upstream.encode_request(given_request, Profile()).body
    body = sent(given_request, reasoning_back="tool_turns")
    assert body["messages"][1]["reasoning_content"] == "Ours."
    given_request.messages[1].parts.pop(1)
    assert sent(given_request, reasoning_back="tool_turns")["messages"][1]["reasoning_content"] == " "


def test_json_without_a_schema_says_the_word() -> None:
    given_request = request(user(Text(text="Hi")), output=OutputFormat(kind="json"))
    body = sent(given_request)
    assert body["response_format"] == {"type": "json_object"}
    assert body["messages"][0] == {"role": "system", "content": "Answer with JSON."}


@pytest.mark.parametrize(
    ("ask", "flags", "fields"),
    [
        (ReasoningAsk(budget_tokens=10_000, mode="enabled"), {}, {"reasoning_effort": "medium"}),
        (ReasoningAsk(mode="disabled"), {"reasoning_efforts": ("minimal", "low")}, {"reasoning_effort": "minimal"}),
        (ReasoningAsk(mode="adaptive"), {}, {}),
        (ReasoningAsk(mode="enabled"), {"reasoning_default": "none"}, {"reasoning_effort": "medium"}),
        (ReasoningAsk(effort="max"), {"reasoning_efforts": ("low", "high")}, {"reasoning_effort": "high"}),
        (ReasoningAsk(effort="low"), {"reasoning_efforts": ("none", "default")}, {"reasoning_effort": "default"}),
        (ReasoningAsk(budget_tokens=4000), {"reasoning": "reasoning_object"}, {"reasoning": {"max_tokens": 4000}}),
        (ReasoningAsk(effort="low"), {"reasoning": "thinking_flag"}, {"thinking": {"type": "enabled"}}),
        (ReasoningAsk(effort="none"), {"reasoning": "none"}, {}),
    ],
)
def test_thinking_in_the_words_of_the_target(ask: ReasoningAsk, flags: dict[str, Any], fields: dict[str, Any]) -> None:
    body = sent(request(user(Text(text="Hi")), reasoning=ask), **{"reasoning": "effort", **flags})
    assert {name: body[name] for name in ("reasoning_effort", "reasoning", "thinking") if name in body} == fields


def test_an_assistant_that_only_refused_keeps_its_turn() -> None:
    body = sent(request(user(Text(text="Hi")), assistant(Refusal(text="No.")), user(Text(text="Why?"))))
    assert body["messages"][1] == {"role": "assistant", "content": "No."}
