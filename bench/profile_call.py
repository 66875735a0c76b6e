"""Where the time of one call goes: a data worker without sockets, for those who look after the hot path.

    python -m bench.profile_call [--model bench|translated] [--stream] [--calls N] [--top N] [--sort tottime|cumtime]

The worker is whole: parsers on both sides, authentication, routing, patch or translation, cost, spool file.
Only the four system calls on sockets and the wait for them are missing. Times without the profiler are printed first:
the profiler makes many small functions look dearer than they are.
"""

import argparse
import asyncio
import cProfile
import gc
import json
import os
import pstats
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast

import uvloop

import wayport
from bench import upstream
from bench.certificates import Certificates
from bench.gateway import MASTER_KEY, Ports, config
from bench.targets import Target
from bench.upstream import Answers
from bench.wording import Pace
from wayport.access.principal import Budget, Holder, Principal, rates_of
from wayport.config.load import Options, load
from wayport.config.settings import Settings
from wayport.control.snapshots import build
from wayport.core.clock import SystemClock
from wayport.core.tasks import Tasks
from wayport.ledger.journal import Spool
from wayport.server.app import Worker
from wayport.server.protocol import GatewayProtocol
from wayport.server.worker import _GC_THRESHOLD
from wayport.upstream.connection import Connection
from wayport.upstream.pool import Pool, PoolLimits, Pools
from wayport.upstream.transport import Transport

_ROUNDS = 5
_STREAM = Pace(100, 0)
_VIRTUAL_KEY = "sk-profile-" + "0123456789abcdef" * 2
_PACKAGE = Path(wayport.__file__).parent


class Socketless(asyncio.Transport):
    """Stands where a socket's transport would: what is written goes to a function."""

    def __init__(self, written: Callable[[bytes], None]) -> None:
        super().__init__({"peername": ("127.0.0.1", 50000)})
        self.write = written  # type: ignore[method-assign,assignment]  # nothing may stand between

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...


class SocketlessUpstream(Transport):
    """Our own transport with its connections; each of them is answered from memory."""

    def __init__(self, clock: SystemClock, pieces: Sequence[bytes]) -> None:
        super().__init__(clock=clock)
        self._pieces = pieces
        self._pools = Pools(PoolLimits(), dial=self._dial, clock=clock)
        self.pool_of = self._pools.get

    async def _dial(self, _: Pool, connection: Connection) -> None:
        soon = asyncio.get_running_loop().call_soon

        def come(pieces: Iterator[bytes]) -> None:
            # One piece a turn of the loop, as events come off a socket.
            if (piece := next(pieces, None)) is not None:
                connection.data_received(piece)
                soon(come, pieces)

        def answer(_: bytes) -> None:
            soon(come, iter(self._pieces))

        connection.connection_made(Socketless(answer))


class Client:
    """Sends the same request again and again on one connection, the next when the last one is answered."""

    def __init__(self, worker: Worker, request: bytes) -> None:
        self._loop = asyncio.get_running_loop()
        self._request = request
        self._left = 0
        self._answered: asyncio.Future[None] = self._loop.create_future()
        self.head = b""
        """the last answer's, and what came in one piece with it"""
        self._protocol = GatewayProtocol(
            worker.handle, state=worker.state, load=worker.load, limits=worker.limits, refuse=worker.refuse
        )
        self._protocol.connection_made(Socketless(self._read))

    def _read(self, data: bytes) -> None:
        if data.startswith(b"HTTP/1.1 "):
            self.head = data
        # A whole answer comes in one write, a stream ends with the last chunk.
        whole = data.startswith(b"HTTP/1.1 ") and b"\r\ncontent-length: " in data
        if whole or data.endswith(b"\r\n0\r\n\r\n"):
            self._left -= 1
            if self._left == 0:
                self._answered.set_result(None)
            else:
                self._loop.call_soon(self._protocol.data_received, self._request)

    async def calls(self, count: int) -> None:
        self._left = count
        self._answered = self._loop.create_future()
        self._protocol.data_received(self._request)
        await self._answered


class OneKey:
    """The control process's part: it knows one key. `limited`: with limits as the benchmark's, never reached."""

    def __init__(self, *, limited: bool) -> None:
        self._holders = (
            (
                Holder(
                    scope="key",
                    id="profile",
                    budgets=(Budget(max_nano_usd=10**18, duration="30d"),),
                    rates=rates_of(rpm=10**9, tpm=10**12),
                ),
            )
            if limited
            else ()
        )

    async def principal(self, key_hash: str) -> Principal:
        return Principal(kind="key", key_hash=key_hash, key_alias="profile", holders=self._holders)


def settings_in(directory: Path) -> Settings:
    """As the benchmark's, with addresses that nobody will ask."""
    nowhere = Ports(whole=1, whole_tls=1, stamped=1, streams=1, streams_tls=(1, 1))
    pem = directory / "none.pem"
    file = directory / "config.yaml"
    file.write_text(json.dumps(config(nowhere, Certificates(pem, pem, pem))))
    return load(Options(config=str(file), data_dir=str(directory)), {})


def answer_of(answers: Answers, *, stream: bool) -> list[bytes]:
    """In the pieces in which it would come off the socket."""
    if not stream:
        return [answers.whole]
    return [answers.begin + answers.content, *[answers.content] * (_STREAM.events - 1), answers.end]


async def profile(given: argparse.Namespace, directory: Path) -> None:
    clock = SystemClock()
    settings = settings_in(directory)
    answers = upstream.ANTHROPIC if given.model.startswith("translated") else upstream.OPENAI
    async with AsyncExitStack() as stack:
        tasks = await stack.enter_async_context(Tasks())
        transport = await stack.enter_async_context(SocketlessUpstream(clock, answer_of(answers, stream=given.stream)))
        spool = Spool(directory / "spool", clock=clock, sync="1s")
        stack.callback(spool.close)
        worker = Worker(
            settings,
            build(settings),
            control=OneKey(limited=given.limited),
            transport=transport,
            tasks=tasks,
            journal=None if given.no_spool else spool,
            under_way=None if given.no_spool else spool.opens,
            clock=clock,
        )
        key = MASTER_KEY if given.master_key else _VIRTUAL_KEY
        target = Target(name="wayport", port=0, model=given.model, headers={"authorization": f"Bearer {key}"})
        client = Client(worker, target.request(_STREAM if given.stream else None))
        await client.calls(min(given.calls, 500))
        if not client.head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(client.head.decode(errors="replace"))
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLD)
        await _report(client, given)


async def _report(client: Client, given: argparse.Namespace) -> None:
    count = given.calls
    found_us = []
    for _ in range(_ROUNDS):
        began_s = time.process_time()
        await client.calls(count)
        found_us.append((time.process_time() - began_s) / count * 1e6)
    found_us.sort()
    what = f"a stream of {_STREAM.events} content events" if given.stream else "a call"
    print(f"{given.model}: {what} takes {found_us[0]:.2f} µs of CPU (best of {_ROUNDS}; worst {found_us[-1]:.2f})")
    if given.stream:
        print(f"  that is {found_us[0] / _STREAM.events:.2f} µs per event, the call's own share included")
    profiler = cProfile.Profile()
    profiler.enable()
    await client.calls(count)
    profiler.disable()
    stats = pstats.Stats(profiler)
    print_functions(stats, count, top=given.top, sort=given.sort)


Entry = tuple[tuple[str, int, str], tuple[int, int, float, float, object]]


def print_functions(stats: pstats.Stats, calls: int, *, top: int, sort: str) -> None:
    entries = cast("list[Entry]", list(cast("Any", stats).stats.items()))
    total = sum(entry[1][1] for entry in entries)
    whole_s = sum(entry[1][2] for entry in entries)
    print(f"function calls per call: {total / calls:.1f}; {whole_s / calls * 1e6:.1f} µs under the profiler\n")
    files: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for (file, _, _), (_, times, own_s, _, _) in entries:
        files[_shown(file)][0] += own_s
        files[_shown(file)][1] += times
    print("  share   µs own     calls  file")
    for name, (spent_s, called) in sorted(files.items(), key=lambda item: -item[1][0])[:top]:
        print(f"  {spent_s / whole_s:5.1%} {spent_s / calls * 1e6:8.2f} {called / calls:9.2f}  {name}")
    entries.sort(key=lambda entry: entry[1][3] if sort == "cumtime" else entry[1][2], reverse=True)
    print("\n  µs own    µs all     calls  function")
    for (file, line, function), (_, times, own_s, all_s, _) in entries[:top]:
        where = f"{_shown(file)}:{line} " if line else ""
        print(f"{own_s / calls * 1e6:8.2f} {all_s / calls * 1e6:9.2f} {times / calls:9.2f}  {where}{function}")


def _shown(file: str) -> str:
    if file == "~":
        return "(built in)"
    path = Path(file)
    return str(path.relative_to(_PACKAGE)) if path.is_relative_to(_PACKAGE) else path.name


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("bench", "translated"), default="bench")
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--calls", type=int, help="per round; 10,000, or 500 streams")
    parser.add_argument("--top", type=int, default=30, help="rows of each table")
    parser.add_argument("--sort", choices=("tottime", "cumtime"), default="tottime")
    parser.add_argument("--master-key", action="store_true", help="instead of a key that Wayport issued")
    parser.add_argument("--limited", action="store_true", help="a key with limits on requests, tokens and money")
    parser.add_argument("--no-spool", action="store_true")
    given = parser.parse_args(arguments)
    given.calls = given.calls or (500 if given.stream else 10_000)
    with tempfile.TemporaryDirectory(prefix="wayport-profile-") as directory:
        try:
            uvloop.run(profile(given, Path(directory)))
        except BrokenPipeError:
            # `| head` is no error; what is still buffered goes nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
