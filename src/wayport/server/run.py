"""The supervisor: binds the port, starts data workers and the control process, watches over them, stops them gracefully.

What must stay true: the death of the control process stops no traffic; a child that dies is started again, ever more
slowly if it keeps dying; nothing is orphaned.
"""

import asyncio
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from msgspec import Raw, structs

from wayport.config.settings import Settings, to_json
from wayport.core.ids import random_hex
from wayport.server import handover
from wayport.server.handover import Handover
from wayport.server.listen import AddressInUse, bind, join
from wayport.server.waiting import Waiting

log = logging.getLogger("wayport.supervisor")

_BACKOFF_S = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
_STEADY_AFTER_S = 30.0
_CONTROL_STOP_S = 15.0


class Child:
    """One process that is kept running until told to stop."""

    def __init__(self, name: str, start: Callable[[], "subprocess.Popen[bytes]"]) -> None:
        self.name = name
        self._start = start
        self._process: subprocess.Popen[bytes] | None = None
        self._ended: asyncio.Future[int] | None = None
        self._stopping = False

    async def keep_running(self) -> None:
        loop = asyncio.get_running_loop()
        deaths = 0
        while not self._stopping:
            began = loop.time()
            self._process = self._start()
            self._ended = loop.run_in_executor(None, self._process.wait)
            code = await asyncio.shield(self._ended)
            if self._stopping:
                return
            deaths = 0 if loop.time() - began > _STEADY_AFTER_S else deaths + 1
            wait_s = _BACKOFF_S[min(deaths, len(_BACKOFF_S) - 1)]
            log.error("a process died", extra={"child": self.name, "exit_code": code, "again_in_s": wait_s})
            await asyncio.sleep(wait_s)

    def tell(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def stop(self, at_most_s: float) -> None:
        self._stopping = True
        self.tell(signal.SIGTERM)
        if self._ended is None or self._ended.done():
            return
        try:
            await asyncio.wait_for(asyncio.shield(self._ended), at_most_s)
        except TimeoutError:
            log.warning("a process did not stop in time and was killed", extra={"child": self.name})
            self.tell(signal.SIGKILL)
            await self._ended


def node_name(data_dir: str) -> str:
    """The name of this data directory's node, kept in it: leases and what they paid for hang on it. Raises `OSError`."""
    file = Path(data_dir) / "node"
    try:
        return file.read_text().strip()
    except FileNotFoundError:
        name = f"{socket.gethostname()[:40]}-{random_hex(6)}"
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.write_text(name + "\n")
        return name


class Supervisor:
    def __init__(
        self,
        settings: Settings,
        snapshot: bytes,
        *,
        options: bytes,
        on_ready: Callable[[int], None],
        console: bool,
        waiting: Waiting | None = None,
        read_again: Callable[[], bytes | None] = lambda: None,
    ) -> None:
        """`waiting`: a worker process that was started already, for the first worker. `read_again`: the snapshot as it
        would be now; None: it cannot be told.
        """
        self._read_again = read_again
        self._control_began = False
        self._waiting = waiting
        self._settings = settings
        self._snapshot = snapshot
        self._options = options
        self._on_ready = on_ready
        self._console = console
        self._drain_delay_s = 0.0 if console else settings.server.drain_delay_s
        self._runtime_dir = Path(tempfile.mkdtemp(prefix="wayport-"))
        self._node = node_name(settings.storage.data_dir)
        self._port = settings.server.port
        self._stop = asyncio.Event()
        self._signals = 0

    async def run(self) -> int:
        """Until told to stop. Raises `AddressInUse`."""
        try:
            return await self._run()
        finally:
            if self._waiting is not None:
                self._waiting.give_up()
            shutil.rmtree(self._runtime_dir, ignore_errors=True)

    async def _run(self) -> int:
        server = self._settings.server
        first = self._bind(server.workers)
        read_fd, write_fd = os.pipe()
        workers = [Child(f"worker {n}", self._worker_start(n, first[n], write_fd)) for n in range(server.workers)]
        control = Child("control", self._start_control)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop_asked, workers)
        loop.add_signal_handler(signal.SIGHUP, control.tell, signal.SIGHUP)
        loop.add_reader(read_fd, self._ready, read_fd)
        keeping = [loop.create_task(child.keep_running(), name=child.name) for child in (*workers, control)]
        try:
            await self._stop.wait()
        finally:
            longest_s = self._drain_delay_s + server.grace_s + 5.0
            await asyncio.gather(*(worker.stop(longest_s) for worker in workers))
            # Last: what the workers wrote at the end is drained into the database by it.
            await control.stop(_CONTROL_STOP_S)
            for task in keeping:
                task.cancel()
            await asyncio.gather(*keeping, return_exceptions=True)
            loop.remove_reader(read_fd)
            os.close(read_fd)
            os.close(write_fd)
        return 0

    def _bind(self, count: int) -> list[list[socket.socket]]:
        """Listening sockets for `count` workers: one a worker and address."""
        found: list[list[socket.socket]] = [[] for _ in range(count)]
        for position, address in enumerate(self._settings.server.addresses):
            try:
                sockets = bind(address, self._port, count=count)
            except AddressInUse:
                # The second address of loopback is missing where IPv6 is switched off.
                if position > 0 and address == "::1":
                    continue
                raise
            self._port = sockets[0].getsockname()[1]
            for mine, sock in zip(found, sockets, strict=True):
                mine.append(sock)
        return found

    def _worker_start(
        self, number: int, first: list[socket.socket], ready_fd: int
    ) -> Callable[[], "subprocess.Popen[bytes]"]:
        bound: list[list[socket.socket]] = [first]

        def start() -> "subprocess.Popen[bytes]":
            if not bound:
                self._refresh()
            fds = [sock.detach() for sock in (bound.pop() if bound else self._bind_again())]
            given = structs.replace(self._handover(), worker=number, drain_delay_s=self._drain_delay_s)
            waiting, self._waiting = self._waiting or Waiting(), None
            try:
                return waiting.begin(given, [*fds, ready_fd])
            finally:
                for fd in fds:
                    os.close(fd)

        return start

    def _refresh(self) -> None:
        """A child that is started again begins with the configuration of now, not with that of the first start."""
        self._snapshot = self._read_again() or self._snapshot

    def _start_control(self) -> "subprocess.Popen[bytes]":
        if self._control_began:
            self._refresh()
        self._control_began = True
        fd = handover.write(self._handover())
        # Until it has come to say what the signal means to it, a reload would kill it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        try:
            return subprocess.Popen(  # noqa: S603 (our own interpreter and module)
                [sys.executable, "-m", "wayport.control.main", str(fd)], pass_fds=(fd,), stdin=subprocess.DEVNULL
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            os.close(fd)

    def _bind_again(self) -> list[socket.socket]:
        """For a worker that died. Its fellows hold the port: no exclusive bind now."""
        found = []
        for position, address in enumerate(self._settings.server.addresses):
            try:
                found.append(join(address, self._port))
            except OSError:
                if position == 0:
                    raise
        return found

    def _handover(self) -> Handover:
        return Handover(
            settings=Raw(to_json(self._settings)),
            snapshot=Raw(self._snapshot),
            node=self._node,
            control_socket=str(self._runtime_dir / "control.sock"),
            admin_socket=str(self._runtime_dir / "admin.sock"),
            console=self._console,
            options=Raw(self._options),
        )

    def _ready(self, fd: int) -> None:
        os.read(fd, 64)
        asyncio.get_running_loop().remove_reader(fd)
        self._on_ready(self._port)

    def _stop_asked(self, workers: list[Child]) -> None:
        self._signals += 1
        self._stop.set()
        if self._signals > 1:
            # Asked twice: no grace any more.
            for worker in workers:
                worker.tell(signal.SIGKILL)
