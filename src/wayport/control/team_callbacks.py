"""Who is told of one team's calls, and which teams' calls nobody is told of.

What must stay true: no team's calls reach another team's receiver; a receiver that is dead or slow costs nobody else
anything; teams without callbacks of their own cost a look-up per call. A delivery reads the spool at its own pace, as those
of the configuration do, but only while there is something for its team: the reader of all calls says so.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from wayport.access.callbacks_store import TeamCallback, TeamCallbackStore
from wayport.core.clock import Clock
from wayport.core.errors import Unavailable
from wayport.core.record import CallRecord
from wayport.core.tasks import Tasks
from wayport.ledger.follower import Follower
from wayport.observe.callbacks.base import Callback, CallbackState, Delivery, Refused
from wayport.observe.callbacks.registry import TEAM_KINDS, Off, make_for_team
from wayport.storage.cipher import NotReadable

log = logging.getLogger("wayport.callbacks")

MOST = 256
"""callbacks of all teams together; a node keeps no more of them"""
_BATCH = 50
_REST_S = 60.0
"""so long after its last call a delivery lets go of its connections"""
_RETRY_S = 1.0
_STATE = "team-"

Name = tuple[str, str]
"""team and callback"""


class _Made:
    """Makes the callback when there is something to deliver, and again after `close`."""

    def __init__(self, name: str, maker: Callable[[], Callback]) -> None:
        self.name = name
        self._maker = maker
        self._callback: Callback | None = None

    async def deliver(self, records: Sequence[CallRecord]) -> None:
        if self._callback is None:
            try:
                self._callback = self._maker()
            except Off as off:
                raise Refused(str(off)) from off
        await self._callback.deliver(records)

    async def close(self) -> None:
        callback, self._callback = self._callback, None
        if callback is not None:
            await callback.close()


class _Own:
    """One callback of one team, with its place in the spool."""

    def __init__(self, wanted: TeamCallback, delivery: Delivery, follower: Follower, tasks: Tasks) -> None:
        self.wanted = wanted
        self.delivery = delivery
        self.follower = follower
        self._tasks = tasks
        self._task: asyncio.Task[None] | None = None
        self._something = asyncio.Event()
        self.idle = True
        """it has nothing to deliver that the reader of all calls has seen"""

    def wake(self) -> None:
        self.idle = False
        self._something.set()
        if self._task is None or self._task.done():
            self._task = self._tasks.start(self._run(), name=f"team's {self.delivery.callback.name}")

    def cancel(self) -> None:
        """It delivers nothing more; `stop` closes it."""
        if self._task is not None:
            self._task.cancel()

    async def stop(self) -> None:
        self.cancel()
        task, self._task = self._task, None
        if task is not None:
            await asyncio.gather(task, return_exceptions=True)
        await self.delivery.close()

    async def _run(self) -> None:
        while True:
            self._something.clear()
            more = True
            while more:
                more = bool(await self.delivery.step()) or self.follower.more
                await asyncio.sleep(0)
            if self._something.is_set():
                continue
            self.idle = True
            try:
                async with asyncio.timeout(_REST_S):
                    await self._something.wait()
            except TimeoutError:
                break
        # Before it closes: whoever wakes it meanwhile begins anew.
        self._task = None
        await self.delivery.close()


class TeamDeliveries:
    """`load` reads what the database says; until the first one nobody may be told of anything."""

    def __init__(
        self,
        store: TeamCallbackStore,
        *,
        root: Path,
        states: Path,
        live: Follower,
        variable: Callable[[str], str],
        clock: Clock,
        tasks: Tasks,
    ) -> None:
        """`live`: the reader of all calls."""
        self._store = store
        self._root = root
        self._states = states
        self._live = live
        self._variable = variable
        self._clock = clock
        self._tasks = tasks
        self._loading = asyncio.Lock()
        self._owns: dict[Name, _Own] = {}
        self._of_team: dict[str, list[_Own]] = {}
        self._silent: frozenset[str] = frozenset()
        self._off: list[CallbackState] = []
        self.loaded = asyncio.Event()

    # ----------------------------------------------------------------------------------------------------- the calls
    def is_silent(self, record: CallRecord) -> bool:
        return record.team_id in self._silent

    def look_at(self, record: CallRecord) -> None:
        """A call of any team, as the reader of all calls comes by."""
        for own in self._of_team.get(record.team_id or "", ()):
            own.wake()

    def followers(self) -> list[Follower]:
        """Those who still need segments. Who is idle needs nothing that has been read."""
        for own in self._owns.values():
            if own.idle:
                own.follower.pass_over(self._live)
        return [own.follower for own in self._owns.values()]

    def states(self, team_id: str | None = None) -> list[CallbackState]:
        """Of one team's callbacks, or of all."""
        found = [*(own.delivery.state for own in self._owns.values()), *self._off]
        return found if team_id is None else [state for state in found if state.team_id == team_id]

    @property
    def full(self) -> bool:
        return len(self._owns) >= MOST

    # ------------------------------------------------------------------------------------------------------- settings
    async def run(self) -> None:
        """Until everything is loaded for the first time."""
        while not self.loaded.is_set():
            try:
                await self.load()
            except Unavailable:
                pass
            except Exception:  # border: one background job. Everybody's callbacks wait for it, so it is tried again.
                log.exception("callbacks of teams could not be loaded")
            else:
                return
            await asyncio.sleep(_RETRY_S)

    async def load(self) -> None:
        """What has changed takes effect; what has not goes on. Raises `Unavailable`."""
        async with self._loading:
            rows, _ = await self._store.page()
            wanted: dict[Name, TeamCallback] = {}
            off: list[CallbackState] = []
            for row in reversed(rows):
                try:
                    callbacks = self._store.opened(row).callbacks
                except NotReadable as error:
                    log.warning("a team's callbacks cannot be read", extra={"team_id": row.id, "error": str(error)})
                    off.append(CallbackState(name="?", team_id=row.id, status="off", error=str(error)))
                    continue
                for each in callbacks:
                    if each.callback_name not in TEAM_KINDS or len(wanted) >= MOST:
                        error_text = "there is no such callback" if len(wanted) < MOST else "there are too many"
                        off.append(
                            CallbackState(name=each.callback_name, team_id=row.id, status="off", error=error_text)
                        )
                    else:
                        wanted[row.id, each.callback_name] = each
            self._silent = frozenset(row.id for row in rows if row.blocked)
            self._off = off
            await self._take(wanted)
            self.loaded.set()

    async def _take(self, wanted: Mapping[Name, TeamCallback]) -> None:
        gone = [own for name, own in self._owns.items() if wanted.get(name) != own.wanted]
        kept = {name: own for name, own in self._owns.items() if own not in gone}
        for own in gone:
            own.cancel()
        # In one go: no call may come by, and no segment go, while it is not known who waits for it.
        self._owns = {name: kept.get(name) or self._own(name, callback) for name, callback in wanted.items()}
        self._of_team = {}
        for (team_id, _), own in self._owns.items():
            self._of_team.setdefault(team_id, []).append(own)
        here = {self._state(name).name for name in wanted}
        for path in self._states.glob(f"{_STATE}*.json"):
            if path.name not in here:
                with suppress(OSError):
                    path.unlink(missing_ok=True)
        await asyncio.gather(*(own.stop() for own in gone))

    def _own(self, name: Name, wanted: TeamCallback) -> _Own:
        team_id = name[0]
        follower = Follower(self._root, self._state(name), clock=self._clock, team_id=team_id)
        callback = _Made(
            wanted.callback_name,
            lambda: make_for_team(
                wanted.callback_name, wanted.callback_vars, variable=self._variable, clock=self._clock
            ),
        )
        delivery = Delivery(callback, follower, on=wanted.outcomes, clock=self._clock, team_id=team_id, batch=_BATCH)
        own = _Own(wanted, delivery, follower, self._tasks)
        if follower.new:
            # It is told of what ends from now on, and a restart must find where that began.
            follower.pass_over(self._live)
            follower.acknowledge()
        else:
            own.wake()
        return own

    def _state(self, name: Name) -> Path:
        return self._states / f"{_STATE}{hashlib.sha256(repr(name).encode()).hexdigest()[:32]}.json"

    async def stop(self) -> None:
        await asyncio.gather(*(own.stop() for own in self._owns.values()))
