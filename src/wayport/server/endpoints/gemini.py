"""Google's native routes: `/v1beta/models/{model}:{verb}` and the list of models."""

import re
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from wayport.access.allow import may_use
from wayport.access.principal import Principal
from wayport.core.errors import RouteNotFound
from wayport.dialects.gemini_content import DIALECT, LISTED
from wayport.dialects.gemini_content_beside import encode_model, encode_models, model_entry
from wayport.routing.table import RoutingTable
from wayport.server.endpoints import models
from wayport.server.endpoints.llm import call_model
from wayport.server.exchange import Exchange

if TYPE_CHECKING:
    from wayport.server.app import Worker

_CALL = re.compile(r"/(?:v1beta|v1alpha|v1|v1beta1)?/?models/(?P<model>.+):(?P<verb>[A-Za-z]+)")
_MODEL = re.compile(r"/v1(?:beta|alpha)/models/(?P<model>.+)")
LIST = frozenset({"/v1beta/models", "/v1alpha/models"})


def call_in_path(path: str) -> re.Match[str] | None:
    return _CALL.fullmatch(path)


def model_in_path(path: str) -> re.Match[str] | None:
    return _MODEL.fullmatch(path)


def call(worker: "Worker", exchange: Exchange, match: re.Match[str]) -> Coroutine[Any, Any, None]:
    """One of the verbs, to be awaited. Raises `RouteNotFound` for one that is not known."""
    model = match["model"].removeprefix("models/")
    key = exchange.query
    match match["verb"]:
        case "generateContent":
            return call_model(worker, exchange, dialect=DIALECT, operation="chat", model=model, key_query=key)
        case "streamGenerateContent":
            dialect = DIALECT if b"alt=sse" in exchange.query else LISTED
            return call_model(
                worker, exchange, dialect=dialect, operation="chat", model=model, stream=True, key_query=key
            )
        case "countTokens":
            return call_model(worker, exchange, dialect=DIALECT, operation="count_tokens", model=model, key_query=key)
        case "embedContent" | "batchEmbedContents":
            return call_model(worker, exchange, dialect=DIALECT, operation="embeddings", model=model, key_query=key)
        case verb:
            raise RouteNotFound(f"Models have no `{verb}` here.")


def _entry(table: RoutingTable, name: str) -> Any:
    deployments = table.find(name).deployments
    first = deployments[0] if deployments else None
    return model_entry(
        name,
        context_window=first.context_window if first else None,
        max_output_tokens=first.max_output_tokens if first else None,
    )


def listing(table: RoutingTable, principal: Principal) -> bytes:
    names = [name for name in dict.fromkeys(table.names()) if may_use(principal, name) and "*" not in name]
    return encode_models([_entry(table, name) for name in names])


def one(table: RoutingTable, principal: Principal, name: str) -> bytes:
    """Raises `ModelNotFound`, also for a model that this principal may not use."""
    models.one(table, principal, name)
    return encode_model(_entry(table, name))
