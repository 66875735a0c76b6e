"""Reading a client's JSON, field by field: every refusal names the field and says what belongs there."""

from typing import TypeVar

import msgspec
from msgspec import Raw

from wayport.core.errors import BadRequest

Object = dict[str, Raw]

NULL = Raw(b"null")
_NULL_BYTES = b"null"
_T = TypeVar("_T")

_text = msgspec.json.Decoder(str)
_number: msgspec.json.Decoder[int | float] = msgspec.json.Decoder(int | float)
_bool = msgspec.json.Decoder(bool)
_object = msgspec.json.Decoder(Object)
_list = msgspec.json.Decoder(list[Raw])
_texts = msgspec.json.Decoder(list[str])
_any = msgspec.json.Decoder()
encode = msgspec.json.Encoder().encode


def is_null(raw: Raw) -> bool:
    return bytes(raw) == _NULL_BYTES


_EMPTY = frozenset((b"null", b'""', b"[]", b"{}"))


def is_empty(raw: Raw) -> bool:
    """Whether a value says nothing: null, an empty string, list or object."""
    return bytes(raw) in _EMPTY


def _refuse(raw: Raw, path: str, expected: str, error: Exception) -> BadRequest:
    if isinstance(error, RecursionError):
        return BadRequest(f"`{path}` is nested too deeply.", param=path)
    if not isinstance(error, msgspec.ValidationError):
        return BadRequest(f"`{path}` is not valid JSON text in UTF-8: {error}.", param=path)
    found = _kind(bytes(raw)[:1])
    return BadRequest(f"`{path}` must be {expected}, but is {found}.", param=path, code="invalid_type")


def _kind(first: bytes) -> str:
    return {b'"': "a string", b"{": "an object", b"[": "a list", b"t": "true", b"f": "false", b"n": "null"}.get(
        first, "a number"
    )


def _read(decoder: "msgspec.json.Decoder[_T]", raw: Raw, path: str, expected: str) -> _T:
    try:
        return decoder.decode(raw)
    except (ValueError, RecursionError) as error:
        raise _refuse(raw, path, expected, error) from None


def text(raw: Raw, path: str) -> str:
    return _read(_text, raw, path, "a string")


def texts(raw: Raw, path: str) -> list[str]:
    return _read(_texts, raw, path, "a list of strings")


def boolean(raw: Raw, path: str) -> bool:
    return _read(_bool, raw, path, "true or false")


def number(raw: Raw, path: str) -> float:
    return _read(_number, raw, path, "a number")


def whole(raw: Raw, path: str) -> int:
    """A whole number; `100.0` counts as one."""
    value = _read(_number, raw, path, "a whole number")
    if isinstance(value, float):
        if not value.is_integer():
            raise BadRequest(f"`{path}` must be a whole number, but is {value}.", param=path, code="invalid_type")
        return int(value)
    return value


def items(raw: Raw, path: str) -> list[Raw]:
    return _read(_list, raw, path, "a list")


def fields(raw: Raw, path: str) -> Object:
    return _read(_object, raw, path, "an object")


def value(raw: Raw, path: str) -> object:
    """Any JSON value, decoded."""
    return _read(_any, raw, path, "JSON")


def need(given: Object, name: str, path: str) -> Raw:
    """A field that must be there; `path` is that of the object that should hold it."""
    raw = given.get(name)
    if raw is None:
        at = f"{path}.{name}" if path else name
        raise BadRequest(f"`{at}` is missing.", param=at, code="missing_required_parameter")
    return raw


def data_url(url: str) -> tuple[str, str] | None:
    """Media type and base64 data of a data URL that can be written again exactly so; None for every other URL."""
    if not url.startswith("data:"):
        return None
    head, comma, data = url.partition(",")
    media_type = head[5:].removesuffix(";base64")
    if not comma or len(media_type) + 12 != len(head) or ";" in media_type or "/" not in media_type:
        return None
    return media_type, data
