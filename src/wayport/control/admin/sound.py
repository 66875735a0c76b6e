"""Refuses what no database and no JSON writer takes: NUL, lone surrogates, numbers without end. Before anything reads it."""

from typing import Any
from urllib.parse import unquote_plus

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wayport.core.errors import BadRequest, BodyTooLarge

_MOST_BYTES = 10 * 1024 * 1024
_MOST_DEEP = 64
_LARGEST = 2**63 - 1


class OnlySound:
    """`refuse` answers with an error."""

    def __init__(self, app: ASGIApp, *, refuse: Any) -> None:
        self._app = app
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            body = await _whole(receive)
            _check_address(scope)
            if body and _is_json(scope):
                check(body)
        except (BadRequest, BodyTooLarge) as error:
            await self._refuse(error)(scope, receive, send)
            return

        sent = False

        async def again() -> Message:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, again, send)


def check(body: bytes) -> None:
    """Raises `BadRequest` unless the body is JSON that can be stored and given back."""
    try:
        value = msgspec.json.decode(body)
    except RecursionError:
        raise BadRequest("The body is nested too deeply.", code="invalid_json") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"The body is not valid JSON: {error}.", code="invalid_json") from None
    _check_value(value, (), 0)


def _check_value(value: Any, path: tuple[str, ...], depth: int) -> None:
    if depth > _MOST_DEEP:
        raise BadRequest("The body is nested too deeply.", code="invalid_json")
    if isinstance(value, str):
        if "\0" in value:
            raise BadRequest("The character U+0000 cannot be stored.", param=".".join(path) or None)
    elif isinstance(value, dict):
        for key, item in value.items():
            if "\0" in key:
                raise BadRequest("The character U+0000 cannot be stored.", param=".".join(path) or None)
            _check_value(item, (*path, key), depth + 1)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_value(item, (*path, str(index)), depth + 1)
    elif isinstance(value, int | float) and abs(value) > _LARGEST:
        raise BadRequest("The number is too large.", param=".".join(path) or None)


def _check_address(scope: Scope) -> None:
    texts = [scope["path"], *(unquote_plus(part, errors="strict") for part in _query(scope).split("&"))]
    for text in texts:
        if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
            raise BadRequest("The address holds characters that no name has.")


def _query(scope: Scope) -> str:
    try:
        query: str = scope["query_string"].decode("ascii")
        unquote_plus(query, errors="strict")
    except UnicodeDecodeError:
        raise BadRequest("The query is not UTF-8.") from None
    return query


def _is_json(scope: Scope) -> bool:
    kind = next((value for name, value in scope["headers"] if name == b"content-type"), b"application/json")
    return b"json" in kind.lower()


async def _whole(receive: Receive) -> bytes:
    parts = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            break
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > _MOST_BYTES:
            raise BodyTooLarge("The body is too large for a management call (10 MB at most).")
        if not message.get("more_body"):
            break
    return b"".join(parts)
