"""What an error says in prose only: told by the patterns of the target's profile, and by nothing else."""

import re
from functools import lru_cache

import msgspec
from msgspec import Raw

from wayport.core.errors import FaultClass
from wayport.dialects.dialect import Profile

_decode_text = msgspec.json.Decoder(str).decode

BETAS = "anthropic-beta"
"""as the parameter of a fault: the header, or the field that stands for it"""

# {"type": "invalid_request_error", "message": "Unexpected value(s) `prompt-caching-scope-2026-01-05`, `structured-outputs-
#  2025-12-15` for the `anthropic-beta` header. Please consult our documentation at …"}      (Anthropic, Vertex AI, 2026-02)
# {"message": "The model returned the following errors: invalid beta flag"}                   (Bedrock, 2025-08, 2026-02)
_BETA = re.compile(
    r"Unexpected value\(s\) .{1,2000}? for the `?anthropic-beta`? header\b"
    r"|(?:The model returned the following errors: )?invalid beta flag\b"
)

MESSAGE_LIMIT = 2000
"""characters of an upstream's message that are kept"""


def kind_of_prose(message: str, profile: Profile) -> tuple[FaultClass | None, str | None]:
    """The kind of fault that a message states, and the parameter that it names; None where no pattern knows it."""
    if _matches(profile.context_window_prose, message):
        return "context_window", None
    if _matches(profile.content_filter_prose, message):
        return "content_policy", None
    if _matches(profile.not_found_prose, message):
        return "not_found", None
    for text in profile.unsupported_param_prose:
        if (found := _pattern(text).match(message)) is not None:
            return "unsupported_param", found["param"]
    return None, None


def refuses_betas(message: str) -> bool:
    """Whether a 400 is about values of `anthropic-beta`; some name them."""
    return _BETA.match(message) is not None


def _matches(patterns: tuple[str, ...], message: str) -> bool:
    return any(_pattern(text).match(message) for text in patterns)


@lru_cache(maxsize=256)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)


def excerpt(body: bytes) -> str:
    """What a person can read of a body that is not the error it should be."""
    return " ".join(body[: 2 * MESSAGE_LIMIT].decode("utf-8", "replace").split())[:500]


def text_or_empty(raw: Raw) -> str:
    """A value of an error body as text; nothing where it is no text."""
    try:
        return _decode_text(raw)
    except ValueError:
        return ""
