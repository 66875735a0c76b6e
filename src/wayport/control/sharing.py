"""Builds what shares out limits and budgets on this node, and keeps it going: spend at the start, dead workers, the shared store."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec
from sqlalchemy import func, select

from wayport.config.settings import Settings
from wayport.control.hearsay import Hearsay
from wayport.control.leases import Lessor
from wayport.control.protocol import Hello
from wayport.control.rumours import Rumours
from wayport.core.clock import Clock
from wayport.core.errors import Unavailable
from wayport.core.tasks import Tasks
from wayport.ledger.drain import Drain
from wayport.ledger.segment import is_alive, list_spool
from wayport.ledger.windows import Windows
from wayport.routing.news import News
from wayport.storage.database import Database
from wayport.storage.shared import SharedCounters, open_shared

if TYPE_CHECKING:
    from wayport.storage.bus import Bus
    from wayport.storage.bus import News as Change
    from wayport.storage.channel import Channel

log = logging.getLogger("wayport.control")

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(News).decode
_LOOK_S = 0.02
_REGISTER_S = 10.0
_RETRY_S = 1.0


class Workers(Protocol):
    """The workers of this node, as far as they must be told something."""

    @property
    def workers(self) -> list[Hello]: ...
    def invalidate(self, hashes: Sequence[str] | None) -> None: ...
    def invalidate_holders(self, holders: Sequence[str]) -> None: ...
    def recall(self, writer: str, counter: str, /, *, next_one: bool = False) -> bool: ...
    @property
    def rumours(self) -> Rumours: ...
    def pass_news_to(self, others: Callable[[News], None]) -> None: ...
    def tell_news(self, news: News) -> None: ...


class Sharing:
    """`drained` goes to the drain, before it runs."""

    def __init__(
        self,
        settings: Settings,
        *,
        database: Database,
        node: str,
        clock: Clock,
        tasks: Tasks,
        server: Workers,
        on_models: Callable[[], object] = lambda: None,
        on_callbacks: Callable[[], object] = lambda: None,
        on_everything: Callable[[], object] = lambda: None,
    ) -> None:
        self._spool = Path(settings.storage.data_dir) / "spool"
        self._database = database
        self._clock = clock
        self._tasks = tasks
        self._began_s = clock.steady_s()
        self._merged = False
        self._caught_up = asyncio.Event()
        self._registered = asyncio.Event()
        self._workers_known = asyncio.Event()
        self.windows = Windows(database, node=node, clock=clock)
        redis_url = settings.storage.redis_url
        self.shared: SharedCounters | None = open_shared(
            redis_url.reveal() if redis_url is not None else None, database, node=node, clock=clock
        )
        self.lessor = Lessor(
            clock=clock,
            spent=self.windows,
            shared=self.shared,
            node=node,
            recall=server.recall,
            ready=self._ready,
            registered=self._workers_known,
            ask_others=self._ask_others,
        )
        self._bus: Bus | None = None
        self._server = server
        self._on_models = on_models
        self._on_callbacks = on_callbacks
        self._on_everything = on_everything
        if database.kind == "postgresql":
            from wayport.storage import bus  # noqa: PLC0415 (asyncpg, which SQLite does not need)

            self._bus = bus.Bus(database.address, node=node, hear=self._hear, otherwise=self._notify)

        self._channel: Channel | None = None
        if redis_url is not None and redis_url.reveal():
            from wayport.storage import channel  # noqa: PLC0415 (heavy, and rarely used)

            self._channel = channel.Channel(
                redis_url.reveal(),
                database,
                name="routing",
                node=node,
                hear=self._hear_news,
                known=lambda: _encode(server.rumours.known()),
            )
            say = self._channel.say
            server.pass_news_to(lambda news: say(_encode(news)))
        self._hearsay: Hearsay | None = None
        if self._channel is None and self._bus is not None:
            self._hearsay = Hearsay(
                clock=clock,
                say=self._bus.whisper,
                hear=server.tell_news,
                known=server.rumours.known,
                others=lambda: self.shared is not None and bool(self.shared.others),
            )
            server.pass_news_to(self._hearsay.tell)

    # ------------------------------------------------------------------------------------------------ other nodes
    def invalidate(self, hashes: Sequence[str] | None) -> None:
        """These keys have changed (None: any may have), here and on every other node."""
        self._server.invalidate(hashes)
        if hashes is None:
            self._on_everything()
        if self._bus is not None:
            self._tasks.start(self._say(self._bus.say(keys=hashes)), name="news")

    def invalidate_holders(self, holders: Sequence[str]) -> None:
        """The limits of these end users and tags have changed, here and on every other node."""
        self._server.invalidate_holders(holders)
        if self._bus is not None:
            self._tasks.start(self._say(self._bus.say(holders=holders)), name="news")

    def tell_models(self) -> None:
        """Models of the database have changed: every other node reads them again (`on_models`)."""
        if self._bus is not None:
            self._tasks.start(self._say(self._bus.say(models=True)), name="news")

    def tell_callbacks(self) -> None:
        """Callbacks of teams have changed: every other node reads them again (`on_callbacks`)."""
        if self._bus is not None:
            self._tasks.start(self._say(self._bus.say(callbacks=True)), name="news")

    async def _notify(self, payload: str) -> None:
        from wayport.storage.bus import CHANNEL  # noqa: PLC0415 (as above)

        async with self._database.write() as connection:
            await connection.execute(select(func.pg_notify(CHANNEL, payload)))

    def _ask_others(self, wanted: str, held: int | None) -> None:
        if self._bus is not None:
            self._tasks.start(self._say(self._bus.say(wanted=wanted, held=held)), name="news")

    async def _say(self, saying: Coroutine[None, None, None]) -> None:
        # Where it cannot be told, the others learn of it when they ask again, or when they are connected again.
        with suppress(Unavailable):
            await saying

    def _hear(self, news: "Change") -> None:
        if self._hearsay is not None:
            if not news.node:
                self._hearsay.connected()
            if news.routing:
                self._hearsay.heard(news.routing)
        if news.everything:
            self._server.invalidate(None)
            self._on_everything()
        if news.keys:
            self._server.invalidate(news.keys)
        if news.holders:
            self._server.invalidate_holders(news.holders)
        if news.models or news.everything:
            self._on_models()
        if news.callbacks or news.everything:
            self._on_callbacks()
        if news.wanted:
            self._tasks.start(self._say(self.lessor.give_up(news.wanted, held=news.held)), name="give up")

    def _hear_news(self, message: bytes) -> None:
        try:
            news = _decode(message)
        except msgspec.DecodeError:
            log.warning("what another node said of deployments was not understood")
        else:
            self._server.tell_news(news)

    # -------------------------------------------------------------------------------------------------- at the start

    def drained(self, writer: str) -> None:
        """A dead worker's spool is in the database."""
        self._tasks.start(self._settle(writer), name="settle")

    async def run(self, drain: Drain) -> None:
        """Ends by cancellation."""
        self._tasks.start(self.lessor.run(), name="leases")
        if self._bus is not None:
            self._tasks.start(self._bus.run(), name="bus")
        if self._hearsay is not None:
            self._tasks.start(self._hearsay.run(), name="hearsay")
        if self._channel is not None:
            self._tasks.start(self._channel.run(), name="channel")
        if self.shared is not None:
            self._tasks.start(self.shared.run(self.lessor.restate), name="shared counters")
        self._tasks.start(self._meet_workers(), name="workers")
        await drain.caught_up.wait()
        while not self._merged:
            with suppress(Unavailable):
                await self.windows.merge(self._living())
                self._merged = True
                break
            await asyncio.sleep(_RETRY_S)
        self._caught_up.set()
        await self._all_registered()
        self._registered.set()
        if self.shared is not None:
            await self._give_up_old_leases(self.shared)

    async def _ready(self) -> None:
        await self._caught_up.wait()
        await self._registered.wait()

    def _living(self) -> set[str]:
        """Writers that hold the lock of their spool."""
        found: set[str] = set()
        with suppress(FileNotFoundError):
            for folder in self._spool.iterdir():
                if folder.is_dir():
                    found |= {writer for writer in list_spool(folder).writers if is_alive(folder, writer)}
        return found

    async def _all_registered(self) -> None:
        """Whoever lives holds leases that we may know nothing of: they say so when they connect."""
        until_s = self._began_s + _REGISTER_S
        while not self._living() <= {worker.writer for worker in self._server.workers}:
            if self._clock.steady_s() >= until_s:
                log.warning("a worker that lives has not connected; what it holds counts as unspent")
                return
            await asyncio.sleep(_LOOK_S)

    async def _meet_workers(self) -> None:
        await self._all_registered()
        # What they hold they say right after their names.
        await asyncio.sleep(_LOOK_S)
        self._workers_known.set()

    async def _settle(self, writer: str) -> None:
        while True:
            try:
                await self.lessor.drained(writer)
            except Unavailable:
                await asyncio.sleep(_RETRY_S)
            else:
                return

    async def _give_up_old_leases(self, shared: SharedCounters) -> None:
        """What we held when we last ended is known now: what we spent, and no more."""
        while True:
            try:
                for counter, window in await shared.held():
                    own, _ = await self.windows.load(counter, window)
                    await self.lessor.take_over(counter, window, own)
            except Unavailable:
                await asyncio.sleep(_RETRY_S)
            else:
                return
