"""Free text out of `{"input": "…"}`, piece by piece as it comes: a custom tool that was put to a target as a function."""

import re

import msgspec

_OPENING = re.compile(r'\s*\{\s*"input"\s*:\s*"')
_BEGINS = re.compile(r'\s*(\{\s*("(i(n(p(u(t("\s*(:\s*)?)?)?)?)?)?)?)?)?\Z')
# Up to here no escape is cut in half: a backslash alone, an unfinished \uXXXX, the first half of a surrogate pair.
_WHOLE = re.compile(
    r'(?:[^"\\]|\\["\\/bfnrt]|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}'
    r"|\\u(?![dD][89abAB])[0-9a-fA-F]{4})*"
)
_text = msgspec.json.Decoder(str)


class Unwrapper:
    """`feed` gives the text that has become clear. Arguments of another shape come through as they are."""

    def __init__(self) -> None:
        self._rest = ""
        self._inside = False
        self._raw = False
        self._ended = False

    def feed(self, piece: str) -> str:
        if self._raw:
            return piece
        if self._ended:
            return ""
        self._rest += piece
        if not self._inside:
            opening = _OPENING.match(self._rest)
            if opening is None:
                if _BEGINS.match(self._rest):
                    return ""
                self._raw = True
                return self._rest
            self._inside = True
            self._rest = self._rest[opening.end() :]
        whole = _WHOLE.match(self._rest)
        clear = whole[0] if whole else ""
        self._rest = self._rest[len(clear) :]
        if self._rest.startswith('"'):
            self._ended = True
        return _read(clear)

    def end(self) -> str:
        """What was held back and turned out to be no such object."""
        return "" if self._inside or self._raw else self._rest


def _read(clear: str) -> str:
    if "\\" not in clear:
        return clear
    try:
        return _text.decode(f'"{clear}"')
    except ValueError:
        return clear
