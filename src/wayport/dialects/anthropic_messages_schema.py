"""JSON schemas as Anthropic's structured outputs take them: objects closed, limits told in words.

The rules are those of the official SDK's `transform_schema`; a schema that keeps them already stays as it is written.
"""

from typing import Any

import msgspec
from msgspec import Raw

from wayport.wire import anthropic_messages as wire

_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"},
)
_KEPT = frozenset(
    {"$ref", "type", "enum", "const", "title", "description", "required", "default", "$schema", "$id", "$comment"}
)
_LISTS = ("anyOf", "allOf")
_MAPS = ("properties", "$defs", "definitions")


def strict_schema(schema: Raw) -> Raw:
    """The schema for `output_config.format` or a strict tool; the same bytes where nothing had to change."""
    try:
        given = msgspec.json.decode(schema)
        made = _strict(given)
    except RecursionError:
        # Too deep to be looked at: the provider judges it.
        return schema
    return schema if made == given else Raw(wire.encode(made))


def _strict(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    made: dict[str, Any] = {}
    told: list[str] = []
    for name, value in schema.items():
        if name in _MAPS and isinstance(value, dict):
            made[name] = {key: _strict(inner) for key, inner in value.items()}
        elif name in _LISTS and isinstance(value, list):
            made[name] = [_strict(inner) for inner in value]
        elif name == "oneOf" and isinstance(value, list):
            made["anyOf"] = [_strict(inner) for inner in value]
        elif name == "items":
            made[name] = _strict(value)
        elif name == "additionalProperties":
            if value is not False:
                told.append(_limit("additionalProperties", value))
        elif name in _KEPT or (name == "format" and value in _FORMATS) or (name == "minItems" and value in (0, 1)):
            made[name] = value
        else:
            told.append(_limit(name, value))
    if _is_object(schema):
        made["additionalProperties"] = False
    if told := [limit for limit in told if limit]:
        words = "{" + ", ".join(told) + "}"
        made["description"] = f"{made['description']}\n\n{words}" if made.get("description") else words
    return made


def _is_object(schema: dict[str, Any]) -> bool:
    kind = schema.get("type")
    return kind == "object" or (isinstance(kind, list) and "object" in kind) or ("properties" in schema)


def _limit(name: str, value: Any) -> str:
    """A limit that the API does not enforce, for the model to read."""
    if value is True and name == "additionalProperties":
        return ""
    return f"{name}: {msgspec.json.encode(value).decode()}"
