"""Passwords of users: kept as scrypt hashes with a salt of their own."""

import hashlib
import hmac
import os

_COST, _BLOCK, _PARALLEL = 2**14, 8, 1


def hash_password(password: str) -> str:
    salt = os.urandom(16)
    return f"scrypt${_COST}${salt.hex()}${_digest(password, salt, _COST).hex()}"


def is_password(password: str, stored: str) -> bool:
    """Whether it is the one that was hashed. Takes as long either way."""
    kind, cost, salt, digest = (*stored.split("$"), "", "", "", "")[:4]
    if kind != "scrypt":
        return False
    return hmac.compare_digest(_digest(password, bytes.fromhex(salt), int(cost)), bytes.fromhex(digest))


def _digest(password: str, salt: bytes, cost: int) -> bytes:
    return hashlib.scrypt(password.encode("utf-8", "surrogatepass"), salt=salt, n=cost, r=_BLOCK, p=_PARALLEL)
