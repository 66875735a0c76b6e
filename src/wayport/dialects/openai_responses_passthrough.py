"""The Responses dialect on both sides: what must be read and changed, as bytes.

The usage stands in the last event of every stream, so nothing is asked for and nothing taken out. The model's name
stands inside the `response` of lifecycle events.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from wayport.core.errors import Fault
from wayport.core.usage import Usage
from wayport.dialects.dialect import Glance, Profile, Stated
from wayport.dialects.neutral import DialectName, FinishReason, Request
from wayport.dialects.openai_responses_blocks import one_line
from wayport.dialects.openai_responses_control import REMOVED, upstream_fields
from wayport.dialects.openai_responses_errors import fault_of_event, fault_of_response
from wayport.dialects.openai_responses_fit import Fitting
from wayport.dialects.openai_responses_frame import finish_of, summary_usage
from wayport.dialects.openai_responses_parts import NAME, is_object
from wayport.dialects.sealing import PREFIX_BYTES
from wayport.wire import patch, sse
from wayport.wire.openai_responses import (
    ERROR_EVENT,
    LIFECYCLE,
    NO_RAW,
    NULL,
    OBJECT,
    SUMMARY,
    TAG,
    Summary,
)
from wayport.wire.patch import Fields

_GLANCES: Mapping[bytes, Glance] = {
    b"response.created": Glance.OPENING,
    b"response.queued": Glance.OPENING,
    b"response.in_progress": Glance.OPENING,
    b"response.reasoning_summary_part.added": Glance.OPENING,
    b"keepalive": Glance.OPENING,
    b"ping": Glance.OPENING,
    b"response.heartbeat": Glance.OPENING,
    b"response.completed": Glance.TERMINAL,
    b"response.incomplete": Glance.TERMINAL,
    b"response.cancelled": Glance.TERMINAL,
    b"response.failed": Glance.ERROR,
    b"error": Glance.ERROR,
}
_LIFECYCLE = (b"response.created", b"response.queued", b"response.in_progress", b"response.failed")
_TEXT = b"event: response.output_text.delta\n"
_SEAL = re.compile(re.escape(PREFIX_BYTES))
_WITH_RESPONSE = frozenset((*_LIFECYCLE, b"response.completed", b"response.incomplete", b"response.cancelled"))


class ResponsesPassthrough:
    name: DialectName = NAME
    removed = REMOVED

    def patch_request(
        self, fields: Fields, *, model: str, profile: Profile, want_usage: bool
    ) -> tuple[bytes, Sequence[str]]:
        del want_usage  # every stream of this dialect states it
        body: dict[str, Any]
        body, refused = upstream_fields(fields)
        body["model"] = patch.encode(model)
        given = body.get("input")
        if given is not None and _SEAL.search(memoryview(given)):
            body["input"] = without_seals(given)
        if not _touched(profile):
            return patch.join(body), refused
        fitting = Fitting(Request(dialect=NAME, model=model, messages=[]), profile)
        opened = _opened(body)
        fitting.apply(opened)
        return patch.join(
            {name: _closed(body, name, value) for name, value in opened.items()}
        ), refused + fitting.reported

    def patch_response(self, body: bytes, *, model: str | None) -> tuple[bytes, Stated]:
        stated = _stated(body)
        if model is None:
            return body, stated
        fields = patch.split(body)
        if "model" in fields:
            fields["model"] = patch.encode(model)
        return patch.join(fields), stated

    def glance(self, event: bytes) -> Glance:
        kind = _kind(event)
        found = _GLANCES.get(kind)
        if found is not None:
            return found
        if kind == b"response.content_part.added":
            return (
                Glance.OPENING if event.find(b'"text":""') >= 0 or event.find(b'"refusal":""') >= 0 else Glance.CONTENT
            )
        if kind == b"response.output_item.added":
            return Glance.OPENING if _announces(event) else Glance.CONTENT
        return Glance.CONTENT if kind else Glance.OPENING

    def passes(self, data: bytes, start: int) -> bool:
        return data.startswith(_TEXT, start)

    def usage_of(self, event: bytes, before: Usage | None) -> Usage | None:
        usage = summary_usage(_summary(event))
        return usage if usage is not None else before

    def fault_of(self, event: bytes) -> Fault:
        try:
            if _kind(event) == b"response.failed":
                error = _summary(event).error
                return fault_of_response(error if error is not NO_RAW else NULL)
            return fault_of_event(ERROR_EVENT.decode(sse.parse(event).data))
        except ValueError:
            return Fault(kind="server", status=0, message="the upstream reported a failure that cannot be read")

    def patch_event(self, event: bytes, *, model: str | None, keep_usage: bool) -> bytes:
        del keep_usage  # part of the terminal event, which every client of this dialect expects
        if model is None or _kind(event) not in _WITH_RESPONSE:
            return event
        name, data = sse.parse(event)
        fields = OBJECT.decode(data)
        response = OBJECT.decode(fields.get("response", Raw(b"{}")))
        if "model" not in response:
            return event
        response["model"] = patch.encode(model)
        fields["response"] = Raw(patch.join(response))
        return sse.write(one_line(patch.join(fields)), name)


def _kind(event: bytes) -> bytes:
    """The event's type, from its `event:` line, else from the data."""
    if event.startswith(b"event: "):
        return event[7 : event.find(b"\n")].strip()
    if event.startswith(b'data: {"type":"'):
        return event[15 : event.find(b'"', 15)]
    parsed = sse.parse(event)
    if parsed.name and parsed.name != "message":
        return parsed.name.encode()
    try:
        return (TAG.decode(parsed.data).type or "").encode() if parsed.data else b""
    except ValueError:
        return b"?"


def _announces(event: bytes) -> bool:
    """Whether an added item says nothing yet: a message without content, reasoning."""
    try:
        item = OBJECT.decode(OBJECT.decode(sse.parse(event).data)["item"])
        kind = bytes(item["type"])
    except (ValueError, KeyError):
        return False
    return kind == b'"reasoning"' or (kind == b'"message"' and bytes(item.get("content", b"[]")) == b"[]")


def _summary(event: bytes) -> Summary:
    try:
        return LIFECYCLE.decode(sse.parse(event).data).response
    except ValueError:
        return Summary()


def _stated(body: bytes) -> Stated:
    try:
        summary = SUMMARY.decode(body)
    except msgspec.ValidationError:
        return Stated()
    finish: FinishReason | None = None
    if summary.status is not None:
        details = summary.incomplete_details
        finish, _ = finish_of(summary.status, None if details is NO_RAW or details == NULL else details, ())
    return Stated(summary_usage(summary), summary.id, summary.service_tier, finish)


def without_seals(items: Raw) -> Raw:
    """The input without envelopes of ours: only Wayport can read them, and OpenAI refuses what it did not encrypt."""
    try:
        kept = [raw for raw in msgspec.json.decode(items, type=list[Raw]) if not _is_sealed(raw)]
    except ValueError:
        return items
    return patch.encode(kept)


def _is_sealed(raw: Raw) -> bool:
    if PREFIX_BYTES not in bytes(raw) or TAG.decode(raw).type != "reasoning":
        return False
    content = bytes(OBJECT.decode(raw).get("encrypted_content", b""))
    return content.startswith(b'"' + PREFIX_BYTES)


# ------------------------------------------------------------------------------------------------------ the profile
_PLAIN = Profile()


def _touched(profile: Profile) -> bool:
    """Whether this target wants anything changed at all: asked on the fast way."""
    return profile is not _PLAIN and (
        bool(profile.unsupported or profile.unsupported_reasoning or profile.renames or profile.constants)
        or bool(profile.exclusive or profile.reasoning_efforts)
        or profile.max_output_tokens is not None
        or profile.temperature_max is not None
        or profile.reasoning == "none"
    )


_NUMBERS = ("max_output_tokens", "temperature")
_OBJECTS = ("reasoning", "text")


def _opened(body: dict[str, Any]) -> dict[str, Any]:
    """The body with those fields decoded that a profile may speak of."""
    opened = dict(body)
    for name in _NUMBERS:
        if name in opened and opened[name] != NULL:
            opened[name] = msgspec.json.decode(opened[name])
    for name in _OBJECTS:
        if name in opened and is_object(opened[name]):
            opened[name] = {
                key: msgspec.json.decode(value) if key == "effort" else value
                for key, value in OBJECT.decode(opened[name]).items()
            }
    return opened


def _closed(before: Mapping[str, Any], name: str, value: Any) -> Raw:
    """The field as it was, byte for byte, unless it was changed."""
    if isinstance(value, Raw):
        return value
    raw = before.get(name)
    if raw is not None and msgspec.json.decode(raw) == msgspec.json.decode(patch.encode(value)):
        return Raw(raw)
    return patch.encode(value)
