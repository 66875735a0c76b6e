"""A connection on a wire without a socket."""

import asyncio

from wayport.core.outbox import Outbox
from wayport.upstream.answer import Answer
from wayport.upstream.connection import Connection
from wayport.upstream.faults import TransportFault


class Wire(asyncio.Transport):
    """A socket's transport without a socket."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.open = True
        self.reading = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += data

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return not self.open

    def abort(self) -> None:
        self.open = False

    def close(self) -> None:
        self.open = False

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Keeper:
    def __init__(self) -> None:
        self.idle: list[Connection] = []
        self.lost = 0

    def release(self, connection: Connection) -> None:
        self.idle.append(connection)

    def gone(self, connection: Connection) -> None:
        self.lost += 1


class Rig:
    """One connection on a wire, and exchanges on it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.wire = Wire()
        self.keeper = Keeper()
        self.outbox = Outbox(loop.call_soon)
        self.connection = Connection(self.keeper, "upstream.test", self.outbox)
        self.connection.connection_made(self.wire)

    def ask(self, *, reused: bool = False) -> Answer:
        answer = Answer(self.loop, self.connection, self.loop.create_future(), reused=reused)
        self.connection.begin(answer, b"POST / HTTP/1.1\r\nhost: upstream.test\r\n", b"{}")
        self.outbox.flush()
        return answer

    def hear(self, *pieces: bytes) -> None:
        for piece in pieces:
            if self.wire.open:
                self.connection.data_received(piece)

    def read(self, answer: Answer) -> bytes:
        return self.loop.run_until_complete(answer.read(1 << 24))

    def end(self, answer: Answer) -> bytes | str:
        """The whole body, or the kind of fault."""
        try:
            return self.read(answer)
        except TransportFault as error:
            return error.fault.kind
