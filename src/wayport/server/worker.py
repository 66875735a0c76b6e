"""A data worker process: takes its settings and sockets from the supervisor, serves until told to stop."""

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import uvloop

from wayport.config.settings import Settings, from_json
from wayport.control.client import SocketControl
from wayport.core.clock import SystemClock
from wayport.core.tasks import Tasks
from wayport.ledger.journal import Spool
from wayport.observe import logs
from wayport.observe.vitals import Vitals, tell
from wayport.routing.gossip import Gossip
from wayport.routing.snapshot import Snapshot
from wayport.server.app import Worker
from wayport.server.handover import Handover
from wayport.server.listen import Certificate, Listening
from wayport.server.waiting import receive
from wayport.upstream.proxy import proxy_rules
from wayport.upstream.transport import Transport

log = logging.getLogger("wayport.worker")

_PARENT_CHECK_S = 1.0
_BUDGETS_S = 10.0
"""how long we wait for what was spent before we serve: as long as the control process may take to start"""
_MODELS_S = 10.0
"""how long calls of what is not known wait for the models of the database at most"""
_GC_THRESHOLD = (20_000, 50, 100)
"""a call makes some hundred objects and no circles: the default would look for circles every few calls"""


async def serve(given: Handover, settings: Settings, sockets: Sequence[int], ready_fd: int) -> None:
    """`sockets`: listening ones; `ready_fd`: told one byte when requests are answered."""
    clock = SystemClock()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    # What these ask for, the supervisor decides.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    spool = Spool(
        Path(settings.storage.data_dir) / "spool" / f"{given.node}-{given.worker}",
        clock=clock,
        sync=settings.spool.sync,
        max_bytes=settings.spool.max_bytes,
        on_full=settings.spool.on_full,
    )
    async with AsyncExitStack() as stack:
        tasks = await stack.enter_async_context(Tasks())
        transport = await stack.enter_async_context(Transport(proxies=proxy_rules(settings.variable), clock=clock))
        control = SocketControl(
            given.control_socket,
            worker=given.worker,
            on_snapshot=lambda data: worker.take_snapshot(data),  # noqa: PLW0108 (bound below)
            on_invalidated=lambda hashes: _forget(worker, hashes),
            on_database=lambda status: worker.note_database(status),  # noqa: PLW0108 (bound below)
            on_models=lambda: worker.models_came(),  # noqa: PLW0108 (bound below)
            on_asks=lambda asks: worker.authenticator.ask_about(asks),  # noqa: PLW0108 (bound below)
            on_holders=lambda holders: worker.holders.forget(holders),  # noqa: PLW0108 (bound below)
            on_recalled=lambda asked: worker.recall(asked.counter, next_one=asked.next_one),
            on_probe=lambda name, timeout_s: worker.probing.probe(name, timeout_s),  # noqa: PLW0108 (bound below)
            on_probed=lambda name, probed: worker.probing.hear(name, probed),  # noqa: PLW0108 (bound below)
            on_news=lambda news: gossip.hear(news),  # noqa: PLW0108 (bound below)
            on_connected=lambda: _register(worker, gossip),
            writer=spool.writer,
        )
        worker = Worker(
            settings,
            msgspec.json.decode(given.snapshot, type=Snapshot),
            control=control,
            conversations=control.turns,
            thoughts=control.thoughts,
            transport=transport,
            tasks=tasks,
            journal=spool,
            clock=clock,
            admin_socket=given.admin_socket,
            lender=control,
            holders=control,
            full=spool,
            under_way=spool.opens,
            lease_holder=spool.writer,
            node=given.node,
            number=given.worker,
            shares_slots=settings.several,
        )
        gossip = Gossip(
            worker.health, worker.routing.lives, worker.routing.affinity, clock=clock, tell=control.tell_news
        )
        worker.expect_models()
        tasks.start(_expect_no_longer(worker), name="models")
        tasks.start(control.run(), name="control")
        if settings.several:
            tasks.start(gossip.run(), name="gossip")
        doing = tell(control.tell_vitals, lambda: _vitals(worker, spool, given.worker), clock=clock)
        tasks.start(doing, name="vitals")
        tasks.start(worker.admission.run(), name="leases")
        if worker.slots is not None:
            tasks.start(worker.slots.run(), name="slots")
        tasks.start(worker.target_budgets.run(), name="target budgets")
        await worker.target_budgets.begin(_BUDGETS_S)
        tasks.start(_stop_without_parent(os.getppid(), stop), name="parent")
        certificate = None
        if settings.server.tls_cert and settings.server.tls_key:
            certificate = Certificate(Path(settings.server.tls_cert), Path(settings.server.tls_key))
        listening = [
            await stack.enter_async_context(
                Listening(
                    worker.handle,
                    socket.socket(fileno=fd),
                    state=worker.state,
                    load=worker.load,
                    limits=worker.limits,
                    refuse=worker.refuse,
                    certificate=certificate,
                )
            )
            for fd in sockets
        ]
        # What exists now lives as long as the process: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLD)
        os.write(ready_fd, b"1")
        await stop.wait()
        await _stop(listening, worker, given, settings)
    spool.close()


def _vitals(worker: Worker, spool: Spool, number: int) -> Vitals:
    state, load = spool.state, worker.load
    now_s = worker.clock.steady_s()
    groups = worker.pipeline.table.snapshot.models.values()
    states = {d.id: worker.health.state_of(d, now_s) for model in groups for d in model.deployments}
    return Vitals(
        worker=number,
        pid=os.getpid(),
        calls_in_flight=load.calls,
        calls_waiting=worker.routing.lines.count,
        connections=len(load.connections),
        request_bytes=load.body_bytes,
        refused_overload=load.refused,
        refused_early=worker.settlement.refused,
        journaled=state.appended,
        lost=state.lost,
        lost_nano_usd=state.lost_nano_usd,
        spool_full=state.full,
        cooled=worker.health.cooled,
        breakers={} if worker.health.quiet else {name: kind for name, kind in states.items() if kind != "closed"},
    )


async def _expect_no_longer(worker: Worker) -> None:
    await asyncio.sleep(_MODELS_S)
    worker.models_came()


async def _stop_without_parent(parent: int, stop: asyncio.Event) -> None:
    """A supervisor that was killed stops nobody: an orphan would hold the port against the next start."""
    while os.getppid() == parent:  # noqa: ASYNC110 (the kernel tells it in no other portable way)
        await asyncio.sleep(_PARENT_CHECK_S)
    log.warning("the supervisor is gone; this worker stops")
    stop.set()


def _register(worker: Worker, gossip: Gossip) -> None:
    """To a control process that may know nothing of us."""
    worker.control_away_s = None
    worker.admission.register()
    if worker.slots is not None:
        worker.slots.register()
    gossip.restate()


def _forget(worker: Worker, hashes: Sequence[str] | None) -> None:
    if hashes is None:
        worker.principals.invalidate_all()
        worker.holders.forget()
        return
    for key_hash in hashes:
        worker.principals.invalidate(key_hash)


async def _stop(listening: Sequence[Listening], worker: Worker, given: Handover, settings: Settings) -> None:
    """Several addresses are drained as one."""

    def cut() -> None:
        for connection in list(worker.load.connections):
            if connection.exchange is not None and connection.exchange.task is not None:
                connection.exchange.task.cancel("draining")

    await asyncio.gather(
        *(
            server.stop(drain_delay_s=given.drain_delay_s, grace_s=settings.server.grace_s, cut=cut)
            for server in listening
        )
    )


def main() -> None:
    # Ctrl-C reaches the whole process group, also while we wait for something to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    received = receive(int(sys.argv[1]))
    if received is None:
        return
    given, fds = received
    settings = from_json(bytes(given.settings))
    if settings.added_environ:
        from wayport.config.load import export  # noqa: PLC0415 (the readers of all formats: 3 MB that few workers need)

        export(settings)
    logs.configure(level=settings.logging.level, console=not settings.logging.json)
    uvloop.run(serve(given, settings, fds[:-1], fds[-1]))


if __name__ == "__main__":
    main()
