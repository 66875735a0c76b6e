"""Requests of the Responses API read into the neutral form, and requests of other dialects put to a Responses upstream."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from openai.types.responses.response_create_params import ResponseCreateParams
from pydantic import TypeAdapter
from tests.dialects import laws

from wayport.core.errors import BadRequest
from wayport.dialects.dialect import Encoded, Profile
from wayport.dialects.neutral import (
    Audio,
    CacheMarker,
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
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Video,
)
from wayport.dialects.openai_responses import DIALECT
from wayport.wire import patch

CLIENT = laws.Subject(DIALECT).client
UPSTREAM = laws.Subject(DIALECT).upstream
REQUESTS: TypeAdapter[Any] = TypeAdapter(ResponseCreateParams)


def decoded(**body: Any) -> Request:
    return CLIENT.decode_request(patch.split(json.dumps({"model": "m", **body}).encode()), {})


def chat(*messages: Message, **fields: Any) -> Request:
    return Request(dialect="openai_chat", model="m", messages=list(messages), **fields)


def user(*parts: Part) -> Message:
    return Message(role="user", parts=list(parts))


def said(*parts: Part) -> Message:
    return Message(role="assistant", parts=list(parts))


def result(call_id: str, *parts: Part) -> Message:
    return Message(role="tool", parts=[ToolResult(call_id=call_id, parts=list(parts))])


HI = user(Text(text="Hi"))


def encoded(request: Request, **profile: Any) -> Encoded:
    """What goes upstream: checked by the SDK's own types."""
    out = UPSTREAM.encode_request(request, Profile(**profile))
    exhaust(REQUESTS.validate_python(json.loads(out.body)))
    return out


def body(request: Request, **profile: Any) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(encoded(request, **profile).body)
    return value


def items(*messages: Message, **profile: Any) -> list[Any]:
    value: list[Any] = body(chat(*messages), **profile)["input"]
    return value


def exhaust(value: Any) -> None:
    """Pydantic checks what is behind an `Iterable` only when it is read."""
    if isinstance(value, dict):
        for each in value.values():
            exhaust(each)
    elif not isinstance(value, str) and isinstance(value, Iterable):
        for each in value:
            exhaust(each)


# ---------------------------------------------------------------------------------------------------- decoded requests
def test_a_turn_of_the_model_is_one_message() -> None:
    request = decoded(
        instructions="Be brief.",
        input=[
            {"role": "user", "content": "Hi"},
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA"},
            {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
             "content": [{"type": "output_text", "text": "Looking.", "annotations": []}]},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
            {"type": "web_search_call", "id": "ws_1", "status": "completed"},
            {"type": "function_call_output", "call_id": "c1", "output": "ok"},
            {"type": "function_call", "call_id": "c2", "name": "f", "arguments": "{}"},
        ],
    )  # fmt: skip
    assert [message.role for message in request.messages] == ["system", "user", "assistant", "tool", "assistant"]
    turn = request.messages[2].parts
    assert [type(part) for part in turn] == [Reasoning, Text, ToolCall, Opaque]
    assert isinstance(turn[0], Reasoning)
    assert (turn[0].encrypted, turn[0].issuer) == ("gAAAA", "openai")


def test_what_other_targets_lack_is_told_apart_from_what_they_need_not_have() -> None:
    request = decoded(
        input="Hi",
        include=["reasoning.encrypted_content"],
        client_metadata={"a": "b"},
        truncation="disabled",
        background=False,
        temperature=None,
        max_tool_calls=3,
        truncation_of_the_future=1,
        tools=[],
    )
    assert set(request.extras) == {"max_tool_calls", "truncation_of_the_future"}
    assert decoded(input="Hi", truncation="auto", background=True).extras.keys() == {"truncation", "background"}


def test_settings_have_their_neutral_fields() -> None:
    request = decoded(
        input="Hi",
        reasoning={"effort": "low", "summary": "auto"},
        text={"format": {"type": "json_object"}, "verbosity": "high"},
        include=["message.output_text.logprobs"],
        top_logprobs=2,
        safety_identifier="hash",
        prompt_cache_key="k",
        stream=True,
    )
    assert request.reasoning == ReasoningAsk(effort="low", summary="auto", show=True)
    assert request.output == OutputFormat(kind="json")
    assert (request.verbosity, request.user, request.cache_key, request.stream) == ("high", "hash", "k", True)
    assert (request.sampling.logprobs, request.sampling.top_logprobs) == (True, 2)
    assert request.include_usage


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": 5}, "model"),
        ({"input": 5}, "input"),
        ({"input": [5]}, "input[0]"),
        ({"input": [{"role": "user", "content": "ok"}, {"type": "function_call", "name": "f"}]}, "input[1]"),
        ({"input": [{"type": "function_call_output", "call_id": "c"}]}, "input[0]"),
        ({"input": [{"role": "user", "content": [{"text": 3, "type": "input_text"}]}]}, "input[0]"),
        ({"temperature": "hot"}, "temperature"),
        ({"stream": "yes"}, "stream"),
        ({"tools": [{"name": "f"}]}, "tools[0]"),
        ({"tools": [{"type": "function"}]}, "tools[0]"),
        ({"tools": "all"}, "tools"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"tool_choice": {"type": "function"}}, "tool_choice"),
        ({"max_output_tokens": 1.5}, "max_output_tokens"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        decoded(**{"input": "Hi", **fields})
    assert caught.value.param == param


def test_a_request_without_a_model_is_refused() -> None:
    with pytest.raises(BadRequest) as caught:
        CLIENT.decode_request(patch.split(b'{"input":"Hi"}'), {})
    assert caught.value.param == "model"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["type", "role", "content", "text", "call_id", "name", "arguments", "output", "summary", "id", "tools",
             "format", "image_url", "file_data", "encrypted_content", "annotations", "input_audio", "data"]
        ),
        inner | st.sampled_from(["message", "function_call", "reasoning", "input_text", "input_image", "input_file"]),
        max_size=5,
    ),
    max_leaves=12,
)  # fmt: skip


@given(given_input=JSON, tools=JSON, choice=JSON, text=JSON)
def test_no_json_breaks_the_decoder(given_input: Any, tools: Any, choice: Any, text: Any) -> None:
    fields = patch.split(
        json.dumps({"model": "m", "input": given_input, "tools": tools, "tool_choice": choice, "text": text}).encode()
    )
    try:
        request = CLIENT.decode_request(fields, {})
    except BadRequest:
        return
    laws.assert_same(
        json.loads(patch.join(fields)),
        {"input": None, "tools": None, "tool_choice": None, "text": None}
        | json.loads(UPSTREAM.encode_request(request, Profile()).body),
        "request",
    )


# ----------------------------------------------------------------------------------------------- other dialects' turns
def test_leading_system_messages_become_instructions() -> None:
    system = [Message(role="system", parts=[Text(text="A.")]), Message(role="developer", parts=[Text(text="B.")])]
    late = Message(role="system", parts=[Text(text="C.")])
    sent = body(chat(*system, HI, late))
    assert sent["instructions"] == "A.\n\nB."
    assert sent["input"] == [{"role": "user", "content": "Hi"}, {"role": "developer", "content": "C."}]
    assert body(chat(*system))["input"] == [{"role": "developer", "content": "A.\n\nB."}]


def test_nothing_is_stored_unasked() -> None:
    assert body(chat(HI))["store"] is False
    assert body(chat(HI, store=True))["store"] is True
    assert body(chat(HI))["include"] == ["reasoning.encrypted_content"]
    assert "include" not in body(chat(HI), reasoning="none")


def test_content_of_every_kind() -> None:
    [item] = items(
        user(
            Text(text="Look."),
            Image(source=Media(kind="url", value="https://e.com/a.png"), detail="high"),
            Image(source=Media(kind="base64", value="iVBO", media_type="image/png")),
            Document(source=Media(kind="base64", value="JVBE", media_type="application/pdf"), title="map"),
            Document(source=Media(kind="url", value="https://e.com/a.pdf")),
            Document(source=Media(kind="text", value="plain"), title="Notes"),
            Document(source=Media(kind="file", value="file-1")),
        )
    )
    assert item["content"] == [
        {"type": "input_text", "text": "Look."},
        {"type": "input_image", "detail": "high", "image_url": "https://e.com/a.png"},
        {"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64,iVBO"},
        {"type": "input_file", "filename": "map", "file_data": "data:application/pdf;base64,JVBE"},
        {"type": "input_file", "file_url": "https://e.com/a.pdf"},
        {"type": "input_text", "text": "Notes\n\nplain"},
        {"type": "input_file", "file_id": "file-1"},
    ]


def test_content_that_cannot_be_sent_is_reported() -> None:
    source = Media(kind="file", value="files/abc")
    request = Request(
        dialect="gemini_content",
        model="m",
        messages=[
            user(
                Text(text="Look."),
                Image(source=source),
                Document(source=source),
                Video(source=source),
                Audio(source=Media(kind="base64", value="UklG", media_type="audio/wav")),
            )
        ],
    )
    out = encoded(request)
    assert json.loads(out.body)["input"] == [{"role": "user", "content": "Look."}]
    assert set(out.dropped) == {"file_id", "video", "input_audio"}
    assert encoded(chat(user(Image(source=Media(kind="url", value="https://e.com/a.png")))), images="none").dropped == [
        "image_url"
    ]


def test_cache_markers_become_breakpoints_where_the_target_knows_them() -> None:
    marked = user(Text(text="Long.", cache=CacheMarker(ttl="1h")), Text(text="Short."))
    system = Message(role="system", parts=[Text(text="Rules.", cache=CacheMarker())])
    sent = body(chat(system, marked), cache_breakpoints=True)
    assert "instructions" not in sent
    assert [item["role"] for item in sent["input"]] == ["developer", "user"]
    assert sent["input"][0]["content"][0]["prompt_cache_breakpoint"] == {"mode": "explicit"}
    assert sent["input"][1]["content"][0]["prompt_cache_breakpoint"] == {"mode": "explicit"}
    out = encoded(chat(system, marked))
    assert b"prompt_cache_breakpoint" not in out.body
    assert out.dropped == []


def test_calls_and_their_outputs() -> None:
    sent = items(
        HI,
        said(
            Text(text="One "),
            Text(text="moment."),
            ToolCall(id="c1", name="f", arguments='{"a":1}'),
            ToolCall(id="c2", name="g"),
        ),
        result("c2", Text(text="two"), Text(text="lines")),
        result("c1", Text(text="see"), Image(source=Media(kind="base64", value="iVBO", media_type="image/png"))),
        said(Refusal(text="No more.")),
    )
    assert sent[1:] == [
        {"role": "assistant", "content": "One moment."},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a":1}'},
        {"type": "function_call", "call_id": "c2", "name": "g", "arguments": "{}"},
        {
            "type": "function_call_output",
            "call_id": "c1",
            "output": [
                {"type": "input_text", "text": "see"},
                {"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64,iVBO"},
            ],
        },
        {"type": "function_call_output", "call_id": "c2", "output": "two\nlines"},
        {"role": "assistant", "content": "No more."},
    ]


def test_a_call_without_an_output_gets_one() -> None:
    sent = items(HI, said(ToolCall(id="c1", name="f", arguments="{}")), user(Text(text="Never mind.")))
    assert [item.get("type", item.get("role")) for item in sent] == [
        "user",
        "function_call",
        "function_call_output",
        "user",
    ]
    assert sent[2]["call_id"] == "c1"


def test_an_output_without_its_call_becomes_words() -> None:
    sent = items(HI, result("gone", Text(text="42")), said(Text(text="So.")))
    assert sent[1]["role"] == "user"
    assert [part["text"] for part in sent[1]["content"]] == ["Result of an earlier tool call:\n", "42"]


def test_ids_that_are_used_again_keep_their_order() -> None:
    sent = items(
        HI,
        said(ToolCall(id="c", name="f", arguments="{}")),
        result("c", Text(text="first")),
        said(ToolCall(id="c", name="f", arguments="{}")),
        result("c", Text(text="second")),
    )
    assert [item["output"] for item in sent if item.get("type") == "function_call_output"] == ["first", "second"]


def test_results_beside_words_of_the_user() -> None:
    sent = items(
        HI,
        said(ToolCall(id="c", name="f", arguments="{}")),
        user(ToolResult(call_id="c", parts=[Text(text="ok")]), Text(text="And now?")),
    )
    assert sent[2:] == [
        {"type": "function_call_output", "call_id": "c", "output": "ok"},
        {"role": "user", "content": "And now?"},
    ]


def test_ids_and_names_are_made_to_fit_and_lead_back() -> None:
    long, odd = "toolu:" + "x" * 80, "files.read/file"
    call = ToolCall(id=long, name=odd, arguments="{}")
    out = encoded(chat(HI, said(call), result(long, Text(text="ok")), tools=[Tool(name=odd)]))
    sent = json.loads(out.body)
    _, called, answered = sent["input"]
    assert called["call_id"] == answered["call_id"]
    assert len(called["call_id"]) <= 64
    assert called["name"] == sent["tools"][0]["name"]
    assert out.tool_names == {called["name"]: (odd, None)}


def test_reasoning_goes_back_to_its_issuer_only() -> None:
    thoughts = [
        Reasoning(encrypted="gAAAA", id="rs_1", summary=["Hm."], issuer="openai"),
        Reasoning(encrypted="gBBBB", issuer="openai"),
        Reasoning(text="Secret.", signature="sig", issuer="anthropic"),
        Reasoning(redacted="xxx", issuer="anthropic"),
        Reasoning(text="Plain."),
        Reasoning(encrypted="zzz", issuer="gemini"),
    ]
    # The SDK's type demands an id; OpenAI does not, and Codex sends none.
    sent = json.loads(UPSTREAM.encode_request(chat(HI, said(*thoughts, Text(text="Yes."))), Profile()).body)["input"]
    assert sent[1:] == [
        {
            "id": "rs_1",
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": "Hm."}],
            "encrypted_content": "gAAAA",
        },
        {"type": "reasoning", "summary": [], "encrypted_content": "gBBBB"},
        {"role": "assistant", "content": "Yes."},
    ]


def test_reasoning_that_nothing_follows_is_left_out() -> None:
    sent = items(HI, said(Reasoning(encrypted="gAAAA", id="rs_1", issuer="openai")), user(Text(text="Go on.")))
    assert [item["role"] for item in sent] == ["user", "user"]


@pytest.mark.parametrize(("back", "wanted"), [("never", 0), ("tool_turns", 1), ("always", 2)])
def test_plain_reasoning_where_the_target_wants_it_back(back: Any, wanted: int) -> None:
    sent = items(
        HI,
        said(Reasoning(text="First."), Text(text="A.")),
        user(Text(text="And?")),
        said(Reasoning(text="Second."), ToolCall(id="c", name="f", arguments="{}")),
        result("c", Text(text="ok")),
        reasoning_back=back,
    )
    thoughts = [item for item in sent if item.get("type") == "reasoning"]
    assert len(thoughts) == wanted
    if wanted:
        assert thoughts[-1]["content"] == [{"type": "reasoning_text", "text": "Second."}]


def test_pictures_that_the_model_made_are_shown_by_the_user() -> None:
    sent = items(HI, said(Text(text="Here."), Image(source=Media(kind="base64", value="iVBO", media_type="image/png"))))
    assert [item["role"] for item in sent] == ["user", "assistant", "user"]


def test_what_the_model_said_otherwise_is_said_in_words() -> None:
    sent = items(
        HI,
        said(
            Audio(source=Media(kind="base64", value="UklG"), transcript="Spoken. "),
            Opaque(dialect="anthropic_messages", raw=Raw(b"{}"), kind="x", text="Shown."),
            Opaque(dialect="anthropic_messages", raw=Raw(b"{}"), kind="y"),
        ),
        user(Audio(source=Media(kind="base64", value="UklG"), transcript="Heard."), Text(text="")),
    )
    assert sent[1:] == [{"role": "assistant", "content": "Spoken. Shown."}, {"role": "user", "content": "Heard."}]


# ----------------------------------------------------------------------------------------- other dialects' parameters
SCHEMA = Raw(b'{"type":"object","properties":{"q":{"type":"string"}}}')


def test_tools_say_whether_they_are_strict() -> None:
    tools = [
        Tool(name="loose", description="D.", parameters=SCHEMA),
        Tool(name="strict", parameters=SCHEMA, strict=True),
        Tool(name="bare"),
        Tool(name="search", kind="server", raw=Raw(b"{}")),
        Tool(
            name="sql",
            kind="custom",
            description="SQL.",
            raw=Raw(
                b'{"type":"custom","custom":{"name":"sql","format":'
                b'{"type":"grammar","grammar":{"syntax":"lark","definition":"start: /.+/"}}}}'
            ),
        ),
    ]
    out = encoded(chat(HI, tools=tools, parallel_tool_calls=False, tool_choice=ToolChoice(mode="named", names=["sql"])))
    sent = json.loads(out.body)
    assert [(tool["name"], tool.get("strict")) for tool in sent["tools"]] == [
        ("loose", False), ("strict", True), ("bare", False), ("sql", None),
    ]  # fmt: skip
    assert sent["tools"][3]["format"] == {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"}
    assert sent["tool_choice"] == {"type": "custom", "name": "sql"}
    assert sent["parallel_tool_calls"] is False
    assert out.dropped == ["tools.search"]
    assert body(chat(HI, tools=tools[1:2]), strict_tools=False)["tools"][0]["strict"] is False


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        (ToolChoice(mode="auto"), "auto"),
        (ToolChoice(mode="none"), "none"),
        (ToolChoice(mode="required"), "required"),
        (ToolChoice(mode="named", names=["f"]), {"type": "function", "name": "f"}),
        (
            ToolChoice(mode="required", names=["f", "gone"]),
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]},
        ),
    ],
)
def test_tool_choices(choice: ToolChoice, sent: Any) -> None:
    assert body(chat(HI, tools=[Tool(name="f")], tool_choice=choice))["tool_choice"] == sent


def test_a_choice_that_cannot_be_made_is_reported() -> None:
    request = chat(HI, tools=[Tool(name="f")], tool_choice=ToolChoice(mode="named", names=["gone"]))
    assert encoded(request).dropped == ["tool_choice"]
    request = chat(HI, tools=[Tool(name="f")], tool_choice=ToolChoice(mode="required"))
    assert encoded(request, tool_choice_required=False).dropped == ["tool_choice"]
    assert "tool_choice" not in body(chat(HI, tool_choice=ToolChoice(mode="auto"), parallel_tool_calls=True))


def test_what_this_api_lacks_is_reported_in_the_clients_words() -> None:
    sampling = Sampling(
        stop=["x"], n=2, seed=1, presence_penalty=0.5, frequency_penalty=0.5, logit_bias=Raw(b"{}"), top_k=3, min_p=0.1
    )
    request = chat(HI, sampling=sampling, modalities=["text", "audio"], audio=Raw(b"{}"), prediction=Raw(b"{}"))
    request.extras = {"web_search_options": Raw(b'{"a":1}'), "empty": Raw(b"{}"), "@note": Raw(b"1")}
    assert set(encoded(request).dropped) == {
        "stop", "n", "seed", "presence_penalty", "frequency_penalty", "logit_bias", "top_k", "min_p", "modalities",
        "audio", "prediction", "web_search_options",
    }  # fmt: skip
    anthropic = Request(dialect="anthropic_messages", model="m", messages=[HI], sampling=Sampling(stop=["x"]))
    assert encoded(anthropic).dropped == ["stop_sequences"]


def test_sampling_has_its_own_names() -> None:
    sampling = Sampling(max_output_tokens=50, temperature=0.5, top_p=0.9, logprobs=True, top_logprobs=2)
    sent = body(chat(HI, sampling=sampling, verbosity="low", service_tier="flex", user="u" * 100, stream=True))
    assert (sent["max_output_tokens"], sent["temperature"], sent["top_p"], sent["top_logprobs"]) == (50, 0.5, 0.9, 2)
    assert sent["include"] == ["reasoning.encrypted_content", "message.output_text.logprobs"]
    assert (sent["text"], sent["service_tier"], sent["stream"]) == ({"verbosity": "low"}, "flex", True)
    assert len(sent["user"]) == 64


def test_limits_are_met_and_reported() -> None:
    small = encoded(chat(HI, sampling=Sampling(max_output_tokens=1)))
    assert json.loads(small.body)["max_output_tokens"] == 16
    assert small.lowered == ["max_tokens"]
    large = encoded(chat(HI, sampling=Sampling(max_output_tokens=99_999)), max_output_tokens=4096)
    assert json.loads(large.body)["max_output_tokens"] == 4096
    assert encoded(chat(HI, service_tier="standard_only")).dropped == ["service_tier"]


@pytest.mark.parametrize(
    ("ask", "sent"),
    [
        (ReasoningAsk(effort="high"), {"effort": "high"}),
        (ReasoningAsk(budget_tokens=500), {"effort": "low"}),
        (ReasoningAsk(budget_tokens=5000, show=True), {"effort": "medium", "summary": "auto"}),
        (ReasoningAsk(budget_tokens=50_000, mode="enabled"), {"effort": "high"}),
        (ReasoningAsk(budget_tokens=-1), None),
        (ReasoningAsk(mode="adaptive", effort="xhigh"), {"effort": "xhigh"}),
        (ReasoningAsk(mode="disabled"), None),
        (ReasoningAsk(effort="low", summary="detailed"), {"effort": "low", "summary": "detailed"}),
    ],
)
def test_reasoning_asked_for(ask: ReasoningAsk, sent: Any) -> None:
    assert body(chat(HI, reasoning=ask)).get("reasoning") == sent


def test_reasoning_is_switched_off_where_the_word_is_known() -> None:
    off = chat(HI, reasoning=ReasoningAsk(mode="disabled"))
    assert body(off, reasoning_efforts=("none", "low"))["reasoning"] == {"effort": "none"}
    assert body(off, reasoning_efforts=("minimal", "low"))["reasoning"] == {"effort": "minimal"}
    out = encoded(chat(HI, reasoning=ReasoningAsk(effort="minimal")), reasoning_efforts=("low", "high"))
    assert json.loads(out.body)["reasoning"] == {"effort": "low"}
    assert out.lowered == ["reasoning_effort"]
    assert encoded(chat(HI, reasoning=ReasoningAsk(effort="default"))).dropped == ["reasoning_effort"]


def test_formats_of_the_answer() -> None:
    schema = OutputFormat(kind="json_schema", name="my schema!", schema=SCHEMA, description="D.")
    assert body(chat(HI, output=schema))["text"]["format"] == {
        "type": "json_schema", "name": "my_schema_", "schema": json.loads(bytes(SCHEMA)), "strict": False,
        "description": "D.",
    }  # fmt: skip
    plain = body(chat(HI, output=OutputFormat(kind="json")))
    assert plain["text"]["format"] == {"type": "json_object"}
    assert plain["input"][0] == {"role": "developer", "content": "Answer with a JSON object."}
    asked = body(chat(user(Text(text="As JSON, please")), output=OutputFormat(kind="json")))
    assert len(asked["input"]) == 1
    weak = body(chat(HI, output=schema), json_schema="json_object")
    assert weak["text"]["format"] == {"type": "json_object"}
    assert "properties" in weak["input"][0]["content"]
    assert "text" not in body(chat(HI, output=schema), json_schema="prompt")
    assert encoded(chat(HI, output=schema), json_schema="none").dropped == ["response_format"]


def test_metadata_of_openais_shape_only() -> None:
    assert body(chat(HI, metadata=Raw(b'{"a":"b"}')))["metadata"] == {"a": "b"}
    assert encoded(chat(HI, metadata=Raw(b'{"a":1}'))).dropped == ["metadata"]
    assert encoded(chat(HI, metadata=Raw(b'{"user_id":{}}'), user="u")).dropped == []


def test_a_target_that_refuses_what_nobody_asked_for_is_no_loss() -> None:
    out = encoded(
        chat(HI, sampling=Sampling(temperature=0.5)), unsupported=frozenset({"include", "store", "temperature"})
    )
    sent = json.loads(out.body)
    assert not {"include", "store", "temperature"} & set(sent)
    assert out.dropped == ["temperature"]


def test_the_same_request_is_always_written_alike() -> None:
    def request() -> Request:
        return chat(HI, said(ToolCall(id="c", name="f/g", arguments="{}")), tools=[Tool(name="f/g", parameters=SCHEMA)])

    assert encoded(request()).body == encoded(request()).body
