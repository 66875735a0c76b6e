"""HTTP's chunks: written, and recognised where a read brings exactly one. Framing only, no I/O."""

_HEADS = 1024

HEADS = [b"%x\r\n" % size for size in range(_HEADS)]
"""by the size of what is in it: formatting one costs more than all the rest of an event's way out"""


def framed(data: bytes) -> bytes:
    """One chunk. `data` is not empty: an empty chunk is the last one."""
    size = len(data)
    return b"".join((HEADS[size] if size < _HEADS else b"%x\r\n" % size, data, b"\r\n"))


WHOLE = [b"\0"] * (_HEADS + 8)
"""the same by the size of the whole chunk; where none has that size, what no chunk begins with"""
for _size, _head in enumerate(HEADS[1:], 1):
    WHOLE[len(_head) + _size + 2] = _head
WHOLE_MOST = len(WHOLE)
"""a chunk is smaller, if it is among them"""
