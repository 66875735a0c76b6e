"""Unix sockets that only their owner may use, wherever in the file system they are.

The kernel takes names of at most 107 bytes; a longer one is reached through a descriptor of its directory.
"""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LONGEST_NAME = 107


class AlreadyRunning(OSError):
    """Somebody else listens there."""


@contextmanager
def short_name(path: str | Path) -> Iterator[str]:
    """A name for `path` that the kernel takes; good inside the block."""
    name = os.fspath(path)
    if len(os.fsencode(name)) <= _LONGEST_NAME:
        yield name
        return
    directory = os.open(Path(name).parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{Path(name).name}"
    finally:
        os.close(directory)


def listen(path: str | Path, *, backlog: int = 512) -> socket.socket:
    """A listening socket at `path`, mode 0600. One that a dead process left is replaced.

    Raises `AlreadyRunning` when somebody answers there.
    """
    Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with short_name(path) as name:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            _bind(listener, name)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or _answers(name):
                listener.close()
                if error.errno == errno.EADDRINUSE:
                    raise AlreadyRunning(errno.EADDRINUSE, "another Wayport listens there", str(path)) from None
                raise
            Path(path).unlink()
            _bind(listener, name)
    listener.listen(backlog)
    listener.setblocking(False)
    return listener


def _bind(listener: socket.socket, name: str) -> None:
    # The mode comes from the mask at the moment of binding; changing it afterwards would leave it open for that long.
    before = os.umask(0o177)
    try:
        listener.bind(name)
    finally:
        os.umask(before)


def _answers(name: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(name)
        except OSError:
            return False
    return True
