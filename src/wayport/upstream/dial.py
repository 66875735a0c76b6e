"""Opening one connection: address, proxy, TLS. The slow way, taken once for many calls."""

import asyncio
import os
import socket
import ssl
from collections import deque
from collections.abc import Sequence

from wayport.upstream.connection import Connection
from wayport.upstream.faults import TransportFault
from wayport.upstream.origin import Origin
from wayport.upstream.pool import Pool
from wayport.upstream.proxy import Proxy
from wayport.upstream.resolve import Address, Resolver
from wayport.upstream.tls import Contexts
from wayport.upstream.tunnel import connect_request, read_reply, through_tls

STAGGER_S = 0.25
"""how long one address may keep the next one waiting (RFC 8305)"""
_TLS_CLOSE_S = 1.0

_OPTIONS = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
# A silent upstream may be thinking for minutes; one whose host has gone is noticed after two.
for _name, _value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
    if hasattr(socket, _name):
        _OPTIONS.append((socket.IPPROTO_TCP, getattr(socket, _name), _value))


class Dialer:
    def __init__(self, *, resolver: Resolver, contexts: Contexts, stagger_s: float = STAGGER_S) -> None:
        self._resolver = resolver
        self._contexts = contexts
        self._stagger_s = stagger_s

    async def dial(self, pool: Pool, connection: Connection) -> None:
        """Connects `connection` to the pool's origin. Raises `TransportFault` of kind `connect`."""
        origin, proxy = pool.origin, pool.proxy
        where = f"{origin} by {proxy}" if proxy is not None else str(origin)
        try:
            if origin.scheme == "unix":
                loop = asyncio.get_running_loop()
                await loop.create_unix_connection(lambda: connection, origin.host)
            elif proxy is None:
                await self._direct(origin, connection)
            else:
                await self._by_proxy(pool, proxy, connection)
        except ssl.SSLCertVerificationError as error:
            message = f"The certificate of {where} is not accepted: {error.verify_message}."
            raise TransportFault("connect", message, body_sent=False) from None
        except ssl.SSLError as error:
            message = f"No TLS with {where}: {error.reason or error}."
            raise TransportFault("connect", message, body_sent=False) from None
        except OSError as error:
            message = f"Cannot connect to {where}: {_reason(error)}."
            raise TransportFault("connect", message, body_sent=False) from None

    async def _direct(self, origin: Origin, connection: Connection) -> None:
        context = await self._contexts.of(origin.tls) if origin.scheme == "https" else None
        sock = await self._socket(origin.address or origin.host, origin.port)
        await _attach(sock, connection, context, origin.host)

    async def _by_proxy(self, pool: Pool, proxy: Proxy, connection: Connection) -> None:
        origin = pool.origin
        context = await self._contexts.of(origin.tls) if origin.scheme == "https" else None
        outer = await self._contexts.of(None) if proxy.scheme == "https" else None
        sock = await self._socket(proxy.host, proxy.port)
        if pool.relay is not None:
            # The proxy is spoken to in whole URLs; see Proxy.absolute.
            await _attach(sock, connection, outer, proxy.host)
            return
        request = connect_request(origin, proxy)
        if outer is not None:
            way = await through_tls(sock, outer, proxy, request)
            await _hand_over(way, connection, context, origin.host)
            return
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_sendall(sock, request)
            await read_reply(sock, proxy)
        except BaseException:
            sock.close()
            raise
        await _attach(sock, connection, context, origin.host)

    async def _socket(self, host: str, port: int) -> socket.socket:
        addresses = await self._resolver.resolve(host, port)
        address, sock = await first_to_connect(addresses, stagger_s=self._stagger_s)
        self._resolver.worked(host, port, address)
        return sock


def _reason(error: OSError) -> str:
    if error.errno is not None and error.errno > 0:
        # The event loops write the address into the text, which may be the proxy's or one of many.
        return os.strerror(error.errno)
    return error.strerror or str(error) or type(error).__name__


async def _attach(
    sock: socket.socket, connection: Connection, context: ssl.SSLContext | None, server_name: str
) -> None:
    loop = asyncio.get_running_loop()
    try:
        if context is None:
            await loop.create_connection(lambda: connection, sock=sock)
        else:
            await loop.create_connection(
                lambda: connection,
                sock=sock,
                ssl=context,
                server_hostname=server_name,
                ssl_shutdown_timeout=_TLS_CLOSE_S,
            )
    except BaseException:
        sock.close()
        raise


async def _hand_over(
    way: asyncio.Transport, connection: Connection, context: ssl.SSLContext | None, server_name: str
) -> None:
    """An open way through a proxy becomes the connection: TLS within TLS, or plain HTTP."""
    if context is None:
        way.set_protocol(connection)
        connection.connection_made(way)
        return
    try:
        made = await asyncio.get_running_loop().start_tls(way, connection, context, server_hostname=server_name)
    except BaseException:
        way.abort()
        raise
    assert made is not None
    connection.connection_made(made)


async def _connect(address: Address) -> socket.socket:
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        for level, option, value in _OPTIONS:
            sock.setsockopt(level, option, value)
        await asyncio.get_running_loop().sock_connect(sock, address.sockaddr)
    except BaseException:
        sock.close()
        raise
    return sock


async def first_to_connect(addresses: Sequence[Address], *, stagger_s: float) -> tuple[Address, socket.socket]:
    """Tries the addresses in turn, the next when one fails or is slow; the first that answers wins (RFC 8305)."""
    if len(addresses) == 1:
        return addresses[0], await _connect(addresses[0])
    waiting = deque(addresses)
    racing: dict[asyncio.Future[socket.socket], Address] = {}
    last: OSError | None = None
    try:
        while waiting or racing:
            if waiting:
                address = waiting.popleft()
                racing[asyncio.ensure_future(_connect(address))] = address
            done, _ = await asyncio.wait(
                racing, timeout=stagger_s if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for attempt in done:
                error = attempt.exception()
                if error is None:
                    return racing.pop(attempt), attempt.result()
                del racing[attempt]
                if not isinstance(error, OSError):
                    raise error
                last = error
    finally:
        for attempt in racing:
            attempt.cancel()
        for result in await asyncio.gather(*racing, return_exceptions=True):
            if isinstance(result, socket.socket):
                result.close()
    assert last is not None, "there is at least one address"
    raise last
