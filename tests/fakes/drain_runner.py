"""A control process that only drains: `python -m tests.fakes.drain_runner SPOOLS DATA_DIRECTORY [DATABASE_URL]`.

It prints a line after each batch, so whoever kills it knows that it was in the middle of its work.
"""

import asyncio
import sys
from pathlib import Path

from wayport.core.clock import SystemClock
from wayport.core.tasks import Tasks
from wayport.ledger.drain import Drain
from wayport.storage.address import read_address
from wayport.storage.database import Database


async def main(spools: str, data_dir: str, url: str | None) -> None:
    clock = SystemClock()
    database = Database(read_address(url, Path(data_dir)), clock=clock)
    async with Tasks() as tasks:
        tasks.start(database.run(), name="database")
        # Small batches: a kill finds it between any two of them.
        drain = Drain(Path(spools), database, clock=clock, batch_records=7, interval_s=0.001)
        await database.connected()
        while True:
            if records := await drain.step():
                sys.stdout.write(f"{records}\n")
                sys.stdout.flush()
            else:
                await asyncio.sleep(0.001)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None))
