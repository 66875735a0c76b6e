"""Errors of the Responses dialect: OpenAI's error object in answers, in failed responses and in error events."""

from collections.abc import Mapping

import msgspec
from msgspec import Raw

from wayport.core.errors import Fault, FaultClass
from wayport.dialects.dialect import Headers, Profile
from wayport.dialects.openai_chat_fault import fault_of_value, read_fault
from wayport.wire.openai_responses import ErrorEvent

# Codes that only this API has (the SDK's ResponseError) or that Codex knows, and our own.
_KIND_OF_CODE: Mapping[str, FaultClass] = {
    "invalid_prompt": "content_policy",
    "bio_policy": "content_policy",
    "misalignment_policy_violation": "content_policy",
    "image_content_policy_violation": "content_policy",
    "usage_not_included": "quota",
    "server_is_overloaded": "overloaded",
    "slow_down": "overloaded",
    "server_error": "server",
    "vector_store_timeout": "server",
    "upstream_unreachable": "connect",
    "upstream_timeout": "timeout",
    "upstream_cut": "cut",
    "upstream_malformed": "malformed",
}

# What a failed response gives as `error.code`: the word that clients act on.
_CODE_OF_KIND: Mapping[FaultClass, str] = {
    "bad_request": "invalid_request_error",
    "context_window": "context_length_exceeded",
    "content_policy": "content_policy_violation",
    "unsupported_param": "unsupported_parameter",
    "authentication": "invalid_api_key",
    "permission": "permission_denied",
    "quota": "insufficient_quota",
    "not_found": "model_not_found",
    "rate_limit": "rate_limit_exceeded",
    "overloaded": "server_is_overloaded",
    "server": "server_error",
    "connect": "upstream_unreachable",
    "timeout": "upstream_timeout",
    "cut": "upstream_cut",
    "malformed": "upstream_malformed",
}

_NO_PROFILE = Profile()
_JSON = msgspec.json.Decoder()


def decode_error(status: int, headers: Headers, body: bytes, profile: Profile) -> Fault:
    fault = read_fault(status, headers, body, profile)
    if fault.kind in ("bad_request", "server") and status < 500:
        return _by_code(fault)
    return fault


def _by_code(fault: Fault) -> Fault:
    kind = _KIND_OF_CODE.get(fault.code or "")
    return fault if kind is None else msgspec.structs.replace(fault, kind=kind)


# ----------------------------------------------------------------------------------------------------------- streams
def fault_of_event(event: ErrorEvent) -> Fault:
    """What an `error` event says: documented flat, sent with the facts inside `error`."""
    if event.error is not None:
        return _streamed(event.error)
    return _streamed({"code": event.code, "message": event.message, "param": event.param})


def fault_of_response(error: Raw) -> Fault:
    """What `error` of a failed response says."""
    return _streamed(_JSON.decode(error))


def _streamed(error: object) -> Fault:
    if not isinstance(error, dict):
        error = {"message": error} if isinstance(error, str) else {}
    fault = fault_of_value({"error": error}, status=200, headers={}, profile=_NO_PROFILE)
    return _by_code(msgspec.structs.replace(fault, status=fault.status if fault.status >= 400 else 0))


def code_of(fault: Fault) -> str:
    """The code for a failed response: the upstream's own where it means the same, else the usual word for the fact."""
    if fault.code is not None and _streamed({"code": fault.code}).kind == fault.kind:
        return fault.code
    return _CODE_OF_KIND[fault.kind]
