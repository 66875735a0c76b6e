"""Requests of other dialects in the neutral form, written for Anthropic and shown to its SDK."""

import json
from typing import Any

from msgspec import Raw
from tests.dialects import anthropic_sdk

from wayport.dialects.anthropic_messages import DIALECT
from wayport.dialects.dialect import Encoded, Profile
from wayport.dialects.neutral import DialectName, Message, Part, Request, Role, Text, Tool, ToolCall, ToolResult

assert DIALECT.upstream is not None
UPSTREAM = DIALECT.upstream


def say(role: Role, *parts: Part | str) -> Message:
    return Message(role=role, parts=[Text(text=part) if isinstance(part, str) else part for part in parts])


def ask(*messages: Message, dialect: DialectName = "openai_chat", **fields: Any) -> Request:
    return Request(
        dialect=dialect, model="claude-sonnet-4-5", messages=list(messages) or [say("user", "The tide?")], **fields
    )


def encode(request: Request, **profile: Any) -> Encoded:
    encoded = UPSTREAM.encode_request(request, Profile(**profile))
    anthropic_sdk.accept(json.loads(encoded.body))
    assert UPSTREAM.encode_request(request, Profile(**profile)).body == encoded.body
    return encoded


def body_of(request: Request, **profile: Any) -> Any:
    return json.loads(encode(request, **profile).body)


def tool(name: str, **fields: Any) -> Tool:
    return Tool(name=name, parameters=Raw(b'{"type":"object","properties":{}}'), **fields)


def calls(*ids: str) -> Message:
    return say("assistant", *[ToolCall(id=id_, name="look", arguments='{"at": "mole"}') for id_ in ids])


def result(id_: str, text: str = "seen", role: Role = "tool") -> Message:
    return say(role, ToolResult(call_id=id_, parts=[Text(text=text)]))


TOOLS = [tool("look")]


def results_of(message: Any) -> list[tuple[str, str]]:
    return [(b["tool_use_id"], b["content"]) for b in message["content"] if b["type"] == "tool_result"]
