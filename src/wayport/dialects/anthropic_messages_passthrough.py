"""The Messages API on both sides: what must be read and changed, and nothing else decoded."""

import re
from collections.abc import Sequence
from typing import Final

from msgspec import Raw
from msgspec.structs import replace

from wayport.core.errors import Fault
from wayport.core.usage import Usage
from wayport.dialects.anthropic_messages_blocks import one_line
from wayport.dialects.anthropic_messages_control import REMOVED, upstream_fields
from wayport.dialects.anthropic_messages_errors import decode_stream_error
from wayport.dialects.anthropic_messages_fields import NAME, NULL
from wayport.dialects.anthropic_messages_options import NEVER_REFUSED, knows_effort
from wayport.dialects.anthropic_messages_request import decode_request
from wayport.dialects.anthropic_messages_upstream import draft_request
from wayport.dialects.anthropic_messages_usage import finish_of, merge, tier_of
from wayport.dialects.dialect import Glance, Profile, Stated
from wayport.dialects.neutral import DialectName
from wayport.dialects.sealing import PREFIX_BYTES
from wayport.wire import anthropic_messages as wire
from wayport.wire import patch, sse
from wayport.wire.patch import Fields

_GLANCES: Final = {
    b"message_start": Glance.USAGE,
    b"content_block_delta": Glance.CONTENT,
    b"content_block_stop": Glance.CONTENT,
    b"message_delta": Glance.USAGE,
    b"message_stop": Glance.TERMINAL,
    b"error": Glance.ERROR,
    b"ping": Glance.OPENING,
}

_DELTA = b"event: content_block_delta\n"
_TYPE = re.compile(rb'(?:event: ?(?P<name>\w+)|data: ?\{\s*"type"\s*:\s*"(?P<type>\w+)")')
# A text or a thought begins empty: nothing of the answer is in it yet.
_EMPTY_START = re.compile(rb'"type"\s*:\s*"(?:text|thinking)"')
_NON_EMPTY = re.compile(rb'"(?:text|thinking)"\s*:\s*"[^"]')

_EFFORT = re.compile(rb'"effort"\s*:\s*"(\w+)"')
_SYSTEM_ROLE = re.compile(rb'"role"\s*:\s*"system"')


class MessagesPassthrough:
    """`Passthrough` of `anthropic_messages`."""

    name: DialectName = NAME
    removed: frozenset[str] = REMOVED

    def patch_request(
        self, fields: Fields, *, model: str, profile: Profile, want_usage: bool
    ) -> tuple[bytes, Sequence[str]]:
        """A stream of this API always states its usage. What must be rebuilt for this target goes the long way round."""
        del want_usage
        if _must_rebuild(fields, profile):
            request = replace(decode_request(fields, {}), model=model)
            draft, _ = draft_request(request, profile)
            return wire.encode(draft.body), [*draft.dropped, *draft.lowered]
        kept = upstream_fields(fields)
        kept["model"] = patch.encode(model)
        changed = [name for name in sorted(profile.unsupported) if _without(kept, name)]
        if _lower_limit(kept, profile):
            changed.append("max_tokens")
        changed += _fit_target(kept, profile)
        return patch.join(kept), changed

    def patch_response(self, body: bytes, *, model: str | None) -> tuple[bytes, Stated]:
        fields = patch.split(body)
        stated = Stated(id=_text(fields, "id"))
        raw = fields.get("usage", NULL)
        if raw != NULL:
            usage = wire.decode_usage(raw)
            stated.usage = merge(None, usage)
            stated.service_tier = tier_of(usage)
        word = _text(fields, "stop_reason")
        if word is not None:
            stated.finish = finish_of(word)
        if model is None:
            return body, stated
        fields["model"] = patch.encode(model)
        return patch.join(fields), stated

    def glance(self, event: bytes) -> Glance:
        if event.startswith(_DELTA):
            return Glance.CONTENT
        match = _TYPE.search(event)
        if match is None:
            return Glance.OPENING
        name = match["name"] or match["type"]
        if name == b"content_block_start":
            empty = _EMPTY_START.search(event) and not _NON_EMPTY.search(event)
            return Glance.OPENING if empty else Glance.CONTENT
        return _GLANCES.get(name, Glance.OPENING)

    def passes(self, data: bytes, start: int) -> bool:
        return data.startswith(_DELTA, start)

    def usage_of(self, event: bytes, before: Usage | None) -> Usage | None:
        data = sse.parse(event).data
        if not data:
            return before
        seen = wire.decode_event(data)
        usage = seen.usage
        if seen.type == "message_start" and bytes(seen.message):
            usage = wire.decode_fields(seen.message).get("usage", NULL)
        if not bytes(usage) or usage == NULL:
            return before
        return merge(before, wire.decode_usage(usage))

    def fault_of(self, event: bytes) -> Fault:
        return decode_stream_error(sse.parse(event).data)

    def patch_event(self, event: bytes, *, model: str | None, keep_usage: bool) -> bytes:
        """The model's name stands in `message_start` only. Usage is a part of this API's events and stays."""
        del keep_usage
        if model is None or event.startswith(_DELTA) or event.find(b'"message_start"') < 0:
            return event
        parsed = sse.parse(event)
        fields = wire.decode_fields(parsed.data)
        if fields.get("type") != _MESSAGE_START or "message" not in fields:
            return event
        message = wire.decode_fields(fields["message"])
        message["model"] = patch.encode(model)
        fields["message"] = Raw(patch.join(message))
        return sse.write(one_line(patch.join(fields)), parsed.name)


_MESSAGE_START = Raw(b'"message_start"')


def _must_rebuild(fields: Fields, profile: Profile) -> bool:
    """Whether something inside the fields cannot go to this target as it is."""
    messages = bytes(fields.get("messages", b""))
    if PREFIX_BYTES in messages:
        # Thoughts of another provider, from before the conversation came here.
        return True
    if profile.mid_system is False and _SYSTEM_ROLE.search(messages):
        return True
    if profile.reasoning in ("budget", "none") and b'"adaptive"' in bytes(fields.get("thinking", b"")):
        return True
    effort = _EFFORT.search(bytes(fields.get("output_config", b"")))
    return effort is not None and not knows_effort(profile, effort[1].decode())


def _without(fields: Fields, name: str) -> bool:
    """Takes out a field, or one inside a field (`output_config.effort`); whether it was there."""
    outer, _, inner = name.partition(".")
    if outer in NEVER_REFUSED or outer not in fields:
        return False
    if not inner:
        del fields[outer]
        # Where `stream` is refused the path says it: nothing is lost.
        return outer != "stream"
    try:
        holder = wire.decode_fields(fields[outer])
    except ValueError:
        return False
    if holder.pop(inner, None) is None:
        return False
    if holder:
        fields[outer] = Raw(wire.encode(holder))
    else:
        del fields[outer]
    return True


def _fit_target(fields: Fields, profile: Profile) -> list[str]:
    """What the profile says of other top-level fields; the names of those left out."""
    surplus = [name for name in profile.exclusive if name in fields][1:]
    for name in surplus:
        del fields[name]
    for name, here in profile.renames.items():
        if name in fields:
            fields[here] = fields.pop(name)
    for name, value in profile.constants.items():
        fields[name] = patch.encode(value)
    if not profile.model_in_body:
        del fields["model"]
    return surplus


def _lower_limit(fields: Fields, profile: Profile) -> bool:
    """Fits `max_tokens` under the model's ceiling, and adds the default where it is missing; whether it was lowered."""
    asked = fields.get("max_tokens")
    cap = profile.max_output_tokens
    if asked is None:
        if profile.default_max_tokens is not None:
            fields["max_tokens"] = patch.encode(profile.default_max_tokens)
        return False
    if cap is None:
        return False
    try:
        lower = wire.decode_int(asked) > cap
    except ValueError:
        return False
    if lower:
        fields["max_tokens"] = patch.encode(cap)
    return lower


def _text(fields: Fields, name: str) -> str | None:
    raw = fields.get(name, NULL)
    try:
        return None if raw == NULL else wire.decode_str(raw)
    except ValueError:
        return None
