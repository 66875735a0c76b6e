"""The end of a message's head: the line that says how long its body is, and the blank line behind it."""

_KNOWN = 8192


class _Ends(dict[int, bytes]):
    """Remembers those that it made: formatting one costs more than ten times as much as looking one up."""

    def __missing__(self, size: int) -> bytes:
        if len(self) >= _KNOWN:
            self.clear()
        end = self[size] = b"content-length: %d\r\n\r\n" % size
        return end


HEAD_END = _Ends()
"""by the body's size in bytes"""
