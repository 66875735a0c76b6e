"""What the official cohere SDK says of its Chat API: the types of a request, and what it makes of an answer."""

import inspect
import types
import typing
from collections.abc import Callable
from typing import Any, Literal

import pydantic
from cohere.core.unchecked_base_model import UnionMetadata
from cohere.v2.raw_client import RawV2Client


def _parameters(method: Callable[..., Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(method, include_extras=True)
    given = inspect.signature(method).parameters
    return {name: hints[name] for name in given if name not in ("self", "request_options", "return")}


WHOLE = _parameters(RawV2Client.chat)
STREAMED = _parameters(RawV2Client.chat_stream)


def accept(body: dict[str, Any]) -> None:
    """Raises `AssertionError` for a field or value that the SDK's types do not know. Looks at all of it."""
    fields = dict(body)
    known = STREAMED if fields.pop("stream") else WHOLE
    assert fields.keys() <= known.keys(), fields.keys() - known.keys()
    assert {"model", "messages"} <= fields.keys()
    for name, value in fields.items():
        _check(known[name], value, name)


def _check(hint: Any, value: Any, path: str) -> None:
    """The SDK's models let unknown fields and words pass, for versions to come: here they do not."""
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        inner, *notes = typing.get_args(hint)
        note = next((each for each in notes if isinstance(each, UnionMetadata)), None)
        if note is None:
            return _check(inner, value, path)
        return _check_tagged(typing.get_args(inner), note.discriminant, value, path)
    if origin in (typing.Union, types.UnionType):
        options = [option for option in typing.get_args(hint) if option is not Any]
        return _check_any(options, value, path)
    if origin is Literal:
        assert value in typing.get_args(hint), f"{path} knows no {value!r}"
        return None
    if inspect.isclass(hint) and issubclass(hint, pydantic.BaseModel):
        return _check_model(hint, value, path)
    if origin in (list, typing.Sequence) or (origin is not None and issubclass(origin, typing.Sequence)):
        assert isinstance(value, list), f"{path} is no list"
        for number, item in enumerate(value):
            _check(typing.get_args(hint)[0], item, f"{path}[{number}]")
        return None
    pydantic.TypeAdapter(hint).validate_python(value, strict=True)
    return None


def _check_any(options: list[Any], value: Any, path: str) -> None:
    reasons = []
    for option in options:
        try:
            _check(option, value, path)
        except (AssertionError, pydantic.ValidationError) as error:
            reasons.append(str(error))
        else:
            return
    raise AssertionError(f"{path}: {value!r} is none of its kinds: {reasons}")


def _check_tagged(options: tuple[Any, ...], tag: str, value: Any, path: str) -> None:
    for option in options:
        if option.model_fields[tag].default == value[tag]:
            _check_model(option, value, path)
            return
    raise AssertionError(f"{path} knows no {tag} {value[tag]!r}")


def _check_model(model: Any, value: Any, path: str) -> None:
    assert isinstance(value, dict), f"{path} is no object"
    hints = typing.get_type_hints(model, include_extras=True)
    names = set(model.model_fields)
    assert value.keys() <= names, f"{path} knows no {value.keys() - names}"
    missing = {name for name, field in model.model_fields.items() if field.is_required()} - value.keys()
    assert not missing, f"{path} lacks {missing}"
    for name, item in value.items():
        _check(hints[name], item, f"{path}.{name}")


def tags(union: Any, tag: str) -> set[str]:
    """The words by which the members of a tagged union are told apart."""
    inner = typing.get_args(union)[0] if typing.get_origin(union) is typing.Annotated else union
    return {option.model_fields[tag].default for option in typing.get_args(inner)}


def words(union: Any) -> set[str]:
    """The words of a closed set, which the SDK writes as open."""
    return {word for option in typing.get_args(union) for word in typing.get_args(option)}
