"""The way back from plain functions to the tools that a client offered: for whole answers and for streams."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

import msgspec
from msgspec import Raw, Struct

from wayport.dialects.neutral import BlockClosed, BlockDelta, BlockOpened, Delta, Opaque, Part, Response, ToolCall
from wayport.dialects.openai_responses_parts import NAME, raw_of
from wayport.dialects.tools_input import FreeText, whole_text

Kind = Literal["function", "custom", "search"]


class Origin(Struct, kw_only=True, frozen=True):
    """What a function was before it was flattened."""

    name: str
    kind: Kind = "function"
    namespace: str | None = None


class ToolMap:
    """Leads from the functions of a flattened request back to the client's tools."""

    def __init__(
        self, origins: Mapping[str, Origin], dropped: Iterable[str] = (), bare: Mapping[str, str] | None = None
    ) -> None:
        self._origins = dict(origins)
        self._bare = dict(bare or {})
        """names without their namespace, where only one tool has them: models leave it out at times"""
        self.dropped = list(dropped)
        """tools that no other target has, as they are to be reported"""

    def __bool__(self) -> bool:
        """Whether any call of an answer may have to be restored."""
        return bool(self._origins)

    def renamed(self, names: Mapping[str, tuple[str, str | None]]) -> "ToolMap":
        """This map behind another one: for `Encoded.tool_names` of a target that changed names once more."""
        origins = dict(self._origins)
        for sent, (name, namespace) in names.items():
            origins[sent] = self._origins.get(name) or Origin(name=name, namespace=namespace)
        return ToolMap(origins, self.dropped, self._bare)

    def origin(self, name: str) -> Origin | None:
        return self._origins.get(name) or self._origins.get(self._bare.get(name, ""))

    def restore(self, part: Part) -> Part:
        """A part of a whole answer as the client knows it."""
        if not isinstance(part, ToolCall):
            return part
        origin = self.origin(part.name)
        if origin is None:
            return part
        if origin.kind == "search":
            return _search_call(part)
        call = msgspec.structs.replace(part, name=origin.name, namespace=origin.namespace)
        if origin.kind == "custom":
            call.kind = "custom"
            call.arguments = whole_text(part.arguments)
        return call

    def restore_response(self, response: Response) -> Response:
        if self:
            for choice in response.choices:
                choice.parts = [self.restore(part) for part in choice.parts]
        return response

    def stream(self) -> "ToolStream":
        """Restores the calls of one stream."""
        return ToolStream(self)


class ToolStream:
    """Restores the calls of one stream, delta by delta."""

    def __init__(self, tools: ToolMap) -> None:
        self._tools = tools
        self._texts: dict[tuple[int, int], FreeText] = {}
        self._searches: dict[tuple[int, int], ToolCall] = {}

    def feed(self, delta: Delta) -> Iterable[Delta]:
        """What the client is told for one delta: itself, changed or not, or nothing yet."""
        match delta:
            case BlockDelta() if self._texts or self._searches:
                return self._more(delta)
            case BlockOpened(part=ToolCall() as call):
                return self._open(delta, call)
            case BlockClosed() if self._texts or self._searches:
                return self._close(delta)
            case BlockClosed(part=ToolCall() as call):
                return (msgspec.structs.replace(delta, part=self._tools.restore(call)),)
            case _:
                return (delta,)

    def _open(self, delta: BlockOpened, call: ToolCall) -> Iterable[Delta]:
        origin = self._tools.origin(call.name)
        if origin is None:
            return (delta,)
        key = (delta.choice, delta.block)
        if origin.kind == "search":
            # Its item holds the arguments as an object: it can only be told whole.
            self._searches[key] = msgspec.structs.replace(call)
            opened: Part = Opaque(dialect=NAME, raw=_search_raw(call, done=False), kind="tool_search_call")
            return (msgspec.structs.replace(delta, part=opened),)
        restored = msgspec.structs.replace(call, name=origin.name, namespace=origin.namespace)
        if origin.kind == "custom":
            reader = self._texts[key] = FreeText()
            restored.kind = "custom"
            restored.arguments = reader.feed(call.arguments)
        return (msgspec.structs.replace(delta, part=restored),)

    def _more(self, delta: BlockDelta) -> Iterable[Delta]:
        key = (delta.choice, delta.block)
        search = self._searches.get(key)
        if search is not None:
            search.arguments += delta.text
            return ()
        reader = self._texts.get(key)
        if reader is None or not delta.text:
            return (delta,)
        text = reader.feed(delta.text)
        if not text and delta.signature is None:
            return ()
        return (msgspec.structs.replace(delta, text=text),)

    def _close(self, delta: BlockClosed) -> Iterator[Delta]:
        key = (delta.choice, delta.block)
        search = self._searches.pop(key, None)
        if search is not None:
            call = delta.part if isinstance(delta.part, ToolCall) else search
            yield msgspec.structs.replace(delta, part=_search_call(call))
            return
        reader = self._texts.pop(key, None)
        if reader is not None:
            rest = reader.end()
            if rest:
                yield BlockDelta(choice=delta.choice, block=delta.block, text=rest)
        part = delta.part
        yield delta if part is None else msgspec.structs.replace(delta, part=self._tools.restore(part))


def _search_raw(call: ToolCall, *, done: bool) -> Raw:
    try:
        arguments = msgspec.json.decode(call.arguments) if done and call.arguments else {}
    except ValueError:
        arguments = {}
    return raw_of(
        {
            "type": "tool_search_call",
            "id": f"tsc_{call.id}",
            "call_id": call.id,
            "execution": "client",
            "arguments": arguments,
            "status": "completed" if done else "in_progress",
        }
    )


def _search_call(call: ToolCall) -> Opaque:
    return Opaque(dialect=NAME, raw=_search_raw(call, done=True), kind="tool_search_call")
