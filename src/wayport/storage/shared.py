"""The ledger of leases that several nodes share: Redis if there is one, else PostgreSQL. With SQLite there is one node."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from wayport.core.clock import Clock
from wayport.storage.counters import Shared
from wayport.storage.database import Database

Restate = Callable[[], Awaitable[None]]
"""tells the store again all that this node holds"""


class SharedCounters(Shared, Protocol):
    @property
    def others(self) -> list[str]:
        """Nodes that live, as far as is known."""
        ...

    async def run(self, restate: Restate) -> None:
        """Says that this node lives, and registers what it holds whenever the store has forgotten. Never ends."""
        ...

    async def held(self) -> list[tuple[str, int]]:
        """Budgets, with their windows, of which the store believes that this node holds something. Raises `Unavailable`."""
        ...


def open_shared(redis_url: str | None, database: Database, *, node: str, clock: Clock) -> SharedCounters | None:
    if redis_url:
        from wayport.storage.redis_counters import RedisCounters  # noqa: PLC0415 (heavy, and rarely used)

        return RedisCounters(redis_url, database, node=node, clock=clock)
    if database.kind == "postgresql":
        from wayport.storage.postgres_counters import PostgresCounters  # noqa: PLC0415 (as above)

        return PostgresCounters(database, node=node, clock=clock)
    return None
