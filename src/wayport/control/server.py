"""The control process's side of the socket: answers workers and tells them what is new."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import assert_never

from msgspec.structs import replace

from wayport.access.principal import AskedFor, Holder, Principal
from wayport.control.connection import Connection
from wayport.control.leases import Lessor
from wayport.control.protocol import (
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
    TurnQuestion,
    TurnsAnswered,
    VitalsTold,
)
from wayport.control.rumours import Rumours
from wayport.control.thoughts import Shelf
from wayport.control.turns import answer_of
from wayport.core.clock import Clock, SystemClock
from wayport.core.errors import Unavailable
from wayport.core.probe import Probed
from wayport.core.tasks import Tasks
from wayport.core.thought import ThoughtStore
from wayport.core.turn import TurnStore
from wayport.observe.vitals import Vitals, lately
from wayport.routing.news import News

log = logging.getLogger("wayport.control")

_PROBE_GRACE_S = 5.0
"""beyond a probe's own time limit"""

FindHolder = Callable[[AskedFor, str], Awaitable[Holder | None]]
"""raises `Unavailable`"""
Lookup = Callable[[str], Awaitable[Principal | None]]
"""a key's hash to whose it is; raises `Unavailable`"""


class ControlServer:
    """Begins to listen before there is anything to answer with: questions wait for `answer_with`."""

    def __init__(self, *, tasks: Tasks, snapshot: bytes, clock: Clock | None = None) -> None:
        self._lessor: asyncio.Future[Lessor] = asyncio.get_running_loop().create_future()
        self._holder: asyncio.Future[FindHolder] = asyncio.get_running_loop().create_future()
        self._tasks = tasks
        self._snapshot = snapshot
        self._database = DatabaseTold(status="waiting")
        self._asks = AsksTold()
        self._lookup: asyncio.Future[Lookup] = asyncio.get_running_loop().create_future()
        self._turns: asyncio.Future[TurnStore] = asyncio.get_running_loop().create_future()
        self._shelf = Shelf()
        self._connections: set[Connection] = set()
        self._workers: dict[Connection, Hello] = {}
        self._vitals: dict[Connection, Vitals] = {}
        self._server: asyncio.Server | None = None
        self._clock = clock or SystemClock()
        self.rumours = Rumours(clock=self._clock)
        self._last_probe = 0
        self._probing: dict[int, tuple[Connection, asyncio.Future[Probed]]] = {}
        self._probed: dict[str, tuple[float, Probed]] = {}
        self._pass_on: Callable[[News], None] = lambda _: None

    @property
    def workers(self) -> list[Hello]:
        """Those that are connected."""
        return list(self._workers.values())

    def vitals(self) -> list[Vitals]:
        """How those are doing."""
        return lately(self._vitals.values(), now_s=self._clock.now_s())

    async def listen(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(self._accept, sock=listener)

    def answer_with(self, lookup: Lookup) -> None:
        self._lookup.set_result(lookup)

    def lease_from(self, lessor: Lessor, holder: FindHolder) -> None:
        """`holder` finds the limits of end users and tags."""
        lessor.workers(len(self._workers))
        self._lessor.set_result(lessor)
        self._holder.set_result(holder)

    def recall(self, writer: str, counter: str, /, *, next_one: bool = False) -> bool:
        """Asks a worker to give back what it has free of a limit, or the next slot that will be; False: it is not
        connected.
        """
        for connection, worker in self._workers.items():
            if worker.writer == writer:
                connection.send(Recalled(counter=counter, next_one=next_one))
                return True
        return False

    def invalidate_holders(self, holders: Sequence[str]) -> None:
        """The limits of these end users and tags (`end_user:ann`, `tag:x`) have changed."""
        self._tell(Invalidated(holders=tuple(holders)))

    @property
    def any_workers(self) -> bool:
        return bool(self._workers)

    async def probe(self, deployment_id: str, *, timeout_s: float) -> Probed:
        """What becomes of a question to a deployment that one of our workers asks. Raises `Unavailable`."""
        self._last_probe += 1
        number = self._last_probe
        connections = list(self._workers)
        if not connections:
            raise Unavailable("there is no worker")
        connection = connections[number % len(connections)]
        answer: asyncio.Future[Probed] = asyncio.get_running_loop().create_future()
        self._probing[number] = (connection, answer)
        connection.send(ProbeAsked(id=number, deployment=deployment_id, timeout_s=timeout_s))
        try:
            async with asyncio.timeout(timeout_s + _PROBE_GRACE_S):
                return await answer
        except TimeoutError:
            raise Unavailable("the worker does not answer") from None
        finally:
            self._probing.pop(number, None)

    def tell_probed(self, deployment_id: str, probed: Probed) -> None:
        """To every worker, and to those that come later."""
        self._probed[deployment_id] = (self._clock.steady_s(), probed)
        self._tell(ProbedTold(found={deployment_id: probed}))

    def forget_probed(self, but: set[str]) -> None:
        """Only these are asked from now on."""
        gone = self._probed.keys() - but
        if gone:
            self._tell(ProbedTold(found=dict.fromkeys(gone)))
        for deployment_id in gone:
            del self._probed[deployment_id]

    def pass_news_to(self, others: Callable[[News], None]) -> None:
        """Other nodes learn through it what workers of this one have learned of deployments."""
        self._pass_on = others

    def tell_news(self, news: News) -> None:
        """Something that another node has learned."""
        self.rumours.hear(news)
        self._tell(RoutingTold(news=news))

    def keep_turns_in(self, store: TurnStore) -> None:
        self._turns.set_result(store)

    def share_thoughts(self, others: ThoughtStore) -> None:
        """With other nodes, through `others`; before that they are shared by the workers of this one."""
        self._shelf.others = others

    def push_snapshot(self, json: bytes) -> None:
        """To every worker, and to those that come later."""
        self._snapshot = json
        self._tell(SnapshotPushed(json=json))

    def invalidate(self, hashes: Sequence[str] | None) -> None:
        """These keys have changed; None: any may have."""
        self._tell(Invalidated(everything=True) if hashes is None else Invalidated(hashes=tuple(hashes)))

    def tell_database(self, status: str) -> None:
        """`connected` or `waiting`, to every worker and to those that come later."""
        self._database = replace(self._database, status=status)
        self._tell(self._database)

    def tell_models_known(self) -> None:
        """The snapshot has the models of the database, as far as they can be known now."""
        self._database = replace(self._database, models=True)
        self._tell(self._database)

    def tell_asks(self, asks: tuple[AskedFor, ...]) -> None:
        """About whom to ask when the master key calls, to every worker and to those that come later."""
        if asks != self._asks.asks:
            self._asks = AsksTold(asks=asks)
            self._tell(self._asks)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            await connection.end()

    def _tell(self, message: Message, *, but: Connection | None = None) -> None:
        for worker in list(self._workers):
            if worker is not but:
                worker.send(message)

    def _accept(self) -> Connection:
        connection = Connection(self._hear, self._leave)
        self._connections.add(connection)
        return connection

    def _leave(self, connection: Connection) -> None:
        self._connections.discard(connection)
        worker = self._workers.pop(connection, None)
        self._vitals.pop(connection, None)
        for asked, answer in self._probing.values():
            if asked is connection and not answer.done():
                answer.set_exception(Unavailable("the worker has gone"))
        if worker is not None and self._lessor.done():
            lessor = self._lessor.result()
            lessor.workers(len(self._workers))
            if all(other.writer != worker.writer for other in self._workers.values()):
                lessor.gone(worker.writer)

    def _hear(self, connection: Connection, message: Message) -> None:
        match message:
            case Hello():
                self._workers[connection] = message
                connection.send(SnapshotPushed(json=self._snapshot))
                connection.send(self._database)
                connection.send(self._asks)
                if known := self.rumours.known():
                    connection.send(RoutingTold(news=known))
                if self._probed:
                    now_s = self._clock.steady_s()
                    found = {name: replace(probed, age_s=now_s - at_s) for name, (at_s, probed) in self._probed.items()}
                    connection.send(ProbedTold(found=dict(found)))
                if self._lessor.done():
                    self._lessor.result().workers(len(self._workers))
            case PrincipalAsked():
                self._tasks.start(self._answer(connection, message), name="principal")
            case TurnPut() | ChainAsked() | ItemsAsked() | TurnForgotten() | ConversationChanged():
                self._tasks.start(self._answer_turns(connection, message), name="turns")
            case Claimed():
                self._hear_claim(connection, message)
            case VitalsTold():
                self._vitals[connection] = message.vitals
            case ThoughtsTold():
                self._shelf.put(message.thoughts)
            case ThoughtsAsked():
                self._tasks.start(self._answer_thoughts(connection, message), name="thoughts")
            case HolderAsked():
                self._tasks.start(self._answer_holder(connection, message), name="holder")
            case ProbeAnswered():
                waiting = self._probing.get(message.id)
                if waiting is not None and not waiting[1].done():
                    waiting[1].set_result(message.probed)
            case RoutingTold():
                self.rumours.hear(message.news)
                self._tell(message, but=connection)
                self._pass_on(message.news)
            case (
                SnapshotPushed()
                | ProbeAsked()
                | ProbedTold()
                | PrincipalAnswered()
                | Invalidated()
                | DatabaseTold()
                | AsksTold()
                | TurnsAnswered()
                | HolderAnswered()
                | Granted()
                | Recalled()
                | ThoughtsFound()
            ):
                log.warning("a worker said what only the control process says", extra={"what": type(message).__name__})
            case _:
                assert_never(message)

    async def _answer(self, connection: Connection, asked: PrincipalAsked) -> None:
        # Shielded: a question that is given up must not take the future along.
        lookup = await asyncio.shield(self._lookup)
        try:
            answer = PrincipalAnswered(id=asked.id, principal=await lookup(asked.key_hash))
        except Unavailable as error:
            answer = PrincipalAnswered(id=asked.id, unavailable=error.message)
        connection.send(answer)

    def _hear_claim(self, connection: Connection, message: Claimed) -> None:
        worker = self._workers.get(connection)
        if worker is None:
            return
        # Where nobody waits for an answer, statements hold at once and in the order in which they came.
        at_once = not message.id and self._lessor.done()
        if not (at_once and self._lessor.result().state(worker.writer, message.claim)):
            self._tasks.start(self._answer_claim(connection, worker.writer, message), name="lease")

    async def _answer_claim(self, connection: Connection, writer: str, message: Claimed) -> None:
        lessor = await asyncio.shield(self._lessor)
        grant = await lessor.claim(writer, message.claim)
        if message.id:
            connection.send(Granted(id=message.id, grant=grant))

    async def _answer_holder(self, connection: Connection, asked: HolderAsked) -> None:
        find = await asyncio.shield(self._holder)
        try:
            answer = HolderAnswered(id=asked.id, holder=await find(asked.scope, asked.holder_id))
        except Unavailable as error:
            answer = HolderAnswered(id=asked.id, unavailable=error.message)
        connection.send(answer)

    async def _answer_turns(self, connection: Connection, asked: TurnQuestion) -> None:
        answer = await answer_of(await asyncio.shield(self._turns), asked)
        try:
            connection.send(answer)
        except Unavailable as error:
            connection.send(TurnsAnswered(id=asked.id, unavailable=error.message))

    async def _answer_thoughts(self, connection: Connection, asked: ThoughtsAsked) -> None:
        connection.send(ThoughtsFound(id=asked.id, thoughts=dict(await self._shelf.find(asked.names))))
