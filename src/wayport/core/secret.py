"""A secret that cannot print itself, and masking of secrets in texts that others wrote."""

import hashlib
import re
from typing import Final

CREDENTIAL_NAMES: Final = frozenset((
    "api_key", "api_base", "base_url", "user_config",
    "azure_ad_token", "vertex_credentials", "vertex_ai_credentials",
    "aws_access_key_id", "aws_secret_access_key", "aws_session_token", "aws_profile_name", "aws_role_name",
    "aws_web_identity_token", "aws_sts_endpoint", "aws_bedrock_runtime_endpoint",
))  # fmt: skip
"""fields of a request that say where it goes and with whose credential; each may be or hold a secret"""


class Secret:
    """Holds a string; `str`, `repr` and formats show stars. Only `reveal()` gives it away."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


def key_hash(key: str) -> str:
    """What we store of a key: its sha-256 in lower-case hex."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


# Shapes that credentials of known issuers have; an upstream's error text may echo one.
_SHAPES = re.compile(
    r"\b(?:sk-|pk-|rk-|gsk_|xai-|hf_|r8_|AIza|ya29\.|ghp_|gho_|AKIA|ASIA)[A-Za-z0-9_\-.*]{8,}"
    r"|\b[Bb]earer\s+[A-Za-z0-9_\-.=*]{8,}"
    r"|\beyJ[A-Za-z0-9_\-]{10,}\.[A-Za-z0-9_\-]{10,}\.[A-Za-z0-9_\-]*"
)


def mask(text: str, *known: str) -> str:
    """`text` with every known secret, and everything shaped like a credential, replaced by stars."""
    for secret in known:
        if len(secret) >= 6 and secret in text:
            text = text.replace(secret, "***")
    return _SHAPES.sub("***", text)
