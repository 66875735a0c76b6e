"""Google's error object, read and written. https://cloud.google.com/apis/design/errors describes status and details."""

import contextlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, cast, get_args

from wayport.core.errors import Fault, FaultClass, UpstreamFault, WayportError
from wayport.dialects.dialect import Headers, Profile
from wayport.dialects.openai_chat_fault import retry_after_s
from wayport.wire.gemini_content import ErrorBody, Status, encode
from wayport.wire.gemini_content import decode_error as decode_body

_KIND_OF_WORD: dict[str, FaultClass] = {
    "INVALID_ARGUMENT": "bad_request",
    "OUT_OF_RANGE": "bad_request",
    "ALREADY_EXISTS": "bad_request",
    "UNIMPLEMENTED": "bad_request",
    "UNAUTHENTICATED": "authentication",
    "PERMISSION_DENIED": "permission",
    # Documented for accounts that may not call at all: no billing, or a country without the free tier.
    "FAILED_PRECONDITION": "permission",
    "NOT_FOUND": "not_found",
    "RESOURCE_EXHAUSTED": "rate_limit",
    "UNAVAILABLE": "overloaded",
    "ABORTED": "overloaded",
    "DEADLINE_EXCEEDED": "timeout",
    "INTERNAL": "server",
    "UNKNOWN": "server",
    "DATA_LOSS": "server",
    "CANCELLED": "server",
}

_KIND_OF_STATUS: dict[int, FaultClass] = {
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

# https://cloud.google.com/apis/docs/reference/rest/ErrorReason, as far as it says more than the status.
_KIND_OF_REASON: dict[str, FaultClass] = {
    "API_KEY_INVALID": "authentication",
    "API_KEY_EXPIRED": "authentication",
    "CREDENTIALS_MISSING": "authentication",
    "ACCESS_TOKEN_EXPIRED": "authentication",
    "ACCESS_TOKEN_SCOPE_INSUFFICIENT": "permission",
    "ACCESS_TOKEN_TYPE_UNSUPPORTED": "authentication",
    "ACCOUNT_STATE_INVALID": "authentication",
    "SERVICE_DISABLED": "permission",
    "CONSUMER_SUSPENDED": "permission",
    "CONSUMER_INVALID": "permission",
    "API_KEY_SERVICE_BLOCKED": "permission",
    "API_KEY_HTTP_REFERRER_BLOCKED": "permission",
    "API_KEY_IP_ADDRESS_BLOCKED": "permission",
    "LOCATION_POLICY_VIOLATED": "permission",
    "BILLING_DISABLED": "quota",
    "RATE_LIMIT_EXCEEDED": "rate_limit",
    "RESOURCE_QUOTA_EXCEEDED": "quota",
}

_WORD_OF_STATUS: dict[int, str] = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "RESOURCE_EXHAUSTED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    415: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}

_KINDS = frozenset(get_args(FaultClass))
_DOMAIN = "wayport"
_INFO = "type.googleapis.com/google.rpc.ErrorInfo"
_RETRY = "type.googleapis.com/google.rpc.RetryInfo"


# ------------------------------------------------------------------------------------------------------------ reading
def decode_error(status: int, headers: Headers, body: bytes, profile: Profile) -> Fault:
    """What an error answer says. Never raises."""
    said = _status_in(body)
    return _fault(status, said or Status(message=_text(body, status)), headers, profile)


def fault_in_stream(body: bytes) -> Fault:
    """What an error event amid a stream says; its own code stands for the HTTP status."""
    said = _status_in(body) or Status(message=_text(body, 0))
    return _fault(said.code, said, {}, Profile())


def _status_in(body: bytes) -> Status | None:
    """The error object, also from the list that a stream in JSON form wraps it in."""
    with contextlib.suppress(ValueError, RecursionError):
        found = decode_body(body)
        if isinstance(found, ErrorBody):
            return found.error
        return found[0].error if found else None
    return None


def _text(body: bytes, status: int) -> str:
    return body[:500].decode("utf-8", "replace").strip() or f"HTTP status {status} without a message"


def _fault(status: int, said: Status, headers: Headers, profile: Profile) -> Fault:
    info = _detail(said.details, "ErrorInfo")
    reason = info.get("reason")
    reason = reason if isinstance(reason, str) else None
    message = said.message or f"HTTP status {status} without a message"
    return Fault(
        kind=_kind(status, said, info.get("domain"), reason, profile),
        status=status,
        message=message,
        type=said.status or None,
        code=reason,
        param=_field(said.details),
        retry_after_s=_delay(said.details, headers),
    )


def _kind(status: int, said: Status, domain: object, reason: str | None, profile: Profile) -> FaultClass:
    if domain == _DOMAIN and reason is not None and reason.lower() in _KINDS:
        return cast("FaultClass", reason.lower())
    if reason in _KIND_OF_REASON:
        return _KIND_OF_REASON[reason]
    kind = _KIND_OF_WORD.get(said.status) or _KIND_OF_STATUS.get(status)
    if kind is None:
        kind = "bad_request" if 400 <= status < 500 else "server"
    if kind == "rate_limit" and _is_daily(said.details):
        return "quota"
    if kind == "bad_request":
        return _told_in_prose(said.message, profile) or kind
    return kind


def _told_in_prose(message: str, profile: Profile) -> FaultClass | None:
    if any(re.search(pattern, message) for pattern in profile.context_window_prose):
        return "context_window"
    if any(re.search(pattern, message) for pattern in profile.content_filter_prose):
        return "content_policy"
    return None


def _detail(details: Iterable[Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    return next((one for one in details if str(one.get("@type", "")).endswith(name)), {})


def _is_daily(details: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a quota of the day is used up: trying again within the minute is useless then."""
    violations = _detail(details, "QuotaFailure").get("violations")
    listed = violations if isinstance(violations, list) else []
    ids = [str(one.get("quotaId", "")) for one in listed if isinstance(one, dict)]
    return bool(ids) and all("PerDay" in one for one in ids)


def _field(details: Iterable[Mapping[str, Any]]) -> str | None:
    violations = _detail(details, "BadRequest").get("fieldViolations")
    for one in violations if isinstance(violations, list) else ():
        if isinstance(one, dict) and isinstance(one.get("field"), str):
            return cast("str", one["field"])
    return None


def _delay(details: Iterable[Mapping[str, Any]], headers: Headers) -> float | None:
    """Google states the wait as a duration in the body (`34.5s`); a header is the second choice."""
    told = _detail(details, "RetryInfo").get("retryDelay")
    if isinstance(told, str):
        with contextlib.suppress(ValueError):
            seconds = float(told.removesuffix("s"))
            if 0 <= seconds < 1e6:
                return seconds
    return retry_after_s(headers)


# ------------------------------------------------------------------------------------------------------------ writing
def encode_error(error: WayportError, *, call_id: str) -> bytes:
    # 529 is Anthropic's own; elsewhere it is said as 503.
    code = 503 if error.status == 529 else error.status
    if isinstance(error, UpstreamFault):
        reason = error.fault.kind.upper()
        word = next((w for w, kind in _KIND_OF_WORD.items() if kind == error.fault.kind), None)
    else:
        reason = (error.code or error.type).upper()
        word = None
    metadata = {"callId": call_id} if call_id else {}
    if error.param is not None:
        metadata["param"] = error.param
    details: list[dict[str, Any]] = [{"@type": _INFO, "reason": reason, "domain": _DOMAIN, "metadata": metadata}]
    if error.retry_after_s is not None:
        details.append({"@type": _RETRY, "retryDelay": f"{error.retry_after_s:g}s"})
    status = _WORD_OF_STATUS.get(code) or word or ("INVALID_ARGUMENT" if 400 <= code < 500 else "INTERNAL")
    return encode(ErrorBody(error=Status(code=code, message=error.message, status=status, details=details)))
