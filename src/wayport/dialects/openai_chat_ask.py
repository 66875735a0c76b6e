"""How much a model shall think: what the client asked, put in the words that the target knows."""

from typing import Any

from wayport.dialects.dialect import Profile
from wayport.dialects.neutral import ReasoningAsk, Request
from wayport.dialects.openai_read import Object

Written = dict[str, Any]

LADDER = ("none", "minimal", "low", "medium", "high", "xhigh", "max")

# Where a budget ends and the next word begins, and the budget that a word stands for.
_WORD_FOR_BUDGET = ((0, "none"), (1024, "minimal"), (4096, "low"), (16384, "medium"), (32768, "high"), (65536, "xhigh"))
_BUDGET_FOR_WORD = {
    "none": 0,
    "minimal": 1024,
    "low": 2048,
    "medium": 8192,
    "high": 24576,
    "xhigh": 32768,
    "max": 65536,
}


class Asked:
    """The fields to write, and what must be reported about them."""

    def __init__(self) -> None:
        self.fields: Written = {}
        self.dropped = False
        self.lowered = False
        self.thinks: bool | None = None
        """whether the target will think; None where nothing was asked"""


def effort_of(ask: ReasoningAsk) -> str | None:
    """The effort asked for, in words; None: thinking is wanted, or not spoken of, but how much is not said."""
    if ask.mode == "disabled":
        return "none"
    if ask.effort is not None:
        return ask.effort
    if ask.budget_tokens is None or ask.budget_tokens < 0:
        return None
    return next((word for limit, word in _WORD_FOR_BUDGET if ask.budget_tokens <= limit), "max")


def fitted(effort: str, known: tuple[str, ...]) -> str:
    """The effort in the target's words: the same, else the next stronger, else the strongest it has."""
    if not known or effort in known or effort not in LADDER:
        return effort
    wanted = LADDER.index(effort)
    # A word that stands on no ladder (`default`) is the target's ordinary thinking.
    places = [(LADDER.index(word) if word in LADDER else LADDER.index("medium"), word) for word in known]
    stronger = [(place, word) for place, word in places if place >= wanted]
    return min(stronger)[1] if stronger else max(places)[1]


def put(request: Request, profile: Profile) -> Asked:
    """What the target is told about thinking."""
    asked = Asked()
    ask = request.reasoning
    if ask is None:
        return asked
    spelled: Object = request.spelling.get("reasoning", {}) if request.dialect == "openai_chat" else {}
    effort = effort_of(ask)
    asked.thinks = effort != "none"
    if profile.reasoning is None and spelled:
        asked.fields.update(spelled)
        if "reasoning_effort" in spelled and ask.effort is not None:
            _put_effort(asked, ask.effort, profile, spelled)
        return asked
    match profile.reasoning:
        case None | "effort" | "level":
            if effort is None and profile.reasoning_default == "none":
                effort = "medium"
            if effort is not None:
                _put_effort(asked, effort, profile, spelled)
        case "reasoning_object":
            asked.fields["reasoning"] = spelled.get("reasoning") or _reasoning_object(ask, effort, profile)
        case "thinking_flag" | "budget" | "adaptive":
            _put_thinking(asked, ask, effort, profile, spelled)
        case "prompt_mode":
            if asked.thinks:
                asked.fields["prompt_mode"] = "reasoning"
        case "none":
            asked.dropped = asked.thinks
            asked.thinks = False
    return asked


def _put_effort(asked: Asked, effort: str, profile: Profile, spelled: Object) -> None:
    fit = fitted(effort, profile.reasoning_efforts)
    asked.lowered = fit != effort
    asked.thinks = fit != "none"
    if not asked.lowered and "reasoning_effort" in spelled and bytes(spelled["reasoning_effort"])[:1] != b"{":
        asked.fields["reasoning_effort"] = spelled["reasoning_effort"]
    else:
        asked.fields["reasoning_effort"] = fit


def _reasoning_object(ask: ReasoningAsk, effort: str | None, profile: Profile) -> Written:
    """OpenRouter's: an effort or a budget, never both."""
    written: Written = {}
    if ask.budget_tokens is not None and ask.budget_tokens > 0 and ask.effort is None:
        written["max_tokens"] = ask.budget_tokens
    elif effort is not None:
        written["effort"] = fitted(effort, profile.reasoning_efforts)
    else:
        written["enabled"] = True
    if ask.show is False:
        written["exclude"] = True
    return written


def _put_thinking(asked: Asked, ask: ReasoningAsk, effort: str | None, profile: Profile, spelled: Object) -> None:
    """Anthropic's object, as DeepSeek, Kimi, GLM and others have it."""
    if "thinking" in spelled:
        asked.fields["thinking"] = spelled["thinking"]
    elif effort == "none":
        asked.fields["thinking"] = {"type": "disabled"}
    elif profile.reasoning == "budget":
        budget = ask.budget_tokens
        if budget is None or budget <= 0:
            budget = _BUDGET_FOR_WORD.get(effort or "medium", _BUDGET_FOR_WORD["medium"])
        asked.fields["thinking"] = {"type": "enabled", "budget_tokens": budget}
    else:
        asked.fields["thinking"] = {"type": "adaptive" if profile.reasoning == "adaptive" else "enabled"}
    if "reasoning_effort" in spelled:
        if profile.reasoning_efforts:
            _put_effort(asked, ask.effort or "medium", profile, spelled)
        elif "thinking" in spelled:
            # Who writes both knows whom it speaks with (GLM).
            asked.fields["reasoning_effort"] = spelled["reasoning_effort"]
    elif effort is not None and effort != "none" and profile.reasoning_efforts:
        asked.fields["reasoning_effort"] = fitted(effort, profile.reasoning_efforts)
