"""Writes of one turn of the loop leave together, in their order, and before anything is closed."""

import asyncio

from wayport.core.outbox import _MOST, Outbox


class Socket(asyncio.WriteTransport):
    def __init__(self, log: list[bytes]) -> None:
        super().__init__()
        self.log = log
        self.closing = False

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closing, "written to after its end"
        self.log.append(bytes(data))


async def test_writes_of_one_turn_leave_at_its_end_in_their_order() -> None:
    log: list[bytes] = []
    outbox, one, other = Outbox(), Socket(log), Socket(log)
    outbox.write(one, b"1")
    outbox.write(other, b"2")
    outbox.write(one, b"3")
    assert log == []
    await asyncio.sleep(0)
    assert log == [b"1", b"2", b"3"]
    outbox.write(one, b"4")
    await asyncio.sleep(0)
    assert log == [b"1", b"2", b"3", b"4"]


async def test_the_first_of_many_does_not_wait_for_all_of_them() -> None:
    log: list[bytes] = []
    outbox, socket = Outbox(), Socket(log)
    for number in range(_MOST + 1):
        outbox.write(socket, b"%d" % number)
    assert log == [b"%d" % number for number in range(_MOST)]
    await asyncio.sleep(0)
    assert log[-1] == b"%d" % _MOST


async def test_what_is_written_to_a_connection_that_has_gone_is_nobodys() -> None:
    log: list[bytes] = []
    outbox, gone, there = Outbox(), Socket(log), Socket(log)
    outbox.write(gone, b"lost")
    outbox.write(there, b"kept")
    gone.closing = True
    outbox.flush()
    assert log == [b"kept"]


async def test_one_that_takes_nothing_costs_itself_alone() -> None:
    class Deaf(Socket):
        aborted = False

        def write(self, data: bytes | bytearray | memoryview) -> None:
            raise RuntimeError("Cannot call write() after write_eof()")

        def abort(self) -> None:
            self.aborted = True

    log: list[bytes] = []
    outbox, deaf, there = Outbox(), Deaf(log), Socket(log)
    outbox.write(deaf, b"lost")
    outbox.write(there, b"kept")
    outbox.flush()
    assert (log, deaf.aborted) == ([b"kept"], True)
