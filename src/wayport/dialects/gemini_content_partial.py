"""Arguments of a call that Vertex AI streams piece by piece (`partialArgs`), written as one growing JSON text.

Each piece names its place by a JSON path; pieces come in the order of the finished object.
"""

import re

import msgspec
from msgspec import Raw, Struct

_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|\['((?:[^'\\]|\\.)*)'\]|\[\"((?:[^\"\\]|\\.)*)\"\]")
_encode = msgspec.json.Encoder().encode

Step = str | int


class PartialArg(Struct, rename="camel"):
    json_path: str = "$"
    string_value: str | None = None
    number_value: float | None = None
    bool_value: bool | None = None
    null_value: object = msgspec.UNSET
    will_continue: bool = False


decode_partials = msgspec.json.Decoder(list[PartialArg]).decode


def path_of(text: str) -> list[Step]:
    """The steps of a JSON path: names of fields and numbers of items."""
    steps: list[Step] = []
    for match in _STEP.finditer(text):
        name, number, single, double = match.groups()
        if number is not None:
            steps.append(int(number))
        else:
            steps.append(name if name is not None else re.sub(r"\\(.)", r"\1", single or double or ""))
    return steps


class GrowingArguments:
    """The JSON text so far. `feed` and `close` return what is new of it."""

    def __init__(self) -> None:
        self._open: list[Step] = []
        """the steps whose containers are open, below the root"""
        self._closers: list[str] = []
        self._filled: list[bool] = []
        self._string: list[Step] | None = None
        self._begun = False

    def feed(self, partials: Raw) -> str:
        return "".join(self._piece(partial) for partial in decode_partials(partials))

    def close(self) -> str:
        out = '"' if self._string is not None else ""
        self._string = None
        if not self._begun:
            return "{}"
        out += "".join(reversed(self._closers))
        self._closers.clear()
        return out

    def _piece(self, partial: PartialArg) -> str:
        path = path_of(partial.json_path)
        if not path:
            return ""
        value = _value(partial)
        if self._string == path:
            out = value[1:-1] if value.startswith('"') else ""
        else:
            out = self._move(path) + (value[:-1] if partial.string_value is not None else value)
            self._string = path if partial.string_value is not None else None
        if self._string is not None and not partial.will_continue:
            self._string = None
            out += '"'
        return out

    def _move(self, path: list[Step]) -> str:
        """Closes and opens what lies between the place of the last value and this one, and names this one."""
        out = '"' if self._string is not None else ""
        if not self._begun:
            self._begun = True
            out += self._enter("{")
        holders = path[:-1]
        common = 0
        while common < min(len(holders), len(self._open)) and holders[common] == self._open[common]:
            common += 1
        while len(self._open) > common:
            self._open.pop()
            self._filled.pop()
            out += self._closers.pop()
        for depth in range(common, len(holders)):
            out += self._name(holders[depth]) + self._enter("[" if isinstance(path[depth + 1], int) else "{")
            self._open.append(holders[depth])
        return out + self._name(path[-1])

    def _enter(self, bracket: str) -> str:
        self._closers.append("]" if bracket == "[" else "}")
        self._filled.append(False)
        return bracket

    def _name(self, step: Step) -> str:
        comma = "," if self._filled[-1] else ""
        self._filled[-1] = True
        return comma if isinstance(step, int) else f"{comma}{_encode(step).decode()}:"


def _value(partial: PartialArg) -> str:
    if partial.string_value is not None:
        return _encode(partial.string_value).decode()
    if partial.number_value is not None:
        number = partial.number_value
        return _encode(int(number) if number.is_integer() and abs(number) < 2**53 else number).decode()
    if partial.bool_value is not None:
        return "true" if partial.bool_value else "false"
    return "null"
