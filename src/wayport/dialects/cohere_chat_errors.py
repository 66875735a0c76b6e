"""Errors of Cohere's API: the status decides; prose only through the profile's patterns."""

from collections.abc import Mapping

from wayport.core.errors import Fault, FaultClass
from wayport.dialects.dialect import Headers, Profile
from wayport.dialects.openai_chat_fault import retry_after_s
from wayport.dialects.prose import MESSAGE_LIMIT, excerpt, kind_of_prose, text_or_empty
from wayport.wire import cohere_chat as wire

_KIND_OF_STATUS: Mapping[int, FaultClass] = {
    401: "authentication",
    402: "quota",
    403: "permission",
    404: "not_found",
    408: "timeout",
    429: "rate_limit",
    # Cohere's own: the request or the answer holds what is blocked.
    498: "content_policy",
    499: "cut",
    503: "overloaded",
    504: "timeout",
}


def decode_error(status: int, headers: Headers, body: bytes, profile: Profile) -> Fault:
    """Never raises: a body that is no JSON is shortened to a message."""
    message = _stated(body) or excerpt(body) or f"The upstream answered with status {status} and no reason."
    kind = _KIND_OF_STATUS.get(status) or ("bad_request" if 400 <= status < 500 else "server")
    param = None
    if kind in ("bad_request", "not_found"):
        stated_kind, param = kind_of_prose(message, profile)
        kind = stated_kind or kind
    return Fault(
        kind=kind, status=status, message=message[:MESSAGE_LIMIT], param=param, retry_after_s=retry_after_s(headers)
    )


def _stated(body: bytes) -> str:
    try:
        stated = wire.decode_error(body)
    except (ValueError, RecursionError):
        return ""
    return text_or_empty(stated.message) or text_or_empty(stated.data)
