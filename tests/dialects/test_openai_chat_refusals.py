"""A chat request that cannot be understood is refused with the field's name and what belongs there."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayport.core.errors import BadRequest
from wayport.dialects.dialect import Profile
from wayport.dialects.openai_chat import DIALECT
from wayport.wire import patch

assert DIALECT.client is not None
assert DIALECT.upstream is not None
CLIENT = DIALECT.client
UPSTREAM = DIALECT.upstream
HI = {"role": "user", "content": "Hi"}


def body(*messages: Any, **fields: Any) -> bytes:
    return json.dumps({"model": "m", "messages": list(messages) or [HI], **fields}).encode()


def call(**fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", **fields}]}


@pytest.mark.parametrize(
    ("given_body", "param", "words"),
    [
        (b'{"model":"m"}', "messages", "is missing"),
        (b'{"messages":[{"role":"user","content":"Hi"}]}', "model", "is missing"),
        (b'{"model":7,"messages":[{"role":"user","content":"Hi"}]}', "model", "must be a string, but is a number"),
        (b'{"model":"m","messages":"Hi"}', "messages", "must be a list, but is a string"),
        (b'{"model":"m","messages":null}', "messages", "must be a list, but is null"),
        (b'{"model":"m","messages":[]}', "messages", "is empty"),
        (body("Hi"), "messages[0]", "must be an object, but is a string"),
        (body({"content": "Hi"}), "messages[0].role", "is missing"),
        (body(HI, {"role": "wizard", "content": "x"}), "messages[1].role", "`wizard`, which is not one of"),
        (body({"role": "user", "content": 7}), "messages[0].content", "a string or a list of content parts"),
        (body({"role": "user", "content": ["Hi"]}), "messages[0].content[0]", "must be an object"),
        (body({"role": "user", "content": [{"text": "x"}]}), "messages[0].content[0].type", "is missing"),
        (body(HI, {"role": "user", "content": [{"type": 3}]}), "messages[1].content[0].type", "must be a string"),
        (body({"role": "user", "content": [{"type": "text"}]}), "messages[0].content[0].text", "is missing"),
        (
            body({"role": "user", "content": [{"type": "image_url", "image_url": {}}]}),
            "messages[0].content[0].image_url.url",
            "is missing",
        ),
        (
            body({"role": "user", "content": [{"type": "file", "file": {}}]}),
            "messages[0].content[0].file",
            "`file_data` or `file_id`",
        ),
        (
            body({"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "x"}}]}),
            "messages[0].content[0].input_audio.format",
            "is missing",
        ),
        (body(HI, {"role": "tool", "content": "x"}), "messages[1].tool_call_id", "is missing"),
        (body(HI, {"role": "function", "content": "x"}), "messages[1].name", "is missing"),
        (body(HI, call()), "messages[1].tool_calls[0].function", "is missing"),
        (body(HI, call(function={})), "messages[1].tool_calls[0].function.name", "is missing"),
        (body(HI, call(id=None, function={"name": "x"})), "messages[1].tool_calls[0].id", "needs an id"),
        (body(tools={}), "tools", "must be a list"),
        (body(tools=[{"type": "function"}]), "tools[0].function", "is missing"),
        (body(tools=[{"type": "function", "function": {"name": "x", "parameters": []}}]), "tools[0].function.parameters", "must be an object"),
        (body(tool_choice="maybe"), "tool_choice", "must be `auto`, `none`, `required`"),
        (body(tool_choice={"type": "function"}), "tool_choice.function", "is missing"),
        (body(function_call="maybe"), "function_call", "must be `auto`, `none`"),
        (body(temperature="hot"), "temperature", "must be a number, but is a string"),
        (body(n=1.5), "n", "must be a whole number"),
        (body(max_tokens=True), "max_tokens", "must be a whole number, but is true"),
        (body(stop=7), "stop", "must be a list of strings"),
        (body(stream="yes"), "stream", "must be true or false"),
        (body(stream_options=[]), "stream_options", "must be an object"),
        (body(response_format={"type": "json_schema"}), "response_format.json_schema", "is missing"),
        (body(response_format="json"), "response_format", "must be an object"),
        (body(reasoning_effort=3), "reasoning_effort", "must be a string"),
        (body(thinking={"type": "enabled", "budget_tokens": "much"}), "thinking.budget_tokens", "a whole number"),
        (body(logit_bias=[]), "logit_bias", "must be an object"),
        (b'{"model":"m","messages":[{"role":"user","content":"\xff"}]}', "messages[0].content", "UTF-8"),
    ],
)  # fmt: skip
def test_the_refusal_names_the_field(given_body: bytes, param: str, words: str) -> None:
    with pytest.raises(BadRequest) as caught:
        CLIENT.decode_request(patch.split(given_body), {})
    assert caught.value.param == param
    assert words in caught.value.message
    assert f"`{param}" in caught.value.message


def test_whole_numbers_may_be_written_as_floats() -> None:
    request = CLIENT.decode_request(patch.split(body(max_tokens=100.0)), {})
    assert request.sampling.max_output_tokens == 100


def test_deep_nesting_is_refused_and_does_not_break_us() -> None:
    deep = b'{"model":"m","messages":[{"role":"user","content":"Hi"}],"tools":' + b"[" * 900 + b"]" * 900 + b"}"
    with pytest.raises(BadRequest):
        CLIENT.decode_request(patch.split(deep), {})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["role", "content", "type", "text", "tool_calls", "function", "name", "arguments", "id", "image_url", "url", "file",
         "reasoning_content", "reasoning_details", "thinking_blocks", "cache_control", "input_audio", "thinking"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(
    message=st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant", "tool", "function"])},
        optional={
            "content": JSON,
            "tool_calls": JSON,
            "reasoning_details": JSON,
            "reasoning": JSON,
            "tool_call_id": st.just("c"),
            "name": JSON,
            "audio": JSON,
            "function_call": JSON,
        },
    ),
    field=st.sampled_from(["tools", "tool_choice", "response_format", "stop", "reasoning", "audio", "functions"]),
    value=JSON,
)
def test_nothing_but_a_refusal_comes_of_nonsense(message: dict[str, Any], field: str, value: Any) -> None:
    try:
        request = CLIENT.decode_request(patch.split(body(HI, message, **{field: value})), {})
        again = UPSTREAM.encode_request(request, Profile())
    except BadRequest as refusal:
        if refusal.param is None:
            raise
        return
    json.loads(again.body)


def test_the_error_a_client_gets_has_openais_shape() -> None:
    error = BadRequest("`n` must be a whole number.", param="n", code="invalid_type")
    assert json.loads(CLIENT.encode_error(error, call_id="call-1")) == {
        "error": {
            "message": "`n` must be a whole number.",
            "type": "invalid_request_error",
            "param": "n",
            "code": "invalid_type",
        }
    }
