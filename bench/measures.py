"""The measures: each takes running targets and adds its figures to the results, round by round."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench import latency, load, streams
from bench.gateway import TLS_STREAM_MODELS, Gateway
from bench.results import Results
from bench.streams import Streams
from bench.targets import Target
from bench.wording import Pace


class Place(NamedTuple):
    """Where the load runs and may leave files."""

    directory: Path
    load_core: int


def calls(
    results: Results, measure: str, targets: Sequence[Target], *, rounds: int, seconds: int, place: Place
) -> None:
    """64 connections, as fast as they are answered."""
    for target in targets:
        load.run(target, seconds=1, directory=place.directory, core=place.load_core)
        target.settled()
    for _ in range(rounds):
        for target in targets:
            found = load.run(target, seconds=seconds, directory=place.directory, core=place.load_core)
            results.add(
                measure,
                target.name,
                calls_per_s=found.calls_per_s,
                cpu_us=found.cpu_us_per_call,
                core_share=found.core_share,
                failed=found.failed,
            )
            # What it has put off must not run into the next one's time.
            target.settled()


def journal(results: Results, gateway: Gateway, *, seconds: int, place: Place) -> tuple[int, int]:
    """What the control process spends on a call's records, from the spool into the database. Returns the calls that
    were answered and those that arrived there.
    """
    before = gateway.drained()
    before_s = gateway.cpu_s("control")
    found = load.run(gateway.target("bench"), seconds=seconds, directory=place.directory, core=place.load_core)
    after = gateway.drained()
    arrived, records = after.calls - before.calls, after.records - before.records
    used_s = gateway.cpu_s("control") - before_s
    results.add("journal", "wayport", drain_cpu_us=used_s / max(1, arrived) * 1e6, calls=arrived, records=records)
    return found.calls, arrived


def latencies(results: Results, targets: Sequence[Target], *, rounds: int, calls: int) -> None:
    """One connection, one call at a time. The first target is the upstream itself: the others are held against it."""
    for _ in range(rounds):
        _add_latencies(results, "latency", latency.whole_calls(targets, calls=calls), targets[0].name)


def first_tokens(results: Results, targets: Sequence[Target], *, rounds: int, calls: int, pace: Pace) -> None:
    """As `latencies`, to the first content event of a stream."""
    for _ in range(rounds):
        _add_latencies(results, "first token", latency.first_contents(targets, calls=calls, pace=pace), targets[0].name)


def _add_latencies(results: Results, measure: str, found: dict[str, latency.Quantiles], direct: str) -> None:
    for name, quantiles in found.items():
        results.add(measure, name, p50_us=quantiles.p50_us, p99_us=quantiles.p99_us)
        if name != direct:
            results.add(
                measure,
                name,
                added_p50_us=quantiles.p50_us - found[direct].p50_us,
                added_p99_us=quantiles.p99_us - found[direct].p99_us,
            )


def paced(
    results: Results,
    measure: str,
    targets: Sequence[Target],
    *,
    rounds: int,
    count: int,
    pace: Pace,
    at_most_s: float = 60.0,
    gateway: Gateway | None = None,
) -> None:
    """Many streams, each at its pace. With `gateway` its memory is taken while they run."""
    for number in range(rounds):
        for target in targets:
            mine = gateway if number == 0 and target.name == "wayport" else None
            found = streams.run(
                target,
                count=count,
                pace=pace,
                at_most_s=at_most_s,
                at_full=(lambda: memory(results, "memory: streams open", gateway)) if mine and gateway else None,
            )
            add_streams(results, measure, target.name, found)
            target.settled()


def add_streams(results: Results, measure: str, name: str, found: Streams) -> None:
    results.add(
        measure,
        name,
        cpu_us=found.cpu_us_per_event,
        events_per_s=found.events_per_s,
        offered_per_s=found.offered_per_s,
        core_share=found.core_share,
        completed=found.completed,
        streams=found.streams,
    )
    # Where the first stream ended before the last one began there was no such time.
    if found.steady_events:
        results.add(measure, name, steady_cpu_us=found.steady_cpu_us_per_event)


def memory(results: Results, measure: str, gateway: Gateway) -> None:
    for role, found in gateway.memory().items():
        results.add(measure, f"wayport {role}", rss_mb=found.rss_mb, pss_mb=found.pss_mb)


def tls_streams(results: Results, gateway: Gateway, *, count: int, pace: Pace) -> None:
    """Half of them to each of two upstreams; opened no faster than the pool opens connections."""
    measure = "TLS streams"
    gateway.drained()
    memory(results, "memory: before TLS streams", gateway)
    found = streams.run(
        gateway.target(TLS_STREAM_MODELS[0]),
        others=(gateway.target(TLS_STREAM_MODELS[1]),),
        count=count,
        pace=pace,
        begins_per_s=400,
        at_full=lambda: memory(results, "memory: with TLS streams", gateway),
    )
    add_streams(results, measure, "wayport", found)
    gateway.drained()


def wait_until_quiet(gateway: Gateway) -> None:
    """Idle means idle: nothing left of the start."""
    gateway.drained()
    time.sleep(1)
