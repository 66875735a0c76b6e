"""Whether memory stays flat: `python -m bench.soak [--calls N]`. Prints the slope of each process, in bytes per call.

Starts Wayport as `make bench` does, everything on, and keeps it busy: whole calls, translated calls and streams take turns.
Resident memory is read after each turn. The slope is that of the second half, by least squares; the first one holds what
is filled once (caches, connections, the collector's generations). Ends with 1 when a process grows by more than
`MOST_BYTES_PER_CALL`, or when a call is missing in the database.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from bench import checks, load, machine
from bench.gateway import Gateway
from bench.processes import free_ports
from bench.run import Cores, World, world
from bench.targets import Target
from bench.wording import Pace

MOST_BYTES_PER_CALL = 4.0
"""4 MB over a million calls"""
TURN_S = 5
_DRAINED_EVERY = 12
_DRAIN_AT_MOST_S = 600.0

Points = list[tuple[int, int]]


class Echo(Target):
    """Streams of the built-in model."""

    def body(self, pace: Pace | None = None) -> bytes:
        del pace
        ask = {"model": "wayport/echo", "stream": True, "user": "soak", "tags": ["a"]}
        return json.dumps({**ask, "messages": [{"role": "user", "content": "Hello " * 50}]}).encode()


def slope(points: Points) -> float:
    """Bytes per call."""
    count = len(points)
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def drive(gateway: Gateway, around: World, calls: int) -> tuple[int, dict[str, Points]]:
    """Returns how many calls were answered, and the memory of each process by calls until then."""
    bench, translated = gateway.target("bench"), gateway.target("translated")
    echo = Echo(name="wayport", port=bench.port, pids=bench.pids, headers=bench.headers)
    turns: Sequence[Target] = (bench, echo, bench, translated)
    done = turn = 0
    samples: dict[str, Points] = {}
    while done < calls:
        target = turns[turn % len(turns)]
        found = load.run(target, seconds=TURN_S, directory=around.directory, core=around.cores.load)
        done += found.calls
        turn += 1
        if turn % _DRAINED_EVERY == 0:
            gateway.drained(at_most_s=_DRAIN_AT_MOST_S)
        for role, memory in gateway.memory().items():
            samples.setdefault(role, []).append((done, round(memory.rss_mb * 1024**2)))
        print(f"{done:,} calls, {_told(samples)}", file=sys.stderr, flush=True)
    return done, samples


def _told(samples: dict[str, Points]) -> str:
    return ", ".join(f"{role} {points[-1][1] / 1024**2:.1f} MB" for role, points in samples.items())


def report(done: int, took_s: float, in_database: int, samples: dict[str, Points]) -> bool:
    """Prints the table. Returns whether all is well."""
    well = in_database >= done
    when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    print(
        f"{when}: {done:,} calls in {took_s:.0f} s, {in_database:,} calls in the database{'' if well else ': TOO FEW'}.\n"
    )
    print("| process | first MB | half-way MB | last MB | slope of the second half, bytes per call |")
    print("|---|---:|---:|---:|---:|")
    for role, points in samples.items():
        half = points[len(points) // 2 :]
        found = slope(half)
        first, middle, last = (point[1] / 1024**2 for point in (points[0], half[0], points[-1]))
        grows = found > MOST_BYTES_PER_CALL
        well = well and not grows
        print(f"| {role} | {first:.1f} | {middle:.1f} | {last:.1f} | {found:.2f}{' GROWS' if grows else ''} |")
    return well


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--gateway-core", type=int, default=1)
    parser.add_argument("--load-core", type=int, default=0)
    given = parser.parse_args()
    if missing := machine.provide_tools():
        print(missing, file=sys.stderr)
        return 2
    with world(Cores(given.gateway_core, given.load_core)) as around:
        directory = around.directory / "soak"
        directory.mkdir()
        (port,) = free_ports(1)
        with Gateway(directory, port=port, ports=around.ports, certificates=around.certificates) as gateway:
            gateway.started()
            gateway.settle_in(gateway_core=given.gateway_core, load_core=given.load_core)
            checks.features(gateway, virtual_key=True)
            began_s = time.perf_counter()
            done, samples = drive(gateway, around, given.calls)
            took_s = time.perf_counter() - began_s
            gateway.drained(at_most_s=_DRAIN_AT_MOST_S)
            return 0 if report(done, took_s, gateway.calls_in_database(), samples) else 1


if __name__ == "__main__":
    sys.exit(main())
