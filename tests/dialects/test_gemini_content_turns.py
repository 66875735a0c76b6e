"""Conversations of other dialects become contents that Gemini takes: roles, calls with their results, media, thoughts."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from tests.dialects.gemini_sdk import UPSTREAM, assistant, check, encoded, sent, tool, user

from wayport.core.errors import BadRequest
from wayport.dialects.dialect import Profile
from wayport.dialects.gemini_content_calls import FOREIGN_CALL_SIGNATURE
from wayport.dialects.gemini_content_turns import NO_RESULT
from wayport.dialects.neutral import (
    Audio,
    CacheMarker,
    Document,
    Image,
    Media,
    Message,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Request,
    Text,
    ToolCall,
    ToolResult,
    Video,
)

PNG = Media(kind="base64", value="iVBORw0=", media_type="image/png")


def ask(*messages: Message) -> Request:
    return Request(dialect="openai_chat", model="m", messages=list(messages))


def call(call_id: str, name: str = "weather", **arguments: Any) -> ToolCall:
    return ToolCall(id=call_id, name=name, arguments=json.dumps(arguments))


def result(call_id: str, text: str, *, is_error: bool | None = None) -> ToolResult:
    return ToolResult(call_id=call_id, parts=[Text(text=text)], is_error=is_error)


def parts_of(body: dict[str, Any], number: int) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = body["contents"][number]["parts"]
    return parts


# ------------------------------------------------------------------------------------------------------------- roles
def test_leading_system_messages_are_the_system_instruction() -> None:
    body = sent(
        ask(
            Message(role="system", parts=[Text(text="Be brief.", cache=CacheMarker())]),
            Message(role="developer", parts=[Text(text="Be kind.")]),
            user(Text(text="Hi")),
        )
    )
    assert body == {
        "systemInstruction": {"parts": [{"text": "Be brief."}, {"text": "Be kind."}]},
        "contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
    }


def test_a_later_system_message_is_told_in_its_place_and_is_not_the_task() -> None:
    body = sent(ask(user(Text(text="Hi")), Message(role="system", parts=[Text(text="It is late.")])))
    assert parts_of(body, 0) == [{"text": "Hi"}, {"text": "<system>\nIt is late.\n</system>"}]


def test_a_system_message_alone_is_what_is_asked() -> None:
    body = sent(ask(Message(role="system", parts=[Text(text="Say hello.")])))
    assert body == {"contents": [{"role": "user", "parts": [{"text": "Say hello."}]}]}


def test_messages_of_one_role_are_one_content_and_empty_ones_none() -> None:
    body = sent(
        ask(
            user(Text(text="a")),
            user(Text(text="")),
            user(Text(text="b")),
            assistant(Text(text="c")),
            assistant(Refusal(text="d")),
            user(Text(text="e")),
        )
    )
    assert [[part["text"] for part in content["parts"]] for content in body["contents"]] == [
        ["a", "b"],
        ["c", "d"],
        ["e"],
    ]


def test_a_conversation_that_the_assistant_begins_gets_a_user_s_first_word() -> None:
    body = sent(ask(assistant(Text(text="Welcome!")), user(Text(text="Hi"))))
    assert [content["role"] for content in body["contents"]] == ["user", "model", "user"]


def test_nothing_to_say_is_refused_with_the_field_s_name() -> None:
    with pytest.raises(BadRequest, match="no message") as refused:
        UPSTREAM.encode_request(ask(user(Text(text=""))), Profile())
    assert refused.value.param == "messages"


# ----------------------------------------------------------------------------------------------------------- results
def test_results_stand_in_one_content_in_the_order_of_their_calls() -> None:
    body = sent(
        ask(
            user(Text(text="Rome and Oslo?")),
            assistant(Text(text="I look."), call("a", city="Rome"), call("b", city="Oslo")),
            tool(result("b", "rain")),
            tool(result("a", '{"celsius": 21.0}')),
            user(Text(text="And?")),
        )
    )
    assert parts_of(body, 1) == [
        {"text": "I look."},
        {
            "functionCall": {"name": "weather", "id": "a", "args": {"city": "Rome"}},
            "thoughtSignature": FOREIGN_CALL_SIGNATURE,
        },
        {"functionCall": {"name": "weather", "id": "b", "args": {"city": "Oslo"}}},
    ]
    assert parts_of(body, 2) == [
        {"functionResponse": {"name": "weather", "id": "a", "response": {"celsius": 21.0}}},
        {"functionResponse": {"name": "weather", "id": "b", "response": {"result": "rain"}}},
        {"text": "And?"},
    ]


@pytest.mark.parametrize(
    ("text", "is_error", "response"),
    [
        ("plain", None, {"result": "plain"}),
        ("", None, {"result": ""}),
        ("42", None, {"result": "42"}),
        ("[1, 2.50]", None, {"result": [1, 2.5]}),
        ("[broken", None, {"result": "[broken"}),
        ('{"a": 1', None, {"result": '{"a": 1'}),
        ('{"a": {"b": null}}', False, {"a": {"b": None}}),
        ("no such city", True, {"error": "no such city"}),
        ('{"code": 7}', True, {"error": '{"code": 7}'}),
    ],
)
def test_a_result_is_an_object(text: str, is_error: bool | None, response: dict[str, Any]) -> None:
    body = sent(ask(user(Text(text="go")), assistant(call("a")), tool(result("a", text, is_error=is_error))))
    assert parts_of(body, 2)[0]["functionResponse"]["response"] == response


def test_an_object_s_own_bytes_are_sent() -> None:
    text = '{"big": 12345678901234567890, "exact": 1.50}'
    request = ask(user(Text(text="go")), assistant(call("a")), tool(result("a", text)))
    assert text.encode() in UPSTREAM.encode_request(request, Profile()).body


def test_a_missing_result_is_made() -> None:
    body = sent(
        ask(user(Text(text="go")), assistant(call("a"), call("b")), tool(result("a", "1")), user(Text(text="stop")))
    )
    assert parts_of(body, 2)[1]["functionResponse"] == {"name": "weather", "id": "b", "response": {"error": NO_RESULT}}
    body = sent(ask(user(Text(text="go")), assistant(call("a"))))
    assert parts_of(body, 2)[0]["functionResponse"]["response"] == {"error": NO_RESULT}


def test_a_late_result_goes_to_its_call() -> None:
    body = sent(
        ask(
            user(Text(text="go")),
            assistant(call("a")),
            user(Text(text="wait")),
            assistant(Text(text="I wait.")),
            tool(result("a", "late")),
            user(Text(text="so?")),
        )
    )
    assert parts_of(body, 2) == [
        {"functionResponse": {"name": "weather", "id": "a", "response": {"result": "late"}}},
        {"text": "wait"},
    ]
    assert parts_of(body, 4) == [{"text": "so?"}]


def test_a_result_without_a_call_becomes_text() -> None:
    body = sent(
        ask(user(Text(text="go")), assistant(Text(text="ok")), tool(result("ghost", "boo")), user(Text(text="?")))
    )
    assert parts_of(body, 2) == [{"text": "Result of an earlier tool call (ghost): boo"}, {"text": "?"}]


def test_ids_used_again_in_every_turn_are_told_apart() -> None:
    body = sent(
        ask(
            user(Text(text="go")),
            assistant(call("call_0", n=1)),
            tool(result("call_0", "one")),
            assistant(call("call_0", n=2), call("call_0", n=3)),
            tool(result("call_0", "two")),
            tool(result("call_0", "three")),
        )
    )
    assert [part["functionResponse"]["response"]["result"] for part in [*parts_of(body, 2), *parts_of(body, 4)]] == [
        "one",
        "two",
        "three",
    ]


def test_ids_that_we_made_are_not_sent() -> None:
    body = {"candidates": [{"content": {"parts": [{"functionCall": {"name": "f", "args": {}}}] * 2, "role": "model"}}]}
    whole = UPSTREAM.decode_response(json.dumps(body).encode())
    first, second = (part for part in whole.choices[0].parts if isinstance(part, ToolCall))
    assert first.id != second.id
    again = sent(
        ask(user(Text(text="go")), assistant(first, second), tool(result(second.id, "2"), result(first.id, "1")))
    )
    assert [part["functionResponse"] for part in parts_of(again, 2)] == [
        {"name": "f", "response": {"result": "1"}},
        {"name": "f", "response": {"result": "2"}},
    ]


@pytest.mark.parametrize(
    ("arguments", "kind", "args"),
    [
        ("", "function", {}),
        (" ", "function", {}),
        ('{"a": 1.50}', "function", {"a": 1.5}),
        ('{"a": ', "function", {"input": '{"a": '}),
        ("[1]", "function", {"input": "[1]"}),
        ("*** Begin Patch", "custom", {"input": "*** Begin Patch"}),
        ('{"a": 1}', "custom", {"input": '{"a": 1}'}),
    ],
)
def test_arguments_are_an_object(arguments: str, kind: Any, args: dict[str, Any]) -> None:
    made = ToolCall(id="a", name="f", arguments=arguments, kind=kind)
    body = sent(ask(user(Text(text="go")), assistant(made), tool(result("a", "ok"))))
    assert parts_of(body, 1)[0]["functionCall"]["args"] == args


# ------------------------------------------------------------------------------------------------------------- media
def test_images_in_results_stand_inside_for_targets_that_take_them_and_after_for_others() -> None:
    shot = ToolResult(call_id="a", parts=[Text(text="taken"), Image(source=PNG)])
    request = ask(user(Text(text="go")), assistant(call("a", "shot")), tool(shot))
    data = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0="}}
    inside = sent(request, Profile(tool_result_media=True))
    assert parts_of(inside, 2) == [
        {"functionResponse": {"name": "shot", "id": "a", "response": {"result": "taken"}, "parts": [data]}}
    ]
    after = sent(request)
    assert parts_of(after, 2) == [
        {"functionResponse": {"name": "shot", "id": "a", "response": {"result": "taken"}}},
        {"text": "Returned by the tool shot:"},
        data,
    ]


@pytest.mark.parametrize(
    ("part", "written"),
    [
        (Image(source=PNG, detail="high"), {"inlineData": {"mimeType": "image/png", "data": "iVBORw0="}}),
        (
            Image(source=Media(kind="url", value="https://e.example/a.webp?x=1")),
            {"fileData": {"mimeType": "image/webp", "fileUri": "https://e.example/a.webp?x=1"}},
        ),
        (
            Image(source=Media(kind="url", value="https://e.example/a")),
            {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://e.example/a"}},
        ),
        (
            Document(source=Media(kind="base64", value="JVBERg==", filename="a.txt")),
            {"inlineData": {"mimeType": "text/plain", "data": "JVBERg=="}},
        ),
        (
            Document(source=Media(kind="base64", value="JVBERg==")),
            {"inlineData": {"mimeType": "application/pdf", "data": "JVBERg=="}},
        ),
        (Document(source=Media(kind="text", value="words"), title="Notes"), {"text": "Notes\n\nwords"}),
        (
            Document(source=Media(kind="file", value="gs://b/a.pdf", media_type="application/pdf")),
            {"fileData": {"mimeType": "application/pdf", "fileUri": "gs://b/a.pdf"}},
        ),
        (
            Audio(source=Media(kind="base64", value="UklG", media_type="audio/mp3")),
            {"inlineData": {"mimeType": "audio/mp3", "data": "UklG"}},
        ),
        (Audio(source=Media(kind="base64", value=""), id="audio_1", transcript="hello"), {"text": "hello"}),
        (
            Video(source=Media(kind="url", value="https://youtu.be/abc")),
            {"fileData": {"mimeType": "video/mp4", "fileUri": "https://youtu.be/abc"}},
        ),
        (Opaque(dialect="anthropic_messages", raw=Raw(b"{}"), text="seen"), {"text": "seen"}),
    ],
)
def test_media_are_data_or_addresses_with_a_type(part: Part, written: dict[str, Any]) -> None:
    body, out = encoded(ask(user(part)))
    assert parts_of(body, 0) == [written]
    assert not out.dropped


def test_a_file_that_only_another_provider_has_is_named() -> None:
    body, out = encoded(ask(user(Text(text="read"), Document(source=Media(kind="file", value="file-abc")))))
    assert parts_of(body, 0) == [{"text": "read"}]
    assert out.dropped == ["file_id"]


def test_what_a_target_cannot_see_is_named() -> None:
    request = ask(user(Text(text="look"), Image(source=PNG), Document(source=Media(kind="base64", value="JVBERg=="))))
    body, out = encoded(request, Profile(images="none", documents="none"))
    assert parts_of(body, 0) == [{"text": "look"}]
    assert out.dropped == ["image_url", "file"]


def test_foreign_parts_that_nobody_else_understands_are_left_out() -> None:
    strange = Opaque(dialect="anthropic_messages", raw=Raw(b"{}"), kind="server_tool_use")
    body, out = encoded(ask(user(Text(text="a")), assistant(strange, Text(text="b")), user(Text(text="c"))))
    assert parts_of(body, 1) == [{"text": "b"}]
    assert not out.dropped


# ---------------------------------------------------------------------------------------------------------- thoughts
def test_only_gemini_s_own_thoughts_go_back() -> None:
    body = sent(
        ask(
            user(Text(text="go")),
            assistant(
                Reasoning(text="mine", signature="QUJD", issuer="gemini"),
                Reasoning(text="theirs", signature="sig", issuer="anthropic"),
                Reasoning(encrypted="enc", issuer="openai"),
                Reasoning(text="plain"),
                Text(text="so", signature="REVG"),
            ),
            user(Text(text="on")),
        )
    )
    assert parts_of(body, 1) == [
        {"text": "mine", "thought": True, "thoughtSignature": "QUJD"},
        {"text": "so", "thoughtSignature": "REVG"},
    ]


def test_a_signature_of_gemini_s_goes_back_on_its_call_and_no_other_is_put_beside_it() -> None:
    signed = ToolCall(id="a", name="f", arguments="{}", signature="QUJD")
    body = sent(ask(user(Text(text="go")), assistant(signed, call("b")), tool(result("a", "1"), result("b", "2"))))
    assert [part.get("thoughtSignature") for part in parts_of(body, 1)] == ["QUJD", None]


# ------------------------------------------------------------------------------------------------------- anything goes
_TEXTS = st.sampled_from(["", "a", '{"x": 1}', "[", "\u2028"])
_IDS = st.sampled_from(["a", "b", "gemini-call-1-f", ""])
_PARTS: st.SearchStrategy[Part] = st.one_of(
    st.builds(Text, text=_TEXTS),
    st.builds(
        Reasoning,
        text=_TEXTS,
        issuer=st.sampled_from([None, "gemini", "anthropic"]),
        signature=st.sampled_from([None, "QUJD"]),
    ),
    st.builds(ToolCall, id=_IDS, name=st.sampled_from(["f", "8 ünsinn", "x" * 90]), arguments=_TEXTS),
    st.builds(ToolResult, call_id=_IDS, parts=st.lists(st.builds(Text, text=_TEXTS), max_size=2)),
    st.just(Image(source=PNG)),
)
_MESSAGES = st.builds(
    Message,
    role=st.sampled_from(["system", "developer", "user", "assistant", "tool"]),
    parts=st.lists(_PARTS, max_size=4),
)


@given(st.lists(_MESSAGES, max_size=8), st.booleans())
def test_every_history_becomes_one_that_gemini_takes(messages: list[Message], inside: bool) -> None:
    request = ask(*messages, user(Text(text="and now?")))
    first = UPSTREAM.encode_request(request, Profile(tool_result_media=inside)).body
    check(first)
    assert first == UPSTREAM.encode_request(request, Profile(tool_result_media=inside)).body
