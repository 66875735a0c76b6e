"""Encryption of what must not be readable in the database: AES-256-GCM under the salt key.

Sealed bytes are bound to the place where they stand (`context`), so that nobody who can write to the database can move
them to another row.
"""

import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from wayport.core.secret import Secret

_VERSION = b"\x01"
_NONCE_BYTES = 12


class NotReadable(ValueError):
    """Sealed under another salt key, for another place, or damaged."""


class Cipher:
    """`purpose` keeps uses apart: what one of them sealed, no other can open."""

    def __init__(self, salt_key: Secret, *, purpose: str) -> None:
        secret = salt_key.reveal().encode("utf-8", "surrogatepass")
        self._key = AESGCM(_derived(secret, f"wayport {purpose}"))
        self._name_key = _derived(secret, f"wayport {purpose} name")

    def seal(self, plain: bytes, context: str) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return _VERSION + nonce + self._key.encrypt(nonce, plain, context.encode("utf-8", "surrogatepass"))

    def name(self, text: str) -> str:
        """Stands for `text` where it must not be read: always the same under one salt key and purpose, under no other."""
        return hmac.digest(self._name_key, text.encode("utf-8", "surrogatepass"), "sha256").hex()[:32]

    def open(self, sealed: bytes, context: str) -> bytes:
        """Raises `NotReadable`."""
        if sealed[:1] != _VERSION:
            raise NotReadable("sealed in a way that this version does not know")
        nonce, text = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            return self._key.decrypt(nonce, text, context.encode("utf-8", "surrogatepass"))
        except (InvalidTag, ValueError) as error:
            raise NotReadable("sealed under another salt key, or damaged") from error


def _derived(secret: bytes, info: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info.encode()).derive(secret)
