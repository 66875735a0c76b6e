"""The blocks of one choice while its stream is read: which are open, and which delta belongs to which.

What speaks one after the other (text, reasoning, refusal) is the flow: one block of it is open at a time. Calls of tools
stand beside it, several at once; one of them is closed early only if its arguments are complete.
"""

from collections.abc import Callable, Hashable

import msgspec
from msgspec import Struct

from wayport.dialects.neutral import (
    Audio,
    BlockClosed,
    BlockDelta,
    BlockOpened,
    Delta,
    Part,
    Text,
    ToolCall,
)

_any = msgspec.json.Decoder()


class OpenTool(Struct):
    """A call that is being told. `block` is None until its name is known."""

    call: ToolCall
    block: int | None = None
    arguments: str = ""
    is_answer: bool = False
    """it stands for the answer itself, and is told as text"""
    closed: bool = False


class Blocks:
    def __init__(self, choice: int) -> None:
        self.choice = choice
        self._next = 0
        self._flow: tuple[Hashable, int] | None = None
        self.flow_text = ""
        """what the open block of the flow has said so far, where someone must know"""
        self._tools: dict[int, OpenTool] = {}
        self._last_tool: OpenTool | None = None
        self._audio: tuple[int, Audio, list[str]] | None = None
        self.has_calls = False
        self.has_answer_tool = False

    def open(self, part: Part, out: list[Delta]) -> int:
        block = self._next
        self._next += 1
        out.append(BlockOpened(choice=self.choice, block=block, part=part))
        return block

    def whole(self, part: Part, out: list[Delta]) -> None:
        """A part that comes complete."""
        out.append(BlockClosed(choice=self.choice, block=self.open(part, out)))

    # -- the flow ---------------------------------------------------------------------------------------------------
    def flow(self, key: Hashable, make: Callable[[], Part], out: list[Delta]) -> tuple[int, bool]:
        """The open block of this kind, and whether it was opened just now with what `make` gave."""
        if self._flow is not None and self._flow[0] == key:
            return self._flow[1], False
        self.close_flow(out)
        self._close_complete_tools(out)
        block = self.open(make(), out)
        self._flow = (key, block)
        return block, True

    def flow_key(self) -> Hashable:
        return self._flow[0] if self._flow is not None else None

    def close_flow(self, out: list[Delta], part: Part | None = None) -> None:
        """`part`: the whole of it, where only its end told."""
        if self._flow is not None:
            out.append(BlockClosed(choice=self.choice, block=self._flow[1], part=part))
            self._flow = None
        self.flow_text = ""

    def say(self, key: Hashable, make: Callable[[], Part], text: str, out: list[Delta]) -> None:
        block, _ = self.flow(key, make, out)
        if text:
            out.append(BlockDelta(choice=self.choice, block=block, text=text))

    # -- tools ------------------------------------------------------------------------------------------------------
    def tool(self, index: int | None, identity: str) -> OpenTool | None:
        """The call that an entry continues; None if it begins one. An id that differs begins one under an old index
        too: some number every call 0.
        """
        found = self._last_tool if index is None else self._tools.get(index)
        if found is None or (identity and found.call.id and identity != found.call.id):
            if identity:
                return next((tool for tool in self._tools.values() if tool.call.id == identity), None)
            return None
        return found

    def begin_tool(self, index: int | None, tool: OpenTool) -> None:
        if index is None or index in self._tools:
            index = max(self._tools, default=-1) + 1
        self._tools[index] = tool
        self._last_tool = tool

    def open_tool(self, tool: OpenTool, out: list[Delta]) -> None:
        self.close_flow(out)
        self._close_complete_tools(out, but=tool)
        if tool.is_answer:
            self.has_answer_tool = True
            tool.block = self.open(Text(text=""), out)
        else:
            self.has_calls = True
            tool.block = self.open(tool.call, out)
        if tool.arguments:
            out.append(BlockDelta(choice=self.choice, block=tool.block, text=tool.arguments))

    def more_arguments(self, tool: OpenTool, text: str, out: list[Delta]) -> None:
        tool.arguments += text
        if tool.block is not None and text and not tool.closed:
            out.append(BlockDelta(choice=self.choice, block=tool.block, text=text))

    def _close_complete_tools(self, out: list[Delta], *, but: OpenTool | None = None) -> None:
        for tool in self._tools.values():
            if tool is not but and tool.block is not None and not tool.closed and _is_complete(tool):
                self._close_tool(tool, out)

    def _close_tool(self, tool: OpenTool, out: list[Delta]) -> None:
        if tool.block is None:
            # It never got a name; what it said is kept all the same.
            self.open_tool(tool, out)
        assert tool.block is not None
        tool.closed = True
        out.append(BlockClosed(choice=self.choice, block=tool.block))

    # -- audio ------------------------------------------------------------------------------------------------------
    def hear(self, heard: Audio, out: list[Delta]) -> None:
        data, transcript = heard.source.value, heard.transcript or ""
        opened_before = self._audio is not None
        if self._audio is None:
            self.close_flow(out)
            heard.source.value = ""
            heard.transcript = None
            self._audio = (self.open(heard, out), msgspec.structs.replace(heard), [])
        block, whole, pieces = self._audio
        pieces.append(data)
        whole.id = whole.id or heard.id
        whole.expires_at = heard.expires_at or whole.expires_at
        if transcript:
            whole.transcript = (whole.transcript or "") + transcript
        if data or transcript:
            out.append(BlockDelta(choice=self.choice, block=block, text=data, transcript=transcript))
        if whole.expires_at is not None and opened_before:
            self._close_audio(out)

    def _close_audio(self, out: list[Delta]) -> None:
        """How long it can be referred to is told last, and ends it."""
        assert self._audio is not None
        block, whole, pieces = self._audio
        whole.source = msgspec.structs.replace(whole.source, value="".join(pieces))
        out.append(BlockClosed(choice=self.choice, block=block, part=whole))
        self._audio = None

    # -- the end ----------------------------------------------------------------------------------------------------
    def close(self, out: list[Delta]) -> None:
        self.close_flow(out)
        for tool in self._tools.values():
            if not tool.closed:
                self._close_tool(tool, out)
        if self._audio is not None:
            out.append(BlockClosed(choice=self.choice, block=self._audio[0]))
            self._audio = None


def _is_complete(tool: OpenTool) -> bool:
    """Whether the arguments are whole. Free text never says so."""
    if tool.call.kind == "custom" or not tool.arguments:
        return False
    try:
        _any.decode(tool.arguments)
    except (ValueError, RecursionError):
        return False
    return True
