"""Messages of other dialects, written for Anthropic: its rules are kept and nothing is lost."""

import base64
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from tests.dialects.anthropic_asks import TOOLS, UPSTREAM, ask, body_of, calls, encode, result, results_of, say

from wayport.core.errors import BadRequest
from wayport.dialects.anthropic_messages_fields import id_from_wire, id_to_wire
from wayport.dialects.dialect import Profile
from wayport.dialects.neutral import (
    Audio,
    CacheMarker,
    Citation,
    Document,
    Image,
    Media,
    Message,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Request,
    Role,
    Text,
    ToolCall,
    ToolResult,
    Video,
)

PNG = "iVBORw0KGgo="


# ------------------------------------------------------------------------------------------------------------ system
def test_leading_system_messages_become_the_system_prompt() -> None:
    body = body_of(ask(say("system", "You keep the log."), say("developer", "In feet."), say("user", "The tide?")))
    assert body["system"] == [{"type": "text", "text": "You keep the log."}, {"type": "text", "text": "In feet."}]
    assert body["messages"] == [{"role": "user", "content": "The tide?"}]


def test_one_system_message_is_a_string_unless_it_carries_a_marker() -> None:
    assert body_of(ask(say("system", "Log."), say("user", "Hi")))["system"] == "Log."
    marked = Text(text="Log.", cache=CacheMarker(ttl="1h"))
    assert body_of(ask(say("system", marked), say("user", "Hi")))["system"] == [
        {"type": "text", "text": "Log.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    ]


def test_a_system_message_in_the_middle_is_kept_apart_from_the_users_words() -> None:
    messages = (say("user", "Hi"), say("assistant", "Hello."), say("user", "Go on"), say("system", "Be brief."))
    assert body_of(ask(*messages))["messages"][-1] == {
        "role": "user",
        "content": [{"type": "text", "text": "Go on"}, {"type": "text", "text": "<system>\nBe brief.\n</system>"}],
    }
    assert body_of(ask(*messages), mid_system=True)["messages"][-2:] == [
        {"role": "user", "content": "Go on"},
        {"role": "system", "content": "Be brief."},
    ]


def test_a_system_message_stands_where_it_may_only() -> None:
    messages = (say("user", "Hi"), say("system", "Be brief."), say("user", "Go on"))
    assert body_of(ask(*messages), mid_system=True)["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Hi"},
                {"type": "text", "text": "<system>\nBe brief.\n</system>"},
                {"type": "text", "text": "Go on"},
            ],
        }
    ]


def test_a_system_prompt_alone_is_the_task() -> None:
    body = body_of(ask(say("system", "Say hello.")))
    assert "system" not in body
    assert body["messages"] == [{"role": "user", "content": "Say hello."}]


# ------------------------------------------------------------------------------------------------------------- turns
def test_messages_of_one_role_are_one_turn() -> None:
    body = body_of(
        ask(say("user", "Hi"), say("user", "there"), say("assistant", "A"), say("assistant", "B"), say("user", "?"))
    )
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
    assert body["messages"][0]["content"] == [{"type": "text", "text": "Hi"}, {"type": "text", "text": "there"}]


def test_the_first_turn_is_the_users_and_the_last_has_no_white_space() -> None:
    body = body_of(ask(say("assistant", "Welcome."), say("user", "Hi"), say("assistant", "The tide is \n")))
    assert body["messages"][0]["role"] == "user"
    assert body["messages"][-1] == {"role": "assistant", "content": "The tide is"}


def test_a_target_without_prefill_is_asked_to_go_on() -> None:
    body = body_of(ask(say("user", "Hi"), say("assistant", "The tide is")), prefill=False)
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]


def test_empty_texts_are_left_out_and_their_markers_are_not() -> None:
    body = body_of(
        ask(say("user", "Hi", Text(text=" \n", cache=CacheMarker())), say("assistant", ""), say("user", "", "There?"))
    )
    assert body["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}},
                {"type": "text", "text": "There?"},
            ],
        }
    ]


def test_a_conversation_of_nothing_still_has_a_turn() -> None:
    assert body_of(ask(say("user", "")))["messages"][0]["role"] == "user"


def test_a_speakers_name_is_reported() -> None:
    request = ask(Message(role="user", parts=[Text(text="Hi")], name="Ann"))
    assert encode(request).dropped == ["messages.name"]


# ------------------------------------------------------------------------------------------------- calls and results
def test_results_come_first_in_the_order_of_the_calls() -> None:
    body = body_of(
        ask(say("user", "?"), calls("a", "b"), say("user", "Hurry"), result("b", "2"), result("a", "1"), tools=TOOLS)
    )
    last = body["messages"][-1]
    assert results_of(last) == [("a", "1"), ("b", "2")]
    assert last["content"][-1] == {"type": "text", "text": "Hurry"}


def test_a_call_without_a_result_gets_one_that_says_so() -> None:
    body = body_of(ask(say("user", "?"), calls("a", "b"), result("b"), say("user", "Well?"), tools=TOOLS))
    lost, seen, text = body["messages"][-1]["content"]
    assert (lost["tool_use_id"], lost["is_error"]) == ("a", True)
    assert seen["tool_use_id"] == "b"
    assert text["text"] == "Well?"


def test_calls_that_end_the_conversation_are_answered() -> None:
    body = body_of(ask(say("user", "?"), calls("a"), tools=TOOLS))
    assert body["messages"][-1]["role"] == "user"
    assert results_of(body["messages"][-1])[0][0] == "a"


def test_a_result_without_its_call_is_told_as_text() -> None:
    body = body_of(ask(say("user", "?"), result("gone", "The tide is high.")))
    assert body["messages"][0]["content"][-1]["text"].endswith("The tide is high.")


def test_calls_that_share_an_id_are_told_apart() -> None:
    body = body_of(ask(say("user", "?"), calls("0"), result("0", "1"), calls("0"), result("0", "2"), tools=TOOLS))
    used = [b["id"] for m in body["messages"] if m["role"] == "assistant" for b in m["content"]]
    assert len(set(used)) == 2
    assert [results_of(body["messages"][number]) for number in (2, 4)] == [[(used[0], "1")], [(used[1], "2")]]


@given(st.text(min_size=1))
def test_ids_fit_and_lead_back(call_id: str) -> None:
    wire_id = id_to_wire(call_id)
    assert re.fullmatch(r"[a-zA-Z0-9_-]+", wire_id)
    assert id_from_wire(wire_id) == call_id


def test_an_id_in_other_letters_is_the_same_on_call_and_result() -> None:
    body = body_of(ask(say("user", "?"), calls("functions.look:0"), result("functions.look:0"), tools=TOOLS))
    used = body["messages"][1]["content"][0]["id"]
    assert results_of(body["messages"][2]) == [(used, "seen")]
    assert id_from_wire(used) == "functions.look:0"


def test_results_hold_what_they_held() -> None:
    parts: list[Part] = [
        Text(text="Look:"),
        Image(source=Media(kind="base64", value=PNG)),
        Document(source=Media(kind="url", value="https://harbour.example/t.pdf")),
    ]
    held = ToolResult(call_id="a", parts=parts, is_error=False, cache=CacheMarker(ttl="5m"))
    bare = ToolResult(call_id="b", structured=Raw(b'{"feet":7}'))
    body = body_of(ask(say("user", "?"), calls("a", "b"), say("user", held, bare), tools=TOOLS))
    first, second = body["messages"][-1]["content"]
    assert [block["type"] for block in first["content"]] == ["text", "image", "document"]
    assert first["is_error"] is False
    assert first["cache_control"] == {"type": "ephemeral", "ttl": "5m"}
    assert second["content"] == '{"feet":7}'


@pytest.mark.parametrize(
    ("arguments", "kind", "given"),
    [
        ("", "function", {}),
        ('{"a": 1.50}', "function", {"a": 1.5}),
        ('{"a": ', "function", {"INVALID_JSON": '{"a": '}),
        ("[1]", "function", {"INVALID_JSON": "[1]"}),
        ("*** Begin", "custom", {"input": "*** Begin"}),
    ],
)
def test_arguments_are_always_an_object(arguments: str, kind: Any, given: Any) -> None:
    call = ToolCall(id="a", name="look", arguments=arguments, kind=kind)
    body = body_of(ask(say("user", "?"), say("assistant", call), result("a"), tools=TOOLS))
    assert body["messages"][1]["content"][0]["input"] == given


# ------------------------------------------------------------------------------------------------------------- media
def source_of(part: Part, **profile: Any) -> Any:
    return body_of(ask(say("user", part)), **profile)["messages"][0]["content"][0]["source"]


def test_media_are_told_in_anthropics_way() -> None:
    assert source_of(Image(source=Media(kind="url", value="https://h.example/a.png"))) == {
        "type": "url",
        "url": "https://h.example/a.png",
    }
    data = {"type": "base64", "media_type": "image/png", "data": PNG}
    assert source_of(Image(source=Media(kind="url", value=f"data:image/png;base64,{PNG}"))) == data
    assert source_of(Image(source=Media(kind="base64", value=PNG))) == data
    assert source_of(Image(source=Media(kind="base64", value=PNG, media_type="image/PNG; q=1"))) == data
    pdf = Media(kind="base64", value="JVBERi0x", filename="tides.pdf")
    assert source_of(Document(source=pdf))["media_type"] == "application/pdf"
    text = base64.b64encode(b"a,b").decode()
    assert source_of(Document(source=Media(kind="base64", value=text, media_type="text/csv"))) == {
        "type": "text",
        "media_type": "text/plain",
        "data": "a,b",
    }
    assert source_of(Document(source=Media(kind="text", value="noon")))["data"] == "noon"


def test_a_documents_file_name_is_its_title() -> None:
    pdf = Media(kind="base64", value="JVBERi0x", filename="tides.pdf")
    assert body_of(ask(say("user", Document(source=pdf))))["messages"][0]["content"][0]["title"] == "tides.pdf"


@pytest.mark.parametrize(
    ("part", "profile"),
    [
        (Audio(source=Media(kind="base64", value="UklG", media_type="audio/wav")), {}),
        (Video(source=Media(kind="url", value="https://h.example/a.mp4")), {}),
        (Image(source=Media(kind="base64", value="PHN2Zz4=", media_type="image/svg+xml")), {}),
        (Image(source=Media(kind="file", value="file-openai")), {}),
        (Document(source=Media(kind="file", value="file-openai")), {}),
        (Document(source=Media(kind="base64", value="UEsDBA==", media_type="application/zip")), {}),
        (Image(source=Media(kind="url", value="https://h.example/a.png")), {"images": "none"}),
        (Document(source=Media(kind="url", value="https://h.example/a.pdf")), {"documents": "none"}),
    ],
)
def test_what_cannot_be_told_is_refused_by_name(part: Part, profile: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match="claude-sonnet-4-5 cannot take"):
        UPSTREAM.encode_request(ask(say("user", part)), Profile(**profile))


def test_a_spoken_answer_goes_back_as_its_transcript() -> None:
    spoken = Audio(source=Media(kind="base64", value=""), id="audio_1", transcript="High water.")
    body = body_of(ask(say("user", "?"), say("assistant", spoken), say("user", "Again")))
    assert body["messages"][1] == {"role": "assistant", "content": "High water."}


# ---------------------------------------------------------------------------------------------------------- thoughts
def test_thoughts_go_back_to_their_issuer_only() -> None:
    parts = [
        Reasoning(text="mine", signature="EqQB", issuer="anthropic"),
        Reasoning(redacted="EmwK", issuer="anthropic"),
        Reasoning(text="unsigned", issuer="anthropic"),
        Reasoning(text="theirs", signature="c2ln", issuer="gemini"),
        Reasoning(summary=["theirs"], encrypted="gAAA", issuer="openai"),
        Reasoning(text="nobody's"),
    ]
    body = body_of(ask(say("user", "?"), say("assistant", *parts, "Noon."), say("user", "Sure?")))
    assert body["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "mine", "signature": "EqQB"},
        {"type": "redacted_thinking", "data": "EmwK"},
        {"type": "text", "text": "Noon."},
    ]


def test_a_turn_does_not_end_in_a_thought() -> None:
    thought = Reasoning(text="hm", signature="EqQB", issuer="anthropic")
    body = body_of(ask(say("user", "?"), say("assistant", "Noon.", thought), say("user", "Sure?")))
    assert body["messages"][1]["content"] == "Noon."


def test_what_others_said_and_cited_becomes_text() -> None:
    cited = Text(text="Noon.", citations=[Citation(kind="url", url="https://h.example", start=0, end=4)])
    opaque = Opaque(dialect="openai_responses", raw=Raw(b"{}"), text="It searched.")
    body = body_of(
        ask(say("user", "?"), say("assistant", cited, Refusal(text="No more."), opaque), say("user", "Why?"))
    )
    assert body["messages"][1]["content"] == [
        {"type": "text", "text": "Noon."},
        {"type": "text", "text": "No more."},
        {"type": "text", "text": "It searched."},
    ]


# ------------------------------------------------------------------------------------------------------------- laws
PARTS = st.one_of(
    st.builds(Text, text=st.text(max_size=5)),
    st.builds(ToolCall, id=st.sampled_from("abc"), name=st.just("look"), arguments=st.sampled_from(["", "{}", "x"])),
    st.builds(
        ToolResult,
        call_id=st.sampled_from("abcd"),
        parts=st.lists(st.builds(Text, text=st.text(max_size=3)), max_size=2),
    ),
    st.builds(Reasoning, text=st.text(max_size=3), signature=st.sampled_from([None, "s"]), issuer=st.just("anthropic")),
)
ROLES: list[Role] = ["system", "user", "assistant", "tool", "developer"]
MESSAGES = st.lists(st.builds(Message, role=st.sampled_from(ROLES), parts=st.lists(PARTS, max_size=4)), max_size=8)


@given(MESSAGES)
def test_whatever_is_said_the_rules_are_kept(messages: list[Message]) -> None:
    body = body_of(Request(dialect="openai_chat", model="m", messages=messages))
    turns = body["messages"]
    assert turns[0]["role"] == "user"
    waiting: list[str] = []
    used: set[str] = set()
    for number, turn in enumerate(turns):
        assert turn["role"] == ("user", "assistant")[number % 2]
        blocks = turn["content"] if isinstance(turn["content"], list) else [{"type": "text", "text": turn["content"]}]
        assert blocks
        assert all(block["text"].strip() for block in blocks if block["type"] == "text")
        answered = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        assert answered == waiting
        assert all(block["type"] == "tool_result" for block in blocks[: len(answered)])
        waiting = [block["id"] for block in blocks if block["type"] == "tool_use"]
        assert not used.intersection(waiting)
        assert len(set(waiting)) == len(waiting)
        used.update(waiting)
        assert turn["role"] == "user" or blocks[-1]["type"] != "thinking"
    assert not waiting
