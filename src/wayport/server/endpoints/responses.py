"""What can be done with an answer of the Responses API by its id: read, delete, cancel, list its input."""

import logging
import re
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from msgspec import Raw
from msgspec.structs import replace

from wayport.access.principal import Principal
from wayport.access.tenant import tenant_of
from wayport.core.errors import (
    BadRequest,
    MethodNotAllowed,
    ModelNotFound,
    ResponseNotFound,
    Unavailable,
    UpstreamFault,
)
from wayport.core.turn import KeptTurn, TurnStore
from wayport.dialects.openai_responses_stored import deleted
from wayport.pipeline.conversation import PREFIX, given_of, ids_of, items_of, said_of, status_of
from wayport.routing.snapshot import Deployment
from wayport.server.endpoints.pages import page_of, query
from wayport.server.exchange import Exchange

if TYPE_CHECKING:
    from wayport.server.app import Worker

log = logging.getLogger("wayport.server")

_JSON = b"content-type: application/json\r\n"
_ONE = re.compile(
    r"(?:/openai)?(?:/v1)?/responses/(?P<id>(?!compact$|input_tokens$)[^/]+)(?P<action>/cancel|/input_items)?/?"
)
_METHODS = {None: (b"GET", b"HEAD", b"DELETE"), "/cancel": (b"POST",), "/input_items": (b"GET", b"HEAD")}
_RUNNING = frozenset({"queued", "in_progress"})


def one_in_path(path: str) -> re.Match[str] | None:
    return _ONE.fullmatch(path)


async def answer(
    worker: "Worker", exchange: Exchange, match: re.Match[str], authenticated: Coroutine[Any, Any, Principal]
) -> None:
    tenant = tenant_of(await authenticated)
    action, response_id = match["action"], match["id"]
    methods = _METHODS[action]
    if exchange.method not in methods:
        error = MethodNotAllowed(f"{exchange.path} takes {b', '.join(methods).decode()}.")
        error.allowed = b", ".join(methods)
        raise error
    store = worker.conversations
    if store is None:
        raise Unavailable("Answers are not kept here.")
    # Conversations are kept among the answers, and are none.
    chain = await store.chain(tenant, response_id) if not response_id.startswith(PREFIX) else ()
    if not chain:
        if response_id.startswith(PREFIX):
            raise ResponseNotFound(f"Response with id '{response_id}' not found.")
        if exchange.method == b"DELETE" and await store.forget(tenant, response_id):
            # What it went on from is gone already.
            return exchange.respond(200, _JSON, deleted(response_id))
        raise ResponseNotFound(f"Response with id '{response_id}' not found.")
    match action:
        case "/input_items":
            exchange.respond(200, _JSON, page_of(exchange, _input(chain)))
        case "/cancel":
            exchange.respond(200, _JSON, await _cancel(worker, store, tenant, chain[-1]))
        case _ if exchange.method == b"DELETE":
            exchange.respond(200, _JSON, await _delete(worker, store, tenant, chain[-1]))
        case _:
            exchange.respond(200, _JSON, await _read(worker, exchange, store, tenant, chain[-1]))
    return None


async def _read(worker: "Worker", exchange: Exchange, store: TurnStore, tenant: str, turn: KeptTurn) -> bytes:
    if query(exchange, "stream") == "true":
        raise BadRequest("A kept answer is not streamed again: ask for it without `stream`.", param="stream")
    if status_of(turn) not in _RUNNING or (deployment := _keeper(worker, turn)) is None:
        return turn.response
    return await _refresh(store, tenant, turn, await worker.native.ask(deployment, "GET", turn.response_id))


async def _cancel(worker: "Worker", store: TurnStore, tenant: str, turn: KeptTurn) -> bytes:
    deployment = _keeper(worker, turn)
    if deployment is None or status_of(turn) not in _RUNNING:
        raise BadRequest(
            "Only answers that are made in the background can be cancelled; this one is complete, or its model cannot "
            "answer in the background.",
            code="response_not_cancellable",
        )
    return await _refresh(store, tenant, turn, await worker.native.ask(deployment, "POST", turn.response_id, "/cancel"))


async def _refresh(store: TurnStore, tenant: str, turn: KeptTurn, response: bytes) -> bytes:
    """What the upstream says of an answer now is what is known of it from now on."""
    newer = replace(turn, response=response)
    await store.put(tenant, newer, said=ids_of(said_of(newer)), given=())
    return response


async def _delete(worker: "Worker", store: TurnStore, tenant: str, turn: KeptTurn) -> bytes:
    await store.forget(tenant, turn.response_id)
    deployment = _keeper(worker, turn)
    if deployment is not None:
        try:
            await worker.native.ask(deployment, "DELETE", turn.response_id)
        except UpstreamFault as error:
            log.warning(
                "an answer was deleted here but not upstream",
                extra={"deployment": deployment.id, "status": error.fault.status},
            )
    return deleted(turn.response_id)


def _keeper(worker: "Worker", turn: KeptTurn) -> Deployment | None:
    """The deployment that keeps the answer too, if there still is one."""
    if turn.deployment is None:
        return None
    try:
        found = worker.pipeline.table.find(turn.deployment)
    except ModelNotFound:
        return None
    return next((each for each in found.deployments if each.id == turn.deployment), None)


def _input(chain: tuple[KeptTurn, ...]) -> list[Raw]:
    return [item for turn in chain[:-1] for item in items_of(turn)] + given_of(chain[-1])
