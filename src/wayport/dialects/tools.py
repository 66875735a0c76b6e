"""Tools of the Responses API for targets that only know functions, and their calls back again.

Codex offers tools in namespaces, tools that take free text, and tools inside of input items. `flatten_tools` makes plain
functions of them all; the `ToolMap` that it returns turns calls of these functions into what the client offered.

What must stay true: the same tool always gets the same function name (provider caches depend on it), two tools never
share one, and a call's text is told as it comes.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Raw

from wayport.dialects.neutral import (
    Message,
    Opaque,
    Part,
    Request,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from wayport.dialects.openai_responses_parts import NAME, take_list, take_text
from wayport.dialects.openai_responses_tools import decode_tools
from wayport.dialects.tools_input import wrap
from wayport.dialects.tools_map import Kind, Origin, ToolMap, ToolStream
from wayport.wire.openai_responses import NULL, OBJECT

__all__ = ["Origin", "ToolMap", "ToolStream", "flatten_tools"]

_GOOD = re.compile(r"[a-zA-Z0-9_-]+")
_BAD = re.compile(r"[^a-zA-Z0-9_-]")

_FREE_TEXT = Raw(
    b'{"type":"object","properties":{"input":{"type":"string","description":"The input, as plain text."}},'
    b'"required":["input"],"additionalProperties":false}'
)
_SEARCH = "tool_search"


# ----------------------------------------------------------------------------------------------------------- flatten
def flatten_tools(request: Request, *, custom: bool = True, name_chars: int = 64) -> tuple[Request, ToolMap]:
    """The request for a target that only knows functions, and the way back.

    `custom`: whether free-text tools become functions as well (chat at OpenAI has them itself). `name_chars`: longest
    name that the target takes. The request given is not changed; one that is plain already comes back as it is.
    """
    flat = _Flat(request, custom=custom, name_chars=name_chars)
    if not flat.needed():
        return request, ToolMap({})
    return flat.request(), flat.map()


class _Flat:
    def __init__(self, request: Request, *, custom: bool, name_chars: int) -> None:
        self._given = request
        self._custom = custom
        self._limit = name_chars
        self._own = request.dialect == NAME
        self._origins: dict[str, Origin] = {}
        self._names: dict[Origin, str] = {}
        self._dropped: list[str] = []

    def needed(self) -> bool:
        given = self._given
        if any(not self._is_plain(tool) for tool in given.tools):
            return True
        return any(not self._is_plain_part(part) for message in given.messages for part in message.parts)

    def _is_plain(self, tool: Tool) -> bool:
        if tool.kind == "server":
            return not self._own
        return tool.namespace is None and not (self._custom and tool.kind == "custom") and self._fits(tool.name)

    def _is_plain_part(self, part: Part) -> bool:
        match part:
            case ToolCall():
                plain = part.namespace is None and not (self._custom and part.kind == "custom")
                return plain and self._fits(part.name)
            case ToolResult():
                return not (self._custom and part.kind == "custom")
            case Opaque():
                return part.dialect != NAME
            case _:
                return True

    def _fits(self, name: str) -> bool:
        return len(name) <= self._limit and _GOOD.fullmatch(name) is not None

    # -------------------------------------------------------------------------------------------------------- names
    def _name(self, origin: Origin) -> str:
        known = self._names.get(origin)
        if known is not None:
            return known
        whole = f"{origin.namespace}__{origin.name}" if origin.namespace else origin.name
        name = whole if self._fits(whole) else self._fitted(whole)
        other = self._origins.get(name)
        if other is not None and other != origin:
            name = self._fitted(f"{whole}\n{origin.kind}")
        self._names[origin] = name
        self._origins[name] = origin
        return name

    def _fitted(self, whole: str) -> str:
        digest = hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        return f"{_BAD.sub('_', whole.partition(chr(10))[0])[: self._limit - 9]}_{digest}"

    def map(self) -> ToolMap:
        changed = {
            name: origin
            for name, origin in self._origins.items()
            if origin != Origin(name=name) or origin.kind != "function"
        }
        bare: dict[str, list[str]] = {}
        for name, origin in changed.items():
            if origin.namespace is not None:
                bare.setdefault(origin.name, []).append(name)
        return ToolMap(
            changed,
            dict.fromkeys(self._dropped),
            {name: full[0] for name, full in bare.items() if len(full) == 1 and name not in self._origins},
        )

    # ------------------------------------------------------------------------------------------------------ request
    def request(self) -> Request:
        given = self._given
        tools = list(self._tools(self._all_tools()))
        messages = [message for each in given.messages for message in self._messages(each)]
        return msgspec.structs.replace(given, tools=tools, messages=messages, tool_choice=self._choice(tools))

    def _all_tools(self) -> Iterator[Tool]:
        """The request's tools, and those that items of the conversation brought, each once."""
        seen: set[tuple[str, str | None]] = set()
        more = (
            tool
            for message in self._given.messages
            for part in message.parts
            if isinstance(part, Opaque)
            and part.dialect == NAME
            and part.kind in ("additional_tools", "tool_search_output")
            for tool in _tools_in(part)
        )
        for tool in (*self._given.tools, *more):
            key = (tool.name, tool.namespace)
            if tool.kind == "server" or key not in seen:
                seen.add(key)
                yield tool

    def _tools(self, tools: Iterable[Tool]) -> Iterator[Tool]:
        for tool in tools:
            if tool.kind == "server" and self._own:
                search = _client_search(tool)
                if search is None:
                    self._dropped.append(f"tools.{tool.name}")
                else:
                    yield msgspec.structs.replace(search, name=self._name(Origin(name=_SEARCH, kind="search")))
            elif tool.kind == "custom" and self._custom:
                name = self._name(Origin(name=tool.name, kind="custom", namespace=tool.namespace))
                yield Tool(name=name, description=_described(tool), parameters=_FREE_TEXT, cache=tool.cache)
            elif tool.kind == "function" or tool.namespace is not None:
                name = self._name(Origin(name=tool.name, namespace=tool.namespace))
                yield msgspec.structs.replace(tool, name=name, namespace=None)
            else:
                yield tool

    def _choice(self, tools: list[Tool]) -> ToolChoice | None:
        choice = self._given.tool_choice
        if choice is None or not choice.names:
            return choice
        by_name: dict[str, str] = {}
        for origin, name in self._names.items():
            by_name.setdefault(origin.name, name)
        offered = {tool.name for tool in tools}
        names = [name for each in choice.names if (name := by_name.get(each, each)) in offered]
        if not names:
            self._dropped.append("tool_choice")
            return None
        return ToolChoice(mode=choice.mode, names=names)

    # ----------------------------------------------------------------------------------------------------- messages
    def _messages(self, message: Message) -> Iterator[Message]:
        if all(self._is_plain_part(part) for part in message.parts):
            yield message
            return
        parts: list[Part] = []
        for part in message.parts:
            for flat in self._part(part):
                if message.role == "assistant" and isinstance(flat, ToolResult):
                    # What a client-side search found stood among the model's items.
                    if parts:
                        yield msgspec.structs.replace(message, parts=parts)
                        parts = []
                    yield Message(role="tool", parts=[flat])
                else:
                    parts.append(flat)
        if parts:
            yield msgspec.structs.replace(message, parts=parts)

    def _part(self, part: Part) -> Iterator[Part]:
        match part:
            case ToolCall():
                yield self._call(part)
            case ToolResult() if self._custom and part.kind == "custom":
                yield msgspec.structs.replace(part, kind="function")
            case Opaque(dialect="openai_responses"):
                yield from self._known_item(part)
            case _:
                yield part

    def _call(self, call: ToolCall) -> ToolCall:
        custom = call.kind == "custom" and self._custom
        name = self._name(Origin(name=call.name, kind="custom" if custom else "function", namespace=call.namespace))
        flat = msgspec.structs.replace(call, name=name, namespace=None)
        if custom:
            flat.kind = "function"
            flat.arguments = wrap(call.arguments)
        return flat

    def _known_item(self, part: Opaque) -> Iterator[Part]:
        """A search for tools that the client itself carries out is a call like any other; all else stays here."""
        if part.kind not in ("tool_search_call", "tool_search_output"):
            if part.text:
                yield Text(text=part.text)
            return
        fields = OBJECT.decode(part.raw)
        if take_text(fields, "execution") != "client" or (call_id := take_text(fields, "call_id")) is None:
            return
        if part.kind == "tool_search_call":
            arguments = fields.get("arguments", NULL)
            yield ToolCall(
                id=call_id,
                name=self._name(Origin(name=_SEARCH, kind="search")),
                arguments=bytes(arguments).decode() if arguments != NULL else "{}",
            )
        else:
            found = [
                self._name(Origin(name=tool.name, namespace=tool.namespace, kind=_kind_of(tool, custom=self._custom)))
                for tool in _tools_in(part)
                if tool.kind != "server"
            ]
            told = f"Tools that can be called now: {', '.join(found)}" if found else "No tool was found."
            yield ToolResult(call_id=call_id, parts=[Text(text=told)], plain=True)


def _kind_of(tool: Tool, *, custom: bool) -> Kind:
    return "custom" if tool.kind == "custom" and custom else "function"


def _tools_in(part: Opaque) -> list[Tool]:
    """The tools that an item brings; none where they cannot be read."""
    try:
        return decode_tools(take_list(OBJECT.decode(part.raw), "tools") or ())
    except ValueError:
        return []


def _client_search(tool: Tool) -> Tool | None:
    """The search for tools as a function, where the client carries it out (Codex); the provider's own has no schema."""
    if tool.name != _SEARCH or tool.raw is None:
        return None
    fields = OBJECT.decode(tool.raw)
    if take_text(fields, "execution") != "client" or fields.get("parameters", NULL) == NULL:
        return None
    return Tool(name=_SEARCH, description=take_text(fields, "description"), parameters=fields["parameters"])


def _described(tool: Tool) -> str | None:
    """What a free-text tool says of itself, with the grammar that a function cannot enforce."""
    wanted = OBJECT.decode(tool.raw).get("format", NULL) if tool.raw is not None else NULL
    if wanted == NULL:
        return tool.description
    fields = OBJECT.decode(wanted)
    syntax, definition = take_text(fields, "syntax"), take_text(fields, "definition")
    if definition is None:
        return tool.description
    grammar = f"The input must follow this {syntax or ''} grammar:\n{definition}"
    return f"{tool.description}\n\n{grammar}" if tool.description else grammar
