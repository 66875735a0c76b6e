"""Turns that are kept for `previous_response_id`: what to keep of one, how earlier turns come before a new request, and
how items are listed. Bytes in, bytes out; where they are kept is not known here.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import msgspec
from msgspec import Raw, Struct

from wayport.dialects.openai_responses_made import ItemIds
from wayport.dialects.openai_responses_parts import is_text
from wayport.wire import patch, sse
from wayport.wire.openai_responses import EMPTY_LIST, LIST, NULL, OBJECT, STRING, TAG
from wayport.wire.patch import Fields

_ENDS = (b"response.completed", b"response.incomplete", b"response.failed", b"response.cancelled")

# What the id of an item begins with, by its type; OpenAI looks at it.
_PREFIXES = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
    "additional_tools": "at",
    "item_reference": "ref",
}


class Turn(Struct, kw_only=True, frozen=True):
    """One turn as it is kept. Instructions are no part of it: they hold for one request only."""

    input: list[Raw]
    """the items that this request brought, each with an id"""
    output: list[Raw]


def input_items(fields: Fields, response_id: str) -> list[Raw]:
    """The items of a request's `input`, each with an id and a type, as they are kept and listed.

    Raises ValueError when `input` is neither a string nor a list of objects.
    """
    given = fields.get("input", NULL)
    if given == NULL:
        return []
    if is_text(given):
        content = [{"type": "input_text", "text": STRING.decode(given)}]
        items = [patch.encode({"type": "message", "role": "user", "content": content})]
    else:
        items = LIST.decode(given)
    ids = ItemIds(response_id)
    return [_with_id(raw, ids, number) for number, raw in enumerate(items)]


def _with_id(raw: Raw, ids: ItemIds, number: int) -> Raw:
    tag = TAG.decode(raw)
    item = OBJECT.decode(raw)
    kind = tag.type or ("message" if tag.role else "item_reference")
    if tag.type is not None and item.get("id", NULL) != NULL:
        return raw
    fields = {**item, "type": patch.encode(kind)}
    if fields.get("id", NULL) == NULL:
        fields["id"] = patch.encode(ids.make(_PREFIXES.get(kind, "item"), 1000 + number))
    return Raw(patch.join(fields))


def turn_of(fields: Fields, response: Raw | bytes) -> Turn:
    """What to keep of a request and its whole answer (or the response object of its stream's last event)."""
    answer = OBJECT.decode(response)
    response_id = STRING.decode(answer["id"]) if answer.get("id", NULL) != NULL else ""
    output = answer.get("output", NULL)
    return Turn(input=input_items(fields, response_id), output=LIST.decode(output) if output != NULL else [])


def final_response(event: bytes) -> Raw | None:
    """The response object of a stream's last event; None for every other event. Takes several events as well."""
    if not any(event.find(end) >= 0 for end in _ENDS):
        return None
    splitter = sse.Splitter()
    for raw in reversed(splitter.feed(event)):
        name, data = sse.parse(raw)
        if not data or (name and name.encode() not in _ENDS):
            continue
        fields = OBJECT.decode(data)
        if STRING.decode(fields.get("type", Raw(b'""'))).encode() in _ENDS and "response" in fields:
            return fields["response"]
    return None


def with_turns(fields: Fields, turns: Sequence[Turn]) -> Fields:
    """The request with the earlier turns, oldest first, before its own input: it then needs no `previous_response_id`."""
    items = [item for turn in turns for item in (*turn.input, *turn.output)]
    given = fields.get("input", NULL)
    if given != NULL:
        items += input_items(fields, "") if is_text(given) else LIST.decode(given)
    rest = {name: value for name, value in fields.items() if name not in ("previous_response_id", "input")}
    return {**rest, "input": patch.encode(items)}


def with_references(fields: Fields, find: Callable[[str], Raw | None]) -> Fields:
    """The request with its item references replaced by the items that `find` knows; the others stay."""
    given = fields.get("input", NULL)
    if given == NULL or is_text(given):
        return fields
    items = LIST.decode(given)
    found = [_referred(raw, find) or raw for raw in items]
    return (
        {**fields, "input": patch.encode(found)}
        if any(a is not b for a, b in zip(items, found, strict=True))
        else fields
    )


def _referred(raw: Raw, find: Callable[[str], Raw | None]) -> Raw | None:
    tag = TAG.decode(raw)
    if tag.type not in (None, "item_reference") or tag.role is not None:
        return None
    item_id = OBJECT.decode(raw).get("id", NULL)
    return find(STRING.decode(item_id)) if item_id != NULL else None


def list_items(
    items: Iterable[Raw], *, limit: int = 20, order: Literal["asc", "desc"] = "desc", after: str | None = None
) -> bytes:
    """A page of `GET /v1/responses/{id}/input_items`. `items`: all input of the answer, earlier turns first."""
    listed = [(_id_of(raw), raw) for raw in items]
    if order == "desc":
        listed.reverse()
    if after is not None:
        at = next((number for number, (item_id, _) in enumerate(listed) if item_id == after), None)
        listed = listed[at + 1 :] if at is not None else []
    page = listed[:limit]
    return msgspec.json.encode(
        {
            "object": "list",
            "data": [listed_item(raw) for _, raw in page],
            "first_id": page[0][0] if page else None,
            "last_id": page[-1][0] if page else None,
            "has_more": len(listed) > len(page),
        }
    )


def _id_of(raw: Raw) -> str:
    item_id = OBJECT.decode(raw).get("id", NULL)
    return STRING.decode(item_id) if item_id != NULL else ""


def listed_item(raw: Raw) -> Raw:
    """An item as the API lists it: a message's content is a list, what was said has annotations, and it has a status."""
    item = OBJECT.decode(raw)
    if item.get("type") != Raw(b'"message"'):
        return raw
    said = item.get("role") == Raw(b'"assistant"')
    content = item.get("content", NULL)
    if content != NULL and is_text(content):
        item["content"] = patch.encode([{"type": "output_text" if said else "input_text", "text": content}])
    if said and item.get("content", NULL) != NULL:
        parts = [OBJECT.decode(part) for part in LIST.decode(item["content"])]
        for part in parts:
            if part.get("type") == Raw(b'"output_text"'):
                part.setdefault("annotations", EMPTY_LIST)
        item["content"] = patch.encode(parts)
    item.setdefault("status", Raw(b'"completed"'))
    return Raw(patch.join(item))


def encode_input_tokens(count: int) -> bytes:
    """The answer to `POST /v1/responses/input_tokens`."""
    return msgspec.json.encode({"object": "response.input_tokens", "input_tokens": count})


def deleted(response_id: str) -> bytes:
    """The answer to `DELETE /v1/responses/{id}`."""
    return msgspec.json.encode({"id": response_id, "object": "response", "deleted": True})
