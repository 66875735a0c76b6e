"""CONNECT: asking a proxy for a way through to the origin."""

import asyncio
import re
import socket
import ssl

from wayport.upstream.faults import TransportFault
from wayport.upstream.origin import Origin
from wayport.upstream.proxy import Proxy

_MAX_REPLY_BYTES = 16 * 1024
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})(?: ([^\r\n]*))?\r\n")


def connect_request(origin: Origin, proxy: Proxy) -> bytes:
    host = origin.address or origin.host
    if ":" in host:
        host = f"[{host}]"
    target = f"{host}:{origin.port}".encode()
    return b"CONNECT %b HTTP/1.1\r\nhost: %b\r\n%b\r\n" % (target, target, proxy.lines())


def check_reply(reply: bytes, proxy: Proxy) -> bool:
    """Whether the reply is whole and good; False: more is needed. Raises `TransportFault`."""
    end = reply.find(b"\r\n\r\n")
    if end < 0:
        if len(reply) > _MAX_REPLY_BYTES:
            raise _refused(proxy, "sent a reply without an end")
        return False
    status = _STATUS.match(reply)
    if status is None:
        raise _refused(proxy, "did not answer in HTTP")
    if status[1] == b"407":
        raise _refused(proxy, "wants other credentials (407)")
    if not status[1].startswith(b"2"):
        reason = (status[2] or b"").decode("latin-1")[:100]
        raise _refused(proxy, f"refused to connect ({status[1].decode()} {reason})".replace(" )", ")"))
    if len(reply) > end + 4:
        raise _refused(proxy, "spoke before it was its turn")
    return True


def _refused(proxy: Proxy, what: str) -> TransportFault:
    return TransportFault("connect", f"The {proxy} {what}.", body_sent=False)


async def read_reply(sock: socket.socket, proxy: Proxy) -> None:
    loop = asyncio.get_running_loop()
    reply = b""
    while True:
        more = await loop.sock_recv(sock, 4096)
        if not more:
            raise _refused(proxy, "closed the connection without a reply")
        reply += more
        if check_reply(reply, proxy):
            return


class _Handshake(asyncio.Protocol):
    """Speaks to a proxy that is itself reached by TLS, until the way is open."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._reply = b""
        self.open: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self._reply += data
        if self.open.done():
            return
        try:
            if check_reply(self._reply, self._proxy):
                self.open.set_result(None)
        except TransportFault as fault:
            self.open.set_exception(fault)

    def connection_lost(self, _: Exception | None) -> None:
        if not self.open.done():
            self.open.set_exception(_refused(self._proxy, "closed the connection without a reply"))


async def through_tls(sock: socket.socket, context: ssl.SSLContext, proxy: Proxy, request: bytes) -> asyncio.Transport:
    """TLS to the proxy, then CONNECT: the way to the origin, open."""
    handshake = _Handshake(proxy)
    try:
        transport, _ = await asyncio.get_running_loop().create_connection(
            lambda: handshake, sock=sock, ssl=context, server_hostname=proxy.host
        )
    except BaseException:
        sock.close()
        raise
    try:
        transport.write(request)
        await handshake.open
    except BaseException:
        transport.abort()
        raise
    return transport
