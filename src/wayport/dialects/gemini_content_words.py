"""Google's words and ours: finish reasons, service tiers, thinking efforts and function names."""

import re
from collections.abc import Iterable

from wayport.dialects.neutral import DialectName, FinishReason
from wayport.dialects.tool_names import hashed

NAME: DialectName = "gemini_content"

# https://ai.google.dev/api/generate-content#FinishReason. STOP is told apart by whether the candidate calls a function.
FINISH: dict[str, FinishReason] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "ESCALATION": "content_filter",
    "PUP_LIMITED_DISABLED": "content_filter",
    # The answer goes on in a further request that carries the candidate's continuation token.
    "CONTINUATION": "pause",
    "OTHER": "error",
    "MALFORMED_FUNCTION_CALL": "error",
    "UNEXPECTED_TOOL_CALL": "error",
    "TOO_MANY_TOOL_CALLS": "error",
    "MISSING_THOUGHT_SIGNATURE": "error",
    "MALFORMED_RESPONSE": "error",
    "IMAGE_OTHER": "error",
    "NO_IMAGE": "error",
    "FINISH_REASON_UNSPECIFIED": "error",
}

_WORD_OF: dict[FinishReason, str] = {
    "stop": "STOP",
    "stop_sequence": "STOP",
    "tool_calls": "STOP",
    "length": "MAX_TOKENS",
    "context_window": "MAX_TOKENS",
    "content_filter": "SAFETY",
    "refusal": "SAFETY",
    # CONTINUATION would ask the SDK for a continuation token that nobody gave.
    "pause": "STOP",
    "error": "OTHER",
}


def finish_of(word: str, *, calls: bool) -> FinishReason:
    """The neutral reason for Google's word; a word to come is an error, never a clean stop.

    A well-formed call of a tool that was not offered is a call all the same: an agent answers it, and the model goes on.
    """
    if calls and word in {"STOP", "UNEXPECTED_TOOL_CALL"}:
        return "tool_calls"
    return FINISH.get(word, "error")


def finish_word(finish: FinishReason, raw: str | None, *, own: bool) -> str:
    """Google's word: the one that was read, where the answer is Gemini's own."""
    return raw if own and raw else _WORD_OF[finish]


_TIER_IN = {"standard": "default"}
_TIER_OUT = {"default": "standard", "standard": "standard", "flex": "flex", "priority": "priority"}


def tier_in(word: str) -> str:
    return _TIER_IN.get(word, word)


def tier_out(word: str) -> str | None:
    """None for a tier that Google does not sell."""
    return _TIER_OUT.get(word)


# Vertex AI states the tier that was billed as a kind of traffic.
_TRAFFIC = {"ON_DEMAND": "default", "ON_DEMAND_FLEX": "flex", "ON_DEMAND_PRIORITY": "priority"}
_TRAFFIC_OF = {tier: traffic for traffic, tier in _TRAFFIC.items()}


def billed_tier(tier: str | None, traffic: str | None) -> str | None:
    """The tier that an answer states in one of two ways."""
    return tier_in(tier.lower()) if tier is not None else _TRAFFIC.get(traffic or "")


def traffic_of(tier: str | None) -> str | None:
    return _TRAFFIC_OF.get(tier or "")


# --------------------------------------------------------------------------------------------------------- reasoning
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")

# The table that Google documents for its own OpenAI-compatible endpoint (reasoning_effort with 2.5 models).
BUDGET_OF = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 24576, "max": 24576}
MAX_BUDGET = 24576
"""the largest thinkingBudget that every 2.5 model takes (2.5 Pro alone goes to 32768)"""


def effort_of(budget: int) -> str:
    """The effort word that a budget of tokens comes closest to."""
    if budget == 0:
        return "none"
    return "low" if budget <= 2048 else "medium" if budget <= 12288 else "high"


def round_up(effort: str, known: Iterable[str]) -> str:
    """The weakest known effort that is not weaker than the wish; the strongest if all are weaker."""
    ranked = [word for word in EFFORTS if word in set(known)]
    if not ranked or effort not in EFFORTS:
        return effort
    stronger = [word for word in ranked if EFFORTS.index(word) >= EFFORTS.index(effort)]
    return stronger[0] if stronger else ranked[-1]


# ------------------------------------------------------------------------------------------------------------- names
_GOOD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,63}")
_BAD = re.compile(r"[^A-Za-z0-9_.:-]")


def fit_name(name: str) -> str:
    """A function's name as Google takes it: a letter or underscore first, then a-z A-Z 0-9 _ . : -, at most 64 in all.

    (128 are documented now; older models refuse more than 64.)
    """
    if _GOOD_NAME.fullmatch(name):
        return name
    clean = _BAD.sub("_", name)
    if not clean[:1].isalpha() and not clean.startswith("_"):
        clean = "_" + clean
    return hashed(name, clean, 64)
