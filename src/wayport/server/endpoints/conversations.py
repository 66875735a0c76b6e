"""Conversations of the Responses API by their id: made, read, changed and deleted, with the items that were said in them."""

import re
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from wayport.access.principal import Principal
from wayport.access.tenant import tenant_of
from wayport.core.errors import BadRequest, MethodNotAllowed, ResponseNotFound, Unavailable
from wayport.core.turn import ConversationChange, KeptConversation, KeptTurn, TurnStore
from wayport.dialects.openai_responses_stored import input_items, list_items, listed_item
from wayport.pipeline.conversation import PREFIX, decode_conversation, ids_of, items_of, referred, turns_in
from wayport.server.endpoints.pages import page_of
from wayport.server.exchange import Exchange
from wayport.wire import patch
from wayport.wire.openai_responses import EMPTY_LIST, LIST, NULL
from wayport.wire.patch import Fields

if TYPE_CHECKING:
    from wayport.server.app import Worker

_JSON = b"content-type: application/json\r\n"
_PATH = re.compile(r"(?:/openai)?(?:/v1)?/conversations(?:/(?P<id>[^/]+)(?P<items>/items(?:/(?P<item>[^/]+))?)?)?/?")
_MOST_ITEMS = 20
_MOST_PAIRS = 16
_KEY_CHARS = 64
_VALUE_CHARS = 512


def in_path(path: str) -> re.Match[str] | None:
    return _PATH.fullmatch(path)


async def answer(
    worker: "Worker", exchange: Exchange, match: re.Match[str], authenticated: Coroutine[Any, Any, Principal]
) -> None:
    tenant = tenant_of(await authenticated)
    store = worker.conversations
    if store is None or not worker.settings.responses.keep_days:
        raise Unavailable("Conversations are not kept here (`responses.keep_days` is 0).")
    asked = _Asked(worker, exchange, store, tenant)
    exchange.respond(200, _JSON, await asked.answer(match["id"], match["items"], match["item"]))


class _Asked:
    def __init__(self, worker: "Worker", exchange: Exchange, store: TurnStore, tenant: str) -> None:
        self._worker = worker
        self._exchange = exchange
        self._store = store
        self._tenant = tenant

    async def answer(self, conversation: str | None, items: str | None, item: str | None) -> bytes:
        method = b"GET" if self._exchange.method == b"HEAD" else self._exchange.method
        if conversation is None:
            self._allow(method, b"POST")
            return await self._create()
        if items is None:
            self._allow(method, b"GET", b"POST", b"DELETE")
            match method:
                case b"POST":
                    return await self._update(conversation)
                case b"DELETE":
                    return await self._delete(conversation)
                case _:
                    return _shown(await self._head(conversation))
        if item is None:
            self._allow(method, b"GET", b"POST")
            return await (self._add(conversation) if method == b"POST" else self._list(conversation))
        self._allow(method, b"GET", b"DELETE")
        return await (self._remove if method == b"DELETE" else self._item)(conversation, item)

    def _allow(self, method: bytes, *methods: bytes) -> None:
        if method not in methods:
            error = MethodNotAllowed(f"{self._exchange.path} takes {b', '.join(methods).decode()}.")
            error.allowed = b", ".join(methods)
            raise error

    # ---------------------------------------------------------------------------------------------- conversations
    async def _create(self) -> bytes:
        fields = self._fields() if self._exchange.body else {}
        name = PREFIX + self._worker.new_id().replace("-", "")
        items = _items(fields.get("items", NULL), name)
        known = KeptConversation(
            id=name, created_at=int(self._worker.clock.now_s()), metadata=_metadata(fields.get("metadata", NULL))
        )
        head = KeptTurn(response_id=name, input=b"[]", response=msgspec.json.encode(known))
        await self._store.put(self._tenant, head, said=(), given=())
        if items:
            await self._change(name, ConversationChange(items=bytes(patch.encode(items))))
        return _shown(known)

    async def _update(self, conversation: str) -> bytes:
        fields = self._fields()
        if "metadata" not in fields:
            raise BadRequest("`metadata` is missing: it is all that can be changed.", param="metadata")
        await self._change(conversation, ConversationChange(metadata=bytes(_metadata(fields["metadata"]))))
        return _shown(await self._head(conversation))

    async def _delete(self, conversation: str) -> bytes:
        if not conversation.startswith(PREFIX) or not await self._store.forget(self._tenant, conversation):
            raise _unknown(conversation)
        return msgspec.json.encode({"id": conversation, "object": "conversation.deleted", "deleted": True})

    # ------------------------------------------------------------------------------------------------------ items
    async def _list(self, conversation: str) -> bytes:
        return page_of(self._exchange, await self._said(conversation))

    async def _add(self, conversation: str) -> bytes:
        given = self._fields().get("items", NULL)
        if given in (NULL, EMPTY_LIST):
            raise BadRequest("`items` is missing: give a list of items to add.", param="items")
        items = _items(given, conversation + self._worker.new_id())
        await self._change(conversation, ConversationChange(items=bytes(patch.encode(items))))
        return list_items(items, limit=len(items), order="asc")

    async def _item(self, conversation: str, item: str) -> bytes:
        for raw in reversed(await self._said(conversation)):
            if ids_of([raw]) == [item]:
                return bytes(listed_item(raw))
        raise ResponseNotFound(f"Item with id '{item}' not found in conversation '{conversation}'.")

    async def _remove(self, conversation: str, item: str) -> bytes:
        await self._item(conversation, item)
        await self._change(conversation, ConversationChange(without=(item,)))
        return _shown(await self._head(conversation))

    # ---------------------------------------------------------------------------------------------------- the store
    def _fields(self) -> Fields:
        try:
            return patch.split(self._exchange.body)
        except (ValueError, RecursionError) as error:
            raise BadRequest(f"The body must be a JSON object: {error}.") from None

    async def _chain(self, conversation: str) -> tuple[KeptTurn, ...]:
        # Turns of answers are found by their ids, too, and are no conversations.
        chain = await self._store.chain(self._tenant, conversation) if conversation.startswith(PREFIX) else ()
        if not chain:
            raise _unknown(conversation)
        return chain

    async def _head(self, conversation: str) -> KeptConversation:
        return decode_conversation((await self._chain(conversation))[-1].response)

    async def _said(self, conversation: str) -> list[Raw]:
        return [raw for turn in turns_in(await self._chain(conversation)) for raw in items_of(turn)]

    async def _change(self, conversation: str, change: ConversationChange) -> None:
        if not conversation.startswith(PREFIX) or not await self._store.change(self._tenant, conversation, change):
            raise _unknown(conversation)


def _unknown(conversation: str) -> ResponseNotFound:
    return ResponseNotFound(f"Conversation with id '{conversation}' not found.")


def _shown(known: KeptConversation) -> bytes:
    return msgspec.json.encode(
        {"id": known.id, "object": "conversation", "created_at": known.created_at, "metadata": known.metadata}
    )


def _items(given: Raw, seed: str) -> Sequence[Raw]:
    """Each with an id."""
    if given == NULL:
        return []
    try:
        references = [name for raw in LIST.decode(given) if (name := referred(raw))]
        items = input_items({"input": given}, seed)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"`items` must be a list of items: {error}.", param="items", code="invalid_type") from None
    if len(items) > _MOST_ITEMS:
        raise BadRequest(f"`items` holds {len(items)}: at most {_MOST_ITEMS} can be added at a time.", param="items")
    if references:
        raise BadRequest(
            f"`items` refers to '{references[0]}': give the item itself.", param="items", code="unsupported_value"
        )
    return items


def _metadata(given: Raw) -> Raw:
    if given == NULL:
        return Raw(b"{}")
    try:
        pairs = msgspec.json.decode(given, type=dict[str, str])
    except msgspec.DecodeError as error:
        raise BadRequest(f"`metadata` must be pairs of texts: {error}.", param="metadata") from None
    if len(pairs) > _MOST_PAIRS or any(len(k) > _KEY_CHARS or len(v) > _VALUE_CHARS for k, v in pairs.items()):
        raise BadRequest(
            f"`metadata` holds at most {_MOST_PAIRS} pairs, with keys of {_KEY_CHARS} characters and values of "
            f"{_VALUE_CHARS}.",
            param="metadata",
        )
    return given
