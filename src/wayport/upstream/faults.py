"""What can go wrong between us and an upstream, as facts: transport errors, and answers that are not what their dialect says."""

import html
import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec
from msgspec.structs import replace

from wayport.core.errors import Fault, FaultClass
from wayport.core.secret import mask
from wayport.dialects.dialect import Headers, Profile

DecodeError = Callable[[int, Headers, bytes, Profile], Fault]
"""a dialect's `decode_error`"""

_EXCERPT_BYTES = 200
_LOOK_BYTES = 64 * 1024
_TITLE = re.compile(rb"<title[^>]*>\s*(.{1,200}?)\s*</title", re.IGNORECASE | re.DOTALL)
_PAGE = re.compile(rb"\s*(?:\xef\xbb\xbf)?\s*<(?:!doctype|html|head|body|\?xml)", re.IGNORECASE)
_SPACE = re.compile(r"\s+")
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


class TransportFault(Exception):
    """No answer, or not the whole of one. The message names the host, what happened and which setting decided it."""

    def __init__(self, kind: FaultClass, message: str, *, body_sent: bool, status: int = 0) -> None:
        super().__init__(message)
        self.fault = Fault(kind=kind, status=status, message=message, body_sent=body_sent)

    def after_sending(self) -> "TransportFault":
        """The same fault, met while trying again: an earlier try may have reached the upstream."""
        fault = self.fault
        return TransportFault(fault.kind, fault.message, body_sent=True, status=fault.status)


class Head(Protocol):
    """The head of an answer."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> list[tuple[bytes, bytes]]: ...
    def header(self, name: bytes) -> bytes | None: ...


def masked(fault: Fault, *secrets: str) -> Fault:
    """The fault without credentials that an upstream's text may echo."""
    message = mask(fault.message, *secrets)
    param = fault.param and mask(fault.param, *secrets)
    code = fault.code and mask(fault.code, *secrets)
    if (message, param, code) == (fault.message, fault.param, fault.code):
        return fault
    return replace(fault, message=message, param=param, code=code)


def refusal(head: Head, body: bytes, decode_error: DecodeError, profile: Profile, *secrets: str) -> Fault:
    """What an answer with an error status says: in its dialect, or as a page of something that stands in between."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
    if not _is_page(head, body):
        return masked(decode_error(head.status, headers, body, profile), *secrets)
    # Status and headers still say what kind of failure it is; the page's text would only confuse.
    fault = decode_error(head.status, headers, b"", profile)
    return replace(fault, message=f"The upstream answered {head.status} with {_page(body)} instead of its API's error.")


def unexpected(head: Head, body: bytes, error: Exception | None = None) -> Fault:
    """What is wrong with an answer that should be good and is not of its dialect. `error`: what its decoder said."""
    status = head.status
    if not body.strip():
        what = "an empty body"
    elif _is_page(head, body):
        what = f"{_page(body)}; is the base URL right, with its `/v1`?"
    elif not _is_json(body):
        kind = (head.header(b"content-type") or b"no content type").decode("latin-1")[:80]
        what = f"what is not JSON ({kind}): {_excerpt(body)}"
    else:
        detail = f" ({str(error)[:_EXCERPT_BYTES]})" if error is not None else ""
        what = f"JSON that is not of its dialect{detail}: {_excerpt(body)}"
    return Fault(kind="malformed", status=status, message=mask(f"The upstream answered {status} with {what}"))


def redirected(head: Head) -> Fault:
    """An upstream that sends us elsewhere: our credential goes to nobody but whom the operator named."""
    target = (head.header(b"location") or b"").decode("latin-1").partition("?")[0][:_EXCERPT_BYTES]
    where = f" to {target}" if target else ""
    message = f"The upstream answered {head.status}, a redirect{where}, which is not followed: correct its base URL."
    return Fault(kind="malformed", status=head.status, message=mask(message))


def stated_error(body: bytes, decode_error: DecodeError, profile: Profile, *secrets: str) -> Fault | None:
    """The error that an answer with a good status holds, if it holds one: gateways and local servers send such."""
    try:
        fields = _fields.decode(body)
    except (ValueError, RecursionError):
        return None
    error = fields.get("error")
    if error is None or bytes(error).strip() in (b"null", b"false", b'""', b"{}", b"[]"):
        return None
    return masked(decode_error(_stated_status(bytes(error)), _NO_HEADERS, body, profile), *secrets)


_NO_HEADERS: Mapping[str, str] = {}


def _stated_status(error: bytes) -> int:
    """The status that the error would have had as an answer of its own; 500 if it names none."""
    try:
        value: Any = msgspec.json.decode(error)
    except (ValueError, RecursionError):
        return 500
    if isinstance(value, dict):
        for name in ("code", "status_code", "status", "http_code"):
            number = value.get(name)
            if isinstance(number, str) and number.isdigit():
                number = int(number)
            if isinstance(number, int) and not isinstance(number, bool) and 400 <= number < 600:
                return number
    return 500


def _is_json(body: bytes) -> bool:
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except (ValueError, RecursionError):
        return False
    return True


def _is_page(head: Head, body: bytes) -> bool:
    kind = head.header(b"content-type") or b""
    if kind.lower().startswith((b"text/html", b"application/xhtml")):
        return True
    return b"json" not in kind and _PAGE.match(body) is not None


def _page(body: bytes) -> str:
    title = _TITLE.search(body, 0, _LOOK_BYTES)
    if title is None:
        return "a web page"
    text = _SPACE.sub(" ", html.unescape(title[1].decode("utf-8", "replace")))
    return f"a web page titled “{mask(text)}”"


def _excerpt(body: bytes) -> str:
    text = _SPACE.sub(" ", body[: _EXCERPT_BYTES * 4].decode("utf-8", "replace")).strip()
    return text if len(text) <= _EXCERPT_BYTES else f"{text[:_EXCERPT_BYTES]}…"
