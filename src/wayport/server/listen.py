"""Listening sockets, inbound TLS, and the life of a worker's server: accept, drain, stop."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Self

from wayport.server.protocol import GatewayProtocol, Handler, Limits, Load, RefuseEarly, ServerState

log = logging.getLogger("wayport.server")

_BACKLOG = 2048
_SWEEP_S = 1.0
_TLS_CHECK_S = 2.0


class AddressInUse(Exception):
    """Somebody else listens there."""


def bind(host: str, port: int, *, count: int = 1) -> list[socket.socket]:
    """`count` listening sockets on one address, one per worker; the kernel spreads connections over them.

    Port 0 picks a free one. A second process on the same address is refused, not joined.
    """
    family, address = _resolve(host, port)
    # The first bind is exclusive: with SO_REUSEPORT a second gateway would silently take a share of the traffic.
    probe = socket.socket(family, socket.SOCK_STREAM)
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind(address)
        address = (address[0], probe.getsockname()[1], *address[2:])
    except OSError as error:
        raise AddressInUse(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    finally:
        probe.close()
    return [_listener(family, address) for _ in range(count)]


def join(host: str, port: int) -> socket.socket:
    """One more listening socket on an address that is ours already."""
    return _listener(*_resolve(host, port))


def _listener(family: int, address: tuple[str, int] | tuple[str, int, int, int]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.bind(address)
    sock.listen(_BACKLOG)
    sock.setblocking(False)
    return sock


def _resolve(host: str, port: int) -> tuple[int, tuple[str, int] | tuple[str, int, int, int]]:
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise AddressInUse(f"cannot listen on {host}:{port}: {error.strerror}") from error
    return family, address  # type: ignore[return-value]  # AF_INET or AF_INET6 by SOCK_STREAM on a host name


class Certificate:
    """Inbound TLS from two files, read again when they change; a bad pair changes nothing and says why."""

    def __init__(self, cert_file: Path, key_file: Path) -> None:
        self._cert_file = cert_file
        self._key_file = key_file
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.set_alpn_protocols(["http/1.1"])
        self.context.load_cert_chain(cert_file, key_file)
        self._seen = self._stamp()

    def _stamp(self) -> tuple[bytes, bytes]:
        return self._cert_file.read_bytes(), self._key_file.read_bytes()

    def reload_if_changed(self) -> None:
        try:
            stamp = self._stamp()
            if stamp == self._seen:
                return
            self._seen = stamp
            # A context that fails to load half a pair would be broken: try the pair on another one first.
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(self._cert_file, self._key_file)
            self.context.load_cert_chain(self._cert_file, self._key_file)
        except (OSError, ssl.SSLError) as error:
            log.warning("the TLS certificate was not reloaded", extra={"reason": str(error)})
        else:
            log.info("the TLS certificate was reloaded")


class Listening:
    """One worker's server: `async with` it, then `stop` gracefully."""

    def __init__(
        self,
        handler: Handler,
        sock: socket.socket,
        *,
        state: ServerState,
        load: Load,
        limits: Limits,
        refuse: RefuseEarly,
        certificate: Certificate | None = None,
    ) -> None:
        self._handler = handler
        self._sock = sock
        self._state = state
        self.load = load
        self._limits = limits
        self._refuse = refuse
        self._certificate = certificate
        self._server: asyncio.Server | None = None
        self._timers: list[asyncio.TimerHandle] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: GatewayProtocol(
                self._handler, state=self._state, load=self.load, limits=self._limits, refuse=self._refuse
            ),
            sock=self._sock,
            ssl=self._certificate.context if self._certificate else None,
            backlog=_BACKLOG,
        )
        self._every(_SWEEP_S, self._sweep)
        if self._certificate is not None:
            self._every(_TLS_CHECK_S, self._certificate.reload_if_changed)
        return self

    async def __aexit__(self, *_: object) -> None:
        for timer in self._timers:
            timer.cancel()
        self._close_listener()
        for connection in list(self.load.connections):
            connection.abort()

    def _every(self, period_s: float, work: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        at = len(self._timers)

        def turn() -> None:
            self._timers[at] = loop.call_later(period_s, turn)
            work()

        self._timers.append(loop.call_later(period_s, turn))

    def _sweep(self) -> None:
        self._state.tick()
        now = asyncio.get_running_loop().time()
        for connection in list(self.load.connections):
            connection.sweep(now)

    def _close_listener(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def stop(self, *, drain_delay_s: float, grace_s: float, cut: Callable[[], None]) -> None:
        """Graceful: goes on accepting for `drain_delay_s` while telling everybody to leave, then lets running answers end
        within `grace_s`, then `cut`s those that are left (they get an error event).
        """
        self._state.draining = True
        await asyncio.sleep(drain_delay_s)
        self._close_listener()
        for connection in list(self.load.connections):
            connection.close_when_idle()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle(), grace_s)
        if self.load.connections:
            cut()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle(), 1.0)

    async def _idle(self) -> None:
        while self.load.connections:  # noqa: ASYNC110 (an event would cost every connection, and this runs once)
            await asyncio.sleep(0.02)
