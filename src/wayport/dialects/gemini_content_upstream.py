"""The request for a Gemini upstream: Google's Gemini API and Vertex AI take the same body."""

from typing import Any

from msgspec import Raw

from wayport.core.errors import BadRequest
from wayport.dialects.dialect import Encoded, Profile
from wayport.dialects.gemini_content_calls import FOREIGN_CALL_SIGNATURE
from wayport.dialects.gemini_content_config import Report, report_unsayable, write_config, write_tier
from wayport.dialects.gemini_content_parts import Json, respell, write_part
from wayport.dialects.gemini_content_request import ONE_PART, ROLE, SYSTEM
from wayport.dialects.gemini_content_seals import SEALED
from wayport.dialects.gemini_content_tools import write_tool_config, write_tools
from wayport.dialects.gemini_content_turns import Conversation
from wayport.dialects.gemini_content_words import NAME, fit_name
from wayport.dialects.neutral import Message, Reasoning, Request, Text, ToolCall
from wayport.dialects.tool_names import ToolNames
from wayport.wire.gemini_content import NULL, encode

# Google's own fields that clients of other dialects send beside their dialect's (LiteLLM takes them so).
_GUESTS = {
    "safety_settings": "safetySettings",
    "safetySettings": "safetySettings",
    "cached_content": "cachedContent",
    "cachedContent": "cachedContent",
}
_NOT_TOP_LEVEL = frozenset({"generationConfig", "toolConfig", "tools"})


def encode_request(request: Request, profile: Profile) -> Encoded:
    """The body. Model and streaming are stated in the path, so neither stands in it."""
    names = ToolNames(fit_name, separator=".")
    report = Report(request)
    out = _own(request) if request.dialect == NAME else _foreign(request, profile, names, report)
    spelled = request.spelling.get("snake", ()) if request.dialect == NAME else ()
    tools = write_tools(request, profile, names, report.dropped)
    if tools is not None:
        out["tools"] = tools
    has_functions = any(tool.kind != "server" for tool in request.tools)
    choice = write_tool_config(request, names, spelled, has_functions=has_functions)
    if choice is not None:
        out["toolConfig"] = choice
    config = write_config(request, profile, report)
    if config or (request.dialect == NAME and "generationConfig" in request.extras):
        out["generationConfig"] = config
    _write_rest(request, profile, report, out)
    body = encode(respell(out, spelled) if spelled else out)
    return Encoded(
        body=body,
        dropped=list(dict.fromkeys(report.dropped)),
        lowered=list(dict.fromkeys(report.lowered)),
        tool_names=names.changed,
    )


def _foreign(request: Request, profile: Profile, names: ToolNames, report: Report) -> Json:
    talk = Conversation(request.messages, profile, names, report)
    out: Json = {"contents": talk.contents}
    if talk.system:
        out["systemInstruction"] = {"parts": talk.system}
    report_unsayable(request, report)
    report.dropped = [name for name in report.dropped if name not in _GUESTS]
    return out


def _write_rest(request: Request, profile: Profile, report: Report, out: Json) -> None:
    """The remaining fields beside the conversation."""
    if request.dialect != NAME:
        for name, google in _GUESTS.items():
            if name in request.extras:
                out[google] = request.extras[name]
        tier = write_tier(request, profile, report)
        if tier is not None:
            out["serviceTier"] = tier
        return
    rest: dict[str, Any] = {name: value for name, value in request.extras.items() if name not in _NOT_TOP_LEVEL}
    if "tools" in request.extras and "tools" not in out:
        rest["tools"] = request.extras["tools"]
    if request.service_tier is not None:
        rest["serviceTier"] = request.spelling.get("tier", request.service_tier)
    if request.store is not None:
        rest["store"] = request.store
    for name, value in rest.items():
        if name in profile.unsupported:
            report.dropped.append(name)
        else:
            out[name] = value


# -------------------------------------------------------------------------------------------------- our own dialect
def _own(request: Request) -> Json:
    """The conversation as the client wrote it: only what a guardrail or an envelope of ours changed is different."""
    out: Json = {}
    contents: list[Json] = []
    system = None
    for message in request.messages:
        extras = message.extras or {}
        if SYSTEM in extras:
            system = _own_system(message, bytes(extras[SYSTEM]))
            continue
        if message.plain:
            continue
        written = _own_content(message)
        if written.get("parts") != [] or not message.parts:
            contents.append(written)
    match request.spelling.get("contents"):
        case "string":
            out["contents"] = "".join(part.text for part in request.messages[-1].parts if isinstance(part, Text))
        case "one" if len(contents) == 1:
            out["contents"] = contents[0]
        case _:
            out["contents"] = contents
    if not out["contents"]:
        raise BadRequest("nothing is left of `contents` that could be sent to this model", param="contents")
    if system is not None:
        out["systemInstruction"] = system
    return out


def _own_content(message: Message) -> Json:
    extras = message.extras or {}
    out: Json = {}
    parts = _own_parts(message)
    one = extras.get(ONE_PART)
    if one is None or parts:
        out["parts"] = parts[0] if one is not None and len(parts) == 1 else parts
    role = extras.get(ROLE)
    if role is None:
        out["role"] = {"assistant": "model", "system": "system"}.get(message.role, "user")
    elif role != NULL:
        out["role"] = role
    out.update({name: value for name, value in extras.items() if not name.startswith("~")})
    return out


def _own_parts(message: Message) -> list[Json | Raw]:
    written: list[Json | Raw] = []
    sealed = False
    unsigned_call = True
    for part in message.parts:
        if isinstance(part, Reasoning) and SEALED in (part.extras or {}):
            sealed = True
            continue
        out = write_part(part, own=True)
        if out is None:
            continue
        if isinstance(part, ToolCall):
            if sealed and unsigned_call and part.signature is None and isinstance(out, dict):
                out["thoughtSignature"] = FOREIGN_CALL_SIGNATURE
            unsigned_call = False
        written.append(out)
    return written


def _own_system(message: Message, spelled: bytes) -> Any:
    parts = _own_parts(message)
    match spelled:
        case b'"string"':
            return "".join(part.text for part in message.parts if isinstance(part, Text))
        case b'"parts"':
            return parts
        case b'"part"' if len(parts) == 1:
            return parts[0]
        case _:
            return _own_content(message)
