"""Legacy completion requests: one prompt, continued as text.

Towards a chat target the prompt is what the user says. A list of prompts is a list of user messages here, so that all of
it can be read; only a target with completions of its own can answer each for itself. Prompts of tokens are no text and
travel as they are.
"""

from typing import Any

from msgspec import Raw

from wayport.core.errors import BadRequest
from wayport.dialects import openai_read as read
from wayport.dialects.dialect import Encoded, Profile
from wayport.dialects.neutral import Message, Opaque, Part, Refusal, Request, Text, ToolResult
from wayport.dialects.openai_chat_control import merged
from wayport.dialects.openai_chat_plan import Plan, ask_for_usage
from wayport.dialects.openai_chat_settings import SETTINGS
from wayport.dialects.openai_read import encode
from wayport.dialects.words import word
from wayport.wire.patch import Fields

Written = dict[str, Any]

LIMIT = "max_tokens"
"""it never got its newer name here"""

_SETTINGS = frozenset(
    (
        "stream", "stream_options", "temperature", "top_p", "top_k", "min_p", "n", "seed", "max_tokens", "stop",
        "presence_penalty", "frequency_penalty", "logit_bias", "user", "service_tier",
    )
)  # fmt: skip


# ------------------------------------------------------------------------------------------------------------ reading
def decode_request(fields: Fields) -> Request:
    given, _ = merged(fields)
    model = read.text(read.need(given, "model", ""), "model")
    prompt = given.pop("prompt", None)
    if prompt is None or read.is_null(prompt):
        raise BadRequest(
            "`prompt` is missing: it must be a string, or a list of strings or tokens.",
            param="prompt",
            code="missing_required_parameter",
        )
    del given["model"]
    request = Request(dialect="openai_completions", model=model, messages=[])
    _read_prompt(request, prompt)
    for name, raw in given.items():
        if read.is_null(raw):
            request.extras[name] = raw
        elif name == "logprobs":
            request.sampling.logprobs = True
            request.sampling.top_logprobs = read.whole(raw, name)
        elif name in _SETTINGS:
            SETTINGS[name](request, raw)
        else:
            request.extras[name] = raw
    return request


def _read_prompt(request: Request, raw: Raw) -> None:
    if bytes(raw)[:1] == b'"':
        request.messages = [_said(Text(text=read.text(raw, "prompt")))]
        return
    items = read.items(raw, "prompt")
    if not items:
        raise BadRequest("`prompt` is an empty list.", param="prompt")
    if bytes(items[0])[:1] == b'"':
        texts = [read.text(item, f"prompt[{number}]") for number, item in enumerate(items)]
        request.messages = [_said(Text(text=text)) for text in texts]
        request.spelling["list"] = True
        return
    for number, item in enumerate(items):
        place = f"prompt[{number}]"
        if bytes(item)[:1] != b"[":
            read.whole(item, place)
    request.messages = [_said(Opaque(dialect="openai_completions", raw=Raw(bytes(raw)), kind="prompt"))]


def _said(part: Part) -> Message:
    return Message(role="user", parts=[part], plain=True)


# ------------------------------------------------------------------------------------------------------------ writing
def encode_request(request: Request, profile: Profile) -> Encoded:
    own = request.dialect == "openai_completions"
    dropped: dict[str, None] = {}
    sampling = request.sampling
    body: Written = {"model": request.model, "prompt": _write_prompt(request) if own else _flattened(request, dropped)}
    for name, value in (
        ("max_tokens", sampling.max_output_tokens),
        ("temperature", sampling.temperature),
        ("top_p", sampling.top_p),
        ("n", sampling.n),
        ("seed", sampling.seed),
        ("presence_penalty", sampling.presence_penalty),
        ("frequency_penalty", sampling.frequency_penalty),
        ("logit_bias", sampling.logit_bias),
        ("logprobs", (sampling.top_logprobs or 0) if sampling.logprobs else None),
        ("user", request.user),
        ("service_tier", request.service_tier if own else None),
        ("top_k", sampling.top_k if own else None),
        ("min_p", sampling.min_p if own else None),
    ):
        if value is not None:
            body[name] = value
    if sampling.stop:
        single = own and request.spelling.get("stop") and len(sampling.stop) == 1
        body["stop"] = sampling.stop[0] if single else sampling.stop
    if own:
        body.update({name: raw for name, raw in request.extras.items() if name not in body})
    else:
        dropped.update(dict.fromkeys(word(request.dialect, name) for name in _unknown(request)))
        dropped.update(dict.fromkeys(name for name, raw in request.extras.items() if not read.is_empty(raw)))
    fields = {name: Raw(encode(value)) for name, value in body.items()}
    lowered = _apply(request, profile, fields, own=own)
    return Encoded(body=encode(fields), dropped=[*dropped, *(n for n in lowered if n not in fields)],
                   lowered=[name for name in lowered if name in fields])  # fmt: skip


def _apply(request: Request, profile: Profile, fields: Fields, *, own: bool) -> list[str]:
    """The profile's wishes, and the stream's; the limit has one name here."""
    changed: list[str] = []
    Plan(profile, limit=LIMIT).apply(fields, changed)
    if request.stream:
        fields["stream"] = Raw(b"true")
        options = {k: v for k, v in request.spelling.get("stream_options", {}).items() if k != "include_usage"}
        if own and options:
            fields["stream_options"] = Raw(encode(options))
        if profile.stream_usage:
            ask_for_usage(fields)
    elif own and request.spelling.get("stream"):
        fields["stream"] = Raw(b"false")
    return changed


def _write_prompt(request: Request) -> Any:
    parts = [part for message in request.messages for part in message.parts]
    if len(parts) == 1 and isinstance(parts[0], Opaque):
        return parts[0].raw
    texts = [part.text for part in parts if isinstance(part, Text)]
    return texts if request.spelling.get("list") else "".join(texts)


_LABELS = {"system": "System", "developer": "System", "user": "User", "assistant": "Assistant", "tool": "Tool"}


def _flattened(request: Request, dropped: dict[str, None]) -> str:
    """A conversation as one text, for a model that only continues text."""
    turns = []
    for message in request.messages:
        texts = []
        for part in message.parts:
            if isinstance(part, Text | Refusal):
                texts.append(part.text)
            elif isinstance(part, ToolResult):
                texts += [inner.text for inner in part.parts if isinstance(inner, Text)]
            else:
                dropped[word(request.dialect, type(part).__name__.lower())] = None
        turns.append((message.role, "\n\n".join(texts)))
    if len(turns) == 1 and turns[0][0] == "user":
        return turns[0][1]
    return "".join(f"{_LABELS[role]}: {text}\n\n" for role, text in turns) + "Assistant:"


def _unknown(request: Request) -> list[str]:
    """What a conversation may ask for and a completion cannot."""
    given = {
        "tools": request.tools,
        "tool_choice": request.tool_choice and request.tool_choice.mode != "none",
        "response_format": request.output and request.output.kind != "text",
        "reasoning_effort": request.reasoning and request.reasoning.mode != "disabled",
        "top_k": request.sampling.top_k,
        "min_p": request.sampling.min_p,
        "verbosity": request.verbosity,
        "prediction": request.prediction,
        "audio": request.audio,
    }
    return [name for name, value in given.items() if value]
