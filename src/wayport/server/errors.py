"""Errors that arise before a dialect is known (wrong path, wrong method, limits): OpenAI's shape, which all clients print."""

import msgspec

from wayport.core.errors import WayportError

_encode = msgspec.json.Encoder().encode


def error_body(error: WayportError) -> bytes:
    return _encode({"error": {"message": error.message, "type": error.type, "param": error.param, "code": error.code}})


def error_head(error: WayportError) -> bytes:
    lines = b"content-type: application/json\r\n"
    if error.retry_after_s is not None:
        lines += b"retry-after: %d\r\n" % max(1, round(error.retry_after_s))
    lines += b"x-should-retry: %b\r\n" % (b"true" if error.retryable else b"false")
    return lines
