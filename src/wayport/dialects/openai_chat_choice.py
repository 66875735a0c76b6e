"""One choice of a chat stream, read into deltas."""

from collections.abc import Hashable

import msgspec
from msgspec import Raw

from wayport.dialects import openai_read as read
from wayport.dialects.neutral import (
    BlockDelta,
    ChoiceFinished,
    Delta,
    Extras,
    LogprobsAdded,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
)
from wayport.dialects.openai_chat_blocks import Blocks, OpenTool
from wayport.dialects.openai_chat_encode import ANSWER_TOOL
from wayport.dialects.openai_chat_message import (
    LISTED,
    is_heard,
    read_annotation,
    read_audio,
    read_finish,
    take_logprobs,
)
from wayport.dialects.openai_chat_parts import read_part
from wayport.dialects.openai_chat_reasoning import take_reasoning, text_of
from wayport.dialects.openai_chat_tools import LEGACY, read_call, signature_in
from wayport.dialects.openai_read import Object, encode, is_empty, is_null

_REASONING = frozenset(("reasoning_content", "reasoning", "reasoning_details", "thinking_blocks"))
_TRUE = Raw(b"true")
_object = msgspec.json.Decoder(Object)
_objects = msgspec.json.Decoder(list[Object])
_text = msgspec.json.Decoder(str)


class ChoiceReader:
    """Reads the chunks of one choice."""

    def __init__(self, index: int) -> None:
        self._index = index
        self._blocks = Blocks(index)
        self._extras: Extras = {}
        self._message_extras: Extras = {}
        self.finished = False

    def read(self, given: Object, out: list[Delta]) -> None:
        if self.finished:
            return
        raw = given.pop("delta", None)
        word = given.pop("finish_reason", None)
        is_last = word is not None and bytes(word) not in (b"null", b'""')
        logprobs = given.get("logprobs")
        if logprobs is not None:
            if not is_null(logprobs):
                self._read_logprobs(given, out)
            if not is_last:
                given.pop("logprobs", None)
        if raw is not None and not is_empty(raw):
            self._read_delta(_object.decode(raw), out, is_last=is_last)
        for name, value in given.items():
            if is_last or not is_null(value):
                self._extras[name] = Raw(bytes(value))
        if is_last and word is not None:
            self.finish(_text.decode(word), out)

    def finish(self, word: str, out: list[Delta]) -> None:
        """`word`: the upstream's, or empty where it had none."""
        self.finished = True
        self._blocks.close(out)
        has_calls = self._blocks.has_calls
        finish = read_finish(word, has_calls=has_calls)
        if self._blocks.has_answer_tool and not has_calls:
            finish, word = "stop", "stop"
        out.append(
            ChoiceFinished(
                choice=self._index,
                finish=finish,
                finish_raw=word or finish,
                extras=self._extras or None,
                message_extras=self._message_extras or None,
            )
        )

    def _read_logprobs(self, given: Object, out: list[Delta]) -> None:
        tokens, refused = take_logprobs(given)
        if tokens:
            out.append(LogprobsAdded(choice=self._index, tokens=tokens))
        if refused:
            out.append(LogprobsAdded(choice=self._index, tokens=refused, refusal=True))

    # -- one delta --------------------------------------------------------------------------------------------------
    def _read_delta(self, delta: Object, out: list[Delta], *, is_last: bool) -> None:
        delta.pop("role", None)
        # In the order in which a message says them, whatever the order of fields.
        if not _REASONING.isdisjoint(delta):
            for part in take_reasoning(delta, "delta"):
                self._think(part, out)
        content = delta.get("content")
        if content is not None and not is_empty(content):
            del delta["content"]
            self._speak(content, out)
        if delta:
            self._read_rarer(delta, out)
        if "extra_content" in delta:
            self._sign(delta, out)
        for name, raw in delta.items():
            if is_last or not is_empty(raw):
                self._keep(name, raw)

    def _speak(self, content: Raw, out: list[Delta]) -> None:
        if bytes(content)[:1] == b'"':
            self._blocks.say("text", _empty_text, _text.decode(content), out)
            return
        for number, item in enumerate(read.items(content, "delta.content")):
            part = read_part(item, f"delta.content[{number}]")
            if isinstance(part, Text):
                self._blocks.say("listed", _listed_text, part.text, out)
            elif isinstance(part, Reasoning):
                self._add_thought("thinking", part, out)
            else:
                self._blocks.close_flow(out)
                self._blocks.whole(part, out)

    def _read_rarer(self, delta: Object, out: list[Delta]) -> None:
        refusal = delta.get("refusal")
        if refusal is not None and not is_empty(refusal):
            del delta["refusal"]
            self._blocks.say("refusal", _empty_refusal, _text.decode(refusal), out)
        annotations = delta.get("annotations")
        if annotations is not None and not is_empty(annotations):
            del delta["annotations"]
            for item in read.items(annotations, "delta.annotations"):
                block, _ = self._blocks.flow(self._text_key(), _empty_text, out)
                out.append(BlockDelta(choice=self._index, block=block, citation=read_annotation(item)))
        audio = delta.get("audio")
        if audio is not None and bytes(audio)[:1] == b"{":
            heard = read.fields(audio, "delta.audio")
            if is_heard(heard):
                del delta["audio"]
                self._blocks.hear(read_audio(heard, "delta.audio"), out)
        images = delta.get("images")
        if images is not None and not is_empty(images):
            del delta["images"]
            self._blocks.close_flow(out)
            for number, item in enumerate(read.items(images, "delta.images")):
                self._blocks.whole(read_part(item, f"delta.images[{number}]"), out)
        calls = delta.get("tool_calls")
        if calls is not None and not is_empty(calls):
            del delta["tool_calls"]
            for entry in _objects.decode(calls):
                self._call(entry, out)
        older = delta.get("function_call")
        if older is not None and bytes(older)[:1] == b"{":
            inner = read.fields(older, "delta.function_call")
            if any(not is_empty(raw) for raw in inner.values()):
                del delta["function_call"]
                self._older_call(inner, out)

    def _text_key(self) -> str:
        return "listed" if self._blocks.flow_key() == "listed" else "text"

    def _keep(self, name: str, raw: Raw) -> None:
        """A field of the message that the neutral form has no word for. Lists grow, other values are replaced."""
        value = Raw(bytes(raw))
        before = self._message_extras.get(name)
        if before is not None and bytes(before)[:1] == b"[" and bytes(raw)[:1] == b"[":
            value = Raw(encode([*read.items(before, name), *read.items(raw, name)]))
        elif before is not None and is_empty(raw):
            return
        self._message_extras[name] = value

    def _sign(self, delta: Object, out: list[Delta]) -> None:
        """A signature beside the content belongs to the text."""
        key = self._blocks.flow_key()
        signature = signature_in({"extra_content": delta["extra_content"]})
        if signature is not None and key in ("text", "listed"):
            block, _ = self._blocks.flow(key, _empty_text, out)
            out.append(BlockDelta(choice=self._index, block=block, signature=signature))

    # -- reasoning --------------------------------------------------------------------------------------------------
    def _think(self, part: Reasoning, out: list[Delta]) -> None:
        marks = part.extras or {}
        if "details" in marks:
            entry = read.fields(marks["details"], "reasoning_details")
            self._add_thought(("details", bytes(entry.get("type", b"")), bytes(entry.get("index", b""))), part, out)
        elif "block" not in marks:
            self._add_thought(("plain", bytes(marks.get("fields", b""))), part, out)
            self._blocks.flow_text += part.text
        elif not self._repeats(part, out):
            part.issuer = part.issuer or "anthropic"
            # Each piece says `signature: null` until the last one.
            rest = {
                name: raw for name, raw in read.fields(marks["block"], "thinking_blocks").items() if not is_null(raw)
            }
            part.extras = {**marks, "block": Raw(encode(rest))}
            self._add_thought("block", part, out)

    def _add_thought(self, key: Hashable, part: Reasoning, out: list[Delta]) -> None:
        block, opened = self._blocks.flow(key, lambda: part, out)
        text = text_of(part)
        if not opened and (text or part.signature or part.encrypted or part.redacted):
            out.append(
                BlockDelta(
                    choice=self._index,
                    block=block,
                    text=text,
                    summary_index=0 if part.summary is not None else None,
                    signature=part.signature,
                    encrypted=part.encrypted,
                    redacted=part.redacted,
                )
            )

    def _repeats(self, part: Reasoning, out: list[Delta]) -> bool:
        """Whether a block of thinking only repeats, now signed, what was told as text before; then it closes that."""
        key = self._blocks.flow_key()
        if not isinstance(key, tuple) or key[0] != "plain" or text_of(part) != self._blocks.flow_text:
            return False
        fields = key[1] or b'["reasoning_content"]'
        part.extras = {**(part.extras or {}), "fields": Raw(fields)}
        self._blocks.close_flow(out, part)
        return True

    # -- tools ------------------------------------------------------------------------------------------------------
    def _call(self, entry: Object, out: list[Delta]) -> None:
        raw_index = entry.pop("index", None)
        index = read.whole(raw_index, "index") if raw_index is not None and not is_null(raw_index) else None
        identity = string_in(entry, "id") or ""
        tool = self._blocks.tool(index, identity)
        name, arguments = _piece(entry)
        if tool is None:
            tool = OpenTool(call=_call_of(entry, name), is_answer=name == ANSWER_TOOL)
            self._blocks.begin_tool(index, tool)
        elif tool.block is None:
            tool.call.id = tool.call.id or identity
            tool.call.name += name
        tool.call.signature = tool.call.signature or signature_in(entry)
        if tool.block is None and tool.call.name:
            tool.arguments += arguments
            self._blocks.open_tool(tool, out)
        else:
            self._blocks.more_arguments(tool, arguments, out)

    def _older_call(self, entry: Object, out: list[Delta]) -> None:
        tool = self._blocks.tool(0, "")
        name, arguments = string_in(entry, "name") or "", string_in(entry, "arguments") or ""
        if tool is None:
            call = ToolCall(id="call_function_1", name=name, extras={LEGACY: _TRUE})
            tool = OpenTool(call=call, arguments=arguments)
            self._blocks.begin_tool(0, tool)
            self._blocks.open_tool(tool, out)
        else:
            self._blocks.more_arguments(tool, arguments, out)


def _piece(entry: Object) -> tuple[str, str]:
    """Name and arguments in one entry of a delta's `tool_calls`; either may be absent or null."""
    for field, content in (("function", "arguments"), ("custom", "input")):
        raw = entry.get(field)
        if raw is not None and not is_null(raw):
            inner = read.fields(raw, field)
            arguments = inner.get(content)
            if arguments is None or is_null(arguments):
                text = ""
            elif bytes(arguments)[:1] == b'"':
                text = _text.decode(arguments)
            else:
                text = bytes(arguments).decode("utf-8", "replace")
            return string_in(inner, "name") or "", text
    return "", ""


def _call_of(entry: Object, name: str) -> ToolCall:
    """The call as far as its first entry tells it, without its arguments."""
    field = "custom" if "custom" in entry and "function" not in entry else "function"
    inner = read.fields(entry[field], field) if field in entry and not is_null(entry[field]) else {}
    content = "input" if field == "custom" else "arguments"
    if content in inner and not is_null(inner[content]):
        inner[content] = Raw(b'""')
    inner["name"] = Raw(encode(name))
    entry[field] = Raw(encode(inner))
    return read_call(entry, "delta.tool_calls")


def _empty_text() -> Part:
    return Text(text="")


def _listed_text() -> Part:
    return Text(text="", extras={LISTED: _TRUE})


def _empty_refusal() -> Part:
    return Refusal(text="")


def string_in(given: Object, name: str) -> str | None:
    raw = given.get(name)
    return _text.decode(raw) if raw is not None and bytes(raw)[:1] == b'"' else None
