"""Errors of Bedrock's runtime: the exception's name decides, then the status; prose only through the profile's patterns."""

from collections.abc import Mapping

from wayport.core.errors import Fault, FaultClass
from wayport.dialects.dialect import Headers, Profile
from wayport.dialects.openai_chat_fault import retry_after_s
from wayport.dialects.prose import BETAS, MESSAGE_LIMIT, excerpt, kind_of_prose, refuses_betas, text_or_empty
from wayport.wire import bedrock_converse as wire

_TYPE_HEADER = "x-amzn-errortype"

# Exceptions of the service's model, those of a stream (their first letter is small there) and of AWS's front door.
_KINDS: Mapping[str, FaultClass] = {
    "accessdeniedexception": "permission",
    "expiredtoken": "authentication",
    "expiredtokenexception": "authentication",
    "incompletesignature": "authentication",
    "incompletesignatureexception": "authentication",
    "internalfailure": "server",
    "internalservererror": "server",
    "internalserverexception": "server",
    "invalidclienttokenid": "authentication",
    "invalidsignatureexception": "authentication",
    "missingauthenticationtokenexception": "authentication",
    "modelerrorexception": "server",
    "modelnotreadyexception": "overloaded",
    "modelstreamerrorexception": "server",
    "modeltimeoutexception": "timeout",
    "notauthorized": "permission",
    "optinrequired": "permission",
    "requestexpired": "authentication",
    "resourcenotfoundexception": "not_found",
    "servicequotaexceededexception": "quota",
    "serviceunavailable": "overloaded",
    "serviceunavailableexception": "overloaded",
    "throttlingexception": "rate_limit",
    "toomanyrequestsexception": "rate_limit",
    "unrecognizedclientexception": "authentication",
    "validationerror": "bad_request",
    "validationexception": "bad_request",
}

_KIND_OF_STATUS: Mapping[int, FaultClass] = {
    401: "authentication",
    402: "quota",
    403: "permission",
    404: "not_found",
    408: "timeout",
    424: "server",
    429: "rate_limit",
    503: "overloaded",
    504: "timeout",
}

# The status that an exception inside of a stream would have had as an answer of its own.
_STATUS: Mapping[FaultClass, int] = {
    "bad_request": 400,
    "authentication": 403,
    "permission": 403,
    "quota": 400,
    "not_found": 404,
    "timeout": 408,
    "rate_limit": 429,
    "overloaded": 503,
    "server": 500,
}


def decode_error(status: int, headers: Headers, body: bytes, profile: Profile) -> Fault:
    """Never raises: a body that is no JSON is shortened to a message."""
    stated = _read(body)
    name = _bare(headers.get(_TYPE_HEADER, "")) or _bare(text_or_empty(stated.type))
    message = _message(stated) or excerpt(body) or f"The upstream answered with status {status} and no reason."
    kind = _kind(name, status)
    param = None
    if kind == "bad_request":
        stated_kind, param = kind_of_prose(message, profile)
        if stated_kind is None and refuses_betas(message):
            stated_kind, param = "unsupported_param", BETAS
        kind = stated_kind or kind
    return Fault(
        kind=kind,
        status=status,
        message=message[:MESSAGE_LIMIT],
        type=name or None,
        param=param,
        retry_after_s=retry_after_s(headers),
    )


def decode_stream_error(name: str, data: bytes) -> Fault:
    """The fault that an exception in a stream states."""
    stated = _read(data)
    name = _bare(name)
    message = _message(stated) or excerpt(data) or f"The stream ended in an error: {name or 'no name given'}."
    kind = _kind(name, 0)
    return Fault(kind=kind, status=_STATUS[kind], message=message[:MESSAGE_LIMIT], type=name or None)


def _kind(name: str, status: int) -> FaultClass:
    kind = _KINDS.get(name.lower())
    if kind is None or (kind == "bad_request" and status >= 500):
        return _KIND_OF_STATUS.get(status) or ("bad_request" if 400 <= status < 500 else "server")
    return kind


def _bare(word: str) -> str:
    """`com.amazon.coral#ThrottlingException:http://…` as `ThrottlingException`."""
    return word.partition(":")[0].rpartition("#")[2].strip()[:100]


_NOTHING = wire.ErrorBody()


def _read(body: bytes) -> wire.ErrorBody:
    try:
        return wire.decode_error(body)
    except (ValueError, RecursionError):
        return _NOTHING


def _message(stated: wire.ErrorBody) -> str:
    message = text_or_empty(stated.message) or text_or_empty(stated.front_message)
    original = text_or_empty(stated.original_message)
    if message and original and original not in message:
        return f"{message.rstrip('.')}: {original}"
    return message or original
