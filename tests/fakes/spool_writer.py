"""A worker process that only journals: `python -m tests.fakes.spool_writer DIRECTORY COUNT SEGMENT_BYTES [OPEN]`.

It prints the id of each call after its record is appended, so whoever kills it knows what must not be lost. With OPEN each
call is opened first, and the last one left open: `lines` writes the opening records into the spool, `slots` keeps them
among the calls under way.
"""

import sys
from pathlib import Path

import msgspec
from tests.fakes.records import call_record

from wayport.core.clock import SystemClock
from wayport.core.ids import uuid7
from wayport.ledger.journal import Spool


def main(directory: str, count: int, segment_bytes: int, *, opening: str) -> None:
    spool = Spool(Path(directory), clock=SystemClock(), sync="os", segment_bytes=segment_bytes)
    for number in range(count):
        record = call_record(call_id=uuid7(), key_hash=f"{number % 3:064d}", cost_nano_usd=1000 + number)
        slot = 0
        if opening:
            record.opened = True
            record.reserved_nano_usd = 5000
            if opening == "slots":
                assert spool.opens is not None
                slot = spool.opens.open(msgspec.msgpack.encode(record))
                assert slot
            else:
                spool.append(record)
            if number == count - 1:
                break
            record.opened = False
        spool.append(record)
        if slot and spool.opens is not None:
            spool.opens.close(slot)
        sys.stdout.write(f"{record.call_id} {number}\n")
        sys.stdout.flush()
    sys.stdout.write("done\n")
    sys.stdout.flush()
    # Waits to be killed: what it wrote is read as long as it lives, and after.
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), opening=sys.argv[4] if len(sys.argv) > 4 else "")
