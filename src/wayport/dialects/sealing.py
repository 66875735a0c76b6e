"""Sealed envelopes: one provider's signed or encrypted reasoning, carried through a field of another dialect.

An envelope names who issued its payload, so that it goes back to that issuer and to nobody else. It is not a secret and
not a signature: it only keeps bytes that a client cannot show apart from bytes that its own provider made.
"""

import base64
import binascii
from typing import Any, cast, get_args

from wayport.dialects.neutral import Issuer

# Letters of base64's own alphabet, a multiple of four: the whole envelope is valid base64, as signature fields demand
# (google-genai decodes them to bytes and writes them again, in the URL-safe alphabet with padding).
PREFIX = "WayportSeal1"
PREFIX_BYTES = PREFIX.encode()
"""what a byte search looks for before anything is parsed"""

_ISSUERS = frozenset(get_args(Issuer))
_URL_SAFE = str.maketrans("+/", "-_")


def seal(issuer: Issuer, payload: str) -> str:
    """An envelope that fits any signature field: `PREFIX` and base64. `unseal` gives both arguments back.

    >>> unseal(seal("gemini", "c2lnbmF0dXJl"))
    ('gemini', 'c2lnbmF0dXJl')
    """
    return PREFIX + base64.urlsafe_b64encode(f"{issuer}\n{payload}".encode("utf-8", "surrogatepass")).decode()


def unseal(text: str) -> tuple[Issuer, str] | None:
    """Issuer and payload of an envelope; None for every other text. Padding and alphabet may have been rewritten."""
    if not text.startswith(PREFIX):
        return None
    body = text[len(PREFIX) :].rstrip("=").translate(_URL_SAFE)
    try:
        plain = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
        issuer, newline, payload = plain.decode("utf-8", "surrogatepass").partition("\n")
    except (binascii.Error, UnicodeError):
        return None
    if not newline or issuer not in _ISSUERS:
        return None
    return cast("Issuer", issuer), payload


def is_sealed(value: Any) -> bool:
    """Whether a decoded JSON value is an envelope of ours (readable or damaged): never to be sent to a provider."""
    return isinstance(value, str) and value.startswith(PREFIX)
