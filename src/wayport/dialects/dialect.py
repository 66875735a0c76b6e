"""What a dialect is: two halves of four verbs each, and the profile of the target that the upstream half writes for.

The client half speaks with those who call us, the upstream half with those whom we call. Both are pure.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum, auto
from typing import Literal, Protocol

from msgspec import Struct, field

from wayport.core.errors import Fault, WayportError
from wayport.core.usage import Usage
from wayport.dialects.neutral import Delta, DialectName, FinishReason, Request, Response
from wayport.wire.patch import Fields
from wayport.wire.sse import Event

Headers = Mapping[str, str]
"""response headers of an upstream, names in lower case"""


class Profile(Struct, kw_only=True, frozen=True):
    """What one target (provider and model) accepts beyond or short of its dialect. Each flag is data, never a name test.

    Rows in the provider and model data fill it; every flag stands for documented or recorded behaviour.
    """

    max_tokens_field: Literal["max_tokens", "max_completion_tokens", "any"] = "max_tokens"
    """openai_chat: the name of the output limit; `any`: both are known, as the client wrote it"""
    default_max_tokens: int | None = None
    """written when the client gave none and the dialect demands one (Anthropic)"""
    max_output_tokens: int | None = None
    """the model's own ceiling; a larger wish is lowered to it and reported"""
    unsupported: frozenset[str] = frozenset()
    """top-level parameters of the target dialect that this target refuses: dropped and reported"""
    system_role: Literal["system", "developer", "user"] = "system"
    """openai_chat: how a system prompt is called here"""
    one_system_message: bool = False
    """system messages are merged into one at the start (targets that allow just one)"""
    images: Literal["url", "data", "none"] = "url"
    """`data`: the target cannot fetch; Wayport does"""
    documents: Literal["url", "data", "none"] = "url"
    strict_tools: bool = True
    """whether a tool may carry `strict`"""
    tool_choice_required: bool = True
    """whether `tool_choice: required` is known"""
    json_schema: Literal["native", "json_object", "tool", "prompt", "none"] = "native"
    """how a JSON schema for the answer is put to this target"""
    reasoning: (
        Literal["effort", "budget", "adaptive", "reasoning_object", "level", "thinking_flag", "prompt_mode", "none"]
        | None
    ) = None
    """how thinking is asked for; None: the dialect's own usual way"""
    reasoning_default: str | None = None
    """the effort that holds when none is asked for; None: the target thinks unless told otherwise"""
    unsupported_reasoning: frozenset[str] = frozenset()
    """parameters that this target refuses while it thinks (effort other than `none`): dropped then, and reported"""
    tools_with_reasoning: bool = True
    """openai_chat: False: function tools are refused while it thinks; with tools the effort is `none`, and reported"""
    renames: dict[str, str] = field(default_factory=dict)
    """top-level parameters of the target dialect that are called otherwise here (`seed` → `random_seed`)"""
    constants: dict[str, str | int | float | bool] = field(default_factory=dict)
    """top-level fields that this target always wants"""
    exclusive: tuple[str, ...] = ()
    """parameters of which only the first that is given may be sent (`temperature`, `top_p`)"""
    temperature_max: float | None = None
    """a higher temperature is lowered to it and reported"""
    prefill: bool = True
    """anthropic_messages: whether the last message may be the assistant's, to be continued"""
    model_in_body: bool = True
    """anthropic_messages, and embeddings of cohere_chat: False: the path names the model (Vertex AI, Bedrock's invoke);
    the body has no `model`"""
    betas_in_body: bool = False
    """anthropic_messages: betas go as a list `anthropic_beta` in the body, not as a header (Bedrock's invoke)"""
    reasoning_efforts: tuple[str, ...] = ()
    """effort words that this target knows, weakest first; empty: all. Others are rounded up"""
    reasoning_field: Literal[
        "reasoning_content", "reasoning", "reasoning_details", "thinking_blocks", "content", "none"
    ] = "reasoning_content"
    """openai_chat: the message field in which this target gives (and in tool turns wants back) its reasoning;
    `content`: as `thinking` parts of the content (Mistral)"""
    reasoning_back: Literal["never", "tool_turns", "always"] = "never"
    """openai_chat: when earlier reasoning must be sent again (DeepSeek, Kimi: in tool turns). What a chat client itself
    wrote in the target's own `reasoning_field` is kept in any case; what stands in another field is left out"""
    stream_usage: bool = True
    """openai_chat: whether `stream_options.include_usage` is known"""
    cache_markers: bool = False
    """openai_chat: whether `cache_control` on parts is understood (OpenRouter, Anthropic behind it);
    bedrock_converse: whether the model takes `cachePoint` blocks"""
    cache_breakpoints: bool = False
    """openai_chat: whether `prompt_cache_breakpoint` on parts is understood (OpenAI from gpt-5.6 on)"""
    custom_tools: bool = False
    """openai_chat: whether tools of type `custom` are understood (OpenAI); otherwise they become functions"""
    thought_signatures: bool = False
    """openai_chat: whether `extra_content.google.thought_signature` is understood (Google's OpenAI endpoint)"""
    content_parts: bool = True
    """openai_chat: whether text may be a list of parts; False: texts are joined to a string"""
    content_filter_prose: tuple[str, ...] = ()
    """anchored patterns for a provider that states a content refusal only in prose"""
    context_window_prose: tuple[str, ...] = ()
    """anchored patterns for a provider that states an overlong prompt only in prose"""
    not_found_prose: tuple[str, ...] = ()
    """anchored patterns for a provider that states only in prose that it has no such model"""
    unsupported_param_prose: tuple[str, ...] = ()
    """anchored patterns, each with a group `param`, for a provider that names only in prose what it does not take"""
    tool_id_chars: int = 0
    """longest tool-call id accepted; 0: the dialect's own rule; -1: every id passes as it is (Kimi gives `name:0`)"""
    betas: tuple[str, ...] | None = None
    """`anthropic-beta` values that this target knows; None: all pass"""
    refused_betas: frozenset[str] = frozenset()
    """values that this target has refused"""
    mid_system: bool | None = None
    """anthropic_messages: whether `role: system` is known among the messages (Claude Opus 4.8 and later); False: such a
    message becomes user text in `<system>` tags; None: so does one from another dialect, the dialect's own stays"""
    tool_schema: Literal["json_schema", "openapi"] = "json_schema"
    """gemini_content: whether schemas go as full JSON schema (`parametersJsonSchema`, `responseJsonSchema`) or
    reduced to Google's OpenAPI subset (`parameters`, `responseSchema`: models before 2.0)"""
    tool_result_media: bool = False
    """gemini_content: whether a functionResponse may hold media itself (Gemini 3); else media follow it as parts"""
    embed_by: Literal["batch", "predict", "embed_content", "titan", "nova"] = "batch"
    """gemini_content: how texts are embedded: `batchEmbedContents`, or on Vertex AI `predict` and `embedContent`;
    bedrock_converse: in Titan's words or (`nova`) in Nova's"""
    media_in_tool_results: tuple[Literal["image", "document", "video"], ...] = ("image",)
    """bedrock_converse: media that a toolResult may hold; others stand beside it in the same message"""
    beside_tool_results: tuple[Literal["text", "image", "document", "video"], ...] | None = None
    """bedrock_converse: what may stand in one message with tool results; None: everything. The rest has a message of its
    own, behind a turn of the assistant"""


def takes_beta(profile: Profile, beta: str) -> bool:
    return (profile.betas is None or beta in profile.betas) and beta not in profile.refused_betas


class Encoded(Struct, kw_only=True):
    """A request body for an upstream."""

    body: bytes
    dropped: list[str] = field(default_factory=list)
    """names, in the client's words, of what the target lacks; reported in `x-wayport-dropped-params`"""
    lowered: list[str] = field(default_factory=list)
    """what was changed to fit (`max_tokens`, `reasoning_effort`); reported beside the dropped ones"""
    headers: dict[str, str] = field(default_factory=dict)
    """headers that the content asks for (`anthropic-beta`)"""
    tool_names: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    """tool name as sent to the client's own name and namespace, where the target's rules made them differ; calls in
    the answer carry the name as sent, and whoever sends the answer on puts the client's own back"""


class Glance(Enum):
    """What an event of a stream is, told cheaply from its bytes."""

    OPENING = auto()
    """before content: roles, ids, empty deltas, pings"""
    CONTENT = auto()
    USAGE = auto()
    """carries a usage statement (and may be removed when the client did not ask for it)"""
    TERMINAL = auto()
    """the dialect's clean end"""
    ERROR = auto()


class StreamEncoder(Protocol):
    """Writes the events of one stream to a client, from deltas."""

    def feed(self, delta: Delta) -> bytes:
        """Bytes for the socket, possibly none. `Failed` writes the dialect's error event, `Ended` its terminal one."""
        ...


class StreamDecoder(Protocol):
    """Reads the events of one upstream stream into deltas."""

    def feed(self, event: Event) -> Iterable[Delta]: ...

    def end(self) -> Iterable[Delta]:
        """The bytes have ended. Yields `Ended` late (dialects without a terminal event) or `Failed` with kind `cut`."""
        ...


class ClientHalf(Protocol):
    name: DialectName

    def decode_request(self, fields: Fields, headers: Headers) -> Request:
        """Raises `BadRequest` that names the field and what to do."""
        ...

    def encode_response(self, response: Response, *, request: Request | None = None) -> bytes: ...

    def stream_encoder(self, *, request: Request | None, response_id: str, created: int) -> StreamEncoder:
        """`response_id` and `created` are used when the upstream gave none."""
        ...

    def encode_error(self, error: WayportError, *, call_id: str) -> bytes:
        """The body of an error answer."""
        ...


class UpstreamHalf(Protocol):
    name: DialectName

    def encode_request(self, request: Request, profile: Profile) -> Encoded:
        """`request.model` is the upstream's model name. Raises `BadRequest` for what cannot be put to this target."""
        ...

    def decode_response(self, body: bytes) -> Response:
        """Raises `ValueError` (or msgspec's errors, which are ones) when the body is not of this dialect."""
        ...

    def stream_decoder(self) -> StreamDecoder: ...

    def decode_error(self, status: int, headers: Headers, body: bytes, profile: Profile) -> Fault:
        """Status and typed fields decide; prose only through the profile's patterns. Never raises."""
        ...


class Stated(Struct, gc=False):
    """What a whole answer that passes through says of itself."""

    usage: Usage | None = None
    id: str | None = None
    service_tier: str | None = None
    """which was used, in OpenAI's words: it may have a price of its own"""
    finish: FinishReason | None = None


class Passthrough(Protocol):
    """Same dialect on both sides: what must be read and changed, nothing else decoded."""

    name: DialectName
    removed: frozenset[str]
    """top-level request fields that are ours (LiteLLM's control fields, `api_base` …) and never go upstream"""

    def patch_request(
        self, fields: Fields, *, model: str, profile: Profile, want_usage: bool
    ) -> tuple[bytes, Sequence[str]]:
        """The body for the upstream and the names of what was dropped. `want_usage`: make a stream state its usage."""
        ...

    def patch_response(self, body: bytes, *, model: str | None) -> tuple[bytes, Stated]:
        """The body for the client, with the model's name replaced if `model` is given, and what it states of itself."""
        ...

    def glance(self, event: bytes) -> Glance: ...

    def passes(self, data: bytes, start: int) -> bool:
        """Whether the event that begins there is CONTENT, and `patch_event` leaves it as it is if the model keeps its name.
        Cheap: it may say no of such an event, too. Behind the event may stand framing.
        """
        ...

    def usage_of(self, event: bytes, before: Usage | None) -> Usage | None:
        """The usage that a USAGE or TERMINAL event states, merged over what was known `before`."""
        ...

    def fault_of(self, event: bytes) -> Fault:
        """What an ERROR event says."""
        ...

    def patch_event(self, event: bytes, *, model: str | None, keep_usage: bool) -> bytes:
        """The event for the client: model renamed, a usage statement that the client did not ask for removed."""
        ...


class Dialect(Struct, kw_only=True, frozen=True):
    """One dialect, whole. A half may be missing where only one side is spoken."""

    name: DialectName
    client: ClientHalf | None = None
    upstream: UpstreamHalf | None = None
    passthrough: Passthrough | None = None
    ending: Callable[[Iterable[bytes]], Stated | None] | None = None
    """what a stream's last events state but for usage, read faster than by `upstream`'s decoder; None where it cannot"""
    ends_with_body: bool = False
    """a stream has no event that closes it: TERMINAL events may be several, and the end of the body is the end"""
    keep_alive: bytes = b": wayport\n\n"
    """what may be sent into a stream as a sign of life without meaning anything"""
    stream_type: bytes = b"text/event-stream; charset=utf-8"
    """content type of a stream"""
