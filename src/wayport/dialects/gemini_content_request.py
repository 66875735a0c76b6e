"""A Gemini client's request, read into the neutral form."""

from msgspec import Raw

from wayport.core.errors import BadRequest
from wayport.dialects import openai_read as read
from wayport.dialects.dialect import Headers
from wayport.dialects.gemini_content_calls import HistoryCalls
from wayport.dialects.gemini_content_config import read_config
from wayport.dialects.gemini_content_parts import read_part, to_camel
from wayport.dialects.gemini_content_seals import restore
from wayport.dialects.gemini_content_tools import read_tool_config, read_tools
from wayport.dialects.gemini_content_words import NAME, tier_in
from wayport.dialects.neutral import Extras, Message, Part, Request, Role, Text, ToolCall
from wayport.dialects.openai_chat_control import CONTROL, is_control
from wayport.wire.gemini_content import NULL, first
from wayport.wire.patch import Fields

# Notes on how a content was written.
ROLE = "~role"
ONE_PART = "~one"
SYSTEM = "~system"

# The model and streaming stand in the path, though clients may write them in the body; the rest is a gateway's business.
REMOVED = CONTROL | {"model", "stream", "metadata", "user"}


def is_ours(name: str) -> bool:
    """Whether a top-level field never goes to Google."""
    return name in REMOVED or is_control(name)


_ROLES: dict[str, Role] = {"user": "user", "model": "assistant", "function": "user", "tool": "user", "system": "system"}


def decode_request(fields: Fields, headers: Headers) -> Request:  # noqa: ARG001 (no header of a Gemini client says more)
    """The request without its model and whether it streams, which this dialect states in the path: the caller sets both."""
    spelled: set[str] = set()
    given = to_camel(dict(fields), spelled)
    request = Request(dialect=NAME, model="", messages=[])
    model = given.pop("model", None)
    if model is not None:
        request.model = read.text(model, "model").removeprefix("models/")
    system = given.pop("systemInstruction", None)
    if system is not None and system != NULL:
        request.messages.append(_read_system(system))
    contents = given.pop("contents", None)
    if contents is None:
        raise BadRequest("`contents` is missing: give the conversation as a list of contents.", param="contents")
    _read_contents(contents, request)
    tools = given.pop("tools", None)
    if tools is not None and tools != NULL:
        request.tools, request.spelling["one_tool"] = read_tools(tools)
        if not request.tools:
            request.extras["tools"] = tools
    choice = given.pop("toolConfig", None)
    if choice is not None and choice != NULL:
        request.tool_choice, extras = read_tool_config(choice, spelled)
        request.extras.update(extras)
    config = given.pop("generationConfig", None)
    if config is not None and config != NULL:
        read_config(config, request, spelled)
    tier = given.pop("serviceTier", None)
    if tier is not None:
        request.spelling["tier"] = read.text(tier, "serviceTier")
        request.service_tier = tier_in(request.spelling["tier"].lower())
    store = given.pop("store", None)
    if store is not None:
        request.store = read.boolean(store, "store")
    request.extras.update({name: value for name, value in given.items() if not is_ours(name)})
    if spelled:
        request.spelling["snake"] = sorted(spelled)
    restore(request.messages)
    return request


def _read_system(raw: Raw) -> Message:
    """A content, as documented; a bare string, a part or a list of parts are taken too."""
    kind = first(raw)
    if kind == b'"':
        text = Text(text=read.text(raw, "systemInstruction"))
        return Message(role="system", parts=[text], plain=True, extras={SYSTEM: Raw(b'"string"')})
    calls = HistoryCalls()
    if kind == b"[":
        parts = [_read_part(item, calls, f"systemInstruction[{i}]") for i, item in enumerate(_items(raw))]
        return Message(role="system", parts=parts, extras={SYSTEM: Raw(b'"parts"')})
    fields = read.fields(raw, "systemInstruction")
    if "parts" not in fields and "text" in fields:
        part = _read_part(raw, calls, "systemInstruction")
        return Message(role="system", parts=[part], extras={SYSTEM: Raw(b'"part"')})
    message = _read_content(raw, calls, "systemInstruction")
    extras: Extras = {**(message.extras or {}), SYSTEM: Raw(b'"content"')}
    if message.role != "assistant" and ROLE not in extras:
        extras[ROLE] = Raw(b'"user"')
    elif message.role == "assistant":
        extras[ROLE] = Raw(b'"model"')
    return Message(role="system", parts=message.parts, extras=extras)


def _read_contents(raw: Raw, request: Request) -> None:
    calls = HistoryCalls()
    if first(raw) == b'"':
        request.messages.append(Message(role="user", parts=[Text(text=read.text(raw, "contents"))], plain=True))
        request.spelling["contents"] = "string"
        return
    if first(raw) == b"{":
        request.spelling["contents"] = "one"
        request.messages.append(_read_content(raw, calls, "contents"))
        return
    items = read.items(raw, "contents")
    if not items:
        raise BadRequest("`contents` is empty: at least one content is needed.", param="contents")
    request.messages.extend(_read_content(item, calls, f"contents[{i}]") for i, item in enumerate(items))


def _read_content(raw: Raw, calls: HistoryCalls, path: str) -> Message:
    fields = read.fields(raw, path)
    extras: Extras = {}
    written = fields.pop("role", None)
    word = "" if written is None or written == NULL else read.text(written, f"{path}.role")
    held = fields.pop("parts", None)
    parts: list[Part] = []
    if held is None:
        extras[ONE_PART] = Raw(b"null")
    elif first(held) == b"{":
        extras[ONE_PART] = Raw(b"true")
        parts = [_read_part(held, calls, f"{path}.parts")]
    else:
        parts = [_read_part(item, calls, f"{path}.parts[{i}]") for i, item in enumerate(_items(held, f"{path}.parts"))]
    role = _ROLES.get(word)
    if role is None:
        if word:
            raise BadRequest(f"`{path}.role` is `{word}`: it must be `user` or `model`.", param=f"{path}.role")
        role = "assistant" if any(isinstance(part, ToolCall) for part in parts) else "user"
        extras[ROLE] = NULL
    elif word not in {"user", "model", "system"} and written is not None:
        extras[ROLE] = written
    extras.update(fields)
    return Message(role=role, parts=parts, extras=extras or None)


def _items(raw: Raw, path: str = "systemInstruction") -> list[Raw]:
    return read.items(raw, path)


def _read_part(raw: Raw, calls: HistoryCalls, path: str) -> Part:
    fields = read.fields(raw, path)
    try:
        return read_part(fields, calls)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"`{path}` is not a part as documented: {error}.", param=path) from None
