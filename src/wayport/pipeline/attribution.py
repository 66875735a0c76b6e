"""Whose call it is beyond its key: end user, tags, session, trace, metadata, from the body and from headers.

Reads the few fields that name them and nothing else; what is too long is cut, what is no such value is passed over: no
call fails for how it is labelled.
"""

import msgspec
from msgspec import Raw, Struct

from wayport.core.trace import parent_of
from wayport.pipeline.call import Call

MOST_TAGS = 32
TAG_CHARS = 128
ID_CHARS = 256
METADATA_BYTES = 8 * 1024

IN_BODY = frozenset({
    "litellm_metadata", "metadata", "tags", "litellm_session_id", "litellm_trace_id", "user", "safety_identifier",
})  # fmt: skip
IN_HEAD = frozenset({
    b"x-wayport-tags", b"x-litellm-tags", b"x-litellm-session-id", b"x-litellm-trace-id", b"traceparent", b"x-litellm-spend-logs-metadata",
    b"x-litellm-end-user-id", b"x-litellm-customer-id",
})  # fmt: skip
"""fields and headers that say something of a call's origin; most calls have none of them"""

_text = msgspec.json.Decoder(str).decode
_tags = msgspec.json.Decoder(list[str]).decode


class _Labels(Struct, frozen=True):
    """What `metadata` may say of the call itself. Empty: nothing."""

    tags: Raw = Raw()
    user_id: Raw = Raw()
    session_id: Raw = Raw()
    trace_id: Raw = Raw()


_NO_LABELS = _Labels()


_labels = msgspec.json.Decoder(_Labels).decode


def attribute(call: Call) -> None:
    """Puts on the call what body and headers say of its origin. A header beats the body."""
    fields = call.fields
    if IN_BODY.isdisjoint(fields) and IN_HEAD.isdisjoint(call.client.headers):
        return
    header = call.client.header
    raw = fields.get("litellm_metadata") or fields.get("metadata")
    labels = _read(call, bytes(raw)) if raw is not None else _NO_LABELS
    call.end_user = _end_user(call, labels)
    named = header(b"x-wayport-tags")
    if named is None:
        named = header(b"x-litellm-tags")
    if named is not None:
        call.tags = _bounded(named.decode("latin-1").split(","))
    elif tags := fields.get("tags") or labels.tags:
        call.tags = _tags_of(tags)
    session = header(b"x-litellm-session-id")
    call.session_id = (
        session[:ID_CHARS].decode("latin-1")
        if session is not None
        else _string(fields.get("litellm_session_id") or labels.session_id)
    )
    if (stated_parent := header(b"traceparent")) is not None and (parent := parent_of(stated_parent)) is not None:
        call.trace_id, call.parent_span_id = parent
    elif (trace := header(b"x-litellm-trace-id")) is not None:
        call.trace_id = trace[:ID_CHARS].decode("latin-1")
    else:
        call.trace_id = _string(fields.get("litellm_trace_id") or labels.trace_id)
    if (stated := header(b"x-litellm-spend-logs-metadata")) is not None and len(stated) <= METADATA_BYTES:
        call.metadata = _with_spend_logs(call.metadata, stated)


def _end_user(call: Call, labels: _Labels) -> str | None:
    header = call.client.header
    named = header(b"x-litellm-end-user-id") or header(b"x-litellm-customer-id")
    if named is not None:
        return named[:ID_CHARS].decode("latin-1")
    fields = call.fields
    return _string(fields.get("user") or labels.user_id or fields.get("safety_identifier"))


def _read(call: Call, raw: bytes) -> _Labels:
    try:
        labels = _labels(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _NO_LABELS
    if len(raw) <= METADATA_BYTES:
        call.metadata = raw
    return labels


def _string(raw: Raw | None) -> str | None:
    if not raw:
        return None
    try:
        return _text(raw)[:ID_CHARS] or None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _tags_of(raw: Raw) -> list[str]:
    try:
        return _bounded(_tags(raw))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return []


def _bounded(tags: list[str]) -> list[str]:
    """Each once, in their order."""
    return list(dict.fromkeys(tag.strip()[:TAG_CHARS] for tag in tags[:MOST_TAGS] if tag.strip()))


def _with_spend_logs(metadata: bytes | None, stated: bytes) -> bytes | None:
    """The metadata with what the header `x-litellm-spend-logs-metadata` says; as it was where that is no object."""
    try:
        added = msgspec.json.decode(stated, type=dict[str, Raw])
        found = msgspec.json.decode(metadata, type=dict[str, Raw]) if metadata else {}
        return msgspec.json.encode({**found, "spend_logs_metadata": added})
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return metadata
