"""An HTTP proxy on loopback, as companies have one: CONNECT tunnels and whole URLs, with or without a password or TLS.

    async with HttpProxy(password="secret") as proxy:
        ...                          # go by proxy.url; proxy.seen holds the first lines of what was asked

`reply` answers every request with these bytes instead; Hosts under `.test` are
loopback. `tls=True` is reached by TLS (`proxy.authority.ca_file`).
"""

import asyncio
from base64 import b64encode
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit

from tests.fakes.upstream import Authority

from wayport.core.tasks import Tasks


class HttpProxy:
    def __init__(self, *, password: str | None = None, reply: bytes | None = None, tls: bool = False) -> None:
        self._password = password
        self._reply = reply
        self._tls = tls
        self._tasks = Tasks()
        self._writers: list[asyncio.StreamWriter] = []
        self.authority: Authority | None = None
        self.seen: list[str] = []
        self.heads: list[str] = []
        self.port = 0

    @property
    def url(self) -> str:
        user = f"user:{self._password}@" if self._password else ""
        return f"{'https' if self._tls else 'http'}://{user}127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        context = None
        if self._tls:
            self.authority = Authority()
            context = self.authority.server("127.0.0.1")
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await self._tasks.close()
        await self._server.wait_closed()
        if self.authority is not None:
            self.authority.close()

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        self._tasks.start(self._serve(reader, writer), name="proxy connection")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            line = head.split("\r\n")[0]
            self.seen.append(line)
            method, target, _ = line.split(" ")
            wanted = f"Basic {b64encode(f'user:{self._password}'.encode()).decode()}"
            if self._reply is not None:
                writer.write(self._reply)
                writer.close()
            elif self._password and f"proxy-authorization: {wanted}" not in head:
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
                writer.close()
            elif method == "CONNECT":
                host, _, port = target.rpartition(":")
                there = await asyncio.open_connection(_here(host), int(port))
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                await self._join(reader, writer, *there)
            else:
                # Every further request on this connection goes to the same host, as our client never mixes them.
                parts = urlsplit(target)
                there = await asyncio.open_connection(_here(parts.hostname or ""), parts.port or 80)
                there[1].write(head.replace(target, f"{parts.path}?{parts.query}".rstrip("?"), 1).encode())
                await self._join(reader, writer, *there)

    async def _join(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        far_reader: asyncio.StreamReader,
        far_writer: asyncio.StreamWriter,
    ) -> None:
        self._writers.append(far_writer)
        await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))


def _here(host: str) -> str:
    """Names under `.test`, which no resolver knows, are this machine."""
    return "127.0.0.1" if host.endswith(".test") else host.strip("[]")


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
