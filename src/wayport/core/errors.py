"""The one error tree. A class says whose fault it was, what status it has and whether trying again can help.

    WayportError
    ├── ClientFault            the caller must change something                       4xx
    │   ├── BadRequest             400  the body or a field is wrong; names the field
    │   ├── Unauthenticated        401  no key, or one we do not know
    │   ├── PermissionDenied       403  a known key that may not do this
    │   ├── RouteNotFound          404  no such path
    │   ├── ModelNotFound          404  no such model for this key; names the nearest
    │   ├── ResponseNotFound       404  no such stored answer or item, for this tenant
    │   ├── MethodNotAllowed       405
    │   ├── BodyTooLarge           413
    │   ├── UnsupportedMediaType   415
    │   ├── RateLimited            429  one of our limits
    │   └── ClientGone             499  the caller hung up; nobody reads the answer
    ├── UpstreamFault          the provider refused, failed or vanished; carries a Fault
    └── OurFault               ours or the operator's
        ├── Unavailable            503  overloaded, draining, database away
        ├── CredentialMissing      503  a deployment lacks its credential; names the variable
        └── InternalError          500

Errors are raised with facts and rendered in one place, in the client's dialect.
"""

from typing import Literal

import msgspec

FaultClass = Literal[
    "bad_request",  # the upstream finds the request itself wrong: client's fault, never counts against a deployment
    "context_window",  # the request does not fit this model
    "content_policy",  # the request or its answer was refused for its content
    "unsupported_param",  # a named optional parameter is not known here
    "authentication",  # our credential is wrong (401)
    "permission",  # our credential may not do this (403)
    "quota",  # our account has no money or quota left (402, insufficient_quota)
    "not_found",  # the upstream has no such model
    "rate_limit",  # 429
    "overloaded",  # 529, 503
    "server",  # other 5xx
    "connect",  # no connection: DNS, refused, TLS
    "timeout",  # connect, first byte, between bytes or total
    "cut",  # the answer broke off
    "malformed",  # the answer is not what its dialect says
]


class Fault(msgspec.Struct, kw_only=True, frozen=True):
    """What went wrong upstream, in no dialect: facts only. Made by a dialect's `decode_error` or by the transport."""

    kind: FaultClass
    status: int
    """the upstream's HTTP status; 0 when there was no answer"""
    message: str
    type: str | None = None
    """the upstream's own error type or status word (`overloaded_error`, `RESOURCE_EXHAUSTED`)"""
    code: str | None = None
    param: str | None = None
    retry_after_s: float | None = None
    body_sent: bool = True
    """whether the request's body may have reached the upstream (then the attempt may cost money)"""


class WayportError(Exception):
    """Base of all errors that a caller may see."""

    status = 500
    type = "internal_error"
    code: str | None = None
    retryable = False
    """whether the same request may succeed later; rendered as `x-should-retry`"""

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s
        if code is not None:
            self.code = code


class ClientFault(WayportError):
    status = 400
    type = "invalid_request_error"


class BadRequest(ClientFault):
    status = 400


class Unauthenticated(ClientFault):
    status = 401
    type = "authentication_error"
    code = "invalid_api_key"


class PermissionDenied(ClientFault):
    status = 403
    type = "permission_error"


class RouteNotFound(ClientFault):
    status = 404
    code = "route_not_found"


class ModelNotFound(ClientFault):
    status = 404
    code = "model_not_found"


class ResponseNotFound(ClientFault):
    status = 404


class MethodNotAllowed(ClientFault):
    status = 405
    code = "method_not_allowed"
    allowed = b""
    """the methods that the path knows, as the `allow` header lists them"""


class BodyTooLarge(ClientFault):
    status = 413
    code = "request_too_large"


class UnsupportedMediaType(ClientFault):
    status = 415
    code = "unsupported_media_type"


class RateLimited(ClientFault):
    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"
    retryable = True
    limits = b""
    """header lines that say which limit it was"""


class ClientGone(ClientFault):
    status = 499
    code = "client_gone"


class OurFault(WayportError):
    status = 500


class Unavailable(OurFault):
    status = 503
    type = "service_unavailable_error"
    code = "service_unavailable"
    retryable = True


class CredentialMissing(OurFault):
    status = 503
    type = "configuration_error"
    code = "credential_missing"


class InternalError(OurFault):
    status = 500
    code = "internal_error"


# What the client sees for a fault that has no status of its own worth passing on.
_STATUS_OF_KIND: dict[FaultClass, int] = {
    "bad_request": 400,
    "context_window": 400,
    "content_policy": 400,
    "unsupported_param": 400,
    "authentication": 401,
    "permission": 403,
    "quota": 429,
    "not_found": 404,
    "rate_limit": 429,
    "overloaded": 503,
    "server": 502,
    "connect": 502,
    "timeout": 504,
    "cut": 502,
    "malformed": 502,
}

_TYPE_OF_KIND: dict[FaultClass, str] = {
    "bad_request": "invalid_request_error",
    "context_window": "invalid_request_error",
    "content_policy": "invalid_request_error",
    "unsupported_param": "invalid_request_error",
    "authentication": "authentication_error",
    "permission": "permission_error",
    "quota": "insufficient_quota",
    "not_found": "invalid_request_error",
    "rate_limit": "rate_limit_error",
    "overloaded": "overloaded_error",
    "server": "upstream_error",
    "connect": "upstream_error",
    "timeout": "timeout_error",
    "cut": "upstream_error",
    "malformed": "upstream_error",
}

_CODE_OF_KIND: dict[FaultClass, str] = {
    "context_window": "context_length_exceeded",
    "content_policy": "content_policy_violation",
    "not_found": "model_not_found",
    "rate_limit": "rate_limit_exceeded",
    "quota": "insufficient_quota",
    "connect": "upstream_unreachable",
    "timeout": "upstream_timeout",
    "cut": "upstream_cut",
    "malformed": "upstream_malformed",
}

_CAN_RETRY: frozenset[FaultClass] = frozenset(
    {"rate_limit", "overloaded", "server", "connect", "timeout", "cut", "malformed"}
)


class UpstreamFault(WayportError):
    """An attempt failed. `fault` holds what the upstream said; `deployment` and `provider` whom we asked."""

    def __init__(self, fault: Fault, *, provider: str = "", deployment: str = "") -> None:
        super().__init__(
            fault.message,
            param=fault.param,
            code=fault.code or _CODE_OF_KIND.get(fault.kind),
            retry_after_s=fault.retry_after_s,
        )
        self.fault = fault
        self.provider = provider
        self.deployment = deployment
        self.passed_on = b""
        """header lines of the upstream's answer that the client may see"""
        # 529 is Anthropic's own; its clients act on it, and dialects that lack it say 503 (compat/clients.md).
        self.status = fault.status if 400 <= fault.status < 600 else _STATUS_OF_KIND[fault.kind]
        self.type = _TYPE_OF_KIND[fault.kind]
        self.retryable = fault.kind in _CAN_RETRY
