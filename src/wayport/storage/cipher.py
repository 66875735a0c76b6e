"""Encryption of what must not be readable in the database: AES-256-GCM under the salt key.

Sealed bytes are bound to the place where they stand (`context`), so that nobody who can write to the database can move
them to another row. The library is loaded with the first use: it takes 6 MB, and many gateways keep nothing.
"""

import hmac
import os
from functools import cached_property
from typing import TYPE_CHECKING

from wayport.core.secret import Secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_VERSION = b"\x01"
_NONCE_BYTES = 12


class NotReadable(ValueError):
    """Sealed under another salt key, for another place, or damaged."""


class Cipher:
    """`purpose` keeps uses apart: what one of them sealed, no other can open."""

    def __init__(self, salt_key: Secret, *, purpose: str) -> None:
        self._salt_key = salt_key
        self._purpose = purpose

    def seal(self, plain: bytes, context: str) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return _VERSION + nonce + self._key.encrypt(nonce, plain, context.encode("utf-8", "surrogatepass"))

    def name(self, text: str) -> str:
        """Stands for `text` where it must not be read: always the same under one salt key and purpose, under no other."""
        return hmac.digest(self._name_key, text.encode("utf-8", "surrogatepass"), "sha256").hex()[:32]

    def open(self, sealed: bytes, context: str) -> bytes:
        """Raises `NotReadable`."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 (see the top of this file)

        if sealed[:1] != _VERSION:
            raise NotReadable("sealed in a way that this version does not know")
        nonce, text = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            return self._key.decrypt(nonce, text, context.encode("utf-8", "surrogatepass"))
        except (InvalidTag, ValueError) as error:
            raise NotReadable("sealed under another salt key, or damaged") from error

    @cached_property
    def _key(self) -> "AESGCM":
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 (as above)

        return AESGCM(self._derived(f"wayport {self._purpose}"))

    @cached_property
    def _name_key(self) -> bytes:
        return self._derived(f"wayport {self._purpose} name")

    def _derived(self, info: str) -> bytes:
        from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415 (as above)
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415 (as above)

        secret = self._salt_key.reveal().encode("utf-8", "surrogatepass")
        return HKDF(algorithm=SHA256(), length=32, salt=None, info=info.encode()).derive(secret)
