"""Schemas lose nothing on the way to JSON schema, and fit Google's subset on the way back."""

import json
from typing import Any

import pytest
from google.genai import types
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from wayport.dialects.gemini_content_schema import to_json_schema, to_openapi


def up(schema: object) -> Any:
    return json.loads(bytes(to_json_schema(Raw(json.dumps(schema).encode()))))


def down(schema: object) -> Any:
    reduced = to_openapi(Raw(json.dumps(schema).encode()))
    return None if reduced is None else json.loads(bytes(reduced))


def inner(schema: object) -> Any:
    return down({"type": "object", "properties": {"x": schema}})["properties"]["x"]


@pytest.mark.parametrize(
    ("google", "plain"),
    [
        ({"type": "STRING"}, {"type": "string"}),
        ({"type": "TYPE_UNSPECIFIED", "description": "d"}, {"description": "d"}),
        ({"type": "INTEGER", "nullable": True}, {"type": ["integer", "null"]}),
        (
            {"type": "STRING", "format": "enum", "enum": ["a"], "nullable": True},
            {"type": ["string", "null"], "enum": ["a", None]},
        ),
        ({"type": "STRING", "format": "date-time"}, {"type": "string", "format": "date-time"}),
        ({"anyOf": [{"type": "STRING"}], "nullable": True}, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        (
            {"type": "ARRAY", "items": {"type": "NUMBER"}, "minItems": "2"},
            {"type": "array", "items": {"type": "number"}, "minItems": 2},
        ),
        (
            {
                "type": "OBJECT",
                "properties": {"type": {"type": "STRING"}},
                "propertyOrdering": ["type"],
                "example": {"type": "x"},
            },
            {"type": "object", "properties": {"type": {"type": "string"}}, "examples": [{"type": "x"}]},
        ),
        (
            {"ref": "#/$defs/a", "defs": {"a": {"type": "BOOLEAN"}}},
            {"$ref": "#/$defs/a", "$defs": {"a": {"type": "boolean"}}},
        ),
        (
            {"type": ["string", "null"], "additionalProperties": False},
            {"type": ["string", "null"], "additionalProperties": False},
        ),
    ],
)
def test_google_s_subset_as_json_schema(google: object, plain: object) -> None:
    assert up(google) == plain


@pytest.mark.parametrize(
    ("plain", "google"),
    [
        ({"type": "string", "format": "uri", "$comment": "c", "examples": ["a"]}, {"type": "STRING"}),
        ({"type": "string", "format": "date-time"}, {"type": "STRING", "format": "date-time"}),
        ({"type": "integer", "format": "int64"}, {"type": "INTEGER", "format": "int64"}),
        ({"type": ["string", "null"]}, {"type": "STRING", "nullable": True}),
        ({"type": ["string", "integer"]}, {"anyOf": [{"type": "STRING"}, {"type": "INTEGER"}]}),
        ({"type": ["array", "string"], "items": {"type": "string"}}, {"anyOf": [{"type": "ARRAY", "items": {"type": "STRING"}}, {"type": "STRING"}]}),
        ({"oneOf": [{"type": "string"}, {"type": "number"}]}, {"anyOf": [{"type": "STRING"}, {"type": "NUMBER"}]}),
        ({"anyOf": [{"type": "string"}, {"type": "null"}], "description": "d"}, {"type": "STRING", "nullable": True, "description": "d"}),
        ({"const": "a"}, {"type": "STRING", "enum": ["a"]}),
        ({"const": 3}, {"type": "INTEGER", "description": "One of: 3"}),
        ({"enum": ["a", None]}, {"type": "STRING", "enum": ["a"], "nullable": True}),
        ({"enum": [1, "a"], "description": "d"}, {"type": "INTEGER", "description": 'd One of: 1, "a"'}),
        ({"enum": [None]}, {"type": "STRING", "nullable": True}),
        ({"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 10}, {"type": "INTEGER", "minimum": 1, "maximum": 9}),
        ({"type": "number", "exclusiveMinimum": 0, "multipleOf": 2}, {"type": "NUMBER", "minimum": 0}),
        ({"type": "number", "minimum": 1, "exclusiveMinimum": True}, {"type": "NUMBER", "minimum": 1}),
        ({"type": "array"}, {"type": "ARRAY", "items": {"type": "STRING"}}),
        ({"type": "array", "items": [{"type": "string"}, {"type": "number"}], "maxItems": 2}, {"type": "ARRAY", "items": {"anyOf": [{"type": "STRING"}, {"type": "NUMBER"}]}, "maxItems": 2}),
        ({"prefixItems": [{"type": "string"}]}, {"type": "ARRAY", "items": {"type": "STRING"}}),
        ({"properties": {"a": True}, "required": ["a", "b", "a"]}, {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}, "required": ["a"]}),
        ({"type": "object", "propertyNames": {"pattern": "^a"}, "additionalProperties": {"type": "string"}, "patternProperties": {}}, {"type": "OBJECT"}),
        ({"allOf": [{"properties": {"a": {"type": "string"}}, "required": ["a"]}, {"properties": {"b": {"type": "string"}}, "required": ["b"]}]}, {"type": "OBJECT", "properties": {"b": {"type": "STRING"}, "a": {"type": "STRING"}}, "required": ["a", "b"]}),
        ({"if": {}, "then": {}, "not": {}}, {"type": "STRING"}),
        ({}, {"type": "STRING"}),
        (True, {"type": "STRING"}),
    ],
)  # fmt: skip
def test_json_schema_in_google_s_subset(plain: object, google: object) -> None:
    assert inner(plain) == google
    types.Schema.model_validate(inner(plain))


def test_definitions_are_written_in_place_and_a_circle_ends() -> None:
    schema = {
        "type": "object",
        "properties": {
            "tree": {"$ref": "#/$defs/node", "description": "the root"},
            "far": {"$ref": "https://e.example/s"},
            "odd": {"$ref": "#/definitions/a~1b"},
        },
        "$defs": {
            "node": {
                "type": "object",
                "description": "a node",
                "properties": {"children": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
            }
        },
        "definitions": {"a/b": {"type": "boolean"}},
    }
    assert down(schema)["properties"] == {
        "tree": {
            "type": "OBJECT",
            "description": "the root",
            "properties": {"children": {"type": "ARRAY", "items": {"type": "OBJECT", "description": "a node"}}},
        },
        "far": {"type": "OBJECT"},
        "odd": {"type": "BOOLEAN"},
    }


def test_an_object_without_properties_is_left_out_whole() -> None:
    assert down({"type": "object", "properties": {}}) is None
    assert down({"type": "object"}) is None
    assert down(True) is None


def test_a_schema_that_multiplies_stays_small() -> None:
    definitions = {
        f"d{n}": {"type": "object", "properties": {k: {"$ref": f"#/$defs/d{n + 1}"} for k in "abcd"}} for n in range(30)
    }
    reduced = down({"type": "object", "properties": {"x": {"$ref": "#/$defs/d0"}}, "$defs": definitions})
    assert len(json.dumps(reduced)) < 2_000_000


def test_a_circle_of_all_of_ends() -> None:
    schema = {
        "allOf": [{"$ref": "#/$defs/a"}],
        "$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}, {"properties": {"x": {}}}]}},
    }
    assert down(schema)["properties"] == {"x": {"type": "STRING"}}


_SCHEMAS = st.recursive(
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["string", "integer", "null", "array", "object", ["string", "null"], ["null"], 3]),
            "enum": st.lists(st.sampled_from(["a", 1, None, True]), max_size=3),
            "const": st.sampled_from(["a", 1, None]),
            "$ref": st.sampled_from(["#/$defs/a", "#", "#/nowhere"]),
            "format": st.sampled_from(["uri", "date-time"]),
            "required": st.lists(st.sampled_from(["p", "q"]), max_size=2),
        },
    ),
    lambda deeper: st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["object", "array"]),
            "properties": st.dictionaries(st.sampled_from(["p", "q"]), deeper, max_size=2),
            "items": deeper,
            "anyOf": st.lists(deeper, max_size=3),
            "allOf": st.lists(deeper, max_size=2),
            "$defs": st.dictionaries(st.just("a"), deeper, max_size=1),
        },
    ),
    max_leaves=8,
)


@given(_SCHEMAS)
def test_every_schema_is_reduced_to_one_that_google_s_type_takes(schema: dict[str, Any]) -> None:
    reduced = down({"type": "object", "properties": {"x": schema}, "$defs": {"a": schema}})
    types.Schema.model_validate(reduced)
