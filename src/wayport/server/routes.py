"""The route table of a data worker. What is not in it belongs to the control process and is relayed there."""

import re
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

from wayport.access.allow import allow_address, allow_route
from wayport.access.principal import Principal
from wayport.core.errors import MethodNotAllowed
from wayport.dialects.openai_embeddings import DIALECT as EMBEDDINGS
from wayport.dialects.registry import DIALECTS
from wayport.server.endpoints import conversations, explain, gemini, health, model_groups, models, responses
from wayport.server.endpoints.control import relay_to_control
from wayport.server.endpoints.llm import call_model
from wayport.server.endpoints.what_if import WhatIf
from wayport.server.exchange import Exchange

if TYPE_CHECKING:
    from wayport.server.app import Worker

Endpoint = Callable[[Exchange], Coroutine[Any, Any, None]]

_CHAT = DIALECTS["openai_chat"]
_COMPLETIONS = DIALECTS["openai_completions"]
_MESSAGES = DIALECTS["anthropic_messages"]
_RESPONSES = DIALECTS["openai_responses"]
CHAT_PATHS = {
    "/chat/completions": _CHAT,
    "/v1/chat/completions": _CHAT,
    "/messages": _MESSAGES,
    "/v1/messages": _MESSAGES,
}
"""where models are chatted with, and the dialect that is spoken there"""
_JSON = b"content-type: application/json\r\n"
_IN_PATH = re.compile(
    r"/(?:openai/deployments|engines)/(?P<model>.+?)/(?P<rest>chat/completions|completions|embeddings)"
)
_ONE_MODEL = re.compile(r"(?:/v1)?/models/(?P<model>.+)")


class Router:
    def __init__(self, worker: "Worker") -> None:
        self._worker = worker
        self._what_if = WhatIf(worker)
        get = (b"GET", b"HEAD")
        self._routes: dict[str, dict[bytes, Endpoint]] = {}
        for path, endpoint in (
            ("/chat/completions", self._chat),
            ("/completions", self._completions),
            ("/embeddings", self._embeddings),
            ("/messages", self._messages),
            ("/messages/count_tokens", self._count_tokens),
            ("/responses", self._responses),
            ("/responses/input_tokens", self._input_tokens),
        ):
            self._add(path, (b"POST",), endpoint)
            self._add(f"/v1{path}", (b"POST",), endpoint)
        for path in ("/openai/responses", "/openai/v1/responses"):
            self._add(path, (b"POST",), self._responses)
        for path in gemini.LIST:
            self._add(path, get, self._google_models)
        for path in ("/models", "/v1/models"):
            self._add(path, get, self._models)
        for path in ("/model/info", "/v1/model/info"):
            self._add(path, get, self._model_info)
        self._add("/model_group/info", get, self._model_groups)
        for path in ("/health/liveliness", "/health/liveness"):
            self._add(path, get, self._alive)
        self._add("/health/readiness", get, self._ready)
        self._add("/health", get, self._health)
        self._add("/", get, self._root)
        self._add("/routes", get, self._paths)
        self._add("/utils/token_counter", (b"POST",), self._token_counter)
        self._add("/utils/transform_request", (b"POST",), self._transform_request)
        self._add("/utils/supported_openai_params", get, self._supported_params)

    def _add(self, path: str, methods: tuple[bytes, ...], endpoint: Endpoint) -> None:
        self._routes.setdefault(path, {}).update(dict.fromkeys(methods, endpoint))

    def route(self, exchange: Exchange) -> Coroutine[Any, Any, None]:
        """Who answers: to be awaited. Raises `MethodNotAllowed`. No coroutine of its own, as every call passes here."""
        methods = self._routes.get(exchange.path)
        if methods is None and len(exchange.path) > 1 and exchange.path.endswith("/"):
            methods = self._routes.get(exchange.path.rstrip("/"))
        if methods is not None:
            endpoint = methods.get(exchange.method)
            if endpoint is None:
                raise _wrong_method(exchange, methods)
            return endpoint(exchange)
        if (match := _IN_PATH.fullmatch(exchange.path)) is not None:
            endpoint = self._routes["/" + match["rest"]].get(exchange.method)
            if endpoint is None:
                raise _wrong_method(exchange, {b"POST": self._chat})
            return self._in_path(exchange, match["rest"], match["model"])
        if (match := _ONE_MODEL.fullmatch(exchange.path)) is not None and exchange.method in {b"GET", b"HEAD"}:
            return self._one_model(exchange, match["model"])
        if (match := gemini.call_in_path(exchange.path)) is not None:
            if exchange.method != b"POST":
                raise _wrong_method(exchange, {b"POST": self._chat})
            return gemini.call(self._worker, exchange, match)
        if (match := gemini.model_in_path(exchange.path)) is not None and exchange.method in {b"GET", b"HEAD"}:
            return self._google_model(exchange, match["model"])
        if (match := explain.PATH.fullmatch(exchange.path)) is not None and exchange.method in {b"GET", b"HEAD"}:
            return self._explain(exchange, match["id"])
        if (match := responses.one_in_path(exchange.path)) is not None:
            return responses.answer(self._worker, exchange, match, self.principal(exchange))
        if (match := conversations.in_path(exchange.path)) is not None:
            return conversations.answer(self._worker, exchange, match, self.principal(exchange))
        return relay_to_control(self._worker, exchange)

    # --------------------------------------------------------------------------------------------------- models
    def _chat(self, exchange: Exchange) -> Coroutine[Any, Any, None]:
        return call_model(self._worker, exchange, dialect=_CHAT, operation="chat")

    def _completions(self, exchange: Exchange) -> Coroutine[Any, Any, None]:
        return call_model(self._worker, exchange, dialect=_COMPLETIONS, operation="completions")

    def _embeddings(self, exchange: Exchange) -> Coroutine[Any, Any, None]:
        return call_model(self._worker, exchange, dialect=EMBEDDINGS, operation="embeddings")

    def _messages(self, exchange: Exchange) -> Coroutine[Any, Any, None]:
        return call_model(self._worker, exchange, dialect=_MESSAGES, operation="chat")

    def _count_tokens(self, exchange: Exchange) -> Coroutine[Any, Any, None]:
        return call_model(self._worker, exchange, dialect=_MESSAGES, operation="count_tokens")

    def _responses(self, exchange: Exchange) -> Coroutine[Any, Any, None]:
        return call_model(self._worker, exchange, dialect=_RESPONSES, operation="chat", keeps=True)

    def _input_tokens(self, exchange: Exchange) -> Coroutine[Any, Any, None]:
        return call_model(self._worker, exchange, dialect=_RESPONSES, operation="count_tokens", keeps=True)

    def _in_path(self, exchange: Exchange, rest: str, model: str) -> Coroutine[Any, Any, None]:
        """Azure's and the old engines' paths, which carry the model."""
        match rest:
            case "chat/completions":
                return call_model(self._worker, exchange, dialect=_CHAT, operation="chat", model=model)
            case "completions":
                return call_model(self._worker, exchange, dialect=_COMPLETIONS, operation="completions", model=model)
            case _:
                return call_model(self._worker, exchange, dialect=EMBEDDINGS, operation="embeddings", model=model)

    async def _explain(self, exchange: Exchange, call_id: str) -> None:
        await explain.explain_call(self._worker, exchange, await self.principal(exchange), call_id)

    async def _models(self, exchange: Exchange) -> None:
        principal = await self.principal(exchange)
        if exchange.header(b"anthropic-version") is not None:
            exchange.respond(200, _JSON, models.anthropic_listing(self._worker.pipeline.table, principal))
            return
        if _is_googles(exchange):
            exchange.respond(200, _JSON, gemini.listing(self._worker.pipeline.table, principal))
            return
        groups: models.Groups = "with" if _flag(exchange, "include_model_access_groups") else "without"
        if _flag(exchange, "only_model_access_groups"):
            groups = "only"
        patterns = _flag(exchange, "return_wildcard_routes")
        data = models.listing(self._worker.pipeline.table, principal, groups=groups, patterns=patterns)
        exchange.respond(200, _JSON, models.encode({"object": "list", "data": data}))

    async def _one_model(self, exchange: Exchange, name: str) -> None:
        principal = await self.principal(exchange)
        table = self._worker.pipeline.table
        if exchange.header(b"anthropic-version") is not None:
            exchange.respond(200, _JSON, models.anthropic_one(table, principal, name))
            return
        if _is_googles(exchange):
            exchange.respond(200, _JSON, gemini.one(table, principal, name))
            return
        exchange.respond(200, _JSON, models.encode(models.one(table, principal, name)))

    async def _google_models(self, exchange: Exchange) -> None:
        principal = await self.principal(exchange, query=exchange.query)
        exchange.respond(200, _JSON, gemini.listing(self._worker.pipeline.table, principal))

    async def _google_model(self, exchange: Exchange, name: str) -> None:
        principal = await self.principal(exchange, query=exchange.query)
        exchange.respond(200, _JSON, gemini.one(self._worker.pipeline.table, principal, name))

    async def _paths(self, exchange: Exchange) -> None:
        """The paths that a worker answers; those of the management are in /openapi.json."""
        found = [
            {"path": path, "methods": sorted(method.decode() for method in methods)}
            for path, methods in self._routes.items()
        ]
        exchange.respond(200, _JSON, models.encode({"routes": found}))

    async def _model_info(self, exchange: Exchange) -> None:
        principal = await self.principal(exchange)
        wanted = _query(exchange, "litellm_model_id")
        learned = self._worker.attempt.lessons.of
        data = models.info(self._worker.pipeline.table, principal, learned=learned, model_id=wanted)
        exchange.respond(200, _JSON, models.encode(data))

    async def _model_groups(self, exchange: Exchange) -> None:
        principal = await self.principal(exchange)
        wanted = _query(exchange, "model_group")
        exchange.respond(
            200, _JSON, models.encode(model_groups.groups(self._worker.pipeline.table, principal, wanted=wanted))
        )

    # -------------------------------------------------------------------------------------------------- what if
    async def _token_counter(self, exchange: Exchange) -> None:
        self._what_if.token_counter(exchange, await self.principal(exchange, has_body=True))

    async def _transform_request(self, exchange: Exchange) -> None:
        await self._what_if.transform_request(exchange, await self.principal(exchange, has_body=True))

    async def _supported_params(self, exchange: Exchange) -> None:
        wanted = _query(exchange, "model")
        await self._what_if.supported_openai_params(exchange, await self.principal(exchange), wanted)

    # --------------------------------------------------------------------------------------------------- health
    async def _alive(self, exchange: Exchange) -> None:
        exchange.respond(200, _JSON, b'"I\'m alive!"')

    async def _ready(self, exchange: Exchange) -> None:
        status, body = health.readiness(self._worker)
        exchange.respond(status, _JSON, body)

    async def _health(self, exchange: Exchange) -> None:
        await health.respond(self._worker, exchange)

    async def _root(self, exchange: Exchange) -> None:
        exchange.respond(200, _JSON, health.root())

    # ------------------------------------------------------------------------------------------------- principal
    async def principal(self, exchange: Exchange, *, query: bytes = b"", has_body: bool = False) -> Principal:
        """Who asks, on routes that call no model. `query`: where the key may stand in it."""
        found = self._worker.authenticator.authenticate(exchange.header, query=query, has_body=has_body)
        principal = found if isinstance(found, Principal) else await found
        allow_route(principal, exchange.path, compat=self._worker.settings.compat)
        allow_address(principal, exchange.client[0], compat=self._worker.settings.compat)
        if (coming := self._worker.pipeline.coming) is not None:
            await coming.wait()
        return principal


def _is_googles(exchange: Exchange) -> bool:
    """Google's SDK asks for `/v1/models` as well; its headers tell it apart."""
    return exchange.header(b"x-goog-api-client") is not None or exchange.header(b"x-goog-api-key") is not None


def _flag(exchange: Exchange, name: str) -> bool:
    return (_query(exchange, name) or "").lower() in {"1", "true", "yes"}


def _query(exchange: Exchange, name: str) -> str | None:
    for pair in exchange.query.decode("latin-1").split("&"):
        key, _, value = pair.partition("=")
        if key == name and value:
            return unquote_plus(value)
    return None


def _wrong_method(exchange: Exchange, methods: dict[bytes, Endpoint]) -> MethodNotAllowed:
    allowed = b", ".join(methods)
    error = MethodNotAllowed(
        f"{exchange.path} does not take {exchange.method.decode('latin-1')}: use {allowed.decode()}."
    )
    error.allowed = allowed
    return error
