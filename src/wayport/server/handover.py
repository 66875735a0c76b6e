"""What the supervisor hands to its child processes: through an unlinked file, because secrets are in it."""

import os
import tempfile

import msgspec
from msgspec import Raw, Struct


class Handover(Struct, kw_only=True, frozen=True):
    settings: Raw
    """config.settings.Settings as JSON"""
    snapshot: Raw
    """routing.snapshot.Snapshot as JSON"""
    node: str
    worker: int = 0
    control_socket: str = ""
    admin_socket: str = ""
    console: bool = False
    """logs are read by a person on a terminal"""
    drain_delay_s: float = 5.0
    options: Raw = Raw(b"null")
    """the command line's options, for loading the configuration again"""


def write(handover: Handover) -> int:
    """A file descriptor that the child inherits and reads once."""
    with tempfile.TemporaryFile() as file:
        file.write(msgspec.json.encode(handover))
        file.flush()
        file.seek(0)
        return os.dup(file.fileno())


def read(fd: int) -> Handover:
    with os.fdopen(fd, "rb") as file:
        return msgspec.json.decode(file.read(), type=Handover)
