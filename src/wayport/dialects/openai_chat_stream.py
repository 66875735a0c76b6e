"""A chat stream, read into deltas.

What must stay true: each choice finishes once, after all its blocks; `[DONE]`, or a finish reason before the bytes end,
is the clean end, and every other end is a `Failed`.
"""

from collections.abc import Iterable

import msgspec
from msgspec import Raw

from wayport.core.errors import BadRequest, Fault
from wayport.dialects import openai_read as read
from wayport.dialects.dialect import Profile
from wayport.dialects.neutral import (
    Annotated,
    Delta,
    Ended,
    Extras,
    Failed,
    Pinged,
    Started,
    UsageReported,
)
from wayport.dialects.openai_chat_choice import ChoiceReader, string_in
from wayport.dialects.openai_chat_fault import fault_of_value
from wayport.dialects.openai_chat_usage import read_usage
from wayport.dialects.openai_read import Object, is_empty, is_null
from wayport.wire.sse import Event

_ENVELOPE = frozenset(("id", "object", "created", "model", "choices", "usage", "service_tier", "obfuscation", "error"))
_object = msgspec.json.Decoder(Object)
_objects = msgspec.json.Decoder(list[Object])
_PLAIN = Profile()


class ChatStreamDecoder:
    """Reads one stream of chat chunks."""

    def __init__(self) -> None:
        self._choices: dict[int, ChoiceReader] = {}
        self._started = False
        self._over = False
        self._seen: dict[str, bytes] = {}
        self._early: Extras = {}
        self._usage = b""
        self._model = ""
        self._tier: str | None = None

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
            if event.name == "error" or (error is not None and not is_null(error)) or _is_error(chunk):
                return self._fail(fault_of_value(msgspec.json.decode(data), status=200, headers={}, profile=_PLAIN))
            return self._read(chunk)
        except (ValueError, RecursionError, BadRequest) as problem:
            reason = problem.message if isinstance(problem, BadRequest) else str(problem)
            return self._fail(
                Fault(kind="malformed", status=0, message=f"The upstream sent an event that is no chat chunk: {reason}")
            )

    def _fail(self, fault: Fault) -> Iterable[Delta]:
        self._over = True
        return (Failed(fault=fault),)

    def _read(self, chunk: Object) -> list[Delta]:
        out: list[Delta] = []
        raw = chunk.get("choices")
        choices = _objects.decode(raw) if raw is not None and not is_null(raw) else []
        self._envelope(chunk, out, has_choices=bool(choices))
        for number, choice in enumerate(choices):
            index = choice.pop("index", None)
            place = number if index is None else read.whole(index, "choices.index")
            reader = self._choices.get(place)
            if reader is None:
                reader = self._choices[place] = ChoiceReader(place)
            inner = choice.get("usage")
            reader.read(choice, out)
            if inner is not None and bytes(inner)[:1] == b"{":  # Kimi
                self._report(inner, out)
        usage = chunk.get("usage")
        if usage is not None and bytes(usage)[:1] == b"{":
            self._report(usage, out)
        elif "x_groq" in chunk and b'"usage"' in bytes(chunk["x_groq"]):
            self._report(read.fields(chunk["x_groq"], "x_groq").get("usage", Raw(b"null")), out)
        return out

    def _envelope(self, chunk: Object, out: list[Delta], *, has_choices: bool) -> None:
        """What stands around the choices: told once, and again where it changes."""
        extras: Extras = {}
        for name, raw in chunk.items():
            if name not in _ENVELOPE:
                value = bytes(raw)
                if self._seen.get(name) != value and not (self._started and value == b"null"):
                    self._seen[name] = value
                    extras[name] = Raw(value)
        tier = string_in(chunk, "service_tier")
        if not self._started:
            identity = string_in(chunk, "id") or ""
            if not identity and not has_choices:
                # Azure's first chunk judges the prompt and names nobody.
                self._early.update(extras)
                return
            self._start(chunk, identity, tier, extras, out)
            return
        model = string_in(chunk, "model")
        if extras or (tier is not None and tier != self._tier) or (model and model != self._model):
            out.append(
                Annotated(
                    model=model if model and model != self._model else None,
                    service_tier=tier if tier != self._tier else None,
                    extras=extras or None,
                )
            )
            self._tier = tier or self._tier
            self._model = model or self._model

    def _start(self, chunk: Object, identity: str, tier: str | None, extras: Extras, out: list[Delta]) -> None:
        self._started = True
        created = chunk.get("created")
        self._model = string_in(chunk, "model") or ""
        self._tier = tier
        if tier is None and "service_tier" in chunk:
            extras["service_tier"] = chunk["service_tier"]
        out.append(
            Started(
                id=identity,
                model=self._model,
                created=int(read.number(created, "created")) if created is not None and not is_null(created) else None,
                service_tier=tier,
                extras={**self._early, **extras} or None,
                dialect="openai_chat",
            )
        )

    def _report(self, raw: Raw, out: list[Delta]) -> None:
        value = bytes(raw)
        if value == self._usage or is_empty(raw):
            return
        usage = read_usage(raw)
        if usage is not None:
            self._usage = value
            out.append(UsageReported(usage=usage, raw=Raw(value)))

    def _done(self) -> Iterable[Delta]:
        self._over = True
        if not self._started:
            return (
                Failed(
                    fault=Fault(kind="malformed", status=0, message="The upstream ended its stream without an answer.")
                ),
            )
        out: list[Delta] = []
        for choice in self._choices.values():
            if not choice.finished:
                # `[DONE]` is a word of its own: some say nothing else at the end (Snowflake).
                choice.finish("", out)
        out.append(Ended())
        return out

    def end(self) -> Iterable[Delta]:
        if self._over:
            return ()
        self._over = True
        if self._choices and all(choice.finished for choice in self._choices.values()):
            return (Ended(),)
        message = "The upstream's stream broke off before the answer was complete."
        return (Failed(fault=Fault(kind="cut", status=0, message=message)),)


def _is_error(chunk: Object) -> bool:
    """VLLM's older shape, and pydantic's."""
    return "choices" not in chunk and (bytes(chunk.get("object", b"")) == b'"error"' or "detail" in chunk)
