"""One call at a time on one connection, over a blocking socket: what a gateway adds to the time of an answer."""

import socket
import time
from collections.abc import Callable, Sequence
from statistics import median, quantiles
from types import TracebackType
from typing import NamedTuple, Self

from bench.targets import NotUsable, Target
from bench.wording import WORD, Pace

_BLOCK = 25
"""calls to one target before the next one has its turn: a burst of noise meets all of them"""


class Quantiles(NamedTuple):
    p50_us: float
    p99_us: float


def quantiles_of(times_s: Sequence[float]) -> Quantiles:
    return Quantiles(median(times_s) * 1e6, quantiles(times_s, n=100)[98] * 1e6)


class Connection:
    def __init__(self, target: Target) -> None:
        self._name = target.name
        self._socket = socket.create_connection(("127.0.0.1", target.port), 30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._socket.close()

    def call_s(self, request: bytes) -> float:
        """Until the last byte of the answer. Raises `NotUsable`."""
        return self._until(request, lambda _: False)

    def first_content_s(self, request: bytes) -> float:
        """Until the first content event; the rest is read, too."""
        return self._until(request, lambda data: WORD in data)

    def _until(self, request: bytes, soon_enough: Callable[[bytes], bool]) -> float:
        data = b""
        seen_s = 0.0
        began_s = time.perf_counter()
        self._socket.sendall(request)
        while True:
            more = self._socket.recv(65536)
            now_s = time.perf_counter()
            data += more
            if not seen_s and soon_enough(data):
                seen_s = now_s
            if complete(data):
                break
            if not more:
                raise NotUsable(f"{self._name} closed the connection after {data[:60]!r}")
        if data[9:12] != b"200":
            body = data.partition(b"\r\n\r\n")[2]
            raise NotUsable(f"{self._name} answers {data[9:12].decode()}: {body[:200].decode(errors='replace')}")
        return (seen_s or now_s) - began_s


def complete(data: bytes) -> bool:
    """Whether this is one whole HTTP/1.1 answer."""
    head, blank, body = data.partition(b"\r\n\r\n")
    if not blank:
        return False
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(body) >= int(line[15:])
    return body.endswith(b"0\r\n\r\n")


def whole_calls(targets: Sequence[Target], *, calls: int) -> dict[str, Quantiles]:
    """By the targets' names."""
    return _in_turns([(target, target.request(), Connection.call_s) for target in targets], calls)


def first_contents(targets: Sequence[Target], *, calls: int, pace: Pace) -> dict[str, Quantiles]:
    return _in_turns([(target, target.request(pace), Connection.first_content_s) for target in targets], calls)


def _in_turns(
    asked: Sequence[tuple[Target, bytes, Callable[[Connection, bytes], float]]], calls: int
) -> dict[str, Quantiles]:
    times: dict[str, list[float]] = {target.name: [] for target, _, _ in asked}
    for block in range(-1, max(1, calls // _BLOCK)):
        for target, request, measure in asked:
            with Connection(target) as connection:
                # The first call opens what is opened per connection; the block before the first one warms up.
                measure(connection, request)
                found = [measure(connection, request) for _ in range(_BLOCK)]
            if block >= 0:
                times[target.name] += found
    return {name: quantiles_of(found) for name, found in times.items()}
