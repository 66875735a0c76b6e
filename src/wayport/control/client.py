"""A worker's side: asks the control process, and lives without it. Also the same without a socket, for one process."""

import asyncio
import logging
import os
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import assert_never

from wayport import __version__
from wayport.access.principal import AskedFor, Holder, Principal
from wayport.control.connection import Connection
from wayport.control.protocol import (
    Answer,
    AsksTold,
    ChainAsked,
    Claimed,
    ConversationChanged,
    DatabaseTold,
    Granted,
    Hello,
    HolderAnswered,
    HolderAsked,
    Invalidated,
    ItemsAsked,
    Message,
    PrincipalAnswered,
    PrincipalAsked,
    ProbeAnswered,
    ProbeAsked,
    ProbedTold,
    Recalled,
    RoutingTold,
    SnapshotPushed,
    ThoughtsAsked,
    ThoughtsFound,
    ThoughtsTold,
    TurnForgotten,
    TurnPut,
    TurnsAnswered,
    VitalsTold,
)
from wayport.control.server import Lookup
from wayport.control.sockets import short_name
from wayport.control.thoughts import RemoteThoughts
from wayport.control.turns import RemoteTurns
from wayport.core.errors import Unavailable
from wayport.core.lease import Claim, Grant
from wayport.core.probe import Probed
from wayport.core.tasks import Tasks
from wayport.observe.vitals import Vitals
from wayport.routing.news import News

log = logging.getLogger("wayport.control")

OnSnapshot = Callable[[bytes], None]
OnInvalidated = Callable[[Sequence[str] | None], None]
"""hashes of keys that have changed; None: any may have"""

_FIRST_WAIT_S = 0.02
_LONGEST_WAIT_S = 1.0


class DirectControl:
    """Control and worker in one process: calls where the socket would send."""

    def __init__(self, lookup: Lookup, *, on_snapshot: OnSnapshot, on_invalidated: OnInvalidated) -> None:
        self._lookup = lookup
        self.push_snapshot = on_snapshot
        self.invalidate = on_invalidated

    async def principal(self, key_hash: str) -> Principal | None:
        return await self._lookup(key_hash)


class SocketControl:
    """`run()` keeps the connection; questions wait for it a while and are then `Unavailable`."""

    def __init__(
        self,
        path: str,
        *,
        worker: int,
        on_snapshot: OnSnapshot,
        on_invalidated: OnInvalidated,
        on_database: Callable[[str], None] = lambda _: None,
        on_models: Callable[[], None] = lambda: None,
        on_asks: Callable[[tuple[AskedFor, ...]], None] = lambda _: None,
        on_holders: Callable[[Sequence[str]], None] = lambda _: None,
        on_recalled: Callable[[Recalled], None] = lambda _: None,
        on_news: Callable[[News], None] = lambda _: None,
        on_probe: Callable[[str, float], Awaitable[Probed]] | None = None,
        on_probed: Callable[[str, Probed | None], None] = lambda _, __: None,
        on_connected: Callable[[], None] = lambda: None,
        writer: str = "",
        timeout_s: float = 2.0,
        first_timeout_s: float = 10.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._path = path
        self._worker = worker
        self._on_snapshot = on_snapshot
        self._on_invalidated = on_invalidated
        self._on_database = on_database
        self._on_models = on_models
        self._on_asks = on_asks
        self._on_holders = on_holders
        self._on_recalled = on_recalled
        self._on_news = on_news
        self._on_probe = on_probe
        self._on_probed = on_probed
        self._tasks = Tasks()
        self._on_connected = on_connected
        self._writer = writer
        # The control process takes longer to start than to answer.
        self._timeout_s = first_timeout_s
        self._later_timeout_s = timeout_s
        self._sleep = sleep
        self._jitter = jitter
        self._connection: Connection | None = None
        self._connected = asyncio.Event()
        self._lost = asyncio.Event()
        self._connected_before = False
        self._last_id = 0
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self.turns = RemoteTurns(self._ask)
        self.thoughts = RemoteThoughts(self._ask_now, self._say)

    @property
    def connected(self) -> bool:
        return self._connected.is_set()

    async def run(self) -> None:
        """Connects, and again whenever the connection is lost. Ends only by cancellation."""
        wait_s = _FIRST_WAIT_S
        try:
            while True:
                try:
                    await self._connect()
                except OSError:
                    await self._sleep(wait_s * (0.5 + self._jitter() / 2))
                    wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
                    continue
                wait_s = _FIRST_WAIT_S
                await self._lost.wait()
                log.warning("the control process is away; what is known serves on")
        finally:
            await self._tasks.close()
            if self._connection is not None:
                await self._connection.end()

    async def principal(self, key_hash: str) -> Principal | None:
        answer = await self._ask(lambda number: PrincipalAsked(id=number, key_hash=key_hash))
        assert isinstance(answer, PrincipalAnswered)
        if answer.unavailable is not None:
            raise Unavailable(answer.unavailable, retry_after_s=1)
        return answer.principal

    async def holder(self, scope: AskedFor, holder_id: str) -> Holder | None:
        answer = await self._ask(lambda number: HolderAsked(id=number, scope=scope, holder_id=holder_id))
        assert isinstance(answer, HolderAnswered)
        if answer.unavailable is not None:
            raise Unavailable(answer.unavailable, retry_after_s=1)
        return answer.holder

    async def claim(self, claim: Claim) -> Grant:
        """Raises `Unavailable`."""
        answer = await self._ask(lambda number: Claimed(id=number, claim=claim))
        assert isinstance(answer, Granted)
        return answer.grant

    def state(self, claim: Claim) -> None:
        """Tells what we have of a limit. While nobody listens it is lost, and told when we are connected again."""
        self._say(Claimed(id=0, claim=claim))

    def _say(self, message: Message) -> None:
        if self._connection is not None:
            self._connection.send(message)

    async def _ask_now(self, question: Callable[[int], Message]) -> Answer:
        """An answer that is not worth waiting for where nobody listens. Raises `Unavailable`."""
        if not self.connected:
            raise Unavailable("The control process is away.")
        return await self._ask(question)

    def tell_vitals(self, vitals: Vitals) -> None:
        """While nobody listens it is lost, and told again."""
        self._say(VitalsTold(vitals=vitals))

    def tell_news(self, news: News) -> None:
        """To all other workers. While nobody listens it is lost."""
        if self._connection is not None:
            self._connection.send(RoutingTold(news=news))

    async def _ask(self, question: Callable[[int], Message]) -> Answer:
        """The answer to a question that `question` makes of its id. Raises `Unavailable`."""
        self._last_id += 1
        number = self._last_id
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._connected.wait()
                assert self._connection is not None
                answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
                self._waiting[number] = answer
                self._connection.send(question(number))
                return await answer
        except TimeoutError:
            raise Unavailable("The control process does not answer. Try again in a moment.", retry_after_s=1) from None
        finally:
            self._waiting.pop(number, None)

    async def _connect(self) -> None:
        self._lost.clear()
        loop = asyncio.get_running_loop()
        with short_name(self._path) as name:
            _, connection = await loop.create_unix_connection(lambda: Connection(self._hear, self._leave), name)
        connection.send(Hello(worker=self._worker, pid=os.getpid(), version=__version__, writer=self._writer))
        self._connection = connection
        # Before any claim of ours: what we have, for one who may know nothing of it.
        self._on_connected()
        self._connected.set()
        if self._connected_before:
            # What changed while nobody told us is not known.
            self._on_invalidated(None)
        self._connected_before = True

    async def _probe(self, asked: ProbeAsked) -> None:
        if self._on_probe is None or self._connection is None:
            return
        connection = self._connection
        connection.send(ProbeAnswered(id=asked.id, probed=await self._on_probe(asked.deployment, asked.timeout_s)))

    def _leave(self, _: Connection) -> None:
        self._connected.clear()
        self._lost.set()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(Unavailable("The control process went away. Try again.", retry_after_s=1))

    def _hear(self, _: Connection, message: Message) -> None:
        match message:
            case PrincipalAnswered() | TurnsAnswered() | HolderAnswered() | Granted() | ThoughtsFound():
                self._timeout_s = self._later_timeout_s
                answer = self._waiting.get(message.id)
                if answer is not None and not answer.done():
                    answer.set_result(message)
            case SnapshotPushed():
                self._on_snapshot(message.json)
            case Invalidated():
                if message.holders:
                    self._on_holders(message.holders)
                if message.everything or message.hashes or not message.holders:
                    self._on_invalidated(None if message.everything else message.hashes)
            case Recalled():
                self._on_recalled(message)
            case AsksTold():
                self._on_asks(message.asks)
            case RoutingTold():
                self._on_news(message.news)
            case ProbeAsked():
                self._tasks.start(self._probe(message), name="probe")
            case ProbedTold():
                for deployment_id, probed in message.found.items():
                    self._on_probed(deployment_id, probed)
            case DatabaseTold():
                self._on_database(message.status)
                if message.models:
                    self._on_models()
            case (
                Hello()
                | ProbeAnswered()
                | PrincipalAsked()
                | TurnPut()
                | ChainAsked()
                | ItemsAsked()
                | TurnForgotten()
                | ConversationChanged()
                | HolderAsked()
                | Claimed()
                | ThoughtsTold()
                | ThoughtsAsked()
                | VitalsTold()
            ):
                log.warning("the control process said what only workers say", extra={"what": type(message).__name__})
            case _:
                assert_never(message)
