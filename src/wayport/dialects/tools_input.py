"""Free text inside of a function's arguments: `{"input": "…"}` written, and read while it is still being told."""

import re

import msgspec

_encode = msgspec.json.Encoder().encode
_FIELD = "input"

_START = re.compile(r'\s*\{\s*"input"\s*:\s*"')
# Everything that may still become the start above.
_START_SO_FAR = re.compile(r'\s*(\{\s*("(i(n(p(u(t("\s*(:\s*)?)?)?)?)?)?)?)?)?\Z')
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def wrap(text: str) -> str:
    return _encode({_FIELD: text}).decode()


class FreeText:
    """Reads the text out of the arguments, piece by piece.

    A model that was asked for an object with `input` may still write something else: other arguments are told whole at
    the end, as they are.
    """

    def __init__(self) -> None:
        self._held = ""
        """what is not told yet: the beginning, or an escape that is not whole"""
        self._all: list[str] = []
        self._state = "start"

    def feed(self, piece: str) -> str:
        """The text that is certain now."""
        self._all.append(piece)
        held = self._held + piece
        self._held = ""
        if self._state == "start":
            match = _START.match(held)
            if match is None:
                self._held = held
                if _START_SO_FAR.match(held) is None:
                    self._state = "other"
                return ""
            self._state = "text"
            held = held[match.end() :]
        if self._state != "text":
            return ""
        return self._read(held)

    def _read(self, piece: str) -> str:
        told: list[str] = []
        at = 0
        while at < len(piece):
            stop = min((found for found in (piece.find('"', at), piece.find("\\", at)) if found >= 0), default=-1)
            if stop < 0:
                told.append(piece[at:])
                break
            told.append(piece[at:stop])
            if piece[stop] == '"':
                self._state = "done"
                break
            text, length = _escape(piece[stop:])
            if not length:
                self._held = piece[stop:]
                break
            told.append(text)
            at = stop + length
        return "".join(told)

    def end(self) -> str:
        """What was not told: everything, where the arguments were not what was asked for."""
        if self.found:
            return ""
        return whole_text("".join(self._all))

    @property
    def found(self) -> bool:
        """Whether the text has begun."""
        return self._state in ("text", "done")


def _escape(text: str) -> tuple[str, int]:
    """The character that an escape stands for and the escape's length; nothing while it is not whole."""
    if len(text) < 2:
        return "", 0
    if text[1] != "u":
        return _ESCAPES.get(text[1], text[1]), 2
    if len(text) < 6:
        return "", 0
    try:
        code = int(text[2:6], 16)
    except ValueError:
        return text[:6], 6
    if not 0xD800 <= code < 0xDC00:
        return chr(code) if not 0xDC00 <= code < 0xE000 else "\ufffd", 6
    if len(text) < 12:
        return ("", 0) if "\\u".startswith(text[6:8]) else ("\ufffd", 6)
    if text[6:8] != "\\u":
        return "\ufffd", 6
    try:
        low = int(text[8:12], 16)
    except ValueError:
        return "\ufffd", 6
    if not 0xDC00 <= low < 0xE000:
        return "\ufffd", 6
    return chr(0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)), 12


def whole_text(arguments: str) -> str:
    """The text in arguments that are complete, or cut off."""
    try:
        value = msgspec.json.decode(arguments)
    except (msgspec.DecodeError, UnicodeError):
        reader = FreeText()
        text = reader.feed(arguments)
        return text if reader.found else arguments
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        given = value.get(_FIELD, next(iter(value.values())) if len(value) == 1 else None)
        if isinstance(given, str):
            return given
    return arguments
