"""Conversations that Wayport keeps for the Responses API, read and written for the calls of one worker.

What must stay true: nobody goes on from what another tenant stored; an answer is kept before the client learns of its
end; nothing is kept with `store: false`.
"""

import logging
from collections.abc import Coroutine
from typing import Any

from msgspec import Raw

from wayport.access.tenant import tenant_of
from wayport.core.clock import Clock
from wayport.core.errors import BadRequest, ResponseNotFound, Unavailable
from wayport.core.turn import KeptTurn, TurnStore
from wayport.dialects.openai_responses_parts import is_text
from wayport.pipeline.call import Call
from wayport.pipeline.conversation import CONVERSATION, PREFIX, Conversation, referred, status_of
from wayport.routing.affinity import Affinity, response_key
from wayport.wire.openai_responses import LIST, NULL, OBJECT, STRING
from wayport.wire.patch import Fields

log = logging.getLogger("wayport.pipeline")

_PREVIOUS = "previous_response_id"
_TRUE = Raw(b"true")
_SAID = frozenset({"completed", "incomplete"})
"""answers that become part of their conversation"""


class Turns:
    """Reads and writes kept conversations for the calls of one worker."""

    def __init__(self, store: TurnStore | None, *, keep: bool, affinity: Affinity, clock: Clock) -> None:
        self._affinity = affinity
        self._clock = clock
        self._store = store
        self._keep = keep and store is not None

    def begin(self, call: Call) -> Coroutine[Any, Any, None] | None:
        """What the call must wait for before it is planned: None unless it goes on from something."""
        conversation = call.conversation
        assert conversation is not None
        assert call.principal is not None
        fields = call.fields
        conversation.tenant = tenant_of(call.principal)
        store = fields.get("store", NULL)
        conversation.stores = self._keep and store in (NULL, _TRUE)
        conversation.must_keep = store == _TRUE
        if conversation.stores:
            conversation.hold(fields)
        previous = _previous(fields)
        home = _home(fields) if CONVERSATION in fields else None
        references = _references(fields)
        if previous is None and home is None and not references:
            return None
        if previous is not None and home is not None:
            raise BadRequest(
                f"Only one of `{_PREVIOUS}` and `{CONVERSATION}` may be given.",
                param=_PREVIOUS,
                code="mutually_exclusive_parameters",
            )
        return self._load(call, previous, home, references)

    async def _load(self, call: Call, previous: str | None, home: str | None, references: list[str]) -> None:
        conversation = call.conversation
        assert conversation is not None
        store = self._store
        if store is None:
            raise Unavailable("Conversations are not kept here.")
        tenant = conversation.tenant
        if home is not None:
            chain = await store.chain(tenant, home) if home.startswith(PREFIX) else ()
            if chain:
                self._settle_in(call, conversation, chain)
            else:
                conversation.unknown = home
        if previous is not None:
            earlier = await store.chain(tenant, previous)
            if not earlier:
                raise BadRequest(
                    f"Previous response with id '{previous}' not found.",
                    param=_PREVIOUS,
                    code="previous_response_not_found",
                )
            call.request_bytes += conversation.learn(earlier)
            if (keeper := earlier[-1].deployment) is not None:
                # It may have answered through another worker, or before a restart.
                self._affinity.pin((response_key(previous),), keeper, self._clock.steady_s())
        if references:
            found = await store.items(tenant, references)
            missing = conversation.learn_items(references, found.turns, found.places)
            if missing is not None:
                raise ResponseNotFound(
                    f"Item with id '{missing}' not found. Items are kept only of answers without `store: false`.",
                    param="input",
                )

    def _settle_in(self, call: Call, conversation: Conversation, chain: tuple[KeptTurn, ...]) -> None:
        if not conversation.stores:
            raise BadRequest(
                f"An answer in a `{CONVERSATION}` is kept: leave `store` out."
                if self._keep
                else "Conversations are not kept here (`responses.keep_days` is 0).",
                param="store",
                code="conversation_needs_store",
            )
        call.request_bytes += conversation.learn_home(chain)

    async def keep(self, call: Call, response: bytes | Raw, *, native: bool) -> None:
        """Keeps the call's turn. Raises `Unavailable` only where the client wrote `store: true` or the answer belongs to a
        conversation: to everybody else an answer is worth more than going on from it by its id.
        """
        conversation = call.conversation
        assert conversation is not None
        assert self._store is not None
        target = call.deployment
        # What the built-in model says is kept here alone.
        deployment = target.id if native and target is not None and target.base_url else None
        try:
            turn, said, given = conversation.kept(response, deployment=deployment)
        except (ValueError, KeyError) as error:
            log.warning("an answer cannot be kept", extra={"call_id": call.id, "error": str(error)})
            return
        try:
            home = conversation.home if status_of(turn) in _SAID else None
            await self._store.put(conversation.tenant, turn, said=said, given=given, conversation=home)
        except Unavailable as error:
            log.warning("an answer was not kept", extra={"call_id": call.id, "error": error.message})
            if conversation.must_keep:
                raise Unavailable(
                    f"The answer could not be stored ({error.message}), and the request says "
                    f"`{'store: true' if conversation.home is None else CONVERSATION}`.",
                    code="response_not_stored",
                    retry_after_s=1,
                ) from error


def _previous(fields: Fields) -> str | None:
    raw = fields.get(_PREVIOUS, NULL)
    if raw == NULL:
        return None
    if not is_text(raw):
        raise BadRequest(f"`{_PREVIOUS}` must be a string.", param=_PREVIOUS, code="invalid_type")
    return STRING.decode(raw)


def _home(fields: Fields) -> str | None:
    raw = fields[CONVERSATION]
    if raw == NULL:
        return None
    if not is_text(raw):
        try:
            raw = OBJECT.decode(raw)["id"]
        except (ValueError, KeyError):
            raw = NULL
    if not is_text(raw):
        raise BadRequest(
            f'`{CONVERSATION}` must be the id of a conversation, or {{"id": …}}.',
            param=CONVERSATION,
            code="invalid_type",
        )
    return STRING.decode(raw)


def _references(fields: Fields) -> list[str]:
    """Ids of items that the request refers to. What cannot be read is refused: an upstream might read it otherwise, and
    find in it a reference to what is another tenant's.
    """
    given = fields.get("input", NULL)
    if given == NULL or is_text(given):
        return []
    try:
        names = [referred(raw) for raw in LIST.decode(given)]
    except (ValueError, RecursionError) as error:
        raise BadRequest(
            f"`input` must be a string or a list of items: {error}.", param="input", code="invalid_type"
        ) from None
    return [name for name in names if name is not None]
