"""The control process: `python -m wayport.control.main FD`, where FD holds what the supervisor hands over, as JSON.

The sockets are opened first and the heavy parts imported then, so that nobody finds the door closed.
"""

import asyncio
import gc
import logging
import os
import signal
import sys

import msgspec
import uvloop
from msgspec import Raw, Struct

from wayport.config.load import Options
from wayport.config.settings import Settings, from_json
from wayport.control.server import ControlServer
from wayport.control.sockets import listen
from wayport.core.clock import SystemClock
from wayport.core.tasks import Tasks
from wayport.observe import logs

log = logging.getLogger("wayport.control")

_PARENT_CHECK_S = 1.0


class Handover(Struct, kw_only=True, frozen=True):
    """What we take of the supervisor's handover (server/handover.py writes it)."""

    settings: Raw
    snapshot: Raw
    control_socket: str
    admin_socket: str
    node: str = ""
    options: Raw = Raw(b"null")


async def run_control(
    settings: Settings,
    snapshot_json: bytes,
    control_socket: str,
    admin_socket: str,
    *,
    options: Options | None = None,
    node: str = "",
    stop: asyncio.Event | None = None,
) -> None:
    """Runs until `stop` is set or SIGTERM comes. Raises `AlreadyRunning` when another one listens on the sockets."""
    stop = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    listener, admin = listen(control_socket), listen(admin_socket)
    async with Tasks() as tasks:
        server = ControlServer(tasks=tasks, snapshot=snapshot_json)
        await server.listen(listener)
        tasks.start(_stop_without_parent(os.getppid(), stop), name="parent")
        try:
            from wayport.control.process import ControlProcess  # noqa: PLC0415 (see the top of this file)

            process = ControlProcess(
                settings,
                snapshot_json,
                server=server,
                options=options or Options(),
                tasks=tasks,
                clock=SystemClock(),
                node=node,
            )
            # What exists now lives as long as the process: the collector need not look at it again.
            gc.collect()
            gc.freeze()
            await process.run(admin, stop)
        finally:
            await server.close()
            admin.close()


async def _stop_without_parent(parent: int, stop: asyncio.Event) -> None:
    """A supervisor that was killed stops nobody: an orphan would hold the sockets against the next start."""
    while os.getppid() == parent:  # noqa: ASYNC110 (the kernel tells it in no other portable way)
        await asyncio.sleep(_PARENT_CHECK_S)
    log.warning("the supervisor is gone; the control process stops")
    stop.set()


def main() -> None:
    with os.fdopen(int(sys.argv[1]), "rb") as file:
        given = msgspec.json.decode(file.read(), type=Handover)
    settings = from_json(bytes(given.settings))
    options = msgspec.json.decode(given.options, type=Options | None)
    logs.configure(level=settings.logging.level, console=not settings.logging.json)
    for chatty in ("aiosqlite", "alembic", "uvicorn.error"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # Ctrl-C reaches the whole process group: the supervisor decides what follows of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Until somebody can load anything again.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
    uvloop.run(
        run_control(
            settings,
            bytes(given.snapshot),
            given.control_socket,
            given.admin_socket,
            options=options,
            node=given.node,
        )
    )


if __name__ == "__main__":
    main()
