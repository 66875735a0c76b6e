"""A file of JSON lines, one per call, as `StandardLoggingPayload`. Rotating it is logrotate's business: it is opened anew
for each batch.
"""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from wayport.core.record import CallRecord
from wayport.observe.payload import payload_of

_encode = msgspec.json.Encoder().encode


class File:
    def __init__(self, path: Path) -> None:
        self.name = "file"
        self._path = path

    async def deliver(self, records: Sequence[CallRecord]) -> None:
        lines = b"".join(_encode(payload_of(record)) + b"\n" for record in records)
        await asyncio.to_thread(self._append, lines)

    async def close(self) -> None:
        """Nothing is open between batches."""

    def _append(self, lines: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, lines)
        finally:
            os.close(fd)
