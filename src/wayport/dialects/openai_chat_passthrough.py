"""Chat on both sides: the model's name is changed, the usage is read, and everything else passes as it is.

This is the hot path. Events are told apart by byte searches: within a JSON string every quote is escaped, so that
`"usage":` with bare quotes can only be a key. They use `find` and not `in`, which is slower (CONTRIBUTING.md says why).
"""

import re
from collections.abc import Sequence
from functools import lru_cache

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from wayport.core.errors import Fault
from wayport.core.usage import Usage
from wayport.dialects.dialect import Glance, Profile, Stated
from wayport.dialects.neutral import DialectName
from wayport.dialects.openai_chat_control import CONTROL, merged
from wayport.dialects.openai_chat_decode import decode_request
from wayport.dialects.openai_chat_encode import encode_request
from wayport.dialects.openai_chat_fault import fault_of_value
from wayport.dialects.openai_chat_message import finish_of
from wayport.dialects.openai_chat_plan import Plan, ask_for_usage
from wayport.dialects.openai_chat_usage import read_usage, usage_of
from wayport.wire import patch, sse
from wayport.wire.openai_chat import OWN_FIELDS, glimpse_decoder, loose_glimpse_decoder
from wayport.wire.patch import Fields

_PLANS = 4096
_QUOTE = 0x22
_BACKSLASH = 0x5C
_D = 0x64

_encode = msgspec.json.Encoder().encode
_any = msgspec.json.Decoder()
_PLAIN = Profile()

_SAID = re.compile(
    rb'"(?:content|reasoning_content|reasoning|refusal|arguments|text|thought_signature)"\s*:\s*"[^"]'
    rb'|"(?:tool_calls|content|reasoning_details|thinking_blocks|images|annotations)"\s*:\s*\[\s*\{'
    rb'|"(?:function_call|audio)"\s*:\s*\{\s*"'
)
_USAGE = re.compile(rb'"usage"\s*:\s*\{\s*"')
_NO_CHOICES = re.compile(rb'"choices"\s*:\s*\[\s*\]')
_MODEL = re.compile(rb'\s*:\s*"')


@lru_cache(maxsize=4096)
def quoted(model: str) -> bytes:
    return _encode(model)


@lru_cache(maxsize=4096)
def named(model: str) -> Raw:
    """The same as a field's value."""
    return Raw(quoted(model))


class ChatPassthrough:
    name: DialectName = "openai_chat"
    removed = CONTROL

    def __init__(self) -> None:
        self._plans: dict[int, Plan] = {}

    def _plan(self, profile: Profile) -> Plan:
        # By identity, because hashing a profile costs more than all the rest. The plan keeps its profile alive, so that
        # no other can take its place.
        plan = self._plans.get(id(profile))
        if plan is None:
            if len(self._plans) >= _PLANS:
                self._plans.clear()
            plan = self._plans[id(profile)] = self._make_plan(profile)
        return plan

    def _make_plan(self, profile: Profile) -> Plan:
        return Plan(profile)

    # -- requests ---------------------------------------------------------------------------------------------------
    def patch_request(
        self, fields: Fields, *, model: str, profile: Profile, want_usage: bool
    ) -> tuple[bytes, Sequence[str]]:
        plan = self._plans.get(id(profile)) or self._plan(profile)
        dropped: list[str] = []
        plain = plan.plain.issuperset(fields)
        if plain or OWN_FIELDS.issuperset(fields):
            out = fields.copy()
        else:
            out, dropped = merged(fields)
        if plan.minds_messages(out) or not (plain or not plan.minds_fields(out)):
            request = replace(decode_request(out), model=model)
            encoded = encode_request(request, profile)
            return encoded.body, [*dropped, *encoded.dropped, *encoded.lowered]
        out["model"] = named(model)
        if plan.always or not (plain or plan.touches.isdisjoint(out)):
            plan.apply(out, dropped)
        if want_usage and plan.stream_usage:
            stream = out.get("stream")
            if stream is not None and bytes(stream) == b"true":
                ask_for_usage(out)
        return _encode(out), dropped

    # -- whole answers ----------------------------------------------------------------------------------------------
    def patch_response(self, body: bytes, *, model: str | None) -> tuple[bytes, Stated]:
        try:
            glimpse = glimpse_decoder.decode(body)
        except msgspec.ValidationError:
            stated = Stated(_loose_usage(body))
        else:
            usage = glimpse.usage
            if usage is None and glimpse.x_groq is not None:
                usage = glimpse.x_groq.usage
            choices = glimpse.choices
            word = choices[0].finish_reason if choices else None
            stated = Stated(
                None if usage is None else usage_of(usage),
                glimpse.id,
                glimpse.service_tier,
                None if word is None else finish_of(word),
            )
        return (body if model is None else rename(body, quoted(model), 1)), stated

    # -- events -----------------------------------------------------------------------------------------------------
    def glance(self, event: bytes) -> Glance:
        if event.find(b'"error"') >= 0 and _is_error(event):
            return Glance.ERROR
        at = event.find(b'"content":"')
        if at >= 0 and event[at + 11] != _QUOTE:
            return Glance.CONTENT
        if event.find(b'"tool_calls":[{') >= 0:
            return Glance.CONTENT
        at = event.find(b'"reasoning_content":"')
        if at >= 0 and event[at + 21] != _QUOTE:
            return Glance.CONTENT
        at = event.find(b'"content": "')
        if at >= 0 and event[at + 12] != _QUOTE:
            return Glance.CONTENT
        if event.startswith(b"data: [DONE]"):
            return Glance.TERMINAL
        return _glance_again(event)

    def passes(self, data: bytes, start: int) -> bool:
        at = data.find(b'"delta":{"content":"', start)
        if at < 0 or data[at + 20] == _QUOTE:
            at = data.find(b'"content":"', start)
            if at < 0 or data[at + 11] == _QUOTE or data.find(b'"delta"', start) < 0:
                return False
        return data.find(b'"error"', start) < 0

    def usage_of(self, event: bytes, before: Usage | None) -> Usage | None:
        data = sse.parse(event).data
        if not data.startswith(b"{"):
            return before
        _, stated = self.patch_response(data, model=None)
        return stated.usage or _usage_of_choices(data) or before

    def fault_of(self, event: bytes) -> Fault:
        data = sse.parse(event).data
        try:
            given = _any.decode(data)
        except (ValueError, RecursionError):
            given = data.decode("utf-8", "replace")
        return fault_of_value(given, status=200, headers={}, profile=_PLAIN)

    def patch_event(self, event: bytes, *, model: str | None, keep_usage: bool) -> bytes:
        if not keep_usage and event.find(b'"delta"') < 0 and _NO_CHOICES.search(event) and _USAGE.search(event):
            # Only the event that we asked for; usage on a chunk that says something is the upstream's own way.
            return b""
        if model is None:
            return event
        return rename(event, quoted(model), 7)


def _glance_again(event: bytes) -> Glance:
    if event[:1] != b"d":
        # A comment, or a named event.
        data = sse.parse(event).data
        if not data:
            return Glance.OPENING
        if data.startswith(b"[DONE]"):
            return Glance.TERMINAL
        if event.startswith(b"event: error"):
            return Glance.ERROR
    if _SAID.search(event):
        return Glance.CONTENT
    if event.find(b'"usage"') >= 0 and _USAGE.search(event):
        return Glance.USAGE
    if event.find(b'"choices"') < 0:
        if event.startswith(b"data:") and sse.parse(event).data.startswith(b"[DONE]"):
            return Glance.TERMINAL
        if _is_error(event):
            return Glance.ERROR
    return Glance.OPENING


def _is_error(event: bytes) -> bool:
    """Whether the word that was found is an error, and not a finish reason or a key further down."""
    parsed = sse.parse(event)
    try:
        given = _any.decode(parsed.data)
    except (ValueError, RecursionError):
        return parsed.name == "error"
    if not isinstance(given, dict):
        return False
    if given.get("error") is not None or parsed.name == "error":
        return True
    return "choices" not in given and (given.get("object") == "error" or "detail" in given)


def _loose_usage(body: bytes) -> Usage | None:
    try:
        return read_usage(loose_glimpse_decoder.decode(body).usage)
    except msgspec.ValidationError:
        return None


def _usage_of_choices(data: bytes) -> Usage | None:
    """Kimi states the usage of a stream within its choice."""
    given = _any.decode(data)
    for choice in given.get("choices") or ():
        if isinstance(choice, dict) and isinstance(choice.get("usage"), dict):
            return read_usage(_encode(choice["usage"]))
    return None


def rename(body: bytes, model: bytes, start: int) -> bytes:
    """The same JSON with another `model` at its top. `start`: behind the brace that opens it."""
    at = body.find(b'"model"', start)
    if at < 0:
        return body
    if body.find(b"{", start, at) >= 0:
        # Something is nested before it, which may have a `model` of its own.
        return _rename_slowly(body, model)
    opening = at + 8
    if body[at + 7 : at + 10] == b': "':
        opening = at + 9
    elif body[at + 7 : at + 9] != b':"':
        match = _MODEL.match(body, at + 7)
        if match is None:
            return _rename_slowly(body, model)
        opening = match.end() - 1
    end = body.find(b'"', opening + 1)
    if end < 0 or body[end - 1] == _BACKSLASH:
        return _rename_slowly(body, model)
    return body[:opening] + model + body[end + 1 :]


def _rename_slowly(body: bytes, model: bytes) -> bytes:
    is_event = body[:1] != b"{" and body.lstrip()[:1] != b"{"
    data = sse.parse(body).data if is_event else body
    try:
        fields = patch.split(data)
    except ValueError:
        return body
    if "model" not in fields:
        return body
    fields["model"] = Raw(model)
    written = _encode(fields)
    return sse.write(written, sse.parse(body).name) if is_event else written
