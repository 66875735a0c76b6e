"""Everybody who is told of calls, composed: log, metrics, live tail, alerts and callbacks, all readers of the spool.

What must stay true: nothing here is on the way of a call, and a mistake in one of them costs none of the others.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wayport.access.callbacks_store import TeamCallbackStore
from wayport.config.settings import Settings
from wayport.control import gauges
from wayport.control.facts import Place
from wayport.control.holdings import Holdings, Names
from wayport.control.team_callbacks import TeamDeliveries
from wayport.core.clock import Clock
from wayport.core.errors import Unavailable
from wayport.core.tasks import Tasks
from wayport.ledger.drain import Drain
from wayport.ledger.follower import Follower, clear_away
from wayport.ledger.reports import Name, Reports, Wanted
from wayport.observe.alerts import Alerts, Hours
from wayport.observe.call_log import CallLog
from wayport.observe.callbacks.base import CallbackState, Delivery
from wayport.observe.callbacks.registry import SWITCHES, Off, Wish, make
from wayport.observe.metrics import Gauge, Metrics, Rules
from wayport.observe.tail import Tail
from wayport.observe.vitals import Vitals
from wayport.storage.counters import Entry
from wayport.storage.database import Database

if TYPE_CHECKING:
    from wayport.observe.notify import Notifier

log = logging.getLogger("wayport.observe")

LOOK_S = 0.1
_BATCH = 250
"""a record takes 10 KB while it is looked at"""
_KEEP_S = 1.0
_ALERTS_S = 30.0
_LOOK_AT_WORKERS_S = 2.0
_HOURS_S = 300.0
_WEEK_QUARTERS = 7 * 96
_LAST_LINES_S = 3.0


class Observing:
    """Built by process.py; `run` until cancelled."""

    def __init__(
        self,
        settings: Settings,
        *,
        data_dir: Path,
        database: Database,
        team_callbacks: TeamCallbackStore,
        drain: Drain,
        clock: Clock,
        tasks: Tasks,
        deployments: Callable[[], Iterable[Place]] = tuple,
        vitals: Callable[[], Sequence[Vitals]] = tuple,
        limits: Callable[[], Iterable[Entry]] = tuple,
        shared_up: Callable[[], bool | None] = lambda: None,
        shared_limits: Callable[[], Mapping[str, Mapping[str, Any]]] = dict,
    ) -> None:
        """`deployments`: id, provider and upstream model of those that are configured."""
        self._root = data_dir / "spool"
        self._states = data_dir / "followers"
        self.vitals = vitals
        self._database = database
        self._drain = drain
        self._clock = clock
        self._tasks = tasks
        self._deployments = deployments
        self._limits = limits
        self._shared_up = shared_up
        self._names = Names()
        self._end_users = settings.metrics.end_user
        given = settings.metrics
        self.require_key = given.require_key
        self.metrics = Metrics(
            Rules(
                max_series=given.max_series,
                end_user=given.end_user,
                client_ip=given.client_ip,
                user_agent=given.user_agent,
            )
        )
        self.tail = Tail()
        self.alerts = Alerts(settings.alerts, clock=clock)
        self.call_log = CallLog(style="json" if settings.logging.json else "console")
        self._notifier = _notifier(settings, clock)
        self._live = Follower(self._root, self._states / "live.json", clock=clock)
        self._followers = [self._live]
        self._deliveries: list[Delivery] = []
        self._off: list[CallbackState] = []
        self._reports = Reports(database)
        self._holdings = Holdings(database, clock=clock, calendar=settings.compat == "litellm", shared=shared_limits)
        self.teams = TeamDeliveries(
            team_callbacks,
            root=self._root,
            states=self._states,
            live=self._live,
            variable=settings.variable,
            clock=clock,
            tasks=tasks,
        )
        self._make_callbacks(settings)

    # ---------------------------------------------------------------------------------------------------- callbacks
    def _make_callbacks(self, settings: Settings) -> None:
        folder = Path(settings.file).parent if settings.file else None
        for wanted in settings.callbacks:
            if wanted.name in SWITCHES:
                continue
            wish = Wish(
                name=wanted.name,
                params=wanted.params,
                variable=settings.variable,
                clock=self._clock,
                folder=folder,
            )
            try:
                callback = make(wish)
            except Off as off:
                log.warning("a callback is off", extra={"callback": wanted.name, "reason": str(off)})
                self._off.append(CallbackState(name=wanted.name, status="off", error=str(off)))
                continue
            safe = "".join(letter if letter.isalnum() else "_" for letter in wanted.name)
            follower = Follower(self._root, self._states / f"callback-{safe}.json", clock=self._clock)
            self._followers.append(follower)
            self._deliveries.append(
                Delivery(callback, follower, on=wanted.on, clock=self._clock, silent=self.teams.is_silent)
            )

    @property
    def callbacks(self) -> list[CallbackState]:
        """Those of the configuration, then those of teams."""
        return [*(delivery.state for delivery in self._deliveries), *self._off, *self.teams.states()]

    async def _deliver(self, delivery: Delivery) -> None:
        # Before, a call might be told of that nobody is to be told of.
        await self.teams.loaded.wait()
        await delivery.run()

    # -------------------------------------------------------------------------------------------------------- running
    async def run(self) -> None:
        """Until cancelled. What was read last is remembered."""
        running = [self._tasks.start(self._deliver(each), name=each.callback.name) for each in self._deliveries]
        running.append(self._tasks.start(self.teams.run(), name="callbacks of teams"))
        running.append(self._tasks.start(self._watch(), name="alerts"))
        running.append(self._tasks.start(self.call_log.run(), name="call log"))
        try:
            await self._follow()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            await self._last_lines()
            self._tidy()
            await self.teams.stop()
            for delivery in self._deliveries:
                await delivery.close()
            if self._notifier is not None:
                await self._notifier.close()

    async def _last_lines(self) -> None:
        try:
            async with asyncio.timeout(_LAST_LINES_S):
                while self.look() >= _BATCH:
                    await self.call_log.flush()
                await self.call_log.flush()
        except TimeoutError:
            log.warning("the last log lines are lost: nobody takes the output")

    async def _follow(self) -> None:
        kept_s = self._clock.steady_s()
        while True:
            seen = 0
            try:
                await self.call_log.room()
                seen = self.look()
                now_s = self._clock.steady_s()
                if now_s >= kept_s + _KEEP_S:
                    kept_s = now_s
                    self._tidy()
            except Exception:  # border: one look. The next one may find the files well again.
                log.exception("calls could not be followed")
                await asyncio.sleep(_KEEP_S)
            await asyncio.sleep(0 if seen >= _BATCH else LOOK_S)

    def _tidy(self) -> None:
        self._live.acknowledge()
        # Before, nobody knows which teams' callbacks still need what is there.
        if self.teams.loaded.is_set():
            clear_away(self._root, [*self._followers, *self.teams.followers()])

    def look(self) -> int:
        """Tells log, metrics, tail and alerts of the calls that have ended since; returns how many."""
        records = self._live.read(_BATCH)
        for record in records:
            self.teams.look_at(record)
            for sink in (self.call_log, self.metrics, self.tail, self.alerts):
                try:
                    sink.add(record)
                except Exception:  # border: one reader. The others are told all the same.
                    log.exception("a call could not be observed", extra={"call_id": record.call_id})
        return len(records)

    # --------------------------------------------------------------------------------------------------------- alerts
    async def _watch(self) -> None:
        """Looks at the workers often, at what the database knows now and then."""
        stored_s = self._clock.steady_s() - _ALERTS_S
        hours_s = float("-inf")
        while True:
            await asyncio.sleep(_LOOK_AT_WORKERS_S)
            now_s = self._clock.steady_s()
            try:
                self.alerts.look_at_workers(self.vitals())
                self.alerts.look_at_journal(self._drain.backlog_bytes(), self._drain.state.error)
                if now_s >= stored_s + _ALERTS_S:
                    stored_s = now_s
                    hours = now_s >= hours_s + _HOURS_S
                    await self.look_around(hours=hours)
                    hours_s = now_s if hours else hours_s
            except Unavailable:
                pass
            except Exception:  # border: one background job
                log.exception("alerts could not be looked for")
            for alert in self.alerts.take():
                log.warning(alert.message, extra={"alert": alert.kind, "subject": alert.subject})
                if self._notifier is not None:
                    self._tasks.start(self._notifier.send(alert), name="alert")

    async def look_around(self, *, hours: bool) -> None:
        """Raises `Unavailable` when the database is away."""
        self.alerts.look_at_rates()
        await self._name()
        self.alerts.look_at_budgets(await self._holdings.all())
        if hours:
            for name in ("key_hash", "model", "provider"):
                self.alerts.look_at_hours(await self._hours(name))

    async def _name(self) -> None:
        self._names = await self._holdings.names()
        self.metrics.name(teams=self._names.teams, emails=self._names.emails)

    async def _hours(self, name: Name) -> list[Hours]:
        """The last four quarter-hours beside the hours of the week before them."""
        until = int(self._clock.now_s() // 900) + 1
        rows = await self._reports.by_quarters(
            Wanted(), [name], since_quarter=until - _WEEK_QUARTERS, until_quarter=until, per=1
        )
        now: dict[str, dict[str, int]] = {}
        before: dict[str, dict[int, dict[str, int]]] = {}
        for quarter, (subject,), sums in rows:
            if not subject:
                continue
            age = (until - 1 - quarter) // 4
            into = now.setdefault(subject, {}) if age == 0 else before.setdefault(subject, {}).setdefault(age, {})
            for measure in ("spend_nano_usd", "calls", "failures"):
                into[measure] = into.get(measure, 0) + sums[measure]
        label = {"key_hash": "key", "model": "model", "provider": "provider"}[name]
        return [
            Hours(subject=f"{label}:{subject}", now=sums, before=list(before.get(subject, {}).values()))
            for subject, sums in now.items()
        ]

    # ---------------------------------------------------------------------------------------------------------- gauges
    def gauges(self) -> Iterator[Gauge]:
        """What is true at this moment."""
        yield from gauges.of_workers(self.vitals(), list(self._deployments()))
        yield from gauges.of_journal(self._drain.state, self._drain.backlog_bytes())
        yield Gauge(
            "wayport_log_lines_dropped_total",
            "Log lines dropped because nobody read them.",
            {},
            self.call_log.dropped,
            kind="counter",
        )
        connected = self._database.state.status == "connected"
        yield Gauge("wayport_database_up", "Whether the database is connected.", {}, 1 if connected else 0)
        shared = self._shared_up()
        if shared is not None:
            yield Gauge("wayport_shared_limits_up", "Whether limits are shared with other nodes.", {}, int(shared))
        yield Gauge("wayport_tail_watchers", "Who watches the live tail.", {}, self.tail.watchers)
        yield from gauges.of_callbacks(self.callbacks)

    async def stored_gauges(self) -> list[Gauge]:
        """Of users, teams and budgets, nothing of these while the database is away; and of limits."""
        found: list[Gauge] = []
        with suppress(Unavailable):
            held, counts = await self._holdings.all(), await self._holdings.counts()
            await self._name()
            found += gauges.of_counts(counts, self._names)
            found += gauges.of_budgets(held, now_s=self._clock.now_s(), end_users=self._end_users)
        found += gauges.of_rates(self._limits(), names=self._names, now_s=self._clock.steady_s())
        return found


def _notifier(settings: Settings, clock: Clock) -> "Notifier | None":
    """None: nobody is to be told."""
    if not settings.alerts.targets:
        return None
    from wayport.observe.notify import Notifier  # noqa: PLC0415 (an HTTP client takes 6 MB: only for those who need one)

    return Notifier(settings.alerts, variable=settings.variable, clock=clock)
