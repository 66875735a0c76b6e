"""What is written to sockets in one turn of the event loop, written together at its end.

A write that finds its reader asleep wakes it, and that costs more than the write. Written one after the other while their
readers wait, each of a turn's answers would wake somebody who has nothing else to do; written together, the first one does.
"""

import asyncio
import logging
from collections.abc import Callable

log = logging.getLogger("wayport.outbox")

Soon = Callable[[Callable[[], None]], object]

_MOST = 16
"""so many are not kept back any longer: the first of them has waited for the work on all others"""


class Outbox:
    """Of one event loop. Keeps the order; nobody else may write to these transports, and whoever ends one in good order
    flushes before: what waits for a connection that is aborted is thrown away.
    """

    __slots__ = ("_soon", "turn", "waiting")

    def __init__(self, soon: Soon | None = None) -> None:
        """`soon`: the loop's `call_soon`; None: of the loop that runs when something is first written."""
        self._soon = soon
        self.turn = 0
        """how often was flushed: what was written in this turn has not left"""
        self.waiting: list[tuple[asyncio.WriteTransport, bytes]] = []

    def write(self, transport: asyncio.WriteTransport, data: bytes) -> None:
        waiting = self.waiting
        waiting.append((transport, data))
        count = len(waiting)
        if count == 1:
            if self._soon is None:
                self._soon = asyncio.get_running_loop().call_soon
            self._soon(self.flush)
        elif count >= _MOST:
            self.flush()

    def flush(self) -> None:
        waiting = self.waiting
        if waiting:
            self.waiting = []
            self.turn += 1
            for transport, data in waiting:
                if not transport.is_closing():
                    try:
                        transport.write(data)
                    except Exception:  # border: one connection; the others' bytes must leave
                        log.exception("a connection took no bytes")
                        transport.abort()
