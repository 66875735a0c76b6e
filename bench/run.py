"""One run from start to end: starts what is needed, takes the measures in order, and leaves nothing running."""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from bench import certificates, checks, machine, measures, nginx, peers
from bench.certificates import Certificates
from bench.gateway import TLS_STREAM_MODELS, Gateway, Ports
from bench.measures import Place
from bench.peers import Peer
from bench.plan import Plan
from bench.processes import Started, free_ports, memory
from bench.results import Results
from bench.targets import NotUsable, Target, wait_for


class Cores(NamedTuple):
    gateway: int
    load: int
    """also the mock upstream's, and the control process's"""


class World(NamedTuple):
    """What stands around the gateways."""

    directory: Path
    cores: Cores
    certificates: Certificates
    ports: Ports
    floor: Started
    floors: dict[str, int]
    """nginx's ports, by what it passes on to: the upstreams of whole calls and of streams, each also over TLS, and of stamped answers"""

    @property
    def place(self) -> Place:
        return Place(self.directory, self.cores.load)

    def nginx(self, to: str, model: str) -> Target:
        return Target(name="nginx", port=self.floors[to], pids=self.floor.pids, model=model)

    def direct(self, port: int, model: str) -> Target:
        return Target(name="upstream", port=port, model=model)


@contextmanager
def world(cores: Cores) -> Iterator[World]:
    os.sched_setaffinity(0, {cores.load})
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wayport-bench-")))
        made = certificates.make(directory)
        plain, tls, stamped, streams, streams_tls_0, streams_tls_1, *floors = free_ports(11)
        ports = Ports(plain, tls, stamped, streams, (streams_tls_0, streams_tls_1))
        stack.enter_context(
            nginx.upstream(
                directory / "upstream", core=cores.load, plain=plain, tls=tls, stamped=stamped, certificates=made
            )
        )
        for port, secure in ((streams, False), (streams_tls_0, True), (streams_tls_1, True)):
            stack.enter_context(_mock(directory, port, core=cores.load, certificates=made if secure else None))
        behind = {
            "whole": ("http", plain),
            "whole_tls": ("https", tls),
            "stamped": ("http", stamped),
            "streams": ("http", streams),
            "streams_tls": ("https", streams_tls_0),
        }
        floor = stack.enter_context(
            nginx.floor(
                directory / "floor",
                core=cores.gateway,
                to=dict(zip(floors, behind.values(), strict=True)),
                certificates=made,
            )
        )
        yield World(directory, cores, made, ports, floor, dict(zip(behind, floors, strict=True)))


@contextmanager
def _mock(directory: Path, port: int, *, core: int, certificates: Certificates | None) -> Iterator[None]:
    command = [sys.executable, "-m", "bench.upstream", str(port)]
    if certificates is not None:
        command += ["--cert", str(certificates.chain), "--key", str(certificates.key)]
    with Started(command, log=directory / f"mock-{port}.log", core=core) as process:
        wait_for("the mock upstream", lambda: b"ready" in process.log.read_bytes(), at_most_s=10, alive=process.alive)
        yield


# ----------------------------------------------------------------------------------------------------------- Wayport
class Run:
    """The measures of Wayport and the floor. Those that fail are reported and do not end the run."""

    def __init__(self, around: World, plan: Plan, results: Results, *, only: Sequence[str], virtual_key: bool) -> None:
        self._around = around
        self._plan = plan
        self._results = results
        self._only = only
        self._virtual_key = virtual_key
        self._starts = 0

    def all(self) -> None:
        self._measure("cold start", self._cold_starts)
        with self._start() as gateway:
            gateway.started()
            gateway.settle_in(gateway_core=self._around.cores.gateway, load_core=self._around.cores.load)
            self._results.checks |= checks.features(gateway, virtual_key=self._virtual_key)
            measures.wait_until_quiet(gateway)
            measures.memory(self._results, "memory: idle", gateway)
            for name, measure in self._measures(gateway):
                self._measure(name, measure)

    def _measures(self, gateway: Gateway) -> list[tuple[str, Callable[[], None]]]:
        around, plan, results = self._around, self._plan, self._results
        ports, place = around.ports, around.place
        side = {"rounds": plan.side_rounds, "seconds": plan.side_s}

        def calls() -> None:
            targets = [around.nginx("whole", "bench"), gateway.target("bench")]
            measures.calls(results, "calls", targets, rounds=plan.call_rounds, seconds=plan.call_s, place=place)
            measures.wait_until_quiet(gateway)
            measures.memory(results, "memory: after the calls", gateway)

        def journal() -> None:
            before = gateway.settled_log_lines()
            answered, arrived = measures.journal(results, gateway, seconds=plan.call_s, place=place)
            results.checks |= checks.kept(
                answered,
                arrived=arrived,
                log_lines=gateway.settled_log_lines() - before,
                in_database=gateway.calls_in_database(),
            )

        def workers() -> None:
            with self._start(workers=2) as pair:
                pair.started()
                pair.settle_in(gateway_core=around.cores.gateway, load_core=around.cores.load)
                checks.features(pair, virtual_key=self._virtual_key)
                measures.wait_until_quiet(pair)
                one = gateway.target("bench")
                # Each worker has the load that the one has.
                two = replace(pair.target("bench"), name="wayport, two workers", connections=2 * one.connections)
                targets = [one, two]
                measures.calls(results, "workers", targets, **side, place=place)

        def latencies() -> None:
            targets = [around.direct(ports.whole, "bench"), around.nginx("whole", "bench"), gateway.target("bench")]
            measures.latencies(results, targets, rounds=plan.latency_rounds, calls=plan.latency_calls)

        def first_tokens() -> None:
            targets = [
                around.direct(ports.streams, "streams"), around.nginx("streams", "streams"), gateway.target("streams"),
            ]  # fmt: skip
            measures.first_tokens(
                results, targets, rounds=plan.latency_rounds, calls=plan.first_token_calls, pace=plan.first_token_pace
            )

        def paced() -> None:
            targets = [around.nginx("streams", "streams"), gateway.target("streams")]
            measures.paced(
                results,
                "streams",
                targets,
                rounds=plan.stream_rounds,
                count=plan.streams,
                pace=plan.pace,
                gateway=gateway,
            )

        def flat_out() -> None:
            targets = [around.nginx("streams", "streams"), gateway.target("streams")]
            measures.paced(
                results,
                "streams flat out",
                targets,
                rounds=plan.side_stream_rounds,
                count=plan.streams,
                pace=plan.flat_out,
            )

        def tls_paced() -> None:
            targets = [around.nginx("streams_tls", "streams"), gateway.target(TLS_STREAM_MODELS[0])]
            measures.paced(
                results,
                "streams, TLS upstream",
                targets,
                rounds=plan.side_stream_rounds,
                count=plan.streams,
                pace=plan.pace,
            )

        def tls_calls() -> None:
            targets = [around.nginx("whole_tls", "bench-tls"), gateway.target("bench-tls")]
            measures.calls(results, "calls, TLS upstream", targets, **side, place=place)

        def stamped_calls() -> None:
            targets = [around.nginx("stamped", "bench-stamped"), gateway.target("bench-stamped")]
            measures.calls(results, "calls, stamped answers", targets, **side, place=place)

        def tls_streams() -> None:
            measures.tls_streams(results, gateway, count=plan.tls_streams, pace=plan.tls_pace)

        def translated_calls() -> None:
            measures.calls(results, "translated calls", [gateway.target("translated")], **side, place=place)

        def translated_streams() -> None:
            targets = [gateway.target("translated-streams")]
            measures.paced(
                results, "translated streams", targets, rounds=plan.stream_rounds, count=plan.streams, pace=plan.pace
            )

        return [
            ("calls", calls),
            ("journal", journal),
            ("workers", workers),
            ("latency", latencies),
            ("first token", first_tokens),
            ("streams", paced),
            ("streams flat out", flat_out),
            ("translated calls", translated_calls),
            ("translated streams", translated_streams),
            ("calls, TLS upstream", tls_calls),
            ("calls, stamped answers", stamped_calls),
            ("streams, TLS upstream", tls_paced),
            ("TLS streams", tls_streams),
        ]

    def _measure(self, name: str, measure: Callable[[], None]) -> None:
        if self._only and not any(name.startswith(each) for each in self._only):
            return
        measured(self._results, name, measure)

    def _start(self, *, workers: int = 1) -> Gateway:
        self._starts += 1
        directory = self._around.directory / f"wayport-{self._starts}"
        directory.mkdir()
        (port,) = free_ports(1)
        return Gateway(
            directory, port=port, ports=self._around.ports, certificates=self._around.certificates, workers=workers
        )

    def _cold_starts(self) -> None:
        """With a data directory of its own each time, as the first start is; on both cores."""
        os.sched_setaffinity(0, {self._around.cores.load, self._around.cores.gateway})
        try:
            for _ in range(self._plan.cold_starts):
                with self._start() as gateway:
                    start = gateway.started()
                self._results.add(
                    "cold start", "wayport", alive_s=start.alive_s, first_answer_s=start.echo_s, cpu_s=start.cpu_s
                )
        finally:
            os.sched_setaffinity(0, {self._around.cores.load})


def measured(results: Results, name: str, measure: Callable[[], None]) -> None:
    began_s = time.perf_counter()
    print(f"{name} … ", end="", flush=True, file=sys.stderr)
    try:
        measure()
    except (NotUsable, OSError, TimeoutError) as error:
        results.not_measured[name] = str(error) or type(error).__name__
        print(f"not measured: {error}", file=sys.stderr)
    else:
        print(f"{time.perf_counter() - began_s:.0f} s", file=sys.stderr)


# ------------------------------------------------------------------------------------------------------------- peers
def measure_peer(peer: Peer, cache: Path, around: World, plan: Plan, results: Results) -> None:
    """Once before whole calls, once before streams: some know only one upstream."""
    rounds = min(2, plan.call_rounds)

    def whole() -> None:
        directory = around.directory / f"{peer.name}-whole"
        with peers.started(peer, cache, directory, upstream=around.ports.whole, core=around.cores.gateway) as (
            target,
            start_s,
        ):
            results.add("cold start", peer.name, first_answer_s=start_s)
            _add_memory(results, "memory: idle", peer, target)
            measures.calls(results, "calls", [target], rounds=rounds, seconds=plan.call_s, place=around.place)
            _add_memory(results, "memory: after the calls", peer, target)
            direct = around.direct(around.ports.whole, "bench")
            measures.latencies(results, [direct, target], rounds=rounds, calls=plan.latency_calls // 2)

    def streams() -> None:
        directory = around.directory / f"{peer.name}-streams"
        with peers.started(peer, cache, directory, upstream=around.ports.streams, core=around.cores.gateway) as (
            target,
            _,
        ):
            direct = around.direct(around.ports.streams, "streams")
            measures.first_tokens(
                results, [direct, target], rounds=1, calls=plan.first_token_calls, pace=plan.first_token_pace
            )
            measures.paced(results, "streams", [target], rounds=1, count=plan.streams, pace=plan.pace, at_most_s=20)
            _add_memory(results, "memory: streams open", peer, target)

    measured(results, f"{peer.title}: calls", whole)
    measured(results, f"{peer.title}: streams", streams)


def _add_memory(results: Results, measure: str, peer: Peer, target: Target) -> None:
    found = memory(target.pids())
    results.add(measure, peer.name, rss_mb=found.rss_mb, pss_mb=found.pss_mb)


def measure_peers(chosen: Sequence[str], cache: Path, around: World, plan: Plan, results: Results) -> None:
    for peer in peers.PEERS:
        if peer.name not in chosen:
            continue
        if not peer.installed(cache):
            results.not_measured[peer.title] = f"not installed ({peer.origin}; `--install-peers`)"
            continue
        results.run[f"{peer.name}_version"] = peer.version(peer.directory(cache))
        measure_peer(peer, cache, around, plan, results)


def the_whole(
    plan: Plan, cores: Cores, *, only: Sequence[str], chosen: Sequence[str], cache: Path, virtual_key: bool
) -> Results:
    """Everything. Raises `NotUsable` when Wayport or the floor does not start."""
    results = Results(machine=machine.facts())
    before, began_s = machine.account(), time.perf_counter()
    with world(cores) as around:
        Run(around, plan, results, only=only, virtual_key=virtual_key).all()
        measure_peers(chosen, cache, around, plan, results)
    took_s = time.perf_counter() - began_s
    results.run |= {
        "took_s": round(took_s),
        **machine.disturbance(before, machine.account(), wall_s=took_s),
        "gateway_core": cores.gateway,
        "load_core": cores.load,
        **{name: str(value) if isinstance(value, tuple) else value for name, value in plan._asdict().items()},
    }
    return results
