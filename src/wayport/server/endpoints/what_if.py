"""`/utils/*` of LiteLLM's: how many tokens a request has, what would be sent for it, and which parameters a model takes.

What must stay true: nobody is called, no address is fetched, and no credential is shown.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType
from msgspec.structs import replace

from wayport.access import refusals
from wayport.access.allow import allow
from wayport.access.principal import Principal
from wayport.core.errors import BadRequest, ModelNotFound
from wayport.dialects.dialect import Dialect, Profile
from wayport.dialects.gemini_content_beside import decode_count_request
from wayport.dialects.neutral import DialectName, Request
from wayport.dialects.openai_embeddings import DIALECT as EMBEDDINGS
from wayport.dialects.registry import DIALECTS
from wayport.pipeline.call import Call, began
from wayport.pipeline.estimate import estimate_tokens
from wayport.pipeline.prepare import Headers, Preparation
from wayport.pipeline.thoughts import ThoughtMemory
from wayport.providers.provider import Operation
from wayport.routing.snapshot import Deployment
from wayport.server.exchange import Exchange
from wayport.wire.openai_chat import OWN_FIELDS

if TYPE_CHECKING:
    from wayport.server.app import Worker

_Shape = TypeVar("_Shape")

_JSON = b"content-type: application/json\r\n"
_encode = msgspec.json.Encoder().encode

_KINDS: Mapping[str, tuple[DialectName, Operation]] = {
    "completion": ("openai_chat", "chat"),
    "text_completion": ("openai_completions", "completions"),
    "embedding": ("openai_chat", "embeddings"),
    "responses": ("openai_responses", "chat"),
    "anthropic_messages": ("anthropic_messages", "chat"),
}
"""LiteLLM's names of calls; each may have an `a` before it"""

_SHOWN_HEADERS = frozenset(
    {"content-type", "accept", "accept-encoding", "user-agent", "anthropic-version", "anthropic-beta"}
)

_SAMPLES: Mapping[str, bytes] = {
    "temperature": b"0.5",
    "top_p": b"0.5",
    "n": b"2",
    "stop": b'["x"]',
    "max_tokens": b"9",
    "max_completion_tokens": b"9",
    "presence_penalty": b"0.5",
    "frequency_penalty": b"0.5",
    "logit_bias": b'{"1": 1}',
    "logprobs": b"true",
    "top_logprobs": b"2",
    "seed": b"1",
    "parallel_tool_calls": b"false",
    "reasoning_effort": b'"low"',
    "user": b'"ann"',
    "tools": b'[{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]',
    "tool_choice": b'"auto"',
    "response_format": b'{"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}}',
    "functions": b'[{"name": "f", "parameters": {"type": "object"}}]',
    "function_call": b'"auto"',
    "modalities": b'["text"]',
    "service_tier": b'"auto"',
    "verbosity": b'"low"',
    "web_search_options": b'{"search_context_size": "low"}',
    "prediction": b'{"type": "content", "content": "x"}',
}
"""a value of each parameter that may be asked about; streams there are everywhere"""
_ALWAYS = ("stream", "stream_options")
_NEEDS = {
    "tool_choice": "tools",
    "parallel_tool_calls": "tools",
    "function_call": "functions",
    "top_logprobs": "logprobs",
}
assert _SAMPLES.keys() <= OWN_FIELDS


class _AsWritten:
    """Addresses in a request stay addresses."""

    def needed(self, request: Request, profile: Profile) -> bool:
        del request, profile
        return False

    async def inline(self, request: Request, profile: Profile) -> Request:
        del profile
        return request


class _Counted(Struct, kw_only=True):
    model: str
    prompt: str | list[str] | None = None
    messages: Raw | UnsetType = UNSET
    contents: Raw | UnsetType = UNSET
    tools: Raw | UnsetType = UNSET
    system: Raw | UnsetType = UNSET


class _Asked(Struct, kw_only=True):
    call_type: str
    request_body: Raw


class WhatIf:
    """Answers on a worker's behalf, for a principal that may call the route."""

    def __init__(self, worker: "Worker") -> None:
        self._worker = worker
        # Its memory of thoughts is its own: nothing is remembered of what nobody called.
        self._preparation = Preparation(dialects=DIALECTS, media=_AsWritten(), thoughts=ThoughtMemory(None))

    def token_counter(self, exchange: Exchange, principal: Principal) -> None:
        body = _read(exchange.body, _Counted)
        used = body.model
        try:
            used = self._deployment(principal, body.model).upstream_model
        except ModelNotFound:
            # Tokens are counted for names that mean nothing, too.
            allow(principal, body.model, compat=self._worker.settings.compat)
        counted = {
            "total_tokens": self._count(body, exchange),
            "request_model": body.model,
            "model_used": used,
            "tokenizer_type": "estimated",
        }
        exchange.respond(200, _JSON, _encode(counted))

    async def transform_request(self, exchange: Exchange, principal: Principal) -> None:
        asked = _read(exchange.body, _Asked)
        kind = _KINDS.get(asked.call_type) or _KINDS.get(asked.call_type.removeprefix("a"))
        if kind is None:
            names = ", ".join(_KINDS)
            raise BadRequest(f"`call_type` must be one of {names}.", param="call_type")
        name, operation = kind
        dialect = EMBEDDINGS if operation == "embeddings" else DIALECTS[name]
        fields = _read(bytes(asked.request_body), dict[str, Raw])
        call = self._call(exchange, dialect, operation, fields)
        model = _read(bytes(fields.get("model", b'""')), str)
        deployment = self._deployment(principal, model)
        call.stream = bytes(fields.get("stream", b"")) == b"true"
        prepared = self._preparation.at_once(call, deployment)
        if prepared is None:
            prepared = await self._preparation.translated(call, deployment)
        target = self._worker.attempt.targets.of(deployment, prepared.operation, stream=call.stream)
        sent = {
            "raw_request_api_base": target.url,
            "raw_request_body": Raw(prepared.body),
            "raw_request_headers": _headers(target.head + prepared.lines),
            "error": None,
        }
        exchange.respond(200, _JSON, _encode(sent))

    async def supported_openai_params(self, exchange: Exchange, principal: Principal, model: str | None) -> None:
        if principal.role not in {"proxy_admin", "proxy_admin_viewer"}:
            raise refusals.admins_only(self._worker.settings.compat, exchange.path)
        if not model:
            raise BadRequest("`model` is missing.", param="model")
        # Dropped is told, refused is not.
        deployment = replace(self._deployment(principal, model), drop_params=True)
        supported = [name for name in _SAMPLES if await self._takes(exchange, deployment, name)]
        exchange.respond(200, _JSON, _encode({"supported_openai_params": [*_ALWAYS, *supported]}))

    async def _takes(self, exchange: Exchange, deployment: Deployment, name: str) -> bool:
        """Whether a request with this parameter keeps it on the way to the deployment."""
        fields = {
            "model": Raw(b'"x"'),
            "messages": Raw(b'[{"role": "user", "content": "Hi"}]'),
            name: Raw(_SAMPLES[name]),
        }
        if (other := _NEEDS.get(name)) is not None:
            fields[other] = Raw(_SAMPLES[other])
        call = self._call(exchange, DIALECTS["openai_chat"], "chat", fields)
        try:
            if self._preparation.at_once(call, deployment) is None:
                await self._preparation.translated(call, deployment)
        except BadRequest:
            return False
        return name not in call.dropped

    def _call(self, exchange: Exchange, dialect: Dialect, operation: Operation, fields: Mapping[str, Raw]) -> Call:
        worker = self._worker
        call = began(
            exchange,
            dialect,
            call_id=worker.new_id(),
            operation=operation,
            route=exchange.path,
            started_s=worker.clock.now_s(),
            steady_s=worker.clock.steady_s(),
        )
        call.snapshot = worker.pipeline.table.snapshot
        call.fields = dict(fields)
        return call

    def _count(self, body: _Counted, exchange: Exchange) -> int:
        if body.contents is not UNSET:
            return estimate_tokens(decode_count_request({"contents": body.contents}))
        messages = body.messages
        if messages is UNSET:
            if body.prompt is None:
                raise BadRequest("`prompt`, `messages` or `contents` must be given.")
            texts = [body.prompt] if isinstance(body.prompt, str) else body.prompt
            messages = Raw(_encode([{"role": "user", "content": text} for text in texts]))
        fields = {"model": Raw(b'"x"'), "messages": messages}
        name: DialectName = "openai_chat"
        if body.system is not UNSET:
            fields |= {"system": body.system, "max_tokens": Raw(b"1")}
            name = "anthropic_messages"
        if body.tools is not UNSET:
            fields["tools"] = body.tools
        half = DIALECTS[name].client
        assert half is not None
        return estimate_tokens(half.decode_request(fields, Headers(self._call(exchange, DIALECTS[name], "chat", {}))))

    def _deployment(self, principal: Principal, model: str) -> Deployment:
        """The first of the model's. Raises `ModelNotFound`, and `PermissionDenied` for what this principal may not use."""
        table = self._worker.pipeline.table
        compat = table.snapshot.compat
        found = table.find(principal.aliases.get(model, model))
        allow(principal, model, found.name, groups=found.model.access_groups, compat=compat)
        if not found.deployments:
            raise ModelNotFound(f"The model `{model}` has no deployment.", param="model")
        return found.deployments[0]


def _read(data: bytes, shape: type[_Shape]) -> _Shape:
    try:
        return msgspec.json.decode(data, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"The body cannot be read: {error}.") from None


def _headers(head: bytes) -> dict[str, str]:
    """Of a request's head; what may hold a credential is stars."""
    found = {}
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.decode("latin-1").partition(":")
        if value:
            found[name.lower()] = value.strip() if name.lower() in _SHOWN_HEADERS else "***"
    found.pop("host", None)
    return found
