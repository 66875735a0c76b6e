"""The mock upstream for streams: bare asyncio, as it must not be the limit.

    python -m bench.upstream PORT [--cert F --key F]

How many events at what pace stands in the prompt (`wording.Pace`). The pace is kept: an event that is late because the
machine was busy does not delay those after it. A path that ends in `/messages` is answered in Anthropic's dialect.
Whole answers are given too; under load nginx gives them faster (nginx.py).
"""

import argparse
import asyncio
import ssl
from collections.abc import Sequence
from typing import Any, cast

import httptools
import uvloop

from bench import wording
from bench.wording import Pace, Script

_STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def _whole(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Answers:
    """What one dialect answers, framed for the socket."""

    def __init__(self, whole: bytes, script: Script) -> None:
        self.whole = _whole(whole)
        self.begin = _STREAM_HEAD + b"".join(map(chunk, script.opening))
        self.content = chunk(script.content)
        self.end = b"".join(map(chunk, script.closing)) + b"0\r\n\r\n"


OPENAI = Answers(wording.OPENAI_WHOLE, wording.OPENAI)
ANTHROPIC = Answers(wording.ANTHROPIC_WHOLE, wording.ANTHROPIC)


class Mock(asyncio.Protocol):
    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser: Any = httptools.HttpRequestParser(self)
        self._url = b""
        self._body: list[bytes] = []
        self._answers = OPENAI
        self._pace_s = 0.0
        self._left = 0
        self._due_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, _: Exception | None) -> None:
        self.pause_writing()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    # httptools calls these.
    def on_message_begin(self) -> None:
        self._url = b""
        self._body.clear()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        self._answers = ANTHROPIC if self._url.endswith(b"/messages") else OPENAI
        pace = wording.asked_pace(b"".join(self._body))
        if pace is None:
            self._transport.write(self._answers.whole)
        else:
            self._begin(pace)

    def _begin(self, pace: Pace) -> None:
        self._left = pace.events
        self._pace_s = pace.pace_ms / 1000
        self._due_s = self._loop.time()
        self._transport.write(self._answers.begin)
        self._next()

    def _next(self) -> None:
        if self._left == 0:
            self._timer = None
            self._transport.write(self._answers.end)
            return
        self._left -= 1
        # Before the write: that may tell us to pause, which cancels the timer.
        self._due_s += self._pace_s
        self._timer = self._loop.call_at(self._due_s, self._next)
        self._transport.write(self._answers.content)

    def pause_writing(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def resume_writing(self) -> None:
        if self._timer is not None:
            self._due_s = max(self._due_s, self._loop.time())
            self._timer = self._loop.call_at(self._due_s, self._next)


async def serve(port: int, *, cert: str | None = None, key: str | None = None) -> asyncio.Server:
    context = None
    if cert is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(cert, key)
    return await asyncio.get_running_loop().create_server(Mock, "127.0.0.1", port, ssl=context, backlog=4096)


async def _run(port: int, cert: str | None, key: str | None) -> None:
    server = await serve(port, cert=cert, key=key)
    print("ready", flush=True)
    await server.serve_forever()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--cert")
    parser.add_argument("--key")
    given = parser.parse_args(arguments)
    uvloop.run(_run(given.port, given.cert, given.key))


if __name__ == "__main__":
    main()
