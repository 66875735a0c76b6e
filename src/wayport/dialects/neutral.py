"""The neutral form: what every dialect decodes to and encodes from.

Three shapes: a `Request`, a whole `Response`, and the `Delta`s of a stream, which fold into a `Response`.
What must stay true: a dialect that decodes into this form and encodes from it gives equal JSON back. What only one
dialect knows travels as `Opaque` parts and `extras`, and returns to that same dialect and to no other.
"""

from collections.abc import Iterable
from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct, field

from wayport.core.errors import Fault
from wayport.core.usage import Usage

DialectName = Literal[
    "openai_chat",
    "openai_completions",
    "openai_responses",
    "anthropic_messages",
    "gemini_content",
    "bedrock_converse",
    "cohere_chat",
    "replicate_predictions",
]

Extras = dict[str, Raw]
"""Fields of one dialect that the neutral form does not know, values undecoded, in their order."""

Role = Literal["system", "developer", "user", "assistant", "tool"]

Issuer = Literal["openai", "anthropic", "gemini", "bedrock", "other"]
"""Who made a piece of signed or encrypted reasoning, and so the only one who can read it again."""


# ---------------------------------------------------------------------------------------------------------- parts
class CacheMarker(Struct, kw_only=True, frozen=True):
    """A prompt-cache breakpoint after the part that carries it."""

    ttl: Literal["5m", "1h"] | None = None
    """None: the marker named none"""
    extras: Extras | None = None


class Media(Struct, kw_only=True):
    """Where the bytes of an image, document, audio or video are."""

    kind: Literal["url", "base64", "file", "text"]
    """`file`: an id or URI that only the provider knows; `text`: plain text given in place"""
    value: str
    media_type: str | None = None
    filename: str | None = None


class Citation(Struct, kw_only=True):
    """A source that a text refers to. `start`/`end` count characters of the text part that carries it."""

    kind: str
    """`url`, `file`, `char`, `page`, `block`, `search_result`, or the dialect's own word"""
    url: str | None = None
    title: str | None = None
    cited_text: str | None = None
    start: int | None = None
    end: int | None = None
    raw: Raw | None = None
    """as the dialect of origin wrote it; sent back to that dialect unchanged"""
    dialect: DialectName | None = None


class Text(Struct, kw_only=True, tag=True):
    text: str
    cache: CacheMarker | None = None
    citations: list[Citation] = field(default_factory=list)
    signature: str | None = None
    """Gemini: a thought signature on a text part"""
    extras: Extras | None = None


class Refusal(Struct, kw_only=True, tag=True):
    text: str
    extras: Extras | None = None


class Reasoning(Struct, kw_only=True, tag=True):
    """What a model thought. `signature`, `redacted` and `encrypted` go back to `issuer` only, and never as text."""

    text: str = ""
    summary: list[str] | None = None
    """summarised reasoning in parts (Responses); None where the dialect has no summary"""
    signature: str | None = None
    redacted: str | None = None
    """Anthropic's redacted_thinking data"""
    encrypted: str | None = None
    """Responses' encrypted_content, OpenRouter's reasoning.encrypted data"""
    id: str | None = None
    issuer: Issuer | None = None
    extras: Extras | None = None


class Image(Struct, kw_only=True, tag=True):
    source: Media
    detail: str | None = None
    cache: CacheMarker | None = None
    signature: str | None = None
    extras: Extras | None = None


class Document(Struct, kw_only=True, tag=True):
    """A PDF, a text, or another file."""

    source: Media
    title: str | None = None
    context: str | None = None
    citations: bool | None = None
    """whether the model was asked to cite it"""
    cache: CacheMarker | None = None
    extras: Extras | None = None


class Audio(Struct, kw_only=True, tag=True):
    source: Media
    id: str | None = None
    transcript: str | None = None
    expires_at: int | None = None
    cache: CacheMarker | None = None
    extras: Extras | None = None


class Video(Struct, kw_only=True, tag=True):
    source: Media
    cache: CacheMarker | None = None
    extras: Extras | None = None


class ToolCall(Struct, kw_only=True, tag=True):
    """The model asks for a tool. `arguments` is JSON text for a function, free text for a custom tool."""

    id: str
    name: str
    arguments: str = ""
    kind: Literal["function", "custom"] = "function"
    namespace: str | None = None
    """Responses' namespace of the tool"""
    signature: str | None = None
    """Gemini: the thought signature on the call"""
    item_id: str | None = None
    """Responses: the id of the output item, which is not the call's id"""
    cache: CacheMarker | None = None
    extras: Extras | None = None


class ToolResult(Struct, kw_only=True, tag=True):
    """What a tool gave back. Stands in a message of role `tool` (OpenAI) or `user` (Anthropic, Gemini)."""

    call_id: str
    parts: "list[Part]" = field(default_factory=list)
    name: str | None = None
    is_error: bool | None = None
    plain: bool = False
    """the content was written as a bare string"""
    structured: Raw | None = None
    """Gemini's functionResponse.response object as it was written"""
    kind: Literal["function", "custom"] = "function"
    cache: CacheMarker | None = None
    extras: Extras | None = None


class Opaque(Struct, kw_only=True, tag=True):
    """A part that only `dialect` understands (server-tool blocks, code execution, items to come)."""

    dialect: DialectName
    raw: Raw
    kind: str = ""
    """the dialect's own type word for it"""
    text: str | None = None
    """what a person could read of it, for a dialect that must show something; None: drop it elsewhere"""


Part = Text | Refusal | Reasoning | Image | Document | Audio | Video | ToolCall | ToolResult | Opaque


# -------------------------------------------------------------------------------------------------------- request
class Message(Struct, kw_only=True):
    role: Role
    parts: list[Part]
    name: str | None = None
    plain: bool = False
    """the content was written as a bare string: spelled that way again towards the dialect of origin"""
    id: str | None = None
    extras: Extras | None = None


class Tool(Struct, kw_only=True):
    """A tool offered to the model. A `server` tool runs at the provider and is known to its `dialect` only."""

    name: str
    kind: Literal["function", "custom", "server"] = "function"
    description: str | None = None
    parameters: Raw | None = None
    """JSON schema, bytes as written (provider caches depend on them)"""
    strict: bool | None = None
    namespace: str | None = None
    cache: CacheMarker | None = None
    raw: Raw | None = None
    """the whole entry as written, for `custom` and `server`"""
    extras: Extras | None = None


class ToolChoice(Struct, kw_only=True):
    mode: Literal["auto", "none", "required", "named"]
    names: list[str] = field(default_factory=list)
    """`named`: the one that must be called; `auto`/`required`: the only ones allowed, if any are named"""
    extras: Extras | None = None


class OutputFormat(Struct, kw_only=True):
    kind: Literal["text", "json", "json_schema", "other"]
    name: str | None = None
    description: str | None = None
    schema: Raw | None = None
    strict: bool | None = None
    raw: Raw | None = None
    """`other`: as written, for the dialect of origin"""
    extras: Extras | None = None


class ReasoningAsk(Struct, kw_only=True):
    """How much the model shall think. Both `effort` and `budget_tokens` may be given; a dialect uses what it has."""

    effort: str | None = None
    """none, minimal, low, medium, high, xhigh, max"""
    budget_tokens: int | None = None
    """0 switches it off; -1 lets the model decide (Gemini)"""
    mode: Literal["enabled", "disabled", "adaptive"] | None = None
    show: bool | None = None
    """whether thoughts or summaries are wanted in the answer"""
    summary: str | None = None
    extras: Extras | None = None


class Sampling(Struct, kw_only=True):
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    stop: list[str] = field(default_factory=list)
    n: int | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: Raw | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None


class Request(Struct, kw_only=True):
    """One chat call. `extras` and `Opaque` parts belong to `dialect`, the dialect it came in."""

    dialect: DialectName
    model: str
    messages: list[Message]
    """in order; system and developer messages stand where the client put them, a top-level system prompt first"""
    tools: list[Tool] = field(default_factory=list)
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    sampling: Sampling = field(default_factory=Sampling)
    output: OutputFormat | None = None
    reasoning: ReasoningAsk | None = None
    modalities: list[str] = field(default_factory=list)
    audio: Raw | None = None
    """OpenAI's `audio` object: voice and format"""
    verbosity: str | None = None
    service_tier: str | None = None
    user: str | None = None
    metadata: Raw | None = None
    cache_key: str | None = None
    cache_retention: str | None = None
    prediction: Raw | None = None
    store: bool | None = None
    stream: bool = False
    include_usage: bool = False
    """the client asked for the usage chunk of a chat stream"""
    betas: list[str] = field(default_factory=list)
    """`anthropic-beta` values sent by the client"""
    extras: Extras = field(default_factory=dict)
    spelling: dict[str, Any] = field(default_factory=dict)
    """how the dialect of origin wrote what can be written in two ways; private to that dialect's file"""


# ------------------------------------------------------------------------------------------------------- response
FinishReason = Literal[
    "stop", "length", "tool_calls", "content_filter", "refusal", "stop_sequence", "pause", "context_window", "error"
]


class TokenLogprob(Struct, kw_only=True):
    token: str
    logprob: float
    bytes: list[int] | None = None
    top: "list[TokenLogprob]" = field(default_factory=list)


class Choice(Struct, kw_only=True):
    index: int = 0
    parts: list[Part] = field(default_factory=list)
    finish: FinishReason | None = None
    finish_raw: str | None = None
    """the upstream's own word"""
    stop_sequence: str | None = None
    logprobs: list[TokenLogprob] | None = None
    refusal_logprobs: list[TokenLogprob] | None = None
    extras: Extras | None = None
    message_extras: Extras | None = None


class Response(Struct, kw_only=True):
    """One whole answer. `extras` belong to `dialect`, the dialect it came in."""

    dialect: DialectName
    id: str
    model: str
    choices: list[Choice] = field(default_factory=list)
    usage: Usage | None = None
    usage_raw: Raw | None = None
    """the usage object as the upstream wrote it, for the same dialect"""
    created: int | None = None
    service_tier: str | None = None
    extras: Extras = field(default_factory=dict)


# ------------------------------------------------------------------------------------------------------- deltas
class Started(Struct, kw_only=True, tag=True):
    """The answer begins. Comes once, first."""

    id: str
    model: str
    created: int | None = None
    usage: Usage | None = None
    """what is known at the start (Anthropic's input tokens)"""
    usage_raw: Raw | None = None
    """the same as the upstream wrote it"""
    service_tier: str | None = None
    extras: Extras | None = None
    dialect: DialectName | None = None
    """who wrote the extras and raw usage of this stream: an encoder of another dialect leaves them out"""


class BlockOpened(Struct, kw_only=True, tag=True):
    """A part begins. `part` holds what is known already (a tool call's id and name; for an `Opaque`, all of it)."""

    choice: int = 0
    block: int
    """number of the part within the choice, rising from 0 in order of opening"""
    part: Part


class BlockDelta(Struct, kw_only=True, tag=True):
    """More of an open part. Blocks may interleave."""

    choice: int = 0
    block: int
    text: str = ""
    """appended to text, refusal, reasoning text, arguments, audio data (base64) or an image's data"""
    transcript: str = ""
    summary_index: int | None = None
    """with `text`, on reasoning: the text belongs to this part of the summary"""
    signature: str | None = None
    encrypted: str | None = None
    redacted: str | None = None
    citation: Citation | None = None
    raw: Raw | None = None
    """a delta of an `Opaque` block as written, for the dialect of origin"""


class BlockClosed(Struct, kw_only=True, tag=True):
    """The part is complete. `part`, where given, is the authoritative whole and replaces what was folded."""

    choice: int = 0
    block: int
    part: Part | None = None


class LogprobsAdded(Struct, kw_only=True, tag=True):
    choice: int = 0
    tokens: list[TokenLogprob]
    refusal: bool = False


class ChoiceFinished(Struct, kw_only=True, tag=True):
    choice: int = 0
    finish: FinishReason
    finish_raw: str | None = None
    stop_sequence: str | None = None
    extras: Extras | None = None
    message_extras: Extras | None = None
    """fields of the message that only this dialect knows, complete"""


class UsageReported(Struct, kw_only=True, tag=True):
    """The upstream's latest statement of the whole call's usage; a later one replaces an earlier one."""

    usage: Usage
    raw: Raw | None = None


class Annotated(Struct, kw_only=True, tag=True):
    """Facts about the whole response that came late: a final model name, service tier, extras."""

    model: str | None = None
    service_tier: str | None = None
    extras: Extras | None = None


class Unknown(Struct, kw_only=True, tag=True):
    """An event that only `dialect` understands; travels on to that same dialect."""

    dialect: DialectName
    name: str
    raw: Raw


class Pinged(Struct, kw_only=True, tag=True):
    """A sign of life without content."""


class Failed(Struct, kw_only=True, tag=True):
    """The stream ended in an error. Nothing follows."""

    fault: Fault


class Ended(Struct, kw_only=True, tag=True):
    """The clean end: the dialect's terminal event was seen. Nothing follows."""


Delta = (
    Started
    | BlockOpened
    | BlockDelta
    | BlockClosed
    | LogprobsAdded
    | ChoiceFinished
    | UsageReported
    | Annotated
    | Unknown
    | Pinged
    | Failed
    | Ended
)


def has_content(delta: Delta) -> bool:
    """Whether a client would see something of the answer in it: the point after which nothing is retried in silence."""
    match delta:
        case BlockOpened(part=Text(text=text) | Refusal(text=text)):
            return bool(text)
        case BlockOpened(part=Reasoning() as part):
            return bool(part.text or part.redacted or part.encrypted)
        case BlockOpened():
            return True
        case BlockDelta():
            return bool(
                delta.text or delta.transcript or delta.signature or delta.encrypted or delta.citation or delta.raw
            )
        case BlockClosed():
            return delta.part is not None
        case _:
            return False


def append(part: Part, delta: BlockDelta) -> None:
    """Adds one delta to the part it belongs to."""
    match part:
        case Text():
            part.text += delta.text
            if delta.citation is not None:
                part.citations.append(delta.citation)
            if delta.signature is not None:
                part.signature = delta.signature
        case Refusal():
            part.text += delta.text
        case Reasoning():
            if delta.summary_index is not None:
                part.summary = part.summary or []
                while len(part.summary) <= delta.summary_index:
                    part.summary.append("")
                part.summary[delta.summary_index] += delta.text
            else:
                part.text += delta.text
            if delta.signature is not None:
                part.signature = (part.signature or "") + delta.signature
            if delta.encrypted is not None:
                part.encrypted = delta.encrypted
            if delta.redacted is not None:
                part.redacted = delta.redacted
        case ToolCall():
            part.arguments += delta.text
            if delta.signature is not None:
                part.signature = delta.signature
        case Audio():
            part.source.value += delta.text
            if delta.transcript:
                part.transcript = (part.transcript or "") + delta.transcript
        case Image() | Video():
            part.source.value += delta.text
        case Document() | ToolResult() | Opaque():
            pass


class Fold:
    """Collects deltas into the whole response they spell. `response` is None until `Started` was seen."""

    def __init__(self, dialect: DialectName) -> None:
        self._dialect: DialectName = dialect
        self._blocks: dict[tuple[int, int], Part] = {}
        self._choices: dict[int, Choice] = {}
        self.response: Response | None = None
        self.fault: Fault | None = None
        self.ended = False

    def _choice(self, index: int) -> Choice:
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = Choice(index=index)
            assert self.response is not None
            self.response.choices.append(choice)
            self.response.choices.sort(key=lambda c: c.index)
        return choice

    def feed(self, delta: Delta) -> None:
        if isinstance(delta, Started):
            self.response = Response(
                dialect=self._dialect,
                id=delta.id,
                model=delta.model,
                created=delta.created,
                usage=delta.usage,
                usage_raw=delta.usage_raw,
                service_tier=delta.service_tier,
                extras=dict(delta.extras or {}),
            )
            return
        response = self.response
        if response is None:
            if isinstance(delta, Failed):
                self.fault = delta.fault
            return
        match delta:
            case BlockOpened():
                # The deltas may still be on their way to an encoder: fold into a copy.
                part = _copy(delta.part)
                self._blocks[delta.choice, delta.block] = part
                self._choice(delta.choice).parts.append(part)
            case BlockDelta():
                append(self._blocks[delta.choice, delta.block], delta)
            case BlockClosed():
                if delta.part is not None:
                    parts = self._choice(delta.choice).parts
                    old = self._blocks[delta.choice, delta.block]
                    parts[next(i for i, p in enumerate(parts) if p is old)] = delta.part
            case LogprobsAdded():
                choice = self._choice(delta.choice)
                if delta.refusal:
                    choice.refusal_logprobs = [*(choice.refusal_logprobs or []), *delta.tokens]
                else:
                    choice.logprobs = [*(choice.logprobs or []), *delta.tokens]
            case ChoiceFinished():
                choice = self._choice(delta.choice)
                choice.finish = delta.finish
                choice.finish_raw = delta.finish_raw
                choice.stop_sequence = delta.stop_sequence
                if delta.extras:
                    choice.extras = {**(choice.extras or {}), **delta.extras}
                if delta.message_extras:
                    choice.message_extras = {**(choice.message_extras or {}), **delta.message_extras}
            case UsageReported():
                response.usage = delta.usage
                response.usage_raw = delta.raw
            case Annotated():
                response.model = delta.model or response.model
                response.service_tier = delta.service_tier or response.service_tier
                response.extras.update(delta.extras or {})
            case Failed():
                self.fault = delta.fault
            case Ended():
                self.ended = True
            case Unknown() | Pinged():
                pass


def _copy(part: Part) -> Part:
    new = msgspec.structs.replace(part)
    if isinstance(new, Text):
        new.citations = list(new.citations)
    elif isinstance(new, Reasoning):
        new.summary = list(new.summary) if new.summary is not None else None
    elif isinstance(new, Image | Audio | Video):
        new.source = msgspec.structs.replace(new.source)
    return new


def fold(dialect: DialectName, deltas: Iterable[Delta]) -> Response:
    """The whole response that a stream's deltas spell."""
    whole = Fold(dialect)
    for delta in deltas:
        whole.feed(delta)
    assert whole.response is not None, "a stream must begin with Started"
    return whole.response


def unfold(response: Response) -> Iterable[Delta]:
    """The deltas of a whole response, for a client that asked for a stream of an upstream that has none."""
    yield Started(
        id=response.id,
        model=response.model,
        created=response.created,
        usage=response.usage,
        usage_raw=response.usage_raw,
        service_tier=response.service_tier,
        extras=response.extras or None,
        dialect=response.dialect,
    )
    for choice in response.choices:
        for block, part in enumerate(choice.parts):
            yield BlockOpened(choice=choice.index, block=block, part=part)
            yield BlockClosed(choice=choice.index, block=block)
        if choice.logprobs:
            yield LogprobsAdded(choice=choice.index, tokens=choice.logprobs)
        if choice.refusal_logprobs:
            yield LogprobsAdded(choice=choice.index, tokens=choice.refusal_logprobs, refusal=True)
        if choice.finish is not None:
            yield ChoiceFinished(
                choice=choice.index,
                finish=choice.finish,
                finish_raw=choice.finish_raw,
                stop_sequence=choice.stop_sequence,
                extras=choice.extras,
                message_extras=choice.message_extras,
            )
    if response.usage is not None:
        yield UsageReported(usage=response.usage, raw=response.usage_raw)
    yield Ended()
