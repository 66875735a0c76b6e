"""Google's own types as the judge of what goes to Google: every field known, every call answered at once and in order."""

import json
from typing import Any

import pydantic
from google.genai import types

from wayport.dialects.dialect import Encoded, Profile
from wayport.dialects.gemini_content import DIALECT
from wayport.dialects.neutral import Message, Part, Request

assert DIALECT.client is not None
assert DIALECT.upstream is not None
CLIENT, UPSTREAM = DIALECT.client, DIALECT.upstream

_BODY: dict[str, Any] = {
    "contents": list[types.Content],
    "systemInstruction": types.Content,
    "tools": list[types.Tool],
    "toolConfig": types.ToolConfig,
    "generationConfig": types.GenerationConfig,
    "safetySettings": list[types.SafetySetting],
    "cachedContent": str,
    "serviceTier": types.ServiceTier,
}


def check(body: bytes) -> dict[str, Any]:
    """The body, judged by Google's types (which forbid unknown fields) and rules of turns."""
    value: dict[str, Any] = json.loads(body)
    for name, inner in value.items():
        pydantic.TypeAdapter(_BODY[name]).validate_python(inner)
    _check_turns(value["contents"])
    return value


def _check_turns(contents: list[dict[str, Any]]) -> None:
    asked: list[dict[str, Any]] = []
    assert contents[0]["role"] == "user", "a conversation begins with the user"
    for number, content in enumerate(contents):
        assert content["parts"], "a content without parts"
        assert content["role"] == ("user", "model")[number % 2], "user and model take turns"
        answers = [part["functionResponse"] for part in content["parts"] if "functionResponse" in part]
        if content["role"] == "user":
            assert [(one["name"], one.get("id")) for one in answers] == [(one["name"], one.get("id")) for one in asked]
            asked = []
        else:
            calls = [part for part in content["parts"] if "functionCall" in part]
            assert not calls or "thoughtSignature" in calls[0], "the first call of a step is signed"
            asked = [part["functionCall"] for part in calls]
    assert not asked, "a call without an answer"


def encoded(request: Request, profile: Profile | None = None) -> tuple[dict[str, Any], Encoded]:
    out = UPSTREAM.encode_request(request, profile or Profile())
    return check(out.body), out


def sent(request: Request, profile: Profile | None = None) -> dict[str, Any]:
    return encoded(request, profile)[0]


def user(*parts: Part) -> Message:
    return Message(role="user", parts=list(parts))


def assistant(*parts: Part) -> Message:
    return Message(role="assistant", parts=list(parts))


def tool(*parts: Part) -> Message:
    return Message(role="tool", parts=list(parts))
