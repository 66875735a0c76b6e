"""The length of a message's body, as its head says it. Framing only, no I/O."""

import re

_KNOWN = 8192
_HEAD_BYTES = 4096
_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: ?(\d{1,12})\r\n", re.IGNORECASE)
DIGITS = 12
"""of a length in a head that is remembered, at most"""


class _Ends(dict[int, bytes]):
    """Remembers those that it made: formatting one costs more than ten times as much as looking one up."""

    def __missing__(self, size: int) -> bytes:
        if len(self) >= _KNOWN:
            self.clear()
        end = self[size] = b"content-length: %d\r\n\r\n" % size
        return end


HEAD_END = _Ends()
"""the last line of a head that ends with the length, and the blank line, by the body's size in bytes"""


def around_length(data: bytes, stated: bytes | None) -> tuple[bytes, bytes, bytes] | None:
    """The head that `data` begins with: its bytes up to the length of the body, that length, the others with the blank line.

    `stated`: the length as it was read. None: there is none, there are two, it is none, or the head is a long one.
    """
    end = data.find(_END, 0, _HEAD_BYTES)
    found = _LENGTH.search(data, 0, end + len(_END)) if end >= 0 else None
    if found is None or found[1] != stated:
        return None
    return data[: found.start(1)], found[1], data[found.end(1) : end + len(_END)]
