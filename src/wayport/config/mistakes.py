"""Turns pydantic's findings into problems with a place in the file, a key and the nearest right spelling."""

import types
from collections.abc import Iterator
from typing import Any, Union, get_args, get_origin

from pydantic import AliasChoices, BaseModel, ValidationError
from pydantic_core import ErrorDetails

from wayport.config.document import Document
from wayport.config.problems import Path, Problem, did_you_mean, dotted

_INVENTED = frozenset({"deployments"})
"""keys that the schema puts in where a short form was written"""

_WORDS = {
    "missing": "is missing",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "list_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping of settings",
    "model_attributes_type": "must be a mapping of settings",
    "string_too_short": "must not be empty",
    "decimal_parsing": "must be an amount in dollars",
    "decimal_type": "must be an amount in dollars",
}


def problems_of(error: ValidationError, root: type[BaseModel], document: Document) -> list[Problem]:
    """One problem per wrong key. Texts name keys and what is allowed, never the value that was written."""
    problems: dict[tuple[Path, str], Problem] = {}
    for detail in error.errors(include_url=False, include_input=False):
        written, model = _follow(detail["loc"], root, document)
        if detail["type"] == "extra_forbidden":
            key = str(detail["loc"][-1])
            told = f"unknown key `{key}`{did_you_mean(key, _keys(model))}"
            shown = dotted(written[:-1])
        else:
            told, shown = _told(detail), dotted(written)
        problems.setdefault((written, told), Problem(text=told, key=shown, place=document.place(written)))
    return list(problems.values())


def _told(detail: ErrorDetails) -> str:
    kind = detail["type"]
    context = detail.get("ctx", {})
    if kind == "literal_error":
        return f"must be {context['expected']}"
    if kind == "value_error":
        return str(context["error"])
    if kind in _WORDS:
        return _WORDS[kind]
    # What is left are bounds ("Input should be greater than 0"): pydantic's words, without its subject.
    message = detail["msg"]
    return message.replace("Input should", "must").replace("String should", "must").replace("Decimal input", "must")


def _follow(
    location: tuple[int | str, ...], root: type[BaseModel], document: Document
) -> tuple[Path, type[BaseModel] | None]:
    """`location` as a path of the document, and the schema's model whose key its last part is."""
    kinds: tuple[Any, ...] = (root,)
    model: type[BaseModel] | None = root
    path: Path = ()
    for part in location:
        if part == "[key]":
            break
        model = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        kinds = tuple(_below(kinds, part))
        # Keys that a short form left out, and the index of one target written without a list, are in no file.
        if (part in _INVENTED or isinstance(part, int)) and (*path, part) not in document.places:
            continue
        path = (*path, part)
    return path, model


def _below(kinds: tuple[Any, ...], part: int | str) -> Iterator[Any]:
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            for name, field in kind.model_fields.items():
                if part in (name, *_aliases(field.validation_alias)):
                    yield from _flat(field.annotation)
        elif get_origin(kind) is dict:
            yield from _flat(get_args(kind)[1])
        elif get_origin(kind) is list and isinstance(part, int):
            yield from _flat(get_args(kind)[0])


def _flat(annotation: Any) -> Iterator[Any]:
    """The members of a union, without `Annotated`."""
    if get_origin(annotation) in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from _flat(member)
    elif hasattr(annotation, "__metadata__"):
        yield from _flat(annotation.__origin__)
    else:
        yield annotation


def _aliases(alias: Any) -> list[str]:
    if isinstance(alias, AliasChoices):
        return [choice for choice in alias.choices if isinstance(choice, str)]
    return [alias] if isinstance(alias, str) else []


def _keys(model: type[BaseModel] | None) -> list[str]:
    if model is None:
        return []
    names: list[str] = []
    for name, field in model.model_fields.items():
        names += _aliases(field.validation_alias) or [name]
    return names
