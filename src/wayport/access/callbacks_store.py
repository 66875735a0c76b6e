"""Who is told of one team's calls. What callbacks are given (keys, addresses) is sealed under the salt key."""

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec
from msgspec import Struct
from sqlalchemy import select

from wayport.access.rows import Managed, Patch, Rows
from wayport.core.clock import Clock
from wayport.storage.cipher import Cipher
from wayport.storage.database import Database
from wayport.storage.tables import team_callbacks, teams

Told = Literal["success", "failure", "success_and_failure"]


class TeamCallback(Struct, kw_only=True, frozen=True):
    """In LiteLLM's words. A team has at most one of a name."""

    callback_name: str
    callback_type: Told = "success_and_failure"
    callback_vars: dict[str, str] = {}

    @property
    def outcomes(self) -> tuple[Literal["success", "failure"], ...]:
        return ("success", "failure") if self.callback_type == "success_and_failure" else (self.callback_type,)


class TeamCallbacks(Struct, kw_only=True, frozen=True):
    callbacks: tuple[TeamCallback, ...] = ()
    silent: bool = False
    """nobody is told of the team's calls, those who are told of all included"""


class StoredTeamCallbacks(Managed, kw_only=True, frozen=True):
    """`id` is the team's; `blocked`: silent."""

    sealed: bytes


Change = Callable[[TeamCallbacks], TeamCallbacks]

_decode = msgspec.json.Decoder(tuple[TeamCallback, ...]).decode


class TeamCallbackStore(Rows[StoredTeamCallbacks]):
    def __init__(self, database: Database, cipher: Cipher, *, clock: Clock) -> None:
        super().__init__(database, team_callbacks, StoredTeamCallbacks, clock=clock)
        self._cipher = cipher

    def opened(self, row: StoredTeamCallbacks) -> TeamCallbacks:
        """Raises `NotReadable`."""
        return TeamCallbacks(callbacks=_decode(self._cipher.open(row.sealed, context_of(row.id))), silent=row.blocked)

    async def of_team(self, team_id: str) -> TeamCallbacks:
        """Raises `NotReadable`."""
        row = await self.find(team_id)
        return TeamCallbacks() if row is None else self.opened(row)

    async def alter(self, team_id: str, change: Change, *, by: str | None) -> tuple[TeamCallbacks, TeamCallbacks]:
        """As they were and are; whoever changes them at the same moment waits. Raises what `change` does, `NotReadable`."""
        async with self.database.write() as connection:
            # There may be no row of ours to lock.
            await connection.execute(select(teams.c.id).where(teams.c.id == team_id).with_for_update())
            row = await self._locked(connection, team_id)
            before = TeamCallbacks() if row is None else self.opened(row)
            after = change(before)
            patch = Patch(columns={"sealed": self._sealed(team_id, after.callbacks), "blocked": after.silent})
            if row is None:
                await self.add_in(connection, team_id, patch, by=by)
            elif after == TeamCallbacks():
                await connection.execute(self.table.delete().where(self.table.c.id == team_id))
            else:
                values = {**patch.columns, "updated_s": self.clock.now_s(), "updated_by": by}
                await connection.execute(self.table.update().where(self.table.c.id == team_id).values(values))
        return before, after

    def _sealed(self, team_id: str, callbacks: Sequence[TeamCallback]) -> bytes:
        return self._cipher.seal(msgspec.json.encode(callbacks), context_of(team_id))


def context_of(team_id: str) -> str:
    """Where what is sealed stands; see storage/cipher.py."""
    return f"callbacks of team:{team_id}"
