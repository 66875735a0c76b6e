"""Where a caller's key may stand. The order is LiteLLM's, so that a client set up for it works unchanged."""

import base64
import binascii
from collections.abc import Callable, Sequence
from urllib.parse import parse_qsl

Header = Callable[[bytes], bytes | None]
"""looks a request header up; names in lower case"""

_BEARER = b"bearer "
_BASIC = b"basic "
_SUBPROTOCOL = b"openai-insecure-api-key."


def find_key(header: Header, *, own_names: Sequence[bytes] = (), query: bytes = b"") -> bytes | None:
    """The key that came with a request. An empty header counts as none, so the next place is looked at.

    `own_names` are headers that the operator named: where there are any, no other place counts. `query` is the raw
    query string of a Gemini route, the only ones where a key may stand in the address.
    """
    for name in own_names:
        if key := _bare(header(name)):
            return key
    if own_names:
        return None
    # The two most used ones first looked up, in their order.
    if (value := header(b"x-litellm-api-key")) and (key := _bare(value)):
        return key
    if value := header(b"authorization"):
        # As nearly everybody writes it.
        if value.startswith(b"Bearer sk-") and b" " not in (key := value[7:].rstrip()):
            return key
        if key := _bare(value):
            return key
    for name in (b"api-key", b"x-api-key", b"x-goog-api-key", b"ocp-apim-subscription-key"):
        if (value := header(name)) and (key := _bare(value)):
            return key
    if query and (key := _from_query(query)):
        return key
    if protocols := header(b"sec-websocket-protocol"):
        return _from_subprotocols(protocols)
    return None


def _bare(value: bytes | None) -> bytes | None:
    """The key of a header's value, with or without a scheme before it."""
    if value is None:
        return None
    scheme = value[:7].lower()
    if scheme == _BEARER:
        return value[7:].strip() or None
    if scheme.startswith(_BASIC):
        return _from_basic(value[6:])
    value = value.strip()
    return None if value.lower() in {b"", b"bearer", b"basic"} else value


def _from_basic(encoded: bytes) -> bytes | None:
    """User name and password, either of which may hold the key (Langfuse's clients send it as the password)."""
    try:
        name, _, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except binascii.Error:
        return None
    return name if name.startswith(b"sk-") and not password.startswith(b"sk-") else password or name or None


def _from_query(query: bytes) -> bytes | None:
    for name, value in parse_qsl(query.decode("latin-1"), encoding="latin-1"):
        if name == "key" and value:
            return value.encode("latin-1")
    return None


def _from_subprotocols(value: bytes) -> bytes | None:
    """Browsers cannot set headers on WebSockets, so OpenAI's client puts the key among the sub-protocols."""
    for protocol in value.split(b","):
        name = protocol.strip()
        if name.startswith(_SUBPROTOCOL):
            return name.removeprefix(_SUBPROTOCOL) or None
    return None
