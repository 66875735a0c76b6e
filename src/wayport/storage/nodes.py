"""Which nodes share this database, as each of them says."""

from contextlib import suppress

from sqlalchemy import select

from wayport.core.clock import Clock
from wayport.core.errors import Unavailable
from wayport.storage.database import Database
from wayport.storage.tables import nodes

_SAY_EVERY_S = 5.0
_LIVES_S = 30.0


class Nodes:
    def __init__(self, database: Database, *, node: str, clock: Clock) -> None:
        self._database = database
        self._node = node
        self._clock = clock
        self._said_s = 0.0
        self.others: list[str] = []
        """nodes that have lately said that they live, as far as is known"""

    def forget(self) -> None:
        """The next `say` says it, however soon."""
        self._said_s = 0.0

    async def say(self) -> None:
        """That we live; and looks who else does. While the database is away, what was known stays."""
        now_s = self._clock.now_s()
        if now_s < self._said_s + _SAY_EVERY_S:
            return
        insert = self._database.insert(nodes)
        with suppress(Unavailable):
            async with self._database.write() as connection:
                await connection.execute(
                    insert.on_conflict_do_update(
                        index_elements=[nodes.c.node], set_={"seen_s": insert.excluded.seen_s}
                    ),
                    {"node": self._node, "seen_s": now_s},
                )
                living = await connection.scalars(
                    select(nodes.c.node).where(nodes.c.seen_s > now_s - _LIVES_S, nodes.c.node != self._node)
                )
                self.others = sorted(living)
            self._said_s = now_s
