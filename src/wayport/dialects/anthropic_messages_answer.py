"""A JSON answer asked for by way of a tool: for targets whose profile says `json_schema: tool`.

The request offers one more tool, whose input is the answer, and makes the model call it; the answer's call is turned back
into text. The tool's name is the marker: both decoders know it, nothing else has to be remembered.
"""

from msgspec import Raw

from wayport.dialects.neutral import Part, Text, ToolCall
from wayport.wire import anthropic_messages as wire

JSON_TOOL = "wayport_json_answer"
"""its input is the answer"""
JSON_VALUE_TOOL = "wayport_json_value"
"""its input is an object whose `value` is the answer: `input` must be an object, and this answer is none"""


def unwrapped(given: str) -> str:
    """The answer inside the input of `JSON_VALUE_TOOL`; input that was cut off is shown as it is."""
    try:
        value = wire.decode_fields(given).get("value")
    except ValueError:
        return given
    return bytes(value).decode() if value is not None else given


def shown(parts: list[Part]) -> tuple[list[Part], bool]:
    """Answers that came by way of a tool, as text; and whether there were any."""
    answered = False
    out: list[Part] = []
    for part in parts:
        if isinstance(part, ToolCall) and part.name in (JSON_TOOL, JSON_VALUE_TOOL):
            answered = True
            part = Text(text=part.arguments if part.name == JSON_TOOL else unwrapped(part.arguments))
        out.append(part)
    return out, answered


def answer_tool(schema: Raw) -> tuple[str, Raw]:
    """Name and input schema of the tool that takes an answer of this schema."""
    try:
        fields = wire.decode_fields(schema)
    except ValueError:
        fields = {}
    if fields.get("type") == Raw(b'"object"'):
        return JSON_TOOL, schema
    wrapped = {
        "type": "object",
        "properties": {"value": _without_definitions(fields)},
        "required": ["value"],
        "additionalProperties": False,
    }
    # References inside the schema point at definitions in its root.
    for name in ("$defs", "definitions"):
        if name in fields:
            wrapped[name] = fields[name]
    return JSON_VALUE_TOOL, Raw(wire.encode(wrapped))


def _without_definitions(fields: dict[str, Raw]) -> dict[str, Raw]:
    return {name: value for name, value in fields.items() if name not in ("$defs", "definitions")}
