"""Values that are not ours travel byte for byte."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from wayport.wire import patch

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=8), VALUES, max_size=6)
INDENTS = st.sampled_from([None, 0, 2])


@given(value=OBJECTS, indent=INDENTS)
def test_split_and_joined_it_means_the_same(value: dict[str, Any], indent: int | None) -> None:
    body = json.dumps(value, indent=indent).encode()
    assert json.loads(patch.join(patch.split(body))) == value


@given(value=OBJECTS, indent=INDENTS)
def test_every_value_keeps_its_bytes(value: dict[str, Any], indent: int | None) -> None:
    spelled = {name: json.dumps(item, indent=indent).encode() for name, item in value.items()}
    body = b"{" + b",\n".join(json.dumps(name).encode() + b" : " + item for name, item in spelled.items()) + b"}"
    assert {name: bytes(item) for name, item in patch.split(body).items()} == spelled
    again = patch.split(patch.join(patch.split(body)))
    assert {name: bytes(item) for name, item in again.items()} == spelled
    assert list(again) == list(spelled), "the order of fields"


def test_numbers_keep_their_spelling() -> None:
    body = b'{"a":1.0,"b":1e3,"c":12345678901234567890,"d":-0.0}'
    assert patch.join(patch.split(body)) == body


def test_a_repeated_key_keeps_its_last_value() -> None:
    assert patch.join(patch.split(b'{"model":"cheap","model":"dear"}')) == b'{"model":"dear"}'


def test_plain_bytes_may_stand_for_values() -> None:
    fields = patch.split(b'{"a":1,"b":2}')
    assert patch.join({**fields, "b": b"[3]"}) == b'{"a":1,"b":[3]}'
    assert patch.join({"b": Raw(b"[3]")}) == b'{"b":[3]}'


def test_leaves_out_what_it_is_told() -> None:
    assert patch.join(patch.without(patch.split(b'{"a":1,"b":2,"c":3}'), ["a", "c", "x"])) == b'{"b":2}'


def test_encodes_values() -> None:
    assert bytes(patch.encode({"a": [1, "é"]})) == '{"a":[1,"é"]}'.encode()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"a":[1,}', "byte 8"),
        (b'{"a":1} x', "byte 8|byte 9"),
        (b"[1]", "Expected `object`"),
        (b"", "truncated"),
        (b'{"a":"\\ud83d"}', r"surrogate.*byte 6"),
        (b'{"a":"ok \\ud83d\\ude00 \\ude00"}', r"surrogate.*byte 22"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b'{"\xff":1}', "UTF-8"),
    ],
)
def test_what_is_no_object_is_refused_with_a_reason(body: bytes, message: str) -> None:
    with pytest.raises(msgspec.DecodeError, match=message):
        patch.split(body)
