"""Calls of models in the dialects of OpenAI: chat, legacy completions, embeddings."""

from collections.abc import Coroutine
from typing import Any, Protocol

from wayport.core.clock import Clock
from wayport.core.ids import NewId
from wayport.dialects.dialect import Dialect
from wayport.pipeline.call import began
from wayport.pipeline.conversation import Conversation
from wayport.pipeline.pipeline import Pipeline
from wayport.providers.provider import Operation
from wayport.server.exchange import Exchange


class Serving(Protocol):
    """What an endpoint needs of the worker."""

    pipeline: Pipeline
    clock: Clock
    new_id: NewId


def call_model(
    worker: Serving,
    exchange: Exchange,
    *,
    dialect: Dialect,
    operation: Operation,
    model: str | None = None,
    stream: bool = False,
    key_query: bytes = b"",
    keeps: bool = False,
) -> Coroutine[Any, Any, None]:
    """One call through the pipeline, to be awaited. `model` and `stream` are given where the path says them, `key_query`
    where the key may stand in the query. `keeps`: the answer can be gone on from by its id.
    """
    clock = worker.clock
    call = began(
        exchange,
        dialect,
        call_id=worker.new_id(),
        operation=operation,
        route=exchange.path,
        started_s=clock.now_s(),
        steady_s=clock.steady_s(),
    )
    call.stream = stream
    call.key_query = key_query
    if model:
        call.model_asked = model
    if keeps:
        call.conversation = Conversation()
    return worker.pipeline.run(call)
