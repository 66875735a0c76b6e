"""Starting what is measured, pinned to a core, and reading the kernel's account of it."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self


class Memory(NamedTuple):
    rss_mb: float
    """pages in memory, those shared with other processes counted whole"""
    pss_mb: float
    """proportional set size: a shared page is divided among those who share it"""


class Started:
    """A process and its children, stopped at the end of a `with`."""

    def __init__(
        self, command: Sequence[str], *, log: Path, core: int | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        pinned = [shutil.which("taskset") or "taskset", "-c", str(core)] if core is not None else []
        self.log = log
        self.began_s = time.perf_counter()
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [*pinned, *command],
                env={**os.environ, **(env or {})},  # noqa: TID251 (a benchmark passes its environment on)
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def alive(self) -> bool:
        return self._process.poll() is None

    def stop(self, at_most_s: float = 15.0) -> None:
        """SIGTERM to the first process, which knows its children; SIGKILL to the whole group if that does not help."""
        if self.alive():
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(at_most_s)
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self._process.wait()

    def pids(self) -> list[int]:
        """This process and all that descend from it."""
        found = [self.pid]
        for pid in found:
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                found += [int(child) for child in task.read_text().split()]
        return found

    def tail(self, characters: int = 400) -> str:
        """The end of what it said: for an error message."""
        return " ".join(self.log.read_text(errors="replace")[-characters:].split())


def pin(pid: int, core: int) -> None:
    """All threads of a process; those that they start later inherit it."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            os.sched_setaffinity(int(task.name), {core})
        except ProcessLookupError:
            continue


def cpu_s(pids: Iterable[int]) -> float:
    """User and system time of these processes: nanosecond accounting, all threads that are alive."""
    total_ns = 0
    for pid in pids:
        try:
            tasks = list(Path(f"/proc/{pid}/task").iterdir())
        except FileNotFoundError:
            continue
        for task in tasks:
            try:
                total_ns += int((task / "schedstat").read_bytes().split()[0])
            except (FileNotFoundError, ProcessLookupError):
                continue
    return total_ns / 1e9


def memory(pids: Iterable[int]) -> Memory:
    """Of these processes together."""
    sums = {b"Rss:": 0, b"Pss:": 0}
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_bytes().splitlines():
            name, _, rest = line.partition(b" ")
            if name in sums:
                sums[name] += int(rest.split()[0])
    return Memory(sums[b"Rss:"] / 1024, sums[b"Pss:"] / 1024)


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def free_ports(count: int) -> list[int]:
    """Distinct ones: all are held until all are found."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports
