"""Tools of the Responses API become plain functions, and calls of these functions the client's own again."""

import itertools
import json
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from tests.dialects import laws

from wayport.dialects import neutral
from wayport.dialects.dialect import Profile
from wayport.dialects.neutral import (
    BlockClosed,
    BlockDelta,
    BlockOpened,
    Choice,
    ChoiceFinished,
    Delta,
    Ended,
    Message,
    Opaque,
    Part,
    Request,
    Response,
    Started,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from wayport.dialects.openai_responses import DIALECT
from wayport.dialects.tools import ToolMap, flatten_tools
from wayport.dialects.tools_input import FreeText, whole_text, wrap
from wayport.wire import patch

CLIENT = laws.Subject(DIALECT).client


def golden(case: str) -> Request:
    body = (laws.GOLDEN / "openai_responses" / case / "request.json").read_bytes()
    return CLIENT.decode_request(patch.split(body), {})


def functions(request: Request) -> dict[str, Tool]:
    assert all(tool.kind == "function" and tool.namespace is None for tool in request.tools)
    return {tool.name: tool for tool in request.tools}


def parts(request: Request) -> list[Part]:
    return [part for message in request.messages for part in message.parts]


# ----------------------------------------------------------------------------------------------------------- flatten
def test_a_plain_request_comes_back_as_it_is() -> None:
    request = Request(
        dialect="openai_chat",
        model="m",
        messages=[Message(role="user", parts=[Text(text="Hi")])],
        tools=[Tool(name="f")],
    )
    flat, tools = flatten_tools(request)
    assert flat is request
    assert not tools


def test_codex_with_an_unknown_model() -> None:
    request = golden("codex_unknown_model")
    before = laws.plain(request)
    flat, tools = flatten_tools(request)
    assert set(functions(flat)) == {"exec_command", "agents__spawn", "agents__close"}
    assert tools.dropped == ["tools.web_search"]
    call = tools.restore(ToolCall(id="c", name="agents__spawn", arguments='{"task":"x"}'))
    assert call == ToolCall(id="c", name="spawn", namespace="agents", arguments='{"task":"x"}')
    assert laws.plain(request) == before


def test_codex_with_a_known_model() -> None:
    flat, _ = flatten_tools(golden("codex_known_model"))
    offered = functions(flat)
    assert set(offered) == {"exec_command", "apply_patch", "tool_search", "cal__add"}
    patch_tool = offered["apply_patch"]
    assert "Begin Patch" in (patch_tool.description or "")
    assert json.loads(bytes(patch_tool.parameters or b""))["required"] == ["input"]
    said = [part for part in parts(flat) if isinstance(part, ToolCall)]
    assert [(call.name, call.kind, json.loads(call.arguments)) for call in said] == [
        ("apply_patch", "function", {"input": "*** Begin Patch\n*** End Patch"}),
        ("tool_search", "function", {"query": "calendar"}),
        ("cal__add", "function", {}),
    ]
    results = [part for part in parts(flat) if isinstance(part, ToolResult)]
    assert [(part.call_id, part.kind) for part in results] == [
        ("call_p", "function"), ("call_s", "function"), ("call_a", "function"),
    ]  # fmt: skip
    assert "cal__add" in getattr(results[1].parts[0], "text", "")
    assert [message.role for message in flat.messages][2:] == [
        "assistant",
        "tool",
        "assistant",
        "tool",
        "assistant",
        "tool",
    ]
    assert not any(isinstance(part, Opaque) for part in parts(flat))


def test_codex_with_tools_inside_of_the_input() -> None:
    flat, tools = flatten_tools(golden("codex_additional_tools"))
    assert set(functions(flat)) == {"functions__exec", "functions__wait", "collaboration__wait"}
    restored = tools.restore(ToolCall(id="c", name="functions__exec", arguments='{"input":"1+1"}'))
    assert restored == ToolCall(id="c", name="exec", namespace="functions", kind="custom", arguments="1+1")
    [call] = [part for part in parts(flat) if isinstance(part, ToolCall)]
    assert (call.name, json.loads(call.arguments)) == ("functions__exec", {"input": "await tools.ls()"})


def test_items_that_no_other_target_knows_are_left_out() -> None:
    flat, _ = flatten_tools(golden("request_server_items"))
    assert [message.role for message in flat.messages] == ["user"]
    assert set(functions(flat)) == {"crm__find", "list_orders"}


def test_every_kind_of_tool() -> None:
    flat, tools = flatten_tools(golden("request_tools"))
    assert set(functions(flat)) == {
        "get_weather", "bare", "later", "run_sql", "note", "crm__find", "crm__script", "mail__find", "tool_search",
    }  # fmt: skip
    assert set(tools.dropped) == {
        "tools.file_search", "tools.computer", "tools.computer_use_preview", "tools.web_search", "tools.mcp",
        "tools.code_interpreter", "tools.programmatic_tool_calling", "tools.image_generation", "tools.local_shell",
        "tools.shell", "tools.empty", "tools.web_search_preview", "tools.apply_patch", "tools.teleport",
    }  # fmt: skip


def test_free_text_tools_stay_where_the_target_has_them() -> None:
    flat, tools = flatten_tools(golden("codex_known_model"), custom=False)
    assert {tool.name: tool.kind for tool in flat.tools}["apply_patch"] == "custom"
    assert tools.restore(ToolCall(id="c", name="apply_patch", kind="custom", arguments="x")).kind == "custom"  # type: ignore[union-attr]  # a call


def test_names_are_made_to_fit_and_never_meet() -> None:
    long = "n" * 70
    tools = [
        Tool(name="a.b"),
        Tool(name="a/b"),
        Tool(name=long, namespace="space"),
        Tool(name="f", namespace="x__y"),
        Tool(name="y__f", namespace="x"),
        Tool(name="plain"),
    ]
    request = Request(dialect="openai_responses", model="m", messages=[], tools=tools)
    flat, back = flatten_tools(request)
    names = [tool.name for tool in flat.tools]
    assert len(set(names)) == len(names)
    assert all(len(name) <= 64 for name in names)
    for sent, tool in zip(names, tools, strict=True):
        call = back.restore(ToolCall(id="c", name=sent))
        assert isinstance(call, ToolCall)
        assert (call.name, call.namespace) == (tool.name, tool.namespace)
    assert [tool.name for tool in flatten_tools(request)[0].tools] == names


def test_a_model_may_leave_the_namespace_out() -> None:
    _, tools = flatten_tools(golden("codex_additional_tools"))
    call = tools.restore(ToolCall(id="c", name="exec", arguments='{"input":"1"}'))
    assert (call.name, call.namespace) == ("exec", "functions")  # type: ignore[union-attr]  # a call
    unclear = ToolCall(id="c", name="wait")
    assert tools.restore(unclear) is unclear


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        (ToolChoice(mode="named", names=["apply_patch"]), ["apply_patch"]),
        (ToolChoice(mode="required", names=["exec_command", "web_search"]), ["exec_command"]),
        (ToolChoice(mode="named", names=["add"]), ["cal__add"]),
    ],
)
def test_a_choice_names_what_is_offered(choice: ToolChoice, wanted: list[str]) -> None:
    request = msgspec.structs.replace(golden("codex_known_model"), tool_choice=choice)
    flat, _ = flatten_tools(request)
    assert flat.tool_choice is not None
    assert (flat.tool_choice.mode, flat.tool_choice.names) == (choice.mode, wanted)


def test_a_choice_of_a_dropped_tool_is_dropped_and_reported() -> None:
    choice = ToolChoice(mode="named", names=["web_search"])
    flat, tools = flatten_tools(msgspec.structs.replace(golden("codex_known_model"), tool_choice=choice))
    assert flat.tool_choice is None
    assert "tool_choice" in tools.dropped


@pytest.mark.parametrize("case", ["codex_unknown_model", "codex_known_model", "codex_additional_tools"])
def test_a_responses_upstream_that_only_knows_functions_takes_them_too(case: str) -> None:
    flat, _ = flatten_tools(golden(case))
    body = json.loads(laws.Subject(DIALECT).upstream.encode_request(flat, Profile()).body)
    assert {tool["type"] for tool in body["tools"]} == {"function"}
    assert {item["type"] for item in body["input"]} <= {"message", "reasoning", "function_call", "function_call_output"}
    assert b"@" not in json.dumps(body).encode()


# ----------------------------------------------------------------------------------------------------------- restore
def deltas(name: str, pieces: Iterable[str], final: str | None = None) -> list[Delta]:
    call = ToolCall(id="c1", name=name)
    closed = msgspec.structs.replace(call, arguments=final) if final is not None else None
    return [
        Started(id="r", model="m"),
        BlockOpened(block=0, part=call),
        *(BlockDelta(block=0, text=piece) for piece in pieces),
        BlockClosed(block=0, part=closed),
        ChoiceFinished(finish="tool_calls"),
        Ended(),
    ]


def restored(tools: ToolMap, given: Iterable[Delta]) -> list[Delta]:
    stream = tools.stream()
    return [told for delta in given for told in stream.feed(delta)]


def test_free_text_is_told_as_it_comes() -> None:
    _, tools = flatten_tools(golden("codex_known_model"))
    pieces = ['{"in', 'put": "*** Beg', "in\\", 'n\\"x', "\\u00", "e9\\ud83d\\ude", '00 end"', "}"]
    told = restored(tools, deltas("apply_patch", pieces))
    opened = told[1]
    assert isinstance(opened, BlockOpened)
    assert opened.part == ToolCall(id="c1", name="apply_patch", kind="custom")
    assert [delta.text for delta in told if isinstance(delta, BlockDelta)] == ["*** Beg", "in", '\n"x', "é", "😀 end"]
    [call] = neutral.fold("openai_chat", told).choices[0].parts
    assert call == ToolCall(id="c1", name="apply_patch", kind="custom", arguments='*** Begin\n"xé😀 end')


def test_the_authoritative_whole_is_restored_as_well() -> None:
    _, tools = flatten_tools(golden("codex_known_model"))
    told = restored(tools, deltas("apply_patch", ['{"input":"x"}'], final='{"input":"x"}'))
    [closed] = [delta for delta in told if isinstance(delta, BlockClosed)]
    assert closed.part == ToolCall(id="c1", name="apply_patch", kind="custom", arguments="x")


def test_calls_of_other_tools_pass_untouched() -> None:
    _, tools = flatten_tools(golden("codex_known_model"))
    given = deltas("exec_command", ['{"cmd"', ':"ls"}'])
    assert restored(tools, given) == given


def test_two_free_texts_at_once() -> None:
    _, tools = flatten_tools(golden("codex_known_model"))
    given: list[Delta] = [
        Started(id="r", model="m"),
        BlockOpened(block=0, part=ToolCall(id="a", name="apply_patch")),
        BlockOpened(block=1, part=ToolCall(id="b", name="apply_patch", arguments='{"input":"B')),
        BlockDelta(block=0, text='{"input":"A'),
        BlockDelta(block=1, text='b"}'),
        BlockDelta(block=0, text='a"}'),
        BlockClosed(block=0),
        BlockClosed(block=1),
    ]
    told = restored(tools, given)
    assert [part.arguments for part in neutral.fold("openai_chat", told).choices[0].parts] == ["Aa", "Bb"]  # type: ignore[union-attr]  # calls


def test_a_search_for_tools_is_the_clients_item_again() -> None:
    _, tools = flatten_tools(golden("codex_known_model"))
    told = restored(tools, deltas("tool_search", ['{"query"', ':"mail"}']))
    opened, closed = told[1], told[2]
    assert isinstance(opened, BlockOpened)
    assert isinstance(closed, BlockClosed)
    assert isinstance(opened.part, Opaque)
    assert isinstance(closed.part, Opaque)
    assert json.loads(bytes(opened.part.raw))["status"] == "in_progress"
    assert json.loads(bytes(closed.part.raw)) == {
        "type": "tool_search_call", "id": "tsc_c1", "call_id": "c1", "execution": "client",
        "arguments": {"query": "mail"}, "status": "completed",
    }  # fmt: skip
    encoder = CLIENT.stream_encoder(request=None, response_id="r", created=1)
    written = b"".join(encoder.feed(delta) for delta in told)
    last = json.loads(laws.sse_frames([written])[-1].data)
    assert last["response"]["output"][0]["arguments"] == {"query": "mail"}


def test_a_whole_answer_is_restored() -> None:
    _, tools = flatten_tools(golden("codex_additional_tools"))
    answer = Response(
        dialect="gemini_content",
        id="r",
        model="m",
        choices=[Choice(parts=[Text(text="So."), ToolCall(id="c", name="functions__exec", arguments=wrap("x\n"))])],
    )
    output = json.loads(CLIENT.encode_response(tools.restore_response(answer)))["output"]
    assert (output[1]["type"], output[1]["namespace"], output[1]["input"]) == ("custom_tool_call", "functions", "x\n")


def test_names_that_a_target_changed_once_more_lead_back_too() -> None:
    _, tools = flatten_tools(golden("codex_unknown_model"))
    behind = tools.renamed({"agents_spawn_1": ("agents__spawn", None), "other_1": ("ot her", "ns")})
    spawn = behind.restore(ToolCall(id="c", name="agents_spawn_1"))
    other = behind.restore(ToolCall(id="c", name="other_1"))
    assert (spawn.name, spawn.namespace) == ("spawn", "agents")  # type: ignore[union-attr]  # a call
    assert (other.name, other.namespace) == ("ot her", "ns")  # type: ignore[union-attr]  # a call
    assert ToolMap({}).renamed({"x": ("y", None)}).restore(ToolCall(id="c", name="x")).name == "y"  # type: ignore[union-attr]  # a call


# --------------------------------------------------------------------------------------------------------- free text
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(
    text=TEXTS, ascii_only=st.booleans(), spaces=st.sampled_from(["", " ", "\n  "]), cuts=st.lists(st.integers(0, 400))
)
def test_any_text_in_any_pieces(text: str, ascii_only: bool, spaces: str, cuts: list[int]) -> None:
    inner = json.dumps(text, ensure_ascii=ascii_only)
    arguments = f'{{{spaces}"input"{spaces}:{spaces}{inner}{spaces}}}'
    edges = sorted({0, len(arguments), *(cut % (len(arguments) + 1) for cut in cuts)})
    reader = FreeText()
    told = [reader.feed(arguments[start:end]) for start, end in itertools.pairwise(edges)]
    assert "".join(told) + reader.end() == text
    assert whole_text(arguments) == text
    assert whole_text(wrap(text)) == text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ('{"patch": "only one"}', "only one"),
        ('{"why": "x", "input": "later"}', "later"),
        ('"a bare string"', "a bare string"),
        ("*** Begin Patch", "*** Begin Patch"),
        ("", ""),
        ("{}", "{}"),
        ('{"input": {"nested": 1}}', '{"input": {"nested": 1}}'),
        ('{"a": 1, "b": 2}', '{"a": 1, "b": 2}'),
    ],
)
def test_arguments_of_another_shape_are_told_whole(arguments: str, text: str) -> None:
    reader = FreeText()
    assert "".join(map(reader.feed, arguments)) + reader.end() == text
    assert whole_text(arguments) == text


def test_a_text_that_is_cut_off_is_told_as_far_as_it_came() -> None:
    assert whole_text('{"input": "half a sen') == "half a sen"
    reader = FreeText()
    assert reader.feed('{"input": "half\\u00') + reader.end() == "half"


@pytest.mark.parametrize("escape", ["\\ud83dx", "\\ude00", "\\uzzzz", "\\ud83d\\u0041", "\\x"])
def test_broken_escapes_break_nothing(escape: str) -> None:
    reader = FreeText()
    told = "".join(map(reader.feed, f'{{"input": "a{escape}b"}}')) + reader.end()
    assert told.startswith("a")
    assert told.endswith("b")


def test_schemas_of_flattened_tools_are_json() -> None:
    flat, _ = flatten_tools(golden("request_tools"))
    for tool in flat.tools:
        assert tool.parameters is None or isinstance(json.loads(bytes(tool.parameters)), dict)
    assert isinstance(flat.tools[0].parameters, Raw)


def test_the_same_tools_are_always_written_alike() -> None:
    def names(case: str) -> list[tuple[str, Any]]:
        return [(tool.name, bytes(tool.parameters or b"")) for tool in flatten_tools(golden(case))[0].tools]

    for case in ("codex_unknown_model", "codex_known_model", "codex_additional_tools", "request_tools"):
        assert names(case) == names(case)
