"""Errors as OpenAI and its imitators state them, read into facts; and facts written as OpenAI states them.

Status and typed fields decide. Prose decides only through the patterns of the target's profile.
"""

import math
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any

import msgspec

from wayport.core.errors import Fault, FaultClass, UpstreamFault, WayportError
from wayport.dialects.dialect import Profile

_MESSAGE_LIMIT = 2000

_KIND_OF_STATUS: Mapping[int, FaultClass] = {
    401: "authentication",
    402: "quota",
    403: "permission",
    404: "not_found",
    408: "timeout",
    413: "context_window",
    429: "rate_limit",
    498: "overloaded",
    503: "overloaded",
    529: "overloaded",
}

# `error.code` and `error.type`, whatever the status is. A code is asked before a type.
_KIND_OF_WORD: Mapping[str, FaultClass] = {
    "context_length_exceeded": "context_window",
    "string_above_max_length": "context_window",
    "context_window_exceeded": "context_window",
    "exceed_context_size_error": "context_window",
    "max_tokens_exceeded": "context_window",
    "content_filter": "content_policy",
    "content_policy_violation": "content_policy",
    "content_filtered": "content_policy",
    "moderation_blocked": "content_policy",
    "responsibleaipolicyviolation": "content_policy",
    "data_inspection_failed": "content_policy",
    "datainspectionfailed": "content_policy",
    "unsupported_parameter": "unsupported_param",
    "unknown_parameter": "unsupported_param",
    "extra_forbidden": "unsupported_param",
    "invalid_api_key": "authentication",
    "authentication_error": "authentication",
    "invalid_authentication": "authentication",
    "permission_error": "permission",
    "permission_denied": "permission",
    "unsupported_country_region_territory": "permission",
    "insufficient_quota": "quota",
    "billing_hard_limit_reached": "quota",
    "billing_not_active": "quota",
    "insufficient_balance": "quota",
    "exceeded_current_quota_error": "quota",
    "insufficient_user_quota": "quota",
    "model_not_found": "not_found",
    "deploymentnotfound": "not_found",
    "model_not_available": "not_found",
    "rate_limit_exceeded": "rate_limit",
    "rate_limit_error": "rate_limit",
    "rate_limit_reached_error": "rate_limit",
    "too_many_requests": "rate_limit",
    "overloaded_error": "overloaded",
    "engine_overloaded_error": "overloaded",
    "service_unavailable": "overloaded",
    "service_unavailable_error": "overloaded",
    "server_overloaded": "overloaded",
}

# Read only where no status says more: an error event inside a stream that began with 200.
_KIND_OF_STREAMED_WORD: Mapping[str, FaultClass] = {
    "invalid_request_error": "bad_request",
    "bad_request": "bad_request",
    "badrequesterror": "bad_request",
    "timeout": "timeout",
    "timeout_error": "timeout",
    # Another Wayport's.
    "upstream_cut": "cut",
    "upstream_timeout": "timeout",
    "upstream_unreachable": "connect",
    "upstream_malformed": "malformed",
}

# The word that a client acts on, where the fact is known but the upstream had another word for it, or none.
_CODE_TOLD: Mapping[FaultClass, str] = {
    "context_window": "context_length_exceeded",
    "content_policy": "content_policy_violation",
    "unsupported_param": "unsupported_parameter",
    "quota": "insufficient_quota",
}

_JSON = msgspec.json.Decoder()
_encode = msgspec.json.Encoder().encode


def read_fault(status: int, headers: Mapping[str, str], body: bytes, profile: Profile) -> Fault:
    """An error answer as facts. Never raises."""
    try:
        given = _JSON.decode(body)
    except (ValueError, RecursionError):
        given = body.decode("utf-8", "replace")
    return fault_of_value(given, status=status, headers=headers, profile=profile)


def fault_of_value(given: Any, *, status: int, headers: Mapping[str, str], profile: Profile) -> Fault:
    """`given`: the decoded body, or what stands in an error event of a stream (then `status` is 200)."""
    error = _error_object(given)
    message = _message(given, error) or (
        f"The upstream answered with status {status} and no reason."
        if status >= 400
        else "The upstream reported an error without a reason."
    )
    code = _word(error.get("code"))
    kind_word = _word(error.get("type")) or _word(error.get("status"))
    stated = status if status >= 400 else _status_in(error)
    param = _word(error.get("param"))
    forbidden = _forbidden_field(given, error)
    if forbidden is not None:
        param = param or forbidden
        code = "extra_forbidden"
    kind = _kind(stated, code, kind_word, error, param)
    if kind == "bad_request":
        kind = _kind_of_prose(message, profile) or kind
    return Fault(
        kind=kind,
        status=status if status >= 400 else (stated or 0),
        message=message[:_MESSAGE_LIMIT],
        type=kind_word,
        code=code,
        param=param,
        retry_after_s=retry_after_s(headers),
    )


def _error_object(given: Any) -> dict[str, Any]:
    """Where the fields of an error stand: under `error`, or (vLLM's older shape, Mistral) at the top."""
    if isinstance(given, list) and given and isinstance(given[0], dict):  # Google's endpoint wraps it in a list
        given = given[0]
    if not isinstance(given, dict):
        return {}
    error = given.get("error")
    if isinstance(error, dict):
        return error
    return {name: item for name, item in given.items() if name != "error"}


def _word(value: Any) -> str | None:
    if isinstance(value, bool) or value is None:
        return None
    return str(value) if isinstance(value, str | int) and value != "" else None


def _message(given: Any, error: dict[str, Any]) -> str:
    for value in (error.get("message"), _sub(given, "error"), error.get("detail"), error.get("errors"), given):
        text = _prose(value)
        if text:
            raw = _sub(error.get("metadata"), "raw")
            return f"{text}: {raw}" if isinstance(raw, str) and raw and raw not in text else text
    return ""


def _sub(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _prose(value: Any) -> str:
    """Something readable of a value of any shape; an object that only wraps other texts is not one."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list | dict) and value:
        inner = value[0] if isinstance(value, list) else value
        if isinstance(inner, dict):
            for name in ("message", "msg", "detail", "error", "title"):
                text = _prose(inner.get(name))
                if text:
                    return text
        return _encode(value).decode() if _small(value) else ""
    return ""


def _small(value: Any) -> bool:
    try:
        return len(_encode(value)) <= _MESSAGE_LIMIT
    except (TypeError, ValueError, RecursionError):
        return False


def _status_in(error: dict[str, Any]) -> int:
    """The status that an error event states in place of the one that HTTP could not (OpenRouter, vLLM)."""
    for value in (error.get("code"), error.get("status"), error.get("status_code")):
        if isinstance(value, int | str) and not isinstance(value, bool) and str(value).isascii():
            text = str(value)
            if text.isdigit() and len(text) == 3 and text[0] in "45":
                return int(text)
    return 0


def _kind(status: int, code: str | None, kind_word: str | None, error: dict[str, Any], param: str | None) -> FaultClass:
    inner = _word(_sub(error.get("innererror"), "code"))
    for word in (inner, code, kind_word):
        kind = _KIND_OF_WORD.get(word.lower()) if word else None
        if kind is not None and _fits(kind, status):
            return kind
    if code == "unsupported_value" and param and param.replace("_", "").isalnum():
        return "unsupported_param"
    if status == 403 and _sub(error.get("metadata"), "reasons"):  # OpenRouter's moderation
        return "content_policy"
    if status in _KIND_OF_STATUS:
        return _KIND_OF_STATUS[status]
    if 400 <= status < 500:
        return "bad_request"
    if not status:
        for word in (code, kind_word):
            kind = _KIND_OF_STREAMED_WORD.get(word.lower()) if word else None
            if kind is not None:
                return kind
    return "server"


def _fits(kind: FaultClass, status: int) -> bool:
    """Whether a word may overrule a status: Groq says `rate_limit_exceeded` with 413 for a request too large to ever fit,
    and a server's 5xx is never the client's fault.
    """
    if kind == "rate_limit":
        return status in (0, 400, 403, 429, 503)
    if status >= 500:
        return kind in ("overloaded", "quota")
    if kind == "overloaded":
        return status in (0, 429, 503)
    return True


def _forbidden_field(given: Any, error: dict[str, Any]) -> str | None:
    """The name in pydantic's report of an unknown field (Mistral, FastAPI servers): `loc` ends in its name."""
    for place in (error.get("message"), given, error):
        reports = place if isinstance(place, list) else _sub(place, "detail")
        if isinstance(reports, list):
            for report in reports:
                loc = _sub(report, "loc")
                if _sub(report, "type") == "extra_forbidden" and isinstance(loc, list) and loc:
                    return str(loc[-1])
    return None


def _kind_of_prose(message: str, profile: Profile) -> FaultClass | None:
    if any(_pattern(text).search(message) for text in profile.context_window_prose):
        return "context_window"
    if any(_pattern(text).search(message) for text in profile.content_filter_prose):
        return "content_policy"
    return None


@lru_cache(maxsize=256)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait. A date is measured against the answer's own `date`, so that no clock of ours is asked."""
    for name, per_second in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            seconds = float(headers.get(name, "")) / per_second
        except ValueError:
            continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        until = parsedate_to_datetime(value)
        since = parsedate_to_datetime(headers.get("date", ""))
        return max(0.0, (until - since).total_seconds())
    except (ValueError, TypeError):
        return None


def error_body(error: WayportError) -> dict[str, dict[str, str | None]]:
    """The error in OpenAI's shape, with the word that a client acts on."""
    code = error.code
    if isinstance(error, UpstreamFault):
        code = _CODE_TOLD.get(error.fault.kind, code)
        if error.fault.kind == "not_found":
            code = "model_not_found"
    return {"error": {"message": error.message, "type": error.type, "param": error.param, "code": code}}
