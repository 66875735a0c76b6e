"""Short ways to call a scripted upstream, shared by the tests of this directory."""

import asyncio
from collections.abc import Callable
from typing import Any

from tests.fakes.upstream import Upstream

from wayport.core.errors import Fault
from wayport.core.net import Timeouts, TlsSettings
from wayport.upstream.transport import Answer, Origin, Transport, TransportFault, origin_of

SOON = Timeouts(connect_s=5.0, first_byte_s=5.0, idle_s=5.0, total_s=20.0)
TICK_S = 0.005
LIMIT = 32 * 1024 * 1024


def transport(**options: Any) -> Transport:
    return Transport(**{"tick_s": TICK_S, **options})


def origin(upstream: Upstream, **options: Any) -> Origin:
    if upstream.tls and "tls" not in options:
        options["tls"] = TlsSettings(ca_file=upstream.ca_file)
    return origin_of(upstream.url, **options)[0]


def head(upstream: Upstream, path: str = "/v1/chat/completions", method: str = "POST") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nhost: {upstream.host}:{upstream.port}\r\n".encode()


async def send(
    client: Transport,
    upstream: Upstream,
    body: bytes = b"{}",
    *,
    path: str = "/v1/chat/completions",
    method: str = "POST",
    timeouts: Timeouts = SOON,
    on_sent: Callable[[], None] | None = None,
    **options: Any,
) -> Answer:
    where = options.pop("to", None) or origin(upstream, **options)
    return await client.send(where, head(upstream, path, method), body, timeouts=timeouts, on_sent=on_sent)


async def call(client: Transport, upstream: Upstream, body: bytes = b"{}", **options: Any) -> bytes:
    answer = await send(client, upstream, body, **options)
    return await answer.read(LIMIT)


async def fault_of(client: Transport, upstream: Upstream, body: bytes = b"{}", **options: Any) -> Fault:
    """The fault of a call that must fail, at whichever of its steps."""
    try:
        await call(client, upstream, body, **options)
    except TransportFault as error:
        return error.fault
    raise AssertionError("the call did not fail")


class Collected:
    """Takes the pieces of a pumped answer, and lets a test wait for them."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self._more = asyncio.Event()

    def __call__(self, data: bytes) -> None:
        self.pieces.append(data)
        self._more.set()

    @property
    def all(self) -> bytes:
        return b"".join(self.pieces)

    async def holds(self, what: bytes) -> None:
        async with asyncio.timeout(10):
            while what not in self.all:
                self._more.clear()
                await self._more.wait()
