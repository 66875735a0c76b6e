"""Chat on both sides: what we own is changed, every other value passes byte for byte."""

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec import DecodeError
from tests.dialects import laws

from wayport.core.errors import BadRequest
from wayport.core.usage import Usage
from wayport.dialects.dialect import Glance, Profile, Stated
from wayport.dialects.openai_chat import DIALECT
from wayport.wire import patch, sse
from wayport.wire.openai_chat import CompletionDetails, PromptDetails

assert DIALECT.passthrough is not None
PASSTHROUGH = DIALECT.passthrough
BODY = b'{"model":"gpt", "temperature":1.0, "messages":[ {"role":"user","content":"Hi \\u00e9"} ],"seed":12345678901234567890}'


def patched(
    body: bytes | dict[str, Any], *, want_usage: bool = False, **flags: Any
) -> tuple[dict[str, Any], list[str]]:
    raw = body if isinstance(body, bytes) else json.dumps({"model": "m", "messages": [HI], **body}).encode()
    written, dropped = PASSTHROUGH.patch_request(
        patch.split(raw), model="upstream", profile=Profile(**flags), want_usage=want_usage
    )
    return json.loads(written), list(dropped)


HI = {"role": "user", "content": "Hi"}


# --------------------------------------------------------------------------------------------------------- requests
def test_only_the_model_changes() -> None:
    fields = patch.split(BODY)
    written, dropped = PASSTHROUGH.patch_request(fields, model="gpt-4o", profile=Profile(), want_usage=False)
    assert written == (
        b'{"model":"gpt-4o","temperature":1.0,"messages":[ {"role":"user","content":"Hi \\u00e9"} ],'
        b'"seed":12345678901234567890}'
    )
    assert not dropped
    assert bytes(fields["model"]) == b'"gpt"', "the fields are shared between attempts"


def test_what_is_ours_never_goes_upstream() -> None:
    ours = {
        "api_key": "sk", "api_base": "http://x", "tags": ["a"], "litellm_session_id": "s", "guardrails": ["g"],
        "fallbacks": ["m2"], "num_retries": 1, "timeout": 5, "mock_response": "x", "mock_testing_fallbacks": True,
        "cache": {"no-cache": True}, "no-log": True, "drop_params": True, "priority": 1, "vertex_credentials": "{}",
        "metadata": {"tags": ["a"]},
    }  # fmt: skip
    body, dropped = patched({**ours, "repetition_penalty": 1.2})
    assert set(body) == {"model", "messages", "repetition_penalty"}
    assert not dropped
    assert "api_key" in PASSTHROUGH.removed


@pytest.mark.parametrize("body", [b'{"model":"m"}', b'{"model":"m","messages":[]}', b'{"model":"m","messages":"Hi"}'])
def test_a_request_without_messages_does_not_go_upstream(body: bytes) -> None:
    with pytest.raises(BadRequest, match="messages"):
        patched(body)


def test_openais_own_metadata_goes_upstream() -> None:
    assert patched({"metadata": {"run": "7"}})[0]["metadata"] == {"run": "7"}


def test_extra_body_is_merged_but_changes_nothing_that_was_authorised() -> None:
    body, dropped = patched({"extra_body": {"top_k": 5, "model": "dear", "n": 100, "api_base": "http://x"}})
    assert body == {"model": "upstream", "messages": [HI], "top_k": 5}
    assert dropped == ["extra_body.model", "extra_body.n"]


def test_usage_is_asked_for_where_it_can_be() -> None:
    assert patched({"stream": True}, want_usage=True)[0]["stream_options"] == {"include_usage": True}
    with_others = {"stream": True, "stream_options": {"include_usage": False, "include_obfuscation": False}}
    assert patched(with_others, want_usage=True)[0]["stream_options"] == {
        "include_usage": True,
        "include_obfuscation": False,
    }
    assert "stream_options" not in patched({"stream": True}, want_usage=True, stream_usage=False)[0]
    assert "stream_options" not in patched({"stream": False}, want_usage=True)[0]
    assert "stream_options" not in patched({"stream": True}, want_usage=False)[0]


@pytest.mark.parametrize(
    ("fields", "flags", "expected", "dropped"),
    [
        ({"max_tokens": 5}, {"max_tokens_field": "max_completion_tokens"}, {"max_completion_tokens": 5}, []),
        ({"max_completion_tokens": 5}, {}, {"max_tokens": 5}, []),
        ({"max_completion_tokens": 5, "max_tokens": 9}, {}, {"max_tokens": 5}, []),
        ({"max_tokens": 5}, {"max_output_tokens": 3}, {"max_tokens": 3}, ["max_tokens"]),
        ({}, {"default_max_tokens": 7}, {"max_tokens": 7}, []),
        ({"temperature": 1.5}, {"temperature_max": 1.0}, {"temperature": 1.0}, ["temperature"]),
        ({"n": 2, "user": None}, {"unsupported": frozenset({"n", "user"})}, {}, ["n"]),
        ({"seed": 1}, {"renames": {"seed": "random_seed"}}, {"random_seed": 1}, []),
        ({}, {"constants": {"safe": True}}, {"safe": True}, []),
        ({"top_p": 1, "temperature": 1}, {"exclusive": ("temperature", "top_p")}, {"temperature": 1}, ["top_p"]),
        ({"tool_choice": "required"}, {"tool_choice_required": False}, {"tool_choice": "auto"}, ["tool_choice"]),
    ],
)
def test_top_level_fields_as_the_profile_says(
    fields: dict[str, Any], flags: dict[str, Any], expected: dict[str, Any], dropped: list[str]
) -> None:
    assert patched(fields, **flags) == ({"model": "upstream", "messages": [HI], **expected}, dropped)


@laws.each("openai_chat", "request.json")
def test_passthrough_sends_what_translation_sends(case: Path) -> None:
    """Two ways through, one meaning; where a target wants the content itself otherwise, passthrough gives way."""
    raw = (case / "request.json").read_bytes()
    profile = laws.profile_of(case)
    written, _ = PASSTHROUGH.patch_request(
        patch.split(raw), model=json.loads(raw)["model"], profile=profile, want_usage=True
    )
    expected = laws.load(case / "encoded.json", default=json.loads(raw))
    # Left to the target to judge: repairs and shapes that only a decoded request shows.
    judged = {
        "custom_tools_as_functions", "files_dropped", "images_dropped", "json_schema_as_tool", "result_missing",
        "result_orphaned", "result_out_of_order", "tool_flat",
    }  # fmt: skip
    if case.name not in judged:
        laws.assert_same(expected, json.loads(written), case.name)


# ---------------------------------------------------------------------------------------------------------- answers
WHOLE = (
    b'{\n  "id": "c1",\n  "object": "chat.completion",\n  "model": "gpt-4o-2024",\n  "choices": [{"index":0,"message":'
    b'{"role":"assistant","content":"\\"model\\": \\"x\\""},"finish_reason":"stop"}],\n  "usage": {"prompt_tokens":10,'
    b'"completion_tokens":5,"total_tokens":15,"prompt_tokens_details":{"cached_tokens":4}}\n}\n'
)


def test_an_answer_keeps_its_bytes_but_for_the_name() -> None:
    written, stated = PASSTHROUGH.patch_response(WHOLE, model='gp"t')
    assert written == WHOLE.replace(b'"gpt-4o-2024"', b'"gp\\"t"')
    usage = Usage(input_tokens=10, output_tokens=5, cache_read_tokens=4)
    assert stated == Stated(usage, "c1", None, "stop")
    assert PASSTHROUGH.patch_response(WHOLE, model=None)[0] is WHOLE


def test_the_name_is_found_wherever_it_stands() -> None:
    body = b'{"choices":[{"x":{"model":"inner"}}],"y":{"model":"inner"},"model":"outer"}'
    written, stated = PASSTHROUGH.patch_response(body, model="new")
    assert json.loads(written) == {**json.loads(body), "model": "new"}
    assert stated == Stated()
    assert (
        PASSTHROUGH.patch_response(b'{"choices":[{"model":"inner"}]}', model="new")[0]
        == b'{"choices":[{"model":"inner"}]}'
    )
    assert (
        PASSTHROUGH.patch_response(b'{"model":"a\\"b","choices":[]}', model="new")[0] == b'{"model":"new","choices":[]}'
    )


def test_usage_of_odd_types_is_read_as_far_as_it_goes() -> None:
    body = b'{"model":"m","usage":{"prompt_tokens":"many","completion_tokens":5.0,"total_tokens":null}}'
    assert PASSTHROUGH.patch_response(body, model=None)[1].usage == Usage(output_tokens=5)
    assert PASSTHROUGH.patch_response(b'{"model":"m","usage":"none"}', model=None)[1].usage is None


def test_what_is_no_json_is_said_to_be_none() -> None:
    with pytest.raises(DecodeError):
        PASSTHROUGH.patch_response(b"<html>", model=None)


# ----------------------------------------------------------------------------------------------------------- events
@laws.each("openai_chat", "stream.sse")
@pytest.mark.parametrize("model", [None, "mine"])
def test_events_change_in_nothing_but_the_name(case: Path, model: str | None) -> None:
    for raw in sse.Splitter().feed(laws.stream_bytes(case)):
        written = PASSTHROUGH.patch_event(raw, model=model, keep_usage=True)
        before, after = sse.parse(raw), sse.parse(written)
        if not before.data.startswith(b"{"):
            assert written == raw
            continue
        expected = json.loads(before.data)
        if model is not None and "model" in expected:
            expected["model"] = model
        assert json.loads(after.data) == expected
        assert after.name == before.name


def event(**fields: Any) -> bytes:
    return sse.write(json.dumps(fields).encode())


def test_the_usage_event_that_nobody_asked_for_is_taken_out() -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    ours = event(id="c", model="m", choices=[], usage=usage)
    assert PASSTHROUGH.glance(ours) is Glance.USAGE
    assert PASSTHROUGH.patch_event(ours, model="x", keep_usage=False) == b""
    assert PASSTHROUGH.patch_event(ours, model=None, keep_usage=True) == ours
    theirs = event(id="c", model="m", choices=[{"delta": {"content": "A"}}], usage=usage)
    assert PASSTHROUGH.glance(theirs) is Glance.CONTENT
    assert PASSTHROUGH.patch_event(theirs, model=None, keep_usage=False) == theirs
    judged = event(id="", model="", choices=[], prompt_filter_results=[], usage=None)
    assert PASSTHROUGH.patch_event(judged, model=None, keep_usage=False) == judged


@pytest.mark.parametrize(
    ("raw", "seen"),
    [
        (b"data: [DONE]\n\n", Glance.TERMINAL),
        (b"data:[DONE]\n\n", Glance.TERMINAL),
        (b"data: [DONE]\r\n\r\n", Glance.TERMINAL),
        (b": OPENROUTER PROCESSING\n\n", Glance.OPENING),
        (b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n', Glance.OPENING),
        (b'data: {"choices": [{"delta": {"content": "A"}}]}\n\n', Glance.CONTENT),
        (b'data: {"choices":[{"delta":{},"finish_reason":"error"}]}\n\n', Glance.OPENING),
        (b'data: {"choices":[{"delta":{"content":"\\"error\\":{\\"usage\\":{"}}]}\n\n', Glance.CONTENT),
        (b'data: {"error":null,"choices":[{"delta":{"content":"A"}}]}\n\n', Glance.CONTENT),
        (b'data: {"error":{"message":"x"}}\n\n', Glance.ERROR),
        (b'data: {"error":"x","choices":[{"delta":{"content":"A"}}]}\n\n', Glance.ERROR),
        (b'event: error\ndata: {"message":"x"}\n\n', Glance.ERROR),
        (b'data: {"object":"error","message":"x"}\n\n', Glance.ERROR),
        (b'data: {"choices":[{"delta":{"reasoning":"A"}}]}\n\n', Glance.CONTENT),
        (b'data: {"choices":[{"delta":{"audio":{"id":"a"}}}]}\n\n', Glance.CONTENT),
        (b'data: {"choices":[{"delta":{"tool_calls":[]}}],"usage":{"prompt_tokens":1}}\n\n', Glance.USAGE),
        (b'data: {"choices":[],"usage": {"prompt_tokens": 1}}\n\n', Glance.USAGE),
    ],
)
def test_a_glance(raw: bytes, seen: Glance) -> None:
    assert PASSTHROUGH.glance(raw) is seen


def test_usage_is_read_over_what_was_known() -> None:
    before = Usage(input_tokens=1)
    assert PASSTHROUGH.usage_of(sse.DONE, before) is before
    stated = event(choices=[], usage={"prompt_tokens": 3, "completion_tokens": 4})
    assert PASSTHROUGH.usage_of(stated, before) == Usage(input_tokens=3, output_tokens=4)


def test_an_error_event_as_facts() -> None:
    fault = PASSTHROUGH.fault_of(event(error={"message": "Slow down.", "code": "rate_limit_exceeded"}))
    assert (fault.kind, fault.message) == ("rate_limit", "Slow down.")
    assert PASSTHROUGH.fault_of(b"event: error\ndata: boom\n\n").message == "boom"


@pytest.mark.parametrize(
    ("where", "name"),
    [("prompt_tokens_details", name) for name in PromptDetails.__struct_fields__]
    + [("completion_tokens_details", name) for name in CompletionDetails.__struct_fields__],
)
def test_no_detail_of_the_usage_is_passed_over(where: str, name: str) -> None:
    """Each is billed apart: also where it is the only one that is stated."""
    counts = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}
    plain, detailed = (
        PASSTHROUGH.patch_response(json.dumps({"usage": {**counts, where: {name: count}}}).encode(), model=None)[
            1
        ].usage
        for count in (0, 4)
    )
    assert plain == Usage(input_tokens=9, output_tokens=9)
    assert detailed != plain


def test_markers_on_tools_stay_where_they_are_understood_and_go_elsewhere() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}, "cache_control": {"type": "ephemeral"}}
    assert "cache_control" in patched({"tools": [tool]}, cache_markers=True)[0]["tools"][0]
    assert "cache_control" not in patched({"tools": [tool]})[0]["tools"][0]
