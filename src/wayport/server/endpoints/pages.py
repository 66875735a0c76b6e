"""Lists of items by pages, as the Responses API asks for them."""

from collections.abc import Iterable
from typing import Literal
from urllib.parse import parse_qs

from msgspec import Raw

from wayport.core.errors import BadRequest
from wayport.dialects.openai_responses_stored import list_items
from wayport.server.exchange import Exchange

_MOST_ITEMS = 100


def page_of(exchange: Exchange, items: Iterable[Raw]) -> bytes:
    """The page that the query's `order`, `limit` and `after` ask for; `items`: oldest first."""
    order = query(exchange, "order") or "desc"
    if order not in {"asc", "desc"}:
        raise BadRequest("`order` must be `asc` or `desc`.", param="order")
    wanted = query(exchange, "limit") or "20"
    if not wanted.isdecimal() or not 1 <= int(wanted) <= _MOST_ITEMS:
        raise BadRequest(f"`limit` must be a number from 1 to {_MOST_ITEMS}.", param="limit")
    direction: Literal["asc", "desc"] = "asc" if order == "asc" else "desc"
    return list_items(items, limit=int(wanted), order=direction, after=query(exchange, "after"))


def query(exchange: Exchange, name: str) -> str | None:
    return parse_qs(exchange.query.decode("latin-1")).get(name, [None])[-1]
