"""One end of the socket between a worker and the control process."""

import asyncio
import logging
from collections.abc import Callable
from typing import cast

from wayport.control.protocol import MAX_MESSAGE_BYTES, Frames, Message, MessageTooLarge, frame
from wayport.core.errors import Unavailable

log = logging.getLogger("wayport.control")

# Whoever does not read this much is stuck; it is cut off and comes back with a fresh connection.
_MAX_UNREAD_BYTES = 512 * 1024 * 1024


class Connection(asyncio.Protocol):
    """Hands every message to `on_message`; tells `on_lost` once when the other side is gone."""

    def __init__(
        self,
        on_message: Callable[["Connection", Message], None],
        on_lost: Callable[["Connection"], None],
        *,
        max_bytes: int = MAX_MESSAGE_BYTES,
    ) -> None:
        self._max_bytes = max_bytes
        self._on_message = on_message
        self._on_lost = on_lost
        self._frames = Frames(max_bytes)
        self._transport: asyncio.Transport | None = None
        self._closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not inherit from asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._frames.feed(data):
                self._on_message(self, message)
        except MessageTooLarge as error:
            log.error("the control socket is used by somebody else", extra={"error": str(error)})  # noqa: TRY400 (what it says is enough)
            self.close()

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None
        self._closed.set()
        self._on_lost(self)

    def send(self, message: Message) -> None:
        """Never waits. To one that is gone it does nothing. Raises `Unavailable` for what the other side would not take."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        try:
            framed = frame(message, self._max_bytes)
        except MessageTooLarge as error:
            log.error("a message is too large and is not sent", extra={"error": str(error)})  # noqa: TRY400 (what it says is enough)
            raise Unavailable("This is more than the processes of this gateway tell each other at once.") from None
        transport.write(framed)
        if transport.get_write_buffer_size() > _MAX_UNREAD_BYTES:
            log.error("a process does not read from the control socket; it is cut off")
            transport.abort()

    def close(self) -> None:
        """What was sent still goes out, if the other side reads."""
        if self._transport is not None:
            self._transport.close()

    async def end(self) -> None:
        """Cuts the connection and waits until it is gone."""
        if self._transport is not None:
            self._transport.abort()
            await self._closed.wait()
