"""Errors of the Messages API, read from an upstream and written for a client."""

import contextlib
import re
from collections.abc import Mapping

from msgspec import Raw

from wayport.core.errors import Fault, FaultClass, UpstreamFault, WayportError
from wayport.dialects.anthropic_messages_fields import Block
from wayport.dialects.dialect import Headers, Profile
from wayport.dialects.prose import BETAS, refuses_betas
from wayport.wire import anthropic_messages as wire

_KINDS: Mapping[str, FaultClass] = {
    "invalid_request_error": "bad_request",
    "authentication_error": "authentication",
    "billing_error": "quota",
    "permission_error": "permission",
    "not_found_error": "not_found",
    "request_too_large": "bad_request",
    "conflict_error": "bad_request",
    "rate_limit_error": "rate_limit",
    "timeout_error": "timeout",
    "overloaded_error": "overloaded",
    "api_error": "server",
}

# Typed reasons (`error.details.error_code`) that waiting does not mend.
_QUOTA_CODES = frozenset(
    {
        "contract_spend_limit_reached",
        "enforced_spend_limit_reached",
        "linked_organization_billing_unavailable",
        "linked_organization_spend_limit_reached",
        "organization_on_hold",
    }
)

_STATUS_OF_TYPE = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}

_KIND_OF_STATUS: Mapping[int, FaultClass] = {
    401: "authentication",
    402: "quota",
    403: "permission",
    404: "not_found",
    408: "timeout",
    429: "rate_limit",
    503: "overloaded",
    504: "timeout",
    529: "overloaded",
}

# Facts that Anthropic states only in prose, under `invalid_request_error`, status 400:
# {"message": "prompt is too long: 208310 tokens > 200000 maximum"}                       (2025-11-23, Sonnet 4.5)
# {"message": "input length and `max_tokens` exceed context limit: 178959 + 64000 > …"}   (2025-10-21)
_CONTEXT_WINDOW = re.compile(
    r"(?:prompt is too long|input length and `max_tokens` exceed context limit)\b", re.IGNORECASE
)
# {"message": "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing …"}
_QUOTA = re.compile(r"Your credit balance is too low\b")
# {"message": "temperature: Extra inputs are not permitted"}; {"message": "`temperature` is deprecated for this model."}
_UNSUPPORTED = re.compile(
    r"(?P<path>[a-z_]+(?:\.[\w]+)*): Extra inputs are not permitted"
    r"|`(?P<name>[a-z_]+)` is (?:deprecated|not supported) (?:for|on|by) this model"
)

CONTEXT_WINDOW_WORDS = "prompt is too long"
"""how an error must begin for Claude Code to see that it has to compact the conversation"""


def decode_error(status: int, headers: Headers, body: bytes, profile: Profile) -> Fault:
    """Never raises: a body that is no JSON is shortened to a message."""
    kind_word, message, code = _read(body)
    message = message or _plain(body) or f"the provider answered with status {status}"
    kind, param = _kind(status, kind_word, code, message, profile)
    return Fault(
        kind=kind,
        status=status,
        message=message,
        type=kind_word,
        code=code,
        param=param,
        retry_after_s=_retry_after_s(headers),
    )


def decode_stream_error(data: bytes) -> Fault:
    """The fault that an `error` event states. Its status is the one that the error would have had as an answer."""
    kind_word, message, code = _read(data)
    status = _STATUS_OF_TYPE.get(kind_word or "", 500)
    message = message or _plain(data) or "the stream ended in an error without a message"
    kind, param = _kind(status, kind_word, code, message, Profile())
    return Fault(kind=kind, status=status, message=message, type=kind_word, code=code, param=param)


def _read(body: bytes) -> tuple[str | None, str | None, str | None]:
    """The error's type, message and code, whichever of them can be found."""
    try:
        outer = wire.decode_error_body(body)
    except (ValueError, RecursionError):
        return None, None, None
    if not bytes(outer.error):
        return None, _text(outer.message), None
    try:
        error = wire.decode_error_object(outer.error)
    except ValueError:
        return None, _text(outer.error) or _text(outer.message), None
    code = _text(error.code)
    with contextlib.suppress(ValueError):
        code = wire.decode_error_details(error.details).error_code or code
    return error.type or _text(error.status), error.message or _text(outer.message), code


def _text(raw: Raw) -> str | None:
    try:
        return wire.decode_str(raw)
    except ValueError:
        return None


def _plain(body: bytes) -> str:
    """What a person can read of a body that is not JSON: an HTML page's text, shortened."""
    text = re.sub(r"(?s)<(script|style)\b.*?</\1>|<[^>]*>", " ", body[:4096].decode("utf-8", "replace"))
    return " ".join(text.split())[:500]


def _kind(
    status: int, kind_word: str | None, code: str | None, message: str, profile: Profile
) -> tuple[FaultClass, str | None]:
    if code in _QUOTA_CODES:
        return "quota", None
    kind = _KINDS.get(kind_word or "")
    if kind is None or kind == "server":
        # `api_error` says no more than that something broke; the status may say what.
        kind = _KIND_OF_STATUS.get(status, "server" if status >= 500 else "bad_request")
    if kind != "bad_request":
        return kind, None
    if _CONTEXT_WINDOW.match(message) or _matches(profile.context_window_prose, message):
        return "context_window", None
    if _matches(profile.content_filter_prose, message):
        return "content_policy", None
    if _QUOTA.match(message):
        return "quota", None
    if refuses_betas(message):
        return "unsupported_param", BETAS
    if (found := _UNSUPPORTED.match(message)) is not None:
        param = found["path"] or found["name"]
        return ("bad_request" if "." in param else "unsupported_param"), param
    return "bad_request", None


def _matches(patterns: tuple[str, ...], message: str) -> bool:
    return any(re.match(pattern, message) for pattern in patterns)


def _retry_after_s(headers: Headers) -> float | None:
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * scale
        except ValueError:
            continue
        if 0 <= seconds < 86_400:
            return seconds
    return None


# ---------------------------------------------------------------------------------------------------- for our clients
_TYPE_OF_STATUS = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def type_for(status: int, kind: FaultClass | None) -> str:
    """Anthropic's word for an error."""
    if kind == "quota":
        return "billing_error"
    if status in _TYPE_OF_STATUS:
        return _TYPE_OF_STATUS[status]
    return "api_error" if status >= 500 else "invalid_request_error"


def error_object(message: str, status: int, kind: FaultClass | None) -> Block:
    if kind == "context_window" and not message.lower().startswith(CONTEXT_WINDOW_WORDS):
        message = f"{CONTEXT_WINDOW_WORDS}: {message}"
    return {"type": type_for(status, kind), "message": message}


def encode_error(error: WayportError, call_id: str) -> bytes:
    kind = error.fault.kind if isinstance(error, UpstreamFault) else None
    return wire.encode(
        {"type": "error", "error": error_object(error.message, error.status, kind), "request_id": call_id}
    )


def encode_stream_error(fault: Fault) -> bytes:
    """The data of an `error` event."""
    error = UpstreamFault(fault)
    return wire.encode({"type": "error", "error": error_object(error.message, error.status, fault.kind)})
