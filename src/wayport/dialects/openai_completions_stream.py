"""A stream of legacy completions, read into deltas: each choice is one text."""

from collections.abc import Iterable

import msgspec
from msgspec import Raw, Struct

from wayport.core.errors import BadRequest, Fault
from wayport.dialects import openai_read as read
from wayport.dialects.dialect import Profile
from wayport.dialects.neutral import (
    BlockClosed,
    BlockDelta,
    BlockOpened,
    ChoiceFinished,
    Delta,
    Ended,
    Extras,
    Failed,
    LogprobsAdded,
    Pinged,
    Started,
    Text,
    UsageReported,
)
from wayport.dialects.openai_chat_choice import string_in
from wayport.dialects.openai_chat_fault import fault_of_value
from wayport.dialects.openai_chat_message import read_finish
from wayport.dialects.openai_chat_usage import read_usage
from wayport.dialects.openai_completions_answer import read_logprobs
from wayport.dialects.openai_read import Object, is_null
from wayport.wire.sse import Event

_ENVELOPE = frozenset(("id", "object", "created", "model", "choices", "usage", "error"))
_object = msgspec.json.Decoder(Object)
_objects = msgspec.json.Decoder(list[Object])
_PLAIN = Profile()


class _Told(Struct):
    extras: Extras
    opened: bool = False
    finished: bool = False


class CompletionStreamDecoder:
    def __init__(self) -> None:
        self._choices: dict[int, _Told] = {}
        self._started = False
        self._over = False
        self._usage = b""

    def feed(self, event: Event) -> Iterable[Delta]:
        if self._over:
            return ()
        data = event.data
        if not data:
            return (Pinged(),)
        if data.startswith(b"[DONE]"):
            return self._done()
        try:
            chunk = _object.decode(data)
            error = chunk.get("error")
            if event.name == "error" or (error is not None and not is_null(error)) or "choices" not in chunk:
                return self._fail(fault_of_value(msgspec.json.decode(data), status=200, headers={}, profile=_PLAIN))
            return self._read(chunk)
        except (ValueError, RecursionError, BadRequest) as problem:
            reason = problem.message if isinstance(problem, BadRequest) else str(problem)
            return self._fail(
                Fault(kind="malformed", status=0, message=f"The upstream sent an event that is no completion: {reason}")
            )

    def _fail(self, fault: Fault) -> Iterable[Delta]:
        self._over = True
        return (Failed(fault=fault),)

    def _read(self, chunk: Object) -> list[Delta]:
        out: list[Delta] = []
        if not self._started:
            self._started = True
            created = chunk.get("created")
            extras = {name: Raw(bytes(raw)) for name, raw in chunk.items() if name not in _ENVELOPE}
            out.append(
                Started(
                    id=string_in(chunk, "id") or "",
                    model=string_in(chunk, "model") or "",
                    created=int(read.number(created, "created")) if created and not is_null(created) else None,
                    extras=extras or None,
                    dialect="openai_completions",
                )
            )
        for number, given in enumerate(_objects.decode(chunk["choices"])):
            index = given.pop("index", None)
            self._read_choice(read.whole(index, "index") if index is not None else number, given, out)
        usage = chunk.get("usage")
        if usage is not None and bytes(usage)[:1] == b"{" and bytes(usage) != self._usage:
            stated = read_usage(usage)
            if stated is not None:
                self._usage = bytes(usage)
                out.append(UsageReported(usage=stated, raw=Raw(self._usage)))
        return out

    def _read_choice(self, index: int, given: Object, out: list[Delta]) -> None:
        told = self._choices.setdefault(index, _Told(extras={}))
        if told.finished:
            return
        word = given.pop("finish_reason", None)
        is_last = word is not None and bytes(word) not in (b"null", b'""')
        raw = given.get("logprobs")
        if raw is not None and not is_null(raw):
            tokens = read_logprobs(raw)
            if tokens:
                out.append(LogprobsAdded(choice=index, tokens=tokens))
            del given["logprobs"]
        raw = given.pop("text", None)
        text = read.text(raw, "choices.text") if raw is not None and not is_null(raw) else ""
        if not told.opened:
            told.opened = True
            out.append(BlockOpened(choice=index, block=0, part=Text(text="")))
        if text:
            out.append(BlockDelta(choice=index, block=0, text=text))
        for name, value in given.items():
            if is_last or not is_null(value):
                told.extras[name] = Raw(bytes(value))
        if is_last and word is not None:
            self._finish(index, told, read.text(word, "finish_reason"), out)

    @staticmethod
    def _finish(index: int, told: _Told, word: str, out: list[Delta]) -> None:
        told.finished = True
        out.append(BlockClosed(choice=index, block=0))
        finish = read_finish(word, has_calls=False)
        out.append(ChoiceFinished(choice=index, finish=finish, finish_raw=word or finish, extras=told.extras or None))

    def _done(self) -> Iterable[Delta]:
        self._over = True
        if not self._started:
            message = "The upstream ended its stream without an answer."
            return (Failed(fault=Fault(kind="malformed", status=0, message=message)),)
        out: list[Delta] = []
        for index, told in self._choices.items():
            if not told.finished:
                self._finish(index, told, "", out)
        return [*out, Ended()]

    def end(self) -> Iterable[Delta]:
        if self._over:
            return ()
        self._over = True
        if self._choices and all(told.finished for told in self._choices.values()):
            return (Ended(),)
        message = "The upstream's stream broke off before the answer was complete."
        return (Failed(fault=Fault(kind="cut", status=0, message=message)),)
