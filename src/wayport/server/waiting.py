"""A worker process that is started before there is anything to do: it imports while its configuration is still being read."""

import os
import resource
import socket
import subprocess
import sys
from collections.abc import Sequence

from wayport.server import handover
from wayport.server.handover import Handover

_MODULE = "wayport.server.worker"
_MOST_FDS = 64
_MOST_FILES = 1 << 17


class Waiting:
    """`begin` sets it to work, `give_up` lets it end; one of the two must be called."""

    def __init__(self) -> None:
        _raise_file_limit()
        self._socket, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(  # noqa: S603 (our own interpreter and module)
                [sys.executable, "-m", _MODULE, str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
            )

    def begin(self, given: Handover, fds: Sequence[int]) -> "subprocess.Popen[bytes]":
        """Hands over what to do, the listening sockets and, last, the descriptor that is told of readiness."""
        file = handover.write(given)
        with self._socket:
            try:
                socket.send_fds(self._socket, [b"begin"], [file, *fds])
            except OSError:
                # It has died already; whoever watches over it will see.
                pass
            finally:
                os.close(file)
        return self.process

    def give_up(self) -> None:
        self._socket.close()
        self.process.wait()


def _raise_file_limit() -> None:
    """As many open files as we may have, for us and all that we start: every stream is two connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def receive(fd: int) -> tuple[Handover, list[int]] | None:
    """The worker's side: waits for `begin`. None: there is nothing to do."""
    with socket.socket(fileno=fd) as waiting:
        data, fds, _, _ = socket.recv_fds(waiting, 16, _MOST_FDS)
    if not data:
        return None
    return handover.read(fds[0]), fds[1:]
